"""Planes of new rows as cells of a table: in the dtype, the axes and the codec of the real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ImageError
from astro_galaxysd.images.encoded import encode_image
from astro_galaxysd.images.sources import object_array, row_name
from astro_galaxysd.images.wcs import wcs_column, wcs_text
from astro_galaxysd.survey.cells import Cell

if TYPE_CHECKING:
    from astro_galaxysd.survey.layout import Layout

__all__ = ["as_array", "as_dtype", "as_picture", "hdu_columns"]


def as_dtype(planes: np.ndarray, layout: Layout, *, display: bool) -> np.ndarray:
    """Planes in the dtype of the real ones.

    Parameters
    ----------
    planes : ndarray, shape (planes, H, W), float64
        NaN is missing.
    layout : Layout
    display : bool
        They are display values in [0, 1].

    Returns
    -------
    ndarray, shape (planes, H, W)
        Floats are multiples of the layout's step, if it has one. In whole numbers (grey levels of display values,
        else the values themselves) a missing pixel is the darkest of its image.
    """
    dtype = np.dtype(layout.dtype)
    values = np.clip(planes, 0.0, 1.0) if display else planes
    if dtype.kind == "f":
        limit = float(np.finfo(dtype).max)
        rounded = values if layout.step is None else np.rint(values / layout.step) * layout.step
        return np.asarray(np.clip(rounded, -limit, limit).astype(dtype))
    values = values * 255.0 if display else values
    lowest = np.nanmin(values, initial=np.inf)
    known = np.where(np.isnan(values), lowest if np.isfinite(lowest) else 0.0, values)
    return np.asarray(np.clip(np.rint(known), np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype))


def as_array(stored: np.ndarray, layout: Layout) -> np.ndarray:
    """Planes (planes, H, W) as an array (H, W, planes), or (H, W) where the real ones are."""
    return np.ascontiguousarray(stored[0] if layout.flat else np.moveaxis(stored, 0, -1))


def as_picture(stored: np.ndarray, layout: Layout) -> bytes:
    """Bytes of a JPEG or PNG of uint8 planes (3, H, W), or (1, H, W) for a grey one."""
    if layout.encoding is None:
        raise ImageError(f"cutouts of the kind {layout.kind!r} have no codec; give JPEG or PNG files")
    return encode_image(stored[0] if len(stored) == 1 else np.moveaxis(stored, 0, -1), layout.encoding)


def hdu_columns(name: str, items: Any, layout: Layout) -> dict[str, Any]:
    """Pixels and WCS texts of HDUs, one a row, as columns.

    Parameters
    ----------
    name : str
        Of the column of pixels.
    items : sequence of HDUs
    layout : Layout

    Returns
    -------
    dict of str to ndarray or MaskedColumn, length N
        `name`: arrays, as one stack where all are of one shape and dtype, else objects, None for an HDU that can't be
        read; ``<name>_wcs``, masked where there is no WCS, if any HDU has one.
    """
    from astropy.table import MaskedColumn

    arrays: list[np.ndarray | None] = []
    texts: list[str | None] = []
    for row, item in enumerate(items):
        array, text = _read_hdu(item, row_name(row), layout)
        arrays.append(array)
        texts.append(text)
    alike = len({None if array is None else (array.shape, array.dtype) for array in arrays}) == 1
    stack = np.stack([array for array in arrays if array is not None]) if alike and arrays[0] is not None else None
    columns: dict[str, Any] = {name: object_array(arrays) if stack is None else stack}
    if any(texts):
        columns[wcs_column(name)] = MaskedColumn(
            [text or "" for text in texts], mask=[text is None for text in texts], dtype=str
        )
    return columns


def _read_hdu(item: Any, where: str, layout: Layout) -> tuple[np.ndarray | None, str | None]:
    """Array and WCS text of an HDU; None where it can't be read."""
    try:
        pixels = Cell("hdu", item, where).read()
    except ImageError:
        return None, None
    planes = np.asarray(pixels.values).astype(pixels.dtype.newbyteorder("="), copy=False)
    return as_array(planes, layout), None if pixels.header is None else wcs_text(pixels.header)
