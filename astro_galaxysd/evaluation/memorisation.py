r"""Are synthetic galaxies copies of training images? Three batches in; two figures with errors out.

With unit embeddings, :math:`\delta(x)` the distance of an image to its nearest training image t(x):

- near_copies: share of the synthetic s with :math:`\delta(s)` below the 1 % quantile of :math:`\delta(r)` over the n
  real images r, that of rank i being :math:`i / (n + 1)` (Weibull 1939; by other definitions more than 1 % pass). A
  real galaxy isn't copied from another one, so this null holds what chance does: 0.01 is expected of a generator that
  copies nothing, and more than that is copied,
- authenticity: share of the s with :math:`\delta(s) > |t(s) - t'|`, t' the training image nearest to t(s) (Alaa et al.
  2022). Low where synthetic images crowd about single training images.

A copy is as near as the embedder says. Mirrored and turned copies are found if its features do not change with the
orientation. Neither figure can tell good from bad galaxies: noise is never a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from astro_galaxysd.errors import ImageError
from astro_galaxysd.evaluation.distributions import check_resamples
from astro_galaxysd.evaluation.neighbours import directions, nearest
from astro_galaxysd.evaluation.scores import Score, bootstrap, not_computed, score_table, share_error

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.plugins.protocols import Embedder
    from astro_galaxysd.records import ImageBatch

__all__ = ["FEWEST_REAL", "HIGHER_IS_BETTER", "MemorisationEvaluator", "Pair", "closest_pairs", "form"]

#: Metrics in the order of the table, and which way is better.
HIGHER_IS_BETTER = {"near_copies": False, "authenticity": True}
#: Fewest real images that show a 1 % quantile.
FEWEST_REAL = 99
_QUANTILE = 0.01


class Pair(NamedTuple):
    """A synthetic image and the training image nearest to it.

    Parameters
    ----------
    synthetic, training : int
        Rows of the two batches.
    distance : float
        1 less the cosine of the embeddings, in [0, 2].
    correlation : float
        Pearson's, of all pixels and channels, with that of the training image's eight forms that fits best; NaN for
        images of unequal size or without contrast.
    form : int
        Which of the eight, as `form` counts them; 0 where there is no correlation.
    """

    synthetic: int
    training: int
    distance: float
    correlation: float
    form: int


class MemorisationEvaluator:
    """Compare distances to the nearest training image: of synthetic images, and of real ones that were not trained on.

    Parameters
    ----------
    n_bootstrap : int
        Resamples of both batches for the errors, at least 2.
    """

    def __init__(self, *, n_bootstrap: int = 100) -> None:
        self.n_bootstrap = n_bootstrap

    def evaluate(
        self,
        real: ImageBatch,
        synthetic: ImageBatch,
        *,
        reference: ImageBatch | None = None,
        embedder: Embedder | None = None,
        rng: np.random.Generator | int | None = None,
    ) -> Table:
        """Judge synthetic images against those the generator was trained on.

        Parameters
        ----------
        real : ImageBatch
            Images that were not trained on, at least 99 for near_copies.
        synthetic : ImageBatch
            At least 2 images for an error.
        reference : ImageBatch, optional
            The training images, at least 2; without them both figures are NaN with a note.
        embedder : Embedder, optional
            By default galaxysd's own.
        rng : Generator or int, optional
            For the bootstrap.

        Returns
        -------
        Table
            Columns `astro_galaxysd.evaluation.scores.COLUMNS`, group ``"all"``.

        Raises
        ------
        ConditionError
            `n_bootstrap` below 2.
        """
        check_resamples(self.n_bootstrap)
        n, m = len(real), len(synthetic)
        if reference is None or len(reference) < 2:
            note = "no training images: give the table that the generator was trained on as training="
            return score_table(not_computed(name, "all", note, n, m, up) for name, up in HIGHER_IS_BETTER.items())
        generator = np.random.default_rng(rng)
        ours, theirs = directions(embedder, real.images), directions(embedder, synthetic.images)
        return score_table(self._scores(ours, theirs, directions(embedder, reference.images), generator))

    def _scores(
        self, real: np.ndarray, synthetic: np.ndarray, training: np.ndarray, rng: np.random.Generator
    ) -> Iterator[Score]:
        n, m = len(real), len(synthetic)
        (null, _), (ours, rows) = nearest(real, training), nearest(synthetic, training)
        note = _no_null(null)
        if note:
            yield not_computed("near_copies", "all", note, n, m, False)
        else:
            value, error = self._near_copies(null[:, 0], ours[:, 0], rng)
            yield Score("near_copies", "all", value, error, n, m, False)
        templates, place = np.unique(rows[:, 0], return_inverse=True)
        gaps, _ = nearest(training[templates], training, skip=templates)
        authentic = (ours[:, 0] > gaps[place, 0]).astype(float)
        value = float(authentic.mean())
        error = self._share_error(lambda drawn: float(authentic[drawn].mean()), value, m, rng)
        yield Score("authenticity", "all", value, error, n, m, True)

    def _near_copies(self, null: np.ndarray, ours: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
        def share(drawn: np.ndarray) -> float:
            limit = _limit(rng.choice(null, len(null)))  # both batches are resampled
            return float((ours[drawn] < limit).mean())

        value = float((ours < _limit(null)).mean())
        return value, self._share_error(share, value, len(ours), rng)

    def _share_error(
        self, share: Callable[[np.ndarray], float], value: float, n: int, rng: np.random.Generator
    ) -> float:
        return max(bootstrap(share, n, rng, self.n_bootstrap), share_error(round(value * n), n))


def closest_pairs(
    synthetic: ImageBatch | np.ndarray, training: ImageBatch | np.ndarray, embedder: Embedder | None = None, n: int = 12
) -> list[Pair]:
    """Return the synthetic images that are nearest to a training image, for looking at.

    Parameters
    ----------
    synthetic, training : ImageBatch or ndarray, shape (N, H, W, 3), uint8
        At least one image each.
    embedder : Embedder, optional
        By default galaxysd's own.
    n : int
        Number of pairs, at most one for each synthetic image.

    Returns
    -------
    list of Pair
        Nearest first.
    """
    ours, theirs = (np.asarray(getattr(batch, "images", batch)) for batch in (synthetic, training))
    distances, rows = nearest(directions(embedder, ours), directions(embedder, theirs))
    order = np.argsort(distances[:, 0], kind="stable")[:n]
    return [
        Pair(int(row), int(rows[row, 0]), float(distances[row, 0]) / 2, *_best_form(ours[row], theirs[rows[row, 0]]))
        for row in order
    ]


def form(image: np.ndarray, number: int) -> np.ndarray:
    """One of the eight mirrored and turned forms of an image.

    Parameters
    ----------
    image : ndarray, shape (H, W, ...)
        Any image.
    number : int
        0 to 7: bit 0 mirrors left-right, bit 1 up-down, bit 2 transposes, in this order, as
        `astro_galaxysd.learning.views.dihedral` counts them; 0 is the image itself.

    Returns
    -------
    ndarray, shape (H, W, ...) or (W, H, ...)
        A view.

    Raises
    ------
    ImageError
        Another number.
    """
    if not 0 <= number < 8:
        raise ImageError(f"form {number} of an image; there are eight, 0 to 7")
    image = image[:, ::-1] if number & 1 else image
    image = image[::-1] if number & 2 else image
    return image.swapaxes(0, 1) if number & 4 else image


def _best_form(image: np.ndarray, other: np.ndarray) -> tuple[float, int]:
    fits = np.full(8, -np.inf)
    for number in range(8):
        turned = form(other, number)
        if turned.shape == image.shape and image.std() and other.std():
            fits[number] = np.corrcoef(image.ravel(), turned.ravel())[0, 1]
    best = int(fits.argmax())
    return (float(fits[best]), best) if np.isfinite(fits[best]) else (float("nan"), 0)


def _limit(null: np.ndarray) -> float:
    """Distance that another real image falls below with a probability of 1 %."""
    return float(np.quantile(null, _QUANTILE, method="weibull"))


def _no_null(null: np.ndarray) -> str:
    """Why the real images' distances set no limit; empty if they do."""
    if len(null) < FEWEST_REAL:
        return f"{len(null)} real images; a 1 % quantile needs at least {FEWEST_REAL}"
    if _limit(null) <= 0:
        return (
            "1 % or more of the real images are training images themselves: give real images that were not trained on"
        )
    return ""
