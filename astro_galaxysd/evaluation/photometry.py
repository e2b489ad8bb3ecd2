r"""Photometric comparison of synthetic with real cutouts.

In: two `ImageBatch`. Out: a Table with one row a figure. All is in grey levels of the display stretch, which is not
calibrated photometry; compare only images that were stretched alike. Each image gives

- background :math:`b_c`: median of the outermost frame (1/16 of the side), per channel; reported as the channels' mean,
- flux :math:`F = \sum_{xy} (\bar I_{xy} - \bar b)`, channels averaged,
- sky_rms: noise of the corners (`astro_galaxysd.evaluation.texture.sky_rms`),
- colour :math:`2.5 \log_{10}(F_R / F_B)` and colour_rg :math:`2.5 \log_{10}(F_R / F_G)` in magnitudes, positive where
  the galaxy is redder; NaN unless both fluxes are positive,
- profile: mean light above the background in rings about the middle of the image,
- power: radially averaged power spectrum (`astro_galaxysd.evaluation.texture.radial_power`).

The first five are compared as distributions (`astro_galaxysd.evaluation.distributions`): ``_ks``, ``_wasserstein`` and
``_shift``, the last relative to the real median, of colours in magnitudes. Beside them stand

- ``profile_ks``: Kolmogorov-Smirnov distance of the light in a ring, the mean over the rings,
- ``power``: :math:`|\ln ((\tilde P_{synth} + 0.01) / (\tilde P_{real} + 0.01))|` of the medians over images, the mean
  over frequencies up to half the Nyquist frequency: what is above is mostly the noise of single pixels. The hundredth
  (`astro_galaxysd.evaluation.distances.apart`) keeps black images finite and is small beside the power of any galaxy.

Lower is better in all; errors are standard deviations over bootstrap resamples of both batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from astro_galaxysd.evaluation.cutouts import check_images, outer_frame
from astro_galaxysd.evaluation.distances import apart
from astro_galaxysd.evaluation.distributions import (
    FEWEST,
    check_resamples,
    check_sizes,
    compare,
    ks_distance,
    spread,
)
from astro_galaxysd.evaluation.memory import remembered
from astro_galaxysd.evaluation.scores import Score, not_computed, score_table
from astro_galaxysd.evaluation.texture import HALF_NYQUIST, radial_power, ring_frequencies, sky_rms

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.plugins.protocols import Embedder
    from astro_galaxysd.records import ImageBatch

__all__ = ["QUANTITIES", "Photometry", "PhotometryEvaluator", "measure", "radial_profile", "remembered_measure"]

#: Quantities of `measure`, in its order.
QUANTITIES = ("flux", "background", "sky_rms", "colour", "colour_rg")
_RELATIVE = {name: not name.startswith("colour") for name in QUANTITIES}
_REVISION = "photometry-2"  # counted up when the same image would give other numbers
_CHUNK = 64
_SMALLEST = 16
_RINGS = 16


class Photometry(NamedTuple):
    """All that is measured of N images of one size.

    Parameters
    ----------
    quantities : dict of str to ndarray, shape (N,), float64
        As `measure`.
    radius : ndarray, shape (R,), float64
    profile : ndarray, shape (N, R), float64
        As `radial_profile`.
    frequency : ndarray, shape (B,), float64
    power : ndarray, shape (N, B), float64
        As `astro_galaxysd.evaluation.texture.radial_power`.
    """

    quantities: dict[str, np.ndarray]
    radius: np.ndarray
    profile: np.ndarray
    frequency: np.ndarray
    power: np.ndarray


def measure(images: np.ndarray) -> dict[str, np.ndarray]:
    """Flux, background, sky noise and colours of cutouts.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3), uint8
        Display-stretched colour cutouts, H and W at least 16.

    Returns
    -------
    dict of str to ndarray, shape (N,), float64
        Named by `QUANTITIES`: ``flux``, ``background`` and ``sky_rms`` in grey levels, ``colour`` (red to blue) and
        ``colour_rg`` (red to green) in magnitudes, NaN where a channel has no positive flux.

    Raises
    ------
    ImageError
        No image, another shape or another dtype, or images that are too small.
    """
    # In chunks: as floats a survey's worth of cutouts would need eight times its memory.
    pieces = [_measure_chunk(chunk) for chunk in _chunks(images)]
    found = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return {name: sky_rms(images) if name == "sky_rms" else found[name] for name in QUANTITIES}


def radial_profile(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean light above the background in rings about the middle of each image.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3), uint8
        As `measure`.

    Returns
    -------
    radius : ndarray, shape (R,), float64
        Middles of the rings, in pixels, out to half the shorter side S; R is 16, or S / 2 where that is less.
    profile : ndarray, shape (N, R), float64
        Channels averaged, grey levels.

    Raises
    ------
    ImageError
        As `measure`.
    """
    pieces = []
    for chunk in _chunks(images):
        height, width = chunk.shape[1:3]
        radius, share = _radial_shares(height, width)
        grey = chunk.mean(axis=3, dtype=np.float32).reshape(len(chunk), -1)
        background = np.median(chunk[:, outer_frame(height, width)], axis=1).mean(axis=1)
        pieces.append(grey @ share - background[:, None])
    return radius, np.concatenate(pieces)


