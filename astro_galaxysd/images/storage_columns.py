"""A table as plain stored columns and a description, and back: what all three file formats share.

Every column becomes one of three physical kinds that FITS, Parquet and ECSV can keep without loss:

- *numbers*: a bool, integer, float or complex array (N, ...) in native byte order,
- *texts*: N strings,
- *blobs*: N byte strings (or None),

with `nulls` where a value is masked (or None in an object column). The description, a JSON-ready dict, holds the
rest: dtypes, units, masks' meaning, mixin columns and meta, the last two as YAML in astropy's safe dialect.
Nothing is ever unpickled.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ConditionError, OutputError, UnknownNameError
from astro_galaxysd.images.storage_values import StoredColumn, decode_values, encode_values

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = [
    "IMAGE",
    "IMAGES",
    "KEY",
    "assemble",
    "columns_key",
    "disassemble",
    "is_ours",
    "table_columns",
    "wanted_columns",
    "wanted_names",
]

#: Name of the description in a file: Parquet schema metadata, FITS extension.
KEY = "astro_galaxysd"
#: Key in the description of a file that keeps images beside the table, and the column that they become.
IMAGES, IMAGE = "images", "image"
#: Version of the description; a file of a later one is refused.
LAYOUT = 1


def disassemble(table: Table) -> tuple[dict[str, Any], list[StoredColumn]]:
    """Split a table into a JSON-ready description and stored columns.

    Parameters
    ----------
    table : Table
        Any columns of numbers, texts, times and bytes; object columns of bytes, arrays, str or JSON values; mixin
        columns that astropy can serialise (Quantity, Time, SkyCoord, ...).

    Returns
    -------
    dict, list of StoredColumn

    Raises
    ------
    OutputError
        If a column or the meta can't be kept exactly; the message names it.
    """
    plain, mixins = _without_mixins(table)
    described, stored = [], []
    for name in plain.colnames:
        entry, column = _store_column(name, plain[name])
        described.append(entry)
        stored.append(column)
    description = {
        "layout": LAYOUT,
        "rows": len(table),
        "quantities": _is_qtable(table),
        "masked": bool(table.masked),
        "columns": described,
        "mixins": _to_yaml(mixins, "the mixin columns"),
        "meta": _to_yaml(dict(table.meta), "the table's meta"),
    }
    return description, stored


def assemble(description: Mapping[str, Any], stored: Sequence[StoredColumn]) -> Table:
    """Put a table together again.

    Parameters
    ----------
    description : mapping
        From `disassemble`.
    stored : sequence of StoredColumn
        In the order of the table; some may be left out (`wanted_columns`).

    Raises
    ------
    ConditionError
        If the file was written by a later version of the package.
    """
    from astropy.table import QTable, Table
    from astropy.table.serialize import _construct_mixins_from_columns

    entries = {entry["name"]: entry for entry in description["columns"]}
    table = Table([_restore_column(entries[column.name], column) for column in stored], masked=description["masked"])
    mixins = _from_yaml(description["mixins"])
    present = {name: parts for name, parts in mixins.items() if _parts(parts, name) <= set(table.colnames)}
    if present:
        table.meta["__serialized_columns__"] = present
        # Units of plain columns wait: astropy would make quantities of them.
        table = _construct_mixins_from_columns(table)
    table = (QTable if description["quantities"] else Table)(table, copy=False, masked=description["masked"])
    for name in table.colnames:
        unit = entries[name]["unit"] if name in entries and name not in present else None
        if unit is not None:
            table[name].unit = _from_yaml(unit)
    table.meta = _from_yaml(description["meta"])
    return table


def wanted_columns(description: Mapping[str, Any], columns: Sequence[str] | None) -> list[str]:
    """Names of the stored columns that make up the table's columns `columns` (all: None), in file order.

    Raises
    ------
    UnknownNameError
        If the table has no such column.
    """
    if description["layout"] > LAYOUT:
        raise ConditionError(
            f"the file has layout {description['layout']}, this version reads up to {LAYOUT}: update astro_galaxysd"
        )
    stored = [entry["name"] for entry in description["columns"]]
    if columns is None:
        return stored
    parts, names = _mixin_parts(description), table_columns(description)
    wanted: set[str] = set()
    for name in columns:
        if name not in names:
            raise UnknownNameError("column", name, names)
        wanted |= parts.get(name, {name})
    return [name for name in stored if name in wanted]


def table_columns(description: Mapping[str, Any]) -> list[str]:
    """Names of a table's columns; those of mixin columns come after the others."""
    parts = _mixin_parts(description)
    hidden = set().union(*parts.values())
    beside = [IMAGE] if IMAGES in description else []
    return [entry["name"] for entry in description["columns"] if entry["name"] not in hidden] + list(parts) + beside


def columns_key(description: Mapping[str, Any]) -> str:
    """Text that files have in common whose tables are the same but for rows and meta."""
    return json.dumps({key: value for key, value in description.items() if key not in ("rows", "meta")})


def _mixin_parts(description: Mapping[str, Any]) -> dict[str, set[str]]:
    """Names of the stored columns of each mixin column."""
    mixins = _from_yaml(description["mixins"])
    return {name: _parts(attributes, name) for name, attributes in mixins.items()}


