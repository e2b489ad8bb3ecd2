"""Files of weights read as data: nothing of them runs, nothing outside their folder is opened.

In: files that somebody else wrote. Out: a `StoredTensor` for each parameter, found sound before a value is read.

A safetensors file has eight bytes, the length of its header as a little-endian number; the header, a JSON object with
kind, shape and place of every tensor; and their values, one after the other without gaps to the end of the file.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from astro_galaxysd.errors import WeightsError

__all__ = [
    "MAX_BYTES",
    "MAX_HEADER",
    "MAX_JSON",
    "StoredTensor",
    "TensorInFile",
    "check_names",
    "check_total",
    "contained",
    "is_safetensors",
    "read_header",
    "read_json",
    "shown",
]

#: Bytes of a header: Stable Diffusion 1 with its averages has 0.3 MB. The format would allow 100 MB, which take a
#: gigabyte once they are parsed.
MAX_HEADER = 8_000_000
#: Bytes of a configuration: those of Stable Diffusion have 2 kB.
MAX_JSON = 1_000_000
#: Bytes of all files of a model: Stable Diffusion 1 in float32 with its averages has 7.7 GB.
MAX_BYTES = 16_000_000_000
#: Characters of a parameter's name: those of Stable Diffusion have 100 at most.
MAX_NAME = 300
_MAX_AXES = 8
_GET_AGAIN = "the file is damaged or not what it seems, copy the weights again"

#: Kinds of values by their names in safetensors. Others, of 8 bits or fewer, are no weights that could be drawn with.
_KINDS = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip


class TensorInFile(Protocol):
    """A tensor that was found sound but not yet read."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def dtype(self) -> torch.dtype:
        """Kind of its values in the file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape once it is read."""

    def read(self) -> torch.Tensor:
        """Its values, in memory of their own."""

    def reshaped(self, shape: tuple[int, ...]) -> TensorInFile:
        """The same values in another shape of as many."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a safetensors file.

    Parameters
    ----------
    path : Path
    dtype : torch.dtype
    shape : tuple of int
    start : int
        Where its values begin, bytes from the start of the file.
    """

    path: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int

    def read(self) -> torch.Tensor:
        """Read the values.

        Raises
        ------
        WeightsError
            If the file is not as long any more as it was when its header was read.
        """
        values = torch.empty(self.shape, dtype=self.dtype)
        with self.path.open("rb") as file:
            file.seek(self.start)
            place = memoryview(values.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]
            got = file.readinto(place) if values.numel() else 0
        if got != values.nbytes:
            raise WeightsError(f"{self.path}: the file ends at byte {self.start + got}; {_GET_AGAIN}")
        return values

    def reshaped(self, shape: tuple[int, ...]) -> StoredTensor:
        """As `TensorInFile` says."""
        return replace(self, shape=shape)


def contained(path: Path, root: Path) -> Path:
    """Make sure that a file belongs to a folder.

    Links are followed. They may lead to files of the same folder and, in the cache of the Hugging Face Hub, from a
    snapshot to the ``blobs`` of the same model.

    Parameters
    ----------
    path : Path
        File or folder somewhere below `root`.
    root : Path
        What the caller named.

    Returns
    -------
    Path
        `path` as it was given.

    Raises
    ------
    WeightsError
        If it is missing, leads elsewhere, in a circle, or to what is neither file nor folder.
    """
    try:
        real = path.resolve(strict=True)
    except FileNotFoundError:
        raise WeightsError(f"{path} is missing; copy the weights again") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise WeightsError(f"{path} can't be followed ({error}); copy the weights again") from error
    if not any(real.is_relative_to(place) for place in _places(root)):
        raise WeightsError(
            f"{path} is a link that leaves {root}: it leads to {real}; put a copy in its place if you trust that"
        )
    if not (real.is_file() or real.is_dir()):
        raise WeightsError(f"{path} is neither a file nor a folder; copy the weights again")
    return path


def _places(root: Path) -> list[Path]:
    """Where files of `root` may be: in it, and in the blobs of the snapshot that it is in."""
    places = [root.resolve()]
    for parent in root.absolute().parents:
        blobs = parent.parent / "blobs"
        if parent.name == "snapshots" and blobs.is_dir() and not blobs.is_symlink():
            places.append(blobs.resolve())
    return places


def check_total(files: Iterable[Path]) -> None:
    """Raise `WeightsError` for files that are larger together than `MAX_BYTES`."""
    files = sorted(set(files))
    total = sum(path.stat().st_size for path in files)
    if total > MAX_BYTES:
        raise WeightsError(
            f"{files[0]}{' and others' if len(files) > 1 else ''}: {total:,} bytes where {MAX_BYTES:,} are allowed; "
            "no Stable Diffusion 1 is that large"
        )


