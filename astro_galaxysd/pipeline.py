"""The whole way on one page: conditions in, plan, images, rows out.

``augment_table`` = plan_augmentation -> draw -> encode like the real images -> append rows -> write.
``generate`` = read conditions -> draw -> the same rows with images.
Nothing here knows diffusion: a generator is whatever the plug-ins registered under its name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.augmentation.plan import PLAN
from astro_galaxysd.augmentation.plan import plan_augmentation as _plan
from astro_galaxysd.augmentation.result import append_rows
from astro_galaxysd.conditions.columns import read_ids
from astro_galaxysd.conditions.prompts import prompt_weights
from astro_galaxysd.conditions.seeds import RNG, row_seeds, run_seed
from astro_galaxysd.conditions.table import read_conditions
from astro_galaxysd.drawing import DEFAULT_WEIGHTS, Drawing, InterruptedWarning, estimate, load_generator, weight_card
from astro_galaxysd.errors import ConditionError, OutputExistsError
from astro_galaxysd.images.codec import ImageFormat, check_images, encode_images
from astro_galaxysd.images.planes import planes_of
from astro_galaxysd.images.provenance import (
    GENERATOR,
    PROMPT,
    PROMPT_WEIGHTS,
    RUN_RECORD,
    SEED,
    SYNTHETIC,
    WEIGHTS,
    WEIGHTS_REVISION,
    drop_synthetic,
    run_record,
)
from astro_galaxysd.images.sources import object_array
from astro_galaxysd.images.storage import write_table

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.plugins.protocols import Generator

__all__ = ["InterruptedWarning", "augment_table", "drop_synthetic", "generate", "load_generator", "plan_augmentation"]


def plan_augmentation(table: Table, **options: Any) -> Table:
    """Plan synthetic rows before anything is drawn.

    Parameters
    ----------
    table : Table or QTable
        Real galaxies.
    **options
        Of `astro_galaxysd.augmentation.plan.plan_augmentation`: ``target``, ``n`` or ``ratio``, ``compose``,
        ``weights``, ``generator``, ``steps``, ``guidance``, ``rng``, ``schema``, ``labels``, ``label_column`` ...

    Returns
    -------
    Table
        One row for every image to draw: ``row_id``, ``target``, ``prompt``, ``prompt_weights``, ``seed``,
        ``base_row``, ``votes``. ``meta["galaxysd_plan"]["estimate"]`` has ``seconds`` and ``memory_mb`` on this
        machine (None where the weights' card does not say what they cost).

    Raises
    ------
    ConditionError, NoRealRowsError, PromptError, UnknownNameError
        As the function named above.

    Examples
    --------
    >>> from astropy.table import Table
    >>> table = Table({"t01_smooth": [0.9], "t07_round": [0.9], "t06_odd_yes": [0.1]})
    >>> plan = plan_augmentation(table, target="round", n=2, rng=1)
    >>> plan["prompt"][0]
    np.str_('sdss, {smooth:1.15}, {completely round galaxy:1.15}')
    """
    plan = _plan(table, **options)
    record = plan.meta[PLAN]
    record["estimate"] = estimate(
        len(plan), weight_card(record["weights"]), steps=record["steps"], guidance=record["guidance"]
    )
    return plan


def generate(
    conditions: Table,
    *,
    rng: RNG = None,
    batch_size: int | None = None,
    weights: str | os.PathLike[str] = DEFAULT_WEIGHTS,
    generator: str | Generator | None = None,
    steps: int | None = None,
    guidance: float | None = None,
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
        Rows handed to the generator at a time; never changes a row's pixels.
    weights, generator, steps, guidance
        As `load_generator`; `generator` may also be a loaded one.
    schema, labels, label_column, id_column
        As `plan_augmentation`.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Table
        A copy with ``image`` (N, H, W, 3) uint8 and the provenance columns; an interrupt keeps the finished rows.

    Raises
    ------
    ConditionError, PromptError, UnknownNameError, WeightsError
        Before anything is drawn.

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
    known = read_conditions(conditions, schema=schema, labels=labels, label_column=label_column)
    planned = conditions.copy(copy_data=False)
    planned[PROMPT] = np.array(known.prompts, dtype=str)
    planned[PROMPT_WEIGHTS] = np.array(_weights_json(known.prompts), dtype=str)
    parameters: dict[str, Any] = {"conditions": known.source}
    if rng is not None or SEED not in conditions.colnames:
        parameters["run_seed"] = run_seed(rng)
        planned[SEED] = row_seeds(parameters["run_seed"], read_ids(conditions, id_column))
    drawn = Drawing(planned, weights, generator, steps, guidance, batch_size, progress)
    images, provenance = drawn.run()
    result = planned[: len(images)].copy()
    result["image"] = Column(images)
    result[SYNTHETIC] = np.ones(len(result), dtype=bool)
    for name in (GENERATOR, WEIGHTS, WEIGHTS_REVISION):
        result[name] = [provenance[name]] * len(result)
    result.meta[RUN_RECORD] = run_record(**parameters, **provenance, planned=len(conditions), finished=len(images))
    return result


def _weights_json(prompts: Sequence[str]) -> list[str]:
    return [json.dumps(prompt_weights(prompt)) for prompt in prompts]


def augment_table(
    table: Table,
    *,
    target: str | Mapping[str, int],
    n: int | None = None,
    ratio: float | None = None,
    images: Any = None,
    weights: str | os.PathLike[str] = DEFAULT_WEIGHTS,
    generator: str | Generator | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    batch_size: int | None = None,
    compose: bool = False,
    rng: RNG = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
    overwrite: bool = False,
    schema: str | None = None,
    labels: Mapping[str, str] | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    threshold: float = 0.5,
    cut: float | None = None,
) -> Table:
    """Add synthetic galaxies of a rare class to a table of real ones.

    Parameters
    ----------
    table : Table or QTable
        Real galaxies with vote columns (Kaggle, gz2_hart16, Zoobot or ``t01_*`` names), a column ``prompt``, or labels.
    target : str or mapping of str to int
        What there is too little of: an answer of the Galaxy Zoo 2 tree (``"merger"``, ``"ring"``, ``"dust_lane"``), a
        label, a boolean column, a free prompt with weights (``"in-between round galaxy, {dust lane:1.3}"``), or several
        with their numbers (``{"merger": 50, "ring": 20}``).
    n, ratio : int or float
        Rows to add, or rows per real row of the class; one of them, neither with a mapping.
    images : str, sequence or None
        Column of the images (``"image"`` where it exists), or the images themselves: arrays (N, H, W, 3) of uint8 or
        floats in [0, 1], JPEG or PNG bytes, HDUs with planes (3, H, W). New rows get images of the same kind, size and
        codec. A separate sequence becomes the column ``image``; HDUs become pixel arrays there (`to_hdus` gives HDUs).
    weights, generator, steps, guidance
        As `load_generator`; `generator` may also be a loaded one.
    batch_size : int, optional
        Rows handed to the generator at a time; never changes a row's pixels.
    compose : bool
        Put the class's answer into the votes of typical galaxies: for combinations no real row has.
    rng : None, int, SeedSequence or Generator
        Randomness of the run (SPEC 7); the same value gives the same rows, bit by bit, on one machine and version.
    out : path, optional
        Also write the result there: .fits, .parquet, or a folder (`write_table`).
    progress : bool
        Whether to show a bar.
    overwrite : bool
        Whether `out` may be replaced.
    schema, labels, label_column, id_column, threshold, cut
        As `plan_augmentation`.

    Returns
    -------
    Table
        Of the class of `table`: the real rows untouched, then the synthetic rows with their votes in the table's own
        dialect and the columns ``synthetic``, ``prompt``, ``prompt_weights``, ``seed``, ``generator``, ``weights``,
        ``weights_revision``; everything else about them is masked. ``meta["galaxysd"]`` holds the run record. After an
        interrupt the finished rows are kept and an `InterruptedWarning` says how many.

    Raises
    ------
    ConditionError, NoRealRowsError, PromptError, ImageError, UnknownNameError, WeightsError, OutputExistsError
        Before anything is drawn.
    OutputError
        If the result can't be written; the table is lost only if `out` was the only place you wanted it: draw again
        with the same `rng` to get the same rows.

    Examples
    --------
    >>> from astropy.table import Table
    >>> table = Table({"t06_odd_yes": [0.9, 0.1], "t08_merger": [0.8, 0.0], "t01_smooth": [0.7, 0.8]})
    >>> more = augment_table(table, target="merger", n=1, rng=1, steps=2, progress=False)
    >>> len(more), more["synthetic"].tolist()
    (3, [False, False, True])
    """
    if out is not None and not overwrite and Path(out).exists():
        raise OutputExistsError(f"{os.fspath(out)} exists; give another name, or overwrite=True to replace it")
    table, column, image_format = _with_images(table, images)
    name = generator if generator is None or isinstance(generator, str) else type(generator).__name__
    plan = _plan(
        table, target=target, n=n, ratio=ratio, compose=compose, weights=os.fspath(weights),
        generator=name, steps=steps, guidance=guidance, rng=rng, schema=schema, labels=labels,
        label_column=label_column, id_column=id_column, threshold=threshold, cut=cut,
    )  # fmt: skip
    drawn, provenance = Drawing(plan, weights, generator, steps, guidance, batch_size, progress).run()
    finished = plan[: len(drawn)]
    record = run_record(**plan.meta[PLAN] | provenance, planned=len(plan), finished=len(drawn))
    result = append_rows(
        table,
        finished,
        None if image_format is None else encode_images(drawn, image_format),
        image_column=column,
        id_column=id_column,
        provenance={key: provenance[key] for key in (GENERATOR, WEIGHTS, WEIGHTS_REVISION)},
        record=record,
    )
    if image_format is None:
        _add_image_column(result, len(table), drawn)
    if out is not None:
        write_table(result, out, overwrite=overwrite)
    return result


def _with_images(table: Table, images: Any) -> tuple[Table, str | None, ImageFormat | None]:
    """The table with its image column, the column's name and how it keeps its images; all images are checked."""
    if images is None:
        images = "image" if "image" in table.colnames else None
    if images is None:
        return table, None, None
    if isinstance(images, str):
        return table, images, check_images(table, len(table), column=images)
    if "image" in table.colnames:
        raise ConditionError("images were given and the table has a column 'image' too; drop one of them")
    found = check_images(images, len(table))
    joined = table.copy(copy_data=False)
    if found.kind == "hdu":
        joined["image"] = np.stack([planes_of(item, f"row {row}") for row, item in enumerate(images)])
    else:
        joined["image"] = images if found.container == "stack" else object_array(images)
    return joined, "image", check_images(joined, len(joined), column="image")


def _add_image_column(result: Table, n_real: int, drawn: np.ndarray) -> None:
    """A column of images for a table that had none: masked on the real rows."""
    from astropy.table import MaskedColumn

    values = np.concatenate([np.zeros((n_real, *drawn.shape[1:]), dtype=drawn.dtype), drawn])
    mask = np.zeros(values.shape, dtype=bool)
    mask[:n_real] = True
    result["image"] = MaskedColumn(values, mask=mask)
