"""Does augmentation help? A table of labelled galaxies and a class in, ways to learn it compared on real galaxies out.

``augmentation_verdict`` = labelled galaxies -> objects, split -> for each run and each number of labelled galaxies:
some are given to every arm, synthetic ones are drawn from their votes -> arms learn, and score validation and test ->
figures, differences with intervals, a sentence. Validation chooses thresholds, the ratio and the best arm without
synthetic galaxies; test galaxies are real and are looked at once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.classification.arms import ARMS, Rows, choose_arms
from astro_galaxysd.classification.classifiers import Learner, fit_linear
from astro_galaxysd.classification.curves import METRICS, best_threshold, measure, trace
from astro_galaxysd.classification.drawn import Synthesis
from astro_galaxysd.classification.intervals import Interval, Resampled, difference, resample
from astro_galaxysd.classification.network import STEPS
from astro_galaxysd.classification.objects import Objects, find_objects, find_positions, split_objects
from astro_galaxysd.classification.samples import FEWEST, Labelled, read_labelled
from astro_galaxysd.classification.study import Key, Scores, Setting, Store, Study
from astro_galaxysd.conditions.columns import column_values
from astro_galaxysd.conditions.seeds import RNG, run_seed, stream
from astro_galaxysd.conditions.selection import Selection
from astro_galaxysd.conditions.tree import INDEX, Answer
from astro_galaxysd.drawing import DEFAULT_WEIGHTS
from astro_galaxysd.errors import ConditionError, ImageError, NoRealRowsError
from astro_galaxysd.images.provenance import json_ready, run_record
from astro_galaxysd.seen import count_rows, count_target, weight_folders

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.evaluation.reading import ImageReader

__all__ = ["VERDICT", "Verdict", "augmentation_verdict"]

#: Key of the record in ``table.meta``.
VERDICT = "galaxysd_verdict"
#: Share of the labelled rows, object by object, for training, validation and test.
SHARES = {"train": 0.4, "validation": 0.2, "test": 0.4}
_POSITIVES, _RATIOS, _RUNS = (10, 50), (0.25, 1.0, 4.0), 5
_QUICK_RATIOS, _QUICK_RUNS = (1.0,), 3
_QUICK_ARMS = ("class_weights", "oversampled", "transfer", "synthetic", "transfer_synthetic", "wrong_prompts")
_METRIC = "average_precision"
_OTHERS = 200
_NAMED = 5
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
        synthetic galaxies), ``metric``, ``value``, ``low``, ``high``; ``gain``, ``gain_low``, ``gain_high`` over the
        arm ``real``, and ``relative`` with its bounds, the same in units of that arm's figure; ``chosen``: whether
        validation chose the ratio. ``meta[VERDICT]`` has the record of the run.
    """

    conclusion: str
    outcomes: dict[int, str]
    table: Table


