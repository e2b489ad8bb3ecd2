"""``galaxysd verdict``, as it is typed."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd import cli, write_table
from astro_galaxysd.testing import example_batch
from astro_galaxysd.verdict import VERDICT


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """A table of galaxies, a third of them mergers, in the current folder."""
    monkeypatch.chdir(tmp_path)
    batch = example_batch(80, size=32)
    fractions = np.where(np.arange(80) % 3 == 0, 0.8, 0.1)
    votes = {"t01_smooth": np.full(80, 0.7), "t06_odd_yes": np.full(80, 0.9), "t08_merger": fractions}
    write_table(Table({"id": batch.ids, "image": list(batch.images), **votes}), "real.parquet")
    return tmp_path


def test_a_verdict_and_its_page(tables, tiny_weights, capsys):
    words = ["verdict", "real.parquet", "--target", "merger", "--quick", "--runs", "2", "--others", "12", "-o", "out"]
    words += ["--weights", str(tiny_weights), "--steps", "2", "--guidance", "1", "--arms", "transfer", "synthetic"]
    words += ["--positives", "6", "--training-steps", "10", "--no-progress"]
    assert cli.main(words) == 0
    told = capsys.readouterr().out
    assert "6 labelled  synthetic at ratio 1" in told
    assert "merger, 6 labelled: " in told
    assert told.endswith("verdict  out/verdict.html\n")
    assert "6 labelled galaxies" in (tables / "out" / "verdict.html").read_text()
    table = Table.read(tables / "out" / "verdict.ecsv", format="ascii.ecsv")
    assert set(table["arm"]) == {"real", "transfer", "synthetic"}
    assert table.meta[VERDICT]["target"] == "merger"


def test_no_output_named(tables, capsys):
    assert cli.main(["verdict", "real.parquet", "--target", "merger"]) == 1
    assert "no output named; give -o FOLDER, for example -o merger/" in capsys.readouterr().err
