from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from astro_galaxysd.diffusion.components import (
    ABOUT_TRAINING,
    folder_revision,
    load_autoencoder,
    load_components,
    new_text_encoder,
    save_components,
)
from astro_galaxysd.diffusion.sample import sample_rows
from astro_galaxysd.diffusion.tokenizer import build_tokenizer
from astro_galaxysd.errors import WeightsError
from astro_galaxysd.survey.domain import DOMAIN_FILE

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tiny_weights, tmp_path):
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_weights, tmp_path / "weights"))


def test_saving_and_loading_keeps_every_parameter(tiny_weights, tmp_path):
    model = load_components(tiny_weights)
    save_components(model, tmp_path / "again")
    again = load_components(tmp_path / "again")
    for part in ("unet", "vae", "text_encoder"):
        mine, stored = getattr(model, part).state_dict(), getattr(again, part).state_dict()
        assert mine.keys() == stored.keys()
        assert all(torch.equal(mine[name], stored[name]) for name in mine)
    assert model.revision == folder_revision(tiny_weights)
    assert again.image_size == 32


def test_a_saved_folder_does_not_say_where_its_parts_were(tiny_weights, tmp_path):
    save_components(load_components(tiny_weights), tmp_path / "again")
    assert [path for path in (tmp_path / "again").rglob("*.json") if str(tiny_weights) in path.read_text()] == []
    assert "local" not in (tmp_path / "again" / "tokenizer" / "tokenizer_config.json").read_text()


def test_saved_model_samples_what_it_sampled_before(tiny_weights, tmp_path):
    model = load_components(tiny_weights)
    with torch.no_grad():
        for parameter in model.unet.parameters():
            parameter.add_(0.001)
    save_components(model, tmp_path / "again")
    arguments = (["sdss, merger"], [1])
    before = sample_rows(model, *arguments, steps=3, guidance=2.0, sampler="dpm++")
    after = sample_rows(load_components(tmp_path / "again"), *arguments, steps=3, guidance=2.0, sampler="dpm++")
    np.testing.assert_array_equal(before, after)


