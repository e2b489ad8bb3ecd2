"""How many galaxies with each answer weights were trained on."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest

from astro_galaxysd.conditions.selection import Selection
from astro_galaxysd.conditions.tree import ANSWERS, INDEX
from astro_galaxysd.errors import WeightsError
from astro_galaxysd.learning.trainingids import (
    IDS,
    LEARNT_ANSWERS,
    count_learnt,
    write_learnt_answers,
    write_training_ids,
)


def votes(mergers, others):
    fractions = np.full((mergers + others, len(ANSWERS)), np.nan)
    fractions[:, [INDEX["smooth"], INDEX["odd"]]] = 0.9
    fractions[:, INDEX["merger"]] = np.where(np.arange(mergers + others) < mergers, 0.8, 0.1)
    return fractions


def test_galaxies_are_counted_by_their_votes(tmp_path):
    write_learnt_answers(tmp_path, [*"abcde"], votes(2, 3))
    assert [count_learnt(tmp_path, answer) for answer in ("merger", "smooth", "ring")] == [2, 5, 0]


def test_counts_are_those_of_a_selection(tmp_path):
    fractions = np.random.default_rng(0).random((300, len(ANSWERS)))
    fractions[::7] = np.nan
    write_learnt_answers(tmp_path, list(range(300)), fractions)
    for answer in ANSWERS:
        assert count_learnt(tmp_path, answer.key) == int(Selection().has(fractions, answer).sum())


def test_those_of_the_weights_it_began_with_count_once(tmp_path):
    base, new = tmp_path / "base", tmp_path / "new"
    for folder in (base, new):
        folder.mkdir()
    write_training_ids(base, [*"abc"])
    write_learnt_answers(base, [*"abc"], votes(2, 1))
    hashes = (base / IDS).read_text().split()
    # of two mergers, a and d, one is new
    write_learnt_answers(new, [*"adef"], votes(2, 2), hashes=hashes, answers=base / LEARNT_ANSWERS)
    assert count_learnt(new, "merger") == 3
    assert count_learnt(new, "smooth") == 6


def test_nothing_is_said_where_the_base_says_nothing(tmp_path):
    write_learnt_answers(tmp_path, [*"ab"], votes(1, 1), hashes=["0123456789abcdef"], answers=tmp_path / "none.csv")
    with pytest.raises(
        WeightsError, match=r"training_answers.csv doesn't tell how many galaxies with the answer 'merg"
    ):
        count_learnt(tmp_path, "merger")


def test_the_weights_that_ship_say_it():
    folder = files("astro_galaxysd").joinpath("weights", "mini")
    assert count_learnt(str(folder), "merger") == 595
    assert count_learnt(str(folder), "ring") == 184
