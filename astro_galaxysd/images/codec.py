"""Images in whatever way a table keeps them, in; new rows encoded the same way, out.

Kinds of image sources (a Table column, or a plain sequence):

- *array*: a column (N, H, W, 3) of uint8 or of floats in [0, 1], or an object column or list of such (H, W, 3);
- *encoded*: JPEG or PNG bytes, or 1-D uint8 arrays of encoded bytes, in an object column or a list;
- *hdu*: a list of image HDUs or HDULists, or one HDUList, with planes (3, H, W); row 0 is the bottom, as FITS has it,
  and is turned to the top on reading (and back on writing).

Rows may differ in codec and quality: the majority decides how new rows are encoded. They may not differ in size
or kind, which `check_images` says before any work starts. Floats are mapped by round(255 x); a non-finite pixel
takes the darkest finite value of its image, in the copy that is returned, never in the table. Where a source's floats
are no multiples of 1/255, new rows are dithered below the level: 256 distinct values would give them away.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from astro_galaxysd.errors import ImageError
from astro_galaxysd.images.encoded import Encoding, decode_image, encode_image, read_encoding
from astro_galaxysd.images.planes import image_hdu, planes_of
from astro_galaxysd.images.sources import check_bands, image_items, kind_of, object_array, row_name

__all__ = ["ImageFormat", "check_images", "detect_format", "encode_images", "fit_size", "read_images"]

#: Rounding in other programs may leave floats this far outside [0, 1].
TOLERANCE = 1e-6
#: Rows that show whether floats are multiples of 1/255.
_LOOK_AT = 8
#: Greatest dither in grey levels; at 0.5 rounding would no longer give the level back.
_DITHER = 0.49


@dataclass(frozen=True)
class ImageFormat:
    """How a source keeps its images.

    Parameters
    ----------
    kind : str
        ``"array"``, ``"encoded"`` or ``"hdu"``.
    size : tuple of int
        (height, width) in pixels of most rows.
    container : str
        ``"stack"`` for one (N, H, W, 3) array, ``"object"`` for one item a row.
    dtype : str
        numpy dtype of pixels: ``"|u1"``, ``"<f4"``, ... ; ``"bytes"`` or ``"|u1"`` for encoded items.
    encoding : Encoding or None
        For the kind ``"encoded"``: codec, quality and chroma subsampling of most rows.
    continuous : bool
        Pixels are floats and, in at least half of the first rows, not all multiples of 1/255.
    """

    kind: str
    size: tuple[int, int]
    container: str = "object"
    dtype: str = "|u1"
    encoding: Encoding | None = None
    continuous: bool = False


def read_images(source: Any, *, column: str = "image", rows: Sequence[int] | None = None) -> list[np.ndarray]:
    """Read images as 8-bit arrays.

    Parameters
    ----------
    source : Table, Column, ndarray, HDUList or sequence
        One image a row; see the module's docstring for the kinds.
    column : str
        Name of the image column where `source` is a Table.
    rows : sequence of int, optional
        Only these rows are read, in this order.

    Returns
    -------
    list of ndarray, each shape (H, W, 3), uint8

    Raises
    ------
    ImageError
        For an image that can't be read; the message names the row, counted from 0.
    UnknownNameError
        If the table has no such column.
    """
    items = image_items(source, column)
    return [_pixels(items[row], row_name(row)) for row in (range(len(items)) if rows is None else rows)]


def detect_format(source: Any, *, column: str = "image") -> ImageFormat:
    """Find out how `source` keeps its images, from types, headers and the floats of a few rows; nothing is decoded.

    Parameters
    ----------
    source, column
        As for `read_images`.

    Returns
    -------
    ImageFormat
        Size, dtype and encoding are those of most rows (the first of them where two are equally frequent).

    Raises
    ------
    ImageError
        For an empty source, an unknown kind, rows of different kinds, a wrong number of bands.
    """
    items = image_items(source, column)
    return _majority(items, [_describe(items[row], row_name(row)) for row in range(len(items))])


def check_images(source: Any, n_rows: int, *, column: str = "image") -> ImageFormat:
    """Check that every one of `n_rows` rows has a readable image of one size; decodes all of them.

    Parameters
    ----------
    source, column
        As for `read_images`.
    n_rows : int
        Rows of the table that the images belong to.

    Returns
    -------
    ImageFormat

    Raises
    ------
    ImageError
        For another number of images than rows, ragged sizes and whatever `read_images` refuses.
    """
    items = image_items(source, column)
    if len(items) != n_rows:
        raise ImageError(f"{len(items)} images for {n_rows} rows; give one image for each row, in the same order")
    formats = [_describe(items[row], row_name(row)) for row in range(n_rows)]
    found = _majority(items, formats)
    for row, one in enumerate(formats):
        if one.size != found.size:
            raise ImageError(
                f"ragged images: {row_name(row)} is {one.size[0]}x{one.size[1]} pixels where most are "
                f"{found.size[0]}x{found.size[1]}; bring all to one size, for example with fit_size"
            )
    for row in range(n_rows):
        _pixels(items[row], row_name(row))
    return found


def encode_images(images: np.ndarray, image_format: ImageFormat) -> Any:
    """Encode images the way a source keeps its own.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3), uint8
    image_format : ImageFormat
        From `detect_format` or `check_images`. Images of another size are brought to its size by `fit_size`.

    Returns
    -------
    ndarray or list
        ``stack``: shape (N, h, w, 3) of the format's dtype; ``object``: an object array (N,) of arrays, bytes or
        1-D uint8 arrays; kind ``"hdu"``: a list of ImageHDU. Floats of a continuous format are dithered by less than
        half a grey level, the same way whenever an image has the same pixels; `read_images` gives `images` back.

    Raises
    ------
    ImageError
        If `images` is no uint8 array (N, H, W, 3).
    """
    fitted = fit_size(images, image_format.size)
    if image_format.kind == "hdu":
        return [image_hdu(_as_dtype(pixels, image_format)) for pixels in fitted]
    if image_format.container == "stack":
        stack = np.empty(fitted.shape, np.dtype(image_format.dtype))
        for row, pixels in enumerate(fitted):
            stack[row] = _as_dtype(pixels, image_format)
        return stack
    if image_format.encoding is None:
        return object_array([_as_dtype(pixels, image_format) for pixels in fitted])
    encoded = [encode_image(pixels, image_format.encoding) for pixels in fitted]
    if image_format.dtype == "bytes":
        return object_array(encoded)
    return object_array([np.frombuffer(data, np.uint8) for data in encoded])


def fit_size(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring images to another size: area mean downwards, Lanczos upwards.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3), uint8
    size : tuple of int
        (height, width). Where the aspect differs, the images are scaled to cover it and the centre is cut out, so
        that no galaxy is stretched.

    Returns
    -------
    ndarray, shape (N, height, width, 3), uint8
        `images` itself where the size is right already.

    Raises
    ------
    ImageError
        If `images` has another shape or dtype, or `size` is not positive.
    """
    _require_batch(images)
    height, width = size
    if height < 1 or width < 1:
        raise ImageError(f"can't bring images to {height}x{width} pixels; both sides must be at least 1")
    if images.shape[1:3] == (height, width):
        return images
    scale = max(height / images.shape[1], width / images.shape[2])
    method = Image.Resampling.BOX if scale < 1 else Image.Resampling.LANCZOS
    # The part of the image, in its own pixels, that the new frame shows.
    shown_height, shown_width = min(height / scale, images.shape[1]), min(width / scale, images.shape[2])
    top, left = (images.shape[1] - shown_height) / 2, (images.shape[2] - shown_width) / 2
    box = (left, top, left + shown_width, top + shown_height)
    out = np.empty((len(images), height, width, 3), np.uint8)
    for row, pixels in enumerate(images):
        out[row] = np.asarray(Image.fromarray(pixels).resize((width, height), method, box=box))
    return out


