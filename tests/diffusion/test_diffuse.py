from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from astro_galaxysd.conditions.tree import INDEX
from astro_galaxysd.diffusion.components import SCHEDULER, load_autoencoder, load_components, save_components
from astro_galaxysd.diffusion.diffuse import ConditionedRun, alphas_cumprod, channel_share, timestep_weights
from astro_galaxysd.diffusion.recipes import DiffusionRecipe
from astro_galaxysd.learning.engine import Engine
from astro_galaxysd.learning.trainingset import TrainingSet

WHOLE = slice(0, 4)


def same(one, two):
    return all(torch.equal(mine, other) for mine, other in zip(one, two, strict=True))


class TestSchedule:
    def test_ends_in_pure_noise(self):
        signal = alphas_cumprod(SCHEDULER)
        assert signal[0] > 0.99
        assert signal[-1] < 1e-6
        assert (signal.diff() < 0).all()

    def test_is_the_schedulers_own(self):
        stable = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
        torch.testing.assert_close(alphas_cumprod(stable), (1 - betas).cumprod(0))


class TestTimestepWeights:
    SIGNAL = torch.tensor([0.999, 0.9, 0.5, 0.1, 0.001])
    SNR = SIGNAL / (1 - SIGNAL)

    @pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
    def test_without_gamma_all_are_alike(self, prediction):
        assert timestep_weights(self.SIGNAL, prediction, 0.0).tolist() == [1.0] * 5

    def test_of_noise(self):
        expected = torch.minimum(self.SNR, torch.tensor(5.0)) / self.SNR
        torch.testing.assert_close(timestep_weights(self.SIGNAL, "epsilon", 5.0), expected)

    def test_of_velocities(self):
        expected = torch.minimum(self.SNR + 1, torch.tensor(5.0)) / (self.SNR + 1)
        torch.testing.assert_close(timestep_weights(self.SIGNAL, "v_prediction", 5.0), expected)

    @pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
    def test_pure_noise_counts_in_full(self, prediction):
        assert timestep_weights(torch.zeros(1), prediction, 5.0).tolist() == [1.0]


class TestChannelShare:
    @pytest.mark.parametrize("detail", [0.0, 0.5, 1.0])
    def test_counts_by_light_with_a_mean_of_one(self, tiny_weights, detail):
        vae = load_autoencoder(tiny_weights / "vae")
        share = channel_share(vae, detail)
        assert share.shape == (1, 4, 1, 1)
        assert float(share.mean()) == pytest.approx(1)
        torch.testing.assert_close(share.flatten() / share.flatten()[0], (vae.amplitudes / vae.amplitudes[0]) ** detail)

    def test_other_autoencoders_have_channels_alike(self):
        assert channel_share(torch.nn.Identity(), 0.5).tolist() == [[[[1.0]]]]


