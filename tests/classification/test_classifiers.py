from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from astro_galaxysd.classification.arms import ARMS, Rows
from astro_galaxysd.classification.classifiers import Learner, balance, check_estimator, fit_linear, told_apart
from astro_galaxysd.errors import ConditionError


def rows(n, level, positive, seed=0):
    """Galaxies whose brightness tells the class."""
    rng = np.random.default_rng(seed)
    images = rng.normal(level, 5, (n, 64, 64, 3)).round().clip(0, 255).astype(np.uint8)
    return Rows(images, images.mean(axis=(1, 2)).astype(np.float32), np.full(n, positive))


def joined(*parts):
    return Rows(*(np.concatenate(values) for values in zip(*parts, strict=True)))


@pytest.fixture
def real():
    return joined(rows(4, 60, True), rows(16, 20, False))


OTHERS = rows(40, 120, False, seed=2)


def test_both_classes_count_alike():
    positive = np.arange(20) < 4
    weights = balance(positive)
    assert weights.mean() == pytest.approx(1)
    assert weights[positive].sum() == pytest.approx(weights[~positive].sum())


@pytest.mark.parametrize("arm", ["real", "class_weights", "focal", "oversampled"])
def test_a_network_learns_what_is_easy(real, arm):
    test = joined(rows(10, 60, True, seed=3), rows(10, 20, False, seed=4))
    scores = Learner(steps=30)(ARMS[arm], real, 0)(test)
    assert scores.shape == (20,)
    assert scores[:10].min() > scores[10:].max()


def test_a_network_learns_the_same_again(real):
    scores = [Learner(steps=3)(ARMS["real"], real, seed)(OTHERS) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert (scores[0] != scores[2]).any()


def test_a_linear_model(real):
    test = joined(rows(10, 60, True, seed=3), rows(10, 20, False, seed=4))
    scores = fit_linear(real)(test)
    assert scores[:10].min() > 0.5 > scores[10:].max()


def test_synthetic_ones_are_told_from_real_ones_where_they_differ():
    real, same, other = (rows(40, level, True, seed=level) for level in (60, 60, 70))
    same = same._replace(features=rows(40, 60, True, seed=9).features)
    assert told_apart(real, other, seed=0) > 0.99
    assert 0.2 < told_apart(real, same, seed=0) < 0.8


class TestEstimator:
    @pytest.mark.parametrize("arm", ["real", "class_weights", "oversampled"])
    def test_it_is_copied_and_learns(self, real, arm):
        own = LogisticRegression()
        scores = Learner(own)(ARMS[arm], real, 0)(real)
        assert scores[:4].min() > scores[4:].max()
        assert not hasattr(own, "coef_")

    def test_one_without_weights(self, real):
        assert Learner(KNeighborsClassifier(3))(ARMS["oversampled"], real, 0)(real)[:4].min() > 0.5

    @pytest.mark.parametrize(
        ("estimator", "arm", "told"),
        [
            (
                KNeighborsClassifier(),
                "class_weights",
                "KNeighborsClassifier.fit takes no sample_weight, which arm 'class",
            ),
            (LinearSVC(), "real", r"LinearSVC\(\) is no scikit-learn classifier with predict_proba; give one, made"),
            (LogisticRegression, "real", "is no scikit-learn classifier with predict_proba; give one, made"),
            (LogisticRegression(), "focal", "arm 'focal' is for the network: LogisticRegression"),
        ],
    )
    def test_what_can_not_learn_so(self, estimator, arm, told):
        with pytest.raises(ConditionError, match=told):
            check_estimator(estimator, [ARMS[arm]])

    def test_what_can(self):
        check_estimator(KNeighborsClassifier(), [ARMS["real"], ARMS["transfer"]])


def test_one_synthetic_galaxy_is_not_told_apart():
    assert np.isnan(told_apart(rows(10, 60, True), rows(1, 60, True), seed=0))
