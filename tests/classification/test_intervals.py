from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.classification.intervals import Interval, Resampled, difference, resample


@pytest.fixture
def found():
    """Three arms in four runs: chance, better, and better by a little noise of its own."""
    rng = np.random.default_rng(0)
    positive = np.arange(400) < 80
    noise = rng.normal(size=(4, 400))
    scores = {
        "chance": list(noise),
        "good": list(noise + 2 * positive),
        "alike": list(noise + 2 * positive + rng.normal(0, 0.01, (4, 400))),
    }
    return resample(scores, {arm: [1.0] * 4 for arm in scores}, positive, np.random.default_rng(1), resamples=400)


def test_what_is_better_is_surely_better(found):
    gain = difference(found["good"]["average_precision"], found["chance"]["average_precision"])
    assert gain.low < gain.value < gain.high
    assert gain.value == pytest.approx(
        found["good"]["average_precision"].value - found["chance"]["average_precision"].value
    )
    assert gain.sign == 1
    assert difference(found["chance"]["average_precision"], found["good"]["average_precision"]).sign == -1


def test_differences_are_surer_than_figures(found):
    """What a sample makes easy for all arms drops out."""
    change = difference(found["alike"]["average_precision"], found["good"]["average_precision"])
    own = found["good"]["average_precision"].interval
    assert change.sign == 0
    assert change.high - change.low < 0.2 * (own.high - own.low)


def test_chance_has_the_purity_of_the_sample(found):
    purity = found["chance"]["purity_at_half_completeness"].interval
    assert purity.low < 0.25
    assert found["chance"]["average_precision"].interval.low < 0.25 < 0.4 < found["good"]["average_precision"].value


def test_relative_differences(found):
    first, second = found["good"]["average_precision"], found["chance"]["average_precision"]
    assert difference(first, second, relative=True).value == pytest.approx(first.value / second.value - 1)


def test_runs_that_differ_make_an_interval_wide():
    rng, positive = np.random.default_rng(0), np.arange(2000) < 1000
    runs = [rng.normal(size=2000) + gain * positive for gain in (0, 4)]
    same = [rng.normal(size=2000) + 1.5 * positive for _ in range(2)]
    found = resample(
        {"differ": runs, "same": same}, {"differ": [0.5] * 2, "same": [0.5] * 2}, positive, rng, resamples=300
    )
    wide, narrow = (found[arm]["average_precision"].interval for arm in ("differ", "same"))
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)


@pytest.mark.parametrize("runs", [3, 5])
def test_two_alike_ways_are_seldom_called_different(runs):
    """Runs scatter as they do where ten galaxies are labelled; 5 of 100 intervals should miss 0."""
    positive, missed = np.arange(300) < 40, 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        scores = {
            arm: [rng.normal(size=300) + rng.normal(1.2, 0.3) * positive for _ in range(runs)] for arm in ("one", "two")
        }
        found = resample(scores, dict.fromkeys(scores, [0.5] * runs), positive, rng, resamples=60)
        missed += difference(found["one"]["average_precision"], found["two"]["average_precision"]).sign != 0
    assert missed <= 22  # 11 %


def test_what_is_not_known_stays_so():
    blank = Resampled(np.nan, np.full(3, np.nan), np.full(5, np.nan))
    assert np.isnan(difference(blank, blank).low)
    assert difference(blank, blank).sign == 0


@pytest.mark.parametrize(("low", "high", "sign"), [(0.1, 0.2, 1), (-0.2, -0.1, -1), (-0.1, 0.1, 0)])
def test_sign(low, high, sign):
    assert Interval(0.5 * (low + high), low, high).sign == sign
