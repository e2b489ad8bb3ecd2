"""Names of repositories on the Hugging Face Hub: ``organisation/name``, with ``@revision`` behind it or without.

A revision is a branch, a tag, a reference such as ``refs/pr/1``, or a commit. Only a whole commit, 40 hexadecimal
digits, always means the same files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from astro_galaxysd.errors import HubNameError

__all__ = ["DEFAULT_REVISION", "KINDS", "HubName", "check_kind", "is_commit", "parse_name"]

DEFAULT_REVISION = "main"
#: Kinds of repository.
KINDS = ("model", "dataset")
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_NAME = re.compile(f"{_PART}/{_PART}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LONGEST_NAME, _LONGEST_REVISION = 96, 200


@dataclass(frozen=True)
class HubName:
    """A repository, and which of its revisions.

    Parameters
    ----------
    name : str
        ``"organisation/name"``.
    revision : str or None
        Branch, tag, reference or commit; None where none was named.
    """

    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}" if self.revision else self.name


def parse_name(text: str, revision: str | None = None) -> HubName:
    """Read a name of the Hub.

    Parameters
    ----------
    text : str
        ``"organisation/name"`` or ``"organisation/name@revision"``.
    revision : str, optional
        The revision, where it is given beside the name.

    Returns
    -------
    HubName

    Raises
    ------
    HubNameError
        If that is no name or no revision, or if two revisions are named.

    Examples
    --------
    >>> parse_name("organisation/rings@v1")
    HubName(name='organisation/rings', revision='v1')
    >>> print(parse_name("organisation/rings"))
    organisation/rings
    """
    name, at, behind = text.partition("@")
    if not _NAME.fullmatch(name) or "--" in name or ".." in name or name.endswith(".git") or len(name) > _LONGEST_NAME:
        raise HubNameError(
            f"{text!r} is no name on the Hub; give organisation/name or organisation/name@revision: letters, digits, "
            f"'-', '_' and '.' on both sides of one '/', neither '--' nor '..', at most {_LONGEST_NAME} characters"
        )
    if at and revision is not None and behind != revision:
        raise HubNameError(f"{text!r} names a revision, and {revision!r} is another; name one")
    chosen = behind if at else revision
    if chosen is not None:
        _check_revision(chosen)
    return HubName(name, chosen)


def _check_revision(text: str) -> None:
    unlike_git = ".." in text or text.endswith((".", ".lock"))
    if not _REVISION.fullmatch(text) or unlike_git or len(text) > _LONGEST_REVISION:
        raise HubNameError(
            f"{text!r} is no revision; give a branch, a tag or a commit of 40 hexadecimal digits, or leave it out for "
            f"the newest of {DEFAULT_REVISION!r}"
        )


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a whole commit, which never comes to mean other files.

    Examples
    --------
    >>> is_commit("main"), is_commit("9f" * 20)
    (False, True)
    """
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def check_kind(kind: str) -> None:
    """Refuse what is no kind of repository.

    Raises
    ------
    HubNameError
        If it is neither of `KINDS`.
    """
    if kind not in KINDS:
        raise HubNameError(f"{kind!r} is no kind of repository; choose one of {', '.join(map(repr, KINDS))}")
