from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.classification.arms import ARMS, Rows
from astro_galaxysd.classification.crossvalidation import Made, average_precision, choose_ratio, held_out_scores
from astro_galaxysd.errors import NoRealRowsError

ARM = ARMS["transfer_synthetic"]


def rows(n, positive, numbers):
    """Galaxies whose only feature is a number by which a test knows them again."""
    return Rows(np.zeros((n, 2, 2, 3), np.uint8), np.array(numbers, float)[:, None], np.full(n, positive))


@pytest.fixture
def real():
    parts = rows(10, True, range(10)), rows(20, False, range(10, 30))
    return Rows(*(np.concatenate(values) for values in zip(*parts, strict=True)))


@pytest.fixture
def made():
    # each has the number of its source and a hundred
    sources = np.repeat(np.arange(10), 3), np.repeat(np.arange(10, 30), 2)
    return (
        Made(rows(30, True, 100 + sources[0]), sources[0]),
        Made(rows(40, False, 100 + sources[1]), sources[1]),
    )


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_nobody_is_scored_by_what_it_taught(real, made, ratio):
    seen = []

    def learn(arm, training, seed):
        def score(asked):
            known = set(training.features[:, 0].tolist())
            hidden = set(asked.features[:, 0].tolist())
            assert not known & hidden
            assert not known & {number + 100 for number in hidden}
            seen.append((len(training.positive), hidden))
            return asked.features[:, 0]

        return score

    scores = held_out_scores(learn, ARM, real, np.arange(30), made, ratio, 3)
    np.testing.assert_array_equal(scores, real.features[:, 0])
    assert set.union(*(hidden for _, hidden in seen)) == set(range(30))
    assert {taught for taught, _ in seen} == ({24} if ratio == 0 else {48})


def test_as_many_folds_as_there_are_of_the_class(real):
    few = real.take(np.r_[0:3, 10:30])
    asked = []

    def learn(arm, training, seed):
        asked.append(int(training.positive.sum()))
        return lambda some: some.features[:, 0]

    held_out_scores(learn, ARM, few, np.arange(23), None, 0.0, 3)
    assert asked == [2, 2, 2]


def test_an_object_is_in_one_fold(real):
    objects = np.r_[np.arange(10) // 2, 5 + np.arange(20) // 2]

    def learn(arm, training, seed):
        known = {objects[int(number)] for number in training.features[:, 0]}

        def score(asked):
            assert not known & {objects[int(number)] for number in asked.features[:, 0]}
            return asked.features[:, 0]

        return score

    held_out_scores(learn, ARM, real, objects, None, 0.0, 3)


def test_one_object_is_too_few(real):
    with pytest.raises(NoRealRowsError, match="1 object of one of the two classes is labelled; label two or more"):
        held_out_scores(None, ARM, real, np.where(real.positive, 0, np.arange(30)), None, 0.0, 3)


def test_average_precision_is_that_of_scikit_learn():
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(0)
    positive, scores = rng.random(200) < 0.2, rng.random(200)
    assert average_precision(positive, scores)[0] == pytest.approx(average_precision_score(positive, scores))


def test_a_gain_has_to_be_more_than_its_error():
    rng = np.random.default_rng(0)
    positive = np.arange(300) < 60
    noise = rng.normal(0, 1, 300)
    without, same, better = (lift * positive + noise for lift in (1.0, 1.02, 2.5))
    assert choose_ratio(positive, {0.0: without, 1.0: better}, np.random.default_rng(1)) == 1.0
    assert choose_ratio(positive, {0.0: without, 0.25: better, 1.0: same}, np.random.default_rng(1)) == 0.25
    few = np.r_[0:6, 60:100]
    assert choose_ratio(positive[few], {0.0: without[few], 1.0: same[few]}, np.random.default_rng(1)) == 0.0
    assert choose_ratio(positive, {0.0: better, 1.0: without}, np.random.default_rng(1)) == 0.0
