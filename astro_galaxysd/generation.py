"""One image for every row of a table: conditions in, the same rows with images and provenance out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.augmentation.result import check_columns
from astro_galaxysd.conditions.columns import row_names
from astro_galaxysd.conditions.prompts import prompt_weights
from astro_galaxysd.conditions.seeds import RNG, row_seeds, run_seed
from astro_galaxysd.conditions.table import read_conditions
from astro_galaxysd.drawing import Drawing, warn_if_interrupted
from astro_galaxysd.errors import ConditionError
from astro_galaxysd.images.provenance import (
    GENERATOR,
    PROMPT,
    PROMPT_WEIGHTS,
    RUN_RECORD,
    SEED,
    SYNTHETIC,
    WEIGHTS,
    WEIGHTS_REVISION,
    run_record,
)
from astro_galaxysd.weightcards import DEFAULT_WEIGHTS

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.plugins.protocols import Generator, VoteDialect

__all__ = ["add_provenance", "check_seeds", "generate", "with_prompts"]


def generate(
    conditions: Table,
    *,
    rng: RNG = None,
    batch_size: int | None = None,
    weights: str | os.PathLike[str] = DEFAULT_WEIGHTS,
    generator: str | Generator | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    references: Table | np.ndarray | None = None,
    schema: str | None = None,
    labels: Mapping[str, str] | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    progress: bool = True,
) -> Table:
    """Draw one image for every row of a table.

    Parameters
    ----------
    conditions : Table
        With a column ``prompt``, vote columns of a known dialect, or labels. A column ``seed`` (as in a plan) is used
        where `rng` is None.
    rng : None, int, SeedSequence or Generator
        Randomness; a row's seed follows from it and the row's id (its number where the table has no ids).
    batch_size : int, optional
        Rows the generator draws together; never changes a row's pixels.
    weights, generator, steps, guidance
        As `augment_table`.
    references : Table or ndarray, optional
        As `load_generator`.
    schema, labels, label_column, id_column
        As `plan_augmentation`.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Table
        A copy with ``image`` (N, H, W, 3) uint8, in place of a column of that name, and the provenance columns; ids and
        all else are those of the conditions. An interrupt keeps the finished rows.

    Raises
    ------
    ConditionError, PromptError, UnknownNameError, WeightsError
        Before anything is drawn.
    PluginError
        If a plug-in's generator fails.

    Examples
    --------
    >>> from astropy.table import Table
    >>> drawn = generate(Table({"prompt": ["sdss, {merger:1.2}"]}), rng=1, steps=2, progress=False)
    >>> drawn["image"].shape
    (1, 128, 128, 3)
    """
    from astropy.table import Column

    if not len(conditions):
        raise ConditionError("conditions have no row; give at least one")
    planned, parameters = with_prompts(conditions, schema=schema, labels=labels, label_column=label_column)
    if rng is None and SEED in conditions.colnames:
        check_seeds(conditions)
    else:
        parameters["run_seed"] = run_seed(rng)
        planned[SEED] = row_seeds(parameters["run_seed"], row_names(conditions, id_column))
    drawing = Drawing(
        planned, generator, weights=weights, steps=steps, guidance=guidance, batch_size=batch_size,
        references=references, progress=progress,
    )  # fmt: skip
    images, shared = drawing.run()
    record = run_record(**parameters, **shared, planned=len(conditions), finished=len(images))
    result = planned[: len(images)].copy()
    result["image"] = Column(images)
    add_provenance(result, shared)
    result.meta[RUN_RECORD] = record
    warn_if_interrupted(len(images), len(conditions))
    return result


def with_prompts(
    conditions: Table,
    *,
    schema: str | None,
    labels: Mapping[str, str] | None,
    label_column: str | None,
    dialect: VoteDialect | None = None,
) -> tuple[Table, dict[str, Any]]:
    """Rows with their prompt and its weights, and what the prompts were read from, for the run record.

    `dialect` is given for a piece of a table, see `read_conditions`.

    Raises
    ------
    ConditionError, PromptError, UnknownNameError
        As `generate`.
    """
    check_columns(conditions)
    known = read_conditions(conditions, schema=schema, labels=labels, label_column=label_column, dialect=dialect)
    planned = conditions.copy(copy_data=False)
    planned[PROMPT] = np.array(known.prompts, dtype=str)
    planned[PROMPT_WEIGHTS] = np.array([json.dumps(prompt_weights(prompt)) for prompt in known.prompts], dtype=str)
    return planned, {"conditions": known.source}


def check_seeds(conditions: Table) -> None:
    """Raise `ConditionError` for a seed that is none."""
    seeds = np.ma.asarray(conditions[SEED])
    bad = np.flatnonzero(np.ma.getmaskarray(seeds) | (np.ma.getdata(seeds) < 0))
    if len(bad):
        raise ConditionError(
            f"column {SEED!r}, row {bad[0]}: {seeds[bad[0]]} is no seed, which is a whole number from 0 on; "
            "pass rng= to give every row a new one"
        )


def add_provenance(rows: Table, shared: Mapping[str, Any]) -> None:
    """Add the columns that say that rows were drawn, and with what, in place."""
    from astropy.table import Column, MaskedColumn

    rows[SYNTHETIC] = np.ones(len(rows), dtype=bool)
    for name in (GENERATOR, WEIGHTS, WEIGHTS_REVISION):
        known = str(shared[name])
        rows[name] = Column([known] * len(rows)) if known else MaskedColumn([""] * len(rows), mask=True)
