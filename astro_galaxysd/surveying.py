"""What is asked of a survey's cutouts before anything is drawn.

In: a table, what is said of its cutouts, weights. Out: `check_domain`, a report, a warning or an error about cutouts
unlike those that the weights were trained on; `inspect_survey`, all that can be said of them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.conditions.columns import is_synthetic
from astro_galaxysd.conditions.seeds import RNG, run_seed, stream
from astro_galaxysd.drawing import DEFAULT_WEIGHTS, weight_card
from astro_galaxysd.errors import ConditionError, ImageError, MatchError, MatchWarning, SurveyError, WeightsError
from astro_galaxysd.images.stretch import LinearStretch, Stretch
from astro_galaxysd.survey.card import Survey, check_bands, read_survey
from astro_galaxysd.survey.domain import COLOUR, GREY, TINT, Domain, read_domain
from astro_galaxysd.survey.report import SurveyReport
from astro_galaxysd.survey.rows import SurveyRows
from astro_galaxysd.survey.shown import show_rows
from astro_galaxysd.survey.verdict import DomainReport, tell

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.records import WeightCard
    from astro_galaxysd.survey.match_report import MatchReport

__all__ = ["SurveyReport", "check_domain", "compare_rows", "domain_of", "inspect_survey"]

_IMAGE = "image"


def domain_of(card: WeightCard) -> Domain | None:
    """What weights were trained on; None where they don't say, or no folder of them is here.

    Raises
    ------
    WeightsError
        If the record is damaged.
    """
    from astro_galaxysd.diffusion.generator import weights_folder

    try:
        folder = weights_folder(card.location)
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
        None where the table has no cutouts, or the weights don't say what they were trained on, or say it by an
        embedder that is not here.

    Raises
    ------
    DomainError
        If most of the cutouts are unlike all that the weights were trained on.
    SurveyError
        If the weights can't draw in the survey's bands.
    ImageError
        If no cutout can be read.
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
    if domain is None or not _has_images(table, images, declared):
        return None
    chosen = _choose(_real_rows(table), n, rng)
    if not chosen:
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
    from astro_galaxysd.survey.domain import distances

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


def _choose(real: list[int], n: int, rng: RNG) -> list[int]:
    """Rows, at most `n`, in order."""
    return [int(row) for row in np.sort(stream(run_seed(rng), "domain").permutation(real)[:n])]


def _real_rows(table: Table) -> list[int]:
    return [int(row) for row in np.flatnonzero(~is_synthetic(table))]


def _has_images(table: Table, images: Any, survey: Survey) -> bool:
    return images is not None or survey.columns is not None or _IMAGE in table.colnames


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
    chosen = _choose(real, n, rng)
    every, rows = (SurveyRows(table, images, declared, rows=part) for part in (real, chosen))
    left_out = {every.name(row): reason for row, reason in every.unusable().items()}
    read_as, suggested = _suggest(rows, lambda other: SurveyRows(table, images, other, rows=chosen))
    left_out |= {read_as.name(row): reason for row, reason in read_as.unusable(full=True).items()}
    domain, notes = domain_of(card), []
    seeing = 0.0 if domain is None else domain.seeing
    match, fault = _try_match(read_as, seeing, run_seed(rng))
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
    scale = _first_scale(read_as)
    return SurveyReport(
        declared, len(real), left_out, every.kind, every.size, scale, suggested, match, fault, notes=tuple(notes),
        **found,
    )  # fmt: skip


def _suggest(rows: SurveyRows, read: Callable[[Survey], SurveyRows]) -> tuple[SurveyRows, Stretch | None]:
    """Rows with a stretch that is suggested, where they can be read with one alone."""
    from astro_galaxysd.survey.suggest import suggest_stretch

    if rows.survey.stretch is not None:
        return rows, None
    unreadable = rows.unusable(full=True, same_size=False)
    if not unreadable:
        return rows, None
    # any stretch will do to have the survey's own values
    raw = read(replace(rows.survey, stretch=LinearStretch(0.0, 1.0)))
    bad = raw.unusable(full=True, same_size=False)
    if len(bad) >= len(unreadable):
        return rows, None
    stretch = suggest_stretch(raw.planes(row) for row in range(len(raw)) if row not in bad)
    return read(replace(rows.survey, stretch=stretch)), stretch


def _try_match(rows: SurveyRows, seeing: float, seed: int) -> tuple[MatchReport | None, str]:
    """What galaxies would be matched to, and what speaks against it."""
    from astro_galaxysd.survey.matching import Matcher

    report = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MatchWarning)
        try:
            matcher = Matcher(rows, survey=rows.survey, seeing_drawn=seeing, seed=seed)
            report = matcher.report
            matcher.check(False)
        except (MatchError, ImageError) as error:
            return report, f"not possible: {error}"
    partly = "; ".join(str(warning.message) for warning in caught)
    return report, f"possible, but {partly}" if partly else ""


def _first_scale(rows: SurveyRows) -> float | None:
    """Pixel scale of the first row that can be read."""
    for row in range(len(rows)):
        try:
            return rows.pixel_scale(row)
        except ImageError:
            continue
    return None
