"""Tables piece by piece: what is larger than the memory can still be gone through.

A piece is what `read_table` would give for its rows. In files of other programs one row can decide what a whole column
becomes (a null makes it a masked one): such rows are looked for first and read with every piece. Of a folder of files,
all are opened once before, for what their columns have in common.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ConditionError, UnknownNameError
from astro_galaxysd.images.storage import PARTS, locate_table, parts_of, read_table, reading
from astro_galaxysd.images.storage_columns import columns_key, wanted_names
from astro_galaxysd.images.storage_parts import common_layout, conform, stack

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["pieces_of_rows", "read_parts", "read_pieces", "read_rows", "table_columns", "table_length"]

#: Rows that are read at a time where some are chosen.
_ROWS = 512
#: Bytes that are read from a Parquet file at a time. Without such a buffer a whole row group is in memory.
_BUFFER = 2**20


def read_pieces(
    source: Table | str | os.PathLike[str], columns: Sequence[str] | None = None, *, rows: int = 1024
) -> Iterator[Table]:
    """Read a table piece by piece, so that only one piece is in memory.

    Parameters
    ----------
    source : Table or path-like
        A table, or a file or folder that `read_table` reads. Of .parquet and .fits files, also those of a folder, only
        the rows of a piece are read; a .fits.gz is unpacked in memory, a folder that `write_table` wrote is read whole.
        Parts of files of other programs may be read twice: see Notes.
    columns : sequence of str, optional
        Only these columns, in the order of the table.
    rows : int
        Rows of a piece; the last one of a file may be shorter.

    Yields
    ------
    Table or QTable
        ``read_table(source, columns)[start : start + rows]``: types, masks and dtypes of the columns are those of the
        whole table, apart from the width of texts in several files and in those of other programs. An empty table gives
        no piece.

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
    return _without_places(_placed_pieces(path, chosen, columns, rows))


def read_rows(
    source: Table | str | os.PathLike[str], rows: Sequence[int] | np.ndarray, columns: Sequence[str] | None = None
) -> Table:
    """Read some rows of a table; more of a file than a piece of it is never in memory.

    Parameters
    ----------
    source : Table or path-like
        As `read_pieces`. Row groups of a Parquet file, and files of a folder, that have none of the rows are not read.
    rows : sequence of int
        Rows, counted from 0, in any order; one may be asked for more than once.
    columns : sequence of str, optional
        Only these columns, in the order of the table.

    Returns
    -------
    Table or QTable
        ``read_table(source, columns)[rows]``, apart from the width of texts in several files and in those of other
        programs.

    Raises
    ------
    ConditionError
        If the table has no such row, or as `read_table`.
    UnknownNameError
        If the table lacks one of `columns`.

    Examples
    --------
    >>> from astropy.table import Table
    >>> list(read_rows(Table({"id": ["a", "b", "c"]}), [2, 0, 2])["id"]) == ["c", "a", "c"]
    True
    """
    chosen = np.asarray(rows, dtype=int)
    places, tables = [], []
    for some, table in pieces_of_rows(source, chosen, columns):
        places.append(some)
        tables.append(table)
    if not tables:
        return _layout(source, columns)
    order = np.empty(len(chosen), dtype=int)
    order[np.concatenate(places)] = np.arange(len(chosen))
    return stack(tables)[order]


def pieces_of_rows(
    source: Table | str | os.PathLike[str], rows: Sequence[int] | np.ndarray, columns: Sequence[str] | None = None
) -> Iterator[tuple[np.ndarray, Table]]:
    """Read some rows of a table piece by piece, in the order of the table.

    Parameters
    ----------
    source, rows, columns
        As `read_rows`.

    Yields
    ------
    ndarray of int
        Which of `rows` a piece has: places in `rows`.
    Table
        These rows.

    Raises
    ------
    ConditionError, UnknownNameError
        As `read_rows`.
    """
    wanted = np.asarray(rows, dtype=int)
    count = table_length(source)
    outside = wanted[(wanted < 0) | (wanted >= count)]
    if len(outside):
        raise ConditionError(f"row {outside[0]} is not there: the table has {count} rows, counted from 0")
    order = np.argsort(wanted, kind="stable")
    ascending = wanted[order]
    for start, piece in _all_pieces(source, columns, np.unique(wanted)):
        begin, end = np.searchsorted(ascending, [start, start + len(piece)])
        if begin < end:
            yield order[begin:end], piece[ascending[begin:end] - start]


