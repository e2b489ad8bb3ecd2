"""The parts of a latent diffusion model and the folder they live in.

The folder is one that `diffusers.StableDiffusionPipeline.from_pretrained` loads and runs; weights are safetensors.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from astro_galaxysd.diffusion.autoencoder import LappedAutoencoder
from astro_galaxysd.diffusion.modelparts import NAMES, check_configuration, empty_part, filled
from astro_galaxysd.diffusion.parameternames import PARTS
from astro_galaxysd.diffusion.partfolders import read_part
from astro_galaxysd.diffusion.safefiles import MAX_HEADER, contained, read_json
from astro_galaxysd.errors import WeightsError

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

__all__ = [
    "ABOUT_TRAINING",
    "PARTS_OF_FOLDER",
    "SCHEDULER",
    "Components",
    "check_parts",
    "folder_revision",
    "is_weights_folder",
    "load_autoencoder",
    "load_components",
    "load_empty",
    "load_tokenizer",
    "new_text_encoder",
    "new_unet",
    "read_schedule",
    "save_components",
]

#: Noise schedule of our own weights: ends in pure noise (Lin et al. 2023), so brightness comes from the prompt alone.
SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "steps_offset": 1,
}

#: The name of `astro_galaxysd.survey.domain.DOMAIN_FILE`, which does not travel with a data pack as this module does.
ABOUT_TRAINING = "domain.safetensors"
#: Folders that a complete model has.
PARTS_OF_FOLDER = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
_SCHEDULE_NUMBERS = ("num_train_timesteps", "beta_start", "beta_end", "steps_offset")
#: What configurations say of how a part was read: nobody's business.
_READ_FROM = ("_name_or_path", "is_local", "local_files_only")


@dataclass
class Components:
    """A complete model in memory, float32, evaluation mode.

    Parameters
    ----------
    unet, vae, text_encoder, tokenizer
        diffusers and transformers models.
    scheduler : dict
        The noise schedule's configuration; samplers are made from it.
    revision : str
        Content hash of the folder they came from; empty for a model that was never saved.
    """

    unet: UNet2DConditionModel
    vae: Any
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: dict[str, Any]
    revision: str = ""

    @property
    def image_size(self) -> int:
        """Side of the images the UNet was configured for, pixels."""
        factor = 2 ** (
            len(self.vae.config.get("block_out_channels", self.vae.config.get("decoder_block_out_channels"))) - 1
        )
        return int(self.unet.config.sample_size * factor)


def new_unet(
    latent_channels: int, *, width: tuple[int, ...] = (96, 160, 192), text_width: int = 128, sample_size: int = 16
) -> UNet2DConditionModel:
    """The embedded UNet: convolutions at full latent resolution, attention to itself and to the prompt below it."""
    from diffusers import UNet2DConditionModel

    lower = len(width) - 1
    return UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=width,
        layers_per_block=1,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * lower),
        up_block_types=(*("CrossAttnUpBlock2D",) * lower, "UpBlock2D"),
        cross_attention_dim=text_width,
        attention_head_dim=4,  # diffusers reads this as the number of heads
        norm_num_groups=16,
    )


def new_text_encoder(tokenizer: CLIPTokenizer, *, width: int = 128, layers: int = 2) -> CLIPTextModel:
    """A small CLIP text encoder whose last norm starts with a bias of one.

    Weighted prompts rescale the whole tensor to its old mean (Ma et al. 2026). With a mean near zero that divides
    noise by noise; a bias of one keeps the ratio close to one.
    """
    from transformers import CLIPTextConfig, CLIPTextModel

    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    with torch.no_grad():
        model.get_submodule(
            "final_layer_norm" if hasattr(model, "final_layer_norm") else "text_model.final_layer_norm"
        ).bias.fill_(1.0)
    return model


def load_autoencoder(folder: Path) -> LappedAutoencoder:
    """Read an autoencoder's folder; evaluation mode, float32.

    Raises
    ------
    WeightsError
        If the folder is not there or can't be read.
    """
    folder = Path(folder)
    with _reading(folder, "autoencoder"):
        _, tensors = read_part(folder, folder)
        loaded = filled(empty_part("vae", folder, LappedAutoencoder), tensors, "vae", str(folder))
        autoencoder: LappedAutoencoder = loaded
        return autoencoder


def load_components(folder: str | os.PathLike[str]) -> Components:
    """Read a diffusers folder; float32, evaluation mode.

    Parts may be in one file or in several with an index, in full precision or, where there is nothing else, as a
    variant in half precision. What else the folder has, such as a safety checker, is left aside.

    Parameters
    ----------
    folder : path
        With ``model_index.json`` and the parts it names, safetensors only.

    Raises
    ------
    WeightsError
        If the folder or a part is missing, damaged, outside the folder, of another class than a stock one, has
        parameters too many or too few, or values that are not finite; the file or part is named.
    """
    folder = Path(folder)
    check_parts(folder, PARTS_OF_FOLDER)
    parts = {}
    for part in PARTS:
        empty = load_empty(folder, part)
        _, tensors = read_part(folder / part, folder)
        parts[part] = filled(empty, tensors, part, str(folder / part))
    return Components(
        **parts,
        tokenizer=load_tokenizer(folder),
        scheduler=read_schedule(folder),
        revision=folder_revision(folder),
    )


def check_parts(folder: Path, parts: Iterable[str]) -> None:
    """Raise `WeightsError` for a folder without ``model_index.json`` or without a folder of some of these parts."""
    if (folder / "model_index.json").exists():
        contained(folder / "model_index.json", folder)
    read_json(folder / "model_index.json")
    missing = [part for part in parts if not (folder / part).is_dir()]
    if missing:
        raise WeightsError(f"{folder}: no folder {', '.join(missing)}; copy the complete weights folder again")


def load_empty(folder: Path, part: str) -> Any:
    """A part of a diffusers folder as its configuration says, without memory for its parameters.

    Parameters
    ----------
    folder : Path
        With ``model_index.json``.
    part : str
        ``"unet"``, ``"vae"`` or ``"text_encoder"``.

    Raises
    ------
    WeightsError
        If the configuration is missing, outside the folder, or can't be followed; if the class is not known.
    """
    contained(folder / "model_index.json", folder)
    kind = _autoencoder_class(folder, read_json(folder / "model_index.json").get("vae")) if part == "vae" else None
    with _reading(folder / part, NAMES[part]):
        contained(folder / part / "config.json", folder)
        return empty_part(part, folder / part, kind)


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer of a diffusers folder.

    Raises
    ------
    WeightsError
        If it is missing, damaged, or has a file that is outside the folder.
    """
    from transformers import CLIPTokenizer

    with _reading(folder / "tokenizer", "tokenizer"):
        files = [contained(path, folder) for path in (folder / "tokenizer").iterdir()]
        large = [path for path in files if path.stat().st_size > MAX_HEADER]
        if large:
            raise WeightsError(f"{large[0]} has more than {MAX_HEADER:,} bytes: no tokenizer of words for CLIP")
        return CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)


