"""Names and refusals of a survey's new cutouts; `tests/pipeline/test_survey.py` has them at work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd.augmentation.survey_cutouts import check_match, find_survey_cutouts, new_folder
from astro_galaxysd.errors import ConditionError, ImageError, RowsLeftOutWarning, UnknownNameError
from astro_galaxysd.survey.card import Survey

FLUX = np.random.default_rng(0).normal(1, 0.2, (6, 16, 16, 3)).astype(np.float32)
STRETCHED = Survey(stretch={"kind": "linear", "vmin": 0.0, "vmax": 2.0})


@pytest.mark.parametrize(
    ("cutouts", "out", "folder"),
    [
        (None, None, None),
        ("new", "more.fits", "new"),
        (None, "a/more.fits.gz", "a/more_cutouts"),
        (None, "more.v2.parquet", "more.v2_cutouts"),
        (None, "more.v2", "more.v2_cutouts"),
    ],
)
def test_folder_of_new_files(cutouts, out, folder):
    assert new_folder(cutouts, out) == (None if folder is None else Path(folder))


def test_what_can_be_matched():
    check_match(None)
    check_match("survey")
    with pytest.raises(UnknownNameError, match="unknown match 'seeing': known are survey"):
        check_match("seeing")


def test_columns_of_the_table_s_own_are_not_overwritten():
    table = Table({"image": FLUX, "match_row": np.arange(6)})
    found = find_survey_cutouts(table, None, STRETCHED, match="survey")
    with pytest.raises(ConditionError, match="column 'match_row' is the table's own, .*; rename the column"):
        found.check(Table({"row_id": ["a"]}))
    find_survey_cutouts(table, None, STRETCHED).check(Table({"row_id": ["a"]}))


def test_rows_that_only_their_pixels_give_away_are_named():
    damaged = FLUX.copy()
    damaged[2], damaged[4, 3, 3, 0] = np.nan, np.inf
    with pytest.warns(RowsLeftOutWarning, match="2 of 6 rows were left out"):
        found = find_survey_cutouts(Table({"image": damaged}), None, STRETCHED).looked_at()
    assert [record["row"] for record in found.left_out] == [2, 4]
    assert found.usable is not None
    assert found.usable.table_rows.tolist() == [0, 1, 3, 5]
    assert found.record()["left_out"] == found.left_out


def test_fluxes_without_a_stretch_are_refused_whatever_draws():
    mixed = FLUX.copy()
    mixed[0] = 0.5  # one row that could be a display image
    found = find_survey_cutouts(Table({"image": mixed}), None, Survey())
    with pytest.raises(ImageError, match="5 of 6 cutouts can't be used: row 1: values from .* no stretch is declared"):
        found.looked_at()


def test_names_come_from_the_id_column():
    table = Table({"image": FLUX, "objid": np.arange(6), "mine": list("abcdef")})
    assert find_survey_cutouts(table, None, STRETCHED, id_column="mine").rows.identifier(3) == "d"
