"""Values of a survey's card, each checked and brought to one form."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import SurveyError

if TYPE_CHECKING:
    from astropy.units import Quantity

__all__ = ["make_folder", "make_names", "make_pixel_scale", "make_psf", "make_unit", "psf_record", "read_quantity"]


def make_names(what: str, names: Any) -> tuple[str, ...]:
    """Check names of bands, planes or columns.

    Parameters
    ----------
    what : str
        Key of the card, for the message.
    names : iterable of str
        At least one.

    Returns
    -------
    tuple of str

    Raises
    ------
    SurveyError
        If they are no names, or one is there twice.
    """
    listed = tuple(names) if isinstance(names, Iterable) and not isinstance(names, (str, bytes, Mapping)) else ()
    if not listed or not all(isinstance(name, str) and name.strip() for name in listed):
        raise SurveyError(f"{what} is {names!r}; give a tuple of names")
    if len(set(listed)) < len(listed):
        raise SurveyError(f"{what} {listed} has a name twice; give each once")
    return tuple(str(name) for name in listed)


def make_folder(folder: Any) -> str:
    """Check the folder where relative paths start.

    Parameters
    ----------
    folder : str or path
        Empty: that of the process.

    Returns
    -------
    str

    Raises
    ------
    SurveyError
        If it is no path.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise SurveyError(f"folder is {folder!r}; give the path where relative paths of files start, or leave it out")
    return os.fspath(folder)


def make_pixel_scale(value: float | str | Quantity | None, what: str = "pixel_scale") -> float | None:
    """Check an angle.

    Parameters
    ----------
    value : float, str or Quantity, optional
        Arcsec where it has no unit.
    what : str
        Key of the card, for the message.

    Returns
    -------
    float or None
        Arcsec; None for None.

    Raises
    ------
    SurveyError
        If it is no positive angle.
    """
    if value is None:
        return None
    from astropy import units

    read = read_quantity(value) if isinstance(value, str) else value
    try:
        angle = float(units.Quantity(np.nan if read is None or isinstance(read, bool) else read, units.arcsec).value)
    except (TypeError, ValueError):
        angle = np.nan
    if not (np.isfinite(angle) and angle > 0):
        raise SurveyError(f"{what} is {value!r}; give a positive angle: arcsec as a float, or a Quantity")
    return angle


def make_psf(psf: Any) -> float | Quantity | str | np.ndarray | None:
    """Check what is said of the seeing.

    Parameters
    ----------
    psf : float, Quantity, str, path or 2-D array, optional
        FWHM, path of a FITS file, or image of a star. A text that reads as a quantity (``"2.5 pix"``) is one.

    Returns
    -------
    float, Quantity, str, ndarray or None
        FWHM in arcsec, FWHM in pixels, path, or float64 image.

    Raises
    ------
    SurveyError
        If the FWHM is no positive width, or the image is not 2-D, not finite, or empty.
    """
    if isinstance(psf, (str, os.PathLike)):
        width = read_quantity(psf) if isinstance(psf, str) else None
        return os.fspath(psf) if width is None else _width(float(width.value) if not str(width.unit) else width)
    if psf is None or np.isscalar(psf) or getattr(psf, "ndim", None) == 0:
        return None if psf is None else _width(psf)
    try:
        image = np.asarray(psf, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SurveyError(
            f"psf is {type(psf).__name__} ({error}); give a FWHM in arcsec, a FITS file or an image (H, W) of numbers"
        ) from error
    if image.ndim != 2 or not np.all(np.isfinite(image)) or image.sum() <= 0:
        raise SurveyError(f"psf is an array of shape {image.shape}; give (H, W) of a star, finite, its sum above 0")
    return image


def make_unit(unit: Any) -> str | None:
    """Check the unit of the planes.

    Parameters
    ----------
    unit : str or Unit, optional
        Empty or None: not known.

    Returns
    -------
    str or None
        As it was written.

    Raises
    ------
    SurveyError
        If `astropy.units` does not know it.
    """
    if unit is None or unit == "":
        return None
    from astropy import units

    try:
        units.Unit(unit)
    except (TypeError, ValueError) as error:
        raise SurveyError(
            f"unit {unit!r} is none that astropy.units knows; write it as FITS does, for example nanomaggy, "
            "electron / s, adu or MJy / sr"
        ) from error
    return str(unit)


def psf_record(psf: Any) -> float | str | None:
    """Say what `make_psf` gave in a form that JSON has.

    Parameters
    ----------
    psf : float, Quantity, str, ndarray or None
        From `make_psf`.

    Returns
    -------
    float, str or None
        FWHM in arcsec, FWHM in pixels as text, name of the file, or size of the image.
    """
    if psf is None or isinstance(psf, float):
        return psf
    if isinstance(psf, str):
        return Path(psf).name
    return f"image of {psf.shape[0]}x{psf.shape[1]} px" if np.ndim(psf) else str(psf)


def read_quantity(text: str) -> Quantity | None:
    """Read a quantity.

    Parameters
    ----------
    text : str
        ``"2.5 pix"``, ``"0.4 arcsec"``, ``"0.4"``.

    Returns
    -------
    Quantity or None
        None for any other text.
    """
    from astropy import units

    try:
        return units.Quantity(text)
    except (TypeError, ValueError):
        return None


def _width(psf: Any) -> float | Quantity | None:
    """A positive FWHM: in arcsec, or a Quantity in pixels."""
    from astropy import units

    if not (isinstance(psf, units.Quantity) and psf.unit == units.pix):
        return make_pixel_scale(psf, "psf")
    if not (np.isfinite(psf.value) and psf.value > 0):
        raise SurveyError(f"psf is {psf}; give a positive FWHM")
    return psf
