r"""From scores to probabilities, and from probabilities to what may be expected of a ranking.

A logistic curve through scores of labelled galaxies that were not learnt from gives probabilities among galaxies that
are as often of the class as the labelled ones (Platt 1999). A catalogue holds fewer: how many is estimated from its own
scores (Saerens et al. 2002), or given. Labelled galaxies are resampled to see how far all this can be relied on.
Galaxies that were chosen by their scores and then looked at are no fair sample: no curve is laid through them, but what
they are is known when the catalogue's share is estimated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astro_galaxysd.classification.intervals import Interval, resample_counts
from astro_galaxysd.errors import ConditionError

__all__ = ["RESAMPLES", "Calibration", "Expected", "calibrate", "expect"]

RESAMPLES = 200
_PERCENTILES = (2.5, 97.5)
_EDGE = 1e-6  # scores are kept this far from 0 and 1
_ROUNDS, _ENOUGH = 100, 1e-8
_BINS = 400  # of a catalogue's scores, for the resamples
_WEAK = 1e-2  # pull of the slope to 0, so that scores that part the labelled galaxies wholly give a curve


@dataclass(frozen=True)
class Calibration:
    """A logistic curve in the logarithm of a score's odds.

    Parameters
    ----------
    slope, offset : float
        The slope is 0 where scores say nothing.
    share : float
        Of the class among the galaxies the curve was laid through, as it says it.
    """

    slope: float
    offset: float
    share: float

    def probabilities(self, scores: np.ndarray, prevalence: float | None = None) -> np.ndarray:
        """Probability of the class, shape (N,).

        Parameters
        ----------
        scores : ndarray, shape (N,)
            In [0, 1].
        prevalence : float, optional
            Share of the class among these galaxies; by default that of the labelled ones.
        """
        odds = self.slope * _log_odds(scores) + self.offset
        if prevalence is not None:
            odds = odds + _log_odds(prevalence) - _log_odds(self.share)
        return np.asarray(1 / (1 + np.exp(-np.clip(odds, -700, 700))))

    def prevalence(
        self, scores: np.ndarray, counts: np.ndarray | None = None, looked_at: np.ndarray | None = None
    ) -> float:
        """Share of the class among galaxies that were drawn from the same two classes in another mixture.

        Parameters
        ----------
        scores : ndarray, shape (N,)
            Of those that nobody looked at.
        counts : ndarray, shape (N,), optional
            How often each occurs.
        looked_at : ndarray, shape (K,), bool, optional
            Whether those are of the class that were looked at.

        Returns
        -------
        float
            NaN where scores say nothing.
        """
        if not self.slope:
            return float("nan")
        weights = np.ones(len(scores)) if counts is None else counts
        known = np.zeros(0, dtype=bool) if looked_at is None else looked_at
        share = self.share
        for _ in range(_ROUNDS):
            of_class = float((self.probabilities(scores, share) * weights).sum()) + int(known.sum())
            # half a galaxy of each kind more (Jeffreys' prior), so that a rare class does not become none
            before, share = share, (of_class + 0.5) / (float(weights.sum()) + len(known) + 1)
            if abs(share - before) < _ENOUGH:
                break
        return share


@dataclass(frozen=True)
class Expected:
    """What is expected of a ranking.

    Parameters
    ----------
    prevalence, found, purity, completeness : Interval
        Share of the class in the catalogue; galaxies of the class among those returned, their share there, and their
        share of all of the class that nobody looked at before. NaN where scores say nothing.
    """

    prevalence: Interval
    found: Interval
    purity: Interval
    completeness: Interval


def calibrate(positive: np.ndarray, scores: np.ndarray, counts: np.ndarray | None = None) -> Calibration:
    """Lay the curve.

    Parameters
    ----------
    positive : ndarray, shape (N,), bool
    scores : ndarray, shape (N,)
        In [0, 1], of galaxies that were not learnt from.
    counts : ndarray, shape (N,), optional
        How often each counts.

    Raises
    ------
    ConditionError
        If all galaxies are of one class.
    """
    positive = np.asarray(positive, dtype=bool)
    counts = np.ones(len(positive)) if counts is None else np.asarray(counts, dtype=float)
    of_class, others = float(counts[positive].sum()), float(counts[~positive].sum())
    if not of_class or not others:
        raise ConditionError(f"{of_class:g} of {of_class + others:g} galaxies are of the class; both kinds are needed")
    # Platt's targets: what a galaxy more of each kind would have said
    wanted = np.where(positive, (of_class + 1) / (of_class + 2), 1 / (others + 2))
    x = np.column_stack([_log_odds(scores), np.ones(len(scores))])
    share = float(np.average(wanted, weights=counts))
    curve = np.array([1.0, 0.0])
    pull = np.diag([_WEAK, 0.0])
    for _ in range(_ROUNDS):  # Newton's steps, halved where they lead too far
        told = 1 / (1 + np.exp(-np.clip(x @ curve, -700, 700)))
        slope = x.T @ (counts * (told - wanted)) + pull @ curve
        bend = (x * (counts * told * (1 - told))[:, None]).T @ x + pull + 1e-9 * np.eye(2)
        step = np.linalg.solve(bend, slope)
        curve = curve - step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < _ENOUGH:
            break
    if curve[0] <= 0:  # what scores more is no more often of the class
        return Calibration(0.0, float(_log_odds(share)), share)
    return Calibration(float(curve[0]), float(curve[1]), share)


def expect(
    positive: np.ndarray,
    known: np.ndarray,
    returned: np.ndarray,
    others: np.ndarray,
    *,
    looked_at: np.ndarray | None = None,
    prevalence: float | None = None,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> tuple[Expected, np.ndarray]:
    """Say what a ranking holds.

    Parameters
    ----------
    positive, known : ndarray, shape (L,)
        Labelled galaxies: whether they are of the class, and scores as `calibrate` takes them.
    returned, others : ndarray, shape (K,) and (M,)
        Scores of the catalogue's galaxies that are returned, and of all others.
    looked_at : ndarray, shape (J,), bool, optional
        Whether those of the catalogue are of the class that were looked at before; they are not among the others.
    prevalence : float, optional
        Share of the class in the catalogue, where it is known.
    rng : Generator
        Resamples labelled galaxies within their class, and draws who is of the class.
    resamples : int

    Returns
    -------
    Expected
        Means over the resamples, and the middle 95 % of what is drawn in them.
    ndarray, shape (K,)
        Probability that each that is returned is of the class.
    """
    centres, sizes = _binned(others)
    seen = np.zeros(0, dtype=bool) if looked_at is None else looked_at
    scores, counts = np.concatenate([returned, centres]), np.concatenate([np.ones(len(returned)), sizes])
    probabilities, told = [], []
    for resampled in resample_counts(positive, resamples, rng):
        calibration = calibrate(positive, known, resampled)
        share = calibration.prevalence(scores, counts, seen) if prevalence is None else prevalence
        if not np.isfinite(share):
            continue
        among, rest = (calibration.probabilities(some, share) for some in (returned, centres))
        probabilities.append(among)
        found, missed = (
            float((rng.random(len(among)) < among).sum()),
            float(rng.binomial(sizes.astype(int), rest).sum()),
        )
        told.append((_figures(share, among.sum(), (rest * sizes).sum(), len(among)),
                     _figures(share, found, missed, len(among))))  # fmt: skip
    if len(told) < resamples / 2:  # most of the curves say nothing
        unknown = Interval(np.nan, np.nan, np.nan)
        return Expected(unknown, unknown, unknown, unknown), np.full(len(returned), np.nan)
    means, drawn = np.array(told).transpose(1, 0, 2)
    bounds = zip(means.mean(axis=0), *np.percentile(drawn, _PERCENTILES, axis=0), strict=True)
    return Expected(*(Interval(*map(float, one)) for one in bounds)), np.mean(probabilities, axis=0)


def _figures(share: float, found: float, missed: float, returned: int) -> tuple[float, float, float, float]:
    """In the order of `Expected`."""
    return share, float(found), found / max(1, returned), found / max(found + missed, _EDGE)


def _binned(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores that stand for all, and how many each stands for."""
    if not len(scores):
        return np.zeros(0), np.zeros(0)
    parts = np.array_split(np.sort(scores), min(_BINS, len(scores)))
    return np.array([part.mean() for part in parts]), np.array([float(len(part)) for part in parts])


def _log_odds(shares: np.ndarray | float) -> np.ndarray:
    inside = np.clip(shares, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(inside) - np.log1p(-inside))
