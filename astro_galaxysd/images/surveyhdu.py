"""A survey's planes as image HDUs: pixels in their own dtype, and what a header may say of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from astro_galaxysd.errors import ImageError
from astro_galaxysd.images.encoded import decode_image
from astro_galaxysd.images.planes import hdu_with_pixels
from astro_galaxysd.images.sources import kind_of
from astro_galaxysd.images.wcs import PIXSCALE, offset_cards

if TYPE_CHECKING:
    from astropy.io.fits import ImageHDU

__all__ = ["SurveyPlanes", "flat_hdu", "hdu_array", "survey_pixels", "write_survey"]


class SurveyPlanes(Protocol):
    """What is said of a survey's planes; `astro_galaxysd.survey.card.Survey` says it."""

    @property
    def stretch(self) -> Any:
        """Stretch that makes display images of the planes; None: they are display images."""

    @property
    def unit(self) -> str | None:
        """Unit of the planes."""

    @property
    def luminance(self) -> bool:
        """Whether the one band stands for brightness."""

    @property
    def pixel_scale(self) -> Any:
        """Arcsec, or None."""

    @property
    def bands(self) -> tuple[str, ...] | str:
        """Names of the bands shown red, green and blue."""

    @property
    def planes(self) -> tuple[str, ...] | None:
        """Names of all planes in their order, where they are not `bands`."""


def write_survey(hdu: ImageHDU, survey: SurveyPlanes, *, synthetic: bool) -> None:
    """Say in a header what the planes are, instead of display colours.

    Parameters
    ----------
    hdu : ImageHDU
        Its header is changed: names of the planes, BUNIT with a declared stretch and unit. Drawn images get CALIB = F
        and offsets from the centre instead of a position, and no unit where luminance was made of colours.
    survey : SurveyPlanes
    synthetic : bool
        The image was drawn.
    """
    header = hdu.header
    names = survey.planes or ((survey.bands,) if isinstance(survey.bands, str) else survey.bands)
    del header["COMMENT"]
    header["COMMENT"] = f"Planes: {', '.join(names)}."
    if synthetic:
        header["CALIB"] = (False, "F: drawn by a model, no measurement")
        scale = header.get(PIXSCALE)
        if scale is not None:
            header.extend(offset_cards(scale, hdu.data.shape[-2:]), update=True)
    elif survey.stretch is not None:
        # Of what was observed the survey's own files say how it was calibrated.
        del header["CALIB"]
    if survey.stretch is not None and survey.unit and not (synthetic and survey.luminance):
        header["BUNIT"] = survey.unit


def survey_pixels(item: Any, where: str) -> np.ndarray:
    """Pixels of a survey's cutout: an array (H, W, bands) or (H, W), masked floats as NaN.

    Raises
    ------
    ImageError
        If there is no cutout, or it has another number of axes; `where` names the row.
    """
    kind = kind_of(item, where)
    if kind == "encoded":
        return decode_image(bytes(item), where)
    if kind == "hdu":
        return hdu_array(item, where)
    values = np.ma.filled(item, np.nan) if np.ma.is_masked(item) and item.dtype.kind == "f" else np.ma.getdata(item)
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise ImageError(f"{where}: an array of shape {values.shape}; a cutout is (H, W, bands) or (H, W)")
    return np.asarray(values)


def hdu_array(item: Any, where: str) -> np.ndarray:
    """Pixels of an HDU in their own dtype: (H, W, bands), or (H, W) where there is no axis of bands.

    Raises
    ------
    ImageError
        If there are no pixels, or another number of axes; `where` names the row.
    """
    data = np.asarray(hdu_with_pixels(item, where).data)
    if data.ndim not in (2, 3):
        raise ImageError(f"{where}: an HDU of shape {data.shape}; planes (bands, H, W) or an image (H, W) are needed")
    native = data.astype(data.dtype.newbyteorder("="), copy=False)
    return native[::-1] if data.ndim == 2 else np.moveaxis(native, 0, -1)[::-1]


def flat_hdu(pixels: np.ndarray) -> ImageHDU:
    """Make an ImageHDU of (H, W) pixels, row 0 at the top."""
    from astropy.io import fits

    return fits.ImageHDU(np.ascontiguousarray(pixels[::-1]))
