"""Seeds: stable, of the id alone, one an id."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astro_galaxysd.conditions.seeds import id_text, row_seeds, run_seed, stream
from astro_galaxysd.errors import ConditionError

IDS = st.lists(st.text(max_size=12), min_size=1, max_size=12, unique=True)


def test_seeds_never_change():
    # Written down: other values would draw other galaxies for tables that are published already.
    assert row_seeds(0, ["a", "b"]).tolist() == [8561530931907794387, 3843995201464749323]


def test_seeds_are_the_same_in_another_process():
    code = "from astro_galaxysd.conditions.seeds import row_seeds; print(row_seeds(7, ['x'])[0])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(out) == row_seeds(7, ["x"])[0]


@settings(max_examples=25, deadline=None)
@given(IDS, st.integers(0, 2**63 - 1), st.randoms())
def test_a_seed_depends_on_the_id_and_not_on_the_order(ids, seed, random):
    shuffled = random.sample(ids, len(ids))
    seeds = dict(zip(ids, row_seeds(seed, ids).tolist(), strict=True))
    assert dict(zip(shuffled, row_seeds(seed, shuffled).tolist(), strict=True)) == seeds
    assert all(0 <= value < 2**63 for value in seeds.values())


def test_numbers_and_texts_are_one_id_and_dtype_is_int64():
    assert row_seeds(1, [7, 8]).tolist() == row_seeds(1, ["7", "8"]).tolist() == row_seeds(1, [b"7", b"8"]).tolist()
    assert row_seeds(1, np.arange(3)).dtype == np.int64
    assert len(set(row_seeds(1, range(1000)).tolist())) == 1000
    assert row_seeds(1, ["a"]) != row_seeds(2, ["a"])
    assert len(row_seeds(1, [])) == 0


@pytest.mark.parametrize("ids", [["a", "b", "a"], [7, "7"]])
def test_duplicates_are_named(ids):
    with pytest.raises(ConditionError, match=r"1 id\(s\) occur more than once \('[a7]'\).*unique"):
        row_seeds(0, ids)


@pytest.mark.parametrize("identifier", [np.ma.masked, None, 1.5, True])
def test_only_texts_and_whole_numbers_are_ids(identifier):
    with pytest.raises(ConditionError, match="ids are text or whole numbers"):
        id_text(identifier)


def test_run_seed_takes_what_spec_7_names():
    assert run_seed(5) == run_seed(np.int64(5)) == 5
    assert run_seed(np.random.SeedSequence(3)) == run_seed(np.random.SeedSequence(3))
    assert run_seed(np.random.default_rng(3)) == run_seed(np.random.default_rng(3))
    assert run_seed(np.random.PCG64(3)) == run_seed(np.random.default_rng(3))
    generator = np.random.default_rng(3)
    assert run_seed(generator) != run_seed(generator)
    assert run_seed() != run_seed()
    assert 0 <= run_seed(2**70) < 2**63


@pytest.mark.parametrize(("rng", "message"), [(-1, "negative"), ("x", "is a str"), (True, "is a bool")])
def test_run_seed_refuses_the_rest(rng, message):
    with pytest.raises(ConditionError, match=message):
        run_seed(rng)


def test_streams_differ_by_purpose():
    assert stream(0, "a").random() == stream(0, "a").random() != stream(0, "b").random()
