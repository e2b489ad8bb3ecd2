r"""Do images show what was asked for? A reader of votes looks at them; agreement with errors comes out.

With :math:`n_a` images that were asked for answer a (a fraction of at least 0.5 in a well-sampled question, Willett et
al. 2013, or a tag of the prompt) and :math:`k_a` of them in which the reader finds it
(`astro_galaxysd.evaluation.votes.answers_found`),

- consistency of a :math:`k_a / n_a`, and over all the mean over answers with at least 8 such images (agreement with
  the condition as Astolfi et al. 2024 ask for it; by answers of the tree it is ours),
- share_read of a: mean over these images of the share of volunteers who would give the answer, the product of the
  fractions read on the way to it. It says more than consistency where an answer is seldom anybody's first choice, such
  as a ring; over all as consistency,
- chance: the same mean, of the shares of *all* images in which each answer is found. It is what images score that
  ignore their prompts, or whose prompts were shuffled: a baseline for consistency, neither better high nor low
  (`higher_is_better` is that of consistency),
- vote_rmse: root mean square of fractions read less fractions asked for,
- calibration_error: :math:`\sum_b (n_b / n) |\overline{read}_b - \overline{asked}_b|` over ten bins b of the fraction
  asked for (Naeini et al. 2015, with fractions in place of confidences).

Real images with their own votes go through the same functions: that is the ceiling, which the reader's own errors
and the volunteers' keep below 1. The reader must have seen neither a synthetic image nor a row that is evaluated.

Votes ask for all answers of a question, a prompt only for those it names, and these are the harder ones to read: of
rows that are compared with prompts (`told_alike`) only those fractions count that a weighted prompt of their votes
would name. Tags without a weight ask for no fraction; then vote_rmse and calibration_error are NaN.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.conditions.requests import (
    Requests,
    answers_asked,
    known_fractions,
    named_fractions,
    read_requests,
    told_by_prompts,
)
from astro_galaxysd.conditions.tree import ANSWERS, INDEX
from astro_galaxysd.evaluation.calibration import bin_of, calibration_error
from astro_galaxysd.evaluation.distributions import check_resamples
from astro_galaxysd.evaluation.reader import reached
from astro_galaxysd.evaluation.scores import Score, bootstrap, not_computed, score_table, share_error
from astro_galaxysd.evaluation.votes import Reader, answers_found, read_votes

if TYPE_CHECKING:
    from collections.abc import Callable

    from astropy.table import Table

    from astro_galaxysd.plugins.protocols import Embedder
    from astro_galaxysd.records import ImageBatch

__all__ = ["FEWEST_ASKED", "ConsistencyEvaluator", "Reader", "fractions_asked", "told_alike"]

#: Images that must be asked for an answer before its share is stated.
FEWEST_ASKED = 8
_TOO_FEW_ASKED = f"no answer is asked for by {FEWEST_ASKED} images or more"
#: Keys of a batch's meta: the answers over which consistency is a mean, and those whose fractions are compared.
_ANSWERS, _FRACTIONS = "consistency_answers", "consistency_fractions"
#: True: only what weighted prompts name is compared.
_NAMED = "consistency_by_prompts"
_NOTHING_ASKED = "nothing is known of what the images were asked for"


def told_alike(*batches: ImageBatch) -> tuple[ImageBatch, ...]:
    """Make figures of several batches means over the same answers, and of fractions told in the same way.

    Rows that ask for the same in the main differ in the rest: a mean over other answers would be no ceiling. Where some
    rows are told by prompts alone, the votes of all others count as far as a weighted prompt would name them.

    Parameters
    ----------
    *batches : ImageBatch

    Returns
    -------
    tuple of ImageBatch
        With the answers that at least 8 images of every batch ask for, or give fractions of, in their meta, and
        whether fractions are told by prompts.
    """
    requests = [read_requests(batch.conditions) for batch in batches]
    asked = np.min([answers_asked(one).sum(axis=0) for one in requests], axis=0) >= FEWEST_ASKED
    named = any(told_by_prompts(one).any() for one in requests)
    known = np.min([_compared(one, named).sum(axis=0) for one in requests], axis=0) >= FEWEST_ASKED
    keys = np.array([answer.key for answer in ANSWERS])
    told = {_ANSWERS: keys[asked].tolist(), _FRACTIONS: keys[known].tolist(), _NAMED: named}
    return tuple(dataclasses.replace(batch, meta=batch.meta | told) for batch in batches)


def fractions_asked(batch: ImageBatch) -> np.ndarray:
    """Fractions that what is read in the images is compared with.

    Parameters
    ----------
    batch : ImageBatch
        As `ConsistencyEvaluator.evaluate` takes it; of one from `told_alike` those that all batches tell.

    Returns
    -------
    ndarray, shape (N, 37), float64
        NaN where no fraction was asked for.

    Raises
    ------
    ConditionError
        If conditions can't be read.
    """
    requests = read_requests(batch.conditions)
    named = batch.meta.get(_NAMED, bool(told_by_prompts(requests).any()))
    return np.where(_compared(requests, named) & _columns(batch, _FRACTIONS), requests.votes, np.nan)


def _compared(requests: Requests, named: bool) -> np.ndarray:
    known = known_fractions(requests)
    return known & named_fractions(requests) if named else known


def _columns(batch: ImageBatch, name: str) -> np.ndarray:
    """Answers that enter, by the batch's meta; all where it says nothing."""
    keys = batch.meta.get(name, INDEX)
    return np.array([answer.key in keys for answer in ANSWERS])


