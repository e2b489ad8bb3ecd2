"""What can be written behind ``galaxysd``, and the help that teaches it."""

from __future__ import annotations

import argparse
from typing import Any

from astro_galaxysd.cli.classify import run_search, run_verdict
from astro_galaxysd.cli.draw import run_augment, run_generate
from astro_galaxysd.cli.judge import run_evaluate, run_sweep
from astro_galaxysd.cli.plugins import run_plugins
from astro_galaxysd.cli.publish import run_publish
from astro_galaxysd.cli.survey import run_survey
from astro_galaxysd.cli.train import run_pack, run_train

__all__ = ["make_parser"]

_AUGMENT = """\
Add synthetic galaxies of a rare class to a table of real ones.

  galaxysd augment example --target merger -n 8 -o mergers.parquet
  galaxysd augment survey.fits --target ring --ratio 2 -o survey_rings.fits --hdus rings.fits
  galaxysd augment survey.parquet --target "in-between round galaxy, {dust lane:1.3}" -n 100 -o out/
  galaxysd augment survey.fits --target ring -n 50 --survey card.toml --match survey -o survey_rings.fits

TABLE is FITS, Parquet, a folder written by galaxysd, or the word 'example' (24 galaxies that ship with the package).
It needs vote columns (Kaggle Class*, gz2_hart16, Zoobot, or t01_*), a column 'prompt', or labels. The target is an
answer of the Galaxy Zoo 2 tree, a label, a boolean column, or a free prompt with weights in braces.
"""
_GENERATE = """\
Draw one galaxy for every row of a table, or for prompts given here.

  galaxysd generate --prompt "spiral galaxy, {bar-shaped structure in the center of galaxy:1.2}" -n 4 -o bars.fits
  galaxysd generate votes.parquet -o drawn.parquet
  galaxysd generate millions.parquet -o drawn/

TABLE needs a column 'prompt', vote columns or labels, as for 'augment'. Braces carry a feature's weight: {ring:1.2}.
OUT with a slash at its end is a folder of shards: files of a thousand rows and a manifest. The same command goes on
where it was interrupted or killed.
"""
_EVALUATE = """\
Say how good synthetic galaxies are: realism, diversity, consistency, photometry, morphology and memorisation, each with
an error and with what as many real galaxies score in their place. Writes a report and the figures as tables.

  galaxysd generate test.parquet -o drawn.parquet
  galaxysd evaluate test.parquet drawn.parquet --training train.parquet --blind -o report/
  galaxysd evaluate survey.fits survey_rings.fits --embedder org/model -o report/

REAL are galaxies that the generator was not trained on. SYNTHETIC are drawn ones, or a table that 'augment' wrote, of
which the synthetic rows count. Both may be folders of Parquet or FITS files; only images that are compared are read.
"""
_SWEEP = """\
Draw the same rows with every combination of settings, judge them, and mark those that no other outdoes.

  galaxysd sweep val.parquet --guidance 1 2 3 4 --steps 10 20 -o sweep.ecsv
  galaxysd evaluate test.parquet drawn.parquet --sweep sweep.ecsv -o report/

An interrupted sweep goes on with the same command.
"""
_VERDICT = """\
Say whether synthetic galaxies improve a classifier of a class: real galaxies are split, a few labelled ones are given
to several ways to learn, with and without synthetic galaxies, and real ones that none has seen say which is best.

  galaxysd verdict survey.parquet --target merger --quick -o quick/
  galaxysd verdict survey.parquet --target merger --positives 10 50 --ratios 0.25 1 4 -o merger/

An interrupted verdict goes on with the same command.
"""
_SEARCH = """\
Rank a catalogue for a rare class, from a few labelled galaxies and synthetic ones with their votes. Writes the best
candidates with calibrated probabilities, a sheet of them, and a page to look at them without knowing their scores.

  galaxysd search survey.parquet --labelled known.parquet --target merger -o round1/
  galaxysd search survey.parquet --labelled known.parquet --target merger --after round1/ -o round2/

CATALOGUE is FITS or Parquet, a file or a folder of files, read piece by piece, and needs images only. Answers that the
page exports, saved as round1/vetting.csv, are the labels of the next round.
"""
_SURVEY = """\
Say what a survey's cutouts are: which can be read, their pixel scale, seeing, sizes, sky and noise, whether drawn
galaxies can be matched to them, and whether they are like those the weights were trained on. Suggests a stretch where
none is declared. With -o, also write them as display images, for 'evaluate' and 'train'.

  galaxysd survey survey.fits --survey card.toml
  galaxysd survey survey.fits --survey card.toml --framed -o own.parquet

The card says what can't be read from the files:

  bands = ["i", "r", "g"]                        # red, green, blue; or "luminance" for a single band
  columns = ["file_i", "file_r", "file_g"]
  unit = "nanomaggy"
  psf = 1.3                                      # FWHM in arcsec, or a FITS file; left out: from stars
  [stretch]
  kind = "lupton"
  stretch = 0.5
  Q = 8
"""
_PUBLISH = """\
Publish weights as a model, or the synthetic rows of a table as a data set, on the Hugging Face Hub. They are loaded and
drawn with before anything travels; card, sheet of samples and licence go with them, in one commit.

  galaxysd publish runs/own/promoted organisation/name --dry-run
  galaxysd publish runs/own/promoted organisation/name --verify
  galaxysd publish survey_rings.parquet organisation/synthetic-rings

Log in before: `hf auth login`, or the token in HF_TOKEN. Of a table no real galaxy is published.
"""
_PLUGINS = """\
List what is installed: generators, weights, vote dialects, evaluators, embedders, augmenters;
and what is broken, with the reason.

  galaxysd plugins
  galaxysd plugins --json
"""
_TRAIN = """\
Train a model on tables with images and votes. A run's folder holds its checkpoint; the same command goes on from it.

  galaxysd train autoencoder --data train.parquet --data unlabelled.parquet --run runs/autoencoder
  galaxysd train diffusion --data train.parquet --autoencoder runs/autoencoder/autoencoder --run runs/diffusion \\
                           --validation val.parquet
  galaxysd train finetune --base stable-diffusion-v1-5/ --data survey.fits --run runs/survey
  galaxysd train finetune --base mini --preset mini --data own.parquet --run runs/own
  galaxysd train reader --data train.parquet --preset choosing --set seed=31 --run runs/teacher
  galaxysd train embedder --data train.parquet --set architecture=plain --set seed=47 --run runs/space
  galaxysd train refine --base runs/diffusion/weights --reader runs/teacher/reader.safetensors \\
                        --embedder runs/space/embedder.safetensors --data train.parquet --run runs/refined
  galaxysd train pack --data train.parquet --weights runs/diffusion/weights -o pack/
  galaxysd augment example --weights runs/diffusion/weights --target ring -n 8 -o rings.fits

Rows whose column 'split' names another split than 'train' are never trained on.
"""
_STATUS = """\
exit status:
  0  done
  1  an error; the message says what to do
  2  a wrong command line
  130  interrupted; what was finished is kept
"""


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; what it returns has ``run``, a function of the options that gives the exit status."""
    from astro_galaxysd import __version__

    parser = argparse.ArgumentParser(
        prog="galaxysd",
        description="Synthetic galaxies of rare classes, from votes. 'galaxysd COMMAND --help' has examples.",
        epilog=_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"galaxysd {__version__}")
    parser.set_defaults(debug=False)
    _add_debug(parser)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_augment(commands)
    _add_generate(commands)
    _add_evaluate(commands)
    _add_sweep(commands)
    _add_verdict(commands)
    _add_search(commands)
    _add_survey(commands)
    plugins = _command(commands, "plugins", "list what is installed, and what is broken and why", _PLUGINS)
    plugins.add_argument("--json", action="store_true", help="as JSON")
    plugins.set_defaults(run=run_plugins)
    _add_publish(commands)
    _add_train(commands)
    return parser


def _command(commands: Any, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _add_debug(parser)
    return parser


def _add_debug(parser: argparse.ArgumentParser) -> None:
    # Suppressed, because a subcommand's default would undo what stands before the subcommand.
    parser.add_argument(
        "--debug",
        action="store_true",
        default=argparse.SUPPRESS,
        help="show tracebacks, and warnings and notes of every library",
    )


def _add_augment(commands: Any) -> None:
    parser = _command(commands, "augment", "add synthetic rows of a rare class to a table", _AUGMENT)
    parser.add_argument("table", metavar="TABLE")
    parser.add_argument("--target", required=True, help="what there is too little of")
    number = parser.add_mutually_exclusive_group(required=True)
    number.add_argument("-n", type=int, help="rows to add")
    number.add_argument("--ratio", type=float, help="rows to add per real row of the class")
    parser.add_argument("--images", metavar="COLUMN", help="image column (default: image)")
    parser.add_argument("--compose", action="store_true", help="put the target into the votes of typical galaxies")
    parser.add_argument(
        "--candidates",
        type=int,
        metavar="K",
        help="galaxies drawn for each that is kept where a reader finds the target most surely (default: 2, or 1)",
    )
    parser.add_argument("--threshold", type=float, default=0.5, help="vote fraction of a member (default: 0.5)")
    parser.add_argument("--cut", type=float, help="vote fraction of the questions before it (default: as published)")
    group = parser.add_argument_group("survey")
    _add_card(group)
    group.add_argument("--match", help="'survey': give drawn galaxies the size, seeing, noise and sky of real ones")
    group.add_argument("--cutouts", metavar="FOLDER", help="where new cutouts go that are files (default: OUT_cutouts)")
    group.add_argument(
        "--anyway",
        action="store_true",
        help="draw although cutouts are unlike the training images, or can't be matched",
    )
    parser.add_argument("--plan", action="store_true", help="print the plan and what it costs; draw nothing")
    _add_shared(parser)
    parser.set_defaults(run=run_augment)


def _add_generate(commands: Any) -> None:
    parser = _command(commands, "generate", "draw a galaxy for every row or prompt", _GENERATE)
    parser.add_argument("table", metavar="TABLE", nargs="?")
    parser.add_argument("--prompt", action="append", help="instead of TABLE; may be repeated")
    parser.add_argument("-n", type=int, help="galaxies per prompt (default: 1)")
    _add_references(parser)
    _add_shared(parser)
    group = parser.add_argument_group("folder of shards", "where OUT ends in a slash")
    group.add_argument("--format", choices=("parquet", "fits"), help="of its files (default: parquet)")
    group.add_argument("--shard-rows", type=int, metavar="N", help="rows of a file (default: 1000)")
    group.add_argument("--verify", action="store_true", help="compare files with their hashes, draw damaged ones again")
    group.add_argument("--scheduler", metavar="ADDRESS", help="of Dask, whose workers draw")
    parser.set_defaults(run=run_generate)


def _add_references(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--references", metavar="TABLE", help="real galaxies, for weights that begin with them")


def _add_publish(commands: Any) -> None:
    parser = _command(commands, "publish", "put weights or synthetic galaxies on the Hugging Face Hub", _PUBLISH)
    parser.add_argument("source", metavar="FOLDER|TABLE")
    parser.add_argument("repo", metavar="ORGANISATION/NAME")
    parser.add_argument("--licence", help="identifier of the Hub (default: that of the base, or what the card says)")
    parser.add_argument("--base-model", metavar="ID", help="what they were fine-tuned from (default: by the card)")
    _add_references(parser)
    parser.add_argument("--message", help="of the commit")
    parser.add_argument("--private", action="store_true", help="nobody else may see it")
    parser.add_argument("--dry-run", action="store_true", help="check everything and list what would go; push nothing")
    parser.add_argument("--verify", action="store_true", help="fetch it again and compare bit by bit")
    parser.set_defaults(run=run_publish)


def _add_shared(parser: argparse.ArgumentParser) -> None:
    group = _add_drawing(parser)
    group.add_argument("--batch-size", type=int, help="rows drawn together; never changes a pixel")
    _add_conditions(parser)
    group = parser.add_argument_group("output")
    group.add_argument("-o", "--out", help=".fits, .parquet, or a folder")
    group.add_argument("--hdus", metavar="FILE", help="also write the new galaxies as image HDUs of this FITS file")
    group.add_argument(
        "--sheet", metavar="FILE", help="contact sheet (default: OUT with .png; in a folder of shards _first.png)"
    )
    group.add_argument("--overwrite", action="store_true", help="replace existing output")
    group.add_argument("--no-progress", action="store_true", help="no progress bar")


def _add_drawing(parser: argparse.ArgumentParser) -> Any:
    group = parser.add_argument_group("drawing")
    group.add_argument(
        "--weights",
        default="mini",
        help="name, folder, or organisation/name[@revision] on the Hub (default: mini, inside the package)",
    )
    group.add_argument("--generator", help="generator plug-in (default: the weights' own)")
    group.add_argument("--steps", type=int, help="sampling steps (default: what the weights recommend)")
    group.add_argument("--guidance", type=float, help="how strictly the prompt is followed, 1 or more")
    group.add_argument("--seed", type=int, default=0, help="the same seed draws the same galaxies (default: 0)")
    group.add_argument("--threads", type=int, help="processor threads (default: all); never changes a pixel")
    return group


def _add_conditions(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("conditions")
    group.add_argument("--schema", help="dialect of the vote columns (default: the most complete)")
    group.add_argument("--label-column", help="column of labels")
    group.add_argument("--labels", metavar="FILE", help='JSON file {"label": "prompt", ...}')
    group.add_argument("--id-column", help="column of identifiers (default: id, objid, ...)")


def _add_evaluate(commands: Any) -> None:
    parser = _command(commands, "evaluate", "say how good synthetic galaxies are", _EVALUATE)
    parser.add_argument("real", metavar="REAL")
    parser.add_argument("synthetic", metavar="SYNTHETIC")
    parser.add_argument("--training", metavar="TABLE", help="what the generator was trained on: copies are looked for")
    parser.add_argument(
        "--reconstructions",
        metavar="TABLE|WEIGHTS",
        help="the real galaxies after the generator's autoencoder, or weights that do it now",
    )
    parser.add_argument("--evaluator", action="append", help="only this one; may be repeated (default: all but slow)")
    parser.add_argument("--embedder", help="name, folder or org/model@revision (default: ours)")
    parser.add_argument(
        "--groups", default="auto", help="also judge by 'prompt', 'answer', a column, or 'none' (default: auto)"
    )
    parser.add_argument("-n", type=int, help="images of each set (default: as many as there are)")
    parser.add_argument("--sweep", metavar="FILE", help="of 'galaxysd sweep', for the report")
    parser.add_argument("--history", metavar="FILE", help="metrics.csv of a training run, for the report")
    parser.add_argument("--blind", action="store_true", help="also write a page to tell real from synthetic galaxies")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing report")
    _add_judging(parser, reader="reporting", out="folder of the report")
    parser.set_defaults(run=run_evaluate)


def _add_sweep(commands: Any) -> None:
    parser = _command(commands, "sweep", "draw and judge with many settings", _SWEEP)
    parser.add_argument("real", metavar="REAL")
    parser.add_argument("--weights", nargs="+", help="names or folders (default: mini)")
    parser.add_argument("--steps", type=int, nargs="+", help="sampling steps")
    parser.add_argument("--guidance", type=float, nargs="+", help="how strictly the prompt is followed")
    parser.add_argument("--sampler", nargs="+", help="dpm++, euler-ancestral")
    parser.add_argument("--feature-weight", type=float, nargs="+", help="weight of every feature (default: by votes)")
    parser.add_argument("-n", type=int, default=128, help="rows to draw with each (default: 128)")
    _add_judging(parser, reader="choosing", out="the table, .ecsv; OUT.log.ecsv keeps what is done")
    parser.set_defaults(run=run_sweep)


def _add_verdict(commands: Any) -> None:
    parser = _command(commands, "verdict", "say whether synthetic galaxies improve a classifier", _VERDICT)
    parser.add_argument("table", metavar="TABLE")
    parser.add_argument("--test", metavar="TABLE", help="galaxies to test on (default: two fifths of TABLE)")
    parser.add_argument("--positives", type=int, nargs="+", help="labelled galaxies of the class (default: 10 50)")
    parser.add_argument("--others", type=int, help="labelled galaxies that are not (default: 200)")
    parser.add_argument("--ratios", type=float, nargs="+", help="synthetic for each labelled one (default: 0.25 1 4)")
    parser.add_argument("--runs", type=int, help="with other labelled galaxies each (default: 5)")
    parser.add_argument("--arms", nargs="+", help="ways to learn (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer labelled galaxies, ratios, runs and arms")
    _add_class(parser)
    parser.add_argument("-o", "--out", help="folder of what is drawn and scored, and of the verdict")
    parser.set_defaults(run=run_verdict)


def _add_search(commands: Any) -> None:
    parser = _command(commands, "search", "rank a catalogue for a rare class", _SEARCH)
    parser.add_argument("catalogue", metavar="CATALOGUE")
    parser.add_argument("--labelled", metavar="TABLE", required=True, help="galaxies whose class is known")
    parser.add_argument("--budget", type=int, default=100, help="candidates to return (default: 100)")
    parser.add_argument(
        "--n-synthetic", type=int, help="synthetic galaxies to learn from too (default: by cross-validation)"
    )
    parser.add_argument(
        "--classifier", default="linear", help="'linear', on what a vote reader knows, or 'network' (default: linear)"
    )
    parser.add_argument("--prevalence", type=float, help="share of the class in CATALOGUE (default: estimated)")
    parser.add_argument("--after", metavar="FOLDER", action="append", help="an earlier round; may be repeated")
    _add_class(parser)
    parser.add_argument("-o", "--out", help="folder of the candidates, their sheet, and the page to look at them")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.set_defaults(run=run_search)


def _add_class(parser: argparse.ArgumentParser) -> None:
    """What a class is and how it is learnt."""
    parser.add_argument("--target", required=True, help="the class: an answer, a label or a boolean column")
    parser.add_argument("--against", help="the only other class (default: all galaxies that are not of the class)")
    parser.add_argument("--threshold", type=float, default=0.5, help="vote fraction of a member (default: 0.5)")
    parser.add_argument("--cut", type=float, help="vote fraction of the questions before it (default: as published)")
    parser.add_argument("--reader", default="choosing", help="vote reader, for features (default: choosing)")
    parser.add_argument("--training-steps", type=int, default=400, help="of the network (default: 400)")
    parser.add_argument("--images", metavar="COLUMN", default="image", help="image column (default: image)")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    _add_drawing(parser)
    _add_conditions(parser)


def _add_card(parser: Any) -> None:
    parser.add_argument("--survey", metavar="CARD", help="what the cutouts are (.toml; see 'galaxysd survey --help')")


def _add_survey(commands: Any) -> None:
    parser = _command(commands, "survey", "say what a survey's cutouts are, and what can be done with them", _SURVEY)
    parser.add_argument("table", metavar="TABLE")
    _add_card(parser)
    parser.add_argument("--images", metavar="COLUMN", help="image column (default: what the card says, else image)")
    parser.add_argument("--weights", default="mini", help="weights to draw with (default: mini)")
    parser.add_argument("-n", type=int, default=200, help="cutouts to measure (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed chooses the same cutouts (default: 0)")
    parser.add_argument("--threads", type=int, help="processor threads (default: all)")
    parser.add_argument("-o", "--out", help="write display cutouts: .fits, .parquet, or a folder")
    parser.add_argument("--framed", action="store_true", help="cut out and scale as the weights' training images were")
    parser.add_argument("--sheet", metavar="FILE", help="contact sheet (default: OUT with .png)")
    parser.add_argument("--overwrite", action="store_true", help="replace existing output")
    parser.set_defaults(run=run_survey, hdus=None)


def _add_judging(parser: argparse.ArgumentParser, *, reader: str, out: str) -> None:
    parser.add_argument("--reader", default=reader, help=f"name or file of a vote reader (default: {reader})")
    parser.add_argument("--images", metavar="COLUMN", default="image", help="image column (default: image)")
    parser.add_argument("--schema", help="dialect of the vote columns (default: the most complete)")
    parser.add_argument("--id-column", help="column of identifiers (default: id, objid, ...)")
    parser.add_argument("--cache", metavar="FOLDER", help="keep what was measured of images for the next time")
    parser.add_argument("--seed", type=int, default=0, help="the same seed chooses the same rows (default: 0)")
    parser.add_argument("--threads", type=int, help="processor threads (default: all)")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    parser.add_argument("-o", "--out", help=out)


def _add_train(commands: Any) -> None:
    parser = _command(commands, "train", "train or fine-tune a model, or go on training", _TRAIN)
    parts = parser.add_subparsers(title="parts", required=True, metavar="PART")
    part = _add_run(parts, "autoencoder", "the autoencoder of the embedded model", preset="mini")
    part = _add_run(parts, "diffusion", "the embedded model, from nothing", preset="mini")
    part.add_argument("--autoencoder", required=True, help="folder of the trained autoencoder")
    part.add_argument("--start-from", metavar="FOLDER", help="weights that a new run begins with")
    _add_validation(part)
    _add_promotion(part)
    part = _add_run(
        parts, "finetune", "Stable Diffusion, or another complete model, on a table", preset="galaxysd-paper"
    )
    _add_base(part)
    _add_validation(part)
    _add_promotion(part)
    part = _add_run(parts, "refine", "a trained model by how what it draws differs from real galaxies", preset="mini")
    _add_base(part)
    part.add_argument(
        "--reader", required=True, metavar="FILE", help="reader of votes trained on the same rows, for nothing else"
    )
    part.add_argument("--embedder", metavar="FILE", help="embedder trained on them too, in whose space to compare")
    _add_validation(part, every=100)
    _add_promotion(part)
    _add_run(parts, "reader", "a reader of votes, which evaluations ask what a galaxy is", preset="mini")
    _add_run(parts, "embedder", "an embedder, in whose space evaluations measure distances", preset="mini")
    part = parts.add_parser("pack", help="data, weights and code for a machine with torch, diffusers and transformers")
    _add_debug(part)
    _add_data(part)
    part.add_argument("-o", "--out", required=True, help="folder of the pack")
    part.add_argument("--weights", metavar="FOLDER", help="weights to go on from")
    part.add_argument("--validation", action="append", default=[], help="table with validation rows; may be repeated")
    part.add_argument("--overwrite", action="store_true", help="replace a pack that is there")
    part.set_defaults(run=run_pack)


def _add_run(parts: Any, name: str, summary: str, *, preset: str) -> argparse.ArgumentParser:
    part: argparse.ArgumentParser = parts.add_parser(
        name, help=summary, description=f"Train {summary}; goes on if the run exists."
    )
    _add_debug(part)
    _add_data(part)
    part.add_argument("--run", dest="folder", required=True, help="folder of the run")
    part.add_argument("--preset", default=preset, help=f"a preset's name, or a .toml file (default: {preset})")
    part.add_argument("--set", action="append", metavar="NAME=VALUE", help="change a setting; may be repeated")
    part.add_argument("--steps", type=int, help="steps altogether")
    part.add_argument("--minutes", type=float, help="stop after so long; the same command goes on")
    part.add_argument("--threads", type=int, help="processor threads (default: all)")
    part.add_argument("--no-progress", action="store_true", help="no progress bar")
    part.set_defaults(run=run_train, part=name)
    return part


def _add_data(part: argparse.ArgumentParser) -> None:
    part.add_argument("--data", action="append", required=True, help="table with images, or a pack; may be repeated")
    part.add_argument("--images", metavar="COLUMN", default="image", help="image column (default: image)")
    part.add_argument("--schema", help="dialect of the vote columns (default: the most complete)")


def _add_base(part: argparse.ArgumentParser) -> None:
    part.add_argument(
        "--base",
        required=True,
        metavar="FOLDER|NAME",
        help="diffusers folder of the model to start from, or installed weights such as mini",
    )


def _add_promotion(part: argparse.ArgumentParser) -> None:
    part.add_argument(
        "--promote",
        metavar="FOLDER",
        nargs="?",
        const="mini",
        help="put the weights there if their figures on the validation rows are better than those of the weights that "
        "are there (default: where the embedded model is)",
    )


def _add_validation(part: argparse.ArgumentParser, *, every: int = 1000) -> None:
    part.add_argument("--validation", action="append", default=[], help="table with validation rows; may be repeated")
    part.add_argument(
        "--watch-every", type=int, default=every, help=f"steps between sample sheets and figures (default: {every})"
    )
    part.add_argument(
        "--no-watch", action="store_true", help="no sample sheets and figures; a short run waits for them"
    )
