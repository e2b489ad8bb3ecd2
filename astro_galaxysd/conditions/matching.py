"""Three sets of rows with one mixture: synthetic rows, real rows to compare with, and real rows in their place.

A distance of synthetic from real images says nothing by itself: it depends on how many images there are and of what
kinds. So the real rows are split in two, and real images that stand in the synthetic ones' place give the ceiling.
All three sets have the same number of rows of every group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from astro_galaxysd.conditions.grouping import Grouping

__all__ = ["Counts", "Matched", "match_rows", "pair_by_id"]


class Counts(NamedTuple):
    """Rows of one group.

    Parameters
    ----------
    synthetic, real : int
        Rows there are.
    used : int
        Rows in each of the three sets.
    """

    synthetic: int
    real: int
    used: int


@dataclass(frozen=True)
class Matched:
    """Rows of the three sets; entry i of each is of the same group.

    Parameters
    ----------
    synthetic, real, held : ndarray, shape (n,), int
        Synthetic rows; real rows to compare with; real rows that stand in the synthetic ones' place. No real row
        occurs twice.
    groups : ndarray, shape (n,), str
    counts : dict of str to Counts
        Of every group, also of those without any row.
    paired : bool
        Whether `held` are the very galaxies that the synthetic rows were drawn for.
    unpaired : int
        Synthetic rows that were left out because no such galaxy is among the real rows of their group.
    """

    synthetic: np.ndarray
    real: np.ndarray
    held: np.ndarray
    groups: np.ndarray
    counts: dict[str, Counts]
    paired: bool
    unpaired: int = 0

    def __len__(self) -> int:
        return len(self.synthetic)


def pair_by_id(synthetic_ids: list[str], real_ids: list[str], grouping: Grouping) -> np.ndarray | None:
    """Real row of the same id for each synthetic row, where it answers what the synthetic row asks for.

    Parameters
    ----------
    synthetic_ids, real_ids : list of str
    grouping : Grouping
        Of the same rows.

    Returns
    -------
    ndarray, shape (N,), int, or None
        -1 where there is none. None if most synthetic rows have none, or two have the same id.
    """
    if len(set(synthetic_ids)) < len(synthetic_ids):
        return None
    row_of = {identifier: row for row, identifier in enumerate(real_ids)}
    pairs = np.array([row_of.get(name, -1) for name in synthetic_ids], dtype=int)
    for row, (name, pair) in enumerate(zip(grouping.names, pairs, strict=True)):
        if not (name and grouping.answered[name][pair]):
            pairs[row] = -1
    return pairs if 2 * int((pairs >= 0).sum()) >= len(pairs) > 0 else None


def match_rows(
    grouping: Grouping, *, rng: np.random.Generator, pairs: np.ndarray | None = None, n: int | None = None
) -> Matched:
    """Choose as many rows of every group as the three sets can have.

    Of a group with s synthetic rows and r real ones that answer it, min(s, r // 2) rows come into each set. Groups
    with the fewest real rows choose first, as a real row serves once.

    Parameters
    ----------
    grouping : Grouping
    rng : Generator
        Chooses the rows.
    pairs : ndarray, shape (N,), int, optional
        From `pair_by_id`: these real rows stand in the synthetic ones' place; synthetic rows without one are left out.
    n : int, optional
        Keep this many of each set, by lot.

    Returns
    -------
    Matched
        Sets without a row where nothing matches.
    """
    sizes = {name: int(rows.sum()) for name, rows in grouping.answered.items()}
    free = np.ones(len(next(iter(grouping.answered.values()), ())), dtype=bool)
    chosen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    order = sorted(sizes, key=lambda name: (sizes[name], name))
    for name in order:
        rows = rng.permutation(np.flatnonzero(grouping.names == name))
        pool = grouping.answered[name] & free
        triple = _split(rows, pool, rng) if pairs is None else _split_pairs(rows, pool, pairs, rng)
        free[triple[1]] = free[triple[2]] = False
        chosen.append(triple)
    none = np.zeros(0, dtype=int)
    synthetic, real, held = (np.concatenate([none, *(one[part] for one in chosen)]) for part in range(3))
    groups = np.repeat(order, [len(one[0]) for one in chosen]).astype(str)
    kept = np.sort(rng.permutation(len(synthetic))[:n])
    groups = groups[kept]
    counts = {
        name: Counts(int((grouping.names == name).sum()), size, int((groups == name).sum()))
        for name, size in sizes.items()
    }
    unpaired = 0 if pairs is None else int((pairs < 0).sum())
    return Matched(synthetic[kept], real[kept], held[kept], groups, counts, pairs is not None, unpaired)


def _split(rows: np.ndarray, pool: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    real = rng.permutation(np.flatnonzero(pool))
    size = min(len(rows), len(real) // 2)
    return rows[:size], real[:size], real[size : 2 * size]


def _split_pairs(
    rows: np.ndarray, pool: np.ndarray, pairs: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Synthetic rows with their own galaxies; real rows that nothing was drawn for are compared with first."""
    rows = rows[(pairs[rows] >= 0) & pool[pairs[rows]]]
    drawn_for = np.zeros(len(pool), dtype=bool)
    drawn_for[pairs[pairs >= 0]] = True
    others = rng.permutation(np.flatnonzero(pool & ~drawn_for))
    size = min(len(rows), (len(rows) + len(others)) // 2)
    spare = pairs[rows[size:]]
    real = np.concatenate([others, spare])[:size]
    return rows[:size], real, pairs[rows[:size]]
