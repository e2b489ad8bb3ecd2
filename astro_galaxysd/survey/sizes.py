r"""The galaxy in the middle of a cutout: its pixels and the radii that hold 50 % and 90 % of its light.

The bands, each less its sky, are averaged with weights :math:`1 / \sigma_b^2` (the deepest image they give for a
source of flat spectrum) and smoothed by a Gaussian of 1 px. What stands out by 2 :math:`\sigma` of the smoothed sky in
9 pixels that touch is a source (photutils). The brightest within 1/10 of the side of the middle is the galaxy; what
touches it belongs to its segment, as the other galaxy of a merger should. Radii are `photutils` flux radii within the
Kron aperture (Kron 1980; 2.5 Kron radii, SExtractor's ``FLUX_RADIUS``). Masked, and filled in from the opposite side
of the galaxy, are other sources and pixels over twice as bright as those opposite (compare the symmetric templates of
the SDSS deblender): a star on a galaxy's edge does not make the galaxy larger.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from astro_galaxysd.errors import ImageError

__all__ = ["DISPLAY_FRAME", "FLUX_FRAME", "Frame", "Galaxy", "find_galaxy", "frame_planes", "place"]

_SMOOTHING = 1.0
_SIGNIFICANT = 2.0
_FEWEST_PIXELS = 9
_MIDDLE = 10
_CLIP, _ROUNDS = 3.0, 5
_CORE = 3.0  # pixels around the peak where a pixel's opposite is not well known
_FEWEST_SKY = 64
_FARTHEST = 0.4  # of the pixels that are no source: there halos have ended


@dataclass(frozen=True)
class Frame:
    """How large a galaxy is in images of a model.

    Parameters
    ----------
    radius : float
        R90 of the galaxies as `find_galaxy` measures it, pixels.
    side : int
        Of the images, pixels.
    """

    radius: float = 22.6
    side: int = 128


#: What the shipped weights learnt from: medians of 200 test cutouts, 16 % to 84 % are 21 to 25 px in fluxes (their
#: stretch undone: Lupton, Q = 8) and 29 to 41 px in display values, in which faint light counts for more.
FLUX_FRAME, DISPLAY_FRAME = Frame(), Frame(radius=34.2)


@dataclass(frozen=True)
class Galaxy:
    """The galaxy in the middle of a cutout.

    Parameters
    ----------
    segment : ndarray, shape (H, W), bool
        Its pixels.
    sources : ndarray, shape (H, W), int32
        0 is sky; each source, the galaxy too, has a number of its own.
    x, y : float
        Windowed centroid of its light (SExtractor's ``XWIN_IMAGE``), pixels from the middle of the first pixel of
        row 0.
    r50, r90 : float
        Radii that hold 50 % and 90 % of its light, pixels.
    axis_ratio : float
        Minor over major axis, by the moments of its segment.
    flux : float
        Its light in the weighted mean of the bands, in their unit.
    level : ndarray, shape (B,), float64
        Sky of each band.
    light : ndarray, shape (H, W), float64
        Weighted mean of the bands less their sky; 0 where not observed.
    """

    segment: np.ndarray
    sources: np.ndarray
    x: float
    y: float
    r50: float
    r90: float
    axis_ratio: float
    flux: float
    level: np.ndarray
    light: np.ndarray


def find_galaxy(planes: np.ndarray) -> Galaxy | None:
    """Find and measure the galaxy in the middle.

    Parameters
    ----------
    planes : ndarray, shape (B, H, W), float
        A cutout, in any unit; NaN where not observed. H and W at least 16.

    Returns
    -------
    Galaxy or None
        None where nothing stands out in the middle, or its light does not end within the cutout.

    Raises
    ------
    ImageError
        If `planes` has another number of axes or a side is below 16 px.
    """
    values = _checked(planes)
    missing = np.asarray(~np.isfinite(values).all(axis=0))
    if missing.all():
        return None
    values = np.where(missing, np.nan, values)
    labels = _sources(_combined(values, missing), missing)
    middle = None if labels is None else _middle(labels, missing)
    if labels is None or middle is None:
        return None
    # the sky again, now away from the sources
    level, rms = _level(values, _not_sky(missing | (labels[0] > 0)))
    weights = _weights(rms)
    light = np.tensordot(weights, np.nan_to_num(values - level[:, None, None]), 1)
    noise = float(_clipped(labels[1][~missing])[1])
    blended = (labels[0] == labels[0][middle]) & _one_sided(labels[1], middle, noise)
    return _measured(light, labels[0], middle, missing | blended, level)


def frame_planes(planes: np.ndarray, frame: Frame = FLUX_FRAME) -> np.ndarray | None:
    """Bring a cutout to the frame of a model: the galaxy in the middle, its R90 that of the frame.

    Parameters
    ----------
    planes : ndarray, shape (B, H, W), float
        A cutout; NaN where not observed.
    frame : Frame
        `DISPLAY_FRAME` for display images.

    Returns
    -------
    ndarray, shape (B, side, side), float64, or None
        Resampled with antialiasing; surface brightness is kept. What the cutout does not cover is NaN. None where no
        galaxy was found.

    Raises
    ------
    ImageError
        As `find_galaxy`.
    """
    galaxy = find_galaxy(planes)
    if galaxy is None:
        return None
    values = np.asarray(planes, dtype=np.float64)
    scale, shape = frame.radius / galaxy.r90, (frame.side, frame.side)
    known = np.asarray(np.isfinite(values).all(axis=0))
    filled = np.where(known, values, galaxy.level[:, None, None])
    seen = place(known[None].astype(np.float64), scale, (galaxy.x, galaxy.y), shape)[0]
    placed = place(filled - galaxy.level[:, None, None], scale, (galaxy.x, galaxy.y), shape)
    return np.where(seen > 0.5, placed + galaxy.level[:, None, None], np.nan)


def place(planes: np.ndarray, scale: float, centre: tuple[float, float], shape: tuple[int, int]) -> np.ndarray:
    """Resample a cutout so that a point comes to the middle of another frame.

    Parameters
    ----------
    planes : ndarray, shape (B, H, W), float
        All finite; what lies beyond counts as 0.
    scale : float
        New pixels for one old pixel, above 0; not rounded.
    centre : tuple of float
        x and y of the point that comes to the middle.
    shape : tuple of int
        Height and width of the new frame.

    Returns
    -------
    ndarray, shape (B, height, width), float64
        Surface brightness is kept: values are bicubic means where `scale` is below 1.
    """
    from PIL import Image

    height, width = shape
    left, top = centre[0] + 0.5 - width / scale / 2, centre[1] + 0.5 - height / scale / 2
    margin = np.ceil([-top, top + height / scale - planes.shape[1], -left, left + width / scale - planes.shape[2]])
    above, below, before, after = np.maximum(margin.astype(int), 0) + 1
    box = (left + before, top + above, left + before + width / scale, top + above + height / scale)
    padded = np.pad(planes, ((0, 0), (above, below), (before, after))).astype(np.float32)
    bands = [Image.fromarray(band).resize((width, height), Image.Resampling.BICUBIC, box=box) for band in padded]
    return np.stack([np.asarray(band, dtype=np.float64) for band in bands])


def _checked(planes: np.ndarray) -> np.ndarray:
    values = np.asarray(planes, dtype=np.float64)
    if values.ndim != 3 or min(values.shape[1:]) < 16:
        raise ImageError(
            f"a cutout of shape {values.shape} can't be measured; "
            "planes (B, H, W) with sides of 16 px or more are needed"
        )
    return values


def _clipped(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and rms along the last axis after sigma clipping."""
    from astropy.stats import SigmaClip

    # along an axis astropy clips in C, three times as fast as without one
    kept = SigmaClip(_CLIP, maxiters=_ROUNDS)(values, axis=-1, masked=False)
    return np.nanmedian(kept, axis=-1), np.nanstd(kept, axis=-1)


def _level(values: np.ndarray, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sky and its rms in each band, of all pixels where too few are sky."""
    seen = ~hidden if (~hidden).sum() >= _FEWEST_SKY else np.isfinite(values).all(axis=0)
    return _clipped(values[:, seen])


def _not_sky(hidden: np.ndarray) -> np.ndarray:
    """All but the pixels that are farthest from sources."""
    from scipy.ndimage import distance_transform_edt

    if not hidden.any() or hidden.all():
        return hidden
    away = distance_transform_edt(~hidden)
    return np.asarray(hidden | (away < np.quantile(away[~hidden], 1 - _FARTHEST)))


def _weights(rms: np.ndarray) -> np.ndarray:
    """Inverse variances, adding up to 1; even where a band has no noise."""
    if not rms.all():
        return np.full(len(rms), 1 / len(rms))
    weights = rms**-2.0
    return np.asarray(weights / weights.sum())


def _combined(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Weighted mean of the bands less their sky; 0 where nothing was observed."""
    level, rms = _level(values, missing)
    return np.asarray(np.tensordot(_weights(rms), np.nan_to_num(values - level[:, None, None]), 1))


def _sources(light: np.ndarray, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Numbered sources, and the smoothed light they stand out in."""
    from photutils.segmentation import detect_sources
    from photutils.utils.exceptions import NoDetectionsWarning
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(light, _SMOOTHING)
    level, rms = (float(value) for value in _clipped(smooth[~missing]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        faintest = max(_SIGNIFICANT * rms, 1e-12 * float(np.abs(smooth).max()))  # without noise: not its rounding
        found = detect_sources(smooth, level + faintest, n_pixels=_FEWEST_PIXELS, mask=missing)
    return None if found is None else (found.data, smooth)


def _middle(labels: tuple[np.ndarray, np.ndarray], missing: np.ndarray) -> tuple[int, int] | None:
    """Row and column of the brightest pixel of a source near the middle."""
    numbers, smooth = labels
    bright = np.where(_near(*numbers.shape) & (numbers > 0) & ~missing, smooth, -np.inf)
    row, column = divmod(int(bright.argmax()), bright.shape[1])
    return (row, column) if np.isfinite(bright[row, column]) else None


def _one_sided(smooth: np.ndarray, middle: tuple[int, int], noise: float) -> np.ndarray:
    """Pixels over twice as bright as those opposite: a star or a companion that touches the galaxy."""
    height, width = smooth.shape
    rows, columns = 2 * middle[0] - np.arange(height), 2 * middle[1] - np.arange(width)
    opposite = smooth[np.clip(rows, 0, height - 1)[:, None], np.clip(columns, 0, width - 1)]
    far = np.hypot(np.arange(height)[:, None] - middle[0], np.arange(width) - middle[1]) > _CORE
    return np.asarray(far & (smooth > 2.0 * opposite + 3.0 * noise))


@lru_cache(maxsize=8)
def _near(height: int, width: int) -> np.ndarray:
    y, x = np.ogrid[-(height - 1) / 2 : height / 2, -(width - 1) / 2 : width / 2]
    return np.asarray(np.hypot(y, x) <= min(height, width) / _MIDDLE)


def _measured(
    light: np.ndarray, numbers: np.ndarray, middle: tuple[int, int], missing: np.ndarray, level: np.ndarray
) -> Galaxy | None:
    from photutils.segmentation import SegmentationImage, SourceCatalog

    segment = numbers == numbers[middle]
    mask = missing | ((numbers > 0) & ~segment)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a galaxy without a radius is None
        catalog = SourceCatalog(light, SegmentationImage(segment.astype(np.int32)), mask=mask)
        radii = [catalog.flux_radius(share).value for share in (0.5, 0.9)]
        found = [*radii, catalog.elongation, catalog.kron_flux, catalog.x_centroid_win, catalog.y_centroid_win]
    r50, r90, elongation, flux, x, y = (float(np.ravel(value)[0]) for value in found)
    if not (np.isfinite([r50, r90, elongation, flux]).all() and flux > 0 and r90 > 0):
        return None
    # the window may have walked to a companion
    if not np.hypot(x - middle[1], y - middle[0]) <= min(light.shape) / _MIDDLE:
        y, x = (float(value) for value in middle)
    return Galaxy(segment, numbers.astype(np.int32), x, y, r50, r90, min(1 / elongation, 1.0), flux, level, light)