def read_json(path: Path, limit: int = MAX_JSON) -> dict[str, Any]:
    """Read a JSON object from a file.

    Parameters
    ----------
    path : Path
    limit : int
        Bytes it may have.

    Raises
    ------
    WeightsError
        If the file is missing, too large, no JSON object, or has a key twice.
    """
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise ValueError(f"more than {limit:,} bytes")
        return _json_object(content)
    except FileNotFoundError:
        raise WeightsError(
            f"{path} is missing: not a diffusers weights folder; give a folder with model_index.json"
        ) from None
    except TypeError as error:
        raise WeightsError(f"{path} holds {error}, not a JSON object; copy the weights again") from None
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} can't be read ({error}); copy the weights again") from error


def _json_object(content: bytes) -> dict[str, Any]:
    """Parse strictly; `TypeError` with the kind of what is no object."""
    found = json.loads(content.decode("utf-8"), object_pairs_hook=_without_twins)
    if not isinstance(found, dict):
        raise TypeError(type(found).__name__)
    return found


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do, whatever its name."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Find the tensors of a safetensors file, without reading their values.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to StoredTensor

    Raises
    ------
    WeightsError
        If the header is too long, is no JSON, names a tensor twice or strangely, has a kind or shape that can't be,
        or if the tensors overlap, leave gaps, or do not end where the file does.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            first = file.read(8)
            length = int.from_bytes(first, "little")
            if len(first) < 8 or not 2 <= length <= size - 8:
                raise ValueError(f"a header of {length:,} bytes in a file of {size:,}")
            if length > MAX_HEADER:
                raise ValueError(f"a header of {length:,} bytes, where {MAX_HEADER:,} are allowed")
            header = _json_object(file.read(length))
        return _tensors(path, header, values=8 + length, size=size)
    except TypeError as error:
        raise WeightsError(f"{path}: the header holds {error}, not a JSON object; {_GET_AGAIN}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: no sound safetensors ({error}); {_GET_AGAIN}") from error


def _tensors(path: Path, header: dict[str, Any], *, values: int, size: int) -> dict[str, StoredTensor]:
    """Records of a header's tensors, which fill the file from the byte `values` on."""
    about = header.pop("__metadata__", {})
    if not isinstance(about, dict) or not all(isinstance(text, str) for text in about.values()):
        raise ValueError("__metadata__ is no object of texts")
    check_names(header)
    found, places = {}, []
    for name, entry in header.items():
        kind, shape, begin, end = _entry(name, entry)
        found[name] = StoredTensor(path, kind, shape, values + begin)
        places.append((begin, end, name))
    reached = 0
    for begin, end, name in sorted(places):
        if begin != reached:
            raise ValueError(f"{name} begins at {begin:,}, {'in the one before' if begin < reached else 'after a gap'}")
        reached = end
    if values + reached != size:
        raise ValueError(f"tensors of {reached:,} bytes where the file has {size - values:,}")
    return found


def _entry(name: str, entry: Any) -> tuple[torch.dtype, tuple[int, ...], int, int]:
    """Kind, shape, beginning and end of a tensor."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name} has not just dtype, shape and data_offsets")
    kind = _KINDS.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if kind is None:
        raise ValueError(f"{name} has values of kind {shown([entry['dtype']])}; known are {', '.join(_KINDS)}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _are_counts(shape) or len(shape) > _MAX_AXES:
        raise ValueError(f"{name} has a shape of {shown([shape])}")
    if not _are_counts(offsets) or len(offsets) != 2:
        raise ValueError(f"{name} has data_offsets of {shown([offsets])}")
    begin, end = offsets
    if math.prod(shape) * kind.itemsize != end - begin:
        raise ValueError(f"{name} has a shape of {shape} {entry['dtype']}, which are not {end - begin:,} bytes")
    return kind, tuple(shape), begin, end


def _are_counts(numbers: Any) -> bool:
    return isinstance(numbers, list) and all(type(number) is int and 0 <= number < 2**62 for number in numbers)


def check_names(names: Iterable[str]) -> None:
    """Raise `ValueError` for a parameter's name that is empty, too long, or not of printable ASCII characters.

    Others may look like a name that is known and be another.
    """
    for name in names:
        if not (0 < len(name) <= MAX_NAME and name.isascii() and name.isprintable()):
            raise ValueError(f"a tensor with the name {shown([ascii(name)])}")


def shown(names: Iterable[Any], most: int = 5) -> str:
    """The first few of many, cut where they are long, and how many there are."""
    texts = [text if len(text) <= 120 else f"{text[:120]}..." for text in map(str, names)]
    return ", ".join(texts[:most]) + (f" ... ({len(texts)} in all)" if len(texts) > most else "")
