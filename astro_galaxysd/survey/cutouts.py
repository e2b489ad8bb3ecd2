"""A survey's cutouts as display images in a table: for training, evaluation and the measure of how alike they are."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ImageError, RowsLeftOutWarning
from astro_galaxysd.images.codec import fit_size
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
    limit: int | None = None,
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
    limit : int, optional
        Stop when so many rows were read.
    framed : Frame or bool
        Bring each galaxy to the size and place that weights draw it at, True: that of the weights that ship; rows
        without a galaxy in the middle are left out.

    Returns
    -------
    Table
        The rows whose cutouts can be read, in order: all columns, and `image_column`, shape (n, H, W, 3), uint8. A
        cutout of another size than most is scaled to that, uncut along its shorter side. ``meta["galaxysd_left_out"]``
        lists the others: ``row``, ``id``, ``reason``.

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
    frame = _frame(framed, rows.survey)
    shown: dict[int, np.ndarray] = {}
    reasons: dict[int, str] = {}
    for row in range(len(rows)):
        if limit is not None and len(shown) >= limit:
            break
        try:
            shown[row] = _display(rows, row, frame)
        except ImageError as error:
            reasons[row] = rows.reason(row, error)
    left_out = left_out_records(rows, reasons)
    if not shown:
        raise ImageError(f"no cutout can be read: {_first_of(left_out)}")
    warn_left_out(left_out, len(shown) + len(left_out))
    result = table[rows.table_rows[list(shown)]]
    result[image_column] = _stacked(list(shown.values()))
    result.meta[LEFT_OUT] = left_out
    return result


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


def _display(rows: SurveyRows, row: int, frame: Frame | None) -> np.ndarray:
    """Display image (H, W, 3) of a row."""
    planes: np.ndarray | None = rows.planes(row)
    if frame is not None and planes is not None:
        from astro_galaxysd.survey.framing import framed_planes

        planes = framed_planes(planes, frame, row)
    if planes is None:
        raise ImageError(f"{rows.name(row)}: no galaxy was found in the middle of the cutout")
    return rows.survey.display(planes)


def _stacked(images: list[np.ndarray]) -> np.ndarray:
    """One array of all, those of another size than most scaled to it."""
    size = Counter(image.shape[:2] for image in images).most_common(1)[0][0]
    out = np.empty((len(images), *size, 3), np.uint8)
    for row, image in enumerate(images):
        out[row] = fit_size(image[np.newaxis], size)[0]
    return out


def _first_of(left_out: Iterable[Mapping[str, Any]]) -> str:
    """The first rows and their reasons."""
    said = [
        f"row {record['row']}{' (' + record['id'] + ')' if record['id'] else ''}: {record['reason']}"
        for record in left_out
    ]
    more = f"; and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
    return "; ".join(said[:_NAMED]) + more
