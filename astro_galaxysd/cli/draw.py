"""``galaxysd augment`` and ``galaxysd generate``."""

from __future__ import annotations

import argparse
import sys
import warnings
from typing import TYPE_CHECKING, Any

from astro_galaxysd.cli.inputs import named_path, read_json, read_named_table, use_threads
from astro_galaxysd.cli.outputs import SHOWN, Outputs, choose_outputs, show
from astro_galaxysd.cli.shards import generate_shards, wants_shards
from astro_galaxysd.cli.survey import survey_of
from astro_galaxysd.errors import ConditionError, RowsLeftOutWarning

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.survey.card import Survey

__all__ = ["run_augment", "run_generate"]

#: Most prompts with a label of their own on a sheet.
_LABELS = 12
_TARGETS = ("target", "n", "ratio", "compose", "candidates", "threshold", "cut")


def run_augment(options: argparse.Namespace) -> int:
    """Plan, draw, write; the sheet shows the new galaxies below those whose votes they have."""
    from astro_galaxysd import pipeline

    outputs = None if options.plan else choose_outputs(options)
    table, survey = read_named_table(options.table), survey_of(options)
    column = _image_column(table, options, survey)
    choices = _choices(options)
    request = {key: getattr(options, key) for key in _TARGETS}
    # Planned here too: to show it, and to set each galaxy beside those that were drawn from its votes.
    plan = pipeline.plan_augmentation(table, **request, **choices)
    if outputs is None:
        return _print_plan(plan)
    print(f"galaxysd: {_cost(plan)}", file=sys.stderr)
    result = pipeline.augment_table(
        table, **request, **choices, **_run(options), images=options.images, survey=survey, match=options.match,
        anyway=options.anyway, cutouts=options.cutouts, out=outputs.table, overwrite=outputs.overwrite,
    )  # fmt: skip
    new = result[len(table) :]
    groups = [(f"synthetic: {options.target}", _display(new, options.images, survey))]
    seeds = set(new["seed"].tolist())
    kept = plan[[seed in seeds for seed in plan["seed"].tolist()]]
    given = _base_images(table, kept, options.images, survey)
    if given:
        groups.insert(0, ("given: the galaxies whose votes the new ones have", given))
    return show(outputs, new, len(table), column, groups, survey=survey)


def _image_column(table: Table, options: argparse.Namespace, survey: Survey | None) -> str:
    """The column whose images become HDUs; files can't, they are cutouts by themselves."""
    from astro_galaxysd.survey.cells import IMAGE, holds_files

    named = options.images or (survey.columns if survey else None) or IMAGE
    columns = [named] if isinstance(named, str) else list(named)
    if options.hdus and (len(columns) > 1 or holds_files(table, columns[0])):
        raise ConditionError(
            f"--hdus {options.hdus}: the cutouts of {', '.join(columns)} are files, and new ones will be; leave --hdus "
            "out, and name their folder with --cutouts"
        )
    return columns[0]


def _base_images(table: Table, plan: Table, images: str | None, survey: Survey | None) -> list[Any]:
    """Images of the galaxies from whose votes the planned rows come, in the order of the plan."""
    from astro_galaxysd.errors import GalaxySDError

    base = list(dict.fromkeys(int(row) for row in plan["base_row"] if row >= 0))
    try:
        return _display(table[base[:SHOWN]], images, survey) if base else []
    except GalaxySDError:
        return []  # a table without images; what is wrong with others was said before


def _display(rows: Table, images: str | None, survey: Survey | None) -> list[Any]:
    """Display images of the first rows."""
    from astro_galaxysd.survey.cutouts import read_cutouts

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RowsLeftOutWarning)  # they were named when the table was read
        return list(read_cutouts(rows[:SHOWN], survey, images)["image"])


def run_generate(options: argparse.Namespace) -> int:
    """Draw for prompts or the rows of a table, write."""
    from astropy.table import Table

    from astro_galaxysd.generation import generate
    from astro_galaxysd.images.storage import rehearse_writing, write_table

    if (options.table is None) == (options.prompt is None):
        raise ConditionError("give either TABLE or --prompt")
    if options.n is not None and (options.n < 1 or options.table is not None):
        raise ConditionError(f"-n {options.n}: it is the number of galaxies per --prompt; give at least 1")
    prompts = (options.prompt or []) * (options.n or 1)
    references = None if options.references is None else read_named_table(options.references)
    if wants_shards(options):
        source = Table({"prompt": prompts}) if prompts else named_path(options.table)
        return generate_shards(options, source, {**_choices(options), **_run(options), "references": references})
    outputs: Outputs = choose_outputs(options)
    table = Table({"prompt": prompts}) if prompts else read_named_table(options.table)
    rehearse_writing(table[:1], outputs.table, overwrite=outputs.overwrite)
    result = generate(table, **_choices(options), **_run(options), references=references)
    write_table(result, outputs.table, overwrite=outputs.overwrite)
    return show(outputs, result, 0, "image", _by_prompt(result))


def _by_prompt(drawn: Table) -> list[tuple[str, list[Any]]]:
    """Images by prompt; all together where so many prompts would hide the galaxies."""
    groups: dict[str, list[Any]] = {}
    for prompt, pixels in zip(drawn["prompt"], drawn["image"], strict=True):
        groups.setdefault(str(prompt), []).append(pixels)
    return list(groups.items()) if len(groups) <= _LABELS else [("one prompt a row", list(drawn["image"]))]


def _choices(options: argparse.Namespace) -> dict[str, Any]:
    """Arguments that planning, augmenting and generating share."""
    return {
        "weights": options.weights,
        "generator": options.generator,
        "steps": options.steps,
        "guidance": options.guidance,
        "rng": options.seed,
        "schema": options.schema,
        "label_column": options.label_column,
        "labels": read_json(options.labels, "--labels") if options.labels else None,
        "id_column": options.id_column,
    }


def _run(options: argparse.Namespace) -> dict[str, Any]:
    """Arguments of a run that change no pixel."""
    use_threads(options.threads)
    return {"batch_size": options.batch_size, "progress": not options.no_progress}


def _cost(plan: Table) -> str:
    estimate = plan.meta["galaxysd_plan"]["estimate"]
    if estimate["seconds"] is None:
        return f"{len(plan)} galaxies to draw"
    return f"{len(plan)} galaxies to draw, about {estimate['seconds']:.0f} s and {estimate['memory_mb']:.0f} MB"


def _print_plan(plan: Table) -> int:
    print(_cost(plan))
    for row in plan:
        print(f"{row['row_id']}  seed {row['seed']}  {row['prompt']}")
    return 0
