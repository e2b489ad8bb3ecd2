from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd.classification.ranking import Ranking
from astro_galaxysd.errors import NoRealRowsError


def piece(numbers):
    return Table({"id": [f"g{number}" for number in numbers]}), np.stack(
        [np.full((2, 2, 3), number, np.uint8) for number in numbers]
    )


@pytest.mark.parametrize("size", [1, 7, 40, 200])
def test_the_best_of_all_pieces(size):
    scores = np.random.default_rng(0).random(200).round(2)  # some are equal
    ranking = Ranking(10)
    for start in range(0, 200, size):
        numbers = np.arange(start, min(start + size, 200))
        ranking.add(*piece(numbers), scores[numbers])
    rows, images, best = ranking.best()
    expected = np.argsort(-scores, kind="stable")[:10]
    assert rows["id"].tolist() == [f"g{number}" for number in expected]
    np.testing.assert_array_equal(images[:, 0, 0, 0], expected)
    np.testing.assert_array_equal(best, scores[expected])
    assert ranking.scored == 200
    np.testing.assert_array_equal(ranking.others(), np.sort(scores)[:190])


def test_only_the_best_are_kept():
    ranking = Ranking(3)
    for _ in range(50):
        ranking.add(*piece(range(20)), np.linspace(0, 1, 20))
        assert sum(len(kept) for _, _, kept in ranking._kept) <= 15


def test_what_holds_for_the_table_is_kept_once():
    ranking = Ranking(2)
    for _ in range(30):
        rows, images = piece(range(3))
        rows.meta["comments"] = ["one"]
        ranking.add(rows, images, np.arange(3.0))
    assert ranking.best()[0].meta == {"comments": ["one"]}


def test_fewer_than_asked_for():
    ranking = Ranking(10)
    ranking.add(*piece(range(4)), np.arange(4.0))
    assert ranking.best()[0]["id"].tolist() == ["g3", "g2", "g1", "g0"]
    assert len(ranking.others()) == 0


def test_none():
    with pytest.raises(NoRealRowsError, match="the catalogue has no galaxy to rank: give one with images"):
        Ranking(3).best()
