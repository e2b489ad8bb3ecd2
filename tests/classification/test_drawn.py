from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd.classification.drawn import BASE, Synthesis, as_rows
from astro_galaxysd.errors import ConditionError


@pytest.fixture
def synthesis(tiny_weights):
    table = Table(
        {
            "t01_smooth": np.linspace(0.1, 0.9, 12),
            "t01_features": np.linspace(0.9, 0.1, 12),
            "t06_odd_yes": np.full(12, 0.9),
            "t08_merger": np.where(np.arange(12) < 4, 0.8, 0.1),
        }
    )
    drawing = {"weights": tiny_weights, "generator": None, "steps": 2, "guidance": 1.0}
    columns = {"schema": None, "labels": None, "label_column": None}
    return Synthesis(table, {"target": "merger", "threshold": 0.5, "cut": None}, columns, drawing)


def test_votes_of_the_class(synthesis):
    sources = np.array([3, 1])
    drawn = synthesis.of_class(sources, 5, 7)
    assert len(drawn) == 5
    assert set(drawn[BASE][:2]) == {1, 3}  # each once before any is used again
    assert all("merger" in prompt for prompt in drawn["prompt"])
    again = synthesis.of_class(sources, 5, 7)
    np.testing.assert_array_equal(drawn["image"], again["image"])
    assert (synthesis.of_class(sources, 5, 8)["seed"] != drawn["seed"]).any()


def test_votes_of_others(synthesis):
    drawn = synthesis.others(np.arange(4, 12), 20, 7)
    assert sorted(drawn[BASE][:8]) == list(range(4, 12))
    assert len(set(drawn["seed"].tolist())) == 20
    assert not any("merger" in prompt for prompt in drawn["prompt"])
    assert set(drawn.colnames) == {"seed", "prompt", "image", BASE}


def test_the_size_of_real_ones(synthesis):
    drawn = synthesis.of_class(np.array([0, 1]), 3, 7)
    rows = as_rows(drawn, (48, 48), lambda images: images.mean(axis=(1, 2)), positive=True)
    assert rows.images.shape == (3, 48, 48, 3)
    assert rows.features.shape == (3, 3)
    assert rows.positive.tolist() == [True] * 3


def test_ids_may_stand_in_several_rows(synthesis):
    table = synthesis.table.copy()
    table["id"], table["image"] = "same", 0
    made = Synthesis.of(table, "image", synthesis.asked, {**synthesis.columns, "id_column": "id"}, synthesis.drawing)
    assert not {"id", "image"} & set(made.table.colnames)
    assert len(made.of_class(np.arange(4), 5, 7)) == 5
    assert table.colnames[-2:] == ["id", "image"]


def test_what_can_not_be_drawn_is_told_before(synthesis):
    synthesis.check(np.arange(12) < 4)
    synthesis.table["t01_smooth"][7] = synthesis.table["t01_features"][7] = np.nan
    synthesis.table["t06_odd_yes"][7] = synthesis.table["t08_merger"][7] = np.nan
    with pytest.raises(ConditionError):
        synthesis.check(np.arange(12) < 4)


def test_a_set_that_is_not_whole_is_none(synthesis, monkeypatch):
    from astro_galaxysd.classification import drawn

    whole = drawn.generate
    monkeypatch.setattr(drawn, "generate", lambda *given, **options: whole(*given, **options)[:2])
    with pytest.raises(KeyboardInterrupt):
        synthesis.of_class(np.arange(4), 5, 7)
