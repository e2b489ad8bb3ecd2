"""A folder of shards: one writer at a time, and a manifest that says what each file holds and whether it still does.

``_manifest.json`` names every shard, those to come too, with what is asked of it; one that is finished has the hash of
its file. What a call finishes gets a line in ``_finished.jsonl``, which is taken into the manifest when the call begins
and ends, so that a writer that is killed loses no more than what it was at. A line counts for one manifest alone.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ConditionError, OutputError, OutputExistsError
from astro_galaxysd.images.files import atomic_path, make_folder, rehearse_path, sync
from astro_galaxysd.images.storage_columns import disassemble

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = [
    "MANIFEST",
    "DamagedManifestError",
    "Manifest",
    "Shard",
    "file_hash",
    "only_writer",
    "read_manifest",
    "rows_hash",
    "set_aside",
]

#: Names that begin with "_" or "." are no shards to pandas, pyarrow, Dask and `read_table`.
MANIFEST, _JOURNAL, _LOCK = "_manifest.json", "_finished.jsonl", ".lock"
_FORMAT = "astro_galaxysd shards, version 1"
_BLOCK = 2**20


class DamagedManifestError(ConditionError):
    """A manifest that says nothing any more."""


@dataclass(frozen=True)
class Shard:
    """A file of a folder of shards.

    Parameters
    ----------
    file : str
        Its name.
    rows : int
    asked : str
        SHA-256 of the rows of which it has images: of their columns, prompts and seeds.
    sha256 : str
        Of the file; empty as long as it isn't written.
    size : int
        Bytes of the file.
    run : int
        Which of the manifest's runs drew it.
    """

    file: str
    rows: int
    asked: str
    sha256: str = ""
    size: int = 0
    run: int = 0

    def unfinished(self) -> Shard:
        """The same before it was written."""
        return Shard(self.file, self.rows, self.asked)


@dataclass(frozen=True)
class Manifest:
    """What a folder of shards holds.

    Parameters
    ----------
    folder : Path
    kind : str
        Of its files, which is also their suffix.
    run : dict
        What the rows were drawn with: the run record, see `astro_galaxysd.images.provenance.run_record`.
    shards : tuple of Shard
        In the order of the rows.
    later : tuple of dict
        Records of later runs, which went on with other versions or on another kind of machine.
    journal : str
        What its lines in the journal have; another one whenever it is written.
    """

    folder: Path
    kind: str
    run: dict[str, Any]
    shards: tuple[Shard, ...]
    later: tuple[dict[str, Any], ...] = ()
    journal: str = field(default="", compare=False)

    @property
    def runs(self) -> tuple[dict[str, Any], ...]:
        """Records of all runs that the shards tell apart."""
        return (self.run, *self.later)

    @property
    def finished(self) -> tuple[Shard, ...]:
        """Shards that have been written."""
        return tuple(shard for shard in self.shards if shard.sha256)

    @property
    def rows(self) -> int:
        """Rows of the finished shards."""
        return sum(shard.rows for shard in self.finished)

    def path(self, shard: Shard) -> Path:
        """Where a shard lies."""
        return self.folder / shard.file

    def with_shard(self, number: int, shard: Shard) -> Manifest:
        """The same with another shard in place of one."""
        return replace(self, shards=(*self.shards[:number], shard, *self.shards[number + 1 :]))

    def is_there(self, shard: Shard, *, verify: bool = False) -> bool:
        """Whether a shard is finished and its file is as long as it was, with `verify` also the same."""
        path = self.path(shard)
        try:
            same = bool(shard.sha256) and path.stat().st_size == shard.size
            return same and (not verify or file_hash(path) == shard.sha256)
        except OSError:
            return False

    def write(self) -> Manifest:
        """Put the whole manifest in its place; it is the one that is returned, and its journal is empty.

        Raises
        ------
        OutputError
            If the system refuses.
        """
        whole = replace(self, journal=secrets.token_hex(8))
        content = {
            "format": _FORMAT, "kind": self.kind, "rows": sum(shard.rows for shard in self.shards), "run": self.run,
            "later": self.later, "journal": whole.journal, "shards": [asdict(shard) for shard in self.shards],
        }  # fmt: skip
        with atomic_path(self.folder / MANIFEST, overwrite=True) as partial:
            partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
            sync(partial)
        with suppress(OSError):  # its lines are of another manifest now
            (self.folder / _JOURNAL).unlink()
        sync(self.folder)
        return whole

    def finish(self, number: int, shard: Shard) -> Manifest:
        """Write down that a shard is finished, once it is safe; the manifest must have been written.

        Raises
        ------
        OutputError
            If the system refuses.
        """
        path = self.folder / _JOURNAL
        try:
            sync(self.path(shard))
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"journal": self.journal, **asdict(shard)}) + "\n")
            sync(path)
        except OSError as error:
            raise OutputError(
                f"can't write {str(path)!r}: {error.strerror or error}; free space or check the permissions, and the "
                "same call goes on"
            ) from error
        sync(self.folder)
        return self.with_shard(number, shard)

    def with_journal(self) -> Manifest:
        """The same with what its journal says is finished; a line that a kill or a full disk cut off says nothing."""
        try:
            lines = (self.folder / _JOURNAL).read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return self
        shards = {shard.file: shard for shard in self.shards}
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):
                entry = _of(dict, json.loads(line))
                shard = _shard({name: entry[name] for name in entry if name != "journal"}, len(self.runs))
                if entry["journal"] == self.journal and shards[shard.file].unfinished() == shard.unfinished():
                    shards[shard.file] = shard
        return replace(self, shards=tuple(shards.values()))


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder with what its journal adds, None where there is none.

    Raises
    ------
    DamagedManifestError
        If it can't be understood.
    ConditionError
        If it can't be read, or is of another version.
    """
    path = Path(folder) / MANIFEST
    if not path.exists():
        return None
    way_out = "restore it, or write to another folder"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] == _FORMAT:
            return _manifest(Path(folder), content).with_journal()
    except (OSError, ValueError, KeyError, TypeError) as error:
        told = f"can't read {str(path)!r} ({type(error).__name__}: {error}); {way_out}"
        if isinstance(error, OSError):
            raise ConditionError(told) from error
        raise DamagedManifestError(f"{told}, or begin anew with verify=True, which draws all its rows again") from error
    raise ConditionError(f"can't read {str(path)!r} (its format is {content['format']!r}, not {_FORMAT!r}); {way_out}")


