"""Block by block equals all at once."""

from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.evaluation.distances import unit
from astro_galaxysd.evaluation.neighbours import (
    counts_within,
    directions,
    k_nearest_radii,
    kernel_sums,
    nearest,
    squared_distances,
)
from astro_galaxysd.evaluation.scores import halves
from astro_galaxysd.testing import example_batch


def cloud(n, rng):
    return unit(np.random.default_rng(rng).normal(size=(n, 5)))


def whole(one, two):
    return ((one[:, None] - two[None]) ** 2).sum(axis=2)


@pytest.fixture(autouse=True, params=[7, 40, 1 << 22])
def _blocks(request, monkeypatch):
    """Every test with blocks of less than a row, of a few rows, and of everything."""
    monkeypatch.setattr("astro_galaxysd.evaluation.neighbours._BLOCK", request.param)


def test_squared_distances():
    one, two = cloud(6, 0), cloud(9, 1)
    np.testing.assert_allclose(squared_distances(one, two), whole(one, two), atol=1e-12)


def test_equal_points_are_at_distance_zero_exactly():
    features = np.random.default_rng(0).normal(size=(50, 64))
    points, again = unit(features), unit(features.astype(np.float32).astype(float))
    assert (points != again).any()
    assert (np.diag(squared_distances(points, again)) == 0).all()


@pytest.mark.parametrize("k", [1, 4, 20])
def test_nearest_is_the_start_of_a_sort(k):
    one, two = cloud(13, 0), cloud(20, 1)
    distances, rows = nearest(one, two, k)
    np.testing.assert_array_equal(rows, np.argsort(whole(one, two), axis=1)[:, :k])
    np.testing.assert_allclose(distances, np.sort(whole(one, two), axis=1)[:, :k], atol=1e-12)


def test_nearest_leaves_the_point_itself_out():
    points = cloud(12, 0)
    distances, rows = nearest(points, points, skip=np.arange(12))
    assert (rows[:, 0] != np.arange(12)).all()
    np.testing.assert_allclose(distances[:, 0], np.sort(whole(points, points), axis=1)[:, 1], atol=1e-12)


def test_radii_are_those_of_the_points_that_are_kept():
    points, kept = cloud(40, 0), halves(40, 40, 1, times=6).real
    found = k_nearest_radii(points, 3, kept)
    distances = whole(points, points) + np.diag(np.full(40, np.inf))
    for column, rows in enumerate(kept.T):
        np.testing.assert_allclose(found[:, column], np.sort(distances[:, rows], axis=1)[:, 2], atol=1e-12)


@pytest.mark.parametrize("side", ["own", "theirs"])
def test_counts_are_those_of_the_whole_matrix(side):
    one, two = cloud(21, 0), cloud(34, 1)
    kept = np.random.default_rng(2).random((34, 5)) < 0.7
    limits = np.random.default_rng(3).uniform(0.2, 1.5, (21 if side == "own" else 34, 5))
    found = counts_within(one, two, kept, **{side: limits})
    for column in range(5):
        limit = limits[:, None, column] if side == "own" else limits[None, :, column]
        expected = ((whole(one, two) < limit) & kept[:, column]).sum(axis=1)
        np.testing.assert_array_equal(found[:, column], expected)


def test_kernel_sums_are_those_of_the_whole_matrix():
    one, two = cloud(11, 0), cloud(8, 1)
    weights, others = np.random.default_rng(2).random((11, 3)), np.random.default_rng(3).random((8, 3))
    expected = [v @ (one @ two.T + 1) ** 3 @ w for v, w in zip(weights.T, others.T, strict=True)]
    np.testing.assert_allclose(kernel_sums(one, two, weights, others), expected)


def test_directions_are_unit_embeddings(described):
    images = example_batch(5).images
    found = directions(described, images)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, unit(described.embed(images).astype(float)), atol=1e-6)
