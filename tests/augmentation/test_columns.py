"""Longer columns: real values bit for bit, honest gaps behind them."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.time import Time
from astropy.utils.masked import Masked
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from astro_galaxysd.augmentation.columns import NewValues, extend_column, refuse_unknown_kind
from astro_galaxysd.errors import ConditionError, ImageError

DTYPES = st.one_of(
    hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes(sizes=(32, 64)),
    hnp.complex_number_dtypes(),
    hnp.boolean_dtypes(), hnp.unicode_string_dtypes(), hnp.byte_string_dtypes(), hnp.datetime64_dtypes(),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_real_rows_are_kept_bit_for_bit_and_new_ones_are_missing(data):
    shape = (3, *data.draw(st.sampled_from([(), (2,)])))
    values = data.draw(hnp.arrays(data.draw(DTYPES), shape))
    masked = data.draw(st.booleans())
    mask = data.draw(hnp.arrays(bool, shape)) if masked else None
    options = {"name": "x", "unit": "mJy", "format": None, "description": "d", "meta": {"k": [1]}}
    column = MaskedColumn(values, mask=mask, **options) if masked else Column(values, **options)
    longer = extend_column(column, 2)
    assert longer.dtype == column.dtype
    assert np.ma.getdata(longer.data)[:3].tobytes() == values.tobytes()
    assert (longer.name, longer.unit, longer.description, longer.meta) == ("x", u.mJy, "d", {"k": [1]})
    if masked:
        np.testing.assert_array_equal(np.ma.getmaskarray(longer.data)[:3], mask)
        assert np.ma.getmaskarray(longer.data)[3:].all()
    elif values.dtype.kind in "fcM":
        assert type(longer) is Column
        assert (np.isnat if values.dtype.kind == "M" else np.isnan)(longer.data[3:]).all()
    else:
        assert not np.ma.getmaskarray(longer.data)[:3].any()
        assert np.ma.getmaskarray(longer.data)[3:].all()


def test_texts_are_never_cut():
    longer = extend_column(Column(["a", "bb"], name="id"), 1, NewValues(["long-id"]))
    assert longer.tolist() == ["a", "bb", "long-id"]
    assert type(longer) is Column
    assert extend_column(Column([b"a"], name="id"), 1, NewValues(["long-id"])).data.tolist() == [b"a", b"long-id"]
    short = extend_column(Column(["long"], name="id"), 1, NewValues(["x"]))
    assert short.dtype == "<U4"


def test_big_endian_columns_stay_big_endian():
    for dtype in (">f4", ">i2", ">U3"):
        longer = extend_column(Column(np.array(["1", "2"]).astype(dtype), name="x"), 1)
        assert longer.dtype.str == dtype


def test_given_values_are_cast_and_nan_is_missing():
    floats = extend_column(Column(np.float32([1, 2]), name="x"), 2, NewValues(np.array([0.5, np.nan])))
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(floats, np.float32([1, 2, 0.5, np.nan]))
    counts = extend_column(Column([1, 2], name="x"), 2, NewValues(np.array([3.0, np.nan])))
    assert counts.tolist() == [1, 2, 3, None]
    flags = extend_column(Column([True, False], name="x"), 2, NewValues([True, None], np.array([False, True])))
    assert flags.tolist() == [True, False, True, None]
    assert flags.fill_value is np.False_
    masked = extend_column(MaskedColumn([1.0, 2.0], mask=[0, 1], name="x"), 1, NewValues(np.array([0.5])))
    assert masked.tolist() == [1.0, None, 0.5]


@pytest.mark.parametrize("dtype", ["<i8", ">i2", "u1"])
def test_integers_that_get_fractions_become_floats(dtype):
    column = Column(np.array([1, 0], dtype), name="x", unit="mJy", format="d", description="d")
    longer = extend_column(column, 3, NewValues(np.array([0.25, 1.0, np.nan])))
    np.testing.assert_array_equal(longer, [1, 0, 0.25, 1, np.nan])
    assert longer.dtype == np.dtype("f8").newbyteorder(np.dtype(dtype).byteorder)
    assert (type(longer), longer.unit, longer.name, longer.description) == (Column, u.mJy, "x", "d")
    masked = extend_column(MaskedColumn(column, mask=[0, 1]), 2, NewValues(np.array([0.5, np.nan])))
    assert masked.tolist() == [1, None, 0.5, None]
    nearly = extend_column(column, 2, NewValues(np.array([1 - 1e-12, 1e-12])))
    assert (nearly.dtype, nearly.format, nearly.tolist()) == (column.dtype, "d", [1, 0, 1, 0])


def test_images_of_another_shape_are_refused():
    column = Column(np.zeros((2, 4, 4, 3), np.uint8), name="image")
    longer = extend_column(column, 1, NewValues(np.full((1, 4, 4, 3), 7, np.uint8)))
    assert (longer.shape, longer.dtype, int(longer[2].min())) == ((3, 4, 4, 3), np.uint8, 7)
    with pytest.raises(ImageError, match=r"'image' holds \(4, 4, 3\) a row and got \(5, 5, 3\)"):
        extend_column(column, 1, NewValues(np.zeros((1, 5, 5, 3), np.uint8)))


def test_objects_are_kept_whole():
    column = Column(np.array([b"\x00\x01", None], dtype=object), name="image")
    longer = extend_column(column, 2, NewValues([b"\xff\x00", np.arange(3)]))
    assert longer[0] == b"\x00\x01"
    assert longer[2] == b"\xff\x00"
    assert longer[3].tolist() == [0, 1, 2]
    assert extend_column(column, 1)[2] is None


def test_values_that_do_not_fit_are_refused():
    with pytest.raises(ConditionError, match="'x' of dtype int64 can't hold"):
        extend_column(Column([1], name="x"), 1, NewValues(["red"]))
    with pytest.raises(ConditionError, match=r"'x' holds \(\) a row and got \(2,\)"):
        extend_column(Column([1], name="x"), 1, NewValues([[1, 2]]))


def as_column(value, name="x", description="kept"):
    table = QTable({name: value})
    table[name].info.description = description
    return table[name]


@pytest.mark.parametrize(
    ("value", "missing"),
    [
        ([1.0, 2.0] * u.mJy, lambda tail: np.isnan(tail.value)),
        (Masked([1.0, 2.0] * u.mJy, mask=[True, False]), lambda tail: tail.mask),
        (u.Quantity([1, 2], u.ct, dtype=int), lambda tail: tail.mask),
        (Time([50000.0, 50001.0], format="mjd"), lambda tail: tail.mask),
        (SkyCoord([1, 2], [3, 4], unit="deg"), lambda tail: np.isnan(tail.ra.value) & np.isnan(tail.dec.value)),
        (
            SkyCoord([1, 2] * u.deg, [3, 4] * u.deg, distance=[1, 2] * u.kpc, pm_ra_cosdec=[1, 2] * u.mas / u.yr,
                     pm_dec=[1, 2] * u.mas / u.yr),
            lambda tail: np.isnan(tail.distance.value) & np.isnan(tail.data.differentials["s"].d_lat.value),
        ),
        (
            SkyCoord([1, 2] * u.deg, [3, 4] * u.deg, pm_ra_cosdec=[1, 2] * u.mas / u.yr, pm_dec=[1, 2] * u.mas / u.yr),
            lambda tail: np.isnan(tail.pm_dec.value) & np.isnan(tail.data.differentials["s"].d_lat.value),
        ),
    ],
    ids=["quantity", "masked quantity", "counts", "time", "position", "motion in space", "motion"],
)  # fmt: skip
def test_mixins_get_their_own_missing_value(value, missing):
    column = as_column(value)
    longer = extend_column(column, 2)
    assert len(longer) == 4
    assert (longer.info.name, longer.info.description) == ("x", "kept")
    assert np.asarray(missing(longer[2:])).all()
    assert not np.asarray(missing(longer[1:2])).any()
    if isinstance(value, u.Quantity):
        assert longer.unit == value.unit
        assert longer.dtype == value.dtype
        assert longer[1] == value[1]
    elif isinstance(value, Time):
        assert (longer[:2] == value).all()
    else:
        assert (longer.ra[:2] == value.ra).all()


def test_quantities_take_given_values():
    longer = extend_column(as_column([0.1, 0.2] * u.one), 2, NewValues(np.array([0.5, np.nan])))
    np.testing.assert_array_equal(longer.value, [0.1, 0.2, 0.5, np.nan])


def test_columns_that_cannot_say_missing_are_refused():
    with pytest.raises(ConditionError, match="column 'x' is a Table, which has no value for 'missing'"):
        refuse_unknown_kind(Table({"a": [1]}), "x")
