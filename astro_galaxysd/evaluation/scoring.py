"""Evaluators and sets of images in; one table with ceilings, and a reason where there is no figure, out.

Each evaluator is asked four times over: for the synthetic images, for real images in their place (the ceiling), for
reconstructions where there are any, and for each group by itself.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from astro_galaxysd.evaluation.asking import OVER_ALL, Asker, Named
from astro_galaxysd.evaluation.consistency import told_alike
from astro_galaxysd.evaluation.samples import rows_of
from astro_galaxysd.evaluation.scores import Score, not_computed

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.evaluation.memory import Memory
    from astro_galaxysd.records import ImageBatch

__all__ = ["EVALUATION", "FEWEST_IN_GROUP", "Line", "Sets", "score_sets", "with_ceilings"]

#: Key of the run's record in the meta of the table of figures, and in a report's JSON.
EVALUATION = "galaxysd_evaluation"
#: Rows that a group needs in each set to be measured by itself.
FEWEST_IN_GROUP = 8
#: Evaluators that are asked over all only: what they say needs the training images, which have no groups.
_UNGROUPED = ("memorisation",)
_NAN = float("nan")


@dataclass(frozen=True)
class Sets:
    """What evaluators are asked about.

    Parameters
    ----------
    real, held, synthetic : ImageBatch
        As in `astro_galaxysd.assessment.Assessment`.
    training, reconstructions : ImageBatch, optional
    rebuilt : ndarray, int
        The row of `held` that each reconstruction shows.
    groups : dict of str to ndarray, int
        Rows of each group, the same in `synthetic`, `real` and `held`.
    short : dict of str to (str, int, int)
        Groups that are too small: why, and how many real and synthetic rows there are.
    """

    real: ImageBatch
    held: ImageBatch
    synthetic: ImageBatch
    training: ImageBatch | None = None
    reconstructions: ImageBatch | None = None
    rebuilt: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))
    groups: dict[str, np.ndarray] = field(default_factory=dict)
    short: dict[str, tuple[str, int, int]] = field(default_factory=dict)


class Line(NamedTuple):
    """A figure with its ceiling; see the columns of `astro_galaxysd.assessment.evaluate`."""

    evaluator: str
    score: Score
    ceiling: Score | None = None
    reconstruction: Score | None = None


def score_sets(
    evaluators: Iterable[Named],
    sets: Sets,
    *,
    memory: Memory | None,
    seed: int,
    step: Callable[[str], object] = lambda told: None,
) -> list[Line]:
    """Ask evaluators about sets of images.

    Parameters
    ----------
    evaluators : iterable of Named
    sets : Sets
    memory : Memory or None
        Handed on as the embedder.
    seed : int
        Handed on as ``rng``, the same for all sets, so that the same images have the same figures.
    step : callable
        Called with a text before each evaluator's over-all figures and each of its groups.

    Returns
    -------
    list of Line
        Of each evaluator first the figures over all, then those of its own groups, then those of `sets.groups`, then
        NaN with a note for the groups in `sets.short`. Only over all are training images handed on, and memorisation
        has no groups.
    """
    lines: list[Line] = []
    groups = {name: _subsets(sets, rows) for name, rows in sets.groups.items()}
    sets = _alike(sets)
    for one in evaluators:
        step(one.name)
        overall = list(_overall(Asker(one, memory, seed, sets.training), sets))
        lines += overall
        for name, subsets in groups.items():
            step(f"{one.name}, {name}")
            if one.name not in _UNGROUPED:
                lines += _group(Asker(one, memory, seed), subsets, name)
        if one.name in _UNGROUPED:
            continue
        metrics = [line.score for line in overall if line.score.group == OVER_ALL]
        for name, (note, n_real, n_synthetic) in sets.short.items():
            lines += [
                Line(one.name, not_computed(score.metric, name, note, n_real, n_synthetic, score.higher_is_better))
                for score in metrics
            ]
    return lines


def _alike(sets: Sets) -> Sets:
    """Sets whose consistency is a mean over the same answers."""
    if sets.reconstructions is None:
        synthetic, held = told_alike(sets.synthetic, sets.held)
        return dataclasses.replace(sets, synthetic=synthetic, held=held)
    synthetic, held, rebuilt = told_alike(sets.synthetic, sets.held, sets.reconstructions)
    return dataclasses.replace(sets, synthetic=synthetic, held=held, reconstructions=rebuilt)


def _subsets(sets: Sets, rows: np.ndarray) -> Sets:
    """The sets of one group."""
    shown = np.flatnonzero(np.isin(sets.rebuilt, rows))
    enough = sets.reconstructions is not None and len(shown) >= FEWEST_IN_GROUP
    return _alike(
        Sets(
            rows_of(sets.real, rows),
            rows_of(sets.held, rows),
            rows_of(sets.synthetic, rows),
            reconstructions=rows_of(sets.reconstructions, shown) if enough and sets.reconstructions else None,
        )
    )


def _overall(ask: Asker, sets: Sets) -> Iterator[Line]:
    drawn = ask(sets.real, sets.synthetic)
    ceiling = ask(sets.real, sets.held)
    rebuilt = {} if sets.reconstructions is None else ask(sets.real, sets.reconstructions)
    for key, score in sorted(drawn.items(), key=lambda item: item[0][1] != OVER_ALL):
        yield Line(ask.one.name, score, ceiling.get(key, _without(score, ceiling, ask)), rebuilt.get(key))


def _without(score: Score, ceiling: Mapping[tuple[str, str], Score], ask: Asker) -> Score:
    """NaN in place of a ceiling that the evaluator did not give, with what kept it from doing so if that is known."""
    failed = ceiling.get(ask.failed_key)
    note = failed.note if failed and failed.note else "the evaluator gave none"
    return not_computed(score.metric, score.group, note, score.n_real, score.n_synthetic, score.higher_is_better)


def _group(ask: Asker, sets: Sets, name: str) -> list[Line]:
    """Lines of a group; what an evaluator says of its own groups in it would only repeat them."""
    lines = _overall(ask, sets)
    return [line._replace(score=line.score._replace(group=name)) for line in lines if line.score.group == OVER_ALL]


def _note(line: Line) -> str:
    """Why the value is NaN, and why its ceiling is, if that is another reason."""
    score, ceiling = line.score, line.ceiling
    if ceiling is None or not ceiling.note or ceiling.note == score.note or not math.isnan(ceiling.value):
        return score.note
    return "; ".join(filter(None, [score.note, f"ceiling: {ceiling.note}"]))


def with_ceilings(lines: Sequence[Line], *, reconstructions: bool = False) -> Table:
    """Lines as the table that `astro_galaxysd.assessment.evaluate` returns."""
    from astropy.table import Table

    def column(name: str, dtype: type) -> np.ndarray:
        return np.array([getattr(line.score, name) for line in lines], dtype=dtype)

    def beside(part: str, name: str) -> np.ndarray:
        scores = (getattr(line, part) for line in lines)
        return np.array([_NAN if score is None else getattr(score, name) for score in scores], dtype=float)

    columns: Mapping[str, np.ndarray] = {
        "evaluator": np.array([line.evaluator for line in lines], dtype=str),
        "metric": column("metric", str),
        "group": column("group", str),
        "value": column("value", float),
        "error": column("error", float),
        "ceiling": beside("ceiling", "value"),
        "ceiling_error": beside("ceiling", "error"),
    }
    if reconstructions:
        more = {"reconstruction": "value", "reconstruction_error": "error"}
        columns = {**columns, **{name: beside("reconstruction", source) for name, source in more.items()}}
    kinds = {"n_real": int, "n_synthetic": int, "higher_is_better": bool}
    notes = np.array([_note(line) for line in lines], dtype=str)
    return Table({**columns, **{name: column(name, dtype) for name, dtype in kinds.items()}, "note": notes})