def remembered_measure(embedder: object, images: np.ndarray) -> Photometry:
    """All that is measured of images, from a memory where there is one.

    Parameters
    ----------
    embedder : Memory or object or None
        A `astro_galaxysd.evaluation.memory.Memory` gives what it knows and keeps the rest; anything else is not used.
    images : ndarray, shape (N, H, W, 3), uint8
        As `measure`.

    Returns
    -------
    Photometry

    Raises
    ------
    ImageError
        As `measure`.
    """
    numbers = remembered(embedder, _REVISION, _numbers, images)
    height, width = images.shape[1:3]
    radius, frequency = _radial_shares(height, width)[0], ring_frequencies(height, width)
    ends = len(QUANTITIES), len(QUANTITIES) + len(radius)
    quantities, profile, power = np.split(numbers, ends, axis=1)
    return Photometry(dict(zip(QUANTITIES, quantities.T, strict=True)), radius, profile, frequency, power)


def _chunks(images: np.ndarray) -> Iterator[np.ndarray]:
    check_images(images, "photometry", _SMALLEST)
    for start in range(0, len(images), _CHUNK):
        yield images[start : start + _CHUNK]


def _measure_chunk(images: np.ndarray) -> dict[str, np.ndarray]:
    height, width = images.shape[1:3]
    background = np.median(images[:, outer_frame(height, width)], axis=1)
    sums = [images[..., channel].reshape(len(images), -1).sum(axis=1, dtype=np.int64) for channel in range(3)]
    flux = np.stack(sums, axis=1) - background * (height * width)
    red, green, blue = flux.T
    return {
        "flux": flux.mean(axis=1),
        "background": background.mean(axis=1),
        "colour": _magnitudes(red, blue),
        "colour_rg": _magnitudes(red, green),
    }


def _magnitudes(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    colour = np.full(len(first), np.nan)
    lit = (first > 0) & (second > 0)
    colour[lit] = 2.5 * np.log10(first[lit] / second[lit])
    return colour


@lru_cache(maxsize=4)
def _radial_shares(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Middles of the rings (R,), and what each pixel adds to the mean of each, (H * W, R)."""
    side = min(height, width)
    rings = min(_RINGS, side // 2)
    distance = np.hypot(*np.ogrid[-(height - 1) / 2 : height / 2, -(width - 1) / 2 : width / 2])
    number = (distance.reshape(-1, 1) / (side / 2) * rings).astype(int)
    share = (number == np.arange(rings)).astype(np.float32)
    return (np.arange(rings) + 0.5) * (side / 2 / rings), share / share.sum(axis=0)


def _numbers(images: np.ndarray) -> np.ndarray:
    """Quantities, then profile, then power; (N, k)."""
    return np.column_stack([*measure(images).values(), radial_profile(images)[1], radial_power(images)[1]])


class PhotometryEvaluator:
    """Compare brightness, background, sky noise, colours, radial profile and power spectrum.

    Parameters
    ----------
    n_bootstrap : int
        Resamples for the error, at least 2.
    """

    def __init__(self, *, n_bootstrap: int = 100) -> None:
        self.n_bootstrap = n_bootstrap

    def evaluate(
        self,
        real: ImageBatch,
        synthetic: ImageBatch,
        *,
        reference: ImageBatch | None = None,
        embedder: Embedder | None = None,
        rng: np.random.Generator | int | None = None,
    ) -> Table:
        """Judge synthetic against real images.

        Parameters
        ----------
        real, synthetic : ImageBatch
            Images of one size.
        reference : ImageBatch, optional
            Not used: photometry knows no training images.
        embedder : Embedder, optional
            A `astro_galaxysd.evaluation.memory.Memory` keeps what was measured; another embedder is not used.
        rng : Generator or int, optional
            For the bootstrap (SPEC 7).

        Returns
        -------
        Table
            Columns `astro_galaxysd.evaluation.scores.COLUMNS`, group ``"all"``; ``n_real`` and ``n_synthetic`` count
            images with a finite value. NaN with a note where fewer than 8 images of a batch have one.

        Raises
        ------
        ImageError
            A batch without images or of another kind than uint8 (N, H, W, 3), or two sizes.
        ConditionError
            `n_bootstrap` below 2.
        """
        check_resamples(self.n_bootstrap)
        check_sizes(real.images, synthetic.images)
        one, two = (remembered_measure(embedder, batch.images) for batch in (real, synthetic))
        generator = np.random.default_rng(rng)
        rows = list(compare(one.quantities, two.quantities, generator, times=self.n_bootstrap, shifts=_RELATIVE))
        return score_table([*rows, *self._spatial(one, two, generator)])

    def _spatial(self, real: Photometry, other: Photometry, rng: np.random.Generator) -> Iterator[Score]:
        """Rows of profile and power."""
        counts = len(real.profile), len(other.profile)
        if min(counts) < FEWEST:
            note = f"{counts[0]} real and {counts[1]} synthetic images; at least {FEWEST} each are needed"
            yield from (not_computed(metric, "all", note, *counts, False) for metric in ("profile_ks", "power"))
            return

        low = real.frequency <= HALF_NYQUIST
        power, drawn = real.power[:, low], other.power[:, low]

        def figures(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
            rings = zip(real.profile[rows].T, other.profile[columns].T, strict=True)
            profile = np.mean([ks_distance(one, two) for one, two in rings])
            return np.array([profile, apart(drawn[columns], power[rows])])

        values = figures(np.arange(counts[0]), np.arange(counts[1]))
        errors = spread(figures, *counts, rng, self.n_bootstrap)
        for metric, value, error in zip(("profile_ks", "power"), values, errors, strict=True):
            yield Score(metric, "all", float(value), float(error), *counts, False)
