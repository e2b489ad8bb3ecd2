"""Descriptors of pictures whose shape is known, and of real galaxies turned and mirrored."""

from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.errors import ImageError
from astro_galaxysd.evaluation.descriptors import describe, descriptor_names
from astro_galaxysd.testing import example_batch


def light(function, *, side=64, sky=12):
    """One grey image, shape (1, side, side, 3): `function` of x, y in units of the side, 0 in the middle."""
    offset = (np.arange(side) - (side - 1) / 2) / side
    x, y = np.meshgrid(offset, offset)
    return np.clip(function(x, y) + sky, 0, 255).round().astype(np.uint8)[None, ..., None].repeat(3, axis=3)


def blob(x, y, *, ratio=1.0, angle=0.0, width=0.12, at=(0.0, 0.0), bright=180.0):
    x, y = x - at[0], y - at[1]
    along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    return bright * np.exp(-(along**2 + (across / ratio) ** 2) / (2 * width**2))


def arms(x, y, *, m):
    """A spiral of `m` arms."""
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    return 120 * np.exp(-radius / 0.15) * (1 + 0.8 * np.cos(m * angle - 30 * radius))


def named(images, name):
    return describe(images)[:, descriptor_names().index(name)]


@pytest.mark.parametrize("turned", [lambda i: i[:, ::-1], lambda i: i.swapaxes(1, 2), lambda i: np.rot90(i, 1, (1, 2))])
@pytest.mark.parametrize("side", [32, 45, 64])
def test_a_turned_or_mirrored_image_has_the_same_descriptors(turned, side):
    images = example_batch(6, size=side, rng=1).images
    images = np.maximum(images, light(lambda x, y: arms(x, y, m=2), side=side))
    np.testing.assert_allclose(describe(turned(images)), describe(images), atol=2e-3)
    assert np.abs(describe(images[:1]) - describe(images[1:2])).max() > 0.1


def test_every_value_is_finite_whatever_the_image():
    noise = np.random.default_rng(0).integers(0, 256, (3, 33, 33, 3), dtype=np.uint8)
    images = np.concatenate([noise, np.zeros((1, 33, 33, 3), np.uint8), np.full((1, 33, 33, 3), 255, np.uint8)])
    described = describe(images)
    assert described.dtype == np.float32
    assert described.shape == (5, len(descriptor_names()))
    assert np.isfinite(described).all()


def test_descriptors_do_not_depend_on_chunks(monkeypatch):
    images = example_batch(7).images
    whole = describe(images)
    monkeypatch.setattr("astro_galaxysd.evaluation.descriptors._CHUNK", 3)
    np.testing.assert_allclose(describe(images), whole, atol=1e-5)


@pytest.mark.parametrize("ratio", [0.4, 0.7, 1.0])
def test_axis_ratio_of_an_ellipse(ratio):
    image = light(lambda x, y: blob(x, y, ratio=ratio, angle=0.5), side=96)
    assert named(image, "isophote_6") == pytest.approx([ratio], abs=0.04)  # pixels above 0.4 of the brightest


def test_mode_of_the_arms_is_the_strongest():
    names = descriptor_names()
    for m in (2, 3, 4):
        described = describe(light(lambda x, y, m=m: arms(x, y, m=m)))[0]
        ring = [described[names.index(f"modes_{7 * 4 + order - 1}")] for order in range(1, 7)]
        assert int(np.argmax(ring)) == m - 1


def test_a_companion_is_the_second_peak_and_makes_the_image_lopsided():
    alone = light(lambda x, y: blob(x, y, width=0.06))
    double = light(lambda x, y: blob(x, y, width=0.06) + blob(x, y, width=0.04, at=(0.25, 0.1), bright=90))
    assert named(double, "peak_1") == pytest.approx([np.hypot(0.25, 0.1)], abs=0.03)
    assert named(double, "peak_0") == pytest.approx([0.5], abs=0.1)
    assert named(double, "asymmetry_2") > named(alone, "asymmetry_2") + 0.2


def test_a_compact_galaxy_is_more_concentrated_than_a_disk():
    steep = light(lambda x, y: 200 * np.exp(-np.sqrt(np.hypot(x, y) / 0.01)))
    flat = light(lambda x, y: 120.0 * (np.hypot(x, y) < 0.25))
    assert named(flat, "concentration_3") == pytest.approx([5 * np.log10(2)], abs=0.15)  # r80 / r20 of a disk
    assert named(steep, "concentration_3") > named(flat, "concentration_3") + 0.5
    assert named(steep, "gini_0") > named(flat, "gini_0")


def test_noise_is_seen_in_the_texture():
    smooth = light(blob)
    noisy = np.clip(smooth + np.random.default_rng(0).normal(0, 5, smooth.shape), 0, 255).astype(np.uint8)
    assert named(noisy, "texture_11") > named(smooth, "texture_11") + 1


@pytest.mark.parametrize(
    ("images", "seen"),
    [
        (np.zeros((0, 64, 64, 3), np.uint8), r"\(0, 64, 64, 3\)"),
        (np.zeros((1, 64, 48, 3), np.uint8), "images of 64x48 px are not square; cut out squares"),
        (np.zeros((1, 16, 16, 3), np.uint8), "16x16 px are too small for a description; give sides of 32 px or more"),
        (np.zeros((1, 64, 64, 3), np.float32), "float32 of shape .*; a description needs uint8"),
    ],
)
def test_images_that_are_refused(images, seen):
    with pytest.raises(ImageError, match=seen):
        describe(images)
