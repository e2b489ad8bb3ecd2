"""A catalogue, piece by piece: a table or file in, rows with images out; what can't be used is counted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.conditions.columns import find_id_column, is_synthetic, texts
from astro_galaxysd.errors import ConditionError, ImageError, NoRealRowsError
from astro_galaxysd.evaluation.memory import digests
from astro_galaxysd.images.codec import fit_size, read_images
from astro_galaxysd.images.sources import image_items
from astro_galaxysd.images.streaming import read_pieces, table_length

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["ROW", "Pieces"]

#: Column of a row's number in the catalogue, from 0.
ROW = "search_row"
_OURS = "search_"
_ROWS = 512
_NAMED = 5


class Pieces:
    """The galaxies of a catalogue.

    Parameters
    ----------
    source : Table or path
        A file, or a folder of files, is read piece by piece.
    images : str
        Image column.
    id_column : str or None
        As `astro_galaxysd.plan_augmentation`.
    size : tuple of int
        (height, width) that all images are brought to.

    Attributes
    ----------
    left_out : dict of str to dict
        By reason: ``rows``, how many, and ``named``, the first of them.
    met : list of (str or None, bytes)
        Id and `astro_galaxysd.evaluation.memory.digests` of galaxies that were known.

    Raises
    ------
    ConditionError, UnknownNameError
        If there is no such file, it is damaged, has no column of images, or has columns that searches add.
    NoRealRowsError
        If it has no row.
    """

    def __init__(
        self, source: Table | str | os.PathLike[str], *, images: str, id_column: str | None, size: tuple[int, int]
    ) -> None:
        self._source, self._images, self._size = source, images, size
        self.left_out: dict[str, dict[str, Any]] = {}
        self.met: list[tuple[str | None, bytes]] = []
        first = next(read_pieces(source, rows=1), None)
        if first is None:
            raise NoRealRowsError("the catalogue has no row; give one with images of unlabelled galaxies")
        image_items(first, images)
        self._ids = find_id_column(first, id_column)
        ours = [name for name in first.colnames if name.startswith(_OURS)]
        if ours:
            raise ConditionError(
                f"the catalogue has the column {ours[0]!r}; names that begin with {_OURS!r} are for what a search "
                "adds: rename it, or take the catalogue that was searched"
            )

    @property
    def identified(self) -> bool:
        """Whether the catalogue has ids."""
        return self._ids is not None

    def ids(self, rows: Table) -> list[str | None]:
        """Ids of some rows, None where they have none."""
        if self._ids is None:
            return [None] * len(rows)
        return [(name or "").strip() or None for name in texts(rows[self._ids])]

    def names(self, rows: Table) -> list[str]:
        """What to call some rows: their ids, with their numbers in the catalogue where an id is missing or no name."""
        ids, numbers = self.ids(rows), rows[ROW].tolist()
        often = Counter(ids)
        return [
            f"row {number}" if name is None else name if often[name] == 1 else f"{name} (row {number})"
            for name, number in zip(ids, numbers, strict=True)
        ]

    def unknown(
        self, names: Iterable[str], known: Iterable[np.ndarray], *, progress: bool
    ) -> Iterator[tuple[Table, np.ndarray]]:
        """Galaxies that are not known: rows with a column `ROW`, and their images, shape (N, H, W, 3), uint8.

        Parameters
        ----------
        names : iterable of str
            Ids of those that are known.
        known : iterable of ndarray, each shape (N, H, W, 3), uint8
            Their images: what has the same pixels is known.
        progress : bool
            Whether to show a bar.
        """
        from tqdm import tqdm

        ids = set(names)
        same = {digest for some in known for digest in digests(some)}
        self.left_out.clear()
        self.met.clear()
        at = 0
        with tqdm(total=table_length(self._source), unit="galaxy", disable=not progress) as bar:
            for rows in read_pieces(self._source, rows=_ROWS):
                rows[ROW] = np.arange(at, at + len(rows))
                fresh, images = self._fresh(rows, ids, same, first=not at)
                at += len(rows)
                if fresh:
                    yield rows[fresh], np.stack(images)
                bar.update(len(rows))

    def _fresh(
        self, rows: Table, ids: set[str], same: set[bytes], *, first: bool
    ) -> tuple[list[int], list[np.ndarray]]:
        """Which of a piece's rows can be scored and are not known, and their images."""
        items, made_up, names = image_items(rows, self._images), is_synthetic(rows), self.names(rows)
        fresh, images, faults = [], [], []
        for row, name in enumerate(self.ids(rows)):
            if made_up[row]:
                self._leave_out("synthetic", names[row])
                continue
            try:
                image = self._image(items[row])
            except ImageError as error:
                faults.append(error)
                self._leave_out("no image that can be read", names[row])
                continue
            digest = digests(image[np.newaxis])[0]
            if name in ids or digest in same:
                self.met.append((name, digest))
                self._leave_out("labelled or looked at before", names[row])
            else:
                fresh.append(row)
                images.append(image)
        if first and faults and len(faults) == len(rows):
            raise ImageError(f"none of the catalogue's first {len(rows)} images can be read; of the first: {faults[0]}")
        return fresh, images

    def _image(self, item: Any) -> np.ndarray:
        (image,) = read_images([item])
        return np.asarray(fit_size(image[np.newaxis], self._size)[0])

    def _leave_out(self, reason: str, name: str) -> None:
        counted = self.left_out.setdefault(reason, {"rows": 0, "named": []})
        counted["rows"] += 1
        if len(counted["named"]) < _NAMED:
            counted["named"].append(name)
