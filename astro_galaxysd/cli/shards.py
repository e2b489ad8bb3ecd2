"""``galaxysd generate`` into a folder of shards."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_galaxysd.cli.outputs import SHOWN
from astro_galaxysd.errors import ConditionError, MissingDependencyError, OutputExistsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astropy.table import Table

__all__ = ["generate_shards", "wants_shards"]

#: Options that only a folder of shards has, by their names in Python.
_OPTIONS = {"format": "--format", "shard_rows": "--shard-rows", "verify": "--verify", "scheduler": "--scheduler"}
#: Picture of the first galaxies, in the folder, where no other was named; its name begins as those of no shard.
_SHEET = "_first.png"


def wants_shards(options: argparse.Namespace) -> bool:
    """Whether the output is a folder of shards: its name ends in a slash.

    Raises
    ------
    ConditionError
        If options of shards were given with another output, or others with shards.
    """
    given = [name for key, name in _OPTIONS.items() if _is_given(getattr(options, key))]
    if not (options.out or "").endswith("/"):
        if given:
            raise ConditionError(f"{given[0]} is of folders of shards; end the output's name with a slash: -o drawn/")
        return False
    if options.hdus:
        raise ConditionError(f"--hdus {options.hdus}: a folder of shards has HDUs in its files; use --format fits")
    if options.overwrite:
        raise ConditionError(
            f"--overwrite: what is in {options.out} is gone on with, and damaged files are drawn again with --verify; "
            "to begin anew, remove the folder or name another"
        )
    return True


def _is_given(value: Any) -> bool:
    return value is not None and value is not False


def generate_shards(options: argparse.Namespace, conditions: Table | Path, choices: Mapping[str, Any]) -> int:
    """Draw into a folder of shards, show its first galaxies, say where everything is.

    Parameters
    ----------
    options : Namespace
    conditions : Table or Path
    choices : mapping
        Arguments of `generate_to` that `generate` has too.

    Returns
    -------
    int
        The exit status: 130 if the drawing was interrupted.

    Raises
    ------
    OutputExistsError, OutputError
        Before anything is drawn: if --sheet names what is there already, or nothing can be written there. Else as
        `generate_to`.
    """
    import numpy as np

    from astro_galaxysd.bulk import SHARD_ROWS, generate_to
    from astro_galaxysd.images.codec import read_images
    from astro_galaxysd.images.sheet import contact_sheet
    from astro_galaxysd.images.streaming import read_pieces

    _rehearse_sheet(options.sheet)
    client = None if options.scheduler is None else _client(options.scheduler)
    written = generate_to(
        options.out, conditions, **choices, format=options.format or "parquet", verify=options.verify, client=client,
        shard_rows=SHARD_ROWS if options.shard_rows is None else options.shard_rows,
    )  # fmt: skip
    for name in written.repaired:
        print(f"repaired {name}")
    print(f"shards   {written.folder}/  ({written.rows} of {written.planned} rows, {written.drawn} drawn now)")
    if written.rows:
        first = next(read_pieces(written.folder, ["image"], rows=SHOWN))
        sheet = Path(options.sheet) if options.sheet else written.folder / _SHEET
        contact_sheet([("the first galaxies", np.stack(read_images(first)))], sheet, overwrite=not options.sheet)
        print(f"picture  {sheet}")
    return 0 if written.rows == written.planned else 130


def _rehearse_sheet(name: str | None) -> None:
    """Find out before long work whether the picture that was asked for can be written."""
    from astro_galaxysd.images.files import rehearse_path

    if name and Path(name).exists():
        raise OutputExistsError(f"--sheet {name} exists; give another name, or leave it out for {_SHEET} in the folder")
    if name:
        rehearse_path(name)


def _client(address: str) -> Any:
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise MissingDependencyError('--scheduler needs dask: pip install "astro-galaxysd[dask]"') from error
    try:
        return Client(address, timeout="10s")
    except (OSError, ValueError, TimeoutError) as error:
        raise ConditionError(
            f"--scheduler {address}: no Dask scheduler answers ({error}); start one, or name another"
        ) from error
