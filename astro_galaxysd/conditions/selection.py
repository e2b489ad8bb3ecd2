"""The rows from which conditions are drawn, and the votes that make a row a member of a class.

By votes, a row has an answer if the question was reached by enough volunteers (Willett et al. 2013, table 3) and the
answer's fraction is at least the threshold. Synthetic rows and artifacts are never drawn from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.conditions.columns import SYNTHETIC, is_synthetic, prompt_column
from astro_galaxysd.conditions.composition import ARTIFACT
from astro_galaxysd.conditions.prompts import well_sampled
from astro_galaxysd.conditions.table import choose_dialect, describe, find_dialects
from astro_galaxysd.conditions.tree import INDEX, QUESTION_OF, Answer, Question
from astro_galaxysd.errors import ConditionError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Population", "Selection", "read_population"]


@dataclass(frozen=True)
class Selection:
    """How votes make a row a member of a class.

    Parameters
    ----------
    threshold : float
        Least fraction of the answer, in (0, 1]; Galaxy Zoo papers use 0.5 to 0.8.
    cut : float, optional
        Looser cut for the answers that lead to the question, in [0, 1); by default those of Willett et al. 2013.
        Each published cut is lowered to it, none is raised.
    """

    threshold: float = 0.5
    cut: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ConditionError(f"threshold={self.threshold!r} is no vote fraction; use one above 0 and up to 1")
        if self.cut is not None and not 0 <= self.cut < 1:
            raise ConditionError(f"cut={self.cut!r} is no vote fraction; use one from 0 to below 1, or None")

    def sampled(self, fractions: np.ndarray, question: Question) -> np.ndarray:
        """Rows in which enough volunteers reached the question: bool, shape (N,)."""
        if self.cut is None:
            return well_sampled(fractions, question)
        good = np.ones(len(fractions), dtype=bool)
        while question.parent:
            good &= np.nan_to_num(fractions[:, INDEX[question.parent]]) > min(self.cut, question.cut)
            question = QUESTION_OF[question.parent]
        return good

    def has(self, fractions: np.ndarray, answer: Answer) -> np.ndarray:
        """Rows that have the answer: bool, shape (N,)."""
        enough = np.nan_to_num(fractions[:, INDEX[answer.key]]) >= self.threshold
        return np.asarray(enough & self.sampled(fractions, QUESTION_OF[answer.key]))


@dataclass(frozen=True)
class Population:
    """The rows from which conditions are drawn.

    Parameters
    ----------
    table : Table
    fractions : ndarray, shape (N, 37), float64, or None
        Conditional votes, NaN where not asked.
    prompts : list of str or None
        The column ``prompt``, where there are no votes; "" where a row has none.
    real : ndarray, shape (N,), bool
        Rows that are neither synthetic nor an artifact.
    source : str
        Where the conditions come from, for the run record.
    """

    table: Table
    fractions: np.ndarray | None
    prompts: list[str] | None
    real: np.ndarray
    source: str


def read_population(table: Table, *, schema: str | None = None) -> Population:
    """Votes of a table's rows, or their prompts where there are no vote columns.

    Raises
    ------
    ConditionError
        If the table has no rows, no real rows, or no column of the dialect `schema`.
    """
    real = ~is_synthetic(table)
    if not real.any():
        raise ConditionError(
            f"the table has no real rows: {len(table)} row(s), all with {SYNTHETIC!r} True"
            if len(table)
            else "the table has no rows; pass one with real galaxies"
        )
    if schema is None and not find_dialects(table):
        prompts = prompt_column(table)
        return Population(table, None, prompts, real, "prompt column" if prompts else "labels")
    dialect = choose_dialect(table, schema)
    fractions = dialect.read(table)
    galaxy = ~(np.nan_to_num(fractions[:, INDEX["artifact"]]) >= ARTIFACT)
    return Population(table, fractions, None, real & galaxy, describe(dialect, table))
