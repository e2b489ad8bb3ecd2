"""Which layout weights come in: what files there are, what they hold, and what has to come from a base.

In: a file or a folder. Out: a `Layout`, from the headers of the files alone. Layouts are known by content:

- diffusers: a folder with ``model_index.json``, complete;
- parts: files with the parameters of a UNet, of a text encoder, each with a number for its training step;
- single file: Stable Diffusion 1 with the names of its first program;
- adapter: what is added to a model, which is not read here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from astro_galaxysd.diffusion.checkpointfiles import (
    INDEX,
    Tensors,
    UnknownLayoutError,
    WeightsFile,
    looks_like_weights,
    read_weights_file,
)
from astro_galaxysd.diffusion.modelparts import NAMES
from astro_galaxysd.diffusion.parameternames import PARTS
from astro_galaxysd.diffusion.partfolders import read_part
from astro_galaxysd.diffusion.safefiles import check_total, contained, read_json, shown
from astro_galaxysd.errors import UnknownNameError, WeightsError

__all__ = ["KINDS", "Layout", "inspect_layout"]

#: Layouts by name.
KINDS = ("diffusers", "parts", "single file", "adapter")
_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
#: Endings of files that are taken for weights: damage in one of them is an error, not another kind of file.
_MEANT = (".safetensors", ".ckpt", INDEX)
_DEEPEST = 2
_MOST_FILES = 10_000


@dataclass(frozen=True)
class Layout:
    """Weights as they lie on the disk.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    root : Path
        The file or folder that was looked at.
    files : dict of str to tuple of Path
        Files of each part that would be read.
    prefixes : tuple of str
        Of names in parts: ``"base"``, ``"base_ema"``, ``"lora"``; empty for names without one.
    pickled : bool
        Whether a file is a pickle.
    step : int or None
        The number of the chosen files.
    steps : tuple of int
        All numbers that were found.
    others : dict of str to str
        Files that are not read, relative to `root`, and why.
    tensors, averages : dict of str to dict
        Tensors of each part, and their averages over the training, as the files name them without prefix.
    """

    kind: str
    root: Path
    files: Mapping[str, tuple[Path, ...]]
    prefixes: tuple[str, ...] = ()
    pickled: bool = False
    step: int | None = None
    steps: tuple[int, ...] = ()
    others: Mapping[str, str] = field(default_factory=dict)
    tensors: Mapping[str, Tensors] = field(default_factory=dict, repr=False)
    averages: Mapping[str, Tensors] = field(default_factory=dict, repr=False)

    @property
    def n_parameters(self) -> int:
        """How many numbers the parts have together, averages not counted twice."""
        groups = (self.tensors.get(part) or self.averages[part] for part in self.parts)
        return sum(math.prod(tensor.shape) for group in groups for tensor in group.values())

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts the files hold."""
        return tuple(part for part in PARTS if part in self.tensors or part in self.averages)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Kinds of the parts' values: ``"float16"``."""
        groups = [*self.tensors.values(), *self.averages.values()]
        return tuple(sorted({str(t.dtype).removeprefix("torch.") for group in groups for t in group.values()}))

    @property
    def needs(self) -> tuple[str, ...]:
        """What has to come from a base, a diffusers folder; empty where nothing is missing."""
        if self.kind in {"diffusers", "adapter"}:
            return ()
        return (*(NAMES[part] for part in PARTS if part not in self.parts), "tokenizer", "scheduler", "configurations")

    @property
    def told(self) -> str:
        """All of it in a line."""
        files = [str(_below(file, self.root)) for part in self.files for file in self.files[part]]
        told = f"{self.kind}: {shown(dict.fromkeys(files))}"
        if self.steps:
            told += f" (step {self.step}{' of ' + shown(self.steps) if len(self.steps) > 1 else ''})"
        if self.kind != "adapter":
            told += f"; {' and '.join(NAMES[part] for part in self.parts)}, {self.n_parameters:,} parameters, "
            told += f"{' and '.join(self.dtypes)}{', with averages' if self.averages else ''}"
            told += ", pickled" if self.pickled else ""
        if self.needs:
            told += f"; from a base: {', '.join(self.needs)}"
        if self.others:
            told += f"; not read: {shown(f'{name} ({why})' for name, why in self.others.items())}"
        return told


