"""What is asked of a survey's cutouts before anything is drawn.

In: a table, what is said of its cutouts, weights. Out: `check_domain`, a report, a warning or an error about cutouts
unlike those that the weights were trained on; `inspect_survey`, all that can be said of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.conditions.columns import is_synthetic
from astro_galaxysd.conditions.seeds import RNG, run_seed, stream
from astro_galaxysd.errors import ConditionError, ImageError, SurveyError, WeightsError
from astro_galaxysd.images.stretch import LinearStretch, Stretch
from astro_galaxysd.survey.card import Survey, check_bands, read_survey
from astro_galaxysd.survey.cells import IMAGE, find_columns, path_text
from astro_galaxysd.survey.domain import COLOUR, GREY, TINT, Domain, distances, read_domain
from astro_galaxysd.survey.report import SurveyReport, by_name, first_scale, try_match
from astro_galaxysd.survey.rows import SurveyRows
from astro_galaxysd.survey.shown import show_rows
from astro_galaxysd.survey.verdict import DomainReport, tell
from astro_galaxysd.weightcards import DEFAULT_WEIGHTS, weight_card

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.records import WeightCard

__all__ = ["SurveyReport", "check_domain", "compare_rows", "domain_of", "inspect_survey"]

#: Pixel values that are kept for a second look: 256 MB, 200 cutouts of three bands and 236 px.
_MOST_VALUES = 2**25


def domain_of(card: WeightCard) -> Domain | None:
    """What weights were trained on; None where they don't say, or no folder of them is here.

    Raises
    ------
    WeightsError
        If the record is damaged.
    """
    from astro_galaxysd.diffusion.generator import weights_folder

    try:
        folder = weights_folder(card)
    except WeightsError:  # those of another generator may be no folder
        return None
    return read_domain(folder)


def check_domain(
    table: Table,
    images: Any,
    survey: Survey | None,
    card: WeightCard,
    *,
    framed: bool = False,
    anyway: bool = False,
    n: int = 200,
    rng: RNG = 0,
) -> DomainReport | None:
    """Compare a table's cutouts with those that weights were trained on.

    Parameters
    ----------
    table : Table
        Its real rows are looked at.
    images : str, sequence, mapping or None
        Where the cutouts are, as `astro_galaxysd.survey.rows.SurveyRows`.
    survey : Survey or None
        What they are; None: display images of the weights' own bands.
    card : WeightCard
        Of the weights.
    framed : bool
        Bring each galaxy to the size and place first that it has in the training cutouts: for rows whose drawn galaxies
        are matched to them.
    anyway : bool
        Warn in place of refusing.
    n : int
        Rows that are looked at, at most; 1 or more.
    rng : None, int, SeedSequence or Generator
        Which (SPEC 7).

    Returns
    -------
    DomainReport or None
        None where no real row has a cutout (all are None, masked or empty), or the weights don't say what they were
        trained on, or say it by an embedder that is not here.

    Raises
    ------
    DomainError
        If most of the cutouts are unlike all that the weights were trained on.
    SurveyError
        If the weights can't draw in the survey's bands.
    ImageError
        If there are cutouts and none of those looked at can be read.
    ConditionError
        If `n` is less than 1.

    Warns
    -----
    DomainWarning
        If some of them are unlike that.
    """
    if n < 1:
        raise ConditionError(f"n = {n} cutouts to look at; give 1 or more")
    declared = Survey() if survey is None else survey
    domain = domain_of(card)
    chosen = [] if domain is None else _choose(table, images, declared, n, rng)
    if domain is None or not chosen:
        return None
    report = compare_rows(SurveyRows(table, images, declared, rows=chosen), domain, weights=card.name, framed=framed)
    if report is not None:
        tell(report, anyway=anyway)
    return report


def compare_rows(rows: SurveyRows, domain: Domain, *, weights: str = "", framed: bool = False) -> DomainReport | None:
    """Compare cutouts with those that weights were trained on, whatever comes out.

    Parameters
    ----------
    rows : SurveyRows
        All of them are looked at.
    domain : Domain
    weights : str
        Name for the report.
    framed : bool
        As `check_domain`.

    Returns
    -------
    DomainReport or None
        None if the record is of another embedder than the one that is here.

    Raises
    ------
    SurveyError, ImageError
        As `check_domain`.
    """
    from astro_galaxysd.evaluation.domain import domain_numbers, embedder_revision
    from astro_galaxysd.evaluation.embedders import make_embedder

    embedder = make_embedder()
    if embedder_revision(embedder) != domain.revision:
        return None
    note = check_bands(rows.survey, domain.bands, f"weights {weights!r}") if domain.bands else ""
    images, lost, left_out = show_rows(rows, domain, framed=framed)
    if not images and not lost:
        raise ImageError(f"none of {len(rows)} cutouts can be read; the first: {left_out[0]}")
    kinds = (GREY,) if rows.survey.luminance else (COLOUR, TINT)
    numbers = domain_numbers(np.stack(images), kinds, embedder=embedder) if images else {}
    far = {kind: distances(numbers[kind], domain, kind) if images else np.empty(0) for kind in kinds}
    return DomainReport(weights, domain, len(images) + lost, far, lost, framed, len(left_out), note)


def _choose(table: Table, images: Any, survey: Survey, n: int, rng: RNG) -> list[int]:
    """Real rows that have a cutout, or a band of one; at most `n`, in order."""
    if images is None and survey.columns is None and IMAGE not in table.colnames:
        return []
    columns = find_columns(table, images, survey)
    order = stream(run_seed(rng), "domain").permutation(_real_rows(table))
    there = (int(row) for row in order if any(_is_there(column.items[row]) for column in columns))
    return sorted(islice(there, n))


def _is_there(item: Any) -> bool:
    """Whether a cell has anything in it."""
    masked = isinstance(item, np.ma.MaskedArray) and bool(np.ma.getmaskarray(item).all())
    return item is not None and not masked and path_text(item) != ""


def _real_rows(table: Table) -> list[int]:
    return [int(row) for row in np.flatnonzero(~is_synthetic(table))]


def inspect_survey(
    table: Table,
    survey: Survey | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    images: Any = None,
    *,
    weights: str | os.PathLike[str] = DEFAULT_WEIGHTS,
    n: int = 200,
    rng: RNG = 0,
) -> SurveyReport:
    """Look at a survey's cutouts before anything is drawn.

    Parameters
    ----------
    table : Table
        Its real rows are looked at.
    survey : Survey, mapping, path of a card or None
        What the cutouts are; None: display images of bands i, r, g.
    images : str, sequence, mapping or None
        Where they are, as `astro_galaxysd.survey.rows.SurveyRows`.
    weights : str or path
        That would draw.
    n : int
        Cutouts whose pixels are looked at, at most; 1 or more.
    rng : None, int, SeedSequence or Generator
        Which (SPEC 7).

    Returns
    -------
    SurveyReport
        `text()` says it all.

    Raises
    ------
    ConditionError, ImageError, SurveyError, UnknownNameError
        If no cutout can be read, or the declaration contradicts itself or the cutouts.
    """
    if n < 1:
        raise ConditionError(f"n = {n} cutouts to look at; give 1 or more")
    declared, card = read_survey(Survey() if survey is None else survey), weight_card(weights)
    real = _real_rows(table)
    # where no row has a cutout the first one says so
    chosen = _choose(table, images, declared, n, rng) or real[:1]
    read_as, suggested = _suggest(_KeptRows(table, images, declared, rows=chosen))
    every = SurveyRows(table, images, read_as.survey, rows=real)
    read_as.take_majority(every)
    faults = read_as.unusable(full=True)
    others = np.flatnonzero(~np.isin(every.table_rows, chosen)).tolist()
    left_out = by_name((every, every.unusable(others)), (read_as, faults))
    domain, notes = domain_of(card), []
    frame = domain.frame(stretched=read_as.survey.stretch is not None) if domain else None
    seeing = domain.seeing * 128 / domain.image_size if domain else 0.0
    match, fault = try_match(read_as, seeing, run_seed(rng), frame)
    found: dict[str, DomainReport | None] = {"domain": None, "framed": None}
    if domain is None:
        notes.append(
            f"weights {card.name!r} don't say what they were trained on: the cutouts were not compared with it"
        )
    else:
        try:
            for name in found:
                found[name] = compare_rows(read_as, domain, weights=card.name, framed=name == "framed")
        except (SurveyError, ImageError) as error:
            notes.append(str(error))
    return SurveyReport(
        declared, len(real), left_out, every.kind, every.size, first_scale(read_as, faults), suggested, match, fault,
        notes=tuple(notes), **found,
    )  # fmt: skip


class _KeptRows(SurveyRows):
    """Cutouts that are looked at several times: planes stay in memory, up to `_MOST_VALUES` numbers."""

    def __init__(self, table: Table, images: Any, survey: Survey, *, rows: list[int]) -> None:
        super().__init__(table, images, survey, rows=rows)
        self._kept: dict[int, np.ndarray] = {}

    def planes(self, row: int) -> np.ndarray:
        """As `SurveyRows.planes`; read-only."""
        at = int(self.table_rows[row])
        if at in self._kept:
            return self._kept[at]
        planes = super().planes(row)
        planes.flags.writeable = False
        if sum(kept.size for kept in self._kept.values()) + planes.size <= _MOST_VALUES:
            self._kept[at] = planes
        return planes

    def stretched(self, stretch: Stretch) -> _KeptRows:
        """The same cutouts with another stretch; planes kept stay valid where there was one before."""
        other = copy(self)
        other.survey = replace(self.survey, stretch=stretch)
        other._kept = {} if self.survey.stretch is None else self._kept
        return other

    def take_majority(self, rows: SurveyRows) -> None:
        """Kind, size and unit are those of most of `rows`."""
        self._most = rows.kind, rows.size, rows.unit


def _suggest(rows: _KeptRows) -> tuple[_KeptRows, Stretch | None]:
    """Rows with a stretch that is suggested, where they can be read with one alone."""
    from astro_galaxysd.survey.suggest import suggest_stretch

    if rows.survey.stretch is not None:
        return rows, None
    unreadable = rows.unusable(full=True, same_size=False)
    if not unreadable:
        return rows, None
    # any stretch will do to have the survey's own values
    raw = rows.stretched(LinearStretch(0.0, 1.0))
    bad = raw.unusable(full=True, same_size=False)
    if len(bad) >= len(unreadable):
        return rows, None
    stretch = suggest_stretch(raw.planes(row) for row in range(len(raw)) if row not in bad)
    return raw.stretched(stretch), stretch
