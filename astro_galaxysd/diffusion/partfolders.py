"""The safetensors of a part's folder: one file, or several with an index; full precision, or a variant.

In: a folder as diffusers and transformers save it, ``unet`` or ``text_encoder``. Out: its files and their tensors.
"""

from __future__ import annotations

import re
from pathlib import Path

from astro_galaxysd.diffusion.safefiles import (
    MAX_HEADER,
    StoredTensor,
    check_total,
    contained,
    read_header,
    read_json,
    shown,
)
from astro_galaxysd.errors import WeightsError

__all__ = ["part_files", "read_index", "read_part"]

#: Names of weights without their ending: those of diffusers and those of transformers.
_STEMS = ("diffusion_pytorch_model", "model")
#: Full precision first.
_VARIANTS = ("", ".fp16")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.safetensors")
_MAX_SHARDS = 1000
_PICKLED = (".bin", ".ckpt", ".pt", ".pth")


def read_part(folder: Path, root: Path) -> tuple[tuple[Path, ...], dict[str, StoredTensor]]:
    """Find the tensors of a part, without reading their values.

    Parameters
    ----------
    folder : Path
        Of the part.
    root : Path
        Of the model; no file may be outside.

    Returns
    -------
    files : tuple of Path
        Those that hold tensors.
    tensors : dict of str to StoredTensor

    Raises
    ------
    WeightsError
        If there are no safetensors, or several that could be meant; if an index does not fit its files; if a file is
        damaged or outside the folder.
    """
    chosen = part_files(folder, root)
    if chosen.suffix == ".json":
        return read_index(chosen, root)
    check_total([chosen])
    return (chosen,), read_header(chosen)


def part_files(folder: Path, root: Path) -> Path:
    """The safetensors file of a part, or the index of several; arguments and errors as `read_part`."""
    contained(folder, root)
    for variant in _VARIANTS:
        names = [f"{stem}{variant}.safetensors" for stem in _STEMS]
        # diffusers and transformers put the variant before the last ending of an index
        names += [f"{stem}.safetensors.index{variant}.json" for stem in _STEMS]
        found = [folder / name for name in names if _is_there(folder / name)]
        if len(found) > 1:
            raise WeightsError(
                f"{folder} has {' and '.join(path.name for path in found)}, either of which could be meant; "
                "remove all but one"
            )
        if found:
            return contained(found[0], root)
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLED)
    if pickles:
        raise WeightsError(
            f"{folder} has no safetensors, only {shown(pickles)}, pickles that could run code; get the model's "
            "safetensors, or convert it with save_pretrained where you trust it"
        )
    raise WeightsError(
        f"{folder} has no safetensors ({' or '.join(f'{stem}.safetensors' for stem in _STEMS)}); copy the weights again"
    )


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def read_index(path: Path, root: Path) -> tuple[tuple[Path, ...], dict[str, StoredTensor]]:
    """Find the tensors that an index spreads over several files.

    Parameters
    ----------
    path : Path
        The index: a JSON object whose ``weight_map`` says in which file each tensor is.
    root : Path
        As `read_part`.

    Returns
    -------
    files, tensors
        As `read_part`.

    Raises
    ------
    WeightsError
        If it names a file that is no plain name beside it, missing, or damaged, or if the files do not hold exactly
        the tensors that it places in them.
    """
    places = read_json(path, MAX_HEADER).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise WeightsError(f"{path} has no weight_map from names to files; copy the weights again")
    names = sorted(set(places.values()))
    strange = [name for name in names if not _PLAIN.fullmatch(name)]
    if strange:
        raise WeightsError(
            f"{path} names files that are no safetensors beside it: {shown(map(ascii, strange))}; "
            "get the weights from their source again"
        )
    if len(names) > _MAX_SHARDS:
        raise WeightsError(f"{path} names {len(names):,} files, where {_MAX_SHARDS:,} are allowed")
    files = tuple(contained(path.parent / name, root) for name in names)
    check_total(files)
    found: dict[str, StoredTensor] = {}
    for file in files:
        tensors = read_header(file)
        placed = {name for name, place in places.items() if place == file.name}
        if placed != tensors.keys():
            raise WeightsError(
                f"{path} does not fit {file.name}, which {_difference(placed, tensors.keys() - placed, tensors)}; "
                "copy the weights again"
            )
        found |= tensors
    return files, found


def _difference(placed: set[str], more: set[str], tensors: dict[str, StoredTensor]) -> str:
    """What a file has too few or too many, in words."""
    lacking = sorted(placed - tensors.keys())
    words = [f"lacks {shown(lacking)}"] * bool(lacking) + [f"holds {shown(sorted(more))} too"] * bool(more)
    return " and ".join(words)