def augmentation_verdict(
    table: Table,
    *,
    target: str,
    against: str | None = None,
    test: Table | None = None,
    positives: int | Sequence[int] | None = None,
    others: int | None = None,
    ratios: Sequence[float] | None = None,
    runs: int | None = None,
    arms: str | Sequence[str] | None = None,
    quick: bool = False,
    estimator: Any = None,
    training_steps: int = STEPS,
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
    against : str, optional
        The only other class, as target; by default all galaxies that are not of the target.
    test : Table, optional
        Galaxies to test on, with the same columns; by default two fifths of `table`, object by object.
    positives : int or sequence of int, optional
        Numbers of labelled galaxies of the class to learn from; by default those of 10 and 50 that there are.
    others : int, optional
        Labelled galaxies that are not of the class; by default 200, or as many as there are.
    ratios : sequence of float, optional
        Synthetic galaxies for every labelled one, half of them of the class; by default 0.25, 1, 4.
    runs : int, optional
        How often everything is repeated with other labelled galaxies, at least 2; by default 5.
    arms : str or sequence of str, optional
        Names of `astro_galaxysd.classification.arms.ARMS`; by default all. ``real`` always takes part.
    quick : bool
        The fewest labelled galaxies, one ratio, three runs and the arms that matter most, where these are not given.
    estimator : object, optional
        A scikit-learn classifier with ``predict_proba``, which learns from features of the images in place of the
        network that learns from nothing.
    training_steps : int
        Of that network.
    reader : str or path
        A reader of votes, which chooses among synthetic galaxies; what it knows of an image before it answers are the
        features.
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
        Before anything is drawn; also where `test` has objects of `table`.

    Examples
    --------
    >>> verdict = augmentation_verdict(table, target="merger", quick=True, out="merger/")  # doctest: +SKIP
    >>> print(verdict.conclusion)  # doctest: +SKIP
    """
    from astro_galaxysd.evaluation.reading import ImageReader

    seed = run_seed(rng)
    columns: dict[str, Any] = {
        "schema": schema, "labels": labels, "label_column": label_column, "id_column": id_column,
    }  # fmt: skip
    chosen = tuple(choose_arms(_QUICK_ARMS if quick and arms is None else arms))
    loaded = ImageReader.load(reader)
    reading: dict[str, Any] = {
        "against": against, "selection": Selection(threshold, cut), "images": images, **columns,
    }  # fmt: skip
    labelled = read_labelled(table, target, **reading)
    held = None if test is None else read_labelled(test, target, **reading)
    rows, objects, parts = _split(labelled, held, loaded.embed, seed)
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
    asked = {"target": target, "threshold": threshold, "cut": cut}
    galaxies = [one for one in (labelled, held) if one is not None]
    identity = json_ready(
        asdict(setting)
        | asked
        | columns
        | drawing
        | {
            "against": against,
            "rows": _digest(galaxies),
            "reader": loaded.revision,
            "estimator": None if estimator is None else repr(estimator),
            "training_steps": training_steps,
        }
    )
    light = labelled.table.copy(copy_data=False)
    light.remove_column(images)
    synthesis = Synthesis(light, asked, columns, drawing)
    study = Study(
        rows,
        parts,
        setting,
        Store(None if out is None else Path(out), identity),
        draw_class=synthesis.of_class,
        draw_others=synthesis.others,
        features=loaded.embed,
        agreement=partial(_agreement, loaded, labelled.target.answer),
        learn=Learner(estimator, training_steps),
    )
    return _conclude(study, galaxies, objects, _seen(galaxies, weights), identity, progress)


def _split(
    labelled: Labelled, held: Labelled | None, features: Callable[[np.ndarray], np.ndarray], seed: int
) -> tuple[Rows, Objects, dict[str, np.ndarray]]:
    """All galaxies, which of them show one object, and the rows of each part."""
    galaxies = [labelled] if held is None else [labelled, held]
    if held is not None and held.images.shape[1:] != labelled.images.shape[1:]:
        raise ImageError(
            f"images of test= are {held.images.shape[1]}x{held.images.shape[2]}, those of the table "
            f"{labelled.images.shape[1]}x{labelled.images.shape[2]}; bring them to one size with fit_size"
        )
    pixels = np.concatenate([one.images for one in galaxies])
    positive = np.concatenate([one.positive for one in galaxies])
    rows = Rows(pixels, features(pixels), positive)
    objects = find_objects(
        rows.images, rows.features,
        ids=[name for one in galaxies for name in one.names] if all(one.identified for one in galaxies) else None,
        positions=_positions(galaxies),
    )  # fmt: skip
    rng = stream(seed, "split")
    if held is None:
        return rows, objects, split_objects(objects.numbers, positive, SHARES, rng)
    own, other = objects.numbers[: len(labelled)], objects.numbers[len(labelled) :]
    shared = np.flatnonzero(np.isin(other, own))
    if len(shared):
        raise ConditionError(
            f"{len(shared)} galaxies of test= are also in the table, as far as {', '.join(objects.checked)} tell: "
            f"{', '.join(held.names[row] for row in shared[:_NAMED])}; leave them out of one of the two"
        )
    learnt = 1 - SHARES["test"]
    shares = {name: share / learnt for name, share in SHARES.items() if name != "test"}
    parts = split_objects(own, labelled.positive, shares, rng)
    return rows, objects, parts | {"test": np.arange(len(labelled), len(rows.positive))}


def _positions(galaxies: Sequence[Labelled]) -> tuple[np.ndarray, np.ndarray] | None:
    found = [find_positions(one.table) for one in galaxies]
    if None in found:
        return None
    ra, dec = (
        np.concatenate([column_values(one.table, names[axis]) for one, names in zip(galaxies, found, strict=True)])  # type: ignore[index]
        for axis in (0, 1)
    )
    return ra, dec


def _numbers(
    asked: int | Sequence[int] | None, quick: bool, labelled: Labelled, parts: Mapping[str, np.ndarray]
) -> tuple[int, ...]:
    """Numbers of labelled galaxies of the class, after a look at what there is."""
    there = {name: int(labelled.positive[rows].sum()) for name, rows in parts.items()}
    few = {name: number for name, number in there.items() if number < FEWEST}
    told = ", ".join(f"{there[name]} for {name}" for name in SHARES)
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


def _others(asked: int | None, labelled: Labelled, parts: Mapping[str, np.ndarray]) -> int:
    there = int((~labelled.positive[parts["train"]]).sum())
    if not 1 <= (there if asked is None else asked) <= there:
        raise ConditionError(
            f"others={asked!r}: {there} training galaxies are not of the class; give a number from 1 to {there}"
        )
    return min(_OTHERS, there) if asked is None else int(asked)


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


def _digest(galaxies: Sequence[Labelled]) -> str:
    """Hash of the galaxies and their classes."""
    digest = hashlib.sha256(json.dumps([one.names for one in galaxies]).encode())
    for one in galaxies:
        digest.update(np.packbits(one.positive).tobytes())
        digest.update(np.ascontiguousarray(one.images).data)
    return digest.hexdigest()


def _seen(galaxies: Sequence[Labelled], weights: str | os.PathLike[str]) -> dict[str, int | None]:
    """Galaxies that the weights have seen: of these, those of the class and others; of the class, all."""
    folder = next(iter(weight_folders([(os.fspath(weights), "")]).values()))
    identified = all(one.identified for one in galaxies)
    names = np.array([name for one in galaxies for name in one.names])
    positive = np.concatenate([one.positive for one in galaxies])
    return {
        "of the class": count_rows(folder, names[positive].tolist()) if identified else None,
        "others": count_rows(folder, names[~positive].tolist()) if identified else None,
        "of the class, whoever's": count_target(folder, galaxies[0].target),
    }


def _agreement(reader: ImageReader, answer: Answer | None, labelled: Rows, rows: Rows) -> np.ndarray:
    """How surely the class is found: the reader's own answer, where the class is one, else what it helps to learn."""
    if answer is None:
        return fit_linear(labelled)(rows)
    from astro_galaxysd.evaluation.reader import reached

    fractions = reader.predict(rows.images)
    return np.asarray((reached(fractions) * fractions)[:, INDEX[answer.key]])


def _conclude(
    study: Study,
    galaxies: Sequence[Labelled],
    objects: Objects,
    seen: Mapping[str, int | None],
    identity: Mapping[str, Any],
    progress: bool,
) -> Verdict:
    from astropy.table import Table
    from tqdm import tqdm

    setting, target = study.setting, galaxies[0].target.name
    scores, apart = dict[Key, Scores](), dict[int, float | None]()
    for key in tqdm(list(setting.keys()), unit="classifier", disable=not progress):
        if key.positives not in apart:  # while the synthetic galaxies of the first run are at hand
            apart[key.positives] = study.told_apart(key.positives)
        scores[key] = study.scores(key)
    rng = stream(setting.seed, "resamples")
    lines: list[dict[str, Any]] = []
    sentences, outcomes = [], {}
    for number in setting.positives:
        one = {key: value for key, value in scores.items() if key.positives == number}
        found, validated = _figures(study, one, rng)
        picked = {arm: max((way for way in found if way[0] == arm), key=validated.__getitem__) for arm, _ in found}
        sentence, outcomes[number] = _sentence(target, number, found, picked, validated)
        sentences.append(sentence)
        lines += _lines(number, found, picked)
    table = Table(lines)
    table.meta[VERDICT] = json_ready(
        run_record(**identity)
        | {
            "target": target,
            "split": {name: _counted(study.rows.positive[rows]) for name, rows in study.parts.items()},
            "compared by": list(objects.checked),
            "rows of one object": objects.joined,
            "told apart": {str(number): value for number, value in apart.items()},
            "seen by the weights": dict(seen),
            "excluded": _excluded(galaxies),
            "outcomes": {str(number): outcome for number, outcome in outcomes.items()},
        }
    )
    known = seen["of the class, whoever's"]
    told = f"{known:,} galaxies of the class" if known is not None else "a number of galaxies of the class not known"
    sentences.append(f"The weights were trained on {told}.")
    return Verdict(" ".join(sentences), outcomes, table)


def _excluded(galaxies: Sequence[Labelled]) -> dict[str, list[str]]:
    """Names of all rows left out, by reason."""
    found: dict[str, list[str]] = {}
    for one in galaxies:
        for reason, names in one.excluded.items():
            found.setdefault(reason, []).extend(names)
    return found


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
        return f"{target}, {number} labelled: no arm with synthetic galaxies was asked for.", _OUTCOMES[0]
    way = best(augmented)
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
