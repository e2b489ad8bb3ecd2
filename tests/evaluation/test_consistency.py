"""Consistency: what a reader finds against what was asked, with stub readers that see what the test painted."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd.conditions.composition import set_answers
from astro_galaxysd.conditions.prompts import prompts_from_fractions
from astro_galaxysd.conditions.table import VOTES
from astro_galaxysd.conditions.tree import ANSWERS, INDEX
from astro_galaxysd.errors import ConditionError
from astro_galaxysd.evaluation.consistency import ConsistencyEvaluator, fractions_asked, told_alike
from astro_galaxysd.evaluation.memory import Memory
from astro_galaxysd.records import ImageBatch
from astro_galaxysd.testing import check_evaluator, example_batch

KINDS = ("round", "cigar", "edge_on", "merger", "arms_2")
FRACTIONS = np.concatenate([set_answers(np.full((1, len(ANSWERS)), 0.0), {kind: 1.15}) for kind in KINDS])


class Painted:
    """Reads the kind that stands in the first pixel; `wrong` of the images are read as the next kind."""

    revision = "painted-1"

    def __init__(self, wrong=0.0):
        self.wrong, self.calls = wrong, 0

    def predict(self, images):
        self.calls += len(images)
        kinds = images[:, 0, 0, 0].astype(int)
        misread = images[:, 0, 0, 1] < 256 * self.wrong
        return np.nan_to_num(FRACTIONS[(kinds + misread) % len(KINDS)]).astype(np.float32)


def batch(asked, shown=None, *, prompts=None):
    """Images that show the kinds `shown`, asked for `asked` (by default the same)."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (len(asked), 8, 8, 3), dtype=np.uint8)
    images[:, 0, 0, 0] = asked if shown is None else shown
    conditions = Table({VOTES: FRACTIONS[asked]}) if prompts is None else Table({"prompt": prompts})
    return ImageBatch(images, conditions, np.arange(len(asked)).astype(str))


def scores(table):
    return {(row["metric"], row["group"]): row for row in table}


def judged(reader, images, **options):
    return scores(ConsistencyEvaluator(reader).evaluate(images, images, rng=0, **options))


ASKED = np.arange(200) % len(KINDS)


def test_what_shows_what_was_asked_is_consistent():
    found = judged(Painted(), batch(ASKED))
    assert found["consistency", "all"]["value"] == 1
    assert found["consistency", "merger"]["value"] == 1
    assert 0 < found["consistency", "all"]["error"] < 0.05
    assert 0 < found["consistency", "merger"]["error"] < 0.1  # all 40 agree, but 40 are not infinitely many
    assert found["consistency", "merger"]["n_synthetic"] == 40
    ways = {"round": ("smooth", "round"), "arms_2": ("features", "not_edge_on", "spiral", "arms_2")}
    for number, kind in enumerate(KINDS):
        if kind in ways:
            expected = np.prod([FRACTIONS[number, INDEX[key]] for key in ways[kind]])
            assert found["share_read", kind]["value"] == pytest.approx(expected, abs=1e-6)
            assert found["share_read", kind]["error"] == pytest.approx(0, abs=1e-6)  # the reader says the same of all
    assert found["vote_rmse", "all"]["value"] < 0.01
    assert found["calibration_error", "all"]["value"] < 0.01
    assert all(row["note"] == "" for row in found.values())


def test_shuffled_requests_bring_it_to_chance():
    images = batch(np.random.default_rng(1).permutation(ASKED), ASKED)
    found = judged(Painted(), images)
    value, chance = found["consistency", "all"], found["chance", "all"]
    assert value["value"] == pytest.approx(chance["value"], abs=3 * np.hypot(value["error"], chance["error"]))
    right = judged(Painted(), batch(ASKED))
    assert right["consistency", "all"]["value"] > value["value"] + 10 * value["error"]
    assert right["share_read", "all"]["value"] > found["share_read", "all"]["value"] + 0.3
    for metric in ("vote_rmse", "calibration_error"):
        assert found[metric, "all"]["value"] > 5 * right[metric, "all"]["value"]
    # the bystander: chance does not look at who was asked for what
    assert right["chance", "all"]["value"] == chance["value"]


def test_ignoring_the_prompt_brings_it_to_chance():
    found = judged(Painted(), batch(ASKED, np.zeros_like(ASKED)))
    assert found["consistency", "round"]["value"] == 1
    assert found["consistency", "merger"]["value"] == 0
    assert found["consistency", "all"]["value"] == pytest.approx(found["chance", "all"]["value"], abs=0.1)


def test_a_reader_that_errs_lowers_it_by_its_errors():
    found = judged(Painted(wrong=0.3), batch(ASKED))
    row = found["consistency", "cigar"]
    assert row["value"] == pytest.approx(0.7, abs=3 * row["error"])
    assert row["error"] == pytest.approx(np.sqrt(0.7 * 0.3 / 40), rel=0.3)


