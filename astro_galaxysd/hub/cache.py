"""The cache of huggingface_hub for one repository: commits of branches, files of commits, and what was checked.

``refs/<branch>`` holds a commit, ``snapshots/<commit>/`` the files, mostly links into ``blobs/``: that is the layout
huggingface_hub documents, so that other programs find what we fetched and we find what they did. Beside them
``galaxysd/<commit>.json`` keeps the Hub's list of files and which of them were compared with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from astro_galaxysd.errors import OutputError
from astro_galaxysd.hub.listing import HubFile, Listing
from astro_galaxysd.hub.names import is_commit
from astro_galaxysd.images.files import atomic_path, make_folder

__all__ = ["RepoCache", "cache_folder"]


def cache_folder() -> Path:
    """Folder of the cache: ``HF_HUB_CACHE``, else ``hub`` in ``HF_HOME``."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser().resolve()


class RepoCache:
    """The cache of one repository.

    Parameters
    ----------
    name : str
        ``"organisation/name"``.
    kind : str
        ``"model"`` or ``"dataset"``.
    """

    def __init__(self, name: str, kind: str) -> None:
        self.name, self.kind = name, kind
        self.folder = cache_folder() / f"{kind}s--{name.replace('/', '--')}"

    def commit(self, revision: str) -> str | None:
        """The commit that a branch or tag was when it was last fetched, if it ever was."""
        if is_commit(revision):
            return revision
        with suppress(OSError, UnicodeDecodeError):
            found = (self.folder / "refs" / revision).read_text(encoding="ascii").strip()
            return found if is_commit(found) else None
        return None

    def keep_commit(self, revision: str, commit: str) -> None:
        """Remember the commit of a branch or tag; a cache that can't be written to stays as it is."""
        if not is_commit(revision) and self.commit(revision) != commit:
            self._write(self.folder / "refs" / revision, commit)

    def snapshot(self, commit: str) -> Path:
        """Folder with the files of a commit."""
        return self.folder / "snapshots" / commit

    def path(self, commit: str, file: HubFile) -> Path:
        """Where a file of a commit is, or will be."""
        return self.snapshot(commit).joinpath(*file.path.split("/"))

    def listing(self, commit: str) -> tuple[Listing, frozenset[str]] | None:
        """The list of files of a commit and the paths that were compared with it, if they were kept."""
        try:
            content = json.loads(self._record(commit).read_text(encoding="utf-8"))
            files = tuple(HubFile(**file) for file in content["files"])
            return Listing(commit, files), frozenset(map(str, content["checked"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def foreign_listing(self, commit: str) -> Listing | None:
        """What another program that uses the cache kept of a commit, if it did: names and sizes, no hashes."""
        import huggingface_hub
        from huggingface_hub.errors import CachedRepoTreeNotFoundError

        try:
            tree = huggingface_hub.get_cached_repo_tree(self.name, repo_type=self.kind, revision=commit)
        except CachedRepoTreeNotFoundError:
            return None
        return Listing(commit, tuple(HubFile(file.path, file.size) for file in tree))

    def keep_listing(self, listing: Listing, checked: Iterable[str]) -> None:
        """Remember the list of files of a commit; a cache that can't be written to stays as it is."""
        content = {"files": [asdict(file) for file in listing.files], "checked": sorted(checked)}
        self._write(self._record(listing.commit), json.dumps(content, indent=1))

    def remove(self, commit: str, file: HubFile) -> None:
        """Remove a file of a commit and the content it links to, so that it is fetched anew."""
        path = self.path(commit, file)
        content = path.resolve()
        path.unlink(missing_ok=True)
        if content.is_relative_to(cache_folder()):
            content.unlink(missing_ok=True)

    def _record(self, commit: str) -> Path:
        return self.folder / "galaxysd" / f"{commit}.json"

    def _write(self, path: Path, text: str) -> None:
        # the files are there all the same, in a cache that is shared and read-only for example
        with suppress(OutputError):
            make_folder(path.parent)
            with atomic_path(path, overwrite=True) as partial:
                partial.write_text(text, encoding="utf-8")
