from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd.classification.drawn import BASE, Synthesis, as_rows


@pytest.fixture
def synthesis(tiny_weights):
    table = Table(
        {
            "id": [f"g{row}" for row in range(12)],
            "t01_smooth": np.linspace(0.1, 0.9, 12),
            "t01_features": np.linspace(0.9, 0.1, 12),
            "t06_odd_yes": np.full(12, 0.9),
            "t08_merger": np.where(np.arange(12) < 4, 0.8, 0.1),
        }
    )
    drawing = {"weights": tiny_weights, "generator": None, "steps": 2, "guidance": 1.0}
    columns = {"schema": None, "labels": None, "label_column": None, "id_column": None}
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
    np.testing.assert_array_equal(drawn["t01_smooth"], synthesis.table["t01_smooth"][drawn[BASE]])


def test_the_size_of_real_ones(synthesis):
    drawn = synthesis.of_class(np.array([0, 1]), 3, 7)
    rows = as_rows(drawn, (48, 48), lambda images: images.mean(axis=(1, 2)), positive=True)
    assert rows.images.shape == (3, 48, 48, 3)
    assert rows.features.shape == (3, 3)
    assert rows.positive.tolist() == [True] * 3
