"""Readers of votes that look at pixels: cutouts in, the fractions volunteers would have given out.

Two ship with the package. They differ in seed and architecture and saw the same galaxies, those of the training split:
``"reporting"`` is for figures that are published, ``"choosing"`` for everything that is decided by a reader's answer
(which checkpoint, which guidance, which synthetic rows to keep). What was chosen by one reader looks too good to it, so
the two are never exchanged.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch

from astro_galaxysd.conditions.tree import ANSWERS, INDEX, QUESTIONS
from astro_galaxysd.errors import WeightsError
from astro_galaxysd.evaluation.networks import load_network, run_network
from astro_galaxysd.evaluation.reader import reached

__all__ = ["READERS", "ImageReader", "agreement", "divergence", "fractions_of", "judges_folder"]

#: Readers that ship, and their files.
READERS = {"reporting": "reader-reporting.safetensors", "choosing": "reader-choosing.safetensors"}


def judges_folder() -> Path:
    """Where the readers and the embedder that ship are."""
    return Path(str(files("astro_galaxysd").joinpath("weights", "judges")))


class ImageReader:
    """Reads conditional vote fractions off images; make one with `load`.

    Parameters
    ----------
    network : Module
    facts : dict
        From `astro_galaxysd.evaluation.networks.load_network`.

    Attributes
    ----------
    revision : str
        Hash of the file it was read from.

    Examples
    --------
    >>> reader = ImageReader.load("reporting")
    >>> reader.predict(np.zeros((1, 128, 128, 3), np.uint8)).shape
    (1, 37)
    """

    def __init__(self, network: torch.nn.Module, facts: dict[str, Any]) -> None:
        self.network, self.facts = network, facts
        self.revision = str(facts["revision"])

    @classmethod
    def load(cls, reader: str | os.PathLike[str] = "reporting") -> ImageReader:
        """Load a reader.

        Parameters
        ----------
        reader : str or path
            ``"reporting"``, ``"choosing"``, or a file that ``galaxysd train reader`` wrote.

        Raises
        ------
        WeightsError
            If there is no such file, or it holds something else.
        """
        path = judges_folder() / READERS[reader] if isinstance(reader, str) and reader in READERS else Path(reader)
        network, facts = load_network(path, "reader")
        if facts["outputs"] != len(ANSWERS):
            raise WeightsError(f"{path} reads {facts['outputs']} answers; the tree has {len(ANSWERS)}: train a reader")
        return cls(network, facts)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Read images.

        Parameters
        ----------
        images : ndarray, shape (N, H, W, 3), uint8
            Brought to the size the reader learnt from where they have another.

        Returns
        -------
        ndarray, shape (N, 37), float32
            Conditional fractions in [0, 1], without NaN; the answers of each question sum to 1.

        Raises
        ------
        ImageError
            Another dtype or shape, or no image.
        """
        return fractions_of(run_network(self.network, images, int(self.facts["image_size"]))).numpy()

    def embed(self, images: np.ndarray) -> np.ndarray:
        """What the reader knows of images before it answers.

        Parameters
        ----------
        images : ndarray, shape (N, H, W, 3), uint8
            As `predict`.

        Returns
        -------
        ndarray, shape (N, D), float32
        """
        *before, _ = self.network.children()
        return run_network(torch.nn.Sequential(*before), images, int(self.facts["image_size"])).numpy()


def agreement(reader: ImageReader, images: np.ndarray, answer: str) -> np.ndarray:
    """How surely a reader finds an answer.

    Parameters
    ----------
    reader : ImageReader
    images : ndarray, shape (N, H, W, 3), uint8
    answer : str
        Key of the tree.

    Returns
    -------
    ndarray, shape (N,), float64
        Share of all volunteers who would give it, in [0, 1].
    """
    fractions = reader.predict(images)
    return np.asarray((reached(fractions) * fractions)[:, INDEX[answer]])


def fractions_of(answers: torch.Tensor, *, logarithm: bool = False) -> torch.Tensor:
    """Softmax, or its logarithm, within each question of the tree; `answers` has the shape (N, 37)."""
    parts = torch.split(answers, [len(question.answers) for question in QUESTIONS], dim=1)
    return torch.cat([part.log_softmax(dim=1) if logarithm else part.softmax(dim=1) for part in parts], dim=1)


def divergence(read: torch.Tensor, votes: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    r"""Kullback-Leibler divergence of answers that were read from the volunteers', summed over questions.

    .. math:: \sum_q w_q \sum_{a \in q} f_a \ln (f_a / \hat f_a)

    Parameters
    ----------
    read : Tensor, shape (N, 37)
        Logarithms of fractions, :math:`\ln \hat f_a`.
    votes : Tensor, shape (N, 37)
        Conditional fractions :math:`f_a`, 0 where not asked.
    shares : Tensor, shape (N, 37)
        Share of volunteers who saw the question, :math:`w_q` (`astro_galaxysd.evaluation.reader.reached`).

    Returns
    -------
    Tensor, shape (N,)
    """
    return (shares * (torch.xlogy(votes, votes) - votes * read)).sum(dim=1)
