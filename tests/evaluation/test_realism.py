"""Realism against the papers' own code and by hand; and what it reacts to."""

from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.errors import ConditionError
from astro_galaxysd.evaluation.distances import frechet_of_moments, moments, unit
from astro_galaxysd.evaluation.realism import HIGHER_IS_BETTER, RealismEvaluator
from astro_galaxysd.evaluation.scores import share_error
from astro_galaxysd.records import ImageBatch
from astro_galaxysd.testing import check_evaluator, example_batch


def cloud(n, rng, shift=0.0):
    points = np.random.default_rng(rng).normal(size=(n, 6)) / np.arange(1, 7) ** 0.5
    return unit(points + np.eye(6)[0] * (1 + shift))


def figures(one, two, **settings):
    scores = RealismEvaluator(**settings)._scores(one, two, np.random.default_rng(0))
    return {score.metric: score for score in scores}


@pytest.fixture(scope="module")
def real():
    return example_batch(150, rng=1)


def judged(real, images, embedder):
    batch = example_batch(len(images))
    table = RealismEvaluator().evaluate(real, ImageBatch(images, batch.conditions, batch.ids), embedder=embedder, rng=0)
    return {row["metric"]: row for row in table}


@pytest.mark.parametrize(("n", "m", "k"), [(80, 60, 5), (40, 90, 3)])
def test_precision_and_density_are_those_of_prdc(n, m, k):
    prdc = pytest.importorskip("prdc")
    real, synthetic = (unit(np.random.default_rng(size).normal(size=(size, 40))) for size in (n, m))
    expected = prdc.compute_prdc(real, synthetic, nearest_k=k)
    found = figures(real, synthetic, nearest_k=k)
    assert 0 < expected["precision"] < 1
    for metric in ("precision", "density"):
        assert found[metric].value == pytest.approx(expected[metric], abs=1e-9)


def test_kernel_distance_is_the_unbiased_estimator():
    real, synthetic = cloud(9, 0), cloud(7, 1, shift=1)
    scaled = [points * np.sqrt(6) for points in (real, synthetic)]

    def kernel(one, two):
        return (one @ two.T / 6 + 1) ** 3

    own = [(kernel(p, p).sum() - np.trace(kernel(p, p))) / (len(p) * (len(p) - 1)) for p in scaled]
    expected = sum(own) - 2 * kernel(*scaled).mean()
    assert figures(real, synthetic)["kernel_distance"].value == pytest.approx(expected, abs=1e-12)


def test_kernel_distance_by_hand():
    # pairs of a batch at right angles, batches opposite: 1 + 1 - 2 * (3 * 0 + 6 * 1) / 9
    real = np.eye(3)
    assert figures(real, -real, nearest_k=2)["kernel_distance"].value == pytest.approx(2 - 12 / 9)


def test_nearest_real_and_frechet_are_those_of_the_whole_batch():
    from astro_galaxysd.evaluation.distances import frechet

    real, synthetic = cloud(50, 0), cloud(40, 1, shift=0.5)
    found = figures(real, synthetic)
    assert found["nearest_real"].value == pytest.approx((synthetic @ real.T).max(axis=1).mean())
    assert found["frechet"].value == pytest.approx(frechet(synthetic, real))


def test_same_batch_is_perfect():
    real = cloud(60, 0)
    found = figures(real, real)
    assert [found[m].value for m in ("nearest_real", "precision")] == [1, 1]
    assert found["frechet"].value == pytest.approx(0, abs=1e-9)
    assert found["kernel_distance"].value < 0  # unbiased: pairs of an image with its copy pull the batches together


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0, 0.5])
def test_errors_are_those_of_samples_drawn_again_and_again(shift):
    runs = [figures(cloud(80, 2 * run), cloud(80, 2 * run + 1, shift), n_groups=40) for run in range(80)]
    for metric in HIGHER_IS_BETTER:
        spread = np.std([run[metric].value for run in runs], ddof=1)
        ratio = np.mean([run[metric].error for run in runs]) / spread
        assert 0.7 < ratio < (2.2 if shift == 0 else 1.9), metric


def test_more_images_smaller_errors():
    few, many = figures(cloud(40, 0), cloud(40, 1, 0.5)), figures(cloud(640, 0), cloud(640, 1, 0.5))
    for metric in HIGHER_IS_BETTER:
        assert 0 < many[metric].error < few[metric].error, metric


