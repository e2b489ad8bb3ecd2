"""Draws that are compared with real galaxies, and what is learnt of it."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from astropy.table import Table

from astro_galaxysd import load_generator
from astro_galaxysd.conditions.prompts import prompts_from_fractions
from astro_galaxysd.conditions.tree import INDEX
from astro_galaxysd.diffusion import refine
from astro_galaxysd.diffusion.components import load_components
from astro_galaxysd.diffusion.diffuse import channel_share
from astro_galaxysd.diffusion.encode import encode_prompts
from astro_galaxysd.diffusion.finetune import FinetuneRun
from astro_galaxysd.diffusion.placement import MICRO_BATCH
from astro_galaxysd.diffusion.recipes import RefineRecipe
from astro_galaxysd.diffusion.refine import RefineRun, drawn_latents
from astro_galaxysd.diffusion.sample import decode_latents, decoded, sample_latents
from astro_galaxysd.errors import MissingDependencyError, TrainingError, UnknownNameError
from astro_galaxysd.evaluation.appearance import Appearance
from astro_galaxysd.evaluation.networks import build
from astro_galaxysd.evaluation.reading import ImageReader
from astro_galaxysd.learning.recipes import make_recipe
from astro_galaxysd.learning.trainingset import TrainingSet
from astro_galaxysd.learning.views import pixels_of
from astro_galaxysd.weightcards import weight_card

SMALLEST = {"batch_size": 2, "drawing_steps": 2, "learning_steps": 1}
QUICK = {"batch_size": 4, "steps": 2, "warmup": 0, "precision": "fp32", "drawing_steps": 3, "learning_steps": 2}
PROMPTS = ["sdss, smooth", "sdss, {ring:1.3}", "sdss, merger", ""] * (MICRO_BATCH // 4)


def looks(images, device):
    """Eyes that have learnt nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = build("residual", (8, 16), 37)
    return Appearance(ImageReader(network, {"revision": "none", "image_size": images.shape[1]}), images, device=device)


