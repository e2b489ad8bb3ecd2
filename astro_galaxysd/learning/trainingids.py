"""Which rows weights were trained on: hashes of ids in a file beside them.

In: ids of rows; hashes of others. Out: ``training_ids.txt``, a hash a line; whether given rows are among them. Nothing
but hashes is kept: ids of rows that are not public stay so.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from astro_galaxysd.conditions.seeds import id_text
from astro_galaxysd.errors import TrainingError, WeightsError

__all__ = ["IDS", "check_teacher", "trained_on", "write_training_ids"]

#: Name of the file.
IDS = "training_ids.txt"
_DIGITS = 16


def _hash(identifier: object) -> str:
    return hashlib.sha256(id_text(identifier).encode("utf-8", errors="surrogatepass")).hexdigest()[:_DIGITS]


def write_training_ids(folder: str | os.PathLike[str], ids: Iterable[str | int], hashes: Iterable[str] = ()) -> None:
    """Say beside weights which rows they were trained on; `trained_on` reads it.

    Parameters
    ----------
    folder : path
        Hashes that its file has already stay there: weights have seen what those they began with had seen.
    ids : iterable of str or int
    hashes : iterable of str
        Of other rows, as they are in such files.
    """
    path = Path(folder) / IDS
    there = path.read_text(encoding="utf-8").split() if path.is_file() else []
    known = {*there, *hashes, *map(_hash, ids)}
    path.write_text("".join(f"{line}\n" for line in sorted(known)), encoding="utf-8")


def trained_on(weights_folder: str | os.PathLike[str], ids: Iterable[str | int]) -> np.ndarray:
    """Whether weights were trained on rows, by the hashes of their ids.

    Parameters
    ----------
    weights_folder : path
    ids : iterable of str or int
        As in the training table; 7 and ``"7"`` are the same.

    Returns
    -------
    ndarray, shape (N,), bool

    Raises
    ------
    WeightsError
        If the weights don't say what they were trained on.
    """
    path = Path(weights_folder) / IDS
    try:
        known = set(path.read_text(encoding="utf-8").split())
    except OSError as error:
        raise WeightsError(
            f"{path} can't be read ({error.strerror}): these weights don't say which rows they were trained on; "
            "ask who made them"
        ) from error
    return np.array([_hash(identifier) in known for identifier in ids], dtype=bool)


def check_teacher(reader: str | os.PathLike[str], ids: Iterable[str | int]) -> None:
    """Raise TrainingError if a reader's file says that it learnt from rows that what it teaches is measured on.

    Parameters
    ----------
    reader : path
        Nothing is known of a reader without such a file beside it, which passes.
    ids : iterable of str or int
        Of the validation rows.
    """
    folder, rows = Path(reader).parent, list(ids)
    if not Path(reader).is_file() or not (folder / IDS).is_file():
        return
    learnt = [str(name) for name, seen in zip(rows, trained_on(folder, rows), strict=True) if seen]
    if learnt:
        raise TrainingError(
            f"the reader {os.fspath(reader)} learnt from {len(learnt)} validation rows: {', '.join(learnt[:5])}; what "
            "it teaches would look too good on them. Train a reader on the rows that are trained on alone."
        )
