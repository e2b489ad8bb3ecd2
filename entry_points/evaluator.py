"""The photometric comparison of synthetic with real images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_galaxysd import hookimpl
from astro_galaxysd.records import EvaluatorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator


@hookimpl
def galaxysd_register_evaluators() -> Iterator[EvaluatorSpec]:
    """Offer the photometric evaluator."""
    yield EvaluatorSpec(
        "photometry",
        "astro_galaxysd.evaluation.photometry:PhotometryEvaluator",
        summary="KS distances of total flux, background and colour, with bootstrap errors.",
    )
