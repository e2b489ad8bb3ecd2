"""Models from a configuration and from tensors in files: every parameter of the model, and every tensor, accounted for.

Models are made without memory for their parameters, compared with the files by name and shape, and only then filled.
No code but that of diffusers, transformers and this package is looked up for them, whatever a configuration says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from astro_galaxysd.diffusion.parameternames import named_as
from astro_galaxysd.diffusion.safefiles import TensorInFile, read_json, shown
from astro_galaxysd.errors import WeightsError

__all__ = ["NAMES", "check_configuration", "empty_part", "filled"]

#: What parts are called in messages.
NAMES = {"unet": "UNet", "vae": "autoencoder", "text_encoder": "text encoder"}
#: Of numbers in a configuration: vocabularies have 49,408 words. Of layers: the largest text encoders have 48.
_LARGEST, _MOST_LAYERS = 2**20, 200
_MOST_ENTRIES = 100


def check_configuration(config: Mapping[str, Any], path: Path) -> None:
    """Raise `WeightsError` for a configuration whose numbers would take a model out of all bounds.

    Parameters
    ----------
    config : mapping
    path : Path
        Of its file.
    """
    for name, value in config.items():
        values = value if isinstance(value, list) else [value]
        most = _MOST_LAYERS if "layers" in name or name == "depth" else _LARGEST
        large = [number for number in values if isinstance(number, int | float) and not abs(number) <= most]
        if large or len(values) > _MOST_ENTRIES:
            raise WeightsError(f"{path}: {name} = {shown([value])} is out of bounds ({most:,}); copy the weights again")


def empty_part(part: str, folder: Path, autoencoder: Any = None) -> Any:
    """A model as its configuration says, without memory for its parameters.

    Parameters
    ----------
    part : str
        One of `NAMES`.
    folder : Path
        With ``config.json``.
    autoencoder : type, optional
        Class of the autoencoder.

    Raises
    ------
    WeightsError
        If the configuration is missing, can't be read, or says what can't be.
    """
    config = read_json(folder / "config.json")
    check_configuration(config, folder / "config.json")
    try:
        with torch.device("meta"):
            if part == "text_encoder":
                return _new_text_encoder(config)
            return _class_of(part, autoencoder).from_config(config)
    except Exception as error:  # of the model's own checks, of many classes
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"{folder}: the {NAMES[part]} can't be made as config.json says ({reason}); copy the weights again"
        ) from error


def _class_of(part: str, autoencoder: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel if part == "unet" else autoencoder


def _new_text_encoder(config: dict[str, Any]) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    settings = CLIPTextConfig.from_dict(config)
    settings.dtype = torch.float32  # not the one the file has
    return CLIPTextModel(settings)


def filled(model: Any, tensors: Mapping[str, TensorInFile], part: str, where: str) -> Any:
    """A model with the values of files, float32, evaluation mode.

    Parameters
    ----------
    model : Module
        As `empty_part` gives it; changed in place.
    tensors : mapping of str to TensorInFile
        By the model's names, or by older ones.
    part : str
        One of `NAMES`.
    where : str
        Which files, for errors.

    Raises
    ------
    WeightsError
        If parameters are missing, tensors left over, shapes or kinds other than the model's, values not finite.
    """
    wanted = model.state_dict()
    tensors = named_as(wanted, tensors, part, where)
    _check_all(wanted, tensors, where)
    model.load_state_dict({name: _value(tensor, name, where) for name, tensor in tensors.items()}, assign=True)
    _make_positions(model)
    return model.eval().requires_grad_(False)


def _check_all(wanted: Mapping[str, torch.Tensor], tensors: Mapping[str, TensorInFile], where: str) -> None:
    """Compare names, shapes and kinds of a model with those of files."""
    shapes = [
        f"{name} is {list(tensors[name].shape)}, not {list(value.shape)}"
        for name, value in wanted.items()
        if name in tensors and tensors[name].shape != tuple(value.shape)
    ]
    kinds = [f"{name} is {tensor.dtype}" for name, tensor in tensors.items() if not tensor.dtype.is_floating_point]
    faults = {
        "missing parameters": sorted(wanted.keys() - tensors.keys()),
        "unexpected parameters": sorted(tensors.keys() - wanted.keys()),
        "other shapes": shapes,
        "not floating point": kinds,
    }
    found = "; ".join(f"{fault}: {shown(names)}" for fault, names in faults.items() if names)
    if found:
        raise WeightsError(f"{where}: {found}; the files are not of this model, or damaged: copy the weights again")


def _value(tensor: TensorInFile, name: str, where: str) -> torch.Tensor:
    """Values in float32; `WeightsError` if one is not finite."""
    value = tensor.read().to(torch.float32)
    # one pass, and NaN reaches both ends: torch.isfinite takes many times as long on the processor
    if value.numel() and not torch.isfinite(torch.stack(torch.aminmax(value))).all():
        raise WeightsError(
            f"{where}: {name} holds values that are not finite; the weights are damaged, copy them again"
        )
    return value


def _make_positions(model: Any) -> None:
    """Count the positions of a text encoder, which no file has to have."""
    for name, buffer in list(model.named_buffers()):
        if buffer.is_meta:
            owner, _, last = name.rpartition(".")
            if last != "position_ids":
                raise WeightsError(f"{type(model).__name__} has {name}, which no file has; choose another model")
            numbers = torch.arange(buffer.shape[-1]).expand(buffer.shape)
            model.get_submodule(owner).register_buffer(last, numbers, persistent=False)
