from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from astro_galaxysd.classification.arms import (
    ARMS,
    Rows,
    assemble,
    balance,
    choose_arms,
    drawn_for,
    score_estimator,
    score_linear,
    score_network,
    told_apart,
)
from astro_galaxysd.errors import ConditionError, UnknownNameError


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


OF_CLASS, OTHERS = rows(20, 90, True, seed=1), rows(40, 120, False, seed=2)


@pytest.mark.parametrize(
    ("arm", "of_class", "others_as_class", "others"),
    [("real", 0, 0, 0), ("synthetic", 5, 0, 5), ("wrong_prompts", 0, 5, 5), ("positives_only", 5, 0, 0)],
)
def test_what_an_arm_learns_from(real, arm, of_class, others_as_class, others):
    found = assemble(ARMS[arm], real, OF_CLASS, OTHERS, 0.5)
    level = found.images.mean(axis=(1, 2, 3)).round(-1)
    assert (len(found.positive), len(found.features)) == (20 + of_class + others_as_class + others,) * 2
    assert int((level[found.positive] == 90).sum()) == of_class
    assert int((level[found.positive] == 120).sum()) == others_as_class
    assert int((level[~found.positive] == 120).sum()) == others
    assert int((level[~found.positive] == 90).sum()) == 0
    assert int((level[found.positive] == 60).sum()) == 4


@pytest.mark.parametrize(
    ("ways", "expected"),
    [
        ([("real", 0.0)], (0, 0)),
        ([("synthetic", 0.5), ("synthetic", 2.0)], (20, 20)),
        ([("synthetic", 0.5), ("wrong_prompts", 0.5)], (5, 10)),
        ([("filtered", 0.5), ("synthetic", 0.5)], (10, 10)),
        ([("positives_only", 2.0)], (20, 0)),
    ],
)
def test_how_many_are_drawn(ways, expected):
    assert drawn_for([(ARMS[name], ratio) for name, ratio in ways], 20) == expected


def test_arms_by_name():
    assert [arm.name for arm in choose_arms(["synthetic", "focal"])] == ["real", "focal", "synthetic"]
    with pytest.raises(UnknownNameError, match="arm 'magic'"):
        choose_arms("magic")


def test_both_classes_count_alike():
    positive = np.arange(20) < 4
    weights = balance(positive)
    assert weights.mean() == pytest.approx(1)
    assert weights[positive].sum() == pytest.approx(weights[~positive].sum())


@pytest.mark.parametrize("arm", ["real", "class_weights", "focal", "oversampled"])
def test_a_network_learns_what_is_easy(real, arm):
    test = joined(rows(10, 60, True, seed=3), rows(10, 20, False, seed=4))
    scores = score_network(ARMS[arm], real, test, seed=0, steps=30)
    assert scores.shape == (20,)
    assert scores[:10].min() > scores[10:].max()


def test_a_network_learns_the_same_again(real):
    scores = [score_network(ARMS["real"], real, OTHERS, seed=seed, steps=3) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert (scores[0] != scores[2]).any()


def test_a_linear_model(real):
    test = joined(rows(10, 60, True, seed=3), rows(10, 20, False, seed=4))
    scores = score_linear(real, test)
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
        scores = score_estimator(own, ARMS[arm], real, real, seed=0)
        assert scores[:4].min() > scores[4:].max()
        assert not hasattr(own, "coef_")

    def test_one_without_weights(self, real):
        with pytest.raises(ConditionError, match="KNeighborsClassifier.fit takes no sample_weight, which arm 'class_w"):
            score_estimator(KNeighborsClassifier(), ARMS["class_weights"], real, real, seed=0)
        assert score_estimator(KNeighborsClassifier(3), ARMS["oversampled"], real, real, seed=0)[:4].min() > 0.5
