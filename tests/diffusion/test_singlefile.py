from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

from astro_galaxysd.diffusion.pickled import PickledTensor
from astro_galaxysd.diffusion.singlefile import (
    AVERAGED,
    PREFIXES,
    average_name,
    stored_unet_names,
    stored_vae_names,
    with_shapes,
)


def numbered(stored, prefix):
    """Tensors by the names of a single file, each with a value of its own."""
    names = sorted(stored.values())
    assert len(set(names)) == len(names)
    return {prefix + name: torch.tensor(float(number)) for number, name in enumerate(names)}


@pytest.mark.parametrize(
    "config",
    [
        {"block_out_channels": (32, 64, 128, 128)},  # as Stable Diffusion 1
        {"block_out_channels": (32, 64), "layers_per_block": 1,
         "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
         "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D")},
    ],
)  # fmt: skip
def test_unet_names_are_those_that_diffusers_converts(config):
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
    stored = stored_unet_names(unet)
    tensors = numbered(stored, PREFIXES["unet"])
    converted = convert_ldm_unet_checkpoint(dict(tensors), unet.config)
    assert converted.keys() == unet.state_dict().keys()
    assert all(converted[name] == tensors[PREFIXES["unet"] + stored[name]] for name in converted)


def test_unet_of_stable_diffusion():
    with torch.device("meta"):
        names = stored_unet_names(UNet2DConditionModel())
    assert len(names) == 686
    assert names["up_blocks.1.upsamplers.0.conv.weight"] == "output_blocks.5.2.conv.weight"
    assert names["down_blocks.2.downsamplers.0.conv.bias"] == "input_blocks.9.0.op.bias"
    assert names["mid_block.resnets.1.time_emb_proj.weight"] == "middle_block.2.emb_layers.1.weight"


@pytest.mark.parametrize("levels", [2, 4])
def test_autoencoder_names_are_those_that_diffusers_converts(levels):
    with torch.device("meta"):
        vae = AutoencoderKL(
            block_out_channels=(32, 64, 64, 64)[:levels], down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels, layers_per_block=2,
        )  # fmt: skip
    stored = stored_vae_names(vae.state_dict(), levels)
    tensors = numbered(stored, PREFIXES["vae"])
    converted = convert_ldm_vae_checkpoint(dict(tensors), vae.config)
    assert converted.keys() == vae.state_dict().keys()
    assert all(converted[name] == tensors[PREFIXES["vae"] + stored[name]] for name in converted)


def test_averages_have_no_dots():
    assert average_name("model.diffusion_model.out.0.bias") == f"{AVERAGED}diffusion_modelout0bias"


def test_only_convolutions_of_one_pixel_become_matrices(tmp_path):
    wanted = {"to_q": torch.zeros(2, 3), "conv": torch.zeros(2, 3, 1, 1), "wrong": torch.zeros(3, 2)}
    values = torch.arange(6.0).reshape(2, 3, 1, 1)
    tensors = {name: PickledTensor(tmp_path, (2, 3, 1, 1), values) for name in (*wanted, "unknown")}
    found = with_shapes(tensors, wanted)
    assert {name: tensor.shape for name, tensor in found.items()} == {
        "to_q": (2, 3), "conv": (2, 3, 1, 1), "wrong": (2, 3, 1, 1), "unknown": (2, 3, 1, 1)
    }  # fmt: skip
    assert torch.equal(found["to_q"].read(), values[:, :, 0, 0])
