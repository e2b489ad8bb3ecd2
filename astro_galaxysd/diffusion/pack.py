"""Data packs: images, votes, weights and code in one folder, to train where only torch and diffusers are.

A pack is a folder. ``pack.json`` says what is in it and the SHA-256 of every part; shards hold the images, encoded
again, with votes and ids; ``code.zip`` holds the modules of this package that
training needs; ``run.sh`` is the one command. Nothing in it is a pickle.

Encoded again, images lose a little. JPEG is written with chroma at full resolution and one quantisation step for all
coefficients: the usual tables spend their bytes where the eye looks, and smooth the sky. The 14,768 galaxies of
128x128 px that `mini` was trained on need 37 MB so, at 43.0 dB over all pixels and 41.8 dB in the brightest tenth; the
sky keeps 1.03 of its rms. Measured on every twentieth of them: the usual tables, with 39 MB, 41.5 dB, 40.2 dB and 0.98;
WebP, whose chroma has half the resolution, with 37 MB, 42.2 dB, 39.4 dB and 0.95, and colour noise of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from astro_galaxysd.diffusion.shards import CODECS, checked_bytes, read_shards, write_shards
from astro_galaxysd.diffusion.sources import write_sources
from astro_galaxysd.errors import TrainingError, UnknownNameError, WeightsError
from astro_galaxysd.images.files import atomic_folder
from astro_galaxysd.learning.recipes import Recipe
from astro_galaxysd.learning.trainingset import TrainingSet

__all__ = ["VERSION", "is_pack", "pack_content", "pack_weights", "read_holdout", "read_pack", "write_pack"]

#: Of the layout; a reader refuses what it does not know.
VERSION = 1
_FORMAT = "astro_galaxysd data pack"
_INDEX, _CODE, _WEIGHTS = "pack.json", "code.zip", "weights"
_MB = 1_000_000

_RUN = """#!/bin/sh
# Goes on with training for some minutes: sh run.sh RUN OUT [--minutes 25 ...]
here=$(cd "$(dirname "$0")" && pwd) || exit 1
run=${1:?give a folder for the run} out=${2:?give a folder for the result}
shift 2
PYTHONPATH="$here/code.zip" exec "${PYTHON:-python3}" -m astro_galaxysd.diffusion.continuation \\
    "$here" --run "$run" --out "$out" "$@"
"""

_README = """A data pack of astro_galaxysd: {rows} galaxies of {side}x{side} px with their votes.

It needs Python 3.11 or newer with torch, diffusers and transformers; nothing is installed and nothing is downloaded.

    sh run.sh RUN OUT --minutes 25

trains in the folder RUN, or goes on there, and leaves the weights in OUT/weights, the log and a report beside them.
    sh run.sh RUN OUT --help
