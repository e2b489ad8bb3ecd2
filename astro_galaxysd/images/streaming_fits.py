"""Rows of a FITS table that is open, without the others in memory.

The rows of a piece and their part of the heap are put together to a small FITS file in memory, which is read like any
other.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.images.shardimages import BLOCK
from astro_galaxysd.images.storage_columns import IMAGE, wanted_columns
from astro_galaxysd.images.storage_fits import HEAPED, find_table, open_images, read_hdu

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["FitsPieces"]

#: Bytes of a FITS table that are looked through at a time.
_LOOKED_AT = 2**24
#: Bytes of an element of a variable-length array, by its FITS format.
_ELEMENT = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16}


class FitsPieces:
    """The table of an open FITS file, with the images of a shard.

    Parameters
    ----------
    hdus : HDUList
    path : Path
        For messages.
    columns : sequence of str or None
        Only these.
    """

    def __init__(self, hdus: Any, path: Path, columns: Sequence[str] | None) -> None:
        hdu, description = find_table(hdus, path)
        wanted = None
        if description is not None:
            names = set(wanted_columns(description, columns))
            wanted = {entry["stored"] for entry in description["columns"] if entry["name"] in names}
        elif columns is not None:
            # A part of a mixin column begins with the column's name.
            wanted = {name for name in hdu.columns.names if name.startswith(tuple(columns))}
        self._rows, self._columns, self._foreign = _FitsRows(hdu, description, wanted), columns, description is None
        self._images = None if description is None else open_images(hdus, description, columns)
        self._deciding: list[int] = []
        self.count = self._rows.count

    def decide(self) -> None:
        """Look for the rows that decide what columns become, where another program wrote the file."""
        if self._foreign:
            # Before all rows are gone through: does the table have the columns?
            self._rows.read(0, min(1, self.count), [], self._columns)
            self._deciding = self._rows.deciding_rows()

    def read(self, start: int, stop: int) -> Table:
        """Read the rows from `start` to `stop`, not before those that were read last."""
        table = self._rows.read(start, stop, self._deciding, self._columns)
        if self._images is not None:
            table[IMAGE] = self._images.read(start, stop)
        return table

    def layout(self) -> Table:
        """Give the table without its rows."""
        self.decide()
        return self.read(0, 0)


class _FitsRows:
    """Rows of a table in an open FITS file.

    Parameters
    ----------
    hdu : BinTableHDU or TableHDU
        Its data are not touched.
    description : dict or None
        From `find_table`.
    wanted : set of str, optional
        Columns whose values are needed (all: None); variable-length arrays of others seem to be empty.
    """

    def __init__(self, hdu: Any, description: dict[str, Any] | None, wanted: set[str] | None) -> None:
        self.count, self._width = int(hdu.header["NAXIS2"]), int(hdu.header["NAXIS1"])
        self._description, self._wanted = description, wanted
        self._header = hdu.header.copy()
        info = hdu.fileinfo()
        self._file, self._begin = info["file"], info["datLoc"]
        self._end = self._begin + self._width * self.count + self._header["PCOUNT"]
        self._heap = self._begin + self._header.pop("THEAP", self._width * self.count)
        self._said = False
        # Of each column with values in the heap: the bytes of an element (0 if not wanted) and where the descriptor is.
        self._heaped: list[tuple[int, int, np.dtype[Any]]] = []
        for number, column in enumerate(hdu.columns):
            found = HEAPED.match(column.format)
            if found is not None:
                size = _ELEMENT[found[1]] if wanted is None or column.name in wanted else 0
                dtype, place = hdu.columns.dtype.fields[hdu.columns.dtype.names[number]][:2]
                self._heaped.append((size, place, dtype.base.newbyteorder(">")))

    def read(self, start: int, stop: int, more: Sequence[int], columns: Sequence[str] | None) -> Table:
        """Read the rows from `start` to `stop` beside the rows `more`, which don't get into the table."""
        from astropy.units import UnitsWarning

        if self._said:
            warnings.simplefilter("ignore", UnitsWarning)
        self._said = True
        with self._opened(start, stop, more, character_as_bytes=self._description is not None) as hdus:
            return read_hdu(hdus[1], self._description, columns)[: stop - start]

    def deciding_rows(self) -> list[int]:
        """Rows that decide what astropy makes of columns: the first of each with NaN, no text, or other than ASCII.

        NaN and, in some tables, empty texts make a column a masked one; astropy leaves texts as bytes if a single one
        is not ASCII. A row too many does no harm.
        """
        found: dict[tuple[int, str], int] = {}
        rows = max(1, _LOOKED_AT // max(1, self._width))
        for start in range(0, self.count, rows):
            stop = min(start + rows, self.count)
            with self._opened(start, stop, heap=False, character_as_bytes=True) as hdus:
                for number, column in enumerate(hdus[1].columns):
                    unwanted = self._wanted is not None and column.name not in self._wanted
                    if unwanted or column.dtype.base.kind not in "fcS" or column.null is not None:
                        continue
                    for what, rowwise in _peculiar(np.asarray(hdus[1].data.field(number))):
                        if (number, what) not in found and rowwise.any():
                            found[number, what] = start + int(np.argmax(rowwise))
        return sorted(set(found.values()))

    def _opened(self, start: int, stop: int, more: Sequence[int] = (), *, heap: bool = True, **options: Any) -> Any:
        """Open a FITS file in memory that holds these rows only."""
        from astropy.io import fits
        from astropy.io.fits.verify import VerifyWarning

        # What astropy has to say of the header, it said when the file was opened.
        warnings.simplefilter("ignore", VerifyWarning)
        raw = b"".join([self._bytes(start, stop), *(self._bytes(row, row + 1) for row in more)])
        count = stop - start + len(more)
        raw, values = self._with_heap(np.frombuffer(bytearray(raw), np.uint8).reshape(count, self._width), heap)
        self._header["NAXIS2"], self._header["PCOUNT"] = count, len(values)
        parts = [_text(fits.PrimaryHDU().header), _text(self._header), raw, values]
        parts.append(b"\0" * (-(len(raw) + len(values)) % BLOCK))
        return fits.open(io.BytesIO(b"".join(parts)), memmap=False, **options)

    def _with_heap(self, raw: np.ndarray, heap: bool) -> tuple[bytes, bytes]:
        """Rows whose descriptors point into a heap of their own, and this heap."""
        parts: list[bytes] = []
        position = 0
        for size, place, dtype in self._heaped:
            part = raw[:, place : place + 2 * dtype.itemsize]
            descriptors = np.ascontiguousarray(part).view(dtype)
            for row, (length, offset) in enumerate(descriptors.tolist()):
                wanted = length * size if heap else 0
                descriptors[row] = (length, position) if wanted else (0, 0)
                if wanted:
                    parts.append(self._at(self._heap + offset, wanted))
                    position += wanted
            part[:] = descriptors.view(np.uint8)
        return raw.tobytes(), b"".join(parts)

    def _bytes(self, start: int, stop: int) -> bytes:
        return self._at(self._begin + start * self._width, (stop - start) * self._width)

    def _at(self, position: int, size: int) -> bytes:
        if not self._begin <= position <= position + size <= self._end:
            raise EOFError(f"{size} bytes at {position} are said to belong to the table, which ends at {self._end}")
        self._file.seek(position)
        found: bytes = self._file.read(size)
        if len(found) != size:
            raise EOFError(f"{size} bytes at {position} are expected, {len(found)} are there")
        return found


def _peculiar(values: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Sorts of values that can change what a column becomes, each with the rows that have one, shape (N,)."""
    if values.dtype.kind != "S":
        yield "NaN", _any_of_row(np.isnan(values))
        return
    yield "empty", _any_of_row(np.strings.rstrip(values) == b"")
    characters = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)
    yield "not ASCII", _any_of_row(characters > 127)


def _any_of_row(found: np.ndarray) -> np.ndarray:
    return np.asarray(found.any(axis=tuple(range(1, found.ndim))))


def _text(header: Any) -> bytes:
    text: str = header.tostring()
    return text.encode("ascii")
