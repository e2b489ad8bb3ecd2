"""Rows as a training program gets them: ids, planes, votes, and views that follow from a seed."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from astro_galaxysd import LinearStretch, Survey
from astro_galaxysd.errors import ConditionError, ImageError
from astro_galaxysd.hosts.galaxies import Galaxies, View

SEEDS = range(-40, 40)
REAL_MERGER, SPIRAL, SYNTHETIC = 0, 3, 9


def same(one, other):
    return one.shape == other.shape and bool((one == other).all())


def eight_views(planes):
    return [View(0, turns, mirrored).of(planes) for turns in range(4) for mirrored in (False, True)]


def test_planes_of_a_row(table):
    planes = Galaxies(table).image(2)
    assert planes.dtype == np.float32
    assert planes.shape == (3, 32, 32)
    assert planes.flags.c_contiguous
    assert np.array_equal(np.rint(planes * 255), np.moveaxis(table["image"][2], -1, 0))


@pytest.mark.parametrize("rows", ["all", "real"])
def test_rows_that_take_part(table, rows):
    galaxies = Galaxies(table[::-1], rows=rows)
    assert len(galaxies) == {"all": 12, "real": 8}[rows]
    assert galaxies.ids[-1] == "g0"
    assert galaxies.ids[0] == {"all": "s3", "real": "g7"}[rows]
    assert [bool(galaxies.synthetic(row)) for row in range(len(galaxies))] == [True] * (len(galaxies) - 8) + [False] * 8
    assert same(galaxies.image(len(galaxies) - 1), Galaxies(table).image(0))


def test_votes(table):
    votes = Galaxies(table).votes(0)
    assert votes.dtype == np.float32
    assert votes.shape == (37,)
    assert np.isfinite(votes).sum() >= 3
    votes[:] = 0
    assert Galaxies(table).votes(0).any()


def test_views_are_the_eight_turns(table):
    galaxies = Galaxies(table)
    wanted = eight_views(galaxies.image(1))
    seen = [galaxies.view_image(1, seed) for seed in SEEDS]
    assert all(any(same(view, one) for one in wanted) for view in seen)
    assert all(any(same(view, one) for view in seen) for one in wanted)
    assert all(view.flags.c_contiguous for view in seen)


def test_views_of_other_shapes_keep_it():
    planes = np.arange(24.0).reshape(1, 4, 6)
    shapes = {view.shape for view in eight_views(planes)}
    assert shapes == {(1, 4, 6)}
    assert same(View(0, 2).of(planes), planes[:, ::-1, ::-1])
    assert same(View(0, 1, True).of(planes), planes[:, :, ::-1])


@given(seed=st.integers(-(2**63), 2**63 - 1), row=st.integers(0, 7))
def test_a_view_follows_from_row_and_seed(seed, row):
    galaxies = Galaxies(_small(), label="label", stand_ins=0.5)
    view = galaxies.view(row, seed)
    assert view == galaxies.view(row, np.int64(seed))
    assert galaxies.view_synthetic(row, seed) == (view.row >= 8)


def _small():
    return Table(
        {"image": np.zeros((12, 4, 4, 3), np.uint8), "label": [0, 1] * 6, "synthetic": [False] * 8 + [True] * 4}
    )


def test_views_without_turns_are_the_image(table):
    galaxies = Galaxies(table, turns=False)
    assert all(same(galaxies.view_image(4, seed), galaxies.image(4)) for seed in SEEDS)


def test_planes_at_hand_are_used_for_the_row_itself(table):
    galaxies = Galaxies(table, turns=False, label="merger", stand_ins=0.5)
    at_hand = np.zeros((3, 32, 32), np.float32)
    for seed in SEEDS:
        stands_in = galaxies.view(REAL_MERGER, seed).row != REAL_MERGER
        assert bool(galaxies.view_image(REAL_MERGER, seed, at_hand).any()) is stands_in


def test_synthetic_galaxies_of_the_same_label_stand_in(table):
    galaxies = Galaxies(table, label="merger", stand_ins=0.5, rows="real")
    seen = [galaxies.view(REAL_MERGER, seed).row for seed in SEEDS]
    assert set(seen) == {REAL_MERGER, 8, 9, 10, 11}
    assert 0.3 < np.mean(np.array(seen) != REAL_MERGER) < 0.7


def test_a_class_without_synthetic_galaxies_keeps_its_own(table):
    galaxies = Galaxies(table, label="merger", stand_ins=1.0)
    assert {galaxies.view(SPIRAL, seed).row for seed in SEEDS} == {SPIRAL}
    assert REAL_MERGER not in {galaxies.view(REAL_MERGER, seed).row for seed in SEEDS}


def test_nothing_stands_in_for_a_synthetic_galaxy(table):
    galaxies = Galaxies(table, label="merger", stand_ins=1.0)
    assert {galaxies.view(SYNTHETIC, seed).row for seed in SEEDS} == {SYNTHETIC}


def test_image_votes_and_mark_of_a_view_are_of_one_galaxy(table):
    table["t01_smooth"][8:] = 0.2
    galaxies = Galaxies(table, label="merger", stand_ins=0.5, turns=False)
    assert not same(galaxies.votes(REAL_MERGER), galaxies.votes(SYNTHETIC))
    for seed in SEEDS:
        shown = galaxies.view(REAL_MERGER, seed).row
        assert same(galaxies.view_image(REAL_MERGER, seed), galaxies.image(shown))
        assert np.array_equal(galaxies.view_votes(REAL_MERGER, seed), galaxies.votes(shown), equal_nan=True)
        assert bool(galaxies.view_synthetic(REAL_MERGER, seed)) is (shown > 7)


def test_a_survey_stretches_and_luminance_has_equal_planes():
    table = Table({"flux": [np.full((8, 8), 1.0, np.float32), np.full((8, 8), 3.0, np.float32)]})
    survey = Survey(bands="luminance", columns="flux", stretch=LinearStretch(0.0, 4.0))
    image = Galaxies(table, survey=survey).image(1)
    assert image.shape == (3, 8, 8)
    assert np.allclose(image, 0.75, atol=1 / 255)


def test_ids_are_filled_from_what_there_is():
    assert Galaxies(_small()).ids == [str(row) for row in range(12)]
    table = _small()
    table["galaxysd_id"] = [""] * 8 + [f"new-{row}" for row in range(4)]
    assert Galaxies(table).ids[6:9] == ["6", "7", "new-0"]
    table["name"] = [f"n{row}" for row in range(12)]
    assert Galaxies(table, id_column="name").ids[0] == "n0"


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"rows": "most"}, r"rows='most': give 'all' or 'real'"),
        ({"synthetic": True}, {"rows": "real"}, r"rows='real', but of the table's 12 row\(s\) none is left"),
        ({"id": ["a"] * 12}, {}, r"1 id\(s\) occur twice \('a'\); name another id_column"),
        ({}, {"label": "merger", "stand_ins": 1.5}, r"stand_ins=1.5: it is a share of views, from 0 to 1"),
        ({}, {"stand_ins": 0.5}, r"stand_ins=0.5 without a label: name one"),
        ({"synthetic": False}, {"label": "merger", "stand_ins": 0.5}, r"stand_ins=0.5, but the table has no synthetic"),
    ],
)
def test_arguments_that_are_wrong(table, change, options, message):
    for name, value in change.items():
        table[name] = value
    with pytest.raises(ConditionError, match=message):
        Galaxies(table, **options)


def test_what_a_table_has_not(table):
    galaxies = Galaxies(table["id", "image"])
    assert not galaxies.has_label
    assert not galaxies.has_votes
    with pytest.raises(ConditionError, match="no label was named"):
        galaxies.label(0)
    with pytest.raises(ConditionError, match="the table has no vote columns, so its rows have no votes"):
        galaxies.votes(0)


def test_an_image_of_another_size_is_named():
    images = np.empty(3, object)
    images[:] = [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8), np.zeros((6, 8, 3), np.uint8)]
    galaxies = Galaxies(Table({"id": ["a", "b", "c"], "image": images}))
    assert galaxies.image(1).shape == (3, 8, 8)
    with pytest.raises(ImageError, match=r"row 2 \(c\) is 6x8 pixels where most are 8x8; bring all to one size"):
        galaxies.image(2)
