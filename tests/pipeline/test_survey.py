"""A survey's own cutouts through `augment_table`: files in, files out, matched or not, with a word on what was done."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from astro_galaxysd import (
    augment_table,
    drop_synthetic,
    errors,
    pipeline,
    read_cutouts,
    read_survey,
    read_table,
    to_hdus,
)
from astro_galaxysd.images.provenance import RUN_RECORD
from astro_galaxysd.records import ImageBatch
from astro_galaxysd.survey.example import PIXEL_SCALE, SEEING
from astro_galaxysd.survey.rows import SurveyRows
from astro_galaxysd.weightcards import weight_card

SIDE = 128
MINI = weight_card("mini")


class Disks:
    """Draws exponential disks on a noisy sky, as large as those the shipped weights draw."""

    def __init__(self, card=None):
        self.card = card

    def generate(self, conditions, *, batch_size=None):
        images = np.zeros((len(conditions), SIDE, SIDE, 3), np.uint8)
        y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
        for row, seed in enumerate(conditions["seed"]):
            rng = np.random.default_rng(int(seed))
            light = 180 * np.exp(-np.hypot(x, y / rng.uniform(0.4, 1)) / 9)
            images[row] = np.clip(light[..., None] * [1, 0.8, 0.6] + rng.normal(6, 3, (SIDE, SIDE, 3)), 0, 255)
        return ImageBatch(images, conditions.copy(), np.arange(len(conditions)).astype(str))


def card(made):
    """What the cutouts are; with the seeing, as twelve have too few stars to tell it."""
    return replace(read_survey(made[0] / "survey.toml"), psf=SEEING)


@pytest.fixture
def survey(made):
    return card(made)


def augment(made, card, **options):
    defaults = {"target": "round", "n": 1, "rng": 1, "generator": Disks(), "progress": False, "survey": card}
    defaults["candidates"] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.MatchWarning)  # the seeing of what `Disks` draws is not known
        return augment_table(made[1], **(defaults | options))


@pytest.fixture(scope="module")
def matched(made, tmp_path_factory):
    """The survey with galaxies as of the weights `MINI` matched to it, read back, and the folder they are in."""
    folder = tmp_path_factory.mktemp("matched")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # all that is asked of the survey is known
        augment_table(made[1], target="round", n=3, candidates=1, rng=1, generator=Disks(MINI), progress=False,
                      survey=card(made), match="survey", out=folder / "more.fits")  # fmt: skip
    return folder, read_table(folder / "more.fits")


def test_new_files_are_like_the_survey_s_own(made, matched):
    folder, table = matched
    assert len(table) == 15
    assert sorted(path.name for path in folder.iterdir()) == ["more.fits", "more_cutouts"]
    assert len(list((folder / "more_cutouts").iterdir())) == 9
    (real, of_real), (new, of_new) = (fits.getdata(made[0] / table["file_i"][row], header=True) for row in (0, 12))
    assert (new.shape, new.dtype) == (real.shape, real.dtype)
    assert (of_new["CALIB"], of_new["SYNTHET"], of_new["BUNIT"]) == (False, True, "nanomaggy")
    assert of_new["PIXSCALE"] == pytest.approx(0.5)
    assert of_new["PROMPT"] == table["prompt"][12]
    assert of_new["SEED"] == table["seed"][12]
    assert of_real["CTYPE1"] == "RA---TAN"
    assert of_new["CTYPE1"] == "XOFFSET"


def test_matched_rows_have_the_survey_s_sky_and_size(made, survey, matched):
    from astro_galaxysd.survey.sizes import find_galaxy

    rows = SurveyRows(matched[1], survey=survey)
    corners = [np.concatenate([rows.planes(row)[0, :12, :12].ravel()]) for row in range(15)]
    level, noise = np.median(corners, axis=1), np.std(corners, axis=1)
    assert np.median(level[12:]) == pytest.approx(np.median(level[:12]), rel=0.1)
    assert np.median(noise[12:]) == pytest.approx(np.median(noise[:12]), rel=0.15)
    donors = {name: row for row, name in enumerate(matched[1]["id"][:12])}
    for row in range(12, 15):
        donor = donors[matched[1]["match_row"][row]]
        sizes = [find_galaxy(rows.planes(one)).r90 for one in (row, donor)]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.1)
    assert matched[1]["match_row"].mask.tolist() == [True] * 12 + [False] * 3
    assert (matched[1]["match_scale"][12:] < 1).all()


def test_the_record_says_what_was_matched(matched):
    told = matched[1].meta[RUN_RECORD]["parameters"]
    assert told["survey"]["bands"] == ["i", "r", "g"]
    assert told["survey"]["stretch"]["kind"] == "lupton"
    assert told["match"]["rows"] == 12
    assert told["left_out"] == []


def test_the_record_says_how_the_cutouts_compare_with_what_the_weights_know(matched):
    told = matched[1].meta[RUN_RECORD]["parameters"]["domain"]
    assert (told["weights"], told["n"], told["framed"], told["left_out"]) == ("mini", 12, True, 0)
    assert told["verdict"] == "inside"
    assert set(told["kinds"]) == {"colour", "tint"}
    assert all(kind["median"] > 0 and 0 < kind["usual"] < kind["limit"] for kind in told["kinds"].values())


def test_the_seeing_of_known_weights_is_brought_to_the_survey_s(matched):
    assert np.asarray(matched[1]["match_seeing"][12:]) == pytest.approx(1, abs=0.15)


def test_real_rows_come_back(made, matched):
    real = drop_synthetic(matched[1])
    assert real.colnames == made[1].colnames
    assert list(real["file_g"]) == list(made[1]["file_g"])


def test_pixels_do_not_depend_on_how_many_are_drawn(made, survey, matched, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "check_domain", lambda *args, **options: None)
    table = augment(made, survey, generator=Disks(MINI), match="survey", out=tmp_path / "fewer.fits")
    one, other = (fits.getdata(made[0] / path) for path in (table["file_r"][12], matched[1]["file_r"][12]))
    assert np.array_equal(one, other)


def test_unmatched_galaxies_fill_the_frame(made, survey, tmp_path):
    table = augment(made, survey, cutouts=tmp_path / "new", n=2)
    assert "match_row" not in table.colnames
    assert table.meta[RUN_RECORD]["parameters"]["domain"] is None  # nobody knows what the generator learnt from
    shown = read_cutouts(table[12:], survey)["image"]
    assert shown.shape == (2, 64, 64, 3)
    middle, corner = (np.asarray(shown)[:, part, part].mean(axis=(1, 2, 3)) for part in (slice(28, 36), slice(0, 8)))
    assert (middle > 5 * corner).all()


def test_a_survey_given_as_arrays_of_one_band(made, survey):
    table = made[1].copy()
    del table["file_i"], table["file_r"]
    planes = np.stack([fits.getdata(made[0] / path) for path in table["file_g"]])
    card = {"bands": "luminance", "stretch": {"kind": "asinh", "vmin": 0.0, "vmax": 2.0}, "unit": "nanomaggy",
            "psf": SEEING, "pixel_scale": PIXEL_SCALE}  # fmt: skip
    more = augment((made[0], table), card, images=planes, match="survey")
    assert more["image"].shape == (13, 64, 64)
    assert more["image"].dtype == planes.dtype
    header = to_hdus(more[12:], survey=read_survey(card))[0].header
    assert "BUNIT" not in header
    assert header["CALIB"] is False
    assert "image" not in drop_synthetic(more).colnames


def test_a_column_of_pictures_needs_no_card(made, survey, tmp_path):
    from PIL import Image

    table = made[1].copy()
    shown = read_cutouts(table, survey)["image"]
    for row, pixels in enumerate(shown):
        Image.fromarray(pixels).save(tmp_path / f"{row}.png")
    table["file"] = [str(tmp_path / f"{row}.png") for row in range(12)]
    more = augment((made[0], table), None, images="file", cutouts=tmp_path / "new")
    with Image.open(more["file"][12]) as new:
        assert (new.format, new.size) == ("PNG", (64, 64))


def test_rows_that_fail_are_named_and_stay(made, survey, tmp_path):
    table = made[1].copy()
    table["file_g"][3] = "cutouts/gone.fits"
    with (
        pytest.warns(errors.RowsLeftOutWarning, match=r"1 of 12 rows .* row 3 \(MADE-0003\): no file"),
        pytest.warns(errors.MatchWarning, match="the seeing of the drawn galaxies is not known"),
    ):
        more = augment_table(table, target="round", n=1, rng=1, generator=Disks(), progress=False, survey=survey,
                             match="survey", cutouts=tmp_path / "new")  # fmt: skip
    assert len(more) == 13
    left_out = more.meta[RUN_RECORD]["parameters"]["left_out"]
    assert [(one["row"], one["id"]) for one in left_out] == [(3, "MADE-0003")]
    assert "MADE-0003" not in set(more["match_row"][12:])
    assert np.isnan(more["match_seeing"][12])


def test_an_augmented_survey_can_be_augmented_again(made, survey, matched, tmp_path):
    twice = augment((made[0], matched[1]), survey, match="survey", cutouts=tmp_path / "newer", rng=2)
    assert twice["synthetic"].tolist() == [False] * 12 + [True] * 4
    assert not twice["match_row"].mask[12:].any()
    assert drop_synthetic(twice).colnames == made[1].colnames


def test_a_table_without_images_can_be_augmented_again():
    votes = Table({"t01_smooth": [0.9] * 6, "t07_round": [0.9] * 6, "t06_odd_yes": [0.1] * 6})
    options = {"target": "round", "n": 2, "generator": Disks(MINI), "progress": False}
    once = augment_table(votes, rng=1, **options)
    assert list(once["image"][:6]) == [None] * 6
    twice = augment_table(once, rng=2, **options)
    assert twice["synthetic"].tolist() == [False] * 6 + [True] * 4
    assert twice.meta[RUN_RECORD]["parameters"]["domain"] is None  # there is nothing to compare


class Untouchable:
    def generate(self, conditions, *, batch_size=None):
        pytest.fail("the generator drew although the input is bad")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"match": "sky"}, errors.UnknownNameError, "unknown match 'sky': known are survey"),
        ({"cutouts": None}, errors.OutputError, "need a folder: name it with cutouts=, or write the table with out="),
        ({"survey": {"bands": ["i"], "columns": "file_i"}}, errors.SurveyError, "the single band 'i'.*luminance"),
        ({"survey": {"bands": ["i", "r", "g"]}}, errors.UnknownNameError, "unknown image column 'image'"),
        ({"survey": {"band": "i"}}, errors.SurveyError, "a survey has no band; it has bands"),
        ({"images": "file_i", "survey": None}, errors.ImageError, "no cutout can be used: .*no file"),
    ],
)
def test_refused_before_anything_is_drawn(made, survey, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        augment(
            made, options.pop("survey", survey), **({"generator": Untouchable(), "cutouts": tmp_path / "new"} | options)
        )
    assert not (tmp_path / "new").exists()


def test_existing_files_are_not_replaced(made, survey, matched, tmp_path):
    new = shutil.copytree(matched[0] / "more_cutouts", tmp_path / "new")
    before = {path.name: path.read_bytes() for path in new.iterdir()}
    with pytest.raises(errors.OutputExistsError, match="exists already"):
        augment(made, survey, generator=Untouchable(), cutouts=new)
    assert {path.name: path.read_bytes() for path in new.iterdir()} == before
    augment(made, survey, cutouts=new, overwrite=True)
    assert sum(path.read_bytes() != before[path.name] for path in new.iterdir()) == 3  # now unmatched, in three bands


def test_too_few_galaxies_to_match(made, survey, tmp_path):
    few = made[1][:4]
    with pytest.raises(errors.MatchError, match="4"):
        augment((made[0], few), survey, generator=Untouchable(), match="survey", cutouts=tmp_path / "new")


def test_what_was_drawn_survives_a_fault_of_writing(made, survey, tmp_path, monkeypatch):
    def full(*args, **options):
        raise errors.OutputError("no space left")

    monkeypatch.setattr("astro_galaxysd.survey.writing.NewCutouts.encode", full)
    with pytest.raises(errors.OutputError, match="no space left") as caught:
        augment(made, survey, cutouts=tmp_path / "new")
    assert np.asarray(caught.value.result["image"]).shape == (1, SIDE, SIDE, 3)


def test_domain_is_checked_for_the_weights_that_draw(made, survey, tmp_path, monkeypatch):
    seen = {}

    def check(table, images, declared, card, **options):
        seen.update(options, weights=card.name, bands=declared.bands)
        raise errors.DomainError("unlike")

    monkeypatch.setattr(pipeline, "check_domain", check)
    with pytest.raises(errors.DomainError, match="unlike"):
        augment(made, survey, generator=None, match="survey", cutouts=tmp_path / "new", anyway=True)
    assert (seen["weights"], seen["framed"], seen["anyway"]) == ("mini", True, True)
