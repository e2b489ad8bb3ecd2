"""Tables in Parquet: columns that pandas reads, and the description in the schema's metadata.

Images (N, H, W, 3) of uint8 become PNG bytes, bytes stay bytes, other arrays become fixed-size lists; masked values
are nulls. A mask inside arrays is kept as bits in one more column.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import MissingDependencyError
from astro_galaxysd.images.encoded import Encoding, decode_image, encode_image
from astro_galaxysd.images.features import is_image_struct
from astro_galaxysd.images.sources import object_array
from astro_galaxysd.images.storage_arrow import table_from_arrow
from astro_galaxysd.images.storage_columns import (
    KEY,
    assemble,
    disassemble,
    is_ours,
    wanted_columns,
    wanted_names,
)
from astro_galaxysd.images.storage_masks import MASK_COLUMN, pack_nulls, packed_width, unpack_nulls
from astro_galaxysd.images.storage_values import StoredColumn

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = [
    "arrow_columns",
    "is_image_stack",
    "open_parquet",
    "open_writer",
    "read_parquet",
    "stored_names",
    "table_from_stored",
    "write_parquet",
]

#: Uncompressed bytes of a row group: big enough to compress, small enough to read one at a time.
_GROUP_BYTES = 128 * 2**20
#: Above this many bytes a binary column needs 64-bit offsets.
_OFFSET_LIMIT = 2**31 - 1


def is_image_stack(values: np.ndarray) -> bool:
    """Whether a stored array is a stack of 8-bit colour images."""
    return values.dtype == np.uint8 and values.ndim == 4 and values.shape[3] == 3 and 0 not in values.shape[1:]


def write_parquet(table: Table, path: Path) -> None:
    """Write `table` to `path`.

    Raises
    ------
    MissingDependencyError
        If pyarrow isn't installed.
    """
    pa, pq = _arrow()
    description, stored = disassemble(table)
    arrow = pa.table(arrow_columns(description, stored)).replace_schema_metadata({KEY: json.dumps(description)})
    rows = max(1, int(_GROUP_BYTES / max(1.0, arrow.nbytes / max(1, len(table)))))
    pq.write_table(arrow, path, compression="zstd", row_group_size=rows)


def arrow_columns(description: dict[str, Any], stored: Sequence[StoredColumn]) -> dict[str, Any]:
    """Arrow arrays of what `disassemble` gave, by the names that the description gets for them."""
    pa, _ = _arrow()
    # One column more than the table's own, under a name that is free.
    arrays, inside = {}, []
    for entry, column in zip(description["columns"], stored, strict=True):
        entry["stored"] = column.name if column.name != MASK_COLUMN else f"{column.name}_"
        entry["png"] = column.kind == "numbers" and is_image_stack(column.values)
        arrays[entry["stored"]] = _arrow_array(pa, column)
        if _masked_inside(entry):
            inside.append(column)
    packed = pack_nulls(inside)
    if packed is not None:
        arrays[MASK_COLUMN] = _pieces_array(pa, [row.tobytes() for row in packed])
    return arrays


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> Table:
    """Read a table; columns of other programs' files become what they are nearest to (`storage_arrow`).

    Raises
    ------
    MissingDependencyError
        If pyarrow isn't installed.
    """
    with open_parquet(path) as file:
        names, description = stored_names(file, columns)
        # Arrow also reads a column "a.b" where "a" is asked for.
        arrow = file.read(columns=names).select(names)
    return table_from_arrow(arrow) if description is None else table_from_stored(arrow, description)


def open_parquet(path: Path, **options: Any) -> Any:
    """Open a `pyarrow.parquet.ParquetFile`.

    Raises
    ------
    MissingDependencyError
        If pyarrow isn't installed.
    """
    _, pq = _arrow()
    return pq.ParquetFile(path, **options)


def open_writer(path: Path, schema: Any) -> Any:
    """Open a `pyarrow.parquet.ParquetWriter`.

    Raises
    ------
    MissingDependencyError
        If pyarrow isn't installed.
    """
    _, pq = _arrow()
    return pq.ParquetWriter(path, schema)


def stored_names(file: Any, columns: Sequence[str] | None) -> tuple[list[str], dict[str, Any] | None]:
    """Names in an open file of what the table's columns `columns` (all: None) are stored in, and its description.

    The description is None where another program wrote the file.

    Raises
    ------
    UnknownNameError
        If the table has no such column.
    """
    schema = file.schema_arrow
    description = _description(schema.metadata)
    if not is_ours(description, [name for name in schema.names if name != MASK_COLUMN]):
        return wanted_names(schema.names, columns), None
    names = wanted_columns(description, columns)
    entries = [entry for entry in description["columns"] if entry["name"] in names]
    masks = [MASK_COLUMN] if any(_masked_inside(entry) for entry in entries) else []
    return [entry["stored"] for entry in entries] + masks, description


def table_from_stored(arrow: Any, description: dict[str, Any], first: int = 0) -> Table:
    """Make the table of the columns `stored_names` that were read; messages count rows from `first`."""
    nulls = _nulls_inside(arrow, description)
    stored = [
        _stored_column(arrow.column(entry["stored"]), entry, nulls.get(entry["name"]), first)
        for entry in description["columns"]
        if entry["stored"] in arrow.column_names
    ]
    return assemble(description, stored)


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError("Parquet files need pyarrow: pip install pyarrow") from error
    return pyarrow, pyarrow.parquet


def _description(metadata: dict[bytes, bytes] | None) -> Any:
    try:
        return json.loads((metadata or {})[KEY.encode()])
    except (KeyError, ValueError):
        return None


def _masked_inside(entry: dict[str, Any]) -> bool:
    """Whether single elements of a row's array can be masked, which Parquet's null can't say."""
    return bool(entry["nulls"])


