"""Figures are SVG of the page: its colours, its ids, nothing from outside."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd.conditions.tree import ANSWERS, INDEX
from astro_galaxysd.errors import ConditionError
from astro_galaxysd.evaluation.calibration import CalibrationCurve
from astro_galaxysd.evaluation.pareto import pareto_front
from astro_galaxysd.reporting import figures
from astro_galaxysd.reporting.figures import HELD, REAL, SYNTHETIC, inline_svg
from astro_galaxysd.reporting.upset import combinations, described, draw_upset


def drawn(draw, name="a", **options):
    svg = inline_svg(draw, alt="Two & more", name=name, **options)
    assert not re.search(r"https?:|#0a0b0|<style|<script|xmlns", svg)
    return ElementTree.fromstring(svg), svg


def ids(svg):
    return set(re.findall(r'\bid="([^"]+)"', svg))


def test_a_figure_has_the_colours_of_the_page_and_an_alternative_text():
    samples = {REAL: np.arange(50.0), HELD: np.arange(50.0) + 1, SYNTHETIC: np.arange(50.0) + 20}
    root, svg = drawn(lambda panel: figures.distribution(panel, samples, label="flux"))
    assert root.get("aria-label") == "Two & more"
    assert root.get("role") == "img"
    assert {"--real", "--held", "--synthetic", "--ink"} <= set(re.findall(r"var\((--\w+)\)", svg))
    assert "flux" in svg


def test_no_two_figures_share_an_id_and_all_references_hold():
    samples = {REAL: np.arange(50.0)}
    one, two = (
        drawn(lambda panel: figures.distribution(panel, samples, label="flux"), name=name)[1] for name in ("a", "b")
    )
    assert ids(one)
    assert not ids(one) & ids(two)
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', one)) <= ids(one)
    again = drawn(lambda panel: figures.distribution(panel, samples, label="flux"), name="a")[1]
    assert again == one


@pytest.mark.parametrize("values", [[np.nan, np.nan], [3.0, 3.0, np.inf]])
def test_values_without_a_spread_can_be_drawn(values):
    svg = drawn(lambda panel: figures.distribution(panel, {SYNTHETIC: np.array(values)}, label="x"))[1]
    assert ("not measurable" in svg) == np.isnan(values[0])


def test_heights_of_a_distribution_are_shares_of_all_values():
    from matplotlib.figure import Figure

    panel = Figure().add_subplot()
    figures.distribution(panel, {REAL: np.append(np.arange(100.0), 1e9), SYNTHETIC: np.arange(400.0) / 4}, label="x")
    for stairs in panel.patches:
        assert stairs.get_data().values.sum() == pytest.approx(1)  # what lies beyond the axis is counted too


def test_a_calibration_has_a_point_a_bin_and_no_error_where_a_bin_has_one_value():
    from matplotlib.figure import Figure

    curve = CalibrationCurve(np.array([0.1, 0.9]), np.array([0.2, 0.8]), np.array([0.1, np.nan]), np.array([2, 1]))
    assert "fraction asked for" in drawn(lambda p: figures.calibration(p, {SYNTHETIC: curve}, title="spiral"))[1]
    panel = Figure().add_subplot()
    figures.calibration(panel, {SYNTHETIC: curve})
    np.testing.assert_allclose(panel.containers[0].lines[0].get_xydata(), [[0.1, 0.2], [0.9, 0.8]])
    ends = [segment[:, 1].tolist() for segment in panel.containers[0].lines[2][0].get_segments()]
    np.testing.assert_allclose(ends, [[0.1, 0.3], [0.8, 0.8]])


def test_a_front_is_labelled():
    sweep = pareto_front(
        Table({"a": [1.0, 2.0, 0.5], "b": [2.0, 1.0, 0.5], "a_error": [0.1] * 3}), {"a": True, "b": True}
    )
    svg = drawn(lambda p: figures.pareto(p, sweep, "a", "b", labels=["guidance 1", "guidance 2", "guidance 3"]))[1]
    assert "guidance 1" in svg
    assert "guidance 2" in svg
    assert "guidance 3" not in svg  # outdone


def members(*rows):
    has = np.zeros((len(rows), len(ANSWERS)), dtype=bool)
    for row, keys in enumerate(rows):
        has[row, [INDEX[key] for key in keys]] = True
    return has


def test_combinations_are_exact_and_counted_by_share():
    real = members(("smooth", "round"), ("smooth", "round"), ("smooth",), (), ("artifact",))
    synthetic = members(("smooth",), ("features", "spiral"))
    found = combinations({"real": real, "synthetic": synthetic})
    assert found.answers[0] == "smooth"
    names = [{found.answers[i] for i in np.flatnonzero(member)} for member in found.members]
    assert names[0] == {"smooth"}  # 1 of 5 and 1 of 2
    assert sorted(map(len, names)) == [1, 2, 2]
    assert found.counts["real"].sum() == 3
    assert found.counts["synthetic"].tolist()[0] == 1
    assert found.totals["real"][0] == 3
    assert found.left_out("real") == 2  # without an answer that has words
    assert found.shares(found.totals)["real"][0] == 60
    assert "smooth: 1 real, 1 synthetic" in described(found, ["real", "synthetic"])


def test_only_the_commonest_are_kept():
    real = members(("smooth",), ("smooth", "round"), ("features", "spiral", "merger"))
    found = combinations({"real": real}, most_answers=2, most=1)
    assert len(found.answers) == 2
    assert len(found.members) == 1
    assert found.left_out("real") == 1  # of what is kept, the second row has the first one's answers


def test_without_answers_there_are_no_combinations():
    with pytest.raises(ConditionError, match="no row asks for any answer"):
        combinations({"real": members((), ("artifact",)), "synthetic": members()})


def test_an_upset_plot_names_the_answers():
    found = combinations({"real": members(("smooth", "round"), ("smooth",)), "synthetic": members(("smooth",))})
    svg = drawn(lambda panel: draw_upset(panel, found), width=6, height=3)[1]
    assert "completely round galaxy" in svg
    assert "var(--real)" in svg
    assert "var(--synthetic)" in svg
