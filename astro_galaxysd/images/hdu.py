"""Image HDUs: one for each row, planes (bands, H, W), an honest header.

Row 0 of a display image is its top, row 0 of a FITS image its bottom: images are turned over on the way out and
back on the way in, so that a FITS viewer shows what the picture showed. Planes of display images are stretched
colours, so there is no BUNIT and no calibration, and CALIB = F says so. Planes of a survey are those of
`astro_galaxysd.survey.hdus`, which makes and reads its HDUs by `build_hdus` and `hdu_table`.

What a table keeps beside the pixels of a column ``image``: ``image_wcs``, the text of the WCS cards, and
``image_pixel_scale``, arcsec.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from astro_galaxysd.images.sources import image_items, object_array, row_name
from astro_galaxysd.images.wcs import PIXSCALE, header_of_text, wcs_column, wcs_text

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, Header, ImageHDU
    from astropy.table import Table
    from astropy.units import Quantity

__all__ = ["build_hdus", "display_hdus", "from_hdus", "hdu_table", "refuse_paths", "to_hdus"]

#: Columns that name a row, in the order they are looked for.
ID_COLUMNS = ("id", "row_id", "objid", "dr7objid", "dr8objid", "iauname", "name")
#: Card with the row's identifier as it is; EXTNAME is its printable form.
ROW_ID = "ROWID"
#: What is added to the name of an image column for that of its pixel scales.
_PIXEL_SCALE = "_pixel_scale"


def to_hdus(
    table: Table,
    column: str = "image",
    *,
    pixel_scale: float | Quantity | None = None,
    id_column: str | None = None,
) -> list[ImageHDU]:
    """Make one ImageHDU of the display image of each row; see `astro_galaxysd.survey.hdus.to_hdus`.

    Returns
    -------
    list of ImageHDU
        Data (3, H, W) uint8, planes red, green, blue.
    """
    refuse_paths(table, column)
    items = image_items(table, column)
    pixels = (read_images(items, rows=[row])[0] for row in range(len(items)))
    return build_hdus(table, column, map(image_hdu, pixels), _describe, pixel_scale=pixel_scale, id_column=id_column)


def build_hdus(
    table: Table,
    column: str,
    hdus: Iterable[ImageHDU],
    describe: Callable[[ImageHDU, bool], None],
    *,
    pixel_scale: float | Quantity | None = None,
    id_column: str | None = None,
) -> list[ImageHDU]:
    """Write into HDUs what the rows of their table say of them.

    Parameters
    ----------
    table : Table
    column : str
        The image column.
    hdus : iterable of ImageHDU
        Pixels of the rows in order, with the structural cards.
    describe : callable
        Writes what the pixels are into the header of an HDU; its second argument is whether the row is synthetic.
    pixel_scale, id_column
        As of `astro_galaxysd.survey.hdus.to_hdus`.

    Returns
    -------
    list of ImageHDU
        With EXTNAME, ROWID, PIXSCALE, the WCS of the column ``<column>_wcs``, and provenance.

    Raises
    ------
    ImageError
        For a pixel scale that is no positive angle.
    UnknownNameError
        If `id_column` isn't there.
    """
    return list(_built(table, column, hdus, describe, _row_scales(table, column, _arcsec(pixel_scale)), id_column))


def display_hdus(
    table: Table, pixels: Iterable[np.ndarray], column: str = "image", *, id_column: str | None = None
) -> Iterator[ImageHDU]:
    """Make the HDUs that `to_hdus` makes, one by one, of images that the table need not hold.

    Parameters
    ----------
    table : Table
        Says of each row what its header says.
    pixels : iterable of ndarray, each shape (H, W, 3), uint8
        Of the rows in order.
    column : str
        What the column of the images would be called.
    id_column : str, optional
        As `to_hdus`.

    Raises
    ------
    UnknownNameError
        If `id_column` isn't there; with the first image.
    """
    return _built(table, column, map(image_hdu, pixels), _describe, _row_scales(table, column, None), id_column)


def _built(
    table: Table,
    column: str,
    hdus: Iterable[ImageHDU],
    describe: Callable[[ImageHDU, bool], None],
    scales: Sequence[float | None],
    id_column: str | None,
) -> Iterator[ImageHDU]:
    ids = _row_ids(table, id_column)
    record = table.meta.get(RUN_RECORD)
    columns = [name for name in {SYNTHETIC, *card_columns().values()} if name in table.colnames]
    for row, hdu in enumerate(hdus):
        provenance = header_cards(
            {name: table[name][row] for name in columns}, record if isinstance(record, Mapping) else None
        )
        _write_header(hdu.header, row, ids[row], scales[row])
        _write_sky(hdu.header, table, wcs_column(column), row)
        describe(hdu, bool(provenance[0][1]))
        hdu.header.extend(provenance)
        yield hdu


def from_hdus(hdus: Sequence[Any] | HDUList, column: str = "image") -> Table:
    """Read image HDUs of display images back into a table; see `astro_galaxysd.survey.hdus.from_hdus`."""
    items = image_items(hdus, column)
    return hdu_table(items, read_images(items), column)


def hdu_table(hdus: Sequence[Any], images: Sequence[np.ndarray], column: str) -> Table:
    """Make a table of HDUs that were read.

    Parameters
    ----------
    hdus : sequence of image HDUs
    images : sequence of ndarray
        Their pixels, row 0 at the top.
    column : str
        Of the images.

    Returns
    -------
    Table
        As `astro_galaxysd.survey.hdus.from_hdus`.
    """
    from astropy.table import Column, Table

    headers = [hdu_with_pixels(item, row_name(row)).header for row, item in enumerate(hdus)]
    ragged = len({(pixels.shape, pixels.dtype) for pixels in images}) > 1
    table = Table()
    table["id"] = [text_of_card(str(header.get(ROW_ID, header.get("EXTNAME", "")))) for header in headers]
    table[column] = Column(object_array(images) if ragged else np.stack(images))
    table[SYNTHETIC] = [bool(header.get("SYNTHET", False)) for header in headers]
    for keyword, name in card_columns().items():
        if any(keyword in header for header in headers):
            table[name] = _card_column(keyword, headers)
    _read_sky(table, column, headers)
    return table


def refuse_paths(table: Table, column: str) -> None:
    """Refuse a column that holds names of files.

    Raises
    ------
    ImageError
        Names other ways to their images.
    """
    values = table[column] if column in table.colnames else ()
    kind = getattr(getattr(values, "dtype", None), "kind", "")
    if kind == "U" or (kind == "O" and any(isinstance(item, str | os.PathLike) for item in values)):
        raise ImageError(
            f"column {column!r} holds paths of files, which are images outside the table: open them with "
            "astropy.io.fits, or read them with read_cutouts"
        )


def _write_header(header: Header, row: int, row_id: str | None, scale: float | None) -> None:
    """Cards that every image has."""
    name = row_id if row_id is not None else f"ROW{row}"
    printable = name.encode("ascii", "replace").decode() if name.isprintable() and name.strip() else f"ROW{row}"
    header["EXTNAME"] = printable
    if row_id is not None:
        header.append(text_card(ROW_ID, row_id, "identifier of the row"))
    if scale is not None:
        header[PIXSCALE] = (scale, "[arcsec] angular size of a pixel")


def _describe(hdu: ImageHDU, synthetic: bool) -> None:
    """Say that the planes are display colours."""
    hdu.header["CALIB"] = (False, "F: display-stretched colours, no calibration")
    hdu.header["COMMENT"] = "Planes along NAXIS3: red, green, blue."


def _write_sky(header: Header, table: Table, column: str, row: int) -> None:
    """WCS cards of a row, if the table keeps any."""
    if column not in table.colnames:
        return
    text = table[column][row]
    if not np.ma.is_masked(text) and text is not None and str(text):
        header.extend(header_of_text(str(text)), update=True)


def _row_scales(table: Table, column: str, given: float | None) -> list[float | None]:
    """Pixel scale of each row, arcsec: the given one, else that of the table."""
    name = f"{column}{_PIXEL_SCALE}"
    if given is not None or name not in table.colnames:
        return [given] * len(table)
    return [None if np.ma.is_masked(value) else _arcsec(value) for value in table[name]]


def _read_sky(table: Table, column: str, headers: Sequence[Header]) -> None:
    """Add what headers say of the sky and the unit."""
    from astropy.table import MaskedColumn

    texts = [wcs_text(header) for header in headers]
    if any(texts):
        table[wcs_column(column)] = MaskedColumn([text or "" for text in texts], mask=[text is None for text in texts])
    if any(PIXSCALE in header for header in headers):
        table[f"{column}{_PIXEL_SCALE}"] = _card_column(PIXSCALE, headers)
    units = {header["BUNIT"] for header in headers if header.get("BUNIT")}
    if len(units) == 1:
        table[column].unit = units.pop()


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
