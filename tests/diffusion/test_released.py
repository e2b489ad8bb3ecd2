from __future__ import annotations

import json
import shutil
import socket

import pytest
import torch
from safetensors.torch import load_file, save_file

from astro_galaxysd.diffusion.components import folder_revision, load_components
from astro_galaxysd.diffusion.layouts import inspect_layout
from astro_galaxysd.diffusion.released import load_checkpoint, load_layout
from astro_galaxysd.diffusion.sample import sample_rows
from astro_galaxysd.errors import WeightsError

PARTS = ("unet", "text_encoder", "vae")
STYLES = pytest.mark.parametrize("old", [True, False], ids=["text_model", "bare"])
KINDS = pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
AVERAGES = pytest.mark.parametrize("ema", [False, True], ids=["last", "averages"])


@pytest.fixture(scope="module")
def sd_model(sd_base):
    """What the base holds."""
    return load_components(sd_base)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """Whoever opens a connection fails."""

    def refuse(*arguments):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def same(model, expected, dtype=torch.float32):
    """Whether the parts hold exactly these values after the rounding that storing them took."""
    for part, values in expected.items():
        state = getattr(model, part).state_dict()
        assert state.keys() == values.keys()
        for name, value in values.items():
            assert state[name].dtype == torch.float32
            assert torch.equal(state[name], value.to(dtype).float()), (part, name)
        assert not getattr(model, part).training
    return True


@STYLES
@KINDS
@AVERAGES
@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "pickled"])
def test_parts(tmp_path, sd_base, sd_model, sources, write_parts, old, dtype, ema, pickled):
    write_parts(tmp_path, old=old, dtype=dtype, ema=True, pickled=pickled)
    model = load_checkpoint(tmp_path, base=sd_base, ema=ema)
    source = sources[1 if ema else 0]
    assert same(model, {part: source[part] for part in ("unet", "text_encoder")}, dtype)
    assert same(model, {"vae": sd_model.vae.state_dict()})
    assert model.scheduler == sd_model.scheduler
    assert len(model.tokenizer) == len(sd_model.tokenizer)


@pytest.mark.parametrize(("pickled", "suffix"), [(False, ".ckpt"), (True, ".bin"), (True, ".weights")])
def test_names_do_not_matter(tmp_path, sd_base, sources, write_parts, pickled, suffix):
    write_parts(tmp_path, pickled=pickled, suffix=suffix, dtype=torch.bfloat16)
    layout = inspect_layout(tmp_path)
    assert (layout.kind, layout.pickled, layout.step) == ("parts", pickled, 1000)
    assert same(load_layout(layout, base=sd_base), {"unet": sources[0]["unet"]}, torch.bfloat16)


@STYLES
@KINDS
@AVERAGES
@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "pickled"])
def test_single_file(tmp_path, sd_base, sources, single_file, old, dtype, ema, pickled):
    tensors, path = single_file(old=old, dtype=dtype, ema=True), tmp_path / "v1.ckpt"
    if pickled:
        torch.save({"state_dict": tensors, "epoch": 3, "global_step": 10}, path)
    else:
        save_file(tensors, path)  # safetensors by another name
    model = load_checkpoint(path, base=sd_base, ema=ema)
    assert same(model, {**sources[0], "unet": sources[1 if ema else 0]["unet"]}, dtype)


