"""The modules of this package that one of them needs, as a zip archive that Python imports from.

What a module needs is read from its syntax tree, imports inside functions included; imports for annotations only
(``if TYPE_CHECKING:``) are not followed. Other packages are left out.
"""

from __future__ import annotations

import ast
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import astro_galaxysd
from astro_galaxysd.errors import UnknownNameError

__all__ = ["needed_modules", "write_sources"]

_PACKAGE = "astro_galaxysd"


def write_sources(module: str, path: Path, *, data: Sequence[str] = ()) -> None:
    """Write a zip archive from which `module` can be imported; equal sources give equal bytes.

    Parameters
    ----------
    module : str
        Full name.
    path : Path
        The archive.
    data : sequence of str
        Folders of the package whose files are read at run time.

    Raises
    ------
    UnknownNameError
        If there is no such module.
    """
    root = _root()
    sources = set(needed_modules(module).values())
    sources |= {file for name in data for file in (root / name).rglob("*") if file.is_file()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in sorted(sources):
            # a fixed date, the earliest there is in a zip archive
            entry = zipfile.ZipInfo(source.relative_to(root.parent).as_posix(), (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, source.read_bytes(), zipfile.ZIP_DEFLATED)


def needed_modules(module: str) -> dict[str, Path]:
    """Find `module`, what it imports from this package, what that imports, and their parents.

    Parameters
    ----------
    module : str
        Full name.

    Returns
    -------
    dict of str to Path
        Source file of each module.

    Raises
    ------
    UnknownNameError
        If there is no such module.
    """
    first = _source(module)
    if first is None:
        raise UnknownNameError("module", module, sorted(found.stem for found in _root().glob("*.py")))
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        source = _source(name)
        if name in found or source is None:
            continue
        found[name] = source
        if "." in name:
            waiting.append(name.rpartition(".")[0])
        waiting.extend(_imported(ast.parse(source.read_text(encoding="utf-8"))))
    return found


def _root() -> Path:
    return Path(astro_galaxysd.__file__).parent


def _source(name: str) -> Path | None:
    """File of a module of this package; None for other names, which may be those of functions."""
    package, *parts = name.split(".")
    if package != _PACKAGE:
        return None
    base = _root().joinpath(*parts)
    candidates = (base / "__init__.py", base.with_suffix(".py")) if parts else (base / "__init__.py",)
    return next((path for path in candidates if path.is_file()), None)


def _imported(tree: ast.AST) -> Iterator[str]:
    """Names that a syntax tree imports, annotations' imports excepted."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield from _imported(ast.Module([other], []))
        else:
            yield from _imported(node)
