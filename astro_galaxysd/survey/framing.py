"""A survey's galaxy at the place and size that weights draw it at, on its own sky to the border."""

from __future__ import annotations

import numpy as np

from astro_galaxysd.conditions.seeds import stream
from astro_galaxysd.survey.sizes import Frame, find_galaxy, frame_planes

__all__ = ["framed_planes"]


def framed_planes(planes: np.ndarray, frame: Frame, seed: int) -> np.ndarray | None:
    """Bring a galaxy to a frame; what the cutout does not cover gets pixels of its sky, in another order.

    A black border would be unlike anything that was trained on, and weights that learn from it would draw it.

    Parameters
    ----------
    planes : ndarray, shape (B, H, W)
    frame : Frame
    seed : int
        Of the order.

    Returns
    -------
    ndarray, shape (B, side, side), or None
        None where no galaxy is in the middle.

    Raises
    ------
    ImageError
        As `astro_galaxysd.survey.sizes.find_galaxy`.
    """
    framed = frame_planes(planes, frame)
    return None if framed is None else _covered(framed, seed)


def _covered(planes: np.ndarray, seed: int) -> np.ndarray:
    """Planes with pixels of their own sky, shuffled, where nothing was observed; as they are where no sky was seen."""
    missing = ~np.isfinite(planes).all(axis=0)
    galaxy = find_galaxy(planes) if missing.any() else None
    if galaxy is None:
        return planes
    sky = planes[:, (galaxy.sources == 0) & ~missing]
    if not sky.size:
        return planes
    filled = planes.copy()
    filled[:, missing] = sky[:, stream(seed, "border").integers(0, sky.shape[1], int(missing.sum()))]
    return filled
