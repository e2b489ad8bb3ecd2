"""A survey's cutouts as display images in a table: for training, evaluation and the measure of how alike they are."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ImageError, RowsLeftOutWarning
from astro_galaxysd.images.codec import fit_size
from astro_galaxysd.images.provenance import RUN_RECORD
from astro_galaxysd.survey.card import Survey, read_survey
from astro_galaxysd.survey.cells import IMAGE
from astro_galaxysd.survey.rows import SurveyRows

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.survey.sizes import Frame

__all__ = ["LEFT_OUT", "left_out_records", "read_cutouts", "warn_left_out"]

#: Key of ``table.meta`` with the rows that were left out.
LEFT_OUT = "galaxysd_left_out"
#: Rows that a warning names.
_NAMED = 3


def read_cutouts(
    table: Table,
    survey: Survey | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    images: Any = None,
    *,
    image_column: str = IMAGE,
    framed: Frame | bool = False,
) -> Table:
    """Read a survey's cutouts as the display images that its stretch makes of them.

    Parameters
    ----------
    table : Table
        Not changed.
    survey : Survey, mapping, path or None
        What the cutouts are, or the path of a card (`astro_galaxysd.survey.card.read_survey`); None for display
        images of bands i, r, g.
    images : str, sequence, mapping or None
        Where the cutouts are, as for `astro_galaxysd.survey.rows.SurveyRows`.
    image_column : str
        Column of the result that gets the display images; one of that name is replaced.
    framed : Frame or bool
        Bring each galaxy to the size and place that weights draw it at, True: that of the weights that ship; rows
        without a galaxy in the middle are left out.

    Returns
    -------
    Table
        The rows whose cutouts can be read, in order: all columns, and `image_column`, shape (n, H, W, 3), uint8. A
        cutout of another size than most (`SurveyRows.size`) is scaled to that, uncut along its shorter side.
        ``meta["galaxysd_left_out"]`` lists the others: ``row``, ``id``, ``reason``.

    Warns
    -----
    RowsLeftOutWarning
        If rows were left out; names the first.

    Raises
    ------
    ImageError
        If no row can be read.
    SurveyError, ConditionError, UnknownNameError
        If the survey or the columns are not as declared.
    """
    rows = SurveyRows(table, images, read_survey(Survey() if survey is None else survey))
    shown, images, reasons = _shown_images(rows, _frame(framed, rows.survey))
    left_out = left_out_records(rows, reasons)
    if images is None:
        raise ImageError(f"no cutout can be read: {_first_of(left_out)}")
    warn_left_out(left_out, len(rows))
    result = _other_columns(table, image_column)[rows.table_rows[shown]]
    at = table.colnames.index(image_column) if image_column in table.colnames else None
    result.add_column(images, at, image_column, copy=False)
    result.meta[LEFT_OUT] = left_out
    _keep_when_synthetic_rows_are_dropped(result, image_column)
    return result


def _keep_when_synthetic_rows_are_dropped(table: Table, column: str) -> None:
    """Tell the layout of an augmented table's real rows that they have display images now."""
    layout = table.meta.get(RUN_RECORD, {}).get("layout")
    if layout is not None:
        table.meta[RUN_RECORD] = copy.deepcopy(table.meta[RUN_RECORD])
        table.meta[RUN_RECORD]["layout"]["columns"][column] = {"dtype": "|u1", "masked": False}


def left_out_records(rows: SurveyRows, reasons: Mapping[int, str]) -> list[dict[str, Any]]:
    """What run records say of rows that were left out.

    Parameters
    ----------
    rows : SurveyRows
    reasons : mapping of int to str
        As `SurveyRows.unusable` returns them.

    Returns
    -------
    list of dict
        ``row`` (of the table, from 0), ``id`` (None where there is none) and ``reason``; JSON-ready.
    """
    return [
        {"row": int(rows.table_rows[row]), "id": rows.row_id(row), "reason": reason} for row, reason in reasons.items()
    ]


def warn_left_out(left_out: list[dict[str, Any]], number: int) -> None:
    """Warn of rows that were left out, if there are any.

    Parameters
    ----------
    left_out : list of dict
        From `left_out_records`.
    number : int
        Rows in all.

    Warns
    -----
    RowsLeftOutWarning
        Once: how many, and the first of them.
    """
    if left_out:
        message = f"{len(left_out)} of {number} rows were left out, their cutouts can't be used: {_first_of(left_out)}"
        warnings.warn(message, RowsLeftOutWarning, stacklevel=3)


def _frame(framed: Frame | bool, survey: Survey) -> Frame | None:
    """The frame that is meant; galaxies are smaller in fluxes than in display values."""
    if not isinstance(framed, bool):
        return framed
    from astro_galaxysd.survey.sizes import DISPLAY_FRAME, FLUX_FRAME

    return (DISPLAY_FRAME if survey.stretch is None else FLUX_FRAME) if framed else None


def _shown_images(rows: SurveyRows, frame: Frame | None) -> tuple[list[int], np.ndarray | None, dict[int, str]]:
    """Rows that can be shown, their images in one array (None if there are none), reasons of the others."""
    from astro_galaxysd.survey.shown import each_shown

    size = None if frame is None else (frame.side, frame.side)
    images: np.ndarray | None = None
    shown: list[int] = []
    reasons: dict[int, str] = {}
    for row, image, reason, _ in each_shown(rows, frame):
        if image is None:
            reasons[row] = reason
            continue
        if images is None:
            # One array from the start: the images of a survey need not fit into memory twice.
            images = np.empty((len(rows), *(size or _size(rows) or image.shape[:2]), 3), np.uint8)
        images[len(shown)] = fit_size(image[np.newaxis], images.shape[1:3])[0]
        shown.append(row)
    return shown, None if images is None else images[: len(shown)], reasons


def _size(rows: SurveyRows) -> tuple[int, int] | None:
    """Size of most rows; None where none of those that tell it can be read."""
    try:
        return rows.size
    except ImageError:
        return None


def _other_columns(table: Table, column: str) -> Table:
    """The table without a column, whose rows are not copied in vain."""
    others = table.copy(copy_data=False)
    if column in others.colnames:
        others.remove_column(column)
    return others


def _first_of(left_out: Iterable[Mapping[str, Any]]) -> str:
    """The first rows and their reasons."""
    said = [
        f"row {record['row']}{' (' + record['id'] + ')' if record['id'] else ''}: {record['reason']}"
        for record in left_out
    ]
    more = f"; and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
    return "; ".join(said[:_NAMED]) + more
