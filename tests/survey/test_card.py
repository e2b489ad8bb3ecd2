"""The card of a survey: checked, read from TOML, its images made and unmade."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units

from astro_galaxysd.errors import ImageError, SurveyError
from astro_galaxysd.images.stretch import AsinhStretch, LinearStretch, LuptonStretch, Stretch
from astro_galaxysd.survey import card
from astro_galaxysd.survey.card import Survey, check_bands, read_survey

STRETCHES = [None, LuptonStretch(0.3, 8.0, (0.1, 0.2, 0.3), (1.0, 1.3, 2.0)), AsinhStretch(-1, 50, 0.01)]


@pytest.fixture
def drawn() -> np.ndarray:
    """Every grey level, among them 0 and 255."""
    return np.random.default_rng(0).permutation(np.arange(768) % 256).reshape(16, 16, 3).astype(np.uint8)


@pytest.mark.parametrize("stretch", STRETCHES)
def test_a_drawn_image_comes_back_to_the_grey_level(stretch: Stretch | None, drawn: np.ndarray) -> None:
    survey = Survey(stretch=stretch)
    planes = survey.from_display(drawn, np.random.default_rng(1))
    assert planes.shape == (3, 16, 16)
    assert planes.dtype == np.float64
    np.testing.assert_array_equal(survey.display(planes), drawn)


def test_dither_hides_the_grey_levels_and_follows_the_generator() -> None:
    flat = np.full((32, 32, 3), 100, np.uint8)
    survey = Survey(stretch=LinearStretch(0.0, 255.0))
    planes = survey.from_display(flat, np.random.default_rng(2))
    assert np.unique(planes).size > 3000
    assert np.abs(planes - 100).max() < 0.5
    assert abs(planes.mean() - 100) < 0.03
    np.testing.assert_array_equal(planes, survey.from_display(flat, np.random.default_rng(2)))
    assert not np.array_equal(planes, survey.from_display(flat, np.random.default_rng(3)))


def test_luminance_is_the_mean_of_the_colours_and_shown_grey(drawn: np.ndarray) -> None:
    survey = Survey(bands="luminance", stretch=LuptonStretch())
    planes = survey.from_display(drawn, np.random.default_rng(0))
    shown = survey.display(planes)
    assert planes.shape == (1, 16, 16)
    assert survey.luminance
    assert survey.n_bands == 1
    assert np.abs(shown - drawn.mean(axis=-1, keepdims=True)).max() < 1.0
    assert (shown == shown[..., :1]).all()
    assert Survey(bands=("luminance",)) == Survey(bands="luminance")


def test_missing_pixels_are_black() -> None:
    planes = np.full((3, 4, 4), 0.5)
    planes[1, 0] = np.nan
    assert Survey().display(planes)[0].tolist() == [[128, 0, 128]] * 4
    assert Survey(stretch=LuptonStretch()).display(np.full((3, 4, 4), np.nan)).max() == 0


def test_images_of_another_form_are_refused(drawn: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"a cutout of shape \(1, 4, 4\) for a survey of 3 bands; .* i, r, g"):
        Survey().display(np.ones((1, 4, 4)))
    with pytest.raises(ImageError, match=r"for a survey of 1 band; \(1, H, W\) is needed: luminance"):
        Survey(bands="luminance").display(np.ones((3, 4, 4)))
    with pytest.raises(SurveyError, match="5 bands, u, g, r, i, z, make no picture; name three, red first"):
        Survey(bands=tuple("ugriz")).display(np.ones((5, 4, 4)))
    for wrong in (drawn / 255.0, drawn[..., 0]):
        with pytest.raises(ImageError, match=r"a drawn image is uint8 of shape \(H, W, 3\), not"):
            Survey().from_display(wrong, np.random.default_rng(0))


def test_values_are_brought_to_one_form() -> None:
    survey = Survey(
        bands=["z", "r", "g"],  # type: ignore[arg-type]
        planes=list("ugriz"),  # type: ignore[arg-type]
        folder=Path("cutouts"),
        stretch={"kind": "lupton", "stretch": 0.5},  # type: ignore[arg-type]
        pixel_scale=0.01 * units.arcmin,
        psf="1.5 pix",
        unit="electron/s",
        saturation=100,
    )
    assert survey.bands == ("z", "r", "g")
    assert survey.planes == ("u", "g", "r", "i", "z")
    assert survey.folder == "cutouts"
    assert survey.stretch == LuptonStretch(0.5)
    assert survey.pixel_scale == pytest.approx(0.6)
    assert isinstance(survey.pixel_scale, float)
    assert survey.psf == 1.5 * units.pix
    assert Survey(psf=0.9 * units.arcsec).psf == 0.9
    assert Survey(psf="0.9").psf == 0.9
    assert survey.unit == "electron/s"
    assert survey.saturation == 100.0
    assert Survey(unit="").unit is None
    assert Survey(psf=Path("star.fits")).psf == "star.fits"
    assert Survey(psf="2 stars.fits").psf == "2 stars.fits"
    image = Survey(psf=np.ones((5, 5), np.float32)).psf
    assert isinstance(image, np.ndarray)
    assert image.dtype == np.float64


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bands": ()}, r"bands is \(\); give a tuple of names"),
        ({"bands": 3}, "bands is 3; give a tuple of names"),
        ({"bands": ("r", "r", "g")}, r"bands \('r', 'r', 'g'\) has a name twice"),
        ({"bands": ("luminance", "r", "g")}, '"luminance" stands alone'),
        ({"columns": ("a", "b")}, "2 columns, a, b, for 3 bands, i, r, g; name one column"),
        ({"columns": " "}, "columns is ' '; give a tuple of names"),
        ({"columns": ("a", "b", "c"), "planes": ("i", "r", "g")}, "with one column a band; name one column"),
        ({"planes": ("g", "r", "z")}, "bands i are not among the planes g, r, z; name them alike"),
        ({"bands": "luminance", "planes": ("J", "H")}, "bands luminance are not among the planes J, H"),
        ({"planes": "gri"}, "planes is 'gri'; give a tuple of names"),
        ({"stretch": {"kind": "log"}}, "a stretch needs a kind"),
        ({"pixel_scale": 0}, "pixel_scale is 0; give a positive angle"),
        ({"pixel_scale": "wide"}, "pixel_scale is 'wide'; give a positive angle"),
        ({"pixel_scale": 2 * units.m}, "pixel_scale is <Quantity 2. m>; give a positive angle"),
        ({"pixel_scale": True}, "pixel_scale is True; give a positive angle"),
        ({"psf": -1.0}, "psf is -1.0; give a positive angle"),
        ({"psf": 0 * units.pix}, "psf is 0.0 pix; give a positive FWHM"),
        ({"psf": np.ones(3)}, r"psf is an array of shape \(3,\); give \(H, W\) of a star, finite, its sum above 0"),
        ({"psf": np.zeros((3, 3))}, "finite, its sum above 0"),
        ({"psf": [[1.0, 2.0], [3.0]]}, r"psf is list \(.*\); give a FWHM in arcsec, a FITS file or an image"),
        ({"psf": [["a", "b"]]}, r"psf is list \(.*\); give a FWHM"),
        ({"psf": {"fwhm": 1.0}}, r"psf is dict \(.*\); give a FWHM"),
        ({"folder": None}, "folder is None; give the path where relative paths of files start, or leave it out"),
        ({"unit": "nanomaggies"}, "unit 'nanomaggies' is none that astropy.units knows; write it as FITS does"),
        ({"saturation": float("inf")}, "saturation is inf; give a finite number"),
        ({"saturation": "high"}, "saturation is 'high'; give a finite number"),
        (
            {"pixelscale": 0.4},
            "a survey has no pixelscale; it has bands, columns, planes, folder, stretch,",
        ),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SurveyError, match=message):
        read_survey(values)


def test_surveys_are_equal_by_value() -> None:
    star = np.ones((3, 3))
    assert Survey(psf=star) == Survey(psf=star.copy())
    assert Survey(psf=star) != Survey(psf=2 * star)
    assert Survey() != Survey(name="deep")
    assert Survey() != "deep"
    assert Survey(psf=1.0) != Survey(psf=1.0 * units.pix)


def test_the_record_is_json_and_leaves_the_folder_out() -> None:
    survey = Survey(folder="/data/x", psf="/data/star.fits", stretch=AsinhStretch(0, (1, 2, 3)), columns="cutout")
    record = json.loads(json.dumps(survey.as_record()))
    assert record == {
        "bands": ["i", "r", "g"],
        "columns": "cutout",
        "stretch": {"kind": "asinh", "vmin": 0.0, "vmax": [1.0, 2.0, 3.0], "a": 0.1},
        "psf": "star.fits",
    }
    assert Survey(psf=2.5 * units.pix).as_record()["psf"] == "2.5 pix"
    assert Survey(psf=1.1).as_record()["psf"] == 1.1
    assert Survey(psf=np.ones((5, 7))).as_record()["psf"] == "image of 5x7 px"


def test_the_card_of_the_docstring_is_read(tmp_path: Path) -> None:
    text = (card.__doc__ or "").split("::\n\n")[1].split("\n\nEvery key")[0]
    path = tmp_path / "card.toml"
    path.write_text(text, encoding="utf-8")
    assert read_survey(path) == Survey(
        name="deep field",
        bands=("z", "r", "g"),
        planes=("u", "g", "r", "i", "z"),
        columns="cutout",
        folder=tmp_path / "cutouts",
        pixel_scale=0.262,
        psf=1.1,
        unit="nanomaggy",
        saturation=900.0,
        stretch=LuptonStretch(0.5),
    )


def test_paths_of_a_card_start_at_the_card(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_text('psf = "star.fits"\n', encoding="utf-8")
    assert read_survey(str(path)).psf == str(tmp_path / "star.fits")
    assert read_survey(path).folder == str(tmp_path)
    path.write_text('psf = "2.5 pix"\nfolder = "/elsewhere"\n', encoding="utf-8")
    assert read_survey(path).psf == 2.5 * units.pix
    assert read_survey(path).folder == "/elsewhere"
    assert read_survey(survey := Survey()) is survey


def test_cards_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    with pytest.raises(SurveyError, match=r"survey card .*card.toml can't be read .*give the path of a TOML file"):
        read_survey(path)
    path.write_text("bands = [", encoding="utf-8")
    with pytest.raises(SurveyError, match=r"card.toml is no TOML: "):
        read_survey(path)
    path.write_text("[stretch]\nkind = 'lupton'\nQ = -1\n", encoding="utf-8")
    with pytest.raises(SurveyError, match=r"card.toml: Q of a lupton stretch is -1"):
        read_survey(path)


def test_what_is_no_survey_is_named() -> None:
    for wrong in (5, None, ["card.toml"]):
        with pytest.raises(SurveyError, match="a survey is a Survey, a mapping or the path of a card, not"):
            read_survey(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("survey", "right"),
    [
        (
            Survey(bands=("g", "r", "i"), columns=("file_g", "file_r", "file_i")),
            Survey(columns=("file_i", "file_r", "file_g")),
        ),
        (Survey(bands=("g", "r", "i"), columns="cutout"), Survey(columns="cutout", planes=("g", "r", "i"))),
        (Survey(bands=("r", "i", "g"), planes=tuple("ugriz")), Survey(planes=tuple("ugriz"))),
        (Survey(bands=("g", "r", "i")), Survey(planes=("g", "r", "i"))),
    ],
)
def test_what_is_said_of_the_order_of_bands_can_be_followed(survey: Survey, right: Survey) -> None:
    with pytest.raises(SurveyError) as error:
        check_bands(survey)
    said = dict(re.findall(r"(bands|columns|planes)=(\([^)]*\))", str(error.value).split("Declare")[1]))
    followed = dataclasses.replace(survey, **{name: ast.literal_eval(value) for name, value in said.items()})
    assert followed == right
    assert check_bands(followed) == ""


def test_bands_that_the_weights_draw_need_no_note() -> None:
    assert check_bands(Survey(), weights="mini") == ""
    assert check_bands(Survey(bands=("z", "r", "g")), weights="mini").endswith("the survey's z, r, g stand for them")
    assert "the mean of the three stands for luminance" in check_bands(Survey(bands="luminance"))


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        ("r", r"mini draw bands i, r, g as red, .* single band 'r'\. If it may .*bands=\"luminance\""),
        (("r", "g"), "the survey has 2 bands, r, g. Choose three, red first"),
        (tuple("ugriz"), r"has 5 bands, u, g, r, i, z\. Choose three, .* planes=\(u, g, r, i, z\), the order"),
        (("g", "r", "i"), r"would show g as red\. Declare bands=\('i', 'r', 'g'\), .* planes=\('g', 'r', 'i'\)"),
    ],
)
def test_bands_that_the_weights_cannot_draw_are_named(bands: Any, message: str) -> None:
    with pytest.raises(SurveyError, match=message):
        check_bands(Survey(bands=bands), weights="mini")


def test_too_many_columns_of_single_bands() -> None:
    columns = Survey(bands=tuple("ugriz"), columns=tuple("abcde"))
    with pytest.raises(SurveyError, match=r"Choose three, red first: bands=\(red.*\), columns=\(of red, of green"):
        check_bands(columns)
