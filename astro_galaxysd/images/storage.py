"""Tables on disk, exactly: FITS, Parquet, or a folder with ECSV and image files.

`astropy.table.Table.write` cuts bytes, forgets masks and nested meta or refuses object columns, each format in
its own way; here the same table comes back from all three: values, masks, dtypes with byte order, shapes, units,
descriptions, meta, mixin columns. Values below a mask, table indices and a column's non-text format are not kept.
A folder of Parquet or FITS files is read as one table (`astro_galaxysd.images.storage_parts`).
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from astro_galaxysd.errors import ConditionError, GalaxySDError, OutputError
from astro_galaxysd.images.files import atomic_folder, atomic_path

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = [
    "FORMATS",
    "PARTS",
    "locate_table",
    "parts_of",
    "read_table",
    "reading",
    "rehearse_writing",
    "without_suffix",
    "write_table",
]

#: Formats and the suffixes that mean them; a name without a suffix is a folder.
FORMATS = {"fits": (".fits", ".fits.gz", ".fit", ".fit.gz"), "parquet": (".parquet", ".pq"), "folder": ("",)}

#: What `locate_table` says of a folder of files that are one table.
PARTS = "parts"


def write_table(
    table: Table, path: str | os.PathLike[str], *, overwrite: bool = False, format: str | None = None
) -> Path:
    """Write a table so that `read_table` returns it exactly and other programs can read it.

    Parameters
    ----------
    table : Table or QTable
        Columns of numbers, texts, bytes, images; object columns of bytes (JPEG, PNG), arrays or JSON values;
        Quantity, Time, SkyCoord and other columns that astropy can serialise.
    path : path-like
        The suffix chooses the format: .fits, .fits.gz, .parquet, or none for a folder.
    overwrite : bool
        Whether existing output may be replaced. A folder is only replaced if this function wrote it.
    format : {"fits", "parquet", "folder"}, optional
        Instead of the suffix.

    Returns
    -------
    Path
        Where the table lies.

    Raises
    ------
    OutputExistsError
        If the output exists and may not be replaced.
    OutputError
        For an unknown format, a column that can't be kept exactly, or a system that refuses to write; nothing
        half-written is left, and the error's attribute ``result`` is the table.
    MissingDependencyError
        For Parquet without pyarrow.

    Examples
    --------
    >>> import tempfile
    >>> from astropy.table import Table
    >>> path = write_table(Table({"id": ["a", ""]}), tempfile.mkdtemp() + "/galaxies.fits")
    >>> list(read_table(path)["id"]) == ["a", ""]
    True
    """
    try:
        with _writing(table, Path(path), overwrite, format):
            pass
    except OutputError as error:
        error.result = table
        raise
    except GalaxySDError:
        raise
    except Exception as error:
        refused = OutputError(f"can't write {os.fspath(path)!r}: {type(error).__name__}: {error}")
        refused.result = table
        raise refused from error
    return Path(path)


class _Rehearsed(Exception):
    """Ends the writing before the output gets its final name."""


def rehearse_writing(
    table: Table, path: str | os.PathLike[str], *, overwrite: bool = False, format: str | None = None
) -> None:
    """Do all that `write_table` does and leave nothing: to find out before long work whether its result can be kept.

    Parameters
    ----------
    table : Table
        A few rows like those that will be written.
    path, overwrite, format
        As `write_table`.

    Raises
    ------
    OutputExistsError, OutputError, MissingDependencyError
        As `write_table`.
    """
    with suppress(_Rehearsed), _writing(table, Path(path), overwrite, format):
        raise _Rehearsed


@contextmanager
def _writing(table: Table, target: Path, overwrite: bool, format: str | None) -> Iterator[None]:
    """Write under a temporary name; it becomes the final one if the block ends well."""
    chosen = format if format is not None else _format_of(target)
    if chosen not in FORMATS:
        raise OutputError(
            f"can't tell a table format from {str(target) if format is None else format!r}; use .fits, .fits.gz or "
            ".parquet, or a name without suffix for a folder"
        )
    if chosen == "folder":
        from astro_galaxysd.images.storage_folder import is_table_folder, write_folder

        with atomic_folder(target, overwrite, ours=is_table_folder) as partial:
            write_folder(table, partial)
            yield
        return
    with atomic_path(target, overwrite) as partial:
        if chosen == "fits":
            from astro_galaxysd.images.storage_fits import write_fits

            write_fits(table, partial)
        else:
            from astro_galaxysd.images.storage_parquet import write_parquet

            write_parquet(table, partial)
        yield


def read_table(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> Table:
    """Read a table that `write_table` wrote, shards, or a FITS, Parquet or ECSV-in-a-folder table of another program.

    Parameters
    ----------
    path : path-like
        A file (.fits, .fits.gz, .parquet), a folder that `write_table` wrote, or a folder of such files that have the
        same columns, which are one table in the order of their names. Names that begin with ``.`` or ``_`` are not
        looked at.
    columns : sequence of str, optional
        Only these columns, in the order of the table.

    Returns
    -------
    Table or QTable
        As it was written; ``meta`` of several files is that of the first. From other programs: binary values as an
        object column of bytes, texts as str, nulls masked.

    Raises
    ------
    ConditionError
        If there is no such file, it is damaged or of an unknown format; if the files of a folder differ in columns or
        format, or others lie beside them.
    UnknownNameError
        If the table lacks one of `columns`.
    """
    target, chosen = locate_table(path)
    if chosen == PARTS:
        from astro_galaxysd.images.streaming import read_parts

        return read_parts(target, columns)
    with reading(target):
        if chosen == "folder":
            from astro_galaxysd.images.storage_folder import read_folder

            return read_folder(target, columns)
        if chosen == "fits":
            from astro_galaxysd.images.storage_fits import read_fits

            return read_fits(target, columns)
        from astro_galaxysd.images.storage_parquet import read_parquet

        return read_parquet(target, columns)


def locate_table(path: str | os.PathLike[str]) -> tuple[Path, str]:
    """Path of a table that is there, and its format: one of `FORMATS`, or `PARTS` for a folder of files.

    Raises
    ------
    ConditionError
        If nothing is there, the suffix means no format, or the files of a folder are not those of one table.
    """
    target = Path(path)
    if not target.exists():
        raise ConditionError(f"there is no table at {str(target)!r}; check the path")
    if target.is_dir():
        return target, PARTS if not _is_one_table(target) and parts_of(target)[0] else "folder"
    chosen = _format_of(target)
    if chosen not in FORMATS or chosen == "folder":
        raise ConditionError(
            f"can't tell a table format from {str(target)!r}; known are .fits, .fits.gz, .parquet, folders"
        )
    return target, chosen


def parts_of(folder: Path) -> tuple[list[Path], str]:
    """Files of a folder that are one table together, in order, and their format.

    Raises
    ------
    ConditionError
        As `astro_galaxysd.images.storage_parts.list_parts`.
    """
    from astro_galaxysd.images.storage_parts import list_parts

    return list_parts(folder, {chosen: suffixes for chosen, suffixes in FORMATS.items() if chosen != "folder"})


def _is_one_table(folder: Path) -> bool:
    from astro_galaxysd.images.storage_folder import TABLE

    return (folder / TABLE).is_file()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Make what goes wrong with a damaged file in the block an error that names the file.

    Raises
    ------
    ConditionError
        In place of the errors that files cause; those of this package pass.
    """
    try:
        yield
    except GalaxySDError:
        raise
    except (OSError, EOFError, ValueError, TypeError, KeyError, IndexError, zlib.error) as error:
        raise ConditionError(f"can't read {str(path)!r}: {error}; the file is damaged or incomplete") from error


def _format_of(path: Path) -> str:
    """Return the format that the suffix means; the suffix itself where it means none."""
    name = path.name.lower()
    for chosen, suffixes in FORMATS.items():
        if chosen != "folder" and name.endswith(suffixes):
            return chosen
    return "folder" if not path.suffix else path.suffix


def without_suffix(name: str) -> str:
    """Name of a table's file without the suffix that says its format: ``a.v1`` of ``a.v1.fits.gz``."""
    longest_first = sorted((suffix for suffixes in FORMATS.values() for suffix in suffixes if suffix), key=len)[::-1]
    found = next((suffix for suffix in longest_first if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(found)]
