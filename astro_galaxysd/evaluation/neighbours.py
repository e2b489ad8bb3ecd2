r"""Nearest neighbours and pair sums among unit vectors, block by block: never a whole matrix of distances.

Distances are squared and Euclidean, :math:`|x - y|^2 = 2 - 2 \cos(x, y)`. Equal points are at distance 0 exactly,
though products of floats don't say so: whatever is nearer than `SAME` counts as equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.evaluation.distances import unit

if TYPE_CHECKING:
    from astro_galaxysd.plugins.protocols import Embedder

__all__ = ["SAME", "counts_within", "directions", "k_nearest_radii", "kernel_sums", "nearest", "squared_distances"]

#: Squared distances below this are 0: embedders round to single precision, differently in each batch.
SAME = 1e-10
_BLOCK = 1 << 22  # numbers in a block, 32 MB
_SPARE = 4  # k-th neighbours are looked for among so many times more, as half of them may be left out


def directions(embedder: Embedder | None, images: np.ndarray) -> np.ndarray:
    """Embeddings of images, each at length 1.

    Parameters
    ----------
    embedder : Embedder or None
        None: the default embedder.
    images : ndarray, shape (N, H, W, 3), uint8
        Display-stretched colour cutouts.

    Returns
    -------
    ndarray, shape (N, D), float64
        Unit vectors.
    """
    from astro_galaxysd.evaluation.memory import Memory

    return unit(np.asarray((embedder if isinstance(embedder, Memory) else Memory(embedder)).embed(images), dtype=float))


def squared_distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared distances of unit vectors, shape (n, d) and (m, d), as (n, m) float64 in [0, 4]."""
    distances = points @ others.T
    distances *= -2
    distances += 2
    distances[distances < SAME] = 0
    return np.asarray(distances)


def nearest(
    points: np.ndarray, others: np.ndarray, k: int = 1, *, skip: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of `others` to each point.

    Parameters
    ----------
    points, others : ndarray, shape (n, d) and (m, d)
        Unit vectors.
    k : int
        Number of neighbours, at most m.
    skip : ndarray, shape (n,), int, optional
        The row of `others` that is not a neighbour of the point: the point itself.

    Returns
    -------
    distances, rows : ndarray, shape (n, k), float64 and int64
        Squared distances, nearest first, and the rows of `others`.
    """
    distances, rows = np.empty((len(points), k)), np.empty((len(points), k), dtype=np.int64)
    for block in _blocks(len(points), len(others)):
        found = squared_distances(points[block], others)
        if skip is not None:
            found[np.arange(len(found)), skip[block]] = np.inf
        near = found.argmin(axis=1)[:, None] if k == 1 else np.argpartition(found, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(found, near, axis=1)
        order = np.argsort(values, axis=1, kind="stable")
        distances[block], rows[block] = (np.take_along_axis(v, order, axis=1) for v in (values, near))
    return distances, rows


def k_nearest_radii(points: np.ndarray, k: int, kept: np.ndarray) -> np.ndarray:
    """Squared distance of each point to its k-th nearest other point among those that are kept.

    Parameters
    ----------
    points : ndarray, shape (n, d)
        Unit vectors, more than k of them.
    k : int
        At least 1.
    kept : ndarray, shape (n, C), bool
        Columns of points that are kept, at least half of them in each: the 4 (k + 2) nearest are looked at.

    Returns
    -------
    ndarray, shape (n, C), float64
        0 where a point has k equals.
    """
    distances, rows = nearest(points, points, min(_SPARE * (k + 2), len(points) - 1), skip=np.arange(len(points)))
    found = np.empty(kept.shape)
    for block in _blocks(len(points), rows.shape[1] * kept.shape[1]):
        enough = kept[rows[block]].cumsum(axis=1) >= k
        place = np.where(enough.any(axis=1), enough.argmax(axis=1), rows.shape[1] - 1)
        found[block] = np.take_along_axis(distances[block], place, axis=1)
    return found


def counts_within(
    points: np.ndarray,
    others: np.ndarray,
    kept: np.ndarray,
    *,
    own: np.ndarray | None = None,
    theirs: np.ndarray | None = None,
) -> np.ndarray:
    """Return how many of the others are strictly nearer to each point than a limit.

    Parameters
    ----------
    points, others : ndarray, shape (n, d) and (m, d)
        Unit vectors.
    kept : ndarray, shape (m, C), bool
        Columns of others that count.
    own, theirs : ndarray, shape (n, C) or (m, C)
        Squared limits, one of the two: of each point, or of each of the others.

    Returns
    -------
    ndarray, shape (n, C), int64
        One count for each column.
    """
    limits = np.asarray(theirs if own is None else own)
    low, high, single = limits.min(axis=1), limits.max(axis=1), kept.astype(np.float32)
    counts = np.empty((len(points), kept.shape[1]), dtype=np.int64)
    for rows in _blocks(len(points), len(others)):
        distances = squared_distances(points[rows], others)
        least, most = (bound[None] if own is None else bound[rows, None] for bound in (low, high))
        inside = distances < least  # in every column; only pairs between the bounds are looked at column by column
        total = np.rint(inside.astype(np.float32) @ single).astype(np.int64)
        row, other = np.nonzero((distances < most) & ~inside)
        for part in _blocks(len(row), kept.shape[1]):
            limit = limits[other[part]] if own is None else limits[rows][row[part]]
            near = (distances[row[part], other[part], None] < limit) & kept[other[part]]
            first, start = np.unique(row[part], return_index=True)
            total[first] += np.add.reduceat(near, start, axis=0, dtype=np.int64)
        counts[rows] = total
    return counts


def kernel_sums(points: np.ndarray, others: np.ndarray, weights: np.ndarray, other_weights: np.ndarray) -> np.ndarray:
    r"""Sums :math:`\sum_{ij} v_i w_j (\cos(x_i, y_j) + 1)^3`, one for each column of weights.

    Parameters
    ----------
    points, others : ndarray, shape (n, d) and (m, d)
        Unit vectors.
    weights, other_weights : ndarray, shape (n, B) and (m, B)
        Columns of weights v and w; bool: which are kept.

    Returns
    -------
    ndarray, shape (B,), float64
        In [0, 8] times the product of the columns' sums.
    """
    total, doubles = np.zeros(weights.shape[1]), other_weights.astype(float)
    for rows in _blocks(len(points), len(others)):
        base = points[rows] @ others.T
        base += 1
        kernel = base * base
        kernel *= base
        total += ((kernel @ doubles) * weights[rows]).sum(axis=0)
    return total


def _blocks(rows: int, width: int) -> Iterator[slice]:
    step = max(1, _BLOCK // max(width, 1))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
