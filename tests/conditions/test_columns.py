"""Single columns: ids, synthetic rows, prompts, texts under masks."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from astro_galaxysd.conditions.columns import find_id_column, is_synthetic, prompt_column, read_ids, texts
from astro_galaxysd.errors import ConditionError, PromptError, UnknownNameError


def test_texts_know_what_is_missing():
    assert texts(MaskedColumn(["a", "b"], mask=[False, True])) == ["a", None]
    assert texts(np.array([b"a", b"b"])) == ["a", "b"]
    assert texts(np.array([1.0, np.nan])) == ["1.0", None]
    assert texts(np.array(["a", None], dtype=object)) == ["a", None]


def test_masked_synthetic_is_real():
    assert is_synthetic(Table({"id": [1, 2]})).tolist() == [False, False]
    column = MaskedColumn([True, True, False], mask=[False, True, False])
    assert is_synthetic(Table({"synthetic": column})).tolist() == [True, False, False]


def test_prompt_column_is_none_where_no_row_has_one():
    assert prompt_column(Table({"a": [1]})) is None
    assert prompt_column(Table({"prompt": MaskedColumn(["x", "y"], mask=True)})) is None
    assert prompt_column(Table({"prompt": MaskedColumn([" x ", "y"], mask=[False, True])})) == ["x", ""]


def test_bad_prompt_names_its_row():
    with pytest.raises(PromptError, match="row 1: prompt '{ring'"):
        prompt_column(Table({"prompt": ["ring", "{ring"]}))


def test_id_column_is_found_or_named():
    table = Table({"flux": [1.0], "objid": [2], "GalaxyID": [3]})
    assert find_id_column(table) == "GalaxyID"
    assert find_id_column(table, "objid") == "objid"
    assert find_id_column(Table({"flux": [1.0]})) is None
    with pytest.raises(UnknownNameError, match="unknown id column 'objd': did you mean 'objid'"):
        find_id_column(table, "objd")


def test_ids_are_those_that_are_there_and_unique():
    table = Table({"id": MaskedColumn([1, 2, 3], mask=[False, False, True])})
    table["galaxysd_id"] = MaskedColumn(["", "", "gsd-1"], mask=[True, True, False])
    assert read_ids(table) == ["1", "2", "gsd-1"]
    with pytest.raises(ConditionError, match=r"2 id\(s\) occur more than once \('a', 'b'\)"):
        read_ids(Table({"id": ["a", "b", "b", "a", "c"]}))
