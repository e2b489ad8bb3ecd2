"""Photometry against pictures whose answer is known, and every fault seen where it belongs."""

from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.errors import ConditionError, ImageError
from astro_galaxysd.evaluation.memory import Memory
from astro_galaxysd.evaluation.photometry import (
    QUANTITIES,
    PhotometryEvaluator,
    measure,
    radial_profile,
    remembered_measure,
)
from astro_galaxysd.evaluation.texture import radial_power
from astro_galaxysd.records import ImageBatch
from astro_galaxysd.testing import check_evaluator, example_batch


def square(red, green, blue, *, sky=10, size=32):
    """Four by four pixels of a colour on a flat sky, shape (1, size, size, 3)."""
    image = np.full((1, size, size, 3), sky, dtype=np.uint8)
    image[0, 10:14, 10:14] = np.array([red, green, blue], dtype=np.uint8) + np.uint8(sky)
    return image


def test_measure_of_a_square_is_exact():
    measured = measure(square(100, 60, 20))
    assert measured["flux"] == pytest.approx([16 * 60])
    assert measured["background"] == pytest.approx([10])
    assert measured["colour"] == pytest.approx([2.5 * np.log10(5)])
    assert measured["colour_rg"] == pytest.approx([2.5 * np.log10(100 / 60)])
    assert measured["sky_rms"] == pytest.approx([0])
    assert tuple(measured) == QUANTITIES


def test_colour_without_positive_flux_is_nan():
    assert np.isnan(measure(square(100, 60, 0))["colour"][0])


def test_measure_does_not_depend_on_chunks(monkeypatch):
    images = example_batch(9, size=16).images
    whole = measure(images)
    monkeypatch.setattr("astro_galaxysd.evaluation.photometry._CHUNK", 4)
    for name, values in measure(images).items():
        np.testing.assert_array_equal(values, whole[name])


@pytest.mark.parametrize(
    ("images", "seen"),
    [
        (np.zeros((0, 8, 8, 3), np.uint8), r"\(0, 8, 8, 3\)"),
        (np.zeros((2, 8, 8), np.uint8), r"\(2, 8, 8\)"),
        (np.zeros((2, 8, 8, 3), np.float32), "float32"),
    ],
)
def test_measure_refuses(images, seen):
    with pytest.raises(ImageError, match=f"{seen}.*photometry needs uint8 of shape .N, H, W, 3. with N at least 1"):
        measure(images)


def test_measure_refuses_small_images():
    with pytest.raises(ImageError, match="images of 16x8 px are too small for photometry; give sides of 16 px or more"):
        measure(np.zeros((2, 16, 8, 3), np.uint8))


def test_profile_of_rings():
    offset = np.arange(64) - 31.5
    radius = np.hypot(offset[:, None], offset)
    image = np.where(radius < 8, 90, 10).astype(np.uint8)[None, ..., None].repeat(3, axis=3)
    middles, profile = radial_profile(image)
    np.testing.assert_allclose(middles, np.arange(16) * 2 + 1)
    np.testing.assert_allclose(profile[0], [80] * 4 + [0] * 12, atol=1e-4)


def test_profile_of_small_and_oblong_images():
    middles, profile = radial_profile(example_batch(3, size=16).images)
    assert len(middles) == 8
    assert np.isfinite(profile).all()
    assert radial_profile(np.full((2, 16, 40, 3), 7, np.uint8))[1] == pytest.approx(np.zeros((2, 8)), abs=1e-4)


def values(table):
    return {row["metric"]: row for row in table}


def evaluated(real, images, **options):
    changed = ImageBatch(np.clip(images, 0, 255).astype(np.uint8), real.conditions[: len(images)], real.ids)
    return values(PhotometryEvaluator(n_bootstrap=12).evaluate(real, changed, rng=0, **options))


@pytest.fixture(scope="module")
def real():
    return example_batch(60, size=64, rng=1)


@pytest.fixture(scope="module")
def other():
    """As many images of the same kind: what the metrics say where nothing is wrong."""
    return example_batch(60, size=64, rng=2).images.astype(int)


@pytest.fixture(scope="module")
def before(real, other):
    return evaluated(real, other)


METRICS = [f"{q}_{kind}" for q in QUANTITIES for kind in ("ks", "wasserstein", "shift")] + ["profile_ks", "power"]


def test_same_batch_is_at_distance_zero(real):
    found = evaluated(real, real.images)
    assert list(found) == METRICS
    assert {row["value"] for row in found.values()} == {0.0}
    assert all(row["error"] > 0 for row in found.values())
    assert not any(row["higher_is_better"] for row in found.values())


