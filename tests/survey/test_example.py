"""The invented survey is what its page says: files, headers, votes, and the truth of its cutouts."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from astro_galaxysd import errors, plan_augmentation
from astro_galaxysd.conditions.tree import QUESTIONS
from astro_galaxysd.survey.card import read_survey
from astro_galaxysd.survey.example import CARD, PIXEL_SCALE, SEEING, SIDE
from astro_galaxysd.testing import example_survey


def test_files_are_cutouts_with_a_position(made):
    folder, table = made
    assert len(list((folder / "cutouts").iterdir())) == 3 * 12
    with fits.open(folder / table["file_r"][5]) as hdus:
        header, pixels = hdus[0].header, hdus[0].data
        assert pixels.shape == (SIDE, SIDE)
        assert pixels.dtype.kind == "f"
        assert np.isfinite(pixels).all()
        assert (header["BUNIT"], header["FILTER"]) == ("nanomaggy", "r")
        wcs = WCS(header)
    assert proj_plane_pixel_scales(wcs) * 3600 == pytest.approx([PIXEL_SCALE, PIXEL_SCALE])
    middle = wcs.pixel_to_world((SIDE - 1) / 2, (SIDE - 1) / 2)
    assert middle.ra.deg == pytest.approx(table["ra"][5])
    assert middle.dec.deg == pytest.approx(table["dec"][5])


def test_the_card_belongs_to_the_table(made):
    folder, table = made
    survey = read_survey(folder / CARD)
    assert survey.bands == ("i", "r", "g")
    assert set(survey.columns) <= set(table.colnames)
    assert survey.unit == "nanomaggy"
    planes = np.stack([fits.getdata(folder / table[name][0]) for name in survey.columns])
    shown = survey.display(planes[:, ::-1])
    corner, middle = shown[:8, :8], shown[28:36, 28:36]
    assert 0 < np.median(corner) < 15  # the sky of training images is 6, 6 and 4
    assert middle.mean() > 80
    assert middle[..., 0].mean() > middle[..., 2].mean()  # the bulge is red


def test_votes_add_up_and_name_the_rare_ones(tmp_path, monkeypatch):
    monkeypatch.setattr("astro_galaxysd.survey.example._cutout", lambda kind, n_bands, rng: np.zeros((n_bands, 2, 2)))
    monkeypatch.setattr("astro_galaxysd.survey.example._write", lambda path, plane, header: None)
    table = example_survey(tmp_path, 24)  # the votes alone
    for question in QUESTIONS:
        total = sum(np.asarray(table[answer.conditional]) for answer in question.answers)
        assert total[np.isfinite(total)] == pytest.approx(1)
    edge_on = (table["t01_features_or_disk"] > 0.5) & (table["t02_edgeon_yes"] > 0.5)
    assert list(np.flatnonzero(edge_on)) == [4, 16]
    for target in ("edge_on", "merger", "spiral", "cigar"):
        assert len(plan_augmentation(table, target=target, n=2, candidates=1, rng=1)) == 2


def test_the_first_galaxies_are_the_same_for_any_n(made, tmp_path):
    table = example_survey(tmp_path, 3)
    assert table["ra"].tolist() == made[1]["ra"][:3].tolist()
    first, again = (fits.getdata(folder / table["file_g"][2]) for folder in (made[0], tmp_path))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, fits.getdata(tmp_path / example_survey(tmp_path, 3, rng=1)["file_g"][2]))


def test_stars_have_the_seeing(made):
    from photutils.psf import fit_fwhm

    folder, table = made
    widths = []
    for path in table["file_i"]:
        pixels = fits.getdata(folder / path).astype(float)
        pixels -= np.median(pixels)
        y, x = np.unravel_index(np.argmax(np.where(_off_centre(), pixels, 0)), pixels.shape)
        if pixels[y, x] > 0.5 and min(x, y) > 5 and max(x, y) < SIDE - 6:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                widths.append(float(fit_fwhm(pixels, xypos=(x, y), fit_shape=9)[0]))
    assert len(widths) >= 4
    assert np.median(widths) == pytest.approx(SEEING / PIXEL_SCALE, rel=0.05)


def _off_centre():
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return np.hypot(x, y) > 18


def test_one_band_is_luminance(tmp_path):
    table = example_survey(tmp_path, 1, bands=["F105W"])
    assert read_survey(tmp_path / CARD).luminance
    assert (tmp_path / table["file_F105W"][0]).is_file()


@pytest.mark.parametrize(("n", "bands"), [(0, ("i", "r", "g")), (3, ("i", "r")), (3, ())])
def test_what_can_not_be_made(tmp_path, n, bands):
    with pytest.raises(errors.SurveyError, match=r"give one galaxy or more, and one band or three"):
        example_survey(tmp_path, n, bands=bands)
    assert not list(tmp_path.iterdir())
