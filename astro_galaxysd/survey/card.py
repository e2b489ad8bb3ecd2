"""What a survey's cutouts are: their bands, stretch, pixel scale, seeing and unit.

The same is said in code, by `Survey`, or in a file, a card in TOML that `read_survey` reads::

    name = "deep field"
    bands = ["z", "r", "g"]             # red, green, blue; or "luminance" for one band
    planes = ["u", "g", "r", "i", "z"]  # all planes of a cutout in its order, where it has more than bands
    columns = "cutout"                  # or one column for each of `bands`
    folder = "cutouts"                  # where relative paths of files start; seen from the card
    pixel_scale = 0.262                 # arcsec; left out: from each file's WCS
    psf = 1.1                           # FWHM in arcsec, "4.2 pix", or a FITS file with an image of it
    unit = "nanomaggy"                  # of the planes
    saturation = 900.0                  # pixels at or above are saturated

    [stretch]                           # left out: the cutouts are display images already
    kind = "lupton"                     # or "asinh", "linear" with vmin and vmax
    stretch = 0.5
    Q = 8.0
    minimum = 0.0

Every key may be left out: the empty card describes JPEGs of bands i, r, g in the column ``image``.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ImageError, SurveyError
from astro_galaxysd.images.stretch import Stretch, make_stretch
from astro_galaxysd.images.stretch_base import number, set_checked
from astro_galaxysd.survey.bands import LUMINANCE, check_bands, check_planes, make_bands, make_columns, say_bands
from astro_galaxysd.survey.card_values import (
    make_folder,
    make_names,
    make_pixel_scale,
    make_psf,
    make_unit,
    psf_record,
    read_quantity,
)

if TYPE_CHECKING:
    from astropy.units import Quantity

__all__ = ["Survey", "check_bands", "read_survey"]

#: Dither of grey levels, either way: below a half, so that rounding gives the level back.
DITHER = 0.499


@dataclass(frozen=True, eq=False)
class Survey:
    """What a survey's cutouts are.

    Parameters
    ----------
    bands : tuple of str or "luminance"
        Names of the three bands shown red, green and blue, in that order; ``"luminance"`` for cutouts of one band
        that stands for brightness.
    columns : str or tuple of str, optional
        The column of the table with the cutouts, or one column for each band. None: named elsewhere, else ``image``.
    planes : tuple of str, optional
        Names of all planes of a cutout in its order, where it has more planes than `bands` or another order.
    folder : path
        Where relative paths of files start.
    stretch : Stretch or mapping, optional
        What makes display images of the planes. None: the cutouts are display images already.
    pixel_scale : float or Quantity, optional
        Arcsec. None: from each file's WCS.
    psf : float, Quantity, path or 2-D array, optional
        Seeing: FWHM in arcsec, or a Quantity in arcsec or pixels, or an image of a star. None: estimated from stars.
    unit : str, optional
        Unit of the planes, as `astropy.units` writes it: ``"nanomaggy"``, ``"electron / s"``.
    saturation : float, optional
        Pixels at or above it are saturated.
    name : str
        Of the survey, for reports.

    Raises
    ------
    SurveyError
        For a value that is out of range or contradicts another.

    Notes
    -----
    After construction `pixel_scale` is a float in arcsec, `stretch` a `Stretch`, `psf` a float in arcsec, a Quantity
    in pixels, a path or a float64 array, and lists are tuples.

    Examples
    --------
    >>> survey = Survey(stretch={"kind": "lupton", "stretch": 0.5}, pixel_scale=0.396, unit="nanomaggy")
    >>> survey.n_bands, survey.stretch.Q
    (3, 8.0)
    """

    bands: tuple[str, ...] | str = ("i", "r", "g")
    columns: str | tuple[str, ...] | None = None
    planes: tuple[str, ...] | None = None
    folder: str | os.PathLike[str] = ""
    stretch: Stretch | None = None
    pixel_scale: float | Quantity | None = None
    psf: float | Quantity | str | os.PathLike[str] | np.ndarray | None = None
    unit: str | None = None
    saturation: float | None = None
    name: str = ""

    def __post_init__(self) -> None:
        """Check all and bring it to one form."""
        set_checked(self, bands=make_bands(self.bands), folder=make_folder(self.folder), name=str(self.name))
        set_checked(self, planes=None if self.planes is None else make_names("planes", self.planes))
        set_checked(self, columns=make_columns(self.columns))
        check_planes(self.bands, self.columns, self.planes)
        set_checked(self, stretch=None if self.stretch is None else make_stretch(self.stretch))
        set_checked(self, pixel_scale=make_pixel_scale(self.pixel_scale))
        set_checked(self, psf=make_psf(self.psf), unit=make_unit(self.unit))
        if self.saturation is not None:
            set_checked(self, saturation=number(self.saturation, "saturation"))

    def __eq__(self, other: object) -> bool:
        """Whether all values are equal, those of a PSF image too."""
        if not isinstance(other, Survey):
            return NotImplemented
        ours, theirs = ([getattr(survey, field.name) for field in fields(Survey)] for survey in (self, other))
        return all(type(a) is type(b) and bool(np.array_equal(a, b)) for a, b in zip(ours, theirs, strict=True))

    @property
    def luminance(self) -> bool:
        """Whether the cutouts have one band that stands for brightness."""
        return self.bands == LUMINANCE

    @property
    def n_bands(self) -> int:
        """Number of bands: 1 with luminance."""
        return 1 if self.luminance else len(self.bands)

    def display(self, planes: np.ndarray) -> np.ndarray:
        """Make the display image of a cutout.

        Parameters
        ----------
        planes : ndarray, shape (B, H, W)
            Fluxes; without a stretch display values in [0, 1]. NaN: not observed.

        Returns
        -------
        ndarray, shape (H, W, 3), uint8
            Missing pixels are black; luminance is grey.

        Raises
        ------
        ImageError
            If there are not as many planes as bands.
        SurveyError
            If there are neither three bands nor one.
        """
        values = self._checked(planes)
        if self.n_bands not in (1, 3):
            raise SurveyError(f"{self.n_bands} bands, {say_bands(self.bands)}, make no picture; name three, red first")
        values = np.clip(values, 0.0, 1.0) if self.stretch is None else self.stretch.apply(values)
        grey = np.rint(255.0 * np.nan_to_num(values, nan=0.0)).astype(np.uint8)
        return np.ascontiguousarray(np.moveaxis(np.broadcast_to(grey, (3, *grey.shape[1:])), 0, -1))

    def from_display(self, drawn: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Make the planes of a drawn image, so that they are displayed as it is.

        Parameters
        ----------
        drawn : ndarray, shape (H, W, 3), uint8
            With luminance the mean of the three colours is taken.
        rng : numpy.random.Generator
            Of the dither: less than half a grey level, so that 256 levels don't show in the fluxes.

        Returns
        -------
        ndarray, shape (B, H, W), float64
            Fluxes; without a stretch display values in [0, 1].

        Raises
        ------
        ImageError
            If `drawn` is no uint8 colour image.
        """
        levels = np.asarray(drawn)
        if levels.ndim != 3 or levels.shape[-1] != 3 or levels.dtype != np.uint8:
            raise ImageError(f"a drawn image is uint8 of shape (H, W, 3), not {levels.dtype} of {levels.shape}")
        values = np.moveaxis(levels.astype(np.float64), -1, 0)
        values = values.mean(axis=0, keepdims=True) if self.luminance else values
        values = np.clip((values + rng.uniform(-DITHER, DITHER, values.shape)) / 255.0, 0.0, 1.0)
        return values if self.stretch is None else self._checked(self.stretch.invert(values))

    def as_record(self) -> dict[str, Any]:
        """What the run record says of the survey: JSON-ready, without the folder and the PSF image itself.

        Returns
        -------
        dict
            With the fields of the class that are not None or empty.
        """
        record = {
            field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("folder", "psf")
        }
        record["stretch"] = None if self.stretch is None else self.stretch.as_dict()
        record["psf"] = psf_record(self.psf)
        lists = {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}
        return {name: value for name, value in lists.items() if value is not None and value != ""}

    def _checked(self, planes: np.ndarray) -> np.ndarray:
        """Planes as float64, as many as bands."""
        values = np.asarray(planes, dtype=np.float64)
        if values.ndim != 3 or len(values) != self.n_bands:
            raise ImageError(
                f"a cutout of shape {values.shape} for a survey of {self.n_bands} band{'s' * (self.n_bands != 1)}; "
                f"({self.n_bands}, H, W) is needed: {say_bands(self.bands)}"
            )
        return values