def test_real_images_are_within_their_errors_of_real_ones(real, described):
    found = judged(real, example_batch(150, rng=2).images, described)
    assert found["precision"]["value"] > 0.85
    assert found["density"]["value"] == pytest.approx(1, abs=3 * found["density"]["error"])
    assert found["kernel_distance"]["value"] == pytest.approx(0, abs=3 * found["kernel_distance"]["error"])


def test_noise_is_seen_by_all(real, described):
    held = example_batch(150, rng=2).images
    noisy = np.clip(held + np.random.default_rng(0).normal(0, 12, held.shape), 0, 255).astype(np.uint8)
    ceiling, found = judged(real, held, described), judged(real, noisy, described)
    for metric, higher in HIGHER_IS_BETTER.items():
        step = (ceiling[metric]["value"] - found[metric]["value"]) * (1 if higher else -1)
        assert step > 3 * max(ceiling[metric]["error"], found[metric]["error"]), metric


def test_mode_collapse_is_seen_by_the_distributions_and_not_by_the_nearest_images(real, described):
    held = example_batch(150, rng=2).images
    noise = np.random.default_rng(0).normal(0, 1, held.shape)
    collapsed = np.clip(held[:5].repeat(30, axis=0) + noise, 0, 255).astype(np.uint8)
    ceiling, found = judged(real, held, described), judged(real, collapsed, described)
    for metric in ("frechet", "kernel_distance"):
        assert found[metric]["value"] > ceiling[metric]["value"] + 3 * found[metric]["error"], metric
    assert found["precision"]["value"] > ceiling["precision"]["value"] - 3 * found["precision"]["error"]
    assert found["precision"]["value"] > 0.7


def test_too_few_images_are_nan_with_a_note(described):
    table = RealismEvaluator().evaluate(example_batch(5), example_batch(1, rng=1), embedder=described)
    rows = {row["metric"]: row for row in table}
    for metric in ("precision", "density", "frechet", "kernel_distance"):
        assert np.isnan(rows[metric]["value"])
        needed = 24 if metric in ("precision", "density") else 3
        assert rows[metric]["note"] == f"5 real and 1 synthetic images; at least {needed} of each are needed"
    assert rows["nearest_real"]["value"] < 1
    assert np.isnan(rows["nearest_real"]["error"])


@pytest.mark.parametrize("n", [8, 12, 23, 24])
def test_small_batches_have_errors_or_a_note(n):
    found = figures(cloud(n, 0), cloud(n, 1))
    for metric in HIGHER_IS_BETTER:
        assert found[metric].error > 0 or found[metric].note, metric
    assert np.isfinite(found["precision"].value) == (n == 24)
    assert found["frechet"].error > 0


def test_a_share_of_1_has_an_error():
    assert figures(cloud(60, 0), cloud(60, 0))["precision"].error == pytest.approx(share_error(60, 60))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"nearest_k": 0}, "nearest_k is 0; a radius needs"),
        ({"n_groups": 1}, "n_groups is 1; an error needs at least 2 groups"),
    ],
)
def test_settings_that_give_no_figure(settings, message, described):
    with pytest.raises(ConditionError, match=message):
        RealismEvaluator(**settings).evaluate(example_batch(8), example_batch(8), embedder=described)


def test_many_dimensions_take_fewer_groups(monkeypatch):
    calls = []
    monkeypatch.setattr("astro_galaxysd.evaluation.realism.frechet_of_moments", lambda *m: calls.append(1) or 0.0)
    points = unit(np.random.default_rng(0).normal(size=(60, 300)))
    figures(points[:30], points[30:])
    assert len(calls) == 0  # fewer images than dimensions need no such matrix
    points = unit(np.random.default_rng(0).normal(size=(320, 300)))
    figures(points[:160], points[160:])
    assert len(calls) == 21


def test_frechet_of_few_images_in_many_dimensions_has_the_same_error(monkeypatch):
    points = unit(np.random.default_rng(0).normal(size=(60, 120)))
    quick = figures(points[:30], points[30:])["frechet"]
    monkeypatch.setattr(
        "astro_galaxysd.evaluation.realism.frechet", lambda a, b: frechet_of_moments(*moments(a), *moments(b))
    )
    assert quick.error == pytest.approx(figures(points[:30], points[30:])["frechet"].error, rel=1e-4)


def test_it_keeps_the_promises_of_an_evaluator(described):
    check_evaluator(RealismEvaluator(), embedder=described)
