"""Output that is either complete under its final name or not there at all.

What is written first has a temporary name in the same folder (so that the rename stays on one file system) and
gets its final name when it is complete. An error or an interrupt removes the temporary name.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from astro_galaxysd.errors import OutputError, OutputExistsError

__all__ = ["atomic_folder", "atomic_path", "make_folder", "rehearse_folder", "rehearse_path", "sync"]


@contextmanager
def atomic_path(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary name for a file; rename it to `path` when the block ends well.

    Parameters
    ----------
    path : path-like
        The final name; its folder must exist.
    overwrite : bool
        Whether an existing file may be replaced.

    Yields
    ------
    Path
        A name in the same folder with the same suffixes, where nothing exists yet.

    Raises
    ------
    OutputExistsError
        If `path` exists and `overwrite` is false, or if it is a folder.
    OutputError
        If the folder is missing or the system refuses to write (disk full, no permission).

    Examples
    --------
    >>> import tempfile, pathlib
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
    >>> with atomic_path(target) as partial:
    ...     _ = partial.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    target = Path(path)
    _refuse_existing_file(target, overwrite)
    with _partial(target) as partial:
        yield partial
        # Somebody else may have written the name meanwhile.
        _refuse_existing_file(target, overwrite)
        os.replace(partial, target)


class _Rehearsed(Exception):
    """Ends a block before the output gets its final name."""


def rehearse_path(path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Find out before long work whether a file can be written; leaves nothing. Raises as `atomic_path` does."""
    with suppress(_Rehearsed), atomic_path(path, overwrite) as partial:
        partial.touch()
        raise _Rehearsed


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where it is missing.

    Raises
    ------
    OutputError
        If there is a file of that name, or the system refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"can't make the folder {str(folder)!r} ({error.strerror}); name another") from error


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, outlast a power cut. Systems that can't do so for folders are let be.

    Raises
    ------
    OSError
        If the system refuses for a file.
    """
    folder = path.is_dir()
    with suppress(OSError) if folder else nullcontext():
        descriptor = os.open(path, os.O_RDWR if os.name == "nt" and not folder else os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def atomic_folder(
    path: str | os.PathLike[str], overwrite: bool = False, *, ours: Callable[[Path], bool] = lambda folder: False
) -> Iterator[Path]:
    """Give a temporary folder; rename it to `path` when the block ends well.

    Parameters
    ----------
    path : path-like
        The final name; its parent must exist.
    overwrite : bool
        Whether an existing folder may be replaced.
    ours : callable
        Says whether an existing folder was written by this package: only such a folder is ever replaced, so that
        a mistyped path can't remove a folder of other files. An empty folder is replaced too.

    Yields
    ------
    Path
        The temporary folder, empty.

    Raises
    ------
    OutputExistsError
        If `path` exists and may not be replaced.
    OutputError
        If the system refuses to write.
    """
    target = Path(path)
    _refuse_existing_folder(target, overwrite, ours)
    with _partial(target) as partial:
        partial.mkdir()
        yield partial
        _refuse_existing_folder(target, overwrite, ours)
        _replace_folder(partial, target)


def rehearse_folder(
    path: str | os.PathLike[str], overwrite: bool = False, *, ours: Callable[[Path], bool] = lambda folder: False
) -> None:
    """Find out before long work whether a folder can be written; leaves nothing. Raises as `atomic_folder` does."""
    with suppress(_Rehearsed), atomic_folder(path, overwrite, ours=ours):
        raise _Rehearsed


@contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """Temporary name beside `target`, removed whatever happens; system errors become `OutputError`."""
    if not target.parent.is_dir():
        raise OutputError(f"can't write {str(target)!r}: its folder {str(target.parent)!r} doesn't exist; create it")
    partial = target.with_name(f".partial-{secrets.token_hex(6)}-{target.name}")
    try:
        yield partial
    except OutputError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"can't write {str(target)!r}: {reason}; nothing was left under that name. Free space, check the "
            "permissions or choose another path"
        ) from error
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _replace_folder(partial: Path, target: Path) -> None:
    """Rename `partial` to `target`; an old folder is set aside first, as folders can't be replaced in one step."""
    if not target.exists():
        os.rename(partial, target)
        return
    aside = target.with_name(f".old-{secrets.token_hex(6)}-{target.name}")
    os.rename(target, aside)
    try:
        os.rename(partial, target)
    except OSError:
        os.rename(aside, target)
        raise
    _remove(aside)


def _refuse_existing_file(target: Path, overwrite: bool) -> None:
    if target.is_dir():
        raise OutputExistsError(f"{str(target)!r} is a folder; choose another name for the file")
    if not overwrite and (target.exists() or target.is_symlink()):
        raise OutputExistsError(f"{str(target)!r} exists already; pass overwrite=True or choose another name")


def _refuse_existing_folder(target: Path, overwrite: bool, ours: Callable[[Path], bool]) -> None:
    if not target.exists() and not target.is_symlink():
        return
    if not overwrite:
        raise OutputExistsError(f"{str(target)!r} exists already; pass overwrite=True or choose another name")
    if not target.is_dir():
        raise OutputExistsError(f"{str(target)!r} is a file; choose another name for the folder")
    if any(target.iterdir()) and not ours(target):
        raise OutputExistsError(
            f"the folder {str(target)!r} holds files that this package did not write; it is not overwritten: "
            "choose another name"
        )
