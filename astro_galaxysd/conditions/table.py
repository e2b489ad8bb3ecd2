"""What the rows of a table say: votes, prompts or labels in, conditions out.

Conditions come from vote columns of any known dialect, from a column ``prompt``, or from a label column with a mapping
label -> prompt. Where a table has several dialects, the caller's `schema` wins, else the most complete.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.conditions.columns import PROMPT, prompt_column, texts
from astro_galaxysd.conditions.prompts import parse_prompt, prompts_from_fractions
from astro_galaxysd.conditions.schemas import ConditionalDialect, Hart16Dialect, KaggleDialect, ZoobotDialect
from astro_galaxysd.conditions.tree import ANSWERS, INDEX, QUESTIONS
from astro_galaxysd.errors import ConditionError, GalaxySDError, PluginWarning, UnknownNameError
from astro_galaxysd.plugins.manager import get_registry

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.plugins.protocols import VoteDialect

__all__ = [
    "VOTES",
    "Conditions",
    "DialectChoice",
    "choose_dialect",
    "completeness",
    "describe",
    "find_dialects",
    "known_dialects",
    "no_conditions",
    "read_conditions",
]

#: Conditional fractions of planned rows, shape (N, 37).
VOTES = "votes"

_BUILT_IN = {d.name: d for d in (KaggleDialect, Hart16Dialect, ZoobotDialect, ConditionalDialect)}


@dataclass(frozen=True)
class Conditions:
    """What is known of the rows of a table.

    Parameters
    ----------
    fractions : ndarray, shape (N, 37), float64, or None
        Conditional vote fractions, NaN where not asked; None where the table has no votes.
    prompts : list of str, length N
        Braces carry weights.
    source : str
        Where they came from, for the run record: ``"kaggle"``, ``"hart16 _weighted_fraction"``, ``"prompt column"``.
    dialect : VoteDialect or None
        What read the votes.
    """

    fractions: np.ndarray | None
    prompts: list[str]
    source: str
    dialect: VoteDialect | None = None


def known_dialects() -> dict[str, VoteDialect]:
    """Every dialect by name: the built-in ones, then those of plug-ins; one that fails is left out with a warning."""
    dialects: dict[str, VoteDialect] = {name: dialect() for name, dialect in _BUILT_IN.items()}
    registry = get_registry()
    for name in registry.records_of("schema"):
        if name not in dialects:
            try:
                dialects[name] = registry.create("schema", name)
            except GalaxySDError as error:
                warnings.warn(f"schema {name!r} was left out: {error}", PluginWarning, stacklevel=3)
    return dialects


def _dialect_named(name: str) -> VoteDialect:
    try:
        dialect: VoteDialect = get_registry().create("schema", name)
    except UnknownNameError as error:
        # The built-in ones also work where the package was not installed, and so has no entry points.
        if name not in _BUILT_IN:
            raise UnknownNameError("schema", name, known_dialects()) from error
        dialect = _BUILT_IN[name]()
    return dialect


def find_dialects(table: Table) -> list[VoteDialect]:
    """Dialects of which the table has at least one column."""
    return [dialect for dialect in known_dialects().values() if dialect.columns(table.colnames)]


def completeness(fractions: np.ndarray) -> int:
    """Number of questions with a vote, summed over the rows of `fractions`, shape (N, 37)."""
    answered = (np.isfinite(fractions[:, [INDEX[a.key] for a in question.answers]]) for question in QUESTIONS)
    return sum(int(np.any(question, axis=1).sum()) for question in answered)


def choose_dialect(table: Table, schema: str | None = None) -> VoteDialect:
    """The dialect from which a table's votes are read.

    Parameters
    ----------
    table : Table
    schema : str, optional
        Name of a dialect. By default the one in which most questions of most rows are answered; of equals the first
        of kaggle, hart16, zoobot, conditional, plug-ins.

    Returns
    -------
    VoteDialect

    Raises
    ------
    UnknownNameError
        If no dialect is called `schema`.
    ConditionError
        If the table has no vote columns, or none of `schema`.
    """
    if schema is not None:
        dialect = _dialect_named(schema)
        if not dialect.columns(table.colnames):
            raise no_conditions(table, [schema])
        return dialect
    found = find_dialects(table)
    if not found:
        raise no_conditions(table)
    return found[0] if len(found) == 1 else max(found, key=lambda dialect: completeness(dialect.read(table)))


class DialectChoice:
    """The dialect that `choose_dialect` takes for a table, found piece by piece; it reads pieces as it would the whole.

    Parameters
    ----------
    first : Table
        With the columns of the whole table, and any rows.
    schema : str, optional
        As `choose_dialect`.

    Raises
    ------
    UnknownNameError
        If no dialect is called `schema`.
    """

    def __init__(self, first: Table, schema: str | None = None) -> None:
        if schema is not None:
            found = [_dialect_named(schema)]
        else:
            found = [] if _planned_votes(first) is not None else find_dialects(first)
        names = first.colnames
        #: Vote columns that decide.
        self.columns = [name for name in names if any(name in dialect.columns(names) for dialect in found)]
        readings = [_readings(dialect, names) for dialect in found if dialect.columns(names)]
        self._seen = [[(reading, np.zeros(2, dtype=int)) for reading in own] for own in readings]

    @property
    def is_open(self) -> bool:
        """Whether the rows decide."""
        return sum(map(len, self._seen)) > 1

    def look_at(self, piece: Table) -> None:
        """Count the votes of some rows.

        Raises
        ------
        ConditionError
            If a column holds no votes.
        """
        for reading, seen in (one for own in self._seen for one in own):
            fractions = reading.read(piece)
            seen += [np.isfinite(fractions).sum(), completeness(fractions)]

    @property
    def dialect(self) -> VoteDialect | None:
        """What was found; None where there are no votes."""
        best = [max(own, key=lambda one: int(one[1][0])) for own in self._seen]
        return max(best, key=lambda one: int(one[1][1]))[0] if best else None


def _readings(dialect: VoteDialect, names: Sequence[str]) -> Sequence[VoteDialect]:
    """What a dialect chooses from by the rows of a table; most have one way to read."""
    own = getattr(dialect, "readings", None)
    return own(names) if own else [dialect]


def describe(dialect: VoteDialect, table: Table) -> str:
    """What a dialect read from a table, for the run record."""
    own_words = getattr(dialect, "describe", None)
    return str(own_words(table)) if own_words else dialect.name


def no_conditions(table: Table, schemas: Sequence[str] | None = None) -> ConditionError:
    """The error for a table without vote columns: what was looked for, what is there, and the ways out."""
    examples = {
        "kaggle": f"{ANSWERS[0].kaggle} ... {ANSWERS[-1].kaggle}",
        "hart16": f"{ANSWERS[0].hart16}_fraction ...",
        "zoobot": f"{ANSWERS[0].zoobot} ...",
        "conditional": f"{ANSWERS[0].conditional} ...",
    }
    names = schemas or list(known_dialects())
    looked_for = "; ".join(f"{name} ({examples[name]})" if name in examples else name for name in names)
    columns = ", ".join(table.colnames[:8]) + (", ..." if len(table.colnames) > 8 else "")
    return ConditionError(
        f"no vote columns: looked for {looked_for}; the table has {columns or 'no columns'}. Rename its vote columns, "
        f"add a column {PROMPT!r} with one prompt a row, or pass label_column= and labels={{'label': 'prompt'}}"
    )


def read_conditions(
    table: Table,
    *,
    schema: str | None = None,
    labels: Mapping[str, str] | None = None,
    label_column: str | None = None,
    dialect: VoteDialect | None = None,
) -> Conditions:
    """Conditions of every row.

    A row's own prompt comes first unless `schema` or `labels` is given; rows without one take their votes.

    Parameters
    ----------
    table : Table
        With vote columns, a column ``prompt``, or a label column.
    schema : str, optional
        Dialect of the votes; see `choose_dialect`.
    labels : mapping of str to str, optional
        Label -> prompt.
    label_column : str, optional
        Where the labels are.
    dialect : VoteDialect, optional
        What reads the votes, of a piece of a table; from `DialectChoice`.

    Returns
    -------
    Conditions

    Raises
    ------
    ConditionError
        If there is nothing to read conditions from, or a row has none.
    UnknownNameError
        If a schema, column or label is not known.
    PromptError
        If a prompt can't be parsed.
    """
    if labels is not None or label_column is not None:
        return _from_labels(table, labels, label_column)
    prompts = prompt_column(table) if schema is None else None
    fractions, source, dialect = _votes(table, schema, dialect, optional=prompts is not None)
    written = list(prompts) if prompts else [""] * len(table)
    blank = [row for row, prompt in enumerate(written) if not prompt]
    if fractions is not None and blank:
        _refuse_empty(np.isfinite(fractions[blank]).any(axis=1), blank)
        for row, prompt in zip(blank, prompts_from_fractions(fractions[blank]), strict=True):
            written[row] = prompt
    elif blank:
        _refuse_empty(np.zeros(len(blank), dtype=bool), blank)
    return Conditions(fractions, written, "prompt column" if prompts else source, dialect)


def _votes(
    table: Table, schema: str | None, dialect: VoteDialect | None, *, optional: bool
) -> tuple[np.ndarray | None, str, VoteDialect | None]:
    """Fractions, their description and dialect; a plan's own votes come before vote columns."""
    planned = _planned_votes(table) if schema is None else None
    if planned is not None:
        return planned, VOTES, None
    if dialect is None and optional and not find_dialects(table):
        return None, "", None
    dialect = dialect or choose_dialect(table, schema)
    return dialect.read(table), describe(dialect, table), dialect


