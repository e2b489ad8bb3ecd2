from __future__ import annotations

import json

import pytest
import torch

from astro_galaxysd.diffusion.modelparts import empty_part, filled
from astro_galaxysd.diffusion.pickled import PickledTensor
from astro_galaxysd.errors import WeightsError


def configured(tmp_path, source, **changes):
    """A folder with a configuration like another one."""
    config = json.loads((source / "config.json").read_text()) | changes
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_nothing_is_taken_for_parameters(sd_base):
    for part in ("unet", "text_encoder"):
        model = empty_part(part, sd_base / part)
        assert {value.device.type for value in model.state_dict().values()} == {"meta"}
        assert {value.dtype for value in model.state_dict().values()} == {torch.float32}


def test_positions_are_counted(tmp_path, sd_base):
    model = empty_part("text_encoder", sd_base / "text_encoder")
    values = {name: torch.ones(value.shape) for name, value in model.state_dict().items()}
    tensors = {name: PickledTensor(tmp_path, tuple(value.shape), value) for name, value in values.items()}
    model = filled(model, tensors, "text_encoder", "somewhere")
    assert [buffer.tolist() for buffer in model.buffers()] == [[list(range(77))]]
    assert not any(parameter.requires_grad or parameter.is_meta for parameter in model.parameters())
    assert model(torch.zeros(1, 77, dtype=torch.int64)).last_hidden_state.shape == (1, 77, 32)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("text_encoder", {"num_hidden_layers": 10**9}, r"num_hidden_layers = 1000000000 is out of bounds \(200\)"),
        ("text_encoder", {"hidden_size": 10**12}, "hidden_size = 1000000000000 is out of bounds"),
        ("unet", {"block_out_channels": [32] * 1000}, "block_out_channels = .* is out of bounds"),
        ("unet", {"sample_size": float("nan")}, "sample_size = nan is out of bounds"),
        ("unet", {"layers_per_block": [2, 10**6]}, "layers_per_block = .* is out of bounds"),
        ("unet", {"down_block_types": ["os.system"] * 2}, "the UNet can't be made as config.json says"),
        ("text_encoder", {"hidden_size": "many"}, "the text encoder can't be made as config.json says"),
    ],
)
def test_configurations_that_can_not_be(tmp_path, sd_base, part, changes, message):
    folder = configured(tmp_path, sd_base / part, **changes)
    with pytest.raises(WeightsError, match=f"{message}.*; copy the weights again"):
        empty_part(part, folder)


def test_code_that_a_configuration_names_is_not_looked_up(tmp_path, sd_base):
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')")
    folder = configured(
        tmp_path, sd_base / "text_encoder", auto_map={"AutoModel": "evil.Model"}, trust_remote_code=True
    )
    assert type(empty_part("text_encoder", folder)).__name__ == "CLIPTextModel"
    assert not (tmp_path / "owned").exists()


def test_buffers_that_no_file_has(tmp_path):
    model = torch.nn.Module()
    model.register_buffer("noise", torch.ones(2, device="meta"), persistent=False)
    with pytest.raises(WeightsError, match="Module has noise, which no file has; choose another model"):
        filled(model, {}, "unet", "somewhere")
