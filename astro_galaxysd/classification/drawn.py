"""Synthetic galaxies for a classifier: labelled galaxies whose votes are taken in, a table of drawn ones out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.augmentation.plan import plan_augmentation
from astro_galaxysd.classification.arms import Rows
from astro_galaxysd.conditions.seeds import row_seeds
from astro_galaxysd.generation import generate
from astro_galaxysd.images.codec import fit_size, read_images
from astro_galaxysd.images.provenance import SEED

if TYPE_CHECKING:
    from collections.abc import Callable

    from astropy.table import Table

__all__ = ["BASE", "Synthesis", "as_rows"]

#: Column of drawn galaxies: the row of the labelled table whose votes were taken.
BASE = "base_row"


@dataclass(frozen=True)
class Synthesis:
    """Draws galaxies with votes of labelled ones.

    Parameters
    ----------
    table : Table
        The labelled galaxies; their images are not looked at.
    asked : mapping
        Target, threshold and cut, as `astro_galaxysd.plan_augmentation` takes them.
    columns : mapping
        ``schema``, ``labels``, ``label_column``, ``id_column``, as there.
    drawing : mapping
        ``weights``, ``generator``, ``steps``, ``guidance``, as `astro_galaxysd.generate` takes them.
    """

    table: Table
    asked: Mapping[str, Any]
    columns: Mapping[str, Any]
    drawing: Mapping[str, Any]

    def of_class(self, sources: np.ndarray, number: int, seed: int) -> Table:
        """Galaxies with votes of some of the class; each is used once before any is used again."""
        plan = plan_augmentation(self.table[sources], n=number, rng=seed, **self.asked, **self.columns)
        drawn = generate(plan, progress=False, **self.drawing)
        drawn[BASE] = sources[drawn[BASE]]
        return drawn

    def others(self, sources: np.ndarray, number: int, seed: int) -> Table:
        """Galaxies with votes of some that are not of the class, in the same way."""
        rng = np.random.default_rng(seed)
        rounds = [rng.permutation(sources) for _ in range(-(-number // len(sources)))]
        rows = np.concatenate(rounds)[:number]
        conditions = self.table[rows]
        conditions[SEED] = row_seeds(seed, np.arange(number))
        drawn = generate(conditions, progress=False, **self.columns, **self.drawing)
        drawn[BASE] = rows[: len(drawn)]
        return drawn


def as_rows(
    drawn: Table, size: tuple[int, int], features: Callable[[np.ndarray], np.ndarray], *, positive: bool
) -> Rows:
    """Drawn galaxies as real ones are kept, in their size."""
    images = fit_size(np.stack(read_images(drawn)), size)
    return Rows(images, features(images), np.full(len(images), positive))
