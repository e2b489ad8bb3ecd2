"""How far figures are from their ceiling, and how they are written."""

from __future__ import annotations

import math

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd.evaluation.scores import Score
from astro_galaxysd.evaluation.scoring import Line, with_ceilings
from astro_galaxysd.reporting.metrics import counted, metric_tables, readings, rounded

NAN = float("nan")


def reading(**changed):
    row = {"metric": "precision", "group": "all", "value": 0.7, "error": 0.03, "ceiling": 0.8, "ceiling_error": 0.04}
    row |= {"n_real": 9, "n_synthetic": 9, "higher_is_better": True, "note": "", "evaluator": "realism"} | changed
    return readings(Table(rows=[row]))[0]


def test_the_distance_from_the_ceiling_is_in_units_of_both_errors():
    assert reading().behind == pytest.approx(0.1 / 0.05)
    assert reading(higher_is_better=False).behind == pytest.approx(-2)
    assert math.isnan(reading(error=0.0, ceiling_error=0.0).behind)
    assert math.isnan(reading(ceiling=NAN).behind)
    assert math.isnan(reading(metric="chance").behind)  # stated for comparison only


@pytest.mark.parametrize(
    ("value", "standing"),
    [(0.79, "near"), (0.81, "near"), (0.69, "away"), (0.5, "far"), (0.95, "beyond"), (NAN, "unknown")],
)
def test_standings(value, standing):
    assert reading(value=value).standing == standing
    assert reading(value=1.6 - value, higher_is_better=False).standing == standing


def test_readings_are_the_rows_of_an_evaluation():
    found = readings(with_ceilings([Line("realism", Score("recall", "all", 0.5, 0.1, 9, 8, True), None)]))
    assert found[0][:5] == ("realism", "recall", "all", 0.5, 0.1)
    assert found[0][7:11] == (9, 8, True, "")
    assert math.isnan(found[0].ceiling)
    assert math.isnan(found[0].reconstruction)
    assert found[0].standing == "unknown"
    assert readings(with_ceilings([])) == []


def test_a_baseline_points_nowhere():
    html = metric_tables([reading(metric="chance"), reading(metric="chance", group="prompt: ring")])
    assert '<th scope="row">chance</th>' in html
    assert "↑" not in html
    assert "↑" in metric_tables([reading()])


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (0.98656, 0.000131, "0.98656 &plusmn; 0.00013"),
        (1234.5, 120.0, "1230 &plusmn; 120"),
        (-0.5, 0.05, "&minus;0.500 &plusmn; 0.050"),
        (0.0021, 0.0000057, "(2.1000 &plusmn; 0.0057) &times; 10<sup>&minus;3</sup>"),
        (3.2e7, 1.1e6, "(3.20 &plusmn; 0.11) &times; 10<sup>7</sup>"),
        (0.5, 0.0, "0.5"),
        (0.5, NAN, "0.5"),
        (NAN, NAN, "&ndash;"),
        (0.0, 0.01, "0.000 &plusmn; 0.010"),
    ],
)
def test_values_are_rounded_by_their_errors(value, error, shown):
    assert rounded(value, error) == shown


def test_counts_say_what_is_missing():
    rows = [
        reading(value=0.75),
        reading(value=0.2),
        reading(value=NAN),
        reading(value=1.0),
        reading(group="prompt: ring"),
    ]
    assert counted(rows) == (
        "Of 3 figures over all with a ceiling, 1 lie within 2 standard errors of it, 1 fall short of it and 1 exceed "
        "it. 1 could not be computed; the tables say why."
    )


def test_groups_are_one_table_and_text_is_escaped():
    rows = [
        reading(),
        reading(group="prompt: <i>"),
        reading(group="prompt: <i>", metric="density", value=NAN, note="a<b"),
    ]
    html = metric_tables(rows)
    assert "prompt: &lt;i&gt;" in html
    assert "a&lt;b" in html
    assert "<i>" not in html
    assert html.count("<table") == 2
    assert "realism by group (1 group)" in html
    assert "reconstructed" not in html


def test_reconstructions_have_a_column():
    html = metric_tables([reading(reconstruction=0.75, reconstruction_error=0.05)])
    assert "reconstructed" in html
    assert "0.750 &plusmn; 0.050" in html


def test_notes_have_a_column_only_where_there_are_any():
    assert ">note<" not in metric_tables([reading()])
    assert ">note<" in metric_tables([reading(), reading(value=np.nan, note="too few")])