def _below(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path != root and path.is_relative_to(root) else Path(path.name)


def inspect_layout(location: str | os.PathLike[str], *, step: int | None = None, kind: str | None = None) -> Layout:
    """Find out which layout weights come in, from the headers of their files.

    Parameters
    ----------
    location : path
        A file, the index of several, or a folder; files are looked for two folders deep.
    step : int, optional
        Which of several parts to take; the highest number that all parts have unless given.
    kind : str, optional
        Which of `KINDS` to take where a folder has several.

    Returns
    -------
    Layout

    Raises
    ------
    WeightsError
        If there are no weights, if a file is damaged or leads outside the folder, if it can't be said which files
        belong together.
    UnknownNameError
        If `kind` is not known.

    Examples
    --------
    >>> from astro_galaxysd.diffusion.layouts import inspect_layout
    >>> print(inspect_layout("released").told)  # doctest: +SKIP
    """
    if kind is not None and kind not in KINDS:
        raise UnknownNameError("kind of weights", kind, KINDS)
    root = Path(location)
    if root.is_file():
        return _chosen(root, [read_weights_file(root, _own_folder(root))], {}, step, kind)
    if not root.is_dir():
        raise WeightsError(f"no file or folder {str(root)!r}; give the weights, or a folder that has them")
    if kind in {None, "diffusers"} and (root / "model_index.json").is_file():
        return _diffusers(root)
    found, others = _found(root)
    return _chosen(root, found, others, step, kind)


def _own_folder(path: Path) -> Path:
    """The folder of a file that was named, which may be a link to where it likes."""
    return path.parent if path.name.endswith(INDEX) else path.resolve().parent


def _diffusers(root: Path) -> Layout:
    """A folder with ``model_index.json``."""
    read_json(contained(root / "model_index.json", root))
    parts = {part: read_part(root / part, root) for part in PARTS}
    files = {part: found[0] for part, found in parts.items()}
    check_total(file for group in files.values() for file in group)
    chosen = {file for group in files.values() for file in group}
    others = {
        str(path.relative_to(root)): "not named for a part"
        for path in _files(root, _DEEPEST)
        if path.suffix in _SUFFIXES and path not in chosen
    }
    return Layout("diffusers", root, files, others=others, tensors={part: found[1] for part, found in parts.items()})


def _files(root: Path, deepest: int) -> Iterator[Path]:
    """Files of a folder and of those in it, in order; hidden ones and linked folders are left out."""
    count = 0
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if len(Path(place).relative_to(root).parts) >= deepest:
            folders.clear()
        count += len(names)
        if count > _MOST_FILES:
            raise WeightsError(f"{root} has more than {_MOST_FILES:,} files; give the folder of the weights alone")
        yield from (Path(place) / name for name in sorted(names) if not name.startswith("."))


def _found(root: Path) -> tuple[list[WeightsFile], dict[str, str]]:
    """Files of a folder that hold weights, and others with the reason why not."""
    found, others, pieces = [], {}, set[Path]()
    # an index first: its files are no weights by themselves
    for path in sorted(_files(root, _DEEPEST), key=lambda path: not path.name.endswith(INDEX)):
        meant = path.name.endswith(_MEANT)
        if path in pieces:
            continue
        try:
            contained(path, root)
            if not path.is_file() or not (meant or looks_like_weights(path)):
                continue
            if not path.name.isascii() or not path.name.isprintable():
                raise WeightsError(f"{path.name!a} has characters that look like others; give it a plain name")
            weights = read_weights_file(path, root)
        except (WeightsError, OSError) as error:
            if meant and not isinstance(error, UnknownLayoutError):
                raise
            if path.suffix in _SUFFIXES:
                others[str(path.relative_to(root))] = str(error).removeprefix(f"{path}: ")
            continue
        found.append(weights)
        pieces |= set(weights.files)
    return found, others


def _chosen(root: Path, found: list[WeightsFile], others: dict[str, str], step: int | None, kind: str | None) -> Layout:
    """The layout of the files that belong together."""
    kinds = [name for name in KINDS if any(weights.kind == name for weights in found) and kind in {None, name}]
    if not kinds:
        what = f"weights of kind {kind}" if kind else "weights"
        why = f": {shown(f'{name}: {reason}' for name, reason in others.items())}" if others else ""
        raise WeightsError(f"{root} has no {what}{why}; give a folder with safetensors or with model_index.json")
    if len(kinds) > 1 and kinds[1] != "adapter":
        raise WeightsError(f"{root} has {' and '.join(kinds)}; give one of the files, or kind={kinds[0]!r}")
    others = others | {str(_below(w.path, root)): w.kind for w in found if w.kind != kinds[0]}
    found = [weights for weights in found if weights.kind == kinds[0]]
    if kinds[0] == "adapter":
        return _layout(kinds[0], root, found, found, others)
    chosen = _of_one_step(root, _not_pickled_too(found, root, others), step)
    others |= {str(_below(w.path, root)): "of another step" for w in found if w not in chosen} | others
    return _layout(kinds[0], root, chosen, found, others)


def _parts_of(weights: WeightsFile) -> tuple[str, ...]:
    return tuple(part for part in PARTS if part in weights.tensors or part in weights.averages)


def _not_pickled_too(found: list[WeightsFile], root: Path, others: dict[str, str]) -> list[WeightsFile]:
    """Without pickles of what is there as safetensors as well, which are noted among the others."""
    safe = {(_parts_of(weights), weights.step): weights for weights in found if not weights.pickled}
    kept = []
    for weights in found:
        instead = safe.get((_parts_of(weights), weights.step))
        if weights.pickled and instead is not None:
            others[str(_below(weights.path, root))] = f"{instead.path.name} is read in its place"
        else:
            kept.append(weights)
    return kept


def _of_one_step(root: Path, found: list[WeightsFile], step: int | None) -> list[WeightsFile]:
    """One file of each part, all with the same number."""
    parts = {part for weights in found for part in _parts_of(weights)}
    having = {part: {weights.step for weights in found if part in _parts_of(weights)} for part in parts}
    common = set.intersection(*having.values())
    there = "; ".join(f"{NAMES[part]} {shown(sorted(map(_number, steps)))}" for part, steps in sorted(having.items()))
    if step is not None and step not in common:
        raise WeightsError(f"{root}: not all parts have step {step}: {there}; give another step")
    if not common:
        raise WeightsError(f"{root}: the parts have no step in common: {there}; get the files that belong together")
    number = step if step is not None else max(common, key=lambda found: -1 if found is None else found)
    chosen = [weights for weights in found if weights.step == number]
    for part in sorted(parts):
        several = [weights.path.name for weights in chosen if part in _parts_of(weights)]
        if len(several) > 1:
            raise WeightsError(
                f"{root}: {shown(several)} all hold a {NAMES[part]}; give a folder with one of them, or the file"
            )
    return chosen


def _number(step: int | None) -> str:
    return "without a number" if step is None else str(step)


def _layout(
    kind: str, root: Path, chosen: list[WeightsFile], found: list[WeightsFile], others: dict[str, str]
) -> Layout:
    files = {part: weights.files for weights in chosen for part in _parts_of(weights)}
    check_total(file for weights in chosen for file in weights.files)
    return Layout(
        kind,
        root,
        files or {kind: tuple(file for weights in chosen for file in weights.files)},
        prefixes=tuple(sorted({prefix for weights in chosen for prefix in weights.prefixes})),
        pickled=any(weights.pickled for weights in chosen),
        step=chosen[0].step if kind != "adapter" else None,
        steps=tuple(sorted({weights.step for weights in found if weights.step is not None})),
        others=dict(sorted(others.items())),
        tensors={part: group for weights in chosen for part, group in weights.tensors.items()},
        averages={part: group for weights in chosen for part, group in weights.averages.items()},
    )
