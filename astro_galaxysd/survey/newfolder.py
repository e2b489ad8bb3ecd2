"""The folder of new cutouts that are files: all files of a call get their names, or none does."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from astro_galaxysd.errors import OutputError, OutputExistsError
from astro_galaxysd.images.files import rehearse_folder, rehearse_path

__all__ = ["NewFolder", "check_name"]

#: Bytes of a file's name on ext4, XFS, APFS and NTFS (there UTF-16 units; names here are ASCII).
_LONGEST_NAME = 255


class NewFolder:
    """A folder for the files of new rows.

    Parameters
    ----------
    path : Path
        Need not exist; its parent must.
    overwrite : bool
        Whether files may be replaced.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self.path, self.overwrite = path, overwrite
        self._placed: set[Path] = set()
        self._made = False

    def check(self) -> None:
        """Refuse a folder that can't be written; leaves nothing.

        Raises
        ------
        OutputError
            If it can't be written.
        OutputExistsError
            If it is a file.
        """
        if self.path.exists() and not self.path.is_dir():
            raise OutputExistsError(f"{str(self.path)!r} is a file; name a folder for the new cutouts")
        if self.path.is_dir():
            rehearse_path(self.path / "rehearsal", overwrite=True)
        else:
            rehearse_folder(self.path)

    @contextmanager
    def staged(self) -> Iterator[Path]:
        """A folder in this one for files without a final name; removed at the end, whatever happens.

        Raises
        ------
        OutputError
            If it can't be made.
        """
        try:
            with self._system_errors(f"make the folder {str(self.path)!r}"):
                self._made |= not self.path.exists()
                self.path.mkdir(exist_ok=True)
                stage = tempfile.TemporaryDirectory(prefix=".partial-", dir=self.path, ignore_cleanup_errors=True)
            with stage as name:
                yield Path(name)
        finally:
            self._leave_if_empty()

    def write(self, stage: Path, name: str, data: bytes) -> None:
        """Write a file without its final place; raises `OutputError` if that can't be done."""
        with self._system_errors(f"write {str(self.path / name)!r}"):
            (stage / name).write_bytes(data)

    def place(self, stage: Path, names: Iterable[str]) -> None:
        """Give files their final place: all, or none if that does not end.

        Raises
        ------
        OutputError
            If the system refuses.
        OutputExistsError
            If there is a file of that name by now that may not be replaced.
        """
        placed: list[Path] = []
        try:
            for name in names:
                target = self.path / name
                if target.exists() and not self.overwrite:
                    raise OutputExistsError(
                        f"{str(target)!r} was written by somebody else meanwhile; choose another folder with cutouts="
                    )
                placed.append(target)
                with self._system_errors(f"write {str(target)!r}"):
                    os.replace(stage / name, target)
        except BaseException:
            self._unlink(placed)
            raise
        self._placed.update(placed)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files that were placed here, and the folder if it was made for them and is empty; no others."""
        gone = {self.path / name for name in names} & self._placed
        self._placed -= gone
        self._unlink(gone)
        self._leave_if_empty()

    def _unlink(self, paths: Iterable[Path]) -> None:
        for path in paths:
            with suppress(OSError):
                path.unlink()

    def _leave_if_empty(self) -> None:
        if self._made and not self._placed:
            with suppress(OSError):
                self.path.rmdir()

    @contextmanager
    def _system_errors(self, task: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"can't {task}: {error.strerror or error}; no new file was left. Free space, check the permissions or "
                "choose another folder with cutouts="
            ) from error


def check_name(name: str, row_id: str) -> None:
    """Refuse a name that no file can have.

    Raises
    ------
    OutputError
        Names the row.
    """
    if len(name) > _LONGEST_NAME:
        raise OutputError(
            f"the id {row_id!r} is too long for a file: {name!r} has {len(name)} characters, {_LONGEST_NAME} are "
            "possible; give the rows shorter ids"
        )
