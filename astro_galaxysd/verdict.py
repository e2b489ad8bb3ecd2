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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.classification.arms import ARMS, Arm, Rows, choose_arms
from astro_galaxysd.classification.classifiers import Learner, check_estimator, fit_linear
from astro_galaxysd.classification.conclusions import conclude_number
from astro_galaxysd.classification.drawn import Synthesis
from astro_galaxysd.classification.network import STEPS
from astro_galaxysd.classification.parts import Parts, divide
from astro_galaxysd.classification.samples import FEWEST, Labelled, read_labelled, shortened
from astro_galaxysd.classification.store import Store
from astro_galaxysd.classification.study import Key, Scores, Setting, Study
from astro_galaxysd.conditions.seeds import RNG, run_seed, stream
from astro_galaxysd.conditions.selection import Selection
from astro_galaxysd.conditions.tree import Answer
from astro_galaxysd.errors import ConditionError
from astro_galaxysd.images.provenance import json_ready, run_record
from astro_galaxysd.seen import count_rows, count_seen, count_target, judge_folders, weight_folders, weights_content
from astro_galaxysd.weightcards import DEFAULT_WEIGHTS, pinned, refuse_references

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.evaluation.reading import ImageReader

__all__ = ["VERDICT", "Verdict", "augmentation_verdict"]

#: Key of the record in ``table.meta``.
VERDICT = "galaxysd_verdict"
_POSITIVES, _RATIOS, _RUNS = (10, 50), (0.25, 1.0, 4.0), 5
_QUICK_RATIOS, _QUICK_RUNS = (1.0,), 3
_QUICK_ARMS = ("class_weights", "oversampled", "transfer", "synthetic", "transfer_synthetic", "wrong_prompts")
_OTHERS, _FEWEST_RUNS = 200, 3


