"""Cutouts are compared with what weights were trained on before anything is drawn; a survey is looked at."""

from __future__ import annotations

import json
import tomllib
import warnings
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from astropy.table import Column, MaskedColumn, Table

from astro_galaxysd import Survey, read_survey, read_table, surveying
from astro_galaxysd.errors import (
    ConditionError,
    DomainError,
    DomainWarning,
    ImageError,
    SurveyError,
    UnknownNameError,
    WeightsError,
)
from astro_galaxysd.evaluation import domain as measuring
from astro_galaxysd.images.codec import fit_size, read_images
from astro_galaxysd.images.sources import object_array
from astro_galaxysd.learning.trainingset import TrainingSet
from astro_galaxysd.records import WeightCard
from astro_galaxysd.run_promotion import _domain
from astro_galaxysd.survey.domain import DOMAIN_FILE, read_domain, write_domain
from astro_galaxysd.survey.rows import SurveyRows
from astro_galaxysd.survey.sizes import DISPLAY_FRAME, FLUX_FRAME, Frame
from astro_galaxysd.surveying import check_domain, domain_of, inspect_survey
from astro_galaxysd.testing import example_batch
from astro_galaxysd.weightcards import weight_card

MINI = weight_card("mini")


@pytest.fixture(scope="module")
def example():
    """The table that ships, and its images."""
    table = read_table(str(files("astro_galaxysd").joinpath("data", "example.parquet")))
    return table, np.stack(read_images(table))


@pytest.fixture
def eight(made):
    """Card and table of eight galaxies of an invented survey."""
    return read_survey(made[0] / "survey.toml"), made[1][:8]


def without_images(table):
    return table[[name for name in table.colnames if name != "image"]]


def test_the_record_that_ships():
    domain = domain_of(MINI)
    assert (domain.bands, domain.survey, domain.image_size) == (("i", "r", "g"), "sdss", 128)
    assert domain.seeing == pytest.approx(3.5, abs=0.2)
    assert domain.frame(stretched=True) == Frame(pytest.approx(FLUX_FRAME.radius), FLUX_FRAME.side)
    assert domain.frame(stretched=False) == DISPLAY_FRAME
    path = files("astro_galaxysd").joinpath("weights", "mini", DOMAIN_FILE)
    assert path.stat().st_size < 400e3


def test_the_example_is_like_the_training_cutouts(example):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = check_domain(example[0], None, None, MINI, rng=1)
    assert (report.verdict, report.n, report.left_out) == ("inside", 24, 0)
    assert report.share < 0.1
    assert json.loads(json.dumps(report.as_record()))["weights"] == "mini"


def test_the_same_rows_for_the_same_seed(example):
    one, same, other = (check_domain(example[0], None, None, MINI, n=4, rng=seed) for seed in (1, 1, 2))
    assert one.as_record() == same.as_record()
    assert one.as_record() != other.as_record()
    assert one.n == 4


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda images: 255 - images, "looks: [78] of 8"),
        (lambda images: images[..., [2, 0, 1]], "tint: .*check that the bands go red, green, blue"),
        (lambda images: np.random.default_rng(0).integers(0, 30, images.shape).astype(np.uint8), "looks: 8 of 8"),
        (lambda images: np.full_like(images, 20), "looks: 8 of 8"),
    ],
    ids=["inverted", "wrong order of bands", "noise", "flat"],
)
def test_what_the_weights_do_not_know_is_refused(example, spoil, found):
    few = slice(None, 24 if found.startswith("tint") else 8)
    table, spoilt = without_images(example[0])[few], spoil(example[1][few])
    with pytest.raises(DomainError, match=rf"unlike what weights 'mini' were trained on \(SDSS cutouts\): .*{found}"):
        check_domain(table, spoilt, None, MINI)


