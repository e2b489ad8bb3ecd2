"""What an image source is: the rows of a column or sequence, the kind of each, and the refusal of everything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ImageError, UnknownNameError
from astro_galaxysd.images.planes import is_hdu

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["check_bands", "image_items", "kind_of", "object_array", "row_name"]


def row_name(row: int) -> str:
    """Name of a row in messages; rows are counted from 0."""
    return f"row {row}"


def image_items(source: Any, column: str) -> Any:
    """Return what gives one image for each index: the column's array, or the sequence itself.

    Raises
    ------
    ImageError
        For an empty source, bytes in an S column, an unknown kind.
    UnknownNameError
        If the table has no such column.
    """
    from astropy.io import fits
    from astropy.table import Table

    if isinstance(source, Table):
        source = _column_of(source, column)
    if isinstance(source, fits.HDUList):
        # A whole file: every HDU with pixels is a row; the primary HDU is often empty.
        source = [hdu for hdu in source if hdu.is_image and hdu.header["NAXIS"] > 0]
    if isinstance(source, np.ndarray):
        _check_array(source)
        source = _plain_rows(source)
    elif not isinstance(source, Sequence) or isinstance(source, str | bytes):
        raise ImageError(_unknown_kind("the source", source))
    if len(source) == 0:
        raise ImageError("there are no images: the source is empty; give at least one row")
    return source


def _plain_rows(values: np.ndarray) -> Any:
    """Rows of a column as plain values: None where an object is masked; a masked stack keeps its mask."""
    if not isinstance(values, np.ma.MaskedArray):
        return np.asarray(values)
    if values.dtype.kind != "O":
        return np.ma.MaskedArray(values.data, np.ma.getmaskarray(values))
    hidden = np.ma.getmaskarray(values)
    return object_array([None if masked else item for item, masked in zip(values.data, hidden, strict=True)])


def _column_of(table: Table, column: str) -> Any:
    if column not in table.colnames:
        raise UnknownNameError("image column", column, table.colnames, "Name the column that holds the images.")
    return table[column]


def _check_array(values: np.ndarray) -> None:
    """Refuse whole arrays of the wrong type or number of axes, with the way out."""
    if values.dtype.kind == "S":
        raise ImageError(
            f"the images are bytes in a column of dtype {values.dtype}, which loses NUL bytes at the end of each value "
            "and may be cut: make an object column from the original bytes: values = np.empty(len(data), object); "
            "values[:] = data"
        )
    if values.dtype.kind == "O":
        if values.ndim != 1:
            raise ImageError(f"an object column of images must have one item a row, not the shape {values.shape}")
        return
    if values.ndim == 3 and values.shape[-1] == 3:
        raise ImageError(f"one image of shape {values.shape} instead of a stack (N, H, W, 3); pass image[np.newaxis]")
    if values.ndim < 3 or values.dtype.kind not in "buif":
        raise ImageError(_unknown_kind("the source", values))


def _unknown_kind(where: str, value: Any) -> str:
    seen = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
    return (
        f"{where}: unknown kind of image ({seen}); known are arrays (H, W, 3) of uint8 or floats in [0, 1], JPEG or "
        "PNG bytes in an object column or list, 1-D uint8 arrays of such bytes, and image HDUs with planes (3, H, W)"
    )


def kind_of(item: Any, where: str) -> str:
    """Return the kind of one item: ``"encoded"``, ``"array"`` or ``"hdu"``.

    Raises
    ------
    ImageError
        If the item is masked, None or of an unknown kind.
    """
    if item is None or item is np.ma.masked:
        raise ImageError(f"{where} has no image (it is masked or None); remove the row or give it an image")
    if isinstance(item, bytes | bytearray | memoryview):
        return "encoded"
    if isinstance(item, np.ndarray):
        return "encoded" if item.ndim == 1 and item.dtype == np.uint8 else "array"
    if is_hdu(item):
        return "hdu"
    raise ImageError(_unknown_kind(where, item))


def check_bands(values: np.ndarray, where: str) -> None:
    """Refuse what is no (H, W, 3) image of uint8 or float.

    Raises
    ------
    ImageError
        The message names the row, the shape or dtype seen and the way out.
    """
    if values.ndim == 3 and values.shape[-1] != 3 and values.shape[0] == 3:
        raise ImageError(f"{where}: planes first, shape {values.shape}; use np.moveaxis(images, -3, -1)")
    if values.ndim != 3 or values.shape[-1] != 3:
        bands = 1 if values.ndim == 2 else values.shape[-1] if values.ndim == 3 else None
        seen = f"{bands} band{'s' if bands != 1 else ''}" if bands is not None else f"{values.ndim} axes"
        raise ImageError(
            f"{where}: {seen} (shape {values.shape}); three colour bands are needed, shape (H, W, 3): repeat a single "
            "band, drop a fourth"
        )
    if 0 in values.shape:
        raise ImageError(f"{where}: an image without pixels, shape {values.shape}; remove the row")
    if values.dtype != np.uint8 and values.dtype.kind != "f":
        raise ImageError(
            f"{where}: pixels of dtype {values.dtype}; they must be uint8, or floats in [0, 1]: convert them with "
            "astype"
        )


def object_array(items: Sequence[Any]) -> np.ndarray:
    """Make an object array of shape (N,), whatever the items are."""
    # np.array(items, dtype=object) would turn arrays of equal shape into one array with more axes.
    out = np.empty(len(items), dtype=object)
    for row, item in enumerate(items):
        out[row] = item
    return out
