"""Drawn galaxies get a survey's sizes, seeing, noise and sky."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy.table import Table
from scipy.ndimage import gaussian_filter
from scipy.stats import mannwhitneyu

from astro_galaxysd.errors import MatchError, MatchWarning, SurveyError
from astro_galaxysd.images.codec import fit_size
from astro_galaxysd.images.stretch import LuptonStretch
from astro_galaxysd.survey.card import Survey
from astro_galaxysd.survey.matching import Matcher, estimate_seeing
from astro_galaxysd.survey.placing import quieter
from astro_galaxysd.survey.rows import SurveyRows
from astro_galaxysd.survey.sizes import Frame, find_galaxy
from astro_galaxysd.survey.sky import measure_sky

SIDE, FWHM, NOISE, LEVEL = 64, 4.5, 0.05, 0.3
SIGMA = FWHM / 2.3548
SURVEY = Survey(stretch=LuptonStretch(stretch=2.0, Q=8.0, minimum=-0.5), psf=FWHM * 0.5, pixel_scale=0.5)


def disk(side, scale, ratio, sigma, peak):
    """An exponential disk as seen with a Gaussian seeing."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return peak * gaussian_filter(np.exp(-np.hypot(x, y / ratio) / scale), sigma)


def noise(side, rng):
    """Correlated noise of three bands."""
    white = gaussian_filter(rng.standard_normal((3, side, side)), (0, 0.8, 0.8), mode="wrap")
    return NOISE * white / white.std()


def real(n=16, seed=1):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        light = disk(SIDE, rng.uniform(2.0, 3.2), rng.uniform(0.6, 1.0), SIGMA, 6.0)
        found.append(light * np.array([1.2, 1.0, 0.7])[:, None, None] + LEVEL + noise(SIDE, rng))
    return np.moveaxis(np.array(found), 1, -1)


def drawn(n, seed=5):
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(n):
        light = disk(128, rng.uniform(6.0, 7.5), rng.uniform(0.6, 1.0), 1.5, 6.0)
        planes = light * np.array([1.2, 1.0, 0.7])[:, None, None] + 0.01 * rng.standard_normal((3, 128, 128))
        images.append(SURVEY.display(planes))
    return np.array(images)


@pytest.fixture(scope="module")
def cutouts():
    values = real()
    values[:, :, :3] = np.nan
    return values


@pytest.fixture(scope="module")
def rows(cutouts):
    return SurveyRows(Table({"image": cutouts}), survey=SURVEY)


@pytest.fixture(scope="module")
def matcher(rows):
    return Matcher(rows, survey=SURVEY, seeing_drawn=3.5, seed=0)


@pytest.fixture(scope="module")
def pictures():
    return drawn(14)


@pytest.fixture(scope="module")
def matched(matcher, pictures):
    return [matcher.match(image, seed) for seed, image in enumerate(pictures)]


def features(planes):
    galaxy = find_galaxy(planes)
    sky = measure_sky(planes, galaxy.sources)
    return np.array([sky.rms[1], sky.level[1], galaxy.r90, sky.correlation[1, 1, 8, 9]])


def test_the_sky_and_the_size_are_the_donor_s(matched, rows):
    new = np.array([features(match.planes) for match in matched])
    own = np.array([features(rows.planes(match.donor)) for match in matched])
    assert np.abs(new[:, 0] / own[:, 0] - 1).max() < 0.15
    assert np.abs(new[:, 1] - own[:, 1]).max() < 0.4 * NOISE
    assert np.median(np.abs(new[:, 2] / own[:, 2] - 1)) < 0.1
    assert np.median(np.abs([match.reached / match.wanted - 1 for match in matched])) < 0.1
    # noise smoothed by 0.8 px: neighbours correlate by exp(-1 / (4 0.8^2)) = 0.68, white noise by 0
    assert new[:, 3].mean() == pytest.approx(own[:, 3].mean(), abs=0.1)
    assert new[:, 3].min() > 0.4


def test_single_features_do_not_tell_matched_from_real(matched, pictures):
    # an area of 14 and 40 without a difference scatters by 0.09 around 0.5
    others = np.array([features(np.moveaxis(planes, -1, 0)) for planes in real(40, seed=9)])
    rng = np.random.default_rng(0)
    plain = [features(SURVEY.from_display(image, rng)) for image in fit_size(pictures, (SIDE, SIDE))]

    def areas(made):
        size = len(others) * len(made)
        found = [mannwhitneyu(np.array(made)[:, k], others[:, k]).statistic / size for k in range(3)]
        return np.maximum(found, 1 - np.array(found))

    assert areas([features(match.planes) for match in matched]).max() < 0.75
    unmatched = areas(plain)
    assert max(unmatched[0], unmatched[2]) > 0.95


def test_the_seed_and_the_image_alone_count(rows, matched, pictures):
    again = Matcher(rows, survey=SURVEY, seeing_drawn=3.5, seed=0)  # asked in another order
    for number in (4,):
        found = again.match(pictures[number], number)
        np.testing.assert_array_equal(found.planes, matched[number].planes)
        assert found.donor == matched[number].donor
    assert not np.array_equal(again.match(pictures[4], 1).planes, matched[4].planes, equal_nan=True)


