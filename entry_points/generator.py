"""The latent diffusion generator, and the choice of a generator where nobody else chose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_galaxysd import hookimpl
from astro_galaxysd.records import GeneratorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from astropy.table import Table


@hookimpl
def galaxysd_register_generators() -> Iterator[GeneratorSpec]:
    """Offer the diffusion generator."""
    yield GeneratorSpec(
        "diffusion",
        "astro_galaxysd.diffusion.generator:DiffusionGenerator",
        summary="Latent diffusion with weighted prompts and classifier-free guidance.",
        requires=("torch", "diffusers", "transformers"),
    )


@hookimpl(trylast=True)
def galaxysd_select_generator(conditions: Table, available: Mapping[str, GeneratorSpec]) -> str | None:
    """Choose diffusion where no plug-in chose."""
    return "diffusion" if "diffusion" in available else None
