r"""Drawn galaxies matched to a survey: its sizes, its seeing, its noise and its sky.

Each drawn galaxy gets a donor, a real row drawn at random, whose size and sky it takes: the joint distribution of
both is the survey's. It is brought to the survey's planes, taken off its own sky, scaled, blurred to the survey's
seeing, and set on new sky like the donor's (`astro_galaxysd.survey.sky`). The scale is such that R90 measured in the
finished image is the donor's. Where drawn light brings noise of variance :math:`v` along, fluctuations of the new
sky are multiplied by :math:`\sqrt{1 - v / v_{sky}}`, so that there is no double sky.

Not added: photon noise of the galaxy, and sources beyond the drawn frame. Pixels missing in the donor are missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from astro_galaxysd.errors import GalaxySDError, ImageError, MatchError
from astro_galaxysd.survey.card import Survey
from astro_galaxysd.survey.match_report import MatchReport
from astro_galaxysd.survey.placing import Cutting, Placed, cut_out, place_light, quieter, whole_image
from astro_galaxysd.survey.seeing import Seeing, find_stars, in_arcsec, read_psf, seeing_of_stars
from astro_galaxysd.survey.sizes import DISPLAY_FRAME, FLUX_FRAME, Frame, find_galaxy
from astro_galaxysd.survey.sky import FEWEST_PIXELS, Sky, clipped, draw_sky, measure_sky, share_directions

__all__ = ["Matched", "Matcher", "MeasuredRows", "estimate_seeing"]

#: Width of a star in display values over that in fluxes: 340 stars of 80 to 120 grey levels in training cutouts.
_STRETCHED = 1.3
_SIDE = 128  # of the images that `seeing_drawn` is told for
_NOISIEST = 3.0  # in the noise of most rows: one HST cutout of ten, between bright neighbours, has 3.7, the next 1.1
_ROUNDS = 5
_AS_BLURRED = 1.01  # FWHM over the survey's, beyond which a note says so
_NEAR = 0.01  # R90 reached over wanted, less 1
_FILLED = 0.4  # R90 over the shorter side: beyond it little sky is seen, and light may go on outside
_REACH = 2.0  # a scale is at most so far from the ratio of the radii, blurring taken into account


class MeasuredRows(Protocol):
    """Real cutouts, as `astro_galaxysd.survey.rows.SurveyRows` has them."""

    def __len__(self) -> int: ...

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of most rows, pixels."""

    def planes(self, row: int) -> np.ndarray:
        """Planes (B, H, W) of a row."""

    def pixel_scale(self, row: int) -> float | None:
        """Arcsec, where it is known."""

    def saturation(self, row: int) -> float | None:
        """Value at and above which pixels are saturated, where it is known."""

    def name(self, row: int) -> str:
        """What messages call a row."""

    def reason(self, row: int, error: Exception) -> str:
        """Message of an error about a row, without its name."""


@dataclass(frozen=True)
class Matched:
    """A drawn galaxy as a cutout of the survey.

    Parameters
    ----------
    planes : ndarray, shape (B, H, W), float64
        In the survey's unit; without a stretch display values in [0, 1]. NaN where the donor has no pixel.
    donor : int
        Row whose size and sky it has.
    donor_name : str
        Name of that row.
    scale : float
        Pixels of the cutout for one drawn pixel.
    wanted, reached : float
        R90 of the donor and of the finished galaxy, pixels; `reached` is NaN where none is found in it.
    seeing_ratio : float
        FWHM reached over the survey's; NaN where either is not known.
    note : str
        What did not work out; empty otherwise.
    """

    planes: np.ndarray
    donor: int
    donor_name: str
    scale: float
    wanted: float
    reached: float
    seeing_ratio: float
    note: str = ""


@dataclass(frozen=True)
class _Donor:
    """A real row's size and sky."""

    row: int
    r90: float
    sky: Sky
    saturation: float | None