def test_pixels_missing_in_the_donor_are_missing(matched):
    for match in matched:
        assert np.isnan(match.planes[..., :3]).all()
        assert np.isfinite(match.planes[..., 3:]).all()
        assert match.donor_name == f"row {match.donor}"


def test_the_seeing_is_reached_or_a_note_says_so(rows, matched, pictures):
    assert [match.seeing_ratio for match in matched] == pytest.approx([1.0] * len(matched))
    blurred = Matcher(rows, survey=SURVEY, seeing_drawn=25.0, seed=0, n_measured=2).match(pictures[0], 0)
    assert blurred.seeing_ratio > 1.1
    assert f"where the survey has {FWHM:.2f} px" in blurred.note


def test_a_frame_of_another_side_is_brought_to_128_px(rows):
    found = Matcher(rows, survey=SURVEY, seeing_drawn=3.5, seed=0, n_measured=1, frame=Frame(40.0, 256)).report
    assert found.drawn_radius == pytest.approx(20.0)
    plain = Matcher(rows, survey=SURVEY, seeing_drawn=3.5, seed=0, n_measured=1)
    assert plain.report.drawn_radius == pytest.approx(Frame().radius)
    with pytest.raises(MatchError, match="8 are needed for sizes and sky: give more rows"):
        plain.check()


class Odd(SurveyRows):
    """The first row can't be read, the second has no WCS, and headers say where pixels saturate."""

    def planes(self, row):
        if row == 0:
            from astro_galaxysd.errors import ImageError

            raise ImageError(f"{self.name(row)}: cut short")
        return super().planes(row)

    def pixel_scale(self, row):
        if row == 0:
            raise AssertionError("a row that can't be read was asked for its scale")
        return None if row == 1 else 0.5

    def saturation(self, row):
        return 2.0


def test_the_pixel_scale_is_that_of_a_row_that_was_measured(cutouts, pictures):
    declared = Survey(stretch=SURVEY.stretch, psf=FWHM * 0.5)
    odd = Odd(Table({"image": cutouts[:4]}), survey=declared)
    found = Matcher(odd, survey=declared, seeing_drawn=3.5, seed=0)
    assert found.report.seeing.fwhm == pytest.approx(FWHM)
    assert dict(found.report.left_out) == {"row 0": "cut short"}
    with pytest.raises(MatchError, match=r"1 can't be read \(row 0: cut short\); mend these"):
        found.check()
    assert np.nanmax(found.match(pictures[0], 0).planes) == pytest.approx(2.0)


def test_no_row_says_the_pixel_scale(cutouts):
    declared = Survey(stretch=SURVEY.stretch, psf=FWHM * 0.5)
    plain = SurveyRows(Table({"image": cutouts[:2]}), survey=declared)
    with pytest.raises(SurveyError, match="the size of a pixel is not known"):
        Matcher(plain, survey=declared, seeing_drawn=3.5, seed=0)


def test_a_galaxy_that_fills_its_cutout_is_no_donor(rows, pictures, monkeypatch):
    monkeypatch.setattr("astro_galaxysd.survey.matching._FILLED", 0.01)
    found = Matcher(rows, survey=SURVEY, seeing_drawn=3.5, seed=0, n_measured=2)
    assert all(reason.startswith("galaxy fills the cutout: R90 ") for reason in found.report.left_out.values())
    assert all(reason.endswith(f" px of {SIDE} px") for reason in found.report.left_out.values())
    with pytest.raises(MatchError, match="or larger cutouts"):
        found.check()
    with pytest.raises(MatchError, match="no real cutout could be measured; `check` says why"):
        found.match(pictures[0], 0)


def test_a_band_without_noise_stays_as_it_is(rows):
    planes = rows.planes(0)
    sky = measure_sky(planes, find_galaxy(planes).sources)
    sky.rms[1] = 0.0
    new = np.ones((3, 4, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = quieter(new, sky, np.full(new.shape, 1.0))
    np.testing.assert_allclose(found[1], 1.0)
    np.testing.assert_allclose(found[0], sky.level[0])


def test_a_seeing_without_stars_is_not_known(rows):
    assert estimate_seeing(rows, n=3).fwhm is None
    declared = Survey(stretch=SURVEY.stretch)
    plain = Matcher(SurveyRows(rows._table, survey=declared), survey=declared, seeing_drawn=3.5, seed=0, n_measured=8)
    with pytest.warns(MatchWarning, match="the survey's seeing is not known"):
        plain.check()


def test_a_row_with_a_far_noisier_sky_is_no_donor():
    values = real(10)
    values[4] += 5 * np.moveaxis(noise(SIDE, np.random.default_rng(3)), 0, -1)
    rows = SurveyRows(Table({"image": values}), survey=SURVEY)
    told = Matcher(rows, survey=SURVEY, seeing_drawn=3.5, seed=0).report
    assert told.n_rows == 9
    assert list(told.left_out) == ["row 4"]
    assert "times as noisy as that of most rows" in told.left_out["row 4"]