def test_anyway_is_a_warning(example):
    with pytest.warns(DomainWarning, match="100% of 5 cutouts are unlike"):
        report = check_domain(without_images(example[0])[:5], 255 - example[1][:5], None, MINI, anyway=True)
    assert report.verdict == "refused"


def test_luminance_is_compared_with_grey_cutouts(example):
    grey = np.rint(example[1].mean(axis=-1)).astype(np.uint8)
    report = check_domain(without_images(example[0]), grey, Survey(bands="luminance"), MINI)
    assert report.verdict == "inside"
    assert list(report.far) == ["grey"]
    assert "the mean of the three stands for luminance" in report.text()


def test_small_galaxies_pass_where_they_are_matched(example):
    table, small = without_images(example[0])[:6], np.full_like(example[1][:6], 5)
    small[:, 48:80, 48:80] = fit_size(example[1][:6], (32, 32))
    with pytest.raises(DomainError, match="match=.survey."):
        check_domain(table, small, None, MINI)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DomainWarning)
        framed = check_domain(table, small, None, MINI, framed=True)
    assert framed.verdict != "refused"


def test_cutouts_that_end_early_get_sky_around_them(example):
    tight = example[1][:6, 16:-16, 16:-16]
    report = check_domain(without_images(example[0])[:6], tight, None, MINI, framed=True)
    assert (report.verdict, report.outside["colour"]) == ("inside", 0)


def test_rows_that_can_not_be_read_count_nowhere(example):
    table = without_images(example[0])[:8]
    images = [b"ours", b"nothing", *example[1][2:8]]
    report = check_domain(table, images, None, MINI)
    assert (report.n, report.left_out, report.verdict) == (6, 2, "inside")
    with pytest.raises(ImageError, match="none of 2 cutouts can be read; the first: row [01]"):
        check_domain(table[:2], images[:2], None, MINI)


def test_rows_without_a_cutout_are_not_looked_at(example):
    table = without_images(example[0])[:8]
    report = check_domain(table, [None, "", np.ma.masked, *example[1][3:8]], None, MINI, n=4)
    assert (report.n, report.left_out) == (4, 0)
    with pytest.raises(ImageError, match="none of 1 cutouts can be read; the first: row 1"):
        check_domain(table[:3], [None, b"nothing", None], None, MINI)


@pytest.mark.parametrize(
    "cells",
    [
        object_array([None] * 6),
        MaskedColumn(np.zeros((6, 8, 8, 3), np.uint8), mask=True),
        MaskedColumn(["a.fits"] * 6, mask=True),
        Column([""] * 6),
    ],
    ids=["None", "masked pixels", "masked paths", "empty"],
)
def test_a_column_without_a_cutout_is_no_cutouts(cells):
    table = Table({"id": np.arange(6)})
    table["image"] = cells
    assert check_domain(table, None, None, MINI) is None


def test_a_survey_without_a_cutout_says_so():
    table = Table({"id": ["a", "b"]})
    table["image"] = object_array([None, None])
    with pytest.raises(ImageError, match=r"no cutout can be used: row 0 \(a\) has no cutout"):
        inspect_survey(table)


def test_synthetic_rows_are_not_looked_at(example):
    table = example[0].copy()
    table["synthetic"] = np.arange(len(table)) >= 10
    assert check_domain(table, None, None, MINI).n == 10
    table["synthetic"] = True
    assert check_domain(table, None, None, MINI) is None


def test_nothing_to_compare_with_or_nothing_to_compare(example, tmp_path, tiny_weights, monkeypatch):
    assert check_domain(without_images(example[0]), None, None, MINI) is None
    assert check_domain(example[0], None, None, weight_card(tiny_weights)) is None
    assert domain_of(WeightCard("streams", "https://example.org/streams")) is None
    write_domain(domain_of(MINI), tmp_path)
    there = WeightCard("there", str(tmp_path))
    assert check_domain(example[0], None, None, there, n=2).weights == "there"
    monkeypatch.setattr(measuring, "embedder_revision", lambda embedder: "newer")
    assert check_domain(example[0], None, None, there, n=2) is None


