"""Training data: tables with images and votes in, arrays for the training runs out."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table

from astro_galaxysd.conditions.columns import row_names, texts
from astro_galaxysd.conditions.table import choose_dialect, find_dialects
from astro_galaxysd.diffusion.pack import is_pack, read_holdout, read_pack
from astro_galaxysd.errors import ImageError, TrainingError
from astro_galaxysd.images.codec import read_images
from astro_galaxysd.images.storage import read_table
from astro_galaxysd.learning.trainingset import TrainingSet

__all__ = ["read_training_set"]

logger = logging.getLogger(__name__)

#: Values of a column ``split`` that may be trained on, and those to validate on.
TRAINING_SPLITS = ("train", "training")
VALIDATION_SPLITS = ("val", "valid", "validation")


def read_training_set(
    paths: Sequence[str | os.PathLike[str]],
    *,
    votes: bool,
    column: str = "image",
    schema: str | None = None,
    splits: Sequence[str] = TRAINING_SPLITS,
) -> TrainingSet:
    """Read tables, or data packs, for training.

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
    splits : sequence of str
        Values of a column ``split`` whose rows are read, in lower case.

    Returns
    -------
    TrainingSet
        Rows whose column ``split`` names another split are left out; rows whose image can't be read
        are left out, counted and named in a warning of the log.

    Raises
    ------
    TrainingError
        If nothing is left, or images differ in size or are not square with a side that is a multiple of 8.
    ConditionError
        If votes are needed and a table has none.
    """
    parts = [_read_part(path, votes=votes, column=column, schema=schema, splits=splits) for path in paths]
    unreadable = {name: reason for part in parts for name, reason in part.unreadable.items()}
    _warn(unreadable, sum(len(part.ids) for part in parts))
    _check([part.images for part in parts], paths, splits)
    return TrainingSet(
        np.concatenate([part.images for part in parts if len(part.ids)]),
        np.concatenate([part.fractions for part in parts if len(part.ids)]),
        [name for part in parts for name in part.ids],
        unreadable,
    )


def _read_part(
    path: str | os.PathLike[str], *, votes: bool, column: str, schema: str | None, splits: Sequence[str]
) -> TrainingSet:
    """The training rows of one table, or of a data pack."""
    if is_pack(path):
        return read_pack(path) if tuple(splits) == TRAINING_SPLITS else _held_back(path)
    table = read_table(path)
    if votes or find_dialects(table):
        known = choose_dialect(table, schema).read(table)
    else:
        known = np.full((len(table), 37), np.nan)
    names = row_names(table)
    if names == [str(row) for row in range(len(table))]:
        place = Path(path).resolve()  # numbers of several tables are not told apart
        names = [f"{place.parent.name}/{place.name} row {name}" for name in names]
    images: list[np.ndarray] = []
    kept: list[int] = []
    unreadable: dict[str, str] = {}
    for row in _rows_of(table, splits):
        try:
            images.append(read_images(table, column=column, rows=[row])[0])
            kept.append(row)
        except ImageError as error:
            unreadable[names[row]] = str(error)
    _check_sizes({image.shape for image in images}, os.fspath(path))
    stacked = np.stack(images) if images else np.zeros((0, 0, 0, 3), np.uint8)
    return TrainingSet(stacked, known[kept], [names[row] for row in kept], unreadable)


def _held_back(path: str | os.PathLike[str]) -> TrainingSet:
    """The rows of a pack that are not trained on."""
    held_back = read_holdout(path)
    if held_back is None:
        raise TrainingError(f"{os.fspath(path)}: this data pack has no validation rows; write it with --validation")
    return held_back


def _warn(unreadable: dict[str, str], kept: int) -> None:
    if unreadable:
        first = "; ".join(f"{name}: {reason}" for name, reason in list(unreadable.items())[:5])
        total = kept + len(unreadable)
        logger.warning("%d of %d rows can't be read and are left out: %s", len(unreadable), total, first)


def _rows_of(table: Table, splits: Sequence[str]) -> list[int]:
    """Rows of the splits, or all where there is no column ``split``."""
    if "split" not in table.colnames:
        return list(range(len(table)))
    return [row for row, split in enumerate(texts(table["split"])) if split is None or split.lower() in splits]


def _check(parts: Sequence[np.ndarray], paths: Sequence[str | os.PathLike[str]], splits: Sequence[str]) -> None:
    """Raise unless there are images, all square, of one size that is a multiple of 8."""
    where = ", ".join(os.fspath(path) for path in paths)
    shapes = {images.shape[1:] for images in parts if len(images)}
    if not shapes:
        raise TrainingError(f"{where}: no row to use; rows of the splits {' or '.join(splits)} are read")
    _check_sizes(shapes, where)
    height, width, _ = shapes.pop()
    if height != width or height % 8 or height < 16:
        raise TrainingError(
            f"{where}: images of {height}x{width} px; they must be square, the side a multiple of 8, 16 or more"
        )


def _check_sizes(shapes: set[tuple[int, ...]], where: str) -> None:
    if len(shapes) > 1:
        seen = ", ".join(f"{height}x{width}" for height, width, _ in sorted(shapes)[:4])
        raise TrainingError(f"{where}: images of different sizes ({seen}); bring them to one size with fit_size")
