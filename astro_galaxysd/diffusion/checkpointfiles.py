"""One file of weights, known by its content: what of a model it holds, whatever it is called.

In: a file. Out: a `WeightsFile`: parts of a model, a whole model, or an adapter, and the tensors of each part under
names without prefixes. Prefixes end at the first colon: ``base:`` and ``base_ema:`` stand before parameters and their
averages, ``lora:`` and ``plugin:`` before what is added to a model. Pickles hold dictionaries in their place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from astro_galaxysd.diffusion.parameternames import part_of
from astro_galaxysd.diffusion.partfolders import read_index
from astro_galaxysd.diffusion.pickled import is_pickle, read_pickle
from astro_galaxysd.diffusion.safefiles import TensorInFile, check_total, contained, is_safetensors, read_header, shown
from astro_galaxysd.diffusion.singlefile import PREFIXES, SCHEDULE, average_name
from astro_galaxysd.errors import WeightsError

__all__ = ["INDEX", "UnknownLayoutError", "WeightsFile", "looks_like_weights", "read_weights_file"]

#: How the name of an index of several files ends.
INDEX = ".safetensors.index.json"
_VALUES, _AVERAGES = "base", "base_ema"
_ADAPTERS = {"lora", "lora_ema", "plugin", "plugin_ema"}
#: Numbers that training left beside the parameters of a pickled single file.
_TRAINING = {"epoch", "global_step", "pytorch-lightning_version"}
_STEP = re.compile(r"[-_](\d{1,12})$")

Tensors = Mapping[str, TensorInFile]


class UnknownLayoutError(WeightsError):
    """A sound file that holds no part of a model that is known."""


@dataclass(frozen=True)
class WeightsFile:
    """What a file holds.

    Parameters
    ----------
    path : Path
        The file, or the index of several.
    files : tuple of Path
        Those that hold tensors.
    kind : str
        ``"parts"``, ``"single file"`` or ``"adapter"``.
    prefixes : tuple of str
        What its names begin with, up to a colon; empty for names without one.
    pickled : bool
    step : int or None
        The number at the end of its name.
    tensors, averages : dict of str to dict
        Tensors of each part, and their averages over the training, by names without prefix.
    """

    path: Path
    files: tuple[Path, ...]
    kind: str
    prefixes: tuple[str, ...]
    pickled: bool
    step: int | None
    tensors: Mapping[str, Tensors] = field(repr=False)
    averages: Mapping[str, Tensors] = field(repr=False)


def looks_like_weights(path: Path) -> bool:
    """Whether a file begins as safetensors or pickles do, or is the index of several."""
    return path.name.endswith(INDEX) or is_safetensors(path) or is_pickle(path)


def read_weights_file(path: Path, root: Path) -> WeightsFile:
    """Find what a file holds, without reading its values.

    Parameters
    ----------
    path : Path
        Safetensors, an index of several, or a zip archive of torch.
    root : Path
        No file may be outside this folder.

    Raises
    ------
    WeightsError
        If the file is damaged, outside the folder, or holds anything that no known layout has.
    """
    contained(path, root)
    files, tensors, pickled = _read_all(path, root)
    groups = _by_prefix(tensors)
    kind, values, averages = _sorted_out(path, groups, pickled)
    number = _STEP.search(path.name.removesuffix(INDEX).partition(".")[0])
    step = int(number[1]) if number else None
    return WeightsFile(path, files, kind, tuple(sorted(groups)), pickled, step, values, averages)


def _read_all(path: Path, root: Path) -> tuple[tuple[Path, ...], Tensors, bool]:
    """Files, their tensors by full names, and whether they are pickled."""
    if path.name.endswith(INDEX):
        return *read_index(path, root), False
    check_total([path])
    if is_safetensors(path):
        return (path,), read_header(path), False
    if is_pickle(path):
        return (path,), dict(_unfolded(path, read_pickle(path))), True
    raise UnknownLayoutError(f"{path}: neither safetensors nor a pickle by its content; give the file of the weights")


def _unfolded(path: Path, content: Mapping[str, Any], above: str = "") -> Tensors:
    """Tensors of dictionaries in dictionaries, with colons between their names as safetensors have them."""
    found: dict[str, TensorInFile] = {}
    for name, value in content.items():
        if isinstance(value, dict):
            inner = _unfolded(path, value, f"{above}{name}:")
            twice = found.keys() & inner.keys()
            found |= inner
        elif name in _TRAINING and not above:
            continue
        elif isinstance(value, int | float | str | None):
            raise UnknownLayoutError(
                f"{path}: {above}{name} is {shown([value])}, not a tensor; no layout that is known"
            )
        else:
            twice = found.keys() & {above + name}
            found[above + name] = value
        if twice:
            raise WeightsError(f"{path}: {shown(sorted(twice))} is there twice; get the weights from their source")
    return found


def _by_prefix(tensors: Tensors) -> dict[str, dict[str, TensorInFile]]:
    """Tensors by what stands before the first colon of their names."""
    groups: dict[str, dict[str, TensorInFile]] = {}
    for name, tensor in tensors.items():
        prefix, colon, rest = name.partition(":")
        groups.setdefault(prefix if colon else "", {})[rest if colon else name] = tensor
    return groups


def _sorted_out(
    path: Path, groups: dict[str, dict[str, TensorInFile]], pickled: bool
) -> tuple[str, Mapping[str, Tensors], Mapping[str, Tensors]]:
    """Kind, tensors by part, averages by part."""
    names = [name for group in groups.values() for name in group]
    if groups.keys() & _ADAPTERS or any("lora" in name for name in names):
        return "adapter", {}, {}
    if groups and groups.keys() <= {_VALUES, _AVERAGES}:
        part = part_of(names)
        if part is not None:
            values, averages = groups.get(_VALUES), groups.get(_AVERAGES)
            return "parts", {part: values} if values else {}, {part: averages} if averages else {}
    elif groups.keys() in ({""}, {"state_dict"}):
        (tensors,) = groups.values()
        if any(name.startswith(PREFIXES["unet"]) for name in tensors):
            return "single file", *_of_single_file(path, tensors)
        part = part_of(names)
        if part is not None and not pickled:
            return "parts", {part: tensors}, {}
        if part is not None:
            raise UnknownLayoutError(
                f"{path}: a pickled {part} as transformers and diffusers wrote them; get the model's safetensors, or "
                "convert it with save_pretrained where you trust it"
            )
    full = [f"{prefix}:{name}" if prefix else name for prefix, group in groups.items() for name in group]
    error = WeightsError if groups.keys() & {_VALUES, _AVERAGES} else UnknownLayoutError
    raise error(f"{path}: no layout that is known; it holds {shown(full) or 'nothing'}")


def _of_single_file(path: Path, tensors: Tensors) -> tuple[Mapping[str, Tensors], Mapping[str, Tensors]]:
    """Tensors and averages of each part of a single file."""
    found = {
        part: {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        for part, prefix in PREFIXES.items()
    }
    averages = {
        name: tensors[average]
        for name in found["unet"]
        if (average := average_name(PREFIXES["unet"] + name)) in tensors
    }
    known = {prefix + name for part, prefix in PREFIXES.items() for name in found[part]} | SCHEDULE
    known |= {average_name(PREFIXES["unet"] + name) for name in averages}
    strangers = sorted(tensors.keys() - known)
    if strangers:
        raise WeightsError(
            f"{path}: unexpected parameters: {shown(strangers)}; give a model of Stable Diffusion 1 without additions"
        )
    return {part: group for part, group in found.items() if group}, {"unet": averages} if averages else {}
