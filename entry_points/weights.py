"""The weights that ship inside the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_galaxysd import hookimpl
from astro_galaxysd.records import WeightCard

if TYPE_CHECKING:
    from collections.abc import Iterator


@hookimpl
def galaxysd_register_weights() -> Iterator[WeightCard]:
    """Offer the embedded default weights."""
    yield WeightCard(
        "mini",
        "package:astro_galaxysd/weights/mini",
        summary="Small latent diffusion model of Galaxy Zoo 2 cutouts, 128 pixels.",
        licence="BSD-3-Clause",
        gflop=1.03,  # of the UNet, counted by benchmarks/throughput.py
        memory=900.0,  # resident, measured by benchmarks/throughput.py
        steps=6,  # as they learnt to draw; sampling.json says the same
        guidance=1.0,
        turned=True,
    )
