"""Images of chosen rows as a batch that can be measured; refused where their figures would mean nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.conditions.columns import PROMPT
from astro_galaxysd.conditions.table import VOTES
from astro_galaxysd.errors import ImageError, UnknownNameError
from astro_galaxysd.images.codec import read_images
from astro_galaxysd.images.planes import planes_of
from astro_galaxysd.images.sources import image_items, kind_of, row_name
from astro_galaxysd.images.streaming import pieces_of_rows, table_columns
from astro_galaxysd.records import ImageBatch

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.conditions.requests import Requests

__all__ = ["GROUP", "read_sample", "refuse_unlike", "rows_of"]

#: Images that are decoded before they are put in their place.
_CHUNK = 256
#: Column of a batch's conditions that names the group of each row.
GROUP = "group"


class _Numbered(Sequence[Any]):
    """Some items of a longer sequence, under their numbers there."""

    def __init__(self, items: Any, numbers: np.ndarray) -> None:
        self._items: dict[int, Any] = dict(zip(numbers.tolist(), items, strict=True))

    def __len__(self) -> int:
        return max(self._items) + 1

    def __getitem__(self, number: Any) -> Any:
        return self._items[number]


def read_sample(
    table: Table | str | os.PathLike[str],
    rows: Sequence[int] | np.ndarray,
    requests: Requests,
    *,
    what: str,
    ids: Sequence[str],
    images: str = "image",
    groups: Sequence[str] | np.ndarray | None = None,
) -> ImageBatch:
    """Read the images of some rows.

    Parameters
    ----------
    table : Table or path
        With images of any kind, see `astro_galaxysd.images.codec`. Of a file or a folder of shards only the images of
        the rows are read, piece by piece.
    rows : sequence of int, length n
        Rows to read, in this order; no other image is decoded.
    requests : Requests, length n
        What these rows ask for.
    what : str
        What the images are, for messages: ``"synthetic"``.
    ids : sequence of str, length n
    images : str
        Name of the image column.
    groups : sequence of str, length n, optional
        Group of each row; by default ``"all"``.

    Returns
    -------
    ImageBatch
        ``images`` (n, H, W, 3) uint8, read-only, so that they need not be hashed twice; ``conditions`` with
        ``prompt``, ``votes`` (n, 37) and ``group``.

    Raises
    ------
    ImageError
        For images that can't be read, have a pixel that is not a number, differ in size, or are floats in [0, 1] cast
        to uint8. Rows are counted from 0 in `table`.
    UnknownNameError
        If the table has no such column.
    """
    from astropy.table import Table

    try:
        pixels = _read(_parts(table, np.asarray(rows, dtype=int), images), len(rows))
    except ImageError as error:
        raise ImageError(f"{what} images: {error}") from error
    if pixels.max() <= 1:
        raise ImageError(
            f"{what} images: no pixel is above 1 of 255, as if floats in [0, 1] had been cast to uint8; keep the "
            "floats, or multiply them by 255 before the cast"
        )
    pixels.flags.writeable = False
    conditions = Table({PROMPT: np.array(requests.prompts, dtype=str), VOTES: requests.votes})
    conditions[GROUP] = np.full(len(pixels), "all") if groups is None else np.asarray(groups, dtype=str)
    return ImageBatch(pixels, conditions, np.array(list(ids), dtype=str), {"sample": what})


def _refuse_missing(items: Any, rows: Sequence[int] | np.ndarray) -> None:
    """Elsewhere NaN is "not observed" and filled; here the filling would be measured."""
    for row in rows:
        where = row_name(int(row))
        kind = kind_of(items[row], where)
        values = planes_of(items[row], where) if kind == "hdu" else items[row]
        if kind == "encoded":
            continue
        masked = int(np.ma.getmaskarray(values).sum())
        pixels = np.ma.getdata(values)
        missing = masked + (int((~np.isfinite(pixels)).sum()) if pixels.dtype.kind == "f" else 0)
        if missing:
            raise ImageError(
                f"{where} has {missing} pixel values that are NaN, infinite or masked; what would stand in their place "
                "would be measured as if it had been observed: remove the row or fill them"
            )


def _parts(
    table: Table | str | os.PathLike[str], rows: np.ndarray, images: str
) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
    """Image items by row of the table, the rows that are in them, and where these are in `rows`."""
    if not isinstance(table, str | os.PathLike):
        yield image_items(table, images), rows, np.arange(len(rows))
        return
    known = table_columns(table)
    if images not in known:
        raise UnknownNameError("image column", images, known, "Name the column that holds the images.")
    for places, piece in pieces_of_rows(table, rows, [images]):
        yield _Numbered(image_items(piece, images), rows[places]), rows[places], places


def _read(parts: Iterator[tuple[Any, np.ndarray, np.ndarray]], count: int) -> np.ndarray:
    """Images of one size in one array, which is never held twice."""
    if not count:
        raise ImageError("there are no rows; give at least one")
    pixels, first = np.empty(0, dtype=np.uint8), 0
    for items, rows, places in parts:
        _refuse_missing(items, rows)
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK].tolist()
            for row, place, image in zip(part, places[start:], read_images(items, rows=part), strict=False):
                if not pixels.size:
                    pixels, first = np.empty((count, *image.shape), dtype=np.uint8), row
                _refuse_size(image.shape, row, pixels.shape[1:], first)
                pixels[place] = image
    return pixels


def _refuse_size(shape: tuple[int, ...], row: int, wanted: tuple[int, ...], first: int) -> None:
    if shape != wanted:
        raise ImageError(
            f"{row_name(row)} is {shape[0]}x{shape[1]} pixels where {row_name(first)} is {wanted[0]}x{wanted[1]}; "
            "bring all to one size with astro_galaxysd.images.codec.fit_size"
        )


def refuse_unlike(batches: Mapping[str, ImageBatch]) -> None:
    """Raise where two sets of images differ in size.

    Parameters
    ----------
    batches : mapping of str to ImageBatch
        By what they are, for the message; the first gives the size.

    Raises
    ------
    ImageError
        Names both sizes and `fit_size`.
    """
    (first, reference), *others = batches.items()
    wanted = reference.images.shape[1:3]
    for name, batch in others:
        size = batch.images.shape[1:3]
        if size != wanted:
            raise ImageError(
                f"{name} images are {size[0]}x{size[1]} pixels, {first} images {wanted[0]}x{wanted[1]}: their figures "
                "can't be compared; bring them to one size with astro_galaxysd.images.codec.fit_size"
            )


def rows_of(batch: ImageBatch, rows: np.ndarray) -> ImageBatch:
    """Return some rows of a batch, in this order."""
    return ImageBatch(batch.images[rows], batch.conditions[rows], batch.ids[rows], batch.meta)
