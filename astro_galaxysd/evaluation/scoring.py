"""Evaluators by name and sets of images in; one table with ceilings, and a reason where there is no figure, out.

Each evaluator is asked four times over: for the synthetic images, for real images in their place (the ceiling), for
reconstructions where there are any, and for each group by itself. A plug-in that fails costs its own rows only.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from astro_galaxysd.errors import GalaxySDError, PluginError, PluginWarning
from astro_galaxysd.evaluation.consistency import told_alike
from astro_galaxysd.evaluation.samples import rows_of
from astro_galaxysd.evaluation.scores import COLUMNS, Score, not_computed
from astro_galaxysd.plugins.manager import get_registry

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.evaluation.memory import Memory
    from astro_galaxysd.plugins.manager import Registered
    from astro_galaxysd.records import ImageBatch

__all__ = ["FEWEST_IN_GROUP", "OPTIONAL", "Line", "Named", "Sets", "create_evaluators", "score_sets", "with_ceilings"]

#: Rows that a group needs in each set to be measured by itself.
FEWEST_IN_GROUP = 8
#: Evaluators that run only when they are named.
OPTIONAL = ("statmorph",)
_OVER_ALL = "all"
_NAN = float("nan")


@dataclass(frozen=True)
class Named:
    """An evaluator and where it comes from.

    Parameters
    ----------
    name : str
    found : Registered
    evaluator : object or None
        None where a plug-in's could not be made.
    fault : str
        Why it could not.
    """

    name: str
    found: Registered
    evaluator: Any = None
    fault: str = ""

    @property
    def built_in(self) -> bool:
        """Whether it is ours: what ours raises is raised."""
        return str(self.found.record.factory).startswith("astro_galaxysd.")


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
    groups : dict of str to (ndarray, ndarray, ndarray)
        Rows of `synthetic`, `real` and `held`.
    short : dict of str to (str, int, int)
        Groups that are too small: why, and how many real and synthetic rows there are.
    """

    real: ImageBatch
    held: ImageBatch
    synthetic: ImageBatch
    training: ImageBatch | None = None
    reconstructions: ImageBatch | None = None
    rebuilt: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))
    groups: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=dict)
    short: dict[str, tuple[str, int, int]] = field(default_factory=dict)


class Line(NamedTuple):
    """A figure with its ceiling; see the columns of `astro_galaxysd.assessment.evaluate`."""

    evaluator: str
    score: Score
    ceiling: Score | None = None
    reconstruction: Score | None = None


def create_evaluators(names: Sequence[str] | None = None) -> list[Named]:
    """Make evaluators by name.

    Parameters
    ----------
    names : sequence of str, optional
        By default all that are registered but those of `OPTIONAL`.

    Returns
    -------
    list of Named

    Raises
    ------
    UnknownNameError, DuplicatePluginError
        For a name that nobody or more than one plug-in offers.
    GalaxySDError
        Whatever an evaluator of ours raises; a plug-in's fault is kept, with a `PluginWarning`.
    """
    registry = get_registry()
    wanted = [n for n in registry.records_of("evaluator") if n not in OPTIONAL] if names is None else list(names)
    made = []
    for name in dict.fromkeys(wanted):
        one = Named(name, registry.find("evaluator", name))
        try:
            made.append(Named(name, one.found, registry.create("evaluator", name)))
        except GalaxySDError as error:
            made.append(Named(name, one.found, None, _reported(one, error)))
    return made


