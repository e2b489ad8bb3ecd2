"""Contact sheets: labelled groups of cutouts as one PNG, to be looked at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.errors import ImageError
from astro_galaxysd.images.files import atomic_path

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

__all__ = ["contact_sheet"]

_GAP = 4
_MARGIN = 12
_LABEL_SIZE, _TITLE_SIZE = 15, 20
_BACKGROUND, _INK = (24, 24, 28), (235, 235, 235)
#: Narrowest sheet in pixels, so that labels stay legible above few or small cutouts.
_MIN_WIDTH = 420


def contact_sheet(
    groups: Sequence[tuple[str, np.ndarray]],
    path: str | os.PathLike[str],
    *,
    columns: int = 8,
    scale: float = 1,
    title: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Draw groups of images, each under its label, and write one PNG.

    Parameters
    ----------
    groups : sequence of (str, ndarray)
        Label and images, shape (n, H, W, 3), uint8; sizes may differ between groups, n may be 0.
    path : path-like
        The PNG.
    columns : int
        Images side by side, at least 1.
    scale : float
        Enlargement of the images, > 0; enlarged pixels stay sharp squares.
    title : str, optional
        Heading of the sheet.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    Path

    Raises
    ------
    ImageError
        If there is no image, or an array is no uint8 (n, H, W, 3).
    OutputExistsError, OutputError
        As `astro_galaxysd.images.files.atomic_path`.
    """
    from PIL import Image, ImageDraw, ImageFont

    batches = [(label, _scaled(images, scale, label)) for label, images in groups]
    if columns < 1 or not any(len(images) for _, images in batches):
        raise ImageError(f"a contact sheet needs at least one image and one column, not {len(batches)} groups without "
                         f"images or {columns} columns")  # fmt: skip
    across = min(columns, max(len(images) for _, images in batches))
    width = max(_MIN_WIDTH, 2 * _MARGIN + max(across * (images.shape[2] + _GAP) for _, images in batches) - _GAP)
    fonts = ImageFont.load_default(_LABEL_SIZE), ImageFont.load_default(_TITLE_SIZE)
    ruler = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    blocks = [(_wrap(label, fonts[0], ruler, width - 2 * _MARGIN), images) for label, images in batches]
    heading = _wrap(title, fonts[1], ruler, width - 2 * _MARGIN) if title else []
    top = _MARGIN + _text_height(heading, _TITLE_SIZE)
    height = top + sum(_block_height(lines, images, across) for lines, images in blocks)
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    _write_lines(draw, heading, _MARGIN, fonts[1], _TITLE_SIZE)
    for lines, images in blocks:
        top = _write_lines(draw, lines, top, fonts[0], _LABEL_SIZE)
        for number, pixels in enumerate(images):
            row, column = divmod(number, across)
            corner = (_MARGIN + column * (images.shape[2] + _GAP), top + row * (images.shape[1] + _GAP))
            sheet.paste(Image.fromarray(pixels), corner)
        top += -(-len(images) // across) * (images.shape[1] + _GAP) + _MARGIN
    with atomic_path(path, overwrite) as partial:
        sheet.save(partial, "PNG")
    return Path(path)


def _scaled(images: np.ndarray, scale: float, label: str) -> np.ndarray:
    """Check and enlarge a group's images."""
    from PIL import Image

    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise ImageError(
            f"group {label!r}: {images.dtype} {images.shape} instead of uint8 (n, H, W, 3); use read_images"
        )
    if not scale > 0:
        raise ImageError(f"scale must be positive, not {scale}")
    if scale == 1:
        return images
    size = max(1, round(images.shape[2] * scale)), max(1, round(images.shape[1] * scale))
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
    out = [np.asarray(Image.fromarray(pixels).resize(size, method)) for pixels in images]
    return np.stack(out) if out else np.empty((0, size[1], size[0], 3), np.uint8)


def _wrap(
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    draw: ImageDraw.ImageDraw,
    width: int,
) -> list[str]:
    """Break a text into lines that fit; a word that is too long by itself is cut."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if draw.textlength(longer, font) <= width:
                line = longer
                continue
            lines += [line] if line else []
            line = word
            while draw.textlength(line, font) > width and len(line) > 1:
                fits = next(
                    n for n in range(len(line) - 1, 0, -1) if n == 1 or draw.textlength(line[:n], font) <= width
                )
                lines.append(line[:fits])
                line = line[fits:]
        lines.append(line)
    return lines


def _line_height(size: int) -> int:
    return round(1.35 * size)


def _text_height(lines: Sequence[str], size: int) -> int:
    """Pixels that lines of text take, with a little room below."""
    return len(lines) * _line_height(size) + _GAP if lines else 0


def _block_height(lines: Sequence[str], images: np.ndarray, across: int) -> int:
    rows: int = -(-len(images) // across)
    return _text_height(lines, _LABEL_SIZE) + rows * (int(images.shape[1]) + _GAP) + _MARGIN


def _write_lines(
    draw: ImageDraw.ImageDraw,
    lines: Sequence[str],
    top: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: int,
) -> int:
    """Write lines at `top`; return where they end."""
    for number, line in enumerate(lines):
        draw.text((_MARGIN, top + number * _line_height(size)), line, _INK, font)
    return top + _text_height(lines, size)
