"""The command ``galaxysd``: augment, generate, plugins, train.

Nothing heavy is imported before a command needs it, so that help and plug-in lists appear at once. Exit status: 0 done,
1 an error that the message explains, 2 a wrong command line, 130 interrupted (what was finished is kept).
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_galaxysd.errors import ConditionError, GalaxySDError, OutputExistsError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["main"]

#: Most galaxies of one group on a contact sheet.
_SHOWN = 24
#: Name of the table that ships with the package.
EXAMPLE = "example"

_AUGMENT = """\
Add synthetic galaxies of a rare class to a table of real ones.

  galaxysd augment example --target merger -n 8 -o mergers.parquet
  galaxysd augment survey.fits --target ring --ratio 2 -o survey_rings.fits --hdus rings.fits
  galaxysd augment survey.parquet --target "in-between round galaxy, {dust lane:1.3}" -n 100 -o out/

TABLE is FITS, Parquet, a folder written by galaxysd, or the word 'example' (24 galaxies that ship with the package).
It needs vote columns (Kaggle Class*, gz2_hart16, Zoobot, or t01_*), a column 'prompt', or labels. The target is an
answer of the Galaxy Zoo 2 tree, a label, a boolean column, or a free prompt with weights in braces.
"""
_GENERATE = """\
Draw one galaxy for every row of a table, or for prompts given here.

  galaxysd generate --prompt "spiral galaxy, {bar-shaped structure in the center of galaxy:1.2}" -n 4 -o bars.fits
  galaxysd generate votes.parquet -o drawn.parquet
"""
_TRAIN = """\
Train the embedded model's parts; a run's folder holds its checkpoint, and the same command goes on from it.

  galaxysd train autoencoder --data train.parquet --data unlabelled.parquet --run runs/autoencoder
  galaxysd train diffusion --data train.parquet --autoencoder runs/autoencoder/autoencoder --run runs/diffusion
  galaxysd augment example --weights runs/diffusion/weights --target ring -n 8 -o rings.fits

