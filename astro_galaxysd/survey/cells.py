"""Where a table keeps a survey's cutouts: one column for all bands or one each, and what a cell of it is.

Kinds of cells: ``"array"`` (H, W) or (H, W, bands), ``"encoded"`` (bytes of a JPEG or PNG), ``"hdu"``, ``"fits"`` (the
path of a FITS file) and ``"picture"`` (the path of a JPEG or PNG).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ConditionError, ImageError, UnknownNameError
from astro_galaxysd.images.planes import is_hdu
from astro_galaxysd.images.sources import image_items
from astro_galaxysd.survey.files import PICTURES, Location, file_kind, locate, read_file, read_picture
from astro_galaxysd.survey.pixels import Pixels, array_pixels, hdu_pixels
from astro_galaxysd.survey.values import band_names

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.survey.card import Survey

__all__ = ["IMAGE", "Cell", "CutoutColumn", "find_columns", "holds_files", "open_cell", "path_text"]

#: Column of cutouts where none is named.
IMAGE = "image"
#: No path is longer, on the systems that the package runs on.
_LONGEST_PATH = 4096


@dataclass(frozen=True)
class CutoutColumn:
    """One cutout, or one band of it, for each row of a table.

    Parameters
    ----------
    name : str
        Of the column; what it will be called where the cutouts were given beside the table.
    items : column, array or sequence
        One item for each row of the table.
    beside : bool
        The cutouts were given beside the table.
    band : str
        The band of this column; empty where a cell has all.
    """

    name: str
    items: Any
    beside: bool = False
    band: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell of a table before its pixels are read.

    Parameters
    ----------
    kind : str
        See the module's docstring.
    item : object
        As it stands in the table.
    where : str
        Names the row in messages.
    place : Location or None
        Of a file.
    """

    kind: str
    item: Any
    where: str
    place: Location | None = None

    def read(self, *, pixels: bool = True) -> Pixels:
        """Read the cutout, or what is known of it without its pixels; errors as in `astro_galaxysd.survey.files`."""
        if self.place is not None:
            return read_file(self.place, self.where, pixels=pixels, kind=self.kind)
        if self.kind == "encoded":
            return read_picture(bytes(self.item), self.where, pixels=pixels)
        if self.kind == "hdu":
            return hdu_pixels(self.item, self.where, pixels=pixels)
        return array_pixels(self.item, self.where)


def find_columns(table: Table, images: Any, survey: Survey) -> tuple[CutoutColumn, ...]:
    """Find the cutouts of a table's rows.

    Parameters
    ----------
    table : Table
    images : str, sequence, mapping or None
        A column; names of one column a band; the cutouts themselves, one a row; band -> column or cutouts. None: the
        survey's columns, else ``image``.
    survey : Survey

    Returns
    -------
    tuple of CutoutColumn
        One, or one for each band in the survey's order.

    Raises
    ------
    ConditionError
        If cutouts were given beside a table that has a column of that name.
    ImageError
        If their number is not that of the rows, or `images` is of no known kind.
    UnknownNameError
        If a column isn't there.
    """
    given = images if images is not None else survey.columns if survey.columns is not None else IMAGE
    if isinstance(given, Mapping):
        return tuple(_column(table, given[band], band, band) for band in _known_bands(given, survey))
    if isinstance(given, tuple | list) and given and all(isinstance(n, str) and n in table.colnames for n in given):
        if len(given) == 1:
            return (_column(table, given[0], IMAGE),)
        if len(given) != survey.n_bands:
            raise ImageError(f"{len(given)} columns of cutouts for the bands {survey.bands}; name one for each band")
        return tuple(_column(table, name, name, band) for name, band in zip(given, survey.bands, strict=True))
    if given is survey.columns and isinstance(given, tuple):
        # Names of a card are never cutouts: the first that isn't there is what is wrong.
        return tuple(_column(table, name, name, band) for name, band in zip(given, survey.bands, strict=True))
    return (_column(table, given, IMAGE),)


def holds_files(table: Table, images: Any = None) -> bool:
    """Whether the cutouts of a table are files: the first cell that is not empty is a path.

    Parameters
    ----------
    table : Table
    images : str, sequence or None
        A column, cutouts beside the table, or None for the column ``image``.
    """
    if images is None or isinstance(images, str):
        items = table[images or IMAGE] if (images or IMAGE) in table.colnames else ()
    else:
        items = images
    if isinstance(items, np.ndarray) and items.dtype.kind not in "OUS":
        return False
    return next((bool(path_text(item)) for item in items if item is not None and item is not np.ma.masked), False)


