"""An invented survey: FITS cutouts, their table and their card, to try surveys out offline.

Galaxies are sums of Sersic profiles, some with spiral arms, seen through a Gaussian seeing over a flat sky with
Gaussian noise; stars stand beside them. Nothing in it was observed. The numbers below are round ones near those of
SDSS; they are the truth that measurements of the cutouts should find again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.conditions.tree import QUESTIONS
from astro_galaxysd.errors import SurveyError

if TYPE_CHECKING:
    import os

    from astropy.io.fits import Header
    from astropy.table import Table

__all__ = ["CARD", "PIXEL_SCALE", "SEEING", "SIDE", "example_survey"]

#: Side of a cutout, pixels; angular size of a pixel and FWHM of the seeing, arcsec.
SIDE, PIXEL_SCALE, SEEING = 64, 0.5, 1.25
#: Name of the card in the folder.
CARD = "survey.toml"
#: Of the reddest band: sky level and its noise, nanomaggies a pixel. Half of it in the bluest.
_SKY, _NOISE = 0.02, 0.014
#: Median light of a galaxy, nanomaggies in the reddest band.
_BRIGHTNESS = 40.0
_SATURATION = 40.0
#: Share of volunteers who must have come to a question for its answers to be known.
_ASKED = 0.1
#: Profiles are computed on a grid so many times finer.
_FINER = 3
#: Stars a cutout, on average, and how far from the galaxy's centre they begin, pixels.
_STARS, _APART = 1.5, 18.0


@dataclass(frozen=True)
class _Kind:
    """Galaxies of one kind: what volunteers would say, and ranges of what is drawn.

    `bulge` is the bulge's share of the light, `radius` the half-light radius of the disk in pixels.
    """

    answers: dict[str, float]
    bulge: tuple[float, float]
    radius: tuple[float, float]
    flattening: tuple[float, float]
    arms: float = 0.0
    companion: bool = False


_ROUND = _Kind({"smooth": 0.88, "round": 0.85, "odd": 0.08}, (0.6, 0.9), (3.6, 5.4), (0.0, 0.12))
_BETWEEN = _Kind({"smooth": 0.82, "in_between": 0.85, "odd": 0.06}, (0.5, 0.8), (3.6, 5.8), (0.25, 0.45))
_CIGAR = _Kind({"smooth": 0.75, "cigar": 0.8, "odd": 0.06}, (0.4, 0.6), (4.5, 6.3), (0.6, 0.7))
_DISK = _Kind({"features": 0.7, "not_edge_on": 0.95, "no_spiral": 0.7, "odd": 0.1}, (0.1, 0.3), (4.0, 5.8), (0.1, 0.4))
_SPIRAL = _Kind(
    {"features": 0.9, "not_edge_on": 0.97, "spiral": 0.94, "arms_2": 0.75, "medium_arms": 0.6, "odd": 0.08},
    (0.08, 0.25), (4.5, 6.7), (0.05, 0.45), arms=0.75,
)  # fmt: skip
_EDGE_ON = _Kind(
    {"features": 0.86, "edge_on": 0.92, "odd": 0.07, "edge_bulge_rounded": 0.7}, (0.1, 0.3), (5.4, 7.6), (0.8, 0.86)
)
_MERGER = _Kind(
    {"smooth": 0.7, "round": 0.6, "odd": 0.9, "merger": 0.85}, (0.3, 0.6), (3.1, 4.5), (0.2, 0.5), companion=True
)
#: One galaxy of each in turn: edge-on galaxies and mergers are rare, one in twelve.
_KINDS = (_ROUND, _SPIRAL, _BETWEEN, _SPIRAL, _EDGE_ON, _ROUND, _BETWEEN, _MERGER, _DISK, _SPIRAL, _ROUND, _CIGAR)


def example_survey(
    folder: str | os.PathLike[str],
    n: int = 60,
    *,
    bands: Sequence[str] = ("i", "r", "g"),
    rng: np.random.Generator | int | None = 0,
) -> Table:
    """Write an invented survey of FITS cutouts into a folder and give its table.

    Parameters
    ----------
    folder : path
        Made if it is not there. Gets the card ``survey.toml`` and ``cutouts/NAME_BAND.fits``; files that are there
        are replaced.
    n : int
        Galaxies. One in twelve is seen edge-on, one in twelve is a merger.
    bands : sequence of str
        Reddest first: three, or one, which the card calls luminance.
    rng : Generator, int or None
        The first galaxies of an integer are the same for every `n`.

    Returns
    -------
    Table
        ``id`` (str), ``ra`` and ``dec`` (deg), ``file_BAND`` for each band (str, relative to `folder`), and the 37
        vote columns ``t01_smooth`` ... (float, conditional fractions in [0, 1], NaN where not asked).

    Raises
    ------
    SurveyError
        If `n` is not positive or there are neither one nor three bands.

    Notes
    -----
    Cutouts are (64, 64) float32 in nanomaggies, of 0.5 arcsec a pixel, with a seeing of 1.25 arcsec FWHM, a celestial
    WCS, ``BUNIT`` and ``SATURATE``. Noise is Gaussian and not correlated. A galaxy's R90 is about 5 to 12 pixels.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = example_survey(folder, 12)
    >>> str(table["id"][0]), str(table["file_i"][0])
    ('MADE-0000', 'cutouts/MADE-0000_i.fits')
    """
    from astropy.table import Table

    if n < 1 or len(bands) not in (1, 3):
        raise SurveyError(f"n = {n} galaxies in bands {list(bands)}: give one galaxy or more, and one band or three")
    folder = Path(folder)
    (folder / "cutouts").mkdir(parents=True, exist_ok=True)
    (folder / CARD).write_text(_card(bands), encoding="utf-8")
    rows = []
    for row, own in enumerate(np.random.default_rng(rng).spawn(n)):
        kind = _KINDS[row % len(_KINDS)]
        name, ra, dec = f"MADE-{row:04d}", float(own.uniform(150, 152)), float(own.uniform(1, 3))
        files = {f"file_{band}": f"cutouts/{name}_{band}.fits" for band in bands}
        for path, band, plane in zip(files.values(), bands, _cutout(kind, len(bands), own), strict=True):
            _write(folder / path, plane, _header(ra, dec, band))
        rows.append({"id": name, "ra": ra, "dec": dec, **files, **_votes(kind.answers, own)})
    table = Table(rows)
    table["ra"].unit = table["dec"].unit = "deg"
    return table


def _card(bands: Sequence[str]) -> str:
    """The card of the survey."""
    names = '"luminance"' if len(bands) == 1 else json.dumps(list(bands))
    columns = json.dumps([f"file_{band}" for band in bands])
    minimum = [0.01, 0.0075, 0.005] if len(bands) == 3 else 0.01
    return (
        "# An invented survey (astro_galaxysd.testing.example_survey). Pixel scale and saturation are in the headers\n"
        "# of its files; the seeing is not declared, so that it is estimated from stars.\n"
        f'name = "made"\nbands = {names}\ncolumns = {columns}\nunit = "nanomaggy"\n\n'
        f'[stretch]\nkind = "lupton"\nstretch = 0.25\nQ = 6\nminimum = {minimum}\n'
    )


def _cutout(kind: _Kind, n_bands: int, rng: np.random.Generator) -> np.ndarray:
    """Planes (B, 64, 64), float32, nanomaggies, row 0 at the bottom."""
    bulge, disk = (_seen(part) for part in _light(kind, rng))
    stars = _stars(rng)
    planes = np.empty((n_bands, SIDE, SIDE), np.float32)
    for band in range(n_bands):
        blue = band / max(n_bands - 1, 1)  # 0 in the reddest band, 1 in the bluest
        light = (1 - 0.5 * blue) * bulge + (1 - 0.2 * blue) * disk
        planes[band] = light + (1 - 0.5 * blue) * (stars + _SKY + rng.normal(0, _NOISE, light.shape))
    return np.minimum(planes, np.float32(_SATURATION))


def _light(kind: _Kind, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Bulge and disk of the galaxy, and of its companion if it has one, on the fine grid, before the seeing."""
    bulge, disk = _galaxy(kind, rng, (0.0, 0.0), 1.0)
    if kind.companion:
        angle, apart = rng.uniform(0, 2 * np.pi), rng.uniform(6, 10)
        place = (apart * np.cos(angle), apart * np.sin(angle))
        more = _galaxy(kind, rng, place, rng.uniform(0.5, 0.9))
        bulge, disk = bulge + more[0], disk + more[1]
    return bulge, disk


