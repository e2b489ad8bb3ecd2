r"""Do synthetic galaxies look like real ones? Two batches in; five figures with errors out.

With unit embeddings s of n synthetic and r of real images, :math:`\rho(r)` the distance of r to its k-th nearest other
real image:

- nearest_real :math:`\overline{\max_r \cos(s, r)}` (Astolfi et al. 2024, realism),
- precision: share of the s that lie within :math:`\rho(r)` of some r (Kynkaanniemi et al. 2019),
- density :math:`\frac{1}{k n} \sum_{s, r} [\,|s - r| < \rho(r)\,]`, about 1 for real images (Naeem et al. 2020),
- frechet :math:`|\mu_s - \mu_r|^2 + \operatorname{tr}(\Sigma_s + \Sigma_r - 2 (\Sigma_s \Sigma_r)^{1/2})`
  (Heusel et al. 2017, here of unit vectors),
- kernel_distance: the unbiased squared maximum mean discrepancy with the kernel
  :math:`(x \cdot y / d + 1)^3`, :math:`x = \sqrt d\, s` (Binkowski et al. 2018). It may fall below 0 by chance.

frechet, precision and nearest_real change with the number of images: compare equal numbers only.

Errors hold the chance of both batches. Those of precision and density are the spread over random halves of both, each
with radii of its own (`astro_galaxysd.evaluation.scores.half_spread`); the others come from leaving out a fiftieth of
either in turn (`astro_galaxysd.evaluation.scores.jackknife`). Against the spread of samples drawn again and again they
are 0.85 to 1.3 times as large; those of frechet and kernel_distance up to 2 times where both batches have one
distribution, as nothing but chance is left in the figure then. A share of n images has no smaller error than n
independent images would give it (`astro_galaxysd.evaluation.scores.share_error`), up to 1.8 times the spread near
0 and 1.

Where a real image stands alone its radius is wide, and all of pure noise, which has one direction, may lie within:
precision is 1 then, with a large error. density counts this less; frechet, kernel_distance and coverage see it at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.errors import ConditionError
from astro_galaxysd.evaluation.distances import frechet, frechet_of_moments, moments
from astro_galaxysd.evaluation.neighbours import counts_within, directions, k_nearest_radii, kernel_sums, nearest
from astro_galaxysd.evaluation.scores import (
    Kept,
    Score,
    half_spread,
    halves,
    jackknife,
    leave_out,
    not_computed,
    score_table,
    share_error,
)

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.plugins.protocols import Embedder
    from astro_galaxysd.records import ImageBatch

__all__ = ["HIGHER_IS_BETTER", "RealismEvaluator", "at_least", "check_settings", "fewest", "groups_for"]

#: Metrics in the order of the table, and which way is better.
HIGHER_IS_BETTER = {
    "nearest_real": True,
    "precision": True,
    "density": True,
    "frechet": False,
    "kernel_distance": False,
}
_NEAR = 8  # nearest real images kept of each synthetic one, for when some are left out
_LARGE, _FEW = 256, 10


class RealismEvaluator:
    """Compare embeddings of synthetic images with those of real ones.

    Parameters
    ----------
    nearest_k : int
        Neighbour that sets the radius of precision and density, at least 1.
    n_groups : int
        Groups and halves for the errors, at least 2; no more than 10 for `frechet` above 256 dimensions.
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
            At least 4 (`nearest_k` + 1) of each for precision and density, 3 for frechet and kernel_distance; else
            these are NaN with a note.
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
        n, m = len(real), len(synthetic)
        kept = leave_out(n, m, rng, self.n_groups)
        few = leave_out(n, m, rng, groups_for(real, self.n_groups))
        figures = {"nearest_real": jackknife(_nearest_real(real, synthetic, kept), kept)}
        if min(n, m) >= fewest(self.nearest_k):
            within = _within(real, synthetic, halves(n, m, rng, self.n_groups), self.nearest_k)
            figures |= {metric: half_spread(values) for metric, values in within.items()}
            figures["precision"] = at_least(*figures["precision"], m)
        if n > 2 and m > 2:
            figures["frechet"] = jackknife(_frechet(real, synthetic, few), few)
            figures["kernel_distance"] = jackknife(_kernel_distance(real, synthetic, kept), kept)
        for metric, better in HIGHER_IS_BETTER.items():
            if metric in figures:
                yield Score(metric, "all", *figures[metric], n, m, better)
            else:
                needed = fewest(self.nearest_k) if metric in ("precision", "density") else 3
                note = f"{n} real and {m} synthetic images; at least {needed} of each are needed"
                yield not_computed(metric, "all", note, n, m, better)


