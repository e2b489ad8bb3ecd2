from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd.classification.samples import read_labelled, shortened
from astro_galaxysd.conditions.selection import Selection
from astro_galaxysd.errors import ConditionError, ImageError, NoRealRowsError, UnknownNameError
from astro_galaxysd.testing import example_batch


def table(n=20, mergers=8):
    fraction = np.where(np.arange(n) < mergers, 0.8, 0.1)
    return Table(
        {
            "id": [f"g{row}" for row in range(n)],
            "t01_smooth": np.full(n, 0.7),
            "t06_odd_yes": np.full(n, 0.9),
            "t08_merger": fraction,
            "image": list(example_batch(n, size=32).images),
        }
    )


def with_none(images, *rows):
    found = np.empty(len(images), dtype=object)
    for row, image in enumerate(images):
        found[row] = None if row in rows else np.asarray(image)
    return found


def read(given, target="merger", **options):
    return read_labelled(given, target, selection=Selection(), **options)


def test_a_galaxy_is_of_the_class_or_not():
    found = read(table())
    assert found.positive.tolist() == [True] * 8 + [False] * 12
    assert found.images.shape == (20, 32, 32, 3)
    assert (found.names[:2], found.identified, found.excluded) == (["g0", "g1"], True, {})
    assert found.target.name == "merger"


def test_rows_that_can_not_be_used_are_named():
    given = table()
    given["synthetic"] = np.arange(20) == 3
    given["image"] = with_none(given["image"], 5, 15)
    found = read(given)
    assert found.excluded == {"synthetic or artifact": ["g3"], "no image": ["g5", "g15"]}
    assert (len(found), int(found.positive.sum())) == (17, 6)
    assert found.table["id"].tolist() == found.names


def test_labels():
    given = table()
    given["kind"] = np.where(np.arange(20) < 6, "lens", "other")
    found = read(given, "lens", label_column="kind", labels={"lens": "merger", "other": "smooth"})
    assert int(found.positive.sum()) == 6


def test_against_another_class():
    given = table()
    given["t08_ring"] = np.where(np.arange(20) >= 15, 0.7, 0.05)
    found = read(given, against="ring")
    assert found.names == [f"g{row}" for row in (*range(8), *range(15, 20))]
    assert found.positive.tolist() == [True] * 8 + [False] * 5
    assert found.excluded == {"neither or both": [f"g{row}" for row in range(8, 15)]}


def test_against_a_prompt():
    with pytest.raises(ConditionError, match="target 'round galaxy, ring' is a free prompt"):
        read(table(), against="round galaxy, ring")


def test_too_few():
    with pytest.raises(NoRealRowsError, match=r"target 'merger': 4 real galaxies with images .* 5 are needed in each"):
        read(table(mergers=4))


def test_all_of_one_class():
    with pytest.raises(ConditionError, match="all 20 real galaxies are of the class; a classifier needs others too"):
        read(table(mergers=20))


def test_a_free_prompt():
    with pytest.raises(
        ConditionError, match="target 'smooth galaxy, merger' is a free prompt, by which no real galaxy"
    ):
        read(table(), "smooth galaxy, merger")


def test_a_target_that_is_not_there():
    with pytest.raises(UnknownNameError, match="target 'mergr'"):
        read(table(), "mergr")


def test_images_of_several_sizes():
    given = table()
    images = with_none(given["image"], 5)
    images[5] = np.zeros((16, 24, 3), np.uint8)
    given["image"] = images
    with pytest.raises(ImageError, match=r"images of 2 sizes \(16x24, 32x32\); bring them to one with fit_size"):
        read(given)


def test_rows_without_a_label_are_no_others():
    from astropy.table import MaskedColumn

    given = table()
    mask = np.arange(20) >= 15
    given["wanted"] = MaskedColumn(np.arange(20) < 6, mask=mask)
    found = read(given, "wanted", labels={"wanted": "merger"})
    assert (int(found.positive.sum()), len(found)) == (6, 15)
    assert found.excluded == {"no label": [f"g{row}" for row in range(15, 20)]}
    given = table()
    for name in ("t01_smooth", "t06_odd_yes", "t08_merger"):
        given[name][18:] = np.nan
    assert read(given).excluded == {"no label": ["g18", "g19"]}


def test_a_record_names_the_first_of_those_left_out():
    names = [f"g{row}" for row in range(8)]
    assert shortened([{"no image": names}, {"no image": ["h"], "no label": ["i"]}]) == {
        "no image": {"rows": 9, "named": names[:5]},
        "no label": {"rows": 1, "named": ["i"]},
    }
