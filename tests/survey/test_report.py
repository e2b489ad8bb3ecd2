"""What is found in a survey's cutouts, row by row."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from PIL import Image

from astro_galaxysd import read_survey
from astro_galaxysd.survey.card import Survey
from astro_galaxysd.survey.report import by_name, first_scale
from astro_galaxysd.survey.rows import SurveyRows


@pytest.mark.parametrize("first", ["nowhere.fits", "picture.png", "text.fits"])
def test_the_pixel_scale_is_that_of_the_first_row_that_says_it(made, tmp_path, first):
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "picture.png")
    (tmp_path / "text.fits").write_text("nothing")
    card, table = read_survey(made[0] / "survey.toml"), made[1][:3]
    for column in card.columns:
        table[column] = [str(tmp_path / first), *(str(made[0] / path) for path in table[column][1:])]
    rows = SurveyRows(table, survey=card)
    assert first_scale(rows) == pytest.approx(0.5)
    assert first_scale(rows, unusable={0, 1, 2}) is None


def test_nothing_says_the_pixel_scale():
    images = np.zeros((2, 16, 16, 3), np.uint8)
    table = Table({"id": ["a", "b"]})
    assert first_scale(SurveyRows(table, images)) is None
    assert first_scale(SurveyRows(table, images, Survey(pixel_scale=0.3))) == 0.3


def test_reasons_come_in_the_order_of_the_table():
    table = Table({"id": list("abcd")})
    images = np.zeros((4, 16, 16, 3), np.uint8)
    late, early = (SurveyRows(table, images, rows=rows) for rows in ([3, 1], [0, 2]))
    named = by_name((late, {0: "third", 1: "first"}), (early, {1: "second"}))
    assert list(named.items()) == [("row 1 (b)", "first"), ("row 2 (c)", "second"), ("row 3 (d)", "third")]
