"""One cutout that is read: a FITS file, a JPEG or PNG, an HDU or an array, as planes with the top row first.

A path may choose an extension: ``"a.fits[SCI]"``, ``"a.fits[SCI,2]"``, ``"a.fits[1]"``; without one the first HDU
with pixels counts. Files compressed with gzip or bzip2 and tile-compressed ones are read as they are. What a file is
shows in its first bytes, not in its name.
"""

from __future__ import annotations

import io
import os
import re
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, JpegImagePlugin

from astro_galaxysd.errors import ImageError
from astro_galaxysd.images.encoded import Encoding, decode_image, encode_image, huffman_tables, open_image
from astro_galaxysd.images.planes import hdu_with_pixels

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = [
    "Location",
    "Pixels",
    "array_pixels",
    "file_kind",
    "grey_encoding",
    "hdu_pixels",
    "locate",
    "read_file",
    "read_picture",
]

_EXTENSION = re.compile(r"(?P<path>.+)\[(?P<name>[^\[\]]+)\]\Z")
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_FITS = (b"SIMPLE  =", b"\x1f\x8b", b"BZh")
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


@dataclass(frozen=True)
class Pixels:
    """One cutout as it is kept.

    Parameters
    ----------
    shape : tuple of int
        (planes, height, width).
    dtype : dtype
        Of the pixels as they are kept.
    values : ndarray or None
        Shape `shape`, row 0 at the top; None where only the header was read.
    header : Header or None
        Of the HDU.
    picture : bool
        JPEG or PNG.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    values: np.ndarray | None = None
    header: Header | None = None
    picture: bool = False


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
    if not path.exists():
        raise ImageError(f"{where}: no file {str(path)!r}; correct the path, or folder= where relative paths start")
    try:
        with path.open("rb") as stream:
            start = stream.read(16)
    except OSError as error:
        raise ImageError(
            f"{where}: {str(path)!r} can't be opened ({error.strerror}); check that it is a file and may be read"
        ) from error
    if start.startswith(_FITS):
        return "fits"
    if start.startswith(_PICTURES):
        return "picture"
    raise ImageError(f"{where}: {str(path)!r} is no image, it starts with {start!r}; give FITS, JPEG or PNG files")


def read_file(place: Location, where: str, *, pixels: bool = True) -> Pixels:
    """Read a file, or only its header.

    Parameters
    ----------
    place : Location
    where : str
        Names the row in messages.
    pixels : bool
        Whether to read the pixels too.

    Returns
    -------
    Pixels

    Raises
    ------
    ImageError
        If the file is missing, unreadable, truncated, no image, has no such extension or no pixels.
    """
    if file_kind(place.path, where) == "picture":
        if place.extension:
            raise ImageError(f"{where}: {place.path.name!r} is no FITS file and has no extension {place.extension!r}")
        return read_picture(place.path.read_bytes(), where, pixels=pixels)
    from astropy.io import fits

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
        return Pixels((1, height, width), np.dtype(np.uint8), values, picture=True)
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


def hdu_pixels(item: Any, where: str, *, pixels: bool = True) -> Pixels:
    """Read an image HDU, or the first one with pixels of an HDUList.

    Returns
    -------
    Pixels
        Planes along the third axis; further axes must have length 1.

    Raises
    ------
    ImageError
        If it has no pixels, or an image has other than two or three axes.
    """
    hdu = hdu_with_pixels(item, where)
    axes = tuple(int(hdu.header[f"NAXIS{axis}"]) for axis in range(int(hdu.header["NAXIS"]), 0, -1))
    shape = tuple(axes[-3:]) if not set(axes[:-3]) - {1} else axes
    shape = (1, *shape) if len(shape) == 2 else shape
    if len(shape) != 3 or 0 in shape:
        raise ImageError(f"{where}: an HDU of shape {axes}; an image (H, W) or planes (bands, H, W) are needed")
    dtype, header = _header_dtype(hdu.header), hdu.header
    if not pixels:
        return Pixels((shape[0], shape[1], shape[2]), dtype, header=header)
    values = np.asarray(hdu.data).reshape(shape)[:, ::-1]
    return Pixels((shape[0], shape[1], shape[2]), dtype, values, header)


def array_pixels(item: np.ndarray, where: str) -> Pixels:
    """Planes of an array (H, W) or (H, W, bands), row 0 at the top; masked pixels stay masked.

    Raises
    ------
    ImageError
        If it has no pixels, other than two or three axes, or holds no numbers.
    """
    values = item[..., np.newaxis] if item.ndim == 2 else item
    if values.ndim != 3 or 0 in values.shape or values.dtype.kind not in "iuf":
        raise ImageError(
            f"{where}: an array of {item.dtype} and shape {item.shape}; an image (H, W) or (H, W, bands) of numbers is "
            "needed"
        )
    planes = np.moveaxis(values, -1, 0)
    return Pixels((planes.shape[0], planes.shape[1], planes.shape[2]), planes.dtype, planes)


def _header_dtype(header: Header) -> np.dtype[Any]:
    """Dtype that astropy gives the pixels."""
    from astropy.io.fits.hdu.image import BITPIX2DTYPE

    plain = np.dtype(BITPIX2DTYPE[header["BITPIX"]])
    zero, scale = header.get("BZERO", 0), header.get("BSCALE", 1)
    if plain.kind == "f" or (zero == 0 and scale == 1 and "BLANK" not in header):
        big_endian: np.dtype[Any] = plain.newbyteorder(">")
        return big_endian
    if scale == 1 and zero == 2 ** (8 * plain.itemsize - 1) and plain.kind == "i":
        return np.dtype(f">u{plain.itemsize}")
    return np.dtype(np.float32 if plain.itemsize <= 2 else np.float64)


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
