"""Does augmentation help? A table of labelled galaxies and a class in, ways to learn it compared on real galaxies out.

``augmentation_verdict`` = labelled galaxies -> objects, split -> for each number of labelled galaxies and each run:
some are given to every arm, synthetic ones are drawn from their votes -> arms learn, and score validation and test ->
figures, differences with intervals, a sentence. Validation chooses thresholds, the ratio and the best arm without
synthetic galaxies; test galaxies are real and are looked at once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.augmentation.plan import plan_augmentation
from astro_galaxysd.classification.arms import (
    CONTROLS,
    Arm,
    Rows,
    choose_arms,
    score_estimator,
    score_linear,
    score_network,
)
from astro_galaxysd.classification.curves import METRICS, best_threshold, measure, trace
from astro_galaxysd.classification.intervals import Interval, Resampled, difference, resample
from astro_galaxysd.classification.objects import SPLITS, Objects, find_objects, find_positions, split_objects
from astro_galaxysd.classification.samples import FEWEST, Labelled, read_labelled
from astro_galaxysd.classification.study import Key, Setting, Store, Study
from astro_galaxysd.conditions.columns import column_values
from astro_galaxysd.conditions.seeds import RNG, row_seeds, run_seed, stream
from astro_galaxysd.conditions.selection import Selection
from astro_galaxysd.drawing import DEFAULT_WEIGHTS
from astro_galaxysd.errors import ConditionError, NoRealRowsError
from astro_galaxysd.generation import generate
from astro_galaxysd.images.provenance import SEED, json_ready, run_record
from astro_galaxysd.seen import count_rows, weight_folders

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["VERDICT", "Verdict", "augmentation_verdict"]

#: Key of the record in ``table.meta``.
VERDICT = "galaxysd_verdict"
#: Share of the labelled rows, object by object, for training, validation and test.
SHARES = (0.4, 0.2, 0.4)
_POSITIVES, _RATIOS, _RUNS, _STEPS = (10, 50), (0.25, 1.0, 4.0), 5, 200
_QUICK_RATIOS, _QUICK_RUNS, _QUICK_STEPS = (1.0,), 3, 100
_METRIC = "average_precision"
_SYNTHETIC = ("synthetic", "transfer_synthetic")
_OUTCOMES = {1: "helps", 0: "no measurable effect", -1: "harms"}


@dataclass(frozen=True)
class Verdict:
    """What came out.

    Parameters
    ----------
    conclusion : str
        A sentence for each number of labelled galaxies.
    outcomes : dict of int to str
        Number of labelled galaxies -> ``"helps"``, ``"no measurable effect"`` or ``"harms"``.
    table : Table
        A row for each number of labelled galaxies, arm, ratio and metric: ``positives``, ``arm``, ``ratio`` (0 without
        synthetic galaxies), ``metric``, ``value``, ``low``, ``high``; ``gain``, ``gain_low``, ``gain_high`` over
        the arm ``real``; ``chosen``: whether validation chose the ratio. ``meta[VERDICT]`` has the record of the run.
    """

    conclusion: str
    outcomes: dict[int, str]
    table: Table


def augmentation_verdict(
    table: Table,
    *,
    target: str,
    positives: int | Sequence[int] | None = None,
    others: int = 200,
    ratios: Sequence[float] | None = None,
    runs: int | None = None,
    arms: str | Sequence[str] | None = None,
    quick: bool = False,
    estimator: Any = None,
    reader: str | os.PathLike[str] = "choosing",
    weights: str | os.PathLike[str] = DEFAULT_WEIGHTS,
    generator: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    images: str = "image",
    schema: str | None = None,
    labels: Mapping[str, str] | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    threshold: float = 0.5,
    cut: float | None = None,
    out: str | os.PathLike[str] | None = None,
    rng: RNG = None,
    progress: bool = True,
) -> Verdict:
    """Say whether synthetic galaxies improve a classifier of a class, by how much, and against every cheaper remedy.

    Parameters
    ----------
    table : Table
        Real galaxies with images and votes, labels or prompts; rows whose ``synthetic`` is True are left out.
    target : str
        The class, as `augment_table`; not a free prompt.
    positives : int or sequence of int, optional
        Numbers of labelled galaxies of the class to learn from; by default those of 10 and 50 that there are.
    others : int
        Labelled galaxies that are not of the class.
    ratios : sequence of float, optional
        Synthetic galaxies for every labelled one, half of them of the class; by default 0.25, 1, 4.
    runs : int, optional
        How often everything is repeated with other labelled galaxies, at least 2; by default 5.
    arms : str or sequence of str, optional
        Names of `astro_galaxysd.classification.arms.ARMS`; by default all. ``real`` always takes part.
    quick : bool
        One ratio, three runs and half the training steps, where these are not given, and the fewest labelled galaxies.
    estimator : object, optional
        A scikit-learn classifier with ``predict_proba``, which learns from features of the images in place of the
        network that learns from nothing.
    reader : str or path
        A reader of votes; what it knows of an image before it answers are the features.
    weights, generator, steps, guidance
        As `augment_table`.
    images : str
        Image column.
    schema, labels, label_column, id_column, threshold, cut
        As `plan_augmentation`.
    out : path, optional
        A folder for what is drawn and scored; the same call goes on from there.
    rng : None, int, SeedSequence or Generator
        Splits, chooses, draws and resamples (SPEC 7).
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Verdict

    Raises
    ------
    ConditionError, NoRealRowsError, ImageError, UnknownNameError, WeightsError, OutputError
        Before anything is drawn.

    Examples
    --------
    >>> verdict = augmentation_verdict(table, target="merger", quick=True, out="merger/")  # doctest: +SKIP
    >>> print(verdict.conclusion)  # doctest: +SKIP
    """
    seed = run_seed(rng)
    columns: dict[str, Any] = {
        "schema": schema, "labels": labels, "label_column": label_column, "id_column": id_column,
    }  # fmt: skip
    chosen = tuple(choose_arms(arms))
    labelled = read_labelled(table, target, selection=Selection(threshold, cut), images=images, **columns)
    features, revision = _features(reader)
    rows = Rows(labelled.images, features(labelled.images), labelled.positive)
    objects = _objects(labelled, rows.features)
    parts = split_objects(objects.numbers, labelled.positive, SHARES, stream(seed, "split"))
    numbers = _numbers(positives, quick, labelled, parts)
    setting = Setting(
        numbers,
        _others(others, labelled, parts),
        _ratios(ratios, quick),
        _runs(runs, quick),
        chosen,
        seed,
    )
    drawing: dict[str, Any] = {"weights": weights, "generator": generator, "steps": steps, "guidance": guidance}
    asked = {"target": target, "threshold": threshold, "cut": cut, **columns}
    training_steps = _QUICK_STEPS if quick else _STEPS
    identity = json_ready(
        asdict(setting)
        | asked
        | drawing
        | {
            "rows": _digest(labelled),
            "reader": revision,
            "estimator": None if estimator is None else repr(estimator),
            "training_steps": training_steps,
        }
    )
    light = labelled.table.copy(copy_data=False)
    light.remove_column(images)
    study = Study(
        rows, parts, setting, Store(None if out is None else Path(out), identity), features=features,
        draw_class=partial(_draw_class, light, asked, drawing),
        draw_others=partial(_draw_others, light, columns, drawing),
        learn=partial(_learn, estimator, training_steps),
    )  # fmt: skip
    return _conclude(study, labelled, objects, _seen(labelled, weights), identity, progress)


def _features(reader: str | os.PathLike[str]) -> tuple[Any, str]:
    from astro_galaxysd.evaluation.reading import ImageReader

    loaded = ImageReader.load(reader)
    return loaded.embed, loaded.revision


def _objects(labelled: Labelled, features: np.ndarray) -> Objects:
    found = find_positions(labelled.table)
    positions = None if found is None else tuple(column_values(labelled.table, name) for name in found)
    return find_objects(
        labelled.images, features, ids=labelled.names if labelled.identified else None,
        positions=positions,  # type: ignore[arg-type]
    )  # fmt: skip


def _numbers(
    asked: int | Sequence[int] | None, quick: bool, labelled: Labelled, parts: Mapping[str, np.ndarray]
) -> tuple[int, ...]:
    """Numbers of labelled galaxies of the class, after a look at what there is."""
    there = {name: int(labelled.positive[rows].sum()) for name, rows in parts.items()}
    few = {name: number for name, number in there.items() if number < FEWEST}
    told = ", ".join(f"{there[name]} for {name}" for name in SPLITS)
    if few:
        raise NoRealRowsError(
            f"target {labelled.target.name!r}: {int(labelled.positive.sum())} real galaxies are of the class, which "
            f"makes {told}; each needs {FEWEST}: label more, or lower threshold= or cut="
        )
    if asked is None:
        return tuple(number for number in _POSITIVES if number <= there["train"])[: 1 if quick else None] or (
            there["train"],
        )
    numbers = sorted({int(number) for number in ([asked] if isinstance(asked, int | np.integer) else asked)})
    if not numbers or numbers[0] < FEWEST or numbers[-1] > there["train"]:
        raise ConditionError(
            f"positives={asked!r}: of {int(labelled.positive.sum())} galaxies of the class there are {told}; give "
            f"numbers from {FEWEST} to {there['train']}"
        )
    return tuple(numbers)


def _others(asked: int, labelled: Labelled, parts: Mapping[str, np.ndarray]) -> int:
    there = int((~labelled.positive[parts["train"]]).sum())
    if not 1 <= asked <= there:
        raise ConditionError(
            f"others={asked!r}: {there} training galaxies are not of the class; give a number from 1 to {there}"
        )
    return int(asked)


def _ratios(asked: Sequence[float] | None, quick: bool) -> tuple[float, ...]:
    if asked is None:
        return _QUICK_RATIOS if quick else _RATIOS
    ratios = tuple(sorted({float(ratio) for ratio in asked}))
    if not ratios or not (ratios[0] > 0 and np.isfinite(ratios[-1])):
        raise ConditionError(f"ratios={asked!r}: give numbers above 0, as 0.25, 1 and 4")
    return ratios


def _runs(asked: int | None, quick: bool) -> int:
    if asked is None:
        return _QUICK_RUNS if quick else _RUNS
    if asked < 2:
        raise ConditionError(f"runs={asked!r}: from one run nothing can be said about others; give 2 or more")
    return int(asked)


def _digest(labelled: Labelled) -> str:
    """Hash of the galaxies and their classes."""
    digest = hashlib.sha256(json.dumps(labelled.names).encode())
    digest.update(np.packbits(labelled.positive).tobytes())
    digest.update(np.ascontiguousarray(labelled.images).data)
    return digest.hexdigest()


def _seen(labelled: Labelled, weights: str | os.PathLike[str]) -> dict[str, int | None]:
    """Labelled galaxies that the weights have seen: of the class, and others; None where that is not known."""
    folder = next(iter(weight_folders([(os.fspath(weights), "")]).values()))
    names = np.array(labelled.names) if labelled.identified else np.zeros(0, dtype=str)
    return {
        told: count_rows(folder, names[kind].tolist()) if labelled.identified else None
        for told, kind in (("of the class", labelled.positive), ("others", ~labelled.positive))
    }


def _draw_class(
    light: Table, asked: Mapping[str, Any], drawing: Mapping[str, Any], sources: np.ndarray, number: int, seed: int
) -> Table:
    """Galaxies with votes of labelled ones of the class."""
    plan = plan_augmentation(light[sources], n=number, rng=seed, **asked)
    return generate(plan, progress=False, **drawing)


def _draw_others(
    light: Table, columns: Mapping[str, Any], drawing: Mapping[str, Any], sources: np.ndarray, number: int, seed: int
) -> Table:
    """Galaxies with votes of galaxies that are not of the class, each taken once before any is taken again."""
    rng = np.random.default_rng(seed)
    rounds = [rng.permutation(sources) for _ in range(-(-number // len(sources)))]
    conditions = light[np.concatenate(rounds)[:number]]
    conditions[SEED] = row_seeds(seed, np.arange(number))
    return generate(conditions, progress=False, **columns, **drawing)


def _learn(estimator: Any, steps: int, arm: Arm, training: Rows, evaluated: Rows, seed: int) -> np.ndarray:
    if arm.linear:
        return score_linear(training, evaluated)
    if estimator is not None:
        return score_estimator(estimator, arm, training, evaluated, seed=seed)
    return score_network(arm, training, evaluated, seed=seed, steps=steps)


def _conclude(
    study: Study,
    labelled: Labelled,
    objects: Objects,
    seen: Mapping[str, int | None],
    identity: Mapping[str, Any],
    progress: bool,
) -> Verdict:
    from astropy.table import Table
    from tqdm import tqdm

    setting = study.setting
    scores = {key: study.scores(key) for key in tqdm(list(setting.keys()), unit="classifier", disable=not progress)}
    rng = stream(setting.seed, "resamples")
    lines: list[dict[str, Any]] = []
    sentences, outcomes = [], {}
    for number in setting.positives:
        one = {key: value for key, value in scores.items() if key.positives == number}
        found, validated = _figures(study, one, rng)
        picked = {arm: max((way for way in found if way[0] == arm), key=validated.__getitem__) for arm, _ in found}
        sentence, outcomes[number] = _sentence(labelled.target.name, number, found, picked, validated)
        sentences.append(sentence)
        lines += _lines(number, found, picked)
    table = Table(lines)
    table.meta[VERDICT] = json_ready(
        run_record(**identity)
        | {
            "target": labelled.target.name,
            "split": {name: _counted(labelled.positive[rows]) for name, rows in study.parts.items()},
            "compared by": list(objects.checked),
            "rows of one object": objects.joined,
            "told apart": {str(number): study.told_apart(number) for number in setting.positives},
            "seen by the weights": dict(seen),
            "excluded": labelled.excluded,
            "outcomes": {str(number): outcome for number, outcome in outcomes.items()},
        }
    )
    return Verdict(" ".join(sentences), outcomes, table)


Way = tuple[str, float]


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
            gain = difference(figures[metric], found["real", 0.0][metric])
            lines.append(
                {
                    "positives": number, "arm": way[0], "ratio": way[1], "metric": metric,
                    "value": value, "low": low, "high": high,
                    "gain": gain.value, "gain_low": gain.low, "gain_high": gain.high, "chosen": picked[way[0]] == way,
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

    plain = [arm for arm in picked if arm not in (*_SYNTHETIC, *CONTROLS)]
    base = best(plain)
    if not any(arm in picked for arm in _SYNTHETIC):
        return f"{target}, {number} labelled: no arm with synthetic galaxies was asked for.", _OUTCOMES[0]
    way = best(_SYNTHETIC)
    change = gain(way, base)
    outcome = _OUTCOMES[change.sign]
    told = (
        f"{target}, {number} labelled: {outcome}: average precision {found[way][_METRIC].value:.3f} with "
        f"{way[0]} at ratio {way[1]:g}, {found[base][_METRIC].value:.3f} with the best way without synthetic galaxies "
        f"({base[0]}), difference {change.value:+.3f} (95 %: {change.low:+.3f} to {change.high:+.3f})"
    )
    if "wrong_prompts" in picked:
        control = gain(picked["wrong_prompts"], picked["real"])
        bounds = f"{control.low:+.3f} to {control.high:+.3f}"
        told += f"; wrong prompts against real galaxies only {control.value:+.3f} ({bounds})"
    return told + ".", outcome


def _counted(positive: np.ndarray) -> dict[str, int]:
    return {"of the class": int(positive.sum()), "others": int((~positive).sum())}
