"""Real galaxies that drawn ones may begin with: a table or images in, those of them that may be used out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.conditions.columns import is_synthetic, texts
from astro_galaxysd.errors import ConditionError, ImageError
from astro_galaxysd.images.codec import read_images

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["of_one_size", "reference_images", "reference_rows"]

_SPLIT = "split"


def reference_images(references: Table | np.ndarray) -> np.ndarray:
    """Real galaxies that images may begin with.

    Parameters
    ----------
    references : Table or ndarray
        As `load_generator`.

    Returns
    -------
    ndarray, shape (N, H, W, 3), uint8

    Raises
    ------
    ConditionError
        If there are none.
    ImageError
        If they are no images, or of several sizes.
    """
    from astropy.table import Table

    if not isinstance(references, Table):
        return of_one_size(read_images(references), "references")
    return of_one_size(read_images(references[reference_rows(references)]), "references")


def reference_rows(references: Table) -> np.ndarray:
    """Places of the real galaxies of a table that are of no test split; errors as `reference_images`."""
    real = ~is_synthetic(references)
    if _SPLIT in references.colnames:
        real &= np.array([split != "test" for split in texts(references[_SPLIT])], dtype=bool)
    if not real.any():
        raise ConditionError(
            f"of {len(references)} references none is a real galaxy outside a test split; give others: what a "
            "classifier is tested on must not be drawn from"
        )
    return np.flatnonzero(real)


def of_one_size(images: list[np.ndarray], what: str) -> np.ndarray:
    """Images as one array; an ImageError where they have several sizes, which calls them `what`."""
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        raise ImageError(f"{what} have {len(sizes)} sizes, {', '.join(map(str, sorted(sizes)[:3]))}; give one size")
    return np.stack(images)
