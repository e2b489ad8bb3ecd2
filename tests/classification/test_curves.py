from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, precision_score, recall_score

from astro_galaxysd.classification.curves import METRICS, best_threshold, measure, trace
from astro_galaxysd.errors import ConditionError


@pytest.fixture(params=[0, 1, 2])
def ranked(request):
    """Labels and scores, with ties."""
    rng = np.random.default_rng(request.param)
    positive = rng.random(200) < 0.2
    return positive, np.round(rng.normal(size=200) + positive, 1)


def test_figures_are_those_of_scikit_learn(ranked):
    positive, scores = ranked
    found = {name: float(value[0]) for name, value in measure(trace(positive, scores), 0.5).items()}
    purity, completeness, _ = precision_recall_curve(positive, scores)
    assert found["average_precision"] == pytest.approx(average_precision_score(positive, scores))
    assert found["purity"] == pytest.approx(precision_score(positive, scores >= 0.5))
    assert found["completeness"] == pytest.approx(recall_score(positive, scores >= 0.5))
    assert found["f1"] == pytest.approx(f1_score(positive, scores >= 0.5))
    assert found["purity_at_half_completeness"] == pytest.approx(purity[completeness >= 0.5].max())
    assert found["completeness_at_half_purity"] == pytest.approx(completeness[purity >= 0.5].max())


def test_a_galaxy_that_counts_twice_is_there_twice(ranked):
    positive, scores = ranked
    counts = np.random.default_rng(9).multinomial(200, np.full(200, 1 / 200), size=3)
    rows = [np.repeat(np.arange(200), count) for count in counts]
    found = measure(trace(positive, scores, counts), 0.5)
    for name in METRICS:
        each = [measure(trace(positive[some], scores[some]), 0.5)[name][0] for some in rows]
        np.testing.assert_allclose(found[name], each)


def test_the_best_threshold_has_the_highest_f1(ranked):
    positive, scores = ranked
    best = f1_score(positive, scores >= best_threshold(positive, scores))
    assert best == max(f1_score(positive, scores >= score) for score in np.unique(scores))


def test_a_threshold_above_all_returns_nothing():
    found = measure(trace(np.array([True, False]), np.array([0.2, 0.1])), 0.5)
    assert (found["purity"][0], found["completeness"][0], found["f1"][0]) == (0, 0, 0)


@pytest.mark.parametrize("value", [True, False])
def test_one_kind_alone(value):
    with pytest.raises(ConditionError, match="of 3 galaxies are of the class; both kinds are needed"):
        trace(np.full(3, value), np.arange(3.0))


def test_scores_that_are_no_numbers():
    with pytest.raises(ConditionError, match="1 of 2 scores are not finite"):
        trace(np.array([True, False]), np.array([0.5, np.nan]))
