"""Shards of a data pack: encoded images with votes and ids in files that numpy and Pillow read.

A shard is a ``.npz`` without pickles: ``images`` (bytes of all images, one after the other), ``offsets`` (N + 1, where
each begins and the last ends), ``votes`` (N, 37; half precision, NaN where not asked) and ``ids`` (N).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from astro_galaxysd.errors import OutputError, TrainingError
from astro_galaxysd.learning.trainingset import TrainingSet

__all__ = ["CODECS", "checked_bytes", "read_shards", "write_shards"]

#: Pillow's format and the default quality of each codec.
CODECS = {"jpeg": ("JPEG", 92), "webp": ("WEBP", 90), "png": ("PNG", 100)}
_MB = 1_000_000


def write_shards(
    rows: TrainingSet, folder: Path, stem: str, codec: str, quality: int, limit: int
) -> list[dict[str, Any]]:
    """Write the rows in files of at most `limit` bytes.

    Parameters
    ----------
    rows : TrainingSet
    folder : Path
    stem : str
        Files are named STEM-000.npz, STEM-001.npz ...
    codec, quality
        As `write_pack`.
    limit : int

    Returns
    -------
    list of dict
        Name and number of rows of each.

    Raises
    ------
    OutputError
        If a single image is larger.
    """
    shards = []
    for number, (first, images) in enumerate(_encoded(rows, codec, quality, limit)):
        name = f"{stem}-{number:03}.npz"
        part = slice(first, first + len(images))
        # deflate finds the headers that all JPEG files share: a fifth of their bytes
        np.savez_compressed(
            folder / name,
            images=np.frombuffer(b"".join(images), np.uint8),
            offsets=np.cumsum([0, *(len(image) for image in images)], dtype=np.int64),
            votes=rows.fractions[part].astype(np.float16),
            ids=np.array(rows.ids[part], dtype=np.str_),
        )
        if (folder / name).stat().st_size > limit:
            raise OutputError(f"{name}: a shard of {limit / _MB:g} MB is too small for {len(images)} rows; allow more")
        shards.append({"name": name, "rows": len(images)})
    return shards


def _encoded(rows: TrainingSet, codec: str, quality: int, limit: int) -> Iterator[tuple[int, list[bytes]]]:
    """Encode the images and group them, with the number of each group's first row."""
    kind, options = CODECS[codec][0], _options(codec, quality)
    images: list[bytes] = []
    first, size = 0, 2000
    widest = 4 * max((len(name) for name in rows.ids), default=0)  # numpy stores texts in four bytes a letter
    for row, pixels in enumerate(rows.images):
        stream = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(stream, kind, **options)
        # offsets, votes and id beside the image, and what deflate adds to bytes it can't shorten
        row_size = int((len(stream.getvalue()) + 8 + 2 * rows.fractions.shape[1] + widest) * 1.001)
        if images and size + row_size > limit:
            yield first, images
            first, size, images = row, 2000, []
        images.append(stream.getvalue())
        size += row_size
    if images:
        yield first, images


def _options(codec: str, quality: int) -> dict[str, Any]:
    """What Pillow is told."""
    if codec == "jpeg":
        return {"qtables": [[101 - quality] * 64] * 2, "subsampling": "4:4:4"}
    return {"quality": quality, "method": 4, "use_sharp_yuv": True} if codec == "webp" else {}


def read_shards(folder: Path, content: Mapping[str, Any], kind: str) -> TrainingSet:
    """Read the shards that pack.json names under `kind`; rows whose image can't be decoded are left out and named.

    Raises
    ------
    TrainingError
        If a shard is missing, damaged or of another pack.
    """
    side, total = content["side"], sum(shard["rows"] for shard in content[kind])
    images = np.empty((total, side, side, 3), np.uint8)
    votes: list[np.ndarray] = []
    ids: list[str] = []
    unreadable: dict[str, str] = {}
    for shard in content[kind]:
        for name, data, row in _shard_rows(folder, shard, content["files"]):
            try:
                images[len(ids)] = _decoded(data, side)
            except (OSError, ValueError, SyntaxError) as error:
                unreadable[name] = f"{shard['name']}: {error}"
                continue
            votes.append(row)
            ids.append(name)
    return TrainingSet(images[: len(ids)], np.array(votes, dtype=np.float64), ids, unreadable)


def _shard_rows(
    folder: Path, shard: Mapping[str, Any], files: Mapping[str, str]
) -> Iterator[tuple[str, bytes, np.ndarray]]:
    """Id, encoded image and votes of every row of a shard that is what pack.json says."""
    name = shard["name"]
    stored = checked_bytes(folder, name, files.get(name, ""))
    with np.load(io.BytesIO(stored), allow_pickle=False) as arrays:
        data, offsets = arrays["images"].tobytes(), arrays["offsets"]
        votes, ids = arrays["votes"].astype(np.float64), arrays["ids"]
    if len(ids) != shard["rows"]:
        raise TrainingError(
            f"{folder / name}: {len(ids)} rows where pack.json says {shard['rows']}; copy the pack again"
        )
    for row, name in enumerate(ids):
        yield str(name), data[offsets[row] : offsets[row + 1]], votes[row]


def _decoded(data: bytes, side: int) -> np.ndarray:
    """Decode completely; Pillow raises OSError, ValueError or SyntaxError for damaged files, by format."""
    image = Image.open(io.BytesIO(data), formats=[kind for kind, _ in CODECS.values()])
    if image.size != (side, side):
        raise ValueError(f"an image of {image.size[0]}x{image.size[1]} px where {side}x{side} px are packed")
    return np.asarray(image.convert("RGB"))


def checked_bytes(folder: Path, name: str, expected: str) -> bytes:
    """Read a file of a pack.

    Raises
    ------
    TrainingError
        If it is missing or not the one that was written.
    """
    try:
        stored = (folder / name).read_bytes()
    except OSError as error:
        raise TrainingError(
            f"{folder / name}: part of this data pack, but it can't be read ({error.strerror}); copy the pack again"
        ) from error
    found = hashlib.sha256(stored).hexdigest()
    if found != expected:
        raise TrainingError(
            f"{folder / name}: damaged, or of another data pack (SHA-256 {found[:12]} ... instead of "
            f"{expected[:12] or 'none'} ...); copy the pack again"
        )
    return stored
