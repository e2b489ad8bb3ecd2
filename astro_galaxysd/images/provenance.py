"""Where a row comes from: provenance columns, the run record, header cards, and the way back to the real rows.

Every row of an augmented table has the columns `PROVENANCE_COLUMNS`; ``synthetic`` is False and the rest masked on
real rows. What holds for the whole run is a JSON-serialisable dict in ``table.meta[RUN_RECORD]``.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = [
    "GENERATOR",
    "PROMPT",
    "PROMPT_WEIGHTS",
    "PROVENANCE_COLUMNS",
    "RUN_RECORD",
    "SEED",
    "SYNTHETIC",
    "WEIGHTS",
    "WEIGHTS_REVISION",
    "drop_synthetic",
    "header_cards",
    "json_ready",
    "run_record",
    "software_versions",
    "table_layout",
]

SYNTHETIC = "synthetic"
PROMPT = "prompt"
PROMPT_WEIGHTS = "prompt_weights"
SEED = "seed"
GENERATOR = "generator"
WEIGHTS = "weights"
WEIGHTS_REVISION = "weights_revision"
#: Columns that augmentation adds to a table, in this order.
PROVENANCE_COLUMNS = (SYNTHETIC, PROMPT, PROMPT_WEIGHTS, SEED, GENERATOR, WEIGHTS, WEIGHTS_REVISION)
#: Key of the run record in ``table.meta``.
RUN_RECORD = "galaxysd_run"

_PACKAGES = (
    "astro_galaxysd", "numpy", "astropy", "pillow", "torch", "diffusers", "transformers", "photutils", "pyarrow",
)  # fmt: skip

#: FITS keyword, comment and source of each provenance card; column first, else parameter of the run record.
_CARDS = (
    ("PROMPT", PROMPT, "what the image was drawn for"),
    ("PRWEIGHT", PROMPT_WEIGHTS, "feature weights of the prompt (JSON)"),
    ("SEED", SEED, "random seed of this row"),
    ("GENERATR", GENERATOR, "generator"),
    ("WEIGHTS", WEIGHTS, "weights of the generator"),
    ("WREVIS", WEIGHTS_REVISION, "revision of the weights"),
    ("SCHEDULR", "scheduler", "noise scheduler"),
    ("SAMPLER", "sampler", "sampler"),
    ("STEPS", "steps", "sampling steps"),
    ("GUIDANCE", "guidance", "classifier-free guidance scale"),
)

#: What a generator without weights can't tell: its card is left out.
_MAY_LACK = (GENERATOR, WEIGHTS, WEIGHTS_REVISION)


def software_versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that shape the pixels; nothing is imported for it."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def run_record(**parameters: Any) -> dict[str, Any]:
    """Describe a run: time, versions, machine type and parameters.

    Parameters
    ----------
    **parameters
        Whatever was asked for or chosen; arrays, paths, quantities and the like are turned into JSON types.

    Returns
    -------
    dict
        Keys ``created`` (UTC, ISO 8601), ``versions``, ``machine``, ``parameters``; `json.dumps` takes it.

    Examples
    --------
    >>> run_record(target="merger", n=np.int64(3))["parameters"]
    {'target': 'merger', 'n': 3}
    """
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": software_versions(),
        "machine": f"{platform.system()} {platform.machine()}",
        "parameters": json_ready(parameters),
    }


def json_ready(value: Any) -> Any:
    """Turn `value` into JSON types; what has no JSON form becomes its text (NaN and infinity become None and text)."""
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_ready(item) for item in value]
    if type(value) is np.ndarray:
        return json_ready(value.tolist())
    return json_ready_scalar(value)


def json_ready_scalar(value: Any) -> Any:
    """JSON form of one value that is neither a mapping nor a sequence."""
    if isinstance(value, np.generic):
        return json_ready(value.item())
    if isinstance(value, float):
        if np.isfinite(value):
            return float(value)
        return None if np.isnan(value) else str(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="backslashreplace")
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return str(value)


def header_cards(row: Mapping[str, Any], record: Mapping[str, Any] | None = None) -> list[tuple[str, Any, str]]:
    """Provenance cards of one row.

    Parameters
    ----------
    row : mapping
        Column name to value; masked and missing values give no card.
    record : mapping, optional
        The run record; its parameters fill what the columns lack on a synthetic row.

    Returns
    -------
    list of (keyword, value, comment)
        First ``SYNTHET`` (bool). A text that FITS could not return exactly (non-ASCII, line breaks, spaces at the
        end) is given as JSON, in double quotes.
    """
    synthetic = bool(_plain(row.get(SYNTHETIC)) or False)
    cards: list[tuple[str, Any, str]] = [("SYNTHET", synthetic, "T: drawn by a model; F: observed")]
    parameters = (record or {}).get("parameters", {}) if synthetic else {}
    for keyword, source, comment in _CARDS:
        value = _plain(row.get(source, parameters.get(source)))
        if value is not None and not (value == "" and source in _MAY_LACK):
            cards.append(text_card(keyword, value, comment) if isinstance(value, str) else (keyword, value, comment))
    version = (record or {}).get("versions", {}).get("astro_galaxysd") if synthetic else None
    if version:
        cards.append(text_card("GSDVERS", str(version), "version of astro_galaxysd"))
    return cards


def card_columns() -> dict[str, str]:
    """Keyword to column name, for reading the cards back."""
    return {keyword: source for keyword, source, _ in _CARDS}


def card_text(text: str) -> str:
    """Text for a card: as it is where FITS keeps it exactly, else JSON in double quotes."""
    plain = text.isascii() and text.isprintable() and text == text.rstrip(" ") and text != ""
    # A '&' at the end means "continued"; a text in double quotes would be taken for JSON.
    if plain and not text.endswith("&") and not (text.startswith('"') and text.endswith('"')):
        return text
    return json.dumps(text)


def text_card(keyword: str, text: str, comment: str) -> tuple[str, str, str]:
    """Make a card of a text; the comment only where both fit into 80 characters (a longer text is continued)."""
    value = card_text(text)
    quoted = max(8, len(value) + value.count("'")) + 2
    return keyword, value, comment if len("KEYWORD = ") + quoted + len(" / ") + len(comment) <= 80 else ""


def text_of_card(text: str) -> str:
    """Undo `card_text`; quoted text of other writers that is no JSON stays as it is."""
    if len(text) > 1 and text.startswith('"') and text.endswith('"'):
        try:
            return str(json.loads(text))
        except ValueError:
            return text
    return text


def _plain(value: Any) -> Any:
    """Python value of a table cell that a card can hold; None for a masked cell, NaN or None."""
    if value is None or np.ma.is_masked(value) or getattr(value, "mask", False) is True:
        return None
    return json_ready_scalar(value)


def table_layout(table: Table) -> dict[str, Any]:
    """Describe what `drop_synthetic` needs to give the real rows back exactly: the run record's ``layout``.

    Parameters
    ----------
    table : Table
        The table before augmentation.

    Returns
    -------
    dict
        ``masked`` (bool, of the table) and ``columns``: name to dtype (str, empty for mixin columns) and masked.
    """
    return {
        "masked": bool(table.masked),
        "columns": {
            name: {"dtype": _dtype_text(table[name]), "masked": _is_masked(table[name])} for name in table.colnames
        },
    }


def drop_synthetic(table: Table) -> Table:
    """Return the real rows as they were before augmentation.

    Parameters
    ----------
    table : Table
        An augmented table. Without a column ``synthetic`` all rows are real.

    Returns
    -------
    Table
        A copy of the real rows, in order, without the provenance columns that augmentation added and without the
        run record. Where the run record holds the table's layout (`table_layout`), dtypes (widths of strings too)
        and masked columns are the old ones and a provenance column the table had before stays; otherwise every
        column of `PROVENANCE_COLUMNS` is dropped and the rest keep the dtypes they have now.
    """
    record = table.meta.get(RUN_RECORD)
    layout = record.get("layout") if isinstance(record, Mapping) else None
    if SYNTHETIC in table.colnames:
        real = table[~np.ma.filled(np.ma.asarray(table[SYNTHETIC], dtype=bool), False)]
    else:
        real = table.copy()
    if layout:
        real.keep_columns([name for name in real.colnames if name in layout["columns"]])
        _restore_columns(real, layout)
    else:
        real.remove_columns([name for name in PROVENANCE_COLUMNS if name in real.colnames])
    real.meta.pop(RUN_RECORD, None)
    return real


def _restore_columns(table: Table, layout: Mapping[str, Any]) -> None:
    """Give columns their old dtype and class, in place."""
    for name in table.colnames:
        old, column = layout["columns"][name], table[name]
        needless_mask = _is_masked(column) and not old["masked"] and not np.any(column.mask)
        if not old["dtype"]:
            if needless_mask and hasattr(column, "unmasked"):
                table.replace_column(name, _with_info(column.unmasked, column))
        elif needless_mask or _dtype_text(column) != old["dtype"]:
            table.replace_column(name, _column_class(column, needless_mask)(column, dtype=np.dtype(old["dtype"])))


def _column_class(column: Any, needless_mask: bool) -> Any:
    from astropy.table import Column

    return Column if needless_mask else type(column)


def _with_info(column: Any, source: Any) -> Any:
    """`column` with the description, format and meta of `source`."""
    for attribute in ("description", "format", "meta"):
        setattr(column.info, attribute, getattr(source.info, attribute))
    return column


def _is_masked(column: Any) -> bool:
    """Whether a column can have masked rows: a MaskedColumn, a Masked quantity, a masked time."""
    from astropy.table import MaskedColumn
    from astropy.utils.masked import Masked

    return isinstance(column, MaskedColumn | Masked) or getattr(column, "masked", False) is True


def _dtype_text(column: Any) -> str:
    """Return the dtype of a plain column; empty for mixin and structured ones, which augmentation doesn't change."""
    from astropy.table import Column

    return column.dtype.str if isinstance(column, Column) and column.dtype.names is None else ""
