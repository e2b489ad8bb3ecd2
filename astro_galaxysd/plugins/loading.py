"""Entry points into plug-in objects, one by one: what is wrong with one must not cost the others.

In: `importlib.metadata` entry points of the group ``astro_galaxysd``. Out: `Source` (who it is) with the object, or the
error that loading it gave. pluggy's own loader stops every plug-in at the first ImportError, and its `register` takes a
misspelt hook in silence; both are looked after here.
"""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from astro_galaxysd.errors import PluginError
from astro_galaxysd.plugins import hookspecs
from astro_galaxysd.plugins.hookspecs import PREFIX, PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pluggy

__all__ = ["Source", "installed_entry_points", "load_entry_point", "refuse_unfit", "source_of"]


@dataclass(frozen=True)
class Source:
    """Where a plug-in comes from.

    Parameters
    ----------
    plugin : str
        Its name: ``"distribution:entry point"``, so that two distributions may use one entry-point name.
    distribution, version : str
        From the installed metadata; empty for a plug-in that was handed over in code.
    """

    plugin: str
    distribution: str = ""
    version: str = ""

    def __str__(self) -> str:
        origin = f"{self.distribution} {self.version}".strip() or "registered in code"
        return f"plug-in {self.plugin!r} ({origin})"


def installed_entry_points() -> list[metadata.EntryPoint]:
    """Entry points of our group, in a stable order."""
    found = metadata.entry_points(group=PROJECT)
    return sorted(found, key=lambda point: (source_of(point).plugin, point.value))


def source_of(point: metadata.EntryPoint) -> Source:
    """Tell which distribution an entry point belongs to, from its metadata."""
    if point.dist is None:
        return Source(point.name)
    # Without a readable METADATA file a plug-in may still be listed as what it is; where the package importlib_metadata
    # is imported, it reads them, and raises.
    try:
        headers = point.dist.metadata
        known = {field: headers[field] for field in ("Name", "Version") if field in headers}
    except FileNotFoundError:
        known = {}
    name = known.get("Name", "unknown")
    return Source(f"{name}:{point.name}", name, known.get("Version", "unknown"))


def load_entry_point(point: metadata.EntryPoint) -> object:
    """Import what an entry point names.

    Raises
    ------
    PluginError
        Whatever its import raised, even SystemExit: a module may not end the program that looks at it.
    """
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        raise PluginError(f"can't be imported from {point.value!r}: {type(error).__name__}: {error}") from error


def refuse_unfit(manager: pluggy.PluginManager, plugin: object) -> None:
    """Raise for what pluggy would accept in silence or report without a way out.

    Parameters
    ----------
    manager : PluginManager
        Decides which attributes are marked as hook implementations.
    plugin : object
        A module, class or instance.

    Raises
    ------
    PluginError
        A hook that does not exist, an argument that the hook does not have, a missing ``@hookimpl``.
    """
    try:
        hash(plugin)
    except TypeError as error:
        raise PluginError(f"{plugin!r} is not hashable; offer a module, a class or a plain instance") from error
    for name in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, name)
        if options is None:
            _refuse_unmarked(plugin, name)
        elif not options.get("optionalhook"):
            _refuse_unknown(plugin, name, options.get("specname") or name)


def _refuse_unmarked(plugin: object, name: str) -> None:
    if name not in dict(_specs()) or not callable(getattr(plugin, name, None)):
        return
    if plugin is not hookspecs:
        raise PluginError(f"{name}() is not marked: write @hookimpl (from astro_galaxysd import hookimpl) above it")


def _refuse_unknown(plugin: object, name: str, hook: str) -> None:
    specs = dict(_specs())
    if hook not in specs:
        near = difflib.get_close_matches(hook, specs, n=2, cutoff=0.5) or sorted(specs)
        raise PluginError(f"implements the unknown hook {hook}(); did you mean {' or '.join(near)}?")
    known = list(inspect.signature(specs[hook]).parameters)
    given = [argument for argument in inspect.signature(getattr(plugin, name)).parameters if argument != "self"]
    extra = [argument for argument in given if argument not in known]
    if extra:
        takes = ", ".join(known) or "no argument"
        raise PluginError(f"{name}({', '.join(given)}) asks for {', '.join(extra)}; the hook has {takes}")


def _specs() -> Iterator[tuple[str, Callable[..., object]]]:
    return ((name, value) for name, value in vars(hookspecs).items() if name.startswith(PREFIX))