@dataclass(frozen=True)
class Verdict:
    """What came out.

    Parameters
    ----------
    conclusion : str
        A sentence for each number of labelled galaxies.
    outcomes : dict of int to str
        Number of labelled galaxies -> ``"helps"``, ``"no measurable effect"``, ``"harms"``, or ``"not tested"`` where
        no arm with synthetic galaxies took part.
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
        How often everything is repeated with other labelled galaxies of the class, at least 3; by default 5.
    arms : str or sequence of str, optional
        Names of `astro_galaxysd.classification.arms.ARMS`; by default all. ``real`` always takes part.
    quick : bool
        The fewest labelled galaxies, one ratio, three runs and the arms that matter most, where these are not given.
    estimator : object, optional
        A scikit-learn classifier with ``predict_proba``, which learns from features of the images in place of the
        network that learns from nothing; the arm ``focal`` is for that network alone.
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
        A folder for what is drawn and scored; the same call goes on from there, also where `rng` is None.
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

    seed = Store.seed(out) if rng is None and out is not None else None
    seed = run_seed(rng) if seed is None else seed
    columns: dict[str, Any] = {
        "schema": schema, "labels": labels, "label_column": label_column, "id_column": id_column,
    }  # fmt: skip
    chosen = _arms(arms, quick, estimator)
    refuse_references(weights, "a verdict")
    loaded = ImageReader.load(reader)
    reading: dict[str, Any] = {
        "against": against, "selection": Selection(threshold, cut), "images": images, **columns,
    }  # fmt: skip
    labelled = read_labelled(table, target, **reading)
    held = None if test is None else read_labelled(test, target, **reading)
    divided = divide(labelled, held, loaded.embed, stream(seed, "split"))
    setting = Setting(
        _numbers(positives, quick, divided),
        _others(others, divided),
        _ratios(ratios, quick),
        _runs(runs, quick),
        chosen,
        seed,
    )
    drawing: dict[str, Any] = {"weights": pinned(weights), "generator": generator, "steps": steps, "guidance": guidance}
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
            "weights_revision": weights_content(weights),
            "estimator": None if estimator is None else repr(estimator),
            "training_steps": training_steps,
        }
    )
    synthesis = Synthesis.of(labelled.table, images, asked, columns, drawing)
    if any(arm.synthetic for arm in chosen):
        synthesis.check(labelled.positive)
    study = Study(
        divided.rows,
        divided.parts,
        setting,
        Store(None if out is None else Path(out), identity),
        draw_class=synthesis.of_class,
        draw_others=synthesis.others,
        features=loaded.embed,
        agreement=partial(_agreement, loaded, labelled.target.answer),
        learn=Learner(estimator, training_steps),
        parallel=estimator is None,  # of another's we don't know whether it may
    )
    record = _compared(divided, galaxies) | {
        "seen": _seen(divided, galaxies, weights, reader, loaded.revision),
        "galaxies of the class that the weights were trained on": count_target(weights, labelled.target),
    }
    return _conclude(study, record, identity, progress)


def _arms(asked: object, quick: bool, estimator: Any) -> tuple[Arm, ...]:
    if asked is None and quick:
        asked = _QUICK_ARMS
    if asked is None and estimator is not None:
        asked = [name for name, arm in ARMS.items() if not arm.focal]
    chosen = tuple(choose_arms(asked))
    if estimator is not None:
        check_estimator(estimator, chosen)
    return chosen


def _numbers(asked: int | Sequence[int] | None, quick: bool, divided: Parts) -> tuple[int, ...]:
    """Numbers of labelled galaxies of the class, after a look at what there is."""
    there = divided.tally(True)
    if asked is None:
        return tuple(number for number in _POSITIVES if number <= there["train"])[: 1 if quick else None] or (
            there["train"],
        )
    numbers = sorted({int(number) for number in np.atleast_1d(asked)})
    if not numbers or numbers[0] < FEWEST or numbers[-1] > there["train"]:
        told = ", ".join(f"{number} for {name}" for name, number in there.items())
        raise ConditionError(
            f"positives={asked!r}: of {sum(there.values())} galaxies of the class there are {told}; give numbers from "
            f"{FEWEST} to {there['train']}"
        )
    return tuple(numbers)


def _others(asked: int | None, divided: Parts) -> int:
    there = divided.tally(False)["train"]
    if not FEWEST <= (there if asked is None else asked) <= there:
        raise ConditionError(
            f"others={asked!r}: {there} training galaxies are not of the class; give a number from {FEWEST} to {there}"
        )
    return min(_OTHERS, there) if asked is None else int(asked)


def _ratios(asked: float | Sequence[float] | None, quick: bool) -> tuple[float, ...]:
    if asked is None:
        return _QUICK_RATIOS if quick else _RATIOS
    ratios = tuple(sorted({float(ratio) for ratio in np.atleast_1d(asked)}))
    if not ratios or not (ratios[0] > 0 and np.isfinite(ratios[-1])):
        raise ConditionError(f"ratios={asked!r}: give numbers above 0, as 0.25, 1 and 4")
    return ratios


def _runs(asked: int | None, quick: bool) -> int:
    if asked is None:
        return _QUICK_RUNS if quick else _RUNS
    if asked < _FEWEST_RUNS:
        raise ConditionError(f"runs={asked!r}: so few say nothing of how runs differ; give {_FEWEST_RUNS} or more")
    return int(asked)


def _digest(galaxies: Sequence[Labelled]) -> str:
    """Hash of the galaxies and their classes."""
    digest = hashlib.sha256(json.dumps([one.names for one in galaxies]).encode())
    for one in galaxies:
        digest.update(np.packbits(one.positive).tobytes())
        digest.update(np.ascontiguousarray(one.images).data)
    return digest.hexdigest()


def _compared(divided: Parts, galaxies: Sequence[Labelled]) -> dict[str, Any]:
    """What the record says of the galaxies."""
    of_class, others = divided.tally(True), divided.tally(False)
    return {
        "target": galaxies[0].target.name,
        "split": {name: {"of the class": of_class[name], "others": others[name]} for name in of_class},
        "compared by": list(divided.objects.checked),
        "rows of one object": divided.objects.joined,
        "excluded": shortened([one.excluded for one in galaxies]),
    }


def _seen(
    divided: Parts,
    galaxies: Sequence[Labelled],
    weights: str | os.PathLike[str],
    reader: str | os.PathLike[str],
    revision: str,
) -> dict[str, dict[str, int | None]]:
    """How many galaxies of each part the weights and the reader learnt from; None where that is not known.

    Warns
    -----
    SeenRowsWarning
        For galaxies that are tested on.
    """
    folders = weight_folders([(os.fspath(weights), "")]) | judge_folders(reader, revision, "")
    identified = all(one.identified for one in galaxies)
    names = np.array([name for one in galaxies for name in one.names])
    parts = {name: names[rows].tolist() if identified else [] for name, rows in divided.parts.items()}
    tested = count_seen(parts.pop("test"), folders)
    return {
        who: {name: count_rows(folder, ids) for name, ids in parts.items()} | {"test": tested[who]}
        for who, folder in folders.items()
    }


def _agreement(reader: ImageReader, answer: Answer | None, labelled: Rows, rows: Rows) -> np.ndarray:
    """How surely the class is found: the reader's own answer, where the class is one, else what it helps to learn."""
    if answer is None:
        return fit_linear(labelled)(rows)
    from astro_galaxysd.evaluation.reading import agreement

    return agreement(reader, rows.images, answer.key)


def _conclude(study: Study, record: dict[str, Any], identity: Mapping[str, Any], progress: bool) -> Verdict:
    from astropy.table import Table
    from tqdm import tqdm

    setting, target = study.setting, record["target"]
    scores, apart = dict[Key, Scores](), dict[int, float | None]()
    total = len(list(setting.keys()))
    for key, scores[key] in tqdm(study.each(), total=total, unit="classifier", disable=not progress):
        if key.positives not in apart:  # while the synthetic galaxies of the first run are at hand
            apart[key.positives] = study.told_apart(key.positives)
    rng = stream(setting.seed, "resamples")
    lines: list[dict[str, Any]] = []
    sentences, outcomes = [], {}
    for number in setting.positives:
        one = {key: value for key, value in scores.items() if key.positives == number}
        sentence, outcomes[number], more = conclude_number(study, target, number, one, rng)
        sentences.append(sentence)
        lines += more
    known = record["galaxies of the class that the weights were trained on"]
    told = f"{known:,} galaxies of the class" if known is not None else "a number of galaxies of the class not known"
    sentences.append(f"The weights were trained on {told}.")
    table = Table(lines)
    record |= {
        "told apart": {str(number): value for number, value in apart.items()},
        "outcomes": {str(number): outcome for number, outcome in outcomes.items()},
    }
    table.meta[VERDICT] = json_ready(run_record(**identity) | record)
    return Verdict(" ".join(sentences), outcomes, table)
