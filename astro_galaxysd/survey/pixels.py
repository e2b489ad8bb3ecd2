"""Pixels of one cutout in memory, an image HDU or an array: planes with the top row first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ImageError
from astro_galaxysd.images.planes import hdu_with_pixels

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["Pixels", "array_pixels", "hdu_pixels", "header_pixels"]


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
    flat : bool
        It is kept as (height, width), without an axis of planes.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    values: np.ndarray | None = None
    header: Header | None = None
    picture: bool = False
    flat: bool = False

    def array(self) -> np.ndarray:
        """Pixels that were read as an array (H, W, planes), or (H, W) where they are flat.

        Returns
        -------
        ndarray
            In the byte order of the machine; masked floats are NaN.
        """
        kept: np.ma.MaskedArray = np.ma.asarray(self.values)
        values = kept.filled(np.nan) if self.dtype.kind == "f" else kept.data
        native = values.astype(self.dtype.newbyteorder("="), copy=False)
        return np.ascontiguousarray(native[0] if self.flat else np.moveaxis(native, 0, -1))


def header_pixels(header: Mapping[str, Any] | Header, where: str) -> Pixels:
    """What the header of an image says of its pixels.

    Parameters
    ----------
    header : Header or mapping
        BITPIX, NAXIS..., BZERO, BSCALE and BLANK are read.
    where : str
        Names the row in messages.

    Returns
    -------
    Pixels
        Without values and header. Planes lie along the third axis; further axes must have length 1.

    Raises
    ------
    ImageError
        If the image has other than two or three axes, or no pixels.
    """
    axes = tuple(int(header[f"NAXIS{axis}"]) for axis in range(int(header["NAXIS"]), 0, -1))
    shape = tuple(axes[-3:]) if not set(axes[:-3]) - {1} else axes
    shape = (1, *shape) if len(shape) == 2 else shape
    if len(shape) != 3 or 0 in shape:
        raise ImageError(f"{where}: an HDU of shape {axes}; an image (H, W) or planes (bands, H, W) are needed")
    return Pixels((shape[0], shape[1], shape[2]), _header_dtype(header), flat=len(axes) == 2)


def hdu_pixels(item: Any, where: str, *, pixels: bool = True) -> Pixels:
    """Read an image HDU, or the first one with pixels of an HDUList; result and errors as of `header_pixels`."""
    hdu = hdu_with_pixels(item, where)
    # The header as it is before the pixels are read: astropy takes BZERO out of it then.
    found = header_pixels(hdu.header, where)
    values = np.asarray(hdu.data).reshape(found.shape)[:, ::-1] if pixels else None
    return replace(found, values=values, header=hdu.header)


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
    shape = (planes.shape[0], planes.shape[1], planes.shape[2])
    return Pixels(shape, planes.dtype, planes, flat=item.ndim == 2)


def _header_dtype(header: Mapping[str, Any] | Header) -> np.dtype[Any]:
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
