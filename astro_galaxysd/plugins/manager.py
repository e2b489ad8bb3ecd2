"""The registry: every plug-in found, checked and kept apart from the others, and the records they offer.

In: entry points of the group ``astro_galaxysd`` and plug-ins handed over in code. Out: records by kind and name, the
objects that their factories make, the calls of the watching hooks, and the failures with their reasons. A plug-in that
fails loses what it offers itself; nothing else changes.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from astro_galaxysd.errors import DuplicatePluginError, GalaxySDError, PluginError, UnknownNameError
from astro_galaxysd.plugins.isolation import IsolatedPlugins, Loaded
from astro_galaxysd.plugins.kinds import KINDS, fault_of, kind_named
from astro_galaxysd.plugins.listing import PluginListing, list_failures, list_offers, list_watcher
from astro_galaxysd.plugins.loading import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from importlib.metadata import EntryPoint

    from astropy.table import Table

    from astro_galaxysd.plugins.kinds import Kind
    from astro_galaxysd.records import GenerationRequest, ImageBatch

__all__ = ["PluginRegistry", "Registered", "get_registry"]


class Registered(NamedTuple):
    """A record and who offers it."""

    record: Any
    plugin: str
    distribution: str
    version: str

    @property
    def source(self) -> Source:
        """The plug-in, for messages."""
        return Source(self.plugin, self.distribution, self.version)


class PluginRegistry(IsolatedPlugins):
    """Plug-ins of one program.

    Parameters
    ----------
    entry_points : iterable of EntryPoint, optional
        What to load; by default all that are installed in our group. An empty list gives an empty registry.
    plugins : mapping of str to object, optional
        Further plug-ins by name, registered after the entry points.

    Examples
    --------
    >>> registry = PluginRegistry()
    >>> registry.get("weights", "mini").generator
    'diffusion'
    """

    def __init__(
        self, *, entry_points: Iterable[EntryPoint] | None = None, plugins: Mapping[str, object] | None = None
    ) -> None:
        # By kind and plug-in: each is asked once, so that a fault is reported once.
        self._records: dict[tuple[str, str], list[Any]] = {}
        super().__init__(entry_points=entry_points, plugins=plugins)

    def describe(self) -> list[PluginListing]:
        """List everything that plug-ins offer, and everything that is broken with the reason, last."""
        lines = [line for kind in KINDS for line in list_offers(kind.name, self._offers(kind).values())]
        seen = {line.plugin for line in lines} | {failure.name for failure in self._failures}
        for loaded in self._loaded:
            if loaded.source.plugin not in seen:
                callers = self._manager.get_hookcallers(loaded.plugin) or []
                lines.append(list_watcher(loaded.source, [caller.name for caller in callers]))
        return [*lines, *list_failures(self._failures)]

    def records_of(self, kind: str) -> dict[str, Registered]:
        """Usable records of a kind, by name.

        Parameters
        ----------
        kind : str
            ``"generators"``, ``"evaluators"``, ``"augmenters"``, ``"embedders"``, ``"schemas"``, ``"weights"``, or the
            singular.

        Returns
        -------
        dict of str to Registered
            In the order of registration. A name that two plug-ins offer is left out; `find` says who they are.
        """
        return {name: offers[0] for name, offers in self._offers(kind_named(kind)).items() if len(offers) == 1}

    def find(self, kind: str, name: str) -> Registered:
        """Record and origin of a name.

        Raises
        ------
        UnknownNameError
            No plug-in offers the name; the nearest are suggested and broken plug-ins mentioned.
        DuplicatePluginError
            More than one does; the message names their distributions.
        """
        chosen = kind_named(kind)
        offers = self._offers(chosen).get(name, [])
        if not offers:
            raise UnknownNameError(chosen.name, name, self._offers(chosen), self._broken_hint())
        if len(offers) > 1:
            who = " and ".join(str(offer.source) for offer in offers)
            raise DuplicatePluginError(
                f"{chosen.name} {name!r} is offered by {who}; uninstall one of them or ask its author for another name"
            )
        return offers[0]

    def get(self, kind: str, name: str) -> Any:
        """Record of a name; raises as `find` does."""
        return self.find(kind, name).record

    def create(self, kind: str, name: str, *args: Any, **options: Any) -> Any:
        """Import a record's factory and call it.

        Raises
        ------
        PluginError
            The factory can't be imported or raised something unforeseen; names plug-in and distribution.
        UnknownNameError, DuplicatePluginError
            As `find`.
        """
        found = self.find(kind, name)
        with self.guard("create", found):
            return found.record.resolve()(*args, **options)

    @contextmanager
    def guard(self, stage: str, found: Registered) -> Iterator[None]:
        """Name the plug-in in whatever its object raises, and tell the ``galaxysd_on_error`` hooks.

        Parameters
        ----------
        stage : str
            What is being done, in a word: ``"generate"``.
        found : Registered
            Whose object works.

        Raises
        ------
        PluginError
            In place of any other exception than our own errors and MemoryError; those keep their class and get a note.
        """
        try:
            yield
        except (GalaxySDError, MemoryError) as error:
            error.add_note(f"raised by {found.source} at stage {stage!r}")
            self.on_error(stage, found.plugin, error)
            raise
        except (Exception, SystemExit) as error:
            self.on_error(stage, found.plugin, error)
            message = f"{found.source} failed at stage {stage!r}: {type(error).__name__}: {error}"
            raise PluginError(f"{message}; report it to the authors of the plug-in") from error

    def _offers(self, kind: Kind) -> dict[str, list[Registered]]:
        offers: dict[str, list[Registered]] = {}
        for loaded in list(self._loaded):
            source = loaded.source
            if (kind.name, source.plugin) not in self._records:
                self._records[kind.name, source.plugin] = self._records_from(loaded, kind)
            for record in self._records[kind.name, source.plugin]:
                offer = Registered(record, source.plugin, source.distribution, source.version)
                offers.setdefault(record.name, []).append(offer)
        return offers

    def _records_from(self, loaded: Loaded, kind: Kind) -> list[Any]:
        """Ask one plug-in alone, so that what it raises takes nobody else's records along."""
        good: list[Any] = []
        try:
            # A hook may be a generator that fails half-way, so reading its answer belongs inside.
            offered = [record for answer in self._ask(loaded, kind.hook) for record in answer]
        except (Exception, SystemExit) as error:
            self._report("register", loaded.source, PluginError(f"{kind.hook}: {type(error).__name__}: {error}"))
            return good
        for record in offered:
            fault = fault_of(record, kind)
            if fault:
                self._report("register", loaded.source, PluginError(f"{kind.hook}: {fault}"))
            else:
                good.append(record)
        return good

    def _broken_hint(self) -> str:
        broken = ", ".join(failure.name for failure in self._failures)
        return f"Broken plug-ins: {broken}; `galaxysd plugins` says why." if broken else ""

    def before_generate(self, request: GenerationRequest) -> None:
        """Call ``galaxysd_before_generate`` of every plug-in; one that raises is reported and passed over."""
        self._tell("galaxysd_before_generate", "before_generate", request=request)

    def after_generate(self, request: GenerationRequest, batch: ImageBatch) -> None:
        """Call ``galaxysd_after_generate`` of every plug-in; one that raises is reported and passed over."""
        self._tell("galaxysd_after_generate", "after_generate", request=request, batch=batch)

    def select_generator(self, conditions: Table, available: Iterable[str] | None = None) -> str:
        """Name of the generator for conditions when the caller gave none.

        Parameters
        ----------
        conditions : Table
            What is to be drawn.
        available : iterable of str, optional
            Names to choose from; by default every usable generator.

        Raises
        ------
        PluginError
            Nobody chose, or a plug-in chose what is not available.
        """
        names = list(self.records_of("generator") if available is None else available)
        specs = {name: self.get("generator", name) for name in names}
        for loaded in self._callers("galaxysd_select_generator"):
            call = functools.partial(
                self._ask, loaded, "galaxysd_select_generator", conditions=conditions, available=specs
            )
            chosen = (self._survive("select", loaded.source.plugin, call) or [None])[0]
            if chosen in specs:
                return str(chosen)
            if chosen is not None:
                known = ", ".join(specs) or "none"
                raise PluginError(f"{loaded.source} chose the generator {chosen!r}; available are {known}")
        known = ", ".join(specs) or "none: pip install a plug-in that offers one"
        raise PluginError(f"no plug-in chose a generator; pass generator= with one of those available ({known})")


@functools.cache
def get_registry() -> PluginRegistry:
    """Return the registry of the installed plug-ins, loaded once; `cache_clear()` forgets it."""
    return PluginRegistry()
