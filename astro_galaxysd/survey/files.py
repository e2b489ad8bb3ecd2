"""One cutout in a file, FITS, JPEG or PNG, read as planes with the top row first.

A path may choose an extension: ``"a.fits[SCI]"``, ``"a.fits[SCI,2]"``, ``"a.fits[1]"``; without one the first HDU
with pixels counts. Files compressed with gzip or bzip2 and tile-compressed ones are read as they are. What a file is
shows in its first bytes, not in its name.
"""

from __future__ import annotations

import io
import math
import os
import re
import warnings
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin

from astro_galaxysd.errors import ImageError
from astro_galaxysd.images.encoded import Encoding, decode_image, encode_image, huffman_tables, open_image
from astro_galaxysd.survey.pixels import Pixels, hdu_pixels, header_pixels

__all__ = ["PICTURES", "Location", "file_kind", "grey_encoding", "locate", "read_file", "read_picture"]

_EXTENSION = re.compile(r"(?P<path>.+)\[(?P<name>[^\[\]]+)\]\Z")
#: What JPEG and PNG start with.
PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_PLAIN = b"SIMPLE  ="
_FITS = (_PLAIN, b"\x1f\x8b", b"BZh")
_BLOCK = 2880  # bytes; FITS files are filled up to a multiple
#: What astropy, zlib and numpy raise on damaged files.
_DAMAGE = (OSError, EOFError, ValueError, TypeError, LookupError, zlib.error, AttributeError)


@dataclass(frozen=True)
class Location:
    """Where a cutout lies.

    Parameters
    ----------
    path : Path
    extension : str
        As it was written in brackets; empty for the first HDU with pixels.
    """

    path: Path
    extension: str = ""

    def choose(self, hdus: Any, where: str) -> Any:
        """The HDU of an open file that the extension names; all of them where none is named.

        Raises
        ------
        ImageError
            If there is no such extension; names those that there are.
        """
        if not self.extension:
            return hdus
        name, _, version = (part.strip() for part in self.extension.partition(","))
        key: Any = int(name) if name.isdecimal() else (name, int(version)) if version.isdecimal() else name
        try:
            return hdus[key]
        except (KeyError, IndexError) as error:
            known = ", ".join(f"{number} {hdu.name}".strip() for number, hdu in enumerate(hdus))
            raise ImageError(f"{where}: no extension [{self.extension}] in the file; it has {known}") from error


def locate(text: str | os.PathLike[str], folder: str | os.PathLike[str] = "") -> Location:
    """Path and extension of a table's cell; relative paths start at `folder`.

    Examples
    --------
    >>> locate("a.fits[SCI]", "data")
    Location(path=PosixPath('data/a.fits'), extension='SCI')
    """
    path = Path(folder).expanduser() / Path(text).expanduser()
    found = _EXTENSION.match(str(path))
    if found is None or path.exists():
        return Location(path)
    return Location(Path(found["path"]), found["name"].strip())