def blurred(images):
    shifts = [np.roll(images, (y, x), (1, 2)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return np.mean(shifts, axis=0).round()


def brighter_galaxy(images):
    return np.where(images > 30, images + 60, images)


def swapped(images):
    return images[..., ::-1]


def noised(images):
    return images + np.random.default_rng(5).normal(0, 4, images.shape).round()


@pytest.mark.parametrize(
    ("change", "seen", "bystanders"),
    [
        (noised, ["sky_rms"], ["flux", "colour", "colour_rg", "background"]),
        (blurred, ["sky_rms"], ["flux", "colour", "colour_rg", "background"]),
        (lambda images: images + 8, ["background"], ["flux", "colour", "colour_rg"]),
        (brighter_galaxy, ["flux"], ["background", "sky_rms"]),
        (lambda images: images * (1, 1, 0.5), ["colour"], ["colour_rg"]),
        (lambda images: images * (1, 0.5, 1), ["colour_rg"], ["colour"]),
    ],
)
def test_each_fault_is_seen_where_it_belongs(real, other, before, change, seen, bystanders):
    after = evaluated(real, change(other))
    for name in seen:
        for kind in ("ks", "wasserstein", "shift"):
            one, two = before[f"{name}_{kind}"], after[f"{name}_{kind}"]
            assert two["value"] > one["value"] + 3 * one["error"]
    for name in bystanders:
        one, two = before[f"{name}_ks"], after[f"{name}_ks"]
        assert abs(two["value"] - one["value"]) < 2 * np.hypot(one["error"], two["error"])


def test_a_blur_is_seen_in_the_power(real, other, before):
    after = evaluated(real, blurred(other))["power"]
    assert after["value"] > before["power"]["value"] + 5 * before["power"]["error"]
    assert after["value"] > 0.3


def test_overbright_galaxies_are_seen_in_the_profile(real, other, before):
    after = evaluated(real, brighter_galaxy(other))["profile_ks"]
    assert after["value"] > before["profile_ks"]["value"] + 3 * before["profile_ks"]["error"]


def test_swapped_channels_leave_the_sums_alone(real):
    redder = ImageBatch((real.images * (1, 1, 0.6)).astype(np.uint8), real.conditions, real.ids)
    found = evaluated(redder, swapped(redder.images))
    assert found["colour_ks"]["value"] > 0.3
    for name in ("background_ks", "flux_ks", "profile_ks", "power"):
        assert found[name]["value"] == pytest.approx(0, abs=1e-6)


def test_error_shrinks_with_the_number_of_images():
    evaluator = PhotometryEvaluator(n_bootstrap=40)
    few = evaluator.evaluate(example_batch(10, size=16, rng=1), example_batch(10, size=16, rng=2), rng=0)
    many = evaluator.evaluate(example_batch(400, size=16, rng=1), example_batch(400, size=16, rng=2), rng=0)
    assert (many["error"] < few["error"] / 1.5).all()


def test_training_images_make_no_difference(real, other, before):
    again = evaluated(real, other, reference=real)
    assert [tuple(row) for row in again.values()] == [tuple(row) for row in before.values()]


def test_colour_of_nothing_is_nan_with_its_count():
    dark = ImageBatch(np.zeros((9, 16, 16, 3), np.uint8), example_batch(9).conditions, np.arange(9).astype(str))
    row = values(PhotometryEvaluator(n_bootstrap=5).evaluate(dark, dark))["colour_ks"]
    assert np.isnan(row["value"])
    assert np.isnan(row["error"])
    assert row["n_real"] == 0
    assert row["note"] == "0 real and 0 synthetic images have a colour; at least 8 each are needed"


def test_too_few_images_are_noted():
    found = values(PhotometryEvaluator(n_bootstrap=5).evaluate(example_batch(20), example_batch(4)))
    assert all(np.isnan(row["value"]) and np.isnan(row["error"]) for row in found.values())
    assert found["power"]["note"] == "20 real and 4 synthetic images; at least 8 each are needed"


def test_a_memory_measures_once(real, monkeypatch):
    memory, calls = Memory(), []
    first = PhotometryEvaluator(n_bootstrap=5).evaluate(real, real, embedder=memory, rng=0)
    monkeypatch.setattr("astro_galaxysd.evaluation.photometry.measure", lambda images: calls.append(images))
    again = PhotometryEvaluator(n_bootstrap=5).evaluate(real, real, embedder=memory, rng=0)
    assert not calls
    assert list(again["value"]) == list(first["value"])


@pytest.mark.parametrize("memory", [None, Memory()])
def test_what_is_remembered_is_what_was_measured(memory):
    images = example_batch(5, size=40, rng=1).images[:, :, :32]
    for _ in range(2):
        found = remembered_measure(memory, images)
        for name, expected in measure(images).items():
            np.testing.assert_array_equal(found.quantities[name], expected)
        for name, (place, expected) in {"profile": radial_profile(images), "power": radial_power(images)}.items():
            np.testing.assert_array_equal(getattr(found, name), expected)
            np.testing.assert_array_equal(found.radius if name == "profile" else found.frequency, place)


def test_other_sizes():
    with pytest.raises(ImageError, match=r"real images of \(32, 32, 3\) beside synthetic ones of \(64, 64, 3\)"):
        PhotometryEvaluator().evaluate(example_batch(9), example_batch(9, size=64))


def test_too_few_resamples():
    with pytest.raises(ConditionError, match="n_bootstrap is 1; a standard deviation needs at least 2"):
        PhotometryEvaluator(n_bootstrap=1).evaluate(example_batch(9), example_batch(9))


def test_it_keeps_the_promises_of_an_evaluator():
    check_evaluator(PhotometryEvaluator(n_bootstrap=5))
