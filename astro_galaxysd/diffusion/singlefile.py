"""Stable Diffusion 1 in a single file: the names its parts have there.

A single file numbers the blocks of the UNet through, input_blocks.0 to output_blocks.11, where diffusers counts
levels, blocks and layers; numbers are found by walking through the model the parameters are for. The autoencoder's
decoder counts its levels from the other end, and its attention has convolutions of one pixel for projections.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from astro_galaxysd.diffusion.safefiles import TensorInFile

__all__ = ["AVERAGED", "PREFIXES", "SCHEDULE", "average_name", "stored_unet_names", "stored_vae_names", "with_shapes"]

#: What the names of each part begin with.
PREFIXES = {
    "unet": "model.diffusion_model.",
    "text_encoder": "cond_stage_model.transformer.",
    "vae": "first_stage_model.",
}
#: What the names of the UNet's averaged parameters begin with.
AVERAGED = "model_ema."
#: Entries that are no parameters: numbers that follow from the noise schedule, and counts of the training.
SCHEDULE = frozenset(
    {
        "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod",
        "posterior_variance", "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2",
        "logvar", "scale_factor", "model_ema.decay", "model_ema.num_updates",
    }
)  # fmt: skip

_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
_ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}

Tensor = TypeVar("Tensor", bound=TensorInFile)


def average_name(name: str) -> str:
    """The name of a UNet parameter's average, which is the parameter's without dots."""
    return AVERAGED + name.removeprefix("model.").replace(".", "")


def stored_unet_names(unet: Any) -> dict[str, str]:
    """Names of a UNet's parameters and the names a single file has for them, without their prefix.

    Parameters
    ----------
    unet : UNet2DConditionModel

    Returns
    -------
    dict of str to str
        Parameters that have no place in a single file keep their names.
    """
    levels = dict(_ENDS)
    for ours, stored, is_resnet in _unet_blocks(unet):
        inside = _RESNET if is_resnet else {}
        levels |= {f"{ours}.{mine}": f"{stored}.{its}" for mine, its in inside.items()} or {ours: stored}
    return {name: _moved(name, levels) for name in unet.state_dict()}


def _moved(name: str, levels: Mapping[str, str]) -> str:
    """The name with the longest beginning that `levels` knows replaced."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        found = levels.get(".".join(parts[:count]))
        if found is not None:
            return ".".join([found, *parts[count:]])
    return name


def _unet_blocks(unet: Any) -> Iterator[tuple[str, str, bool]]:
    """Each resnet, attention and convolution between levels: our name, the stored one, and whether it is a resnet."""
    number = 1
    for level, block in enumerate(unet.down_blocks):
        for layer in range(len(block.resnets)):
            yield from _layer(block, f"down_blocks.{level}", layer, f"input_blocks.{number}")
            number += 1
        if getattr(block, "downsamplers", None):
            yield f"down_blocks.{level}.downsamplers.0.conv", f"input_blocks.{number}.0.op", False
            number += 1
    for layer in range(len(unet.mid_block.resnets)):
        yield f"mid_block.resnets.{layer}", f"middle_block.{2 * layer}", True
    for layer in range(len(unet.mid_block.attentions)):
        yield f"mid_block.attentions.{layer}", f"middle_block.{2 * layer + 1}", False
    number = 0
    for level, block in enumerate(unet.up_blocks):
        for layer in range(len(block.resnets)):
            yield from _layer(block, f"up_blocks.{level}", layer, f"output_blocks.{number}")
            number += 1
        if getattr(block, "upsamplers", None):
            place = 2 if getattr(block, "attentions", None) else 1
            yield f"up_blocks.{level}.upsamplers.0.conv", f"output_blocks.{number - 1}.{place}.conv", False


def _layer(block: Any, ours: str, layer: int, stored: str) -> Iterator[tuple[str, str, bool]]:
    """A resnet and the attention after it, if there is one."""
    yield f"{ours}.resnets.{layer}", f"{stored}.0", True
    if getattr(block, "attentions", None):
        yield f"{ours}.attentions.{layer}", f"{stored}.1", False


def stored_vae_names(names: Iterable[str], levels: int) -> dict[str, str]:
    """Names of an autoencoder's parameters and the names a single file has for them, without their prefix.

    Parameters
    ----------
    names : iterable of str
        Of an `AutoencoderKL`.
    levels : int
        Of its decoder.

    Returns
    -------
    dict of str to str
    """
    return {name: _stored_vae_name(name, levels) for name in names}


def _stored_vae_name(name: str, levels: int) -> str:
    found = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    found = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", found)
    found = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", found)
    found = re.sub(r"up_blocks\.(\d+)\.resnets", lambda m: f"up.{levels - 1 - int(m[1])}.block", found)
    found = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", found)
    found = re.sub(r"mid_block\.resnets\.(\d+)", lambda m: f"mid.block_{int(m[1]) + 1}", found)
    return re.sub(
        r"mid_block\.attentions\.(\d+)\.(to_out\.0|[a-z_]+)",
        lambda m: f"mid.attn_{int(m[1]) + 1}.{_VAE_ATTENTION[m[2]]}",
        found,
    )


def with_shapes(tensors: Mapping[str, Tensor], wanted: Mapping[str, Any]) -> dict[str, TensorInFile]:
    """Convolutions of one pixel as the matrices that diffusers has in their place.

    Parameters
    ----------
    tensors : mapping of str to TensorInFile
        By the model's names.
    wanted : mapping of str to Tensor
        The model's parameters.
    """
    found: dict[str, TensorInFile] = {}
    for name, tensor in tensors.items():
        shape = tuple(wanted[name].shape) if name in wanted else tensor.shape
        is_pixel = len(shape) == 2 and tensor.shape == (*shape, 1, 1)
        found[name] = tensor.reshaped(shape) if is_pixel else tensor
    return found
