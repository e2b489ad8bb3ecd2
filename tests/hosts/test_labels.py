"""Labels: columns of several kinds, answers of the tree, and what has no label."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from astro_galaxysd.errors import ConditionError, UnknownNameError
from astro_galaxysd.hosts.labels import read_labels


@pytest.mark.parametrize(
    ("values", "classes", "expected"),
    [
        ([True, False, True], (), [1, 0, 1]),
        (np.array([3, 0, 1], dtype=np.uint8), (), [3, 0, 1]),
        (["S", "E", "S"], ("E", "S"), [1, 0, 1]),
        ([b"S", b"E", b"S"], ("E", "S"), [1, 0, 1]),
        ([7, 9, 7], ("9", "7"), [1, 0, 1]),
    ],
)
def test_columns(values, classes, expected):
    labels = read_labels(Table({"kind": values}), "kind", classes=classes)
    assert labels.dtype == np.int64
    assert labels.tolist() == expected


@pytest.mark.parametrize("name", ["merger", "Merger"])
def test_an_answer_of_the_tree(table, name):
    assert read_labels(table, name).tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]


def test_the_threshold_counts(table):
    assert read_labels(table, "merger", threshold=0.85).tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]


def test_a_column_comes_before_an_answer(table):
    table["merger"] = np.arange(12)
    assert read_labels(table, "merger").tolist() == list(range(12))


def test_texts_need_their_order():
    with pytest.raises(ConditionError, match=r"column 'kind' holds 'E', 'S', not among classes=\[\]; list all of its"):
        read_labels(Table({"kind": ["S", "E"]}), "kind")
    with pytest.raises(ConditionError, match=r"column 'kind' holds 'S', not among classes=\['E'\]"):
        read_labels(Table({"kind": ["S", "E"]}), "kind", classes=["E"])


def test_fractions_are_no_labels():
    with pytest.raises(ConditionError, match=r"column 'kind' holds '0.5', '1.0', not among"):
        read_labels(Table({"kind": [0.5, 1.0]}), "kind")


def test_every_row_needs_one():
    table = Table({"kind": MaskedColumn([1] * 9, mask=[False] * 2 + [True] * 7)})
    with pytest.raises(ConditionError, match=r"7 row\(s\) without a label in column 'kind' \(2, 3, 4, 5, 6, ...\)"):
        read_labels(table, "kind")


def test_neither_column_nor_answer(table):
    with pytest.raises(UnknownNameError, match="unknown label 'knid': did you mean 'kind'"):
        read_labels(table, "knid")
