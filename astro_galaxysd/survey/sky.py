r"""Sky of a cutout measured, and new sky like it drawn: level, noise, its correlation and its distribution.

Noise of real cutouts is correlated from pixel to pixel (resampling, drizzling, compression) and between bands, skewed
by faint sources, and cut at black in display images. A new sky is a Gaussian random field :math:`z_b(x)` put through
the row's own quantile function :math:`g_b` (a Gaussian copula, or NORTA: Cario & Nelson 1997): its distribution is
the row's, clipping and skew included, and no pixel is copied. With the Hermite coefficients
:math:`c_{b,n} = E[g_b(z) He_n(z)] / \sqrt{n!}` of the standardised :math:`g_b`, fields of correlation :math:`\rho`
become skies of correlation

.. math:: r_{ab}(\rho) = \sum_{n \ge 1} c_{a,n} c_{b,n} \rho^n .

Turned round this gives the :math:`\rho` of each lag and pair of bands for the :math:`r` measured in the row. Its
spectrum (one Hermitian matrix of bands a frequency; lags tapered by a flat-top window, Politis & Romano 1995) is
made positive semidefinite and drawn; then each ring of frequencies is given the power it should have, so that the
correlation of each sky is that of its row, not one more draw around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from astro_galaxysd.errors import ImageError

__all__ = ["FEWEST_PIXELS", "LAGS", "Sky", "draw_sky", "measure_sky", "share_directions"]

#: Largest lag of a correlation, pixels.
LAGS = 8
#: Fewest sky pixels that are measured: 300 give the correlation of neighbours within 6 %.
FEWEST_PIXELS = 300
_WIDE = 3.0  # pixels of the Gaussian that shows faint halos
_FEWEST_FAINT = 60
_HALO = 8.0  # pixels of the Gaussian that takes halos off
_NOTICED = 0.25  # rms of halos over that of the noise; noise alone gives 0.1 to 0.2
_SUMMED = 4  # lags of noise
_FAR = 0.3  # of the sky pixels give the level
_FLAT = 3  # lags up to here keep their weight
_GROWTH = (5, 3, 2, 1)  # pixels around sources that are no sky, from generous to tight
_ENOUGH = 0.15  # share of the cutout that makes a generous margin affordable
_CLIP = 5.0
_SCORES = np.linspace(-4.0, 4.0, 161)
_DEGREES = 12
_PROJECTIONS = 3


@dataclass(frozen=True)
class Sky:
    """The sky of one cutout.

    Parameters
    ----------
    level, rms : ndarray, shape (B,), float64
        Away from the halos of sources, median and standard deviation after sigma clipping (3), in the unit of the
        cutout.
    quantiles : ndarray, shape (B, 161), float64
        Values at the normal scores -4 to 4; pixels beyond 5 rms are left out.
    gradient : ndarray, shape (B, 2), float64
        Change of the sky from the middle to the right edge and to the bottom; 0 where it is below one rms. The
        other numbers are about it.
    correlation : ndarray, shape (B, B, 17, 17), float64
        Of the values: of band a at a pixel and band b at a pixel dy, dx away, the middle being no lag.
    missing : ndarray, shape (H, W), bool
        Pixels of the cutout that were not observed.
    n_pixels : int
        Sky pixels that were measured.
    """

    level: np.ndarray
    rms: np.ndarray
    quantiles: np.ndarray
    gradient: np.ndarray
    correlation: np.ndarray
    missing: np.ndarray
    n_pixels: int

    def plane(self, shape: tuple[int, int]) -> np.ndarray:
        """The gradients as images of that height and width, (B, height, width), 0 in the middle."""
        return _plane(self.gradient, shape)


def measure_sky(planes: np.ndarray, sources: np.ndarray) -> Sky:
    """Measure the sky of a cutout.

    Parameters
    ----------
    planes : ndarray, shape (B, H, W), float
        NaN where not observed.
    sources : ndarray, shape (H, W), bool or int
        Not 0 where a source is; up to 5 px around them are left out, fewer where little sky would be left.

    Returns
    -------
    Sky

    Raises
    ------
    ImageError
        If fewer than `FEWEST_PIXELS` pixels are sky.
    """
    values = np.asarray(planes, dtype=np.float64)
    missing = np.asarray(~np.isfinite(values).all(axis=0))
    seen, away = _sky_pixels((np.asarray(sources) != 0) | _faint(values, missing), missing)
    gradient = _gradient(values, seen)
    values = values - _plane(gradient, missing.shape)
    level = clipped(values[:, _farthest(away, seen)], 3.0)[0]
    wide = _wide_light(values, seen) - level[:, None, None]
    noise = clipped(values[:, seen] - wide[:, seen], 3.0)[1]
    halos = bool((np.std(wide[:, seen], axis=1) > _NOTICED * noise).any())
    values = values - wide if halos else values
    pixels = values[:, seen]
    middle, spread = clipped(pixels, _CLIP)
    inside = np.abs(pixels - middle[:, None]) <= _CLIP * np.maximum(spread, 1e-300)[:, None]
    quantiles = np.stack([np.quantile(band[kept], _shares()) for band, kept in zip(pixels, inside, strict=True)])
    known = np.zeros(values.shape, dtype=bool)
    known[:, seen] = inside
    rms, correlation = clipped(pixels, 3.0)[1], _correlation(values, known)
    if halos:
        correlation, more = _given_back(correlation)
        rms, quantiles = rms * more, level[:, None] + (quantiles - level[:, None]) * more[:, None]
    return Sky(level, rms, quantiles, gradient, correlation, missing, int(seen.sum()))


def share_directions(skies: Sequence[Sky]) -> list[Sky]:
    """Give skies of one survey the same dependence of correlation on direction.

    A row knows the correlation of a lag within a few per cent only, and a sky drawn with it has that error and its
    own: its noise would look less even than the survey's. How the correlation falls with distance stays the row's,
    how it differs between directions is the mean over rows.

    Parameters
    ----------
    skies : sequence of Sky
        Of one survey, with the same bands.

    Returns
    -------
    list of Sky
        In order.
    """
    if not skies:
        return []
    even = [_evened(sky.correlation) for sky in skies]
    uneven = np.mean([sky.correlation - mean for sky, mean in zip(skies, even, strict=True)], axis=0)
    return [replace(sky, correlation=np.clip(mean + uneven, -1.0, 1.0)) for sky, mean in zip(skies, even, strict=True)]


def draw_sky(sky: Sky, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw new sky.

    Parameters
    ----------
    sky : Sky
        What it shall be like.
    shape : tuple of int
        Height and width, pixels.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (B, height, width), float64
        All finite.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    field = _field(_latent(sky), shape, rng)
    # by rank: the distribution of each sky is the row's, not one more draw from it
    ranks = rankdata(field.reshape(len(field), -1), axis=1) - 0.5
    scores = ndtri(ranks / ranks.shape[1])
    drawn = [np.interp(score, _SCORES, band) for score, band in zip(scores, sky.quantiles, strict=True)]
    return np.asarray(np.stack(drawn).reshape(field.shape) + _plane(sky.gradient, shape))


def _faint(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Pixels of faint wide light: halos that stand out only when smoothed."""
    from scipy.ndimage import gaussian_filter, label

    if missing.all():
        return missing
    level, rms = clipped(values[:, ~missing], 3.0)
    scale = np.where(rms > 0, rms, 1.0)[:, None, None]
    light = np.where(missing, 0.0, np.clip((values - level[:, None, None]) / scale, -3.0, 3.0).mean(axis=0))
    smooth = gaussian_filter(light, _WIDE)
    middle, spread = clipped(smooth[None, ~missing], 3.0)
    pieces, _ = label(smooth > middle[0] + 3.0 * spread[0])
    wide = np.bincount(pieces.ravel()) >= _FEWEST_FAINT  # smaller ones may be noise: the sky would lose its peaks
    wide[0] = False
    return np.asarray(wide[pieces])


