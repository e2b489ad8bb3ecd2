"""What ``galaxysd plugins`` shows: every record with its origin, every failure with its reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from astro_galaxysd.plugins.loading import Source
    from astro_galaxysd.plugins.manager import Registered
    from astro_galaxysd.records import PluginFailure

__all__ = ["PluginListing", "list_failures", "list_offers", "list_watcher"]


@dataclass(frozen=True)
class PluginListing:
    """One line of the list.

    Parameters
    ----------
    kind : str
        ``"generator"``, ``"weights"``, ...; ``"hooks"`` for a plug-in that only watches; ``"plug-in"`` for a failure.
    name : str
        Name of the record, or of the plug-in where there is none.
    plugin, distribution, version : str
        Who offers it.
    summary : str
        One sentence.
    problem : str
        Why it can't be used; empty if it can.
    """

    kind: str
    name: str
    plugin: str
    distribution: str
    version: str
    summary: str = ""
    problem: str = ""

    @property
    def usable(self) -> bool:
        """Whether it can be asked for."""
        return not self.problem


def list_offers(kind: str, offers: Iterable[list[Registered]]) -> Iterator[PluginListing]:
    """List the records of one kind; those that share a name are a problem of each of them."""
    for same_name in offers:
        for offer in same_name:
            others = [str(other.source) for other in same_name if other is not offer]
            clash = f"{' and '.join(others)} offers this name too" if others else _missing(offer.record)
            yield PluginListing(
                kind, offer.record.name, offer.plugin, offer.distribution, offer.version, offer.record.summary, clash
            )


def list_watcher(source: Source, hooks: Iterable[str]) -> PluginListing:
    """List a plug-in that offers no records, by the hooks it implements."""
    called = ", ".join(sorted(hooks)) or "no hook at all"
    return PluginListing(
        "hooks", source.plugin, source.plugin, source.distribution, source.version, f"Implements {called}."
    )


def list_failures(failures: Iterable[PluginFailure]) -> Iterator[PluginListing]:
    """List what could not be used."""
    for failure in failures:
        yield PluginListing(
            "plug-in", failure.name, failure.name, failure.distribution, failure.version, problem=failure.error
        )


def _missing(record: Any) -> str:
    """Say which required distributions are not installed, from metadata alone: nothing is imported to find out."""
    absent = [need for need in getattr(record, "requires", ()) if not _is_installed(need)]
    return f"requires {', '.join(absent)}, not installed: pip install {' '.join(absent)}" if absent else ""


def _is_installed(requirement: str) -> bool:
    name = re.match(r"[\w.-]+", requirement.strip())
    try:
        metadata.distribution(name.group() if name else requirement)
    except (metadata.PackageNotFoundError, ValueError):
        return False
    return True
