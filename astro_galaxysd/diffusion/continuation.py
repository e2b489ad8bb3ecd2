"""Going on with training for some minutes, from a data pack: ``python -m astro_galaxysd.diffusion.continuation``.

For machines that are there for a while and have torch, diffusers and transformers, but not this package: it runs from
the pack's ``code.zip``. What comes out are weights in files of limited size, the log and a report; `galaxysd train`
goes on from them with ``--start-from``. The run's folder holds a checkpoint as always: the same command goes on there.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import platform
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from astro_galaxysd.diffusion.autoencoder import psnr
from astro_galaxysd.diffusion.components import load_autoencoder
from astro_galaxysd.diffusion.diffuse import DiffusionRun
from astro_galaxysd.diffusion.pack import pack_content, pack_weights, read_holdout, read_pack
from astro_galaxysd.diffusion.pieces import split_weights, write_pieces
from astro_galaxysd.diffusion.recipes import AutoencoderRecipe, DiffusionRecipe
from astro_galaxysd.diffusion.reconstruct import AutoencoderRun
from astro_galaxysd.errors import GalaxySDError, TrainingError
from astro_galaxysd.images.files import atomic_folder, atomic_path
from astro_galaxysd.learning.recipes import make_recipe, parse_settings
from astro_galaxysd.learning.trainingset import TrainingSet
from astro_galaxysd.learning.views import pixels_of

__all__ = ["FOLDERS", "continue_training", "main"]

logger = logging.getLogger(__name__)

_MB = 1_000_000
#: Folder of the result of each part.
FOLDERS = {"diffusion": "weights", "autoencoder": "autoencoder"}
_INTERRUPTED = 130  # what shells report for Ctrl-C


def continue_training(
    pack: Path,
    run: Path,
    out: Path,
    *,
    minutes: float,
    part: str = "diffusion",
    start_from: Path | None = None,
    fresh: bool = False,
    preset: str = "mini",
    settings: Mapping[str, Any] | None = None,
    shard_mb: float = 15.0,
    keep_state: bool = False,
    zipped: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Train until the time is spent or the recipe's steps are done, and leave the result.

    Parameters
    ----------
    pack : Path
        From `write_pack`.
    run : Path
        Folder of the run, new or one to go on with.
    out : Path
        Gets ``weights`` (or ``autoencoder``), ``log.csv`` and ``report.json``; an earlier result there is replaced.
    minutes : float
        From the call to the last step; writing the result takes some seconds more.
    part : str
        ``"diffusion"`` or ``"autoencoder"``.
    start_from : Path, optional
        Weights that a new run begins with, or an autoencoder alone; the pack's unless given.
    fresh : bool
        Whether a new run begins from nothing: of the weights the autoencoder alone is used, for the latents.
    preset : str
        Name of the preset or a TOML file; the pack's settings come on top, for a new run.
    settings : mapping, optional
        Settings on top of all others.
    shard_mb : float
        Largest size of a file of weights, units of 1e6 bytes.
    keep_state : bool
        Whether the checkpoint comes too, in pieces ``state.zip.000`` ... (`join_pieces` into a run's folder).
    zipped : bool
        Whether the result is in pieces ``weights.zip.000`` ... instead of a folder, for places that take few files.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    dict
        What ``report.json`` says.

    Raises
    ------
    TrainingError, WeightsError, UnknownNameError
        If pack, checkpoint, weights or settings can't be used, or training fails.
    OutputError
        If the result can't be written.
    """
    began = time.time()
    limit = int(shard_mb * _MB)
    _refuse_other_files(out, part)
    base = start_from or pack_weights(pack)
    data = read_pack(pack)
    if data.unreadable:
        logger.warning("%d images can't be read: %s", len(data.unreadable), ", ".join([*data.unreadable][:5]))
    stored = {} if (run / "recipe.json").exists() else pack_content(pack)["recipes"].get(part, {})
    training = _make_run(part, run, data, base, fresh, preset, {**stored, **(settings or {})})
    if not training.resume() and base and not fresh:
        _start(training, base)
    report = _train(training, began + 60 * minutes, progress)
    if isinstance(training, AutoencoderRun):
        report |= _holdout_figures(training, read_holdout(pack))
    if keep_state:
        state = {path.name: path for path in (training.checkpoint, run / "recipe.json", run / "log.csv")}
        write_pieces({name: path for name, path in state.items() if path.exists()}, out / "state.zip", limit)
    _export(training, out / FOLDERS[part], limit, zipped)
    if (run / "log.csv").exists():
        with atomic_path(out / "log.csv", overwrite=True) as path:
            shutil.copyfile(run / "log.csv", path)
    with atomic_path(out / "report.json", overwrite=True) as path:
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def _refuse_other_files(out: Path, part: str) -> None:
    """Find out before the training whether the result can be written."""
    out.mkdir(parents=True, exist_ok=True)
    with suppress(_Rehearsed), atomic_folder(out / FOLDERS[part], overwrite=True, ours=_is_weights):
        raise _Rehearsed


class _Rehearsed(Exception):
    """Ends a block before the folder gets its final name."""


def _is_weights(folder: Path) -> bool:
    return (folder / "model_index.json").exists() or (folder / "config.json").exists()


