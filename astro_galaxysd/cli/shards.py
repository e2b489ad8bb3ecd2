"""``galaxysd generate`` into a folder of shards."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_galaxysd.cli.outputs import SHOWN
from astro_galaxysd.errors import ConditionError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astropy.table import Table

__all__ = ["generate_shards", "wants_shards"]

#: Options that only a folder of shards has, by their names in Python.
_OPTIONS = {"format": "--format", "shard_rows": "--shard-rows", "verify": "--verify", "scheduler": "--scheduler"}


def wants_shards(options: argparse.Namespace) -> bool:
    """Whether the output is a folder of shards: its name ends in a slash.

    Raises
    ------
    ConditionError
        If options of shards were given with another output, or others with shards.
    """
    given = [name for key, name in _OPTIONS.items() if getattr(options, key)]
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
    """
    import numpy as np

    from astro_galaxysd.bulk import SHARD_ROWS, generate_to
    from astro_galaxysd.images.codec import read_images
    from astro_galaxysd.images.sheet import contact_sheet
    from astro_galaxysd.images.streaming import read_pieces

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
        sheet = Path(options.sheet) if options.sheet else written.folder.with_name(written.folder.name + ".png")
        contact_sheet([("the first galaxies", np.stack(read_images(first)))], sheet, overwrite=True)
        print(f"picture  {sheet}")
    return 0 if written.rows == written.planned else 130


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
