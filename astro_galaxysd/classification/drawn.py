"""Synthetic galaxies for a classifier: labelled galaxies whose votes are taken in, a table of drawn ones out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.augmentation.plan import plan_augmentation
from astro_galaxysd.classification.arms import Rows
from astro_galaxysd.conditions.columns import find_id_column
from astro_galaxysd.conditions.seeds import row_seeds
from astro_galaxysd.conditions.table import read_conditions
from astro_galaxysd.generation import generate
from astro_galaxysd.images.codec import fit_size, read_images
from astro_galaxysd.images.provenance import PROMPT, SEED

if TYPE_CHECKING:
    from collections.abc import Callable

    from astropy.table import Table

__all__ = ["BASE", "Synthesis", "as_rows"]

#: Columns of drawn galaxies: the row of the labelled table whose votes were taken, -1 for none; the image.
BASE, IMAGE = "base_row", "image"


@dataclass(frozen=True)
class Synthesis:
    """Draws galaxies with votes of labelled ones.

    Parameters
    ----------
    table : Table
        The labelled galaxies, without ids and images: an id may stand in several rows.
    asked : mapping
        Target, threshold and cut, as `astro_galaxysd.plan_augmentation` takes them.
    columns : mapping
        ``schema``, ``labels``, ``label_column``, as there.
    drawing : mapping
        ``weights``, ``generator``, ``steps``, ``guidance``, as `astro_galaxysd.generate` takes them.
    """

    table: Table
    asked: Mapping[str, Any]
    columns: Mapping[str, Any]
    drawing: Mapping[str, Any]

    @classmethod
    def of(
        cls, table: Table, images: str, asked: Mapping[str, Any], columns: Mapping[str, Any], drawing: Mapping[str, Any]
    ) -> Synthesis:
        """The same from a table with ids and the column `images`; `columns` may name that of ids."""
        light = table.copy(copy_data=False)
        light.remove_column(images)
        known = find_id_column(light, columns.get("id_column"))
        if known is not None:
            light.remove_column(known)
        return cls(light, asked, {name: value for name, value in columns.items() if name != "id_column"}, drawing)

    def of_class(self, sources: np.ndarray, number: int, seed: int) -> Table:
        """Galaxies with votes of some of the class; each is used once before any is used again."""
        plan = self._plan(sources, number, seed)
        rows = np.asarray(plan[BASE])
        return self._drawn(plan, np.where(rows < 0, -1, sources[rows]))

    def others(self, sources: np.ndarray, number: int, seed: int) -> Table:
        """Galaxies with votes of some that are not of the class, in the same way."""
        rng = np.random.default_rng(seed)
        rounds = [rng.permutation(sources) for _ in range(-(-number // len(sources)))]
        rows = np.concatenate(rounds)[:number]
        conditions = self.table[rows]
        conditions[SEED] = row_seeds(seed, np.arange(number))
        return self._drawn(conditions, rows, **self.columns)

    def check(self, positive: np.ndarray) -> None:
        """Raise what drawing would raise, before anything is drawn: of galaxies of the class, and of others.

        Raises
        ------
        ConditionError, PromptError, UnknownNameError
        """
        self._plan(np.flatnonzero(positive), 1, 0)
        read_conditions(self.table[np.flatnonzero(~positive)], **self.columns)

    def _plan(self, sources: np.ndarray, number: int, seed: int) -> Table:
        return plan_augmentation(self.table[sources], n=number, rng=seed, **self.asked, **self.columns)

    def _drawn(self, conditions: Table, rows: np.ndarray, **columns: Any) -> Table:
        drawn = generate(conditions, progress=False, **columns, **self.drawing)
        if len(drawn) < len(conditions):
            raise KeyboardInterrupt  # what is there is no whole set: nothing may learn from it
        drawn.keep_columns([IMAGE, SEED, PROMPT])
        drawn[BASE] = rows
        return drawn


def as_rows(
    drawn: Table, size: tuple[int, int], features: Callable[[np.ndarray], np.ndarray], *, positive: bool
) -> Rows:
    """Drawn galaxies as real ones are kept, in their size."""
    images = fit_size(np.stack(read_images(drawn)), size)
    return Rows(images, features(images), np.full(len(images), positive))
