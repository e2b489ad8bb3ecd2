"""Image HDUs: one for each row, RGB planes (3, H, W), an honest header.

Row 0 of a display image is its top, row 0 of a FITS image its bottom: images are turned over on the way out and
back on the way in, so that a FITS viewer shows what the picture showed. The planes are display-stretched colours,
so there is no BUNIT and no calibration, and CALIB = F says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ImageError, UnknownNameError
from astro_galaxysd.images.codec import read_images
from astro_galaxysd.images.planes import hdu_with_pixels, image_hdu
from astro_galaxysd.images.provenance import (
    RUN_RECORD,
    SYNTHETIC,
    card_columns,
    header_cards,
    text_card,
    text_of_card,
)
from astro_galaxysd.images.sources import image_items, object_array

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, Header, ImageHDU
    from astropy.table import Table
    from astropy.units import Quantity

__all__ = ["from_hdus", "to_hdus"]

#: Columns that name a row, in the order they are looked for.
ID_COLUMNS = ("id", "row_id", "objid", "dr7objid", "dr8objid", "iauname", "name")
#: Card with the row's identifier as it is; EXTNAME is its printable form.
ROW_ID = "ROWID"


def to_hdus(
    table: Table,
    column: str = "image",
    *,
    pixel_scale: float | Quantity | None = None,
    id_column: str | None = None,
) -> list[ImageHDU]:
    """Make one ImageHDU for each row of a table.

    Parameters
    ----------
    table : Table
        With an image column of any kind that `astro_galaxysd.images.codec.read_images` reads; provenance columns
        and the run record in ``meta`` become cards.
    column : str
        Name of the image column.
    pixel_scale : float or Quantity, optional
        Angular size of a pixel; a float is in arcsec. Given: card PIXSCALE. Not given: no such card.
    id_column : str, optional
        Column that names the rows (EXTNAME and ROWID); without it the first of `ID_COLUMNS` that exists.

    Returns
    -------
    list of ImageHDU
        Data (3, H, W) uint8, planes red, green, blue; row 0 is the bottom of the image. To write them:
        ``fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)``.

    Raises
    ------
    ImageError
        For an image that can't be read or a pixel scale that is no positive angle.
    UnknownNameError
        If a column isn't there.
    """
    scale = _arcsec(pixel_scale)
    ids = _row_ids(table, id_column)
    record = table.meta.get(RUN_RECORD)
    columns = [name for name in {SYNTHETIC, *card_columns().values()} if name in table.colnames]
    hdus = []
    for row, pixels in enumerate(read_images(table, column=column)):
        hdu = image_hdu(pixels)
        _write_header(hdu.header, row, ids[row], scale)
        hdu.header.extend(
            header_cards({name: table[name][row] for name in columns}, record if isinstance(record, Mapping) else None)
        )
        hdus.append(hdu)
    return hdus


def from_hdus(hdus: Sequence[Any] | HDUList, column: str = "image") -> Table:
    """Read image HDUs back into a table.

    Parameters
    ----------
    hdus : sequence of image HDUs or HDUList
        Planes (3, H, W), uint8 or floats in [0, 1]; HDUs of other programs are read too.
    column : str
        Name of the image column.

    Returns
    -------
    Table
        `column` (N, H, W, 3) uint8 (object of arrays where sizes differ), ``id`` (ROWID, else EXTNAME) and, where
        any HDU has its card, the provenance columns and the run's sampler, steps and guidance, masked where a card
        is missing.

    Raises
    ------
    ImageError
        For HDUs that hold no three-plane image.
    """
    from astropy.table import Column, Table

    items = image_items(hdus, column)
    images = read_images(items)
    headers = [hdu_with_pixels(item, f"row {row}").header for row, item in enumerate(items)]
    ragged = len({pixels.shape for pixels in images}) > 1
    table = Table()
    table["id"] = [text_of_card(str(header.get(ROW_ID, header.get("EXTNAME", "")))) for header in headers]
    table[column] = Column(object_array(images) if ragged else np.stack(images))
    table[SYNTHETIC] = [bool(header.get("SYNTHET", False)) for header in headers]
    for keyword, name in card_columns().items():
        if any(keyword in header for header in headers):
            table[name] = _card_column(keyword, headers)
    return table


def _write_header(header: Header, row: int, row_id: str | None, scale: float | None) -> None:
    """Cards that every image has."""
    name = row_id if row_id is not None else f"ROW{row}"
    printable = name.encode("ascii", "replace").decode() if name.isprintable() and name.strip() else f"ROW{row}"
    header["EXTNAME"] = printable
    if row_id is not None:
        header.append(text_card(ROW_ID, row_id, "identifier of the row"))
    header["CALIB"] = (False, "F: display-stretched colours, no calibration")
    if scale is not None:
        header["PIXSCALE"] = (scale, "[arcsec] angular size of a pixel")
    header["COMMENT"] = "Planes along NAXIS3: red, green, blue."


def _row_ids(table: Table, id_column: str | None) -> list[str | None]:
    """Text identifiers; None where masked or where no column names the rows."""
    if id_column is not None and id_column not in table.colnames:
        raise UnknownNameError("id column", id_column, table.colnames)
    name = id_column or next((name for name in ID_COLUMNS if name in table.colnames), None)
    if name is None:
        return [None] * len(table)
    return [None if np.ma.is_masked(value) else str(value) for value in table[name]]


def _arcsec(pixel_scale: float | Quantity | None) -> float | None:
    """Pixel scale in arcsec."""
    if pixel_scale is None:
        return None
    from astropy import units

    try:
        value = float(units.Quantity(pixel_scale, units.arcsec).value)
    except (TypeError, ValueError) as error:
        raise ImageError(f"pixel_scale {pixel_scale!r} is no angle; give arcsec as a float, or a Quantity") from error
    if not (np.isfinite(value) and value > 0):
        raise ImageError(f"pixel_scale must be a positive angle, not {pixel_scale!r}")
    return value


def _card_column(keyword: str, headers: Sequence[Header]) -> Any:
    """Make a masked column of one card's values."""
    from astropy.table import MaskedColumn

    values = [header.get(keyword) for header in headers]
    values = [text_of_card(value) if isinstance(value, str) else value for value in values]
    blank = next(value for value in values if value is not None)
    # Any value of the right type may stand below the mask.
    filled = [type(blank)() if value is None else value for value in values]
    return MaskedColumn(filled, mask=[value is None for value in values])
