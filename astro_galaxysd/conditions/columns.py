"""Single columns of a table: numbers, texts, ids, prompts and the mark of synthetic rows, masked ones told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.conditions.prompts import parse_prompt
from astro_galaxysd.conditions.seeds import id_text, refuse_duplicates
from astro_galaxysd.errors import ConditionError, UnknownNameError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = [
    "ID_COLUMNS",
    "PROMPT",
    "SYNTHETIC",
    "SYNTHETIC_ID",
    "column_values",
    "find_id_column",
    "is_synthetic",
    "prompt_column",
    "read_ids",
    "row_names",
    "texts",
]

PROMPT = "prompt"
SYNTHETIC = "synthetic"
#: Ids of synthetic rows where the table's own id column can't hold them.
SYNTHETIC_ID = "galaxysd_id"
#: Id columns that are recognised without being named, in any case of letters.
ID_COLUMNS = ("id", "galaxy_id", "galaxyid", "object_id", "objid", "dr7objid")


def column_values(table: Table, name: str) -> np.ndarray:
    """One numeric column as float64, NaN where it is masked, NaN or None.

    Parameters
    ----------
    table : Table
    name : str

    Returns
    -------
    ndarray, shape (N,), float64

    Raises
    ------
    ConditionError
        If the column is not one number a row.
    """
    column = table[name]
    mask = np.asarray(getattr(column, "mask", False))
    data = np.asarray(getattr(column, "unmasked", column))
    try:
        values = np.array(data, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConditionError(
            f"vote column {name!r} has dtype {data.dtype} and is no column of numbers ({error}); convert it to float"
        ) from error
    if values.shape != (len(table),):
        raise ConditionError(f"vote column {name!r} has shape {values.shape}; it needs one number a row")
    values[np.broadcast_to(mask, values.shape)] = np.nan
    return values


def texts(column: object) -> list[str | None]:
    """A column's values as text; None where masked, None or NaN; bytes are decoded."""
    mask = np.broadcast_to(np.asarray(getattr(column, "mask", False)), len(column))  # type: ignore[arg-type]
    data = np.asarray(getattr(column, "unmasked", column)).tolist()
    return [None if hidden else _text(value) for value, hidden in zip(data, mask.tolist(), strict=True)]


def _text(value: object) -> str | None:
    if value is None or value != value:
        return None
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def is_synthetic(table: Table) -> np.ndarray:
    """Rows that were added by an augmentation: bool, shape (N,); False where the column is masked or absent."""
    if SYNTHETIC not in table.colnames:
        return np.zeros(len(table), dtype=bool)
    return np.array([value in ("True", "1", "1.0") for value in texts(table[SYNTHETIC])], dtype=bool)


def prompt_column(table: Table) -> list[str] | None:
    """The column ``prompt``, "" where it is masked or blank; None if no row has one.

    Raises
    ------
    PromptError
        If a prompt can't be parsed; names the row.
    """
    if PROMPT not in table.colnames:
        return None
    prompts = [(value or "").strip() for value in texts(table[PROMPT])]
    for row, prompt in enumerate(prompts):
        try:
            parse_prompt(prompt)
        except ConditionError as error:
            raise type(error)(f"row {row}: {error}") from error
    return prompts if any(prompts) else None


def find_id_column(table: Table, id_column: str | None = None) -> str | None:
    """The column of ids: `id_column`, else the first of `ID_COLUMNS` that the table has, else None.

    Raises
    ------
    UnknownNameError
        If the table has no column `id_column`.
    """
    if id_column is not None:
        if id_column not in table.colnames:
            raise UnknownNameError("id column", id_column, table.colnames)
        return id_column
    by_lower_case = {name.lower(): name for name in reversed(table.colnames)}
    return next((by_lower_case[name] for name in ID_COLUMNS if name in by_lower_case), None)


def read_ids(table: Table, id_column: str | None = None) -> list[str]:
    """Ids of the table's rows, of those that have one.

    Raises
    ------
    ConditionError
        If an id occurs twice.
    UnknownNameError
        If the table has no column `id_column`.
    """
    columns = [find_id_column(table, id_column), SYNTHETIC_ID if SYNTHETIC_ID in table.colnames else None]
    ids = [id_text(value) for name in dict.fromkeys(filter(None, columns)) for value in texts(table[name]) if value]
    refuse_duplicates(ids)
    return ids


def row_names(table: Table, id_column: str | None = None, first: int = 0) -> list[str]:
    """One name for every row: its id, the ``row_id`` of a plan, or the row's number where the table has no ids.

    Parameters
    ----------
    table : Table
    id_column : str, optional
        As `find_id_column`.
    first : int
        Number of the first row, of a piece of a table.

    Raises
    ------
    ConditionError
        If some rows have an id and others have none.
    UnknownNameError
        If the table has no column `id_column`.
    """
    plan = "row_id" if "row_id" in table.colnames else None
    columns = [find_id_column(table, id_column) or plan, SYNTHETIC_ID if SYNTHETIC_ID in table.colnames else None]
    known = [texts(table[name]) for name in columns if name]
    if not known:
        return [str(row) for row in range(first, first + len(table))]
    names = [next((value for value in values if value), "") for values in zip(*known, strict=True)]
    if not all(names):
        raise ConditionError(
            f"row {names.index('')} has no id in column {next(filter(None, columns))!r}, from which its seed follows; "
            "fill it in, name another id_column=, or remove the column"
        )
    return names
