"""Shards: files with some rows of a long table and the images drawn for them, written as the images come.

A Parquet shard keeps the images as PNG files in a column that `datasets` shows; a FITS shard as one image HDU a row.
Both are read by `astro_galaxysd.images.storage.read_table`, a folder of them as one table.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.errors import ConditionError, ImageError, OutputError, UnknownNameError
from astro_galaxysd.images.encoded import quick_png
from astro_galaxysd.images.features import features_metadata, image_structs
from astro_galaxysd.images.files import atomic_path
from astro_galaxysd.images.hdu import display_hdus
from astro_galaxysd.images.provenance import RUN_RECORD, json_ready
from astro_galaxysd.images.shardimages import BLOCK
from astro_galaxysd.images.sources import object_array
from astro_galaxysd.images.storage_columns import IMAGE, KEY, disassemble

if TYPE_CHECKING:
    from pathlib import Path

    from astropy.table import Table

__all__ = ["SHARD_KINDS", "lost_columns", "write_shard"]

#: Kinds of shards, which are also the suffixes of their files.
SHARD_KINDS = ("parquet", "fits")
#: Rows of a row group, and bytes of images after which one ends earlier: so much is in memory at a time.
_GROUP_ROWS, _GROUP_BYTES = 1000, 2**25


def write_shard(
    rows: Table,
    pieces: Iterable[np.ndarray],
    path: str | os.PathLike[str],
    kind: str,
    *,
    id_column: str | None = None,
) -> None:
    """Write rows and their images; the same rows and images give the same bytes, however the images are cut.

    The file gets its name when it is complete, and takes the place of one that is there.

    Parameters
    ----------
    rows : Table
        All columns are kept as `astro_galaxysd.images.storage.write_table` keeps them, and ``meta``; a column
        ``image`` is replaced.
    pieces : iterable of ndarray, each shape (n, H, W, 3), uint8
        Images of the rows in order, all of one size; only one piece is in memory.
    path : path-like
    kind : {"parquet", "fits"}
    id_column : str, optional
        What the image HDUs of a FITS file are named by; by default the first of the columns that
        `astro_galaxysd.images.hdu` knows.

    Raises
    ------
    ConditionError
        For an unknown kind, or no rows.
    UnknownNameError
        If there is no column `id_column`.
    ImageError
        If images have another type or size than the first, or are more or fewer than the rows.
    OutputError
        If a column can't be kept (see `lost_columns`), or the system refuses to write.
    """
    if kind not in SHARD_KINDS:
        raise ConditionError(f"unknown kind of shard {kind!r}; choose one of {', '.join(SHARD_KINDS)}")
    if not len(rows):
        raise ConditionError("a shard without rows has no images; write a shard of one row or more")
    if id_column is not None and id_column not in rows.colnames:
        raise UnknownNameError("id column", id_column, rows.colnames)
    light = rows.copy(copy_data=False)
    if IMAGE in light.colnames:
        light.remove_column(IMAGE)
    images = _images(pieces, len(rows))
    with atomic_path(path, overwrite=True) as partial:
        if kind == "parquet":
            _write_parquet(light, images, partial)
        else:
            _write_fits(light, images, partial, id_column)


def lost_columns(table: Table) -> dict[str, str]:
    """Columns of a table that a shard can't keep, and why: to find out before long work.

    Parameters
    ----------
    table : Table
        Object columns are looked at item by item.

    Returns
    -------
    dict of str to str
        `write_shard` takes the table without these.
    """
    lost = {}
    for name in table.colnames:
        try:
            alone = table[[name]]
            alone.meta.clear()
            disassemble(alone)
        except OutputError as error:
            lost[name] = str(error)
    return {name: why for name, why in lost.items() if name != IMAGE}


def _images(pieces: Iterable[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """Images one by one, as many as there are rows."""
    given, shape = 0, None
    for piece in pieces:
        shape = piece.shape[1:] if shape is None else shape
        if piece.dtype != np.uint8 or piece.shape[1:] != shape or len(shape) != 3 or shape[2] != 3 or 0 in shape:
            raise ImageError(
                f"images {given} and on are of shape {piece.shape}, {piece.dtype}; a shard takes pieces (n, H, W, 3) "
                "of uint8, all of one size"
            )
        given += len(piece)
        if given <= count:
            yield from piece
        del piece  # before the next one is made
    if given != count:
        raise ImageError(f"{given} images for {count} rows; give one for each row")


def _write_parquet(rows: Table, images: Iterator[np.ndarray], path: Path) -> None:
    """Write row groups as they fill up; where they end hangs on the images alone."""
    import pyarrow as pa

    from astro_galaxysd.images.storage_parquet import arrow_columns, open_writer

    light = rows.copy(copy_data=False)
    light[IMAGE] = object_array([b""] * len(rows))
    description, stored = disassemble(light)
    columns = pa.table(arrow_columns(description, stored))
    place = columns.column_names.index(IMAGE)
    columns = columns.set_column(place, IMAGE, image_structs([b""] * len(rows)))
    record = {RUN_RECORD: json.dumps(json_ready(rows.meta[RUN_RECORD]))} if RUN_RECORD in rows.meta else {}
    metadata = {KEY: json.dumps(description), **features_metadata(columns.schema), **record}
    schema = columns.schema.with_metadata(metadata)
    with open_writer(path, schema) as file:
        start = 0
        for group in _groups(map(quick_png, images)):
            arrow = columns.slice(start, len(group)).set_column(place, IMAGE, image_structs(group))
            file.write_table(arrow.cast(schema), row_group_size=len(group))
            start += len(group)


def _groups(files: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Images of one row group after the other."""
    group: list[bytes] = []
    size = 0
    for file in files:
        group.append(file)
        size += len(file)
        if len(group) == _GROUP_ROWS or size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _write_fits(rows: Table, images: Iterator[np.ndarray], path: Path, id_column: str | None) -> None:
    """Write the table, then each HDU as its image comes."""
    from astro_galaxysd.images.storage_fits import shard_hdus

    first = next(images).copy()  # there is one for each row, or `_images` has raised
    with path.open("wb") as file:
        shard_hdus(rows, first.shape).writeto(file)
        for hdu in display_hdus(rows, chain([first], images), IMAGE, id_column=id_column):
            file.write(_padded(hdu.header.tostring().encode("ascii")))
            file.write(_padded(hdu.data.tobytes()))


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % BLOCK)
