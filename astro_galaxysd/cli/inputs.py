"""Files that are named on the command line, read with errors that name them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_galaxysd.errors import ConditionError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["EXAMPLE", "named_path", "read_json", "read_named_table", "use_threads"]

#: Name of the table that ships with the package.
EXAMPLE = "example"


def read_named_table(name: str) -> Table:
    """The table of a path, or the example that ships."""
    from astro_galaxysd.images.storage import read_table

    return read_table(named_path(name))


def named_path(name: str) -> Path:
    """The path of a table, or that of the example that ships."""
    if name == EXAMPLE and not Path(name).exists():
        return Path(__file__).parents[1] / "data" / "example.parquet"
    return Path(name)


def read_json(path: str, option: str) -> dict[str, Any]:
    """A JSON object.

    Raises
    ------
    ConditionError
        If there is no such file or it holds something else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConditionError(f"{option} {path}: can't be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise ConditionError(f"{option} {path}: is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise ConditionError(f'{option} {path}: holds a {type(content).__name__}, not an object {{"name": value, ...}}')
    return content


def use_threads(number: int | None) -> None:
    """Limit torch's threads.

    Raises
    ------
    ConditionError
        If the number is below 1.
    """
    if number is None:
        return
    if number < 1:
        raise ConditionError(f"--threads {number}: give at least 1")
    import torch

    torch.set_num_threads(number)
