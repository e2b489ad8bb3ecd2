"""A small catalogue in every dialect, and generators that cost nothing."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from astro_galaxysd.conditions.tree import ANSWERS
from astro_galaxysd.testing import NoiseGenerator

#: Conditional votes of five galaxies: two mergers, a ring, a round one, a spiral.
VOTES = {
    "smooth": [0.8, 0.7, 0.2, 0.9, 0.1], "features": [0.1, 0.2, 0.8, 0.05, 0.9], "artifact": [0.1, 0.1, 0, 0.05, 0],
    "odd": [0.9, 0.8, 0.75, 0.1, 0.2], "not_odd": [0.1, 0.2, 0.25, 0.9, 0.8],
    "merger": [0.75, 0.6, 0.1, 0.0, 0.0], "ring": [0.25, 0.4, 0.9, 1.0, 1.0],
    "round": [0.5, 0.25, 1.0, 1.0, 0.0], "in_between": [0.5, 0.75, 0.0, 0.0, 1.0],
    "edge_on": [0.0, 0.5, 0.1, 0.0, 0.05], "not_edge_on": [1.0, 0.5, 0.9, 1.0, 0.95],
    "spiral": [0.5, 0.2, 0.4, 0.0, 1.0], "no_spiral": [0.5, 0.8, 0.6, 1.0, 0.0],
}  # fmt: skip
#: What a volunteer had to answer before; the Kaggle dialect multiplies by its fraction.
PARENT = {"merger": "odd", "ring": "odd", "round": "smooth", "in_between": "smooth", "edge_on": "features",
          "not_edge_on": "features"}  # fmt: skip
SUFFIX = {"kaggle": "", "hart16": "_fraction", "zoobot": "_fraction", "conditional": ""}


def vote_columns(dialect):
    """The votes under the dialect's names, cumulative where it is."""
    columns = {}
    for answer in ANSWERS:
        name = getattr(answer, dialect)
        if answer.key in VOTES and name:
            values = np.array(VOTES[answer.key], dtype=np.float32)
            key = answer.key
            if dialect == "kaggle" and "spiral" in key:
                values = values * np.float32(VOTES["not_edge_on"]) * np.float32(VOTES["features"])
            elif dialect == "kaggle" and key in PARENT:
                values = values * np.float32(VOTES[PARENT[key]])
            columns[name + SUFFIX[dialect]] = values
    return columns


@pytest.fixture
def make_catalogue():
    """Make a catalogue that holds what catalogues hold, in one of the four dialects."""

    def make(dialect="conditional", *, cls=Table, images=True):
        table = cls({"id": ["g1", "g2", "g3", "g4", "g5"], **vote_columns(dialect)})
        table["split"] = ["train", "train", "test", "val", "train"]
        table["votes"] = MaskedColumn(np.int16([40, 41, 42, 43, 44]), mask=[False, True, False, False, False])
        table["ra"] = [1.0, 2.0, 3.0, np.nan, 5.0] * u.deg
        table["clean"] = [True, False, True, True, False]
        if images:
            table["image"] = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
        table["split"].description = "of the challenge"
        table.meta = {"survey": {"name": "SDSS", "bands": ["g", "r", "i"]}}
        return table

    return make


@pytest.fixture
def catalogue(make_catalogue):
    return make_catalogue()


@pytest.fixture
def noise():
    return NoiseGenerator(16)


class Untouchable:
    """A generator that must not be called: the error has to come before."""

    def generate(self, conditions, *, batch_size=None):
        pytest.fail("the generator drew although the input is bad")


@pytest.fixture
def untouchable():
    return Untouchable()


class Interrupted(NoiseGenerator):
    """Ctrl-C comes in the call after `good` good ones."""

    def __init__(self, good):
        super().__init__(16)
        self.good = good

    def generate(self, conditions, *, batch_size=None):
        self.good -= 1
        if self.good < 0:
            raise KeyboardInterrupt
        return super().generate(conditions, batch_size=batch_size)


@pytest.fixture
def interrupted():
    return Interrupted


def same_column(one, two):
    """Class, dtype, unit, description, mask and bits agree."""
    assert type(one) is type(two)
    assert one.dtype == two.dtype
    assert one.unit == two.unit
    assert one.info.description == two.info.description
    masks = [np.ma.getmaskarray(np.ma.asarray(column)) for column in (one, two)]
    np.testing.assert_array_equal(*masks)
    if one.dtype.kind == "O":
        assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
        return
    bits = [np.ascontiguousarray(np.ma.getdata(np.ma.asarray(column))[~masks[0]]).tobytes() for column in (one, two)]
    assert bits[0] == bits[1]


@pytest.fixture
def assert_same():
    """Fail unless two tables agree bit for bit."""

    def check(one, two):
        assert type(one) is type(two)
        assert one.colnames == two.colnames
        assert one.meta == two.meta
        for name in one.colnames:
            same_column(one[name], two[name])

    return check