@STYLES
@pytest.mark.parametrize("variant", ["", ".fp16"], ids=["full", "fp16"])
@pytest.mark.parametrize("sharded", [False, True], ids=["single", "sharded"])
def test_diffusers_folder(tmp_path, sd_base, sources, styled, old, variant, sharded):
    folder = shutil.copytree(sd_base, tmp_path / "sd")
    dtype = torch.float16 if variant else torch.float32
    for part in PARTS:
        stem = "model" if part == "text_encoder" else "diffusion_pytorch_model"
        (folder / part / f"{stem}.safetensors").unlink()
        state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in styled(part, sources[0][part], old).items()}
        if not sharded:
            save_file(state, folder / part / f"{stem}{variant}.safetensors")
            continue
        names = sorted(state)
        places = {}
        for number, group in enumerate((names[::2], names[1::2])):
            file = f"{stem}-0000{number + 1}-of-00002{variant}.safetensors"
            save_file({name: state[name] for name in group}, folder / part / file)
            places |= dict.fromkeys(group, file)
        (folder / part / f"{stem}.safetensors.index{variant}.json").write_text(json.dumps({"weight_map": places}))
    model = load_checkpoint(folder)
    assert same(model, sources[0], dtype)
    assert model.revision == folder_revision(folder)


def test_full_precision_comes_before_a_variant(tmp_path, sd_base):
    folder = shutil.copytree(sd_base, tmp_path / "sd")
    stored = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file(
        {name: value.half() for name, value in load_file(stored).items()}, stored.with_suffix(".fp16.safetensors")
    )
    assert same(load_components(folder), {"unet": load_components(sd_base).unet.state_dict()})


def test_parts_may_be_sharded(tmp_path, sd_base, sources):
    """An index may stand for a file wherever a file may be."""
    state = {f"base:{name}": value for name, value in sources[0]["unet"].items()}
    names, places = sorted(state), {}
    for number, group in enumerate((names[::2], names[1::2])):
        save_file({name: state[name] for name in group}, tmp_path / f"unet-20-{number}.safetensors")
        places |= dict.fromkeys(group, f"unet-20-{number}.safetensors")
    index = tmp_path / "unet-20.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    for location in (tmp_path, index):
        layout = inspect_layout(location)
        assert (layout.step, len(layout.files["unet"])) == (20, 2)
        assert same(load_layout(layout, base=sd_base), {"unet": sources[0]["unet"]})


def test_an_old_autoencoder(tmp_path, sd_base, sd_model):
    """That of Stable Diffusion 1.5 names its attention as diffusers did in 2022."""
    folder = shutil.copytree(sd_base, tmp_path / "sd")
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = load_file(path)
    for new, name in old.items():
        state = {key.replace(f"attentions.0.{new}.", f"attentions.0.{name}."): value for key, value in state.items()}
    assert "decoder.mid_block.attentions.0.proj_attn.bias" in state
    save_file(state, path)
    assert same(load_components(folder), {"vae": sd_model.vae.state_dict()})


def test_what_is_loaded_draws(tmp_path, sd_base, write_parts):
    """With a schedule that names another sampler's class and does not end in pure noise, as the base has it."""
    model = load_checkpoint(write_parts(tmp_path), base=sd_base)
    images = sample_rows(model, ["sdss, merger"], [3], steps=2, guidance=1.0, sampler="euler-ancestral")
    assert images.shape == (1, 8, 8, 3)


def test_the_highest_step_that_all_parts_have(tmp_path, sd_base, sources, write_parts):
    for step in (1000, 2000, 3000):
        write_parts(tmp_path, step)
    (tmp_path / "text_encoder-3000.safetensors").unlink()
    layout = inspect_layout(tmp_path)
    assert (layout.step, layout.steps) == (2000, (1000, 2000, 3000))
    assert layout.others["unet-3000.safetensors"] == "of another step"
    assert "step 2000 of 1000, 2000, 3000" in layout.told
    assert inspect_layout(tmp_path, step=1000).files["unet"] == (tmp_path / "unet-1000.safetensors",)
    with pytest.raises(WeightsError, match="not all parts have step 3000: text encoder 1000, 2000; UNet 1000, 2000, 3"):
        load_checkpoint(tmp_path, base=sd_base, step=3000)


def test_steps_that_do_not_belong_together(tmp_path, write_parts):
    write_parts(tmp_path)
    (tmp_path / "unet-1000.safetensors").rename(tmp_path / "unet-9.safetensors")
    with pytest.raises(WeightsError, match="no step in common: text encoder 1000; UNet 9; get the files that belong"):
        inspect_layout(tmp_path)


