"""The checks for plug-in authors: the good pass, and each broken promise is found and named."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd.errors import PluginError
from astro_galaxysd.evaluation.photometry import PhotometryEvaluator
from astro_galaxysd.records import ImageBatch
from astro_galaxysd.testing import (
    NoiseGenerator,
    check_augmenter,
    check_embedder,
    check_evaluator,
    check_generator,
    example_batch,
    example_conditions,
)


class Altered(NoiseGenerator):
    """A noise generator whose batch goes through a fault."""

    def __init__(self, fault):
        super().__init__(8)
        self.fault = fault

    def generate(self, conditions, *, batch_size=None):
        batch = super().generate(conditions, batch_size=batch_size)
        return self.fault(conditions, batch_size, batch)


def with_images(batch, images):
    return ImageBatch(images, batch.conditions, batch.ids)


def one_stream(conditions, batch_size, batch):
    """Draw all rows from one stream: a row's pixels depend on its place."""
    rng = np.random.default_rng(0)
    return with_images(batch, rng.integers(0, 255, batch.images.shape, dtype=np.uint8))


def mutating(conditions, batch_size, batch):
    conditions["seed"][0] += 1
    return batch


def adding_a_column(conditions, batch_size, batch):
    conditions["x"] = 1
    return batch


def by_neighbour(conditions, batch_size, batch):
    return with_images(batch, batch.images ^ np.uint8(len(conditions) == 1))


def reordered(conditions, batch_size, batch):
    return ImageBatch(batch.images, batch.conditions[::-1], batch.ids)


GENERATOR_FAULTS = {
    "other pixels for batch_size=3": lambda c, size, b: with_images(b, b.images + np.uint8(size == 3)),
    "reversed order": one_stream,
    "drawn alone": by_neighbour,
    "ignores the seed": lambda c, s, b: with_images(b, np.zeros_like(b.images)),
    "changes the column 'seed' of its input": mutating,
    "changes the columns of its input": adding_a_column,
    "images of float32": lambda c, s, b: with_images(b, b.images.astype(np.float32)),
    r"not uint8 \(N, H, W, 3\)": lambda c, s, b: with_images(b, b.images[..., 0]),
    "for 5 rows": lambda c, s, b: with_images(b, b.images[:-1]),
    "ids that are not unique": lambda c, s, b: ImageBatch(b.images, b.conditions, np.array(["x"] * len(b))),
    "not an ImageBatch": lambda c, s, b: b.images,
    "not the input's in the input's order": reordered,
}


def test_good_generator_passes():
    check_generator(NoiseGenerator(8))
    check_generator(NoiseGenerator(8), conditions=example_conditions(3), batch_sizes=(2,))


@pytest.mark.parametrize("fault", GENERATOR_FAULTS)
def test_broken_generator_is_found(fault):
    with pytest.raises(PluginError, match=fault):
        check_generator(Altered(GENERATOR_FAULTS[fault]))


def test_no_generator_at_all():
    with pytest.raises(PluginError, match="builtins.int has no method generate"):
        check_generator(3)


def test_too_few_conditions():
    with pytest.raises(PluginError, match="at least 2 rows of conditions and got 1"):
        check_generator(NoiseGenerator(8), conditions=example_conditions(1))


class AlteredEvaluator:
    def __init__(self, fault):
        self.fault = fault

    def evaluate(self, real, synthetic, *, reference=None, embedder=None, rng=None):
        table = PhotometryEvaluator(n_bootstrap=2).evaluate(real, synthetic, rng=rng)
        faulty = self.fault(table, real)
        return table if faulty is None else faulty


def column(name, values):
    def fault(table, real):
        table.replace_column(name, [values] * len(table))
        return table

    return fault


def spoil(table, real):
    real.images[0] = 0


def random_value(table, real):
    table["value"] = np.random.default_rng().random(len(table))
    return table


EVALUATOR_FAULTS = {
    "without the columns": lambda table, real: table["metric", "value"],
    "returns a list without": lambda table, real: [1],
    "without rows": lambda table, real: table[:0],
    "a metric twice": column("metric", "same"),
    "'value' that is not of a float dtype": column("value", 1),
    "a negative error": column("error", -1.0),
    "'higher_is_better' that is not boolean": column("higher_is_better", "no"),
    "'n_real' = ": column("n_real", 10**6),
    "changes the images": spoil,
    "another 'value' when called again": random_value,
}


def test_good_evaluator_passes():
    check_evaluator(PhotometryEvaluator(n_bootstrap=5))


@pytest.mark.parametrize("fault", EVALUATOR_FAULTS)
def test_broken_evaluator_is_found(fault):
    with pytest.raises(PluginError, match=fault):
        check_evaluator(AlteredEvaluator(EVALUATOR_FAULTS[fault]))


def test_no_evaluator_at_all():
    with pytest.raises(PluginError, match="has no method evaluate"):
        check_evaluator(NoiseGenerator())


class Colours:
    """Mean of each colour."""

    revision = "colours-1"

    def embed(self, images):
        return images.mean(axis=(1, 2), dtype=np.float32)


