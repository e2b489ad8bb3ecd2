from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.table import Table
from PIL import Image
from scipy.ndimage import gaussian_filter

from astro_galaxysd.classification.objects import find_objects, find_positions, split_objects
from astro_galaxysd.errors import ConditionError


@pytest.fixture
def images():
    """Skies with a grain of a few pixels, as seeing makes it."""
    rng = np.random.default_rng(0)
    return (40 + gaussian_filter(rng.normal(0, 25, (12, 32, 32, 3)), (0, 1.5, 1.5, 0))).round().astype(np.uint8)


def pixels(images):
    """Features that tell images apart."""
    return images.reshape(len(images), -1).astype(np.float32)


def test_different_galaxies_are_different_objects(images):
    found = find_objects(images, pixels(images))
    assert len(set(found.numbers.tolist())) == 12
    assert (found.checked, found.joined) == (("image",), {"image": 0})


def test_one_id(images):
    found = find_objects(images, pixels(images), ids=[f"g{row // 2}" for row in range(12)])
    assert found.numbers[::2].tolist() == found.numbers[1::2].tolist()
    assert found.joined == {"id": 6, "image": 0}


def test_one_position(images):
    ra, dec = np.arange(12) * 10.0, np.zeros(12)
    ra[5], dec[5] = ra[0], 1.0 / 3600
    ra[6], dec[6] = ra[1], 10.0 / 3600
    ra[7] = ra[2] = np.nan
    found = find_objects(images, pixels(images), positions=(ra, dec))
    assert found.numbers[5] == found.numbers[0]
    assert found.joined == {"position": 1, "image": 0}
    assert found.checked == ("position", "image")


def test_one_picture_that_was_stored_again(images):
    file = io.BytesIO()
    Image.fromarray(images[3]).save(file, "jpeg", quality=95, subsampling=0)
    images[8] = np.asarray(Image.open(file))
    found = find_objects(images, pixels(images))
    assert found.numbers[8] == found.numbers[3]
    assert found.joined == {"image": 1}


def test_objects_join_over_several_rows(images):
    images[1] = images[0]
    found = find_objects(images, pixels(images), ids=["a", "b", "b", *map(str, range(9))])
    assert len({found.numbers[row] for row in range(3)}) == 1


def test_an_object_is_in_one_part(images):
    objects = np.repeat(np.arange(100), 3)
    positive = np.random.default_rng(0).random(300) < 0.1
    parts = split_objects(objects, positive, {"train": 0.4, "validation": 0.2, "test": 0.4}, np.random.default_rng(0))
    assert list(parts) == ["train", "validation", "test"]
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(300))
    held = [set(objects[rows].tolist()) for rows in parts.values()]
    assert [len(some) for some in held] == [40, 20, 40]
    has = {number for number in range(100) if positive[objects == number].any()}
    assert [len(some & has) for some in held] == pytest.approx([0.4 * len(has), 0.2 * len(has), 0.4 * len(has)], abs=1)


def test_shares_that_are_none():
    with pytest.raises(ConditionError, match="shares {'train': 0.5, 'test': 0.6}: give numbers above 0 with the sum 1"):
        split_objects(np.arange(4), np.ones(4, bool), {"train": 0.5, "test": 0.6}, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("RA", "DEC"), ("RA", "DEC")), (("x", "ra"), None), (("ra_deg", "dec_deg"), ("ra_deg", "dec_deg"))],
)
def test_columns_of_positions(names, expected):
    assert find_positions(Table({name: [1.0] for name in names})) == expected


def test_positions_as_text_are_not_compared():
    assert find_positions(Table({"ra": ["12:00:00"], "dec": ["+01:00:00"]})) is None


def test_declinations_that_are_none(images):
    n = len(images)
    found = find_objects(images, pixels(images), positions=(np.zeros(n), np.full(n, -999.0)))
    assert found.joined["position"] == 0


def test_clean_skies_are_not_one_picture():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:128, :128] - 63.5
    images = []
    for size, axes, turned, light in zip(
        rng.uniform(5, 14, 60),
        rng.uniform(0.3, 1, 60),
        rng.uniform(0, np.pi, 60),
        rng.uniform(40, 200, 60),
        strict=True,
    ):
        along, across = x * np.cos(turned) + y * np.sin(turned), y * np.cos(turned) - x * np.sin(turned)
        images.append(light * np.exp(-(along**2 + (across / axes) ** 2) / 2 / size**2))
    images = np.repeat(np.stack(images)[..., None], 3, 3).round().astype(np.uint8)
    found = find_objects(images, pixels(images))
    assert len(set(found.numbers.tolist())) >= 58


@pytest.mark.parametrize("shape", [(4, 20, 3), (8, 8, 3), (17, 9, 3)])
def test_small_pictures(shape):
    image = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    found = find_objects(np.stack([image, image, 255 - image]), np.eye(3, dtype=np.float32)[[0, 0, 1]])
    assert found.joined == {"image": 1}
