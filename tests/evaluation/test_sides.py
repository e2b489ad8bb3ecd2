"""What is kept of the rows of an evaluation."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table
from astropy.time import Time

from astro_galaxysd.evaluation import sides
from astro_galaxysd.evaluation.sides import read_side
from astro_galaxysd.images.storage import write_table

LONG = "sdss, merger, " + "galaxy " * 100


@pytest.fixture
def drawn():
    rows = Table({"id": [f"g{row}" for row in range(500)], "prompt": [LONG] * 500})
    rows["prompt_weights"], rows["weights"], rows["synthetic"] = "{" + "x" * 4000 + "}", "mini", True
    rows["image"] = np.zeros((500, 2, 2, 3), np.uint8)
    return rows


def test_nothing_is_copied_where_all_rows_take_part(drawn):
    side = read_side(drawn, drawn=True, what="synthetic")
    assert side.light.colnames == [name for name in drawn.colnames if name != "image"]
    assert all(np.shares_memory(side.light[name], drawn[name]) for name in side.light.colnames)


@pytest.mark.parametrize("synthetic", [True, False])
def test_others_are_left_out(drawn, synthetic):
    drawn["synthetic"][3] = False
    side = read_side(drawn, drawn=synthetic, what="chosen")
    want = [row for row in range(500) if (row == 3) != synthetic]
    assert side.rows.tolist() == want
    assert side.names == side.light["id"].tolist() == [f"g{row}" for row in want]
    assert len(side.requests) == len(want)


@pytest.mark.parametrize("kind", ["parquet", "fits"])
def test_long_texts_of_a_file_that_nobody_reads(drawn, kind, tmp_path, monkeypatch):
    monkeypatch.setattr(sides, "_PIECE", 100)
    path = tmp_path / f"drawn.{kind}"
    write_table(drawn, path)
    read_side(path, drawn=True, what="synthetic")  # with what it imports
    tracemalloc.start()
    side = read_side(path, drawn=True, what="synthetic")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert side.light.colnames == ["id", "prompt", "weights", "synthetic"]
    assert peak < 500 * 4 * 4000  # one column of the weights alone
    assert read_side(path, drawn=True, what="synthetic", id_column="prompt_weights").names[0][0] == "{"


@pytest.mark.parametrize("kind", ["parquet", "fits"])
def test_long_texts_take_the_room_that_they_need(drawn, kind, tmp_path):
    """Not as much as the longest of their column, which one row of the second file has; the first has short ones."""
    del drawn["prompt_weights"]
    drawn["prompt"] = np.array(["sdss, ring"] * 499 + [LONG * 5])
    drawn["prompt"] = MaskedColumn(drawn["prompt"], mask=np.arange(500) == 3, description="what was asked for")
    drawn["seen"] = Time("2026-01-01") + np.arange(500) * u.s
    drawn["place"] = SkyCoord(np.arange(500) / 10, 0, unit="deg")
    drawn["words"] = np.array([["a", "b"]] * 499 + [["a", "longer"]])
    (tmp_path / "shards").mkdir()
    for part in range(2):
        write_table(drawn[250 * part : 250 * (part + 1)], tmp_path / "shards" / f"{part}.{kind}")
    side = read_side(tmp_path / "shards", drawn=True, what="synthetic")
    assert side.light.colnames == ["id", "prompt", "weights", "synthetic", "words"]
    assert side.light["prompt"].dtype == object
    assert side.light["prompt"].description == "what was asked for"
    assert side.light["prompt"].mask.tolist() == drawn["prompt"].mask.tolist()
    prompts = ["" if row == 3 else text.strip() for row, text in enumerate(drawn["prompt"].data.data.tolist())]
    assert side.requests.prompts == prompts
    assert read_side(drawn, drawn=True, what="synthetic").requests.prompts == prompts


def test_pieces_of_a_file_of_another_program_have_texts_of_other_widths(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(sides, "_PIECE", 100)
    pandas = pytest.importorskip("pandas")
    prompts = ["sdss"] * 450 + [LONG.strip()] * 50
    pandas.DataFrame({"id": drawn["id"].tolist(), "prompt": prompts}).to_parquet(tmp_path / "foreign.parquet")
    side = read_side(tmp_path / "foreign.parquet", drawn=True, what="synthetic")
    assert side.requests.prompts == prompts


def test_a_file_of_nothing_but_images_and_times(drawn, tmp_path):
    drawn.keep_columns(["image"])
    drawn["seen"] = Time("2026-01-01") + np.arange(500) * u.s
    write_table(drawn, tmp_path / "images.parquet")
    assert len(read_side(tmp_path / "images.parquet", drawn=True, what="synthetic")) == 500
