"""Evaluators by name in; objects that can be asked about images, each apart from the others, out.

What an evaluator of ours raises is raised. A plug-in that fails costs its own rows only, and it can't change what the
others see.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from astro_galaxysd.errors import GalaxySDError, PluginError, PluginWarning
from astro_galaxysd.evaluation.scores import COLUMNS, Score, not_computed
from astro_galaxysd.plugins.manager import get_registry

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.evaluation.memory import Memory
    from astro_galaxysd.evaluation.votes import Reader
    from astro_galaxysd.plugins.manager import Registered
    from astro_galaxysd.records import ImageBatch

__all__ = ["OPTIONAL", "OVER_ALL", "Asker", "Named", "create_evaluators", "give_reader"]

#: Evaluators that run only when they are named.
OPTIONAL = ("statmorph",)
#: Group of figures of all images.
OVER_ALL = "all"


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
        Why it can't be asked.
    """

    name: str
    found: Registered
    evaluator: Any = None
    fault: str = ""

    @property
    def built_in(self) -> bool:
        """Whether it is ours: what ours raises is raised."""
        return str(self.found.record.factory).startswith("astro_galaxysd.")


def create_evaluators(names: str | Sequence[str] | None = None) -> list[Named]:
    """Make evaluators by name.

    Parameters
    ----------
    names : str or sequence of str, optional
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
    if names is None:
        names = [name for name in registry.records_of("evaluator") if name not in OPTIONAL]
    made = []
    for name in dict.fromkeys([names] if isinstance(names, str) else names):
        one = Named(name, registry.find("evaluator", name))
        evaluator, fault = _attempt(one, "create", partial(_make, one.found))
        made.append(dataclasses.replace(one, evaluator=evaluator, fault=fault))
    return made


def _make(found: Registered) -> Any:
    return found.record.resolve()()


def give_reader(made: Sequence[Named], load: Callable[[], Reader]) -> tuple[list[Named], Reader | None]:
    """Set the reader of every evaluator that has an attribute ``reader``.

    Parameters
    ----------
    made : sequence of Named
    load : callable
        Gives the reader; called if an evaluator wants one.

    Returns
    -------
    list of Named
        With the fault of a plug-in whose attribute can't be read or set.
    Reader or None
        None if no evaluator wants one.

    Raises
    ------
    WeightsError
        As `load`.
    """
    asked = [(one, *_attempt(one, "create", partial(hasattr, one.evaluator, "reader"))) for one in made]
    reader = load() if any(wants for _, wants, _ in asked) else None
    given = []
    for one, wants, fault in asked:
        if wants:
            _, fault = _attempt(one, "create", partial(setattr, one.evaluator, "reader", reader))
        given.append(dataclasses.replace(one, evaluator=None, fault=fault) if fault else one)
    return given, reader


def _attempt(one: Named, stage: str, call: Callable[[], Any]) -> tuple[Any, str]:
    """What a call to an evaluator returns, and what a plug-in's raised, after a warning; ours is raised again."""
    try:
        with get_registry().guard(stage, one.found):
            return call(), ""
    except (GalaxySDError, MemoryError) as error:
        if one.built_in:
            raise
        told = f"{one.found.source} ran out of memory: {error}" if isinstance(error, MemoryError) else str(error)
    warnings.warn(f"evaluator {one.name!r} of {one.found.source} gives no figures: {told}", PluginWarning, 6)
    return None, f"the evaluator failed: {told}"


class Asker:
    """One evaluator, to be asked about sets of images.

    Parameters
    ----------
    one : Named
    memory : Memory or None
        Handed on as the embedder.
    seed : int
        Handed on as ``rng``.
    training : ImageBatch, optional
        Handed on as the reference.
    """

    def __init__(self, one: Named, memory: Memory | None, seed: int, training: ImageBatch | None = None) -> None:
        self.one, self.memory, self.seed, self.training = one, memory, seed, training

    @property
    def failed_key(self) -> tuple[str, str]:
        """Metric and group of the row that says why a plug-in gave no figures."""
        return self.one.name, OVER_ALL

    def __call__(self, real: ImageBatch, synthetic: ImageBatch) -> dict[tuple[str, str], Score]:
        """Figures by metric and group; those of a plug-in that fails are one row, NaN with the reason."""
        fault = self.one.fault
        if not fault:
            scores, fault = _attempt(self.one, "evaluate", lambda: self._scores(real, synthetic))
        if fault:
            scores = {self.failed_key: not_computed(*self.failed_key, fault, len(real), len(synthetic), True)}
        return scores  # type: ignore[no-any-return]

    def _scores(self, real: ImageBatch, synthetic: ImageBatch) -> dict[tuple[str, str], Score]:
        training = self.training
        if not self.one.built_in:
            real, synthetic = _sealed(real), _sealed(synthetic)
            training = None if training is None else _sealed(training)
        table = self.one.evaluator.evaluate(real, synthetic, reference=training, embedder=self.memory, rng=self.seed)
        return _read_scores(self.one, table)


def _sealed(batch: ImageBatch) -> ImageBatch:
    """The batch with arrays that can't be written, and a table of its own."""
    images, ids = batch.images.view(), batch.ids.view()
    images.flags.writeable = ids.flags.writeable = False
    return dataclasses.replace(batch, images=images, ids=ids, conditions=batch.conditions.copy(), meta=dict(batch.meta))


def _read_scores(one: Named, table: Table) -> dict[tuple[str, str], Score]:
    names = list(getattr(table, "colnames", []))
    missing = [name for name in COLUMNS if name not in names and name != "note"]
    if missing:
        raise PluginError(
            f"evaluator {one.name!r} of {one.found.source} returned a {type(table).__name__} without the columns "
            f"{', '.join(missing)}; report it to its authors"
        )
    scores: dict[tuple[str, str], Score] = {}
    for row in table:
        note = str(row["note"]) if "note" in names else ""
        score = _finite(Score(
            str(row["metric"]), str(row["group"]), float(row["value"]), float(row["error"]), int(row["n_real"]),
            int(row["n_synthetic"]), bool(row["higher_is_better"]), note,
        ))  # fmt: skip
        if (score.metric, score.group) in scores:
            raise PluginError(
                f"evaluator {one.name!r} of {one.found.source} returned {score.metric!r} of group {score.group!r} "
                "twice; report it to its authors"
            )
        scores[score.metric, score.group] = score
    return scores


def _finite(score: Score) -> Score:
    """NaN and why in place of what is infinite."""
    if math.isinf(score.value):
        note = "; ".join(filter(None, [score.note, f"the evaluator gave {score.value}"]))
        return score._replace(value=math.nan, error=math.nan, note=note)
    if math.isinf(score.error):
        note = "; ".join(filter(None, [score.note, f"the evaluator gave an error of {score.error}"]))
        return score._replace(error=math.nan, note=note)
    return score