def read_schedule(folder: Path) -> dict[str, Any]:
    """Configuration of the scheduler of a diffusers folder, whatever its class.

    Raises
    ------
    WeightsError
        If it is missing, can't be read, or has a noise schedule that can't be.
    """
    path = contained(folder / "scheduler" / "scheduler_config.json", folder)
    config = read_json(path)
    check_configuration({name: config[name] for name in _SCHEDULE_NUMBERS if name in config}, path)
    return config


def _autoencoder_class(folder: Path, entry: Any) -> Any:
    """The class that `entry` of model_index.json names, if it is one of those that are known to be safe."""
    import diffusers

    known = {
        ("diffusers", "AutoencoderTiny"): diffusers.AutoencoderTiny,
        ("diffusers", "AutoencoderKL"): diffusers.AutoencoderKL,
        # diffusers looks the class up where it lives, and wants that module imported
        (LappedAutoencoder.__module__, "LappedAutoencoder"): LappedAutoencoder,
    }
    found = known.get(tuple(entry) if isinstance(entry, list) else entry)
    if found is None:
        raise WeightsError(
            f"{folder}: autoencoder {entry} is not AutoencoderTiny or AutoencoderKL of diffusers, "
            f"nor LappedAutoencoder of {LappedAutoencoder.__module__}"
        )
    return found


def save_components(components: Components, folder: str | Path) -> None:
    """Write a folder that StableDiffusionPipeline loads: safetensors in half precision, configurations in float32.

    The models in `components` are rounded to half precision too, so what is sampled before saving and after loading
    is the same.
    """
    with _quiet():
        _write_pipeline(components, Path(folder))
    for part in ("unet", "vae", "text_encoder", "tokenizer"):
        path = Path(folder) / part / ("tokenizer_config.json" if part == "tokenizer" else "config.json")
        config = json.loads(path.read_text())
        for name in _READ_FROM:
            config.pop(name, None)
        if part == "text_encoder":
            # transformers would load it in the precision its configuration names, and clash with a float32 UNet
            config["dtype"] = "float32"
        path.write_text(json.dumps(config, indent=2) + "\n")


def _write_pipeline(components: Components, folder: Path) -> None:
    """Hand the parts to diffusers, which writes the folder; parts are in half precision meanwhile."""
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    pipeline = StableDiffusionPipeline(
        vae=components.vae,
        text_encoder=components.text_encoder,
        tokenizer=components.tokenizer,
        unet=components.unet,
        scheduler=DPMSolverMultistepScheduler.from_config(components.scheduler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    for part in ("unet", "vae", "text_encoder"):
        getattr(pipeline, part).half()
    pipeline.save_pretrained(folder, safe_serialization=True)
    for part in ("unet", "vae", "text_encoder"):
        getattr(pipeline, part).float()


def is_weights_folder(folder: Path) -> bool:
    """Whether a folder holds a complete model."""
    return (folder / "model_index.json").is_file()


def folder_revision(folder: Path) -> str:
    """Content hash of a weights folder: 40 hexadecimal digits of the SHA-256 over its weights and configurations.

    What the folder says of its training cutouts is left out: it changes nothing that is drawn.
    """
    digest = hashlib.sha256()
    files = (p for p in folder.rglob("*") if p.suffix in {".safetensors", ".json", ".txt"} and p.name != ABOUT_TRAINING)
    for path in sorted(path for path in files if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:40]


@contextmanager
def _reading(folder: Path, part: str) -> Iterator[None]:
    """Turn whatever a loader raises into a WeightsError that names the part; keep the loaders quiet."""
    if not folder.is_dir():
        raise WeightsError(f"{folder}: no such folder; the {part} should be there")
    try:
        with _quiet():
            yield
    except WeightsError:
        raise
    except Exception as error:  # safetensors, OS, key, shape and JSON errors, by version of the loaders
        raise WeightsError(f"{folder}: the {part} can't be loaded ({error}); copy the weights again") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars or notes about harmless configuration keys from the loaders."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    bars = [(diffusers_logging, diffusers_logging.is_progress_bar_enabled()),
            (transformers_logging, transformers_logging.is_progress_bar_enabled())]  # fmt: skip
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    levels = [log.level for log in loggers]
    try:
        for module, _ in bars:
            module.disable_progress_bar()
        for log in loggers:
            log.setLevel(logging.ERROR)
        yield
    finally:
        for module, shown in bars:
            if shown:
                module.enable_progress_bar()
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)
