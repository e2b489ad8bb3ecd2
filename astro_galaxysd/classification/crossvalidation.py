"""How many synthetic galaxies serve, by labelled galaxies that were not learnt from.

In: labelled galaxies, synthetic ones and whose votes they have. Out: for each ratio the scores of every labelled galaxy
by a classifier that saw neither it nor what was drawn from its votes, and the ratio to take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from astro_galaxysd.classification.arms import Arm, Rows, assemble
from astro_galaxysd.classification.classifiers import Scorer
from astro_galaxysd.classification.curves import measure, trace
from astro_galaxysd.classification.intervals import resample_counts
from astro_galaxysd.errors import NoRealRowsError

__all__ = ["Made", "average_precision", "choose_ratio", "held_out_scores"]

_FOLDS = 5
_RESAMPLES = 500


@dataclass(frozen=True)
class Made:
    """Synthetic galaxies of one kind.

    Parameters
    ----------
    rows : Rows
    sources : ndarray, int
        Labelled galaxies whose votes they have.
    """

    rows: Rows
    sources: np.ndarray

    def without(self, hidden: np.ndarray) -> Rows:
        """Those that have no votes of some labelled galaxies."""
        return self.rows.take(~np.isin(self.sources, hidden))


def held_out_scores(
    learn: Callable[[Arm, Rows, int], Scorer],
    arm: Arm,
    real: Rows,
    objects: np.ndarray,
    made: tuple[Made, Made] | None,
    ratio: float,
    seed: int,
) -> np.ndarray:
    """Scores of labelled galaxies, each by a classifier that learnt from about four fifths of the others.

    Parameters
    ----------
    learn : callable
        Arm, training rows and a seed in, what scores other rows out.
    arm : Arm
    real : Rows
    objects : ndarray, shape (N,), int
        Rows with one number show one object, which is never in two parts.
    made : tuple of Made, or None
        Synthetic galaxies of the class, and others; None where `ratio` is 0.
    ratio : float
        Synthetic galaxies for every labelled one.
    seed : int

    Returns
    -------
    ndarray, shape (N,), float64

    Raises
    ------
    NoRealRowsError
        If all galaxies of a class show one object.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    fewest = min(len(np.unique(objects[real.positive == kind])) for kind in (True, False))
    if fewest < 2:
        raise NoRealRowsError(f"{fewest} object of one of the two classes is labelled; label two or more of each")
    folds = StratifiedGroupKFold(min(_FOLDS, fewest), shuffle=True, random_state=seed % 2**32)
    scores = np.empty(len(real.positive))
    for learnt, hidden in folds.split(real.positive, real.positive, objects):
        training = real.take(learnt)
        if made is not None and ratio:
            of_class, others = (one.without(hidden) for one in made)
            training = assemble(arm, training, of_class, others, ratio)
        scores[hidden] = learn(arm, training, seed)(real.take(hidden))
    return scores


def average_precision(positive: np.ndarray, scores: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Average precision, shape (1,), or (B,) for the resamples `counts` of shape (B, N)."""
    return measure(trace(positive, scores, counts), 0.5)["average_precision"]


def choose_ratio(positive: np.ndarray, scores: Mapping[float, np.ndarray], rng: np.random.Generator) -> float:
    """The ratio with the highest average precision, if that is more above the one of 0 than its standard error.

    Parameters
    ----------
    positive : ndarray, shape (N,), bool
    scores : mapping of float to ndarray, each shape (N,)
        Ratio -> held-out scores; 0 is among them.
    rng : Generator
        Resamples galaxies within their class.
    """
    best = max(sorted(scores), key=lambda ratio: average_precision(positive, scores[ratio])[0])
    if not best:
        return 0.0
    counts = resample_counts(positive, _RESAMPLES, rng)
    resampled = average_precision(positive, scores[best], counts) - average_precision(positive, scores[0.0], counts)
    gain = average_precision(positive, scores[best])[0] - average_precision(positive, scores[0.0])[0]
    return best if gain > resampled.std() else 0.0
