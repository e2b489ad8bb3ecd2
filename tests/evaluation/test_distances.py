"""Distances of clouds of points against closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.evaluation.distances import (
    diversity,
    diversity_of_rows,
    frechet,
    frechet_of_moments,
    moments,
    realism,
    unit,
)


def test_frechet_of_gaussians_is_the_closed_form():
    mean, other = np.array([1.0, 2.0]), np.array([0.0, 4.0])
    # diagonal covariances: |shift|^2 + sum (sigma - tau)^2
    found = frechet_of_moments(mean, np.diag([4.0, 9.0]), other, np.diag([1.0, 16.0]))
    assert found == pytest.approx(5 + 1 + 1)
    assert frechet_of_moments(mean, np.diag([4.0, 9.0]), mean, np.diag([4.0, 9.0])) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("d", [1, 7])
def test_frechet_is_that_of_scipys_root(d):
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(60, d)) @ rng.normal(size=(d, d)), rng.normal(size=(50, d)) + 0.3
    first, second = (np.atleast_2d(np.cov(points, rowvar=False)) for points in (one, two))
    shift = one.mean(axis=0) - two.mean(axis=0)
    expected = shift @ shift + np.trace(first + second - 2 * linalg.sqrtm(first @ second).real)
    assert frechet(one, two) == pytest.approx(expected, rel=1e-6)
    assert frechet(one, two) == pytest.approx(frechet(two, one), rel=1e-6)


def test_moments_are_numpys():
    points = np.random.default_rng(0).normal(size=(9, 3))
    mean, covariance = moments(points)
    np.testing.assert_allclose(mean, points.mean(axis=0))
    np.testing.assert_allclose(covariance, np.cov(points.T))


def test_fewer_points_than_dimensions_have_a_frechet_distance():
    points = np.random.default_rng(0).normal(size=(2, 5, 30))
    assert np.isfinite(frechet(*points))
    assert frechet(points[0], points[0]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("n", "m"), [(20, 30), (2, 9)])
def test_frechet_without_matrices_of_all_dimensions_is_the_same(n, m):
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(n)
    one, two = rng.normal(size=(n, 80)) * np.linspace(0.1, 2, 80), rng.normal(size=(m, 80)) + 0.2
    assert frechet(one, two) == pytest.approx(frechet_of_moments(*moments(one), *moments(two)), rel=1e-6)
    first, second = (np.cov(points, rowvar=False) for points in (one, two))
    # in the space of one's points, where the product has a root that scipy finds
    axes = np.linalg.svd(one - one.mean(axis=0), full_matrices=False)[2][: n - 1]
    root = linalg.sqrtm(axes @ first @ axes.T)
    overlap = np.trace(linalg.sqrtm(root @ (axes @ second @ axes.T) @ root).real)
    expected = ((one.mean(axis=0) - two.mean(axis=0)) ** 2).sum() + np.trace(first) + np.trace(second) - 2 * overlap
    assert frechet(one, two) == pytest.approx(expected, rel=1e-4)


def test_diversity_is_the_mean_over_pairs():
    points = np.random.default_rng(0).normal(size=(20, 4))
    directions = unit(points)
    pairs = [1 - directions[i] @ directions[j] for i in range(20) for j in range(i)]
    assert diversity(points) == pytest.approx(np.mean(pairs))
    assert diversity_of_rows(directions @ directions.T, np.zeros(5, int)) == 0


def test_realism_is_one_where_a_real_point_is():
    real = np.random.default_rng(0).normal(size=(20, 4))
    assert realism(real[:3], real) == pytest.approx(np.ones(3))
    assert (realism(real[:3] * 10, real) < 0.9).all()


def test_unit_leaves_zeros():
    np.testing.assert_array_equal(unit(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0.0, 0.0]])
