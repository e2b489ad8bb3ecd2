"""Write a report: an assessment in, a folder with one offline page and the figures as JSON and ECSV out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_galaxysd.errors import OutputError
from astro_galaxysd.evaluation.scoring import EVALUATION
from astro_galaxysd.images.files import atomic_folder
from astro_galaxysd.images.provenance import json_ready
from astro_galaxysd.reporting import sections
from astro_galaxysd.reporting.blind import write_blind_page
from astro_galaxysd.reporting.measured import members
from astro_galaxysd.reporting.page import Section, assemble

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.assessment import Assessment

__all__ = ["is_report", "write_report"]

PAGE, BLIND, JSON, ECSV = "report.html", "blind.html", "evaluation.json", "evaluation.ecsv"
_TITLE = "Synthetic galaxies beside real ones"
_BLIND_IMAGES = 40


def write_report(
    assessment: Assessment,
    folder: str | os.PathLike[str],
    *,
    sweep: Table | None = None,
    history: str | os.PathLike[str] | None = None,
    blind: bool | int = False,
    title: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the report of an assessment.

    Parameters
    ----------
    assessment : Assessment
        From `astro_galaxysd.assessment.assess`.
    folder : path
        Made; it has ``report.html``, which needs no other file and no network, ``evaluation.json``,
        ``evaluation.ecsv`` and, where asked for, ``blind.html``.
    sweep : Table, optional
        Settings and their figures, for Pareto fronts; see `astro_galaxysd.evaluation.pareto.sweep_table`.
    history : path, optional
        ``metrics.csv`` of a training run.
    blind : bool or int
        Whether to add the page on which a reader marks images as real or synthetic, and of how many images: 40, or
        fewer where there are not as many.
    title : str, optional
    overwrite : bool
        Whether a report that is there already may be replaced; another folder never is.

    Returns
    -------
    Path
        Of ``report.html``.

    Raises
    ------
    OutputExistsError, OutputError
        If the folder is there already or can't be written.
    TrainingError
        If `history` can't be read.
    ConditionError
        If `sweep` has fewer than two objectives.
    ImageError
        If `blind` is a number of images that there are not.
    """
    with atomic_folder(folder, overwrite, ours=is_report) as partial:
        parts = list(_sections(assessment, sweep=sweep, history=history))
        if blind:
            _write_blind(assessment, partial / BLIND, blind)
        page = assemble(title or _TITLE, _lead(assessment, bool(blind)), parts)
        (partial / PAGE).write_text(page, encoding="utf-8")
        (partial / JSON).write_text(_as_json(assessment), encoding="utf-8")
        _write_ecsv(assessment.table, partial / ECSV)
    return Path(folder) / PAGE


def _sections(
    assessment: Assessment, *, sweep: Table | None, history: str | os.PathLike[str] | None
) -> Iterator[Section]:
    asked = members(assessment)
    yield sections.summary_section(assessment)
    yield sections.metric_section(assessment)
    yield sections.image_section(assessment, asked)
    found = (sections.answers_section(asked), sections.calibration_section(assessment))
    yield from (section for section in found if section)
    yield sections.distribution_section(assessment)
    if section := sections.training_section(assessment):
        yield section
    if history is not None:
        yield sections.history_section(history)
    if sweep is not None:
        yield sections.pareto_section(sweep)
    yield sections.record_section(assessment)


def _lead(assessment: Assessment, blind: bool) -> str:
    created = assessment.record.get("created", "")
    text = f"{len(assessment.synthetic)} synthetic galaxies beside as many real ones" + (
        f", {created}" if created else ""
    )
    link = f' <a href="{BLIND}">Judge images blind.</a>' if blind else ""
    return f'<p class="lead">{escape(text)}.{link}</p>'


def _write_blind(assessment: Assessment, path: Path, blind: bool | int) -> None:
    enough = 2 * min(len(assessment.real), len(assessment.synthetic))
    n = min(_BLIND_IMAGES, enough) if blind is True else int(blind)
    write_blind_page(assessment.real, assessment.synthetic, path, n=n, rng=assessment.record.get("seed"))


def _as_json(assessment: Assessment) -> str:
    """Rows and record; what is NaN is null."""
    names = assessment.table.colnames
    rows = [{name: _plain(row[name]) for name in names} for row in assessment.table]
    record = json_ready(assessment.record)
    return json.dumps({EVALUATION: record, "columns": names, "rows": rows}, indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    import numpy as np

    return None if value is np.ma.masked else json_ready(value)


def _write_ecsv(table: Table, path: Path) -> None:
    copy = table.copy()
    copy.meta = {name: json_ready(value) for name, value in table.meta.items()}
    try:
        copy.write(path, format="ascii.ecsv")
    except (TypeError, ValueError) as error:
        raise OutputError(
            f"the figures can't be written to {path.name}: {error}; look at the table's columns"
        ) from error


def is_report(folder: Path) -> bool:
    """Whether a folder holds a report and nothing else, so that a new one may take its place."""
    names = {path.name for path in folder.iterdir()}
    return {PAGE, JSON} <= names <= {PAGE, JSON, ECSV, BLIND}
