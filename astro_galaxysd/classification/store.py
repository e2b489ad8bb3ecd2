"""What a study drew and scored, in a folder: a name and how to make it in, what was made once out."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ConditionError
from astro_galaxysd.images.files import atomic_path, make_folder, rehearse_path
from astro_galaxysd.images.storage import read_table, write_table

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Store"]

_IDENTITY = "verdict.json"


class Store:
    """A folder of arrays and tables that are made once; without a folder nothing is kept.

    Parameters
    ----------
    folder : Path or None
        Made where it is missing.
    identity : mapping
        What they follow from, JSON-able.

    Raises
    ------
    ConditionError
        If the folder holds what follows from something else.
    OutputError
        If it can't be written.
    """

    def __init__(self, folder: Path | None, identity: Mapping[str, Any]) -> None:
        self._folder = folder
        if folder is None:
            return
        make_folder(folder)
        path = folder / _IDENTITY
        told = json.loads(json.dumps(dict(identity)))
        rehearse_path(path, overwrite=True)
        known = _read_identity(path) if path.exists() else told
        differ = sorted(name for name in {*told, *known} if told.get(name) != known.get(name))
        if differ:
            raise ConditionError(
                f"{folder} belongs to another verdict, which differs in {', '.join(differ)}; name another"
            )
        with atomic_path(path, overwrite=True) as partial:
            partial.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")

    @staticmethod
    def seed(folder: str | os.PathLike[str]) -> int | None:
        """The seed of the study in a folder, None where there is none."""
        path = Path(folder) / _IDENTITY
        seed = _read_identity(path).get("seed") if path.is_file() else None
        return seed if isinstance(seed, int) else None

    def holds(self, name: str) -> bool:
        """Whether the array of a name was made before."""
        return self._folder is not None and (self._folder / f"{name}.npy").exists()

    def array(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of a name, read or made."""
        if self._folder is None:
            return make()
        path = self._folder / f"{name}.npy"
        if path.exists():
            try:
                return np.asarray(np.load(path))
            except (OSError, EOFError, ValueError) as error:
                raise ConditionError(f"{path} is damaged ({error}); delete it, and it is made again") from error
        made, file = make(), io.BytesIO()
        np.save(file, made)
        with atomic_path(path, overwrite=True) as partial:
            partial.write_bytes(file.getvalue())
        return made

    def table(self, name: str, make: Callable[[], Table]) -> Table:
        """The table of a name, read or made."""
        if self._folder is None:
            return make()
        path = self._folder / f"{name}.fits"
        if not path.exists():
            write_table(make(), path)
        return read_table(path)


def _read_identity(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConditionError(f"{path} is damaged ({error}); name another folder") from error
    return found if isinstance(found, dict) else {}