class TestBatch:
    def test_comes_from_seed_and_step(self, start):
        first, second = start("a"), start("b")
        for mine, other in zip(first.batch(3), second.batch(3), strict=True):
            assert np.array_equal(mine, other)
        assert not torch.equal(first.batch(3).latents, first.batch(4).latents)
        assert not torch.equal(first.batch(3).noise, start("c", seed=1).batch(3).noise)

    def test_is_the_same_with_a_cache(self, start):
        plain, cached = start("a").batch(2), start("b", cache_latents=True).batch(2)
        torch.testing.assert_close(plain.latents, cached.latents, rtol=2**-11, atol=1e-5)
        assert torch.equal(plain.noise, cached.noise)
        assert plain.captions == cached.captions

    def test_timesteps_span_the_schedule(self, start):
        times = start(batch_size=10).batch(0).times
        assert (times // 100).tolist() == list(range(10))

    def test_rarity_draws_rare_rows_more_often(self, start, galaxies):
        fractions = np.full((12, 37), np.nan)
        fractions[:, INDEX["smooth"]] = 0.9
        fractions[5, INDEX["odd"]], fractions[5, INDEX["ring"]] = 0.9, 0.9
        data = replace(galaxies, fractions=fractions)

        def drawn(**changes):
            run = start(data=data, batch_size=100, **changes)
            return np.mean(np.concatenate([run.rows(step) for step in range(3)]) == 5)

        assert drawn(rarity=0.0) == pytest.approx(1 / 12, abs=0.05)
        assert drawn(rarity=1.0, rarity_limit=100.0) == pytest.approx(12 / 23, abs=0.1)
        assert drawn(rarity=1.0, rarity_limit=3.0) == pytest.approx(3 / 14, abs=0.07)

    def test_answers_of_few_volunteers(self, start, galaxies):
        fractions = np.full((12, 37), np.nan)
        fractions[:, INDEX["smooth"]], fractions[:, INDEX["features"]] = 0.9, 0.1
        fractions[:, INDEX["not_edge_on"]], fractions[:, INDEX["spiral"]] = 0.9, 0.9
        data = replace(galaxies, fractions=fractions)
        always = {"captions": {"empty": 0.0, "tag_dropout": 0.0, "single_tags": 0.0}}
        strict = start(data=data, well_sampled=True, **always).batch(0).captions
        loose = start(data=data, well_sampled=False, **always).batch(0).captions
        assert not any("spiral" in caption for caption in strict)
        assert all("spiral" in caption for caption in loose)

    def test_captions_are_the_recipes(self, start):
        assert start(captions={"empty": 1.0}).batch(0).captions == [""] * 4


class TestLoss:
    def test_a_perfect_model_of_velocities_has_none(self, start, monkeypatch):
        run = start()
        batch = run.batch(0)
        a = run.signal[batch.times][:, None, None, None]
        velocity = a.sqrt() * batch.noise - (1 - a).sqrt() * batch.latents
        monkeypatch.setattr(run.unet, "forward", lambda *_, **__: (velocity,))
        assert float(run.loss(0, WHOLE).detach()) == pytest.approx(0, abs=1e-10)

    def test_a_perfect_model_of_noise_has_none(self, galaxies, tiny_weights, tiny_recipe, tmp_path, monkeypatch):
        components = load_components(tiny_weights)
        components.scheduler["prediction_type"] = "epsilon"
        for part in (components.unet, components.text_encoder):
            part.requires_grad_(True)
        recipe = tiny_recipe(DiffusionRecipe)
        run = ConditionedRun(
            tmp_path, galaxies, recipe, components, Engine("fp32"), share=channel_share(components.vae, 0.5)
        )
        monkeypatch.setattr(run.unet, "forward", lambda *_, **__: (run.batch(0).noise,))
        assert float(run.loss(0, WHOLE).detach()) == 0
        assert (run.current().unet, run.current().scheduler["prediction_type"]) == (run.unet, "epsilon")

    def test_is_the_weighted_squared_error(self, start, monkeypatch):
        run = start(gamma=5.0, detail=0.5)
        batch = run.batch(0)
        a = run.signal[batch.times][:, None, None, None]
        velocity = a.sqrt() * batch.noise - (1 - a).sqrt() * batch.latents
        noisy = []

        def zero(sample, *_, **__):
            noisy.append(sample)
            return (torch.zeros_like(sample),)

        monkeypatch.setattr(run.unet, "forward", zero)
        weights = timestep_weights(a.flatten(), "v_prediction", 5.0)
        expected = ((velocity.square() * run.share).mean((1, 2, 3)) * weights).mean()
        assert float(run.loss(0, WHOLE).detach()) == pytest.approx(float(expected), rel=1e-5)
        torch.testing.assert_close(noisy[0], a.sqrt() * batch.latents + (1 - a).sqrt() * batch.noise)

    def test_falls(self, start):
        run = start(steps=25, learning_rate=3e-3)

        def measured():
            with torch.no_grad():
                return np.mean([float(run.loss(step, WHOLE)) for step in range(8)])

        before = measured()
        for _ in range(25):
            run.advance()
        assert measured() < 0.93 * before

    @pytest.mark.parametrize("pieces", [2, 4])
    def test_pieces_have_the_gradients_of_the_whole(self, start, pieces):
        """To the rounding of sums in another order."""
        found = []
        for accumulate in (1, pieces):
            run = start(str(accumulate), accumulate=accumulate)
            run.engine.update = lambda _, parameters, __: found.append([p.grad.clone() for p in parameters]) or 0.0
            found.append(run.advance())
        (whole, loss), (parts, mean) = (found[:2], found[2:])
        assert mean == pytest.approx(loss, rel=1e-6)
        for mine, other in zip(whole, parts, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)

    def test_checkpointing_changes_memory_alone(self, start):
        found = []
        for checkpointing in (False, True):
            run = start(str(checkpointing), checkpointing=checkpointing)
            loss = run.loss(0, WHOLE)
            loss.backward()
            assert run.unet.is_gradient_checkpointing is checkpointing
            parts = run.text_encoder.modules()
            assert any(getattr(part, "gradient_checkpointing", False) for part in parts) is checkpointing
            found.append([loss.detach(), *(p.grad for p in run.parameters)])
        for plain, computed_again in zip(*found, strict=True):
            torch.testing.assert_close(plain, computed_again, rtol=1e-5, atol=1e-7)

    def test_bf16_is_close(self, start):
        with torch.no_grad():
            plain, rounded = (float(start(name, precision=name).loss(0, WHOLE)) for name in ("fp32", "bf16"))
        assert rounded == pytest.approx(plain, rel=0.02)
        assert rounded != plain


class TestRun:
    def test_a_killed_run_ends_in_the_same_weights(self, start):
        whole = start("whole")
        whole.run(progress=False)
        broken = start("broken")
        for _ in range(4):
            broken.advance()
        broken.save()
        broken.advance()  # lost: the process dies before the next checkpoint
        again = start("broken")
        assert again.resume()
        assert again.step == 4
        again.run(progress=False)
        assert same(whole.average, again.average)
        assert same(whole.parameters, again.parameters)

    def test_text_encoder_learns_and_autoencoder_stays(self, start):
        run = start()
        before = {name: [p.detach().clone() for p in getattr(run, name).parameters()]
                  for name in ("unet", "text_encoder", "vae")}  # fmt: skip
        run.advance()
        assert not same(before["unet"], run.unet.parameters())
        assert not same(before["text_encoder"], run.text_encoder.parameters())
        assert same(before["vae"], run.vae.parameters())

    def test_components_are_the_averaged_weights(self, start):
        run = start(ema=0.5)
        for _ in range(3):
            run.advance()
        average = [value.clone() for value in run.average]
        components = run.components()
        assert same([*components.unet.parameters(), *components.text_encoder.parameters()], average)
        assert not components.unet.training

    def test_trained_weights_load_and_belong_together(self, start, tmp_path):
        run = start()
        run.run(progress=False)
        save_components(run.components(), tmp_path / "weights")
        stored = load_components(tmp_path / "weights")
        assert stored.unet.config.block_out_channels == [16, 32]
        assert stored.image_size == 32

    def test_sides_of_any_image(self, start, galaxies):
        data = TrainingSet(galaxies.images[:, :24, :24], galaxies.fractions, galaxies.ids)
        run = start(data=data)
        assert run.unet.config.sample_size == 3
        assert np.isfinite(run.advance())
