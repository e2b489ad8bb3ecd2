"""Planes of new rows as cells and files: in the dtype, the axes, the codec and the HDUs of the real ones.

Headers of new files claim no more than is known.
"""

from __future__ import annotations

import bz2
import gzip
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ImageError
from astro_galaxysd.images.encoded import encode_image
from astro_galaxysd.images.hdu import ROW_ID
from astro_galaxysd.images.provenance import SYNTHETIC, header_cards, text_card
from astro_galaxysd.images.sources import object_array, row_name
from astro_galaxysd.images.wcs import offset_cards, wcs_column, wcs_text
from astro_galaxysd.survey.pixels import hdu_pixels

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from astro_galaxysd.survey.card import Survey
    from astro_galaxysd.survey.layout import FitsHdu, Layout

__all__ = ["as_array", "as_dtype", "as_picture", "fits_bytes", "hdu_columns", "new_header"]

Card = tuple[str, Any, str]


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


def hdu_columns(name: str, items: Any) -> dict[str, Any]:
    """Pixels and WCS texts of HDUs, one a row, as columns.

    Parameters
    ----------
    name : str
        Of the column of pixels.
    items : sequence of HDUs

    Returns
    -------
    dict of str to ndarray or MaskedColumn, length N
        `name`: arrays, as one stack where all are of one shape and dtype, else objects, None for an HDU that can't be
        read; ``<name>_wcs``, masked where there is no WCS, if any HDU has one.
    """
    from astropy.table import MaskedColumn

    read = [_read_hdu(item, row_name(row)) for row, item in enumerate(items)]
    arrays, texts = [array for array, _ in read], [text for _, text in read]
    alike = len({None if array is None else (array.shape, array.dtype) for array in arrays}) == 1
    stack = np.stack([array for array in arrays if array is not None]) if alike and arrays[0] is not None else None
    columns: dict[str, Any] = {name: object_array(arrays) if stack is None else stack}
    if any(texts):
        columns[wcs_column(name)] = MaskedColumn(
            [text or "" for text in texts], mask=[text is None for text in texts], dtype=str
        )
    return columns


def _read_hdu(item: Any, where: str) -> tuple[np.ndarray | None, str | None]:
    """Array and WCS text of an HDU; None where it can't be read."""
    try:
        pixels = hdu_pixels(item, where)
    except ImageError:
        return None, None
    return pixels.array(), None if pixels.header is None else wcs_text(pixels.header)


def new_header(
    survey: Survey,
    row_id: str,
    pixel_scale: float | None,
    size: tuple[int, int],
    row: Mapping[str, Any],
    record: Mapping[str, Any] | None = None,
    unit: str | None = None,
) -> list[Card]:
    """Cards of a new cutout.

    Parameters
    ----------
    survey : Survey
    row_id : str
    pixel_scale : float or None
        Arcsec.
    size : tuple of int
        (height, width).
    row : mapping
        Provenance, column to value; ``synthetic`` is True unless it says otherwise.
    record : mapping, optional
        The run record.
    unit : str, optional
        Of the real planes, where the survey declares none.

    Returns
    -------
    list of (keyword, value, comment)
        Identifier, CALIB = F, what the values are, BUNIT where a stretch is declared, the unit known and the bands are
        no luminance, offsets from the centre where the pixel scale is known, provenance.
    """
    cards: list[Card] = [text_card(ROW_ID, row_id, "identifier of the row")]
    cards.append(("CALIB", False, "F: drawn by a model, no measurement"))
    if survey.stretch is None:
        cards.append(("COMMENT", "Display-stretched colours, no fluxes.", ""))
    else:
        cards.append(("COMMENT", "Values come from the inverse of the stretch declared for the survey.", ""))
        known = survey.unit or unit
        if known and not survey.luminance:
            cards.append(("BUNIT", known, "of the inverse of the stretch"))
    if pixel_scale is not None:
        cards += offset_cards(pixel_scale, size)
    return cards + header_cards({SYNTHETIC: True, **row}, record)


def fits_bytes(parts: Sequence[tuple[Layout, np.ndarray]], cards: Sequence[Card]) -> bytes:
    """A FITS file as bytes.

    Parameters
    ----------
    parts : sequence of (Layout, ndarray)
        Layouts of the columns that share the file, and their planes (planes, H, W), row 0 at the top.
    cards : sequence of (keyword, value, comment)
        For each HDU with a cutout.

    Returns
    -------
    bytes
        With the HDUs of the real files in their order; those without a cutout are empty. Compressed as the real files
        are, the same bytes for the same pixels.
    """
    from astropy.io import fits

    planes = {layout.number: (layout, values) for layout, values in parts}
    hdus = fits.HDUList()
    for number, hdu in enumerate(parts[0][0].hdus):
        layout, values = planes.get(number, (None, None))
        made = _empty_hdu(hdu, number) if values is None else _image_hdu(hdu, number, values)
        _name(made.header, hdu)
        if layout is not None:
            for keyword, value, comment in cards:
                if keyword == "COMMENT":
                    made.header.add_comment(value)
                else:
                    made.header.append((keyword, value, comment))
        hdus.append(made)
    stream = io.BytesIO()
    hdus.writeto(stream)
    packing = parts[0][0].packing
    if packing == "gz":
        return gzip.compress(stream.getvalue(), mtime=0)
    return bz2.compress(stream.getvalue()) if packing == "bz2" else stream.getvalue()


def _name(header: Header, hdu: FitsHdu) -> None:
    if hdu.name:
        header["EXTNAME"] = hdu.name
    if hdu.version != 1:
        header["EXTVER"] = hdu.version


def _empty_hdu(hdu: FitsHdu, number: int) -> Any:
    from astropy.io import fits

    if number == 0:
        return fits.PrimaryHDU()
    return fits.BinTableHDU() if hdu.kind == "table" else fits.ImageHDU()


def _image_hdu(hdu: FitsHdu, number: int, planes: np.ndarray) -> Any:
    """An image HDU with the axes, scaling and compression of the real ones."""
    from astropy.io import fits

    data = np.ascontiguousarray(planes[:, ::-1]).reshape(hdu.axes)
    if hdu.kind == "compressed":
        return fits.CompImageHDU(data, **dict(hdu.compression))
    kind = fits.PrimaryHDU if number == 0 else fits.ImageHDU
    if not hdu.scaling or data.dtype.kind != "f":
        return kind(data)
    bitpix, scale, zero, blank = hdu.scaling
    integers = np.dtype(fits.hdu.image.BITPIX2DTYPE[bitpix])
    counts = np.rint((data.astype(np.float64) - zero) / scale)
    counts = np.clip(counts, np.iinfo(integers).min, np.iinfo(integers).max)
    missing = np.isnan(counts)
    filled = np.where(missing, np.nanmin(counts, initial=0.0) if blank is None else blank, counts)
    made = kind(filled.astype(integers), do_not_scale_image_data=True)
    for keyword, value in (("BSCALE", scale), ("BZERO", zero), ("BLANK", blank)):
        if value is not None:
            made.header[keyword] = value
    return made
