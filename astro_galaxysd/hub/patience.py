"""Asking the Hub: again where that helps, never for ever, and never through Xet.

huggingface_hub waits as long as a ``Retry-After`` header says, and some of its requests wait for an answer without any
limit. While we ask, its HTTP client hands answers of busy servers to us, and what has no time limit gets one. Large
files go through plain HTTP: ``HF_HUB_DISABLE_XET`` is in effect while we ask, whatever the environment says, as Xet,
the other way of moving them, is not tested here.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from astro_galaxysd.errors import HubError
from astro_galaxysd.hub.faults import Busy, Errand, hub_error, is_unreachable, scrub

__all__ = ["LONGEST_WAIT", "WAITS", "ask", "hub_api", "hub_token", "plain_http"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: Seconds before each further attempt.
WAITS = (1.0, 2.0, 4.0)
#: Seconds that a server may ask us to wait; who asks for more is not waited for.
LONGEST_WAIT = 60.0
_AGENT = "astro_galaxysd"
_BUSY = {408, 429, 500, 502, 503, 504}
#: The Hub says how many requests remain, and seconds until there are more.
_LIMIT_SPENT = re.compile(r"\br=0\s*;\s*t=(\d+)")
_TIMEOUT = {"connect": 30.0, "read": 300.0, "write": 60.0, "pool": 30.0}
#: Headers that huggingface_hub shows or logs.
_SHOWN = ("x-hf-warning", "x-error-message")


class _XetOff:
    """Xet is not used as long as anyone, in whichever thread, has entered."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, False

    def __enter__(self) -> None:
        from huggingface_hub import constants

        with self._lock:
            if not self._inside:
                self._before = constants.HF_HUB_DISABLE_XET
            self._inside += 1
            constants.HF_HUB_DISABLE_XET = True

    def __exit__(self, *_: object) -> None:
        from huggingface_hub import constants

        with self._lock:
            self._inside -= 1
            if not self._inside:
                constants.HF_HUB_DISABLE_XET = self._before


_xet_off = _XetOff()


def hub_token(token: str | None, errand: Errand) -> str | None:
    """The token to send: the one that is given, else the one of who is logged in.

    Parameters
    ----------
    token : str or None
    errand : Errand
        For messages.

    Returns
    -------
    str or None

    Raises
    ------
    HubError
        If it can be no token, or the one of who is logged in can't be had.
    """
    import huggingface_hub
    from huggingface_hub import constants

    if token is None and not constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        token = ask(huggingface_hub.get_token, errand)
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token and token):
        raise HubError(
            "the access token holds a space, a line end or a character that no token has; copy it again from "
            "https://huggingface.co/settings/tokens"
        )
    return token


def hub_api(token: str | None) -> Any:
    """The client of huggingface_hub, with our name and only that token."""
    import huggingface_hub

    import astro_galaxysd

    # False: no token at all, where None would have it look for one
    return huggingface_hub.HfApi(
        token=token if token is not None else False,
        library_name=_AGENT,
        library_version=astro_galaxysd.__version__,
    )


def ask(call: Callable[[], T], errand: Errand, waits: Sequence[float] = WAITS) -> T:
    """Ask the Hub; again, after a pause, where it is busy or the connection was lost.

    Parameters
    ----------
    call : callable
        Asks; it may be called several times.
    errand : Errand
        What it does, for messages.
    waits : sequence of float
        Seconds before each further attempt.

    Returns
    -------
    object
        What `call` returns.

    Raises
    ------
    HubError
        If it can't be had; says why and the way out.
    """
    for planned in (*waits, None):
        try:
            with plain_http(errand):
                return call()
        except Exception as error:  # of the Hub, the network and the disk, of many classes
            failure, pause = hub_error(error, errand), _pause(error, planned)
        if pause is None:
            break
        logger.warning("%s: the Hub is busy, or the connection was lost; again in %.0f s", errand.what, pause)
        time.sleep(pause)
    # outside of the except block: an error that may hold a token is not chained
    raise failure


def _pause(error: Exception, planned: float | None) -> float | None:
    """Seconds until the next attempt; None where there is none."""
    if planned is None:
        return None
    cause: BaseException | None = error
    while cause is not None and type(cause).__name__ != "LocalEntryNotFoundError":  # huggingface_hub tried again itself
        if isinstance(cause, Busy):
            return max(planned, cause.wait) if cause.wait <= LONGEST_WAIT else None
        if is_unreachable(cause) or "Consistency check failed" in str(cause):
            return planned
        cause = cause.__cause__
    return None


@contextmanager
def plain_http(errand: Errand) -> Iterator[None]:
    """While it lasts, huggingface_hub uses no Xet, leaves busy servers to us and waits for nothing for ever.

    Parameters
    ----------
    errand : Errand
        Whose token is hidden in what the client would log.
    """
    from huggingface_hub import get_session

    def give_time(request: Any) -> None:
        timeout = request.extensions.get("timeout") or {}
        if not any(timeout.values()):
            request.extensions = {**request.extensions, "timeout": dict(_TIMEOUT)}

    def hand_over(response: Any) -> None:
        for header in _SHOWN:
            if header in response.headers:
                response.headers[header] = scrub(response.headers[header], errand.token)
        ours = _AGENT in response.request.headers.get("user-agent", "")
        if ours and response.status_code in _BUSY:
            raise Busy(response.status_code, _asked_to_wait(response.headers))

    hooks = get_session().event_hooks
    hooks["request"].append(give_time)
    hooks["response"].append(hand_over)
    try:
        with _xet_off:
            yield
    finally:
        hooks["request"].remove(give_time)
        hooks["response"].remove(hand_over)


def _asked_to_wait(headers: Any) -> float:
    """Seconds that a busy server asks for; 0 where it does not say."""
    spent = _LIMIT_SPENT.search(headers.get("ratelimit", ""))
    if spent:
        return float(spent[1])
    said = headers.get("retry-after", "").strip()
    if said.isdigit():
        return float(said)
    with suppress(ValueError):
        return max(0.0, (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds())
    return 0.0
