from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from astro_galaxysd.classification.calibration import calibrate, expect
from astro_galaxysd.errors import ConditionError


def galaxies(n, share, seed, apart=2.0):
    """Which are of the class, and scores that are too sure of themselves: three times the true log odds."""
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < share
    x = rng.normal(np.where(positive, apart, 0.0), 1)  # true log odds at equal shares: apart x - apart^2 / 2
    odds = 3 * (apart * x - apart**2 / 2)
    return positive, 1 / (1 + np.exp(-odds))


def test_the_curve_is_the_one_of_a_logistic_regression():
    positive, scores = galaxies(4000, 0.3, 1)
    found = calibrate(positive, scores)
    x = np.log(np.clip(scores, 1e-6, 1 - 1e-6) / (1 - np.clip(scores, 1e-6, 1 - 1e-6)))[:, None]
    same = LogisticRegression(C=np.inf).fit(x, positive)
    assert found.slope == pytest.approx(same.coef_[0, 0], rel=0.02)
    assert found.offset == pytest.approx(same.intercept_[0], abs=0.03)
    assert found.share == pytest.approx(positive.mean())


def test_probabilities_come_true_also_in_another_mixture():
    found = calibrate(*galaxies(4000, 0.3, 1))
    positive, scores = galaxies(40000, 0.02, 2)
    told = found.probabilities(scores, found.prevalence(scores))
    for low, high in ((0.0, 0.1), (0.1, 0.4), (0.4, 1.0)):
        some = (told >= low) & (told < high)
        assert positive[some].mean() == pytest.approx(told[some].mean(), abs=0.05)
    assert found.prevalence(scores) == pytest.approx(0.02, abs=0.006)
    # with the labelled mixture they would be too high
    assert found.probabilities(scores).mean() > 2 * positive.mean()


def test_counts_are_rows():
    positive, scores = galaxies(60, 0.4, 3)
    counts = np.arange(60) % 3
    rows = np.repeat(np.arange(60), counts)
    one, other = calibrate(positive, scores, counts), calibrate(positive[rows], scores[rows])
    assert (one.slope, one.offset, one.share) == pytest.approx((other.slope, other.offset, other.share), rel=1e-5)


def test_labelled_galaxies_that_are_wholly_told_apart():
    positive = np.arange(40) < 10
    found = calibrate(positive, np.where(positive, 0.999, 0.001))
    told = found.probabilities(np.array([0.001, 0.999]))
    assert 0 < told[0] < 0.1 < 0.8 < told[1] < 1


def test_scores_upside_down_say_nothing():
    positive, scores = galaxies(300, 0.3, 4)
    found = calibrate(positive, 1 - scores)
    assert found.slope == 0
    np.testing.assert_allclose(found.probabilities(scores), found.share)
    assert np.isnan(found.prevalence(scores))
    told, each = expect(positive, 1 - scores, scores[:10], scores[10:], rng=np.random.default_rng(0), resamples=10)
    assert np.isnan([*told.purity, *told.completeness, *told.prevalence, *each]).all()


def test_after_a_round_what_was_looked_at_is_known():
    """The best hundred were looked at and are gone; the truth about the next hundred is within most intervals."""
    inside = 0
    for seed in range(20):
        known = galaxies(400, 0.25, seed)
        positive, scores = galaxies(4000, 0.05, 100 + seed)
        order = np.argsort(-scores)
        seen, top, rest = order[:100], order[100:200], order[200:]
        found, _ = expect(
            *known, scores[top], scores[rest], looked_at=positive[seen], rng=np.random.default_rng(0), resamples=40
        )
        inside += found.purity.low <= positive[top].mean() <= found.purity.high
    assert inside >= 15


def test_one_class():
    with pytest.raises(ConditionError, match="0 of 5 galaxies are of the class; both kinds are needed"):
        calibrate(np.zeros(5, bool), np.linspace(0, 1, 5))


def test_what_is_expected_holds_what_is_there():
    """The intervals of 95 % hold the truth in most of 20 catalogues."""
    inside = {"purity": 0, "completeness": 0, "prevalence": 0}
    for seed in range(20):
        known = galaxies(400, 0.25, seed)
        positive, scores = galaxies(4000, 0.05, 100 + seed)
        order = np.argsort(-scores)
        top, rest = order[:100], order[100:]
        found, each = expect(*known, scores[top], scores[rest], rng=np.random.default_rng(0), resamples=40)
        true = {
            "purity": positive[top].mean(),
            "completeness": positive[top].sum() / positive.sum(),
            "prevalence": positive.mean(),
        }
        assert each.mean() == pytest.approx(found.purity.value)
        assert (np.diff(each) <= 0).all()
        for name, value in true.items():
            told = getattr(found, name)
            assert told.low <= told.value + 0.1
            inside[name] += told.low <= value <= told.high
    assert min(inside.values()) >= 16, inside


def test_a_known_prevalence_is_taken():
    known = galaxies(200, 0.25, 1)
    _, scores = galaxies(1000, 0.05, 2)
    few, many = (
        expect(*known, scores[:50], scores[50:], prevalence=share, rng=np.random.default_rng(0), resamples=20)[0]
        for share in (0.01, 0.2)
    )
    assert few.prevalence == pytest.approx((0.01, 0.01, 0.01))
    assert few.purity.value < many.purity.value


def test_nothing_but_what_is_returned():
    known = galaxies(200, 0.25, 1)
    found, _ = expect(*known, known[1], np.zeros(0), rng=np.random.default_rng(0), resamples=20)
    assert found.completeness.value == pytest.approx(1)
