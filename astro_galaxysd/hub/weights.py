"""Weights on the Hub: a repository in, the files of it that a model is made of out.

A repository often holds one model several times: in two precisions, at several training steps, as safetensors and as
pickles. Once is enough.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from astro_galaxysd.errors import HubError
from astro_galaxysd.hub.cache import RepoCache
from astro_galaxysd.hub.download import Fetched, fetch_folder, list_folder
from astro_galaxysd.hub.listing import PICKLE_SUFFIXES, SAFE_SUFFIXES, Listing
from astro_galaxysd.hub.names import DEFAULT_REVISION, is_commit, parse_name

__all__ = ["MODELS", "choose_files", "fetch_weights", "list_weights"]

#: Parts of a diffusers folder that have weights.
MODELS = ("unet", "vae", "text_encoder")
_SETTINGS = ("tokenizer", "scheduler")
_INDEX = "model_index.json"
#: What weights say of the cutouts they learnt from (`astro_galaxysd.survey.domain`).
_DOMAIN = "domain.safetensors"
_DEEPEST = 2  # folders, as checkpoints are looked for on the disk
#: ``diffusion_pytorch_model.fp16-00001-of-00002.safetensors`` -> ``fp16``.
_VARIANT = re.compile(r"[^.]+\.([^.]+?)(?:-\d+-of-\d+)?\.safetensors(?:\.index\.json)?")
#: ``unet-10000.safetensors`` -> ``unet``, ``10000``.
_NUMBERED = re.compile(r"(.+)-(\d+)\.(?:safetensors|ckpt)")
#: Branches and tags by the commit they were brought to, until its weights are there.
_named: dict[tuple[str, str], set[str]] = {}


def choose_files(paths: Iterable[str], parts: Collection[str] = MODELS) -> list[str]:
    """Files of a repository that make one model.

    Parameters
    ----------
    paths : iterable of str
        All files of it.
    parts : collection of str
        Parts of a diffusers folder whose weights are wanted; of others only the settings are.

    Returns
    -------
    list of str
        Of a diffusers folder what stands beside ``model_index.json``, and its parts, in full precision where they are
        there in it. Else the checkpoints, not deeper than two folders, of numbered ones the last that all parts have:
        safetensors, or pickles where there are none. Sorted; without checkpoints it has none.

    Examples
    --------
    >>> choose_files(["README.md", "unet-5000.safetensors", "unet-10000.safetensors", "train.py"])
    ['README.md', 'unet-10000.safetensors']
    """
    every = sorted(paths)
    top = [path for path in every if "/" not in path]
    chosen = [path for path in top if PurePosixPath(path).suffix in SAFE_SUFFIXES - {".safetensors"}]
    chosen += [path for path in top if path == _DOMAIN]
    if _INDEX in top:
        for part in MODELS:
            found = _of_one_variant([path for path in every if _folder(path) == part])
            chosen += [path for path in found if part in parts or ".safetensors" not in path]
        return sorted(chosen + [path for path in every if _folder(path) in _SETTINGS and _is_safe(path)])
    near = [path for path in every if path.count("/") <= _DEEPEST and path != _DOMAIN]
    checkpoints = [path for path in near if path.endswith(".safetensors")]
    return sorted(chosen + _newest(checkpoints or [path for path in near if path.endswith(".ckpt")]))


def _folder(path: str) -> str:
    return str(PurePosixPath(path).parent)


def _is_safe(path: str) -> bool:
    return PurePosixPath(path).suffix in SAFE_SUFFIXES


def _of_one_variant(paths: list[str]) -> list[str]:
    """A part's settings, and its weights: those without a variant in their names, else those of the first variant."""
    found = {path: _VARIANT.fullmatch(PurePosixPath(path).name) for path in paths if _is_safe(path)}
    plain = [path for path, variant in found.items() if variant is None]
    if any(path.endswith(".safetensors") for path in plain):
        return plain
    first = min((variant[1] for variant in found.values() if variant), default="")
    return [path for path, variant in found.items() if variant is None or variant[1] == first]


def _newest(paths: list[str]) -> list[str]:
    """Of numbered files those with the highest number that all in their folder have, else the last of each."""
    numbered = {path: _NUMBERED.fullmatch(path) for path in paths}
    steps: dict[str, set[int]] = {}
    for match in filter(None, numbered.values()):
        steps.setdefault(match[1], set()).add(int(match[2]))

    def chosen(stem: str) -> int:
        common = set.intersection(*(found for other, found in steps.items() if _folder(other) == _folder(stem)))
        return max(common or steps[stem])

    return [path for path, match in numbered.items() if match is None or int(match[2]) == chosen(match[1])]


def list_weights(name: str, revision: str | None = None) -> Listing:
    """What a repository holds; parameters, errors and warnings as `fetch_folder`.

    The commit is that of the branch or tag also without a network, once its weights were fetched.
    """
    where, listing = parse_name(name, revision), list_folder(name, revision)
    if not is_commit(where.revision):
        _named.setdefault((where.name, listing.commit), set()).add(where.revision or DEFAULT_REVISION)
    return listing


def fetch_weights(
    name: str, revision: str | None = None, *, parts: Collection[str] = MODELS, token: str | None = None
) -> Fetched:
    """Fetch the files that `choose_files` chooses; parameters, errors and warnings as there and as `fetch_folder`.

    Raises
    ------
    HubError
        Also if there is no checkpoint.
    """

    def choose(paths: list[str]) -> list[str]:
        chosen = choose_files(paths, parts)
        if not any(path.endswith((".safetensors", ".ckpt")) and path != _DOMAIN for path in chosen):
            held = ", ".join(sorted(paths)[:8]) or "nothing"
            raise HubError(
                f"{parse_name(name).name} holds no weights that can be read, but {held}; weights are a diffusers "
                "folder or checkpoints in it, as safetensors, or as .ckpt where there are none"
            )
        return chosen

    fetched = fetch_folder(name, revision, choose=choose, suffixes=SAFE_SUFFIXES | PICKLE_SUFFIXES, token=token)
    where = parse_name(name).name
    for named in _named.pop((where, fetched.revision), ()):
        RepoCache(where, "model").keep_commit(named, fetched.revision)
    return fetched
