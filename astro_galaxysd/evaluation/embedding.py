"""The embedder that ships: cutouts in, 64 numbers out that tell galaxies apart, whatever way they are turned."""

from __future__ import annotations

import os

import numpy as np

from astro_galaxysd.evaluation.networks import load_network, run_network
from astro_galaxysd.evaluation.reading import judges_folder

__all__ = ["GalaxyEmbedder"]

_FILE = "embedder.safetensors"


class GalaxyEmbedder:
    """Turns images into features, as `astro_galaxysd.evaluation.judges.EmbedderRun` learnt it.

    Parameters
    ----------
    path : path, optional
        A file that ``galaxysd train embedder`` wrote; by default the one that ships.

    Attributes
    ----------
    revision : str
        Hash of the file.

    Raises
    ------
    WeightsError
        If there is no such file, or it holds something else.

    Examples
    --------
    >>> GalaxyEmbedder().embed(np.zeros((2, 128, 128, 3), np.uint8)).shape
    (2, 64)
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.network, self.facts = load_network(judges_folder() / _FILE if path is None else path, "embedder")
        self.revision = str(self.facts["revision"])

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Map cutouts to features.

        Parameters
        ----------
        images : ndarray, shape (N, H, W, 3), uint8
            Brought to the size the embedder learnt from where they have another.

        Returns
        -------
        ndarray, shape (N, D), float32
            Compare directions: lengths were not trained.

        Raises
        ------
        ImageError
            Another dtype or shape, or no image.
        """
        return run_network(self.network, images, int(self.facts["image_size"])).numpy()
