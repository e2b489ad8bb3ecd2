r"""Texture of cutouts: how much structure they have at each scale, and how noisy their sky is.

In: images of shape (N, H, W, 3) in grey levels of the display stretch. Out: numbers of each image.

The luminance :math:`I_{xy}`, the mean of the colours, less its mean :math:`\bar I`, is multiplied by a Hann window
:math:`w_{xy}` so that its borders do not matter. Its power at the frequency :math:`(u, v)` is

.. math:: P_{uv} = \frac{|\sum_{xy} w_{xy} (I_{xy} - \bar I) e^{-2 \pi i (ux + vy)}|^2}{\sum_{xy} w_{xy}^2}

averaged over rings of equal :math:`\sqrt{u^2 + v^2}`. White noise of variance :math:`\sigma^2` has
:math:`P = \sigma^2` at all frequencies; only in the lowest ring taking the mean away costs it some 7 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from astro_galaxysd.errors import ImageError
from astro_galaxysd.evaluation.cutouts import check_images

__all__ = ["HALF_NYQUIST", "power_ratio", "radial_power", "ring_frequencies", "sky_rms"]

#: Cycles per pixel up to which spectra are compared: what is above is mostly the noise of single pixels.
HALF_NYQUIST = 0.25
_CHUNK = 256
_SMALLEST = 16
_CORNER = 8  # a corner is this part of the side
_CLIP = 3.0
_ROUNDS = 5
#: Standard deviation that is left of a Gaussian's when what lies beyond 3 of them is cut until nothing changes.
_LEFT_AFTER_CLIPPING = 0.985


def radial_power(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Radially averaged power spectrum of each image's luminance.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3), uint8 or float
        Grey levels; H and W at least 16.

    Returns
    -------
    frequency : ndarray, shape (B,), float64
        Middles of the rings, in cycles per pixel: 1/S, 2/S ... up to 0.5 (Nyquist), S being the shorter side.
    power : ndarray, shape (N, B), float64
        In squared grey levels; 0 or more.

    Raises
    ------
    ImageError
        No image, another shape, values that are not finite numbers, or images that are too small.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(100, 6, (50, 64, 64, 1)).repeat(3, axis=3)
    >>> frequency, power = radial_power(noise)
    >>> frequency.shape, power.shape
    ((32,), (50, 32))
    >>> bool(abs(power.mean() / 36 - 1) < 0.02)
    True
    """
    chunks = list(_chunks(images))
    height, width = chunks[0].shape[1:3]
    order, starts, counts, frequency = _rings(height, width)
    window = np.outer(_hann(height), _hann(width))
    power = []
    for chunk in chunks:
        luminance = chunk.mean(axis=3, dtype=np.float64)
        luminance -= luminance.mean(axis=(1, 2), keepdims=True)
        modes = np.abs(np.fft.fft2(luminance * window)) ** 2 / np.sum(window**2)
        sums = np.add.reduceat(modes.reshape(len(chunk), -1)[:, order], starts, axis=1)
        power.append(sums / counts)
    return frequency, np.concatenate(power)


def ring_frequencies(height: int, width: int) -> np.ndarray:
    """Frequencies at which `radial_power` gives the power of images of one size.

    Parameters
    ----------
    height, width : int
        Pixels, at least 16.

    Returns
    -------
    ndarray, shape (B,), float64
        Cycles per pixel.
    """
    return _rings(height, width)[3]


