"""Calls side by side, each on a thread of its own: small networks use one core well and several badly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["side_by_side"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def side_by_side(
    function: Callable[[_In], _Out], arguments: Iterable[_In], workers: int | None = None
) -> Iterator[_Out]:
    """As ``map``, but calls run at the same time, while torch has one thread for each.

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
    import torch

    threads = torch.get_num_threads()
    number = threads if workers is None else workers
    if number == 1:
        yield from map(function, arguments)
        return
    torch.set_num_threads(1)
    # OpenMP keeps the number of threads by thread.
    pool = ThreadPoolExecutor(number, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from pool.map(function, arguments)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
