"""Parquet files of other programs: Arrow columns to table columns.

Binary becomes an object column of bytes (also inside the struct ``{bytes, path}`` that data sets use for images),
text becomes str, null becomes masked, NaN stays NaN, lists of equal lengths become arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import UnknownNameError
from astro_galaxysd.images.sources import object_array

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["table_from_arrow"]

#: Schema metadata of other programs that describes their own reading, not the table.
_FOREIGN_METADATA = ("pandas", "ARROW:schema", "huggingface", "table_meta_yaml", "spark")


def table_from_arrow(file: Any, columns: Sequence[str] | None = None) -> Table:
    """Read an open `pyarrow.parquet.ParquetFile`.

    Parameters
    ----------
    file : ParquetFile
    columns : sequence of str, optional
        Only these columns, in the order of the file.

    Returns
    -------
    Table
        Its ``meta`` holds the other programs' schema metadata as texts.

    Raises
    ------
    UnknownNameError
        If the file has no such column.
    """
    from astropy.table import Table

    names = file.schema_arrow.names
    for name in columns or ():
        if name not in names:
            raise UnknownNameError("column", name, names)
    arrow = file.read(columns=None if columns is None else [name for name in names if name in set(columns)])
    table = Table()
    for name in arrow.column_names:
        table[name] = _column(arrow.column(name))
    table.meta.update(_meta(file.schema_arrow.metadata or {}))
    return table


def _meta(metadata: dict[bytes, bytes]) -> dict[str, str]:
    texts = {key.decode(errors="replace"): value.decode(errors="replace") for key, value in metadata.items()}
    return {key: text for key, text in texts.items() if not key.startswith(_FOREIGN_METADATA)}


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
    if pa.types.is_struct(kind) and {field.name for field in kind} == {"bytes", "path"}:
        return object_array([None if item is None else item["bytes"] for item in items])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
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
