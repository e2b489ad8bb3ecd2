"""Which rows weights were trained on: hashes of ids in a file beside them, and how many had each answer in another.

In: ids and votes of rows; hashes of others. Out: ``training_ids.txt``, a hash a line; whether given rows are among
them; ``training_answers.csv``. Nothing but hashes and counts is kept: ids of rows that are not public stay so.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from astro_galaxysd.conditions.prompts import well_sampled
from astro_galaxysd.conditions.seeds import id_text
from astro_galaxysd.conditions.tree import ANSWERS, INDEX, QUESTION_OF, Answer
from astro_galaxysd.errors import TrainingError, WeightsError

__all__ = [
    "IDS",
    "LEARNT_ANSWERS",
    "check_teacher",
    "count_learnt",
    "trained_on",
    "write_learnt_answers",
    "write_training_ids",
]

#: Names of the files. What is no .json or .txt is no part of a folder's revision: counts change nothing that is drawn.
IDS, LEARNT_ANSWERS = "training_ids.txt", "training_answers.csv"
_DIGITS = 16
_HALF = 0.5


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


def write_learnt_answers(
    folder: str | os.PathLike[str],
    ids: Sequence[str | int],
    fractions: np.ndarray,
    *,
    hashes: Iterable[str] = (),
    answers: Path | None = None,
) -> None:
    """Say beside weights how many galaxies with each answer they were trained on; `count_learnt` reads it.

    Parameters
    ----------
    folder : path
    ids : sequence of str or int, length N
    fractions : ndarray, shape (N, 37)
        Conditional vote fractions. A galaxy has an answer if half of those asked gave it, and enough were asked, as
        `astro_galaxysd.conditions.selection` has it where nothing else is said.
    hashes : iterable of str
        Of the ids that the weights were trained on that these began with: no galaxy counts twice.
    answers : Path, optional
        The file of those weights. Where there are hashes but no such file, nothing is written.
    """
    known, before = set(hashes), dict.fromkeys((answer.key for answer in ANSWERS), 0)
    if known:
        if answers is None or not answers.is_file():
            return
        before |= _read_answers(answers)
    new = np.array([_hash(identifier) not in known for identifier in ids], dtype=bool)
    with (Path(folder) / LEARNT_ANSWERS).open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["answer", "galaxies"])
        for answer in ANSWERS:
            lines.writerow([answer.key, before[answer.key] + int(_has(fractions[new], answer).sum())])


def count_learnt(weights_folder: str | os.PathLike[str], answer: str) -> int:
    """Galaxies with an answer, by its key, that weights were trained on.

    Raises
    ------
    WeightsError
        If the weights don't say it.
    """
    path = Path(weights_folder) / LEARNT_ANSWERS
    try:
        return _read_answers(path)[answer]
    except (OSError, KeyError, ValueError) as error:
        raise WeightsError(
            f"{path} doesn't tell how many galaxies with the answer {answer!r} these weights were trained on; ask who "
            "made them"
        ) from error


def _has(fractions: np.ndarray, answer: Answer) -> np.ndarray:
    # `Selection` itself would bring table libraries into data packs
    enough = np.nan_to_num(fractions[:, INDEX[answer.key]]) >= _HALF
    return np.asarray(enough & well_sampled(fractions, QUESTION_OF[answer.key]))


def _read_answers(path: Path) -> dict[str, int]:
    with path.open(encoding="utf-8", newline="") as file:
        return {line["answer"]: int(line["galaxies"]) for line in csv.DictReader(file)}


def check_teacher(kind: str, path: str | os.PathLike[str], ids: Iterable[str | int]) -> None:
    """Raise TrainingError if a reader or an embedder learnt from rows that what it teaches is measured on.

    Parameters
    ----------
    kind : str
        ``"reader"`` or ``"embedder"``.
    path : path
        Its file. Nothing is known of one without `IDS` beside it, which passes.
    ids : iterable of str or int
        Of the validation rows.
    """
    folder, rows = Path(path).parent, list(ids)
    if not Path(path).is_file() or not (folder / IDS).is_file():
        return
    learnt = [str(name) for name, seen in zip(rows, trained_on(folder, rows), strict=True) if seen]
    if learnt:
        raise TrainingError(
            f"the {kind} {os.fspath(path)} learnt from {len(learnt)} validation rows: {', '.join(learnt[:5])}; what it "
            "teaches would look too good on them. Train one on the rows that are trained on alone."
        )
