"""The images of matched rows, read as the sets that evaluators are asked about."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.conditions.columns import row_names
from astro_galaxysd.errors import ConditionError
from astro_galaxysd.evaluation.samples import read_sample, refuse_unlike
from astro_galaxysd.evaluation.scoring import FEWEST_IN_GROUP, Sets
from astro_galaxysd.evaluation.sides import FEWEST, id_source, refuse_repeated, too_small
from astro_galaxysd.records import ImageBatch

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.conditions.matching import Matched
    from astro_galaxysd.evaluation.sides import Side

__all__ = ["read_sets", "with_rebuilt", "with_rebuilt_table"]


def read_sets(
    synthetic: Side, real: Side, matched: Matched, notes: dict[str, str], *, training: Side | None = None,
    images: str = "image",
) -> Sets:  # fmt: skip
    """Read the images of the chosen rows, and all of the training rows.

    Parameters
    ----------
    synthetic, real : Side
    matched : Matched
    notes : dict of str to str
        Both from `match_sides`.
    training : Side, optional
    images : str
        Name of the image column.

    Returns
    -------
    Sets

    Raises
    ------
    ImageError, UnknownNameError
        As `read_sample` and `refuse_unlike`.
    """

    def read(side: Side, chosen: np.ndarray, what: str, groups: np.ndarray | None = None) -> ImageBatch:
        names = [side.names[row] for row in chosen]
        return read_sample(
            side.table, side.rows[chosen], side.requests[chosen], what=what, ids=names, images=images, groups=groups
        )

    batches = {
        "real": read(real, matched.real, "real", matched.groups),
        "held": read(real, matched.held, "real", matched.groups),
        "synthetic": read(synthetic, matched.synthetic, "synthetic", matched.groups),
    }
    if training is not None:
        batches["training"] = read(training, np.arange(len(training)), "training")
    refuse_unlike(batches)
    short = too_small(matched, notes)
    told = {name: (note, matched.counts[name].real, matched.counts[name].synthetic) for name, note in short.items()}
    groups = _groups(matched, set(short))
    return Sets(
        batches["real"], batches["held"], batches["synthetic"], batches.get("training"), groups=groups, short=told
    )


def _groups(matched: Matched, short: set[str]) -> dict[str, np.ndarray]:
    """Rows of the groups that are measured by themselves; the one group that is everything is not."""
    if len(matched.counts) < 2:
        return {}
    rows = {name: np.flatnonzero(matched.groups == name) for name in matched.counts if name not in short}
    return {name: found for name, found in rows.items() if len(found) >= FEWEST_IN_GROUP}


def with_rebuilt(sets: Sets, images: np.ndarray, held: np.ndarray | None = None) -> Sets:
    """Sets with reconstructions of held images.

    Parameters
    ----------
    sets : Sets
    images : ndarray, shape (n, H, W, 3), uint8
    held : ndarray, shape (n,), int, optional
        Row of `sets.held` that each shows; by default all, in order.
    """
    held = np.arange(len(images)) if held is None else held
    batch = ImageBatch(images, sets.held.conditions[held], sets.held.ids[held], {"sample": "reconstructed"})
    return dataclasses.replace(sets, reconstructions=batch, rebuilt=held)


def with_rebuilt_table(
    sets: Sets, real: Side, table: Table, *, images: str = "image", id_column: str | None = None
) -> Sets:
    """Sets with those reconstructions of a table that show held images.

    Parameters
    ----------
    sets : Sets
    real : Side
        Whose ids tell what each row of `table` shows.
    table : Table
    images, id_column : str
        Columns of `table`.

    Raises
    ------
    ConditionError
        If either table has no ids, both have them from different columns, one occurs twice in `table`, or fewer than
        16 held ones are in it.
    ImageError
        As `read_sample` and `refuse_unlike`.
    """
    _refuse_unidentified(real, id_source(table, id_column))
    names = row_names(table, id_column)
    refuse_repeated(names, "reconstructed")
    row_of = {name: row for row, name in enumerate(names)}
    held = np.array([place for place, name in enumerate(sets.held.ids.tolist()) if name in row_of], dtype=int)
    if len(held) < FEWEST:
        raise ConditionError(
            f"reconstructions= shows {len(held)} of the {len(sets.held)} real rows that stand in the synthetic ones' "
            f"place; at least {FEWEST} are needed: reconstruct all real rows and keep their ids"
        )
    ids = sets.held.ids[held].tolist()
    place = {name: row for row, name in enumerate(real.names)}
    requests = real.requests[np.array([place[name] for name in ids])]
    batch = read_sample(table, [row_of[name] for name in ids], requests, what="reconstructed", ids=ids, images=images)
    refuse_unlike({"real": sets.real, "reconstructed": batch})
    return with_rebuilt(sets, batch.images, held)


def _refuse_unidentified(real: Side, source: str | None) -> None:
    """Numbers of rows would pair a galaxy with another one's reconstruction."""
    if source is None or source != real.id_source:
        raise ConditionError(
            f"reconstructions= has {_ids(source)}, the real rows have {_ids(real.id_source)}: nothing says which "
            "galaxy a reconstruction shows; give both the same column of ids"
        )


def _ids(source: str | None) -> str:
    return f"ids in column {source!r}" if source else "no ids"
