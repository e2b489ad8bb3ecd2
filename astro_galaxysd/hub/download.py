"""Fetching a folder from the Hub: one commit of it, the files that are wanted, each of them checked.

A branch or tag is first brought to its commit, and all files are those of the commit. Which they are and how large is
known before any is fetched; each is compared with its hash in the Hub's list once it is there. What was fetched and
checked before is not asked for again: a commit that is all there needs no network.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from astro_galaxysd.errors import HubError, HubUnreachableError, HubWarning, UnknownNameError
from astro_galaxysd.hub.cache import RepoCache, cache_folder
from astro_galaxysd.hub.faults import Errand, disk_full, offline, page
from astro_galaxysd.hub.listing import SAFE_SUFFIXES, HubFile, Limits, Listing, content_fault, wanted_files
from astro_galaxysd.hub.names import DEFAULT_REVISION, check_kind, is_commit, parse_name
from astro_galaxysd.hub.patience import WAITS, ask, hub_api, hub_token

__all__ = ["Fetched", "fetch_folder", "list_folder"]

#: Seconds to wait for the list of files.
_LIST_TIMEOUT = 30.0


@dataclass(frozen=True)
class Fetched:
    """A folder that came from the Hub.

    Parameters
    ----------
    path : Path
        The folder, in the cache. It is not to be written to.
    revision : str
        The commit, 40 hexadecimal digits.
    files : tuple of str
        Paths within it that were wanted and checked. Others may be there, of other programs that use the cache.
    """

    path: Path
    revision: str
    files: tuple[str, ...]


def fetch_folder(
    name: str,
    revision: str | None = None,
    *,
    kind: str = "model",
    patterns: Iterable[str] | None = None,
    choose: Callable[[list[str]], Iterable[str]] | None = None,
    suffixes: Collection[str] = SAFE_SUFFIXES,
    limits: Limits | None = None,
    token: str | None = None,
) -> Fetched:
    """Fetch files of a repository of the Hub, unless they are there.

    They come to the cache of huggingface_hub, in ``HF_HOME``. With ``HF_HUB_OFFLINE`` nothing is asked, and what a
    branch was when it was last fetched is taken; that is also done, with a warning, where the Hub can't be reached.
    Large files come through plain HTTP; Xet is never used.

    Parameters
    ----------
    name : str
        ``"organisation/name"``, or ``"organisation/name@revision"``.
    revision : str, optional
        Branch, tag or commit, if it is not in `name`; by default ``main``.
    kind : str
        ``"model"`` or ``"dataset"``.
    patterns : iterable of str, optional
        Only files whose path matches one, as ``"unet/*"``.
    choose : callable, optional
        All paths of the repository in, those that are wanted out.
    suffixes : collection of str
        Only files of these kinds. `PICKLE_SUFFIXES` are not among them by default.
    limits : Limits, optional
        How much at most.
    token : str, optional
        Access token; by default that of who is logged in, or the one in ``HF_TOKEN``.

    Returns
    -------
    Fetched

    Raises
    ------
    HubNameError
        If name, revision or kind are none.
    HubUnreachableError
        If the Hub does not answer, or is too busy, and what is wanted is not in the cache.
    HubError
        If there is no such repository or revision, or it may not be read; if nothing in it is wanted, a path leads out
        of the folder, or files are larger than allowed; if a file does not match its hash twice; if there is no room.

    Warns
    -----
    HubWarning
        If the Hub can't be reached and what it gave before is used.
    """
    source = _source(name, revision, kind, token)
    listing, checked = source.listing()
    among = listing
    if choose is not None:
        wanted = set(choose([file.path for file in listing.files]))
        among = replace(listing, files=tuple(file for file in listing.files if file.path in wanted))
    files = wanted_files(among, source.errand.name, patterns=patterns, suffixes=suffixes, limits=limits or Limits())
    source.bring(listing, files, checked)
    source.cache.keep_commit(source.errand.revision, listing.commit)
    return Fetched(source.cache.snapshot(listing.commit), listing.commit, tuple(file.path for file in files))


def list_folder(name: str, revision: str | None = None, *, kind: str = "model", token: str | None = None) -> Listing:
    """What a repository of the Hub holds; parameters, errors and warnings as `fetch_folder`."""
    return _source(name, revision, kind, token).listing()[0]


def _source(name: str, revision: str | None, kind: str, token: str | None) -> _Source:
    check_kind(kind)
    where = parse_name(name, revision)
    return _Source(Errand(where.name, kind, where.revision or DEFAULT_REVISION, token=token))


class _Source:
    """A repository at a revision: on the Hub and in the cache."""

    def __init__(self, errand: Errand) -> None:
        import huggingface_hub

        self.cache = RepoCache(errand.name, errand.kind)
        self.offline = huggingface_hub.is_offline_mode()
        self.errand = errand if self.offline else replace(errand, token=hub_token(errand.token, errand))

    @cached_property
    def api(self) -> Any:
        return hub_api(self.errand.token)

    def listing(self) -> tuple[Listing, frozenset[str]]:
        """What the repository holds, and the paths that were checked before."""
        revision = self.errand.revision
        kept = self._kept()
        if kept is not None and kept[1] and is_commit(revision):
            return kept
        if self.offline:
            if kept is None:
                raise offline(self.errand)
            return kept
        try:
            # who has it already does not wait long for a Hub that is away
            info = ask(self._info, self.errand, WAITS if kept is None else WAITS[:1])
        except HubUnreachableError as error:
            if kept is None:
                raise
            warnings.warn(f"{error}. Now used: commit {kept[0].commit}", HubWarning, stacklevel=3)
            return kept
        listing = Listing.from_info(info)
        if not is_commit(listing.commit):
            raise HubError(f"{page(self.errand)} names no commit; is HF_ENDPOINT the address of a Hub?")
        before = self.cache.listing(listing.commit)
        return listing, before[1] if before is not None else frozenset()

    def _kept(self) -> tuple[Listing, frozenset[str]] | None:
        """What is known without asking."""
        commit = self.cache.commit(self.errand.revision)
        if commit is None:
            return None
        ours = self.cache.listing(commit)
        if ours is not None:
            return ours
        theirs = self.cache.foreign_listing(commit)
        return None if theirs is None else (theirs, frozenset())

    def _info(self) -> Any:
        from huggingface_hub.errors import RevisionNotFoundError

        name, kind, revision = self.errand.name, self.errand.kind, self.errand.revision
        options = {"revision": revision, "files_metadata": True, "timeout": _LIST_TIMEOUT}
        try:
            return self.api.repo_info(name, repo_type=kind, **options)
        except RevisionNotFoundError:
            refs = self.api.list_repo_refs(name, repo_type=kind)
            known = [ref.name for ref in (*refs.branches, *refs.tags)]
            raise HubError(f"{self.errand.what}: {UnknownNameError('revision', revision, known)}") from None

    def bring(self, listing: Listing, files: list[HubFile], checked: frozenset[str]) -> None:
        """Have all files in the cache, each the one that is listed."""
        commit, done = listing.commit, set(checked)
        doubtful = [file for file in files if file.path not in checked or self._size(commit, file) != file.size]
        if not doubtful:
            return
        absent = [file for file in doubtful if self._size(commit, file) != file.size]
        self.errand = replace(self.errand, needed=sum(file.size for file in absent))
        if absent:
            self._check_room()
        try:
            for file in doubtful:
                self._bring_one(commit, file)
                done.add(file.path)
        finally:
            # after an interrupt too: what was checked need not be checked again
            self.cache.keep_listing(listing, done)

    def _size(self, commit: str, file: HubFile) -> int:
        path = self.cache.path(commit, file)
        return path.stat().st_size if path.is_file() else -1

    def _check_room(self) -> None:
        if self.offline:
            raise offline(self.errand)
        there = next(folder for folder in (cache_folder(), *cache_folder().parents) if folder.exists())
        if shutil.disk_usage(there).free < self.errand.needed:
            raise disk_full(self.errand)

    def _bring_one(self, commit: str, file: HubFile) -> None:
        """Have one file in the cache; what is not the listed one is removed, and fetched twice at most."""
        if self._size(commit, file) >= 0 and not self._fault(commit, file):
            return
        fault = ""
        for _ in range(2):
            if self.offline:
                raise offline(self.errand)
            ask(partial(self._download, commit, file), self.errand)
            fault = self._fault(commit, file)
            if not fault:
                return
        raise HubError(
            f"{self.errand.what}: {file.path!r} came damaged twice ({fault}); it was removed. Try again later, and "
            f"tell who owns {page(self.errand)} if it stays so"
        )

    def _download(self, commit: str, file: HubFile) -> None:
        self.api.hf_hub_download(self.errand.name, file.path, repo_type=self.errand.kind, revision=commit)

    def _fault(self, commit: str, file: HubFile) -> str:
        """What is wrong with a file in the cache, which is then no longer there."""
        fault = ask(partial(content_fault, self.cache.path(commit, file), file), self.errand)
        if fault:
            ask(partial(self.cache.remove, commit, file), self.errand)
        return fault
