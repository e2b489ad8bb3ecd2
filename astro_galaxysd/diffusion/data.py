"""Training data: tables with images and votes in, arrays for the training runs out."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astro_galaxysd.conditions.columns import row_names, texts
from astro_galaxysd.conditions.table import choose_dialect, find_dialects
from astro_galaxysd.errors import ImageError, TrainingError
from astro_galaxysd.images.codec import read_images
from astro_galaxysd.images.storage import read_table

__all__ = ["TrainingSet", "read_training_set"]

logger = logging.getLogger(__name__)

#: Values of a column ``split`` that may be trained on.
TRAINING_SPLITS = ("train", "training")


@dataclass(frozen=True)
class TrainingSet:
    """Images with their votes.

    Parameters
    ----------
    images : ndarray, shape (N, H, H, 3), uint8
    fractions : ndarray, shape (N, 37), float64
        Conditional vote fractions; NaN where not asked, all NaN for galaxies without votes.
    ids : list of str, length N
    unreadable : dict of str to str
        Rows left out, id -> reason.
    """

    images: np.ndarray
    fractions: np.ndarray
    ids: list[str]
    unreadable: dict[str, str]


def read_training_set(
    paths: Sequence[str | os.PathLike[str]], *, votes: bool, column: str = "image", schema: str | None = None
) -> TrainingSet:
    """Read tables for training.

    Parameters
    ----------
    paths : sequence of path
        Tables that `read_table` reads.
    votes : bool
        Whether every table must have vote columns; if False, tables without them are read too.
    column : str
        Image column.
    schema : str, optional
        Dialect of the votes.

    Returns
    -------
    TrainingSet
        Rows whose column ``split`` names another split than training are left out; rows whose image can't be read
        are left out, counted and named in a warning of the log.

    Raises
    ------
    TrainingError
        If nothing is left, or images differ in size or are not square with a side that is a multiple of 8.
    ConditionError
        If votes are needed and a table has none.
    """
    images: list[np.ndarray] = []
    fractions: list[np.ndarray] = []
    ids: list[str] = []
    unreadable: dict[str, str] = {}
    for path in paths:
        table = read_table(path)
        if votes or find_dialects(table):
            known = choose_dialect(table, schema).read(table)
        else:
            known = np.full((len(table), 37), np.nan)
        names = row_names(table)
        for row in _training_rows(table):
            try:
                images.append(read_images(table, column=column, rows=[row])[0])
            except ImageError as error:
                unreadable[names[row]] = str(error)
                continue
            fractions.append(known[row])
            ids.append(names[row])
    if unreadable:
        first = "; ".join(f"{name}: {reason}" for name, reason in list(unreadable.items())[:5])
        total = len(ids) + len(unreadable)
        logger.warning("%d of %d rows can't be read and are left out: %s", len(unreadable), total, first)
    _check(images, paths)
    return TrainingSet(np.stack(images), np.array(fractions), ids, unreadable)


def _training_rows(table: object) -> list[int]:
    """Rows that may be trained on: those of the training split, or all where there is no column ``split``."""
    if "split" not in table.colnames:  # type: ignore[attr-defined]
        return list(range(len(table)))  # type: ignore[arg-type]
    splits = texts(table["split"])  # type: ignore[index]
    return [row for row, split in enumerate(splits) if split is None or split.lower() in TRAINING_SPLITS]


def _check(images: Sequence[np.ndarray], paths: Sequence[str | os.PathLike[str]]) -> None:
    where = ", ".join(os.fspath(path) for path in paths)
    if not images:
        raise TrainingError(f"{where}: no row to train on; rows of the splits {' or '.join(TRAINING_SPLITS)} are used")
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        seen = ", ".join(f"{height}x{width}" for height, width, _ in sorted(shapes)[:4])
        raise TrainingError(f"{where}: images of different sizes ({seen}); bring them to one size with fit_size")
    height, width, _ = shapes.pop()
    if height != width or height % 8:
        raise TrainingError(f"{where}: images of {height}x{width} px; they must be square, the side a multiple of 8")