@pytest.fixture(scope="module")
def data(galaxies):
    """Three times as many galaxies, some darker, of which some have no votes."""
    images = np.concatenate([galaxies.images, galaxies.images // 2, galaxies.images[:, ::-1]])
    fractions = np.tile(galaxies.fractions, (3, 1))
    fractions[:, INDEX["merger"]] = np.linspace(0, 1, 36)
    return TrainingSet(images, fractions, [f"g{row}" for row in range(36)])


@pytest.fixture
def start(data, tiny_weights, tmp_path):
    """Starts a run in a folder of its own, or goes on with it."""

    def run(name="run", rows=data, eyes=looks, **changes):
        recipe = make_recipe(RefineRecipe, tmp_path / name, QUICK | changes, "mini")
        return RefineRun(tmp_path / name, rows, tiny_weights, recipe, eyes)

    return run


@pytest.fixture
def model(tiny_weights):
    components = load_components(tiny_weights)
    components.unet.requires_grad_(True)
    components.text_encoder.requires_grad_(True)
    return components


def hidden_of(model, prompts=PROMPTS):
    return encode_prompts(model.text_encoder, model.tokenizer, prompts)


def noise_of(seeds):
    return torch.stack([torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


class TestDrawing:
    @pytest.mark.parametrize(("steps", "learning"), [(6, ()), (3, (0, 2))])
    def test_the_latents_are_those_that_are_sampled_without_guidance(self, model, learning, steps):
        seeds = range(MICRO_BATCH)
        with torch.no_grad():
            expected = sample_latents(model, PROMPTS, seeds, steps=steps, guidance=1.0, sampler="dpm++")
        drawn = drawn_latents(model.unet, model.scheduler, hidden_of(model), noise_of(seeds), steps, learning)
        torch.testing.assert_close(drawn.detach(), expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("learning", [(), (0,), (1,), (0, 1, 2)])
    def test_only_steps_that_learn_have_gradients(self, model, learning):
        hidden = hidden_of(model, PROMPTS[:2])
        drawn = drawn_latents(model.unet, model.scheduler, hidden, noise_of([0, 1]), 3, learning)
        assert drawn.requires_grad == bool(learning)
        if learning:
            drawn.square().sum().backward()
        for network in (model.unet, model.text_encoder):
            seen = [value.grad is not None and bool(value.grad.abs().max() > 0) for value in network.parameters()]
            assert any(seen) == bool(learning)

    def test_weights_learn_after_calls_that_do_not_in_half_precision(self, model):
        hidden = hidden_of(model, PROMPTS[:1])
        with torch.autocast("cpu", torch.bfloat16):  # which keeps weights it has converted
            drawn = drawn_latents(model.unet, model.scheduler, hidden, noise_of([0]), 3, {2})
        drawn.float().square().sum().backward()
        learnt = [value.grad is not None and bool(value.grad.abs().max() > 0) for value in model.unet.parameters()]
        assert sum(learnt) > 0.9 * len(learnt)

    def test_no_call_learns_from_the_calls_before_it(self, model):
        inputs = []

        def unet(latents, time, hidden, return_dict):
            inputs.append((latents.requires_grad, torch.is_grad_enabled()))
            return model.unet(latents, time, hidden, return_dict=return_dict)

        drawn_latents(unet, model.scheduler, hidden_of(model, PROMPTS[:1]), noise_of([0]), 4, {1, 3})
        assert inputs == [(False, False), (False, True), (False, False), (False, True)]

    def test_gradients_of_the_whole_way_are_those_of_its_noise(self, model):
        """As a finite difference says, which the gradient of a truncated way is not."""
        model.unet.double()
        noise = noise_of([0]).double().requires_grad_(True)
        hidden = hidden_of(model, PROMPTS[:1]).double().detach()

        def drawn(begun, **options):
            return drawn_latents(model.unet, model.scheduler, hidden, begun, 3, {0, 1, 2}, **options).square().sum()

        (whole,) = torch.autograd.grad(drawn(noise, truncated=False), noise)
        (truncated,) = torch.autograd.grad(drawn(noise), noise)
        along, small = torch.sign(whole), 1e-4
        with torch.no_grad():
            measured = (drawn(noise + small * along) - drawn(noise - small * along)) / (2 * small)
        assert float((whole * along).sum()) == pytest.approx(float(measured), rel=1e-3)
        assert float((truncated * along).sum()) != pytest.approx(float(measured), rel=1e-2)

    def test_nothing_learns_where_gradients_are_off(self, model):
        with torch.no_grad():
            drawn = drawn_latents(model.unet, model.scheduler, hidden_of(model, [""]), noise_of([0]), 2, {0, 1})
        assert not drawn.requires_grad

    def test_pixels_are_those_that_are_kept(self, model):
        latents = noise_of(range(3))
        with torch.no_grad():
            stored = refine._as_stored(decoded(model.vae, latents))
            images = decode_latents(model, latents)
        assert np.abs(np.asarray(pixels_of(images) - stored)).max() <= 2 / 255 + 1e-5  # rounded up or down
        assert (pixels_of(images) - stored).abs().median() < 1e-6

    def test_rounding_keeps_gradients(self):
        pixels = torch.linspace(-1.2, 1.2, 99, requires_grad=True)
        stored = refine._as_stored(pixels)
        levels = (stored.detach() + 1) * 127.5
        torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-4)
        assert levels.min() >= -1e-4
        assert levels.max() <= 255 + 1e-4
        stored.sum().backward()
        assert torch.equal(pixels.grad, torch.ones(99))


class TestDraws:
    def test_they_follow_from_the_seed_and_the_step(self, start):
        first, second = start()._draws(3), start("other")._draws(3)
        assert first.prompts == second.prompts
        assert first.learning == second.learning
        assert first.shift == second.shift
        for name in ("whole", "noise"):
            assert torch.equal(getattr(first, name), getattr(second, name))
        run = start()
        assert not torch.equal(run._draws(3).noise, run._draws(4).noise)
        assert not torch.equal(run._draws(3).noise[0], run._draws(3).noise[1])

    def test_a_reader_sees_drawn_and_real_images_moved_alike_and_otherwise_each_time(self, start):
        run = start(eyes=Eyes)
        for step in range(12):
            run.loss(step, slice(None))
        shifts = [run.looks.shifts[3 * step : 3 * step + 3] for step in range(12)]
        assert all(len(set(three)) == 1 for three in shifts)
        assert len({three[0] for three in shifts}) > 8
        assert all(-4 <= pixels <= 4 for three in shifts for pixels in three[0])

    def test_other_steps_learn_each_time(self, start):
        run = start(drawing_steps=6, learning_steps=3)
        chosen = [run._draws(step).learning for step in range(12)]
        assert all(len(steps) == 3 for steps in chosen)
        assert set().union(*chosen) == set(range(6))

    def test_prompts_that_carry_all_votes(self, start, data):
        run = start(whole_prompts=1.0)
        draws, asked = run._draws(0), prompts_from_fractions(data.fractions[run.rows(0)])
        assert draws.whole.tolist() == [1.0] * 4
        for mine, other in zip(draws.prompts, asked, strict=True):  # in another order
            assert sorted(mine.split(", ")) == sorted(other.split(", "))

    def test_no_prompt_carries_all_votes(self, start):
        run = start(whole_prompts=0.0, votes=0.0, captions={"empty": 1.0})
        draws = run._draws(0)
        assert draws.whole.tolist() == [0.0] * 4
        assert draws.prompts == [""] * 4
        assert np.isfinite(run.loss(0, slice(None)).item())


class Eyes:
    """See the mean of an image; a score of 1, and a divergence of 1 for each draw whose row has votes."""

    def __init__(self, *_):
        self.shifts, self.seen = [], []

    def __call__(self, pixels, shift):
        self.shifts.append(shift)
        self.seen.append(pixels.detach())
        return pixels.mean(dim=(1, 2, 3))

    def score(self, first, second, real):
        return 1 + 0 * (first + second + real)

    def divergence(self, drawn, fractions):
        return 1 + 0 * drawn


class TestLoss:
    def test_votes_count_where_they_were_asked_for(self, start):
        run = start(eyes=Eyes, whole_prompts=0.5, votes=2.0, denoising=0.0)
        step = next(step for step in range(20) if 0 < run._draws(step).whole.sum() < 4)
        # over the whole batch each prompt that asks for votes counts so much more that the mean is what all would give
        assert run.loss(step, slice(None)).item() == pytest.approx(3.0)
        parts = [run.loss(step, slice(place, place + 1)).item() for place in range(4)]
        whole = run._draws(step).whole
        assert parts == pytest.approx((1 + 2 * whole / whole.mean()).tolist())

    def test_real_galaxies_are_seen_as_the_autoencoder_rebuilds_them(self, start):
        run = start(eyes=Eyes)
        run.loss(0, slice(1, 3))
        drawn, again, real = run.looks.seen
        rebuilt = refine._as_stored(decoded(run.vae, run.batch(0).latents[1:3]))
        torch.testing.assert_close(real, rebuilt)
        assert not torch.equal(drawn, again)
        # in one of eight forms, a form that does not change the mean light
        light = pixels_of(run.data.images[run.rows(0)[1:3]]).mean(dim=(1, 2, 3))
        torch.testing.assert_close(real.mean(dim=(1, 2, 3)), light, atol=0.05, rtol=0)

    def test_denoising_is_that_of_finetuning_weighted_by_detail(self, start, tiny_weights, tmp_path, data):
        alone, more = (start(name, eyes=Eyes, votes=0.0, denoising=weight) for name, weight in (("a", 0.0), ("b", 2.0)))
        added = more.loss(0, slice(None)).item() - alone.loss(0, slice(None)).item()
        other = FinetuneRun(tmp_path / "c", data, tiny_weights, more.recipe)
        other.share = channel_share(other.vae, more.recipe.detail)
        assert other.share.std() > 0
        assert added == pytest.approx(2 * other.loss(0, slice(None)).item(), rel=1e-4)

    def test_pieces_give_the_gradients_of_the_whole(self, start):
        plain, frugal = start("plain"), start("frugal", accumulate=2)
        plain.loss(0, slice(None)).backward()
        for part in (slice(0, 2), slice(2, 4)):
            (0.5 * frugal.loss(0, part)).backward()
        learnt = [(mine.grad, other.grad) for mine, other in zip(plain.parameters, frugal.parameters, strict=True)]
        largest = max(float(mine.abs().max()) for mine, _ in learnt if mine is not None)
        assert largest > 0
        for mine, other in learnt:
            torch.testing.assert_close(mine, other, rtol=1e-2, atol=1e-3 * largest)
        assert plain.advance() == pytest.approx(frugal.advance(), rel=1e-4)

    def test_by_looks_alone_unet_and_text_encoder_learn(self, start):
        run = start(votes=0.0, denoising=0.0, learning_steps=3)
        run.loss(0, slice(None)).backward()
        for network in (run.unet, run.text_encoder):
            assert all(torch.isfinite(value.grad).all() for value in network.parameters() if value.grad is not None)
            assert any(value.grad is not None and value.grad.abs().max() > 0 for value in network.parameters())
        assert all(value.grad is None for value in run.vae.parameters())

    @pytest.mark.parametrize("truncated", [False, True])
    def test_gradients_go_through_all_steps_where_the_recipe_says_so(self, start, monkeypatch, truncated):
        run, seen = start(truncated=truncated, drawing_steps=3, learning_steps=3, denoising=0.0), []
        forward = run.unet.forward

        def watched(latents, *rest, **options):
            seen.append(latents.requires_grad)
            return forward(latents, *rest, **options)

        monkeypatch.setattr(run.unet, "forward", watched)
        run.loss(0, slice(None))
        assert seen[:3] == [False, not truncated, not truncated]

    def test_steps_on_a_batch_lower_it(self, start):
        run = start(learning_rate=5e-4)

        def loss():
            return run.loss(100, slice(None))

        before = loss().item()
        for _ in range(6):
            run.engine.backward(loss())
            run.engine.update(run.optimizer, run.parameters, 1.0)
        assert loss().item() < before - 0.1


def test_a_killed_run_ends_in_the_same_weights(start):
    whole = start("whole", **SMALLEST)
    whole.run(progress=False)
    broken = start("broken", **SMALLEST)
    broken.advance()
    broken.save()
    broken.advance()  # lost: the process dies before the next checkpoint
    again = start("broken", **SMALLEST)
    assert again.resume()
    assert again.step == 1
    again.run(progress=False)
    for name in ("unet", "text_encoder"):
        states = getattr(whole, name).state_dict(), getattr(again, name).state_dict()
        assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert all(torch.equal(mine, other) for mine, other in zip(whole.average, again.average, strict=True))


def test_a_base_or_a_judge_that_has_changed(start):
    run = start()
    run.save()
    record = run.folder / "base.json"
    begun = json.loads(record.read_text())
    assert (set(begun), begun["stage"]) == (
        {"stage", "revision", "reader", "embedder", "licence", "base_model"},
        "refine",
    )
    for what, told in (("revision", "base"), ("reader", "reader"), ("embedder", "embedder")):
        record.write_text(json.dumps(begun | {what: "another"}))
        with pytest.raises(TrainingError, match=f"was begun with another as --{told}, this one is .*; give the same"):
            start().resume()
    del begun["reader"]
    record.write_text(json.dumps(begun))
    with pytest.raises(TrainingError, match="was begun with none as --reader, this one is .*; give the same"):
        start().resume()


def test_a_run_of_another_stage(start):
    run = start()
    run.save()
    record = run.folder / "base.json"
    begun = json.loads(record.read_text())
    record.write_text(json.dumps(begun | {"stage": "finetune"}))
    message = "this run is one of finetune, not of refine; go on with `galaxysd train finetune`, or start in another"
    with pytest.raises(TrainingError, match=message):
        start().resume()


def test_the_weights_say_how_they_want_to_be_sampled(start, tmp_path):
    run = start(**SMALLEST | {"drawing_steps": 4})
    run.advance()
    run.export(tmp_path / "weights")
    told = json.loads((tmp_path / "weights" / "sampling.json").read_text())
    assert told == {"steps": 4, "guidance": 1.0, "sampler": "dpm++", "turned": True}
    card = weight_card(tmp_path / "weights")
    assert (card.steps, card.guidance, card.sampler) == (4, 1.0, "dpm++")
    drawn = load_generator(tmp_path / "weights").generate(Table({"prompt": ["sdss, merger"], "seed": [1]}))
    assert drawn.images.shape == (1, 32, 32, 3)
    assert drawn.meta["steps"] == 4


@pytest.mark.filterwarnings("ignore:.*Siglip|.*CLIPImage")
def test_adapters(start, tmp_path, tiny_weights):
    pytest.importorskip("peft")
    run = start(lora_rank=2, learning_rate=0.05, **SMALLEST)
    assert all("lora_" in name for name, value in run.unet.named_parameters() if value.requires_grad)
    run.run(progress=False)
    run.export(tmp_path / "weights")
    assert (run.folder / "lora" / "pytorch_lora_weights.safetensors").is_file()
    before, after = load_components(tiny_weights).unet.state_dict(), load_components(tmp_path / "weights").unet
    changed = {name for name, value in after.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(".to_" in name for name in changed)


def test_adapters_need_peft(start, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingDependencyError, match="adapters need peft"):
        start(lora_rank=2)


def test_what_compares_gets_the_images_at_the_size_of_training(start):
    given = []

    def eyes(images, device):
        given.append((images.shape, device))
        return SimpleNamespace()

    run = start(eyes=eyes, image_size=16)
    assert given == [((36, 16, 16, 3), run.device)]


class TestRecipe:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"drawing_steps": 1, "learning_steps": 1}, "drawing_steps = 1, learning_steps = 1; give 2 to 500 of the "),
            (
                {"drawing_steps": 501},
                "recipe: drawing_steps = 501, learning_steps = 4; give 2 to 500 of the first, and ",
            ),
            ({"learning_steps": 0}, "drawing_steps = 4, learning_steps = 0; .* of the second 1 to as many"),
            ({"learning_steps": 5}, "drawing_steps = 4, learning_steps = 5; .* of the second 1 to as many"),
            ({"whole_prompts": 1.5}, r"recipe: whole_prompts = 1.5 is not in \[0, 1\]"),
            ({"whole_prompts": 0}, "whole_prompts = 0 with votes = 1.5: no prompt asks for all .*; set votes = 0, or "),
            ({"whole_prompts": -0.5}, "recipe: whole_prompts = -0.5; must be at least 0"),
            ({"votes": -1}, "recipe: votes = -1.0; must be at least 0"),
            ({"denoising": -1}, "recipe: denoising = -1.0; must be at least 0"),
            ({"detail": -1}, "recipe: detail = -1.0; must be at least 0"),
            ({"votes": "many"}, "recipe: votes = 'many' is not float"),
        ],
    )
    def test_settings_that_can_not_be(self, tmp_path, settings, message):
        with pytest.raises(TrainingError, match=message):
            make_recipe(RefineRecipe, tmp_path, settings, "mini")

    @pytest.mark.parametrize(
        "settings", [{"drawing_steps": 2, "learning_steps": 2}, {"whole_prompts": 1}, {"whole_prompts": 0, "votes": 0}]
    )
    def test_settings_at_the_border(self, tmp_path, settings):
        recipe = make_recipe(RefineRecipe, tmp_path, settings, "mini")
        assert {name: getattr(recipe, name) for name in settings} == settings

    def test_unknown_setting(self, tmp_path):
        with pytest.raises(UnknownNameError, match="unknown setting 'drawing_step': did you mean 'drawing_steps'"):
            make_recipe(RefineRecipe, tmp_path, {"drawing_step": 4}, "mini")

    def test_preset_without_it(self, tmp_path):
        with pytest.raises(TrainingError, match=r"preset galaxysd-paper has no table \[refine\]; choose another"):
            make_recipe(RefineRecipe, tmp_path, {}, "galaxysd-paper")
