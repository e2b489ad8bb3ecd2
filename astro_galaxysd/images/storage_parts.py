"""Folders of files that are one table together: shards, or a catalogue that another program keeps in several files.

The files are those of the folder that end in a suffix of Parquet or of FITS, by name; names that begin with a dot or
an underscore are not looked at. Each is read by itself and made like the others: a column that has a masked row in
one file is a masked one in all.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_galaxysd.errors import ConditionError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["common_layout", "conform", "list_parts", "stack"]

#: What may lie beside the files: pages and pictures about them.
_BESIDE = {
    "", ".md", ".rst", ".txt", ".html", ".pdf", ".json", ".yaml", ".toml", ".log", ".png", ".jpg", ".jpeg", ".svg",
}  # fmt: skip
_NAMED = 5


def list_parts(folder: Path, formats: Mapping[str, Sequence[str]]) -> tuple[list[Path], str]:
    """List the files of a folder in order.

    Parameters
    ----------
    folder : Path
    formats : mapping of str to sequence of str
        Formats and their suffixes.

    Returns
    -------
    list of Path
        None where the folder has no file of a table.
    str
        Their format.

    Raises
    ------
    ConditionError
        If it has files of several formats, or others that may hold rows.
    """
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith((".", "_")))
    found = {chosen: [name for name in names if name.lower().endswith(tuple(ends))] for chosen, ends in formats.items()}
    found = {chosen: some for chosen, some in found.items() if some}
    if not found:
        return [], ""
    if len(found) > 1:
        shown = " and ".join(repr(some[0]) for some in found.values())
        raise ConditionError(
            f"the folder {str(folder)!r} holds files of several formats, {shown}; keep those of one table in one format"
        )
    ((chosen, some),) = found.items()
    others = [name for name in names if name not in some]
    strange = [name for name in others if Path(name).suffix.lower() not in _BESIDE or (folder / name).is_dir()]
    if strange:
        shown = ", ".join(map(repr, strange[:_NAMED])) + (", ..." if len(strange) > _NAMED else "")
        raise ConditionError(
            f"the folder {str(folder)!r} holds {shown} beside its {chosen} files, which would not be read; move them, "
            "or put '_' before their names"
        )
    return [folder / name for name in some], chosen


def common_layout(layouts: Sequence[tuple[Path, Table]]) -> Table:
    """What the tables of several files have in common.

    Parameters
    ----------
    layouts : sequence of (Path, Table)
        Each file, and its table without rows.

    Returns
    -------
    Table
        Without rows: the first, with masked columns where one of the others has them.

    Raises
    ------
    ConditionError
        If columns differ; the message names the file and the columns.
    """
    from astropy.table import MaskedColumn

    (first, found), *others = layouts
    found = found.copy()
    for path, table in others:
        differences = _differences(found, table)
        if differences:
            shown = "; ".join(differences[:_NAMED]) + ("; ..." if len(differences) > _NAMED else "")
            raise ConditionError(
                f"{str(path)!r} has other columns than {first.name!r} ({shown}); all files of a folder must have the "
                "same: read them one by one, or name columns that are the same in all"
            )
        for name in found.colnames:
            if isinstance(table[name], MaskedColumn):
                _mask(found, name)
    return found


def conform(table: Table, layout: Table) -> Table:
    """A table of one file, like those of all: order and masks of columns, and meta, are those of the layout."""
    from astropy.table import MaskedColumn

    if table.colnames != layout.colnames:
        table = table[layout.colnames]
    for name in layout.colnames:
        if isinstance(layout[name], MaskedColumn):
            _mask(table, name)
    table.meta = copy.deepcopy(layout.meta)
    return table


def stack(tables: Sequence[Table]) -> Table:
    """Tables of one layout, one below the other; meta is that of the first."""
    from astropy.table import vstack

    if len(tables) == 1 or not tables[0].colnames:
        return tables[0]
    whole = vstack(tables, join_type="exact", metadata_conflicts="silent")
    whole = type(tables[0])(whole, copy=False, masked=tables[0].masked)
    whole.meta = tables[0].meta
    return whole


def _mask(table: Table, name: str) -> None:
    from astropy.table import Column, MaskedColumn

    if isinstance(table[name], Column) and not isinstance(table[name], MaskedColumn):
        table.replace_column(name, MaskedColumn(table[name], copy=False))


def _differences(one: Table, other: Table) -> list[str]:
    missing = [f"{name!r} is missing" for name in one.colnames if name not in other.colnames]
    more = [f"{name!r} is more" for name in other.colnames if name not in one.colnames]
    changed = [
        f"{name!r} is {_kind(other[name])}, not {_kind(one[name])}"
        for name in one.colnames
        if name in other.colnames and _kind(one[name]) != _kind(other[name])
    ]
    return missing + more + changed


def _kind(column: Any) -> str:
    """Say what a column holds; the width of texts and masks don't count."""
    from astropy.table import Column

    unit = f" in {column.unit}" if getattr(column, "unit", None) is not None else ""
    if not isinstance(column, Column):
        return f"{type(column).__name__}{unit}"
    kind = {"U": "text", "S": "bytes", "O": "object"}.get(column.dtype.kind, column.dtype.name)
    return f"{kind}{' ' + str(column.shape[1:]) if column.ndim > 1 else ''}{unit}"
