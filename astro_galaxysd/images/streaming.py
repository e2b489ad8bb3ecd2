"""Tables piece by piece: what is larger than the memory can still be gone through.

A piece is what `read_table` would give for its rows. Two things make that so for files of other programs, in which
one row can decide what a whole column becomes (a null makes it a masked one): such rows are looked for first and
read with every piece. Of a FITS table, the rows of a piece and their part of the heap are put together to a small
FITS file in memory, which is read like any other.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ConditionError
from astro_galaxysd.images.shardimages import BLOCK
from astro_galaxysd.images.storage import locate_table, read_table, reading
from astro_galaxysd.images.storage_columns import wanted_columns, wanted_names

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["read_pieces", "table_length"]

#: Bytes that are read from a Parquet file at a time. Without such a buffer a whole row group is in memory.
_BUFFER = 2**20
#: Bytes of a FITS table that are looked through at a time.
_LOOKED_AT = 2**24
#: Bytes of an element of a variable-length array, by its FITS format.
_ELEMENT = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16}


def read_pieces(
    source: Table | str | os.PathLike[str], columns: Sequence[str] | None = None, *, rows: int = 1024
) -> Iterator[Table]:
    """Read a table piece by piece, so that only one piece is in memory.

    Parameters
    ----------
    source : Table or path-like
        A table, or a file or folder that `read_table` reads. Of .parquet and .fits files only the rows of a piece are
        read; a .fits.gz is unpacked in memory, a folder is read whole. Parts of files of other programs may be read
        twice: see Notes.
    columns : sequence of str, optional
        Only these columns, in the order of the table.
    rows : int
        Rows of a piece; the last one may be shorter.

    Yields
    ------
    Table or QTable
        ``read_table(source, columns)[start : start + rows]``: types, masks and dtypes of the columns are those of the
        whole table, apart from the width of texts in files of other programs. An empty table gives no piece.

    Raises
    ------
    ConditionError
        If `rows` is below 1, or as `read_table`: if there is no such file, it is damaged or of an unknown format.
        Damage further on is met when its piece is asked for.
    UnknownNameError
        If the table lacks one of `columns`.

    Notes
    -----
    In a file that `write_table` wrote, the description says what each column is. In others it can hang on a single
    row, so that before the first piece is given, columns of lists and columns whose nulls the file doesn't count are
    read once from Parquet, the rows without variable-length arrays from FITS.

    Examples
    --------
    >>> from astropy.table import Table
    >>> [len(piece) for piece in read_pieces(Table({"id": [1, 2, 3, 4, 5]}), rows=2)]
    [2, 2, 1]
    """
    from astropy.table import Table

    if rows < 1:
        raise ConditionError(f"a piece of {rows} rows is none; use rows=1 or more")
    if isinstance(source, Table):
        return _table_pieces(source, columns, rows)
    path, chosen = locate_table(source)
    if chosen == "folder":
        return _table_pieces(read_table(path, columns), None, rows)
    return _file_pieces(path, chosen, columns, rows)


def table_length(source: Table | str | os.PathLike[str]) -> int:
    """Count the rows of a table without reading its columns.

    Parameters
    ----------
    source : Table or path-like
        As `read_pieces`.

    Raises
    ------
    ConditionError
        As `read_table`.
    """
    from astropy.table import Table

    if isinstance(source, Table):
        return len(source)
    path, chosen = locate_table(source)
    with reading(path):
        if chosen == "folder":
            from astro_galaxysd.images.storage_folder import count_folder

            return count_folder(path)
        if chosen == "fits":
            from astro_galaxysd.images.storage_fits import find_table, open_fits, strict

            with strict(path), open_fits(path) as hdus:
                return int(find_table(hdus, path)[0].header["NAXIS2"])
        from astro_galaxysd.images.storage_parquet import open_parquet

        with open_parquet(path) as file:
            return int(file.metadata.num_rows)


def _table_pieces(table: Table, columns: Sequence[str] | None, rows: int) -> Iterator[Table]:
    names = wanted_names(table.colnames, columns)
    for start in range(0, len(table) if names else 0, rows):
        piece = table[start : start + rows]
        yield piece if columns is None else piece[names]


def _file_pieces(path: Path, chosen: str, columns: Sequence[str] | None, rows: int) -> Iterator[Table]:
    """Pieces of a file; an empty table is read as well, for the errors it may give, and left out."""
    with reading(path):
        for piece in (_fits_pieces if chosen == "fits" else _parquet_pieces)(path, columns, rows):
            if not len(piece):
                return
            yield piece


def _parquet_pieces(path: Path, columns: Sequence[str] | None, rows: int) -> Iterator[Table]:
    from astro_galaxysd.images.storage_arrow import deciding_values, table_from_arrow
    from astro_galaxysd.images.storage_parquet import open_parquet, stored_names, table_from_stored

    with open_parquet(path, buffer_size=_BUFFER, pre_buffer=False) as file:
        names, description = stored_names(file, columns)
        several = file.metadata.num_rows > rows
        deciding = deciding_values(file, names) if several and description is None else {}
        first = 0
        for arrow in _arrow_pieces(file, names, rows):
            if description is None:
                yield table_from_arrow(arrow, deciding)
            else:
                yield table_from_stored(arrow, description, first)
            first += len(arrow)


def _arrow_pieces(file: Any, names: Sequence[str], rows: int) -> Iterator[Any]:
    """Arrow tables of `rows` rows; one without rows if there are none. Arrow may give shorter batches at any place."""
    import pyarrow as pa

    if not names or not file.metadata.num_rows:
        yield file.schema_arrow.empty_table().select(names)
        return
    rest = None
    for batch in file.iter_batches(batch_size=rows, columns=names):
        # Arrow also reads a column "a.b" where "a" is asked for.
        arrow = pa.Table.from_batches([batch]).select(names)
        arrow = arrow if rest is None else pa.concat_tables([rest, arrow])
        rest = arrow.slice(rows) if len(arrow) > rows else arrow if len(arrow) < rows else None
        if len(arrow) >= rows:
            yield arrow.slice(0, rows)
    if rest is not None:
        yield rest


def _fits_pieces(path: Path, columns: Sequence[str] | None, rows: int) -> Iterator[Table]:
    from astro_galaxysd.images.storage_fits import IMAGE, find_table, open_fits, open_images, strict

    # Nothing that is yielded may lie within `strict`: it changes the filters of warnings.
    with strict(path):
        hdus = open_fits(path)
    with hdus:
        with strict(path):
            hdu, description = find_table(hdus, path)
            wanted = None
            if description is not None:
                names = set(wanted_columns(description, columns))
                wanted = {entry["stored"] for entry in description["columns"] if entry["name"] in names}
            elif columns is not None:
                # A part of a mixin column begins with the column's name.
                wanted = {name for name in hdu.columns.names if name.startswith(tuple(columns))}
            table = _FitsRows(hdu, description, wanted)
            deciding: list[int] = []
            if description is None and table.count > rows:
                # Before all rows are gone through: does the table have the columns?
                table.read(0, 1, [], columns)
                deciding = table.deciding_rows()
        for start in range(0, max(table.count, 1), rows):
            with strict(path):
                piece = table.read(start, min(start + rows, table.count), deciding, columns)
            yield piece


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
        from astro_galaxysd.images.storage_fits import HEAPED

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

        from astro_galaxysd.images.storage_fits import read_hdu

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
