"""The same rng gives the same bits, whatever the batch, the order and the number of rows."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd import augment_table, generate, plan_augmentation
from astro_galaxysd.errors import ConditionError

PROMPTS = ["sdss, {merger:1.2}", "sdss, ring galaxy", "sdss, {smooth:0.8}", "sdss, spiral galaxy"] * 3


def augment(table, weights, **options):
    defaults = {"target": "merger", "n": 3, "rng": 5, "steps": 2, "candidates": 1, "progress": False}
    return augment_table(table, weights=weights, **defaults | options)


def draw(table, weights, **options):
    return generate(table, weights=weights, **{"rng": 5, "steps": 2, "progress": False} | options)


def test_same_rng_same_bits(catalogue, tiny_weights, assert_same):
    one, two = (augment(catalogue, tiny_weights) for _ in range(2))
    for result in (one, two):
        del result.meta["galaxysd_run"]["created"]
    assert_same(one, two)
    other = augment(catalogue, tiny_weights, rng=6)
    assert (other["image"][5:] != one["image"][5:]).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("batch_size", [1, 3, 20])
def test_batch_size_changes_no_bit(tiny_weights, batch_size):
    table = Table({"prompt": PROMPTS})
    one, two = draw(table, tiny_weights), draw(table, tiny_weights, batch_size=batch_size)
    np.testing.assert_array_equal(one["image"], two["image"])
    assert len(np.unique(one["image"], axis=0)) == len(PROMPTS)


def test_more_rows_begin_with_the_same(catalogue, tiny_weights):
    three, five = augment(catalogue, tiny_weights), augment(catalogue, tiny_weights, n=5)
    for name in ("id", "seed", "prompt", "image", "t08_merger"):
        np.testing.assert_array_equal(three[name], five[name][:8])


def test_order_of_rows_with_ids(tiny_weights):
    table = Table({"id": [f"g{row}" for row in range(12)], "prompt": PROMPTS})
    order = np.random.default_rng(0).permutation(12)
    straight, shuffled = draw(table, tiny_weights), draw(table[order], tiny_weights)
    np.testing.assert_array_equal(straight["image"][order], shuffled["image"])
    np.testing.assert_array_equal(straight["seed"][order], shuffled["seed"])


def test_a_plan_with_candidates_draws_what_they_are_kept_of(catalogue, tiny_weights):
    plan = plan_augmentation(catalogue, target="merger", n=3, rng=5)
    del catalogue["image"]
    result = augment(catalogue, tiny_weights, candidates=None)[5:]
    kept = np.isin(plan["seed"], result["seed"])
    assert (len(plan), kept.sum()) == (6, 3)
    np.testing.assert_array_equal(draw(plan[kept], tiny_weights)["image"], np.stack(list(result["image"])))


def test_row_number_where_there_are_no_ids(tiny_weights):
    with_numbers = Table({"id": np.arange(12), "prompt": PROMPTS})
    bare = draw(Table({"prompt": PROMPTS}), tiny_weights)
    np.testing.assert_array_equal(bare["seed"], draw(with_numbers, tiny_weights)["seed"])
    assert bare["seed"].dtype == np.int64
    assert len(set(bare["seed"])) == 12


def test_a_plan_draws_what_augment_table_draws(catalogue, tiny_weights):
    plan = plan_augmentation(catalogue, target="merger", n=3, rng=5, candidates=1)
    del catalogue["image"]
    result = augment(catalogue, tiny_weights)
    np.testing.assert_array_equal(draw(plan, tiny_weights, rng=None)["image"], np.stack(list(result["image"][5:])))
    np.testing.assert_array_equal(draw(plan, tiny_weights)["seed"], plan["seed"])


@pytest.mark.parametrize("call", [draw, augment])
def test_duplicate_ids(catalogue, tiny_weights, call):
    catalogue["id"] = ["g1", "g2", "g1", "g4", "g5"]
    with pytest.raises(ConditionError, match=r"1 id\(s\) occur more than once \('g1'\)"):
        call(catalogue, tiny_weights)