names all options. The images are encoded again ({codec}, quality {quality}); pack.json holds the SHA-256 of every file.
"""


def write_pack(
    training: TrainingSet,
    folder: str | os.PathLike[str],
    *,
    codec: str = "jpeg",
    quality: int | None = None,
    shard_mb: float = 15.0,
    weights: str | os.PathLike[str] | None = None,
    recipe: Recipe | Mapping[str, Mapping[str, Any]] | None = None,
    holdout: TrainingSet | None = None,
    source: Sequence[str] = (),
    overwrite: bool = False,
) -> Path:
    """Write a training set as a folder to go on training with elsewhere.

    Parameters
    ----------
    training : TrainingSet
        From `read_training_set`, which leaves out all rows that may not be trained on.
    folder : path
        The new folder; its parent must exist. It is complete or not there at all.
    codec : str
        ``"jpeg"`` (chroma at full resolution), ``"webp"`` (half) or ``"png"`` (exact, large).
    quality : int, optional
        1 to 100; the codec's default in `CODECS` unless given. JPEG: coefficients are rounded to multiples of
        101 - `quality`.
    shard_mb : float
        Largest size of a shard, units of 1e6 bytes.
    weights : path, optional
        Weights to go on from, or an autoencoder alone to begin with; the folder is copied.
    recipe : Recipe or mapping of str to mapping, optional
        Settings of the run; a mapping has them by part, as presets do: ``{"diffusion": {"steps": 9000}}``.
    holdout : TrainingSet, optional
        Rows that are not trained on, for figures of merit.
    source : sequence of str
        What the rows were read from; names only are kept, not folders.
    overwrite : bool
        Whether an existing pack is replaced.

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    UnknownNameError
        If there is no such codec.
    TrainingError
        If the quality is not in 1 to 100, or a row of `holdout` is in `training` too.
    WeightsError
        If `weights` is no weights folder.
    OutputError
        If the folder exists already, can't be written, or an image is larger than a shard.
    """
    if codec not in CODECS:
        raise UnknownNameError("codec", codec, CODECS)
    quality = CODECS[codec][1] if quality is None else quality
    if not 1 <= quality <= 100:
        raise TrainingError(f"quality = {quality}; must be in 1 to 100")
    shared = sorted(set(training.ids) & set(holdout.ids)) if holdout else []
    if shared:
        raise TrainingError(
            f"{len(shared)} rows of the holdout are trained on too: {', '.join(shared[:5])}; remove them"
        )
    target = Path(folder)
    with atomic_folder(target, overwrite, ours=is_pack) as partial:
        limit = int(shard_mb * _MB)
        content: dict[str, Any] = {
            "format": _FORMAT,
            "version": VERSION,
            "rows": len(training.ids),
            "side": int(training.images.shape[1]),
            "codec": codec,
            "quality": quality,
            "split": "train",
            "source": [Path(name).name for name in source],
            "unreadable": training.unreadable,
            "recipes": _recipes(recipe),
            "shards": write_shards(training, partial, "train", codec, quality, limit),
            "holdout": write_shards(holdout, partial, "holdout", codec, quality, limit) if holdout else [],
        }
        if weights is not None:
            _copy_weights(Path(weights), partial / _WEIGHTS)
        write_sources("astro_galaxysd.diffusion.continuation", partial / _CODE, data=("presets",))
        (partial / "run.sh").write_text(_RUN, encoding="utf-8")
        (partial / "README.txt").write_text(_README.format(**content), encoding="utf-8")
        content["files"] = {path.relative_to(partial).as_posix(): _sha256(path) for path in _files(partial)}
        content["bytes"] = sum(path.stat().st_size for path in _files(partial))
        (partial / _INDEX).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return target


def read_pack(folder: str | os.PathLike[str]) -> TrainingSet:
    """Read the rows of a pack that are trained on.

    Parameters
    ----------
    folder : path

    Returns
    -------
    TrainingSet
        Votes are rounded to half precision. Rows whose image can't be decoded are left out and named in `unreadable`,
        as are those that could not be read when the pack was written.

    Raises
    ------
    TrainingError
        If it is no pack, a shard is missing, damaged or of another pack, or no image can be read.
    """
    content = pack_content(folder)
    training = read_shards(Path(folder), content, "shards")
    if not training.ids:
        raise TrainingError(f"{folder}: none of the {content['rows']} images can be read; write the pack again")
    return TrainingSet(
        training.images, training.fractions, training.ids, {**content["unreadable"], **training.unreadable}
    )


def read_holdout(folder: str | os.PathLike[str]) -> TrainingSet | None:
    """Read the rows of a pack that are not trained on; None where there are none. Raises as `read_pack`."""
    content = pack_content(folder)
    return read_shards(Path(folder), content, "holdout") if content["holdout"] else None


def pack_weights(folder: str | os.PathLike[str]) -> Path | None:
    """The weights of a pack after a check of their hashes; None where there are none.

    Raises
    ------
    TrainingError
        If a file is missing or damaged.
    """
    content = pack_content(folder)
    names = [name for name in content["files"] if name.startswith(f"{_WEIGHTS}/")]
    for name in names:
        checked_bytes(Path(folder), name, content["files"][name])
    return Path(folder) / _WEIGHTS if names else None


def is_pack(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is a data pack of any version."""
    try:
        content = json.loads((Path(folder) / _INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("format") == _FORMAT


def pack_content(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What ``pack.json`` says.

    Raises
    ------
    TrainingError
        If the folder is no pack, or one of another version.
    """
    path = Path(folder) / _INDEX
    if not is_pack(folder):
        raise TrainingError(f"{os.fspath(folder)}: no data pack ({_INDEX} is missing or of something else)")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if content.get("version") != VERSION:
        raise TrainingError(
            f"{path}: a data pack of version {content.get('version')}; version {VERSION} is read here: write it again"
        )
    return content


def _recipes(recipe: Recipe | Mapping[str, Mapping[str, Any]] | None) -> dict[str, Any]:
    """Settings by part; a recipe's part is in its class's name."""
    if isinstance(recipe, Recipe):
        return {type(recipe).__name__.removesuffix("Recipe").lower(): asdict(recipe)}
    return {part: dict(settings) for part, settings in (recipe or {}).items()}


def _copy_weights(weights: Path, target: Path) -> None:
    """Copy configurations, vocabularies and safetensors; nothing that would be unpickled."""
    if not any((weights / name).is_file() for name in ("model_index.json", "config.json")):
        raise WeightsError(f"{weights}: no weights folder (neither model_index.json nor config.json is in it)")
    for path in _files(weights):
        if path.suffix in {".json", ".safetensors", ".txt"}:
            copy = target / path.relative_to(weights)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