def table_columns(source: Table | str | os.PathLike[str]) -> list[str]:
    """Names of a table's columns.

    Parameters
    ----------
    source : Table or path-like
        As `read_pieces`; what it has to look at before the first piece is read.

    Raises
    ------
    ConditionError
        As `read_table`.
    """
    from astropy.table import Table

    if not isinstance(source, Table):
        path, chosen = locate_table(source)
        if chosen == "folder":
            from astro_galaxysd.images.storage_folder import folder_columns

            with reading(path):
                return folder_columns(path)
    return list(_layout(source, None).colnames)


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
    if chosen == PARTS:
        return sum(table_length(part) for part in parts_of(path)[0])
    with reading(path):
        if chosen == "folder":
            from astro_galaxysd.images.storage_folder import count_folder

            return count_folder(path)
        if chosen == "fits":
            from astro_galaxysd.images.storage_fits import find_table, open_fits, shard_description, strict

            shard = shard_description(path)
            if shard is not None:
                return int(shard["rows"])
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


def _some_columns(table: Table, columns: Sequence[str] | None) -> Table:
    """Columns of a table in its order; an empty list would be taken for rows."""
    names = wanted_names(table.colnames, columns)
    return table if columns is None else table[names] if names else type(table)()


def read_parts(folder: Path, columns: Sequence[str] | None = None) -> Table:
    """Read the files of a folder as one table; see `astro_galaxysd.images.storage.read_table`."""
    layout = _layout(folder, columns)
    return stack([conform(read_table(part, columns), layout) for part in parts_of(folder)[0]])


def _all_pieces(source: Any, columns: Sequence[str] | None, wanted: np.ndarray) -> Iterator[tuple[int, Table]]:
    """Pieces that have wanted rows, and perhaps others, with the row at which they begin."""
    from astropy.table import Table

    path, chosen = (None, "") if isinstance(source, Table) else locate_table(source)
    if path is None or chosen == "folder":
        yield 0, _some_columns(source, columns) if path is None else read_table(path, columns)
        return
    yield from _placed_pieces(path, chosen, columns, _ROWS, wanted)


def _placed_pieces(
    path: Path, chosen: str, columns: Sequence[str] | None, rows: int, wanted: np.ndarray | None = None
) -> Generator[tuple[int, Table], None, None]:
    """Pieces of a file or of the files of a folder, with the row at which they begin.

    Those without a row of `wanted` (ascending; all: None) may be left out.
    """
    if chosen != PARTS:
        yield from _file_pieces(path, chosen, columns, rows, wanted)
        return
    layout, first = _layout(path, columns), 0
    parts, kind = parts_of(path)
    for part in parts:
        count = table_length(part)
        some = None if wanted is None else wanted[(wanted >= first) & (wanted < first + count)] - first
        if some is None or len(some):
            for start, piece in _file_pieces(part, kind, columns, rows, some):
                yield first + start, conform(piece, layout)
        first += count


def _without_places(pieces: Generator[tuple[int, Table], None, None]) -> Iterator[Table]:
    with closing(pieces):
        for _, piece in pieces:
            yield piece


def _layout(source: Any, columns: Sequence[str] | None) -> Table:
    """Give a table without its rows, but for a folder that is read whole anyway."""
    from astropy.table import Table

    if isinstance(source, Table):
        return _some_columns(source, columns)[:0]
    path, chosen = locate_table(source)
    if chosen == "folder":
        return read_table(path, columns)[:0]
    parts, kind = parts_of(path) if chosen == PARTS else ([path], chosen)
    layouts: dict[str, tuple[Path, Table]] = {}
    for part in parts:
        try:
            # Shards of a run are alike: the first stands for them.
            key = _known_columns(part, kind) or str(part)
            if key not in layouts:
                layouts[key] = part, _file_layout(part, kind, columns)
        except UnknownNameError as error:
            if part is parts[0]:
                raise
            raise ConditionError(
                f"{str(part)!r} has other columns than {parts[0].name!r}: {error}; name columns that all files have"
            ) from error
    return common_layout(list(layouts.values()))


def _known_columns(path: Path, chosen: str) -> str | None:
    """What a file says of its own columns; None where another program wrote it, or only reading it tells."""
    with reading(path):
        if chosen == "parquet":
            from astro_galaxysd.images.storage_parquet import open_parquet, stored_names

            with open_parquet(path) as file:
                _, description = stored_names(file, None)
        else:
            from astro_galaxysd.images.storage_fits import shard_description

            description = shard_description(path)
    return None if description is None else columns_key(description)


