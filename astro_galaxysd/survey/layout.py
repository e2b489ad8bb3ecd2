"""How a survey keeps its cutouts: what new ones must be like, found out from a few of the real ones."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ImageError
from astro_galaxysd.images.codec import TOLERANCE
from astro_galaxysd.images.encoded import Encoding, read_encoding
from astro_galaxysd.images.planes import hdu_with_pixels
from astro_galaxysd.survey.files import grey_encoding
from astro_galaxysd.survey.values import band_names

if TYPE_CHECKING:
    from astro_galaxysd.survey.card import Survey
    from astro_galaxysd.survey.cells import Cell
    from astro_galaxysd.survey.rows import SurveyRows

__all__ = ["FitsHdu", "Layout", "check_undrawn", "find_layouts"]

#: Readable rows that show how most are kept.
_LOOK_AT = 32
#: Rows whose pixels show whether values are whole numbers or grey levels.
_READ = 8
#: A file with more HDUs holds many cutouts; a new row gets a file with one.
_MOST_HDUS = 16
_SUFFIX = re.compile(r"(\.(fits?|fts)(\.(gz|bz2|fz))?|\.fz|\.jpe?g|\.png)\Z", re.IGNORECASE)
_COMPRESSION = ("compression_type", "tile_shape", "hcomp_scale", "hcomp_smooth", "quantize_level", "quantize_method")


@dataclass(frozen=True)
class FitsHdu:
    """One HDU of a file.

    Parameters
    ----------
    kind : str
        ``"image"``, ``"compressed"`` or ``"table"``.
    name : str
        EXTNAME; empty where there is none.
    version : int
        EXTVER.
    axes : tuple of int
        Shape of the pixels, slowest axis first.
    scaling : tuple
        BITPIX, BSCALE, BZERO and BLANK of scaled integers; empty for others.
    compression : tuple of (str, object)
        Options of a tile-compressed image.
    """

    kind: str
    name: str = ""
    version: int = 1
    axes: tuple[int, ...] = ()
    scaling: tuple[Any, ...] = ()
    compression: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Layout:
    """How the cells of one column keep their cutouts.

    Parameters
    ----------
    kind : str
        ``array``, ``encoded``, ``hdu``, ``fits`` or ``picture``.
    shape : tuple of int
        (planes, height, width).
    dtype : str
        Of the pixels.
    cell : str
        What a cell is: ``text``, ``path`` or ``bytes`` of a path; ``bytes`` or ``array`` of an encoded image.
    flat : bool
        An array (H, W) without an axis of bands.
    absolute : bool
        Paths are absolute.
    suffix, extension : str
        Of a path: ``".fits.gz"``, ``"SCI"``.
    packing : str
        ``"gz"`` or ``"bz2"`` where a FITS file is compressed as a whole.
    hdus : tuple of FitsHdu
        Of a FITS file.
    number : int
        Which of `hdus` has the cutout.
    encoding : Encoding or None
        Of a JPEG or PNG.
    step : float or None
        Float values are multiples of this.
    """

    kind: str
    shape: tuple[int, int, int]
    dtype: str
    cell: str = "array"
    flat: bool = False
    absolute: bool = False
    suffix: str = ""
    extension: str = ""
    packing: str = ""
    hdus: tuple[FitsHdu, ...] = ()
    number: int = 0
    encoding: Encoding | None = None
    step: float | None = None


def find_layouts(rows: SurveyRows) -> tuple[tuple[Layout, ...], tuple[int, ...]]:
    """Find out how most rows keep their cutouts.

    Parameters
    ----------
    rows : SurveyRows

    Returns
    -------
    layouts : tuple of Layout
        One for each column.
    files : tuple of int
        Number of the file for each column: columns of one number are extensions of the same file.

    Raises
    ------
    ImageError
        If no row can be read.
    """
    found: list[tuple[tuple[Layout, ...], tuple[int, ...]]] = []
    usable: list[int] = []
    places: Counter[str] = Counter()
    for row in rows.looked_at():
        if len(found) == _LOOK_AT or row in rows.unusable([row]):
            continue
        cells = rows.cells(row)
        found.append((tuple(_describe(cell) for cell in cells), _files(cells)))
        usable.append(row)
        places.update({str(cell.place.path) for cell in cells if cell.place is not None})
    if not found:
        raise ImageError("no cutout can be used any more; were its files moved or removed meanwhile?")
    layouts, files = Counter(found).most_common(1)[0][0]
    shared = max(places.values(), default=1) > 1
    alike = [row for row, (one, _) in zip(usable, found, strict=True) if one == layouts][:_READ]
    return tuple(
        replace(
            _own_file(layout) if shared or len(layout.hdus) > _MOST_HDUS else layout, step=_step(rows, column, alike)
        )
        for column, layout in enumerate(layouts)
    ), files


def check_undrawn(survey: Survey, layouts: Iterable[Layout]) -> None:
    """Refuse whole numbers where planes of new rows stay empty.

    Raises
    ------
    ImageError
        Names the planes.
    """
    bands = band_names(survey)
    undrawn = [name for name in survey.planes or () if name not in bands]
    for layout in layouts:
        scaled = layout.hdus and layout.hdus[layout.number].scaling[-1:] not in ((), (None,))
        if undrawn and np.dtype(layout.dtype).kind in "iu" and not scaled:
            raise ImageError(
                f"planes {', '.join(undrawn)} of new rows are not drawn and stay empty, which "
                f"{np.dtype(layout.dtype).name} pixels can't say; convert the cutouts to float32, or keep the bands "
                f"{', '.join(bands)} alone"
            )


def _files(cells: list[Cell]) -> tuple[int, ...]:
    """Number of each cell's file, counted in the order of the cells."""
    paths = [str(number) if cell.place is None else str(cell.place.path) for number, cell in enumerate(cells)]
    order = list(dict.fromkeys(paths))
    return tuple(order.index(path) for path in paths)


