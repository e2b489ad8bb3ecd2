"""More galaxies than were asked for, of which a reader keeps some."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

import astro_galaxysd.evaluation.reading as reading
from astro_galaxysd import augment_table, generate, load_generator, plan_augmentation
from astro_galaxysd.augmentation.plan import PLAN
from astro_galaxysd.candidates import keep_surest, load_judge
from astro_galaxysd.drawing import InterruptedWarning
from astro_galaxysd.errors import ConditionError
from astro_galaxysd.testing import NoiseGenerator

TABLE = Table({"t06_odd_yes": [0.9, 0.9, 0.1], "t08_merger": [0.8, 0.2, 0.0], "t08_ring": [0.2, 0.8, 1.0]})
TABLE["nice"] = [True, False, False]
MERGERS = {"target": "merger", "n": 3, "rng": 1, "progress": False}


def planned(target="merger", n=4, **options):
    return plan_augmentation(TABLE, target=target, n=None if isinstance(target, dict) else n, rng=1, **options)


@pytest.mark.parametrize(
    ("target", "options", "number"),
    [
        ("merger", {}, 2),
        ("merger", {"generator": "diffusion"}, 2),
        ("nice", {}, 1),
        ("smooth, {merger:1.1}", {}, 1),
        ("merger", {"candidates": 3}, 3),
        ("merger", {"candidates": 1}, 1),
        ("nice", {"candidates": 1}, 1),
    ],
)
def test_how_many_are_planned(target, options, number):
    plan = planned(target, **options)
    assert len(plan) == 4 * number
    part = plan.meta[PLAN]["targets"][target]
    assert (part["n"], part["candidates"]) == (4, number)
    one_each = planned(target, candidates=1)
    assert plan["seed"][:4].tolist() == one_each["seed"].tolist()


@pytest.mark.parametrize("asked", [0, -1, 1.5, "two", True])
def test_no_number(asked):
    with pytest.raises(ConditionError, match=f"candidates: {asked!r} rows asked for; use a whole number of at least 1"):
        planned(candidates=asked)


def test_a_target_that_no_reader_knows():
    with pytest.raises(ConditionError, match=r"candidates=2: no reader knows target 'nice', .*; leave candidates out"):
        planned({"merger": 1, "nice": 2}, candidates=2)


@pytest.fixture
def brightness(monkeypatch):
    """A reader to which bright galaxies are surely of the class; the answers it was asked for."""
    asked = []

    def found(reader, images, answer):
        asked.append(answer)
        return images.mean(axis=(1, 2, 3)) / 255

    monkeypatch.setattr(reading, "agreement", found)
    return asked


def kept_of(plan, drawn):
    return keep_surest(plan, drawn, load_judge(plan))


def images(levels):
    return np.array(levels, np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)


def test_the_surest_are_kept(brightness):
    kept, record = kept_of(planned(n=3), images([10, 20, 40, 30, 5, 5]))
    assert kept.tolist() == [1, 2, 3]
    assert brightness == ["merger"]
    assert (record["reader"], record["drawn"]) == ("choosing", 6)
    assert record["reader_revision"] == reading.ImageReader.load("choosing").revision


def test_each_target_by_its_own_answer(brightness):
    kept, _ = kept_of(planned({"ring": 2, "nice": 1, "merger": 1}), images([1, 2, 4, 3, 7, 9, 8]))
    assert kept.tolist() == [2, 3, 4, 5]
    assert brightness == ["ring", "merger"]


@pytest.mark.parametrize(("drawn", "finished"), [(8, 4), (7, 3), (6, 3), (1, 1)])
def test_after_an_interrupt_the_same_share_is_kept(brightness, drawn, finished):
    kept, record = kept_of(planned(), images(range(drawn)))
    assert kept.tolist() == list(range(drawn - finished, drawn))
    assert record["drawn"] == drawn


def test_all_are_kept_of_one_each(brightness):
    kept, record = kept_of(planned(candidates=1), images([3, 2, 1]))
    assert (kept.tolist(), brightness, record) == ([0, 1, 2], [], {})


def test_through_the_front_door():
    request = {**MERGERS, "generator": NoiseGenerator(32)}
    every, best = augment_table(TABLE, **(request | {"n": 9}))[3:], augment_table(TABLE, candidates=3, **request)
    record, best = best.meta["galaxysd_run"]["parameters"], best[3:]
    reader = reading.ImageReader.load("choosing")
    surely = reading.agreement(reader, np.stack(list(every["image"])), "merger")
    assert best["seed"].tolist() == every["seed"][np.sort(np.argsort(-surely)[:3])].tolist()
    again = generate(best["prompt", "seed"], generator=NoiseGenerator(32), progress=False)
    np.testing.assert_array_equal(np.stack(list(best["image"])), again["image"])
    assert (record["drawn"], record["planned"], record["finished"], record["reader"]) == (9, 3, 3, "choosing")
    assert record["targets"]["merger"]["candidates"] == 3


def test_what_was_drawn_is_not_lost_where_the_reader_fails(monkeypatch):
    def fails(reader, images, answer):
        raise MemoryError("too much")

    monkeypatch.setattr(reading, "agreement", fails)
    with pytest.raises(MemoryError, match="too much") as caught:
        augment_table(TABLE, candidates=2, generator=NoiseGenerator(32), **MERGERS)
    assert caught.value.drawn.shape == (6, 32, 32, 3)
    assert "6 of 6 rows were drawn before" in "".join(caught.value.__notes__)


def test_an_interrupt(interrupting):
    with pytest.warns(InterruptedWarning, match="interrupted: 8 of 20 rows were drawn and are kept"):
        found = augment_table(TABLE, candidates=2, **(MERGERS | {"n": 20}), generator=interrupting)
    assert len(found) == 3 + 8


@pytest.fixture
def interrupting():
    class Interrupted(NoiseGenerator):
        calls = 0

        def generate(self, conditions, *, batch_size=None):
            self.calls += 1
            if self.calls > 2:
                raise KeyboardInterrupt
            return super().generate(conditions, batch_size=batch_size)

    return Interrupted(32)


def test_two_where_weights_are_drawn_with_by_their_own_generator(tiny_weights):
    by_name = augment_table(TABLE, weights=tiny_weights, steps=2, **MERGERS)
    loaded = augment_table(TABLE, generator=load_generator(tiny_weights, steps=2), **MERGERS)
    other = augment_table(TABLE, generator=NoiseGenerator(32), **MERGERS)
    for found, drawn in ((by_name, 6), (loaded, 6), (other, None)):
        assert found.meta["galaxysd_run"]["parameters"].get("drawn") == drawn
    assert by_name["seed"][3:].tolist() == loaded["seed"][3:].tolist()
