"""FITS files of new rows: HDUs in the order of the real files, and headers that claim no more than is known."""

from __future__ import annotations

import bz2
import gzip
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.images.hdu import ROW_ID
from astro_galaxysd.images.provenance import SYNTHETIC, header_cards, text_card
from astro_galaxysd.images.wcs import offset_cards

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from astro_galaxysd.survey.card import Survey
    from astro_galaxysd.survey.layout import FitsHdu, Layout

__all__ = ["fits_bytes", "new_header"]

Card = tuple[str, Any, str]


def new_header(
    survey: Survey,
    row_id: str,
    pixel_scale: float | None,
    size: tuple[int, int],
    row: Mapping[str, Any],
    record: Mapping[str, Any] | None = None,
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

    Returns
    -------
    list of (keyword, value, comment)
        Identifier, CALIB = F, what the values are, BUNIT where a stretch and a unit are declared and the bands are
        no luminance, offsets from the centre where the pixel scale is known, provenance.
    """
    cards: list[Card] = [text_card(ROW_ID, row_id, "identifier of the row")]
    cards.append(("CALIB", False, "F: drawn by a model, no measurement"))
    if survey.stretch is None:
        cards.append(("COMMENT", "Display-stretched colours, no fluxes.", ""))
    else:
        cards.append(("COMMENT", "Values come from the inverse of the stretch declared for the survey.", ""))
        if survey.unit and not survey.luminance:
            cards.append(("BUNIT", survey.unit, "of the inverse of the stretch"))
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