def _nulls_inside(arrow: Any, description: dict[str, Any]) -> dict[str, np.ndarray]:
    """Masks of the array columns, by name."""
    if MASK_COLUMN not in arrow.column_names:
        return {}
    entries = [entry for entry in description["columns"] if _masked_inside(entry)]
    packed = np.frombuffer(b"".join(arrow.column(MASK_COLUMN).to_pylist()), np.uint8)
    shapes = [tuple(entry["nulls"]) for entry in entries]
    masks = unpack_nulls(packed.reshape(arrow.num_rows, packed_width(shapes)), shapes)
    return {entry["name"]: mask for entry, mask in zip(entries, masks, strict=True)}


def _arrow_array(pa: Any, column: StoredColumn) -> Any:
    """Make the Arrow array of a stored column."""
    if column.kind == "numbers":
        return _number_array(pa, column)
    nulls = np.zeros(len(column.values), bool) if column.nulls is None else column.nulls
    items = [None if null else item for item, null in zip(column.values.tolist(), nulls, strict=True)]
    if column.kind == "texts":
        return _pieces_array(pa, [None if item is None else item.encode() for item in items], text=True)
    return _pieces_array(pa, items)


def _number_array(pa: Any, column: StoredColumn) -> Any:
    values = column.values
    if is_image_stack(values):
        return _pieces_array(pa, [encode_image(pixels, Encoding("PNG")) for pixels in values])
    if values.dtype.kind == "c":
        # Arrow has no complex numbers: a list of real and imaginary part.
        values = np.ascontiguousarray(values)[..., np.newaxis].view(values.real.dtype)
    if values.dtype == np.float16:
        values = values.astype(np.float32)
    if values.ndim == 1:
        return _flat_array(pa, values, column.nulls)
    lists = pa.FixedSizeListArray.from_arrays(_flat_array(pa, values.ravel()), int(np.prod(values.shape[1:])))
    if column.values.ndim == 1 and column.nulls is not None:
        return pa.array([None if null else item for item, null in zip(lists.to_pylist(), column.nulls, strict=True)],
                        pa.list_(lists.type.value_type))  # fmt: skip
    return lists


# Made of their buffers: `pyarrow.array` imports pandas to see whether it is given something of pandas.


def _flat_array(pa: Any, values: np.ndarray, nulls: np.ndarray | None = None) -> Any:
    """Arrow array of numbers or booleans, shape (N,), native byte order."""
    data = np.packbits(values, bitorder="little") if values.dtype == bool else np.ascontiguousarray(values)
    buffers = [_validity(pa, nulls), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def _pieces_array(pa: Any, pieces: Sequence[bytes | None], *, text: bool = False) -> Any:
    """Arrow array of bytes, or of texts in UTF-8."""
    ends = np.cumsum([0, *(len(piece or b"") for piece in pieces)], dtype=np.int64)
    if ends[-1] > _OFFSET_LIMIT:
        kind = pa.large_string() if text else pa.large_binary()
    else:
        kind, ends = pa.string() if text else pa.binary(), ends.astype(np.int32)
    nulls = np.array([piece is None for piece in pieces], dtype=bool)
    data = b"".join(piece or b"" for piece in pieces)
    return pa.Array.from_buffers(kind, len(pieces), [_validity(pa, nulls), pa.py_buffer(ends), pa.py_buffer(data)])


def _validity(pa: Any, nulls: np.ndarray | None) -> Any:
    """Arrow's bits for what is not null; None where nothing is."""
    return None if nulls is None or not nulls.any() else pa.py_buffer(np.packbits(~nulls, bitorder="little"))


def _stored_column(arrow: Any, entry: dict[str, Any], inside: np.ndarray | None, first: int) -> StoredColumn:
    """Undo `_arrow_array`; `arrow` is a chunked array."""
    nulls = inside
    if entry["nulls"] is not None and nulls is None:
        nulls = np.asarray(arrow.is_null().to_numpy(), dtype=bool)
    if entry["kind"] != "numbers":
        blank = "" if entry["kind"] == "texts" else None
        if is_image_struct(arrow.type):
            items = [item["bytes"] for item in arrow.to_pylist()]
        else:
            items = [blank if item is None else item for item in arrow.to_pylist()]
        return StoredColumn(entry["name"], entry["kind"], object_array(items), nulls)
    return StoredColumn(entry["name"], "numbers", _number_values(arrow, entry, first), nulls)


def _number_values(arrow: Any, entry: dict[str, Any], first: int) -> np.ndarray:
    if entry["png"]:
        images = [decode_image(data, f"row {row}") for row, data in enumerate(arrow.to_pylist(), start=first)]
        return np.stack(images) if images else np.empty((0, *entry["shape"]), np.uint8)
    dtype = np.dtype(entry["dtype"])
    import pyarrow as pa

    if not (pa.types.is_fixed_size_list(arrow.type) or pa.types.is_list(arrow.type)):
        return np.asarray(arrow.fill_null(False if pa.types.is_boolean(arrow.type) else 0).to_numpy())
    if arrow.null_count:
        blank = [0] * (int(np.prod(entry["shape"])) * (2 if dtype.kind == "c" else 1))
        flat = np.array([item or blank for item in arrow.to_pylist()], dtype=arrow.type.value_type.to_pandas_dtype())
    else:
        flat = arrow.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    if dtype.kind == "c":
        flat = np.ascontiguousarray(flat).view(dtype.newbyteorder("="))
    return np.asarray(flat).reshape(len(arrow), *entry["shape"])