Rows whose column 'split' names another split than 'train' are never trained on.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        Instead of ``sys.argv[1:]``.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(format="galaxysd: %(message)s", level=logging.INFO if options.debug else logging.WARNING)
    try:
        with warnings.catch_warnings():
            if not options.debug:
                warnings.showwarning = _show_warning
            return int(options.run(options))
    except KeyboardInterrupt:
        print("galaxysd: interrupted", file=sys.stderr)
        return 130
    except GalaxySDError as error:
        if options.debug:
            raise
        print(f"galaxysd: error: {error}", file=sys.stderr)
        for note in getattr(error, "__notes__", ()):
            print(f"galaxysd:        {note}", file=sys.stderr)
        return 1


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Warnings of ours as one line; those of libraries are for --debug."""
    if category.__module__.startswith("astro_galaxysd"):
        print(f"galaxysd: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    from astro_galaxysd import __version__

    parser = argparse.ArgumentParser(prog="galaxysd", description="Synthetic galaxies of rare classes, from votes.")
    parser.add_argument("--version", action="version", version=f"galaxysd {__version__}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks, warnings and notes of every library")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_augment(commands)
    _add_generate(commands)
    plugins = commands.add_parser("plugins", help="list what is installed, and what is broken and why")
    plugins.add_argument("--json", action="store_true", help="as JSON")
    plugins.set_defaults(run=_plugins)
    _add_train(commands)
    return parser


def _command(commands: Any, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return parser


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("drawing")
    group.add_argument("--weights", default="mini", help="name or folder (default: mini, inside the package)")
    group.add_argument("--generator", help="generator plug-in (default: the weights' own)")
    group.add_argument("--steps", type=int, help="sampling steps (default: what the weights recommend)")
    group.add_argument("--guidance", type=float, help="how strictly the prompt is followed, 1 or more")
    group.add_argument("--seed", type=int, default=0, help="the same seed draws the same galaxies (default: 0)")
    group.add_argument("--batch-size", type=int, help="rows drawn together; never changes a pixel")
    group.add_argument("--threads", type=int, help="processor threads (default: all); never changes a pixel")
    group = parser.add_argument_group("conditions")
    group.add_argument("--schema", help="dialect of the vote columns (default: the most complete)")
    group.add_argument("--label-column", help="column of labels")
    group.add_argument("--labels", metavar="FILE", help='JSON file {"label": "prompt", ...}')
    group.add_argument("--id-column", help="column of identifiers (default: id, objid, ...)")
    group = parser.add_argument_group("output")
    group.add_argument("-o", "--out", required=True, help=".fits, .parquet, or a folder")
    group.add_argument("--hdus", metavar="FILE", help="also write the new galaxies as image HDUs of this FITS file")
    group.add_argument("--sheet", metavar="FILE", help="contact sheet (default: OUT with .png)")
    group.add_argument("--overwrite", action="store_true", help="replace existing output")
    group.add_argument("--no-progress", action="store_true", help="no progress bar")


def _add_augment(commands: Any) -> None:
    parser = _command(commands, "augment", "add synthetic rows of a rare class to a table", _AUGMENT)
    parser.add_argument("table", metavar="TABLE")
    parser.add_argument("--target", required=True, help="what there is too little of")
    number = parser.add_mutually_exclusive_group(required=True)
    number.add_argument("-n", type=int, help="rows to add")
    number.add_argument("--ratio", type=float, help="rows to add per real row of the class")
    parser.add_argument("--images", metavar="COLUMN", help="image column (default: image)")
    parser.add_argument("--compose", action="store_true", help="put the target into the votes of typical galaxies")
    parser.add_argument("--threshold", type=float, default=0.5, help="vote fraction of a member (default: 0.5)")
    parser.add_argument("--cut", type=float, help="vote fraction of the questions before it (default: as published)")
    parser.add_argument("--plan", action="store_true", help="print the plan and what it costs; draw nothing")
    _add_sampling(parser)
    parser.set_defaults(run=_augment)


def _add_generate(commands: Any) -> None:
    parser = _command(commands, "generate", "draw a galaxy for every row or prompt", _GENERATE)
    parser.add_argument("table", metavar="TABLE", nargs="?")
    parser.add_argument("--prompt", action="append", help="instead of TABLE; may be repeated")
    parser.add_argument("-n", type=int, default=1, help="galaxies per prompt (default: 1)")
    _add_sampling(parser)
    parser.set_defaults(run=_generate)


def _add_train(commands: Any) -> None:
    parser = _command(commands, "train", "train the embedded model, or go on training", _TRAIN)
    parts = parser.add_subparsers(title="parts", required=True, metavar="PART")
    for name, summary in (("autoencoder", "the decoder of the block code"), ("diffusion", "the model that draws")):
        part = parts.add_parser(name, help=summary, description=f"Train {summary}; goes on if the run exists.")
        part.add_argument("--data", action="append", required=True, help="table with images; may be repeated")
        part.add_argument("--run", dest="folder", required=True, help="folder of the run")
        part.add_argument("--recipe", metavar="FILE", help="JSON file with settings of the run (recipe.json shows all)")
        part.add_argument("--steps", type=int, help="steps altogether")
        part.add_argument("--images", metavar="COLUMN", default="image", help="image column (default: image)")
        part.add_argument("--schema", help="dialect of the vote columns (default: the most complete)")
        part.add_argument("--threads", type=int, help="processor threads (default: all)")
        part.add_argument("--no-progress", action="store_true", help="no progress bar")
        if name == "diffusion":
            part.add_argument("--autoencoder", required=True, help="folder of the trained autoencoder")
        part.set_defaults(run=_train, part=name)


def _read(name: str) -> Table:
    """The table of a path, or the example that ships."""
    from astro_galaxysd.images.storage import read_table

    if name == EXAMPLE and not Path(name).exists():
        return read_table(Path(__file__).parent / "data" / "example.parquet")
    return read_table(name)


def _sampling(options: argparse.Namespace) -> dict[str, Any]:
    if options.threads is not None:
        import torch

        torch.set_num_threads(max(options.threads, 1))
    labels = json.loads(Path(options.labels).read_text()) if options.labels else None
    return {
        "weights": options.weights,
        "generator": options.generator,
        "steps": options.steps,
        "guidance": options.guidance,
        "rng": options.seed,
        "batch_size": options.batch_size,
        "schema": options.schema,
        "label_column": options.label_column,
        "labels": labels,
        "id_column": options.id_column,
        "progress": not options.no_progress,
    }


def _outputs(options: argparse.Namespace) -> tuple[Path, Path, Path | None]:
    """Where table, sheet and HDUs go; nothing may be there yet."""
    out = Path(options.out)
    sheet = Path(options.sheet) if options.sheet else out.with_name(out.name.split(".")[0] + ".png")
    hdus = Path(options.hdus) if options.hdus else None
    for path in (out, sheet, hdus):
        if path is not None and path.exists() and not options.overwrite:
            raise OutputExistsError(f"{path} exists; give another name, or --overwrite to replace it")
    return out, sheet, hdus


def _augment(options: argparse.Namespace) -> int:
    from astro_galaxysd import pipeline
    from astro_galaxysd.images.codec import read_images

    table = _read(options.table)
    sampling = _sampling(options)
    request = {key: getattr(options, key) for key in ("target", "n", "ratio", "compose", "threshold", "cut")}
    # Planned here too: to show it, and to set each real galaxy beside those that were drawn from its votes.
    planning = {key: value for key, value in sampling.items() if key not in ("batch_size", "progress")}
    plan = pipeline.plan_augmentation(table, **request, **planning)
    if options.plan:
        return _print_plan(plan)
    places = _outputs(options)
    print(f"galaxysd: {_cost(plan)}", file=sys.stderr)
    result = pipeline.augment_table(
        table, **request, images=options.images, **sampling, out=options.out, overwrite=options.overwrite
    )
    column = options.images or "image"
    groups = []
    base = list(dict.fromkeys(int(row) for row in plan["base_row"] if row >= 0))
    if column in table.colnames and base:
        groups.append(
            ("real: the galaxies whose votes were used", read_images(table, column=column, rows=base[:_SHOWN]))
        )
    return _finish(result, len(table), column, options, places, groups)


def _generate(options: argparse.Namespace) -> int:
    from astropy.table import Table

    from astro_galaxysd import pipeline
    from astro_galaxysd.images.storage import write_table

    if (options.table is None) == (options.prompt is None):
        raise ConditionError("give either TABLE or --prompt")
    if options.n < 1:
        raise ConditionError(f"-n {options.n}: give at least 1")
    places = _outputs(options)
    table = Table({"prompt": options.prompt * options.n}) if options.prompt else _read(options.table)
    result = pipeline.generate(table, **_sampling(options))
    write_table(result, options.out, overwrite=options.overwrite)
    return _finish(result, 0, "image", options, places, [])


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


def _finish(
    result: Table,
    n_real: int,
    column: str,
    options: argparse.Namespace,
    places: tuple[Path, Path, Path | None],
    groups: list[tuple[str, Any]],
) -> int:
    """Write HDUs and the sheet, say where everything is; 130 if the drawing was interrupted."""
    import numpy as np
    from astropy.io import fits

    from astro_galaxysd.images.codec import read_images
    from astro_galaxysd.images.files import atomic_path
    from astro_galaxysd.images.hdu import to_hdus
    from astro_galaxysd.images.provenance import RUN_RECORD
    from astro_galaxysd.images.sheet import contact_sheet

    out, sheet, hdus = places
    new = result[n_real:]
    by_prompt: dict[str, list[Any]] = {}
    for prompt, pixels in zip(new["prompt"], read_images(new, column=column), strict=True):
        by_prompt.setdefault(str(prompt), []).append(pixels)
    if len(by_prompt) > _SHOWN // 2:  # one label a galaxy would hide the galaxies
        target = getattr(options, "target", "one a row")
        by_prompt = {target: [pixels for images in by_prompt.values() for pixels in images]}
    groups += [(f"synthetic: {prompt}", images[:_SHOWN]) for prompt, images in by_prompt.items()]
    contact_sheet([(label, np.stack(images)) for label, images in groups], sheet, overwrite=options.overwrite)
    print(f"table    {out}  ({n_real} real + {len(new)} synthetic rows)")
    if hdus is not None:
        with atomic_path(hdus, options.overwrite) as partial:
            fits.HDUList([fits.PrimaryHDU(), *to_hdus(new, column)]).writeto(partial, overwrite=True)
        print(f"HDUs     {hdus}")
    print(f"picture  {sheet}")
    record = result.meta[RUN_RECORD]["parameters"]
    return 0 if record["finished"] == record["planned"] else 130


def _plugins(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from astro_galaxysd.plugins.manager import PluginRegistry

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the list says it
        listing = PluginRegistry().describe()
    if options.json:
        print(json.dumps([asdict(line) for line in listing], indent=1))
        return 0
    for line in listing:
        origin = f"{line.distribution or line.plugin} {line.version}".strip()
        if line.usable:
            print(f"{line.kind:<11} {line.name:<14} {origin:<28} {line.summary}")
    broken = [line for line in listing if not line.usable]
    for line in broken:
        origin = f"{line.distribution or line.plugin} {line.version}".strip()
        print(f"BROKEN      {line.name:<14} {origin:<28} {line.problem}")
    return 0


def _train(options: argparse.Namespace) -> int:
    from astro_galaxysd.diffusion.commands import train_autoencoder, train_diffusion

    settings = json.loads(Path(options.recipe).read_text()) if options.recipe else {}
    if options.steps is not None:
        settings["steps"] = options.steps
    if options.threads is not None:
        import torch

        torch.set_num_threads(max(options.threads, 1))
    shared = {"column": options.images, "schema": options.schema, "progress": not options.no_progress}
    if options.part == "autoencoder":
        folder = train_autoencoder(options.data, options.folder, settings, **shared)
    else:
        folder = train_diffusion(options.data, options.folder, options.autoencoder, settings, **shared)
    print(f"weights  {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
