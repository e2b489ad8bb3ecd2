"""Which sampling serves best: settings in, every one drawn and judged on the same rows, a table with its front out.

A sweep chooses, so the reader it asks is the one for choosing; figures of what was chosen come from `evaluate`, on
other rows.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.assessment import evaluate
from astro_galaxysd.conditions.prompts import prompt_from_tags, tags_from_fractions
from astro_galaxysd.conditions.seeds import RNG, run_seed, stream
from astro_galaxysd.conditions.table import choose_dialect
from astro_galaxysd.drawing import DEFAULT_WEIGHTS, weight_card
from astro_galaxysd.errors import ConditionError, UnknownNameError
from astro_galaxysd.evaluation.pareto import OBJECTIVES, pareto_front, sweep_table
from astro_galaxysd.generation import generate
from astro_galaxysd.images.files import atomic_path
from astro_galaxysd.plugins.manager import get_registry

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["SETTINGS", "sweep"]

#: What can be swept over.
SETTINGS = ("weights", "steps", "guidance", "sampler", "feature_weight")
_EVALUATORS = ("realism", "diversity", "consistency", "photometry")
_METRICS = (*OBJECTIVES, "frechet", "precision", "recall", "flux_ks", "background_ks", "sky_rms_ks", "power")
_RECORD = "galaxysd_sweep"
_FEWEST = 16


def sweep(
    real: Table,
    over: Mapping[str, Sequence[Any]],
    *,
    n: int = 128,
    weights: str | os.PathLike[str] = DEFAULT_WEIGHTS,
    objectives: Mapping[str, bool] | None = None,
    reader: str | os.PathLike[str] = "choosing",
    rng: RNG = None,
    schema: str | None = None,
    images: str = "image",
    id_column: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Table:
    """Draw and judge the same rows with every combination of settings.

    Parameters
    ----------
    real : Table
        Galaxies with votes and images that the weights were not trained on, nor will be reported on; at least 2 n.
    over : mapping of str to sequence
        Setting -> values. ``"weights"``: names or folders, such as those of several training steps; ``"steps"``,
        ``"guidance"``, ``"sampler"`` of the drawing; ``"feature_weight"``: weight of every feature of the prompts, or
        None for the weights that the votes have.
    n : int
        Rows to draw with each combination, 16 or more; the same rows and seeds for all.
    weights : str or path
        Where `over` has none.
    objectives : mapping of str to bool, optional
        Metric -> whether higher is better; by default `astro_galaxysd.evaluation.pareto.OBJECTIVES`.
    reader : str or path
        As `evaluate`; the one that chooses.
    rng : None, int, SeedSequence or Generator
        Chooses the rows and seeds.
    schema, images, id_column, cache
        As `evaluate`.
    out : path, optional
        An ECSV file, written after each combination; those it has already are not drawn again.
    progress : bool
        Whether to show bars.

    Returns
    -------
    Table
        One row a combination: its settings, metrics with their errors, and ``front``: whether nothing outdoes it.

    Raises
    ------
    UnknownNameError
        If a setting is none of `SETTINGS`.
    ConditionError
        If there is nothing to sweep over, rows are too few, or `out` belongs to another sweep.
    WeightsError, ImageError, OutputError
        As `generate` and `evaluate`.

    Examples
    --------
    >>> table = sweep(validation, {"guidance": [1, 2, 4]}, n=128, rng=1)  # doctest: +SKIP
    >>> table["guidance", "nearest_real", "consistency", "front"]  # doctest: +SKIP
    """
    objectives = dict(OBJECTIVES if objectives is None else objectives)
    settings = list(_combinations(over, weights))
    seed = run_seed(rng)
    if not _FEWEST <= n <= len(real) // 2:
        raise ConditionError(
            f"n = {n} rows to draw, of {len(real)}; give {_FEWEST} to {len(real) // 2}, the others are compared with"
        )
    rows = np.sort(stream(seed, "sweep").permutation(len(real))[:n])
    identity = {"seed": seed, "n": n, "rows": len(real), "reader": os.fspath(reader)}
    known = _read(out, identity)
    found: list[tuple[dict[str, Any], Table]] = []
    for setting in settings:
        key = json.dumps(setting, sort_keys=True)
        if key not in known:
            drawn = _draw(real[rows], setting, seed, schema, id_column, progress)
            known[key] = evaluate(
                real, drawn, evaluators=_EVALUATORS, reader=reader, groups=None, images=images, schema=schema,
                id_column=id_column, cache=cache, rng=seed, progress=progress,
            )  # fmt: skip
            _write(out, known, identity)
        found.append((setting, known[key]))
    metrics = list(dict.fromkeys([*objectives, *_METRICS]))
    table = sweep_table(found, metrics)
    return pareto_front(table[table["group"] == "all"], objectives)


def _combinations(over: Mapping[str, Sequence[Any]], weights: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Every combination of values, with the weights always named."""
    for name in over:
        if name not in SETTINGS:
            raise UnknownNameError("setting", name, SETTINGS)
    if not over or not all(len(values) for values in over.values()):
        raise ConditionError(f"nothing to sweep over; give values for some of {', '.join(SETTINGS)}")
    whole = {"weights": [os.fspath(weights)], **over}
    for values in itertools.product(*whole.values()):
        setting = dict(zip(whole, values, strict=True))
        yield {**setting, "weights": os.fspath(setting["weights"])}


def _draw(
    rows: Table, setting: Mapping[str, Any], seed: int, schema: str | None, id_column: str | None, progress: bool
) -> Table:
    card = weight_card(setting["weights"])
    if "sampler" in setting:
        card = replace(card, sampler=setting["sampler"])
    generator = get_registry().create(
        "generator", card.generator, card, steps=setting.get("steps"), guidance=setting.get("guidance")
    )
    weight = setting.get("feature_weight")
    if weight is not None:
        rows = rows.copy(copy_data=False)
        tags = tags_from_fractions(choose_dialect(rows, schema).read(rows), minimum=0.5)
        rows["prompt"] = np.array([prompt_from_tags((words, float(weight)) for words, _ in row) for row in tags])
        schema = None  # what was written is drawn, not the votes
    return generate(rows, generator=generator, rng=seed, schema=schema, id_column=id_column, progress=progress)


def _read(out: str | os.PathLike[str] | None, identity: Mapping[str, Any]) -> dict[str, Table]:
    """Evaluations that a file has, by their settings."""
    from astropy.table import Table

    if out is None or not Path(out).exists():
        return {}
    table = Table.read(out, format="ascii.ecsv")
    if table.meta.get(_RECORD) != dict(identity):
        raise ConditionError(
            f"{os.fspath(out)} belongs to another sweep ({table.meta.get(_RECORD)}, now {dict(identity)}); name another"
        )
    return {key: table[table["setting"] == key] for key in dict.fromkeys(table["setting"].tolist())}


def _write(out: str | os.PathLike[str] | None, known: Mapping[str, Table], identity: Mapping[str, Any]) -> None:
    from astropy.table import vstack

    if out is None:
        return
    parts = []
    for key, table in known.items():
        part = table.copy()
        part["setting"] = [key] * len(part)
        part.meta.clear()
        parts.append(part)
    whole = vstack(parts)
    whole.meta[_RECORD] = dict(identity)
    with atomic_path(out, overwrite=True) as partial:
        whole.write(partial, format="ascii.ecsv", overwrite=True)
