"""Sky of a cutout: measured where it is known, and drawn anew."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import skew

from astro_galaxysd.errors import ImageError
from astro_galaxysd.survey.sky import FEWEST_PIXELS, LAGS, Sky, draw_sky, measure_sky, share_directions

SIDE = 64
SIGMA = 0.7  # pixels of the smoothing
LEVEL, RMS = np.array([10.0, 20.0, -5.0]), np.array([1.0, 2.0, 4.0])
COMMON = 0.5  # correlation between bands
NONE = np.zeros((SIDE, SIDE), dtype=bool)
# SIGMA makes 4 pi sigma^2 = 6 pixels one: 660 independent ones, so the mean errs by 4 % of the rms, a rms by 2 %, a
# correlation by 4 % at most. Tolerances are four times that.
LEVEL_ERROR, RMS_ERROR, CORRELATION_ERROR = 0.16, 0.08, 0.12


def smoothed(shape: tuple[int, ...], seed: int, sigma: float | tuple[float, float] = SIGMA) -> np.ndarray:
    """Gaussian fields of unit variance."""
    width = np.broadcast_to(sigma, 2)
    dot = np.zeros((31, 31))
    dot[15, 15] = 1
    noise = np.random.default_rng(seed).normal(size=shape)
    return gaussian_filter(noise, (0, *width), mode="wrap") / np.sqrt((gaussian_filter(dot, width) ** 2).sum())


def fluctuations(seed: int = 0, sigma: float | tuple[float, float] = SIGMA) -> np.ndarray:
    """Three bands that have COMMON of their variance together."""
    one = smoothed((4, SIDE, SIDE), seed, sigma)
    return np.sqrt(COMMON) * one[3] + np.sqrt(1 - COMMON) * one[:3]


def made(seed: int = 0) -> np.ndarray:
    return LEVEL[:, None, None] + RMS[:, None, None] * fluctuations(seed)


def known(dy: int, dx: int) -> float:
    """Correlation of the smoothed noise at a lag."""
    dot = np.zeros((31, 31))
    dot[15, 15] = 1
    kernel = gaussian_filter(dot, SIGMA)
    return float((kernel * np.roll(kernel, (dy, dx), (0, 1))).sum() / (kernel**2).sum())


def at(correlation: np.ndarray, dy: int, dx: int) -> np.ndarray:
    return correlation[..., LAGS + dy, LAGS + dx]


def beside(planes: np.ndarray) -> np.ndarray:
    """Correlation of neighbours in a row, of each band."""
    return np.array([np.corrcoef(band[:, 1:].ravel(), band[:, :-1].ravel())[0, 1] for band in planes])


@pytest.fixture(scope="module")
def sky() -> Sky:
    return measure_sky(made(), NONE)


@pytest.fixture(scope="module")
def drawn(sky: Sky) -> list[np.ndarray]:
    return [draw_sky(sky, (SIDE, SIDE), np.random.default_rng(seed)) for seed in range(100, 106)]


def assert_as_made(sky: Sky, *, looser: float = 1.0) -> None:
    assert (np.abs(sky.level - LEVEL) < LEVEL_ERROR * looser * RMS).all()
    np.testing.assert_allclose(sky.rms, RMS, rtol=RMS_ERROR * looser)
    error = CORRELATION_ERROR * looser
    for dy, dx in [(0, 1), (1, 0), (1, 1), (0, 2), (3, 3)]:
        np.testing.assert_allclose(np.diagonal(at(sky.correlation, dy, dx)), known(dy, dx), atol=error)
        np.testing.assert_allclose(at(sky.correlation, dy, dx)[0, 1:], COMMON * known(dy, dx), atol=error)


def test_a_made_sky_is_measured(sky):
    assert_as_made(sky)
    assert sky.n_pixels == SIDE**2
    assert not sky.missing.any()
    assert not sky.gradient.any()
    np.testing.assert_allclose(np.diagonal(at(sky.correlation, 0, 0)), 1.0, atol=1e-9)
    np.testing.assert_allclose(at(sky.correlation, 0, 0)[[0, 0, 1], [1, 2, 2]], COMMON, atol=CORRELATION_ERROR)
    assert np.abs(sky.correlation).max() <= 1.0
    # quantiles at the scores -1, 0 and 1
    wanted = LEVEL[:, None] + RMS[:, None] * [-1.0, 0.0, 1.0]
    assert (np.abs(sky.quantiles[:, [60, 80, 100]] - wanted) < 0.2 * RMS[:, None]).all()
    assert (np.diff(sky.quantiles) >= 0).all()


def test_a_lag_goes_from_the_first_band_to_the_second():
    first = smoothed((1, SIDE, SIDE), 0)[0]
    sky = measure_sky(np.stack([first, np.roll(first, (1, 2), (0, 1))]), NONE)
    assert at(sky.correlation, 1, 2)[0, 1] > 0.9
    assert at(sky.correlation, -1, -2)[1, 0] > 0.9
    assert abs(at(sky.correlation, -1, -2)[0, 1]) < CORRELATION_ERROR
    one = draw_sky(sky, (SIDE, SIDE), np.random.default_rng(0))
    assert np.corrcoef(one[0, :-1, :-2].ravel(), one[1, 1:, 2:].ravel())[0, 1] > 0.9


def test_sources_do_not_disturb():
    y, x = np.mgrid[:SIDE, :SIDE]
    light = 300 * np.exp(-np.hypot(x - 31, y - 33) / 2.5) + 900 * np.exp(-(np.hypot(x - 52, y - 9) ** 2) / 8)
    sky = measure_sky(made() + light, light > 3.0)
    assert 1000 < sky.n_pixels < SIDE**2 - (light > 3.0).sum()
    assert_as_made(sky, looser=np.sqrt(SIDE**2 / sky.n_pixels))


def test_pixels_that_were_not_observed_do_not_disturb():
    planes = made()
    planes[:, :9], planes[2, :, 60:], planes[0, 30, 30] = np.nan, np.nan, np.inf
    sky = measure_sky(planes, NONE)
    assert_as_made(sky, looser=1.2)
    np.testing.assert_array_equal(sky.missing, ~np.isfinite(planes).all(axis=0))
    assert np.isfinite(draw_sky(sky, (SIDE, SIDE), np.random.default_rng(0))).all()


def test_a_few_wild_pixels_do_not_disturb():
    planes = made()
    planes[:, ::16, ::16] += 100 * RMS[:, None, None]  # cosmic rays
    assert_as_made(measure_sky(planes, NONE), looser=1.2)


def test_a_gradient_is_measured_and_drawn():
    slope = np.array([[4.0, -2.0], [0.0, 6.0], [0.3, 0.0]])  # the last is below one rms
    y, x = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE), indexing="ij")
    sky = measure_sky(made() + np.tensordot(slope, np.stack([x, y]), 1), NONE)
    np.testing.assert_allclose(sky.gradient[:2], slope[:2], atol=0.6)
    assert not sky.gradient[2].any()
    assert_as_made(sky)
    one = draw_sky(sky, (40, 50), np.random.default_rng(0))
    assert one[0, :, -10:].mean() - one[0, :, :10].mean() == pytest.approx(2 * 4.0 * 0.8, abs=1.0)
    assert one[1, -10:].mean() - one[1, :10].mean() == pytest.approx(2 * 6.0 * 0.75, abs=2.0)


def test_drawn_skies_have_level_and_rms_of_the_row(drawn):
    # the distribution is given by rank: only pixels beyond 5 rms and the row's tails between quantiles differ
    row = made()
    for one in drawn:
        assert (np.abs(np.median(one, axis=(1, 2)) - np.median(row, axis=(1, 2))) < 0.01 * RMS).all()
        np.testing.assert_allclose(one.std(axis=(1, 2)), row.std(axis=(1, 2)), rtol=0.01)


def test_drawn_skies_are_correlated_as_the_row(drawn):
    row = made()
    # the spectrum's amplitudes are kept, so that a draw errs by less than the row does
    np.testing.assert_allclose(np.mean([beside(one) for one in drawn], axis=0), beside(row), atol=0.05)
    turned = np.mean([beside(one.swapaxes(1, 2)) for one in drawn], axis=0)
    np.testing.assert_allclose(turned, beside(row.swapaxes(1, 2)), atol=0.05)
    between = np.mean([np.corrcoef(one.reshape(3, -1)) for one in drawn], axis=0)
    np.testing.assert_allclose(between, np.corrcoef(row.reshape(3, -1)), atol=0.06)


def test_drawn_skies_stay_within_the_row_and_copy_nothing(drawn):
    row = made()
    for one in drawn:
        assert np.isfinite(one).all()
        assert (one.min(axis=(1, 2)) >= row.min(axis=(1, 2))).all()
        assert (one.max(axis=(1, 2)) <= row.max(axis=(1, 2))).all()
        # 64 x 64 correlated pixels: 4 %
        assert abs(np.corrcoef(one[0].ravel(), row[0].ravel())[0, 1]) < 0.16


def test_seeds(sky, drawn):
    again = draw_sky(sky, (SIDE, SIDE), np.random.default_rng(101))
    assert again.tobytes() == drawn[1].tobytes()
    assert abs(np.corrcoef(drawn[0][0].ravel(), drawn[1][0].ravel())[0, 1]) < 0.16


@pytest.mark.parametrize("shape", [(40, 90), (17, 16)])
def test_other_shapes(sky, shape):
    one = draw_sky(sky, shape, np.random.default_rng(0))
    assert one.shape == (3, *shape)
    np.testing.assert_allclose(one.std(axis=(1, 2)), sky.rms, rtol=0.1)


def test_a_skewed_sky_stays_skewed():
    planes = np.stack([np.exp(0.4 * fluctuations()[0]), -np.exp(0.4 * fluctuations()[1])])
    sky = measure_sky(planes, NONE)
    draws = [draw_sky(sky, (SIDE, SIDE), np.random.default_rng(seed)) for seed in range(3)]
    # exp(0.4 z) has 1.3, less beyond 5 rms
    found = np.mean([skew(one.reshape(2, -1), axis=1) for one in draws], axis=0)
    np.testing.assert_allclose(found, skew(planes.reshape(2, -1), axis=1), atol=0.3)
    assert found[0] > 0.8
    assert found[1] < -0.8
    np.testing.assert_allclose(np.mean([beside(one) for one in draws], axis=0), beside(planes), atol=0.06)


def test_a_clipped_sky_stays_clipped():
    planes = np.maximum(3.0 + 4.0 * fluctuations()[:1], 0.0)
    sky = measure_sky(planes, NONE)
    draws = [draw_sky(sky, (SIDE, SIDE), np.random.default_rng(seed)) for seed in range(3)]
    black = (planes == 0).mean()
    assert 0.15 < black < 0.3  # a normal distribution has 23 % below -0.75
    for one in draws:
        assert one.min() == 0.0
        assert (one == 0).mean() == pytest.approx(black, abs=0.02)
    np.testing.assert_allclose(np.mean([beside(one) for one in draws], axis=0), beside(planes), atol=0.06)


def test_a_flat_sky_stays_flat():
    sky = measure_sky(np.full((2, 20, 20), [[[3.0]], [[-7.0]]]), np.zeros((20, 20), dtype=int))
    np.testing.assert_allclose(sky.rms, 0.0, atol=1e-12)
    one = draw_sky(sky, (16, 18), np.random.default_rng(0))
    np.testing.assert_allclose(one, np.broadcast_to([[[3.0]], [[-7.0]]], one.shape))


def test_the_unit_does_not_matter(sky):
    other = measure_sky(made() * 1e-20, NONE)
    np.testing.assert_allclose(other.rms, sky.rms * 1e-20, rtol=1e-9)
    np.testing.assert_allclose(other.correlation, sky.correlation, atol=1e-9)


def ring(correlation: np.ndarray, squared: int) -> np.ndarray:
    """Mean over the lags of one length."""
    y, x = np.mgrid[-LAGS : LAGS + 1, -LAGS : LAGS + 1]
    return correlation[..., y**2 + x**2 == squared].mean(axis=-1)


def test_sharing_directions():
    wide = [measure_sky(fluctuations(seed, sigma), NONE) for seed, sigma in enumerate([(0.6, 0.9), (0.6, 0.9), 0.7])]
    shared = share_directions(wide)
    assert len(shared) == 3
    uneven = [at(one.correlation, 0, 1) - at(one.correlation, 1, 0) for one in wide]
    assert np.ptp([np.diagonal(one) for one in uneven], axis=0).min() > 0.1
    for before, after, difference in zip(wide, shared, uneven, strict=True):
        for squared in (0, 1, 2, 4, 5, 25):  # how it falls with distance is the row's
            np.testing.assert_allclose(ring(after.correlation, squared), ring(before.correlation, squared), atol=1e-12)
        # the difference between directions is that of all
        found = at(after.correlation, 0, 1) - at(after.correlation, 1, 0)
        np.testing.assert_allclose(found, np.mean(uneven, axis=0), atol=1e-12)
        assert np.abs(found - difference).max() > 0.02
        for field in fields(Sky):
            if field.name != "correlation":
                assert getattr(after, field.name) is getattr(before, field.name)


def test_sharing_directions_of_one_or_none(sky):
    assert share_directions([]) == []
    np.testing.assert_allclose(share_directions([sky])[0].correlation, sky.correlation, atol=1e-12)


@pytest.mark.parametrize("hidden", ["small", "sources", "missing"])
def test_too_little_sky(hidden):
    side = 16 if hidden == "small" else 32
    planes, sources = made()[:, :side, :side], np.zeros((side, side), dtype=bool)
    if hidden == "sources":
        sources[:] = True
    if hidden == "missing":
        planes[:] = np.nan
    found = 256 if hidden == "small" else 0
    said = f"only {found} of {side**2} pixels are sky, {FEWEST_PIXELS} are needed; give larger cutouts"
    with pytest.raises(ImageError, match=said):
        measure_sky(planes, sources)
