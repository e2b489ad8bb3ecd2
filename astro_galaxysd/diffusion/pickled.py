"""Pickled tensors read as data: a zip archive of torch that holds nothing but dictionaries of tensors.

A pickle is a program. This one is read before it runs: it may name the functions that put a tensor together, and no
others; then torch reads it with ``weights_only``, which refuses the same a second time. The values stay in the file.

Archives from before torch 1.6 (2020), which are no zip, are refused: what they would take is known only after reading.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from astro_galaxysd.diffusion.safefiles import MAX_HEADER, check_names, shown
from astro_galaxysd.errors import WeightsError

__all__ = ["PickledTensor", "is_pickle", "read_pickle"]

#: Entries of an archive: one a tensor and a few more; Stable Diffusion 1 with its averages has 2,000 tensors.
_MAX_ENTRIES = 20_000
#: What a pickle may name. A storage's class says of which kind its values are.
_NAMED = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch Size",
    *(f"torch {kind}Storage" for kind in ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Byte", "Bool")),
}
#: Operations that name something without saying in place what.
_HIDDEN = {"STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"}
_CONVERT = "ask its author for safetensors"


@dataclass(frozen=True)
class PickledTensor:
    """A tensor of a pickle.

    Parameters
    ----------
    path : Path
    shape : tuple of int
    values : Tensor
        Mapped from the file, not in memory.
    """

    path: Path
    shape: tuple[int, ...]
    values: torch.Tensor

    @property
    def dtype(self) -> torch.dtype:
        """Kind of the values."""
        return self.values.dtype

    def read(self) -> torch.Tensor:
        """Read the values."""
        return self.values.clone(memory_format=torch.contiguous_format).reshape(self.shape)

    def reshaped(self, shape: tuple[int, ...]) -> PickledTensor:
        """As `TensorInFile` says."""
        return replace(self, shape=shape)


def is_pickle(path: Path) -> bool:
    """Whether a file begins as a zip archive or as a pickle does, whatever its name."""
    with path.open("rb") as file:
        first = file.read(4)
    return first == b"PK\x03\x04" or _is_bare(first)


def _is_bare(first: bytes) -> bool:
    """Whether these are the first bytes of a pickle of protocol 2 to 5, not in a zip archive."""
    return first[:1] == b"\x80" and first[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}


def read_pickle(path: Path) -> dict[str, Any]:
    """Find the tensors of a pickle, without reading their values.

    Parameters
    ----------
    path : Path
        A zip archive that `torch.save` wrote.

    Returns
    -------
    dict of str
        `PickledTensor`, numbers and texts, and dictionaries of them, as deep as they were written.

    Raises
    ------
    WeightsError
        If the file is no such archive or calls itself safetensors; if it has entries that are compressed, overlap or
        lead elsewhere; if it names or holds anything but tensors. Nothing of it has run then.
    """
    with path.open("rb") as file:
        if _is_bare(file.read(4)):
            raise WeightsError(f"{path}: a pickle in no zip archive (torch before 1.6) can't be checked; {_CONVERT}")
    if path.suffix == ".safetensors":
        raise WeightsError(f"{path}: a pickle under the name of safetensors, which are none; {_CONVERT}")
    try:
        _check_program(_checked_archive(path))
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if not isinstance(content, dict):
            raise ValueError(f"it holds {type(content).__name__}, not a dictionary")
        found = _checked_dictionary(path, content, set())
        _check_share(path, found)
    except WeightsError:
        raise
    except Exception as error:  # of the archive, the pickle and torch, of many classes
        reason = shown([str(error).partition("\n")[0]])
        raise WeightsError(f"{path}: no pickle of tensors alone ({reason}); {_CONVERT}") from error
    return found


def _checked_archive(path: Path) -> bytes:
    """The program of an archive whose entries are sound."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len(entries) > _MAX_ENTRIES:
            raise ValueError(f"{len(entries):,} entries, where {_MAX_ENTRIES:,} are allowed")
        names = [entry.orig_filename for entry in entries]
        for entry, name in zip(entries, names, strict=True):
            if not _is_plain(name):
                raise ValueError(f"an entry with the name {name!a}, which leads elsewhere")
            if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
                raise ValueError(f"{name} is compressed to {entry.compress_size:,} bytes of {entry.file_size:,}")
            if entry.flag_bits & 1:
                raise ValueError(f"{name} is encrypted")
        if len(set(names)) != len(names):
            raise ValueError("two entries have one name")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("entries overlap: they have more bytes than the file")
        programs = [name for name in names if PurePosixPath(name).name in {"data.pkl", "constants.pkl"}]
        if len(programs) != 1 or PurePosixPath(programs[0]).name != "data.pkl":
            raise ValueError("not the archive of one object that torch.save writes")
        if archive.getinfo(programs[0]).file_size > MAX_HEADER:
            raise ValueError(f"{programs[0]} has more than {MAX_HEADER:,} bytes")
        return archive.read(programs[0])


def _is_plain(name: str) -> bool:
    """Whether an entry's name stays in its folder on every system."""
    parts = name.split("/")
    return name.isascii() and name.isprintable() and not set(name) & set("\\:") and not set(parts) & {"", ".", ".."}


def _check_program(program: bytes) -> None:
    """Raise `ValueError` for a pickle that names anything but the parts of a tensor; nothing runs."""
    for operation, argument, _ in pickletools.genops(program):
        if operation.name in _HIDDEN:
            raise ValueError(f"the operation {operation.name}, which torch.save does not write")
        if operation.name == "GLOBAL" and argument not in _NAMED:
            raise ValueError(f"it wants {str(argument).replace(' ', '.')}, which is no part of a tensor")


def _checked_dictionary(path: Path, content: dict[Any, Any], seen: set[int]) -> dict[str, Any]:
    """The dictionary with its tensors as records; `ValueError` for names or values that are not read."""
    if id(content) in seen:
        raise ValueError("a dictionary in two places")  # which may be itself, or make exponentially many
    seen.add(id(content))
    strangers = [name for name in content if not isinstance(name, str)]
    if strangers:
        raise ValueError(f"a name that is {type(strangers[0]).__name__}, not text")
    check_names(content)
    return {
        name: _checked_dictionary(path, value, seen) if isinstance(value, dict) else _checked_value(path, name, value)
        for name, value in content.items()
    }


def _checked_value(path: Path, name: str, value: Any) -> Any:
    """A number or text as it is, a tensor as record; `ValueError` for anything else."""
    if type(value) in (int, float, str, bool, type(None)):
        return value
    if type(value) not in (torch.Tensor, torch.nn.Parameter):
        raise ValueError(f"{name} is {type(value).__name__}, not a tensor")
    value = value.detach()
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise ValueError(f"{name} has a shape of {list(value.shape)} but fewer values")
    return PickledTensor(path, tuple(value.shape), value)


def _check_share(path: Path, content: Mapping[str, Any]) -> None:
    """Raise `ValueError` for tensors that have more bytes than the file: some lie in the same place."""
    total = sum(tensor.values.nbytes for tensor in _all_tensors(content))
    if total > path.stat().st_size:
        raise ValueError(f"tensors of {total:,} bytes in a file of {path.stat().st_size:,}")


def _all_tensors(content: Mapping[str, Any]) -> list[PickledTensor]:
    found: list[PickledTensor] = []
    for value in content.values():
        found += _all_tensors(value) if isinstance(value, dict) else [value] * isinstance(value, PickledTensor)
    return found
