"""Votes that a reader sees in images: images in, fractions of all answers out, and which answers they amount to.

An answer is found in an image if it is the reader's first choice in its question, and so is every answer on the way
to it, as a volunteer would have clicked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from astro_galaxysd.conditions.tree import ANSWERS, INDEX, QUESTION_OF, QUESTIONS
from astro_galaxysd.errors import WeightsError
from astro_galaxysd.evaluation.memory import remembered

if TYPE_CHECKING:
    from astro_galaxysd.plugins.protocols import Embedder

__all__ = ["Reader", "answers_found", "read_votes"]


class Reader(Protocol):
    """Reads votes off images."""

    revision: str

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Map (N, H, W, 3) uint8 to conditional fractions (N, 37) in [0, 1]."""
        ...


def answers_found(read: np.ndarray) -> np.ndarray:
    """Answers that a reader finds: first choice in their question, like every answer on the way to it.

    Parameters
    ----------
    read : ndarray, shape (N, 37), float
        Conditional fractions in the order of `tree.ANSWERS`; all finite.

    Returns
    -------
    ndarray, shape (N, 37), bool
    """
    found = np.zeros(read.shape, dtype=bool)
    for question in QUESTIONS:
        columns = np.array([INDEX[answer.key] for answer in question.answers])
        first = columns[read[:, columns].argmax(axis=1)]
        found[np.arange(len(read)), first] = True
    for answer in ANSWERS:
        question = QUESTION_OF[answer.key]
        while question.parent:
            found[:, INDEX[answer.key]] &= _first(read, question.parent)
            question = QUESTION_OF[question.parent]
    return found


def _first(read: np.ndarray, key: str) -> np.ndarray:
    columns = np.array([INDEX[answer.key] for answer in QUESTION_OF[key].answers])
    return np.asarray(columns[read[:, columns].argmax(axis=1)] == INDEX[key])


def read_votes(reader: Reader, images: np.ndarray, embedder: Embedder | None = None) -> np.ndarray:
    """What a reader sees, remembered where the embedder is a `astro_galaxysd.evaluation.memory.Memory`.

    Parameters
    ----------
    reader : Reader
        What it saw is remembered by its ``revision``; without one it looks again every time.
    images : ndarray, shape (N, H, W, 3), uint8
    embedder : Embedder, optional

    Returns
    -------
    ndarray, shape (N, 37), float64
        Conditional fractions in the order of `tree.ANSWERS`; all finite.

    Raises
    ------
    WeightsError
        If the reader does not give one finite fraction for every answer of every image.
    """

    def measure(some: np.ndarray) -> np.ndarray:
        votes = np.asarray(reader.predict(some), dtype=np.float64)
        if votes.shape != (len(some), len(ANSWERS)) or not np.isfinite(votes).all():
            bad = "" if np.isfinite(votes).all() else " with values that are not finite"
            raise WeightsError(
                f"the reader {type(reader).__name__} gave votes of shape {votes.shape}{bad} for {len(some)} images; "
                f"it must give ({len(some)}, {len(ANSWERS)}) finite fractions: use another reader"
            )
        return votes

    revision = getattr(reader, "revision", "")
    known = remembered(embedder, f"reader-{revision}", measure, images) if revision else measure(images)
    return np.asarray(known, dtype=np.float64)
