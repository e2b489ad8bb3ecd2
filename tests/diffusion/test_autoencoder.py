from __future__ import annotations

import numpy as np
import pytest
import torch

from astro_galaxysd.diffusion.autoencoder import (
    BLOCK,
    LATENT_SCALE,
    block_components,
    dihedral,
    latent_encoder,
    new_autoencoder,
    psnr,
)


@pytest.fixture(scope="module")
def images():
    """Smooth random fields: blocks with unequal components."""
    rng = np.random.default_rng(0)
    coarse = rng.random((40, 4, 4, 3))
    fine = coarse.repeat(8, axis=1).repeat(8, axis=2) * 200 + rng.random((40, 32, 32, 3)) * 55
    return fine.astype(np.uint8)


@pytest.fixture(scope="module")
def model(images):
    torch.manual_seed(0)
    return new_autoencoder(block_components(images, 6), channels=8, blocks=(1, 1, 0, 0))


def _blocks(images):
    n, h, w, _ = images.shape
    parts = [
        images[i, y : y + BLOCK, x : x + BLOCK].transpose(2, 0, 1).ravel() / 255
        for i in range(n)
        for y in range(0, h, BLOCK)
        for x in range(0, w, BLOCK)
    ]
    return np.array(parts)


def _pixels(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def test_components_are_those_of_a_full_decomposition(images):
    found = block_components(images, 5)
    blocks = _blocks(images)
    _, values, axes = np.linalg.svd(blocks - blocks.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(found.scale, values[:5] / np.sqrt(len(blocks)), rtol=1e-6)
    np.testing.assert_allclose(np.abs(np.sum(found.axes * axes[:5], axis=1)), 1, atol=1e-6)


def test_the_stock_encoder_is_the_block_code(images, model):
    components = block_components(images, 6)
    code = (_blocks(images) - components.mean) @ components.axes.T / components.scale
    with torch.no_grad():
        latents = model.encode(_pixels(images)).latents * model.config.scaling_factor
    mine = latents.permute(0, 2, 3, 1).reshape(-1, 6).numpy()
    np.testing.assert_allclose(mine, code, atol=1e-4)
    np.testing.assert_allclose(mine.std(axis=0), 1, atol=1e-3)
    assert model.config.scaling_factor == LATENT_SCALE


def test_the_single_convolution_equals_the_stack(images, model):
    with torch.no_grad():
        stack = model.encode(_pixels(images)).latents * model.config.scaling_factor
        torch.testing.assert_close(latent_encoder(model)(_pixels(images)), stack, atol=1e-4, rtol=1e-4)


def test_an_encoder_with_blocks_is_called_as_it_is(images):
    from diffusers import AutoencoderTiny

    deep = AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4)
    with torch.no_grad():
        torch.testing.assert_close(latent_encoder(deep)(_pixels(images[:2])), deep.encode(_pixels(images[:2])).latents)


def test_signs_do_not_depend_on_the_order_of_images(images):
    np.testing.assert_allclose(block_components(images, 4).axes, block_components(images[::-1], 4).axes, atol=1e-6)


def test_dihedral_gives_eight_different_forms():
    image = torch.arange(12.0).reshape(1, 3, 2, 2).expand(8, 3, 2, 2)
    forms = dihedral(image, torch.arange(8))
    assert len({tuple(form.flatten().tolist()) for form in forms}) == 8
    assert torch.equal(forms[0], image[0])
    assert torch.equal(forms[1], image[0].flip(2))
    assert torch.equal(forms[4], image[0].transpose(1, 2))


def test_psnr():
    black = np.zeros((1, 4, 4, 3), np.uint8)
    assert psnr(black, black) == np.inf
    assert psnr(black, black + 255) == pytest.approx(0)
    assert psnr(black, black + 10) == pytest.approx(20 * np.log10(25.5))
