from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.classification.arms import ARMS, Rows, assemble, choose_arms, drawn_for
from astro_galaxysd.errors import UnknownNameError


def rows(n, level, positive, seed=0):
    """Galaxies whose brightness tells the class."""
    rng = np.random.default_rng(seed)
    images = rng.normal(level, 5, (n, 64, 64, 3)).round().clip(0, 255).astype(np.uint8)
    return Rows(images, images.mean(axis=(1, 2)).astype(np.float32), np.full(n, positive))


def joined(*parts):
    return Rows(*(np.concatenate(values) for values in zip(*parts, strict=True)))


@pytest.fixture
def real():
    return joined(rows(4, 60, True), rows(16, 20, False))


OF_CLASS, OTHERS = rows(20, 90, True, seed=1), rows(40, 120, False, seed=2)


@pytest.mark.parametrize(
    ("arm", "of_class", "others_as_class", "others"),
    [("real", 0, 0, 0), ("synthetic", 5, 0, 5), ("wrong_prompts", 0, 5, 5), ("positives_only", 5, 0, 0)],
)
def test_what_an_arm_learns_from(real, arm, of_class, others_as_class, others):
    found = assemble(ARMS[arm], real, OF_CLASS, OTHERS, 0.5)
    level = found.images.mean(axis=(1, 2, 3)).round(-1)
    assert (len(found.positive), len(found.features)) == (20 + of_class + others_as_class + others,) * 2
    assert int((level[found.positive] == 90).sum()) == of_class
    assert int((level[found.positive] == 120).sum()) == others_as_class
    assert int((level[~found.positive] == 120).sum()) == others
    assert int((level[~found.positive] == 90).sum()) == 0
    assert int((level[found.positive] == 60).sum()) == 4


@pytest.mark.parametrize(
    ("ways", "expected"),
    [
        ([("real", 0.0)], (0, 0)),
        ([("synthetic", 0.5), ("synthetic", 2.0)], (20, 20)),
        ([("synthetic", 0.5), ("wrong_prompts", 0.5)], (5, 10)),
        ([("filtered", 0.5), ("synthetic", 0.5)], (10, 10)),
        ([("positives_only", 2.0)], (20, 0)),
    ],
)
def test_how_many_are_drawn(ways, expected):
    assert drawn_for([(ARMS[name], ratio) for name, ratio in ways], 20) == expected


def test_arms_by_name():
    assert [arm.name for arm in choose_arms(["synthetic", "focal"])] == ["real", "focal", "synthetic"]
    with pytest.raises(UnknownNameError, match="arm 'magic'"):
        choose_arms("magic")


def test_a_linear_model_with_synthetic_galaxies_is_compared_with_one_without():
    assert [arm.name for arm in choose_arms("transfer_synthetic")] == ["real", "transfer", "transfer_synthetic"]
