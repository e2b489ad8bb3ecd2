"""What went wrong with the Hub, in words that say the way out and hold no token.

In: whatever huggingface_hub, the network or the disk raised, and the errand it was raised on. Out: a `HubError`. The
error that was raised is not chained to it, as its own message, or one behind it, may repeat a header with the token.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from astro_galaxysd.errors import HubError, HubUnreachableError
from astro_galaxysd.hub.cache import cache_folder
from astro_galaxysd.hub.listing import size_text
from astro_galaxysd.hub.names import DEFAULT_REVISION

__all__ = [
    "Busy",
    "Errand",
    "disk_full",
    "hub_error",
    "is_unreachable",
    "not_logged_in",
    "offline",
    "page",
    "scrub",
]

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN to an access token"
_HIDDEN = "<token>"
_TOKEN = re.compile(r"hf_(?:[a-z]+_)?[A-Za-z0-9.-]{20,}|(?i:(?<=bearer )[^\s'\"]+)")
_LONGEST = 300
_FULL = {errno.ENOSPC, errno.EDQUOT}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}


class Busy(Exception):
    """The Hub asks to come back later.

    Parameters
    ----------
    status : int
        Of HTTP.
    wait : float
        Seconds it asks for; 0 where it does not say.
    """

    def __init__(self, status: int, wait: float = 0.0) -> None:
        super().__init__(f"status {status}")
        self.status, self.wait = status, wait


@dataclass(frozen=True)
class Errand:
    """What is asked of the Hub.

    Parameters
    ----------
    name : str
        ``"organisation/name"``.
    kind : str
        ``"model"`` or ``"dataset"``.
    revision : str
        Branch, tag or commit.
    pushing : bool
        Whether files go there, not here.
    needed : int
        Bytes still to be written to the cache.
    token : str or None
        The access token that is sent. It is in no text.
    """

    name: str
    kind: str = "model"
    revision: str = DEFAULT_REVISION
    pushing: bool = False
    needed: int = 0
    token: str | None = field(default=None, repr=False)

    @property
    def what(self) -> str:
        """The repository in words."""
        return f"the {self.kind} {self.name}"


def page(errand: Errand) -> str:
    """Address of the page of a repository."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{'datasets/' if errand.kind == 'dataset' else ''}{errand.name}"


def scrub(text: str, token: str | None = None) -> str:
    """Hide a token in a text, and all that looks like one.

    Examples
    --------
    >>> scrub("authorization: Bearer hf_abcdefghij", "other")
    'authorization: Bearer <token>'
    """
    for secret in {token, token.strip()} if token and token.strip() else ():
        text = text.replace(secret, _HIDDEN)
    return _TOKEN.sub(_HIDDEN, text)


def hub_error(error: BaseException, errand: Errand) -> HubError:
    """An error in words, with the way out and without tokens.

    Parameters
    ----------
    error : BaseException
    errand : Errand

    Returns
    -------
    HubError
        To be raised where `error` is no longer handled, so that it is not chained.
    """
    if isinstance(error, HubError):
        error.__cause__ = error.__context__ = None
        return error
    for cause in _causes(error):
        text = _known(cause, errand)
        if text:
            kind = HubUnreachableError if isinstance(cause, Busy) or is_unreachable(cause) else HubError
            return kind(scrub(text, errand.token))
    return HubError(scrub(f"{_failed(errand)}: {_reason(list(_causes(error))[-1])}", errand.token))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those it was raised from: huggingface_hub wraps some in others that say less."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__


