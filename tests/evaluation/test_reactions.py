"""Each metric sees what it is meant to see in real galaxies, and each fault leaves the others alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from scipy import ndimage

from astro_galaxysd import read_table
from astro_galaxysd.conditions.table import VOTES, choose_dialect
from astro_galaxysd.conditions.tree import INDEX
from astro_galaxysd.evaluation.consistency import ConsistencyEvaluator
from astro_galaxysd.evaluation.diversity import METRICS as DIVERSITY
from astro_galaxysd.evaluation.diversity import DiversityEvaluator
from astro_galaxysd.evaluation.memorisation import HIGHER_IS_BETTER as MEMORISATION
from astro_galaxysd.evaluation.memorisation import MemorisationEvaluator
from astro_galaxysd.evaluation.memory import Memory
from astro_galaxysd.evaluation.morphology import QUANTITIES as SHAPES
from astro_galaxysd.evaluation.morphology import MorphologyEvaluator
from astro_galaxysd.evaluation.photometry import QUANTITIES, PhotometryEvaluator
from astro_galaxysd.evaluation.realism import HIGHER_IS_BETTER as REALISM
from astro_galaxysd.evaluation.realism import RealismEvaluator
from astro_galaxysd.images.codec import read_images
from astro_galaxysd.records import ImageBatch

N = 200
EVALUATORS = {
    "realism": RealismEvaluator,
    "diversity": DiversityEvaluator,
    "consistency": ConsistencyEvaluator,
    "photometry": PhotometryEvaluator,
    "morphology": MorphologyEvaluator,
    "memorisation": MemorisationEvaluator,
}


def batch(table, first):
    """N galaxies of a table from a row on, with what was asked for: their votes."""
    rows = table[first : first + N]
    known = rows[["id"]]
    known[VOTES] = choose_dialect(rows).read(rows)
    return ImageBatch(np.stack(read_images(rows)), known, np.asarray(rows["id"]).astype(str))


class Sky:
    """Real galaxies to compare with, others to change, and those that were trained on."""

    def __init__(self, folder):
        test, train = (read_table(folder / f"{split}.parquet") for split in ("test", "train"))
        self.table = test
        self.real, self.others, self.training = batch(test, 0), batch(test, N), batch(train, 0)
        self.memory = Memory()
        self._known = {}

    def figures(self, name, images=None, conditions=None):
        """Metric -> value, error of one evaluator for changed images; as they are, remembered."""
        if images is None and conditions is None:
            if name not in self._known:
                self._known[name] = self.figures(name, self.others.images)
            return self._known[name]
        images = self.others.images if images is None else images
        conditions = self.others.conditions if conditions is None else conditions
        drawn = ImageBatch(images, conditions, self.others.ids)
        table = EVALUATORS[name]().evaluate(self.real, drawn, reference=self.training, embedder=self.memory, rng=0)
        rows = table[table["group"] == "all"]
        return {str(row["metric"]): (float(row["value"]), float(row["error"])) for row in rows}

    def of_class(self, key):
        """N other real galaxies whose votes agree on an answer."""
        votes = choose_dialect(self.table).read(self.table)[:, INDEX[key]]
        rows = np.flatnonzero(np.nan_to_num(votes) > 0.5)
        return np.stack(read_images(self.table, rows=rows[rows >= 2 * N][:N].tolist()))

    def change(self, name, metric, images=None, conditions=None):
        """By how many of its errors a figure changed."""
        before = self.figures(name)[metric]
        after = self.figures(name, images, conditions)[metric]
        return (after[0] - before[0]) / max(np.hypot(before[1], after[1]), 1e-9)


@pytest.fixture(scope="module")
def sky(gz2):
    return Sky(gz2)


def noisy(images, sigma=8.0):
    return np.clip(images + np.random.default_rng(0).normal(0, sigma, images.shape), 0, 255).round().astype(np.uint8)


def blurred(images, sigma=1.5):
    return ndimage.gaussian_filter(images.astype(float), (0, sigma, sigma, 0)).round().astype(np.uint8)


def with_light(images, change):
    """Images whose light above the sky is changed."""
    sky = np.median(images[:, :8].astype(float), axis=(1, 2), keepdims=True)
    return np.clip(change(images - sky) + sky, 0, 255).round().astype(np.uint8)


def brighter(images, gain=1.5):
    return with_light(images, lambda light: light * gain)


def flattened(images, top=20.0):
    """Cores and arms washed out, as under a stretch that saturates."""
    return with_light(images, lambda light: np.where(light > 0, -top * np.expm1(-np.maximum(light, 0) / top), light))


def lopsided(images):
    """Galaxies with one half fainter than the other."""
    gain = np.where(np.arange(images.shape[2]) < images.shape[2] // 2, 1, 0.4)[:, None]
    return with_light(images, lambda light: light * gain)


def lifted(images, levels=6):
    return np.clip(images.astype(int) + levels, 0, 255).astype(np.uint8)


def swapped(images):
    return images[..., ::-1].copy()


def doubled(images):
    """A second galaxy beside each."""
    return np.maximum(images, np.roll(images, (24, 24), (1, 2)))


def scaled(images, height, width):
    middle = (images.shape[1] - 1) / 2
    size = np.array([height, width, 1.0])
    options = {"matrix": 1 / size, "offset": middle * (1 - 1 / size) * (1, 1, 0), "order": 1, "mode": "nearest"}
    return (
        np.stack([ndimage.affine_transform(image.astype(float), **options) for image in images])
        .round()
        .astype(np.uint8)
    )


def squeezed(images):
    return scaled(images, 0.5, 1)


def shrunk(images):
    return scaled(images, 0.5, 0.5)


def half_noise(images):
    """Every second image without a galaxy."""
    images = images.copy()
    images[::2] = np.random.default_rng(0).integers(0, 256, images[::2].shape, dtype=np.uint8)
    return images


def collapsed(images, kinds=6):
    """A few galaxies again and again, turned and a little noisy, as a generator without ideas draws them."""
    turned = [np.rot90(images[row % kinds], row // kinds % 4) for row in range(len(images))]
    return noisy(np.stack(turned), 1.0)


def copied(training):
    """Training images, mirrored and with a little noise."""
    return noisy(training[:, :, ::-1], 2.0)


class Case(NamedTuple):
    """What is done to galaxies; metrics that must be higher, must be lower and must not care, blanks between."""

    change: Callable[[np.ndarray], np.ndarray]
    higher: str
    lower: str
    unmoved: str


CASES = {
    "noise": Case(
        noisy, "sky_rms_ks sky_rms_wasserstein sky_rms_shift", "",
        "flux_ks flux_shift power consistency vote_rmse failures ellipticity_ks m20_ks near_copies",
    ),
    "blur": Case(
        blurred, "power sky_rms_ks frechet kernel_distance", "coverage pairwise_distance vendi",
        "flux_ks flux_shift background_ks colour_ks consistency ellipticity_ks half_light_radius_ks failures",
    ),
    "brightness": Case(
        brighter, "flux_ks flux_wasserstein flux_shift profile_ks", "",
        "background_ks background_shift colour_ks ellipticity_ks concentration_ks asymmetry_ks gini_ks m20_ks recall",
    ),
    "background": Case(
        lifted, "background_ks background_wasserstein background_shift", "",
        "flux_ks sky_rms_ks colour_ks power concentration_ks nearest_real frechet coverage vendi consistency",
    ),
    "colours": Case(
        swapped, "colour_ks colour_wasserstein colour_shift colour_rg_ks colour_rg_wasserstein colour_rg_shift", "",
        "flux_ks background_ks sky_rms_ks power ellipticity_ks half_light_radius_ks gini_ks consistency near_copies",
    ),
    "flattened": Case(
        flattened,
        "gini_ks gini_wasserstein concentration_ks concentration_wasserstein m20_ks m20_wasserstein",
        "", "background_ks background_shift sky_rms_ks ellipticity_ks ellipticity_wasserstein near_copies",
    ),
    "lopsided": Case(
        lopsided, "asymmetry_ks asymmetry_wasserstein", "",
        "background_ks colour_ks colour_rg_ks ellipticity_ks half_light_radius_ks m20_ks failures near_copies",
    ),
    "companions": Case(
        doubled, "m20_ks m20_wasserstein concentration_ks vote_rmse calibration_error chance", "",
        "colour_ks colour_rg_ks failures near_copies",
    ),
    "squeezed": Case(
        squeezed, "ellipticity_ks ellipticity_wasserstein half_light_radius_ks vote_rmse", "consistency",
        "background_ks sky_rms_ks colour_ks asymmetry_ks gini_ks m20_ks near_copies",
    ),
    "shrunk": Case(
        shrunk, "half_light_radius_ks half_light_radius_wasserstein frechet", "nearest_real precision density recall",
        "ellipticity_ks m20_ks background_ks near_copies",
    ),
    "half noise": Case(
        half_noise, "failures frechet kernel_distance", "consistency chance vendi",
        "ellipticity_ks concentration_ks asymmetry_ks near_copies",
    ),
    "mode collapse": Case(
        collapsed, "frechet kernel_distance", "pairwise_distance vendi recall coverage",
        "nearest_real precision density failures near_copies",
    ),
}  # fmt: skip
_NAMES = {
    **dict.fromkeys(REALISM, "realism"),
    **dict.fromkeys(DIVERSITY, "diversity"),
    **dict.fromkeys(("consistency", "share_read", "chance", "vote_rmse", "calibration_error"), "consistency"),
    **dict.fromkeys(MEMORISATION, "memorisation"),
    **{f"{q}_{kind}": "photometry" for q in QUANTITIES for kind in ("ks", "wasserstein", "shift")},
    **dict.fromkeys(("profile_ks", "power"), "photometry"),
    **{f"{shape}_{kind}": "morphology" for shape in SHAPES for kind in ("ks", "wasserstein")},
    "failures": "morphology",
}
_SLOW = (
    "brightness", "background", "colours", "flattened", "lopsided", "companions", "squeezed", "shrunk", "noise",
    "mode collapse", "blur", "half noise",
)  # fmt: skip


@pytest.mark.parametrize("case", [pytest.param(c, marks=[pytest.mark.slow] if c in _SLOW else []) for c in CASES])
def test_what_is_meant_to_see_it_does_and_others_do_not(sky, case):
    change, higher, lower, unmoved = CASES[case]
    images = change(sky.others.images)
    steps = {metric: sky.change(_NAMES[metric], metric, images) for metric in f"{higher} {lower} {unmoved}".split()}
    # in errors: what is unmoved stays below 2.1, what is moved is at 4.2 (precision) or more
    assert min(steps[metric] for metric in higher.split()) > 3.5, steps
    assert max((steps[metric] for metric in lower.split()), default=-4) < -3.5, steps
    assert max(abs(steps[metric]) for metric in unmoved.split()) < 2.5, steps


def test_each_metric_has_a_fault_that_it_must_see():
    seen = {metric for case in CASES.values() for metric in f"{case.higher} {case.lower}".split()}
    # copied training images, and shuffled labels
    assert seen | {"near_copies", "authenticity"} | {"share_read"} == set(_NAMES)


def test_these_are_all_metrics(sky):
    assert {metric for name in EVALUATORS for metric in sky.figures(name)} == set(_NAMES)


@pytest.mark.slow
def test_another_class_of_galaxies(sky):
    images = sky.of_class("round")
    for metric in ("ellipticity_ks", "frechet", "vote_rmse"):
        assert sky.change(_NAMES[metric], metric, images) > 3.5, metric
    for metric in ("consistency", "coverage"):
        assert sky.change(_NAMES[metric], metric, images) < -3.5, metric
    for metric in ("precision", "nearest_real", "flux_ks", "sky_rms_ks", "profile_ks", "failures"):
        assert abs(sky.change(_NAMES[metric], metric, images)) < 2.5, metric


def test_shuffled_labels(sky):
    shuffled = sky.others.conditions[np.random.default_rng(0).permutation(N)]
    for metric in ("consistency", "share_read"):
        assert sky.change("consistency", metric, conditions=shuffled) < -4
    for metric in ("vote_rmse", "calibration_error"):
        assert sky.change("consistency", metric, conditions=shuffled) > 4
    found = sky.figures("consistency", conditions=shuffled)
    (value, error), (chance, spread) = found["consistency"], found["chance"]
    assert abs(value - chance) < 3 * np.hypot(error, spread)
    assert abs(sky.change("consistency", "chance", conditions=shuffled)) < 2.5


@pytest.mark.slow
def test_copied_training_images(sky):
    images = copied(sky.training.images)
    assert sky.change("memorisation", "near_copies", images) > 4
    assert sky.change("memorisation", "authenticity", images) < -4
    # they are real galaxies, only not new ones
    for metric in ("nearest_real", "frechet", "density", "coverage", "vendi", "flux_ks", "m20_ks"):
        assert abs(sky.change(_NAMES[metric], metric, images)) < 2.5, metric


def test_real_galaxies_are_no_copies(sky):
    value, error = sky.figures("memorisation")["near_copies"]
    assert abs(value - 0.01) < 3 * error
