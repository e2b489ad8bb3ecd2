"""Weights and archives in files of limited size."""

from __future__ import annotations

import io
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from astro_galaxysd.errors import OutputError, TrainingError

__all__ = ["join_pieces", "split_weights", "write_pieces"]

_MB = 1_000_000


def split_weights(folder: Path, limit: int) -> None:
    """Divide every safetensors file that is too large, with the index that `from_pretrained` reads; in place.

    Parameters
    ----------
    folder : Path
        Weights folder of diffusers or transformers, searched through.
    limit : int
        Bytes a file may have.

    Raises
    ------
    OutputError
        If a single parameter is larger.
    """
    from huggingface_hub import save_torch_state_dict
    from safetensors.torch import load

    for path in sorted(Path(folder).rglob("*.safetensors")):
        if path.stat().st_size <= limit:
            continue
        stored = path.read_bytes()
        state = load(stored)
        # the header, which names the tensors, has its length in front; no part's is longer but for alignment
        room = limit - int.from_bytes(stored[:8], "little") - 1024
        path.unlink()
        pattern = path.name.replace(".safetensors", "{suffix}.safetensors")
        save_torch_state_dict(state, path.parent, filename_pattern=pattern, max_shard_size=max(room, 1))
        for part in path.parent.glob("*.safetensors"):
            if part.stat().st_size > limit:
                largest = max(state, key=lambda name: state[name].nbytes)
                raise OutputError(
                    f"{path.name}: {largest} alone has {state[largest].nbytes / _MB:.1f} MB and can't be divided; "
                    f"allow files of more than {limit / _MB:g} MB"
                )


def write_pieces(files: Mapping[str, Path], archive: Path, limit: int) -> list[Path]:
    """Write files as one zip archive cut into pieces ``ARCHIVE.000``, ``ARCHIVE.001`` ...

    ``cat ARCHIVE.* > ARCHIVE`` makes it whole; `join_pieces` unpacks it too. Pieces of an earlier archive of that name
    are removed.

    Parameters
    ----------
    files : mapping of str to Path
        Files by their names in the archive.
    archive : Path
    limit : int
        Bytes a piece may have.

    Returns
    -------
    list of Path
        The pieces in order.

    Raises
    ------
    OutputError
        If the system refuses to write.
    """
    for old in _pieces(archive):
        old.unlink()
    try:
        stream = _Pieces(archive, limit)
        # stored: parameters hardly get smaller
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as target:
            for name, path in files.items():
                target.write(path, name)
        stream.finish()
    except OSError as error:
        raise OutputError(
            f"can't write {archive}.*: {error.strerror or error}; free space or choose another folder"
        ) from error
    return _pieces(archive)


def join_pieces(archive: Path, folder: Path) -> None:
    """Unpack what `write_pieces` wrote.

    Parameters
    ----------
    archive : Path
        Name without the pieces' numbers.
    folder : Path
        Gets the files; made if it is not there.

    Raises
    ------
    TrainingError
        If a piece is missing or damaged.
    OutputError
        If the system refuses to write.
    """
    pieces = _pieces(archive)
    if not pieces:
        raise TrainingError(f"{archive}.000 is missing: give the name of the archive without .000")
    with tempfile.TemporaryFile() as whole:
        for piece in pieces:
            whole.write(piece.read_bytes())
        try:
            source = zipfile.ZipFile(whole)
            damaged = source.testzip()
            if damaged:
                raise zipfile.BadZipFile(f"{damaged} has another checksum")
        except (zipfile.BadZipFile, OSError) as error:  # OSError: a place outside the file, where a piece is missing
            raise TrainingError(
                f"{archive}: {len(pieces)} pieces are not the whole archive ({error}); copy all of them again"
            ) from error
        try:
            source.extractall(folder)
        except OSError as error:
            raise OutputError(
                f"can't unpack {archive} into {folder}: {error.strerror or error}; free space or choose another folder"
            ) from error


def _pieces(archive: Path) -> list[Path]:
    """Pieces in order."""
    numbered = re.compile(re.escape(archive.name) + r"\.(\d{3,})")
    found = [(int(match[1]), path) for path in archive.parent.glob(f"{archive.name}.*")
             if (match := numbered.fullmatch(path.name))]  # fmt: skip
    return [path for _, path in sorted(found)]


class _Pieces(io.RawIOBase):
    """A stream that can only be written and goes on in another file when one is full."""

    def __init__(self, archive: Path, limit: int) -> None:
        super().__init__()
        self._archive, self._limit, self._number = archive, limit, 0
        self._file, self._room = open(f"{archive}.000", "wb"), limit  # noqa: SIM115

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        rest = memoryview(data).cast("B")  # type: ignore[arg-type]
        total = len(rest)
        while len(rest):
            if not self._room:
                self._file.close()
                self._number += 1
                self._file, self._room = open(f"{self._archive}.{self._number:03}", "wb"), self._limit  # noqa: SIM115
            written = self._file.write(rest[: self._room])
            self._room -= written
            rest = rest[written:]
        return total

    def finish(self) -> None:
        """Write what is buffered."""
        self._file.close()
