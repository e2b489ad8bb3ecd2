"""Rows of a long table, ready to draw, whatever the stretches."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from astro_galaxysd.conditions.seeds import row_seeds
from astro_galaxysd.errors import ConditionError
from astro_galaxysd.stretches import Stretches

TABLE = Table({"prompt": [f"sdss, {{ring:1.{row}}}" for row in range(1, 8)], "note": ["a"] * 6 + ["longer"]})


def seeded(source, length, **options):
    rows = Stretches(source, length, **options)
    rows.choose_seed(1, None)
    return rows


def test_every_row_once():
    found = list(seeded(TABLE, 3))
    assert [stretch.number for stretch in found] == [0, 1, 2]
    assert [name for stretch in found for name in stretch.names] == [str(row) for row in range(7)]
    np.testing.assert_array_equal(np.concatenate([one.rows["seed"] for one in found]), row_seeds(1, range(7)))
    assert [prompt for stretch in found for prompt in stretch.rows["prompt"]] == list(TABLE["prompt"])


def test_some():
    (only,) = seeded(TABLE, 3).some({1})
    (_, same, _) = seeded(TABLE, 3)
    assert only.number == 1
    assert (only.rows == same.rows).all()


def test_texts_are_as_wide_as_they_have_to_be():
    table = TABLE.copy()
    table["said"] = MaskedColumn(["yes"] * 7, mask=[True] * 7, description="by whom")
    table["raw"] = [b"a"] * 6 + [b"bc"]
    table["none"] = [""] * 7
    first, last = list(seeded(table, 6))
    assert [first.rows[name].dtype.str for name in ("note", "raw", "none")] == ["<U1", "|S1", "<U1"]
    assert [last.rows[name].dtype.str for name in ("note", "raw")] == ["<U6", "|S2"]
    assert first.rows["said"].mask.all()
    assert first.rows["said"].description == "by whom"


@pytest.mark.parametrize(("rng", "before", "want"), [(5, 9, 5), (None, 9, 9), (5, None, 5)])
def test_seed_of_the_run(rng, before, want):
    rows = Stretches(TABLE, 3)
    rows.choose_seed(rng, before)
    assert rows.seed == want


def test_seeds_of_the_rows():
    table = TABLE.copy()
    table["seed"] = np.arange(7)
    rows = Stretches(table, 4)
    rows.choose_seed(None, None)
    assert rows.seed is None
    assert [stretch.names for stretch in rows] == [[], []]


def test_rows_are_counted_from_the_stretch():
    table = TABLE.copy()
    table["id"] = ["a", "b", "c", "d", "e", "", "g"]
    with pytest.raises(ConditionError, match="row 2 has no id") as caught:
        list(seeded(table, 3))
    assert caught.value.__notes__ == ["rows are counted from row 3 of the conditions"]
    with pytest.raises(ConditionError, match="row 5 has no id") as caught:
        list(seeded(table, 7))
    assert not hasattr(caught.value, "__notes__")
