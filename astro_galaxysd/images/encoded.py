"""JPEG and PNG bytes: what they were encoded with, decoding that does not forgive, encoding the same way.

Synthetic images that were encoded otherwise than the real ones would carry their label in the file (quality,
chroma subsampling, Huffman tables), so all of it is read from the real rows and used for the new ones.
"""

from __future__ import annotations

import functools
import io
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from astro_galaxysd.errors import ImageError

__all__ = ["Encoding", "decode_image", "encode_image", "quick_png", "read_encoding"]

#: Pillow's numbers of the chroma subsamplings.
SUBSAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
_START_OF_SCAN, _HUFFMAN_TABLES = 0xDA, 0xC4
_TABLE_NUMBERS = (0, 1)


@dataclass(frozen=True)
class Encoding:
    """How an image was encoded.

    Parameters
    ----------
    codec : str
        ``"JPEG"`` or ``"PNG"``.
    quality : int or None
        JPEG: the quality 1 to 100 of the standard tables that are nearest to the file's.
    tables : tuple of tuple of int, or None
        JPEG: the quantisation tables (64 integers each), where no quality has exactly these; they are used then.
    subsampling : str
        JPEG: ``"4:4:4"``, ``"4:2:2"`` or ``"4:2:0"``.
    progressive, optimize : bool
        JPEG: progressive scans; Huffman tables made for the image.
    """

    codec: str
    quality: int | None = None
    tables: tuple[tuple[int, ...], ...] | None = None
    subsampling: str = "4:4:4"
    progressive: bool = False
    optimize: bool = False


def open_image(data: bytes, where: str) -> Image.Image:
    """Read the header of an encoded image.

    Raises
    ------
    ImageError
        If it is neither JPEG nor PNG, or has no three colour bands.
    """
    if not data:
        raise ImageError(f"{where}: empty bytes instead of an image; remove the row or give it an image")
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise ImageError(
            f"{where}: {len(data)} bytes that are no readable JPEG or PNG (they start with {data[:8]!r}); "
            "store the encoded file's bytes unchanged"
        ) from error
    if image.mode not in ("RGB", "P"):
        raise ImageError(
            f"{where}: a {image.format} of mode {image.mode!r} ({len(image.getbands())} bands); three colour bands "
            "are needed: convert it to RGB"
        )
    return image


def decode_image(data: bytes, where: str) -> np.ndarray:
    """Decode completely.

    Parameters
    ----------
    data : bytes
        A JPEG or PNG file.
    where : str
        Names the row in messages.

    Returns
    -------
    ndarray, shape (H, W, 3), uint8

    Raises
    ------
    ImageError
        If the data are truncated, damaged or no colour image.
    """
    image = open_image(data, where)
    try:
        return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(
            f"{where}: {image.format} of {len(data)} bytes is truncated or damaged ({error}); fetch the file again or "
            "remove the row"
        ) from error


def read_encoding(data: bytes, where: str) -> tuple[Encoding, tuple[int, int]]:
    """Return the encoding and (height, width) from the header, without decoding.

    Raises
    ------
    ImageError
        As `open_image`.
    """
    image = open_image(data, where)
    size = (image.height, image.width)
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return Encoding("PNG"), size
    tables = tuple(tuple(image.quantization[number]) for number in sorted(image.quantization))
    quality, exact = nearest_quality(tables)
    progressive = bool(image.info.get("progressive"))
    encoding = Encoding(
        "JPEG",
        quality,
        None if exact else tables,
        SUBSAMPLINGS.get(JpegImagePlugin.get_sampling(image), "4:2:0"),
        progressive,
        not progressive and huffman_tables(data) != _standard_huffman_tables(),
    )
    return encoding, size


def encode_image(pixels: np.ndarray, encoding: Encoding) -> bytes:
    """Encode (H, W, 3) uint8 pixels the way `encoding` says."""
    stream = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if encoding.codec == "PNG":
        image.save(stream, "PNG")
        return stream.getvalue()
    how: dict[str, Any] = {"quality": encoding.quality}
    if encoding.tables is not None:
        how = {"qtables": [list(table) for table in encoding.tables]}
    image.save(
        stream, "JPEG", subsampling=encoding.subsampling, progressive=encoding.progressive,
        optimize=encoding.optimize, **how,
    )  # fmt: skip
    return stream.getvalue()


def quick_png(pixels: np.ndarray) -> bytes:
    """Encode (H, W, 3) uint8 pixels as PNG faster than `encode_image` does, and a little larger.

    Noise of the sky has no long matches to look for: only runs of equal bytes are (zlib's run-length strategy).
    """
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG", compress_type=zlib.Z_RLE)
    return stream.getvalue()


@functools.lru_cache(maxsize=64)
def nearest_quality(tables: tuple[tuple[int, ...], ...]) -> tuple[int, bool]:
    """Quality (1 to 100) whose standard tables are nearest in summed absolute logarithm, and whether they are equal.

    The logarithm weighs the few fine steps of a high quality as much as the coarse ones.
    """
    given = _padded(tables)
    standard = _standard_tables()
    distance = np.abs(np.log(standard) - np.log(np.maximum(given, 1))).sum(axis=(1, 2))
    best = int(np.argmin(distance))
    return best + 1, bool(np.array_equal(standard[best], given))


def _padded(tables: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """Luminance and chrominance tables, shape (2, 64); a single table serves for both."""
    return np.array([tables[min(number, len(tables) - 1)] for number in _TABLE_NUMBERS], dtype=float)


@functools.cache
def _standard_tables() -> np.ndarray:
    """Tables of the qualities 1 to 100 as Pillow writes them, shape (100, 2, 64)."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    found = []
    for quality in range(1, 101):
        image = Image.open(io.BytesIO(encode_image(pixels, Encoding("JPEG", quality))))
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            found.append([image.quantization[number] for number in _TABLE_NUMBERS])
    return np.array(found, dtype=float)


@functools.cache
def _standard_huffman_tables() -> bytes:
    return huffman_tables(encode_image(np.zeros((8, 8, 3), np.uint8), Encoding("JPEG", 90)))


def huffman_tables(data: bytes) -> bytes:
    """Join the payloads of the Huffman table segments before the first scan of a JPEG."""
    position, payload = 2, b""
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] != _START_OF_SCAN:
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if data[position + 1] == _HUFFMAN_TABLES:
            payload += data[position + 4 : position + 2 + length]
        position += 2 + max(length, 2)
    return payload
