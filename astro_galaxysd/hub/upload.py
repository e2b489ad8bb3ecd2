"""Pushing a folder to the Hub: what would go, and all of it in one commit.

In: a folder that was looked at before. Out: a commit of the repository with all of its files, compared with them. Files
that the repository has besides stay in it, unless they are to be replaced.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from astro_galaxysd.errors import HubError, HubNameError
from astro_galaxysd.hub.faults import Errand, not_logged_in, offline, page
from astro_galaxysd.hub.listing import SAFE_SUFFIXES, HubFile, Listing, check_path, content_fault
from astro_galaxysd.hub.names import check_kind, is_commit, parse_name
from astro_galaxysd.hub.patience import ask, hub_api, hub_token

__all__ = ["PUSHED_SUFFIXES", "PushFile", "list_push", "push_folder"]

#: Kinds of file that are pushed.
PUSHED_SUFFIXES = SAFE_SUFFIXES | {".cff", ".jpeg", ".jpg", ".png", ".toml", ".yaml", ".yml"}
_WITHOUT_SUFFIX = {"LICENCE", "LICENSE", "NOTICE"}
_ALWAYS_LARGE = {".npz", ".parquet", ".safetensors"}
_LARGE = 10_000_000
#: Bytes in which the Hub looks for what no text has.
_SAMPLE = 512
_LIST_TIMEOUT = 60.0


@dataclass(frozen=True)
class PushFile:
    """A file that would be pushed.

    Parameters
    ----------
    path : str
        Within the folder, with ``/``; the same in the repository.
    size : int
        Bytes.
    large : bool
        Whether it is likely to be kept beside git's history (LFS). The Hub decides.
    """

    path: str
    size: int
    large: bool


def list_push(
    folder: str | os.PathLike[str],
    *,
    files: Iterable[str] | None = None,
    suffixes: Collection[str] = PUSHED_SUFFIXES,
) -> list[PushFile]:
    """What `push_folder` would push; asks nothing of the Hub.

    Parameters
    ----------
    folder : path
    files : iterable of str, optional
        Paths within it, and no others. By default all but those whose name, or that of a folder above them, begins
        with a dot.
    suffixes : collection of str
        Kinds of file that may be among them, besides licences.

    Returns
    -------
    list of PushFile
        By path.

    Raises
    ------
    HubError
        If there is no such folder or file, none at all, one of another kind, or a symbolic link.
    """
    root = Path(folder)
    if not root.is_dir():
        raise HubError(f"{root}: no such folder; name the one to push")
    paths = sorted(_all_files(root) if files is None else set(files))
    if not paths:
        raise HubError(f"{root} holds no files to push; name another folder")
    for path in paths:
        _check_file(root, path)
    others = [path for path in paths if not _is_pushed(path, suffixes)]
    if others:
        raise HubError(
            f"{root} holds files of kinds that are not pushed: {', '.join(others[:5])}{' ...' if others[5:] else ''}; "
            f"move them elsewhere, or name the files to push. Pushed are licences and {', '.join(sorted(suffixes))}"
        )
    return [_described(root, path) for path in paths]


def _all_files(root: Path) -> Iterator[str]:
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if not name.startswith(".")]
        linked = [name for name in inner if (Path(folder) / name).is_symlink()]
        for name in (*names, *linked):
            if not name.startswith("."):
                yield (Path(folder) / name).relative_to(root).as_posix()


def _check_file(root: Path, path: str) -> None:
    check_path(path, str(root))
    found = root / path
    within = [part for part in (found, *found.parents) if part != root and part.is_relative_to(root)]
    links = [part for part in within if part.is_symlink()]
    if links:
        raise HubError(f"{links[-1]} is a symbolic link, which is not followed; put the file itself there")
    if not found.is_file():
        raise HubError(f"{found}: no such file; name files of the folder")


def _is_pushed(path: str, suffixes: Collection[str]) -> bool:
    name = PurePosixPath(path)
    return name.suffix.lower() in suffixes or name.name in _WITHOUT_SUFFIX


def _described(root: Path, path: str) -> PushFile:
    found = root / path
    size = found.stat().st_size
    with found.open("rb") as stream:
        binary = b"\0" in stream.read(_SAMPLE)
    return PushFile(path, size, size > _LARGE or binary or found.suffix.lower() in _ALWAYS_LARGE)


def push_folder(
    folder: str | os.PathLike[str],
    name: str,
    *,
    message: str,
    kind: str = "model",
    private: bool = False,
    create: bool = True,
    files: Iterable[str] | None = None,
    suffixes: Collection[str] = PUSHED_SUFFIXES,
    replace_files: Collection[str] = (),
    token: str | None = None,
) -> str:
    """Push a folder to the branch ``main`` of a repository, in one commit.

    What goes is what `list_push` lists. A file that is there already, with the same content, does not travel again;
    where all are, there is no new commit. Large files go through plain HTTP; Xet is never used.

    Parameters
    ----------
    folder : path
    name : str
        ``"organisation/name"``.
    message : str
        Of the commit.
    kind : str
        ``"model"`` or ``"dataset"``.
    private : bool
        Whether nobody else may see the repository: it is made so, or must be so.
    create : bool
        Whether to make the repository where there is none.
    files, suffixes
        As `list_push`.
    replace_files : collection of str
        Patterns, as ``"unet/*"``: files of the repository that match one and are not pushed are removed in the same
        commit. All others stay.
    token : str, optional
        Access token; by default that of who is logged in, or the one in ``HF_TOKEN``.

    Returns
    -------
    str
        The commit with the files, 40 hexadecimal digits.

    Raises
    ------
    HubNameError
        If `name` is none, or names a revision.
    HubUnreachableError
        If the Hub does not answer, or is too busy.
    HubError
        As `list_push`; if nobody is logged in or may not write there; if the repository must be private and is not; if
        it does not hold what was pushed.
    """
    import huggingface_hub

    check_kind(kind)
    where = parse_name(name)
    if where.revision is not None:
        raise HubNameError(f"{name!r} names a revision, but files are pushed to the branch 'main'; leave it out")
    if not message.strip():
        raise HubError("the message of the commit is empty; say what is pushed")
    going = list_push(folder, files=files, suffixes=suffixes)
    errand = Errand(where.name, kind, pushing=True)
    if huggingface_hub.is_offline_mode():
        raise offline(errand)
    errand = replace(errand, token=hub_token(token, errand))
    if errand.token is None:
        raise not_logged_in(errand)
    return _Push(Path(folder), going, errand, tuple(replace_files)).run(message, private, create)


class _Push:
    """Files on their way to a repository."""

    def __init__(self, folder: Path, files: list[PushFile], errand: Errand, replaced: tuple[str, ...]) -> None:
        self.folder, self.files, self.errand, self.replaced = folder, files, errand, replaced
        self.api = hub_api(errand.token)
        self.where = {"repo_id": errand.name, "repo_type": errand.kind}

    def run(self, message: str, private: bool, create: bool) -> str:
        if create:
            ask(lambda: self.api.create_repo(**self.where, private=private or None, exist_ok=True), self.errand)
        if private and not ask(lambda: self.api.repo_info(**self.where, timeout=_LIST_TIMEOUT), self.errand).private:
            raise HubError(
                f"{self.errand.what} is there already, and everybody can see it; nothing was pushed. Make it private "
                f"at {page(self.errand)}/settings, or choose another name"
            )
        stale = self._stale()
        commit = ask(lambda: self._commit(message, stale), self.errand)
        if not is_commit(commit):
            raise HubError(f"the push to {page(self.errand)} came to no commit; is HF_ENDPOINT the address of a Hub?")
        self._compare(commit)
        return commit

    def _stale(self) -> list[str]:
        """Files of the repository that are replaced by none of those that are pushed."""
        if not self.replaced:
            return []
        info: Any = ask(lambda: self.api.repo_info(**self.where, timeout=_LIST_TIMEOUT), self.errand)
        kept = {file.path for file in self.files}
        there = [found.rfilename for found in info.siblings or () if found.rfilename not in kept]
        return [path for path in there if any(fnmatchcase(path, pattern) for pattern in self.replaced)]

    def _commit(self, message: str, stale: list[str]) -> str:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        # made anew for each attempt: huggingface_hub writes into them
        added = [CommitOperationAdd(file.path, self.folder / file.path) for file in self.files]
        removed = [CommitOperationDelete(path) for path in stale]
        return str(self.api.create_commit(**self.where, operations=[*added, *removed], commit_message=message).oid)

    def _compare(self, commit: str) -> None:
        """Look whether the repository holds what was pushed: rules of its own may leave files out."""
        info: Any = ask(
            lambda: self.api.repo_info(**self.where, revision=commit, files_metadata=True, timeout=_LIST_TIMEOUT),
            self.errand,
        )
        there = Listing.from_info(info).by_path()
        wrong = [file.path for file in self.files if self._fault(file.path, there.get(file.path))]
        if wrong:
            raise HubError(
                f"{self.errand.what} at {commit} lacks {', '.join(wrong[:5])}{' ...' if wrong[5:] else ''}, or has "
                "other content there: a .gitignore of the repository leaves files out, or they were changed meanwhile. "
                f"See {page(self.errand)}, then push again"
            )

    def _fault(self, path: str, listed: HubFile | None) -> str:
        return "not there" if listed is None else content_fault(self.folder / path, listed)
