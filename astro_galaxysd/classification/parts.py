"""Labelled galaxies in three parts: those that are learnt from, chosen by, and tested on, object by object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from astro_galaxysd.classification.arms import Rows
from astro_galaxysd.classification.objects import Objects, find_objects, find_positions, split_objects
from astro_galaxysd.classification.samples import FEWEST, Labelled
from astro_galaxysd.conditions.columns import column_values
from astro_galaxysd.errors import ConditionError, ImageError, NoRealRowsError

__all__ = ["SHARES", "Parts", "divide"]

#: Share of the labelled rows, object by object, for training, validation and test.
SHARES = {"train": 0.4, "validation": 0.2, "test": 0.4}
_NAMED = 5


class Parts(NamedTuple):
    """All galaxies, which of them show one object, and the rows of each part."""

    rows: Rows
    objects: Objects
    parts: dict[str, np.ndarray]

    def tally(self, positive: bool) -> dict[str, int]:
        """Galaxies of the class, or others, in each part."""
        return {name: int((self.rows.positive[rows] == positive).sum()) for name, rows in self.parts.items()}


def divide(
    labelled: Labelled,
    held: Labelled | None,
    features: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
) -> Parts:
    """Divide labelled galaxies.

    Parameters
    ----------
    labelled : Labelled
    held : Labelled or None
        Those to test on; None: two fifths of the labelled ones.
    features : callable
        Features of images, by which near-duplicates are looked for.
    rng : Generator

    Raises
    ------
    ConditionError
        If galaxies to test on are among the others.
    ImageError
        If the two have images of other sizes.
    NoRealRowsError
        If a part has fewer than `FEWEST` galaxies of the class, or of the others.
    """
    galaxies = [labelled] if held is None else [labelled, held]
    if held is not None and held.images.shape[1:] != labelled.images.shape[1:]:
        raise ImageError(
            f"images of test= are {held.images.shape[1]}x{held.images.shape[2]}, those of the table "
            f"{labelled.images.shape[1]}x{labelled.images.shape[2]}; bring them to one size with fit_size"
        )
    pixels = np.concatenate([one.images for one in galaxies])
    positive = np.concatenate([one.positive for one in galaxies])
    rows = Rows(pixels, features(pixels), positive)
    objects = find_objects(
        rows.images, rows.features,
        ids=[name for one in galaxies for name in one.names] if all(one.identified for one in galaxies) else None,
        positions=_positions(galaxies),
    )  # fmt: skip
    if held is None:
        return _checked(Parts(rows, objects, split_objects(objects.numbers, positive, SHARES, rng)), labelled)
    own, other = objects.numbers[: len(labelled)], objects.numbers[len(labelled) :]
    shared = np.flatnonzero(np.isin(other, own))
    if len(shared):
        raise ConditionError(
            f"{len(shared)} galaxies of test= are also in the table, as far as {', '.join(objects.checked)} tell: "
            f"{', '.join(held.names[row] for row in shared[:_NAMED])}; leave them out of one of the two"
        )
    learnt = 1 - SHARES["test"]
    shares = {name: share / learnt for name, share in SHARES.items() if name != "test"}
    parts = split_objects(own, labelled.positive, shares, rng)
    parts["test"] = np.arange(len(labelled), len(rows.positive))
    return _checked(Parts(rows, objects, parts), labelled)


def _checked(divided: Parts, labelled: Labelled) -> Parts:
    for kind, told in ((True, "of the class"), (False, "not of the class")):
        there = divided.tally(kind)
        if min(there.values()) < FEWEST:
            counts = ", ".join(f"{number} for {name}" for name, number in there.items())
            raise NoRealRowsError(
                f"target {labelled.target.name!r}: {sum(there.values())} real galaxies are {told}, which makes "
                f"{counts}; each needs {FEWEST}: label more" + (", or lower threshold= or cut=" if kind else "")
            )
    return divided


def _positions(galaxies: Sequence[Labelled]) -> tuple[np.ndarray, np.ndarray] | None:
    found = [find_positions(one.table) for one in galaxies]
    if None in found:
        return None
    ra, dec = (
        np.concatenate([column_values(one.table, names[axis]) for one, names in zip(galaxies, found, strict=True)])  # type: ignore[index]
        for axis in (0, 1)
    )
    return ra, dec