def check_settings(nearest_k: int, n_groups: int) -> None:
    """Refuse settings that give no figure.

    Raises
    ------
    ConditionError
        `nearest_k` below 1 or `n_groups` below 2.
    """
    if nearest_k < 1:
        raise ConditionError(f"nearest_k is {nearest_k}; a radius needs at least the 1st neighbour")
    if n_groups < 2:
        raise ConditionError(f"n_groups is {n_groups}; an error needs at least 2 groups to leave out")


def groups_for(points: np.ndarray, n_groups: int) -> int:
    """Groups for what costs d**3: no more than 10 above 256 dimensions, where each takes seconds."""
    return min(n_groups, _FEW) if points.shape[1] > _LARGE else n_groups


def fewest(k: int) -> int:
    """Images of each batch for figures of k-th neighbours: in a half with fewer, k neighbours are nearly all."""
    return 4 * (k + 1)


def at_least(value: float, error: float, n: int) -> tuple[float, float]:
    """A share of n images, with no smaller an error than n independent ones would give it."""
    return value, max(error, share_error(round(value * n), n))


def _nearest_real(real: np.ndarray, synthetic: np.ndarray, kept: Kept) -> np.ndarray:
    distances, rows = nearest(synthetic, real, min(_NEAR, len(real)))
    figures = np.empty(kept.real.shape[1])
    for column in range(len(figures)):
        present = kept.real[rows, column]
        first = np.where(present.any(axis=1), present.argmax(axis=1), rows.shape[1] - 1)
        found = distances[np.arange(len(rows)), first]
        figures[column] = 1 - found[kept.synthetic[:, column]].mean() / 2
    return figures


def _within(real: np.ndarray, synthetic: np.ndarray, kept: Kept, k: int) -> dict[str, np.ndarray]:
    counts = counts_within(synthetic, real, kept.real, theirs=k_nearest_radii(real, k, kept.real))
    return {
        "precision": (counts > 0).mean(axis=0, where=kept.synthetic),
        "density": counts.mean(axis=0, where=kept.synthetic) / k,
    }


def _frechet(real: np.ndarray, synthetic: np.ndarray, kept: Kept) -> np.ndarray:
    if len(real) + len(synthetic) < real.shape[1]:
        pairs = zip(kept.real.T, kept.synthetic.T, strict=True)
        return np.array([frechet(real[one], synthetic[two]) for one, two in pairs])
    whole = moments(real), moments(synthetic)
    figures = []
    for one, two in zip(kept.real.T, kept.synthetic.T, strict=True):
        first = whole[0] if one.all() else moments(real[one])
        second = whole[1] if two.all() else moments(synthetic[two])
        figures.append(frechet_of_moments(*first, *second))
    return np.array(figures)


def _kernel_distance(real: np.ndarray, synthetic: np.ndarray, kept: Kept) -> np.ndarray:
    counts = [side.sum(axis=0) for side in kept]
    figures = -2 * kernel_sums(real, synthetic, *kept) / (counts[0] * counts[1])
    for points, side, count in zip((real, synthetic), kept, counts, strict=True):
        itself = (((points**2).sum(axis=1) + 1) ** 3) @ side  # an image with itself is no pair
        pairs = np.where(count > 1, count * (count - 1.0), np.nan)
        figures += (kernel_sums(points, points, side, side) - itself) / pairs
    return np.asarray(figures)
