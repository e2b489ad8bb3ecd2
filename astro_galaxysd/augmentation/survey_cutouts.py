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
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from astro_galaxysd.augmentation.cutouts import Cells
from astro_galaxysd.conditions.columns import is_synthetic
from astro_galaxysd.conditions.seeds import stream
from astro_galaxysd.errors import ConditionError, ImageError, UnknownNameError
from astro_galaxysd.images.codec import fit_size
from astro_galaxysd.images.provenance import PROMPT, PROMPT_WEIGHTS, SEED, SYNTHETIC
from astro_galaxysd.images.storage import without_suffix
from astro_galaxysd.survey.card import Survey
from astro_galaxysd.survey.cutouts import left_out_records, warn_left_out
from astro_galaxysd.survey.rows import SurveyRows
from astro_galaxysd.survey.writing import NewCutouts

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.survey.matching import Matched, Matcher
    from astro_galaxysd.survey.sizes import Frame

__all__ = ["MATCHES", "SurveyCutouts", "check_match", "find_survey_cutouts", "new_folder"]

#: What drawn galaxies can be matched to.
MATCHES = ("survey",)
#: Columns that say what a new row was matched to.
MATCH_ROW, MATCH_SCALE, MATCH_SEEING = "match_row", "match_scale", "match_seeing"
#: Rows that a run record names of those that were left out.
_RECORDED = 1000
#: Rows whose headers are looked at between two steps of the bar; rows whose pixels are read, as many as are measured.
_AT_ONCE, _READ = 2000, 500


@dataclass(frozen=True)
class SurveyCutouts:
    """A survey's table and how its new rows get their cutouts.

    Parameters
    ----------
    table : Table
        Real rows, with the cutouts that were given beside the table.
    rows : SurveyRows
        The cutouts of the real rows.
    new : NewCutouts
        Writes cutouts of new rows the way the real ones are kept.
    match : str or None
        What drawn galaxies are matched to; None: they are only brought to the size of the cutouts.
    joined : tuple of str
        Columns that the caller's table did not have.
    note : str
        Which bands stand for which.
    left_out : list of dict
        ``row``, ``id`` and ``reason`` of the rows whose cutouts can't be used; known after `looked_at`.
    usable : SurveyRows or None
        The others.
    matcher : Matcher or None
        Gives drawn galaxies the survey's size, seeing, noise and sky.
    """

    table: Table
    rows: SurveyRows
    new: NewCutouts
    match: str | None = None
    joined: tuple[str, ...] = ()
    note: str = ""
    left_out: list[dict[str, Any]] = field(default_factory=list)
    usable: SurveyRows | None = None
    matcher: Matcher | None = None

    def check(self, plan: Table) -> None:
        """Refuse what could not be written for the rows of `plan`.

        Raises
        ------
        ConditionError
            If columns of the table's own have the names of those that say what was matched.
        ImageError, OutputError, OutputExistsError
            As `NewCutouts.check`.
        """
        own = {MATCH_ROW, MATCH_SCALE, MATCH_SEEING} & set(self.table.colnames)
        if self.match and own and SYNTHETIC not in self.table.colnames:
            raise ConditionError(
                f"column {min(own)!r} is the table's own, but matched rows keep under that name what they were matched "
                "to; rename the column"
            )
        self.new.check(_ids(plan))

    def blank(self, plan: Table) -> Cells:
        """Empty cutouts; no file is written."""
        images = self.new.blank(_ids(plan))
        if self.match is None:
            return images, {}
        number = np.zeros(len(plan))
        return images, {MATCH_ROW: np.full(len(plan), "row"), MATCH_SCALE: number, MATCH_SEEING: number}

    def looked_at(self, *, seed: int = 0, progress: bool = False) -> Self:
        """Look at the headers of all rows, and at the pixels of some.

        Parameters
        ----------
        seed : int
            Chooses the rows whose pixels are read.
        progress : bool
            Whether to show a bar where there are many rows.

        Raises
        ------
        ImageError
            If most of the cutouts that were read can't be used: then what was said of them is wrong.

        Warns
        -----
        RowsLeftOutWarning
            If rows can't be used.
        """
        reasons = _unusable(self.rows, seed, progress)
        left_out = left_out_records(self.rows, reasons)
        warn_left_out(left_out, len(self.rows))
        usable = self.rows.only([row for row in range(len(self.rows)) if row not in reasons])
        return replace(self, left_out=left_out, usable=usable)

    def measured(self, *, seeing: float = 0.0, seed: int = 0, anyway: bool = False, frame: Frame | None = None) -> Self:
        """Measure what galaxies are matched to, in rows that can be used.

        Parameters
        ----------
        seeing : float
            FWHM of point sources in drawn images of 128 px, pixels; 0: not known.
        seed : int
            Chooses the rows that are measured.
        anyway : bool
            Go on where galaxies can't be matched.
        frame : Frame, optional
            How large drawn galaxies are; by default as the shipped weights draw them.

        Raises
        ------
        MatchError
            If galaxies can't be matched.
        """
        if self.match is None:
            return self
        from astro_galaxysd.survey.matching import Matcher

        usable = self.usable or self.rows
        matcher = Matcher(usable, survey=usable.survey, seeing_drawn=seeing, seed=seed, frame=frame)
        matcher.check(anyway)
        return replace(self, matcher=matcher)

    def cells(self, plan: Table, drawn: np.ndarray, provenance: Mapping[str, Any], record: Mapping[str, Any]) -> Cells:
        """Cutouts of the new rows, written where the real ones are files, and what each was matched to.

        After an interrupt those of the rows that are finished, if there are any.

        Raises
        ------
        OutputError
            If a file can't be written.
        """
        matches: list[Matched] = []
        planes = self._planes(plan, drawn, matches)
        images = self.new.encode(_ids(plan), planes, cards=_cards(plan, provenance), record=record)
        return images, self._facts(matches[: len(next(iter(images.values())))])

    def record(self) -> dict[str, Any]:
        """What holds for the whole run, JSON-ready."""
        told: dict[str, Any] = {"survey": self.rows.survey.as_record(), "left_out": self.left_out[:_RECORDED]}
        if len(self.left_out) > _RECORDED:
            told["left_out_rows"] = len(self.left_out)
        if self.note:
            told["bands"] = self.note
        return told if self.matcher is None else {**told, "match": self.matcher.report.as_record()}

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
        names = [(self.usable or self.rows).identifier(match.donor) for match in matches]
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
    return path.with_name(f"{without_suffix(path.name)}_cutouts")