def _reported(one: Named, error: GalaxySDError) -> str:
    """What a plug-in's evaluator raised, after a warning; ours is raised again."""
    if one.built_in:
        raise error
    warnings.warn(f"evaluator {one.name!r} of {one.found.source} gives no figures: {error}", PluginWarning, 5)
    return f"the evaluator failed: {error}"


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
        NaN with a note for the groups in `sets.short`.
    """
    lines: list[Line] = []
    groups = {name: _subsets(sets, rows) for name, rows in sets.groups.items()}
    sets = _alike(sets)
    for one in evaluators:
        ask = _Asker(one, sets.training, memory, seed)
        step(one.name)
        overall = list(_overall(ask, sets))
        lines += overall
        for name, subsets in groups.items():
            step(f"{one.name}, {name}")
            lines += _group(ask, subsets, name)
        metrics = [line.score for line in overall if line.score.group == _OVER_ALL]
        for name, (note, n_real, n_synthetic) in sets.short.items():
            lines += [
                Line(one.name, not_computed(score.metric, name, note, n_real, n_synthetic, score.higher_is_better))
                for score in metrics
            ]
    return lines


class _Asker:
    """One evaluator; what a plug-in's raises becomes a row that says so."""

    def __init__(self, one: Named, training: ImageBatch | None, memory: Memory | None, seed: int) -> None:
        self.one, self.training, self.memory, self.seed = one, training, memory, seed

    def __call__(self, real: ImageBatch, synthetic: ImageBatch) -> dict[tuple[str, str], Score]:
        """Figures by metric and group."""
        fault = self.one.fault
        if not fault:
            try:
                with get_registry().guard("evaluate", self.one.found):
                    table = self.one.evaluator.evaluate(
                        real, synthetic, reference=self.training, embedder=self.memory, rng=self.seed
                    )
                    return {(score.metric, score.group): score for score in _scores(self.one, table)}
            except GalaxySDError as error:
                fault = _reported(self.one, error)
        failed = not_computed(self.one.name, _OVER_ALL, fault, len(real), len(synthetic), True)
        return {(failed.metric, failed.group): failed}


def _scores(one: Named, table: Table) -> Iterator[Score]:
    names = list(getattr(table, "colnames", []))
    missing = [name for name in COLUMNS if name not in names and name != "note"]
    if missing:
        raise PluginError(
            f"evaluator {one.name!r} of {one.found.source} returned a {type(table).__name__} without the columns "
            f"{', '.join(missing)}; report it to its authors"
        )
    for row in table:
        note = str(row["note"]) if "note" in names else ""
        yield Score(
            str(row["metric"]), str(row["group"]), float(row["value"]), float(row["error"]), int(row["n_real"]),
            int(row["n_synthetic"]), bool(row["higher_is_better"]), note,
        )  # fmt: skip


def _alike(sets: Sets) -> Sets:
    """Sets whose consistency is a mean over the same answers."""
    if sets.reconstructions is None:
        synthetic, held = told_alike(sets.synthetic, sets.held)
        return dataclasses.replace(sets, synthetic=synthetic, held=held)
    synthetic, held, rebuilt = told_alike(sets.synthetic, sets.held, sets.reconstructions)
    return dataclasses.replace(sets, synthetic=synthetic, held=held, reconstructions=rebuilt)


def _subsets(sets: Sets, rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Sets:
    """The sets of one group."""
    synthetic, real, held = rows
    shown = np.flatnonzero(np.isin(sets.rebuilt, held))
    enough = sets.reconstructions is not None and len(shown) >= FEWEST_IN_GROUP
    return _alike(
        Sets(
            rows_of(sets.real, real),
            rows_of(sets.held, held),
            rows_of(sets.synthetic, synthetic),
            reconstructions=rows_of(sets.reconstructions, shown) if enough and sets.reconstructions else None,
        )
    )


def _overall(ask: _Asker, sets: Sets) -> Iterator[Line]:
    drawn = ask(sets.real, sets.synthetic)
    ceiling = ask(sets.real, sets.held)
    rebuilt = {} if sets.reconstructions is None else ask(sets.real, sets.reconstructions)
    for key, score in sorted(drawn.items(), key=lambda item: item[0][1] != _OVER_ALL):
        yield Line(ask.one.name, score, ceiling.get(key), rebuilt.get(key))


def _group(ask: _Asker, sets: Sets, name: str) -> list[Line]:
    """Lines of a group; what an evaluator says of its own groups in it would only repeat them."""
    lines = _overall(ask, sets)
    return [line._replace(score=line.score._replace(group=name)) for line in lines if line.score.group == _OVER_ALL]


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
    kinds = {"n_real": int, "n_synthetic": int, "higher_is_better": bool, "note": str}
    return Table({**columns, **{name: column(name, dtype) for name, dtype in kinds.items()}})
