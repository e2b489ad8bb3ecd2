"""Diversity against the papers' own code; and what it reacts to."""

from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.errors import ConditionError
from astro_galaxysd.evaluation.distances import diversity, unit
from astro_galaxysd.evaluation.diversity import METRICS, DiversityEvaluator, vendi_score
from astro_galaxysd.evaluation.scores import share_error
from astro_galaxysd.records import ImageBatch
from astro_galaxysd.testing import check_evaluator, example_batch


def cloud(n, rng, shift=0.0, d=6):
    points = np.random.default_rng(rng).normal(size=(n, d)) / np.arange(1, d + 1) ** 0.5
    return unit(points + np.eye(d)[0] * (1 + shift))


def figures(one, two, **settings):
    scores = DiversityEvaluator(**settings)._scores(one, two, np.random.default_rng(0))
    return {score.metric: score for score in scores}


@pytest.fixture(scope="module")
def real():
    return example_batch(150, rng=1)


def judged(real, images, embedder):
    batch = example_batch(len(images))
    table = DiversityEvaluator().evaluate(
        real, ImageBatch(images, batch.conditions, batch.ids), embedder=embedder, rng=0
    )
    return {row["metric"]: row for row in table}


@pytest.mark.parametrize(("n", "m", "k"), [(80, 60, 5), (40, 90, 3)])
def test_recall_and_coverage_are_those_of_prdc(n, m, k):
    prdc = pytest.importorskip("prdc")
    real, synthetic = cloud(n, 0), cloud(m, 1, shift=0.7)
    expected = prdc.compute_prdc(real, synthetic, nearest_k=k)
    found = figures(real, synthetic, nearest_k=k)
    assert 0 < expected["recall"] < 1
    for metric in ("recall", "coverage"):
        assert found[metric].value == pytest.approx(expected[metric], abs=1e-9)


@pytest.mark.parametrize(("n", "d"), [(50, 6), (5, 30)])
def test_vendi_is_that_of_its_authors(n, d):
    vendi = pytest.importorskip("vendi_score.vendi")
    points = cloud(n, 0, d=d)
    assert vendi_score(points) == pytest.approx(vendi.score_dual(points), rel=1e-6)
    assert figures(cloud(9, 1, d=d), points)["vendi"].value == pytest.approx(vendi_score(points) / n)


def test_vendi_by_hand():
    assert vendi_score(np.eye(4)) == pytest.approx(4)
    assert vendi_score(np.eye(4)[[0, 0, 0]]) == pytest.approx(1)
    assert vendi_score(np.eye(4)[[0, 0, 1, 1]]) == pytest.approx(2)


def test_pairwise_distance_is_the_mean_over_pairs():
    points = cloud(30, 0)
    assert figures(cloud(9, 1), points)["pairwise_distance"].value == pytest.approx(diversity(points))
    assert figures(np.eye(6), np.eye(6)[:3])["pairwise_distance"].value == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0, 0.5])
def test_errors_are_those_of_samples_drawn_again_and_again(shift):
    runs = [figures(cloud(80, 2 * run), cloud(80, 2 * run + 1, shift), n_groups=40) for run in range(80)]
    for metric in METRICS:
        spread = np.std([run[metric].value for run in runs], ddof=1)
        assert 0.7 < np.mean([run[metric].error for run in runs]) / spread < 2.1, metric


def test_more_images_smaller_errors():
    few, many = figures(cloud(40, 0), cloud(40, 1, 0.5)), figures(cloud(640, 0), cloud(640, 1, 0.5))
    for metric in METRICS:
        assert 0 < many[metric].error < few[metric].error, metric


def test_mode_collapse_is_seen_by_all(real, described):
    held = example_batch(150, rng=2).images
    noise = np.random.default_rng(0).normal(0, 1, held.shape)
    collapsed = np.clip(held[:5].repeat(30, axis=0) + noise, 0, 255).astype(np.uint8)
    ceiling, found = judged(real, held, described), judged(real, collapsed, described)
    for metric in METRICS:
        step = ceiling[metric]["value"] - found[metric]["value"]
        assert step > 3 * max(ceiling[metric]["error"], found[metric]["error"]), metric


def test_half_of_the_galaxies_missing_is_seen_by_coverage(real, described):
    held = example_batch(300, rng=2).images
    light = held.astype(float).mean(axis=(1, 2, 3))
    ceiling = judged(real, held[:150], described)
    found = judged(real, held[np.argsort(light)[150:]], described)
    step = ceiling["coverage"]["value"] - found["coverage"]["value"]
    assert step > 3 * max(ceiling["coverage"]["error"], found["coverage"]["error"])


def test_copies_of_real_images_are_no_less_diverse(real, described):
    ceiling = judged(real, example_batch(150, rng=2).images, described)
    found = judged(real, example_batch(150, rng=3).images[:, :, ::-1], described)
    for metric in METRICS:
        error = np.hypot(ceiling[metric]["error"], found[metric]["error"])
        assert found[metric]["value"] == pytest.approx(ceiling[metric]["value"], abs=3 * error), metric


def test_too_few_images_are_nan_with_a_note(described):
    table = DiversityEvaluator().evaluate(example_batch(5), example_batch(1, rng=1), embedder=described)
    assert np.isnan(table["value"]).all()
    images = "5 real and 1 synthetic images; at least"
    assert set(table["note"]) == {f"{images} 24 of each are needed", f"{images} 2 synthetic ones are needed"}


@pytest.mark.parametrize("n", [8, 12, 23, 24])
def test_small_batches_have_errors_or_a_note(n):
    found = figures(cloud(n, 0), cloud(n, 1))
    for metric in METRICS:
        assert found[metric].error > 0 or found[metric].note, metric
    assert np.isfinite(found["recall"].value) == np.isfinite(found["coverage"].value) == (n == 24)


def test_shares_of_0_and_1_have_errors():
    real = cloud(60, 0)
    assert figures(real, real)["coverage"].error == pytest.approx(share_error(60, 60))
    assert figures(real, np.tile(-real[:1], (60, 1)))["recall"].error == pytest.approx(share_error(0, 60))


def test_settings_that_give_no_figure(described):
    with pytest.raises(ConditionError, match="nearest_k is -1"):
        DiversityEvaluator(nearest_k=-1).evaluate(example_batch(8), example_batch(8), embedder=described)


def test_it_keeps_the_promises_of_an_evaluator(described):
    check_evaluator(DiversityEvaluator(), embedder=described)