def open_cell(item: Any, where: str, folder: str | os.PathLike[str] = "") -> Cell:
    """Find out what a cell is; of a file, the first bytes are read.

    Parameters
    ----------
    item : object
    where : str
        Names the row in messages.
    folder : path
        Where relative paths start.

    Raises
    ------
    ImageError
        If there is no image, or it is of an unknown kind.
    """
    path = path_text(item)
    if item is None or item is np.ma.masked or path == "":
        raise ImageError(f"{where} has no cutout (it is masked, None or empty); remove the row or give it one")
    if path is not None:
        place = locate(path, folder)
        return Cell(file_kind(place.path, where), item, where, place)
    if isinstance(item, bytes | bytearray | memoryview):
        return Cell("encoded", item, where)
    if isinstance(item, np.ndarray):
        return Cell("encoded" if item.ndim == 1 and item.dtype == np.uint8 else "array", item, where)
    if is_hdu(item):
        return Cell("hdu", item, where)
    raise ImageError(
        f"{where}: unknown kind of cutout ({type(item).__name__}); known are paths of FITS, JPEG or PNG files, arrays "
        "(H, W) or (H, W, bands), JPEG or PNG bytes, and image HDUs"
    )


def _known_bands(given: Mapping[str, Any], survey: Survey) -> tuple[str, ...]:
    bands = band_names(survey)
    if set(given) != set(bands):
        raise ImageError(
            f"images= has the bands {', '.join(map(str, given))} where the survey has {', '.join(bands)}; give one "
            "column or sequence for each"
        )
    return bands


def _column(table: Table, given: Any, name: str, band: str = "") -> CutoutColumn:
    """One column of the table, or cutouts given beside it."""
    if isinstance(given, str):
        if given not in table.colnames:
            hint = "Name the column of the cutouts with images=, or the card's columns."
            raise UnknownNameError("image column", given, table.colnames, hint)
        return CutoutColumn(given, _values(table[given]), band=band)
    if name in table.colnames:
        raise ConditionError(f"images were given twice: images= and the table's column {name!r}; drop one of them")
    from astropy.io import fits

    items: Any = given
    if isinstance(given, fits.HDUList):
        # A whole file: every HDU with pixels is a row; the primary HDU is often empty.
        items = [hdu for hdu in given if hdu.is_image and hdu.header["NAXIS"] > 0]
    elif not isinstance(given, np.ndarray) and (not isinstance(given, Sequence) or isinstance(given, bytes)):
        raise ImageError(
            f"images= is of the type {type(given).__name__}; give the name of a column, or a sequence with one cutout "
            "for each row"
        )
    if len(items) != len(table):
        raise ImageError(f"{len(items)} cutouts for {len(table)} rows; give one for each row, in the same order")
    return CutoutColumn(name, _values(items), beside=True, band=band)


def _values(items: Any) -> Any:
    """Rows as plain values: quantities without their unit, a masked stack with its mask."""
    if (
        isinstance(items, np.ndarray)
        and items.dtype.kind == "S"
        and np.asarray(items)[:1].tobytes().startswith(PICTURES)
    ):
        # Refused with the way out: such a column loses the end of an encoded image.
        return image_items(np.asarray(items), IMAGE)
    if not isinstance(items, np.ndarray) or items.dtype.kind in "OUS":
        return items
    mask = getattr(items, "mask", None)
    plain = np.asarray(getattr(items, "unmasked", items))
    if isinstance(items, np.ma.MaskedArray):
        plain = np.asarray(items.data)
    return plain if mask is None or not np.any(mask) else np.ma.MaskedArray(plain, mask)


def path_text(item: Any) -> str | None:
    """Text of a path; None where the cell is something else."""
    if isinstance(item, str | os.PathLike):
        return os.fspath(item).strip() if isinstance(item, str) else str(Path(item))
    if not isinstance(item, bytes) or item.startswith(PICTURES) or len(item) > _LONGEST_PATH:
        return None
    try:
        text = item.decode()
    except UnicodeDecodeError:
        return None
    return text.strip() if text.isprintable() else None
