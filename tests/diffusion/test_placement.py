"""Where networks compute: device, precision, rows of a call."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from astropy.table import Table

from astro_galaxysd import load_generator
from astro_galaxysd.diffusion import sample
from astro_galaxysd.diffusion.components import load_components
from astro_galaxysd.diffusion.encode import PromptStates, encode_prompts
from astro_galaxysd.diffusion.placement import MICRO_BATCH, is_small, micro_batch, place
from astro_galaxysd.diffusion.sample import sample_rows
from astro_galaxysd.errors import ConditionError, PluginError, UnknownNameError

ROWS = Table({"prompt": ["sdss, merger", "sdss, {ring galaxy:1.2}"] * 12, "seed": np.arange(24)})


@pytest.fixture
def model(tiny_weights):
    return load_components(tiny_weights)


def on_gpu(parameters):
    unet = SimpleNamespace(device=torch.device("cuda:0"), parameters=lambda: [torch.empty(parameters, device="meta")])
    return SimpleNamespace(unet=unet)


def test_rows_of_a_call(model):
    assert micro_batch(model) == MICRO_BATCH
    assert micro_batch(on_gpu(10)) == 64
    assert micro_batch(on_gpu(900_000_000)) == MICRO_BATCH  # of Stable Diffusion 64 would not fit
    assert is_small(model)


def test_on_the_processor(model):
    assert place(model, "cpu") == "cpu fp32"
    assert model.unet.dtype == torch.float32
    convolution = model.unet.conv_in.weight
    assert convolution.is_contiguous(memory_format=torch.channels_last)


def test_a_gpu_is_taken_where_there_is_one(model, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device", lambda where: nullcontext())
    # older ones only emulate it
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    moved = []
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *where, **options: moved.append(where) or self)
    assert place(model) == "cuda fp16"
    assert (torch.device("cuda:0"), torch.float16) in moved


def test_bf16_draws_nearly_the_same(tiny_weights):
    exact, coarse = (
        load_generator(tiny_weights, steps=3, guidance=2.0, precision=name).generate(ROWS) for name in ("fp32", "bf16")
    )
    assert (exact.meta["device"], coarse.meta["device"]) == ("cpu fp32", "cpu bf16")
    difference = np.abs(exact.images.astype(int) - coarse.images)
    assert 0 < difference.max() <= 12


def test_one_device_and_precision_go_to_plugins_only_where_asked_for(flow):
    load_generator("mini", generator="flow")  # whose factory knows neither
    with pytest.raises(PluginError, match="precision"):
        load_generator("mini", generator="flow", precision="bf16")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"device": "cuda:7"}, ConditionError, r"device='cuda:7' can't be used \(.*\); there is cpu"),
        ({"device": "abacus"}, ConditionError, "device='abacus' can't be used"),
        ({"device": "meta"}, ConditionError, "device='meta' can't be used"),
        ({"precision": "fp8"}, UnknownNameError, "unknown precision 'fp8'"),
        ({"precision": "fp16", "device": "cpu"}, ConditionError, "precision='fp16' needs a GPU; use 'bf16'"),
    ],
)
def test_refused(tiny_weights, options, error, message):
    with pytest.raises(error, match=message):
        load_generator(tiny_weights, **options)


def test_prompts_are_encoded_once(tiny_weights, monkeypatch):
    generator = load_generator(tiny_weights, steps=2, guidance=2.0)
    seen = []

    def watched(encoder, tokenizer, prompts, **options):
        seen.extend(dict.fromkeys(prompts))
        return encode_prompts(encoder, tokenizer, prompts, **options)

    monkeypatch.setattr("astro_galaxysd.diffusion.encode.encode_prompts", watched)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two that begin at once may both encode
    try:
        generator.generate(ROWS)
        generator.generate(ROWS[:3])
    finally:
        torch.set_num_threads(threads)
    assert sorted(seen) == ["", "sdss, merger", "sdss, {ring galaxy:1.2}"]


def test_states_of_a_prompt_do_not_depend_on_the_others(model):
    states = PromptStates(model.text_encoder, model.tokenizer)
    many = [f"sdss, {{merger:1.{number}}}" for number in range(20)]
    with torch.inference_mode():
        together = states(many)
        alone = PromptStates(model.text_encoder, model.tokenizer)([many[13]])
        again = states([many[13], many[2]])
    assert torch.equal(alone[0], together[13])
    assert torch.equal(again, together[[13, 2]])


def test_states_are_forgotten_in_the_end(model, monkeypatch):
    monkeypatch.setattr("astro_galaxysd.diffusion.encode._KEPT", 4)
    states = PromptStates(model.text_encoder, model.tokenizer)
    for number in range(6):
        states([f"sdss, {{merger:1.{number}}}"])
    assert list(states._known) == [f"sdss, {{merger:1.{number}}}" for number in range(2, 6)]


def test_a_large_network_has_all_threads(model, monkeypatch):
    """Several calls at a time would not fit into the memory; and the bits must not depend on the threads."""
    monkeypatch.setattr("astro_galaxysd.diffusion.placement._SMALL", 0)
    monkeypatch.setattr(sample, "side_by_side", None)
    threads, seen = torch.get_num_threads(), []
    forward = model.unet.forward

    def watched(*arguments, **options):
        seen.append((torch.get_num_threads(), torch.backends.mkldnn.enabled))
        return forward(*arguments, **options)

    monkeypatch.setattr(model.unet, "forward", watched)
    drawn = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            drawn.append(sample_rows(model, list(ROWS["prompt"]), range(24), steps=2, guidance=1.0, sampler="dpm++"))
    finally:
        torch.set_num_threads(threads)
    assert set(seen) == {(1, False), (2, False)}
    np.testing.assert_array_equal(*drawn)


def test_asked_for_so_many_at_a_time_that_all_threads_work(tiny_weights):
    generator = load_generator(tiny_weights, steps=2)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert generator.together == 2 * MICRO_BATCH
    finally:
        torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch of parts of its own
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles for processors with g++, which is not there")
def test_compiled(tiny_weights):
    plain, compiled = (load_generator(tiny_weights, steps=2, compiled=how).generate(ROWS) for how in (False, True))
    assert compiled.meta["device"] == "cpu fp32 compiled"
    assert np.abs(plain.images.astype(int) - compiled.images).max() <= 2
