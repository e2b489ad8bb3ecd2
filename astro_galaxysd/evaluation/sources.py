r"""The galaxy in the middle of a cutout: images in, its light, its pixels and its curve of growth out.

The luminance is the mean of the colours. Smoothed by a Gaussian of 1/128 of the side (1 px at least), it has in the
outermost frame (1/16 of the side) a median and a noise :math:`\sigma` (1.4826 median absolute deviations). What stands
out by :math:`5 \sigma`, 4 grey levels at least, in 1/2000 of the pixels or more that touch, is a source (photutils).
The brightest within 1/16 of the side of the middle is the galaxy. Sources are not deblended: what touches the galaxy
belongs to it, as the other galaxy of a merger should; the others are masked.

Light is the luminance less its median in the frame, in grey levels of the display stretch.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from astro_galaxysd.evaluation.cutouts import FRAME, check_images, outer_frame

__all__ = ["SMALLEST_SIDE", "Growth", "Source", "central_sources"]

#: Smallest side of a cutout, pixels.
SMALLEST_SIDE = 32
_CHUNK = 64
_SIGNIFICANT = 5.0
_FAINT = 4.0
_CENTRAL = 16
_FEWEST_PIXELS = 1 / 2000
_FINE = 16  # bins of radius in a pixel
_COVERED = 0.25  # share of a ring that has to be seen
_CLIP = 4.0  # in means of absolute differences: 3.2 standard deviations of a Gaussian
_ROUNDS = 3
#: Mean of a Gaussian's absolute values, in means of the smallest three quarters of them.
_TRIMMED = 1.55


@dataclass(frozen=True)
class Source:
    """The galaxy of one cutout.

    Parameters
    ----------
    light : ndarray, shape (H, W), float64
        Luminance above the background; 0 where another source is.
    known : ndarray, shape (H, W), bool
        False where another source is.
    segment : ndarray, shape (H, W), bool
        Pixels of the galaxy.
    noise : float
        Mean absolute difference of two pixels of the sky, grey levels.
    """

    light: np.ndarray
    known: np.ndarray
    segment: np.ndarray
    noise: float

    def moments(self) -> tuple[float, float, float, float, float]:
        """First and second moments of the light in the segment: x, y, xx, yy, xy, pixels; the latter about x, y."""
        rows, columns = np.nonzero(self.segment)
        weight = np.maximum(self.light[rows, columns], 0)
        weight = weight / weight.sum()
        x, y = weight @ columns, weight @ rows
        dx, dy = columns - x, rows - y
        return x, y, weight @ dx**2, weight @ dy**2, weight @ (dx * dy)


class Growth:
    r"""Curve of growth: the light within each radius about a point, what is masked filled in from its ring.

    A pixel at the distance d is inside the radius r by :math:`\min(\max(r - d + 1/2, 0), 1)`, nearly its exact share.

    Parameters
    ----------
    source : Source
        The galaxy.
    distance : ndarray, shape (H, W), float
        Distance of each pixel from the point; of an ellipse, along its longer axis.
    axis_ratio : float
        Of the ellipse; 1: circles.
    reach : float
        Largest radius, pixels.

    Attributes
    ----------
    radius, brightness, light : ndarray, shape (R,), float64
        Outer radii of rings half a pixel wide, as far as a quarter of each ring is seen, the mean light of a
        pixel within half a pixel of the radius, and all light inside it.
    """

    def __init__(self, source: Source, distance: np.ndarray, axis_ratio: float, reach: float) -> None:
        bins = int((reach + 2) * _FINE)
        place = np.minimum(distance * _FINE, bins).astype(np.int64).ravel()
        weights = source.light.ravel(), source.known.ravel()
        sums = np.stack([np.bincount(place, weight, minlength=bins + 1)[:bins] for weight in weights]).cumsum(axis=1)
        # light and pixels with distance below t, added up over t from r - 1/2 to r + 1/2
        added = np.pad(sums.cumsum(axis=1), ((0, 0), (1, 0))) / _FINE
        half = _FINE // 2
        steps = np.arange(0, int(2 * (reach + 1)) + 1) * half
        light, pixels = added[:, steps + half] - added[:, np.maximum(steps - half, 0)]
        radius = steps / _FINE
        areas = np.pi * axis_ratio * np.diff(radius**2)
        seen = np.flatnonzero((np.diff(pixels) < _COVERED * areas) & (radius[1:] > 2))
        radius, light, pixels = (each[: seen[0] + 1 if len(seen) else None] for each in (radius, light, pixels))
        areas = areas[: len(radius) - 1]
        rings = np.diff(light) / np.maximum(np.diff(pixels), 1e-9)
        wide = (light[2:] - light[:-2]) / np.maximum(pixels[2:] - pixels[:-2], 1e-9)
        self.radius, self.brightness = radius[1:-1], wide
        self.light = np.cumsum(rings * areas)[:-1]
        self._axis_ratio = axis_ratio

    def petrosian(self, eta: float = 0.2) -> float:
        """Radius at which the brightness is `eta` times the mean inside (Petrosian 1976); NaN if it never is."""
        inside = self.light / (np.pi * self._axis_ratio * self.radius**2)
        ratio = self.brightness / np.maximum(inside, 1e-9)
        below = np.flatnonzero((ratio < eta) & (self.radius > 1))
        if not len(below) or below[0] == 0:
            return float("nan")
        last = below[0]
        if ratio[last - 1] <= eta:
            return float(self.radius[last])  # below it in the innermost pixels already
        step = (ratio[last - 1] - eta) / (ratio[last - 1] - ratio[last])
        return float(self.radius[last - 1] + step * (self.radius[last] - self.radius[last - 1]))

    def within(self, radius: float) -> float:
        """Light inside a radius; brightness is even within a ring."""
        return float(np.interp(radius**2, np.pad(self.radius, (1, 0)) ** 2, np.pad(self.light, (1, 0))))

    def holding(self, light: float) -> float:
        """Smallest radius that holds an amount of light; NaN if none does."""
        full = np.flatnonzero(self.light >= light)
        if not len(full):
            return float("nan")
        last = full[0]
        before, inner = (self.light[last - 1], self.radius[last - 1]) if last else (0.0, 0.0)
        share = (light - before) / (self.light[last] - before)
        return float(np.sqrt(inner**2 + share * (self.radius[last] ** 2 - inner**2)))


def central_sources(images: np.ndarray) -> Iterator[Source | None]:
    """Find the galaxy in the middle of each cutout.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3), uint8
        Display-stretched colour cutouts, H and W at least 32.

    Yields
    ------
    Source or None
        One an image, in order; None where no source is in the middle.

    Raises
    ------
    ImageError
        No image, another shape or another dtype, or images that are too small.
    """
    return _found(check_images(images, "morphology", SMALLEST_SIDE))


def _found(images: np.ndarray) -> Iterator[Source | None]:
    from scipy.ndimage import gaussian_filter

    height, width = images.shape[1:3]
    frame = outer_frame(height, width)
    scale = max(1.0, min(height, width) / 128)
    for start in range(0, len(images), _CHUNK):
        red, green, blue = np.moveaxis(images[start : start + _CHUNK], 3, 0).astype(np.float64)
        grey = (red + green + blue) / 3
        grey -= np.median(grey[:, frame], axis=1)[:, None, None]
        smooth = gaussian_filter(grey, (0, scale, scale))
        sky = smooth[:, frame]
        middle = np.median(sky, axis=1, keepdims=True)
        noise = 1.4826 * np.median(np.abs(sky - middle), axis=1)
        thresholds = middle[:, 0] + np.maximum(_SIGNIFICANT * noise, _FAINT)
        pairs = _sky_difference(grey, frame)
        for light, image, threshold, pair in zip(grey, smooth, thresholds, pairs, strict=True):
            yield _central(light, image, float(threshold), float(pair))


def _sky_difference(light: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Mean absolute difference of pixels of the frame and others nearby, (n,); sources in it are clipped."""
    # near enough for one background, too far for the correlation of neighbours
    difference = np.abs(light - np.roll(light, light.shape[2] // FRAME, axis=2))[:, frame]
    few = difference.shape[1] * 3 // 4
    mean = _TRIMMED * np.partition(difference, few, axis=1)[:, :few].mean(axis=1)
    for _ in range(_ROUNDS):
        kept = (difference <= _CLIP * mean[:, None]).astype(np.float64)
        mean = np.einsum("np,np->n", difference, kept) / np.maximum(kept.sum(axis=1), 1)
    return np.asarray(mean)


def _central(light: np.ndarray, smooth: np.ndarray, threshold: float, noise: float) -> Source | None:
    from photutils.segmentation import detect_sources
    from photutils.utils.exceptions import NoDetectionsWarning

    fewest = max(5, round(light.size * _FEWEST_PIXELS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        segments = detect_sources(smooth, threshold=threshold, n_pixels=fewest)
    if segments is None:
        return None
    place = _middle(segments.data, smooth)
    if place is None:
        return None
    segment = segments.data == segments.data[place]
    known = (segments.data == 0) | segment
    return Source(light * known, known, segment, noise)


def _middle(labels: np.ndarray, smooth: np.ndarray) -> tuple[int, int] | None:
    """Brightest pixel of a source within 1/16 of the side of the middle."""
    height, width = smooth.shape
    away = min(height, width) / _CENTRAL
    top, left = (int((size - 1) / 2 - away) for size in smooth.shape)
    part = np.s_[top : height - top, left : width - left]
    y, x = np.ogrid[-(height - 1) / 2 : height / 2, -(width - 1) / 2 : width / 2]
    near = np.hypot(y[top : height - top], x[:, left : width - left]) <= away
    bright = np.where((labels[part] > 0) & near, smooth[part], -np.inf)
    row, column = divmod(int(bright.argmax()), bright.shape[1])
    return (top + row, left + column) if np.isfinite(bright[row, column]) else None
