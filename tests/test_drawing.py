"""Weights and generators found by name, refused before anything is drawn, estimated."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time

import numpy as np
import pytest
import torch
from astropy.table import Table

from astro_galaxysd import augment_table, generate, hookimpl, load_generator
from astro_galaxysd.diffusion import sample
from astro_galaxysd.diffusion.components import load_components
from astro_galaxysd.diffusion.sample import GUIDANCE_RESCALE, guide
from astro_galaxysd.drawing import Drawing, estimate
from astro_galaxysd.errors import ConditionError, PluginError, PromptError, UnknownNameError, WeightsError
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.plugins.protocols import Generator
from astro_galaxysd.records import WeightCard
from astro_galaxysd.weightcards import weight_card

TABLE = Table({"t06_odd_yes": [0.9, 0.1], "t08_merger": [0.8, 0.0], "t01_smooth": [0.7, 0.8]})


@pytest.fixture
def no_drawing(monkeypatch):
    """The diffusion generator must not draw: the error has to come before."""

    def drawn(*_, **__):
        pytest.fail("the generator drew although the input is bad")

    monkeypatch.setattr("astro_galaxysd.diffusion.generator.sample_rows", drawn)


@pytest.fixture
def copy(tiny_weights, tmp_path):
    """A copy of the weights, to be damaged."""
    return shutil.copytree(tiny_weights, tmp_path / "copy")


def refused(weights, **options):
    return augment_table(TABLE, **{"target": "merger", "n": 1, "weights": weights, "progress": False} | options)


UNET = "unet/diffusion_pytorch_model.safetensors"


def truncate(folder):
    data = (folder / UNET).read_bytes()
    (folder / UNET).write_bytes(data[: len(data) // 2])


def corrupt(folder):
    data = bytearray((folder / UNET).read_bytes())
    data[:64] = b"\xff" * 64
    (folder / UNET).write_bytes(bytes(data))


def empty(folder):
    (folder / UNET).write_bytes(b"")


def put_nan(folder):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / UNET)
    next(iter(tensors.values())).flat[0] = np.nan
    save_file(tensors, folder / UNET)


def drop_a_tensor(folder):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / UNET)
    tensors.pop("conv_in.weight")
    save_file(tensors, folder / UNET)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "no sound safetensors .*copy the weights again"),
        (corrupt, "unet/.*safetensors: no sound safetensors .*copy the weights again"),
        (empty, "unet/.*safetensors: no sound safetensors .a header of 0 bytes"),
        (put_nan, "holds values that are not finite; the weights are damaged"),
        (drop_a_tensor, "conv_in.weight"),
        (lambda folder: (folder / UNET).unlink(), "unet has no safetensors .*copy the weights again"),
        (lambda folder: shutil.rmtree(folder / "vae"), "vae is missing; copy the weights again"),
        (lambda folder: shutil.rmtree(folder / "tokenizer"), "no folder tokenizer"),
        (lambda folder: (folder / "unet" / "config.json").write_text("{"), "unet/config.json can't be read"),
        (lambda folder: (folder / "model_index.json").write_text("not JSON"), "model_index.json can't be read"),
        (lambda folder: (folder / "model_index.json").write_text("[]"), "holds list, not a JSON object"),
        (lambda folder: (folder / "model_index.json").unlink(), "holds UNet and text encoder only; autoencoder, "),
    ],
)
def test_damaged_weights(copy, no_drawing, damage, message):
    damage(copy)
    with pytest.raises(WeightsError, match=message):
        refused(copy)


def test_class_that_is_not_a_stock_one(copy, no_drawing):
    index = json.loads((copy / "model_index.json").read_text())
    index["vae"] = ["evil", "Autoencoder"]
    (copy / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match=r"autoencoder \['evil', 'Autoencoder'\] is not AutoencoderTiny"):
        refused(copy)


def test_prompt_too_long(tiny_weights, no_drawing):
    prompt = "merger, " + ", ".join(["ring galaxy"] * 60) + ", dust lane"
    with pytest.raises(PromptError, match="prompt too long: .* tokens where .* fit; .*dust lane.* would be lost from"):
        refused(tiny_weights, target=prompt)
    with pytest.raises(PromptError, match="prompt too long"):
        generate(Table({"prompt": [*["ring galaxy"] * 40, prompt]}), weights=tiny_weights, progress=False)


@pytest.mark.parametrize("steps", [1, 0, -5, 2.5, 5000])
def test_steps_out_of_range(tiny_weights, no_drawing, steps):
    with pytest.raises(ConditionError, match=f"steps = {steps}: give a whole number from 2 to 500, or None for"):
        refused(tiny_weights, steps=steps)


@pytest.mark.parametrize("guidance", [0.5, -1, np.nan, np.inf])
def test_guidance_out_of_range(tiny_weights, no_drawing, guidance):
    with pytest.raises(ConditionError, match="guidance = .*: give 1 .none. to 99, or None for"):
        refused(tiny_weights, guidance=guidance)


def test_load_generator_by_folder_and_name(tiny_weights):
    class Cards:
        @hookimpl
        def galaxysd_register_weights(self):
            yield WeightCard("small", str(tiny_weights), steps=3, guidance=1.0, revision="pinned")

    get_registry().register(Cards(), name="cards")
    table = Table({"prompt": ["sdss, merger"], "seed": [7]})
    by_name = load_generator("small")
    assert isinstance(by_name, Generator)
    batch = by_name.generate(table)
    assert batch.images.shape == (1, 32, 32, 3)
    assert [batch.meta[key] for key in ("weights", "weights_revision", "steps")] == ["small", "pinned", 3]
    by_folder = load_generator(tiny_weights, steps=3, guidance=1.0).generate(table)
    np.testing.assert_array_equal(batch.images, by_folder.images)
    assert len(by_folder.meta["weights_revision"]) == 40


def test_load_generator_of_a_plugin(flow):
    assert isinstance(load_generator(generator="flow", steps=9), flow)
    assert flow.made_with == [("mini", 9, None)]


def test_unknown_names():
    with pytest.raises(UnknownNameError, match="unknown weights 'minni': did you mean 'mini'"):
        load_generator("minni")
    with pytest.raises(UnknownNameError, match="unknown generator 'difusion': did you mean 'diffusion'"):
        load_generator(generator="difusion")


def test_weights_of_a_missing_package():
    class Cards:
        @hookimpl
        def galaxysd_register_weights(self):
            yield WeightCard("gone", "package:astro_galaxysd/weights/gone")
            yield WeightCard("nowhere", "package:no_such_package/weights")

    get_registry().register(Cards(), name="cards")
    with pytest.raises(WeightsError, match="no weights folder .*gone"):
        load_generator("gone")
    with pytest.raises((WeightsError, PluginError), match="no_such_package"):
        load_generator("nowhere")


def test_card_of_a_folder(tiny_weights):
    card = weight_card(tiny_weights)
    assert (card.name, card.generator) == ("tiny", "diffusion")
    assert weight_card("mini").location == "package:astro_galaxysd/weights/mini"


def test_a_file_is_no_folder(copy):
    with pytest.raises(WeightsError, match=".safetensors is a file; give the folder that it is in"):
        weight_card(copy / UNET)


def test_a_base_beside_the_weights(copy):
    assert weight_card(recommend(copy, {"base": "../base"})).base == str(copy / "../base")
    assert weight_card(recommend(copy, {"base": "hub:a/b"})).base == "hub:a/b"


def recommend(folder, content):
    (folder / "sampling.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_a_folder_says_how_it_wants_to_be_sampled(copy):
    usual = weight_card(copy)
    card = weight_card(recommend(copy, {"steps": 3, "guidance": 1, "sampler": "euler-ancestral"}))
    assert (card.steps, card.guidance, card.sampler) == (3, 1, "euler-ancestral")
    batch = load_generator(copy).generate(Table({"prompt": ["sdss, merger"], "seed": [7]}))
    assert [batch.meta[key] for key in ("steps", "guidance", "sampler")] == [3, 1.0, "euler-ancestral"]
    assert load_generator(copy, steps=4, guidance=2.0).provenance["steps"] == 4  # who asks for something gets it
    part = weight_card(recommend(copy, {"guidance": 6.5}))
    assert (part.steps, part.guidance, part.sampler) == (usual.steps, 6.5, usual.sampler)
    assert weight_card(recommend(copy, {})) == usual


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "sampling.json can't be read .*; mend or remove it"),
        ([40], r"holds \[40\]; steps, guidance, sampler, turned, base, .* may stand there"),
        (
            {"steps": 40, "rescale": 0.7},
            "holds .*'rescale'.*; steps, guidance, sampler, turned, base, .* may stand there",
        ),
        ({"steps": "40"}, "holds {'steps': '40'}; steps, guidance, sampler, turned"),
        ({"steps": 40.5}, "holds {'steps': 40.5}; steps"),
        ({"guidance": None}, "holds {'guidance': None}; steps"),
        ({"sampler": 2}, "holds {'sampler': 2}; steps"),
    ],
)
def test_sampling_that_can_not_be_read(copy, no_drawing, content, message):
    recommend(copy, content)
    with pytest.raises(WeightsError, match=message):
        refused(copy)


def test_sampling_out_of_range_or_unknown(copy, no_drawing):
    with pytest.raises(ConditionError, match="steps = 1: give a whole number from 2 to 500"):
        refused(recommend(copy, {"steps": 1}))
    with pytest.raises(UnknownNameError, match="unknown sampler 'dpm': did you mean 'dpm"):
        refused(recommend(copy, {"sampler": "dpm"}))


def test_guidance_without_rescaling_is_plain_guidance():
    generator = torch.Generator().manual_seed(0)
    conditional, unconditional = torch.randn(2, 3, 4, 4, 4, generator=generator)
    plain = unconditional + 7.5 * (conditional - unconditional)
    assert torch.equal(guide(conditional, unconditional, 7.5, 0.0), plain)
    assert not torch.allclose(guide(conditional, unconditional, 7.5), plain)


@pytest.mark.parametrize(("zero_snr", "share"), [(True, GUIDANCE_RESCALE), (False, 0.0), (None, 0.0)])
def test_only_schedules_that_end_in_pure_noise_are_rescaled(tiny_weights, monkeypatch, zero_snr, share):
    model, shares = load_components(tiny_weights), set()
    model.scheduler.pop("rescale_betas_zero_snr")
    if zero_snr is not None:
        model.scheduler["rescale_betas_zero_snr"] = zero_snr

    def watch(conditional, unconditional, guidance, rescale):
        shares.add(rescale)
        return guide(conditional, unconditional, guidance, rescale)

    monkeypatch.setattr(sample, "guide", watch)
    sample.sample_rows(model, ["sdss, merger"], [0], steps=2, guidance=2.0, sampler="dpm++")
    assert shares == {share}


def test_estimate_grows_with_the_work():
    card = WeightCard("x", "y", gflop=100.0, memory=10.0, image_size=64)
    few, many = (estimate(n, card, steps=10, guidance=2.0) for n in (10, 1000))
    assert many["seconds"] > 20 * few["seconds"]
    assert many["memory_mb"] == pytest.approx(10 + 1000 * 64 * 64 * 3 / 1e6, abs=0.1)


def test_estimate_counts_eight_rows_for_each_core(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    card = weight_card("mini")
    one, all_cores, one_more = (estimate(n, card, steps=20, guidance=2.0)["seconds"] for n in (1, 16, 17))
    assert one == all_cores > 0
    assert one_more == pytest.approx(2 * all_cores, rel=0.01)


def test_a_folder_of_the_same_name_is_not_the_default(tiny_weights, tmp_path, monkeypatch):
    """Plug-ins choose a generator for the weights that ship, not for a folder that happens to be called so."""
    folder = shutil.copytree(tiny_weights, tmp_path / "mini")
    monkeypatch.setattr(type(get_registry()), "select_generator", lambda *_, **__: pytest.fail("asked"))
    drawing = Drawing(Table({"prompt": ["sdss"], "seed": [1]}), None, weights=folder, steps=2, progress=False)
    assert drawing.request.generator == "diffusion"
    assert drawing.run()[0].shape == (1, 32, 32, 3)
