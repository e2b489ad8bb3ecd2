"""Images of chosen rows: read, and refused where a figure of them would mean nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from astro_galaxysd.conditions.requests import read_requests
from astro_galaxysd.conditions.table import VOTES
from astro_galaxysd.errors import ImageError, UnknownNameError
from astro_galaxysd.evaluation import samples
from astro_galaxysd.evaluation.samples import read_sample, refuse_unlike, rows_of
from astro_galaxysd.images.encoded import Encoding, encode_image
from astro_galaxysd.images.planes import image_hdu
from astro_galaxysd.images.shardfiles import write_shard
from astro_galaxysd.images.sources import object_array
from astro_galaxysd.images.storage import write_table
from astro_galaxysd.testing import example_batch

PIXELS = example_batch(6, size=16).images


def read(source, rows=(0, 1, 2), **options):
    requests = read_requests(Table({"prompt": ["sdss, merger"] * len(rows)}))
    table = source if isinstance(source, Table | Path) else Table({"image": source})
    return read_sample(table, list(rows), requests, what="real", ids=[f"id{row}" for row in rows], **options)


def test_chosen_rows_in_their_order():
    sample = read(PIXELS, (4, 1), groups=["a", "b"])
    np.testing.assert_array_equal(sample.images, PIXELS[[4, 1]])
    assert sample.ids.tolist() == ["id4", "id1"]
    assert sample.conditions["group"].tolist() == ["a", "b"]
    assert sample.conditions["prompt"].tolist() == ["sdss, merger"] * 2
    assert sample.conditions[VOTES].shape == (2, 37)
    assert rows_of(sample, np.array([1])).ids.tolist() == ["id1"]


def test_many_rows_are_read_in_parts(monkeypatch):
    monkeypatch.setattr(samples, "_CHUNK", 2)
    rows = (5, 0, 3, 1, 2)
    np.testing.assert_array_equal(read(PIXELS, rows).images, PIXELS[list(rows)])
    with pytest.raises(ImageError, match="row 4 is 8x8 pixels where row 5 is 16x16"):
        read(object_array([*PIXELS[:4], PIXELS[4, :8, :8], PIXELS[5]]), (5, 0, 3, 4))


def test_other_rows_are_not_decoded():
    images = object_array([*PIXELS[:3], b"no image", None])
    assert len(read(images)) == 3
    with pytest.raises(ImageError, match="real images: row 3"):
        read(images, (0, 3))


@pytest.mark.parametrize("name", ["a.parquet", "a.fits", "folder", "shards"])
def test_files_are_read_by_row(tmp_path, monkeypatch, name):
    monkeypatch.setattr("astro_galaxysd.images.streaming._ROWS", 2)
    path = tmp_path / name
    if name == "shards":
        path.mkdir()
        for number in range(3):
            part = slice(2 * number, 2 * number + 2)
            write_shard(Table({"id": [1, 2]}), [PIXELS[part]], path / f"{number}.parquet", "parquet")
    else:
        write_table(Table({"image": PIXELS}), path)
    sample = read(path, (4, 1, 5, 4), groups=["a", "b", "c", "a"])
    np.testing.assert_array_equal(sample.images, PIXELS[[4, 1, 5, 4]])
    assert not sample.images.flags.writeable
    assert sample.conditions["group"].tolist() == ["a", "b", "c", "a"]
    with pytest.raises(UnknownNameError, match="unknown image column 'img'.*Name the column that holds the images"):
        read(path, images="img")
    with pytest.raises(ImageError, match="real images: there are no rows"):
        read(path, ())


def test_rows_of_files_are_named_by_their_place_in_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr("astro_galaxysd.images.streaming._ROWS", 2)
    files = object_array([encode_image(pixels, Encoding("PNG")) for pixels in (*PIXELS[:4], PIXELS[4, :8, :8])])
    files = np.append(files, object_array([b"no image", None]))
    path = write_table(Table({"image": files}), tmp_path / "a.parquet")
    assert len(read(path)) == 3
    with pytest.raises(ImageError, match="real images: row 4 is 8x8 pixels where row 3 is 16x16"):
        read(path, (4, 3))
    with pytest.raises(ImageError, match="real images: row 5: 8 bytes that are no readable JPEG or PNG"):
        read(path, (5, 3))
    with pytest.raises(ImageError, match="real images: row 6 has no image"):
        read(path, (0, 6))


def test_floats_are_read_as_they_are_elsewhere():
    np.testing.assert_array_equal(read(PIXELS / 255).images, PIXELS[:3])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_is_refused(value):
    images = PIXELS / 255
    images[1, 2, 3, 0] = value
    with pytest.raises(ImageError, match="real images: row 1 has 1 pixel values that are NaN"):
        read(images)
    assert len(read(images, (0, 2))) == 2


def test_masked_pixels_and_nan_planes_are_refused():
    mask = np.zeros(PIXELS.shape, dtype=bool)
    mask[2, :2, 0, 0] = True
    with pytest.raises(ImageError, match="row 2 has 2 pixel values"):
        read(Table({"image": MaskedColumn(PIXELS, mask=mask)}))
    planes = PIXELS / 255
    planes[0, 0, 0, 0] = np.nan
    with pytest.raises(ImageError, match="row 0 has 1 pixel values"):
        read_sample(
            [image_hdu(one) for one in planes], [0], read_requests(Table({"prompt": ["sdss"]})), what="real", ids=["a"]
        )


def test_ragged_sizes():
    with pytest.raises(ImageError, match="row 1 is 8x8 pixels where row 0 is 16x16.*fit_size"):
        read(object_array([PIXELS[0], PIXELS[1, :8, :8], PIXELS[2]]))


def test_floats_cast_to_bytes():
    with pytest.raises(ImageError, match="no pixel is above 1 of 255"):
        read((PIXELS > 100).astype(np.uint8))


def test_floats_beyond_one():
    with pytest.raises(ImageError, match=r"they must lie in \[0, 1\]"):
        read(PIXELS.astype(float))


def test_no_such_column_and_no_rows():
    with pytest.raises(UnknownNameError, match="image column"):
        read(PIXELS, images="cutout")
    with pytest.raises(ImageError, match="real images: there are no rows; give at least one"):
        read(PIXELS, ())


def test_sets_of_two_sizes():
    small = read(np.ascontiguousarray(PIXELS[:, :8, :8]))
    with pytest.raises(ImageError, match=r"synthetic images are 8x8 pixels, real images 16x16.*fit_size"):
        refuse_unlike({"real": read(PIXELS), "synthetic": small})
    refuse_unlike({"real": read(PIXELS), "synthetic": read(PIXELS)})