def _gradient(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Slope of each band's sky, (B, 2): least squares on the pixels that stay after clipping."""
    x, y = (axis[seen] for axis in _axes(seen.shape))
    found = np.zeros((len(values), 2))
    for band, pixels in enumerate(values[:, seen]):
        level, rms = clipped(pixels[None], 3.0)
        kept = np.abs(pixels - level[0]) <= 3.0 * rms[0]
        terms = np.stack([x[kept], y[kept], np.ones(kept.sum())], axis=1)
        slope = np.linalg.lstsq(terms, pixels[kept], rcond=None)[0][:2]
        found[band] = slope if np.abs(slope).sum() > rms[0] else 0.0
    return found


def _plane(gradient: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The gradients as images, (B, H, W), 0 in the middle."""
    return np.asarray(np.tensordot(gradient, np.stack(_axes(shape)), 1))


def _axes(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """X and y of the pixels, -1 to 1."""
    y, x = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    return x, y


def _sky_pixels(sources: np.ndarray, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels away from sources, as far as enough are left, and the distance of each pixel from them."""
    from scipy.ndimage import distance_transform_edt

    hidden = sources | missing
    away = distance_transform_edt(~hidden) if hidden.any() else np.full(missing.shape, np.inf)
    for margin in _GROWTH:
        seen = away > margin
        if seen.sum() >= max(FEWEST_PIXELS, _ENOUGH * seen.size):
            return seen, away
    if seen.sum() >= FEWEST_PIXELS:
        return seen, away
    raise ImageError(
        f"only {int(seen.sum())} of {seen.size} pixels are sky, {FEWEST_PIXELS} are needed; give larger cutouts"
    )


def _wide_light(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Light of the sky pixels on scales of halos: their mean within a Gaussian, (B, H, W)."""
    from scipy.ndimage import gaussian_filter

    pixels = values[:, seen]
    middle, spread = clipped(pixels, 3.0)
    bounded = np.zeros_like(values)
    bounded[:, seen] = np.clip(pixels - middle[:, None], -3.0 * spread[:, None], 3.0 * spread[:, None])
    weight = gaussian_filter(seen.astype(np.float64), _HALO)
    smooth = gaussian_filter(bounded, (0, _HALO, _HALO)) / np.maximum(weight, 1e-3)
    return np.asarray(smooth + middle[:, None, None])


def _given_back(correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""What noise lost when the mean within a Gaussian w was taken off: correlation, and factor of each band's rms.

    Of a covariance c that adds up to S over all lags :math:`c - S (2 w - w * w)` is left.
    """
    lag = np.hypot(*np.mgrid[-LAGS : LAGS + 1, -LAGS : LAGS + 1])
    lost = sum(
        sign * np.exp(-(lag**2) / (2 * width**2)) / (2 * np.pi * width**2)
        for sign, width in ((2, _HALO), (-1, _HALO * np.sqrt(2)))
    )
    near = lag <= _SUMMED
    total = np.maximum(correlation[:, :, near].sum(axis=2) / (1 - lost[near].sum()), 0.0)
    covariance = correlation + total[:, :, None, None] * lost
    more = np.sqrt(np.einsum("aa->a", covariance[:, :, LAGS, LAGS]))
    return covariance / (more[:, None] * more)[:, :, None, None], more


def _farthest(away: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The sky pixels that are farthest from sources, where halos have ended."""
    number = max(FEWEST_PIXELS, int(_FAR * seen.sum()))
    limit = np.sort(away[seen])[-number] if number < seen.sum() else 0.0
    return np.asarray(seen & (away >= limit))


def clipped(pixels: np.ndarray, sigmas: float) -> tuple[np.ndarray, np.ndarray]:
    """Median and standard deviation of each band after sigma clipping."""
    from astropy.stats import SigmaClip

    kept = SigmaClip(sigmas, maxiters=5)(pixels, axis=-1, masked=False)
    return np.nanmedian(kept, axis=-1), np.nanstd(kept, axis=-1)


def _correlation(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Correlation of the known pixels at all lags, by masked Fourier transforms; (B, B, 2 LAGS + 1, 2 LAGS + 1)."""
    from scipy.fft import irfft2, next_fast_len, rfft2

    shape = [next_fast_len(side + LAGS, real=True) for side in values.shape[1:]]
    counts = known.sum(axis=(1, 2))
    means = np.where(known, values, 0.0).sum(axis=(1, 2)) / counts
    light = np.where(known, values - means[:, None, None], 0.0)
    spread = np.sqrt((light**2).sum(axis=(1, 2)) / counts)
    light_waves, known_waves = rfft2(light, shape), rfft2(known.astype(np.float64), shape)

    def pairs(waves: np.ndarray) -> np.ndarray:
        # lag: the second band's place less the first's
        products = irfft2(waves[:, None].conj() * waves[None], shape)
        centred = np.roll(products, (LAGS, LAGS), axis=(-2, -1))
        return np.asarray(centred[..., : 2 * LAGS + 1, : 2 * LAGS + 1])

    pixels = pairs(known_waves)
    scale = np.where(spread > 0, spread, 1.0)
    found = pairs(light_waves) / np.maximum(pixels, FEWEST_PIXELS / 3) / (scale[:, None] * scale)[:, :, None, None]
    return np.asarray(np.clip(found, -1.0, 1.0))


def _evened(correlation: np.ndarray) -> np.ndarray:
    """Mean of the correlation over lags of one length."""
    lengths, ring = np.unique((np.mgrid[-LAGS : LAGS + 1, -LAGS : LAGS + 1] ** 2).sum(axis=0), return_inverse=True)
    members = (ring.ravel() == np.arange(len(lengths))[:, None]).astype(np.float64)
    flat = correlation.reshape(*correlation.shape[:2], -1)
    means = flat @ (members / members.sum(axis=1, keepdims=True)).T
    return np.asarray((means @ members).reshape(correlation.shape))


def _latent(sky: Sky) -> np.ndarray:
    """Correlation that the Gaussian field must have, (B, B, 17, 17)."""
    coefficients = _hermite(sky.quantiles)
    steps = np.linspace(-1.0, 1.0, 401)
    powers = steps[:, None] ** np.arange(1, _DEGREES + 1)
    found = np.empty_like(sky.correlation)
    for a, one in enumerate(coefficients):
        for b, two in enumerate(coefficients):
            given = np.maximum.accumulate(powers @ (one * two))
            found[a, b] = np.interp(sky.correlation[a, b], given, steps) if np.ptp(given) > 1e-9 else 0.0
        found[a, a, LAGS, LAGS] = 1.0
    return np.asarray(found * _taper())


def _hermite(quantiles: np.ndarray) -> np.ndarray:
    """Hermite coefficients 1 to 12 of the standardised quantile functions, (B, 12); 0 for a constant sky."""
    density = np.exp(-(_SCORES**2) / 2)
    density /= density.sum()
    spread = quantiles - (quantiles * density).sum(axis=1, keepdims=True)
    rms = np.sqrt((spread**2 * density).sum(axis=1, keepdims=True))
    standard = np.divide(spread, rms, out=np.zeros_like(spread), where=rms > 0)
    polynomials = [np.ones_like(_SCORES), _SCORES]
    for n in range(1, _DEGREES):  # normalised: sqrt(n + 1) h[n+1] = z h[n] - sqrt(n) h[n-1]
        polynomials.append((_SCORES * polynomials[n] - np.sqrt(n) * polynomials[n - 1]) / np.sqrt(n + 1))
    return np.asarray((standard * density) @ np.stack(polynomials[1:]).T)


def _field(correlation: np.ndarray, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Gaussian fields of that correlation, unit variance, (B, height, width)."""
    from scipy.fft import irfft2, next_fast_len, rfft2

    # opposite edges are neighbours: that saves a margin, and nothing correlates across more than LAGS
    box = next_fast_len(max(shape[0], 2 * LAGS + 2)), next_fast_len(max(shape[1], 2 * LAGS + 2), real=True)
    roots = _roots(correlation, box)
    noise = np.moveaxis(rfft2(rng.standard_normal((len(correlation), *box))), 0, -1)
    waves = np.moveaxis((roots @ noise[..., None])[..., 0], -1, 0)
    expected = np.moveaxis((np.abs(roots) ** 2).sum(axis=-1), -1, 0) * box[0] * box[1]
    return np.asarray(irfft2(waves * _to_power(waves, expected), box)[:, : shape[0], : shape[1]])


def _to_power(waves: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Factors that give each ring of frequencies its expected power, so that each sky has its row's correlation."""
    height, width = waves.shape[1:]
    frequency = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.arange(width)).round().astype(int).ravel()
    factors = np.empty(waves.shape)
    for factor, wave, power in zip(factors, np.abs(waves) ** 2, expected, strict=True):
        drawn, wanted = (np.bincount(frequency, each.ravel()) for each in (wave, power))
        factor[:] = np.sqrt(wanted / np.maximum(drawn, 1e-300))[frequency].reshape(height, width)
    return factors


def _roots(correlation: np.ndarray, box: tuple[int, int]) -> np.ndarray:
    """Square roots of the spectrum's matrices, (frequencies, B, B): the nearest spectrum without negative power."""
    from scipy.fft import irfft2, rfft2

    rows, columns = (np.arange(-LAGS, LAGS + 1) % side for side in box)
    lags = np.ix_(*(np.arange(bands) for bands in correlation.shape[:2]), rows, columns)
    target = np.zeros((*correlation.shape[:2], *box))
    target[lags] = correlation
    trial = target.copy()
    for _ in range(_PROJECTIONS):
        values, vectors = np.linalg.eigh(np.moveaxis(rfft2(trial), (0, 1), (2, 3)).conj())
        values, across = np.maximum(values, 0.0), np.swapaxes(vectors, 2, 3).conj()
        allowed = irfft2(np.moveaxis(((vectors * values[..., None, :]) @ across).conj(), (2, 3), (0, 1)), box)
        trial[lags] += target[lags] - allowed[lags]  # what cutting off took is asked for again
    scale = 1 / np.sqrt(np.maximum(np.einsum("aa->a", allowed[:, :, 0, 0]), 1e-12))
    return np.asarray(scale[:, None] * ((vectors * np.sqrt(values)[..., None, :]) @ across))


@lru_cache(maxsize=1)
def _taper() -> np.ndarray:
    """Weights of lags: 1 up to 3 px, falling to 0 beyond 8 px."""
    lag = np.hypot(*np.mgrid[-LAGS : LAGS + 1, -LAGS : LAGS + 1])
    return np.asarray(np.clip((LAGS + 1 - lag) / (LAGS + 1 - _FLAT), 0.0, 1.0))


@lru_cache(maxsize=1)
def _shares() -> np.ndarray:
    """Shares of a normal distribution below the scores."""
    from scipy.special import ndtr

    return np.asarray(ndtr(_SCORES))