class Matcher:
    """Measure a survey's real cutouts, and make drawn galaxies like them.

    Parameters
    ----------
    rows : MeasuredRows
        Real cutouts.
    survey : Survey
        What they are.
    seeing_drawn : float
        FWHM of stars in drawn images of 128 px, in pixels of flux; 0: not known.
    seed : int
        Of the run, in [0, 2**63): which rows are measured.
    n_measured : int
        At most so many. 500 give the median size within 2 % where sizes scatter by 40 %.
    frame : Frame, optional
        How large drawn galaxies are; by default `FLUX_FRAME` of `astro_galaxysd.survey.sizes`, or `DISPLAY_FRAME`
        without a stretch.

    Attributes
    ----------
    report : MatchReport

    Raises
    ------
    SurveyError
        If the declared psf can't be read, or is in arcsec and no measured row has a pixel scale.
    """

    def __init__(
        self,
        rows: MeasuredRows,
        *,
        survey: Survey,
        seeing_drawn: float,
        seed: int,
        n_measured: int = 500,
        frame: Frame | None = None,
    ) -> None:
        self._rows, self._survey, self._seed = rows, survey, seed
        self._widening = _STRETCHED if survey.stretch is None else 1.0
        self._seeing_drawn = seeing_drawn * self._widening
        self._frame = frame or (DISPLAY_FRAME if survey.stretch is None else FLUX_FRAME)
        chosen = np.sort(np.random.default_rng([seed, 0]).permutation(len(rows))[:n_measured])
        measured: list[_Donor] = []
        stars: list[float] = []
        left_out: dict[str, str] = {}
        unread: list[str] = []
        for row in map(int, chosen):
            planes = None
            try:
                planes = rows.planes(row)
                donor, found = self._measure(row, planes)
            except GalaxySDError as error:
                left_out[rows.name(row)] = rows.reason(row, error)
                unread += [rows.name(row)] if planes is None else []
                continue
            measured.append(donor)
            stars += found
        measured = _usual(measured, rows, left_out)
        skies = share_directions([donor.sky for donor in measured])
        self._donors = [replace(donor, sky=sky) for donor, sky in zip(measured, skies, strict=True)]
        self._seeing = self._find_seeing(stars)
        self.report = self._make_report(left_out, tuple(unread))

    def check(self, anyway: bool = False) -> None:
        """Refuse or warn where drawn galaxies can't be matched; see `MatchReport.check`.

        Parameters
        ----------
        anyway : bool
            Go on with galaxies that stay too blurred.

        Raises
        ------
        MatchError
            As `MatchReport.check`.
        """
        self.report.check(anyway)

    def match(self, drawn: np.ndarray, seed: int) -> Matched:
        """Make a drawn galaxy a cutout of the survey.

        Parameters
        ----------
        drawn : ndarray, shape (S, S, 3), uint8
            As a generator drew it, the galaxy in the middle.
        seed : int
            Of its row, in [0, 2**63): the same seed and image give the same cutout.

        Returns
        -------
        Matched

        Raises
        ------
        MatchError
            If no real cutout could be measured.
        """
        if not self._donors:
            raise MatchError("no real cutout could be measured; `check` says why")
        rng = np.random.default_rng([self._seed, 1, seed])
        planes = self._survey.from_display(drawn, rng)
        galaxy = find_galaxy(planes)
        note = "" if galaxy else "no galaxy found in the drawn image"
        galaxy = galaxy or whole_image(planes, self._radius * drawn.shape[0] / _SIDE)
        donor = self._donors[int(rng.integers(len(self._donors)))]
        wanted, new_sky = donor.r90, draw_sky(donor.sky, self._rows.size, rng)
        image, placed, scale, reached = self._fit(cut_out(planes, galaxy), galaxy.r90, drawn.shape[0], donor, new_sky)
        notes = [note]
        if not note and not abs(reached / wanted - 1) < 0.1:
            notes = [f"R90 {reached:.1f} px instead of {wanted:.1f} px"]
        ratio = placed.fwhm / self._seeing.fwhm if self._seeing.fwhm and self._seeing_drawn > 0 else float("nan")
        if self._seeing.fwhm and ratio > _AS_BLURRED:
            notes.append(f"seeing {placed.fwhm:.2f} px where the survey has {self._seeing.fwhm:.2f} px")
        note, name = "; ".join(filter(None, notes)), self._rows.name(donor.row)
        return Matched(self._finish(image, donor), donor.row, name, scale, wanted, reached, ratio, note)

    @property
    def _radius(self) -> float:
        """R90 of drawn galaxies at 128 px."""
        return self._frame.radius * _SIDE / self._frame.side

    def _measure(self, row: int, planes: np.ndarray) -> tuple[_Donor, list[float]]:
        """Size and sky of a real row, and the widths of its stars."""
        galaxy = find_galaxy(planes)
        if galaxy is None:
            raise ImageError("no galaxy in the middle")
        side = min(planes.shape[1:])
        if galaxy.r90 > _FILLED * side:
            raise ImageError(f"galaxy fills the cutout: R90 {galaxy.r90:.1f} px of {side} px")
        sky = measure_sky(planes, galaxy.sources)
        limit = self._rows.saturation(row) if self._survey.stretch is not None else 0.99
        saturated = None if limit is None else (np.nan_to_num(planes) >= limit).any(axis=0)
        stars = [] if self._survey.psf is not None else find_stars(galaxy, saturated)
        return _Donor(row, galaxy.r90, sky, limit), stars

    def _find_seeing(self, stars: Sequence[float]) -> Seeing:
        """The survey's seeing in the values that are matched."""
        if self._survey.psf is None or not self._donors:
            return seeing_of_stars(stars)
        given = read_psf(self._survey.psf, self._pixel_scale() if in_arcsec(self._survey.psf) else None)
        if self._survey.stretch is not None or given.fwhm is None:
            return given
        return Seeing(given.fwhm * _STRETCHED, "given")

    def _pixel_scale(self) -> float | None:
        """Arcsec, of the first measured row that says it."""
        for donor in self._donors:
            with suppress(GalaxySDError):  # such pixels are not square; another row may do
                scale = self._rows.pixel_scale(donor.row)
                if scale is not None:
                    return scale
        return None

    def _make_report(self, left_out: dict[str, str], unread: tuple[str, ...]) -> MatchReport:
        notes = []
        if self._survey.stretch is None:
            notes.append(
                "no stretch is declared: galaxies are blurred and added to the sky in display values, an approximation"
            )
        skies = [donor.sky for donor in self._donors]
        bands = ("luminance",) if self._survey.luminance else tuple(self._survey.bands)
        return MatchReport(
            n_rows=len(self._donors),
            left_out=left_out,
            sizes=np.array([donor.r90 for donor in self._donors]),
            level=np.array([sky.level for sky in skies]),
            noise=np.array([sky.rms for sky in skies]),
            bands=bands,
            seeing=self._seeing,
            drawn_seeing=self._seeing_drawn,
            drawn_radius=self._radius,
            notes=tuple(notes),
            unread=unread,
        )

    def _fit(
        self, cutting: Cutting, r90: float, side: int, donor: _Donor, new_sky: np.ndarray
    ) -> tuple[np.ndarray, Placed, float, float]:
        """The scale at which R90 measured in the finished image is the wanted one; the best of a few rounds."""
        tried: list[tuple[float, float]] = []
        best: tuple[np.ndarray, Placed, float, float] | None = None
        wanted = donor.r90
        first = scale = wanted / r90
        for _ in range(_ROUNDS):
            scale = float(np.clip(scale, first / _REACH, first * _REACH))
            placed = place_light(cutting, scale, self._rows.size, self._seeing_drawn * side / _SIDE, self._seeing)
            image = placed.light + quieter(new_sky, donor.sky, placed.variance)
            found = find_galaxy(image)
            reached = found.r90 if found else float("nan")
            if best is None or len(tried) == 1 or not abs(best[3] - wanted) <= abs(reached - wanted):
                best = image, placed, scale, reached
            if not found:
                break
            if not tried:
                new_sky = _settled(new_sky, donor.sky, found.sources)
            elif abs(reached / wanted - 1) < _NEAR:
                break
            tried.append((float(np.log(scale)), float(np.log(reached / wanted))))
            scale = float(np.exp(_next_guess(tried)))
        if best is None:
            raise MatchError("no round of scaling was made")
        return best

    def _finish(self, image: np.ndarray, donor: _Donor) -> np.ndarray:
        """Limits and missing pixels of the donor."""
        if self._survey.stretch is None:
            image = np.clip(image, 0.0, 1.0)
        elif donor.saturation is not None:
            image = np.minimum(image, donor.saturation)
        if donor.sky.missing.shape == image.shape[1:]:
            image = np.where(donor.sky.missing, np.nan, image)
        return image


