"""Weights that are known by name: those inside the package, and published ones. Their cards are data files."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import TYPE_CHECKING

from astro_galaxysd import hookimpl
from astro_galaxysd.records import WeightCard

if TYPE_CHECKING:
    from collections.abc import Iterator


@hookimpl
def galaxysd_register_weights() -> Iterator[WeightCard]:
    """Offer the weights whose cards lie in ``astro_galaxysd/weights/cards``."""
    folder = files("astro_galaxysd").joinpath("weights", "cards")
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name.endswith(".toml"):
            yield WeightCard(**tomllib.loads(path.read_text(encoding="utf-8")))
