"""Evaluators: how synthetic images compare with real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_galaxysd import hookimpl
from astro_galaxysd.records import EvaluatorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGE = "astro_galaxysd.evaluation"


@hookimpl
def galaxysd_register_evaluators() -> Iterator[EvaluatorSpec]:
    """Offer realism, diversity, consistency, photometry, morphology and memorisation."""
    yield EvaluatorSpec(
        "realism",
        f"{_PACKAGE}.realism:RealismEvaluator",
        summary="Nearest real image, precision, density, Frechet and kernel distance.",
        requires=("torch",),
    )
    yield EvaluatorSpec(
        "diversity",
        f"{_PACKAGE}.diversity:DiversityEvaluator",
        summary="Pairwise distance, Vendi score, recall and coverage.",
        requires=("torch",),
    )
    yield EvaluatorSpec(
        "consistency",
        f"{_PACKAGE}.consistency:ConsistencyEvaluator",
        summary="What was asked for against what a vote reader finds, answer by answer.",
        requires=("torch",),
    )
    yield EvaluatorSpec(
        "photometry",
        f"{_PACKAGE}.photometry:PhotometryEvaluator",
        summary="Flux, background, noise, colour, profile and power spectrum in display units.",
    )
    yield EvaluatorSpec(
        "morphology",
        f"{_PACKAGE}.morphology:MorphologyEvaluator",
        summary="Ellipticity, half-light radius, concentration, asymmetry, Gini and M20.",
    )
    yield EvaluatorSpec(
        "memorisation",
        f"{_PACKAGE}.memorisation:MemorisationEvaluator",
        summary="Copies of training images, against what real images would give.",
        requires=("torch",),
    )
    yield EvaluatorSpec(
        "statmorph",
        f"{_PACKAGE}.statmorph_evaluator:StatmorphEvaluator",
        summary="Shapes by statmorph, with the Petrosian radius; 0.7 s an image.",
        requires=("statmorph",),
    )
