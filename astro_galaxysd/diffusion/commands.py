"""What ``galaxysd train`` does: read the data, go on with the run or start it, leave weights in the run's folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from astro_galaxysd.diffusion.captions import CaptionStyle
from astro_galaxysd.diffusion.components import load_components, save_components
from astro_galaxysd.diffusion.data import read_training_set
from astro_galaxysd.diffusion.runs import Recipe
from astro_galaxysd.diffusion.train import AutoencoderRecipe, AutoencoderRun, DiffusionRecipe, DiffusionRun
from astro_galaxysd.errors import TrainingError, UnknownNameError

__all__ = ["make_recipe", "train_autoencoder", "train_diffusion"]

R = TypeVar("R", bound=Recipe)


def make_recipe(kind: type[R], folder: Path, settings: Mapping[str, Any]) -> R:
    """The recipe of a run: its own if it has one, the defaults if not, with `settings` on top.

    Raises
    ------
    UnknownNameError
        If a setting is none of the recipe's.
    TrainingError
        If a setting has a value of the wrong type, or the stored recipe can't be read.
    """
    stored: dict[str, Any] = {}
    path = folder / "recipe.json"
    if path.exists():
        try:
            stored = json.loads(path.read_text())
        except ValueError as error:
            raise TrainingError(f"{path}: can't be read ({error}); remove it to start with the defaults") from error
    known = {field.name for field in fields(kind)}
    for name in settings:
        if name not in known:
            raise UnknownNameError("setting", name, known)
    values = {name: value for name, value in {**stored, **settings}.items() if name in known}
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
    try:
        if isinstance(values.get("captions"), Mapping):
            values["captions"] = CaptionStyle(**values["captions"])
        recipe = kind(**values)
        valid = recipe.steps > 0 and recipe.batch_size > 0 and recipe.learning_rate > 0
    except TypeError as error:
        raise TrainingError(f"recipe: {error}; see {path.name} of a run for names and types") from error
    if not valid:
        raise TrainingError(
            f"recipe: steps={recipe.steps}, batch_size={recipe.batch_size}, learning_rate={recipe.learning_rate}; "
            "all must be above 0"
        )
    return recipe


def train_autoencoder(
    data: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    settings: Mapping[str, Any] | None = None,
    *,
    column: str = "image",
    schema: str | None = None,
    progress: bool = True,
) -> Path:
    """Train the decoder, or go on; return the folder of the autoencoder.

    Parameters
    ----------
    data : sequence of path
        Tables with images, with or without votes.
    folder : path
        Of the run.
    settings : mapping, optional
        Fields of `AutoencoderRecipe`.
    column, schema, progress
        Image column; dialect of the votes; whether to show a bar.
    """
    folder = Path(folder)
    recipe = make_recipe(AutoencoderRecipe, folder, settings or {})
    images = read_training_set(data, votes=False, column=column, schema=schema).images
    run = AutoencoderRun(folder, images, recipe)
    run.resume()
    run.run(progress=progress)
    run.export(folder / "autoencoder")
    return folder / "autoencoder"


def train_diffusion(
    data: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    autoencoder: str | os.PathLike[str],
    settings: Mapping[str, Any] | None = None,
    *,
    start_from: str | os.PathLike[str] | None = None,
    column: str = "image",
    schema: str | None = None,
    progress: bool = True,
) -> Path:
    """Train the diffusion model, or go on; return the folder of the complete weights.

    Parameters
    ----------
    data : sequence of path
        Tables with images and votes.
    folder, autoencoder : path
        Of the run; of the trained autoencoder.
    settings : mapping, optional
        Fields of `DiffusionRecipe`.
    start_from : path, optional
        Weights folder that a new run begins with, with the tokenizer and sizes of the recipe.
    column, schema, progress
        Image column; dialect of the votes; whether to show a bar.
    """
    folder = Path(folder)
    recipe = make_recipe(DiffusionRecipe, folder, settings or {})
    training = read_training_set(data, votes=True, column=column, schema=schema)
    run = DiffusionRun(folder, training.images, training.fractions, Path(autoencoder), recipe)
    if not run.resume() and start_from is not None:
        trained = load_components(start_from)
        run.start_from({"unet": trained.unet, "text_encoder": trained.text_encoder})
    run.run(progress=progress)
    save_components(run.components(), folder / "weights")
    return folder / "weights"