def test_revision_follows_files_base_and_averages(tmp_path, sd_base, write_parts):
    first = load_checkpoint(write_parts(tmp_path / "a", ema=True), base=sd_base).revision
    assert len(first) == 40
    assert load_checkpoint(write_parts(tmp_path / "b", ema=True), base=sd_base).revision == first
    assert load_checkpoint(tmp_path / "a", base=sd_base, ema=True).revision != first
    assert load_checkpoint(write_parts(tmp_path / "c"), base=sd_base).revision != first
    other = shutil.copytree(sd_base, tmp_path / "sd")
    (other / "scheduler" / "scheduler_config.json").write_text("{}")
    assert load_checkpoint(tmp_path / "a", base=other).revision != first


def test_later_changes_of_the_file_do_not_reach_the_model(tmp_path, sd_base, sources, write_parts):
    model = load_checkpoint(write_parts(tmp_path, pickled=True), base=sd_base)
    for path in tmp_path.glob("*.ckpt"):
        path.write_bytes(bytes(path.stat().st_size))
    assert same(model, {"unet": sources[0]["unet"]})


def test_no_base(tmp_path, write_parts):
    message = (
        "holds UNet and text encoder only; autoencoder, tokenizer, scheduler, configurations have to come from the "
        "model it was trained from: name it in the weights' card or in sampling.json beside them, "
        '{"base": "hub:stable-diffusion-v1-5/stable-diffusion-v1-5"}, or give base=, a diffusers folder'
    )
    with pytest.raises(WeightsError, match=message):
        load_checkpoint(write_parts(tmp_path))


def test_a_base_that_is_none(tmp_path, sd_base, write_parts):
    write_parts(tmp_path / "parts")
    with pytest.raises(WeightsError, match="model_index.json is missing: not a diffusers weights folder"):
        load_checkpoint(tmp_path / "parts", base=tmp_path)
    half = shutil.copytree(sd_base, tmp_path / "half")
    shutil.rmtree(half / "vae")
    with pytest.raises(WeightsError, match="no folder vae"):
        load_checkpoint(tmp_path / "parts", base=half)


def test_a_base_needs_no_weights_of_parts_that_the_files_have(tmp_path, sd_base, sources, single_file):
    save_file(single_file(), tmp_path / "v1.safetensors")
    base = shutil.copytree(sd_base, tmp_path / "sd", ignore=shutil.ignore_patterns("*.safetensors"))
    assert same(load_checkpoint(tmp_path / "v1.safetensors", base=base), sources[0])


def test_no_averages(tmp_path, sd_base, write_parts, single_file):
    with pytest.raises(WeightsError, match="no averages of the UNet and text encoder; leave ema out"):
        load_checkpoint(write_parts(tmp_path / "parts"), base=sd_base, ema=True)
    save_file(single_file(), tmp_path / "v1.safetensors")
    with pytest.raises(WeightsError, match="no averages of the UNet; leave ema out"):
        load_checkpoint(tmp_path / "v1.safetensors", base=sd_base, ema=True)
    with pytest.raises(WeightsError, match="no averages of the UNet and text encoder and autoencoder"):
        load_checkpoint(sd_base, ema=True)


def test_nothing_but_averages(tmp_path, sd_base, sources, write_parts):
    write_parts(tmp_path, ema=True, base=False)
    with pytest.raises(WeightsError, match="unet-1000.safetensors holds averages only .base_ema.; give ema=True"):
        load_checkpoint(tmp_path, base=sd_base)
    assert same(load_checkpoint(tmp_path, base=sd_base, ema=True), {"unet": sources[1]["unet"]})


def test_adapters(tmp_path, sd_base):
    save_file({"lora:down.weight": torch.ones(2)}, tmp_path / "unet-10.safetensors")
    with pytest.raises(WeightsError, match="holds adapters .lora., which change a model and are none; merge them into"):
        load_checkpoint(tmp_path, base=sd_base)