class ConsistencyEvaluator:
    """Agreement of what a reader finds in images with what they were asked for.

    Parameters
    ----------
    reader : Reader, optional
        By default the reader that ships for reports, ``ImageReader.load("reporting")``, when it is first needed.
    n_bootstrap : int
        Resamples for the errors, at least 2.

    Attributes
    ----------
    reader : Reader or None
        May be set.
    """

    def __init__(self, reader: Reader | None = None, *, n_bootstrap: int = 100) -> None:
        self.reader: Any = reader
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
        """Judge images by what they were asked for.

        Parameters
        ----------
        real : ImageBatch
            Not looked at: the ceiling comes from real images in the place of `synthetic`.
        synthetic : ImageBatch
            What was asked for stands in its conditions: ``votes``, vote columns or ``prompt``, see `read_requests`.
        reference : ImageBatch, optional
            Not used.
        embedder : Embedder, optional
            A `Memory` keeps what the reader saw.
        rng : Generator or int, optional
            For the bootstrap (SPEC 7).

        Returns
        -------
        Table
            ``consistency`` and ``share_read`` (group ``"all"`` and one of each answer asked for), ``chance``,
            ``vote_rmse``, ``calibration_error``. NaN with a note where nothing or too little was asked for.
            `n_synthetic` counts the images asked.

        Raises
        ------
        ConditionError
            If conditions can't be read, or `n_bootstrap` is below 2.
        WeightsError
            If the reader can't be loaded or does not give fractions.
        """
        check_resamples(self.n_bootstrap)
        requests = read_requests(synthetic.conditions)
        asked, known = answers_asked(requests), known_fractions(requests)
        if not known.any():
            return score_table(_nothing(len(real), len(synthetic)))
        if self.reader is None:
            from astro_galaxysd.evaluation.reading import ImageReader

            self.reader = ImageReader.load("reporting")
        read = read_votes(self.reader, synthetic.images, embedder)
        generator, wanted = np.random.default_rng(rng), _columns(synthetic, _ANSWERS)
        rows = self._agreement(asked, answers_found(read), wanted, len(real), generator)
        rows += self._shares(asked, reached(read) * read, wanted, len(real), generator)
        rows += self._calibration(fractions_asked(synthetic), read, len(real), generator)
        return score_table(rows)

    def _agreement(
        self, asked: np.ndarray, found: np.ndarray, wanted: np.ndarray, n_real: int, rng: np.random.Generator
    ) -> list[Score]:
        count = asked.sum(axis=0)
        many = wanted & (count >= FEWEST_ASKED)
        n = int(asked[:, many].any(axis=1).sum())
        rows = [_share(answer.key, asked[:, i], found[:, i], n_real) for i, answer in enumerate(ANSWERS) if count[i]]
        if not many.any():
            names = ("consistency", "chance")
            return [*(not_computed(name, "all", _TOO_FEW_ASKED, n_real, n, True) for name in names), *rows]
        a, f = asked[:, many], found[:, many]
        overall = self._row("consistency", lambda r: _macro(a[r], f[r]), len(a), n_real, n, rng, better=True)
        if overall.error == 0:  # all or none fit: resamples don't know that n images are not infinitely many
            overall = overall._replace(error=share_error(round(overall.value * n), n))
        if bool((a == a[0]).all()):
            note = "all images are asked for the same, so that ignoring the prompt can't be told from following it"
            chance = not_computed("chance", "all", note, n_real, n, True)
        else:
            chance = self._row("chance", lambda r: float(f[r].mean()), len(a), n_real, n, rng, better=True)
        return [overall, chance, *rows]

    def _shares(
        self, asked: np.ndarray, shares: np.ndarray, wanted: np.ndarray, n_real: int, rng: np.random.Generator
    ) -> list[Score]:
        count = asked.sum(axis=0)
        many = np.flatnonzero(wanted & (count >= FEWEST_ASKED))
        n = int(asked[:, many].any(axis=1).sum())
        if not len(many):
            return [not_computed("share_read", "all", _TOO_FEW_ASKED, n_real, n, True)]

        def overall(rows: np.ndarray) -> float:
            told = np.where(asked[rows][:, many], shares[rows][:, many], np.nan)
            return float(np.nanmean(np.nanmean(told[:, ~np.isnan(told).all(axis=0)], axis=0)))

        found = [self._row("share_read", overall, len(asked), n_real, n, rng, better=True)]
        for i in np.flatnonzero(count >= FEWEST_ASKED):
            told = shares[asked[:, i], i]
            error = float(told.std(ddof=1) / np.sqrt(len(told)))
            found.append(Score("share_read", ANSWERS[i].key, float(told.mean()), error, n_real, len(told), True))
        return found

    def _calibration(self, asked: np.ndarray, read: np.ndarray, n_real: int, rng: np.random.Generator) -> list[Score]:
        n = int(np.isfinite(asked).any(axis=1).sum())
        if n < FEWEST_ASKED:
            note = f"{n} images have fractions to compare with; at least {FEWEST_ASKED} are needed"
            note += " (a tag without a weight asks for none)"
            names = ("vote_rmse", "calibration_error")
            return [not_computed(name, "all", note, n_real, n, False) for name in names]
        squares = (asked - read) ** 2
        rows = [self._row("vote_rmse", lambda r: float(np.sqrt(np.nanmean(squares[r]))), len(asked), n_real, n, rng)]
        known = asked[np.isfinite(asked)]
        if len(np.unique(bin_of(known))) < 2:
            note = "all fractions asked for are alike (one prompt?); a calibration needs different ones"
            return [*rows, not_computed("calibration_error", "all", note, n_real, n, False)]
        error = self._row(
            "calibration_error", lambda r: calibration_error(asked[r], read[r]), len(asked), n_real, n, rng
        )
        return [*rows, error]

    def _row(
        self,
        metric: str,
        function: Callable[[np.ndarray], float],
        images: int,
        n_real: int,
        n: int,
        rng: np.random.Generator,
        better: bool = False,
    ) -> Score:
        error = bootstrap(function, images, rng, self.n_bootstrap)
        return Score(metric, "all", function(np.arange(images)), error, n_real, n, better)


def _macro(asked: np.ndarray, found: np.ndarray) -> float:
    """Mean over answers of the share of asked images in which it is found; answers nobody is asked for stay out."""
    count = asked.sum(axis=0)
    some = count > 0
    return float(((asked & found).sum(axis=0)[some] / count[some]).mean()) if some.any() else float("nan")


def _share(key: str, asked: np.ndarray, found: np.ndarray, n_real: int) -> Score:
    """Consistency of one answer."""
    n, hits = int(asked.sum()), int((asked & found).sum())
    if n < FEWEST_ASKED:
        note = f"{n} image{'s' if n > 1 else ''} asked for it; at least {FEWEST_ASKED} are needed"
        return not_computed("consistency", key, note, n_real, n, True)
    return Score("consistency", key, hits / n, share_error(hits, n), n_real, n, True)


def _nothing(n_real: int, n_synthetic: int) -> list[Score]:
    better = {"consistency": True, "share_read": True, "chance": True, "vote_rmse": False, "calibration_error": False}
    return [not_computed(name, "all", _NOTHING_ASKED, n_real, n_synthetic, up) for name, up in better.items()]
