"""Bad input is refused before anything is drawn, with the value that was seen and the way out."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from PIL import Image

from astro_galaxysd import augment_table, generate
from astro_galaxysd.errors import (
    ConditionError,
    ImageError,
    NoRealRowsError,
    PluginError,
    PromptError,
    UnknownNameError,
)


@pytest.fixture
def refused(untouchable):
    """Call augment_table with a generator that must not be called."""

    def call(table, **options):
        defaults = {"target": "merger", "n": 2, "rng": 1, "generator": untouchable, "progress": False}
        return augment_table(table, **defaults | options)

    return call


def test_no_vote_columns(refused):
    with pytest.raises(ConditionError, match=r"no vote columns: looked for kaggle .* the table has flux\. Rename"):
        refused(Table({"flux": [1.0]}))


def test_unknown_target(refused, catalogue):
    with pytest.raises(UnknownNameError, match="unknown target 'mergr': did you mean 'merger'"):
        refused(catalogue, target="mergr")


def test_no_real_rows_suggests_compose(refused, catalogue):
    catalogue["t08_dust_lane"] = np.zeros(5)
    with pytest.raises(NoRealRowsError, match="none of 5 real rows has it .* pass compose=True"):
        refused(catalogue, target="dust_lane")


@pytest.mark.parametrize("n", [0, -3, 2.5, True])
def test_n_is_no_number_of_rows(refused, catalogue, n):
    with pytest.raises(ConditionError, match=f"n: {n} rows asked for; use a whole number of at least 1"):
        refused(catalogue, n=n)


@pytest.mark.parametrize("ratio", [0, -0.5, np.nan, np.inf])
def test_ratio_is_not_positive(refused, catalogue, ratio):
    with pytest.raises(ConditionError, match=f"ratio={ratio} is not a positive number"):
        refused(catalogue, n=None, ratio=ratio)


def test_both_or_neither(refused, catalogue):
    with pytest.raises(ConditionError, match="both n=2 and ratio=0.5 given; pass n= .* or ratio="):
        refused(catalogue, ratio=0.5)
    with pytest.raises(ConditionError, match="neither n nor ratio given; pass n="):
        refused(catalogue, n=None)
    with pytest.raises(ConditionError, match="a mapping of targets to counts was given together with n=2"):
        refused(catalogue, target={"merger": 3})


def test_empty_table(refused, catalogue):
    with pytest.raises(ConditionError, match="the table has no rows"):
        refused(catalogue[:0])


def jpeg(size=16, quality=90):
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def objects(items):
    values = np.empty(len(items), dtype=object)
    for row, item in enumerate(items):
        values[row] = item
    return values


BLANK = np.zeros((16, 16, 3), np.uint8)
HALF_NAN = np.full((5, 16, 16, 3), 0.5, np.float32)
HALF_NAN[3] = np.nan


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (objects([BLANK] * 4 + [BLANK[:8]]), "ragged images: row 4 is 8x16 pixels where most are 16x16"),
        (objects([BLANK] * 4 + [BLANK[:0]]), r"row 4: an image without pixels"),
        (objects([BLANK] * 4 + [None]), "row 4 has no image .* remove the row or give it an image"),
        (objects([jpeg()] * 4 + [b""]), "row 4: empty bytes instead of an image"),
        (HALF_NAN, r"row 3 has no finite pixel \(all are NaN or masked\); remove the row"),
        (HALF_NAN * 300, "float pixels from .* they must lie in .0, 1.: divide by 255"),
        (objects([jpeg()] * 4 + [jpeg()[:-100]]), r"row 4: JPEG of \d+ bytes is truncated or damaged"),
        (objects([jpeg()] * 4 + [jpeg()[:200]]), "row 4: 200 bytes that are no readable JPEG or PNG"),
        (np.array([jpeg()] * 5), "bytes in a column of dtype .S.*, which loses NUL bytes .* make an object column"),
        (np.zeros((5, 16, 16), np.uint8), "1 band .* three colour bands are needed"),
        (np.zeros((5, 3, 16, 16), np.uint8), "planes first"),
        (np.array(["a.jpg"] * 5), r"no cutout can be used: row 0 \(g1\): no file 'a.jpg'; correct the path"),
    ],
)
def test_images_that_can_not_be_read(refused, make_catalogue, images, message):
    table = make_catalogue(images=False)
    table["image"] = images
    with pytest.raises(ImageError, match=message):
        refused(table)


def test_images_beside_the_table(refused, make_catalogue, catalogue):
    bare = make_catalogue(images=False)
    with pytest.raises(ImageError, match="4 images for 5 rows; give one image for each row"):
        refused(bare, images=[BLANK] * 4)
    with pytest.raises(ImageError, match="there are no images: the source is empty"):
        refused(bare, images=[])
    with pytest.raises(ConditionError, match="images were given twice: images= and the table's column 'image'"):
        refused(catalogue, images=[BLANK] * 5)
    with pytest.raises(UnknownNameError, match="unknown image column 'imaeg': did you mean 'image'"):
        refused(catalogue, images="imaeg")
    with pytest.raises(ImageError, match="row 0: the HDU is empty|there are no images"):
        refused(bare, images=fits.HDUList([fits.PrimaryHDU()]))
    with pytest.raises(ImageError, match="two|1 band"):
        refused(bare, images=[fits.ImageHDU(np.zeros((16, 16)))] * 5)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, "3"])
def test_batch_size(refused, catalogue, batch_size):
    with pytest.raises(ConditionError, match=f"batch_size = {batch_size!r}: give a whole number of at least 1"):
        refused(catalogue, batch_size=batch_size)


@pytest.mark.parametrize("prompt", ["ring galaxy, {dust lane:very}", "ring galaxy, {dust lane:nan}", "ring, {dust:}"])
def test_weight_that_is_no_number(refused, catalogue, prompt):
    with pytest.raises(PromptError, match="weight"):
        refused(catalogue, target=prompt)


def test_generator_that_is_none(catalogue):
    with pytest.raises(PluginError, match=r"generator=17 has no method generate\(conditions, \*, batch_size\)"):
        augment_table(catalogue, target="merger", n=1, generator=17)


def test_sampling_of_a_loaded_generator(refused, catalogue):
    with pytest.raises(ConditionError, match=r"steps=5, guidance=None were given with a loaded generator"):
        refused(catalogue, steps=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"generator": "flwo"}, "unknown generator 'flwo': did you mean 'flow'"),
        ({"generator": None, "weights": "mimi"}, "unknown weights 'mimi': did you mean 'mini'"),
        ({"generator": None, "weights": "/not/there"}, "unknown weights '/not/there': .* A folder can be given too"),
        ({"schema": "kagle"}, "unknown schema 'kagle': did you mean 'kaggle'"),
        ({"label_column": "typ"}, "unknown label column 'typ'"),
        ({"id_column": "dr7"}, "unknown id column 'dr7'"),
    ],
)
def test_unknown_names(refused, catalogue, flow, options, message):
    with pytest.raises(UnknownNameError, match=message):
        refused(catalogue, **options)
    assert flow.calls == []


def test_taken_column_names(refused, catalogue):
    catalogue["weights"] = np.ones(5)
    message = "column 'weights' holds float64, but synthetic rows keep their provenance .* rename the column"
    with pytest.raises(ConditionError, match=message):
        refused(catalogue)
    with pytest.raises(ConditionError, match=message):
        generate(catalogue)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        (Table({"prompt": []}), "conditions have no row"),
        (Table({"flux": [1.0]}), "no vote columns"),
        (Table({"prompt": ["a", ""]}), "1 row.s. without any vote or prompt"),
        (Table({"prompt": ["ring"], "seed": [-1]}), "column 'seed', row 0: -1 is no seed, .* pass rng="),
        (Table({"id": ["a", ""], "prompt": ["b", "c"]}), "row 1 has no id in column 'id', from which its seed follows"),
    ],
)
def test_conditions_that_can_not_be_drawn(untouchable, conditions, message):
    with pytest.raises(ConditionError, match=message):
        generate(conditions, generator=untouchable, progress=False)


def test_masked_seed(untouchable):
    table = Table({"prompt": ["ring", "bar"], "seed": [1, 2]}, masked=True)
    table["seed"].mask[1] = True
    with pytest.raises(ConditionError, match="column 'seed', row 1: --|column 'seed', row 1: masked"):
        generate(table, generator=untouchable, progress=False)
