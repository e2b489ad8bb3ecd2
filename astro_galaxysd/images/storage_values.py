"""The values of one column as numbers, texts or blobs, and back.

`encode_values` chooses a *coding* by dtype and, for object columns, by what is in them; `decode_values` undoes it.
Object items are bytes, arrays (in numpy's own format, without pickle), str or what JSON keeps.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from astro_galaxysd.errors import OutputError
from astro_galaxysd.images.sources import object_array

__all__ = ["StoredColumn", "decode_values", "encode_values"]


@dataclass
class StoredColumn:
    """One plain column on its way to or from a file.

    Parameters
    ----------
    name : str
        Name in the table (with a dot for a part of a mixin column: ``"time.jd1"``).
    kind : str
        ``"numbers"``, ``"texts"`` or ``"blobs"``.
    values : ndarray
        numbers: shape (N, ...); texts: (N,) of str; blobs: (N,) object of bytes or None.
    nulls : ndarray of bool, or None
        Shape of a numbers array, else (N,); None where the column can't have nulls.
    """

    name: str
    kind: str
    values: np.ndarray
    nulls: np.ndarray | None = None


def encode_values(
    name: str, values: np.ndarray, nulls: np.ndarray | None
) -> tuple[str, str, np.ndarray, np.ndarray | None]:
    """Choose how a column is stored.

    Parameters
    ----------
    name : str
        The column, for messages.
    values : ndarray, shape (N, ...)
    nulls : ndarray of bool, same shape, or None
        What is masked.

    Returns
    -------
    coding, kind : str
        How `decode_values` has to read it; the physical kind.
    stored : ndarray
    nulls : ndarray of bool or None

    Raises
    ------
    OutputError
        If the values can't be kept exactly.
    """
    kind = values.dtype.kind
    if kind == "O":
        return _encode_objects(name, values, nulls)
    if kind in "US" and values.ndim > 1:
        # Texts with more axes are rare: one JSON list a row; their nulls are stored inside, as None.
        return "json", "texts", _json_texts(_text_lists(values, nulls)), None
    if kind == "U":
        return "text", "texts", _utf8(name, values), nulls
    if kind == "S":
        return "bytes", "blobs", object_array(values.tolist()), nulls
    if kind in "mM":
        return "time", "numbers", values.astype(values.dtype.newbyteorder("=")).view(np.int64), nulls
    if kind in "biufc" and values.dtype.itemsize <= np.dtype(np.complex128 if kind == "c" else np.float64).itemsize:
        if 0 in values.shape[1:]:
            return "hollow", "numbers", np.zeros(len(values), np.uint8), None
        return "number", "numbers", values.astype(values.dtype.newbyteorder("="), copy=False), nulls
    raise OutputError(f"column {name!r} of dtype {values.dtype} can't be stored; convert it, for example to float64")


def decode_values(entry: Mapping[str, Any], column: StoredColumn) -> np.ndarray:
    """Return values of the dtype and shape in the description's `entry`; what is null has any value."""
    dtype: np.dtype[Any] = np.dtype(entry["dtype"])
    coding, values = entry["coding"], column.values
    shape = (len(values), *entry["shape"])
    if coding == "hollow":
        return np.empty(shape, dtype)
    if coding == "time":
        return values.astype(np.int64).view(dtype.newbyteorder("=")).reshape(shape).astype(dtype)
    if coding == "number":
        return np.asarray(values.reshape(shape).astype(dtype, copy=False))
    if coding == "text":
        return np.asarray(values).astype(dtype)
    if coding == "bytes":
        return np.array([value or b"" for value in values], dtype=dtype).reshape(shape)
    if coding == "json" and dtype.kind in "US":
        return _restore_text_lists(column, dtype, shape)
    return _decode_objects(coding, column)


