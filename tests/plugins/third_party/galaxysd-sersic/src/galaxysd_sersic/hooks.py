"""What this distribution offers. Imported whenever plug-ins are listed, so it imports nothing heavy."""

from __future__ import annotations

from astro_galaxysd import hookimpl
from astro_galaxysd.records import EvaluatorSpec, GeneratorSpec


@hookimpl
def galaxysd_register_generators():
    yield GeneratorSpec(
        "sersic",
        "galaxysd_sersic.generator:SersicGenerator",
        summary="Sérsic profiles whose index and axis ratio follow the prompt; no weights, milliseconds a galaxy.",
    )


@hookimpl
def galaxysd_register_evaluators():
    yield EvaluatorSpec(
        "sersic",
        "galaxysd_sersic.evaluator:SersicEvaluator",
        summary="Sérsic index and half-light radius of the light as displayed, KS distance.",
    )