def test_an_autoencoder_of_another_class(tmp_path, sd_base, tiny_weights, single_file):
    base = shutil.copytree(sd_base, tmp_path / "sd", ignore=shutil.ignore_patterns("vae"))
    shutil.copytree(tiny_weights / "vae", base / "vae")
    index = json.loads((base / "model_index.json").read_text())
    index["vae"] = json.loads((tiny_weights / "model_index.json").read_text())["vae"]
    (base / "model_index.json").write_text(json.dumps(index))
    save_file(single_file(), tmp_path / "v1.safetensors")
    with pytest.raises(WeightsError, match="an autoencoder that the base's LappedAutoencoder can't be filled from"):
        load_checkpoint(tmp_path / "v1.safetensors", base=base)


def change(path, name, value):
    """Write a file again with a tensor changed, or without it."""
    state = load_file(path)
    state = {k: v for k, v in state.items() if k != name} | ({name: value} if value is not None else {})
    save_file(state, path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "base:conv_in.weight",
            None,
            "unet-1000.safetensors: missing parameters: conv_in.weight; the files are",
        ),
        ("base:stranger", torch.ones(2), "unexpected parameters: stranger"),
        ("base:conv_in.bias", torch.ones(3), r"other shapes: conv_in.bias is \[3\], not \[16\]"),
        ("base:conv_in.bias", torch.full((16,), float("nan")), "conv_in.bias holds values that are not finite"),
        ("base:conv_in.bias", torch.full((16,), float("-inf")), "conv_in.bias holds values that are not finite"),
        ("base:conv_in.bias", torch.full((16,), 1e300, dtype=torch.float64), "conv_in.bias holds values that are not"),
        ("base:conv_in.bias", torch.ones(16, dtype=torch.int8), "not floating point: conv_in.bias is torch.int8"),
    ],
)
def test_every_parameter_is_accounted_for(tmp_path, sd_base, write_parts, name, value, message):
    write_parts(tmp_path)
    change(tmp_path / "unet-1000.safetensors", name, value)
    with pytest.raises(WeightsError, match=message):
        load_checkpoint(tmp_path, base=sd_base)


def test_many_faults_are_listed_with_their_number(tmp_path, sd_base, write_parts):
    write_parts(tmp_path)
    path = tmp_path / "unet-1000.safetensors"
    save_file({name: value for name, value in load_file(path).items() if "up_blocks" not in name}, path)
    with pytest.raises(WeightsError, match=r"missing parameters: up_blocks.*, .* \.\.\. \(\d+ in all\)"):
        load_checkpoint(tmp_path, base=sd_base)


def test_both_names_of_a_text_encoder_at_once(tmp_path, sd_base, write_parts):
    write_parts(tmp_path, old=False)
    change(tmp_path / "text_encoder-1000.safetensors", "base:text_model.final_layer_norm.bias", torch.ones(32))
    with pytest.raises(WeightsError, match="final_layer_norm.bias is there under two names"):
        load_checkpoint(tmp_path, base=sd_base)


def test_a_single_file_with_additions(tmp_path, sd_base, single_file):
    save_file(single_file() | {"control_model.weight": torch.ones(2)}, tmp_path / "v1.safetensors")
    with pytest.raises(WeightsError, match="unexpected parameters: control_model.weight; give a model of Stable Diff"):
        load_checkpoint(tmp_path, base=sd_base)


def test_a_single_file_with_a_block_too_many(tmp_path, sd_base, single_file):
    more = {"model.diffusion_model.input_blocks.99.0.in_layers.0.weight": torch.ones(2)}
    save_file(single_file() | more, tmp_path / "v1.safetensors")
    with pytest.raises(WeightsError, match="unexpected parameters: input_blocks.99.0.in_layers.0.weight"):
        load_checkpoint(tmp_path, base=sd_base)
