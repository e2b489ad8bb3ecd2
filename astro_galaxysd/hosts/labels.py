"""Labels of a table's rows as the whole numbers that networks learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.conditions.columns import texts
from astro_galaxysd.conditions.selection import Selection
from astro_galaxysd.conditions.table import choose_dialect
from astro_galaxysd.conditions.targets import find_answer
from astro_galaxysd.errors import ConditionError, UnknownNameError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["read_labels"]

#: Values that a message names.
_NAMED = 5


def read_labels(table: Table, label: str, *, classes: Sequence[str] = (), threshold: float = 0.5) -> np.ndarray:
    """Labels of a table's rows as whole numbers.

    Parameters
    ----------
    table : Table
    label : str
        A column of booleans, whole numbers or texts, or else an answer of the Galaxy Zoo 2 tree, by key or by words
        (``"merger"``): 1 where a row has it by its votes, 0 elsewhere.
    classes : sequence of str
        For a column of texts: the texts in the order in which they are numbered, from 0.
    threshold : float
        Least vote fraction of the answer, in (0, 1].

    Returns
    -------
    ndarray, shape (N,), int64

    Raises
    ------
    UnknownNameError
        If `label` is neither a column nor an answer.
    ConditionError
        If a row has no label, a text is not among `classes`, or the column holds something else.

    Examples
    --------
    >>> from astropy.table import Table
    >>> read_labels(Table({"kind": ["E", "S", "E"]}), "kind", classes=["E", "S"])
    array([0, 1, 0])
    """
    if label in table.colnames:
        return _column_labels(table, label, list(classes))
    answer = find_answer(label)
    if answer is None:
        raise UnknownNameError("label", label, table.colnames, "It may also be an answer of the tree, like 'merger'.")
    fractions = choose_dialect(table).read(table)
    return Selection(threshold).has(fractions, answer).astype(np.int64)


def _column_labels(table: Table, label: str, classes: list[str]) -> np.ndarray:
    values = texts(table[label])
    without = [row for row, value in enumerate(values) if value is None]
    if without:
        shown = ", ".join(map(str, without[:_NAMED])) + (", ..." if len(without) > _NAMED else "")
        raise ConditionError(f"{len(without)} row(s) without a label in column {label!r} ({shown}); fill it in")
    data = np.asarray(getattr(table[label], "unmasked", table[label]))
    if data.dtype.kind in "biu" and not classes:
        return data.astype(np.int64)
    known = {name: number for number, name in enumerate(classes)}
    other = sorted({str(value) for value in values if value not in known})
    if other:
        raise ConditionError(
            f"column {label!r} holds {', '.join(map(repr, other[:_NAMED]))}, not among classes={classes}; list all of "
            "its texts in the order in which they are numbered"
        )
    return np.array([known[str(value)] for value in values], dtype=np.int64)
