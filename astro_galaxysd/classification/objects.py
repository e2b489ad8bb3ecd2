"""Rows that show the same object: by id, by position on the sky, by their images; and splits that keep them together.

A galaxy that is in the training and in the test rows, perhaps from two exposures, is found because it is known, and no
figure says so. In: ids, positions, images. Out: a number of the object for each row; the rows of each part of a split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.errors import ConditionError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Objects", "find_objects", "find_positions", "split_objects"]

#: Centres closer than this are one object: SDSS positions agree within 0.1", galaxies of Galaxy Zoo 2 are wider.
_NEAR = 2.0  # arcsec
#: Images that differ by less in the mean are one picture stored twice: JPEG changes SDSS cutouts by 1 to 2 grey levels,
#: the noise of two exposures by 4 or more. Skies without noise are all alike; but means of JPEG's blocks of 8x8 pixels,
#: which it changes by less than 4 in 95 of 100 cutouts, differ by 24 or more between two galaxies of SDSS.
_SAME_PICTURE, _SAME_BLOCK, _BLOCK = 2.0, 4.0, 8
_NEIGHBOURS = 3
_POSITIONS = (("ra", "dec"), ("ra_deg", "dec_deg"), ("raj2000", "dej2000"), ("right_ascension", "declination"))


@dataclass(frozen=True)
class Objects:
    """Which rows show the same object.

    Parameters
    ----------
    numbers : ndarray, shape (N,), int64
        Rows with one number are one object.
    checked : tuple of str
        By what rows were compared: ``"id"``, ``"position"``, ``"image"``.
    joined : dict of str to int
        By each of them, pairs of rows that were found to be one object.
    """

    numbers: np.ndarray
    checked: tuple[str, ...]
    joined: dict[str, int]


def find_positions(table: Table) -> tuple[str, str] | None:
    """The columns of right ascension and declination in degrees, None where there are none."""
    numbers = [name for name in table.colnames if getattr(getattr(table[name], "dtype", None), "kind", "") in "fiu"]
    lower = {name.lower(): name for name in reversed(numbers)}
    return next(((lower[ra], lower[dec]) for ra, dec in _POSITIONS if ra in lower and dec in lower), None)


def find_objects(
    images: np.ndarray,
    features: np.ndarray,
    *,
    ids: Sequence[str] | None = None,
    positions: tuple[np.ndarray, np.ndarray] | None = None,
) -> Objects:
    """Find rows that show the same object.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3), uint8
    features : ndarray, shape (N, D)
        Of an embedder; among the nearest neighbours by these, images that hardly differ are one object.
    ids : sequence of str, length N, optional
        None where the table has none.
    positions : tuple of ndarray, each of shape (N,), optional
        Right ascension and declination, degrees; NaN, or a declination that is none, where unknown.

    Returns
    -------
    Objects
    """
    pairs: dict[str, np.ndarray] = {}
    if ids is not None:
        pairs["id"] = _equal_pairs(np.asarray(ids, dtype=str))
    if positions is not None:
        pairs["position"] = _near_pairs(*positions)
    pairs["image"] = _alike_pairs(images, features)
    joined = {name: len(found) for name, found in pairs.items()}
    return Objects(_components(len(images), np.concatenate(list(pairs.values()))), tuple(pairs), joined)


def split_objects(
    objects: np.ndarray, positive: np.ndarray, shares: Mapping[str, float], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Split rows by object, those of the class and the others in the same shares.

    Parameters
    ----------
    objects : ndarray, shape (N,), int
    positive : ndarray, shape (N,), bool
        An object is of the class if any of its rows is.
    shares : mapping of str to float
        Of each part, sum 1.
    rng : Generator

    Returns
    -------
    dict of str to ndarray, int
        Rows of each part, rising.

    Raises
    ------
    ConditionError
        If the shares are no shares.
    """
    if min(shares.values()) <= 0 or not np.isclose(sum(shares.values()), 1):
        raise ConditionError(f"shares {dict(shares)}: give numbers above 0 with the sum 1")
    names, places = np.unique(objects, return_inverse=True)
    has = np.zeros(len(names), dtype=bool)
    np.logical_or.at(has, places, positive)
    part = np.empty(len(names), dtype=np.int64)
    for kind in (has, ~has):
        some = rng.permutation(np.flatnonzero(kind))
        ends = np.round(np.cumsum(list(shares.values()))[:-1] * len(some)).astype(int)
        for number, chosen in enumerate(np.split(some, ends)):
            part[chosen] = number
    return {name: np.flatnonzero(part[places] == number) for number, name in enumerate(shares)}


def _equal_pairs(names: np.ndarray) -> np.ndarray:
    order = np.argsort(names, kind="stable")
    same = np.flatnonzero(names[order][1:] == names[order][:-1])
    return np.column_stack([order[same], order[same + 1]])


def _near_pairs(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    known = np.flatnonzero(np.isfinite(ra) & (np.abs(dec) <= 90))
    if len(known) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    sky = SkyCoord(ra[known] * u.deg, dec[known] * u.deg)
    first, second, _, _ = sky.search_around_sky(sky, _NEAR * u.arcsec)
    return np.asarray(np.column_stack([known[first], known[second]])[first < second])


def _alike_pairs(images: np.ndarray, features: np.ndarray) -> np.ndarray:
    from astro_galaxysd.evaluation.distances import unit
    from astro_galaxysd.evaluation.neighbours import nearest

    if len(images) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    points = unit(np.asarray(features, dtype=float))
    rows = np.arange(len(points))
    _, near = nearest(points, points, min(_NEIGHBOURS, len(points) - 1), skip=rows)
    pairs = np.column_stack([np.repeat(rows, near.shape[1]), near.ravel()])
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    return np.asarray(pairs[[_one_picture(images[a].astype(np.float32) - images[b]) for a, b in pairs]])


def _one_picture(change: np.ndarray) -> bool:
    """Whether two images are one, by their difference, shape (H, W, 3)."""
    if np.abs(change).mean() >= _SAME_PICTURE:
        return False
    height, width = (max(1, size // _BLOCK) for size in change.shape[:2])
    side = min(_BLOCK, *change.shape[:2])
    blocks = change[: height * side, : width * side].reshape(height, side, width, side, 3)
    return bool(np.abs(blocks.mean(axis=(1, 3))).max() < _SAME_BLOCK)


def _components(rows: int, pairs: np.ndarray) -> np.ndarray:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(rows, rows))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)
