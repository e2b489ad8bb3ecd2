"""Each metric sees what it is meant to see in real galaxies, and each fault leaves the others alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from astro_galaxysd import read_table
from astro_galaxysd.conditions.table import VOTES, choose_dialect
from astro_galaxysd.evaluation.consistency import ConsistencyEvaluator
from astro_galaxysd.evaluation.diversity import DiversityEvaluator
from astro_galaxysd.evaluation.memorisation import MemorisationEvaluator
from astro_galaxysd.evaluation.memory import Memory
from astro_galaxysd.evaluation.morphology import MorphologyEvaluator
from astro_galaxysd.evaluation.photometry import PhotometryEvaluator
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


def brighter(images, gain=1.5):
    sky = np.median(images[:, :8].astype(float), axis=(1, 2), keepdims=True)
    return np.clip((images - sky) * gain + sky, 0, 255).round().astype(np.uint8)


def lifted(images, levels=6):
    return np.clip(images.astype(int) + levels, 0, 255).astype(np.uint8)


def collapsed(images, kinds=6):
    """A few galaxies again and again, turned and a little noisy, as a generator without ideas draws them."""
    turned = [np.rot90(images[row % kinds], row // kinds % 4) for row in range(len(images))]
    return noisy(np.stack(turned), 1.0)


def copied(training):
    """Training images, mirrored and with a little noise."""
    return noisy(training[:, :, ::-1], 2.0)


#: What is done to the galaxies, what must see it and which way, and what must not care.
CASES = {
    "noise": (noisy, [("photometry", "sky_rms_ks", 1)], [("photometry", "background_ks"), ("photometry", "flux_ks")]),
    "blur": (blurred, [("photometry", "power", 1), ("photometry", "sky_rms_ks", 1)],
             [("photometry", "flux_ks"), ("photometry", "background_ks"), ("photometry", "colour_ks")]),
    "brightness": (brighter, [("photometry", "flux_ks", 1), ("photometry", "flux_shift", 1)],
                   [("photometry", "background_ks"), ("morphology", "ellipticity_ks")]),
    "background": (lifted, [("photometry", "background_ks", 1), ("photometry", "background_shift", 1)],
                   [("photometry", "flux_ks"), ("photometry", "sky_rms_ks"), ("morphology", "concentration_ks")]),
    "mode collapse": (collapsed, [("diversity", "vendi", -1), ("diversity", "coverage", -1)],
                      [("realism", "nearest_real"), ("realism", "precision"), ("morphology", "failures")]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_meant_to_see_it_does_and_others_do_not(sky, case):
    change, seen, unmoved = CASES[case]
    images = change(sky.others.images)
    for name, metric, sign in seen:
        assert sign * sky.change(name, metric, images) > 4, (name, metric)
    for name, metric in unmoved:
        assert abs(sky.change(name, metric, images)) < 3, (name, metric)


def test_shuffled_labels(sky):
    shuffled = sky.others.conditions[np.random.default_rng(0).permutation(N)]
    assert sky.change("consistency", "consistency", conditions=shuffled) < -4
    assert sky.change("consistency", "calibration_error", conditions=shuffled) > 4
    value, error = sky.figures("consistency", conditions=shuffled)["consistency"]
    chance = sky.figures("consistency", conditions=shuffled)["chance"]
    assert abs(value - chance[0]) < 3 * np.hypot(error, chance[1])
    for name, metric in (("realism", "frechet"), ("photometry", "flux_ks"), ("diversity", "coverage")):
        assert sky.change(name, metric, conditions=shuffled) == 0


def test_copied_training_images(sky):
    images = copied(sky.training.images)
    assert sky.change("memorisation", "near_copies", images) > 4
    assert sky.change("memorisation", "authenticity", images) < -4
    # they are real galaxies, only not new ones
    for name, metric in (("realism", "nearest_real"), ("diversity", "coverage"), ("photometry", "flux_ks")):
        assert abs(sky.change(name, metric, images)) < 3, metric


def test_real_galaxies_are_no_copies(sky):
    value, error = sky.figures("memorisation")["near_copies"]
    assert abs(value - 0.01) < 3 * max(error, 0.01)
