"""Figures against closed forms; and each kind of damage is seen by the metric that should see it."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from astro_galaxysd.conditions.tree import ANSWERS, INDEX
from astro_galaxysd.errors import ConditionError, ImageError, TrainingError
from astro_galaxysd.evaluation.curves import COLUMNS, append_metrics, plot_metrics
from astro_galaxysd.evaluation.distances import apart, diversity, frechet, realism
from astro_galaxysd.evaluation.progress import HIGHER_IS_BETTER, Figure, Progress, choose_rows, consistency
from astro_galaxysd.evaluation.reader import VoteReader

SMOOTH = [INDEX[key] for key in ("smooth", "features", "artifact")]


def galaxies(n, *, rng):
    """Round to cigar-shaped galaxies of several sizes and colours with their votes; (n, 32, 32, 3) and (n, 37)."""
    rng = np.random.default_rng(rng)
    ratio, angle, size = rng.uniform(0.2, 1, n), rng.uniform(0, np.pi, n), rng.uniform(20, 60, n)
    offset = np.arange(32) - 15.5
    x, y = np.meshgrid(offset, offset)
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    spread = (x * cos + y * sin) ** 2 + ((y * cos - x * sin) / ratio[:, None, None]) ** 2
    light = np.exp(-spread / size[:, None, None])[..., None] * rng.uniform(60, 160, (n, 1, 1, 3))
    sky = rng.normal(0, 3, (n, 32, 32, 3)) + rng.normal(14, 1.5, (n, 1, 1, 1))
    fractions = np.full((n, len(ANSWERS)), np.nan)
    fractions[:, SMOOTH] = 0.9, 0.05, 0.05
    fractions[:, INDEX["round"]] = np.clip(ratio - 0.1, 0, 1)
    fractions[:, INDEX["in_between"]] = 0.1
    fractions[:, INDEX["cigar"]] = 0.9 - fractions[:, INDEX["round"]]
    return np.clip(light + sky, 0, 255).astype(np.uint8), fractions


@pytest.fixture(scope="module")
def real():
    return galaxies(80, rng=2)


@pytest.fixture(scope="module")
def progress(real):
    reader = VoteReader(hidden=32, epochs=40).fit(*galaxies(500, rng=0))
    return Progress(*galaxies(200, rng=1), reader, reference=real, n_bootstrap=30)


def blurred(images):
    rows = (images.astype(float) + np.roll(images, 1, 1) + np.roll(images, -1, 1)) / 3
    return ((rows + np.roll(rows, 1, 2) + np.roll(rows, -1, 2)) / 3).round().astype(np.uint8)


def shifted(images, by):
    return np.clip(images.astype(int) + by, 0, 255).astype(np.uint8)


DAMAGES = {
    "noise": (
        lambda i: np.clip(i + np.random.default_rng(0).normal(0, 7, i.shape), 0, 255).astype(np.uint8),
        ("frechet", "sky", "realism", "diversity"),
    ),
    "blur": (blurred, ("frechet", "sky", "power")),
    "brighter sky": (lambda i: shifted(i, 8), ("background_ks", "frechet")),
    "brighter galaxy": (lambda i: np.clip(1.6 * i, 0, 255).astype(np.uint8), ("flux_ks", "frechet", "power")),
    "one image for all": (lambda i: i[:1].repeat(len(i), axis=0), ("diversity", "frechet", "consistency")),
    "beside the middle": (lambda i: np.roll(i, 8, axis=2), ("realism", "frechet")),
    "noise alone": (
        lambda i: np.random.default_rng(0).integers(0, 256, i.shape, dtype=np.uint8),
        ("realism", "frechet", "sky", "power", "consistency"),
    ),
    "few images": (lambda i: np.tile(i[:8], (10, 1, 1, 1)), ("frechet", "consistency")),
    "the wrong ones": (lambda i: np.random.default_rng(0).permutation(i), ("consistency",)),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_seen(progress, real, name):
    damage, seen_by = DAMAGES[name]
    measured = progress.measure(damage(real[0]), real[1])
    for metric in seen_by:
        (value, error), ceiling = measured[metric], progress.ceiling[metric]
        loss = (ceiling.value - value) * (1 if HIGHER_IS_BETTER[metric] else -1)
        assert loss > 2 * np.hypot(error, ceiling.error), metric


def test_wrong_prompts_move_consistency_alone(progress, real):
    measured = progress.measure(real[0], np.random.default_rng(0).permutation(real[1]))
    for metric, figure in measured.items():
        assert (figure == progress.ceiling[metric]) == (metric != "consistency")
    assert abs(measured["consistency"].value) < 0.3
    assert progress.ceiling["consistency"].value > 0.8


def test_other_real_galaxies_are_at_the_ceiling(progress):
    measured = progress.measure(*galaxies(80, rng=7))
    for metric, (value, error) in measured.items():
        ceiling = progress.ceiling[metric]
        assert abs(value - ceiling.value) < 4 * np.hypot(error, ceiling.error) + 0.02, metric


def test_equal_images_have_equal_figures(progress, real):
    assert progress.measure(*real) == progress.ceiling
    assert set(progress.ceiling) == set(HIGHER_IS_BETTER)
    assert all(figure.error > 0 for figure in progress.ceiling.values())


def test_errors_shrink_with_the_number_of_images(progress):
    few, many = (progress.measure(*galaxies(n, rng=3)) for n in (20, 320))
    for metric in ("realism", "consistency", "frechet"):
        assert many[metric].error < few[metric].error / 2


def test_frechet_distance_of_two_gaussians():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((40000, 3)), rng.standard_normal((40000, 3)) * [1, 2, 3] + [1, 0, 0]
    assert frechet(first, second) == pytest.approx(1 + 1 + 4, rel=0.03)  # shift^2 + sum of (s - 1)^2
    assert frechet(first, first) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_of_turned_gaussians_is_scipys():
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(1)
    first, second = (rng.standard_normal((50, 4)) @ rng.standard_normal((4, 4)) for _ in range(2))
    one, two = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    shift = first.mean(axis=0) - second.mean(axis=0)
    expected = shift @ shift + np.trace(one + two - 2 * linalg.sqrtm(one @ two).real)
    assert frechet(first, second) == pytest.approx(expected)
    assert frechet(second, first) == pytest.approx(expected)


def test_realism_and_diversity_of_known_directions():
    axes = np.eye(3)
    assert diversity(axes) == pytest.approx(1)
    assert diversity(np.ones((4, 3))) == pytest.approx(0)
    assert diversity(np.array([[1.0, 0], [-2.0, 0]])) == pytest.approx(2)
    far = np.array([[0.0, 7, 0], [0, 1, 0], [0, 0, -1]])
    assert realism(far, axes) == pytest.approx([(7 + 3) / (2 * np.sqrt(49 + 3)), 1, 3 / 4])


def test_apart_is_the_logarithm_of_the_ratio_both_ways():
    one, two = np.full((3, 2), 100.0), np.full((5, 2), 200.0)
    assert apart(two, one) == apart(one, two) == pytest.approx(np.log(2), rel=1e-3)
    assert apart(one, one) == 0


def test_consistency_is_the_correlation_of_a_question():
    rng = np.random.default_rng(0)
    asked = np.full((30, 37), np.nan)
    asked[:, SMOOTH] = rng.dirichlet(np.ones(3), 30)
    read, means = rng.random((30, 37)), np.full(37, 1 / 3)
    a, b = (values[:, SMOOTH].ravel() - 1 / 3 for values in (asked, read))
    assert consistency(asked, read, means) == pytest.approx(a @ b / np.sqrt(a @ a * (b @ b)))
    assert consistency(asked, asked, means) == pytest.approx(1)
    assert consistency(asked, np.tile(means, (30, 1)), means) == 0
    assert np.isnan(consistency(asked[:7], read[:7], means))  # too few to say


def test_chosen_rows_are_apart_and_rare_ones_among_them():
    fractions = galaxies(400, rng=0)[1]
    fractions[:, [INDEX["odd"], INDEX["merger"]]] = 0.0
    fractions[:12, [INDEX["odd"], INDEX["merger"]]] = 0.9
    drawn, compared = choose_rows(fractions, 50, rng=3)
    assert (len(drawn), len(compared)) == (50, 150)
    assert len(set(drawn) | set(compared)) == 200
    assert sum(row < 12 for row in (*drawn, *compared)) >= 9  # of 12; evenly chosen, 6
    np.testing.assert_array_equal(choose_rows(fractions, 50, rng=3)[0], drawn)
    assert not np.array_equal(choose_rows(fractions, 50, rng=4)[0], drawn)
    assert len(choose_rows(fractions, 200, rng=3)[1]) == 200


@pytest.mark.parametrize("n", [1, 201])
def test_too_few_or_too_many_rows_to_draw(n):
    with pytest.raises(ConditionError, match=f"n = {n} rows to draw for, of 400; give 2 to 200"):
        choose_rows(galaxies(400, rng=0)[1], n, rng=0)


def test_what_can_not_be_measured(progress, real):
    images, fractions = real
    with pytest.raises(ConditionError, match="n_bootstrap is 1; a standard deviation needs at least 2"):
        Progress(images, fractions, progress.reader, reference=real, n_bootstrap=1)
    with pytest.raises(ImageError, match="7 real images to compare with; give at least 8"):
        Progress(images[:7], fractions[:7], progress.reader, reference=real)
    with pytest.raises(ImageError, match="1 drawn images; figures with errors need at least 2"):
        progress.measure(images[:1], fractions[:1])
    with pytest.raises(ConditionError, match=r"votes of shape \(79, 37\) for 80 images"):
        progress.measure(images, fractions[:79])


FIGURES = {name: Figure(0.5, 0.1) for name in HIGHER_IS_BETTER}


def test_metrics_are_appended_under_one_header(tmp_path):
    path = tmp_path / "metrics.csv"
    for step in (10, 20):
        append_metrics(path, FIGURES, FIGURES | {"realism": Figure(0.75, 0)}, step=step, images=8 * step, n=64)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 16
    assert rows[8] == dict(zip(COLUMNS, ("20", "160", "realism", "0.5", "0.1", "0.75", "64"), strict=True))


def test_curves_need_rows(tmp_path):
    with pytest.raises(TrainingError, match="is not there; a run writes it"):
        plot_metrics(tmp_path / "none.csv", tmp_path / "m.png")
    (tmp_path / "other.csv").write_text("step,loss\n1,2\n")
    with pytest.raises(TrainingError, match="has no column ceiling, error, images, metric, n, value"):
        plot_metrics(tmp_path / "other.csv", tmp_path / "m.png")
    (tmp_path / "empty.csv").write_text(",".join(COLUMNS) + "\n")
    with pytest.raises(TrainingError, match="has no figures yet"):
        plot_metrics(tmp_path / "empty.csv", tmp_path / "m.png")
    (tmp_path / "cut.csv").write_text(",".join(COLUMNS) + "\n10,80,realism,0.")
    with pytest.raises(TrainingError, match="cut.csv is damaged: .*; remove the line"):
        plot_metrics(tmp_path / "cut.csv", tmp_path / "m.png")
    assert not (tmp_path / "m.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("steps", [(5,), (5, 10, 5)])
def test_curves_are_a_picture(tmp_path, steps):
    from PIL import Image

    for step in steps:
        append_metrics(tmp_path / "metrics.csv", FIGURES, FIGURES, step=step, images=step, n=4)
    plot_metrics(tmp_path / "metrics.csv", tmp_path / "m.png", old=FIGURES)
    assert np.asarray(Image.open(tmp_path / "m.png").convert("L")).std() > 5
