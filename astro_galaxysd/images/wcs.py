"""What a header says of the sky: its WCS cards, the size of a pixel, and the offsets that a drawn image gets instead.

A drawn galaxy has no position. Its image has linear axes in arcsec about its centre, which no program takes for a
place on the sky.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.errors import ImageError
from astro_galaxysd.images.stretch_base import is_number

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["PIXSCALE", "header_of_text", "header_scale", "offset_cards", "positive_card", "wcs_column", "wcs_text"]

#: Card of the angular size of a pixel in arcsec.
PIXSCALE = "PIXSCALE"
#: Sides of a pixel that differ by less are taken for equal; a galaxy's axis ratio is measured no better than this.
SQUARE = 0.01

_WCS = re.compile(
    r"(WCSAXES|CTYPE\d|CRVAL\d|CRPIX\d|CDELT\d|CUNIT\d|CROTA\d|CD\d_\d|PC\d_\d|PV\d_\d+|LONPOLE|LATPOLE|RADESYS|"
    r"EQUINOX|[AB]P?_ORDER|[AB]P?_\d+_\d+)\Z"
)
#: Without one of these a WCS says nothing of the size of a pixel.
_SIZE = re.compile(r"(CDELT[12]|CD[12]_[12]|PC[12]_[12])\Z")
_DISTORTION = re.compile(r"[AB]P?_(ORDER|\d+_\d+)\Z")


def wcs_column(column: str) -> str:
    """Name of the column with the WCS cards of the cutouts in `column`."""
    return f"{column}_wcs"


def wcs_text(header: Header) -> str | None:
    """WCS cards of a header as text, one card a line.

    Parameters
    ----------
    header : Header

    Returns
    -------
    str or None
        None where no axis is celestial. `header_of_text` reads it back.
    """
    if not _is_celestial(header):
        return None
    return "\n".join(card.image.rstrip() for card in header.cards if _WCS.match(card.keyword))


def header_of_text(text: str) -> Header:
    """Header of the cards in a text of `wcs_text`."""
    from astropy.io import fits

    return fits.Header.fromstring(text, sep="\n")


def header_scale(header: Header, where: str) -> float | None:
    """Angular size of a pixel.

    Parameters
    ----------
    header : Header
        With a celestial WCS, or else a card PIXSCALE in arcsec.
    where : str
        Names the row in messages.

    Returns
    -------
    float or None
        Arcsec; None where the header has neither.

    Raises
    ------
    ImageError
        If the WCS can't be understood or the pixels are not square within 1 %.
    """
    if not _is_celestial(header) or not any(_SIZE.match(keyword) for keyword in header):
        return positive_card(header, PIXSCALE)
    import warnings

    from astropy.wcs import WCS
    from astropy.wcs.utils import proj_plane_pixel_scales

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            height, width = (float(side) * 3600.0 for side in proj_plane_pixel_scales(WCS(_linear(header)).celestial))
        if not (np.isfinite(height * width) and min(height, width) > 0):
            raise ValueError("its pixels have no size")
    except Exception as error:  # wcslib has errors of many classes
        reason = " ".join(str(error).split())
        raise ImageError(
            f"{where}: its WCS can't be understood ({reason}); declare pixel_scale= for the survey"
        ) from error
    if abs(height - width) > SQUARE * max(height, width):
        raise ImageError(
            f"{where}: pixels are not square, {height:.4g} x {width:.4g} arcsec by the WCS; resample the cutouts to "
            "square pixels"
        )
    return float(np.sqrt(height * width))


def positive_card(header: Header, keyword: str) -> float | None:
    """Value of a card; None where there is none, or it is no finite number above 0."""
    value = header.get(keyword)
    return float(value) if is_number(value) and value > 0 else None


def offset_cards(scale: float, size: tuple[int, int]) -> list[tuple[str, object, str]]:
    """Cards of linear offsets from the centre, for an image without a position.

    Parameters
    ----------
    scale : float
        Arcsec a pixel.
    size : tuple of int
        (height, width).

    Returns
    -------
    list of (keyword, value, comment)
        PIXSCALE and two linear axes, 0 in the centre of the image; the axes are no celestial ones. The scale has ten
        digits: of the matrix of a WCS it comes with the errors of its rounding.
    """
    scale = float(f"{scale:.10g}")
    cards: list[tuple[str, object, str]] = [(PIXSCALE, scale, "[arcsec] angular size of a pixel")]
    for axis, (name, pixels) in enumerate((("X", size[1]), ("Y", size[0])), start=1):
        cards += [
            (f"CTYPE{axis}", f"{name}OFFSET", "linear offset from the centre, no sky position"),
            (f"CUNIT{axis}", "arcsec", ""),
            (f"CRPIX{axis}", (pixels + 1) / 2, "centre of the image"),
            (f"CRVAL{axis}", 0.0, ""),
            (f"CDELT{axis}", scale, ""),
        ]
    return cards


def _is_celestial(header: Header) -> bool:
    """Whether the first two axes are projected coordinates of the sky."""
    return all(str(header.get(f"CTYPE{axis}", ""))[4:5] == "-" for axis in (1, 2))


def _linear(header: Header) -> Header:
    """The WCS alone, without distortions, which don't change the size of a pixel in the middle."""
    from astropy.io import fits

    out = fits.Header()
    for card in header.cards:
        if _WCS.match(card.keyword) and not _DISTORTION.match(card.keyword):
            value = card.value.removesuffix("-SIP") if isinstance(card.value, str) else card.value
            out[card.keyword] = value
    return out
