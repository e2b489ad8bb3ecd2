"""Parquet files of other programs: Arrow columns to table columns.

Binary becomes an object column of bytes (also inside the struct ``{bytes, path}`` that data sets use for images),
text becomes str, null becomes masked, NaN stays NaN, lists of equal lengths become arrays. What a column becomes can
hang on a single row, so a file that is read in pieces is gone through once before, as far as it has to be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.images.features import is_image_struct
from astro_galaxysd.images.provenance import RUN_RECORD
from astro_galaxysd.images.sources import object_array

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["deciding_values", "table_from_arrow"]

#: Schema metadata of other programs that describes their own reading, not the table.
_FOREIGN_METADATA = ("pandas", "ARROW:schema", "huggingface", "table_meta_yaml", "spark")
#: Rows that are looked at at a time.
_ROWS = 1024


def table_from_arrow(arrow: Any, deciding: Mapping[str, Any] | None = None) -> Table:
    """Make a table of an Arrow table.

    Parameters
    ----------
    arrow : pyarrow.Table
    deciding : mapping of str to ChunkedArray, optional
        If `arrow` is a piece of a file: values from elsewhere in it, from `deciding_values`.

    Returns
    -------
    Table
        Its ``meta`` holds the other programs' schema metadata as texts.
    """
    import pyarrow as pa
    from astropy.table import Table

    table = Table()
    for name in arrow.column_names:
        values = arrow.column(name)
        if deciding and name in deciding:
            values = pa.chunked_array([*values.chunks, *deciding[name].chunks])
        table[name] = _column(values)[: len(arrow)]
    table.meta.update(_meta(arrow.schema.metadata or {}))
    return table


def deciding_values(file: Any, names: Sequence[str]) -> dict[str, Any]:
    """Values that decide what the columns of a file become: read with any piece, they make it like the whole.

    Only columns of lists, and those of whose nulls the file's statistics say nothing, are read for it.

    Parameters
    ----------
    file : ParquetFile
    names : sequence of str
        The columns to look at.

    Returns
    -------
    dict of str to ChunkedArray
        Columns without an entry are what any piece of them is.
    """
    import pyarrow as pa

    found, unknown = {}, {}
    for name in names:
        kind = file.schema_arrow.field(name).type
        # The path says as well as the image whether there is one at all, and is shorter.
        leaves = [f"{name}.bytes", f"{name}.path"] if is_image_struct(kind) else [name]
        counts = [_null_count(file, leaf) for leaf in leaves]
        if not _is_list(kind) and 0 in counts:
            continue
        if not pa.types.is_nested(kind) and counts[0] is not None:
            found[name] = pa.chunked_array([pa.nulls(1, kind)])
        else:
            unknown[name] = (leaves[-1], _Deciding(kind))
    if unknown:
        for batch in file.iter_batches(batch_size=_ROWS, columns=[leaf for leaf, _ in unknown.values()]):
            for name, (_, deciding) in unknown.items():
                deciding.look_at(batch.column(name))
            if all(deciding.settled for _, deciding in unknown.values()):
                break
    return found | {name: deciding.values() for name, (_, deciding) in unknown.items() if deciding.found}


class _Deciding:
    """The first null of a column and, of lists, one of each sort as far as `_arrays` tells them apart."""

    def __init__(self, kind: Any) -> None:
        self.found: list[Any] = []
        self._kind = kind
        self._null = False
        self._sorts: set[str] = set()
        self._shapes: set[tuple[int, ...]] = set()

    @property
    def settled(self) -> bool:
        """Whether nothing that comes can change what the column becomes."""
        return self._null and (not _is_list(self._kind) or "ragged" in self._sorts)

    def look_at(self, values: Any) -> None:
        """Take what decides from a few more values."""
        import pyarrow as pa

        if values.null_count and not self._null:
            self._null = True
            self.found.append(pa.nulls(1, self._kind))
        if not _is_list(self._kind):
            return
        for row, item in enumerate(values.to_pylist()):
            if item is None:
                continue
            sort, shape = _sort_of(item)
            if sort not in self._sorts or (shape not in self._shapes and len(self._shapes) < 2):
                # A slice would keep all of the values in memory.
                self.found.append(values.take(pa.array([row])))
                self._sorts.add(sort)
                self._shapes.add(shape)

    def values(self) -> Any:
        """Give what was found."""
        import pyarrow as pa

        return pa.chunked_array(self.found, self._kind)


def _sort_of(item: Any) -> tuple[str, tuple[int, ...]]:
    """Kind of number, or ``"ragged"``, and shape of a list."""
    try:
        array = np.array(item)
    except ValueError:
        return "ragged", ()
    return array.dtype.kind, array.shape


def _null_count(file: Any, path: str) -> int | None:
    """Nulls of a column that is no list, by the statistics of the file; None if they don't say it."""
    columns = [number for number in range(len(file.schema)) if file.schema.column(number).path == path]
    if len(columns) != 1:
        return None
    if file.schema.column(columns[0]).max_definition_level == 0:
        return 0
    count = 0
    for group in range(file.metadata.num_row_groups):
        statistics = file.metadata.row_group(group).column(columns[0]).statistics
        if statistics is None or not statistics.has_null_count:
            return None
        count += statistics.null_count
    return count


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _meta(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    texts = {key.decode(errors="replace"): value.decode(errors="replace") for key, value in metadata.items()}
    found: dict[str, Any] = {key: text for key, text in texts.items() if not key.startswith(_FOREIGN_METADATA)}
    if RUN_RECORD in found:
        # Of a shard that another program changed.
        with suppress(ValueError):
            found[RUN_RECORD] = json.loads(found[RUN_RECORD])
    return found


def _column(arrow: Any) -> Any:
    """Turn a chunked array into a Column or, with nulls, a MaskedColumn."""
    from astropy.table import Column, MaskedColumn

    values = _values(arrow)
    if not arrow.null_count:
        return Column(values)
    nulls = np.asarray(arrow.is_null().to_numpy(), dtype=bool)
    mask = np.broadcast_to(nulls.reshape(-1, *[1] * (values.ndim - 1)), values.shape)
    return MaskedColumn(values, mask=mask)


def _values(arrow: Any) -> np.ndarray:
    """Values with something of the right type where null."""
    import pyarrow as pa

    kind = arrow.type
    if pa.types.is_dictionary(kind):
        return _values(arrow.cast(kind.value_type))
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.asarray(arrow.fill_null(pa.scalar(0).cast(kind)).to_numpy())
    if pa.types.is_decimal(kind):
        return _values(arrow.cast(pa.float64()))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return np.asarray(arrow.to_numpy())
    items = arrow.to_pylist()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return np.array(["" if item is None else item for item in items], dtype=str)
    if is_image_struct(kind):
        return object_array([None if item is None else item["bytes"] for item in items])
    if _is_list(kind):
        return _arrays(items)
    return object_array(items)


def _arrays(items: Sequence[Any]) -> np.ndarray:
    """Make lists one array where they have one shape, else an object array of arrays."""
    try:
        arrays = [None if item is None else np.array(item) for item in items]
    except ValueError:
        # Ragged inside: nothing better than the lists themselves.
        return object_array(items)
    shapes = {array.shape for array in arrays if array is not None}
    if len(shapes) != 1 or any(array is not None and array.dtype.kind not in "biuf" for array in arrays):
        return object_array(arrays)
    shape = shapes.pop()
    blank = np.zeros(shape, next(array.dtype for array in arrays if array is not None))
    return np.stack([blank if array is None else array for array in arrays])
