from __future__ import annotations

import numpy as np
import pytest
import torch

from astro_galaxysd.learning.views import dihedral, moved, pixels_of, shifted, viewed
from astro_galaxysd.testing import example_batch


class TestDihedral:
    def test_eight_different_forms(self):
        image = torch.arange(12.0).reshape(1, 3, 2, 2).expand(8, 3, 2, 2)
        forms = dihedral(image, torch.arange(8))
        assert len({tuple(form.flatten().tolist()) for form in forms}) == 8
        assert torch.equal(forms[0], image[0])
        assert torch.equal(forms[1], image[0].flip(2))
        assert torch.equal(forms[2], image[0].flip(1))
        assert torch.equal(forms[4], image[0].transpose(1, 2))

    def test_each_image_has_its_own(self):
        images = torch.rand(3, 3, 4, 4)
        forms = dihedral(images, torch.tensor([0, 1, 7]))
        assert torch.equal(forms[0], images[0])
        assert torch.equal(forms[1], images[1].flip(2))
        assert torch.equal(forms[2], images[2].flip(2).flip(1).transpose(1, 2))


def test_pixels():
    images = np.zeros((2, 4, 6, 3), np.uint8)
    images[0, 1, 2] = 0, 127, 255
    pixels = pixels_of(images)
    assert pixels.shape == (2, 3, 4, 6)
    assert pixels[0, :, 1, 2].tolist() == pytest.approx([-1.0, 127 / 127.5 - 1, 1.0], abs=1e-6)


def test_pixels_of_a_read_only_array():
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    known = pixels_of(images)
    images.flags.writeable = False
    assert torch.equal(pixels_of(images), known)


def test_pixels_of_a_view():
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    assert torch.equal(pixels_of(images[:, ::-1]), pixels_of(images).flip(2))


class TestShifted:
    def test_by_whole_pixels(self):
        images = torch.rand(3, 3, 16, 16)
        seen = set()
        for seed in range(40):
            moved = shifted(images, np.random.default_rng(seed), 2)
            assert moved.shape == images.shape
            found = [
                (down, right)
                for down in range(-2, 3)
                for right in range(-2, 3)
                if torch.equal(moved[..., 2:-2, 2:-2], images.roll((-down, -right), (2, 3))[..., 2:-2, 2:-2])
            ]
            assert len(found) == 1
            seen |= set(found)
        assert len(seen) > 15

    def test_by_nothing(self):
        images = torch.rand(3, 3, 16, 16)
        assert torch.equal(shifted(images, np.random.default_rng(0), 0), images)


class TestMoved:
    def test_down_and_to_the_right(self):
        images = torch.zeros(2, 3, 8, 8)
        images[:, :, 3, 4] = 1
        for down, right in ((2, 1), (-1, 3), (0, -2)):
            assert moved(images, down, right).nonzero()[:, 2:].unique(dim=0).tolist() == [[3 + down, 4 + right]]

    def test_borders_are_mirrored(self):
        images = torch.arange(16.0).reshape(1, 1, 4, 4)
        assert moved(images, 1, 0)[0, 0, 0].tolist() == images[0, 0, 1].tolist()
        assert moved(images, 0, -1)[0, 0, :, 3].tolist() == images[0, 0, :, 2].tolist()


class TestViewed:
    def test_the_same_seed_is_the_same_view(self):
        images = pixels_of(example_batch(4).images)
        one, two, other = (viewed(images, np.random.default_rng(seed)) for seed in (0, 0, 1))
        assert torch.equal(one, two)
        assert not torch.equal(one, other)

    def test_galaxies_stay_in_the_middle_and_keep_their_light(self):
        images = pixels_of(example_batch(32, size=64).images)
        views = viewed(images, np.random.default_rng(2))
        assert views.shape == images.shape
        assert views.isfinite().all()
        middle = (slice(None), slice(None), slice(26, 38), slice(26, 38))
        ratio = (views[middle] + 1).mean(dim=(1, 2, 3)) / (images[middle] + 1).mean(dim=(1, 2, 3))
        assert 0.6 < ratio.min() < 0.97
        assert 1.03 < ratio.max() < 1.6

    def test_on_the_device_of_the_images(self):
        assert viewed(torch.zeros(2, 3, 16, 16, device="meta"), np.random.default_rng(0)).device.type == "meta"

    def test_noise_is_no_more_than_said(self):
        flat = torch.full((16, 3, 32, 32), -0.9)
        spread = viewed(flat, np.random.default_rng(0)).std(dim=(2, 3))
        assert spread.max() < 0.033
        assert spread.min() < 0.01
