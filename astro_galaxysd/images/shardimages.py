"""Images of a FITS shard, row by row: one image HDU each, found by their headers and read without more of the file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["BLOCK", "ImageRows"]

#: FITS files consist of blocks of so many bytes.
BLOCK = 2880
_CARD = 80
_END = b"END".ljust(_CARD)


class ImageRows:
    """Images of an open file, from its first to its last.

    Parameters
    ----------
    before : HDU
        The one before the first image.
    shape : sequence of int
        Of each image, (H, W, 3).
    count : int
        How many there are.
    """

    def __init__(self, before: Any, shape: Sequence[int], count: int) -> None:
        info = before.fileinfo()
        self._file, self._at = info["file"], info["datLoc"] + info["datSpan"]
        self._shape, self._row = tuple(shape), 0
        self.count = count
        height, width, bands = self._shape
        numbers = {"BITPIX": 8, "NAXIS": 3, "NAXIS1": width, "NAXIS2": height, "NAXIS3": bands}
        self._wanted = ["XTENSION= 'IMAGE   '", *(f"{key:<8}= {value:>20}" for key, value in numbers.items())]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read the images from `start` to `stop`, shape (stop - start, H, W, 3), uint8; never one before the last read.

        Raises
        ------
        EOFError, ValueError
            If the file ends before, or something else stands where an image should.
        """
        images = np.empty((stop - start, *self._shape), np.uint8)
        size = images[:1].nbytes if len(images) else int(np.prod(self._shape))
        height, width, bands = self._shape
        for row in range(self._row, stop):
            self._at += self._header_size()
            if row >= start:
                planes = np.frombuffer(self._bytes(size), np.uint8).reshape(bands, height, width)
                images[row - start] = np.moveaxis(planes, 0, -1)[::-1]
            self._at += -(-size // BLOCK) * BLOCK
            self._row = row + 1
        return images

    def _header_size(self) -> int:
        """Size of the header of the next image, bytes."""
        self._file.seek(self._at)
        block, blocks = self._file.read(BLOCK), 1
        cards = [block[_CARD * number : _CARD * (number + 1)].decode("latin-1") for number in range(len(self._wanted))]
        if not all(card.startswith(wanted) for card, wanted in zip(cards, self._wanted, strict=True)):
            raise ValueError(
                f"no image of shape {self._shape} at byte {self._at}, where that of row {self._row} should be"
            )
        while not any(block[place : place + _CARD] == _END for place in range(0, len(block), _CARD)):
            block = self._file.read(BLOCK)
            if len(block) < BLOCK:
                raise EOFError(f"the header of the image of row {self._row} has no end")
            blocks += 1
        return blocks * BLOCK

    def _bytes(self, size: int) -> bytes:
        self._file.seek(self._at)
        found: bytes = self._file.read(size)
        if len(found) != size:
            raise EOFError(f"{size} bytes of the image of row {self._row} are expected, {len(found)} are there")
        return found
