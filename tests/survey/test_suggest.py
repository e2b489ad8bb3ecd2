"""Suggested stretches show cutouts of any unit as the training images are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from astro_galaxysd.errors import ImageError, SurveyError
from astro_galaxysd.images.codec import read_images
from astro_galaxysd.images.stretch import Stretch
from astro_galaxysd.survey.card import Survey
from astro_galaxysd.survey.suggest import (
    TRAINED_BRIGHT,
    TRAINED_NOISE,
    TRAINED_SKY,
    measure_levels,
    suggest_stretch,
)

FITS = Path(__file__).parents[3] / "shared" / "data" / "fits"


def cutouts(
    n_bands: int = 3, *, noise: float = 1.0, n: int = 12, sky: float = 7.0, unit: float = 1.0
) -> list[np.ndarray]:
    """Exponential disks of 350 sigma at the peak, redder than the sky's noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] - 31.5
    light = 350.0 * np.exp(-np.hypot(x, 1.5 * y) / 5.0) * np.array([2.0, 1.0, 0.4])[:n_bands, None, None]
    return [unit * (7.0 + light + noise * rng.normal(size=light.shape)) for _ in range(12)]


def shown(stretch: Stretch, planes: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, float]:
    """Medians of sky, bright level and noise in grey levels."""
    survey = Survey(bands=("i", "r", "g") if len(planes[0]) == 3 else "luminance", stretch=stretch)
    levels = [measure_levels(np.moveaxis(survey.display(one), -1, 0).astype(float)) for one in planes]
    found = [one for one in levels if one is not None]
    noise = np.median([np.sqrt(one.noise.mean()) for one in found])
    return np.median([o.sky for o in found], axis=0), np.median([o.bright for o in found], axis=0), float(noise)


@pytest.mark.parametrize("kind", ["lupton", "asinh"])
@pytest.mark.parametrize("n_bands", [1, 3])
@pytest.mark.parametrize("unit", [1e-10, 1.0, 1e4])
def test_sky_and_bright_level_are_as_trained(kind: str, n_bands: int, unit: float) -> None:
    planes = cutouts(n_bands, unit=unit)
    sky, bright, noise = shown(suggest_stretch(planes, kind), planes)
    np.testing.assert_allclose(bright, np.broadcast_to(TRAINED_BRIGHT[n_bands], 3), rtol=0.06)
    np.testing.assert_allclose(sky, np.broadcast_to(TRAINED_SKY[n_bands], 3), atol=3.0)
    assert 0.5 < noise / (255.0 * TRAINED_NOISE) < 2.0


def test_noisy_cutouts_show_more_noise_on_a_lifted_sky() -> None:
    sky, bright, noise = shown(suggest_stretch(planes := cutouts(noise=15.0)), planes)
    np.testing.assert_allclose(bright, TRAINED_BRIGHT[3], rtol=0.1)
    assert noise > 2 * 255 * TRAINED_NOISE
    assert sky.min() > 2 * noise / 3


def test_cutouts_without_noise_have_a_stretch_too() -> None:
    _, bright, noise = shown(suggest_stretch(planes := cutouts(noise=0.0)), planes)
    np.testing.assert_allclose(bright, TRAINED_BRIGHT[3], rtol=0.06)
    assert noise < 1.5


def test_missing_pixels_and_cutouts_are_left_out() -> None:
    planes = cutouts()
    for one in planes[:3]:
        one[:, :8] = np.nan
    with_gaps = suggest_stretch([*planes, np.full((3, 64, 64), np.nan)])
    assert with_gaps.as_dict()["Q"] == pytest.approx(suggest_stretch(planes).as_dict()["Q"], rel=1e-6)


def test_an_iterator_will_do() -> None:
    assert suggest_stretch(iter(cutouts())) == suggest_stretch(cutouts())


def test_what_cannot_be_suggested_for_is_named() -> None:
    with pytest.raises(SurveyError, match="no stretch of kind 'log' is suggested; choose lupton or asinh"):
        suggest_stretch(cutouts(), "log")
    with pytest.raises(SurveyError, match="no cutout has finite pixels in its corners and its middle"):
        suggest_stretch([np.full((3, 64, 64), np.nan)])
    with pytest.raises(SurveyError, match="a stretch for 2 bands can't be suggested; choose three, red first, or one"):
        suggest_stretch([np.random.default_rng(0).normal(size=(2, 64, 64))])
    with pytest.raises(SurveyError, match=r"the middle of the median cutout is \[0.0\] above its corners"):
        suggest_stretch([np.ones((1, 64, 64))])
    with pytest.raises(ImageError, match="a cutout of 12x64 px is too small to measure; give 16 px or more"):
        suggest_stretch([np.ones((1, 12, 64))])


def test_hubble_cutouts_are_shown_as_trained() -> None:
    from astropy.io import fits

    path = FITS / "abell_2744_spiral_galaxy_f105w.fits.gz"
    if not path.exists():
        pytest.skip("no ../shared/data/fits")
    planes = [fits.getdata(path).astype(float)[None, ::-1]]
    sky, bright, _ = shown(suggest_stretch(planes), planes)
    assert abs(bright[0] - TRAINED_BRIGHT[1][0]) < 5
    assert sky[0] < 15


def test_the_training_images_have_the_levels_of_the_constants(gz2: Path) -> None:
    import pyarrow.parquet as pq

    first = next(pq.ParquetFile(gz2 / "val.parquet").iter_batches(150, columns=["image"]))
    images = read_images(first.column("image").to_pylist())
    found = [measure_levels(np.moveaxis(one, -1, 0).astype(float)) for one in images]
    levels = [one for one in found if one is not None]
    np.testing.assert_allclose(np.median([one.sky for one in levels], axis=0), TRAINED_SKY[3], atol=1.0)
    np.testing.assert_allclose(np.median([one.bright for one in levels], axis=0), TRAINED_BRIGHT[3], rtol=0.08)