def read_survey(source: Survey | Mapping[str, Any] | str | os.PathLike[str]) -> Survey:
    """Read what is said of a survey.

    Parameters
    ----------
    source : Survey, mapping or path
        A survey is returned as it is. A mapping has the parameters of `Survey` as keys. A path is that of a card in
        TOML with the same keys; its relative paths (`folder`, a PSF image) start at the card.

    Returns
    -------
    Survey
        Checked.

    Raises
    ------
    SurveyError
        If `source` is none of them, the card can't be read or is no TOML, a key is unknown or a value is wrong.
    """
    if isinstance(source, Survey):
        return source
    if isinstance(source, Mapping):
        return _survey(dict(source), "")
    if not isinstance(source, str | os.PathLike):
        raise SurveyError(f"a survey is a Survey, a mapping or the path of a card, not {source!r}; give one of them")
    path = Path(source)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SurveyError(f"survey card {path} can't be read ({error}); give the path of a TOML file") from error
    except tomllib.TOMLDecodeError as error:
        raise SurveyError(f"survey card {path} is no TOML: {error}") from error
    content["folder"] = os.fspath(path.parent / str(content.get("folder", "")))
    psf = content.get("psf")
    if isinstance(psf, str) and read_quantity(psf) is None:
        content["psf"] = os.fspath(path.parent / psf)
    return _survey(content, f"survey card {path}: ")


def _survey(content: dict[str, Any], where: str) -> Survey:
    """A survey from its keys; `where` goes before messages."""
    known = [field.name for field in fields(Survey)]
    unknown = [str(key) for key in content if key not in known]
    if unknown:
        raise SurveyError(f"{where}a survey has no {', '.join(unknown)}; it has {', '.join(known)}")
    try:
        return Survey(**content)
    except SurveyError as error:
        raise SurveyError(f"{where}{error}") from error
