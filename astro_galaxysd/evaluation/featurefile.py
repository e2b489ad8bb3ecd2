"""Numbers of images in a file that several processes may read and write: SQLite, one row an image and measure."""

from __future__ import annotations

import os
import sqlite3
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from astro_galaxysd.errors import OutputError

__all__ = ["CACHE_FILE", "FeatureFile", "MemoryWarning"]

#: Name of the file in a memory's folder.
CACHE_FILE = "features.sqlite"
_TABLE = "measured_1"  # counted up when what is stored changes
_AT_ONCE = 500  # SQLite before 3.32 takes 999 parameters at most
_WAIT = 60.0  # seconds for another process to finish writing


class MemoryWarning(UserWarning):
    """A file of remembered numbers was damaged or could not be used; the numbers are computed all the same."""


class FeatureFile:
    """Numbers by what measured them and by the image's digest; opened for each use, so that processes take turns.

    Parameters
    ----------
    folder : Path
        Made if it is missing; the file in it is `CACHE_FILE`.

    Raises
    ------
    OutputError
        If it can't be written.

    Warns
    -----
    MemoryWarning
        If the file is damaged; it is set aside and a new one begun, now or when the damage shows.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / CACHE_FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._prepare_or_renew()
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"can't keep features in {str(folder)!r}: {error}; choose a folder that can be written, or none"
            ) from error

    def read(self, key: str, digests: list[bytes]) -> dict[bytes, np.ndarray]:
        """What is stored of `digests`, by digest; damaged rows are left out.

        Parameters
        ----------
        key : str
            What measured: stored as float32 where it begins with ``"embedding "``, else as float64.
        digests : list of bytes

        Returns
        -------
        dict of bytes to ndarray, shape (k,)

        Raises
        ------
        sqlite3.Error, OSError
            If the file can't be used.
        """
        found: dict[bytes, np.ndarray] = {}
        try:
            with self._open() as database:
                for start in range(0, len(digests), _AT_ONCE):
                    part = digests[start : start + _AT_ONCE]
                    marks = ",".join("?" * len(part))
                    query = f"SELECT digest, numbers FROM {_TABLE} WHERE key = ? AND digest IN ({marks})"
                    found.update(_unpacked(key, database.execute(query, (key, *part))))
        except sqlite3.OperationalError:  # a file that can't be used now is not a damaged one
            raise
        except sqlite3.DatabaseError as error:
            self._renew(error)
        return found

    def write(self, key: str, found: Mapping[bytes, np.ndarray]) -> None:
        """Add numbers, shape (k,) each, all or none of them; raises as `read` does."""
        rows = [(key, digest, _packed(key, numbers)) for digest, numbers in found.items()]
        with self._open() as database:
            database.executemany(f"INSERT OR REPLACE INTO {_TABLE} VALUES (?, ?, ?)", rows)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=_WAIT)) as database, database:
            yield database

    def _prepare_or_renew(self) -> None:
        try:
            self._prepare()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            self._renew(error)

    def _prepare(self) -> None:
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("PRAGMA user_version = 1")  # fails here and now where writing is not allowed
            database.execute(
                f"CREATE TABLE IF NOT EXISTS {_TABLE} "
                "(key TEXT, digest BLOB, numbers BLOB, PRIMARY KEY (key, digest)) WITHOUT ROWID"
            )

    def _renew(self, error: sqlite3.Error) -> None:
        aside = self.path.with_suffix(".damaged")
        os.replace(self.path, aside)
        message = f"{self.path} is damaged ({error}); it was set aside as {aside.name} and a new one begun"
        warnings.warn(message, MemoryWarning, stacklevel=6)
        self._prepare()


def _dtype(key: str) -> str:
    return "<f4" if key.startswith("embedding ") else "<f8"


def _packed(key: str, numbers: np.ndarray) -> bytes:
    content = numbers.astype(_dtype(key)).tobytes()
    return content + zlib.crc32(content).to_bytes(4, "little")


def _unpacked(key: str, rows: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, np.ndarray]]:
    for digest, stored in rows:
        content = stored[:-4]
        if zlib.crc32(content).to_bytes(4, "little") == stored[-4:]:
            yield digest, np.frombuffer(content, _dtype(key)).astype(_dtype(key)[1:])