def _known(error: BaseException, errand: Errand) -> str:
    """Text for an error of a known class; empty for others."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    if isinstance(error, Busy):
        return _busy(error, errand)
    if isinstance(error, HfHubHTTPError):
        return _answered(error, errand)
    if isinstance(error, OfflineModeIsEnabled):
        return str(offline(errand))
    if isinstance(error, LocalTokenNotFoundError):
        return str(not_logged_in(errand))
    if is_unreachable(error):
        return _unreachable(error, errand)
    if isinstance(error, OSError):
        return _from_disk(error, errand)
    # what the client refuses by itself, and says more of than the answer that it was raised from
    return f"{_failed(errand)}: {_reason(error)}" if isinstance(error, ValueError) else ""


def _answered(error: BaseException, errand: Errand) -> str:
    """Text for an answer of the Hub that is a refusal."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    status = error.response.status_code  # type: ignore[attr-defined]
    if isinstance(error, GatedRepoError):
        return (
            f"{errand.what} is gated ({status}): accept its licence at {page(errand)} with your account, and {LOG_IN} "
            "of that account"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{errand.what} has no revision {errand.revision!r}; see its branches and tags at {page(errand)}"
    if isinstance(error, RepositoryNotFoundError) or (status == 404 and errand.pushing):
        return (
            f"the Hub shows no {errand.kind} {errand.name} ({status}): check the name; if it is private, {LOG_IN} of "
            "an account that may see it"
        )
    if status == 401:
        return _unauthorised(errand)
    if status == 403:
        return _forbidden(errand)
    return f"{_failed(errand)}: {_reason(error)} ({status}); see {page(errand)}, or try again later"


def _unauthorised(errand: Errand) -> str:
    if errand.token:
        return (
            f"the Hub refuses the access token that was sent for {errand.what} (401): it is wrong or no longer valid. "
            "Log in again with `hf auth login`, or set HF_TOKEN to a new one"
        )
    return f"the Hub asks who wants {errand.what} (401): check the name; if it is private, {LOG_IN}"


def _forbidden(errand: Errand) -> str:
    if errand.pushing:
        return (
            f"your access token may not write to {errand.what} (403): make one with permission to write at "
            "https://huggingface.co/settings/tokens, or push to a name of your own"
        )
    return (
        f"your account may not read {errand.what} (403): ask for access at {page(errand)}, or {LOG_IN} of an account "
        "that has it"
    )


def _busy(error: Busy, errand: Errand) -> str:
    if error.status == 429:
        asked = f" and asks to wait {error.wait:.0f} s" if error.wait else ""
        return (
            f"{_failed(errand)}: the Hub has had too many requests from here (429){asked}; try again after that. Who "
            f"is logged in may ask more often: {LOG_IN}"
        )
    return f"{_failed(errand)}: the Hub answers with an error of its own ({error.status}), again and again; try later"


def _unreachable(error: BaseException, errand: Errand) -> str:
    from huggingface_hub import constants

    return (
        f"{_failed(errand)}: the connection to {constants.ENDPOINT} fails ({_reason(error)}); check the network and "
        "try again. Set HF_HUB_OFFLINE=1 to use what was fetched before"
    )


def _from_disk(error: OSError, errand: Errand) -> str:
    if error.errno in _FULL:
        return str(disk_full(errand))
    if error.errno in _CLOSED:
        where = error.filename or cache_folder()
        return f"{_failed(errand)}: {where} {error.strerror}; set HF_HOME to a folder that you may write to"
    if "Consistency check failed" in str(error):
        return f"{_failed(errand)}: a file came with another size than the Hub says, again and again; try later"
    return ""


def disk_full(errand: Errand) -> HubError:
    """The error of a disk without room."""
    return HubError(
        f"{_failed(errand)}: no room for {size_text(errand.needed)} in {cache_folder()}; make "
        "room, or set HF_HOME to a folder on a larger disk"
    )


def offline(errand: Errand) -> HubError:
    """The error of a request that was not to be made."""
    if errand.pushing:
        return HubError(f"{_failed(errand)}: HF_HUB_OFFLINE is set; unset it where there is a network")
    return HubError(
        f"{_failed(errand)}: HF_HUB_OFFLINE is set and it is not all in {cache_folder()}; unset it where there is a "
        "network, or fetch there first"
    )


def not_logged_in(errand: Errand) -> HubError:
    """The error of who pushes without a token."""
    return HubError(f"{_failed(errand)}: nobody is logged in; {LOG_IN} with permission to write")


def _failed(errand: Errand) -> str:
    if errand.pushing:
        return f"the push to {errand.what} failed"
    return f"{errand.what} at {errand.revision} could not be fetched"


def is_unreachable(error: BaseException) -> bool:
    """Whether a connection could not be made or was lost.

    By the name of the class, as huggingface_hub has changed the HTTP library it raises such errors of.
    """
    names = {parent.__name__ for parent in type(error).__mro__}
    return "TransportError" in names and not names & {"LocalProtocolError", "UnsupportedProtocol"}


def _reason(error: BaseException) -> str:
    """What an error says, in one line."""
    said = getattr(error, "server_message", None) or str(error) or type(error).__name__
    line = " ".join(str(said).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
