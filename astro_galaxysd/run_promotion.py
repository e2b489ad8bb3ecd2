"""A finished run's weights measured against those that are there, which they replace if they are better."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_galaxysd.diffusion.components import load_components
from astro_galaxysd.diffusion.diffuse import BASE_IDS
from astro_galaxysd.diffusion.finetune import BASE
from astro_galaxysd.diffusion.generator import weights_folder
from astro_galaxysd.errors import TrainingError
from astro_galaxysd.evaluation.domain import measure_domain
from astro_galaxysd.modelcard import CardFacts
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.promotion import measure_weights, promote
from astro_galaxysd.survey.domain import Domain, read_domain
from astro_galaxysd.training import HARDWARE, PathLike, fit_to, read_splits
from astro_galaxysd.watching import FEWEST_ROWS, fitted_reader
from astro_galaxysd.weightcards import weight_card

if TYPE_CHECKING:
    from astro_galaxysd.learning.trainingset import TrainingSet

__all__ = ["check_promotion", "promote_run"]


def promote_run(
    folder: PathLike,
    data: Sequence[PathLike],
    validation: Sequence[PathLike],
    target: PathLike = "mini",
    *,
    n: int = 256,
    command: str = "",
    column: str = "image",
    schema: str | None = None,
) -> str:
    """Put a run's weights in the place of others, with a model card, if they are better on validation rows.

    Parameters
    ----------
    folder : path
        Of the run; its ``weights`` are measured.
    data, validation : sequence of path
        What the run was trained on; tables with validation rows.
    target : path
        Folder to replace, or a name of weights that are installed.
    n : int
        Rows to draw with both weights.
    command : str
        With which training goes on, for the model card.
    column, schema
        Image column; dialect of the votes.

    Returns
    -------
    str
        Whether they were replaced and why, a sentence.

    Raises
    ------
    TrainingError, WeightsError, OutputError
        If there is nothing to compare, or the folder can't be written; it is then as it was.
    """
    folder, place = Path(folder), check_promotion(target, validation)
    training, held_back = read_splits(data, validation, column, schema)
    held_back = fit_to(held_back, training)
    if held_back is None or len(held_back.ids) < FEWEST_ROWS:
        raise TrainingError(f"weights are compared on {FEWEST_ROWS} validation rows or more; give tables with them")
    n = min(n, len(held_back.ids) // 2)
    card = _card_facts(folder, place.name, data, validation, training, held_back, command)
    reader = fitted_reader(folder, training)
    new = measure_weights(folder / "weights", held_back, reader, n=n)
    old = measure_weights(place, held_back, reader, n=n) if place.is_dir() else None
    domain = _domain(folder / "weights", place, training, held_back)
    done, reason = promote(folder / "weights", place, measured_new=new, measured_old=old, card=card, domain=domain)
    return f"{'replaced' if done else 'kept'} {place}: {reason}"


def check_promotion(target: PathLike, validation: Sequence[PathLike]) -> Path:
    """The folder to promote weights to; raises before hours of training for what would fail after them.

    Parameters
    ----------
    target : path
        Folder, or a name of weights that are installed.
    validation : sequence of path
        Tables with validation rows.

    Raises
    ------
    TrainingError
        If there are no validation rows, or no folder to put the weights into.
    UnknownNameError
        If a plain name is neither of weights nor of a folder here.
    """
    if not validation:
        raise TrainingError("weights are compared on validation rows: give tables with them (--validation)")
    known = os.fspath(target) in get_registry().records_of("weights")
    if known or not (os.sep in os.fspath(target) or Path(target).is_dir()):
        card = weight_card(target)
        if card.location.startswith("hub:"):
            raise TrainingError(f"{target} are weights on the Hub, which are not replaced here; name a folder")
        return weights_folder(card)
    place = Path(target).expanduser()
    if not place.resolve().parent.is_dir():
        raise TrainingError(f"{place}: its folder {place.resolve().parent} does not exist; make it first")
    return place


def _domain(weights: Path, place: Path, training: TrainingSet, held_back: TrainingSet) -> Domain | None:
    """Record of the training cutouts; what a table does not tell is as for the weights that drew the same rows before.

    Both were measured on the same validation rows, which are of one survey.
    """
    domain = read_domain(weights) or measure_domain(training.images, held_back.images)
    before = read_domain(place)
    if domain is None or before is None:
        return domain
    return replace(domain, bands=before.bands, survey=before.survey, seeing=before.seeing)


def _card_facts(
    folder: Path,
    name: str,
    data: Sequence[PathLike],
    validation: Sequence[PathLike],
    training: TrainingSet,
    held_back: TrainingSet,
    command: str,
) -> CardFacts:
    try:
        with (folder / "log.csv").open(newline="") as stream:
            log = list(csv.DictReader(stream))
    except OSError as error:
        raise TrainingError(
            f"{folder / 'log.csv'} can't be read ({error.strerror}); is this a run's folder?"
        ) from error
    if not log:
        raise TrainingError(f"{folder / 'log.csv'} is empty: the run has not done a step yet; train first")
    times = [float(row["unix_time"]) for row in log]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    usual = sorted(pauses)[len(pauses) // 2] if pauses else 0.0
    hardware, begun = folder / HARDWARE, _record(folder)
    recipe, known = json.loads((folder / "recipe.json").read_text()), folder / BASE_IDS
    return CardFacts(
        name=name,
        summary=_summary(folder / "weights"),
        data={" and ".join(Path(path).name for path in data): len(training.ids)},
        validation=f"{len(held_back.ids):,} rows of {' and '.join(Path(path).name for path in validation)}",
        recipe=recipe,
        steps=int(log[-1]["step"]),
        images=int(log[-1]["images"]),
        # the first stretch has no time of its own; pauses between two stretches of a run are not work
        seconds=usual + sum(min(pause, 3 * usual) for pause in pauses),
        hardware=json.loads(hardware.read_text())["hardware"] if hardware.exists() else "hardware that was not noted",
        command=command or _next(recipe, begun),
        training_ids=training.ids,
        base=begun.get("revision", ""),
        base_ids=known.read_text(encoding="utf-8").split() if known.is_file() else (),
        reader=begun.get("reader", ""),
        embedder=begun.get("embedder", ""),
        # records of former runs lack it; all but fine-tuning went on with the embedded model
        licence=begun.get("licence", "" if begun.get("stage") == "finetune" else "bsd-3-clause"),
        base_model=begun.get("base_model", ""),
    )


def _record(folder: Path) -> dict[str, str]:
    """With what a run was begun; empty for one from nothing."""
    record = folder / BASE
    begun: dict[str, str] = json.loads(record.read_text()) if record.exists() else {}
    return begun


def _next(recipe: Mapping[str, Any], begun: Mapping[str, str]) -> str:
    """With which training goes on, by the stage of a run; former runs tell it by their recipe alone."""
    stage = begun.get("stage", "refine" if "drawing_steps" in recipe else "diffusion")
    if stage == "refine":
        embedder = " --embedder ..." if begun.get("embedder") else ""
        return f"galaxysd train refine --data ... --base FOLDER --reader ...{embedder} --run NEW_RUN"
    if stage == "finetune":
        return "galaxysd train finetune --data ... --base FOLDER --run NEW_RUN"
    return "galaxysd train diffusion --data ... --autoencoder ... --start-from FOLDER --run NEW_RUN"


def _summary(weights: Path) -> str:
    components = load_components(weights)
    size = {part: sum(p.numel() for p in getattr(components, part).parameters()) / 1e6
            for part in ("unet", "text_encoder", "vae")}  # fmt: skip
    side = components.image_size
    return (
        f"A latent diffusion model of galaxies at {side}x{side} pixels, conditioned on Galaxy Zoo 2 votes: a UNet of "
        f"{size['unet']:.1f} M parameters, a CLIP text encoder of {size['text_encoder']:.1f} M and an autoencoder "
        f"({type(components.vae).__name__}, {components.vae.config.latent_channels} latent channels) of "
        f"{size['vae']:.1f} M, which was trained before, without votes."
    )