def _planned_votes(table: Table) -> np.ndarray | None:
    if VOTES not in table.colnames or np.shape(table[VOTES]) != (len(table), len(ANSWERS)):
        return None
    return np.asarray(np.ma.filled(np.ma.asarray(table[VOTES]), np.nan), dtype=np.float64)


def _refuse_empty(known: np.ndarray, rows: Sequence[int]) -> None:
    without = [row for row, good in zip(rows, known, strict=True) if not good]
    if without:
        shown = ", ".join(str(row) for row in without[:5]) + (", ..." if len(without) > 5 else "")
        raise ConditionError(
            f"{len(without)} row(s) without any vote or prompt ({shown}): nothing says what to draw; "
            f"fill the column {PROMPT!r} or leave these rows out"
        )


def _from_labels(table: Table, labels: Mapping[str, str] | None, label_column: str | None) -> Conditions:
    if labels is None or label_column is None:
        given, missing = ("labels", "label_column") if label_column is None else ("label_column", "labels")
        way_out = "pass label_column='...' and labels={'label': 'prompt'}"
        raise ConditionError(f"{given}= was given without {missing}=; {way_out}")
    if label_column not in table.colnames:
        raise UnknownNameError("label column", label_column, table.colnames)
    prompts = {str(label): prompt for label, prompt in labels.items()}
    for prompt in prompts.values():
        parse_prompt(prompt)
    values = texts(table[label_column])
    for row, value in enumerate(values):
        if value not in prompts:
            hint = f"It stands in column {label_column!r}, row {row}; add it to labels=."
            raise UnknownNameError("label", str(value), prompts, hint)
    return Conditions(None, [prompts[str(value)] for value in values], f"labels of column {label_column!r}")
