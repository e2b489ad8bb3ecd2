"""Numbers of the three sets of an assessment that a report draws: photometry, morphology, votes asked and read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.conditions.requests import answers_asked, read_requests
from astro_galaxysd.conditions.tree import ANSWERS
from astro_galaxysd.errors import ImageError
from astro_galaxysd.evaluation.calibration import CalibrationCurve, calibration_curve
from astro_galaxysd.evaluation.consistency import FEWEST_ASKED, fractions_asked
from astro_galaxysd.evaluation.votes import read_votes
from astro_galaxysd.reporting.figures import HELD, REAL, SYNTHETIC

if TYPE_CHECKING:
    from astro_galaxysd.assessment import Assessment
    from astro_galaxysd.records import ImageBatch

__all__ = [
    "LABELS",
    "calibration_curves",
    "members",
    "morphology_samples",
    "photometry",
    "sets_of",
]

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
Curves = dict[str, tuple[np.ndarray, dict[str, np.ndarray]]]


def sets_of(assessment: Assessment) -> dict[str, ImageBatch]:
    """Colour -> images that were compared with, that stand for the ceiling, and that were drawn."""
    return {REAL: assessment.real, HELD: assessment.held, SYNTHETIC: assessment.synthetic}


def photometry(assessment: Assessment) -> tuple[Samples, Curves]:
    """Photometry of the three sets, as its evaluator measured and remembered it.

    Returns
    -------
    samples : dict
        Quantity -> colour of the set -> values, shape (n,).
    curves : dict
        ``"power"`` and ``"profile"`` -> frequency or radius, shape (B,), and colour of the set -> 16th, 50th and 84th
        percentile over the images, shape (3, B).
    """
    from astro_galaxysd.evaluation.photometry import remembered_measure

    found = {c: remembered_measure(assessment.memory, batch.images) for c, batch in sets_of(assessment).items()}
    one = found[REAL]
    curves = {
        "power": (one.frequency, {colour: _quantiles(each.power) for colour, each in found.items()}),
        "profile": (one.radius, {colour: _quantiles(each.profile) for colour, each in found.items()}),
    }
    return _by_quantity({colour: each.quantities for colour, each in found.items()}), curves


def morphology_samples(assessment: Assessment) -> Samples:
    """Quantity -> colour of the set -> values, shape (n,), NaN where not measurable; empty for too small images."""
    from astro_galaxysd.evaluation.morphology import remembered_measure

    try:
        found = {c: remembered_measure(assessment.memory, batch.images) for c, batch in sets_of(assessment).items()}
    except ImageError:
        return {}
    return _by_quantity(found)


def _by_quantity(by_colour: Mapping[str, Mapping[str, np.ndarray]]) -> Samples:
    names = next(iter(by_colour.values()))
    return {name: {colour: found[name] for colour, found in by_colour.items()} for name in names}


def _quantiles(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.percentile(values, (16, 50, 84), axis=0))


def members(assessment: Assessment) -> dict[str, np.ndarray]:
    """Answers that real rows (of both halves) have and that synthetic rows were asked for, bool, shape (N, 37)."""
    real = [answers_asked(read_requests(b.conditions, drawn=False)) for b in (assessment.real, assessment.held)]
    return {
        "real": np.concatenate(real),
        "synthetic": answers_asked(read_requests(assessment.synthetic.conditions)),
    }


def calibration_curves(assessment: Assessment) -> dict[str, dict[str, CalibrationCurve]]:
    """Read against asked fractions: title -> colour of the set -> curve.

    Returns
    -------
    dict
        All answers together first, then those that most synthetic images were asked for; empty without a reader or
        where nothing was asked.
    """
    reader, memory = assessment.reader, assessment.memory
    if reader is None:
        return {}
    pairs = {colour: (fractions_asked(batch), read_votes(reader, batch.images, memory))
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


def _curves(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], key: str | None) -> dict[str, CalibrationCurve]:
    return {colour: calibration_curve(asked, read, key) for colour, (asked, read) in pairs.items()}
