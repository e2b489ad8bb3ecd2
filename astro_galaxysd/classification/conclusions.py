"""What follows from the scores of a study: figures and differences of all ways to learn, in lines and a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from astro_galaxysd.classification.arms import ARMS
from astro_galaxysd.classification.curves import METRICS, best_threshold, measure, trace
from astro_galaxysd.classification.intervals import Interval, Resampled, difference, resample
from astro_galaxysd.classification.study import Key, Scores, Study

__all__ = ["NOT_TESTED", "OUTCOMES", "conclude_number"]

_METRIC = "average_precision"
#: Sign of the difference -> outcome.
OUTCOMES = {1: "helps", 0: "no measurable effect", -1: "harms"}
NOT_TESTED = "not tested"
#: An arm and its ratio.
Way = tuple[str, float]


def conclude_number(
    study: Study, target: str, number: int, scores: Mapping[Key, Scores], rng: np.random.Generator
) -> tuple[str, str, list[dict[str, Any]]]:
    """What is concluded for one number of labelled galaxies: a sentence, the outcome in a word, lines of the table.

    Parameters
    ----------
    study : Study
    target : str
    number : int
        Labelled galaxies of the class.
    scores : mapping of Key to Scores
        Of this number.
    rng : Generator
        Resamples.
    """
    found, validated = _figures(study, scores, rng)
    picked = {arm: max((way for way in found if way[0] == arm), key=validated.__getitem__) for arm, _ in found}
    sentence, outcome = _sentence(target, number, found, picked, validated)
    return sentence, outcome, _lines(number, found, picked)


def _figures(
    study: Study, scores: Mapping[Key, Any], rng: np.random.Generator
) -> tuple[dict[Way, dict[str, Resampled]], dict[Way, float]]:
    """Figures on test galaxies of every arm and ratio, and its average precision on validation galaxies."""
    validation, test = (study.rows.positive[study.parts[name]] for name in ("validation", "test"))
    ways: dict[Way, list[Any]] = {}
    for key, value in scores.items():
        ways.setdefault((key.arm, key.ratio), []).append(value)
    thresholds = {way: [best_threshold(validation, run.validation) for run in runs] for way, runs in ways.items()}
    validated = {
        way: float(np.mean([measure(trace(validation, run.validation), 0.5)[_METRIC] for run in runs]))
        for way, runs in ways.items()
    }
    found = resample({way: [run.test for run in runs] for way, runs in ways.items()}, thresholds, test, rng)
    return found, validated


def _lines(
    number: int, found: Mapping[Way, Mapping[str, Resampled]], picked: Mapping[str, Way]
) -> list[dict[str, Any]]:
    lines = []
    for way, figures in found.items():
        for metric in METRICS:
            value, low, high = figures[metric].interval
            gain, relative = (
                difference(figures[metric], found["real", 0.0][metric], relative=asked) for asked in (False, True)
            )
            lines.append(
                {
                    "positives": number, "arm": way[0], "ratio": way[1], "metric": metric,
                    "value": value, "low": low, "high": high,
                    "gain": gain.value, "gain_low": gain.low, "gain_high": gain.high,
                    "relative": relative.value, "relative_low": relative.low, "relative_high": relative.high,
                    "chosen": picked[way[0]] == way,
                }
            )  # fmt: skip
    return lines


def _sentence(
    target: str,
    number: int,
    found: Mapping[Way, Mapping[str, Resampled]],
    picked: Mapping[str, Way],
    validated: Mapping[Way, float],
) -> tuple[str, str]:
    """What is concluded, in a sentence and in a word."""

    def best(arms: Sequence[str]) -> Way:
        return max((picked[arm] for arm in arms if arm in picked), key=validated.__getitem__)

    def gain(way: Way, base: Way) -> Interval:
        return difference(found[way][_METRIC], found[base][_METRIC])

    base = best([arm for arm in picked if not ARMS[arm].synthetic])
    augmented = [arm for arm in picked if ARMS[arm].synthetic == "asked"]
    if not augmented:
        return f"{target}, {number} labelled: no arm that could answer was asked for.", NOT_TESTED
    way = best(augmented)
    change = gain(way, base)
    outcome = OUTCOMES[change.sign]
    told = (
        f"{target}, {number} labelled: {outcome}: average precision {found[way][_METRIC].value:.3f} with "
        f"{way[0]} at ratio {way[1]:g}, {found[base][_METRIC].value:.3f} with the best way without synthetic galaxies "
        f"({base[0]}), difference {change.value:+.3f} (95 %: {change.low:+.3f} to {change.high:+.3f})"
    )
    if "wrong_prompts" in picked:
        control = gain(picked["wrong_prompts"], picked["real"])
        bounds = f"{control.low:+.3f} to {control.high:+.3f}"
        at = picked["wrong_prompts"][1]
        told += f"; wrong prompts at ratio {at:g} over real galaxies only {control.value:+.3f} ({bounds})"
    return told + ".", outcome
