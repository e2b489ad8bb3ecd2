"""plan_augmentation at the door of the package: the estimate, names that must be known, and no torch."""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest

from astro_galaxysd import augment_table, hookimpl, plan_augmentation
from astro_galaxysd.errors import ConditionError, UnknownNameError
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.records import WeightCard


@pytest.fixture
def cards():
    class Cards:
        @hookimpl
        def galaxysd_register_weights(self):
            yield WeightCard("known", "/nowhere", gflop=0.8, memory=500.0, steps=10, guidance=2.0, image_size=128)
            yield WeightCard("unknown", "/nowhere")

    get_registry().register(Cards(), name="cards")


def cost(table, **options):
    plan = plan_augmentation(table, **{"target": "merger", "n": 100, "rng": 1} | options)
    return plan.meta["galaxysd_plan"]["estimate"]


def test_estimate_of_a_card_that_says_what_it_costs(catalogue, cards):
    estimate = cost(catalogue, weights="known")
    assert estimate["seconds"] > 0
    assert estimate["memory_mb"] == pytest.approx(500 + 2 * 100 * 128 * 128 * 3 / 1e6, abs=0.1)
    assert cost(catalogue, weights="known", candidates=1)["memory_mb"] == pytest.approx(504.9, abs=0.1)
    # The rate is timed anew each time; five times the steps and twice the calls stand out from its scatter.
    assert cost(catalogue, weights="known", steps=50, guidance=3.0)["seconds"] > 1.5 * estimate["seconds"]
    assert cost(catalogue, weights="known", guidance=1.0, n=10)["seconds"] < estimate["seconds"]


def test_estimate_of_a_card_that_does_not(catalogue, cards, tiny_weights):
    nothing = {"seconds": None, "memory_mb": None}
    assert cost(catalogue, weights="unknown") == nothing
    assert cost(catalogue, weights=tiny_weights) == nothing


def test_estimate_of_another_generator_than_the_card_s(catalogue, cards, flow):
    assert cost(catalogue, weights="known", generator="flow")["seconds"] is None
    assert cost(catalogue, weights="known", generator="diffusion")["seconds"] > 0


def test_plan_is_what_is_drawn(catalogue, noise):
    plan = plan_augmentation(catalogue, target="merger", n=4, rng=3, candidates=1)
    result = augment_table(catalogue, target="merger", n=4, rng=3, generator=noise, progress=False)
    for name in ("prompt", "prompt_weights", "seed"):
        np.testing.assert_array_equal(plan[name], result[name][5:])
    assert plan["row_id"].tolist() == result["id"][5:].tolist()
    assert plan["seed"].dtype == np.int64
    assert set(plan["base_row"]) == {0, 1}


def test_unknown_names(catalogue):
    with pytest.raises(UnknownNameError, match="unknown generator 'difusion': did you mean 'diffusion'"):
        cost(catalogue, generator="difusion")
    with pytest.raises(UnknownNameError, match="unknown weights 'mimi': did you mean 'mini'"):
        cost(catalogue, weights="mimi")


def test_duplicate_ids(catalogue):
    catalogue["id"] = ["a", "a", "b", "c", "d"]
    with pytest.raises(ConditionError, match="occur more than once"):
        cost(catalogue)


def test_takes_what_augment_table_takes():
    plan, augment = (set(inspect.signature(function).parameters) for function in (plan_augmentation, augment_table))
    assert augment - plan == {
        "images", "survey", "match", "anyway", "cutouts", "batch_size", "out", "progress", "overwrite",
    }  # fmt: skip
    assert plan <= augment


PROGRAM = """
import sys
from astropy.table import Table
from astro_galaxysd import augment_table, plan_augmentation
from astro_galaxysd.testing import NoiseGenerator

table = Table({"t06_odd_yes": [0.9], "t08_merger": [0.8], "t01_smooth": [0.7]})
plan_augmentation(table, target="merger", n=2, rng=1)
augment_table(table, target="merger", n=2, rng=1, generator=NoiseGenerator(), progress=False)
assert not {"torch", "diffusers", "transformers"} & set(sys.modules)
"""


def test_neither_planning_nor_another_generator_loads_torch(tmp_path):
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
