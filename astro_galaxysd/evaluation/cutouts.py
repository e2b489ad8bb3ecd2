"""Cutouts as everything that measures them takes them: what is refused, and which pixels are the outermost frame."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from astro_galaxysd.errors import ImageError

__all__ = ["FRAME", "check_images", "outer_frame"]

#: The outermost frame has this part of the side for its width: 1/16.
FRAME = 16


def check_images(images: object, what: str, smallest: int = 1, *, dtype: type | None = np.uint8) -> np.ndarray:
    """Refuse what can't be measured.

    Parameters
    ----------
    images : object
        What came in.
    what : str
        Who needs them, for the message: ``"photometry"``.
    smallest : int
        Smallest side, pixels.
    dtype : type, optional
        None: integers or floats of any size.

    Returns
    -------
    ndarray, shape (N, H, W, 3)
        The images themselves.

    Raises
    ------
    ImageError
        Anything but an array of shape (N, H, W, 3) of that dtype with N at least 1, or sides below `smallest`.

    Examples
    --------
    >>> check_images(np.zeros((2, 32, 32, 3), np.uint8), "photometry", 16).shape
    (2, 32, 32, 3)
    """
    wanted = "numbers" if dtype is None else np.dtype(dtype).name
    rule = f"{what} needs {wanted} of shape (N, H, W, 3) with N at least 1"
    if not isinstance(images, np.ndarray):
        raise ImageError(f"images are {type(images).__name__}; {rule}")
    fitting = images.dtype.kind in "uif" if dtype is None else images.dtype == dtype
    if images.ndim != 4 or images.shape[-1] != 3 or not images.size or not fitting:
        raise ImageError(f"images are {images.dtype} of shape {images.shape}; {rule}")
    height, width = images.shape[1:3]
    if min(height, width) < smallest:
        raise ImageError(f"images of {height}x{width} px are too small for {what}; give sides of {smallest} px or more")
    return images


@lru_cache(maxsize=8)
def outer_frame(height: int, width: int) -> np.ndarray:
    """Pixels of the frame whose background is taken: a sixteenth of each side, at every edge.

    Parameters
    ----------
    height, width : int
        Pixels, at least 16.

    Returns
    -------
    ndarray, shape (height, width), bool
        Not to be written to.
    """
    frame = np.ones((height, width), dtype=bool)
    rows, columns = height // FRAME, width // FRAME
    frame[rows:-rows, columns:-columns] = False
    frame.flags.writeable = False
    return frame