def _describe(cell: Cell) -> Layout:
    """Layout of one cell."""
    pixels = cell.read(pixels=False)
    layout = Layout(cell.kind, pixels.shape, pixels.dtype.str, cell=_cell_type(cell.item))
    if cell.kind in ("array", "hdu"):
        return replace(layout, flat=pixels.flat)
    if cell.place is None:
        return replace(layout, encoding=_encoding(bytes(cell.item), cell.where, pixels.shape[0]))
    suffix = _SUFFIX.search(cell.place.path.name)
    layout = replace(
        layout,
        absolute=os.path.isabs(os.fsdecode(cell.item)),
        suffix=suffix[0] if suffix else cell.place.path.suffix,
        extension=cell.place.extension,
    )
    if cell.kind == "picture":
        return replace(layout, encoding=_encoding(cell.place.path.read_bytes(), cell.where, pixels.shape[0]))
    return _describe_fits(cell, layout)


def _cell_type(item: Any) -> str:
    if isinstance(item, str):
        return "text"
    if isinstance(item, bytes | bytearray | memoryview):
        return "bytes"
    return "path" if isinstance(item, os.PathLike) else "array"


def _encoding(data: bytes, where: str, planes: int) -> Encoding:
    return read_encoding(data, where)[0] if planes == 3 else grey_encoding(data)


def _describe_fits(cell: Cell, layout: Layout) -> Layout:
    """Add the HDUs of a file."""
    from astropy.io import fits

    if cell.place is None:
        return layout
    with cell.place.path.open("rb") as stream:
        packing = {b"\x1f\x8b": "gz", b"BZ": "bz2"}.get(stream.read(2), "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(cell.place.path, memmap=False) as hdus:
            chosen = cell.place.choose(hdus, cell.where)
            hdu = hdu_with_pixels(chosen, cell.where)
            number = next(number for number, one in enumerate(hdus) if one is hdu)
            return replace(layout, packing=packing, hdus=tuple(_describe_hdu(one) for one in hdus), number=number)


def _describe_hdu(hdu: Any) -> FitsHdu:
    from astropy.io import fits

    header = hdu.header
    name, version = str(header.get("EXTNAME", "")), int(header.get("EXTVER", 1))
    if not hdu.is_image:
        return FitsHdu("table", name, version)
    axes = tuple(int(header[f"NAXIS{axis}"]) for axis in range(int(header["NAXIS"]), 0, -1))
    scaled = int(header["BITPIX"]) > 0 and ("BSCALE" in header or "BZERO" in header or "BLANK" in header)
    scaling = (header["BITPIX"], header.get("BSCALE", 1), header.get("BZERO", 0), header.get("BLANK"))
    compressed = isinstance(hdu, fits.CompImageHDU)
    options = tuple((option, _plain(getattr(hdu, option))) for option in _COMPRESSION) if compressed else ()
    return FitsHdu("compressed" if compressed else "image", name, version, axes, scaling if scaled else (), options)


def _plain(option: Any) -> Any:
    return tuple(int(side) for side in option) if isinstance(option, tuple) else option


def _own_file(layout: Layout) -> Layout:
    """The same cutout alone in a file, behind an empty primary HDU unless it was that itself."""
    if layout.number == 0 or not layout.hdus:
        return replace(layout, hdus=layout.hdus[:1])
    hdu = layout.hdus[layout.number]
    named = bool(layout.extension) and not layout.extension.isdecimal()
    return replace(
        layout,
        hdus=(FitsHdu("image"), hdu),
        number=1,
        extension=layout.extension if named else layout.extension and "1",
    )


def _step(rows: SurveyRows, column: int, alike: list[int]) -> float | None:
    """Whole numbers, or grey levels, that the floats of most rows are multiples of; None if they are neither."""
    steps = []
    for row in alike:
        try:
            pixels = rows.cells(row)[column].read()
        except ImageError:
            continue
        if pixels.dtype.kind != "f":
            return None
        values = np.ma.filled(np.ma.asarray(pixels.values, dtype=np.float64), np.nan)
        step = 1.0 if rows.survey.stretch is not None else 1 / 255
        levels = values[np.isfinite(values)] / step
        # What rounding in the file's own dtype leaves.
        tolerance = np.maximum(TOLERANCE, np.abs(levels) * float(np.finfo(pixels.dtype).eps))
        steps.append(bool(np.all(np.abs(levels - np.rint(levels)) <= tolerance)))
    return (1.0 if rows.survey.stretch is not None else 1 / 255) if steps and 2 * sum(steps) > len(steps) else None