def test_what_can_not_be_checked(example, tmp_path):
    with pytest.raises(ConditionError, match="n = 0 cutouts to look at; give 1 or more"):
        check_domain(example[0], None, None, MINI, n=0)
    with pytest.raises(SurveyError, match="declare bands=\"luminance\"|single band 'r'"):
        check_domain(without_images(example[0]), example[1][..., 0], Survey(bands=("r",)), MINI)
    (tmp_path / DOMAIN_FILE).write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="can't be read .*copy the weights again"):
        check_domain(example[0], None, None, WeightCard("there", str(tmp_path)))


def test_a_survey_is_looked_at(made, eight):
    report = inspect_survey(eight[1], made[0] / "survey.toml", n=3)
    text = report.text()
    assert (report.n_rows, report.left_out, report.kind, report.size) == (8, {}, "fits", (64, 64))
    for words in (
        "8 real rows, 0 of them can't be used",
        "FITS files, 64x64 px, bands i, r, g, 0.5 arcsec a pixel",
        "as they are:\n  looks: ",
        "with galaxies at the trained size:\n  looks: ",
        " of 3 cutouts lie outside",
    ):
        assert words in text
    assert report.match is not None
    assert report.match.text().splitlines()[0] in text
    assert report.suggested is None
    assert report.framed.verdict != "refused"  # invented galaxies, but galaxies


def test_pixels_are_read_once(eight, monkeypatch):
    read = []
    planes = SurveyRows.planes

    def count(rows, row):
        read.append(int(rows.table_rows[row]))
        return planes(rows, row)

    monkeypatch.setattr(SurveyRows, "planes", count)
    whole = inspect_survey(*reversed(eight), n=2)
    assert len(read) == len(set(read)) == 2
    read.clear()
    inspect_survey(eight[1], replace(eight[0], stretch=None), n=2)
    assert len(read) == 4  # as display images, which they are not, and as fluxes
    monkeypatch.setattr(surveying, "_MOST_VALUES", 0)  # larger cutouts are read again
    assert inspect_survey(*reversed(eight), n=2).text() == whole.text()


def test_a_stretch_is_suggested(eight):
    card, table = eight
    report = inspect_survey(table, replace(card, stretch=None), n=3)
    assert report.suggested is not None
    assert "no stretch is declared; with one like this" in report.text()
    lines = report.text().splitlines()
    start = lines.index("  [stretch]")
    card = tomllib.loads("\n".join(line.strip() for line in lines[start : start + 6]))
    assert card["stretch"]["kind"] == "lupton"
    assert Survey(stretch=card["stretch"]).stretch == report.suggested
    assert report.left_out == {}


def test_a_stretch_is_suggested_for_counts(eight):
    """Integers are no display values; what is told to call on them must not fail."""
    card, table = eight
    rows = SurveyRows(table, survey=card, rows=range(3))
    counts = [(1000 * np.moveaxis(rows.planes(row), 0, -1)).astype(np.int32) for row in range(3)]
    report = inspect_survey(Table({"id": np.arange(3)}), None, counts)
    assert report.suggested is not None
    assert report.left_out == {}


def test_unusable_rows_are_named_and_the_reason_why_nothing_matches(eight):
    card, table = eight
    broken = table.copy()
    for column in card.columns:
        broken[column] = broken[column].astype("U60")
        broken[column][:7] = "cutouts/nowhere.fits"
    report = inspect_survey(broken, card)
    text = report.text()
    assert list(report.left_out) == [f"row {row} (MADE-000{row})" for row in range(7)]
    some = inspect_survey(broken, card, n=2)  # of the others the headers are looked at
    assert some.left_out == report.left_out
    assert "8 real rows, 7 of them can't be used" in text
    assert "nowhere.fits" in text
    assert "  ... and 2 more" in text
    assert report.match_fault.startswith("not possible: ")
    assert f'match="survey": {report.match_fault}' in text


