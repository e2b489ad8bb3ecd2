"""Numbers of the three sets of an assessment that a report draws: photometry, morphology, votes asked and read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.conditions.requests import answers_asked, known_fractions, read_requests
from astro_galaxysd.conditions.tree import ANSWERS
from astro_galaxysd.errors import ImageError
from astro_galaxysd.evaluation.consistency import FEWEST_ASKED, calibration_curve, read_votes
from astro_galaxysd.evaluation.memory import remembered
from astro_galaxysd.reporting.figures import HELD, REAL, SYNTHETIC, Curve

if TYPE_CHECKING:
    from astro_galaxysd.assessment import Assessment
    from astro_galaxysd.records import ImageBatch

__all__ = [
    "LABELS",
    "MORPHOLOGY",
    "calibration_curves",
    "members",
    "morphology_samples",
    "photometry_samples",
    "quantiles",
    "sets_of",
]

#: What the evaluator keeps its numbers under, so that nothing is measured twice.
MORPHOLOGY = "morphology-1"
#: Quantities with their units, for axes.
LABELS = {
    "flux": "flux, grey levels",
    "background": "background, grey levels",
    "sky_rms": "sky rms, grey levels",
    "colour": "colour red to blue, mag",
    "colour_rg": "colour red to green, mag",
    "ellipticity": "ellipticity",
    "half_light_radius": "half-light radius, pixels",
    "concentration": "concentration",
    "asymmetry": "asymmetry",
    "gini": "Gini",
    "m20": "M20",
}
_MOST_ANSWERS = 11
Samples = dict[str, dict[str, np.ndarray]]


def sets_of(assessment: Assessment) -> dict[str, ImageBatch]:
    """Colour -> images that were compared with, that stand for the ceiling, and that were drawn."""
    return {REAL: assessment.real, HELD: assessment.held, SYNTHETIC: assessment.synthetic}


def photometry_samples(assessment: Assessment) -> Samples:
    """Quantity -> colour of the set -> values, shape (n,)."""
    from astro_galaxysd.evaluation.photometry import measure

    return _turned({colour: measure(batch.images) for colour, batch in sets_of(assessment).items()})


def morphology_samples(assessment: Assessment) -> Samples:
    """Quantity -> colour of the set -> values, shape (n,), NaN where not measurable; empty for too small images."""
    from astro_galaxysd.evaluation.morphology import QUANTITIES, measure

    def numbers(images: np.ndarray) -> np.ndarray:
        return np.column_stack(list(measure(images).values()))

    try:
        found = {colour: remembered(assessment.memory, MORPHOLOGY, numbers, batch.images)
                 for colour, batch in sets_of(assessment).items()}  # fmt: skip
    except ImageError:
        return {}
    return {name: {colour: values[:, i] for colour, values in found.items()} for i, name in enumerate(QUANTITIES)}


def _turned(by_colour: Mapping[str, Mapping[str, np.ndarray]]) -> Samples:
    names = next(iter(by_colour.values()))
    return {name: {colour: found[name] for colour, found in by_colour.items()} for name in names}


def quantiles(
    assessment: Assessment, measure: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Curves of each set, such as `astro_galaxysd.evaluation.texture.radial_power` gives for each image.

    Returns
    -------
    x : ndarray, shape (B,)
    curves : dict of str to ndarray, shape (3, B)
        Colour -> 16th, 50th and 84th percentile over the images.
    """
    found = {colour: measure(batch.images) for colour, batch in sets_of(assessment).items()}
    x = next(iter(found.values()))[0]
    return x, {colour: np.percentile(values, (16, 50, 84), axis=0) for colour, (_, values) in found.items()}


def members(assessment: Assessment) -> dict[str, np.ndarray]:
    """Answers that real rows (of both halves) have and that synthetic rows were asked for, bool, shape (N, 37)."""
    real = [answers_asked(read_requests(b.conditions, drawn=False)) for b in (assessment.real, assessment.held)]
    return {
        "real": np.concatenate(real),
        "synthetic": answers_asked(read_requests(assessment.synthetic.conditions)),
    }


def calibration_curves(assessment: Assessment) -> dict[str, dict[str, Curve]]:
    """Read against asked fractions: title -> colour of the set -> curve.

    Returns
    -------
    dict
        All answers together first, then those that most synthetic images were asked for; empty without a reader or
        where nothing was asked.
    """
    if assessment.reader is None:
        return {}
    pairs = {colour: _asked_and_read(assessment, batch, drawn=colour == SYNTHETIC)
             for colour, batch in ((HELD, assessment.held), (SYNTHETIC, assessment.synthetic))}  # fmt: skip
    if not np.isfinite(pairs[SYNTHETIC][0]).any():
        return {}
    count = np.isfinite(pairs[SYNTHETIC][0]).sum(axis=0)
    spread = np.ptp(np.nan_to_num(pairs[SYNTHETIC][0]), axis=0) > 0
    order = [
        i for i in np.argsort(-count, kind="stable") if count[i] >= FEWEST_ASKED and spread[i] and ANSWERS[i].words
    ]
    curves = {"all answers": _curves(pairs, None)}
    return curves | {ANSWERS[i].words: _curves(pairs, ANSWERS[i].key) for i in _commonest(order, pairs)}


def _commonest(order: Iterable[int], pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> list[int]:
    """The answers with the most images asked for at half or more, in the order of the tree."""
    asked = (np.nan_to_num(pairs[SYNTHETIC][0]) >= 0.5).sum(axis=0)
    return sorted(sorted(order, key=lambda i: -asked[i])[:_MOST_ANSWERS])


def _curves(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], key: str | None) -> dict[str, Curve]:
    found: dict[str, Any] = {colour: calibration_curve(asked, read, key) for colour, (asked, read) in pairs.items()}
    return {colour: Curve(curve.asked, curve.read, curve.error) for colour, curve in found.items()}


def _asked_and_read(assessment: Assessment, batch: ImageBatch, *, drawn: bool) -> tuple[np.ndarray, np.ndarray]:
    requests = read_requests(batch.conditions, drawn=drawn)
    asked = np.where(known_fractions(requests), requests.votes, np.nan)
    return asked, read_votes(assessment.reader, batch.images, assessment.memory)
