"""The calibration curve and its error."""

from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.conditions.tree import ANSWERS, INDEX
from astro_galaxysd.errors import ConditionError, UnknownNameError
from astro_galaxysd.evaluation.calibration import bin_of, calibration_curve, calibration_error


@pytest.fixture
def asked():
    return np.random.default_rng(0).random((400, len(ANSWERS)))


def test_curve_by_hand():
    asked = np.full((4, len(ANSWERS)), np.nan)
    asked[:, INDEX["ring"]] = 0.1, 0.15, 0.95, np.nan
    read = np.zeros_like(asked)
    read[:, INDEX["ring"]] = 0.3, 0.5, 0.8, 0.7
    curve = calibration_curve(asked, read, "ring")
    np.testing.assert_allclose(curve.asked, [0.125, 0.95])
    np.testing.assert_allclose(curve.read, [0.4, 0.8])
    np.testing.assert_allclose(curve.error, [np.std([0.3, 0.5], ddof=1) / np.sqrt(2), np.nan])
    assert curve.n.tolist() == [2, 1]
    np.testing.assert_allclose(calibration_error(asked, read), (2 * 0.275 + 0.15) / 3)


def test_perfect_reading_is_on_the_diagonal(asked):
    curve = calibration_curve(asked, asked)
    np.testing.assert_allclose(curve.read, curve.asked)
    assert len(curve.n) == 10
    assert calibration_error(asked, asked) == pytest.approx(0)


def test_a_shift_is_the_error_and_ignoring_the_request_is_a_flat_curve(asked):
    assert calibration_error(0.8 * asked, 0.8 * asked + 0.2) == pytest.approx(0.2)
    curve = calibration_curve(asked, np.random.default_rng(1).permutation(asked))
    assert np.ptp(curve.read) < 0.05
    assert calibration_error(asked, np.full_like(asked, 0.5)) == pytest.approx(0.25, abs=0.01)


def test_nothing_asked(asked):
    nothing = np.full_like(asked, np.nan)
    assert np.isnan(calibration_error(nothing, asked))
    assert len(calibration_curve(nothing, asked).n) == 0


def test_edges_of_bins():
    assert bin_of(np.array([0.0, 0.0999, 0.1, 1.0])).tolist() == [0, 0, 1, 9]


def test_errors(asked):
    with pytest.raises(UnknownNameError, match="did you mean 'merger'"):
        calibration_curve(asked, asked, "mergers")
    with pytest.raises(ConditionError, match="bins = 0; a calibration curve needs at least 1 bin"):
        calibration_curve(asked, asked, bins=0)