@pytest.mark.filterwarnings("ignore")
def test_stock_pipeline_loads_and_runs_the_folder(tiny_weights):
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(tiny_weights, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    assert {pipeline.unet.dtype, pipeline.vae.dtype, pipeline.text_encoder.dtype} == {torch.float32}
    image = pipeline("sdss, spiral galaxy", num_inference_steps=2, guidance_scale=2.0).images[0]
    assert image.size == (32, 32)


def test_weights_are_safetensors_in_half_precision(tiny_weights):
    files = [path for path in tiny_weights.rglob("*") if path.suffix in {".bin", ".pt", ".ckpt", ".pkl"}]
    assert files == []
    assert {value.dtype for value in load_file(tiny_weights / UNET).values()} == {torch.float16}


def test_text_encoders_last_norm_has_a_mean(tiny_weights):
    encoder = new_text_encoder(build_tokenizer(), width=16, layers=1)
    ids = torch.zeros(1, 77, dtype=torch.int64)
    assert float(encoder(ids).last_hidden_state.mean().detach()) == pytest.approx(1.0, abs=1e-5)


def test_revision_follows_content_not_place(folder, tiny_weights):
    assert folder_revision(folder) == folder_revision(tiny_weights)
    values = load_file(folder / UNET)
    name = next(iter(values))
    values[name] = values[name] + 1
    save_file(values, folder / UNET)
    assert folder_revision(folder) != folder_revision(tiny_weights)


def _truncate(folder):
    content = (folder / UNET).read_bytes()
    (folder / UNET).write_bytes(content[: len(content) // 2])


def _not_finite(folder):
    values = load_file(folder / UNET)
    values["conv_in.weight"][0] = float("nan")
    save_file(values, folder / UNET)


def _lost_parameter(folder):
    values = load_file(folder / UNET)
    del values["conv_in.weight"]
    save_file(values, folder / UNET)


TEXT = "text_encoder/model.safetensors"


def _lost_text(folder):
    values = load_file(folder / TEXT)
    values = {name: value for name, value in values.items() if not name.endswith("final_layer_norm.bias")}
    save_file(values, folder / TEXT, metadata={"format": "pt"})


def _extra_parameter(folder):
    values = load_file(folder / TEXT)
    values["stranger"] = values[next(iter(values))].clone()
    save_file(values, folder / TEXT, metadata={"format": "pt"})


def _other_shape(folder):
    values = load_file(folder / UNET)
    values["conv_in.weight"] = values["conv_in.weight"][:, :2].contiguous()
    save_file(values, folder / UNET)


def _foreign_autoencoder(folder):
    index = json.loads((folder / "model_index.json").read_text())
    index["vae"] = ["somewhere", "Malicious"]
    (folder / "model_index.json").write_text(json.dumps(index))


def _linked(name):
    def link(folder):
        elsewhere = (folder / name).rename(folder.parent / "elsewhere")
        (folder / name).symlink_to(elsewhere)

    return link


def _endless_schedule(folder):
    (folder / "scheduler" / "scheduler_config.json").write_text('{"num_train_timesteps": 1e30}')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_linked(UNET), "model.safetensors is a link that leaves"),
        (_linked("unet/config.json"), "config.json is a link that leaves"),
        (_linked("model_index.json"), "model_index.json is a link that leaves"),
        (_linked("tokenizer/tokenizer.json"), "tokenizer.json is a link that leaves"),
        (_linked("scheduler/scheduler_config.json"), "scheduler_config.json is a link that leaves"),
        (_endless_schedule, r"num_train_timesteps = 1e\+30 is out of bounds"),
        (
            lambda f: (f / "tokenizer" / "x").write_bytes(bytes(9_000_000)),
            "x has more than 8,000,000 bytes: no tokenizer",
        ),
        (lambda f: (f / UNET).rename((f / UNET).with_suffix(".bin")), "only diffusion_pytorch_model.bin, pickles that"),
        (_truncate, "unet.*model.safetensors: no sound safetensors .*copy the weights again"),
        (_not_finite, "conv_in.weight holds values that are not finite"),
        (_lost_parameter, "unet: missing parameters: conv_in.weight"),
        (_extra_parameter, "text_encoder: unexpected parameters: .*stranger"),
        (_lost_text, "text_encoder: missing parameters: .*final_layer_norm.bias"),
        (_other_shape, "conv_in.weight"),
        (_foreign_autoencoder, "autoencoder .*Malicious.* is not AutoencoderTiny or AutoencoderKL"),
        (lambda f: (f / "model_index.json").unlink(), "model_index.json is missing: not a diffusers weights folder"),
        (lambda f: (f / "model_index.json").write_text("{"), "model_index.json can't be read"),
        (lambda f: (f / "model_index.json").write_text("[]"), "holds list, not a JSON object"),
        (lambda f: shutil.rmtree(f / "text_encoder"), "no folder text_encoder"),
        (lambda f: (f / "tokenizer" / "tokenizer.json").write_text("{}"), "the tokenizer can't be loaded"),
    ],
)
def test_damaged_folders_are_named(folder, damage, message):
    damage(folder)
    with pytest.raises(WeightsError, match=message):
        load_components(folder)


def test_folders_that_are_called_like_files_are_no_part_of_the_revision(folder, tiny_weights):
    (folder / "unet" / "notes.json").mkdir()
    assert folder_revision(folder) == folder_revision(tiny_weights)


def test_no_autoencoder_there(tmp_path):
    with pytest.raises(WeightsError, match="no such folder; the autoencoder should be there"):
        load_autoencoder(tmp_path / "nothing")


def test_what_is_told_of_training_is_no_part_of_the_revision(tiny_weights, tmp_path):
    """Nothing that is drawn depends on it."""
    folder = shutil.copytree(tiny_weights, tmp_path / "weights")
    assert ABOUT_TRAINING == DOMAIN_FILE
    (folder / DOMAIN_FILE).write_bytes(b"1")
    assert folder_revision(folder) == folder_revision(tiny_weights)
    (folder / "other.safetensors").write_bytes(b"1")
    assert folder_revision(folder) != folder_revision(tiny_weights)
