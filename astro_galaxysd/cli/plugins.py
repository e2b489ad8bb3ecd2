"""``galaxysd plugins``: what is installed, what is broken and why."""

from __future__ import annotations

import argparse
import json
import warnings
from dataclasses import asdict

from astro_galaxysd.plugins.listing import PluginListing
from astro_galaxysd.plugins.manager import PluginRegistry

__all__ = ["run_plugins"]


def run_plugins(options: argparse.Namespace) -> int:
    """Print the list; broken plug-ins are no failure of the command."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the list says it
        listing = PluginRegistry().describe()
    if options.json:
        print(json.dumps([asdict(line) for line in listing], indent=1))
        return 0
    for line in sorted(listing, key=lambda line: not line.usable):
        print(_line(line))
    return 0


def _line(line: PluginListing) -> str:
    origin = f"{line.distribution or line.plugin} {line.version}".strip()
    kind, text = (line.kind, line.summary) if line.usable else ("BROKEN", f"{line.kind}: {line.problem}")
    return f"{kind:<11} {line.name:<14} {origin:<28} {text}"
