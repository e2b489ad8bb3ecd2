"""Plug-ins in one manager, each kept so that its faults cost nobody else.

In: plug-in objects, or the calls that load them. Out: answers of one plug-in at a time; failures as records and
warnings. pluggy calls a hook of all plug-ins in a row and the first that raises ends it: here each is called alone.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pluggy

from astro_galaxysd.errors import PluginError, PluginWarning
from astro_galaxysd.plugins import hookspecs
from astro_galaxysd.plugins.hookspecs import PROJECT
from astro_galaxysd.plugins.loading import Source, installed_entry_points, load_entry_point, refuse_unfit, source_of
from astro_galaxysd.records import PluginFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from importlib.metadata import EntryPoint

__all__ = ["IsolatedPlugins", "Loaded"]


@dataclass(frozen=True)
class Loaded:
    """A plug-in object and where it comes from."""

    source: Source
    plugin: object


class IsolatedPlugins:
    """Load plug-ins and call their hooks, one plug-in at a time.

    Parameters
    ----------
    entry_points : iterable of EntryPoint, optional
        What to load; by default all that are installed in our group. An empty list loads none.
    plugins : mapping of str to object, optional
        Further plug-ins by name, registered after the entry points.
    """

    def __init__(
        self, *, entry_points: Iterable[EntryPoint] | None = None, plugins: Mapping[str, object] | None = None
    ) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._loaded: list[Loaded] = []
        self._failures: list[PluginFailure] = []
        for point in installed_entry_points() if entry_points is None else entry_points:
            self._load(source_of(point), functools.partial(load_entry_point, point))
        for name, plugin in (plugins or {}).items():
            self.register(plugin, name=name)

    @property
    def failures(self) -> tuple[PluginFailure, ...]:
        """What could not be used so far, and why; a record's fault shows once its kind was asked for."""
        return tuple(self._failures)

    @property
    def plugins(self) -> dict[str, object]:
        """Loaded plug-in objects by name, in the order of registration."""
        return {loaded.source.plugin: loaded.plugin for loaded in self._loaded}

    def register(self, plugin: object, *, name: str, distribution: str = "", version: str = "") -> bool:
        """Add a plug-in that is at hand.

        Returns
        -------
        bool
            False if it was refused; `failures` and a `PluginWarning` say why.
        """
        return self._load(Source(name, distribution, version), lambda: plugin)

    def _load(self, source: Source, load: Callable[[], object]) -> bool:
        try:
            plugin = load()
            refuse_unfit(self._manager, plugin)
            if self._manager.register(plugin, name=source.plugin) is None:
                raise PluginError("was blocked: a plug-in of this name failed before")
        except (Exception, SystemExit) as error:
            self._block(source.plugin)
            self._report("load", source, error)
            return False
        self._loaded.append(Loaded(source, plugin))
        return True

    def _report(self, stage: str, source: Source, error: BaseException) -> None:
        """Keep a failure, warn of it, and tell the plug-ins that want to know."""
        reason = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
        self._failures.append(PluginFailure(source.plugin, source.distribution, source.version, reason))
        message = f"{source} {'was left out' if stage == 'load' else 'lost records'}: {reason}"
        warnings.warn(message, PluginWarning, stacklevel=4)
        self.on_error(stage, source.plugin, error)

    def _block(self, name: str) -> None:
        # Only a name that never loaded: a second plug-in of a good one's name must not take the good one away.
        if all(loaded.source.plugin != name for loaded in self._loaded):
            # pluggy before 1.7 keeps the part of a refused plug-in that came before the fault.
            self._manager.set_blocked(name)

    def configure(self, config: Mapping[str, Any]) -> None:
        """Hand the settings to every plug-in, and to those that are registered later."""
        hook = self._manager.hook.galaxysd_configure
        everybody = [loaded.plugin for loaded in self._loaded]
        # Remembered for later plug-ins without calling anybody: one that raises would keep the others from it.
        self._manager.subset_hook_caller("galaxysd_configure", everybody).call_historic(kwargs={"config": config})
        for implementation in hook.get_hookimpls():
            arguments = [config] if "config" in implementation.argnames else []
            self._survive(
                "configure", implementation.plugin_name, functools.partial(implementation.function, *arguments)
            )

    def on_error(self, stage: str, plugin: str, error: BaseException) -> None:
        """Call ``galaxysd_on_error`` of every plug-in; one that raises is passed over with a warning."""
        self._tell("galaxysd_on_error", "on_error", stage=stage, plugin=plugin, error=error)

    def _ask(self, loaded: Loaded, hook: str, /, **arguments: Any) -> list[Any]:
        others = [other.plugin for other in self._loaded if other is not loaded]
        answer = self._manager.subset_hook_caller(hook, others)(**arguments)
        # A firstresult hook gives its one answer, not a list.
        return answer if isinstance(answer, list) else [answer]

    def _callers(self, hook: str) -> list[Loaded]:
        """Plug-ins with an implementation of a hook, in pluggy's order of calling."""
        by_name = {loaded.source.plugin: loaded for loaded in self._loaded}
        implementations = getattr(self._manager.hook, hook).get_hookimpls()
        return [by_name[implementation.plugin_name] for implementation in reversed(implementations)]

    def _tell(self, hook: str, stage: str, /, **arguments: Any) -> None:
        for loaded in self._callers(hook):
            self._survive(stage, loaded.source.plugin, functools.partial(self._ask, loaded, hook, **arguments))

    def _survive(self, stage: str, plugin: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (Exception, SystemExit) as error:
            source = next(loaded.source for loaded in self._loaded if loaded.source.plugin == plugin)
            warnings.warn(
                f"{source} failed at {stage!r} and was passed over: {type(error).__name__}: {error}",
                PluginWarning,
                stacklevel=4,
            )
            if stage != "on_error":
                self.on_error(stage, plugin, error)
        return None