def _manifest(folder: Path, content: dict[str, Any]) -> Manifest:
    run, *later = (_run(entry) for entry in (content["run"], *_of(list, content.get("later", []))))
    shards = tuple(_shard(entry, 1 + len(later)) for entry in _of(list, content["shards"]))
    return Manifest(folder, _of(str, content["kind"]), run, shards, tuple(later), _of(str, content.get("journal", "")))


def set_aside(folder: Path) -> None:
    """Hide shards of which no manifest tells: ``_old-`` comes before their names, under which others are to be.

    Raises
    ------
    OutputError
        If the system refuses.
    """
    for path in sorted(folder.glob("shard-*")):
        try:
            path.replace(path.with_name(f"_old-{path.name}"))
        except OSError as error:
            raise OutputError(f"can't rename {str(path)!r} ({error.strerror or error}); name another folder") from error


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"it holds {value!r} where a {kind.__name__} belongs")
    return value


def _run(entry: Any) -> dict[str, Any]:
    for name, kind in (("parameters", dict), ("versions", dict), ("machine", str)):
        _of(kind, entry[name])
    return dict(entry)


def _shard(entry: Any, runs: int) -> Shard:
    shard = Shard(**_of(dict, entry))
    for name in ("file", "asked", "sha256"):
        _of(str, getattr(shard, name))
    for name in ("rows", "size", "run"):
        _of(int, getattr(shard, name))
    if not 0 <= shard.run < runs:
        raise ValueError(f"it names run {shard.run} of {runs}")
    if Path(shard.file).name != shard.file:
        raise ValueError(f"it names {shard.file!r}, outside the folder")
    return shard


def rows_hash(rows: Table) -> str:
    """SHA-256 of rows: of names, types and values of their columns, and all else that a shard keeps of them.

    Raises
    ------
    OutputError
        If a column can't be kept.
    """
    description, stored = disassemble(rows)
    digest = hashlib.sha256(json.dumps(description).encode())
    for column in stored:
        values, nulls = column.values, b""
        if column.nulls is not None:
            values, nulls = values.copy(), column.nulls.tobytes()
            values[column.nulls] = np.zeros((), values.dtype)  # what is masked is not kept
        if column.kind == "numbers":
            content = values.astype(values.dtype.newbyteorder("<")).tobytes()
        else:
            content = repr(values.tolist()).encode(errors="surrogatepass")
        digest.update(len(content).to_bytes(8, "big") + content + nulls)
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Make a folder and keep it to this process while the block goes on; the lock ends with the process.

    Raises
    ------
    OutputExistsError
        If the folder holds other files and no manifest.
    OutputError
        If another process writes there, or the system refuses.
    """
    make_folder(folder)
    _refuse_foreign(folder)
    rehearse_path(folder / MANIFEST, overwrite=True)
    lock = _locked(folder)
    try:
        for leftover in folder.glob(".partial-*"):  # of a writer that was killed
            with suppress(OSError):
                leftover.unlink()
        yield
    finally:
        lock.release()


def _refuse_foreign(folder: Path) -> None:
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError as error:
        raise OutputError(f"can't look into {str(folder)!r} ({error.strerror}); name another folder") from error
    foreign = sorted(name for name in names if not name.startswith("."))
    if foreign and MANIFEST not in names:
        raise OutputExistsError(f"the folder {str(folder)!r} holds other files, as {foreign[0]!r}; name a new one")


def _locked(folder: Path) -> Any:
    from filelock import FileLock, Timeout

    lock = FileLock(folder / _LOCK, timeout=0, fallback_to_soft=False)  # a soft one outlives a killed process
    try:
        lock.acquire()
    except Timeout as error:
        raise OutputError(
            f"another process writes to {str(folder)!r}; wait until it ends, or name another folder"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise OutputError(f"can't lock {str(folder)!r} ({error}); name a folder on another file system") from error
    return lock
