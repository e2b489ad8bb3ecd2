"""The command ``galaxysd``: augment, generate, plugins, train.

Nothing heavy is imported before a command needs it, so that help and plug-in lists appear at once. Exit status: 0 done,
1 an error that the message explains, 2 a wrong command line, 130 interrupted (what was finished is kept).
"""

from __future__ import annotations

import atexit
import gc
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from astro_galaxysd.cli.arguments import make_parser
from astro_galaxysd.errors import GalaxySDError, OutputError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        Instead of ``sys.argv[1:]``.

    Raises
    ------
    GalaxySDError
        With ``--debug`` only; otherwise the error is printed and the status is 1.
    SystemExit
        Status 2 for a wrong command line, 0 after ``--help`` and ``--version``.
    """
    options = make_parser().parse_args(arguments)
    # the system takes the memory back; looking for garbage among all that was imported takes a second
    atexit.register(gc.freeze)
    logging.basicConfig(format="galaxysd: %(message)s", level=logging.INFO if options.debug else logging.WARNING)
    with warnings.catch_warnings():
        if not options.debug:
            warnings.simplefilter("default")
            warnings.showwarning = _show_warning
        try:
            with _terminated_is_interrupted():
                return int(options.run(options))
        except KeyboardInterrupt:
            print("galaxysd: interrupted; nothing was finished yet", file=sys.stderr)
            return 130
        except GalaxySDError as error:
            kept = _keep(error, options)
            if options.debug:
                raise
            print(f"galaxysd: error: {error}", file=sys.stderr)
            for note in [kept] if kept else getattr(error, "__notes__", ()):
                print(f"galaxysd: {note}", file=sys.stderr)
            return 1


@contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """What batch systems and `kill` send saves as much as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what a signal does
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Warnings of ours as one line; those of libraries are for --debug."""
    if category.__module__.startswith("astro_galaxysd"):
        print(f"galaxysd: {message}", file=sys.stderr)


def _keep(error: GalaxySDError, options: Any) -> str:
    """Save a drawn table that could not be written where it should go; say where it is now."""
    if not isinstance(error, OutputError) or error.result is None:
        return ""
    from astro_galaxysd.cli.outputs import keep_elsewhere

    return keep_elsewhere(error.result, options.out)
