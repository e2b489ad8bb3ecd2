"""Calls side by side, each on a thread of its own: small networks use one core well and several badly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["side_by_side"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def side_by_side(
    function: Callable[[_In], _Out], arguments: Iterable[_In], workers: int | None = None
) -> Iterator[_Out]:
    """As ``map``, but calls run at the same time, while torch has one thread for each; safe in several threads.

    Parameters
    ----------
    function : callable
    arguments : iterable
    workers : int, optional
        Calls at a time; by default as many as torch has threads. Alone, a call keeps all threads.

    Yields
    ------
    object
        What calls return, in the order of the arguments. What was not begun when one raises or nobody waits any
        longer, never is; what was begun is waited for.
    """
    if workers == 1:
        yield from map(function, arguments)
        return
    with _one_thread_each() as threads:
        number = threads if workers is None else workers
        if number == 1:
            yield from map(function, arguments)
            return
        pool = ThreadPoolExecutor(number, initializer=_have_one_thread)
        try:
            yield from pool.map(function, arguments)
        finally:
            pool.shutdown(cancel_futures=True)


_lock = threading.Lock()
#: Callers of `side_by_side` at this moment, and the threads that torch had before the first of them.
_callers: list[int] = []


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """Number of threads that torch has otherwise; inside it has one for each of ours."""
    import torch

    with _lock:
        threads = _callers[0] if _callers else torch.get_num_threads()
        _callers.append(threads)
        torch.set_num_threads(1)
    try:
        yield threads
    finally:
        with _lock:
            _callers.remove(threads)
            torch.set_num_threads(threads)


def _have_one_thread() -> None:
    """OpenMP keeps the number by thread, and a new one takes that of the process with its first question."""
    import torch

    torch.get_num_threads()
    torch.set_num_threads(1)
