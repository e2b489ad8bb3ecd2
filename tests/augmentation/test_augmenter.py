"""The built-in augmenter: the plan and the images that belong to it."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd.augmentation.augmenter import VoteAugmenter
from astro_galaxysd.augmentation.plan import plan_augmentation
from astro_galaxysd.errors import ConditionError, PluginError
from astro_galaxysd.plugins.protocols import Augmenter
from astro_galaxysd.records import ImageBatch

TABLE = Table({"t06_odd_yes": [0.9, 0.1], "t06_odd_no": [0.1, 0.9], "t08_merger": [1.0, 0.0]})


class Grey:
    """A generator whose images are the seed's last byte."""

    lost = 0
    batch_size = None

    def generate(self, conditions, *, batch_size=None):
        self.batch_size = batch_size
        kept = conditions[self.lost :]
        images = np.stack([np.full((2, 2, 3), seed % 256, np.uint8) for seed in kept["seed"]])
        return ImageBatch(images, kept, np.asarray(kept["row_id"]))


def test_rows_and_images_belong_together():
    augmenter, generator = VoteAugmenter(target="merger", n=5, batch_size=2), Grey()
    assert isinstance(augmenter, Augmenter)
    rows, batch = augmenter.augment(TABLE, None, generator, rng=3)
    assert rows["seed"].tolist() == plan_augmentation(TABLE, target="merger", n=5, rng=3)["seed"].tolist()
    assert batch.images[:, 0, 0, 0].tolist() == (rows["seed"] % 256).tolist()
    assert generator.batch_size == 2


def test_options_of_the_call_come_first():
    rows, _ = VoteAugmenter(target="merger", n=5).augment(TABLE, None, Grey(), rng=3, n=2)
    assert len(rows) == 2


def test_no_target_is_an_error():
    with pytest.raises(ConditionError, match="no target given"):
        VoteAugmenter().augment(TABLE, None, Grey())


def test_a_generator_that_loses_images_is_named():
    generator = Grey()
    generator.lost = 1
    with pytest.raises(PluginError, match="generator Grey returned 4 images for 5 rows"):
        VoteAugmenter(target="merger", n=5).augment(TABLE, None, generator)
