"""Photometry against pictures whose answer is known, and the KS distance against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from astro_galaxysd.errors import ConditionError, ImageError
from astro_galaxysd.evaluation.photometry import PhotometryEvaluator, ks_distance, measure
from astro_galaxysd.records import ImageBatch
from astro_galaxysd.testing import check_evaluator, example_batch

SAMPLE = hnp.arrays(float, st.integers(1, 30), elements=st.integers(-5, 5).map(float))


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
    with pytest.raises(ImageError, match=f"{seen}.*needs uint8 .N, H, W, 3. with N at least 1"):
        measure(images)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # scipy's p-value of one-element samples; only D is compared
@settings(deadline=None)  # the first call imports scipy
@given(SAMPLE, SAMPLE)
def test_ks_distance_is_scipys(first, second):
    stats = pytest.importorskip("scipy.stats")
    assert ks_distance(first, second) == pytest.approx(stats.ks_2samp(first, second, method="asymp").statistic)


@given(SAMPLE, SAMPLE)
def test_ks_distance_is_symmetric_and_zero_to_itself(first, second):
    assert ks_distance(first, second) == ks_distance(second, first)
    assert 0 <= ks_distance(first, second) <= 1
    assert ks_distance(first, first) == 0


def test_ks_distance_leaves_out_what_is_not_finite():
    assert ks_distance(np.array([1.0, np.nan]), np.array([1.0, np.inf])) == 0
    assert np.isnan(ks_distance(np.array([np.nan]), np.array([1.0])))


def values(table, group="all"):
    rows = table[table["group"] == group]
    return dict(zip(rows["metric"], rows["value"], strict=True))


def test_same_batch_is_at_distance_zero():
    batch = example_batch(20)
    table = PhotometryEvaluator(n_bootstrap=20).evaluate(batch, batch, rng=1)
    assert set(values(table).values()) == {0.0}
    assert (table["error"] > 0).all()


def test_brighter_sky_is_seen_in_the_background_alone():
    real = example_batch(60, rng=1)
    brighter = np.clip(real.images.astype(int) + 8, 0, 255).astype(np.uint8)
    found = values(PhotometryEvaluator(n_bootstrap=5).evaluate(real, ImageBatch(brighter, real.conditions, real.ids)))
    assert found["background_ks"] > 0.9
    assert found["colour_ks"] < 0.2


def test_swapped_channels_are_seen_in_the_colour_alone():
    batch = example_batch(40, rng=1)
    redder = batch.images.copy()
    redder[..., 2] = redder[..., 2] // 2
    swapped = ImageBatch(redder[..., ::-1], batch.conditions, batch.ids)
    red = ImageBatch(redder, batch.conditions, batch.ids)
    found = values(PhotometryEvaluator(n_bootstrap=5).evaluate(red, swapped, rng=0))
    assert found["colour_ks"] > 0.3
    assert found["background_ks"] == found["flux_ks"] == 0


def test_error_shrinks_with_the_number_of_images():
    evaluator = PhotometryEvaluator(n_bootstrap=60)
    few = evaluator.evaluate(example_batch(10, size=16, rng=1), example_batch(10, size=16, rng=2), rng=0)
    many = evaluator.evaluate(example_batch(400, size=16, rng=1), example_batch(400, size=16, rng=2), rng=0)
    assert (many["error"] < few["error"] / 2).all()


def test_reference_gets_rows_of_its_own():
    table = PhotometryEvaluator(n_bootstrap=5).evaluate(
        example_batch(8, rng=1), example_batch(7, rng=2), reference=example_batch(6, rng=3), rng=0
    )
    assert list(table["group"]) == ["all"] * 3 + ["reference"] * 3
    assert list(table["n_synthetic"]) == [7] * 3 + [6] * 3


def test_colour_of_nothing_is_nan_with_its_count():
    dark = ImageBatch(np.zeros((3, 8, 8, 3), np.uint8), example_batch(3).conditions, np.arange(3).astype(str))
    table = PhotometryEvaluator(n_bootstrap=5).evaluate(dark, dark)
    row = table[table["metric"] == "colour_ks"][0]
    assert np.isnan(row["value"])
    assert np.isnan(row["error"])
    assert row["n_real"] == 0


def test_too_few_resamples():
    with pytest.raises(ConditionError, match="n_bootstrap is 1; a standard deviation needs at least 2"):
        PhotometryEvaluator(n_bootstrap=1).evaluate(example_batch(2), example_batch(2))


def test_it_keeps_the_promises_of_an_evaluator():
    check_evaluator(PhotometryEvaluator(n_bootstrap=5))
