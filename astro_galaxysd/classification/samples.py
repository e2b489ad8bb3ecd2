"""Labelled galaxies of a table: which are of the class, which are not, which can't be used and why.

A real galaxy is of the class or it is not: those that volunteers were not sure of count among the others, as they will
in the catalogue that the classifier is for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.conditions.columns import find_id_column, row_names, texts
from astro_galaxysd.conditions.selection import Population, Selection, read_population
from astro_galaxysd.conditions.targets import Target, resolve_target
from astro_galaxysd.errors import ConditionError, ImageError, NoRealRowsError
from astro_galaxysd.images.codec import read_images
from astro_galaxysd.images.sources import image_items

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["FEWEST", "Labelled", "read_labelled", "shortened"]

#: Galaxies of the class that each part of the table needs.
FEWEST = 5
_NAMED = 5


@dataclass(frozen=True)
class Labelled:
    """Galaxies whose class is known.

    Parameters
    ----------
    table : Table, length N
        Of real galaxies with images.
    images : ndarray, shape (N, H, W, 3), uint8
    positive : ndarray, shape (N,), bool
    names : list of str, length N
        Ids, or numbers of rows where the table has none.
    identified : bool
        Whether `names` are ids.
    target : Target
        `mask` and `matches` are those of the whole table.
    excluded : dict of str to list of str
        Names of rows left out, by reason.
    """

    table: Table
    images: np.ndarray
    positive: np.ndarray
    names: list[str]
    identified: bool
    target: Target
    excluded: dict[str, list[str]]

    def __len__(self) -> int:
        return len(self.positive)


def read_labelled(
    table: Table,
    target: str,
    *,
    selection: Selection,
    against: str | None = None,
    images: str = "image",
    schema: str | None = None,
    labels: Mapping[str, str] | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
) -> Labelled:
    """Read the labelled galaxies of a table.

    Parameters
    ----------
    table : Table
    target : str
        As `astro_galaxysd.augment_table`.
    selection : Selection
        What votes make a galaxy one of the class.
    against : str, optional
        The only other class; by default all galaxies that are not of the target.
    images : str
        Image column; all images of one size.
    schema, labels, label_column, id_column
        As `astro_galaxysd.plan_augmentation`.

    Raises
    ------
    NoRealRowsError
        If there are fewer than `FEWEST` galaxies of the class.
    ConditionError
        If all are of the class, or nothing tells the class.
    ImageError, UnknownNameError
        If images can't be read, or columns are not there.
    """
    population = read_population(table, schema=schema)
    found = _resolved(population, target, labels, label_column, selection)
    names = row_names(table, id_column)
    items = image_items(table, images)
    shown = np.array([items[row] is not None for row in range(len(items))])
    known = _told(population, found)
    rows = np.flatnonzero(population.real & shown & known)
    excluded = {
        reason: [names[row] for row in np.flatnonzero(left_out)]
        for reason, left_out in (
            ("synthetic or artifact", ~population.real),
            ("no image", population.real & ~shown),
            ("no label", population.real & shown & ~known),
        )
        if left_out.any()
    }
    if against is not None:
        other = _resolved(population, against, labels, label_column, selection).mask
        neither = population.real & shown & known & (found.mask == other)
        rows = rows[~neither[rows]]
        if neither.any():
            excluded["neither or both"] = [names[row] for row in np.flatnonzero(neither)]
    positive = found.mask[rows]
    if positive.sum() < FEWEST:
        raise NoRealRowsError(
            f"target {found.name!r}: {int(positive.sum())} real galaxies with images are of the class and {FEWEST} are "
            "needed in each of training, validation and test; label more, or lower threshold= or cut="
        )
    if positive.all():
        raise ConditionError(
            f"target {found.name!r}: all {len(rows)} real galaxies are of the class; a classifier needs others too"
        )
    pixels = read_images(table, column=images, rows=rows.tolist())
    sizes = {image.shape for image in pixels}
    if len(sizes) > 1:
        told = ", ".join(f"{height}x{width}" for height, width, _ in sorted(sizes)[:_NAMED])
        raise ImageError(f"images of {len(sizes)} sizes ({told}); bring them to one with fit_size")
    return Labelled(
        table[rows], np.stack(pixels), positive, [names[row] for row in rows],
        find_id_column(table, id_column) is not None, found, excluded,
    )  # fmt: skip


def shortened(excluded: Sequence[Mapping[str, Sequence[str]]]) -> dict[str, dict[str, Any]]:
    """Rows left out of several tables, for a record: by reason ``rows``, how many, and ``named``, the first of them."""
    found: dict[str, list[str]] = {}
    for one in excluded:
        for reason, names in one.items():
            found.setdefault(reason, []).extend(names)
    return {reason: {"rows": len(names), "named": names[:_NAMED]} for reason, names in found.items()}


def _resolved(
    population: Population,
    target: str,
    labels: Mapping[str, str] | None,
    label_column: str | None,
    selection: Selection,
) -> Target:
    found = resolve_target(population, target, labels=labels, label_column=label_column, selection=selection)
    if found.kind == "prompt":
        raise ConditionError(
            f"target {found.name!r} is a free prompt, by which no real galaxy can be told from others; name an answer, "
            "a label or a boolean column"
        )
    return found


def _told(population: Population, target: Target) -> np.ndarray:
    """Rows of which it is known whether they are of a class: they have a label, votes or a prompt."""
    if target.column is not None:
        return np.array([value not in (None, "") for value in texts(population.table[target.column])], dtype=bool)
    if population.fractions is not None:
        return np.asarray(np.isfinite(population.fractions).any(axis=1))
    return np.array([bool(prompt) for prompt in population.prompts or ()], dtype=bool)