def file_kind(path: Path, where: str) -> str:
    """Tell what a file is by its first bytes: ``"fits"`` or ``"picture"`` (JPEG, PNG).

    Raises
    ------
    ImageError
        If there is no such file, it can't be opened, or it is neither.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(16)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise ImageError(
            f"{where}: no file {str(path)!r}; correct the path, or folder= where relative paths start"
        ) from error
    except OSError as error:
        raise ImageError(
            f"{where}: {str(path)!r} can't be opened ({error.strerror}); check that it is a file and may be read"
        ) from error
    if start.startswith(_FITS):
        return "fits"
    if start.startswith(PICTURES):
        return "picture"
    raise ImageError(f"{where}: {str(path)!r} is no image, it starts with {start!r}; give FITS, JPEG or PNG files")


def read_file(place: Location, where: str, *, pixels: bool = True, kind: str | None = None) -> Pixels:
    """Read a file, or only its header.

    Parameters
    ----------
    place : Location
    where : str
        Names the row in messages.
    pixels : bool
        Whether to read the pixels too.
    kind : str, optional
        What `file_kind` said of it, where it was asked already.

    Returns
    -------
    Pixels

    Raises
    ------
    ImageError
        If the file is missing, unreadable, truncated, no image, has no such extension or no pixels.
    """
    if (kind or file_kind(place.path, where)) == "picture":
        if place.extension:
            raise ImageError(f"{where}: {place.path.name!r} is no FITS file and has no extension {place.extension!r}")
        return read_picture(place.path.read_bytes(), where, pixels=pixels)
    from astropy.io import fits

    plain = None if pixels else _plain_header(place, where)
    if plain is not None:
        return plain
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            with fits.open(place.path, memmap=False) as hdus:
                found = hdu_pixels(place.choose(hdus, where), where, pixels=pixels)
    except _DAMAGE as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(
            f"{where}: {str(place.path)!r} can't be read, it is truncated or damaged ({error}); fetch it again"
        ) from error
    for warning in said:
        if "truncated" in str(warning.message):
            raise ImageError(f"{where}: {str(place.path)!r} is truncated ({warning.message}); fetch it again")
    return found


def read_picture(data: bytes, where: str, *, pixels: bool = True) -> Pixels:
    """Read a JPEG or PNG of three colours or grey; `pixels` and errors as for `read_file`."""
    grey = _grey(data)
    if grey is not None:
        height, width = grey.height, grey.width
        values = _loaded(grey, where) if pixels else None
        return Pixels((1, height, width), np.dtype(np.uint8), values, picture=True, flat=True)
    if pixels:
        values = np.moveaxis(decode_image(data, where), -1, 0)
        return Pixels((3, *values.shape[1:]), values.dtype, values, picture=True)
    image = open_image(data, where)
    return Pixels((3, image.height, image.width), np.dtype(np.uint8), picture=True)


def grey_encoding(data: bytes) -> Encoding:
    """How a grey JPEG or PNG that can be read was encoded, as `astro_galaxysd.images.encoded.read_encoding`."""
    image = _grey(data)
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return Encoding("PNG")
    tables = tuple(tuple(table) for table in image.quantization.values())
    progressive = bool(image.info.get("progressive"))
    # The tables that a grey image gets where none are made for it.
    standard = huffman_tables(encode_image(np.zeros((8, 8), np.uint8), Encoding("JPEG", 90)))
    optimize = not progressive and huffman_tables(data) != standard
    return Encoding("JPEG", tables=tables, progressive=progressive, optimize=optimize)


def _plain_header(place: Location, where: str) -> Pixels | None:
    """What is known of an uncompressed file whose primary HDU is the cutout and whole; None where astropy must open it.

    It takes a quarter of the time of `astropy.io.fits.open`, and the headers of a long table are all looked at.
    """
    from astropy.io import fits

    if place.extension not in ("", "0"):
        return None
    try:
        with place.path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if stream.read(len(_PLAIN)) != _PLAIN:
                return None
            stream.seek(0)
            header = fits.Header.fromfile(stream)
            end = stream.tell()
            stream.seek(0)
            structure = _structure(stream.read(_BLOCK), header)
            found = replace(header_pixels(structure, where), header=header)
            size = math.prod(found.shape) * abs(int(structure["BITPIX"])) // 8
            whole = end + -(-size // _BLOCK) * _BLOCK <= os.fstat(stream.fileno()).st_size
    except _DAMAGE:  # ImageError is a ValueError
        return None
    return found if whole else None


def _structure(block: bytes, header: Any) -> Any:
    """The cards that say what the pixels are: FITS has them first, numbers in columns 11 to 30.

    The whole header where pixels are scaled: those numbers may stand anywhere.
    """
    if any(keyword in header for keyword in ("BZERO", "BSCALE", "BLANK")):
        return header
    cards = {block[at : at + 8].decode().rstrip(): block[at + 10 : at + 30] for at in range(0, 10 * 80, 80)}
    return {keyword: int(value) for keyword, value in cards.items() if re.fullmatch(r"BITPIX|NAXIS\d*", keyword)}


def _grey(data: bytes) -> Image.Image | None:
    """The opened image where it is an 8-bit grey one."""
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
    except (OSError, ValueError, SyntaxError):
        return None
    return image if image.mode == "L" else None


def _loaded(image: Image.Image, where: str) -> np.ndarray:
    """Pixels of a grey image, shape (1, H, W)."""
    try:
        return np.asarray(image)[np.newaxis]
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"{where}: {image.format} is truncated or damaged ({error}); fetch it again") from error
