"""The plan of an augmentation: a table and a target in, the rows to draw as a Table out; nothing is drawn yet.

New rows take their conditions from real rows of the class: every real row is used once, in random order, before any is
used again. A composed class and a free prompt take the votes of a base population and set the asked answers in them
(`astro_galaxysd.conditions.composition`). Row numbers, draws and seeds follow from the run seed alone, and the first
rows of a plan stay the same if more are asked for.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.augmentation.prompting import Condition, conditions_for
from astro_galaxysd.augmentation.result import check_columns
from astro_galaxysd.conditions.columns import read_ids
from astro_galaxysd.conditions.composition import COMPOSE_WEIGHT, best_matching_rows, typical_rows
from astro_galaxysd.conditions.prompts import prompt_weights
from astro_galaxysd.conditions.seeds import RNG, row_seeds, run_seed, stream
from astro_galaxysd.conditions.selection import Population, Selection, read_population
from astro_galaxysd.conditions.table import VOTES
from astro_galaxysd.conditions.targets import Target, resolve_target
from astro_galaxysd.conditions.tree import ANSWERS, QUESTION_OF
from astro_galaxysd.errors import ConditionError, NoRealRowsError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["PLAN", "plan_augmentation"]

#: Rows planned for every row asked for, where a reader can tell which of them to keep. Classifiers learn more from the
#: better half than from all in each case of docs/verdict.md.
_CANDIDATES = 2
#: Key of what holds for the whole plan in ``plan.meta``.
PLAN = "galaxysd_plan"


@dataclass(frozen=True)
class _Part:
    """The rows of one target."""

    target: Target
    composed: bool
    candidates: int
    conditions: list[Condition]


def plan_augmentation(
    table: Table,
    *,
    target: str | Mapping[str, int],
    n: int | None = None,
    ratio: float | None = None,
    compose: bool = False,
    candidates: int | None = 1,
    weights: str = "mini",
    generator: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    rng: RNG = None,
    schema: str | None = None,
    labels: Mapping[str, str] | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    threshold: float = 0.5,
    cut: float | None = None,
    compose_weight: float = COMPOSE_WEIGHT,
) -> Table:
    """Plan synthetic rows before anything is drawn.

    Parameters
    ----------
    table : Table or QTable
        Real galaxies with vote columns, a column ``prompt`` or labels; rows whose ``synthetic`` is True are left out.
    target : str or mapping of str to int
        Answer of the tree (``"merger"``, ``"dust lane"``), label, boolean column, free prompt with weights
        (``"in-between round galaxy, {dust lane:1.3}"``), or a mapping of several of them to numbers of rows.
    n : int, optional
        Number of rows, at least 1. Either `n` or `ratio`, neither with a mapping.
    ratio : float, optional
        Rows per real row of the class, above 0; rounded to the nearest whole number of rows, halves up, at least 1.
    compose : bool
        True: take typical galaxies and put the class's answer into their votes, whether real rows exist or not.
    candidates : int or None
        Rows to plan for every row asked for; more than 1 for answers of the tree alone, as a reader of votes has to say
        which to keep. None: 2 for those, 1 for other targets.
    weights, generator, steps, guidance
        What the images will be drawn with; kept in the plan.
    rng : None, int, SeedSequence, BitGenerator or Generator
        The run seed follows from it (SPEC 7).
    schema : str, optional
        Dialect of the vote columns; by default the most complete.
    labels : mapping of str to str, optional
        Label -> prompt.
    label_column, id_column : str, optional
        Where labels and ids are; ids by default in a column called ``id``, ``objid`` or the like.
    threshold : float
        Vote fraction that makes a real row a member of the class, in (0, 1].
    cut : float, optional
        Looser cut than the published ones for the answers that lead to the question, in [0, 1).
    compose_weight : float
        Feature weight of a composed answer.

    Returns
    -------
    Table
        ``row_id`` (str, unique, no id of `table`), ``target`` (str), ``prompt`` (str), ``prompt_weights`` (JSON),
        ``seed`` (int64), ``base_row`` (int64, row of `table` whose votes or prompt were taken, -1 where none) and,
        where votes are known, ``votes`` (float64, shape (n, 37), conditional, in the order of `tree.ANSWERS`, NaN where
        not asked). ``meta["galaxysd_plan"]`` holds what the rows share.

    Raises
    ------
    NoRealRowsError
        If no real row has a named class and `compose` is False.
    UnknownNameError
        If a target, schema or column is not known.
    ConditionError
        If counts are missing, contradictory or not positive, nothing tells candidates apart, the table has nothing to
        read conditions from, ids occur twice, or a column of the table has a name that provenance needs for something
        else.
    PromptError
        If a prompt can't be parsed.

    Examples
    --------
    >>> from astropy.table import Table
    >>> table = Table({"prompt": ["merger, {smooth:1.1}", "ring galaxy"]})
    >>> plan = plan_augmentation(table, target="merger", n=2, rng=0)
    >>> plan["prompt"][0]
    np.str_('sdss, merger, {smooth:1.1}')
    """
    counts = _counts(target, n, ratio)
    if not (math.isfinite(compose_weight) and compose_weight > 0):
        raise ConditionError(f"compose_weight={compose_weight!r} is not a positive number; use 1.0 to 1.3")
    check_columns(table)
    taken = set(read_ids(table, id_column))
    population, selection = read_population(table, schema=schema), Selection(threshold, cut)
    seed = run_seed(rng)
    parts: list[_Part] = []
    for name, count in counts.items():
        found = resolve_target(
            population, name, labels=labels, label_column=label_column, selection=selection, compose=compose
        )
        if any(part.target.name == found.name for part in parts):
            raise ConditionError(f"target {name!r} is {found.name!r}, which was named before; add up the two counts")
        each = _candidates(found, candidates)
        number = _number(found, count, ratio) * each
        rows = _draw(_base(population, found, compose), number, stream(seed, f"base rows of {found.name}"))
        weight = compose_weight if compose and found.prompt is None else None
        conditions = conditions_for(population, found, rows, weight=weight)
        parts.append(_Part(found, compose and found.kind != "prompt", each, conditions))
    plan = _as_table(parts, seed, taken)
    shared = {"n": n, "ratio": ratio, "compose": compose, "threshold": threshold, "cut": cut, "schema": schema}
    plan.meta[PLAN] = {
        "run_seed": seed,
        "conditions": population.source,
        "targets": {part.target.name: _target_record(part) for part in parts},
        "compose_weight": compose_weight,
        "id_column": id_column,
        "weights": weights,
        "generator": generator,
        "steps": steps,
        "guidance": guidance,
        **shared,
    }
    return plan


def _counts(target: str | Mapping[str, int], n: int | None, ratio: float | None) -> dict[str, int | None]:
    """Rows asked for by target; None where `ratio` decides."""
    if isinstance(target, Mapping):
        if n is not None or ratio is not None:
            raise ConditionError(
                f"a mapping of targets to counts was given together with n={n!r}, ratio={ratio!r}; drop n and ratio"
            )
        if not target:
            raise ConditionError("the mapping of targets to counts is empty; name a target, for example {'merger': 50}")
        return {str(name): _positive(f"target {name!r}", count) for name, count in target.items()}
    if (n is None) == (ratio is None):
        given = "neither n nor ratio" if n is None else f"both n={n!r} and ratio={ratio!r}"
        raise ConditionError(f"{given} given; pass n= (rows to add) or ratio= (rows per real row of the class)")
    if n is not None:
        return {str(target): _positive("n", n)}
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float, np.number)) or not 0 < ratio < math.inf:
        raise ConditionError(f"ratio={ratio!r} is not a positive number; 0.5 adds one row for every two real ones")
    return {str(target): None}


def _positive(what: str, count: object) -> int:
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count <= 0:
        raise ConditionError(f"{what}: {count!r} rows asked for; use a whole number of at least 1")
    return int(count)


def _number(target: Target, count: int | None, ratio: float | None) -> int:
    if count is not None or ratio is None:
        return count or 0
    real = int(target.mask.sum())
    if not real:
        raise NoRealRowsError(
            f"target {target.name!r}: ratio={ratio!r} needs real rows of the class and there are none; pass n= instead"
        )
    return max(1, math.floor(ratio * real + 0.5))


def _candidates(target: Target, asked: int | None) -> int:
    """Rows to plan for every row of a target."""
    if asked is None:
        return _CANDIDATES if target.answer is not None else 1
    number = _positive("candidates", asked)
    if number > 1 and target.answer is None:
        raise ConditionError(
            f"candidates={asked}: no reader knows target {target.name!r}, so that none is better than another; leave "
            "candidates out, or name an answer of the tree"
        )
    return number


def _base(population: Population, target: Target, compose: bool) -> np.ndarray:
    """Row numbers from which conditions are drawn; empty where none are needed."""
    known = population.fractions is not None or population.prompts is not None
    if not known:
        return np.zeros(0, dtype=np.int64)
    eligible = population.real & _with_condition(population)
    if target.kind == "prompt" or (compose and target.prompt):
        rows = best_matching_rows(target.matches, eligible)
    elif compose and population.fractions is not None and target.answer is not None:
        rows = typical_rows(population.fractions, eligible, QUESTION_OF[target.answer.key])
    elif compose:
        rows = eligible & (target.mask if target.answer is None and target.mask.any() else True)
    else:
        rows = target.mask & eligible
    if not rows.any() and target.prompt is None:
        raise ConditionError(
            f"target {target.name!r}: no real row with votes or a prompt is there to take conditions from; "
            "fill them in, or ask with a free prompt"
        )
    return np.flatnonzero(rows)


def _with_condition(population: Population) -> np.ndarray:
    if population.fractions is not None:
        return np.asarray(np.isfinite(population.fractions).any(axis=1))
    return np.array([bool(prompt) for prompt in population.prompts or []], dtype=bool)


def _draw(rows: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """`number` of `rows`: all of them in random order, again and again; -1 where there are none to draw from."""
    if not len(rows):
        return np.full(number, -1)
    rounds = [rng.permutation(rows) for _ in range(-(-number // len(rows)))]
    return np.concatenate(rounds)[:number]


def _as_table(parts: list[_Part], seed: int, taken: set[str]) -> Table:
    from astropy.table import Table

    conditions = [condition for part in parts for condition in part.conditions]
    names = [part.target.name for part in parts for _ in part.conditions]
    ids = _new_ids(names, seed, taken)
    plan = Table()
    plan["row_id"] = np.array(ids, dtype=str)
    plan["target"] = np.array(names, dtype=str)
    plan["prompt"] = np.array([condition.prompt for condition in conditions], dtype=str)
    plan["prompt_weights"] = np.array([json.dumps(prompt_weights(c.prompt)) for c in conditions], dtype=str)
    plan["seed"] = row_seeds(seed, ids)
    plan["base_row"] = np.array([condition.base_row for condition in conditions], dtype=np.int64)
    if any(condition.votes is not None for condition in conditions):
        unknown = np.full(len(ANSWERS), np.nan)
        plan[VOTES] = np.array([unknown if c.votes is None else c.votes for c in conditions], dtype=np.float64)
    return plan


def _new_ids(names: list[str], seed: int, taken: set[str]) -> list[str]:
    """Ids that tell run and target; numbers that the table has already are passed over."""
    run = hashlib.sha256(str(seed).encode()).hexdigest()[:8]
    ids: list[str] = []
    number = 0
    for name in names:
        short = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:24].strip("-") or "row"
        while (identifier := f"gsd-{run}-{short}-{number:05d}") in taken:
            number += 1
        ids.append(identifier)
        number += 1
    return ids


def _target_record(part: _Part) -> dict[str, Any]:
    value = part.target.value
    value = value.decode() if isinstance(value, bytes) else value
    return {
        "kind": part.target.kind,
        "column": part.target.column,
        "value": value.item() if isinstance(value, np.generic) else value,
        "prompt": part.target.prompt,
        "composed": part.composed,
        "answer": part.target.answer.key if part.target.answer else None,
        "candidates": part.candidates,
        "n": len(part.conditions) // part.candidates,
        "n_real": int(part.target.mask.sum()),
    }
