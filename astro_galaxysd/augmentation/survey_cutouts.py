"""Drawn galaxies on their way into a survey: given its pixels, matched to it where asked, kept as it keeps its own.

In: a table whose cutouts are files, planes of bands or display images, and what a `Survey` says of them. Out: the new
rows' cells, one galaxy at a time, so that a survey need not fit into memory. Rows whose cutouts can't be used stay in
the table and are named.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.augmentation.cutouts import Cells
from astro_galaxysd.conditions.columns import is_synthetic
from astro_galaxysd.conditions.seeds import stream
from astro_galaxysd.errors import UnknownNameError
from astro_galaxysd.images.codec import fit_size
from astro_galaxysd.images.provenance import PROMPT, PROMPT_WEIGHTS, SEED, SYNTHETIC
from astro_galaxysd.survey.card import Survey
from astro_galaxysd.survey.cutouts import left_out_records, warn_left_out
from astro_galaxysd.survey.rows import SurveyRows
from astro_galaxysd.survey.writing import NewCutouts

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.survey.matching import Matched, Matcher

__all__ = ["MATCHES", "SurveyCutouts", "check_match", "find_survey_cutouts", "new_folder"]

#: What drawn galaxies can be matched to.
MATCHES = ("survey",)
#: Columns that say what a new row was matched to.
MATCH_ROW, MATCH_SCALE, MATCH_SEEING = "match_row", "match_scale", "match_seeing"


@dataclass(frozen=True)
class SurveyCutouts:
    """A survey's table and how its new rows get their cutouts.

    Parameters
    ----------
    table : Table
        Real rows, with the cutouts that were given beside the table.
    rows : SurveyRows
        The cutouts of the rows.
    new : NewCutouts
        Writes cutouts of new rows the way the real ones are kept.
    matcher : Matcher or None
        Gives drawn galaxies the survey's size, seeing, noise and sky; None: they are only brought to its size.
    joined : tuple of str
        Columns that the caller's table did not have.
    left_out : list of dict
        ``row``, ``id`` and ``reason`` of the rows whose cutouts can't be used.
    """

    table: Table
    rows: SurveyRows
    new: NewCutouts
    matcher: Matcher | None = None
    joined: tuple[str, ...] = ()
    left_out: list[dict[str, Any]] = field(default_factory=list)

    def cells(self, plan: Table, drawn: np.ndarray, provenance: Mapping[str, Any], record: Mapping[str, Any]) -> Cells:
        """Cutouts of the new rows, written where the real ones are files, and what each was matched to.

        Raises
        ------
        OutputError
            If a file can't be written; the error's attribute ``drawn`` has all images.
        """
        matches: list[Matched] = []
        try:
            images = self.new.encode(
                _ids(plan), self._planes(plan, drawn, matches), cards=_cards(plan, provenance), record=record
            )
        except Exception as error:
            error.drawn = drawn  # type: ignore[attr-defined]
            error.add_note(f"this error's attribute `drawn` has the images of the {len(drawn)} rows that were drawn")
            raise
        return images, self._facts(matches)

    def check(self, plan: Table) -> None:
        """Refuse what could not be written for the rows of `plan`; raises as `NewCutouts.check`."""
        self.new.check(_ids(plan))

    def blank(self, plan: Table) -> Cells:
        """The same for empty cutouts; no file is written."""
        images = self.new.blank(_ids(plan))
        if self.matcher is None:
            return images, {}
        number = np.zeros(len(plan))
        return images, {MATCH_ROW: np.full(len(plan), "row"), MATCH_SCALE: number, MATCH_SEEING: number}

    def record(self) -> dict[str, Any]:
        """What holds for the whole run, JSON-ready."""
        match = {} if self.matcher is None else {"match": self.matcher.report.as_record()}
        return {"survey": self.rows.survey.as_record(), "left_out": self.left_out, **match}

    def _planes(self, plan: Table, drawn: np.ndarray, matches: list[Matched]) -> Iterator[np.ndarray]:
        """Planes of one galaxy after the other; what they were matched to is added to `matches`."""
        for seed, pixels in zip(plan[SEED], drawn, strict=True):
            if self.matcher is None:
                fitted = fit_size(pixels[np.newaxis], self.rows.size)[0]
                yield self.rows.survey.from_display(fitted, stream(int(seed), "dither"))
            else:
                found = self.matcher.match(pixels, int(seed))
                matches.append(replace(found, planes=found.planes[:0]))  # pixels are not kept
                yield found.planes

    def _facts(self, matches: list[Matched]) -> dict[str, Any]:
        if self.matcher is None:
            return {}
        names = [self.rows.identifier(match.donor) for match in matches]
        return {
            MATCH_ROW: np.array(names, dtype=str),
            MATCH_SCALE: np.array([match.scale for match in matches], dtype=np.float64),
            MATCH_SEEING: np.array([match.seeing_ratio for match in matches], dtype=np.float64),
        }


def check_match(match: str | None) -> None:
    """Refuse what drawn galaxies can't be matched to.

    Raises
    ------
    UnknownNameError
        For anything but None and a name of `MATCHES`.
    """
    if match is not None and match not in MATCHES:
        raise UnknownNameError("match", str(match), MATCHES)


def new_folder(cutouts: str | os.PathLike[str] | None, out: str | os.PathLike[str] | None) -> Path | None:
    """Folder of new cutouts that are files: the one named, else ``name_cutouts`` beside ``name.fits``."""
    if cutouts is not None or out is None:
        return None if cutouts is None else Path(cutouts)
    path = Path(out)
    return path.with_name(f"{path.name.split('.')[0] or path.name}_cutouts")


def find_survey_cutouts(
    table: Table,
    images: Any = None,
    survey: Survey | None = None,
    *,
    match: str | None = None,
    seeing: float = 0.0,
    anyway: bool = False,
    seed: int = 0,
    folder: Path | None = None,
    overwrite: bool = False,
) -> SurveyCutouts:
    """Find a survey's cutouts, look at all of their headers, and measure what new ones are matched to.

    Parameters
    ----------
    table : Table
        Not changed. Synthetic rows of an earlier augmentation are not looked at.
    images, survey
        As `astro_galaxysd.survey.rows.SurveyRows`.
    match : str, optional
        A name of `MATCHES`.
    seeing : float
        FWHM of point sources in drawn images, pixels; 0: not known.
    anyway : bool
        Go on where galaxies can't be matched.
    seed : int
        Chooses the rows that are measured.
    folder : path, optional
        Of new cutouts that are files.
    overwrite : bool
        Whether such files may be replaced.

    Raises
    ------
    ConditionError, ImageError, SurveyError, UnknownNameError
        As `SurveyRows` raises.
    MatchError
        If galaxies can't be matched.

    Warns
    -----
    RowsLeftOutWarning
        If rows can't be used.
    """
    real = np.flatnonzero(~is_synthetic(table))
    rows = SurveyRows(table, images, survey, rows=real.tolist())
    left_out = left_out_records(rows, rows.unusable())
    warn_left_out(left_out, len(rows))
    new = NewCutouts(rows, folder=folder, overwrite=overwrite)
    beside = new.real_columns()
    joined = table.copy(copy_data=False) if beside else table
    for column, values in beside.items():
        joined[column] = values
    return SurveyCutouts(
        joined, rows, new, _matcher(rows, seeing, seed, anyway) if match else None, tuple(beside), left_out
    )


def _matcher(rows: SurveyRows, seeing: float, seed: int, anyway: bool) -> Matcher:
    from astro_galaxysd.survey.matching import Matcher

    matcher = Matcher(rows, survey=rows.survey, seeing_drawn=seeing, seed=seed)
    matcher.check(anyway)
    return matcher


def _ids(plan: Table) -> list[str]:
    return [str(name) for name in plan["row_id"]]


def _cards(plan: Table, provenance: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What headers say of each new row."""
    return [
        {SYNTHETIC: True, **{name: row[name] for name in (PROMPT, PROMPT_WEIGHTS, SEED)}, **provenance} for row in plan
    ]
