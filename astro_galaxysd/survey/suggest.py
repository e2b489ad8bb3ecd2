"""A stretch for cutouts that came without one: sky, noise and bright parts as in the images the weights learnt from.

Levels are taken from each cutout in the same way as they were from the training images: sky level and noise from the
four corners, an eighth of the side each, without what is 3 sigma off; the bright level is the 99.5 % quantile of the
middle half. Medians over the cutouts fix the stretch. It is a suggestion: the survey's own stretch, where there is
one, is better.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from astro_galaxysd.errors import ImageError, SurveyError
from astro_galaxysd.images.stretch import LUPTON_FRACTION, AsinhStretch, LuptonStretch, Stretch

__all__ = ["Levels", "measure_levels", "suggest_stretch"]

#: Medians of `measure_levels` over the 14,768 SDSS images the shipped weights learnt from (128 px, grey levels of red,
#: green and blue in 0..255); for one band over the mean of the colours. 16 to 84 % of the images have a grey sky of 3
#: to 6, a noise of 2.4 to 4.2, a bright level of 138 to 186.
TRAINED_SKY = {3: (5.0, 5.0, 3.0), 1: (4.3,)}
TRAINED_BRIGHT = {3: (205.0, 167.5, 121.0), 1: (162.0,)}
#: Of the mean of the colours.
TRAINED_NOISE = 3.1 / 255.0
#: Q of the usual Lupton stretch, and the range in which noise may draw it away from there. With fluxes made of 100 SDSS
#: test images, noise added up to 20 times their own or smoothed away, and Q from 2 to 16 tried on each, the median
#: distance to the training images in the embedder's space was least at Q = 7.5, 7.5, 7, 6, 4 (noise 0, 2, 4, 8 and 20
#: times) and 8 to 10 (smoothed); Q that keeps the noise as trained is 8.1, 6.9, 5.7, 4.1, below 3 and 9.4: half-way,
#: of the logarithms, is right.
USUAL_Q = 8.0
Q_RANGE = (2.0, 12.0)


@dataclass(frozen=True)
class Levels:
    """Levels of one cutout.

    Parameters
    ----------
    sky, bright : ndarray, shape (B,)
        In the unit of the planes.
    noise : ndarray, shape (B, B)
        Covariance of the bands' sky, in that unit squared.
    """

    sky: np.ndarray
    bright: np.ndarray
    noise: np.ndarray


def measure_levels(planes: np.ndarray) -> Levels | None:
    """Measure sky, noise and bright level of a cutout.

    Parameters
    ----------
    planes : ndarray, shape (B, H, W)
        Fluxes or display values; NaN is left out.

    Returns
    -------
    Levels or None
        None where fewer than 16 pixels of the corners or of the middle are there in all bands.

    Raises
    ------
    ImageError
        If the cutout is smaller than 16 px.
    """
    height, width = planes.shape[1:]
    if min(height, width) < 16:
        raise ImageError(f"a cutout of {height}x{width} px is too small to measure; give 16 px or more")
    corners, middle = np.zeros((2, height, width), dtype=bool)
    for rows in (slice(0, height // 8), slice(-(height // 8), None)):
        corners[rows, : width // 8] = corners[rows, -(width // 8) :] = True
    middle[height // 4 : -(height // 4), width // 4 : -(width // 4)] = True
    there = np.isfinite(planes).all(axis=0)
    sky, bright = planes[:, corners & there], planes[:, middle & there]
    if min(sky.shape[1], bright.shape[1]) < 16:
        return None
    sky = sky[:, _unclipped(sky)]
    return Levels(np.median(sky, axis=1), np.percentile(bright, 99.5, axis=1), np.atleast_2d(np.cov(sky)))


def _unclipped(sky: np.ndarray) -> np.ndarray:
    """Pixels within 3 sigma in all bands."""
    from astropy.stats import sigma_clip

    clipped = np.ma.getmaskarray(sigma_clip(sky, sigma=3.0, axis=1, masked=True))
    return np.asarray(~clipped.any(axis=0))


def suggest_stretch(planes_list: Iterable[np.ndarray], kind: str = "lupton") -> Stretch:
    """Find a stretch that shows cutouts like the images the weights learnt from.

    Parameters
    ----------
    planes_list : iterable of ndarray, shape (B, H, W)
        Fluxes of cutouts with the galaxy in the middle, one band or three, red first; NaN: not observed. A few
        hundred fix the medians. They are gone through once.
    kind : {"lupton", "asinh"}
        Of the stretch: Lupton keeps colours, asinh treats each band by itself.

    Returns
    -------
    Stretch
        With parameters of four figures. The median cutout has the sky level and the bright level of the training
        images, and each band its colour. Their noise is met where the cutouts are as deep; noisier ones show more of
        it and a sky lifted with it, so that little of the noise is cut off at black.

    Raises
    ------
    SurveyError
        For another kind, another number of bands, no cutout that can be measured, or galaxies no brighter than sky.
    ImageError
        If a cutout is smaller than 16 px.

    Notes
    -----
    For three bands ``lupton`` is the better one: it keeps the colour of a galaxy from its core outwards. With fluxes
    made of SDSS images 0 to 1 % of the cutouts shown by it were beyond 99 % of held-out images in the embedder's
    space, with ``asinh`` 3 to 9 %. For one band the two are the same curve.
    """
    if kind not in ("lupton", "asinh"):
        raise SurveyError(f"no stretch of kind {kind!r} is suggested; choose lupton or asinh")
    measured = [levels for levels in map(measure_levels, planes_list) if levels is not None]
    if not measured:
        raise SurveyError("no cutout has finite pixels in its corners and its middle; a stretch can't be suggested")
    levels = Levels(
        np.median([one.sky for one in measured], axis=0),
        np.median([one.bright - one.sky for one in measured], axis=0),
        np.median([one.noise for one in measured], axis=0),
    )
    n_bands = len(levels.sky)
    if n_bands not in TRAINED_SKY:
        raise SurveyError(f"a stretch for {n_bands} bands can't be suggested; choose three, red first, or one")
    if not np.all(levels.bright > 0):
        raise SurveyError(
            f"the middle of the median cutout is {levels.bright.tolist()} above its corners; a stretch is suggested "
            "for cutouts with a galaxy in the middle"
        )
    return _lupton(levels) if kind == "lupton" else _asinh(levels)


def _trained(n_bands: int) -> tuple[np.ndarray, np.ndarray]:
    """Sky and bright level of the training images as display values."""
    return np.array(TRAINED_SKY[n_bands]) / 255.0, np.array(TRAINED_BRIGHT[n_bands]) / 255.0


def _lupton(levels: Levels) -> LuptonStretch:
    """Scales from the colour, Q from the contrast, gain from the bright level, minimum from the sky."""
    sky, bright = _trained(len(levels.sky))
    scales, noise = _colours(levels)
    light = float(np.mean(scales * levels.bright))
    q = _q(light, noise, float(sky.mean()), float(bright.mean()))
    height = _height(q)
    gain = _gain(height, float(sky.mean()), float(bright.mean())) / light
    sky = sky * max(1.0, gain * noise / TRAINED_NOISE)
    minimum = levels.sky - sky / (gain * scales)
    return LuptonStretch(_figures(height * q / gain), _figures(q), _tuple(minimum), _tuple(scales))


def _asinh(levels: Levels) -> AsinhStretch:
    """`a` from the contrast as for the Lupton stretch, the ends of each band from its bright level and sky."""
    sky, bright = _trained(len(levels.sky))
    scales, noise = _colours(levels)
    light = float(np.mean(scales * levels.bright))
    height = _height(_q(light, noise, float(sky.mean()), float(bright.mean())))
    a = float(1.0 / np.sinh(1.0 / height))
    shown = _gain(height, float(sky.mean()), float(bright.mean())) / light * noise
    sky = sky * max(1.0, shown / TRAINED_NOISE)
    gain = _gain(height, sky, bright) / levels.bright
    lowest = levels.sky - height * np.sinh(sky / height) / gain
    return AsinhStretch(_tuple(lowest), _tuple(lowest + height / (a * gain)), _figures(a))


def _colours(levels: Levels) -> tuple[np.ndarray, float]:
    """Factors that give the light the colour of the training images, and the noise of the mean of the bands then."""
    sky, bright = _trained(len(levels.sky))
    scales = (bright - sky) / levels.bright
    scales /= scales[len(scales) // 2]
    return scales, float(np.sqrt(scales @ levels.noise @ scales)) / len(scales)


def _q(light: float, noise: float, sky: float, bright: float) -> float:
    """Q half-way, in its logarithm, from the usual one to that which shows light and noise as trained."""
    tried = np.geomspace(*Q_RANGE, 200)
    shown = _gain(_height(tried), sky, bright) * max(noise / light, 1e-9)
    # The noise shown grows with Q.
    return float(np.sqrt(USUAL_Q * np.interp(np.log(TRAINED_NOISE), np.log(shown), tried)))


def _height(q: Any) -> Any:
    """Factor before the asinh of the Lupton stretch."""
    return LUPTON_FRACTION / np.arcsinh(LUPTON_FRACTION * q)


def _gain(height: Any, sky: Any, bright: Any) -> Any:
    """Slope at 0 of ``height * asinh(slope * x / height)`` where light of 1 lifts `sky` to `bright`."""
    return height * (np.sinh(bright / height) - np.sinh(sky / height))


def _figures(value: float) -> float:
    """Four figures."""
    return float(f"{value:.4g}")


def _tuple(values: np.ndarray) -> tuple[float, ...] | float:
    """Four figures each; one number for one band."""
    numbers = tuple(_figures(value) for value in values)
    return numbers if len(numbers) > 1 else numbers[0]
