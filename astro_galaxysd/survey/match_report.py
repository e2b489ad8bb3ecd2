"""What a survey's real cutouts are like, and whether drawn galaxies can be made like them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from astro_galaxysd.errors import MatchError, MatchWarning
from astro_galaxysd.survey.seeing import Seeing

__all__ = ["FEWEST_ROWS", "MatchReport"]

#: Fewest real cutouts that sizes and skies are taken from.
FEWEST_ROWS = 8
#: Share of the sizes for which drawn galaxies may stay too blurred.
_MOST_BLURRED = 0.5
_NAMED = 3
_PERCENTILES = (5, 16, 50, 84, 95)


@dataclass(frozen=True)
class MatchReport:
    """What was measured of the real cutouts.

    Parameters
    ----------
    n_rows : int
        Real cutouts measured.
    left_out : mapping of str to str
        Why one could not be measured, by its name.
    sizes : ndarray, shape (N,), float64
        R90 of the galaxies, pixels.
    level, noise : ndarray, shape (N, B), float64
        Sky and its rms in each band, in the unit of the cutouts.
    bands : tuple of str
        Names of the bands.
    seeing : Seeing
        Of the survey, pixels.
    drawn_seeing, drawn_radius : float
        FWHM of stars and R90 of galaxies as drawn, pixels; 0: not known.
    notes : tuple of str
        What else a reader should know.
    unread : tuple of str
        Names of the rows of `left_out` that could not be read; the others could not be measured.
    """

    n_rows: int
    left_out: Mapping[str, str]
    sizes: np.ndarray
    level: np.ndarray
    noise: np.ndarray
    bands: tuple[str, ...]
    seeing: Seeing
    drawn_seeing: float
    drawn_radius: float
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def blurred(self) -> float:
        """Share of the real sizes at which a drawn galaxy is blurred over 10 % more than the survey's seeing."""
        if self.seeing.fwhm is None or not self.drawn_seeing or not len(self.sizes):
            return 0.0
        return float(np.mean(self.drawn_seeing * self.sizes / self.drawn_radius > 1.1 * self.seeing.fwhm))

    def text(self) -> str:
        """Plain lines for the screen."""
        lines = [f"real cutouts measured: {self.n_rows}"]
        if self.left_out:
            lines.append(f"not measured: {len(self.left_out)} ({_named(self.left_out)})")
        if len(self.sizes):
            low, middle, high = np.percentile(self.sizes, (5, 50, 95))
            lines.append(f"R90 of the galaxies: {middle:.1f} px (5 % to 95 %: {low:.1f} to {high:.1f})")
            for name, level, noise in zip(self.bands, self.level.T, self.noise.T, strict=True):
                lines.append(f"sky in {name}: {np.median(level):.4g}, noise {np.median(noise):.3g}")
        lines.append(self.seeing.text())
        if self.seeing.fwhm is not None and self.drawn_seeing:
            lines.append(
                f"drawn galaxies have {self.drawn_seeing:.2f} px at R90 {self.drawn_radius:.1f} px: they stay more "
                f"than 10 % blurrier than the survey at {self.blurred:.0%} of its sizes"
            )
        return "\n".join([*lines, *self.notes])

    def as_record(self) -> dict[str, Any]:
        """JSON-ready, for the run record."""
        sizes = np.percentile(self.sizes, _PERCENTILES) if len(self.sizes) else []
        return {
            "rows": self.n_rows,
            "left_out": dict(self.left_out),
            "r90": {f"{share}%": round(float(size), 2) for share, size in zip(_PERCENTILES, sizes, strict=False)},
            "sky": _medians(self.bands, self.level),
            "noise": _medians(self.bands, self.noise),
            "seeing": None if self.seeing.fwhm is None else round(self.seeing.fwhm, 3),
            "seeing_origin": self.seeing.origin,
            "stars": self.seeing.n_stars,
            "drawn_seeing": self.drawn_seeing,
            "blurred": round(self.blurred, 4),
            "notes": list(self.notes),
        }

    def check(self, anyway: bool = False) -> None:
        """Say whether drawn galaxies can be matched.

        Parameters
        ----------
        anyway : bool
            Warn where an error could be overruled.

        Raises
        ------
        MatchError
            If fewer than `FEWEST_ROWS` real cutouts could be measured, or drawn galaxies stay over 10 % blurrier than
            the survey at more than half of its sizes.

        Warns
        -----
        MatchWarning
            If the seeing of the survey or of the drawn galaxies is not known, or some sizes stay too blurred.
        """
        if self.n_rows < FEWEST_ROWS:
            raise MatchError(
                f"{self.n_rows} real cutouts could be measured; {FEWEST_ROWS} are needed for sizes and sky: "
                f"{self._advice()}"
            )
        if self.seeing.fwhm is None:
            _warn(f"the survey's seeing is not known ({self.seeing.reason}): drawn galaxies keep theirs")
        elif not self.drawn_seeing:
            _warn("the seeing of the drawn galaxies is not known (the weights have no record of it): they keep theirs")
        self._check_blurred(anyway)

    def _advice(self) -> str:
        """How more rows can be measured, by what went wrong."""
        unread = {name: self.left_out[name] for name in self.unread}
        if unread:
            return f"{len(unread)} can't be read ({_named(unread)}); mend these or declare what they are"
        if self.left_out:
            named = _named(self.left_out)
            return f"{len(self.left_out)} can't be measured ({named}); give more rows, or larger cutouts"
        return "give more rows"

    def _check_blurred(self, anyway: bool) -> None:
        """Refuse, or warn, where drawn galaxies are too blurred."""
        if not self.blurred:
            return
        fwhm = self.seeing.fwhm or 0.0
        sharpest = 1.1 * fwhm * self.drawn_radius / self.drawn_seeing
        found = (
            f"drawn galaxies stay more than 10 % blurrier than the survey's {fwhm:.2f} px "
            f"({self.seeing.source}) at {self.blurred:.0%} of the real sizes, R90 above "
            f"{sharpest:.1f} px (drawn: {self.drawn_seeing:.2f} px at R90 "
            f"{self.drawn_radius:.1f} px; real R90 {np.median(self.sizes):.1f} px)"
        )
        if self.blurred > _MOST_BLURRED and not anyway:
            raise MatchError(
                f"{found}; {self._settled()}give rows of smaller galaxies or cutouts with larger pixels, or go on with "
                "anyway=True"
            )
        _warn(found)

    def _settled(self) -> str:
        """What settles a seeing that may be wrong."""
        if self.seeing.origin == "estimated":
            return "if the seeing is not that, declare it with psf=, which settles it; else "
        return "psf= of the survey settles the seeing: correct it if it is wrong; else "


def _warn(text: str) -> None:
    warnings.warn(text, MatchWarning, stacklevel=5)


def _named(left_out: Mapping[str, str]) -> str:
    """The first few rows and their reasons."""
    shown = "; ".join(f"{name}: {reason}" for name, reason in list(left_out.items())[:_NAMED])
    return shown + ("; ..." if len(left_out) > _NAMED else "")


def _medians(bands: Sequence[str], values: np.ndarray) -> dict[str, float]:
    """Medians over the rows, by band."""
    if not len(values):
        return {}
    return {name: float(f"{value:.6g}") for name, value in zip(bands, np.median(values, axis=0), strict=True)}
