from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd import write_table
from astro_galaxysd.classification.pieces import ROW, Pieces
from astro_galaxysd.errors import ConditionError, ImageError, NoRealRowsError, UnknownNameError
from astro_galaxysd.evaluation.memory import digests
from astro_galaxysd.images.codec import detect_format, encode_images
from astro_galaxysd.images.encoded import Encoding
from astro_galaxysd.images.sources import object_array
from astro_galaxysd.testing import example_batch

N = 1200  # more than two pieces


@pytest.fixture(scope="module")
def images():
    return np.concatenate([example_batch(N // 10, size=16, rng=seed).images for seed in range(10)])


def catalogue(images, ids=True):
    column = np.empty(len(images), dtype=object)
    for row, image in enumerate(images):
        column[row] = image
    table = Table({"image": column})
    if ids:
        table.add_column([f"g{row}" for row in range(len(images))], name="id", index=0)
    return table


def read(source, names=(), known=(), **options):
    pieces = Pieces(source, **{"images": "image", "id_column": None, "size": (16, 16), **options})
    return pieces, list(pieces.unknown(names, known, progress=False))


@pytest.mark.parametrize("suffix", ["", ".parquet", ".fits"])
def test_all_that_is_not_known(images, suffix, tmp_path):
    table = Table({"id": [f"g{row}" for row in range(N)], "image": images})
    source = write_table(table, tmp_path / f"catalogue{suffix}") if suffix else table
    pieces, found = read(source, ["g3", "g700", "elsewhere"], [images[[5]]])
    rows = np.concatenate([piece[ROW] for piece, _ in found])
    assert sorted({3, 5, 700} ^ set(range(N))) == rows.tolist()
    assert len(found) == 3
    np.testing.assert_array_equal(np.concatenate([stack for _, stack in found]), images[rows])
    assert [name for piece, _ in found for name in pieces.names(piece)] == [f"g{row}" for row in rows]
    assert pieces.left_out == {"labelled or looked at before": {"rows": 3, "named": ["g3", "g5", "g700"]}}
    assert table.colnames == ["id", "image"]


def test_a_catalogue_without_ids(images):
    pieces, found = read(catalogue(images[:20], ids=False), ["3"], [images[[4]]])
    assert pieces.names(found[0][0]) == [f"row {row}" for row in range(20) if row != 4]
    assert not pieces.identified


def test_what_can_not_be_scored_is_named(images):
    table = catalogue(images[:20])
    table["image"][2] = None
    table["image"][3] = b"no picture"
    table["image"][4] = np.zeros((16, 16, 4), np.uint8)
    table["synthetic"] = np.arange(20) == 7
    pieces, found = read(table)
    assert pieces.names(found[0][0]) == [f"g{row}" for row in range(20) if row not in (2, 3, 4, 7)]
    assert pieces.left_out == {
        "no image that can be read": {"rows": 3, "named": ["g2", "g3", "g4"]},
        "synthetic": {"rows": 1, "named": ["g7"]},
    }


def test_images_of_other_sizes_are_brought_to_one(images):
    table = catalogue(images[:4])
    table["image"][1] = np.full((32, 32, 3), 7, np.uint8)
    _, found = read(table)
    assert found[0][1].shape == (4, 16, 16, 3)
    assert (found[0][1][1] == 7).all()


def test_encoded_images(images):
    jpeg = detect_format(encode_images(images[:4], detect_format([*images[:4]])))
    assert jpeg.kind == "array"
    encoded = encode_images(images[:4], type(jpeg)("encoded", (16, 16), dtype="bytes", encoding=Encoding("PNG")))
    _, found = read(Table({"id": [*"abcd"], "image": encoded}))
    np.testing.assert_array_equal(found[0][1], images[:4])


def test_ids_that_name_no_single_row(images):
    table = catalogue(images[:6])
    table["id"] = ["a", "b", "a", " ", "", "c "]
    pieces, found = read(table)
    assert pieces.names(found[0][0]) == ["a (row 0)", "b", "a (row 2)", "row 3", "row 4", "c"]


def test_who_was_met(images):
    pieces, _ = read(catalogue(images[:9]), ["g3"], [images[[5]]])
    assert [name for name, _ in pieces.met] == ["g3", "g5"]
    assert pieces.met[1][1] == digests(images[[5]])[0]


def test_images_none_of_which_can_be_read(images):
    table = catalogue(images[:4])
    table.replace_column("image", object_array([b"no picture"] * 4))
    with pytest.raises(ImageError, match="none of the catalogue's first 4 images can be read; of the first: row 0"):
        read(table)


def test_columns_that_a_search_adds(images):
    table = catalogue(images[:4])
    table["search_rank"] = 1
    with pytest.raises(ConditionError, match="the catalogue has the column 'search_rank'; names that begin with 'sear"):
        read(table)


def test_what_is_no_catalogue(images, tmp_path):
    with pytest.raises(ConditionError, match="there is no table at"):
        read(tmp_path / "none.parquet")
    with pytest.raises(UnknownNameError, match="image column 'cutout'"):
        read(catalogue(images[:4]), images="cutout")
    with pytest.raises(UnknownNameError, match="id column 'name'"):
        read(catalogue(images[:4]), id_column="name")
    with pytest.raises(NoRealRowsError, match="the catalogue has no row; give one with images of unlabelled galaxies"):
        read(catalogue(images[:4])[:0])
