from __future__ import annotations

import numpy as np
import pytest
import torch

from astro_galaxysd.diffusion.components import SCHEDULER, load_components
from astro_galaxysd.diffusion.placement import MICRO_BATCH
from astro_galaxysd.diffusion.sample import SAMPLERS, guide, make_scheduler, sample_rows, turned
from astro_galaxysd.errors import UnknownNameError

PROMPTS = ["sdss, spiral galaxy", "sdss, {merger:1.3}", "sdss, smooth"] * 4
SEEDS = list(range(100, 112))


@pytest.fixture(scope="module")
def model(tiny_weights):
    return load_components(tiny_weights)


def draw(model, rows, sampler="dpm++", guidance=2.0):
    prompts, seeds = [PROMPTS[row] for row in rows], [SEEDS[row] for row in rows]
    return sample_rows(model, prompts, seeds, steps=4, guidance=guidance, sampler=sampler)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_a_rows_bits_depend_on_prompt_and_seed_alone(model, sampler, guidance):
    together = draw(model, range(12), sampler, guidance)
    assert together.shape == (12, 32, 32, 3)
    assert together.dtype == np.uint8
    np.testing.assert_array_equal(draw(model, range(11, -1, -1), sampler, guidance)[::-1], together)
    for row in (0, 9):
        np.testing.assert_array_equal(draw(model, [row], sampler, guidance)[0], together[row])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads % 2 + 1)
        np.testing.assert_array_equal(draw(model, range(3, 8), sampler, guidance), together[3:8])
    finally:
        torch.set_num_threads(threads)


def test_seed_and_prompt_matter(model):
    first = sample_rows(model, ["sdss, ring galaxy"] * 2, [0, 1], steps=4, guidance=1.0, sampler="dpm++")
    assert (first[0] != first[1]).any()
    other = sample_rows(model, ["sdss, merger"], [0], steps=4, guidance=1.0, sampler="dpm++")
    assert (first[0] != other[0]).any()


def test_weight_matters(model):
    plain, strong = (
        sample_rows(model, [prompt], [0], steps=4, guidance=1.0, sampler="dpm++")
        for prompt in ("sdss, ring galaxy", "sdss, {ring galaxy:3}")
    )
    assert (plain != strong).any()


def test_guidance_by_hand():
    conditional = torch.tensor([[[[1.0, -1.0]]]])
    unconditional = torch.tensor([[[[0.5, -0.5]]]])
    # guided: 0.5 + 3 * 0.5 = 2, contrast twice that of the conditional; 0.7 / 2 + 0.3 = 0.65 of it is left
    torch.testing.assert_close(guide(conditional, unconditional, 3.0), torch.tensor([[[[1.3, -1.3]]]]))


def test_guidance_of_one_changes_nothing():
    conditional, unconditional = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(guide(conditional, unconditional, 1.0), conditional)


@pytest.mark.parametrize("steps", [2, 20, 50, 500])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_as_many_steps_as_asked_for_and_the_first_is_pure_noise(sampler, steps):
    times = make_scheduler(dict(SCHEDULER), sampler, steps).timesteps
    assert int(times[0]) == 999
    assert len(times) == steps
    assert (times.diff() < 0).all()


def test_sky_noise_keeps_its_strength():
    """An exact predictor of a Gaussian field of standard deviation 0.15 should give 0.15 back."""
    scheduler = make_scheduler(dict(SCHEDULER), "dpm++", 20)
    signal = scheduler.alphas_cumprod
    field = torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    for time in scheduler.timesteps:
        a = signal[time]
        clean = field * a.sqrt() * 0.15**2 / (a * 0.15**2 + 1 - a)
        noise = (field - a.sqrt() * clean) / (1 - a).sqrt()
        velocity = a.sqrt() * noise - (1 - a).sqrt() * clean
        field = scheduler.step(velocity, time, field, return_dict=False)[0]
    assert float(field.std()) == pytest.approx(0.15, rel=0.1)


def test_unknown_sampler():
    with pytest.raises(UnknownNameError, match="unknown sampler 'dpm': did you mean 'dpm\\+\\+'"):
        make_scheduler(dict(SCHEDULER), "dpm", 20)


def test_micro_batch_is_filled(model, monkeypatch):
    seen = set()
    forward = model.unet.forward

    def watch(sample, *arguments, **options):
        seen.add(len(sample))
        return forward(sample, *arguments, **options)

    monkeypatch.setattr(model.unet, "forward", watch)
    draw(model, range(10))
    assert seen == {MICRO_BATCH}


def test_forms_follow_from_seeds_and_all_eight_are_alike_frequent():
    image = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(1, 4, 4, 3)
    seeds = list(range(400))
    found = turned(np.repeat(image, 400, axis=0), seeds)
    forms, counts = np.unique(found.reshape(400, -1), axis=0, return_counts=True)
    assert len(forms) == 8
    assert counts.min() > 25
    np.testing.assert_array_equal(turned(image, seeds[7:8])[0], found[7])  # whatever is drawn beside it
    np.testing.assert_array_equal(found.sum(axis=(1, 2)), np.repeat(image.sum(axis=(1, 2)), 400, axis=0))
