"""A drawn galaxy taken off its own sky and brought to a size, a seeing and another sky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astro_galaxysd.survey.seeing import Seeing, kernel
from astro_galaxysd.survey.sizes import Galaxy, place
from astro_galaxysd.survey.sky import Sky

__all__ = ["Cutting", "Placed", "cut_out", "place_light", "quieter", "whole_image"]

#: Around its pixels a galaxy's light fades over this part of its R90, and at the edge of the drawn frame over half.
_FADE = 1.0


@dataclass(frozen=True)
class Cutting:
    """Sources of a drawn image without its sky.

    Parameters
    ----------
    light : ndarray, shape (B, H, W), float64
        0 where only sky was.
    share : ndarray, shape (H, W), float64
        Of the drawn pixel that is in `light`, 0 to 1: its noise came along.
    empty : ndarray, shape (B, H, W), float64
        Its noise where no source is; 0 elsewhere.
    sky : ndarray, shape (H, W), float64
        1 where no source is.
    centre : tuple of float
        x and y of the galaxy, pixels.
    """

    light: np.ndarray
    share: np.ndarray
    empty: np.ndarray
    sky: np.ndarray
    centre: tuple[float, float]


@dataclass(frozen=True)
class Placed:
    """Light in the survey's frame.

    Parameters
    ----------
    light : ndarray, shape (B, height, width), float64
        Blurred to the survey's seeing.
    variance : ndarray, shape (B, height, width), float64
        Of the noise that came along.
    fwhm : float
        Of stars in it, pixels.
    """

    light: np.ndarray
    variance: np.ndarray
    fwhm: float


def cut_out(planes: np.ndarray, galaxy: Galaxy) -> Cutting:
    """Take the sources of a drawn image off its sky.

    Parameters
    ----------
    planes : ndarray, shape (B, H, W), float64
        As drawn, all finite.
    galaxy : Galaxy
        Found in them.

    Returns
    -------
    Cutting
        The light fades to 0 around each source; sources other than the galaxy that the frame cuts are left out.
    """
    from scipy.ndimage import distance_transform_edt

    away = distance_transform_edt(~_whole(galaxy))
    fade = _FADE * galaxy.r90
    share = _falling(away / fade) * _falling(1 - _from_edge(away.shape) / (0.3 * galaxy.r90))
    sky = (distance_transform_edt(galaxy.sources == 0) > 5.0).astype(np.float64)
    above = planes - galaxy.level[:, None, None]
    return Cutting(above * share, share, above * sky, sky, (galaxy.x, galaxy.y))


def place_light(cutting: Cutting, scale: float, shape: tuple[int, int], drawn: float, seeing: Seeing) -> Placed:
    """Bring the sources of a drawn image to a size and a seeing.

    Parameters
    ----------
    cutting : Cutting
        The sources.
    scale : float
        New pixels for one drawn pixel.
    shape : tuple of int
        Height and width of the new frame.
    drawn : float
        FWHM of stars in the drawn image, pixels; 0: not known.
    seeing : Seeing
        Of the survey; nothing is blurred where it or `drawn` is not known.

    Returns
    -------
    Placed
    """
    from scipy.signal import fftconvolve

    stack = np.concatenate([cutting.light, cutting.empty, cutting.share[None], cutting.sky[None]])
    placed = place(stack, scale, cutting.centre, shape)
    blur = kernel(drawn * scale, seeing) if drawn > 0 else None
    fwhm = drawn * scale
    if blur is not None and seeing.fwhm is not None:
        placed, fwhm = fftconvolve(placed, blur[None], mode="same", axes=(1, 2)), seeing.fwhm
    bands = len(cutting.light)
    alone = placed[-1] > 0.95
    noise = np.std(placed[bands : 2 * bands, alone], axis=1) if alone.sum() >= 20 else np.zeros(bands)
    return Placed(placed[:bands], (noise[:, None, None] * np.clip(placed[-2], 0, 1)) ** 2, fwhm)


def quieter(new_sky: np.ndarray, sky: Sky, variance: np.ndarray) -> np.ndarray:
    """New sky, quieter where light brings its own noise.

    Parameters
    ----------
    new_sky : ndarray, shape (B, H, W), float64
        As drawn.
    sky : Sky
        What it was drawn like.
    variance : ndarray, shape (B, H, W), float64
        Of the noise that light brings.

    Returns
    -------
    ndarray, shape (B, H, W), float64
        Unchanged in a band without noise.
    """
    level, rms = sky.level[:, None, None], sky.rms[:, None, None]
    share = np.divide(variance, rms**2, out=np.zeros(variance.shape), where=rms**2 > 0)
    return np.asarray(level + (new_sky - level) * np.sqrt(np.maximum(1.0 - share, 0.0)))


def whole_image(planes: np.ndarray, r90: float) -> Galaxy:
    """What stands for the galaxy where none was found: all within R90 of the middle.

    Parameters
    ----------
    planes : ndarray, shape (B, H, W), float64
        As drawn, all finite.
    r90 : float
        Pixels.

    Returns
    -------
    Galaxy
    """
    height, width = planes.shape[1:]
    y, x = np.ogrid[:height, :width]
    segment = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2) <= r90
    level = np.median(planes[:, ~segment], axis=1)
    light = (planes - level[:, None, None]).mean(axis=0)
    return Galaxy(segment, segment.astype(np.int32), (width - 1) / 2, (height - 1) / 2, r90 / 2, r90, 1.0,
                  float(light[segment].sum()), level, light)  # fmt: skip


def _whole(galaxy: Galaxy) -> np.ndarray:
    """Pixels of the galaxy and of the sources that the frame does not cut."""
    numbers = galaxy.sources
    cut = np.unique(np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]]))
    return np.asarray(((numbers > 0) & ~np.isin(numbers, cut)) | galaxy.segment)


def _falling(way: np.ndarray) -> np.ndarray:
    """1 before the way, 0 after it, a cosine between."""
    return np.asarray(0.5 + 0.5 * np.cos(np.pi * np.clip(way, 0.0, 1.0)))


def _from_edge(shape: tuple[int, ...]) -> np.ndarray:
    """Pixels from the nearest edge, 0 at it."""
    rows, columns = (np.minimum(np.arange(side), np.arange(side)[::-1]) for side in shape)
    return np.asarray(np.minimum(rows[:, None], columns), dtype=np.float64)
