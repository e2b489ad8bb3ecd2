"""What a command leaves: table, contact sheet and image HDUs, checked before the work, written and named after it."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_galaxysd.errors import ConditionError, GalaxySDError, OutputExistsError

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.survey.card import Survey

__all__ = ["SHOWN", "Outputs", "choose_outputs", "keep_elsewhere", "show"]

#: Most galaxies of one group on a contact sheet.
SHOWN = 24


@dataclass(frozen=True)
class Outputs:
    """Where things go."""

    table: Path
    sheet: Path
    hdus: Path | None
    overwrite: bool


def choose_outputs(options: argparse.Namespace) -> Outputs:
    """Names of the outputs; each must be free and its folder writable.

    Raises
    ------
    ConditionError
        If no output is named, or two have one name.
    OutputExistsError, OutputError
        If there is something already, or nothing can be written there.
    """
    from astro_galaxysd.images.files import rehearse_path
    from astro_galaxysd.images.storage import without_suffix

    if not options.out:
        raise ConditionError("no output named; give -o FILE, for example -o mergers.parquet")
    table = Path(options.out)
    sheet = Path(options.sheet) if options.sheet else table.with_name(without_suffix(table.name) + ".png")
    hdus = Path(options.hdus) if options.hdus else None
    named = [path for path in (table, sheet, hdus) if path is not None]
    if len({path.absolute() for path in named}) < len(named):
        raise ConditionError(f"two outputs have one name: {', '.join(map(str, named))}; give each its own")
    for path in named:
        if path.exists() and not options.overwrite:
            raise OutputExistsError(f"{path} exists; give another name, or --overwrite to replace it")
    for path in named[1:]:
        rehearse_path(path, options.overwrite)
    return Outputs(table, sheet, hdus, options.overwrite)


def keep_elsewhere(result: Table, out: str) -> str:
    """Write a drawn table into a new temporary folder, because its place refused it; say where it is."""
    from astro_galaxysd.images.storage import write_table

    try:
        place = write_table(result, Path(tempfile.mkdtemp(prefix="galaxysd-")) / Path(out).name)
    except (GalaxySDError, OSError) as error:
        return f"it could not be kept anywhere else ({error}); the same command with the same --seed draws it again"
    return f"what was drawn is kept in {place}; move it before the system clears temporary files"


def show(
    outputs: Outputs,
    new: Table,
    n_given: int,
    column: str,
    groups: Sequence[tuple[str, Sequence[Any]]],
    *,
    survey: Survey | None = None,
) -> int:
    """Write the sheet and the HDUs of the new rows, say where everything is.

    Parameters
    ----------
    outputs : Outputs
        The table is written already.
    new : Table
        The synthetic rows, with images and run record.
    n_given : int
        Rows in the table before them. Not called real: those of the example are not.
    column : str
        Of the images.
    groups : sequence of (str, images)
        What the sheet shows.
    survey : Survey, optional
        What the images are, where they are no display images.

    Returns
    -------
    int
        The exit status: 130 if the drawing was interrupted.
    """
    import numpy as np

    from astro_galaxysd.images.provenance import RUN_RECORD
    from astro_galaxysd.images.sheet import contact_sheet

    print(f"table    {outputs.table}  ({n_given} given + {len(new)} synthetic rows)")
    shown = [(label, np.stack(images[:SHOWN])) for label, images in groups]
    contact_sheet(shown, outputs.sheet, overwrite=outputs.overwrite)
    print(f"picture  {outputs.sheet}")
    if outputs.hdus is not None:
        _write_hdus(new, column, survey, outputs.hdus, outputs.overwrite)
        print(f"HDUs     {outputs.hdus}")
    record = new.meta[RUN_RECORD]["parameters"]
    return 0 if record["finished"] == record["planned"] else 130


def _write_hdus(new: Table, column: str, survey: Survey | None, path: Path, overwrite: bool) -> None:
    from astropy.io import fits

    from astro_galaxysd.images.files import atomic_path
    from astro_galaxysd.survey.hdus import to_hdus

    with atomic_path(path, overwrite) as partial:
        fits.HDUList([fits.PrimaryHDU(), *to_hdus(new, column, survey=survey)]).writeto(partial, overwrite=True)