def _require_batch(images: np.ndarray) -> None:
    if not isinstance(images, np.ndarray) or images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        seen = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise ImageError(f"images must be an array (N, H, W, 3) of uint8, not {seen}")


def _describe(item: Any, where: str) -> ImageFormat:
    """Format of one item."""
    kind = kind_of(item, where)
    if kind == "encoded":
        dtype = "|u1" if isinstance(item, np.ndarray) else "bytes"
        encoding, size = read_encoding(bytes(item), where)
        return ImageFormat(kind, size, dtype=dtype, encoding=encoding)
    values = planes_of(item, where) if kind == "hdu" else item
    check_bands(values, where)
    return ImageFormat(kind, values.shape[:2], dtype=values.dtype.str)


def _majority(items: Any, formats: Sequence[ImageFormat]) -> ImageFormat:
    """Return the format that new rows get: each property as most rows have it."""
    for row, one in enumerate(formats):
        if one.kind != formats[0].kind:
            raise ImageError(
                f"{row_name(row)} is of the kind {one.kind!r} where row 0 is {formats[0].kind!r}; keep all images in "
                "one way"
            )
    container = "stack" if isinstance(items, np.ndarray) and items.dtype.kind != "O" else "object"
    size, dtype, encoding = (
        Counter(getattr(one, name) for one in formats).most_common(1)[0][0] for name in ("size", "dtype", "encoding")
    )
    continuous = False
    if encoding is None and np.dtype(dtype).kind == "f":
        rows = [row for row, one in enumerate(formats) if one.dtype == dtype][:_LOOK_AT]
        continuous = 2 * sum(_is_continuous(items[row], row_name(row)) for row in rows) >= len(rows)
    return ImageFormat(formats[0].kind, size, container, dtype, encoding, continuous)


