"""The lapped code against direct computations and against blocks that do not overlap."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import astro_galaxysd
from astro_galaxysd.diffusion import autoencoder
from astro_galaxysd.diffusion.autoencoder import (
    BLOCK,
    LappedAutoencoder,
    block_components,
    fit_linear_code,
    psnr,
)
from astro_galaxysd.errors import ImageError

CHANNELS = 6


def galaxies(n, rng, size=32):
    """Exponential discs of every size, flattening and colour on a noisy sky: structure that crosses blocks."""
    y, x = np.mgrid[:size, :size] + 0.5
    images = []
    for _ in range(n):
        x0, y0 = size / 2 + rng.normal(0, 2, 2)
        angle, flattening, scale = rng.uniform(0, np.pi), rng.uniform(0.3, 1), rng.uniform(2, 7)
        along = (x - x0) * np.cos(angle) + (y - y0) * np.sin(angle)
        across = (y - y0) * np.cos(angle) - (x - x0) * np.sin(angle)
        light = np.exp(-np.hypot(along, across / flattening) / scale)
        images.append(20 + 200 * light[..., None] * rng.uniform(0.5, 1, 3))
    return (np.array(images) + rng.normal(0, 1, (n, size, size, 1))).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def images():
    return galaxies(160, np.random.default_rng(0))


@pytest.fixture(scope="module")
def fitted(images):
    """A linear code, and the convolutions over blocks it was written from."""
    seen = {}
    with pytest.MonkeyPatch.context() as patch:
        write = autoencoder._write_code

        def spy(model, encoder, decoder, whitening, axes, mean):
            seen.update(encoder=encoder, decoder=decoder, whitening=whitening, axes=axes, mean=mean)
            write(model, encoder, decoder, whitening, axes, mean)

        patch.setattr(autoencoder, "_write_code", spy)
        return new_code(images, steps=200), seen


@pytest.fixture(scope="module")
def model(fitted):
    return fitted[0]


def new_code(images, **options):
    torch.manual_seed(0)
    model = LappedAutoencoder(CHANNELS, width=8, depth=1)
    fit_linear_code(model, images, **options)
    return model.eval().requires_grad_(False)


def pixels(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def encoded(model, images):
    return model.encode(pixels(images)).latents


def decoded(model, latents):
    grey = (model.decode(latents).sample * 127.5 + 127.5).round().clamp(0, 255).byte()
    return grey.permute(0, 2, 3, 1).numpy()


def blocks(images):
    """(N, H, W, 3) to (N, h, w, 192) in [0, 1], the slow way."""
    n, height, width, _ = images.shape
    rows = [
        images[i, y : y + BLOCK, x : x + BLOCK].transpose(2, 0, 1).ravel() / 255
        for i in range(n)
        for y in range(0, height, BLOCK)
        for x in range(0, width, BLOCK)
    ]
    return np.array(rows).reshape(n, height // BLOCK, width // BLOCK, 3 * BLOCK * BLOCK)


def image_of(blocks):
    """The inverse of `blocks`, in [0, 1]."""
    n, h, w, _ = blocks.shape
    parts = blocks.reshape(n, h, w, 3, BLOCK, BLOCK).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, h * BLOCK, w * BLOCK, 3)


def block_code(images, fitted_to):
    """Images after coding each block alone with as many numbers."""
    code = block_components(fitted_to, CHANNELS)
    again = (blocks(images) - code.mean) @ code.axes.T @ code.axes + code.mean
    return (image_of(again) * 255).round().clip(0, 255).astype(np.uint8)


class TestBlockComponents:
    def test_they_are_those_of_a_full_decomposition(self, images):
        found = block_components(images, 5)
        flat = blocks(images).reshape(-1, 192)
        _, values, axes = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
        np.testing.assert_allclose(found.scale, values[:5] / np.sqrt(len(flat)), rtol=1e-6)
        np.testing.assert_allclose(np.abs(np.sum(found.axes * axes[:5], axis=1)), 1, atol=1e-6)

    def test_signs_do_not_depend_on_the_order_of_images(self, images):
        first, second = block_components(images, 4), block_components(images[::-1], 4)
        np.testing.assert_allclose(first.axes, second.axes, atol=1e-6)

    def test_values_that_never_vary_have_no_scale(self):
        """Rounding makes variances of such components slightly negative: no NaN, no warning."""
        few = np.zeros((20, 32, 32, 3), np.uint8)
        few[:, 14:18, 14:18] = np.random.default_rng(0).integers(0, 255, (20, 4, 4, 3))
        scale = block_components(few, 192).scale
        assert np.isfinite(scale).all()
        assert scale[-1] == pytest.approx(0, abs=1e-6)


class TestForms:
    @pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 32), (24, 40)])
    def test_one_latent_for_every_block(self, model, height, width):
        latents = model.encode(torch.zeros(2, 3, height, width)).latents
        assert latents.shape == (2, CHANNELS, height // BLOCK, width // BLOCK)
        assert model.decode(latents).sample.shape == (2, 3, height, width)

    def test_tuples_where_they_are_asked_for(self, model, images):
        x = pixels(images[:2])
        (latents,) = model.encode(x, return_dict=False)
        (again,) = model.decode(latents, return_dict=False)
        assert torch.equal(latents, model.encode(x).latents)
        assert torch.equal(again, model.decode(latents, generator=torch.Generator()).sample)

    @pytest.mark.parametrize(("height", "width"), [(8, 8), (36, 32), (32, 30), (8, 32)])
    def test_sizes_that_do_not_fit(self, model, height, width):
        with pytest.raises(ImageError, match=f"images of {height}x{width} px .*multiples of 8, 16 or more"):
            model.encode(torch.zeros(1, 3, height, width))

    def test_pipelines_know_the_factor(self, model):
        assert 2 ** (len(model.config.block_out_channels) - 1) == BLOCK
        assert model.config.scaling_factor == 1


class TestCode:
    def test_encode_is_the_linear_kernel(self, model, images):
        latents = encoded(model, images[:4]).numpy()
        kernel, bias = model.encoder.weight.double().numpy(), model.encoder.bias.double().numpy()
        values = images[:4].transpose(0, 3, 1, 2) / 127.5 - 1
        for row in (1, 2):  # blocks whose neighbours are all inside the image
            for column in (1, 2):
                around = values[
                    :, :, (row - 1) * BLOCK : (row + 2) * BLOCK, (column - 1) * BLOCK : (column + 2) * BLOCK
                ]
                expected = np.einsum("kcyx,ncyx->nk", kernel, around) + bias
                np.testing.assert_allclose(latents[:, :, row, column], expected, atol=2e-4)

    def test_kernels_are_the_convolutions_over_blocks(self, fitted, images):
        """The pixel kernels give what the fit's 3x3 convolutions gave: taps in place, whitening without effect."""
        model, fit = fitted
        turn, _, offset = fit["whitening"]
        with torch.no_grad():
            coefficients = (torch.from_numpy(blocks(images[:8])).float() - fit["mean"]) @ fit["axes"].T
            plain = fit["encoder"](coefficients.permute(0, 3, 1, 2)[:, : fit["encoder"].in_channels])
            white = torch.einsum("lk,nkhw->nlhw", turn, plain.double() - offset[:, None, None]).float()
            given_back = fit["decoder"](plain).permute(0, 2, 3, 1) @ fit["axes"] + fit["mean"]
            mine = (model.decode(white).sample / 2 + 0.5).permute(0, 2, 3, 1)
        inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))
        torch.testing.assert_close(encoded(model, images[:8])[inside], white[inside], atol=1e-3, rtol=1e-3)
        np.testing.assert_allclose(mine.numpy(), image_of(given_back.numpy()), atol=1e-4)

    def test_without_a_step_it_is_the_code_of_blocks_alone(self, images):
        model = new_code(images, steps=0)
        difference = decoded(model, encoded(model, images)).astype(int) - block_code(images, images)
        assert np.abs(difference).max() <= 1  # a grey level, where both round differently

    def test_latents_have_unit_variance_and_are_uncorrelated(self, model, images):
        flat = encoded(model, images).permute(1, 0, 2, 3).flatten(1)
        torch.testing.assert_close(torch.cov(flat), torch.eye(CHANNELS), atol=0.08, rtol=0)
        torch.testing.assert_close(flat.mean(1), torch.zeros(CHANNELS), atol=0.08, rtol=0)

    def test_latents_are_ordered_by_the_light_they_carry(self, model):
        nothing = torch.zeros(1, CHANNELS, 3, 3)
        light = []
        for channel in range(CHANNELS):
            one = nothing.clone()
            one[0, channel, 1, 1] = 1
            light.append((model.decode(one).sample - model.decode(nothing).sample).square().sum().sqrt())
        torch.testing.assert_close(model.amplitudes, torch.stack(light), atol=1e-4, rtol=1e-4)
        assert (model.amplitudes.diff() < 0).all()
        assert model.amplitudes[0] > 3 * model.amplitudes[-1]

    def test_it_beats_blocks_alone_on_images_it_has_not_seen(self, model, images):
        unseen = galaxies(80, np.random.default_rng(1))
        mine = psnr(unseen, decoded(model, encoded(model, unseen)))
        theirs = psnr(unseen, block_code(unseen, fitted_to=images))
        assert theirs > 30
        assert mine > theirs + 1.0

    def test_it_depends_on_the_seed_alone(self, images):
        def code(seed, state):
            torch.manual_seed(state)
            model = LappedAutoencoder(CHANNELS, width=8, depth=1)
            fit_linear_code(model, images, steps=10, seed=seed)
            return [
                model.encoder.weight,
                model.encoder.bias,
                model.decoder.kernels.weight,
                model.decoder.sharpen.last.bias,
            ]

        first, again, other = code(3, state=0), code(3, state=1), code(4, state=0)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
        assert not torch.equal(first[0], other[0])

    def test_sharpening_starts_at_the_linear_decoder(self, model, images):
        latents = encoded(model, images[:2])
        around = torch.nn.functional.pad(latents, (1, 1, 1, 1), mode="replicate")
        linear = model.decoder.kernels(around)
        constant = model.decode(latents).sample - linear
        blocks_of_it = constant.unfold(2, BLOCK, BLOCK).unfold(3, BLOCK, BLOCK)
        torch.testing.assert_close(blocks_of_it, blocks_of_it[:1, :, :1, :1].expand_as(blocks_of_it), atol=1e-5, rtol=0)


