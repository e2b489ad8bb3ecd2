"""Tables in FITS: one binary table that every reader understands, and an extension with the description.

HDU 1 (``TABLE``) holds the columns; masked floats are NaN, masked integers have TNULL where a value is free, the
exact masks are bits in one more column. HDU 2 (``GALAXYSD``) is a 1-D byte image with the JSON description: no
second table, so that other readers find the right one. JPEG bytes are variable-length byte arrays.

In a shard (`shard_hdus`) the table is called ``GALAXIES`` and an image HDU of each row follows; there the description
is a table of one cell, so that all images of the file are galaxies.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from astro_galaxysd.errors import ConditionError
from astro_galaxysd.images.shardimages import BLOCK, ImageRows
from astro_galaxysd.images.sources import object_array
from astro_galaxysd.images.storage_columns import (
    IMAGE,
    IMAGES,
    assemble,
    disassemble,
    is_ours,
    wanted_columns,
    wanted_names,
)
from astro_galaxysd.images.storage_masks import MASK_COLUMN, pack_nulls, packed_width, unpack_nulls
from astro_galaxysd.images.storage_values import StoredColumn

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.table import Table

__all__ = [
    "HEAPED",
    "find_table",
    "open_fits",
    "open_images",
    "read_fits",
    "read_hdu",
    "shard_description",
    "shard_hdus",
    "strict",
    "write_fits",
]

DESCRIPTION, SHARD = "GALAXYSD", "GALAXIES"
_FITS = b"SIMPLE  ="
#: FITS format and the dtype it is stored with; FITS has neither signed bytes nor half floats.
_FORMATS = {
    "b1": ("L", "b1"), "u1": ("B", "u1"), "i1": ("I", "i2"), "i2": ("I", "i2"), "i4": ("J", "i4"), "i8": ("K", "i8"),
    "u2": ("I", "u2"), "u4": ("J", "u4"), "u8": ("K", "u8"), "f2": ("E", "f4"), "f4": ("E", "f4"), "f8": ("D", "f8"),
    "c8": ("C", "c8"), "c16": ("M", "c16"),
}  # fmt: skip
#: Unsigned integers are signed ones with an offset.
_OFFSETS = {"u2": 2**15, "u4": 2**31, "u8": 2**63}
#: Above this many bytes the heap needs 64-bit descriptors.
_HEAP_LIMIT = 2**31 - 1
#: Format of a column of variable-length arrays, whose values lie in the heap; the group is the format of an element.
HEAPED = re.compile(r"\d*[PQ]([A-Z])")


def write_fits(table: Table, path: Path) -> None:
    """Write `table` to `path`; a name that ends in .gz is compressed."""
    with _any_names():
        _hdus(table).writeto(path)


def read_fits(path: Path, columns: Sequence[str] | None = None) -> Table:
    """Read a table; files of other programs give their first table.

    Parameters
    ----------
    path : Path
    columns : sequence of str, optional
        Only these columns.
    """
    with strict(path):
        with open_fits(path, character_as_bytes=True) as hdus:
            hdu, description = find_table(hdus, path)
            if description is not None:
                table = read_hdu(hdu, description, columns)
                images = open_images(hdus, description, columns)
                if images is not None:
                    table[IMAGE] = images.read(0, images.count)
                return table
        with open_fits(path) as hdus:
            return read_hdu(find_table(hdus, path)[0], None, columns)


def find_table(hdus: fits.HDUList, path: Path) -> tuple[Any, dict[str, Any] | None]:
    """Find the table of an open file; the description is None where another program wrote it.

    Raises
    ------
    ConditionError
        If there is no table.
    """
    from astropy.io import fits

    hdu = next((hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)), None)
    if hdu is None:
        raise ConditionError(f"{str(path)!r} holds no table; for images, pass the HDUs themselves as images")
    description = _description(hdus)
    ours = is_ours(description, [name for name in hdu.columns.names if name != MASK_COLUMN])
    return hdu, description if ours else None


def read_hdu(hdu: Any, description: dict[str, Any] | None, columns: Sequence[str] | None = None) -> Table:
    """Read the HDU that `find_table` found; with a description it must have been opened with texts as bytes.

    Raises
    ------
    UnknownNameError
        If the table has no such column.
    """
    return _read_foreign(hdu, columns) if description is None else _read_ours(hdu, description, columns)


def _hdus(table: Table) -> fits.HDUList:
    """Make the HDUs of a table."""
    from astropy.io import fits

    hdu, description = _table_hdu(table, "TABLE")
    text = np.frombuffer(json.dumps(description).encode("ascii"), np.uint8)
    return fits.HDUList([fits.PrimaryHDU(), hdu, fits.ImageHDU(text, name=DESCRIPTION)])


def shard_hdus(table: Table, shape: Sequence[int]) -> fits.HDUList:
    """Make the HDUs of a shard that come before its images.

    Parameters
    ----------
    table : Table
        Without the images.
    shape : sequence of int
        Of each image, (H, W, 3).
    """
    from astropy.io import fits

    with _any_names():
        hdu, description = _table_hdu(table, SHARD)
        description[IMAGES] = {"shape": list(shape)}
        text = np.frombuffer(json.dumps(description).encode("ascii"), np.uint8)
        cell = fits.Column("description", f"{len(text)}B", array=text[np.newaxis])
        return fits.HDUList([fits.PrimaryHDU(), hdu, fits.BinTableHDU.from_columns([cell], name=DESCRIPTION)])


def shard_description(path: Path) -> dict[str, Any] | None:
    """Description of a shard, by as little of it as possible; None if the file is none, is compressed or damaged."""
    with path.open("rb") as file, warnings.catch_warnings():
        # What there is to say of other files is said when they are opened.
        warnings.simplefilter("ignore")
        try:
            return _described(file)
        except (EOFError, OSError, KeyError, ValueError):
            return None


def _described(file: BinaryIO) -> dict[str, Any] | None:
    from astropy.io import fits

    if file.read(len(_FITS)) != _FITS:
        return None
    file.seek(0)
    size = 0
    for title in ("", SHARD, DESCRIPTION):
        file.seek(-(-size // BLOCK) * BLOCK, os.SEEK_CUR)
        header = fits.Header.fromfile(file)
        if header.get("EXTNAME", "") != title or (not title and header["NAXIS"] != 0):
            return None
        size = header["NAXIS1"] * header["NAXIS2"] + header["PCOUNT"] if title else 0
    found: dict[str, Any] = json.loads(file.read(size))
    return found


def open_images(hdus: fits.HDUList, description: dict[str, Any], columns: Sequence[str] | None) -> ImageRows | None:
    """Images of an open shard; None in other files, or where `columns` (all: None) leaves them out."""
    if IMAGES not in description or (columns is not None and IMAGE not in columns):
        return None
    return ImageRows(hdus[DESCRIPTION], description[IMAGES]["shape"], description["rows"])


def _table_hdu(table: Table, title: str) -> tuple[fits.BinTableHDU, dict[str, Any]]:
    """Make the HDU of a table's columns, and its description."""
    from astropy.io import fits

    description, stored = disassemble(table)
    names = _fits_names([column.name for column in stored])
    columns = []
    for entry, column, name in zip(description["columns"], stored, names, strict=True):
        entry["stored"] = name
        columns.append(_fits_column(name, column, _unit_text(table, column.name)))
    packed = pack_nulls(stored)
    if packed is not None:
        columns.append(fits.Column(MASK_COLUMN, f"{packed.shape[1]}B", array=packed))
    return fits.BinTableHDU.from_columns(columns, nrows=len(table), name=title), description


