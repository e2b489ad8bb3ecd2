r"""What a repository holds at a commit: which of its files are wanted, and whether a file on disk is the listed one.

In: the Hub's list of files with sizes and hashes. Out: the wanted ones, refused before a byte of them is fetched where
their names lead elsewhere or they are too large. A large file is known by the SHA-256 of its content, a small one by
git's hash of it, SHA-1 of ``blob <size>\0<content>``; both are in the list.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from astro_galaxysd.errors import HubError

__all__ = [
    "PICKLE_SUFFIXES",
    "SAFE_SUFFIXES",
    "TABLE_SUFFIXES",
    "HubFile",
    "Limits",
    "Listing",
    "check_path",
    "content_fault",
    "size_text",
    "wanted_files",
]

#: Kinds of file that run nothing when they are read.
SAFE_SUFFIXES = frozenset({".safetensors", ".json", ".txt", ".csv", ".md"})
#: Tables, fetched where they are asked for.
TABLE_SUFFIXES = frozenset({".parquet"})
#: Checkpoints that may be pickles: fetched only where they are asked for, by who reads them without running them.
PICKLE_SUFFIXES = frozenset({".ckpt", ".bin"})
_GB = 1_000_000_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Limits:
    """How much is fetched at most.

    Parameters
    ----------
    file, total : int
        Bytes of one file and of all.
    count : int
        Number of files.
    """

    file: int = 10 * _GB
    total: int = 20 * _GB
    count: int = 1000


@dataclass(frozen=True)
class HubFile:
    """A file of a repository, as the Hub lists it.

    Parameters
    ----------
    path : str
        Within the repository, with ``/``.
    size : int
        Bytes; negative where the list does not say.
    sha256, git_sha1 : str
        Hashes, 64 and 40 hexadecimal digits; empty where the list does not say.
    """

    path: str
    size: int
    sha256: str = ""
    git_sha1: str = ""


@dataclass(frozen=True)
class Listing:
    """All files of a repository at a commit.

    Parameters
    ----------
    commit : str
        40 hexadecimal digits.
    files : tuple of HubFile
    """

    commit: str
    files: tuple[HubFile, ...]

    @classmethod
    def from_info(cls, info: Any) -> Listing:
        """Read what huggingface_hub says of a repository, asked with the metadata of its files."""
        files = []
        for found in info.siblings or ():
            # of a large file git keeps a pointer only, whose hash says nothing of the content
            large, size = found.lfs, found.size if found.lfs is None else found.lfs.size
            hashes = {"git_sha1": found.blob_id or ""} if large is None else {"sha256": large.sha256}
            files.append(HubFile(found.rfilename, -1 if size is None else int(size), **hashes))
        return cls(str(info.sha), tuple(files))

    def by_path(self) -> Mapping[str, HubFile]:
        """Files by their path."""
        return {file.path: file for file in self.files}


def check_path(path: str, where: str) -> None:
    """Refuse a path that leads out of a folder, or means another file on another system.

    Parameters
    ----------
    path : str
    where : str
        What lists it, for the message.

    Raises
    ------
    HubError
        If it is absolute, has an empty part, ``.`` or ``..``, or a backslash, colon or control character.

    Examples
    --------
    >>> check_path("unet/config.json", "organisation/rings")
    """
    parts = path.split("/")
    if {"", ".", ".."} & set(parts) or "\\" in path or ":" in path or _CONTROL.search(path):
        raise HubError(
            f"{where} lists {path!r}, which could lead out of the folder; nothing was moved. Files need plain names: "
            "no '..', no absolute path, no backslash, colon or control character"
        )


def wanted_files(
    listing: Listing, name: str, *, patterns: Iterable[str] | None, suffixes: Collection[str], limits: Limits
) -> list[HubFile]:
    """Choose files of a repository and check them before any is fetched.

    Parameters
    ----------
    listing : Listing
    name : str
        The repository, for messages.
    patterns : iterable of str or None
        As ``"unet/*"``; ``*`` matches ``/`` too. None: all.
    suffixes : collection of str
        Kinds of file, of `SAFE_SUFFIXES`, `TABLE_SUFFIXES` and `PICKLE_SUFFIXES`.
    limits : Limits

    Returns
    -------
    list of HubFile
        By path.

    Raises
    ------
    HubError
        If a kind can't be asked for, nothing is wanted, a path leads elsewhere, a size is not known, or there is
        more than `limits` allow.
    """
    known = SAFE_SUFFIXES | TABLE_SUFFIXES | PICKLE_SUFFIXES
    refused = set(suffixes) - known
    if refused:
        raise HubError(
            f"files of kind {', '.join(sorted(refused))} are never fetched; choose of {', '.join(sorted(known))}"
        )
    chosen = None if patterns is None else tuple(patterns)
    files = sorted(
        (file for file in listing.files if _is_wanted(file.path, chosen, suffixes)), key=lambda file: file.path
    )
    if not files:
        among = "" if chosen is None else f" that match {', '.join(map(repr, chosen))}"
        raise HubError(
            f"{name} at {listing.commit} has no files of kind {', '.join(sorted(suffixes))}{among}; check the name and "
            "the revision, or choose other files"
        )
    for file in files:
        check_path(file.path, name)
        if file.size < 0:
            raise HubError(f"{name} does not say how large {file.path!r} is, so it is not fetched; name other files")
    _check_sizes(files, name, limits)
    return files


def _is_wanted(path: str, patterns: tuple[str, ...] | None, suffixes: Collection[str]) -> bool:
    if PurePosixPath(path).suffix.lower() not in suffixes:
        return False
    return patterns is None or any(fnmatchcase(path, pattern) for pattern in patterns)


def _check_sizes(files: list[HubFile], name: str, limits: Limits) -> None:
    largest = max(files, key=lambda file: file.size)
    if largest.size > limits.file:
        raise HubError(
            f"{name}: {largest.path!r} has {size_text(largest.size)}, more than {size_text(limits.file)}; nothing was "
            "fetched. Name fewer files, or allow more"
        )
    total = sum(file.size for file in files)
    if total > limits.total or len(files) > limits.count:
        raise HubError(
            f"{name}: {len(files)} files with {size_text(total)} together, more than {limits.count} files or "
            f"{size_text(limits.total)}; nothing was fetched. Name fewer files, or allow more"
        )


def content_fault(path: Path, file: HubFile) -> str:
    """What is wrong with a file on disk, in words; empty where it is the listed one.

    Parameters
    ----------
    path : Path
    file : HubFile
        Without a hash in it, only the size is looked at.

    Returns
    -------
    str

    Examples
    --------
    >>> import tempfile
    >>> there = Path(tempfile.mkdtemp()) / "a.txt"
    >>> _ = there.write_text("ring")
    >>> content_fault(there, HubFile("a.txt", 5))
    '4 bytes where 5 bytes are listed'
    """
    size = path.stat().st_size
    if size != file.size:
        return f"{size_text(size)} where {size_text(file.size)} are listed"
    if file.sha256:
        expected, digest = file.sha256, hashlib.sha256()
    elif file.git_sha1:
        expected, digest = file.git_sha1, hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    else:
        return ""
    with path.open("rb") as stream:
        hashlib.file_digest(stream, lambda: digest)
    found = digest.hexdigest()
    return "" if found == expected else f"its content has the hash {found[:12]}... where {expected[:12]}... is listed"


def size_text(size: int) -> str:
    """A number of bytes to be read by people.

    Examples
    --------
    >>> size_text(812), size_text(4_500_000), size_text(3_440_000_000)
    ('812 bytes', '4.5 MB', '3.44 GB')
    """
    if size >= _GB:
        return f"{size / _GB:.2f} GB"
    return f"{size / 1e6:.1f} MB" if size >= 1_000_000 else f"{size} bytes"