class AlteredColours(Colours):
    def __init__(self, fault):
        self.fault = fault

    def embed(self, images):
        return self.fault(self, images, super().embed(images))


def spoil_images(embedder, images, features):
    images[0] = 0
    return features


def count_up(embedder, images, features):
    embedder.revision += "+"
    return features


EMBEDDER_FAULTS = {
    "features of float64": lambda e, images, features: features.astype(float),
    r"float32 \(12, 3, 1\), not float32 \(N, D\)": lambda e, images, features: features[..., None],
    "features of list": lambda e, images, features: features.tolist(),
    r"\(12, 0\), not": lambda e, images, features: features[:, :0],
    "for 12 images": lambda e, images, features: features[1:],
    "not finite": lambda e, images, features: features * np.float32(np.nan),
    "two calls with the same images": lambda e, images, features: (
        np.random.default_rng().normal(size=features.shape).astype(np.float32)
    ),
    "reversed order": lambda e, images, features: features + np.arange(len(features), dtype=np.float32)[:, None],
    "alone and with others": lambda e, images, features: features - features.mean(axis=0),
    "same features for different": lambda e, images, features: np.ones_like(features),
    "gives shapes": lambda e, images, features: features[:, : 2 if len(images) == 1 else 3],
    "changes the images": spoil_images,
    r"changes its revision from 'colours-1' to 'colours-1\+": count_up,
}


def test_good_embedder_passes():
    check_embedder(Colours())
    check_embedder(Colours(), images=example_batch(2, size=8).images)


def test_rounding_is_no_fault():
    check_embedder(AlteredColours(lambda e, images, features: features * np.float32(1 + 1e-5 * len(features))))


@pytest.mark.parametrize("fault", EMBEDDER_FAULTS)
def test_broken_embedder_is_found(fault):
    with pytest.raises(PluginError, match=fault):
        check_embedder(AlteredColours(EMBEDDER_FAULTS[fault]))


def test_revision_of_an_embedder_is_a_text_or_missing():
    embedder = Colours()
    embedder.revision = 3
    with pytest.raises(PluginError, match="has the revision 3, which is not a text"):
        check_embedder(embedder)
    check_embedder(type("Bare", (), {"embed": Colours.embed})())


def test_no_embedder_at_all():
    with pytest.raises(PluginError, match="has no method embed"):
        check_embedder(NoiseGenerator())


def test_too_few_images():
    with pytest.raises(PluginError, match="at least 2 images and got 1"):
        check_embedder(Colours(), images=example_batch(1).images)


class Doubler:
    """Add one synthetic row for every real one."""

    def augment(self, table, images, generator, *, rng=None):
        seeds = np.random.default_rng(rng).integers(0, 2**62, len(table))
        rows = Table({"prompt": table["prompt"], "seed": seeds})
        return rows, generator.generate(rows)


class AlteredDoubler(Doubler):
    def __init__(self, fault):
        self.fault = fault

    def augment(self, table, images, generator, *, rng=None):
        rows, batch = super().augment(table, images, generator, rng=rng)
        return self.fault(table, rows, batch)


def same_seed(table, rows, batch):
    rows["seed"] = 1
    return rows, batch


def float_seed(table, rows, batch):
    rows["seed"] = rows["seed"].astype(float)
    return rows, batch


def random_seed(table, rows, batch):
    rows["seed"] = np.random.default_rng().integers(0, 2**62, len(rows))
    return rows, batch


def spoil_table(table, rows, batch):
    table["prompt"][0] = "x"
    return rows, batch


AUGMENTER_FAULTS = {
    "two rows one seed": same_seed,
    "seeds of dtype float64": float_seed,
    "plans another 'seed'": random_seed,
    "changes the column 'prompt'": spoil_table,
    r"not \(Table, ImageBatch\)": lambda table, rows, batch: rows,
    "adds no row": lambda table, rows, batch: (rows[:0], ImageBatch(batch.images[:0], rows[:0], batch.ids[:0])),
    "without 'prompt'": lambda table, rows, batch: (rows["seed",], batch),
    "returns images of": lambda table, rows, batch: (rows, with_images(batch, batch.images[..., 0])),
}


def test_good_augmenter_passes():
    check_augmenter(Doubler(), example_conditions(4))


@pytest.mark.parametrize("fault", AUGMENTER_FAULTS)
def test_broken_augmenter_is_found(fault):
    with pytest.raises(PluginError, match=fault):
        check_augmenter(AlteredDoubler(AUGMENTER_FAULTS[fault]), example_conditions(4))


def test_augmenter_may_get_masked_and_nan_columns():
    table = example_conditions(3)
    table["vote"] = np.array([0.5, np.nan, 1.0])
    table = Table(table, masked=True)
    table["vote"].mask = [True, False, False]
    check_augmenter(Doubler(), table)


def test_no_augmenter_at_all():
    with pytest.raises(PluginError, match="has no method augment"):
        check_augmenter(NoiseGenerator(), example_conditions(2))


def test_examples_are_what_they_say():
    assert example_conditions(7)["seed"].dtype == np.int64
    batch = example_batch(3, size=16)
    assert batch.images.shape == (3, 16, 16, 3)
    assert batch.images.dtype == np.uint8
