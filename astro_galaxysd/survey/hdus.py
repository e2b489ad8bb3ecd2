"""Image HDUs of a table, and back: of display images, or of a survey's own planes.

Planes of a survey keep their dtype and, with a declared stretch, their unit. Drawn ones say CALIB = F, have offsets
from the centre in place of a position, and no unit where luminance was made of colours.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from astro_galaxysd.images import hdu as display
from astro_galaxysd.images.sources import image_items, row_name
from astro_galaxysd.images.wcs import PIXSCALE, offset_cards
from astro_galaxysd.survey.card import Survey, read_survey
from astro_galaxysd.survey.cells import find_columns, open_cell
from astro_galaxysd.survey.pixels import hdu_pixels
from astro_galaxysd.survey.values import band_names

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, ImageHDU
    from astropy.table import Table
    from astropy.units import Quantity

__all__ = ["from_hdus", "to_hdus"]

_Source: TypeAlias = Survey | Mapping[str, Any] | str | os.PathLike[str] | None


def to_hdus(
    table: Table,
    column: str = "image",
    *,
    pixel_scale: float | Quantity | None = None,
    id_column: str | None = None,
    survey: _Source = None,
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
        Angular size of a pixel; a float is in arcsec. Card PIXSCALE. Not given: the survey's, else the column
        ``<column>_pixel_scale``, else no such card.
    id_column : str, optional
        Column that names the rows (EXTNAME and ROWID); without it the first of
        `astro_galaxysd.images.hdu.ID_COLUMNS` that exists.
    survey : Survey, mapping or path of a card, optional
        The column holds a survey's planes, arrays (H, W, bands) or (H, W) of any number type or HDUs of them, not
        display images.

    Returns
    -------
    list of ImageHDU
        Data (3, H, W) uint8, planes red, green, blue; with a survey its planes (bands, H, W), or (H, W), in their own
        dtype. Row 0 is the bottom of the image. WCS cards of the column ``<column>_wcs`` are written back. To write
        HDUs: ``fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)``.

    Raises
    ------
    ImageError
        For an image that can't be read or a pixel scale that is no positive angle.
    SurveyError
        If `survey` is none.
    UnknownNameError
        If a column isn't there.
    """
    if survey is None:
        return display.to_hdus(table, column, pixel_scale=pixel_scale, id_column=id_column)
    declared = read_survey(survey)
    display.refuse_paths(table, column)
    items = find_columns(table, column, declared)[0].items
    return display.build_hdus(
        table,
        column,
        (_hdu(open_cell(item, row_name(row)).read().array()) for row, item in enumerate(items)),
        partial(_describe, declared),
        pixel_scale=declared.pixel_scale if pixel_scale is None else pixel_scale,
        id_column=id_column,
    )


def from_hdus(hdus: Sequence[Any] | HDUList, column: str = "image", *, survey: _Source = None) -> Table:
    """Read image HDUs back into a table.

    Parameters
    ----------
    hdus : sequence of image HDUs or HDUList
        Planes (3, H, W), uint8 or floats in [0, 1]; HDUs of other programs are read too.
    column : str
        Name of the image column.
    survey : Survey, mapping or path of a card, optional
        The HDUs hold a survey's planes, which are kept as they are.

    Returns
    -------
    Table
        `column` (N, H, W, 3) uint8, with a survey (N, H, W, bands) or (N, H, W) in their own dtype (object of arrays
        where sizes differ), ``id`` (ROWID, else EXTNAME) and, where any HDU has its card, the provenance columns and
        the run's sampler, steps and guidance, ``<column>_wcs`` and ``<column>_pixel_scale``, masked where a card is
        missing. The unit of `column` is BUNIT where all HDUs that have one agree.

    Raises
    ------
    ImageError
        For HDUs that hold no three-plane image; with a survey, no image.
    SurveyError
        If `survey` is none.
    """
    if survey is None:
        return display.from_hdus(hdus, column)
    read_survey(survey)
    items = image_items(hdus, column)
    images = [hdu_pixels(item, row_name(row)).array() for row, item in enumerate(items)]
    return display.hdu_table(items, images, column)


def _hdu(pixels: np.ndarray) -> ImageHDU:
    """An ImageHDU of pixels (H, W, planes) or (H, W)."""
    from astropy.io import fits

    planes = pixels if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    return fits.ImageHDU(np.ascontiguousarray(planes[..., ::-1, :]))


def _describe(survey: Survey, hdu: ImageHDU, synthetic: bool) -> None:
    """Say in a header what the planes are."""
    header = hdu.header
    header["COMMENT"] = f"Planes: {', '.join(survey.planes or band_names(survey))}."
    if synthetic:
        header["CALIB"] = (False, "F: drawn by a model, no measurement")
        if PIXSCALE in header:
            header.extend(offset_cards(header[PIXSCALE], hdu.data.shape[-2:]), update=True)
    elif survey.stretch is None:
        header["CALIB"] = (False, "F: display-stretched colours, no calibration")
    # Else the survey's own files say how what was observed was calibrated.
    if survey.stretch is not None and survey.unit and not (synthetic and survey.luminance):
        header["BUNIT"] = survey.unit
