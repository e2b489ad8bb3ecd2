"""Distances of distributions against scipy, and rows where they can't be computed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from astro_galaxysd.errors import ConditionError, ImageError
from astro_galaxysd.evaluation.distributions import (
    check_resamples,
    check_sizes,
    compare,
    ks_distance,
    spread,
    wasserstein_distance,
)

SAMPLE = hnp.arrays(float, st.integers(1, 30), elements=st.integers(-5, 5).map(float))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # scipy's p-value of one-element samples; only D is compared
@settings(deadline=None, max_examples=50)
@given(SAMPLE, SAMPLE)
def test_distances_are_scipys(first, second):
    assert ks_distance(first, second) == pytest.approx(stats.ks_2samp(first, second, method="asymp").statistic)
    expected = stats.wasserstein_distance(first, second)
    assert wasserstein_distance(first, second) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("distance", [ks_distance, wasserstein_distance])
@settings(deadline=None, max_examples=30)
@given(first=SAMPLE, second=SAMPLE)
def test_distances_are_symmetric_and_zero_to_itself(distance, first, second):
    assert distance(first, second) == pytest.approx(distance(second, first), abs=1e-12)
    assert distance(first, first) == 0


@pytest.mark.parametrize("distance", [ks_distance, wasserstein_distance])
def test_distances_leave_out_what_is_not_finite(distance):
    assert distance(np.array([1.0, np.nan]), np.array([1.0, np.inf])) == 0
    assert np.isnan(distance(np.array([np.nan]), np.array([1.0])))


def rows(real, other, **options):
    found = compare({"flux": np.asarray(real)}, {"flux": np.asarray(other)}, np.random.default_rng(0), **options)
    return {row.metric: row for row in found}


def test_rows_are_those_of_the_formulas():
    real, other = np.random.default_rng(1).normal(5, 2, (2, 300))
    found = rows(real, other + 1, shifts={"flux": True})
    assert list(found) == ["flux_ks", "flux_wasserstein", "flux_shift"]
    assert found["flux_ks"].value == pytest.approx(stats.ks_2samp(real, other + 1).statistic)
    assert found["flux_wasserstein"].value == pytest.approx(stats.wasserstein_distance(real, other + 1) / real.std())
    shift = abs(np.median(other + 1) - np.median(real))
    assert found["flux_shift"].value == pytest.approx(shift / np.median(real))
    assert rows(real, other + 1, shifts={"flux": False})["flux_shift"].value == pytest.approx(shift)
    assert list(rows(real, other)) == ["flux_ks", "flux_wasserstein"]
    assert all(row[1:2] + row[4:] == ("all", 300, 300, False, "") for row in found.values())


def test_error_is_the_scatter_between_samples():
    rng = np.random.default_rng(2)
    repeated = [wasserstein_distance(rng.normal(0, 1, 400), rng.normal(0.5, 1, 400)) for _ in range(200)]
    error = rows(rng.normal(0, 1, 400), rng.normal(0.5, 1, 400))["flux_wasserstein"].error
    assert error == pytest.approx(np.std(repeated), rel=0.3)


def test_resampled_distances_are_those_of_the_resampled_numbers():
    first, second = np.arange(6.0), np.arange(6.0) ** 2
    seen = []

    def figures(rows, columns):
        seen.append((rows.copy(), columns.copy()))
        return np.array([first[rows].mean() - second[columns].mean()])

    error = spread(figures, 6, 5, np.random.default_rng(3), 50)
    assert len(seen) == 50
    assert {len(rows) for rows, _ in seen} == {6}
    assert {len(columns) for _, columns in seen} == {5}
    assert error == pytest.approx(np.std([first[a].mean() - second[b].mean() for a, b in seen], ddof=1))


def test_too_few_are_not_compared():
    values = np.append(np.arange(7.0), np.nan)
    row = rows(values, np.arange(20.0), shifts={"flux": True})["flux_shift"]
    assert np.isnan(row.value)
    assert np.isnan(row.error)
    assert row.note == "7 real and 20 synthetic images have a flux; at least 8 each are needed"
    assert (row.n_real, row.n_synthetic) == (7, 20)


def test_equal_real_values_have_no_unit():
    found = rows(np.full(9, 0.1), np.arange(1.0, 10))
    assert found["flux_ks"].value == pytest.approx(1.0)
    assert np.isnan(found["flux_wasserstein"].value)
    assert found["flux_wasserstein"].note == "all real values are equal: no standard deviation to measure in"


def test_a_median_of_zero_has_no_relative_shift():
    found = rows(np.arange(-4.0, 5), np.arange(9.0), shifts={"flux": True})
    assert found["flux_shift"].note == "the median of the real values is 0"
    assert np.isnan(found["flux_shift"].error)
    assert rows(np.arange(-4.0, 5), np.arange(9.0), shifts={"flux": False})["flux_shift"].value == 4


def test_what_is_refused():
    with pytest.raises(ConditionError, match="n_bootstrap is 1; a standard deviation needs at least 2"):
        check_resamples(1)
    with pytest.raises(ImageError, match=r"\(32, 32, 3\) beside synthetic ones of \(64, 64, 3\); bring them to one"):
        check_sizes(np.zeros((2, 32, 32, 3)), np.zeros((5, 64, 64, 3)))
