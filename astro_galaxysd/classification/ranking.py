"""The best of a stream: pieces of a catalogue and their scores in, the highest rows with their images out.

Scores of all rows are kept, 8 bytes each; images only of those that are the best so far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.errors import NoRealRowsError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Ranking"]


class Ranking:
    """Rows with the highest scores.

    Parameters
    ----------
    budget : int
        Rows to keep.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._scores: list[np.ndarray] = []
        self._kept: list[tuple[Table, np.ndarray, np.ndarray]] = []

    def add(self, rows: Table, images: np.ndarray, scores: np.ndarray) -> None:
        """Take a piece: N rows, images of shape (N, H, W, 3), and N scores."""
        self._scores.append(scores)
        best = np.argsort(-scores, kind="stable")[: self.budget]
        if len(best):
            kept = rows[best]
            if self._kept:
                kept.meta.clear()  # that of the first piece is enough: vstack would add up lists in it
            self._kept.append((kept, images[best], scores[best]))
        if sum(len(kept) for _, _, kept in self._kept) > 4 * self.budget:
            self._shrink()

    @property
    def scored(self) -> int:
        """Rows that were taken."""
        return sum(map(len, self._scores))

    def others(self) -> np.ndarray:
        """Scores of all rows that are not among the best, rising."""
        scores = np.sort(np.concatenate([*self._scores, np.zeros(0)]))
        return scores[: max(0, len(scores) - self.budget)]

    def best(self) -> tuple[Table, np.ndarray, np.ndarray]:
        """The highest rows, their images and scores, falling; the earlier first where scores are equal.

        Raises
        ------
        NoRealRowsError
            If there was no row.
        """
        self._shrink()
        if not self._kept:
            raise NoRealRowsError("the catalogue has no galaxy to rank: give one with images of unlabelled galaxies")
        return self._kept[0]

    def _shrink(self) -> None:
        """Throw away what can't be among the best any more."""
        from astropy.table import vstack

        if not self._kept:
            return
        scores = np.concatenate([kept for _, _, kept in self._kept])
        best = np.argsort(-scores, kind="stable")[: self.budget]
        rows = vstack([rows for rows, _, _ in self._kept], metadata_conflicts="silent")
        images = np.concatenate([images for _, images, _ in self._kept])
        self._kept = [(rows[best], images[best], scores[best])]