def _file_layout(path: Path, chosen: str, columns: Sequence[str] | None) -> Table:
    """Give the table of a file without its rows."""
    with reading(path):
        if chosen == "parquet":
            return _parquet_layout(path, columns)
        from astro_galaxysd.images.storage_fits import open_fits, strict
        from astro_galaxysd.images.streaming_fits import FitsPieces

        with strict(path), open_fits(path) as hdus:
            return FitsPieces(hdus, path, columns).layout()


def _parquet_layout(path: Path, columns: Sequence[str] | None) -> Table:
    from astro_galaxysd.images.storage_arrow import deciding_values, table_from_arrow
    from astro_galaxysd.images.storage_parquet import open_parquet, stored_names, table_from_stored

    with open_parquet(path, buffer_size=_BUFFER, pre_buffer=False) as file:
        names, description = stored_names(file, columns)
        nothing = file.schema_arrow.empty_table().select(names)
        if description is not None:
            return table_from_stored(nothing, description)
        return table_from_arrow(nothing, deciding_values(file, names))


def _file_pieces(
    path: Path, chosen: str, columns: Sequence[str] | None, rows: int, wanted: np.ndarray | None
) -> Iterator[tuple[int, Table]]:
    """Pieces of a file; an empty table is read as well, for the errors it may give, and left out."""
    with reading(path):
        for start, piece in (_fits_pieces if chosen == "fits" else _parquet_pieces)(path, columns, rows, wanted):
            if not len(piece):
                return
            yield start, piece


def _parquet_pieces(
    path: Path, columns: Sequence[str] | None, rows: int, wanted: np.ndarray | None
) -> Iterator[tuple[int, Table]]:
    from astro_galaxysd.images.storage_arrow import deciding_values, table_from_arrow
    from astro_galaxysd.images.storage_parquet import open_parquet, stored_names, table_from_stored

    with open_parquet(path, buffer_size=_BUFFER, pre_buffer=False) as file:
        names, description = stored_names(file, columns)
        several = file.metadata.num_rows > rows
        deciding = deciding_values(file, names) if several and description is None else {}
        for first, groups in _group_runs(file, wanted):
            start = first
            for arrow in _arrow_pieces(file, names, rows, groups):
                if description is None:
                    yield start, table_from_arrow(arrow, deciding)
                else:
                    yield start, table_from_stored(arrow, description, start)
                start += len(arrow)


def _group_runs(file: Any, wanted: np.ndarray | None) -> Iterator[tuple[int, list[int] | None]]:
    """Row groups that have wanted rows, one by one, with their first row; all together if all rows are wanted."""
    if wanted is None:
        yield 0, None
        return
    first = 0
    for group in range(file.metadata.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if _has_any(wanted, first, first + count):
            yield first, [group]
        first += count


def _has_any(wanted: np.ndarray | None, start: int, stop: int) -> bool:
    if wanted is None:
        return True
    begin, end = np.searchsorted(wanted, [start, stop])
    return bool(begin < end)


def _arrow_pieces(file: Any, names: Sequence[str], rows: int, groups: list[int] | None) -> Iterator[Any]:
    """Arrow tables of `rows` rows; one without rows if there are none. Arrow may give shorter batches at any place."""
    import pyarrow as pa

    if not names or not file.metadata.num_rows:
        yield file.schema_arrow.empty_table().select(names)
        return
    rest = None
    for batch in file.iter_batches(batch_size=rows, columns=names, row_groups=groups):
        # Arrow also reads a column "a.b" where "a" is asked for.
        arrow = pa.Table.from_batches([batch]).select(names)
        arrow = arrow if rest is None else pa.concat_tables([rest, arrow])
        rest = arrow.slice(rows) if len(arrow) > rows else arrow if len(arrow) < rows else None
        if len(arrow) >= rows:
            yield arrow.slice(0, rows)
    if rest is not None:
        yield rest


def _fits_pieces(
    path: Path, columns: Sequence[str] | None, rows: int, wanted: np.ndarray | None
) -> Iterator[tuple[int, Table]]:
    from astro_galaxysd.images.storage_fits import open_fits, strict
    from astro_galaxysd.images.streaming_fits import FitsPieces

    # Nothing that is yielded may lie within `strict`: it changes the filters of warnings.
    with strict(path):
        hdus = open_fits(path)
    with hdus:
        with strict(path):
            table = FitsPieces(hdus, path, columns)
            if table.count > rows:
                table.decide()
        for start in range(0, max(table.count, 1), rows):
            stop = min(start + rows, table.count)
            if stop and not _has_any(wanted, start, stop):
                continue
            with strict(path):
                piece = table.read(start, stop)
            yield start, piece
