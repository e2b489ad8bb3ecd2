"""Masks of many columns as one column of packed bits, for formats whose own nulls are ambiguous.

FITS and ECSV can't tell a masked text from an empty one, or a masked float from NaN. One extra column, row by
row, keeps the bits of all columns that can have nulls, so it stays right when rows are selected elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from astro_galaxysd.images.storage_values import StoredColumn

__all__ = ["MASK_COLUMN", "pack_nulls", "packed_width", "unpack_nulls"]

#: Name of the column with the packed bits.
MASK_COLUMN = "galaxysd_masks"


def pack_nulls(columns: Sequence[StoredColumn]) -> np.ndarray | None:
    """Pack the nulls of all columns that have some.

    Returns
    -------
    ndarray, shape (N, B), uint8, or None
        The bits of a row, column after column, elements in C order; None where no column can have nulls.
    """
    nulls = [column.nulls for column in columns if column.nulls is not None]
    bits = [array.reshape(len(array), int(np.prod(array.shape[1:]))) for array in nulls]
    return np.packbits(np.concatenate(bits, axis=1), axis=1) if bits else None


def packed_width(shapes: Sequence[tuple[int, ...]]) -> int:
    """Bytes a row of packed bits takes for columns whose rows have these shapes."""
    return (sum(int(np.prod(shape)) for shape in shapes) + 7) // 8


def unpack_nulls(packed: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Undo `pack_nulls`.

    Parameters
    ----------
    packed : ndarray, shape (N, B), uint8
    shapes : sequence of tuple of int
        Shape of one row of each column with nulls: ``()`` for one value.

    Returns
    -------
    list of ndarray of bool, each shape (N, ...)
    """
    sizes = [int(np.prod(shape)) for shape in shapes]
    bits = np.unpackbits(packed, axis=1, count=sum(sizes)).astype(bool)
    ends = np.cumsum(sizes)[:-1]
    parts = np.split(bits, ends, axis=1)
    return [part.reshape(len(packed), *shape) for part, shape in zip(parts, shapes, strict=True)]
