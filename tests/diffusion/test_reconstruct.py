from __future__ import annotations

import numpy as np
import pytest
import torch

from astro_galaxysd.diffusion import reconstruct
from astro_galaxysd.diffusion.components import load_autoencoder
from astro_galaxysd.diffusion.recipes import AutoencoderRecipe
from astro_galaxysd.diffusion.reconstruct import AutoencoderRun


@pytest.fixture
def start(galaxies, tmp_path, tiny_recipe):
    def run(name="run", **changes):
        return AutoencoderRun(tmp_path / name, galaxies, tiny_recipe(AutoencoderRecipe, **{"steps": 30, **changes}))

    return run


def test_reconstruction_improves(start):
    run = start(learning_rate=3e-3)

    def measured():
        with torch.no_grad():
            return np.mean([float(run.loss(step, slice(0, 4))) for step in range(6)])

    before = measured()
    for _ in range(30):
        run.advance()
    assert measured() < 0.99 * before


def test_loss_is_of_the_reconstruction(start, galaxies):
    run = start(batch_size=2)
    generator = run.rng(0)
    rows, forms = generator.integers(0, 12, 2), generator.integers(0, 8, 2)
    assert run.rows(0).tolist() == rows.tolist()
    pixels = torch.from_numpy(galaxies.images[rows]).permute(0, 3, 1, 2).float() / 127.5 - 1
    pixels = reconstruct.dihedral(pixels, torch.from_numpy(forms))
    with torch.no_grad():
        error = run.vae.decode(run.vae.encode(pixels).latents).sample - pixels
        expected = float(error.abs().mean() + 10 * error.square().mean())
        whole, *halves = (float(run.loss(0, part)) for part in (slice(0, 2), slice(0, 1), slice(1, 2)))
    assert whole == pytest.approx(expected, rel=1e-5)
    assert np.mean(halves) == pytest.approx(expected, rel=1e-5)


def test_encoder_stays_and_averaged_decoder_is_exported(start, tmp_path):
    run = start()
    before = [value.detach().clone() for value in run.vae.encoder.parameters()]
    run.run(progress=False)
    run.export(tmp_path / "autoencoder")
    stored = load_autoencoder(tmp_path / "autoencoder")
    assert all(torch.equal(a, b) for a, b in zip(stored.encoder.parameters(), before, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(stored.decoder.parameters(), run.average, strict=True))


def test_resumes_exactly_without_fitting_the_code_again(start, monkeypatch):
    whole = start("whole", steps=12)
    whole.run(progress=False)
    part = start("part", steps=12)
    for _ in range(7):
        part.advance()
    part.save()
    monkeypatch.setattr(reconstruct, "fit_linear_code", lambda *_, **__: pytest.fail("was fitted already"))
    again = start("part", steps=12)
    assert again.resume()
    again.run(progress=False)
    assert all(torch.equal(a, b) for a, b in zip(whole.average, again.average, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(whole.vae.parameters(), again.vae.parameters(), strict=True))