def _make_run(
    part: str,
    folder: Path,
    data: TrainingSet,
    base: Path | None,
    fresh: bool,
    preset: str,
    settings: dict[str, Any],
) -> AutoencoderRun | DiffusionRun:
    if part == "autoencoder":
        if base and not fresh:
            settings.setdefault("linear_steps", 0)  # the linear code is that of the weights
        return AutoencoderRun(folder, data, make_recipe(AutoencoderRecipe, folder, settings, preset))
    if base is None:
        raise TrainingError(
            "the diffusion model learns in the latents of an autoencoder, and the data pack has none: "
            "give --start-from with weights or an autoencoder"
        )
    recipe = make_recipe(DiffusionRecipe, folder, settings, preset)
    return DiffusionRun(folder, data, base / "vae" if _is_complete(base) else base, recipe)


def _is_complete(folder: Path) -> bool:
    """Whether a folder holds all parts of a model, not an autoencoder alone."""
    return (folder / "model_index.json").exists()


def _start(training: AutoencoderRun | DiffusionRun, base: Path) -> None:
    """Begin with the parameters of `base`."""
    if isinstance(training, AutoencoderRun):
        training.start_from({"autoencoder": load_autoencoder(base / "vae" if _is_complete(base) else base)})
    elif _is_complete(base):
        training.begin_with(base)


def _train(training: AutoencoderRun | DiffusionRun, until: float, progress: bool) -> dict[str, Any]:
    """Train until the time is spent; return what there is to report."""
    first, began, interrupted = training.step, time.time(), False
    try:
        training.run(progress=progress, until=until)
    except KeyboardInterrupt:
        interrupted = True  # the run has saved; what it learnt is handed back all the same
    seconds, steps = time.time() - began, training.step - first
    images = steps * training.recipe.batch_size
    return {
        "part": "autoencoder" if isinstance(training, AutoencoderRun) else "diffusion",
        "step": training.step,
        "steps": training.recipe.steps,
        "finished": training.step >= training.recipe.steps,
        "interrupted": interrupted,
        "steps_done": steps,
        "images": images,
        "seconds": round(seconds, 1),
        "images_per_second": round(images / max(seconds, 1e-6), 1),
        "loss": _last_loss(training.folder / "log.csv"),
        "rows": len(training.data.ids),
        "unreadable": training.data.unreadable,
        "device": training.engine.hardware(),
        "precision": training.engine.precision,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _last_loss(log: Path) -> float | None:
    """Mean loss of the last steps that were logged; None if there are none."""
    if not log.exists():
        return None
    with log.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return float(rows[-1]["loss"]) if rows else None


def _holdout_figures(training: AutoencoderRun, holdout: TrainingSet | None) -> dict[str, float]:
    """Peak signal-to-noise ratio on images that were not trained on, dB."""
    if holdout is None or not len(holdout.images):
        return {}
    with training.averaged(), torch.no_grad():
        decoded = [_decoded(training, holdout.images[row : row + 64]) for row in range(0, len(holdout.images), 64)]
    return {"holdout_psnr": round(psnr(holdout.images, np.concatenate(decoded)), 3)}


def _decoded(training: AutoencoderRun, images: np.ndarray) -> np.ndarray:
    pixels = pixels_of(images, training.device)
    decoded = training.vae.decode(training.vae.encode(pixels).latents).sample
    grey: np.ndarray = decoded.add(1).mul(127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    return grey


def _export(training: AutoencoderRun | DiffusionRun, target: Path, limit: int, zipped: bool) -> None:
    """Write the averaged weights in files, or pieces of an archive, of limited size."""
    with atomic_folder(target, overwrite=True, ours=_is_weights) as partial:
        training.export(partial)
        split_weights(partial, limit)
    if zipped:
        files = [path for path in sorted(target.rglob("*")) if path.is_file()]
        write_pieces({path.relative_to(target).as_posix(): path for path in files}, target.with_suffix(".zip"), limit)
        shutil.rmtree(target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 1 for an error, 130 if it was interrupted."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    # what batch systems and `timeout` send saves as much as Ctrl-C does
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        report = continue_training(
            options.pack,
            options.run,
            options.out,
            minutes=options.minutes,
            part=options.part,
            start_from=options.start_from,
            fresh=options.fresh,
            preset=options.preset,
            settings={**parse_settings(options.set), **({"steps": options.steps} if options.steps else {})},
            shard_mb=options.shard_mb,
            keep_state=options.keep_state,
            zipped=options.zip,
        )
    except GalaxySDError as error:
        logger.error("error: %s", error)
        return 1
    except KeyboardInterrupt:
        logger.error("interrupted; the run's last checkpoint is kept")
        return _INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    logger.info("%s", json.dumps(report, indent=1))
    return _INTERRUPTED if report["interrupted"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m astro_galaxysd.diffusion.continuation", description="Go on with training from a data pack."
    )
    parser.add_argument("pack", type=Path, help="folder of the data pack")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run; one with a checkpoint goes on")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, log.csv and report.json")
    parser.add_argument("--minutes", type=float, required=True, help="to train, the start included")
    parser.add_argument("--part", choices=sorted(FOLDERS), default="diffusion", help="what to train")
    parser.add_argument("--start-from", type=Path, metavar="FOLDER", help="weights to begin with; default: the pack's")
    parser.add_argument("--fresh", action="store_true", help="begin from nothing; only the autoencoder is used")
    parser.add_argument("--preset", default="mini", help="name or TOML file of the settings")
    parser.add_argument("--steps", type=int, help="of the whole run")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="one setting of the recipe")
    parser.add_argument("--shard-mb", type=float, default=15.0, metavar="MB", help="largest file of the result")
    parser.add_argument("--keep-state", action="store_true", help="leave the checkpoint too, as state.zip.000 ...")
    parser.add_argument("--zip", action="store_true", help="leave weights.zip.000 ... instead of a folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
