"""Dialects of vote columns: a table's columns in, conditional vote fractions out, and back again.

Every dialect reads to the same array: float64, shape (N, 37), in the order of `tree.ANSWERS`, conditional on the
question being asked, NaN where it was not. Masked and NaN votes mean 'not asked', and so does a question whose
answers are all 0: fractions of people who were asked add up to 1. The Kaggle dialect is cumulative, f = F / F_parent;
`gz2_hart16` (Hart et al. 2016), Zoobot and the ``tNN_*`` names are conditional.

New rows are written with NaN for counts, voter weights and flags: nobody voted on a synthetic galaxy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.conditions.columns import column_values
from astro_galaxysd.conditions.tree import ANSWERS, INDEX, QUESTION_OF, QUESTIONS, Question
from astro_galaxysd.errors import ConditionError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = [
    "HART16_PREFERENCE",
    "ConditionalDialect",
    "Hart16Dialect",
    "KaggleDialect",
    "ZoobotDialect",
    "reached",
]

#: Kinds of `gz2_hart16` columns from which fractions can be had, the first is taken where several are equally
#: complete. Weighted fractions say what volunteers saw in this very image; debiased ones say what they would have
#: seen were the galaxy nearer, and their sums are not 1, so that they come last.
HART16_PREFERENCE = ("_weighted_fraction", "_fraction", "_count", "_debiased")

_FRACTION_SUFFIXES = ("_weighted_fraction", "_fraction", "_debiased")
#: Published fractions are rounded to three digits: their sums reach 1.001.
_ROUNDING = 0.005


def _fractions(table: Table, names: dict[int, str]) -> np.ndarray:
    """Columns of fractions, checked to lie in [0, 1]; `names` maps an answer's index to its column."""
    fractions = np.full((len(table), len(ANSWERS)), np.nan)
    for index, name in names.items():
        values = column_values(table, name)
        bad = np.flatnonzero((values < -_ROUNDING) | (values > 1 + _ROUNDING))
        if len(bad):
            raise ConditionError(
                f"vote column {name!r}, row {bad[0]}: {values[bad[0]]:g} is not a fraction between 0 and 1; "
                "divide percentages by 100, or rename the column if it does not hold votes"
            )
        fractions[:, index] = np.clip(values, 0.0, 1.0)
    return fractions


def _counts(table: Table, names: dict[int, str]) -> np.ndarray:
    counts = np.full((len(table), len(ANSWERS)), np.nan)
    for index, name in names.items():
        values = column_values(table, name)
        bad = np.flatnonzero((values < 0) | np.isinf(values))
        if len(bad):
            raise ConditionError(f"vote column {name!r}, row {bad[0]}: {values[bad[0]]:g} is not a number of votes")
        counts[:, index] = values
    return counts


def _indices(question: Question) -> list[int]:
    return [INDEX[answer.key] for answer in question.answers]


def _not_asked(fractions: np.ndarray) -> np.ndarray:
    """Set questions whose answers are all 0 to NaN, in place."""
    for question in QUESTIONS:
        block = fractions[:, _indices(question)]
        # max of NaN is NaN: an incomplete question keeps its zeros, because the missing answer may hold all votes
        fractions[np.ix_(np.max(block, axis=1) == 0, _indices(question))] = np.nan
    return fractions


def _from_counts(counts: np.ndarray, totals: dict[int, np.ndarray] | None = None) -> np.ndarray:
    """Counts over the question's total, or over the sum of its answers where no total is given."""
    fractions = np.full_like(counts, np.nan)
    for question in QUESTIONS:
        indices = _indices(question)
        summed = np.nansum(counts[:, indices], axis=1)
        total = (totals or {}).get(question.task, summed)
        # a total below the sum of its own answers is no total of these votes
        total = np.where(np.isnan(total) | (total < summed), summed, total)
        with np.errstate(divide="ignore", invalid="ignore"):
            fractions[:, indices] = counts[:, indices] / total[:, None]
    return fractions


def reached(fractions: np.ndarray, question: Question) -> np.ndarray:
    """Fraction of all volunteers who were asked a question: the product of the answers that lead there.

    Parameters
    ----------
    fractions : ndarray, shape (N, 37)
        Conditional vote fractions in [0, 1], NaN where not asked.
    question : Question

    Returns
    -------
    ndarray, shape (N,), float64 in [0, 1]
        0 as soon as one factor is 0, even beside NaN.
    """
    share = np.ones(len(fractions))
    while question.parent:
        parent = fractions[:, INDEX[question.parent]]
        share = np.where((share == 0) | (parent == 0), 0.0, share * parent)
        question = QUESTION_OF[question.parent]
    return share


