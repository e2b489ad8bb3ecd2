"""``galaxysd evaluate`` and ``galaxysd sweep``, as they are typed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd import cli, write_table
from astro_galaxysd.cli.judge import _table_or_weights
from astro_galaxysd.conditions.tree import ANSWERS, INDEX
from astro_galaxysd.testing import example_batch


def galaxies(n, seed, first="g"):
    votes = np.full((n, 37), np.nan)
    votes[:, INDEX["smooth"]] = np.random.default_rng(seed).uniform(0.6, 1, n)
    table = Table({answer.conditional: votes[:, INDEX[answer.key]] for answer in ANSWERS})
    table["id"] = [f"{first}{row}" for row in range(n)]
    table["image"] = list(example_batch(n, size=64, rng=seed).images)
    return table


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Real and synthetic galaxies in files of the current folder."""
    monkeypatch.chdir(tmp_path)
    write_table(galaxies(60, 0), "real.parquet")
    write_table(galaxies(20, 1, "s"), "drawn.parquet")
    return tmp_path


def test_a_report_and_its_figures(tables, capsys):
    words = ["evaluate", "real.parquet", "drawn.parquet", "-o", "report", "--groups", "none", "--no-progress"]
    assert cli.main([*words, "--evaluator", "photometry", "--evaluator", "consistency"]) == 0
    told = capsys.readouterr().out
    assert "flux_ks" in told
    assert "calibration_error" in told
    assert "nearest_real" not in told
    assert told.endswith("report   report/report.html\n")
    assert (tables / "report" / "report.html").stat().st_size > 10_000
    record = json.loads((tables / "report" / "evaluation.json").read_text())
    assert record
    figures = Table.read(tables / "report" / "evaluation.ecsv", format="ascii.ecsv")
    assert {"flux_ks", "consistency"} <= set(figures["metric"])
    assert (figures["n_synthetic"][figures["metric"] == "flux_ks"] == 20).all()


def test_a_report_is_replaced_where_that_is_allowed(tables, capsys):
    words = ["evaluate", "real.parquet", "drawn.parquet", "-o", "report/", "--groups", "none", "--no-progress"]
    words += ["--evaluator", "photometry"]
    assert cli.main([*words, "--seed", "1"]) == 0
    assert cli.main([*words, "--seed", "2"]) == 1
    assert "exists already; pass overwrite=True" in capsys.readouterr().err
    assert cli.main([*words, "--seed", "2", "--overwrite"]) == 0
    assert json.loads((tables / "report" / "evaluation.json").read_text())["galaxysd_evaluation"]["seed"] == 2


def test_reconstructions_are_a_table_or_weights(tables, tiny_weights):
    write_table(galaxies(3, 2), "rebuilt")
    assert (tables / "rebuilt").is_dir()
    assert len(_table_or_weights("rebuilt")) == len(_table_or_weights("real.parquet")) - 57 == 3
    assert _table_or_weights(str(tiny_weights)) == str(tiny_weights)
    assert _table_or_weights("mini") == "mini"


def test_the_same_seed_gives_the_same_figures(tables, capsys):
    words = ["evaluate", "real.parquet", "drawn.parquet", "--evaluator", "photometry", "--groups", "none"]
    told = []
    for name in ("one", "two"):
        assert cli.main([*words, "-o", name, "--seed", "5", "--no-progress", "--cache", "cache"]) == 0
        told.append(capsys.readouterr().out.splitlines()[:-1])
    assert told[0] == told[1]
    assert (tables / "cache" / "features.sqlite").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["evaluate", "real.parquet", "drawn.parquet"], "no output named; give -o FOLDER"),
        (
            ["evaluate", "real.parquet", "drawn.parquet", "-o", "report", "--evaluator", "realsm"],
            "did you mean 'realism'",
        ),
        (["evaluate", "real.parquet", "gone.parquet", "-o", "report"], "gone.parquet"),
        (
            ["evaluate", "real.parquet", "drawn.parquet", "-o", "report", "--sweep", "gone.ecsv"],
            "gone.ecsv: no sweep can",
        ),
        (["evaluate", "real.parquet", "drawn.parquet", "-o", "report", "--history", "gone.csv"], "gone.csv"),
        (["evaluate", "real.parquet", "drawn.parquet", "-o", "report", "--reader", "gone"], "no reader can be read"),
        (["evaluate", "real.parquet", "drawn.parquet", "-o", "real.parquet"], "real.parquet' exists already"),
        (["evaluate", "real.parquet", "drawn.parquet", "-o", "here", "--overwrite"], "did not write"),
        (
            ["evaluate", "real.parquet", "drawn.parquet", "-o", "report", "--reconstructions", "minni"],
            "unknown table or weights 'minni': did you mean 'mini'? The path of a table or of a weights folder will do",
        ),
        (["sweep", "real.parquet", "--steps", "2"], "no output named; give -o FILE.ecsv"),
        (["sweep", "real.parquet", "-o", "sweep.ecsv", "-n", "20"], "nothing to sweep over"),
    ],
)
def test_what_is_wrong_is_said_before_the_work(tables, capsys, words, says):
    (tables / "here").mkdir()
    (tables / "here" / "mine.txt").touch()
    assert cli.main([*words, "--no-progress"]) == 1
    assert says in capsys.readouterr().err
    assert not (tables / "report").exists()
    assert (tables / "here" / "mine.txt").exists()


def test_a_sweep(tables, tiny_weights, capsys):
    words = ["sweep", "real.parquet", "--weights", str(tiny_weights), "--steps", "2", "3", "-n", "16", "-o", "s.ecsv"]
    assert cli.main([*words, "--no-progress"]) == 1
    assert "bring them to one size" in capsys.readouterr().err  # the weights draw 32 px
    small = galaxies(40, 0)
    small["image"] = list(example_batch(40, size=32).images)
    write_table(small, "real.parquet", overwrite=True)
    assert cli.main([*words, "--no-progress"]) == 0
    assert "front" in capsys.readouterr().out
    table = Table.read(tables / "s.ecsv", format="ascii.ecsv")
    assert table["steps"].tolist() == [2, 3]
    assert np.isfinite(table["nearest_real"]).all()
    assert table["front"].any()