def wanted_names(names: Sequence[str], columns: Sequence[str] | None) -> list[str]:
    """Those of a table's column names `names` that are in `columns` (all: None), in the order of the table.

    Raises
    ------
    UnknownNameError
        If one of `columns` is not there.
    """
    for name in columns or ():
        if name not in names:
            raise UnknownNameError("column", name, names)
    return [name for name in names if columns is None or name in columns]


def is_ours(description: Any, names: Sequence[str]) -> bool:
    """Whether a description found in a file fits the stored columns `names` (another program may have changed them)."""
    return (
        isinstance(description, dict)
        and isinstance(description.get("columns"), list)
        and [entry["stored"] for entry in description["columns"]] == list(names)
    )


def _without_mixins(table: Table) -> tuple[Table, dict[str, Any]]:
    """Split mixin columns into plain ones; returns the table of plain columns and astropy's attributes."""
    from astropy.table import Column, MaskedColumn, represent_mixins_as_columns
    from astropy.utils.data_info import serialize_context_as

    structured = [name for name in table.colnames if isinstance(table[name], Column) and table[name].dtype.names]
    if structured:
        raise OutputError(f"column {structured[0]!r} is structured; store its fields as columns of their own")
    try:
        # In this context masks of the parts become columns too.
        with serialize_context_as("parquet"):
            plain = represent_mixins_as_columns(table, exclude_classes=(Column, MaskedColumn))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise OutputError(f"a column can't be stored: {error}; convert it to numbers or texts, or remove it") from error
    return plain, plain.meta.get("__serialized_columns__", {}) if plain is not table else {}


def _parts(attributes: Any, name: str) -> set[str]:
    """Names of the plain columns that a serialised mixin column refers to."""
    from astropy.table.serialize import SerializedColumn

    if isinstance(attributes, SerializedColumn) and "name" in attributes:
        return {attributes["name"]}
    if isinstance(attributes, Mapping):
        return set().union(*(_parts(value, name) for value in attributes.values()))
    return set()


def _is_qtable(table: Table) -> bool:
    from astropy.table import QTable

    return isinstance(table, QTable)


def _store_column(name: str, column: Any) -> tuple[dict[str, Any], StoredColumn]:
    """Return the description's entry and the stored form of one plain column."""
    masked = isinstance(column, np.ma.MaskedArray)
    # .data of a Column is the plain array: indexing the column itself would decode bytes.
    values = np.asarray(column.data.data if masked else column.data)
    nulls = np.ma.getmaskarray(column.data) if masked else None
    coding, kind, stored, nulls = encode_values(name, values, nulls)
    entry = {
        "name": name,
        "stored": name,
        "dtype": values.dtype.str,
        "shape": list(values.shape[1:]),
        "masked": masked,
        "coding": coding,
        "kind": kind,
        "nulls": None if nulls is None else list(nulls.shape[1:]),
        "unit": None if column.unit is None else _to_yaml(column.unit, f"the unit of column {name!r}"),
        "description": column.description,
        "format": column.format if isinstance(column.format, str) else None,
        "meta": _to_yaml(dict(column.meta), f"the meta of column {name!r}") if column.meta else None,
    }
    return entry, StoredColumn(name, kind, stored, nulls)


def _restore_column(entry: Mapping[str, Any], column: StoredColumn) -> Any:
    """Undo `_store_column`, all but the unit."""
    from astropy.table import Column, MaskedColumn

    values = decode_values(entry, column)
    attributes = {"name": entry["name"], "description": entry["description"], "format": entry["format"]}
    if entry["meta"]:
        attributes["meta"] = _from_yaml(entry["meta"])
    if not entry["masked"]:
        return Column(values, **attributes)
    nulls = np.zeros(values.shape, bool) if column.nulls is None else column.nulls
    return MaskedColumn(values, mask=nulls.reshape(values.shape), **attributes)


def _to_yaml(value: Any, what: str) -> str:
    """YAML in astropy's dialect (units, times, arrays included)."""
    try:
        text = _plain_yaml(value)
        if text is None:
            from astropy.io.misc import yaml

            text = str(yaml.dump(value, sort_keys=False))
    except Exception as error:
        raise OutputError(
            f"{what} can't be stored: {error}; keep numbers, texts, lists, dicts and astropy objects"
        ) from error
    return text


def _plain_yaml(value: Any) -> str | None:
    """The same text without astropy's dialect, which imports coordinates; None where something needs it."""
    import yaml

    class Plain(yaml.SafeDumper):  # type: ignore[misc]
        """Refuses tuples, which plain YAML would make lists of."""

    Plain.add_representer(tuple, Plain.represent_undefined)
    try:
        return str(yaml.dump(value, Dumper=Plain, sort_keys=False, default_flow_style=None))
    except yaml.representer.RepresenterError:
        return None


def _from_yaml(text: str) -> Any:
    # Every piece of a file has the same meta, and YAML is slow to read.
    return copy.deepcopy(_parsed(text))


@functools.lru_cache(maxsize=64)
def _parsed(text: str) -> Any:
    from astropy.io.misc import yaml

    return yaml.load(text)