def _zero_where_unreached(fractions: np.ndarray) -> np.ndarray:
    """Copy with 0 instead of NaN where an ancestor's fraction is 0, as catalogues that know no NaN write it."""
    filled = fractions.copy()
    for question in QUESTIONS:
        block = np.ix_(reached(fractions, question) == 0, _indices(question))
        filled[block] = np.nan_to_num(filled[block])
    return filled


class KaggleDialect:
    """``ClassT.A`` of the Galaxy Zoo challenge: cumulative, a child's values add up to its parent's."""

    name = "kaggle"

    def columns(self, names: Sequence[str]) -> list[str]:
        """Vote columns of this dialect among `names`."""
        return [answer.kaggle for answer in ANSWERS if answer.kaggle in set(names)]

    def read(self, table: Table) -> np.ndarray:
        """Conditional vote fractions, shape (N, 37), float64 in [0, 1]: each value divided by its parent's.

        Raises
        ------
        ConditionError
            If a column holds no numbers or a value outside [0, 1].
        """
        own = self.columns(table.colnames)
        cumulative = _fractions(table, {i: a.kaggle for i, a in enumerate(ANSWERS) if a.kaggle in own})
        conditional = cumulative.copy()
        for question in QUESTIONS:
            if question.parent:
                parent = cumulative[:, INDEX[question.parent], None]
                divisor = np.where(parent > 0, parent, np.nan)
                conditional[:, _indices(question)] /= divisor
        return _not_asked(np.clip(conditional, 0.0, 1.0))

    def write(self, fractions: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Cumulative values of the columns `names`; 0 below a parent of 0, NaN where not asked."""
        cumulative = _zero_where_unreached(fractions)
        for question in QUESTIONS:
            share = reached(fractions, question)[:, None]
            cumulative[:, _indices(question)] *= np.where(share == 0, 1.0, share)
        own = self.columns(names)
        return {a.kaggle: cumulative[:, i].copy() for i, a in enumerate(ANSWERS) if a.kaggle in own}

    def describe(self, table: Table) -> str:
        """What was read, for the run record."""
        return self.name


class ConditionalDialect:
    """Conditional fractions named ``t01_smooth`` ... ``t11_arms_cant_tell``, NaN where not asked."""

    name = "conditional"

    def columns(self, names: Sequence[str]) -> list[str]:
        """Vote columns of this dialect among `names`."""
        return [answer.conditional for answer in ANSWERS if answer.conditional in set(names)]

    def read(self, table: Table) -> np.ndarray:
        """Conditional vote fractions, shape (N, 37), float64 in [0, 1].

        Raises
        ------
        ConditionError
            If a column holds no numbers or a value outside [0, 1].
        """
        own = self.columns(table.colnames)
        return _not_asked(_fractions(table, {i: a.conditional for i, a in enumerate(ANSWERS) if a.conditional in own}))

    def write(self, fractions: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Values of the columns `names`; NaN where not asked."""
        own = self.columns(names)
        return {a.conditional: fractions[:, i].copy() for i, a in enumerate(ANSWERS) if a.conditional in own}

    def describe(self, table: Table) -> str:
        """What was read, for the run record."""
        return self.name


class Hart16Dialect:
    """`gz2_hart16`: a stem and one of ``_count _weight _fraction _weighted_fraction _debiased _flag``.

    Parameters
    ----------
    preference : sequence of str
        Suffixes to read from. The one with most finite votes is taken; the first of equals.
    """

    name = "hart16"
    suffixes = ("_count", "_weight", "_fraction", "_weighted_fraction", "_debiased", "_flag")

    def __init__(self, preference: Sequence[str] = HART16_PREFERENCE) -> None:
        unknown = set(preference) - {*_FRACTION_SUFFIXES, "_count"}
        if unknown or not preference:
            raise ConditionError(
                f"preference {tuple(preference)!r}: votes can be read from {', '.join(HART16_PREFERENCE)} only"
            )
        self.preference = tuple(preference)

    def columns(self, names: Sequence[str]) -> list[str]:
        """Vote columns of this dialect among `names`, all suffixes."""
        present = set(names)
        return [a.hart16 + suffix for a in ANSWERS for suffix in self.suffixes if a.hart16 + suffix in present]

    def read(self, table: Table) -> np.ndarray:
        """Conditional vote fractions, shape (N, 37), float64 in [0, 1], from the most usable suffix.

        Raises
        ------
        ConditionError
            If a column holds no numbers, a fraction outside [0, 1] or a negative count.
        """
        return self._read_best(table)[1]

    def readings(self, names: Sequence[str]) -> list[Hart16Dialect]:
        """Dialects of one suffix each, in the order of preference, of which `read` takes one by the rows it sees."""
        present = set(names)
        found = [suffix for suffix in self.preference if any(a.hart16 + suffix in present for a in ANSWERS)]
        return [Hart16Dialect((suffix,)) for suffix in found] or [self]

    def describe(self, table: Table) -> str:
        """What was read, for the run record: ``"hart16 _weighted_fraction"``."""
        return f"{self.name} {self._read_best(table)[0]}"

    def _read_best(self, table: Table) -> tuple[str, np.ndarray]:
        readings = [(suffix, self._read_suffix(table, suffix)) for suffix in self.preference]
        return max(readings, key=lambda reading: int(np.isfinite(reading[1]).sum()))

    def _read_suffix(self, table: Table, suffix: str) -> np.ndarray:
        names = {i: a.hart16 + suffix for i, a in enumerate(ANSWERS) if a.hart16 + suffix in table.colnames}
        if suffix == "_count":
            return _not_asked(_from_counts(_counts(table, names)))
        return _not_asked(_fractions(table, names))

    def write(self, fractions: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Values of the columns `names`: the condition in every column of fractions, NaN in all others.

        A synthetic galaxy has no redshift that could be corrected for, so its debiased fraction is its fraction.
        """
        filled, present = _zero_where_unreached(fractions), set(names)
        values = {name: np.full(len(fractions), np.nan) for name in self.columns(names)}
        for suffix in _FRACTION_SUFFIXES:
            values.update({a.hart16 + suffix: filled[:, i].copy() for i, a in enumerate(ANSWERS)})
        return {name: column for name, column in values.items() if name in present}


class ZoobotDialect:
    """Zoobot and Hugging Face names: counts ``q-gz2_a``, or ``q-gz2_a_fraction`` with ``q-gz2_total-votes``."""

    name = "zoobot"

    def columns(self, names: Sequence[str]) -> list[str]:
        """Vote columns of this dialect among `names`: counts, fractions and totals."""
        present, stems = set(names), [a.zoobot for a in ANSWERS if a.zoobot]
        totals = dict.fromkeys(_total_votes(stem) for stem in stems)
        own = [*stems, *(stem + "_fraction" for stem in stems), *totals]
        return [name for name in own if name in present]

    def read(self, table: Table) -> np.ndarray:
        """Conditional vote fractions, shape (N, 37), float64 in [0, 1]: given fractions, else counts over totals.

        Raises
        ------
        ConditionError
            If a column holds no numbers, a fraction outside [0, 1] or a negative count.
        """
        present, stems = set(table.colnames), {i: a.zoobot for i, a in enumerate(ANSWERS) if a.zoobot}
        given = _fractions(table, {i: s + "_fraction" for i, s in stems.items() if s + "_fraction" in present})
        counts = _counts(table, {i: s for i, s in stems.items() if s in present})
        totals = {}
        for question in QUESTIONS:
            total = _total_votes(question.answers[0].zoobot)
            if total in present:
                totals[question.task] = column_values(table, total)
        return _not_asked(np.where(np.isnan(given), _from_counts(counts, totals), given))

    def write(self, fractions: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Values of the columns `names`: fractions as asked for, counts and totals NaN."""
        values = {name: np.full(len(fractions), np.nan) for name in self.columns(names)}
        for index, answer in enumerate(ANSWERS):
            if answer.zoobot and answer.zoobot + "_fraction" in values:
                values[answer.zoobot + "_fraction"] = fractions[:, index].copy()
        return values

    def describe(self, table: Table) -> str:
        """What was read, for the run record: ``"zoobot fractions"`` or ``"zoobot counts"``."""
        kind = "fractions" if any(n.endswith("_fraction") for n in self.columns(table.colnames)) else "counts"
        return f"{self.name} {kind}"


def _total_votes(stem: str) -> str:
    """Column of a question's total: ``bar-gz2_yes`` -> ``bar-gz2_total-votes``."""
    return stem.partition("-gz2_")[0] + "-gz2_total-votes" if stem else ""