def _is_continuous(item: Any, where: str) -> bool:
    """Tell whether float pixels are other than multiples of 1/255, as far as their dtype can say."""
    values = planes_of(item, where) if kind_of(item, where) == "hdu" else item
    tolerance = max(TOLERANCE, float(np.finfo(values.dtype).eps) / 2)
    pixels = np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan)
    pixels = pixels[np.isfinite(pixels)]
    return bool(np.any(np.abs(pixels - np.rint(pixels * 255) / 255) > tolerance))


def _pixels(item: Any, where: str) -> np.ndarray:
    """One item as (H, W, 3) uint8."""
    kind = kind_of(item, where)
    if kind == "encoded":
        return decode_image(bytes(item), where)
    values = planes_of(item, where) if kind == "hdu" else item
    check_bands(values, where)
    if values.dtype == np.uint8 and not np.any(np.ma.getmask(values)):
        return np.array(np.ma.getdata(values))
    return _from_floats(values, where)


def _from_floats(values: np.ndarray, where: str) -> np.ndarray:
    """Scale floats in [0, 1] (or masked bytes) to uint8; what is missing becomes the image's darkest value."""
    scale = 255.0 if values.dtype.kind == "f" else 1.0
    # Masked pixels and NaN alike are "not observed"; infinity is a fault of the data and is refused below.
    pixels = np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan) * scale
    missing = np.isnan(pixels)
    if missing.all():
        raise ImageError(f"{where} has no finite pixel (all are NaN or masked); remove the row")
    lowest, highest = np.min(pixels[~missing]), np.max(pixels[~missing])
    if lowest < -255 * TOLERANCE or highest > 255 * (1 + TOLERANCE):
        raise ImageError(
            f"{where}: float pixels from {lowest / scale:g} to {highest / scale:g}; they must lie in [0, 1]: divide by "
            "255, or stretch calibrated fluxes first"
        )
    pixels[missing] = lowest
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _as_dtype(pixels: np.ndarray, image_format: ImageFormat) -> np.ndarray:
    """One image of uint8 in the dtype of a source; floats get [0, 1], dithered where the source is continuous."""
    target = np.dtype(image_format.dtype)
    if target.kind != "f":
        return pixels.astype(target, copy=False)
    plain = (pixels / 255).astype(target)
    if not image_format.continuous:
        return plain
    # Seeded by the pixels, so that neither order nor batch changes a bit.
    seed = int.from_bytes(hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).digest()[:16], "little")
    dither = np.random.default_rng(seed).uniform(-_DITHER, _DITHER, pixels.shape)
    dithered = np.clip((pixels + dither) / 255, 0, 1).astype(target)
    # Half floats are coarse enough to round a bright pixel into the next level.
    return np.where(np.rint(dithered.astype(np.float64) * 255) == pixels, dithered, plain).astype(target, copy=False)
