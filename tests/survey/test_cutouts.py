"""A survey's cutouts as display images: what can be read comes, what can't is named once."""

import json
import tracemalloc
import warnings

import numpy as np
import pytest
from astropy.table import Table
from PIL import Image

from astro_galaxysd import drop_synthetic
from astro_galaxysd.errors import ImageError, RowsLeftOutWarning
from astro_galaxysd.images.provenance import RUN_RECORD, table_layout
from astro_galaxysd.survey.card import Survey
from astro_galaxysd.survey.cutouts import LEFT_OUT, left_out_records, read_cutouts, warn_left_out
from astro_galaxysd.survey.rows import SurveyRows
from astro_galaxysd.survey.sizes import Frame

GREY = np.random.default_rng(0).integers(0, 256, (8, 10, 12, 3), np.uint8)


def galaxies(number=3, side=64):
    """Round galaxies of different sizes on a noisy sky, fluxes (number, side, side, 3)."""
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:side, :side] - side / 2
    light = np.stack([np.exp(-np.hypot(x, y) / (2.0 + row)) for row in range(number)])
    return (light[..., None] * 100 + rng.normal(0, 0.3, (number, side, side, 3))).astype(np.float32)


def test_display_images_come_back_as_they_are():
    table = Table({"id": np.arange(8), "image": GREY}, meta={"origin": "here"})
    read = read_cutouts(table)
    np.testing.assert_array_equal(read["image"], GREY)
    assert read.meta == {"origin": "here", LEFT_OUT: []}
    assert table.meta == {"origin": "here"}


def test_the_stretch_makes_the_display_image():
    fluxes = galaxies()
    card = {"stretch": {"kind": "asinh", "vmin": -1.0, "vmax": 100.0}, "pixel_scale": 0.4}
    read = read_cutouts(Table({"flux": fluxes}), card, "flux", image_column="shown")
    assert read.colnames == ["flux", "shown"]
    survey = Survey(**card)
    for row in range(3):
        np.testing.assert_array_equal(read["shown"][row], survey.display(np.moveaxis(fluxes[row], -1, 0)))


def test_rows_that_cannot_be_read_are_named_once():
    cells = np.empty(8, object)
    cells[:] = list(GREY)
    for row in (1, 2, 4, 6):
        cells[row] = None
    table = Table({"id": [f"g{row}" for row in range(8)], "image": cells})
    with pytest.warns(RowsLeftOutWarning) as said:
        read = read_cutouts(table)
    assert len(said) == 1
    assert said[0].filename == __file__
    message = str(said[0].message)
    assert message.startswith("4 of 8 rows were left out, their cutouts can't be used: row 1 (g1): has no cutout")
    assert message.endswith("; and 1 more")
    assert list(read["id"]) == ["g0", "g3", "g5", "g7"]
    np.testing.assert_array_equal(read["image"], GREY[[0, 3, 5, 7]])
    records = json.loads(json.dumps(read.meta[LEFT_OUT]))
    assert [(record["row"], record["id"]) for record in records] == [(1, "g1"), (2, "g2"), (4, "g4"), (6, "g6")]


def test_no_row_can_be_read():
    with pytest.raises(ImageError, match=r"no cutout can be read: row 0: no file .*; row 1: no file"):
        read_cutouts(Table({"image": ["a.fits", "b.fits"]}))


def test_ragged_sizes_are_fitted_to_that_of_most():
    cells = np.empty(3, object)
    cells[:] = [GREY[0], GREY[1], GREY[2, :5, :6]]
    read = read_cutouts(Table({"image": cells}))
    assert read["image"].shape == (3, 10, 12, 3)
    np.testing.assert_array_equal(read["image"][1], GREY[1])


def test_the_images_are_held_once():
    images = np.random.default_rng(0).integers(0, 256, (200, 64, 64, 3), np.uint8)
    table = Table({"image": images})
    read_cutouts(table[:2])
    tracemalloc.start()
    read = read_cutouts(table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(read["image"], images)
    assert peak < 1.4 * images.nbytes


def test_the_size_is_that_of_readable_rows_where_no_header_tells_it():
    """None of the 200 rows that are looked at first can be read."""
    cells = np.empty(401, object)
    cells[:] = None
    cells[1] = GREY[0]
    with pytest.warns(RowsLeftOutWarning):
        assert read_cutouts(Table({"image": cells}))["image"].shape == (1, 10, 12, 3)


def test_a_column_of_that_name_is_replaced_where_it_was():
    table = Table({"id": np.arange(8), "image": GREY, "last": np.arange(8)})
    assert read_cutouts(table).colnames == ["id", "image", "last"]


def test_galaxies_brought_to_the_frame_of_a_model():
    fluxes = np.concatenate([galaxies(), np.random.default_rng(3).normal(size=(1, 64, 64, 3))])
    card = Survey(stretch={"kind": "asinh", "vmin": -1.0, "vmax": 100.0})
    with pytest.warns(RowsLeftOutWarning, match="row 3: no galaxy was found in the middle of the cutout"):
        read = read_cutouts(Table({"image": fluxes}), card, framed=Frame(radius=12.0, side=48))
    assert read["image"].shape == (3, 48, 48, 3)


def test_a_frame_that_is_wider_than_the_cutout_shows_its_sky():
    """No black border, which weights would learn."""
    card = Survey(stretch={"kind": "asinh", "vmin": -20.0, "vmax": 100.0})
    shown = read_cutouts(Table({"image": galaxies()}), card, framed=Frame(radius=5.0, side=96))["image"]
    sky = card.display(np.moveaxis(galaxies()[0], -1, 0))[:8].mean()
    border = np.asarray(shown)[0, :4].astype(float)
    assert border.mean() == pytest.approx(sky, rel=0.15)
    assert border.std() > 0
    # and the same galaxy looks the same in any row
    turned = read_cutouts(Table({"image": galaxies()[::-1]}), card, framed=Frame(radius=5.0, side=96))["image"]
    np.testing.assert_array_equal(turned[::-1], shown)


def test_records_count_the_rows_of_the_table():
    rows = SurveyRows(Table({"image": GREY}), rows=[5, 6])
    records = left_out_records(rows, {1: "dark"})
    assert records == [{"row": 6, "id": None, "reason": "dark"}]
    with pytest.warns(RowsLeftOutWarning, match="1 of 2 rows were left out, .*: row 6: dark$"):
        warn_left_out(records, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_left_out([], 2)


def test_real_rows_keep_their_display_images(tmp_path):
    """What was read for an augmented table outlives `drop_synthetic`."""
    table = Table({"cut": [f"{row}.png" for row in range(2)], "synthetic": [False, True]})
    for row in range(2):
        Image.fromarray(np.full((8, 8, 3), 9, np.uint8)).save(tmp_path / f"{row}.png")
    table.meta[RUN_RECORD] = {"layout": table_layout(table["cut",])}
    read = read_cutouts(table, Survey(folder=tmp_path), "cut")
    assert drop_synthetic(read).colnames == ["cut", "image"]
    assert "image" not in table.meta[RUN_RECORD]["layout"]["columns"]
