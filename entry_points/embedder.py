"""The embedder that ships."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_galaxysd import hookimpl
from astro_galaxysd.records import EmbedderSpec

if TYPE_CHECKING:
    from collections.abc import Iterator


@hookimpl
def galaxysd_register_embedders() -> Iterator[EmbedderSpec]:
    """Offer the embedder of galaxies that ships."""
    yield EmbedderSpec(
        "galaxysd",
        "astro_galaxysd.evaluation.embedding:GalaxyEmbedder",
        summary="64 numbers a galaxy, self-supervised on Galaxy Zoo 2 cutouts, whatever way they are turned.",
        requires=("torch",),
    )
