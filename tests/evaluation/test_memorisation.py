"""Copies of training images are found, also mirrored, turned and noised; other images are not taken for copies."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from astro_galaxysd.errors import ConditionError, ImageError
from astro_galaxysd.evaluation.distances import unit
from astro_galaxysd.evaluation.memorisation import MemorisationEvaluator, _limit, closest_pairs, form
from astro_galaxysd.evaluation.realism import RealismEvaluator
from astro_galaxysd.evaluation.scores import share_error
from astro_galaxysd.learning.views import dihedral
from astro_galaxysd.records import ImageBatch
from astro_galaxysd.testing import check_evaluator, example_batch

SETS = [example_batch(200, rng=rng) for rng in (1, 2, 3)]
COPIES = {
    "as they are": lambda images: images,
    "mirrored": lambda images: images[:, :, ::-1],
    "turned": lambda images: np.rot90(images, 1, (1, 2)),
    "noised": lambda images: np.clip(
        images + np.random.default_rng(0).normal(0, 0.4, images.shape).round(), 0, 255
    ).astype(np.uint8),
}


def judged(images, embedder, real=SETS[0], training=SETS[1]):
    batch = example_batch(len(images))
    synthetic = ImageBatch(np.ascontiguousarray(images), batch.conditions, batch.ids)
    table = MemorisationEvaluator().evaluate(real, synthetic, reference=training, embedder=embedder, rng=0)
    return {row["metric"]: row for row in table}


def figures(real, synthetic, training):
    scores = MemorisationEvaluator()._scores(real, synthetic, training, np.random.default_rng(0))
    return {score.metric: score for score in scores}


def test_images_that_are_no_copies_score_what_chance_does(described):
    found = judged(SETS[2].images, described)
    assert found["near_copies"]["value"] <= 0.01 + 3 * found["near_copies"]["error"]
    assert found["near_copies"]["value"] < 0.05
    assert found["authenticity"]["value"] > 0.5


@pytest.mark.parametrize("copy", COPIES)
def test_copies_are_found_and_realism_does_not_mind_them(copy, described):
    copies = COPIES[copy](SETS[1].images)
    held, found = judged(SETS[2].images, described), judged(copies, described)
    assert found["near_copies"]["value"] > 0.9
    assert found["authenticity"]["value"] < 0.1 < held["authenticity"]["value"]
    if copy != "noised":
        batch = ImageBatch(np.ascontiguousarray(copies), SETS[1].conditions, SETS[1].ids)
        tables = [RealismEvaluator().evaluate(SETS[0], other, embedder=described, rng=0) for other in (batch, SETS[2])]
        for one, two in zip(*tables, strict=True):
            assert one["value"] == pytest.approx(two["value"], abs=4 * np.hypot(one["error"], two["error"]))


def test_a_tenth_of_copies_is_a_tenth(described):
    mixed = np.concatenate([SETS[1].images[:20], SETS[2].images[:180]])
    found = judged(mixed, described)["near_copies"]
    assert found["value"] == pytest.approx(0.1, abs=0.03)
    assert found["value"] > 0.01 + 3 * found["error"]


def test_noise_is_no_copy(described):
    noise = np.random.default_rng(0).integers(0, 256, SETS[2].images.shape, dtype=np.uint8)
    found = judged(noise, described)
    assert found["near_copies"]["value"] == 0
    assert found["authenticity"]["value"] == 1


def test_both_figures_by_hand():
    angle = np.deg2rad([0, 10, 30, 90])
    training = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    ours = np.deg2rad([1, 9.5, 20.5, 55, 70])  # nearest: 0 (gap 10), 10 (10), 30 (20), 30 (20), 90 (60)
    null = np.deg2rad(np.linspace(0, 2, 101)[1:])  # 1 % quantile at 0.0398 degrees
    points = [np.stack([np.cos(a), np.sin(a)], axis=1) for a in (null, np.append(ours, np.deg2rad(0.01)))]
    found = figures(points[0], points[1], training)
    assert found["near_copies"].value == pytest.approx(1 / 6)
    assert found["authenticity"].value == pytest.approx(1 / 6)  # 55 alone is farther than its gap


def test_authenticity_is_that_of_the_whole_matrix():
    rng = np.random.default_rng(0)
    training, ours = (unit(rng.normal(size=(n, 4))) for n in (60, 40))
    inner = ((training[:, None] - training[None]) ** 2).sum(axis=2) + np.diag(np.full(60, np.inf))
    outer = ((ours[:, None] - training[None]) ** 2).sum(axis=2)
    expected = (outer.min(axis=1) > inner.min(axis=1)[outer.argmin(axis=1)]).mean()
    assert figures(unit(rng.normal(size=(120, 4))), ours, training)["authenticity"].value == pytest.approx(expected)


@pytest.mark.parametrize("reference", [None, example_batch(1)])
def test_without_training_images_there_is_a_note(reference):
    table = MemorisationEvaluator().evaluate(example_batch(8), example_batch(8), reference=reference)
    assert np.isnan(table["value"]).all()
    assert all("no training images: give the table" in note for note in table["note"])


@pytest.mark.parametrize("n", [99, 100, 150])
def test_no_more_than_one_in_a_hundred_is_taken_for_a_copy(n):
    rng = np.random.default_rng(n)
    null = rng.random((4000, n))  # below the limit lies this share of all that is no copy
    limits = np.array([_limit(distances) for distances in null])
    assert limits.mean() == pytest.approx(0.01, abs=4 * limits.std() / np.sqrt(len(limits)))


def test_shares_of_all_and_of_none_have_errors(described):
    noise = np.random.default_rng(0).integers(0, 256, SETS[2].images.shape, dtype=np.uint8)
    for row in judged(noise, described).values():
        assert row["error"] == pytest.approx(share_error(int(row["value"]) * 200, 200))


def test_few_real_images_set_no_limit(described):
    few = example_batch(98, rng=4)
    found = judged(SETS[2].images, described, real=few)
    assert np.isnan(found["near_copies"]["value"])
    assert found["near_copies"]["note"] == "98 real images; a 1 % quantile needs at least 99"
    assert found["authenticity"]["value"] > 0


def test_real_images_that_were_trained_on_set_no_limit(described):
    found = judged(SETS[2].images, described, real=SETS[1])
    assert np.isnan(found["near_copies"]["value"])
    assert "real images are training images themselves" in found["near_copies"]["note"]


def test_too_few_resamples():
    with pytest.raises(ConditionError, match="n_bootstrap is 1; a standard deviation needs at least 2"):
        MemorisationEvaluator(n_bootstrap=1).evaluate(example_batch(2), example_batch(2))


def test_closest_pairs_name_the_copy_and_how_it_was_turned(described):
    synthetic = SETS[2].images.copy()
    # a galaxy that no turn leaves as it is
    training = SETS[1].images.copy()
    training[17, 4:9, 10:14] = 200
    synthetic[30] = form(training[17], 6)
    pairs = closest_pairs(synthetic, ImageBatch(training, SETS[1].conditions, SETS[1].ids), described, n=3)
    assert pairs[0][:2] == (30, 17)
    assert pairs[0].distance == pytest.approx(0, abs=0.01)
    assert pairs[0].correlation == pytest.approx(1)
    np.testing.assert_array_equal(form(training[17], pairs[0].form), synthetic[30])
    assert [pair.distance for pair in pairs] == sorted(pair.distance for pair in pairs)
    assert len(pairs) == 3
    assert all(-1 <= pair.correlation < 0.999 for pair in pairs[1:])


def test_images_of_unequal_size_have_no_correlation(described):
    pair = closest_pairs(example_batch(1, size=32), example_batch(3, size=40, rng=2), described)[0]
    assert np.isnan(pair.correlation)
    assert pair.form == 0


def test_the_eight_forms_differ_and_keep_their_pixels():
    image = np.arange(12).reshape(2, 2, 3)
    forms = {form(image, number).tobytes() for number in range(8)}
    assert len(forms) == 8
    np.testing.assert_array_equal(form(image, 0), image)
    pixels = torch.from_numpy(image).permute(2, 0, 1).expand(8, -1, -1, -1)
    for number, same in enumerate(dihedral(pixels, torch.arange(8)).permute(0, 2, 3, 1).numpy()):
        np.testing.assert_array_equal(form(image, number), same)
    with pytest.raises(ImageError, match="form 8 of an image; there are eight"):
        form(image, 8)


def test_it_keeps_the_promises_of_an_evaluator(described):
    check_evaluator(MemorisationEvaluator(), embedder=described)