def test_bands_that_the_weights_do_not_know_are_said(example):
    table = without_images(example[0])
    report = inspect_survey(table, Survey(bands=("r",)), example[1][..., 0], n=2)
    assert (report.domain, report.framed) == (None, None)
    assert "luminance" in report.text().splitlines()[-1]


def test_weights_that_do_not_say_what_they_know(example, tiny_weights):
    report = inspect_survey(example[0], weights=tiny_weights, n=1)
    assert report.text().endswith("don't say what they were trained on: the cutouts were not compared with it")
    assert "JPEG or PNG bytes, 128x128 px, bands i, r, g, of unknown scale" in report.text()
    with pytest.raises(UnknownNameError, match="unknown weights 'minni'"):
        inspect_survey(example[0], weights="minni")
    with pytest.raises(ConditionError, match="n = 0 cutouts"):
        inspect_survey(example[0], n=0)


@pytest.fixture
def quick(monkeypatch):
    """An embedder that takes no time."""

    class Means:
        revision = "means-1"

        def embed(self, images):
            return images.reshape(len(images), -1, 3).mean(axis=1).astype(np.float32)

    monkeypatch.setattr(measuring, "make_embedder", Means)
    monkeypatch.setattr(measuring, "_MEASURED", 4)


def test_new_weights_get_a_record(quick, tmp_path):
    images = example_batch(330, size=16).images
    domain = measuring.record_domain(tmp_path, images)
    assert (len(domain.features["colour"]), len(domain.held_out["colour"])) == (220, 110)  # a third is held back
    assert (domain.image_size, domain.revision, domain.bands) == (16, "means-1", ())
    assert domain.radius > 0
    assert read_domain(tmp_path).revision == "means-1"
    apart = measuring.measure_domain(images[:200], images[200:])
    assert (len(apart.features["grey"]), len(apart.held_out["grey"])) == (200, 130)
    (tmp_path / "again").mkdir()
    assert measuring.record_domain(tmp_path / "again", images[:3], known=domain) is domain
    assert (tmp_path / "again" / DOMAIN_FILE).exists()


def test_too_few_cutouts_leave_no_record(quick, tmp_path, caplog):
    with caplog.at_level("INFO"):
        assert measuring.record_domain(tmp_path, example_batch(30).images) is None
    assert "30 cutouts are too few to say of others whether they are like them" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_promoted_weights_keep_what_no_table_tells(quick, tmp_path):
    images = example_batch(330, size=16).images
    rows = TrainingSet(images, np.empty((330, 37)), [str(row) for row in range(330)])
    new, there = tmp_path / "new", tmp_path / "there"
    new.mkdir()
    there.mkdir()
    assert _domain(new, there, rows, rows).bands == ()
    write_domain(measuring.measure_domain(images, bands=("i", "r", "g"), survey="sdss", seeing=3.5), there)
    domain = _domain(new, there, rows, rows)
    assert (domain.bands, domain.survey, domain.seeing) == (("i", "r", "g"), "sdss", 3.5)
    assert len(domain.held_out["tint"]) == 330
    measuring.record_domain(new, images)  # what the run wrote is taken
    assert len(_domain(new, there, rows, rows).held_out["tint"]) == 110


@pytest.mark.slow
def test_test_cutouts_pass_and_band_orders_do_not(gz2):
    table = read_table(gz2 / "test.parquet")
    rows = np.linspace(0, len(table) - 1, 24).astype(int)
    images = np.stack(read_images(table[rows]))
    ids = Table({"id": np.arange(24)})
    assert check_domain(ids, images, None, MINI).share <= 0.1
    with pytest.warns(DomainWarning, match="tint: "):
        check_domain(ids, images[..., ::-1], None, MINI, anyway=True)