def _galaxy(
    kind: _Kind, rng: np.random.Generator, place: tuple[float, float], scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """One galaxy at `place`, pixels from the centre; `scale` makes it smaller and fainter."""
    from astropy.modeling.models import Sersic2D

    y, x = (np.mgrid[: SIDE * _FINER, : SIDE * _FINER] - (SIDE * _FINER - 1) / 2) / _FINER
    radius, theta = scale * rng.uniform(*kind.radius), rng.uniform(0, np.pi)
    flattening, share = rng.uniform(*kind.flattening), rng.uniform(*kind.bulge)
    shape: dict[str, Any] = {"x_0": place[0], "y_0": place[1], "theta": theta}
    disk = Sersic2D(r_eff=radius, n=1, ellip=flattening, **shape)(x, y)
    rounder = min(flattening, 0.4)
    bulge = Sersic2D(r_eff=0.5 * radius, n=rng.uniform(2, 3.5), ellip=rounder, **shape)(x, y)
    if kind.arms:
        disk *= _arms(x, y, radius, theta, flattening, kind.arms, rng)
    brightness = scale**2 * float(np.exp(rng.normal(np.log(_BRIGHTNESS), 0.5)))  # nanomaggies in the reddest band
    return brightness * share * bulge / bulge.sum(), brightness * (1 - share) * disk / disk.sum()


def _arms(
    x: np.ndarray, y: np.ndarray, radius: float, theta: float, flattening: float, depth: float, rng: np.random.Generator
) -> np.ndarray:
    """Two logarithmic arms in the disk's own plane: a factor between 1 - `depth` and 1 + `depth`."""
    along = x * np.cos(theta) + y * np.sin(theta)
    across = (y * np.cos(theta) - x * np.sin(theta)) / (1 - flattening)
    distance = np.hypot(along, across) / radius
    winding = rng.choice([-1, 1]) * rng.uniform(2.0, 3.5) * np.log(distance + 0.05)
    phase = 2 * (np.arctan2(across, along) - winding + rng.uniform(0, np.pi))
    reach = 1 - np.exp(-((distance / 0.5) ** 2))  # none in the middle
    return np.asarray(1 + depth * reach * np.cos(phase))


def _seen(light: np.ndarray) -> np.ndarray:
    """Through the seeing, in the pixels of a cutout."""
    from scipy.ndimage import gaussian_filter

    sigma = SEEING / PIXEL_SCALE / np.sqrt(8 * np.log(2))
    blurred = gaussian_filter(light, sigma * _FINER, mode="constant")
    return np.asarray(blurred.reshape(SIDE, _FINER, SIDE, _FINER).sum(axis=(1, 3)))


def _stars(rng: np.random.Generator) -> np.ndarray:
    """Stars off the middle, in the reddest band, as the seeing shows them."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    sigma = SEEING / PIXEL_SCALE / np.sqrt(8 * np.log(2))
    image = np.zeros((SIDE, SIDE))
    for _ in range(rng.poisson(_STARS)):
        place = rng.uniform(-SIDE / 2 + 4, SIDE / 2 - 4, 2)
        peak = _NOISE * np.exp(rng.uniform(np.log(30), np.log(300)))
        if np.hypot(*place) > _APART:
            image += peak * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * sigma**2))
    return image


def _votes(answers: dict[str, float], rng: np.random.Generator) -> dict[str, float]:
    """Conditional fractions of all answers, with the scatter of some forty volunteers; NaN where few were asked."""
    votes: dict[str, float] = {}
    reached = {"": 1.0}
    for question in QUESTIONS:
        said = [answers.get(answer.key) for answer in question.answers]
        given = np.array([np.nan if value is None else value + rng.normal(0, 0.03) for value in said]).clip(0, 1)
        rest = rng.dirichlet(np.full(int(np.isnan(given).sum()), 3.0)) if np.isnan(given).any() else np.empty(0)
        given[np.isnan(given)] = rest * max(1 - np.nansum(given), 0)
        given /= given.sum()
        asked = reached[question.parent] > _ASKED
        for answer, fraction in zip(question.answers, given.tolist(), strict=True):
            reached[answer.key] = reached[question.parent] * fraction if asked else 0.0
            votes[answer.conditional] = fraction if asked else float("nan")
    return votes


def _header(ra: float, dec: float, band: str) -> Header:
    """Cards of a cutout: position, unit, band."""
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = ra, dec
    wcs.wcs.crpix = (SIDE + 1) / 2, (SIDE + 1) / 2
    wcs.wcs.cdelt = -PIXEL_SCALE / 3600, PIXEL_SCALE / 3600
    header = wcs.to_header()
    header["BUNIT"] = "nanomaggy"
    header["FILTER"] = band
    header["SATURATE"] = (_SATURATION, "pixels at or above are saturated")
    header["COMMENT"] = "Invented by astro_galaxysd.testing.example_survey; nothing here was observed."
    return header


def _write(path: Path, plane: np.ndarray, header: Header) -> None:
    from astropy.io import fits

    fits.PrimaryHDU(plane, header).writeto(path, overwrite=True)