def find_survey_cutouts(
    table: Table,
    images: Any = None,
    survey: Survey | None = None,
    *,
    match: str | None = None,
    note: str = "",
    folder: Path | None = None,
    overwrite: bool = False,
    id_column: str | None = None,
) -> SurveyCutouts:
    """Find a survey's cutouts; a few of them say what all are like.

    Parameters
    ----------
    table : Table
        Not changed. Synthetic rows of an earlier augmentation are not looked at.
    images, survey
        As `astro_galaxysd.survey.rows.SurveyRows`.
    match : str, optional
        A name of `MATCHES`.
    note : str
        Which bands stand for which, for the run record.
    folder : path, optional
        Of new cutouts that are files.
    overwrite : bool
        Whether such files may be replaced.
    id_column : str, optional
        Of the names of rows.

    Raises
    ------
    ConditionError, ImageError, SurveyError, UnknownNameError
        As `SurveyRows` raises.
    """
    real = np.flatnonzero(~is_synthetic(table))
    rows = SurveyRows(table, images, survey, rows=real.tolist(), id_column=id_column)
    new = NewCutouts(rows, folder=folder, overwrite=overwrite)
    beside = new.real_columns()
    joined = table.copy(copy_data=False) if beside else table
    for column, values in beside.items():
        joined[column] = values
    return SurveyCutouts(joined, rows, new, match, tuple(beside), note)


def _unusable(rows: SurveyRows, seed: int, progress: bool) -> dict[int, str]:
    """Rows that can't be used, and why: by the headers of all of them, and the pixels of some."""
    from tqdm import tqdm

    starts = range(0, len(rows), _AT_ONCE)
    bar = tqdm(starts, desc="cutouts", unit=f"x{_AT_ONCE}", disable=not progress or len(starts) < 2)
    found: dict[int, str] = {}
    for start in bar:
        found |= rows.unusable(range(start, min(start + _AT_ONCE, len(rows))))
    good = [row for row in range(len(rows)) if row not in found]
    chosen = np.sort(stream(seed, "looked at").permutation(good)[:_READ]).tolist()
    read = rows.unusable(chosen, full=True)
    if 2 * len(read) > len(chosen) or not chosen:
        named = "; ".join(f"{rows.name(row)}: {reason}" for row, reason in list((read or found).items())[:3])
        raise ImageError(f"{len(read) + len(found)} of {len(chosen) + len(found)} cutouts can't be used: {named}")
    return dict(sorted({**found, **read}.items()))


def _ids(plan: Table) -> list[str]:
    return [str(name) for name in plan["row_id"]]


def _cards(plan: Table, provenance: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What headers say of each new row."""
    return [
        {SYNTHETIC: True, **{name: row[name] for name in (PROMPT, PROMPT_WEIGHTS, SEED)}, **provenance} for row in plan
    ]
