"""What is found in a survey's cutouts, and that as plain lines."""

from __future__ import annotations

import warnings
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from astro_galaxysd.errors import ImageError, MatchError, MatchWarning, SurveyError
from astro_galaxysd.images.stretch import Stretch
from astro_galaxysd.survey.card import Survey
from astro_galaxysd.survey.rows import SurveyRows
from astro_galaxysd.survey.sizes import Frame
from astro_galaxysd.survey.verdict import DomainReport

if TYPE_CHECKING:
    from astro_galaxysd.survey.match_report import MatchReport

__all__ = ["SurveyReport", "by_name", "first_scale", "try_match"]

_NAMED = 5
_KINDS = {
    "array": "arrays",
    "encoded": "JPEG or PNG bytes",
    "hdu": "image HDUs",
    "fits": "FITS files",
    "picture": "JPEG or PNG files",
}


@dataclass(frozen=True)
class SurveyReport:
    """What was found in a survey's cutouts.

    Parameters
    ----------
    survey : Survey
        As declared.
    n_rows : int
        Real rows of the table.
    left_out : dict of str to str
        Rows that can't be used -> why. All headers are looked at, but the pixels of the rows looked at alone.
    kind : str
        As `astro_galaxysd.survey.rows.SurveyRows.kind`.
    size : tuple of int
        Height and width of most cutouts, pixels.
    pixel_scale : float or None
        Arcsec.
    suggested : Stretch or None
        Where one is needed and none is declared; the lines below hold with it.
    match : MatchReport or None
        Sizes, sky and seeing; None where they can't be measured.
    match_fault : str
        Why drawn galaxies can't be matched to the cutouts, or only in part; empty if they can.
    domain, framed : DomainReport or None
        The cutouts as they are, and with the galaxies at the size that they have in training cutouts, compared with
        those.
    notes : tuple of str
        What else is to be said.
    """

    survey: Survey
    n_rows: int
    left_out: Mapping[str, str]
    kind: str
    size: tuple[int, int]
    pixel_scale: float | None = None
    suggested: Stretch | None = None
    match: MatchReport | None = field(default=None, repr=False)
    match_fault: str = ""
    domain: DomainReport | None = None
    framed: DomainReport | None = None
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """All of it in plain lines."""
        lines = [f"{self.n_rows} real rows, {len(self.left_out)} of them can't be used"]
        lines += [f"  {name}: {reason}" for name, reason in list(self.left_out.items())[:_NAMED]]
        lines += [f"  ... and {len(self.left_out) - _NAMED} more"] if len(self.left_out) > _NAMED else []
        scale = "of unknown scale" if self.pixel_scale is None else f"{self.pixel_scale:.4g} arcsec a pixel"
        bands = "luminance" if self.survey.luminance else f"bands {', '.join(self.survey.bands)}"
        lines.append(f"{_KINDS.get(self.kind, self.kind)}, {self.size[0]}x{self.size[1]} px, {bands}, {scale}")
        if self.suggested is not None:
            lines += ["these are no display values and no stretch is declared; with one like this, of the card,"]
            lines += [f"  {line}" for line in _stretch_card(self.suggested)]
        lines += [] if self.match is None else self.match.text().splitlines()
        fault = self.match_fault
        lines.append(f'match="survey": {fault}' if fault else 'drawn galaxies can be matched to these (match="survey")')
        for what, report in (("as they are", self.domain), ("with galaxies at the trained size", self.framed)):
            lines += [] if report is None else [f"{what}:", *(f"  {line}" for line in report.text().splitlines())]
        return "\n".join([*lines, *self.notes])


def _stretch_card(stretch: Stretch) -> list[str]:
    """A stretch as a card has it."""
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in stretch.as_dict().items()}
    return ["[stretch]", *(f"{name} = {value!r}".replace("'", '"') for name, value in values.items())]


def by_name(*parts: tuple[SurveyRows, Mapping[int, str]]) -> dict[str, str]:
    """Reasons why rows can't be used, by their names.

    Parameters
    ----------
    *parts : tuple of SurveyRows and dict of int to str
        Rows of one table, and of some of them the reason, as `SurveyRows.unusable` gives it.

    Returns
    -------
    dict of str to str
        In the order of the table.
    """
    named = {int(rows.table_rows[row]): (rows.name(row), why) for rows, found in parts for row, why in found.items()}
    return dict(named[row] for row in sorted(named))


def first_scale(rows: SurveyRows, unusable: Container[int] = ()) -> float | None:
    """Pixel scale in arcsec of the first row that can be read and says it; None where none does.

    Parameters
    ----------
    rows : SurveyRows
    unusable : container of int
        Rows that are known to be unreadable.
    """
    for row in range(len(rows)):
        with suppress(ImageError):
            scale = None if row in unusable else rows.pixel_scale(row)
            if scale is not None:
                return scale
    return None


def try_match(rows: SurveyRows, seeing: float, seed: int, frame: Frame | None = None) -> tuple[MatchReport | None, str]:
    """Measure what galaxies would be matched to.

    Parameters
    ----------
    rows : SurveyRows
    seeing : float
        FWHM of point sources in drawn images of 128 px, pixels; 0: not known.
    seed : int
        Of the run.
    frame : Frame, optional
        How large drawn galaxies are, as `astro_galaxysd.survey.matching.Matcher` takes it.

    Returns
    -------
    report : MatchReport or None
        None where nothing can be measured.
    fault : str
        What speaks against matching; empty if nothing does.
    """
    from astro_galaxysd.survey.matching import Matcher

    report = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MatchWarning)
        try:
            matcher = Matcher(rows, survey=rows.survey, seeing_drawn=seeing, seed=seed, frame=frame)
            report = matcher.report
            matcher.check(False)
        except (MatchError, ImageError, SurveyError) as error:
            return report, f"not possible: {error}"
    partly = "; ".join(str(warning.message) for warning in caught)
    return report, f"possible, but {partly}" if partly else ""