def test_prompts_alone_are_enough():
    prompts = ["sdss, completely round galaxy", "sdss, merger"] * 10
    found = judged(Painted(), batch(np.array([0, 3] * 10), prompts=prompts))
    assert found["consistency", "round"]["value"] == 1
    assert found["consistency", "merger"]["value"] == 1
    assert ("consistency", "cigar") not in found


def test_one_prompt_has_consistency_but_no_chance_and_no_calibration():
    found = judged(Painted(), batch(np.zeros(20, dtype=int), prompts=["sdss, {completely round galaxy:1.15}"] * 20))
    assert found["consistency", "all"]["value"] == 1
    assert np.isnan(found["chance", "all"]["value"])
    assert "all images are asked for the same" in found["chance", "all"]["note"]
    assert np.isnan(found["calibration_error", "all"]["value"])
    assert "one prompt?" in found["calibration_error", "all"]["note"]


def test_too_few_images_ask():
    found = judged(Painted(), batch(np.array([0] * 4 + [1] * 5)))
    assert np.isnan(found["consistency", "cigar"]["value"])
    assert found["consistency", "cigar"]["note"] == "5 images asked for it; at least 8 are needed"
    few = judged(Painted(), batch(np.array([0, 1, 3])))
    assert "asked for by 8 images or more" in few["consistency", "all"]["note"]
    assert "3 images have fractions" in few["vote_rmse", "all"]["note"]


def test_nothing_asked_loads_no_reader():
    images = ImageBatch(np.zeros((9, 8, 8, 3), np.uint8), Table({"number": np.arange(9)}), np.arange(9).astype(str))
    found = scores(ConsistencyEvaluator().evaluate(images, images))
    assert all(np.isnan(row["value"]) and "nothing is known" in row["note"] for row in found.values())


def test_sets_told_alike_are_means_over_the_same_answers():
    drawn, held = batch(np.array([0] * 20)), batch(np.array([0] * 10 + [3] * 10))
    alone = judged(Painted(wrong=0.5), held)["consistency", "all"]["value"]
    drawn, held = told_alike(drawn, held)
    row = judged(Painted(wrong=0.5), held)
    keys = [k for m, k in judged(Painted(wrong=0.5), drawn) if m == "consistency" and k != "all"]
    expected = [row["consistency", key]["value"] for key in keys]
    assert row["consistency", "all"]["value"] == pytest.approx(np.mean(expected))
    assert row["consistency", "all"]["value"] != alone


class Careful(Painted):
    """Reads well what is near 0, and a fifth too little where there is something to be seen."""

    def predict(self, images):
        read = super().predict(images)
        return np.where(read > 0.2, 0.8 * read, read)


def test_prompts_and_votes_are_compared_by_the_same_fractions():
    votes, told = batch(ASKED), batch(ASKED, prompts=prompts_from_fractions(FRACTIONS[ASKED]))
    drawn, held = told_alike(told, votes)
    np.testing.assert_array_equal(np.isfinite(fractions_asked(held)), np.isfinite(fractions_asked(drawn)))
    one, two = judged(Careful(), drawn), judged(Careful(), held)
    for metric in ("vote_rmse", "consistency", "calibration_error"):
        assert one[metric, "all"]["value"] == pytest.approx(two[metric, "all"]["value"], abs=1e-3), metric
    # the fractions near 0, which no prompt names, would make the ceiling look too good
    assert judged(Careful(), votes)["vote_rmse", "all"]["value"] < 0.7 * two["vote_rmse", "all"]["value"]
    drawn, held = told_alike(votes, batch(ASKED))
    assert judged(Careful(), held)["vote_rmse", "all"]["value"] == judged(Careful(), votes)["vote_rmse", "all"]["value"]


def test_tags_without_a_weight_ask_for_no_fraction():
    plain = prompts_from_fractions(FRACTIONS[ASKED], weighted=False)
    for side in told_alike(batch(ASKED, prompts=plain), batch(ASKED)):
        found = judged(Painted(), side)
        assert found["consistency", "all"]["value"] == 1
        for metric in ("vote_rmse", "calibration_error"):
            assert np.isnan(found[metric, "all"]["value"])
            assert "a tag without a weight asks for none" in found[metric, "all"]["note"]


def test_what_the_reader_saw_is_remembered():
    reader, memory = Painted(), Memory(object())
    first = judged(reader, batch(ASKED), embedder=memory)
    assert (
        judged(reader, batch(ASKED), embedder=memory)["vote_rmse", "all"]["value"] == first["vote_rmse", "all"]["value"]
    )
    assert reader.calls == len(ASKED)


def test_too_few_resamples():
    with pytest.raises(ConditionError, match="n_bootstrap is 1; a standard deviation needs at least 2 resamples"):
        ConsistencyEvaluator(n_bootstrap=1).evaluate(example_batch(2), example_batch(2))


def test_keeps_the_promises_of_an_evaluator():
    class Flat(Painted):
        def predict(self, images):
            return np.full((len(images), len(ANSWERS)), 0.5)

    check_evaluator(ConsistencyEvaluator(Flat()))
    check_evaluator(ConsistencyEvaluator(Painted()), real=example_batch(), synthetic=batch(ASKED))