def _utf8(name: str, texts: np.ndarray) -> np.ndarray:
    """Return `texts`, all of which UTF-8 can keep."""
    for row, text in enumerate(texts):
        try:
            str(text).encode()
        except UnicodeEncodeError as error:
            raise OutputError(
                f"column {name!r}: the text of row {row} is no Unicode text ({error}); repair it"
            ) from None
    return texts


def _text_lists(values: np.ndarray, nulls: np.ndarray | None) -> list[Any]:
    texts = np.char.decode(values, "latin-1") if values.dtype.kind == "S" else values
    objects = texts.astype(object)
    if nulls is not None:
        objects[nulls] = None
    return list(objects.tolist())


def _restore_text_lists(column: StoredColumn, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    objects = np.empty(shape, object)
    for row, text in enumerate(column.values):
        objects[row] = np.array(json.loads(text), dtype=object).reshape(shape[1:])
    column.nulls = objects == np.array(None)
    objects[column.nulls] = ""
    texts = objects.astype(str)
    if dtype.kind == "S":
        return np.asarray(np.char.encode(texts, "latin-1")).astype(dtype)
    return texts.astype(dtype)


def _json_texts(items: Sequence[Any]) -> np.ndarray:
    return object_array([json.dumps(item) for item in items])


def _encode_objects(
    name: str, values: np.ndarray, nulls: np.ndarray | None
) -> tuple[str, str, np.ndarray, np.ndarray | None]:
    """Store an object column by what is in it; None is a null, unless the column has masked rows for that."""
    if values.ndim > 1:
        raise OutputError(f"column {name!r} is an object column with {values.ndim} axes; use one item a row")
    none = np.array([item is None for item in values], dtype=bool)
    if nulls is not None and np.any(none & ~nulls):
        raise OutputError(f"column {name!r}: row {int(np.argmax(none & ~nulls))} is None and not masked; mask it")
    nulls = none if nulls is None else nulls
    items = [item for item, null in zip(values, nulls, strict=True) if not null]
    coding, kind, encode = _object_coding(name, items)
    blank = "" if kind == "texts" else None
    stored = object_array([blank if null else encode(item) for item, null in zip(values, nulls, strict=True)])
    return coding, kind, _utf8(name, stored) if kind == "texts" else stored, nulls


def _object_coding(name: str, items: Sequence[Any]) -> tuple[str, str, Callable[[Any], Any]]:
    """Choose how the items of an object column are stored."""
    if all(isinstance(item, bytes) for item in items):
        return "object-bytes", "blobs", bytes
    if all(type(item) is np.ndarray and item.ndim == 1 and item.dtype == np.uint8 for item in items):
        return "object-uint8", "blobs", np.ndarray.tobytes
    if all(type(item) is np.ndarray and item.dtype.kind in "biufcUS" for item in items):
        return "object-npy", "blobs", _to_npy
    if all(type(item) is str for item in items):
        return "object-str", "texts", str
    for row, item in enumerate(items):
        if not _survives_json(item):
            raise OutputError(
                f"column {name!r} is an object column whose item {row} ({type(item).__name__}) can't be stored "
                "exactly; use bytes, arrays, str or values that JSON keeps, all of one kind"
            )
    return "object-json", "texts", json.dumps


def _decode_objects(coding: str, column: StoredColumn) -> np.ndarray:
    decode: dict[str, Callable[[Any], Any]] = {
        "object-bytes": bytes,
        "object-uint8": lambda blob: np.frombuffer(blob, np.uint8).copy(),
        "object-npy": _from_npy,
        "object-str": str,
        "object-json": json.loads,
    }
    nulls = np.zeros(len(column.values), bool) if column.nulls is None else column.nulls
    return object_array(
        [None if null else decode[coding](item) for item, null in zip(column.values, nulls, strict=True)]
    )


def _survives_json(item: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(item, allow_nan=False)) == item) and type(item) is not tuple
    except (TypeError, ValueError):
        return False


def _to_npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _from_npy(blob: bytes) -> np.ndarray:
    array: np.ndarray = np.load(io.BytesIO(blob), allow_pickle=False)
    return array