def estimate_seeing(rows: MeasuredRows, n: int = 200) -> Seeing:
    """Seeing of a survey from the stars in its cutouts.

    Parameters
    ----------
    rows : MeasuredRows
        Real cutouts.
    n : int
        At most so many are looked at, evenly spaced.

    Returns
    -------
    Seeing
        Pixels; not known, with the reason, where there are too few stars.
    """
    stars: list[float] = []
    for row in np.unique(np.linspace(0, len(rows) - 1, min(n, len(rows))).astype(int)):
        try:
            galaxy = find_galaxy(rows.planes(int(row)))
        except GalaxySDError:
            continue  # the caller's reading of the rows names it
        stars += find_stars(galaxy) if galaxy else []
    return seeing_of_stars(stars)


def _usual(donors: list[_Donor], rows: MeasuredRows, left_out: dict[str, str]) -> list[_Donor]:
    """Donors without those whose sky is far noisier than most: halos of neighbours, of which no sky can be made."""
    if not donors:
        return donors
    noise = np.array([donor.sky.rms for donor in donors])
    times = (noise / np.maximum(np.median(noise, axis=0), 1e-300)).max(axis=1)
    for donor, ratio in zip(donors, times, strict=True):
        if ratio > _NOISIEST:
            left_out[rows.name(donor.row)] = f"its sky is {ratio:.1f} times as noisy as that of most rows"
    return [donor for donor, ratio in zip(donors, times, strict=True) if ratio <= _NOISIEST]


def _settled(new_sky: np.ndarray, sky: Sky, sources: np.ndarray) -> np.ndarray:
    """New sky whose level and rms are the row's where they are seen, outside the sources."""
    seen = sources == 0
    if seen.sum() < FEWEST_PIXELS:
        return new_sky
    plane = sky.plane(seen.shape)
    level, rms = clipped((new_sky - plane)[:, seen], 3.0)
    factor = np.divide(sky.rms, rms, out=np.ones(len(rms)), where=rms > 0)[:, None, None]
    return np.asarray(sky.level[:, None, None] + (new_sky - plane - level[:, None, None]) * factor + plane)


def _next_guess(tried: Sequence[tuple[float, float]]) -> float:
    """Logarithm of the next scale: a step of the secant, of slope 1 at first."""
    (last, error), slope = tried[-1], 1.0
    if len(tried) > 1 and abs(last - tried[-2][0]) > 1e-6:
        slope = float(np.clip((error - tried[-2][1]) / (last - tried[-2][0]), 0.3, 2.0))
    return last - float(np.clip(error / slope, -0.7, 0.7))
