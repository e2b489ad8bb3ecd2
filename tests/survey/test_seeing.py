"""The seeing of cutouts: given, or from stars; kernels that reach it."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units
from astropy.io import fits

from astro_galaxysd.errors import SurveyError
from astro_galaxysd.survey.seeing import (
    FEWEST_STARS,
    Seeing,
    find_stars,
    in_arcsec,
    kernel,
    read_psf,
    seeing_of_stars,
)
from astro_galaxysd.survey.sizes import find_galaxy


def star(fwhm, side=31):
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.exp(-4 * np.log(2) * (x**2 + y**2) / fwhm**2)


def spread(image):
    """Second moment along x, pixels squared."""
    x = np.arange(image.shape[1]) - (image.shape[1] - 1) / 2
    return float((image.sum(axis=0) * x**2).sum() / image.sum())


def test_a_gaussian_makes_up_the_difference():
    found = kernel(3.0, Seeing(5.0, "given"))
    assert found.sum() == pytest.approx(1)
    assert spread(found) == pytest.approx(16 / (8 * np.log(2)) + 1 / 12, rel=0.02)
    assert kernel(5.0, Seeing(5.0, "given")) is None
    assert kernel(3.0, Seeing(None, "unknown")) is None


def test_the_image_of_a_star_is_reached():
    seeing = read_psf(star(5.0), None)
    assert seeing.fwhm == pytest.approx(5.0, rel=0.03)
    assert spread(kernel(3.0, seeing)) == pytest.approx(16 / (8 * np.log(2)), rel=0.15)
    assert kernel(0.0, seeing) is seeing.image


def test_widths_in_arcsec_and_pixels():
    assert read_psf(1.2, 0.4).fwhm == pytest.approx(3.0)
    assert read_psf(3 * units.pix, None).fwhm == 3.0
    with pytest.raises(SurveyError, match="the size of a pixel is not known; declare pixel_scale="):
        read_psf(1.2, None)
    angles = [in_arcsec(psf) for psf in (1.2, 1.2 * units.arcsec, 3 * units.pix, "a.fits", star(3.0))]
    assert angles == [True, True, False, False, False]


def test_files(tmp_path):
    path = tmp_path / "psf.fits"
    fits.writeto(path, star(4.0))
    assert read_psf(str(path), None).fwhm == pytest.approx(4.0, rel=0.03)
    fits.writeto(tmp_path / "line.fits", np.ones(5))
    with pytest.raises(SurveyError, match="holds no 2-D image"):
        read_psf(tmp_path / "line.fits", None)
    with pytest.raises(SurveyError, match="can't be read"):
        read_psf(tmp_path / "nowhere.fits", None)


def test_images_that_are_no_star():
    with pytest.raises(SurveyError, match="peak 0 px from the edge"):
        read_psf(np.eye(9), None)


def test_stars_are_found_and_make_a_seeing():
    rng = np.random.default_rng(0)
    image = rng.normal(0, 0.01, (96, 96))
    y, x = np.mgrid[:96, :96]
    image += 3 * np.exp(-np.hypot(x - 47.5, y - 47.5) / 5)
    for at in ((15, 15), (15, 80), (80, 15), (80, 80)):
        image[at[0] - 10 : at[0] + 11, at[1] - 10 : at[1] + 11] += 2 * star(3.5, 21)
    galaxy = find_galaxy(image[None])
    widths = find_stars(galaxy)
    assert len(widths) == 4
    assert np.median(widths) == pytest.approx(3.5, rel=0.1)
    bright = np.zeros(image.shape, dtype=bool)
    bright[15, 15] = True
    assert len(find_stars(galaxy, bright)) == 3
    few = seeing_of_stars(widths)
    assert (few.fwhm, few.n_stars) == (None, 4)
    assert f"4 stars in the cutouts, {FEWEST_STARS} are needed; declare psf=" in few.reason
    assert seeing_of_stars([*widths, *widths, 11.0]).fwhm == pytest.approx(3.5, rel=0.1)
