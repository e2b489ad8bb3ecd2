"""Training, as ``galaxysd train`` does it: tables in; a run that goes on, its figures, and weights out."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_galaxysd.diffusion.components import is_weights_folder, load_components
from astro_galaxysd.diffusion.data import VALIDATION_SPLITS, read_training_set
from astro_galaxysd.diffusion.diffuse import ConditionedRun, DiffusionRun
from astro_galaxysd.diffusion.finetune import FinetuneRun
from astro_galaxysd.diffusion.generator import weights_folder
from astro_galaxysd.diffusion.recipes import AutoencoderRecipe, DiffusionRecipe, FinetuneRecipe, RefineRecipe
from astro_galaxysd.diffusion.reconstruct import AutoencoderRun
from astro_galaxysd.diffusion.refine import RefineRun
from astro_galaxysd.errors import TrainingError, UnknownNameError
from astro_galaxysd.evaluation.appearance import Appearance
from astro_galaxysd.evaluation.domain import record_domain
from astro_galaxysd.evaluation.embedding import GalaxyEmbedder
from astro_galaxysd.evaluation.judges import JUDGES
from astro_galaxysd.evaluation.reading import ImageReader
from astro_galaxysd.images.codec import fit_size
from astro_galaxysd.images.files import atomic_folder
from astro_galaxysd.learning.recipes import make_recipe
from astro_galaxysd.learning.trainingids import check_teacher, write_training_ids
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.records import WeightCard
from astro_galaxysd.survey.domain import read_domain
from astro_galaxysd.watching import Watcher
from astro_galaxysd.weightcards import weight_card

if TYPE_CHECKING:
    from astro_galaxysd.learning.trainingset import TrainingSet

__all__ = [
    "HARDWARE",
    "finetune",
    "fit_to",
    "read_splits",
    "refine",
    "train_autoencoder",
    "train_diffusion",
    "train_judge",
    "write_training_pack",
]

PathLike = str | os.PathLike[str]
#: In a run's folder: on what it ran.
HARDWARE = "hardware.json"

logger = logging.getLogger(__name__)


def train_autoencoder(
    data: Sequence[PathLike],
    folder: PathLike,
    settings: Mapping[str, Any] | None = None,
    *,
    preset: str = "mini",
    minutes: float | None = None,
    column: str = "image",
    schema: str | None = None,
    progress: bool = True,
) -> Path:
    """Train an autoencoder, or go on; return its folder.

    Parameters
    ----------
    data : sequence of path
        Tables or data packs with images, with or without votes.
    folder : path
        Of the run.
    settings : mapping, optional
        Fields of `AutoencoderRecipe` that differ from the preset.
    preset : str
        Name of a preset or a TOML file.
    minutes : float, optional
        Stop after so long; the same call goes on.
    column, schema, progress
        Image column; dialect of the votes; whether to show a bar.

    Raises
    ------
    TrainingError, UnknownNameError, ImageError, ConditionError
        For recipes, tables and runs that can't be used.
    """
    folder, until = Path(folder), _until(minutes)
    recipe = make_recipe(AutoencoderRecipe, folder, settings or {}, preset)
    run = AutoencoderRun(folder, read_training_set(data, votes=False, column=column, schema=schema), recipe)
    run.resume()
    run.run(progress=progress, until=until)
    if run.engine.rank == 0:
        with atomic_folder(folder / "autoencoder", overwrite=True, ours=_is_autoencoder) as partial:
            run.export(partial)
    return folder / "autoencoder"


def _is_autoencoder(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def train_diffusion(
    data: Sequence[PathLike],
    folder: PathLike,
    autoencoder: PathLike,
    settings: Mapping[str, Any] | None = None,
    *,
    preset: str = "mini",
    start_from: PathLike | None = None,
    validation: Sequence[PathLike] = (),
    watch_every: int | None = 1000,
    minutes: float | None = None,
    column: str = "image",
    schema: str | None = None,
    progress: bool = True,
) -> Path:
    """Train the diffusion model from nothing, or go on; return the folder of the complete weights.

    Parameters
    ----------
    data : sequence of path
        Tables or data packs with images and votes.
    folder, autoencoder : path
        Of the run; of the trained autoencoder.
    settings : mapping, optional
        Fields of `DiffusionRecipe` that differ from the preset.
    preset : str
        Name of a preset or a TOML file.
    start_from : path, optional
        Weights folder that a new run begins with, with the tokenizer and sizes of the recipe.
    validation : sequence of path
        Tables whose validation rows are drawn and measured every `watch_every` steps; none: only sheets are drawn.
    watch_every : int, optional
        Steps between sample sheets and figures, which come after the last step too; 0: then alone, None: never.
    minutes : float, optional
        Stop after so long; the same call goes on.
    column, schema, progress
        Image column; dialect of the votes; whether to show a bar.

    Raises
    ------
    TrainingError, UnknownNameError, ImageError, ConditionError, WeightsError
        For recipes, tables, weights and runs that can't be used.
    """
    folder, until = Path(folder), _until(minutes)
    recipe = make_recipe(DiffusionRecipe, folder, settings or {}, preset)
    training, held_back = read_splits(data, validation, column, schema)
    run = DiffusionRun(folder, training, Path(autoencoder), recipe)
    if not run.resume() and start_from is not None:
        run.begin_with(Path(start_from))
    return _train(run, held_back, watch_every, until, progress)


def finetune(
    data: Sequence[PathLike],
    folder: PathLike,
    base: PathLike,
    settings: Mapping[str, Any] | None = None,
    *,
    preset: str = "galaxysd-paper",
    validation: Sequence[PathLike] = (),
    watch_every: int | None = 1000,
    minutes: float | None = None,
    column: str = "image",
    schema: str | None = None,
    progress: bool = True,
) -> Path:
    """Fine-tune a complete model on a table of one's own, or go on; return the folder of the complete weights.

    Parameters
    ----------
    base : path
        Diffusers folder of the model to start from, such as Stable Diffusion 1.5, or our own weights, by folder or by
        a name of ``galaxysd plugins``; the preset ``"mini"`` has settings for those.
    data, folder, settings, preset, validation, watch_every, minutes, column, schema, progress
        As `train_diffusion`; settings are fields of `FinetuneRecipe`.

    Raises
    ------
    TrainingError, UnknownNameError, ImageError, ConditionError, WeightsError, MissingDependencyError
        For recipes, tables, weights and runs that can't be used, and adapters without peft.
    """
    folder, until = Path(folder), _until(minutes)
    recipe = make_recipe(FinetuneRecipe, folder, settings or {}, preset)
    training, held_back = read_splits(data, validation, column, schema)
    run = FinetuneRun(folder, training, _base_folder(base), recipe)
    run.resume()
    return _train(run, held_back, watch_every, until, progress)


def refine(
    data: Sequence[PathLike],
    folder: PathLike,
    base: PathLike,
    reader: PathLike,
    settings: Mapping[str, Any] | None = None,
    *,
    embedder: PathLike | None = None,
    preset: str = "mini",
    validation: Sequence[PathLike] = (),
    watch_every: int | None = 100,
    minutes: float | None = None,
    column: str = "image",
    schema: str | None = None,
    progress: bool = True,
) -> Path:
    """Refine a trained model by how what it draws differs from real galaxies, or go on; return its complete weights.

    Parameters
    ----------
    base : path
        As `finetune`.
    reader : path
        A reader of votes that `train_judge` trained on the same rows, used for nothing else: what is drawn for a reader
        looks too good to it.
    embedder : path, optional
        An embedder of the same kind, in whose space drawn galaxies are compared with real ones too.
    data, folder, settings, preset, validation, watch_every, minutes, column, schema, progress
        As `train_diffusion`; settings are fields of `RefineRecipe`.

    Raises
    ------
    TrainingError, UnknownNameError, ImageError, ConditionError, WeightsError, MissingDependencyError
        As `finetune`, and for a reader or an embedder that can't be used.
    """
    folder, until = Path(folder), _until(minutes)
    recipe = make_recipe(RefineRecipe, folder, settings or {}, preset)
    teacher = ImageReader.load(reader)
    describing = None if embedder is None else GalaxyEmbedder(embedder)
    training, held_back = read_splits(data, validation, column, schema)
    for kind, path in {"reader": reader, "embedder": embedder}.items():
        if path is not None:
            check_teacher(kind, path, held_back.ids if held_back else ())
    run = RefineRun(
        folder,
        training,
        _base_folder(base),
        recipe,
        lambda images, device: Appearance(teacher, images, embedder=describing, rng=recipe.seed, device=device),
    )
    run.resume()
    return _train(run, held_back, watch_every, until, progress)


def _base_folder(base: PathLike) -> Path:
    """Folder of a base that is given as a path, or by the name of weights that are installed."""
    if Path(base).is_dir() or os.fspath(base) not in get_registry().records_of("weights"):
        return Path(base)
    return weights_folder(weight_card(base))


def train_judge(
    kind: str,
    data: Sequence[PathLike],
    folder: PathLike,
    settings: Mapping[str, Any] | None = None,
    *,
    preset: str = "mini",
    minutes: float | None = None,
    column: str = "image",
    schema: str | None = None,
    progress: bool = True,
) -> Path:
    """Train a reader of votes or an embedder, or go on; return its file.

    Parameters
    ----------
    kind : str
        ``"reader"`` or ``"embedder"``.
    data, folder, minutes, column, schema, progress
        As `train_diffusion`; an embedder looks at no votes, so tables may lack them.
    settings : mapping, optional
        Fields of `ReaderRecipe` or `EmbedderRecipe` that differ from the preset.
    preset : str
        Name of a preset or a TOML file: ``"mini"`` has the reader that reports and the embedder, ``"choosing"`` the
        reader that chooses.

    Returns
    -------
    Path
        ``folder/KIND.safetensors``; the ids of the rows it saw are beside it, hashed (`write_training_ids`).

    Raises
    ------
    TrainingError, UnknownNameError, ImageError, ConditionError
        For recipes, tables and runs that can't be used.
    """
    if kind not in JUDGES:
        raise UnknownNameError("kind of judge", kind, JUDGES)
    folder, until = Path(folder), _until(minutes)
    recipe_of, run_of = JUDGES[kind]
    training = read_training_set(data, votes=kind == "reader", column=column, schema=schema)
    run = run_of(folder, training, make_recipe(recipe_of, folder, settings or {}, preset))
    run.resume()
    if not run.run(progress=progress, until=until):
        logger.warning("stopped at step %d of %d; the same command goes on", run.step, run.recipe.steps)
    file = folder / f"{kind}.safetensors"
    if run.engine.rank == 0:
        run.export(file)
        write_training_ids(folder, training.ids)
    return file


def read_splits(
    data: Sequence[PathLike], validation: Sequence[PathLike], column: str, schema: str | None
) -> tuple[TrainingSet, TrainingSet | None]:
    """Training rows of tables, and validation rows that are none of them, or None where no table is given.

    Raises
    ------
    TrainingError
        If a row is in both.
    """
    training = read_training_set(data, votes=True, column=column, schema=schema)
    if not validation:
        return training, None
    held_back = read_training_set(validation, votes=True, column=column, schema=schema, splits=VALIDATION_SPLITS)
    shared = sorted(set(training.ids) & set(held_back.ids))
    if shared:
        raise TrainingError(
            f"{len(shared)} validation rows are trained on too: {', '.join(shared[:5])}; figures on them would say "
            "nothing. Take them out of one of the tables; a column 'split' without empty rows and a column 'id' tell "
            "them apart."
        )
    return training, held_back


def _until(minutes: float | None) -> float | None:
    if minutes is None:
        return None
    if minutes <= 0:
        raise TrainingError(f"minutes = {minutes}: give more than 0, or none to train to the last step")
    return time.time() + 60 * minutes


def _train(
    run: ConditionedRun, held_back: TrainingSet | None, watch_every: int | None, until: float | None, progress: bool
) -> Path:
    watcher, held_back = None, fit_to(held_back, run.data)
    if watch_every is not None:
        card = WeightCard("run", str(run.folder), **run.sampling)
        watcher = Watcher(run.folder, run.data, held_back, card=card)
    finished = run.run(progress=progress, until=until, watch=watcher, watch_every=watch_every or 0)
    if not finished:
        logger.warning("stopped at step %d of %d; the same command goes on", run.step, run.recipe.steps)
    weights = run.folder / "weights"
    if run.engine.rank == 0:
        (run.folder / HARDWARE).write_text(json.dumps({"hardware": run.engine.hardware()}) + "\n")
        known = read_domain(weights)  # a run that goes on has the same rows
        with atomic_folder(weights, overwrite=True, ours=is_weights_folder) as partial:
            record_domain(partial, run.data.images, None if held_back is None else held_back.images, known=known)
            run.export(partial)
    return weights


def fit_to(held_back: TrainingSet | None, data: TrainingSet) -> TrainingSet | None:
    """Validation rows at the size of the images that are trained on."""
    side = data.images.shape[1:3]
    if held_back is None or held_back.images.shape[1:3] == side:
        return held_back
    return replace(held_back, images=fit_size(held_back.images, side))


def write_training_pack(
    data: Sequence[PathLike],
    folder: PathLike,
    *,
    weights: PathLike | None = None,
    validation: Sequence[PathLike] = (),
    column: str = "image",
    schema: str | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Write a data pack: images, votes and the code to go on with training where only torch and its kin are.

    Parameters
    ----------
    data : sequence of path
        Tables with images and votes.
    folder : path
        Of the pack.
    weights : path, optional
        Complete weights to go on from.
    validation : sequence of path
        Tables whose validation rows are packed too.
    column, schema
        Image column; dialect of the votes.
    overwrite : bool
        Whether to replace a pack that is there.
    **options
        As `astro_galaxysd.diffusion.pack.write_pack`.

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    TrainingError, ConditionError, WeightsError, OutputError
        For tables, weights and folders that can't be used.
    """
    from astro_galaxysd.diffusion.pack import write_pack

    training, held_back = read_splits(data, validation, column, schema)
    names = [os.fspath(path) for path in data]
    options.setdefault("recipe", _recipe_of(weights))
    return write_pack(
        training, folder, weights=weights, holdout=held_back, source=names, overwrite=overwrite, **options
    )


def _recipe_of(weights: PathLike | None) -> dict[str, dict[str, Any]] | None:
    """Sizes of the embedded model's parts, so that a run elsewhere builds the same; None for other models."""
    if weights is None or not is_weights_folder(Path(weights)):
        return None
    parts = load_components(weights)
    sizes = {
        "width": list(parts.unet.config.block_out_channels),
        "text_width": parts.text_encoder.config.hidden_size,
        "text_layers": parts.text_encoder.config.num_hidden_layers,
    }
    return {"diffusion": sizes}
