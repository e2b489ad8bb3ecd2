r"""Do synthetic galaxies show all that real ones show? Two batches in; four figures with errors out.

With unit embeddings s of synthetic and r of real images, n of the former, and :math:`\rho` the distance to the k-th
nearest other image of the same batch:

- pairwise_distance :math:`1 - \overline{\cos(s, s')}` over pairs (Astolfi et al. 2024, diversity),
- vendi :math:`\frac{1}{n} \exp(-\sum_i \lambda_i \ln \lambda_i)`, :math:`\lambda` the eigenvalues of
  :math:`\cos(s, s') / n` (Friedman & Dieng 2023): 1 where no two images are alike, 1/n where all are. They are those of
  the smaller matrix :math:`S^T S / n` too,
- recall: share of the r that lie within :math:`\rho(s)` of some s (Kynkaanniemi et al. 2019),
- coverage: share of the r that have some s within :math:`\rho(r)` (Naeem et al. 2020).

All but the first change with the number of images: compare equal numbers only. The first two know nothing of real
images: more than the real images' value is not better, only different (noise is diverse).

Errors are found as in `astro_galaxysd.evaluation.realism`: recall and coverage from random halves of both batches, the
others by leaving out groups. Against the spread of samples drawn again and again they are 0.85 to 1.3 times as large,
those of recall and coverage up to 1.8 times where nearly all real images are met, and never less than those of shares
of independent images.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.evaluation.neighbours import counts_within, directions, k_nearest_radii
from astro_galaxysd.evaluation.realism import at_least, check_settings, fewest, groups_for
from astro_galaxysd.evaluation.scores import (
    Kept,
    Score,
    half_spread,
    halves,
    jackknife,
    leave_out,
    not_computed,
    score_table,
)

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.plugins.protocols import Embedder
    from astro_galaxysd.records import ImageBatch

__all__ = ["METRICS", "DiversityEvaluator", "vendi_score"]

#: Metrics in the order of the table; of all, more is better.
METRICS = ("pairwise_distance", "vendi", "recall", "coverage")


class DiversityEvaluator:
    """Compare the variety of synthetic images with that of real ones.

    Parameters
    ----------
    nearest_k : int
        Neighbour that sets the radius of recall and coverage, at least 1.
    n_groups : int
        Groups and halves for the errors, at least 2; no more than 10 for `vendi` above 256 dimensions.
    """

    def __init__(self, *, nearest_k: int = 5, n_groups: int = 50) -> None:
        self.nearest_k = nearest_k
        self.n_groups = n_groups

    def evaluate(
        self,
        real: ImageBatch,
        synthetic: ImageBatch,
        *,
        reference: ImageBatch | None = None,
        embedder: Embedder | None = None,
        rng: np.random.Generator | int | None = None,
    ) -> Table:
        """Judge synthetic against real images.

        Parameters
        ----------
        real, synthetic : ImageBatch
            At least 4 (`nearest_k` + 1) of each for recall and coverage, 2 synthetic ones for the others; else these
            are NaN with a note.
        reference : ImageBatch, optional
            Not used.
        embedder : Embedder, optional
            By default galaxysd's own.
        rng : Generator or int, optional
            For the parts that errors are taken from.

        Returns
        -------
        Table
            Columns `astro_galaxysd.evaluation.scores.COLUMNS`, group ``"all"``.

        Raises
        ------
        ConditionError
            `nearest_k` below 1 or `n_groups` below 2.
        """
        check_settings(self.nearest_k, self.n_groups)
        points = directions(embedder, real.images), directions(embedder, synthetic.images)
        return score_table(self._scores(*points, np.random.default_rng(rng)))

    def _scores(self, real: np.ndarray, synthetic: np.ndarray, rng: np.random.Generator) -> Iterator[Score]:
        n, m, k = len(real), len(synthetic), self.nearest_k
        kept = leave_out(n, m, rng, self.n_groups)
        few = leave_out(n, m, rng, groups_for(synthetic, self.n_groups))
        figures: dict[str, tuple[float, float]] = {}
        if m > 1:
            figures["pairwise_distance"] = jackknife(_pairwise_distance(synthetic, kept.synthetic), kept)
            figures["vendi"] = jackknife(_vendi_share(synthetic, few.synthetic), few)
        if min(n, m) >= fewest(k):
            parts = halves(n, m, rng, self.n_groups)
            figures["recall"] = at_least(*half_spread(_recall(real, synthetic, parts, k)), n)
            figures["coverage"] = at_least(*half_spread(_coverage(real, synthetic, parts, k)), n)
        for metric in METRICS:
            if metric in figures:
                yield Score(metric, "all", *figures[metric], n, m, True)
            else:
                needed = f"{fewest(k)} of each" if metric in ("recall", "coverage") else "2 synthetic ones"
                note = f"{n} real and {m} synthetic images; at least {needed} are needed"
                yield not_computed(metric, "all", note, n, m, True)


def vendi_score(points: np.ndarray) -> float:
    """Effective number of different points (Friedman & Dieng 2023), with the cosine for similarity.

    Parameters
    ----------
    points : ndarray, shape (n, d)
        Unit vectors.

    Returns
    -------
    float
        From 1 (all equal) to n (all at right angles).
    """
    n, d = points.shape
    shares = np.linalg.eigvalsh((points.T @ points if d < n else points @ points.T) / n)
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _vendi_share(points: np.ndarray, kept: np.ndarray) -> np.ndarray:
    whole = vendi_score(points) / len(points)
    return np.array([whole if rows.all() else vendi_score(points[rows]) / rows.sum() for rows in kept.T])


def _pairwise_distance(points: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """`astro_galaxysd.evaluation.distances.diversity` of each column, without a matrix of all pairs."""
    count = kept.sum(axis=0)
    total = ((points.T @ kept) ** 2).sum(axis=0) - (points**2).sum(axis=1) @ kept
    return np.asarray(1 - total / np.where(count > 1, count * (count - 1.0), np.nan))


def _recall(real: np.ndarray, synthetic: np.ndarray, kept: Kept, k: int) -> np.ndarray:
    limits = k_nearest_radii(synthetic, k, kept.synthetic)
    met = counts_within(real, synthetic, kept.synthetic, theirs=limits) > 0
    return np.asarray(met.mean(axis=0, where=kept.real))


def _coverage(real: np.ndarray, synthetic: np.ndarray, kept: Kept, k: int) -> np.ndarray:
    met = counts_within(real, synthetic, kept.synthetic, own=k_nearest_radii(real, k, kept.real)) > 0
    return np.asarray(met.mean(axis=0, where=kept.real))
