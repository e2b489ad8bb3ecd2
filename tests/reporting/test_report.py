"""The report is one page that needs nothing, says everything and opens on any screen."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd.conditions.published import PUBLISHED_PROMPTS
from astro_galaxysd.errors import ConditionError, ImageError, OutputError, OutputExistsError, TrainingError
from astro_galaxysd.evaluation import morphology, photometry
from astro_galaxysd.evaluation.curves import append_metrics
from astro_galaxysd.evaluation.memorisation import Pair
from astro_galaxysd.evaluation.morphology import MorphologyEvaluator
from astro_galaxysd.evaluation.photometry import PhotometryEvaluator
from astro_galaxysd.evaluation.progress import HIGHER_IS_BETTER, Figure
from astro_galaxysd.evaluation.texture import radial_power
from astro_galaxysd.reporting import measured
from astro_galaxysd.reporting.figures import HELD, REAL, SYNTHETIC
from astro_galaxysd.reporting.gallery import twins
from astro_galaxysd.reporting.page import Section
from astro_galaxysd.reporting.report import write_report
from astro_galaxysd.reporting.sections import pareto_section

SECTIONS = (
    "summary", "figures", "images", "answers", "calibration", "distributions", "training", "history", "pareto",
    "record",
)  # fmt: skip


@pytest.fixture(scope="module")
def sweep():
    return Table({"guidance": [1.0, 2.0, 4.0], "nearest_real": [0.7, 0.8, 0.75], "pairwise_distance": [0.4, 0.3, 0.2]})


@pytest.fixture(scope="module")
def report(assessment, sweep, tmp_path_factory):
    """A whole report with everything there can be."""
    folder = tmp_path_factory.mktemp("reports")
    figures = {name: Figure(0.5, 0.1) for name in list(HIGHER_IS_BETTER)[:2]}
    append_metrics(folder / "metrics.csv", figures, figures, step=10, images=80, n=8)
    return write_report(assessment, folder / "report", sweep=sweep, history=folder / "metrics.csv", blind=6)


@pytest.fixture(scope="module")
def html(report):
    return report.read_text(encoding="utf-8")


def test_a_report_is_four_files(report):
    assert report.name == "report.html"
    assert sorted(path.name for path in report.parent.iterdir()) == [
        "blind.html", "evaluation.ecsv", "evaluation.json", "report.html",
    ]  # fmt: skip


def test_every_section_is_there_and_in_the_contents(html):
    assert tuple(re.findall(r'<section id="(\w+)"', html)) == SECTIONS
    assert tuple(re.findall(r'<li><a href="#(\w+)">', html)) == SECTIONS


def test_nothing_is_asked_for_from_outside(html):
    assert not re.search(r"https?://", html)
    addresses = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert all(a.startswith(("data:", "#")) or a == "blind.html" for a in addresses)
    assert "default-src 'none'" in html
    assert "<script" not in html


def test_text_of_tables_and_records_is_text(html):
    assert "&lt;script&gt;alert(1)" in html
    assert "<b>ring</b>" not in html
    assert "prompt: &lt;b&gt;ring&lt;/b&gt;" in html
    assert 'alt="synthetic galaxy &lt;s&gt;0"' in html


def test_every_image_and_figure_has_an_alternative_text(html):
    for tag in re.findall(r"<img [^>]*>", html):
        assert re.search(r'alt="[^"]+"', tag)
    figures = re.findall(r'<svg class="figure[^>]*>', html)
    assert len(figures) >= 12
    assert all(re.search(r'role="img" aria-label="[^"]+"', tag) for tag in figures)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_figures_stand_beside_their_ceilings_and_notes(html):
    assert "Of 5 figures over all with a ceiling, 1 lie within 2 standard errors of it, 3 fall short" in html
    assert "0.800 &plusmn; 0.010</td><td>0.810 &plusmn; 0.010" in html
    assert '<td class="value far">0.900 &plusmn; 0.020' in html  # 28 errors from the ceiling
    assert '<td class="value beyond">0.900 &plusmn; 0.010' in html
    assert "no training images: give &lt;training&gt;" in html


def test_the_summary_says_what_was_left_out_and_seen(html):
    assert "synthetic: 3 not matched" in html
    assert "5 real rows were among those weights &#x27;mini&#x27; learnt from" in html
    assert "the reader that ships learnt" not in html
    assert "mini (0123456789ab)" in html
    assert "<dd>vit@cdcdcdcdcdcd#1</dd>" in html
    assert html.count("cd" * 20) == 1  # in the record


def test_published_prompts_have_their_rows_or_say_that_there_are_none(html):
    assert "<h4>sdss, completely round galaxy</h4>" in html
    assert "<b>real</b>, 6 of 24" in html  # half of both sets of real images
    assert "<b>synthetic</b>, 6 of 12" in html
    missing = re.search(r"None in this table: (.*?)\.</p>", html)
    assert missing
    assert missing.group(1).count("; ") == len(PUBLISHED_PROMPTS) - 3  # all but round and in between


def test_the_figures_are_kept_as_json_and_ecsv(report, assessment):
    kept = json.loads((report.parent / "evaluation.json").read_text())
    assert kept["galaxysd_evaluation"]["seed"] == 7
    assert kept["columns"] == assessment.table.colnames
    assert kept["rows"][0]["value"] == 0.8
    assert kept["rows"][5]["value"] is None
    table = Table.read(report.parent / "evaluation.ecsv", format="ascii.ecsv")
    assert table.meta["galaxysd_evaluation"]["seed"] == 7
    np.testing.assert_array_equal(table["value"], assessment.table["value"])
    assert list(np.ma.filled(table["note"], "")) == list(assessment.table["note"])


def test_a_report_without_conditions_training_or_reader(assessment, tmp_path):
    def silent(batch):
        return replace(batch, conditions=Table({"row": np.arange(len(batch))}))

    bare = replace(
        assessment,
        **{name: silent(getattr(assessment, name)) for name in ("real", "held", "synthetic")},
        training=None, reader=None, groups={}, record={},
    )  # fmt: skip
    html = write_report(bare, tmp_path / "bare").read_text(encoding="utf-8")
    assert re.findall(r'<section id="(\w+)"', html) == ["summary", "figures", "images", "distributions", "record"]
    assert "None in this table: sdss, cigar shaped galaxy; " in html
    assert "not given" in html


def test_a_report_replaces_a_report_only(assessment, report, tmp_path, monkeypatch):
    monkeypatch.setattr("astro_galaxysd.reporting.report._sections", lambda *_, **__: iter(()))
    with pytest.raises(OutputExistsError, match="exists already; pass overwrite=True"):
        write_report(assessment, report.parent)
    path = write_report(assessment, tmp_path / "again", title="<First>")
    assert "<title>&lt;First&gt;</title>" in path.read_text()
    write_report(assessment, tmp_path / "again", title="Second", overwrite=True)
    assert "Second" in path.read_text()
    (path.parent / "answers.csv").write_text("mine")
    with pytest.raises(OutputExistsError, match="holds files that this package did not write"):
        write_report(assessment, tmp_path / "again", overwrite=True)


def test_what_can_not_be_reported_leaves_nothing(assessment, tmp_path, monkeypatch):
    quick = Section("quick", "Quick", "")
    monkeypatch.setattr("astro_galaxysd.reporting.sections.distribution_section", lambda assessment: quick)
    bare = replace(assessment, training=None, reader=None)
    with pytest.raises(TrainingError, match="is not there; a run writes it"):
        write_report(bare, tmp_path / "r", history=tmp_path / "metrics.csv")
    with pytest.raises(ConditionError, match="the sweep has columns step; give two of nearest_real"):
        write_report(bare, tmp_path / "r", sweep=Table({"step": [1]}))
    with pytest.raises(ImageError, match="n = 200 images need 100 of each kind; there are 24 real"):
        write_report(bare, tmp_path / "r", blind=200)
    odd = replace(bare, table=bare.table.copy())
    odd.table["odd"] = [object() for _ in odd.table]
    with pytest.raises(OutputError, match=r"the figures can't be written to evaluation.*look at the table's columns"):
        write_report(odd, tmp_path / "r")
    assert list(tmp_path.iterdir()) == []


def test_what_the_evaluators_measured_is_not_measured_again(assessment, monkeypatch):
    for evaluator in (MorphologyEvaluator(n_bootstrap=2), PhotometryEvaluator(n_bootstrap=2)):
        for batch in (assessment.held, assessment.synthetic):
            evaluator.evaluate(assessment.real, batch, embedder=assessment.memory, rng=0)
    for module in ("photometry", "morphology"):
        monkeypatch.setattr(f"astro_galaxysd.evaluation.{module}._numbers", lambda images: 1 / 0)
    samples, curves = measured.photometry(assessment)
    np.testing.assert_array_equal(samples["flux"][SYNTHETIC], photometry.measure(assessment.synthetic.images)["flux"])
    frequency, power = radial_power(assessment.held.images)
    np.testing.assert_array_equal(curves["power"][0], frequency)
    np.testing.assert_allclose(curves["power"][1][HELD], np.percentile(power, (16, 50, 84), axis=0))
    assert curves["profile"][1][REAL].shape == (3, 16)
    assert tuple(measured.morphology_samples(assessment)) == morphology.QUANTITIES


def test_images_too_small_for_morphology_have_none(assessment):
    small = {name: replace(getattr(assessment, name), images=getattr(assessment, name).images[:, ::2, ::2])
             for name in ("real", "held", "synthetic")}  # fmt: skip
    assert measured.morphology_samples(replace(assessment, **small)) == {}


def test_distances_of_copies_have_two_digits(assessment):
    pair = Pair(0, 1, 0.0001234, 0.5, 5)
    assert "cosine distance 0.00012, correlation 0.50" in twins([pair], assessment.synthetic, assessment.training)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1400])
def test_a_report_opens_on_narrow_and_wide_screens(browser, report, width, dark):
    browser.open(report, width=width, dark=dark)
    assert browser.errors() == []
    assert browser.requests() == [report.as_uri()]
    assert browser.overflow() == 0
    light = browser.run("return parseInt(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")
    assert (light < 128) is dark
    browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert browser.overflow() == 0
    assert browser.run("return [...document.images].every((one) => one.complete && one.naturalWidth === 32)")


def test_points_of_a_sweep_are_called_by_what_differs():
    names = ("weights", "guidance", "nearest_real", "nearest_real_error", "frechet", "frechet_error", "front")
    rows = [("mini", 1.0, 0.8, 0.1, 3.0, 0.2, True), ("mini", 2.0, 0.9, 0.1, 2.0, 0.2, True)]
    sweep = Table(rows=rows, names=names)
    sweep["pairwise_distance"] = [0.9, 0.8]
    sweep["pairwise_distance_error"] = 0.01
    body = pareto_section(sweep).body
    assert "guidance 1.0" in body
    assert "guidance 2.0" in body
    assert "weights" not in body
    assert "frechet" not in body
