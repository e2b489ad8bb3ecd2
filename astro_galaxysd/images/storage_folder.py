"""Tables in a folder: ``table.ecsv`` to read with the eyes, image files to open, and the description.

    table.ecsv        numbers and texts; where a value lies in a file, its path in the folder
    <column>/         one file a row: PNG for (H, W, 3) uint8, otherwise the bytes as they are (.jpg, .png, .bin)
    <column>.npy      other arrays, whole column
    masks.npy         bits of all masks
    description.json  types, units, meta

A folder with a ``table.ecsv`` alone is read as that table.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ConditionError
from astro_galaxysd.images.encoded import Encoding, decode_image, encode_image
from astro_galaxysd.images.sources import object_array
from astro_galaxysd.images.storage_columns import (
    assemble,
    disassemble,
    is_ours,
    table_columns,
    wanted_columns,
    wanted_names,
)
from astro_galaxysd.images.storage_masks import pack_nulls, unpack_nulls
from astro_galaxysd.images.storage_parquet import is_image_stack
from astro_galaxysd.images.storage_values import StoredColumn

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["TABLE", "count_folder", "folder_columns", "is_table_folder", "read_folder", "write_folder"]

TABLE, DESCRIPTION, MASKS = "table.ecsv", "description.json", "masks.npy"
_SUFFIXES = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG\r\n\x1a\n", ".png"))


def is_table_folder(folder: Path) -> bool:
    """Whether `write_folder` wrote this folder."""
    return (folder / DESCRIPTION).is_file() and (folder / TABLE).is_file()


def write_folder(table: Table, folder: Path) -> None:
    """Write `table` into the existing, empty `folder`."""
    from astropy.table import Column, MaskedColumn, Table

    description, stored = disassemble(table)
    names = _file_names([column.name for column in stored])
    visible = Table()
    for entry, column, name in zip(description["columns"], stored, names, strict=True):
        entry["stored"] = name
        cells = _write_column(folder, entry, column)
        blank = column.nulls is not None and column.nulls.shape == cells.shape
        visible[name] = MaskedColumn(cells, mask=column.nulls) if blank else Column(cells)
    packed = pack_nulls(stored)
    if packed is not None:
        np.save(folder / MASKS, packed, allow_pickle=False)
    text = io.StringIO()
    if visible.colnames:
        visible.write(text, format="ascii.ecsv")
    (folder / TABLE).write_text(text.getvalue(), encoding="utf-8", newline="\n")
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")


def read_folder(folder: Path, columns: Sequence[str] | None = None) -> Table:
    """Read a table from a folder.

    Raises
    ------
    ConditionError
        If there is no table in the folder, or its parts don't belong together.
    UnknownNameError
        If a column isn't there.
    """
    visible = _read_ecsv(folder)
    if not (folder / DESCRIPTION).is_file():
        visible.keep_columns(wanted_names(visible.colnames, columns))
        return visible
    description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    if not is_ours(description, visible.colnames) or description["rows"] != len(visible):
        raise ConditionError(
            f"{TABLE} and {DESCRIPTION} in {str(folder)!r} don't belong together (was the table edited?); remove "
            f"{DESCRIPTION} to read the table as it is"
        )
    wanted = set(wanted_columns(description, columns))
    nulls = _read_nulls(folder, description)
    stored = [
        StoredColumn(
            entry["name"],
            entry["kind"],
            _read_column(folder, entry, visible[entry["stored"]], nulls),
            nulls.get(entry["name"]),
        )
        for entry in description["columns"]
        if entry["name"] in wanted
    ]
    return assemble(description, stored)


def count_folder(folder: Path) -> int:
    """Count the rows without a look at the image files.

    Raises
    ------
    ConditionError
        If there is no table in the folder.
    """
    return len(_read_ecsv(folder))


def folder_columns(folder: Path) -> list[str]:
    """Names of the columns, without a look at the image files.

    Raises
    ------
    ConditionError
        If there is no table in the folder.
    """
    visible = _read_ecsv(folder)
    if not (folder / DESCRIPTION).is_file():
        return list(visible.colnames)
    return table_columns(json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")))


def _read_ecsv(folder: Path) -> Table:
    from astropy.table import Table

    if not (folder / TABLE).is_file():
        raise ConditionError(
            f"the folder {str(folder)!r} holds no {TABLE}, and no .parquet or .fits files; give a folder that "
            "write_table made, or one of such files"
        )
    text = (folder / TABLE).read_text(encoding="utf-8")
    return Table.read(text, format="ascii.ecsv") if text.strip() else Table()


def _read_nulls(folder: Path, description: dict[str, Any]) -> dict[str, np.ndarray]:
    entries = [entry for entry in description["columns"] if entry["nulls"] is not None]
    if not entries:
        return {}
    packed = np.load(folder / MASKS, allow_pickle=False)
    masks = unpack_nulls(packed, [tuple(entry["nulls"]) for entry in entries])
    return {entry["name"]: mask for entry, mask in zip(entries, masks, strict=True)}


def _file_names(names: Sequence[str]) -> list[str]:
    """Names that every file system takes, different without regard to case."""
    seen: set[str] = {Path(name).stem for name in (TABLE, DESCRIPTION, MASKS)}
    found = []
    for number, name in enumerate(names, start=1):
        candidate = (
            name if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.\-]{0,99}", name) and name[-1] != "." else f"column_{number}"
        )
        while candidate.lower() in seen:
            candidate = f"{candidate}_{number}"
        seen.add(candidate.lower())
        found.append(candidate)
    return found


def _write_column(folder: Path, entry: dict[str, Any], column: StoredColumn) -> np.ndarray:
    """Write what does not fit into text to files; return the cells of the text table."""
    name, values = entry["stored"], column.values
    if column.kind == "blobs":
        entry["place"] = "files"
        return _write_files(folder, name, list(values))
    if column.kind == "texts":
        entry["place"] = "cells" if all(_plain_text(str(text)) for text in values) else "json"
        return np.array([text if entry["place"] == "cells" else json.dumps(str(text)) for text in values], dtype=str)
    if is_image_stack(values):
        entry["place"] = "png"
        return _write_files(folder, name, [encode_image(pixels, Encoding("PNG")) for pixels in values])
    if values.ndim == 1 and values.dtype.kind in "biuf":
        entry["place"] = "cells"
        return values
    entry["place"] = "npy"
    np.save(folder / f"{name}.npy", values, allow_pickle=False)
    return np.full(len(values), f"{name}.npy")


def _write_files(folder: Path, name: str, blobs: Sequence[bytes | None]) -> np.ndarray:
    (folder / name).mkdir()
    cells = []
    for row, blob in enumerate(blobs):
        suffix = next((suffix for start, suffix in _SUFFIXES if (blob or b"").startswith(start)), ".bin")
        cells.append(f"{name}/{row:06d}{suffix}")
        (folder / cells[-1]).write_bytes(blob or b"")
    return np.array(cells, dtype=str)


def _plain_text(text: str) -> bool:
    """Whether ECSV returns the text as it is (empty texts are put right by the masks)."""
    return text.isprintable() and text == text.strip()


def _read_column(folder: Path, entry: dict[str, Any], cells: Any, nulls: dict[str, np.ndarray]) -> np.ndarray:
    """Undo `_write_column`."""
    place = entry["place"]
    if place == "npy":
        array: np.ndarray = np.load(folder / f"{entry['stored']}.npy", allow_pickle=False)
        return array
    if place in ("files", "png"):
        blobs = _read_files(folder, entry, len(cells), nulls)
        if place == "files":
            return object_array(blobs)
        images = [decode_image(blob, f"row {row}") for row, blob in enumerate(blobs)]
        return np.stack(images) if images else np.empty((0, *entry["shape"]), np.uint8)
    if entry["kind"] == "numbers":
        return np.asarray(np.ma.getdata(cells))
    texts: list[str] = np.ma.filled(np.ma.asarray(cells, dtype=str), "").tolist()
    return object_array([json.loads(text) if text and place == "json" else text for text in texts])


def _read_files(folder: Path, entry: dict[str, Any], rows: int, nulls: dict[str, np.ndarray]) -> list[bytes]:
    """Read one file a row; the names are made again, not taken from the cells, which may point anywhere."""
    found = []
    for row in range(rows):
        stem = folder / entry["stored"] / f"{row:06d}"
        path = next((path for suffix in (".jpg", ".png", ".bin") if (path := stem.with_suffix(suffix)).is_file()), None)
        if path is None:
            raise ConditionError(f"row {row} of column {entry['name']!r} has no file {stem}.*; copy the folder again")
        found.append(path.read_bytes())
    return found
