"""What was found in a survey's cutouts, as plain lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from astro_galaxysd.images.stretch import Stretch
from astro_galaxysd.survey.card import Survey
from astro_galaxysd.survey.verdict import DomainReport

if TYPE_CHECKING:
    from astro_galaxysd.survey.match_report import MatchReport

__all__ = ["SurveyReport"]

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