@contextmanager
def _any_names() -> Iterator[None]:
    """Let column names like Class1.1 pass without a warning: FITS allows them."""
    from astropy.io.fits.verify import VerifyWarning

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "It is strongly recommended that column names", VerifyWarning)
        yield


@contextmanager
def strict(path: Path) -> Iterator[None]:
    """Make a truncated file an error: astropy warns, or takes it for a shorter one. Filters of warnings change inside.

    Raises
    ------
    ConditionError
        If the file is truncated.
    """
    from astropy.utils.exceptions import AstropyUserWarning

    with _any_names():
        warnings.filterwarnings("error", "File may have been truncated", AstropyUserWarning)
        try:
            yield
        except AstropyUserWarning as error:
            raise ConditionError(f"can't read {str(path)!r}: {error}; the file is damaged or incomplete") from error


def open_fits(path: Path, **options: Any) -> fits.HDUList:
    """Open a file and look at all headers but those of a shard's images; what ends in .gz is unpacked in memory."""
    from astropy.io import fits

    source: Any = io.BytesIO(gzip.decompress(path.read_bytes())) if path.suffix.lower() == ".gz" else path
    hdus = fits.open(source, memmap=False, **options)
    try:
        if not _is_shard(hdus):
            len(hdus)
    except BaseException:
        hdus.close()
        raise
    return hdus


def _is_shard(hdus: fits.HDUList) -> bool:
    """Look at three headers at most."""
    for place, title in enumerate((SHARD, DESCRIPTION), start=1):
        try:
            if hdus[place].name != title or hdus[place].is_image:
                return False
        except IndexError:
            return False
    return True


def _read_ours(hdu: Any, description: dict[str, Any], columns: Sequence[str] | None) -> Table:
    wanted = set(wanted_columns(description, columns))
    entries = description["columns"]
    masked = [number for number, entry in enumerate(entries) if entry["nulls"] is not None]
    nulls: dict[int, np.ndarray] = {}
    if masked:
        shapes = [tuple(entries[number]["nulls"]) for number in masked]
        packed = np.asarray(hdu.data.field(MASK_COLUMN)).reshape(len(hdu.data), packed_width(shapes))
        nulls = dict(zip(masked, unpack_nulls(packed, shapes), strict=True))
    stored = [
        StoredColumn(entry["name"], entry["kind"], _values(hdu, number, entry["kind"]), nulls.get(number))
        for number, entry in enumerate(entries)
        if entry["name"] in wanted
    ]
    return assemble(description, stored)


