"""Pixels of one cell against what is said of the survey: checked, and turned into planes of float64."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.errors import ImageError
from astro_galaxysd.images.codec import TOLERANCE

if TYPE_CHECKING:
    from astro_galaxysd.survey.card import Survey
    from astro_galaxysd.survey.cells import CutoutColumn
    from astro_galaxysd.survey.pixels import Pixels

__all__ = ["band_names", "check_pixels", "check_sizes", "chosen_planes", "differ", "pixel_values", "unit_of"]


def check_pixels(pixels: Pixels, survey: Survey, where: str, *, one_band: bool = False, planes_last: bool) -> None:
    """Refuse a cutout with other bands, another unit or other numbers than the survey's; needs no pixels.

    Parameters
    ----------
    pixels : Pixels
    survey : Survey
    where : str
        Names the row in messages.
    one_band : bool
        The cell holds one band of several.
    planes_last : bool
        The cell is an array (H, W, bands), for the way out.

    Raises
    ------
    ImageError
    """
    _check_bands(pixels, survey, where, one_band, planes_last)
    _check_unit(pixels, survey, where)
    if survey.stretch is not None and pixels.picture:
        raise ImageError(
            f"{where}: a JPEG or PNG is a display image already, but a stretch is declared for the survey; drop "
            "stretch=, or give calibrated planes"
        )
    if survey.stretch is None and pixels.dtype != np.uint8 and pixels.dtype.kind != "f":
        raise ImageError(
            f"{where}: pixels of dtype {pixels.dtype.name}{_unit_seen(pixels)}; without a stretch they must be uint8, "
            "or floats in [0, 1]: declare stretch= (`galaxysd survey` suggests one)"
        )


def check_sizes(parts: Sequence[Pixels], columns: Sequence[CutoutColumn], where: str) -> None:
    """Refuse bands of different sizes.

    Parameters
    ----------
    parts : sequence of Pixels
    columns : sequence of CutoutColumn
        Of each of them.
    where : str
        Names the row in messages.

    Raises
    ------
    ImageError
    """
    for pixels, column in zip(parts, columns, strict=True):
        if pixels.shape[1:] != parts[0].shape[1:]:
            (height, width), (first_height, first_width) = pixels.shape[1:], parts[0].shape[1:]
            raise ImageError(
                f"{where}: band {column.band} is {height}x{width} pixels where band {columns[0].band} is "
                f"{first_height}x{first_width}; resample the bands to one grid"
            )


def pixel_values(pixels: Pixels, survey: Survey, where: str, *, one_band: bool = False) -> np.ndarray:
    """Bands of a cell that was checked.

    Parameters
    ----------
    pixels : Pixels
        With values.
    survey, where, one_band
        As for `check_pixels`.

    Returns
    -------
    ndarray, shape (b, H, W), float64
        All bands, or the one; NaN where masked. Without a stretch in [0, 1].

    Raises
    ------
    ImageError
        For values outside [0, 1] without a stretch, infinite ones, and three different planes for luminance.
    """
    kept = pixels.values if one_band else np.ma.asarray(pixels.values)[chosen_planes(survey)]
    if survey.luminance and pixels.shape[0] > 1 and survey.planes is None:
        kept = _grey(np.ma.asarray(pixels.values), where)
    values: np.ndarray = np.ma.filled(np.ma.asarray(kept, dtype=np.float64), np.nan)
    if np.isinf(values).any():
        raise ImageError(f"{where}: infinite pixels; set what was not observed to NaN")
    if survey.stretch is not None:
        return values
    if pixels.dtype == np.uint8:
        return values / 255.0
    lowest, highest = np.nanmin(values, initial=0.0), np.nanmax(values, initial=0.0)
    if lowest < -TOLERANCE or highest > 1 + TOLERANCE:
        raise ImageError(
            f"{where}: values from {lowest:g} to {highest:g}{_unit_seen(pixels)} and no stretch is declared; display "
            "images lie in [0, 1]: declare stretch= for the survey (`galaxysd survey` suggests one)"
        )
    return np.asarray(np.clip(values, 0.0, 1.0))


def band_names(survey: Survey) -> tuple[str, ...]:
    """Names of the bands, also where luminance is the only one."""
    return (survey.bands,) if isinstance(survey.bands, str) else survey.bands


def chosen_planes(survey: Survey) -> list[int]:
    """Numbers of the bands among the planes of a cutout with all of them."""
    if survey.planes is None:
        return list(range(survey.n_bands))
    return [survey.planes.index(band) for band in band_names(survey)]


def _check_bands(pixels: Pixels, survey: Survey, where: str, one_band: bool, planes_last: bool) -> None:
    """Refuse another number of planes, with the way out where it is their order."""
    needed = 1 if one_band else survey.n_bands if survey.planes is None else len(survey.planes)
    found = pixels.shape[0]
    if found == needed or (found == 3 and needed == 1 and survey.luminance and survey.stretch is None):
        return
    if planes_last and pixels.shape[1] == needed > 1:
        raise ImageError(f"{where}: planes first in an array; use np.moveaxis(images, -3, -1)")
    if not planes_last and pixels.shape[2] == needed > 1:
        raise ImageError(
            f"{where}: the bands come last, shape {pixels.shape}; FITS planes are (bands, H, W): use "
            "np.moveaxis(data, -1, 0)"
        )
    names = survey.planes or band_names(survey)
    if one_band:
        said = "a column of one band holds one; name one column for all bands, or choose an extension of the file"
    elif found == 1:
        said = f"the survey has {needed} ({', '.join(names)}); name one column a band, or declare bands='luminance'"
    else:
        said = f"the survey has {needed} ({', '.join(names)}); name all {found} in their order with planes="
    raise ImageError(f"{where}: {found} band{'s' * (found != 1)}, {pixels.shape[1]}x{pixels.shape[2]} pixels; {said}")


def _check_unit(pixels: Pixels, survey: Survey, where: str) -> None:
    found = unit_of(pixels)
    if survey.unit and found and differ(found, survey.unit):
        raise ImageError(
            f"{where}: unit {found!r} (BUNIT) where the survey declares {survey.unit!r}; bring all cutouts to one unit "
            "and declare that"
        )


def unit_of(pixels: Pixels) -> str:
    """BUNIT of a cutout; empty where nothing says it."""
    return "" if pixels.header is None else str(pixels.header.get("BUNIT", ""))


@functools.lru_cache(maxsize=64)
def differ(found: str, declared: str) -> bool:
    """Whether two units are known to be different; one that astropy can't read proves nothing."""
    from astropy import units

    try:
        return bool(units.Unit(found) != units.Unit(declared))
    except ValueError:
        return False


def _unit_seen(pixels: Pixels) -> str:
    return f" {unit_of(pixels)}" if unit_of(pixels) else ""


def _grey(values: np.ma.MaskedArray, where: str) -> np.ma.MaskedArray:
    """The one plane of a grey picture with three equal ones."""
    if not all(np.ma.allequal(values[0], plane, fill_value=False) for plane in values[1:]):
        raise ImageError(
            f"{where}: coloured, where bands='luminance' needs one band; declare the three bands, or make it grey"
        )
    return values[:1]
