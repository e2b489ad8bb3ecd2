"""The run record, and the real rows back as they were."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable, Table, vstack
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from astro_galaxysd.images.provenance import (
    PROVENANCE_COLUMNS,
    RUN_RECORD,
    card_text,
    drop_synthetic,
    json_ready,
    run_record,
    table_layout,
    text_of_card,
)


def augmented(table, record=None):
    """What augmentation makes: real rows, then rows with other widths and masks."""
    real = table.copy()
    real.meta = {}
    new = Table({"id": ["a-much-longer-synthetic-name"], "votes": [0.25]})
    for name in PROVENANCE_COLUMNS:
        value = {"synthetic": True, "seed": 5}.get(name, name)
        new[name] = [value]
        if name not in real.colnames:
            real[name] = MaskedColumn([type(value)()] * len(real), mask=name != "synthetic")
    out = vstack([real, new])
    out.meta = dict(table.meta) | ({} if record is None else {RUN_RECORD: record})
    return out


@pytest.fixture
def table():
    return Table(
        {
            "id": ["a", "bb"],
            "votes": np.array([0.5, np.nan]),
            "ra": np.array([1, 2], np.float32),
            "n": MaskedColumn([1, 2], mask=[True, False]),
            "maybe": MaskedColumn([1, 2]),
        },
        meta={"origin": "x"},
    )


def assert_same(got, want):
    assert type(got) is type(want)
    assert got.colnames == want.colnames
    assert got.meta == want.meta
    for name in want.colnames:
        assert type(got[name]) is type(want[name])
        assert got[name].dtype == want[name].dtype
        np.testing.assert_array_equal(np.ma.getmaskarray(got[name]), np.ma.getmaskarray(want[name]))
        np.testing.assert_array_equal(np.ma.getdata(got[name]), np.ma.getdata(want[name]))


def test_the_real_rows_come_back_exactly(table):
    out = augmented(table, run_record() | {"layout": table_layout(table)})
    assert out["id"].dtype != table["id"].dtype
    assert type(out["ra"]) is not type(table["ra"])
    assert_same(drop_synthetic(out), table)
    assert len(out) == 3


def test_the_layout_survives_json(table):
    assert_same(drop_synthetic(augmented(table, json.loads(json.dumps({"layout": table_layout(table)})))), table)


def test_a_prompt_column_the_user_had_stays(table):
    table["prompt"] = ["x", "y"]
    assert_same(drop_synthetic(augmented(table, {"layout": table_layout(table)})), table)


def test_without_a_record_the_columns_go(table):
    got = drop_synthetic(augmented(table))
    assert got.colnames == table.colnames
    assert len(got) == 2
    assert got["id"].tolist() == ["a", "bb"]


def test_a_table_without_synthetic_rows_is_copied(table):
    got = drop_synthetic(table)
    assert_same(got, table)
    assert got is not table


def test_quantities_and_times_lose_needless_masks():
    table = QTable({"flux": [1.0, 2.0] * u.Jy, "when": Time([1.0, 2.0], format="mjd"), "synthetic": [False, True]})
    layout = table_layout(table[["flux", "when"]])
    from astropy.utils.masked import Masked

    table["flux"] = Masked(table["flux"], mask=[False, True])
    table["flux"].info.description = "total"
    table.meta[RUN_RECORD] = {"layout": layout}
    got = drop_synthetic(table)
    assert type(got["flux"]) is u.Quantity
    assert got["flux"].info.description == "total"
    assert got["flux"][0] == 1 * u.Jy
    assert got.colnames == ["flux", "when"]
    assert len(got) == 1


def test_record():
    record = run_record(
        target="merger", n=np.int64(3), ratio=np.float32(0.5), nothing=None, nan=np.nan, inf=-np.inf, path=Path("a/b"),
        array=np.arange(2), pair=(1, {2}), scale=0.4 * u.arcsec, raw=b"x", flag=np.True_, mapping={1: Table},
    )  # fmt: skip
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    parameters = record["parameters"]
    assert parameters["n"] == 3
    assert parameters["ratio"] == 0.5
    assert [parameters["nan"], parameters["inf"]] == [None, "-inf"]
    assert parameters["array"] == [0, 1]
    assert parameters["pair"] == [1, [2]]
    assert parameters["scale"] == "0.4 arcsec"
    assert parameters["flag"] is True
    assert parameters["path"] == "a/b"
    assert record["created"].endswith("+00:00")
    assert {"python", "numpy", "astropy", "pillow"} <= set(record["versions"])


def test_the_record_imports_no_torch():
    code = (
        "import sys; from astro_galaxysd.images.provenance import run_record; run_record(); "
        "sys.exit(bool({'torch', 'diffusers', 'astropy.table'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=4))
def test_json_values_are_left_as_they_are(value):
    assert json_ready(value) == value


@given(st.text())
def test_card_texts_are_undone(text):
    card = card_text(text)
    assert card.isascii()
    assert card.isprintable()
    assert text_of_card(card) == text


def test_quoted_cards_of_others_stay():
    assert text_of_card('"not json" at all"') == '"not json" at all"'