def _read_foreign(hdu: Any, columns: Sequence[str] | None) -> Table:
    """Read a table of another program: texts as str, numbers in native byte order."""
    from astropy.table import Table

    table = Table.read(hdu)
    table.convert_bytestring_to_unicode()
    table.keep_columns(wanted_names(table.colnames, columns))
    for name in table.colnames:
        dtype = getattr(table[name], "dtype", None)
        if dtype is not None and not dtype.isnative and dtype.names is None:
            table.replace_column(name, type(table[name])(table[name], dtype=dtype.newbyteorder("=")))
    return table


def _description(hdus: fits.HDUList) -> Any:
    """Return the description, or None."""
    if DESCRIPTION not in hdus:
        return None
    data = hdus[DESCRIPTION].data
    if getattr(data, "names", None):
        data = data.field(0)
    try:
        return json.loads(np.asarray(data).tobytes()) if data is not None else None
    except ValueError:
        return None


def _fits_names(names: Sequence[str]) -> list[str]:
    """Column names that FITS can hold: printable ASCII, at most 68 characters, different without regard to case."""
    seen = {MASK_COLUMN}
    found = []
    for number, name in enumerate(names, start=1):
        good = name.isascii() and name.isprintable() and name == name.strip() and 0 < len(name) <= 68
        candidate = name if good else f"column_{number}"
        while candidate.lower() in seen:
            candidate = f"{candidate[:50]}_{number}"
        seen.add(candidate.lower())
        found.append(candidate)
    return found


def _unit_text(table: Table, name: str) -> str | None:
    """Return the unit in FITS notation, where it has one, for other readers."""
    unit = table[name].unit if name in table.colnames and hasattr(table[name], "unit") else None
    try:
        return None if unit is None else str(unit.to_string("fits"))
    except Exception:
        # Not every unit has a FITS name; the description keeps it.
        return None


def _fits_column(name: str, column: StoredColumn, unit: str | None) -> fits.Column:
    """Make the FITS column of a stored one."""
    from astropy.io import fits

    if column.kind == "numbers":
        return _number_column(name, column, unit)
    if column.kind == "texts":
        texts = [str(text) for text in column.values]
        if all(text.isascii() and text.isprintable() and not text.endswith(" ") for text in texts):
            width = max([1, *(len(text) for text in texts)])
            return fits.Column(name, f"{width}A", array=np.array(texts, dtype=f"S{width}"))
        return _blob_column(name, [text.encode() for text in texts])
    return _blob_column(name, [blob or b"" for blob in column.values])


def _number_column(name: str, column: StoredColumn, unit: str | None) -> fits.Column:
    from astropy.io import fits

    letter, dtype = _FORMATS[column.values.dtype.str[1:]]
    values, null = column.values.astype(dtype, copy=False), None
    if column.nulls is not None and np.any(column.nulls):
        values, null = _mark_nulls(values, column.nulls)
    shape = values.shape[1:]
    width = int(np.prod(shape))
    # One value a row is a scalar column in FITS; the description knows the shape.
    values = values.reshape(len(values)) if width == 1 else values
    axes = {"dim": "(" + ",".join(str(size) for size in reversed(shape)) + ")"} if len(shape) > 1 < width else {}
    offset = {"bzero": _OFFSETS[dtype]} if dtype in _OFFSETS else {}
    return fits.Column(name, f"{width}{letter}", unit=unit, null=null, array=values, **axes, **offset)


def _mark_nulls(values: np.ndarray, nulls: np.ndarray) -> tuple[np.ndarray, int | None]:
    """Put what other readers take for missing where a value is masked: NaN, or a TNULL that no value has."""
    values = values.copy()
    if values.dtype.kind in "fc":
        values[nulls] = np.nan
    elif values.dtype.kind == "i":
        lowest = int(np.iinfo(values.dtype).min)
        if not np.any(values[~nulls] == lowest):
            values[nulls] = lowest
            return values, lowest
    return values, None


def _blob_column(name: str, blobs: Sequence[bytes]) -> fits.Column:
    from astropy.io import fits

    descriptor = "Q" if sum(map(len, blobs)) > _HEAP_LIMIT else "P"
    arrays = object_array([np.frombuffer(blob, np.uint8) for blob in blobs])
    return fits.Column(name, f"{descriptor}B()", array=arrays)


def _values(hdu: Any, number: int, kind: str) -> np.ndarray:
    """Read the values of one column, native byte order."""
    values = hdu.data.field(number)
    if kind == "numbers":
        array = np.asarray(values)
        return array.astype(array.dtype.newbyteorder("="))
    if not HEAPED.match(hdu.columns[number].format):
        return object_array([bytes(text).decode("ascii") for text in np.asarray(values)])
    blobs = [np.asarray(blob, np.uint8).tobytes() for blob in values]
    return object_array([blob.decode() for blob in blobs] if kind == "texts" else blobs)
