"""Rows, and errors against those that are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.evaluation.scores import (
    COLUMNS,
    Score,
    bootstrap,
    half_spread,
    halves,
    jackknife,
    leave_out,
    not_computed,
    score_table,
    share_error,
)


def test_rows_make_a_table():
    table = score_table([Score("one", "all", 1, 0.5, 3, 4, True), not_computed("two", "spiral", "why", 3, 0, False)])
    assert tuple(table.colnames) == COLUMNS
    assert [table[name].dtype.kind for name in COLUMNS] == list("UUffiibU")
    assert list(table["note"]) == ["", "why"]
    assert np.isnan(table["value"][1])
    assert np.isnan(table["error"][1])


def test_no_rows_make_an_empty_table():
    table = score_table([])
    assert tuple(table.colnames) == COLUMNS
    assert len(table) == 0
    assert table["value"].dtype == float


def test_bootstrap_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=400)
    error = bootstrap(lambda rows: values[rows].mean(), 400, 1, times=400)
    assert error == pytest.approx(values.std() / 20, rel=0.15)
    assert error == bootstrap(lambda rows: values[rows].mean(), 400, 1, times=400)


@pytest.mark.parametrize(("function", "n"), [(lambda rows: 1.0, 1), (lambda rows: np.nan, 5)])
def test_bootstrap_without_an_answer_is_nan(function, n):
    assert np.isnan(bootstrap(function, n, 0))


def difference(kept, one, two):
    """Difference of the two batches' means in each column."""
    return np.array([one[a].mean() - two[b].mean() for a, b in zip(kept.real.T, kept.synthetic.T, strict=True)])


@pytest.mark.parametrize("n", [30, 300])
def test_both_errors_of_a_difference_of_means_are_its_standard_error(n):
    rng = np.random.default_rng(n)
    one, two = rng.normal(size=n), rng.normal(size=2 * n) * 3
    expected = np.sqrt(one.var(ddof=1) / n + two.var(ddof=1) / (2 * n))
    kept = leave_out(n, 2 * n, 1)
    assert kept.real[:, 0].all() and kept.synthetic[:, 0].all()  # noqa: PT018
    assert (kept.real.all(axis=0) | kept.synthetic.all(axis=0)).all()
    value, error = jackknife(difference(kept, one, two), kept)
    assert value == pytest.approx(one.mean() - two.mean())
    assert error == pytest.approx(expected, rel=0.3)
    value, error = half_spread(difference(halves(n, 2 * n, 2, times=200), one, two))
    assert value == pytest.approx(one.mean() - two.mean())
    assert error == pytest.approx(expected, rel=0.2)


def test_small_batches_are_left_out_image_by_image():
    kept = leave_out(3, 70, 0)
    assert kept.real.shape == (3, 54)
    assert sorted((~kept.real).sum(axis=0)) == [0] * 51 + [1] * 3
    assert ((~kept.synthetic[:, 4:]).sum(axis=0) >= 1).all()
    assert (~kept.synthetic).sum() == 70  # each once


def test_one_image_has_no_error():
    kept = leave_out(1, 20, 0)
    assert kept.real.all()
    assert np.isnan(jackknife(np.zeros(kept.real.shape[1]), kept)[1])
    assert np.isnan(half_spread(np.zeros(1))[1])


def test_halves_are_halves():
    kept = halves(7, 10, 0, times=20)
    assert list(kept.real.sum(axis=0)) == [7] + [3] * 20
    assert list(kept.synthetic.sum(axis=0)) == [10] + [5] * 20
    assert len({tuple(column) for column in kept.synthetic.T}) > 10


def test_error_of_a_share_is_binomial_and_never_0():
    assert share_error(300, 1000) == pytest.approx(np.sqrt(0.3 * 0.7 / 1000), rel=0.01)
    assert [share_error(0, 16), share_error(16, 16)] == pytest.approx([np.sqrt(0.1 * 0.9 / 20)] * 2)
