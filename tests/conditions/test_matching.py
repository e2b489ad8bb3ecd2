"""Three sets of rows with one mixture."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from astro_galaxysd.conditions.grouping import Grouping
from astro_galaxysd.conditions.matching import match_rows, pair_by_id


def grouping(names, **answered):
    return Grouping(np.array(names), {name: np.asarray(rows, dtype=bool) for name, rows in answered.items()})


@pytest.fixture
def kinds():
    real = np.array(["a"] * 10 + ["b"] * 5 + ["c"])
    names = ["a"] * 8 + ["b"] * 8 + ["c"] * 3 + [""] * 2
    return grouping(names, a=real == "a", b=real == "b", c=real == "c"), real


def rng():
    return np.random.default_rng(0)


def test_all_sets_have_the_same_mixture_and_no_row_twice(kinds):
    groups, real = kinds
    found = match_rows(groups, rng=rng())
    assert Counter(found.groups.tolist()) == {"a": 5, "b": 2}
    for rows in (found.real, found.held):
        assert real[rows].tolist() == found.groups.tolist()
    assert groups.names[found.synthetic].tolist() == found.groups.tolist()
    used = np.concatenate([found.real, found.held])
    assert len(set(used)) == len(used)
    assert found.counts["a"] == (8, 10, 5)
    assert found.counts["c"] == (3, 1, 0)
    assert not found.paired


def test_rows_follow_from_the_seed(kinds):
    first, second = (match_rows(kinds[0], rng=rng()) for _ in range(2))
    np.testing.assert_array_equal(first.real, second.real)
    np.testing.assert_array_equal(first.synthetic, second.synthetic)


def test_n_keeps_rows_by_lot(kinds):
    found = match_rows(kinds[0], rng=rng(), n=4)
    assert len(found) == 4
    assert kinds[1][found.held].tolist() == found.groups.tolist()


def test_groups_with_the_fewest_real_rows_choose_first():
    rare = np.arange(20) < 4
    found = match_rows(grouping(["common"] * 20 + ["rare"] * 2, common=np.ones(20), rare=rare), rng=rng())
    assert found.counts["rare"].used == 2
    assert found.counts["common"].used == 8
    used = np.concatenate([found.real, found.held])
    assert len(set(used)) == len(used) == 20


def test_pairs_stand_in_their_own_place():
    groups = grouping(["a"] * 4, a=np.ones(12))
    pairs = pair_by_id(["7", "3", "5", "9"], [str(i) for i in range(12)], groups)
    found = match_rows(groups, rng=rng(), pairs=pairs)
    assert found.paired
    assert len(found) == 4
    np.testing.assert_array_equal(found.held, pairs[found.synthetic])
    assert not set(found.real) & {7, 3, 5, 9}


def test_where_every_real_row_was_drawn_for_half_of_them_are_compared_with():
    groups = grouping(["a"] * 9, a=np.ones(9))
    pairs = pair_by_id([str(i) for i in range(9)], [str(i) for i in range(9)], groups)
    found = match_rows(groups, rng=rng(), pairs=pairs)
    assert len(found) == 4
    assert not set(found.real) & set(found.held)
    np.testing.assert_array_equal(found.held, pairs[found.synthetic])


@pytest.mark.parametrize("ids", [["0", "x", "y"], ["1", "1"], []])
def test_no_pairs_where_most_have_no_real_row_or_two_the_same(ids):
    assert pair_by_id(ids, ["0", "1"], grouping(["a"] * len(ids), a=np.ones(2))) is None


def test_rows_without_their_own_real_row_are_left_out():
    groups = grouping(["a"] * 5, a=np.ones(12))
    pairs = pair_by_id(["7", "gone", "3", "5", "9"], [str(i) for i in range(12)], groups)
    assert pairs.tolist() == [7, -1, 3, 5, 9]
    found = match_rows(groups, rng=rng(), pairs=pairs)
    assert found.paired
    assert found.unpaired == 1
    assert sorted(found.synthetic) == [0, 2, 3, 4]
    np.testing.assert_array_equal(found.held, pairs[found.synthetic])


def test_paired_rows_are_of_the_group():
    real = np.array(["a"] * 8 + ["b"] * 8)
    groups = grouping(["a"] * 6 + ["b"] * 3, a=real == "a", b=real == "b")
    ids = [str(row) for row in (0, 1, 2, 3, 12, 13, 8, 9, 4)]  # three were drawn for a row of the other group
    pairs = pair_by_id(ids, [str(i) for i in range(16)], groups)
    found = match_rows(groups, rng=rng(), pairs=pairs)
    assert found.unpaired == 3
    assert real[found.held].tolist() == real[found.real].tolist() == found.groups.tolist()
    assert Counter(found.groups.tolist()) == {"a": 4, "b": 2}
    assert not set(found.real) & set(found.held)


def test_no_pairs_where_ids_agree_by_chance():
    real = np.array([False] * 6 + [True] * 6)
    ids = [str(i) for i in range(6)]
    assert pair_by_id(ids, [str(i) for i in range(12)], grouping(["a"] * 6, a=real)) is None


def test_nothing_matches():
    found = match_rows(grouping(["a", ""], a=np.zeros(3)), rng=rng())
    assert len(found) == 0
    assert found.counts["a"] == (1, 0, 0)