def power_ratio(real: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much of their power images keep at each frequency: the median over pairs of images.

    Parameters
    ----------
    real, other : ndarray, shape (N, H, W, 3), uint8 or float
        Image by image the same galaxies, `other` after something was done to them.

    Returns
    -------
    frequency : ndarray, shape (B,), float64
        As `radial_power`.
    ratio : ndarray, shape (B,), float64
        Power of `other` in units of that of `real`; 1 where nothing was lost. Images of one single value in `real`
        are left out.

    Raises
    ------
    ImageError
        As `radial_power`; shapes that differ; or no image of `real` with any structure.

    Examples
    --------
    >>> images = np.random.default_rng(0).integers(0, 100, (4, 32, 32, 3))
    >>> power_ratio(images, 2 * images)[1][:3].round(6)
    array([4., 4., 4.])
    """
    if np.shape(real) != np.shape(other):
        raise ImageError(
            f"images of shape {np.shape(real)} beside others of shape {np.shape(other)}; "
            "power is compared image by image, give as many of the same size"
        )
    frequency, before = radial_power(real)
    _, after = radial_power(other)
    structured = (before > 0).all(axis=1)
    if not structured.any():
        raise ImageError(f"all {len(before)} real images have one single value; power needs images with structure")
    return frequency, np.asarray(np.median(after[structured] / before[structured], axis=0))


def sky_rms(images: np.ndarray) -> np.ndarray:
    """Noise of the sky of each image, from its corners.

    The four corners, an eighth of the height times an eighth of the width each, are taken less their own median in
    each colour. Pixels beyond 3 standard deviations are left out, five times over, so that a star in a corner does
    not count; what that takes from Gaussian noise (1.5 %) is given back. The three colours are averaged.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3), uint8 or float
        Grey levels; H and W at least 16.

    Returns
    -------
    ndarray, shape (N,), float64
        Standard deviation in grey levels.

    Raises
    ------
    ImageError
        As `radial_power`.

    Notes
    -----
    A median of absolute deviations would be simpler, but of pixels in whole grey levels it is itself a whole number,
    too coarse to tell skies apart that differ by a tenth.
    """
    return np.concatenate([_sky_of_chunk(chunk) for chunk in _chunks(images)])


def _sky_of_chunk(images: np.ndarray) -> np.ndarray:
    rows, columns = images.shape[1] // _CORNER, images.shape[2] // _CORNER
    top, bottom, left, right = slice(rows), slice(-rows, None), slice(columns), slice(-columns, None)
    corners = [images[:, y, x].reshape(len(images), -1, 3) for y in (top, bottom) for x in (left, right)]
    pixels = np.stack(corners, axis=1).astype(np.float64)  # (n, corner, pixel, colour)
    pixels -= np.median(pixels, axis=2, keepdims=True)
    pixels = pixels.reshape(len(images), -1, 3)
    kept = np.ones(pixels.shape, dtype=bool)
    for _ in range(_ROUNDS):
        middle = pixels.mean(axis=1, where=kept, keepdims=True)
        spread = pixels.std(axis=1, where=kept, keepdims=True)
        kept &= np.abs(pixels - middle) <= _CLIP * spread
    return np.asarray(pixels.std(axis=1, where=kept).mean(axis=1) / _LEFT_AFTER_CLIPPING)


def _chunks(images: np.ndarray) -> Iterator[np.ndarray]:
    """Checked images, some at a time: as floats a survey's worth of cutouts would need eight times its memory."""
    check_images(images, "texture", _SMALLEST, dtype=None)
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        bad = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
        raise ImageError(f"{len(bad)} images hold values that are not finite, the first is number {bad[0]}; leave out")
    for start in range(0, len(images), _CHUNK):
        yield images[start : start + _CHUNK]


def _hann(size: int) -> np.ndarray:
    """The periodic Hann window: its spectrum is three lines, so a frequency leaks into its two neighbours only."""
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size))


@lru_cache(maxsize=4)
def _rings(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Modes sorted by ring, where each ring starts among them, how many it has, and its frequency."""
    side = min(height, width)
    distance = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    ring = np.rint(distance * side).astype(int).ravel()
    ring[distance.ravel() > 0.5] = 0  # beyond Nyquist only some directions are there
    modes = np.flatnonzero(ring)
    order = modes[np.argsort(ring[modes], kind="stable")]
    numbers, starts, counts = np.unique(ring[order], return_index=True, return_counts=True)
    return order, starts, counts, numbers / side