class TestFolder:
    def test_what_is_saved_is_loaded(self, model, images, tmp_path):
        model.save_pretrained(tmp_path)
        again = LappedAutoencoder.from_pretrained(tmp_path)
        for name in ("latent_channels", "width", "depth", "scaling_factor"):
            assert again.config[name] == model.config[name]
        mine, stored = model.state_dict(), again.state_dict()
        assert mine.keys() == stored.keys()
        assert all(torch.equal(mine[name], stored[name]) for name in mine)
        assert torch.equal(encoded(again, images[:4]), encoded(model, images[:4]))
        assert [path.suffix for path in tmp_path.iterdir() if path.name != "config.json"] == [".safetensors"]

    def test_the_package_offers_it_by_name(self):
        assert astro_galaxysd.LappedAutoencoder is LappedAutoencoder
        assert "LappedAutoencoder" in astro_galaxysd.__all__

    @pytest.mark.filterwarnings("ignore")
    def test_stock_pipeline_finds_it_and_decodes_with_it(self, tiny_weights, monkeypatch):
        from diffusers import StableDiffusionPipeline

        index = json.loads((tiny_weights / "model_index.json").read_text())
        assert index["vae"] == ["astro_galaxysd.diffusion.autoencoder", "LappedAutoencoder"]
        calls = []
        decode = LappedAutoencoder.decode

        def counted(self, z, *arguments, **options):
            calls.append(tuple(z.shape))
            return decode(self, z, *arguments, **options)

        monkeypatch.setattr(LappedAutoencoder, "decode", counted)
        pipeline = StableDiffusionPipeline.from_pretrained(tiny_weights, local_files_only=True)
        pipeline.set_progress_bar_config(disable=True)
        assert type(pipeline.vae) is LappedAutoencoder
        image = pipeline("sdss, spiral galaxy", num_inference_steps=2, guidance_scale=2.0).images[0]
        assert image.size == (32, 32)
        assert calls == [(1, 4, 4, 4)]


def test_psnr():
    black = np.zeros((1, 4, 4, 3), np.uint8)
    assert psnr(black, black) == np.inf
    assert psnr(black, black + 255) == pytest.approx(0)
    assert psnr(black, black + 10) == pytest.approx(20 * np.log10(25.5))
