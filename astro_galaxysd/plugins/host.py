"""Our hooks and plug-ins in another program's plug-in manager.

pluggy marks functions with the *project's* name, so a manager of another project sees none of our marks. Here the same
functions get the host's marks beside ours, with the same options; the host then calls
``pm.hook.galaxysd_register_generators()`` like any hook of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

from astro_galaxysd.plugins import hookspecs
from astro_galaxysd.plugins.hookspecs import PROJECT
from astro_galaxysd.plugins.manager import get_registry

if TYPE_CHECKING:
    from astro_galaxysd.plugins.manager import PluginRegistry

__all__ = ["install_into"]


def install_into(pm: pluggy.PluginManager, *, registry: PluginRegistry | None = None) -> None:
    """Add our hook specifications and every usable plug-in to a host's manager.

    Calling it twice is harmless. Plug-ins whose names the host has blocked stay out. Nothing heavy is imported.

    Parameters
    ----------
    pm : PluginManager
        The host's manager, of any project name.
    registry : PluginRegistry, optional
        Whose plug-ins to hand over; by default all that are installed.

    Examples
    --------
    >>> import pluggy
    >>> pm = pluggy.PluginManager("observatory")
    >>> install_into(pm)
    >>> sorted(spec.name for specs in pm.hook.galaxysd_register_generators() for spec in specs)
    ['diffusion']
    """
    if not hasattr(pm.hook, "galaxysd_configure") or not pm.hook.galaxysd_configure.has_spec():
        _mark(hookspecs, f"{PROJECT}_spec", pluggy.HookspecMarker(pm.project_name))
        pm.add_hookspecs(hookspecs)
    for name, plugin in (registry or get_registry()).plugins.items():
        if pm.is_blocked(name) or pm.is_registered(plugin):
            continue
        _mark(plugin, f"{PROJECT}_impl", pluggy.HookimplMarker(pm.project_name))
        pm.register(plugin, name=name)


def _mark(namespace: object, ours: str, marker: Any) -> None:
    """Mark anew, with the same options, every function that carries our mark."""
    for name in dir(namespace):
        function = getattr(namespace, name, None)
        options = getattr(function, ours, None)
        if isinstance(options, dict):
            # A bound method takes no attributes; the function behind it does.
            marker(getattr(function, "__func__", function), **_known(options))


def _known(options: dict[str, Any]) -> dict[str, Any]:
    """Options without those left at None or False, which older markers may not know."""
    return {name: value for name, value in options.items() if value}
