r"""Are answers read as often as they were asked for? Fractions asked for and read in, a curve and its error out.

The error is :math:`\sum_b (n_b / n) |\overline{read}_b - \overline{asked}_b|` over bins b of the fraction asked for
(Naeini et al. 2015, with fractions in place of confidences).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from astro_galaxysd.conditions.tree import INDEX
from astro_galaxysd.errors import ConditionError, UnknownNameError

__all__ = ["BINS", "CalibrationCurve", "bin_of", "calibration_curve", "calibration_error"]

#: Bins of equal width between 0 and 1.
BINS = 10


class CalibrationCurve(NamedTuple):
    """Fractions read against fractions asked for; one entry for every bin that is not empty.

    Parameters
    ----------
    asked, read : ndarray, shape (B,), float64
        Means of the bin.
    error : ndarray, shape (B,), float64
        Standard error of `read`; NaN for a bin with one value.
    n : ndarray, shape (B,), int64
        Values in the bin.
    """

    asked: np.ndarray
    read: np.ndarray
    error: np.ndarray
    n: np.ndarray


def calibration_curve(
    asked: np.ndarray, read: np.ndarray, answer: str | None = None, bins: int = BINS
) -> CalibrationCurve:
    """Mean fraction read, in bins of the fraction asked for.

    Parameters
    ----------
    asked, read : ndarray, shape (N, 37), float
        Conditional fractions; pairs where either is NaN are left out.
    answer : str, optional
        Key of one answer; by default all answers together.
    bins : int
        Bins of equal width between 0 and 1.

    Returns
    -------
    CalibrationCurve
        Without an entry where nothing was asked.

    Raises
    ------
    UnknownNameError
        If there is no such answer.
    ConditionError
        If `bins` is below 1.
    """
    if bins < 1:
        raise ConditionError(f"bins = {bins}; a calibration curve needs at least 1 bin")
    if answer is not None:
        if answer not in INDEX:
            raise UnknownNameError("answer", answer, INDEX)
        asked, read = asked[:, [INDEX[answer]]], read[:, [INDEX[answer]]]
    both = np.isfinite(asked) & np.isfinite(read)
    x, y = asked[both], read[both]
    place = bin_of(x, bins)
    n = np.bincount(place, minlength=bins)
    some, divisor = n > 0, np.maximum(n, 1)
    mean = np.bincount(place, y, bins) / divisor
    variance = np.bincount(place, (y - mean[place]) ** 2, bins) / np.maximum(n - 1, 1)
    error = np.where(n > 1, np.sqrt(variance / divisor), np.nan)
    return CalibrationCurve((np.bincount(place, x, bins) / divisor)[some], mean[some], error[some], n[some])


def calibration_error(asked: np.ndarray, read: np.ndarray, bins: int = BINS) -> float:
    """Mean distance of the calibration curve from the diagonal, weighted by the values in its bins.

    Parameters
    ----------
    asked, read, bins
        As `calibration_curve`, which also says what is raised.

    Returns
    -------
    float
        In [0, 1]; NaN where nothing was asked.
    """
    curve = calibration_curve(asked, read, None, bins)
    return float(np.average(np.abs(curve.read - curve.asked), weights=curve.n)) if len(curve.n) else float("nan")


def bin_of(x: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Bin of each fraction, from 0 on; a fraction of 1 is in the last."""
    return np.asarray(np.clip((x * bins).astype(int), 0, bins - 1))
