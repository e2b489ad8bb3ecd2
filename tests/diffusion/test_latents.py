from __future__ import annotations

import numpy as np
import pytest
import torch

from astro_galaxysd.diffusion.components import load_autoencoder
from astro_galaxysd.diffusion.latents import LatentSource, latent_moments
from astro_galaxysd.errors import OutputError
from astro_galaxysd.learning.views import dihedral

ROWS, FORMS = np.array([0, 11, 3, 3, 7, 1, 2, 5, 9, 10]), np.array([0, 1, 2, 3, 4, 5, 6, 7, 0, 4])


@pytest.fixture
def ours(tiny_weights):
    return load_autoencoder(tiny_weights / "vae").requires_grad_(False)


@pytest.fixture
def stock():
    """An autoencoder of the kind of Stable Diffusion's, whose latents are uncertain."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    sizes = {"block_out_channels": (8, 8, 8, 8), "norm_num_groups": 4, "latent_channels": 4, "sample_size": 32}
    return AutoencoderKL(**kinds, **sizes, scaling_factor=0.5, shift_factor=0.1).eval().requires_grad_(False)


@pytest.fixture(params=["ours", "stock"])
def vae(request):
    return request.getfixturevalue(request.param)


def pixels_of(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def rng(seed=0):
    return np.random.default_rng(seed)


def test_encodings_are_the_autoencoders(vae, galaxies):
    drawn = LatentSource(vae, galaxies.images).draw(ROWS, FORMS, rng())
    turned = dihedral(pixels_of(galaxies.images[ROWS]), torch.from_numpy(FORMS))
    mean, deviation = latent_moments(vae, turned)
    if deviation is not None:
        mean = mean + deviation * torch.from_numpy(rng().standard_normal(mean.shape, dtype=np.float32))
    assert drawn.dtype == torch.float32
    torch.testing.assert_close(drawn, mean, rtol=1e-4, atol=1e-5)


def test_cached_encodings_are_the_same_to_half_precision(vae, galaxies, tmp_path):
    plain = LatentSource(vae, galaxies.images).draw(ROWS, FORMS, rng())
    cached = LatentSource(vae, galaxies.images, tmp_path / "run").draw(ROWS, FORMS, rng())
    assert cached.dtype == torch.float32
    # half precision rounds to one part in 2048; the stock code is the sum of two rounded numbers
    torch.testing.assert_close(cached, plain, rtol=2**-11, atol=2e-3 if vae.config.get("shift_factor") else 1e-5)
    assert not torch.equal(cached, plain)


def test_uncertain_latents_come_from_the_rng(stock, galaxies, tmp_path):
    for source in (LatentSource(stock, galaxies.images), LatentSource(stock, galaxies.images, tmp_path)):
        first, again, other = (source.draw(ROWS, FORMS, rng(seed)) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


def test_moments_are_in_the_units_of_the_unet(stock, galaxies):
    pixels = pixels_of(galaxies.images[:2])
    mean, deviation = latent_moments(stock, pixels)
    distribution = stock.encode(pixels).latent_dist
    torch.testing.assert_close(mean, (distribution.mean - 0.1) * 0.5)
    torch.testing.assert_close(deviation, distribution.std * 0.5)


def test_our_latents_are_certain(ours, galaxies):
    mean, deviation = latent_moments(ours, pixels_of(galaxies.images[:2]))
    assert deviation is None
    assert torch.equal(mean, ours.encode(pixels_of(galaxies.images[:2])).latents)


def test_the_eight_forms_are_encodings_of_turned_images(ours, galaxies, tmp_path):
    source = LatentSource(ours, galaxies.images, tmp_path)
    pixels = pixels_of(galaxies.images)
    upright = source.draw(np.arange(12), np.zeros(12, int), rng())
    for form in range(8):
        forms = np.full(12, form)
        found = source.draw(np.arange(12), forms, rng())
        encoded = ours.encode(dihedral(pixels, torch.from_numpy(forms))).latents
        torch.testing.assert_close(found, encoded, rtol=1e-3, atol=1e-4)
        turned = dihedral(upright, torch.from_numpy(forms))
        assert bool((found - turned).abs().mean() > 0.05) is (form > 0)


class TestFile:
    @pytest.fixture
    def calls(self, ours, monkeypatch):
        """Sizes of the batches that were encoded."""
        calls = []
        encode = type(ours).encode

        def counted(self, x, return_dict=True):
            calls.append(len(x))
            return encode(self, x, return_dict)

        monkeypatch.setattr(type(ours), "encode", counted)
        return calls

    def test_is_found_again(self, ours, galaxies, tmp_path, calls):
        first = LatentSource(ours, galaxies.images, tmp_path).draw(ROWS, FORMS, rng())
        assert sum(calls) == 12 * 8
        calls.clear()
        again = LatentSource(ours, galaxies.images.copy(), tmp_path).draw(ROWS, FORMS, rng())
        assert calls == []
        assert torch.equal(first, again)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["latents.json", "latents.npy"]
        stored = np.load(tmp_path / "latents.npy", mmap_mode="r")
        assert (stored.shape, stored.dtype) == ((12, 8, 1, 4, 4, 4), np.float16)

    def test_is_made_again_for_other_images(self, ours, galaxies, tmp_path, calls):
        LatentSource(ours, galaxies.images, tmp_path)
        other = galaxies.images.copy()
        other[3, 0, 0, 0] ^= 1
        LatentSource(ours, other, tmp_path)
        assert sum(calls) == 2 * 12 * 8

    def test_is_made_again_for_another_autoencoder(self, ours, galaxies, tmp_path, calls):
        before = LatentSource(ours, galaxies.images, tmp_path).draw(ROWS, FORMS, rng())
        with torch.no_grad():
            ours.encoder.bias += 1
        after = LatentSource(ours, galaxies.images, tmp_path).draw(ROWS, FORMS, rng())
        assert sum(calls) == 2 * 12 * 8
        torch.testing.assert_close(after, before + 1, rtol=2e-3, atol=2e-3)

    @pytest.mark.parametrize("damage", ["latents.json", "latents.npy"])
    def test_damaged_is_made_again(self, ours, galaxies, tmp_path, calls, damage):
        LatentSource(ours, galaxies.images, tmp_path)
        path = tmp_path / damage
        path.write_bytes(path.read_bytes()[:9])
        LatentSource(ours, galaxies.images, tmp_path).draw(ROWS, FORMS, rng())
        assert sum(calls) == 2 * 12 * 8

    def test_full_disk(self, ours, galaxies, tmp_path, monkeypatch):
        def full(*_, **__):
            (tmp_path / "latents.partial").write_bytes(b"begun")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("astro_galaxysd.diffusion.latents.os.replace", full)
        with pytest.raises(
            OutputError, match=r"latents\.npy: can't write .*No space left.*or set cache_latents = false"
        ):
            LatentSource(ours, galaxies.images, tmp_path)
        assert list(tmp_path.iterdir()) == []
