from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from astro_galaxysd.conditions.tree import INDEX
from astro_galaxysd.diffusion.components import SCHEDULER, load_components
from astro_galaxysd.diffusion.runs import Recipe
from astro_galaxysd.diffusion.train import (
    AutoencoderRecipe,
    AutoencoderRun,
    DiffusionRecipe,
    DiffusionRun,
    alphas_cumprod,
)
from astro_galaxysd.errors import OutputError, TrainingError

TINY = {"width": (16, 32), "text_width": 32, "text_layers": 1, "batch_size": 4, "steps": 6, "warmup": 2}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    images = (rng.random((12, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2) * 255).astype(np.uint8)
    fractions = np.full((12, 37), np.nan)
    fractions[:, INDEX["smooth"]] = rng.random(12)
    return images, fractions


@pytest.fixture
def start(data, tiny_weights, tmp_path):
    """Starts a run in a folder of its own, or goes on with it."""

    def run(name="run", **changes):
        recipe = DiffusionRecipe(**{**TINY, **changes})
        return DiffusionRun(tmp_path / name, *data, tiny_weights / "vae", recipe)

    return run


def test_a_killed_run_ends_in_the_same_weights(start):
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
    for mine, other in zip(whole.average, again.average, strict=True):
        assert torch.equal(mine, other)
    for mine, other in zip(whole.parameters, again.parameters, strict=True):
        assert torch.equal(mine, other)


def test_an_interrupt_saves_where_it_was(start, monkeypatch):
    run = start()
    advance = run.advance

    def interrupted():
        if run.step == 3:
            raise KeyboardInterrupt
        return advance()

    monkeypatch.setattr(run, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.run(progress=False)
    again = start()
    assert again.resume()
    assert again.step == 3


def test_nothing_to_go_on_from(start):
    assert not start("new").resume()


def test_the_loss_falls(start):
    run = start(steps=60, learning_rate=3e-3)
    losses = [run.advance() for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_loss_that_is_not_finite_keeps_the_checkpoint(start, monkeypatch):
    run = start()
    run.advance()
    run.save()
    before = run.checkpoint.read_bytes()
    monkeypatch.setattr(run, "loss", lambda step: torch.tensor(float("nan"), requires_grad=True))
    with pytest.raises(TrainingError, match="the loss became nan at step 1; the last checkpoint .* is kept"):
        run.run(progress=False)
    assert run.checkpoint.read_bytes() == before


def test_damaged_checkpoint(start):
    run = start()
    run.save()
    run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="can't go on from this checkpoint"):
        start().resume()


def test_checkpoint_of_another_shape(start):
    start().save()
    with pytest.raises(TrainingError, match="Use the recipe it was made with"):
        start(width=(16, 48)).resume()


def test_full_disk_keeps_the_last_checkpoint(start, monkeypatch):
    run = start()
    run.save()
    before = run.checkpoint.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="No space left on device.*the last one is kept"):
        run.save()
    assert run.checkpoint.read_bytes() == before
    assert [path.name for path in run.folder.glob("*.partial")] == []


def test_log_and_recipe_are_written(start):
    run = start(steps=100, batch_size=1)
    run.run(progress=False)
    lines = (run.folder / "log.csv").read_text().splitlines()
    assert lines[0] == "step,images,loss,rate,unix_time"
    assert lines[1].startswith("100,100,")
    assert json.loads((run.folder / "recipe.json").read_text())["steps"] == 100


def test_batches_come_from_seed_and_step(start):
    first, second = start("a"), start("b")
    for mine, other in zip(first.batch(3), second.batch(3), strict=True):
        assert torch.equal(mine, other) if isinstance(mine, torch.Tensor) else mine == other
    assert not torch.equal(first.batch(3)[0], first.batch(4)[0])


def test_timesteps_of_a_batch_span_the_schedule(start):
    times = start(batch_size=10).batch(0)[2]
    assert (times // 100).tolist() == list(range(10))


def test_schedule_ends_in_pure_noise():
    signal = alphas_cumprod(SCHEDULER)
    assert signal[0] > 0.99
    assert signal[-1] < 1e-6
    assert (signal.diff() < 0).all()


def test_velocity_of_a_perfect_model_has_no_loss(start, monkeypatch):
    run = start()
    latents, _, times, noise = run.batch(0)
    a = run.signal[times][:, None, None, None]
    monkeypatch.setattr(run.unet, "forward", lambda *_, **__: (a.sqrt() * noise - (1 - a).sqrt() * latents,))
    assert float(run.loss(0)) == pytest.approx(0, abs=1e-10)


def test_components_are_the_averaged_weights(start):
    run = start(ema=0.5)
    for _ in range(3):
        run.advance()
    average = [value.clone() for value in run.average]
    components = run.components()
    assert all(torch.equal(a, b) for a, b in zip(components.unet.parameters(), average, strict=False))
    assert not components.unet.training


@pytest.mark.parametrize(("step", "rate"), [(0, 0.1), (9, 1.0), (50, 1.0), (90, 0.4), (100, 0.0)])
def test_learning_rate(step, rate):
    recipe = Recipe(batch_size=1, steps=100, learning_rate=1.0, warmup=10, cooldown=0.25)
    assert recipe.rate(step) == pytest.approx(rate)


class TestAutoencoder:
    RECIPE = AutoencoderRecipe(
        batch_size=4, steps=30, warmup=2, latent_channels=4, channels=8, blocks=(1, 0, 0, 0), crop=16
    )

    def test_reconstruction_improves(self, data, tmp_path):
        run = AutoencoderRun(tmp_path, data[0], self.RECIPE)
        losses = [run.advance() for _ in range(30)]
        assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])

    def test_encoder_stays_and_decoder_is_exported(self, data, tmp_path):
        from astro_galaxysd.diffusion.components import load_autoencoder

        run = AutoencoderRun(tmp_path / "run", data[0], self.RECIPE)
        before = [value.detach().clone() for value in run.vae.encoder.parameters()]
        run.run(progress=False)
        run.export(tmp_path / "autoencoder")
        stored = load_autoencoder(tmp_path / "autoencoder")
        assert all(torch.equal(a, b) for a, b in zip(stored.encoder.parameters(), before, strict=True))
        assert all(torch.equal(a, b) for a, b in zip(stored.decoder.parameters(), run.average, strict=True))

    def test_resumes_exactly(self, data, tmp_path):
        whole = AutoencoderRun(tmp_path / "whole", data[0], self.RECIPE)
        whole.run(progress=False)
        part = AutoencoderRun(tmp_path / "part", data[0], self.RECIPE)
        for _ in range(11):
            part.advance()
        part.save()
        again = AutoencoderRun(tmp_path / "part", data[0], self.RECIPE)
        again.resume()
        again.run(progress=False)
        assert all(torch.equal(a, b) for a, b in zip(whole.average, again.average, strict=True))


def test_trained_weights_load_and_belong_together(start, tmp_path):
    from astro_galaxysd.diffusion.components import save_components

    run = start()
    run.run(progress=False)
    save_components(run.components(), tmp_path / "weights")
    assert load_components(tmp_path / "weights").unet.config.block_out_channels == [16, 32]
