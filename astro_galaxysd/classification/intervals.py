"""How sure differences between classifiers are: scores in, figures and differences with intervals out.

A bootstrap of two levels: runs, as each had other labelled galaxies, and test galaxies, those of the class and the
others by themselves, so that the class stays as frequent. All arms are resampled alike, so that what a sample makes
easy for all drops out of the differences.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from astro_galaxysd.classification.curves import METRICS, measure, trace

__all__ = ["RESAMPLES", "Interval", "Resampled", "difference", "resample", "resample_counts"]

#: Percentiles of 95 % from 1,000 resamples scatter by about a twentieth of the interval.
RESAMPLES = 1000
_PERCENTILES = (2.5, 97.5)


Way = TypeVar("Way", bound=Hashable)


class Interval(NamedTuple):
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval is on one side of 0, else 0."""
        return int(self.low > 0) - int(self.high < 0)


class Resampled(NamedTuple):
    """A figure of one arm: as measured, mean of its runs, and of each resample, shape (B,)."""

    value: float
    resamples: np.ndarray

    @property
    def interval(self) -> Interval:
        """The 95 % interval."""
        return _interval(self.value, self.resamples)


def resample(
    scores: Mapping[Way, Sequence[np.ndarray]],
    thresholds: Mapping[Way, Sequence[float]],
    positive: np.ndarray,
    rng: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
) -> dict[Way, dict[str, Resampled]]:
    """Figures of every arm, with those of resampled runs and galaxies.

    Parameters
    ----------
    scores : mapping of str to sequence of ndarray, each shape (N,)
        Arm -> scores of the test galaxies, a run each; as many runs for every arm, of the same labelled galaxies in the
        same order.
    thresholds : mapping of str to sequence of float
        Arm -> threshold of each run, chosen on other galaxies.
    positive : ndarray, shape (N,), bool
    rng : Generator
    resamples : int

    Returns
    -------
    dict of str to dict of str to Resampled
        Arm -> metric of `METRICS` -> figure.
    """
    # the sample itself, then resamples
    counts = np.concatenate([np.ones((1, len(positive))), resample_counts(positive, resamples, rng)])
    runs = len(next(iter(scores.values())))
    shares = rng.multinomial(runs, np.full(runs, 1 / runs), size=resamples) / runs
    found: dict[Way, dict[str, Resampled]] = {}
    for arm, one in scores.items():
        figures = [
            measure(trace(positive, run, counts), threshold)
            for run, threshold in zip(one, thresholds[arm], strict=True)
        ]
        found[arm] = {
            name: _over_runs(np.stack([figure[name] for figure in figures], axis=1), shares) for name in METRICS
        }
    return found


def resample_counts(positive: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each galaxy occurs in each resample, drawn within its class: shape (resamples, N), float64."""
    counts = np.zeros((resamples, len(positive)))
    for kind in (positive, ~positive):
        rows = np.flatnonzero(kind)
        counts[:, rows] = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=resamples)
    return counts


def difference(first: Resampled, second: Resampled, *, relative: bool = False) -> Interval:
    """How much higher the first figure is, with its 95 % interval.

    Parameters
    ----------
    first, second : Resampled
        Of the same resamples.
    relative : bool
        In units of the second; not finite where that is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.asarray(second.resamples) if relative else 1.0
        resamples = (first.resamples - second.resamples) / scale
        value = (first.value - second.value) / (np.float64(second.value) if relative else 1.0)
    return _interval(float(value), resamples)


def _over_runs(values: np.ndarray, shares: np.ndarray) -> Resampled:
    """`values` of shape (1 + B, runs), the sample first."""
    return Resampled(float(values[0].mean()), (values[1:] * shares).sum(axis=1))


def _interval(value: float, resamples: np.ndarray) -> Interval:
    known = resamples[np.isfinite(resamples)]
    low, high = np.percentile(known, _PERCENTILES) if len(known) else (np.nan, np.nan)
    return Interval(float(value), float(low), float(high))
