r"""Did weights become better? Drawn cutouts and what was asked for in; a few figures with errors and a ceiling out.

Distances are taken in a space of descriptors (`describe`): standardised with the real images' means and deviations,
turned onto the real images' first 32 principal components and scaled to unit variance there. With g drawn, r real, all
of unit length in that space (Astolfi et al. 2024; ours in the choice of the space):

- realism :math:`\overline{\max_r \cos(g, r)}`, after a constant was appended that makes the cosine see distances
  (`astro_galaxysd.evaluation.distances.realism`), and diversity :math:`1 - \overline{\cos(g, g')}` over pairs,
- frechet :math:`|\mu_g - \mu_r|^2 + \operatorname{tr}(\Sigma_g + \Sigma_r - 2 (\Sigma_g \Sigma_r)^{1/2})`,
- consistency: for each question of the tree the correlation :math:`\sum ab / \sqrt{\sum a^2 \sum b^2}` of
  well-sampled answers, a the fractions asked for, b those read off the images, both less the real images' mean of that
  answer; then the mean over questions. An image that ignores its prompt counts 0, whatever it shows, so does one
  image for all prompts; and rare questions count as much as common ones,
- flux_ks, background_ks: Kolmogorov-Smirnov distances (`astro_galaxysd.evaluation.photometry`),
- sky :math:`|\ln|` of the ratio of the medians of `sky_rms`, and power: the mean over frequencies up to half
  Nyquist of :math:`|\ln|` of the ratio of the medians of `radial_power`; both 0 for perfect weights.

The ceiling is what real images score that stand in the drawn ones' place. Errors are standard deviations over
bootstrap resamples of the drawn images; the real ones stay, as they do between two sets of weights that are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from astro_galaxysd.conditions.prompts import tags_from_fractions, well_sampled
from astro_galaxysd.conditions.tree import INDEX, QUESTION_OF, QUESTIONS
from astro_galaxysd.errors import ConditionError, ImageError
from astro_galaxysd.evaluation.descriptors import describe
from astro_galaxysd.evaluation.distances import apart, diversity_of_rows, frechet, realism, unit
from astro_galaxysd.evaluation.distributions import check_resamples, ks_distance
from astro_galaxysd.evaluation.photometry import measure as photometry
from astro_galaxysd.evaluation.reader import VoteReader, check_fractions
from astro_galaxysd.evaluation.texture import HALF_NYQUIST, radial_power

__all__ = ["HIGHER_IS_BETTER", "Figure", "Progress", "choose_rows", "consistency"]

#: Every metric, and whether more is better.
HIGHER_IS_BETTER = {
    "realism": True,
    "frechet": False,
    "diversity": True,
    "consistency": True,
    "flux_ks": False,
    "background_ks": False,
    "sky": False,
    "power": False,
}
_COMPONENTS = 32
_FURTHEST = 8.0  # deviations; beyond, one odd descriptor would be the whole distance
_FEWEST = 8  # well-sampled rows a question needs to be correlated
_SAME = 1e-6  # fractions closer than that are equal
_LARGEST = 8.0
_QUESTIONS = [[INDEX[answer.key] for answer in question.answers] for question in QUESTIONS]


class Figure(NamedTuple):
    """A measured value and its standard deviation."""

    value: float
    error: float


class Progress:
    """Measures drawn images against real ones that stay the same.

    Parameters
    ----------
    real_images : ndarray, shape (N, H, H, 3), uint8
        What drawn images are compared with: rows that were neither trained on nor drawn for. At least 8; a few
        hundred make a distance that means something.
    real_fractions : ndarray, shape (N, 37), float
        Their conditional vote fractions, NaN where not asked.
    reader : VoteReader
        Fitted, to images of the same size and to other rows.
    reference : tuple of (images, fractions)
        The real images of the rows that are drawn for, in the same number: they give the ceiling.
    rng : int
        Seed of the bootstrap, the same for every call, so that equal images have equal figures.
    n_bootstrap : int
        Resamples for the errors, at least 2.

    Attributes
    ----------
    ceiling : dict of str to Figure
        What the reference scores.

    Raises
    ------
    ImageError, ConditionError
        Images, votes or numbers that can't be measured.
    WeightsError
        If the reader has not learnt yet.

    Examples
    --------
    >>> drawn, compared = choose_rows(fractions, 96, rng=0)  # doctest: +SKIP
    >>> progress = Progress(images[compared], fractions[compared], reader,
    ...                     reference=(images[drawn], fractions[drawn]))  # doctest: +SKIP
    >>> progress.measure(synthetic, fractions[drawn])["frechet"].value  # doctest: +SKIP
    """

    def __init__(
        self,
        real_images: np.ndarray,
        real_fractions: np.ndarray,
        reader: VoteReader,
        *,
        reference: tuple[np.ndarray, np.ndarray],
        rng: int = 0,
        n_bootstrap: int = 100,
    ) -> None:
        check_resamples(n_bootstrap)
        if len(real_images) < _FEWEST:
            raise ImageError(f"{len(real_images)} real images to compare with; give at least {_FEWEST}")
        self.reader, self.rng, self.n_bootstrap = reader, rng, n_bootstrap
        self._means = _answer_means(check_fractions(real_fractions, len(real_images)))
        described = describe(real_images)
        self._centre, self._scale = described.mean(axis=0), np.maximum(described.std(axis=0), 1e-4)
        standard = self._standard(described)
        self._origin = standard.mean(axis=0)
        _, values, axes = np.linalg.svd(standard - self._origin, full_matrices=False)
        kept = min(_COMPONENTS, len(real_images) - 1)
        deviations = np.maximum(values[:kept] / np.sqrt(len(real_images)), 1e-3)
        self._axes = axes[:kept].T / deviations
        self._real = self._embed(described)
        self._pixels = _Pixels(real_images)
        self.ceiling = self.measure(*reference)

    def measure(self, synthetic_images: np.ndarray, conditions_fractions: np.ndarray) -> dict[str, Figure]:
        """Figures of drawn images.

        Parameters
        ----------
        synthetic_images : ndarray, shape (n, H, H, 3), uint8
            At least 2.
        conditions_fractions : ndarray, shape (n, 37), float
            The conditional fractions each was drawn for, NaN where not asked.

        Returns
        -------
        dict of str to Figure
            A value and its error for every name of `HIGHER_IS_BETTER`; NaN for a consistency without any question
            that 8 rows answer.

        Raises
        ------
        ImageError, ConditionError
            Images or votes that can't be measured, or fewer than 2.
        """
        asked = check_fractions(conditions_fractions, len(synthetic_images))
        if len(asked) < 2:
            raise ImageError(f"{len(asked)} drawn images; figures with errors need at least 2")
        described = describe(synthetic_images)
        points = self._embed(described)
        directions, drawn = unit(points), _Pixels(synthetic_images)
        nearest = realism(points, self._real)
        cosines = directions @ directions.T
        a, b = asked - self._means, self.reader.predict_described(described) - self._means
        sampled = _sampled(asked)
        questions = _questions(a, sampled)
        functions: dict[str, Callable[[np.ndarray], float]] = {
            "realism": lambda rows: float(nearest[rows].mean()),
            "frechet": lambda rows: frechet(points[rows], self._real),
            "diversity": lambda rows: diversity_of_rows(cosines, rows),
            "consistency": lambda rows: _consistency(a[rows], b[rows], sampled[rows], questions),
            "flux_ks": lambda rows: ks_distance(self._pixels.flux, drawn.flux[rows]),
            "background_ks": lambda rows: ks_distance(self._pixels.background, drawn.background[rows]),
            "sky": lambda rows: apart(drawn.sky[rows, None], self._pixels.sky[:, None]),
            "power": lambda rows: apart(drawn.power[rows], self._pixels.power),
        }
        return self._with_errors(functions, len(asked))

    def _with_errors(self, functions: dict[str, Callable[[np.ndarray], float]], n: int) -> dict[str, Figure]:
        rng = np.random.default_rng(self.rng)
        resamples = [rng.integers(n, size=n) for _ in range(self.n_bootstrap)]
        found: dict[str, Figure] = {}
        for name, function in functions.items():
            error = np.std([function(rows) for rows in resamples], ddof=1)
            found[name] = Figure(function(np.arange(n)), float(error))
        return found

    def _standard(self, described: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip((described - self._centre) / self._scale, -_FURTHEST, _FURTHEST), dtype=np.float64)

    def _embed(self, described: np.ndarray) -> np.ndarray:
        """Places in the whitened space, (n, components)."""
        return np.asarray((self._standard(described) - self._origin) @ self._axes)


class _Pixels:
    """What photometry and texture say of each image."""

    def __init__(self, images: np.ndarray) -> None:
        measured = photometry(images)
        self.flux, self.background = measured["flux"], measured["background"]
        self.sky = measured["sky_rms"]
        frequency, power = radial_power(images)
        self.power = power[:, frequency <= HALF_NYQUIST]


def choose_rows(fractions: np.ndarray, n: int, *, rng: np.random.Generator | int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to draw for and others to compare with, both with more rare galaxies than there are.

    A row is chosen with a probability that goes with (N / m) ** 0.5, m rows having its rarest answer, at most 8 times
    as often as a common one; half of all rows, or 2 n, are kept, and of these n by lot are drawn for. So both groups
    are samples of one distribution, and a perfect generator would be at the ceiling.

    Parameters
    ----------
    fractions : ndarray, shape (N, 37)
        Conditional vote fractions, NaN where not asked.
    n : int
        Rows to draw for; at most N / 2.
    rng : Generator or int

    Returns
    -------
    drawn : ndarray, shape (n,), int
    compared : ndarray, shape (max(N // 2, 2 n) - n,), int

    Raises
    ------
    ConditionError
        If `n` is below 2 or above N / 2.
    """
    total = len(fractions)
    if not 2 <= n <= total // 2:
        raise ConditionError(f"n = {n} rows to draw for, of {total}; give 2 to {total // 2}, half are compared with")
    rng = np.random.default_rng(rng)
    # the n largest of log p + Gumbel noise are a choice without replacement with probabilities p
    keys = np.log(_rarity(fractions)) + rng.gumbel(size=total)
    pool = rng.permutation(np.argsort(-keys, kind="stable")[: max(total // 2, 2 * n)])
    return pool[:n], pool[n:]


def _rarity(fractions: np.ndarray) -> np.ndarray:
    rows = [{words for words, _ in row} for row in tags_from_fractions(fractions, minimum=0.5)]
    counts: dict[str, int] = {}
    for row in rows:
        for words in row:
            counts[words] = counts.get(words, 0) + 1
    rarest = np.array([max((len(rows) / counts[words] for words in row), default=1.0) for row in rows])
    return np.asarray(np.minimum(rarest**0.5, _LARGEST))


def consistency(asked: np.ndarray, read: np.ndarray, means: np.ndarray) -> float:
    """Correlation of fractions asked for and read, the mean over questions; see the module's docstring.

    Parameters
    ----------
    asked, read : ndarray, shape (n, 37)
        NaN in `asked` where nothing was asked.
    means : ndarray, shape (37,)
        Mean fraction of each answer among real galaxies.

    Returns
    -------
    float
        In [-1, 1]; NaN if no question is answered by 8 rows that differ from the mean.
    """
    sampled = _sampled(asked)
    return _consistency(asked - means, read - means, sampled, _questions(asked - means, sampled))


def _consistency(a: np.ndarray, b: np.ndarray, sampled: np.ndarray, questions: list[list[int]]) -> float:
    found = []
    for columns in questions:
        known = sampled[:, columns]
        x, y = a[:, columns][known], b[:, columns][known]
        size = np.sqrt((x @ x) * (y @ y))
        found.append(float(x @ y / size) if size > 0 else 0.0)
    return float(np.mean(found)) if found else float("nan")


def _questions(a: np.ndarray, sampled: np.ndarray) -> list[list[int]]:
    """Columns of the questions that enough rows were asked, and not all for the mean."""
    asked = (columns for columns in _QUESTIONS if sampled[:, columns].any(axis=1).sum() >= _FEWEST)
    return [columns for columns in asked if (np.abs(a[:, columns])[sampled[:, columns]] > _SAME).any()]


def _sampled(fractions: np.ndarray) -> np.ndarray:
    """Answers that are known and whose question enough volunteers saw, (n, 37)."""
    known: np.ndarray = np.isfinite(fractions)
    for question, columns in zip(QUESTIONS, _QUESTIONS, strict=True):
        known[:, columns] &= well_sampled(fractions, question)[:, None]
    return np.asarray(known)


def _answer_means(fractions: np.ndarray) -> np.ndarray:
    """Mean of each answer's well-sampled fractions; an equal share where there are none."""
    share = np.array([1 / len(QUESTION_OF[key].answers) for key in INDEX])
    known = _sampled(fractions)
    count = known.sum(axis=0)
    return np.asarray(np.where(count > 0, np.where(known, fractions, 0).sum(axis=0) / np.maximum(count, 1), share))
