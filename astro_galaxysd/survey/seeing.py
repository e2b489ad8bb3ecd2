"""Seeing of a survey's cutouts: given as a width or an image of a star, or estimated from stars; kernels to reach it.

Stars are compact, round, unsaturated, isolated sources off the middle of a cutout. Each gets a Gaussian fitted that is
integrated over pixels (`photutils.psf.fit_fwhm`); the seeing is the median after clipping. Small galaxies that pass
for stars make it a little too wide.

In display values a star is wider than in fluxes, and wider the brighter it is, for a stretch lifts its wings.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from astro_galaxysd.errors import SurveyError
from astro_galaxysd.survey.sizes import Galaxy

__all__ = ["FEWEST_STARS", "Seeing", "find_stars", "in_arcsec", "kernel", "read_psf", "seeing_of_stars"]

#: Fewest stars of which a seeing is made: the median of 8 of scatter 15 % is known to 7 %.
FEWEST_STARS = 8
_SIGNIFICANT = 15.0  # peak over noise: a width is known to some 10 %
_ELLIPTICITY = 0.15
_WIDTHS = (1.2, 12.0)  # pixels; narrower are cosmic rays and noise
_COMPACT = 0.6  # of the galaxy's R50: a star is smaller than the galaxy
_TO_SIGMA = 1 / np.sqrt(8 * np.log(2))


@dataclass(frozen=True, eq=False)
class Seeing:
    """How wide a star is.

    Parameters
    ----------
    fwhm : float or None
        Pixels; None: not known.
    origin : str
        ``"given"``, ``"estimated"`` or ``"unknown"``.
    image : ndarray, shape (h, w), float64, optional
        Of a star: odd sides, peak in the middle, sum 1.
    n_stars : int
        Of an estimate.
    scatter : float
        1.4826 median absolute deviations of the stars' widths, pixels.
    reason : str
        Why it is not known.
    """

    fwhm: float | None
    origin: str
    image: np.ndarray | None = None
    n_stars: int = 0
    scatter: float = 0.0
    reason: str = ""

    @property
    def source(self) -> str:
        """Where it comes from, for messages."""
        stars = f" from {self.n_stars} stars, scatter {self.scatter:.2f} px" if self.origin == "estimated" else ""
        return f"{self.origin}{stars}"

    def text(self) -> str:
        """One line for reports."""
        if self.fwhm is None:
            return f"seeing: not known ({self.reason})"
        return f"seeing: {self.fwhm:.2f} px FWHM ({self.source})"


def in_arcsec(psf: Any) -> bool:
    """Whether a declared psf is an angle, which needs a pixel scale.

    Parameters
    ----------
    psf : float, Quantity, path or ndarray
        As `read_psf` takes it.
    """
    from astropy import units

    if isinstance(psf, units.Quantity):
        return not psf.unit.is_equivalent(units.pix)
    return not isinstance(psf, (str, os.PathLike)) and np.ndim(psf) == 0


def read_psf(psf: Any, pixel_scale: float | None) -> Seeing:
    """Seeing that a survey declares.

    Parameters
    ----------
    psf : float, Quantity, path or ndarray
        FWHM in arcsec or pixels, a FITS file or an array with an image of a star, in pixels of the cutouts.
    pixel_scale : float or None
        Arcsec.

    Returns
    -------
    Seeing
        Its origin is ``"given"``.

    Raises
    ------
    SurveyError
        If the width is in arcsec and no pixel scale is known, a file can't be read, or an image holds no star.
    """
    from astropy import units

    if isinstance(psf, (str, os.PathLike)):
        return _of_image(_star_of_file(os.fspath(psf)), f"psf {os.fspath(psf)}")
    if isinstance(psf, np.ndarray) and psf.ndim == 2:
        return _of_image(psf, "psf")
    width = psf if isinstance(psf, units.Quantity) else units.Quantity(float(psf), units.arcsec)
    if width.unit.is_equivalent(units.pix):
        return Seeing(float(width.to_value(units.pix)), "given")
    if pixel_scale is None:
        raise SurveyError(
            f"psf is {width} and the size of a pixel is not known; declare pixel_scale= in arcsec, or the psf in "
            'pixels ("4.2 pix")'
        )
    return Seeing(float(width.to_value(units.arcsec)) / pixel_scale, "given")


def find_stars(galaxy: Galaxy, saturated: np.ndarray | None = None) -> list[float]:
    """Widths of the stars in a cutout.

    Parameters
    ----------
    galaxy : Galaxy
        The cutout's galaxy, with all sources.
    saturated : ndarray, shape (H, W), bool, optional
        Pixels whose value is only a lower limit.

    Returns
    -------
    list of float
        FWHM of each, pixels.
    """
    from photutils.segmentation import SegmentationImage, SourceCatalog

    numbers = np.where(galaxy.segment, 0, galaxy.sources)
    if not numbers.any():
        return []
    noise = 1.4826 * float(np.median(np.abs(galaxy.light[galaxy.sources == 0])))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sources of a few pixels have no shape
        catalog = SourceCatalog(galaxy.light, SegmentationImage(numbers.astype(np.int32)))
        columns = [catalog.labels, catalog.x_centroid, catalog.y_centroid, catalog.fwhm, catalog.ellipticity,
                   catalog.max_value]  # fmt: skip
        rows = zip(*(np.ravel(getattr(column, "value", column)) for column in columns), strict=True)
        found = [
            _width(galaxy, int(number), (float(x), float(y)), float(fwhm), saturated)
            for number, x, y, fwhm, ellipticity, peak in rows
            if ellipticity < _ELLIPTICITY
            and peak > _SIGNIFICANT * noise
            and _WIDTHS[0] < fwhm < min(_WIDTHS[1], 2 * _COMPACT * galaxy.r90)
        ]
    return [width for width in found if width is not None]


def seeing_of_stars(widths: Sequence[float]) -> Seeing:
    """Seeing from the widths of stars.

    Parameters
    ----------
    widths : sequence of float
        FWHM, pixels.

    Returns
    -------
    Seeing
        Not known, with the reason, where there are fewer than `FEWEST_STARS`.
    """
    from astropy.stats import SigmaClip, mad_std

    if len(widths) < FEWEST_STARS:
        reason = f"{len(widths)} stars in the cutouts, {FEWEST_STARS} are needed; declare psf= in arcsec"
        return Seeing(None, "unknown", n_stars=len(widths), reason=reason)
    kept = SigmaClip(2.5, stdfunc=mad_std)(np.asarray(widths, dtype=np.float64), masked=False)
    return Seeing(float(np.median(kept)), "estimated", n_stars=len(widths), scatter=float(mad_std(kept)))


def kernel(drawn: float, seeing: Seeing) -> np.ndarray | None:
    r"""Kernel that brings a star's width to the survey's.

    Parameters
    ----------
    drawn : float
        FWHM of stars in the image, pixels.
    seeing : Seeing
        What it shall be.

    Returns
    -------
    ndarray, shape (k, k), float64, or None
        Sum 1, k odd. With an image of a star by division of Fourier transforms (`photutils.psf_matching.make_kernel`),
        else a Gaussian of FWHM :math:`\sqrt{w^2 - w_{drawn}^2}`. None where the seeing is not known or the image is as
        blurred already.
    """
    if seeing.fwhm is None or seeing.fwhm <= drawn * 1.005:
        return None
    if seeing.image is not None and drawn > 0:
        return _matching_kernel(drawn, seeing.image)
    if seeing.image is not None:
        return seeing.image
    sigma = float(np.sqrt(seeing.fwhm**2 - drawn**2)) * _TO_SIGMA
    return _gaussian(sigma, 2 * int(np.ceil(4 * sigma)) + 1)


def _width(
    galaxy: Galaxy, number: int, place: tuple[float, float], fwhm: float, saturated: np.ndarray | None
) -> float | None:
    """FWHM of one source; None where it is at an edge, not alone or saturated."""
    from photutils.psf import fit_fwhm

    half = int(np.ceil(1.3 * fwhm)) + 1
    x, y = round(place[0]), round(place[1])
    height, width = galaxy.light.shape
    if not (half <= x < width - half and half <= y < height - half):
        return None
    window = np.s_[y - half : y + half + 1, x - half : x + half + 1]
    others = (galaxy.sources[window] > 0) & (galaxy.sources[window] != number)
    if others.any() or (saturated is not None and saturated[window].any()):
        return None
    light = galaxy.light[window]
    border = np.concatenate([light[0], light[-1], light[1:-1, 0], light[1:-1, -1]])
    sky = float(np.median(border))  # what a halo leaves below the star
    if sky > 0.1 * light.max():
        return None
    found = float(fit_fwhm(light - sky, fwhm=fwhm, fit_shape=light.shape)[0])
    return found if _WIDTHS[0] < found < _WIDTHS[1] else None


def _star_of_file(path: str) -> np.ndarray:
    """First 2-D image of a FITS file."""
    from astropy.io import fits

    try:
        with fits.open(path) as hdus:
            for hdu in hdus:
                if getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) == 2:
                    return np.asarray(hdu.data, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise SurveyError(f"psf {path} can't be read ({error}); give a FITS file with the image of a star") from error
    raise SurveyError(f"psf {path} holds no 2-D image; give a FITS file with the image of a star")


def _of_image(image: np.ndarray, where: str) -> Seeing:
    """Seeing from the image of a star."""
    from photutils.psf import fit_fwhm

    star = np.nan_to_num(np.asarray(image, dtype=np.float64))[::-1]
    row, column = np.unravel_index(star.argmax(), star.shape)
    half = int(min(row, column, star.shape[0] - 1 - row, star.shape[1] - 1 - column))
    if half < 2 or star.sum() <= 0:
        raise SurveyError(f"{where} has its peak {half} px from the edge; cut the star out with its peak in the middle")
    star = star[row - half : row + half + 1, column - half : column + half + 1]
    star = star / star.sum()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fwhm = float(fit_fwhm(star, fit_shape=min(len(star), 15))[0])
    if not 0.5 < fwhm < 2 * half:
        raise SurveyError(f"{where} has a FWHM of {fwhm:.2f} px in {star.shape[0]} px; give the image of a star")
    return Seeing(fwhm, "given", star)


def _gaussian(sigma: float, side: int) -> np.ndarray:
    """Gaussian integrated over pixels, sum 1."""
    from scipy.special import ndtr

    edges = (np.arange(side + 1) - side / 2) / max(sigma, 1e-6)
    line = np.diff(ndtr(edges))
    image = np.outer(line, line)
    return np.asarray(image / image.sum())


def _matching_kernel(drawn: float, star: np.ndarray) -> np.ndarray:
    from photutils.psf_matching import SplitCosineBellWindow, make_kernel

    found = make_kernel(
        _gaussian(drawn * _TO_SIGMA, len(star)), star, window=SplitCosineBellWindow(alpha=0.4, beta=0.3)
    )
    return np.asarray(found / found.sum())
