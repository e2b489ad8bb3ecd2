r"""Purity and completeness of a ranking, for one sample or many resamples of it at once.

Purity is the share of the class among what is returned (precision), completeness the share of the class that is
returned (recall). In: which galaxies are of the class, a score for each, and how often each counts in each resample.
Out: both for every threshold that tells galaxies apart, and single figures of them. scikit-learn gives the same figures
for one sample, which the tests check; resampled a thousand times they are needed all at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from astro_galaxysd.errors import ConditionError

__all__ = ["FIXED", "METRICS", "Curves", "best_threshold", "measure", "trace"]

#: Completeness at which purity is stated, and the reverse.
FIXED = 0.5


@dataclass(frozen=True)
class Curves:
    """Purity and completeness by threshold, for B resamples.

    Parameters
    ----------
    thresholds : ndarray, shape (T,), float64
        Distinct scores, falling; what scores as much or more is returned.
    purity, completeness : ndarray, shape (B, T), float64
        In [0, 1]; purity is 0 where a resample returns nothing.
    """

    thresholds: np.ndarray
    purity: np.ndarray
    completeness: np.ndarray

    def at(self, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Purity and completeness of what scores `threshold` or more, each of shape (B,); 0 where nothing does."""
        last = int(np.searchsorted(-self.thresholds, -threshold, side="right")) - 1
        if last < 0:
            nothing = np.zeros(len(self.purity))
            return nothing, nothing
        return self.purity[:, last], self.completeness[:, last]


def trace(positive: np.ndarray, scores: np.ndarray, counts: np.ndarray | None = None) -> Curves:
    """Purity and completeness for all thresholds.

    Parameters
    ----------
    positive : ndarray, shape (N,), bool
        Which galaxies are of the class.
    scores : ndarray, shape (N,)
        Higher: more likely of the class.
    counts : ndarray, shape (B, N), optional
        How often each galaxy counts in each resample; by default once, in one.

    Returns
    -------
    Curves

    Raises
    ------
    ConditionError
        If there are no galaxies of the class, no others, or scores that are not finite.
    """
    positive, scores = np.asarray(positive, dtype=bool), np.asarray(scores, dtype=np.float64)
    if not positive.any() or positive.all():
        raise ConditionError(
            f"{int(positive.sum())} of {len(positive)} galaxies are of the class; both kinds are needed"
        )
    if not np.isfinite(scores).all():
        raise ConditionError(f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite")
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # galaxies of one score come together
    counted = np.ones((1, len(order))) if counts is None else np.asarray(counts, dtype=np.float64)[:, order]
    found = np.cumsum(counted * positive[order], axis=1)
    returned = np.cumsum(counted, axis=1)[:, ends]
    purity = found[:, ends] / np.maximum(returned, 1)
    return Curves(scores[order][ends], purity, found[:, ends] / np.maximum(found[:, -1:], 1))


def best_threshold(positive: np.ndarray, scores: np.ndarray) -> float:
    """The threshold with the highest F1; the highest of several.

    Parameters
    ----------
    positive, scores
        As `trace`; never those of galaxies that are reported on.
    """
    curves = trace(positive, scores)
    return float(curves.thresholds[int(np.argmax(_f1(curves.purity[0], curves.completeness[0])))])


def measure(curves: Curves, threshold: float) -> dict[str, np.ndarray]:
    """Every figure of `METRICS`, each of shape (B,), in [0, 1], higher is better.

    Parameters
    ----------
    curves : Curves
    threshold : float
        Chosen on other galaxies, for ``purity``, ``completeness`` and ``f1``.
    """
    return {name: metric(curves, threshold) for name, metric in METRICS.items()}


def _f1(purity: np.ndarray, completeness: np.ndarray) -> np.ndarray:
    return np.asarray(2 * purity * completeness / np.maximum(purity + completeness, 1e-12))


def _average_precision(curves: Curves, threshold: float) -> np.ndarray:
    steps = np.diff(curves.completeness, axis=1, prepend=0.0)
    return np.asarray((steps * curves.purity).sum(axis=1))


def _highest(values: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(allowed, values, 0.0).max(axis=1))


#: Figures by name; each takes curves and a threshold.
METRICS: dict[str, Callable[[Curves, float], np.ndarray]] = {
    "average_precision": _average_precision,
    "purity": lambda curves, threshold: curves.at(threshold)[0],
    "completeness": lambda curves, threshold: curves.at(threshold)[1],
    "f1": lambda curves, threshold: _f1(*curves.at(threshold)),
    "purity_at_half_completeness": lambda curves, _: _highest(curves.purity, curves.completeness >= FIXED),
    "completeness_at_half_purity": lambda curves, _: _highest(curves.completeness, curves.purity >= FIXED),
}
