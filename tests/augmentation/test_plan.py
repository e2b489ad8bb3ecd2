"""Plans: which rows, from which base, with which prompts, votes, ids and seeds."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from astro_galaxysd.augmentation.plan import PLAN, plan_augmentation
from astro_galaxysd.conditions.prompts import parse_prompt, prompt_weights
from astro_galaxysd.conditions.tree import INDEX, QUESTION_OF
from astro_galaxysd.errors import ConditionError, NoRealRowsError, PromptError, UnknownNameError


def galaxies(number=40):
    """Conditional votes of smooth galaxies; every fourth is a merger."""
    merger = np.arange(number) % 4 == 0
    smooth, odd = np.linspace(0.6, 0.9, number), np.where(merger, 0.8, 0.1)
    values = {
        "id": [f"g{i}" for i in range(number)],
        "t01_smooth": smooth, "t01_features_or_disk": 1 - smooth, "t01_star_or_artifact": 0.0,
        "t06_odd_yes": odd, "t06_odd_no": 1 - odd,
        "t07_round": 0.3, "t07_in_between": 0.7, "t07_cigar": 0.0,
        "t08_merger": np.where(merger, 0.9, np.nan), "t08_ring": np.where(merger, 0.1, np.nan),
        "t08_dust_lane": np.where(merger, 0.0, np.nan),
    }  # fmt: skip
    return Table({name: np.broadcast_to(column, number).copy() for name, column in values.items()})


def plan_for(table=None, **options):
    options.setdefault("rng", 0)
    return plan_augmentation(galaxies() if table is None else table, **options)


def test_columns_and_dtypes():
    plan = plan_for(target="merger", n=3)
    assert plan.colnames == ["row_id", "target", "prompt", "prompt_weights", "seed", "base_row", "votes"]
    assert plan["seed"].dtype == plan["base_row"].dtype == np.int64
    assert plan["votes"].shape == (3, 37)
    assert (plan["seed"] >= 0).all()
    for row in plan:
        assert json.loads(row["prompt_weights"]) == prompt_weights(row["prompt"])
        assert row["target"] == "merger"


def test_meta_can_be_written_as_json():
    meta = plan_for(target="merger", n=3, weights="mini", steps=7).meta[PLAN]
    assert json.loads(json.dumps(meta)) == meta
    assert (meta["run_seed"], meta["conditions"], meta["steps"]) == (0, "conditional", 7)
    assert meta["targets"]["merger"]["n_real"] == 10


def test_new_rows_have_the_votes_of_real_rows_of_the_class():
    table = galaxies()
    plan = plan_for(table, target="merger", n=25)
    assert set(plan["base_row"] % 4) == {0}
    np.testing.assert_allclose(plan["votes"][:, INDEX["smooth"]], table["t01_smooth"][plan["base_row"]])
    assert all("{merger:1.15}" in prompt for prompt in plan["prompt"])


def test_every_real_row_serves_before_one_serves_again():
    plan = plan_for(target="merger", n=25)
    assert sorted(plan["base_row"][:10]) == sorted(plan["base_row"][10:20]) == list(range(0, 40, 4))
    assert max(Counter(plan["base_row"].tolist()).values()) == 3


def test_rows_follow_from_rng_alone_and_stay_when_more_are_planned():
    short, long = plan_for(target="merger", n=7), plan_for(target="merger", n=30)
    for name in ("row_id", "seed", "base_row", "prompt"):
        assert short[name].tolist() == long[name][:7].tolist()
    assert plan_for(target="merger", n=7, rng=1)["seed"].tolist() != short["seed"].tolist()
    assert plan_for(target="Merger ", n=7)["seed"].tolist() == short["seed"].tolist()
    generators = [np.random.default_rng(5) for _ in range(2)]
    one, two = (plan_for(target="merger", n=2, rng=rng)["seed"].tolist() for rng in generators)
    assert one == two


@pytest.mark.parametrize(("ratio", "n"), [(0.5, 5), (0.25, 3), (0.01, 1), (1.04, 10), (4, 40)])
def test_ratio_is_to_the_real_rows_halves_up_and_at_least_one(ratio, n):
    assert len(plan_for(target="merger", ratio=ratio)) == n


def test_synthetic_rows_never_serve():
    table = galaxies()
    table["synthetic"] = np.arange(40) < 20
    plan = plan_for(table, target="merger", ratio=1)
    assert len(plan) == 5
    assert plan["base_row"].min() >= 20


def test_new_ids_are_unique_and_in_no_way_old_ones():
    first = plan_for(target="merger", n=3)
    table = galaxies()
    table["galaxysd_id"] = MaskedColumn([first["row_id"][1]] + [""] * 39, mask=[False] + [True] * 39)
    second = plan_for(table, target="merger", n=3)
    assert first["row_id"][1] not in second["row_id"]
    assert len(set(second["row_id"])) == 3
    assert second["seed"][0] == first["seed"][0], "an id that was free before keeps its seed"


def test_several_targets():
    table = galaxies()
    table["nice"] = np.arange(40) == 7
    plan = plan_for(table, target={"merger": 4, "nice": 2, "smooth, {ring galaxy:1.1}": 3})
    assert Counter(plan["target"].tolist()) == {"merger": 4, "nice": 2, "smooth, {ring galaxy:1.1}": 3}
    assert len(set(plan["row_id"])) == len(set(plan["seed"])) == 9
    assert plan["base_row"][4:6].tolist() == [7, 7]
    assert plan["base_row"][:4].tolist() == plan_for(target="merger", n=4)["base_row"].tolist()


def test_compose_puts_the_answer_into_typical_galaxies():
    plan = plan_for(target="dust_lane", n=12, compose=True)
    votes = plan["votes"]
    assert (plan["base_row"] % 4 != 0).all(), "mergers are not typical"
    assert (votes[:, INDEX["dust_lane"]] == 1).all()
    np.testing.assert_allclose(votes[:, INDEX["odd"]], 0.52)
    np.testing.assert_allclose(votes[:, [INDEX["odd"], INDEX["not_odd"]]].sum(axis=1), 1)
    assert all("{dust lane:1.25}" in prompt for prompt in plan["prompt"])
    assert plan.meta[PLAN]["targets"]["dust_lane"]["composed"] is True
    heavier = plan_for(target="dust_lane", n=1, compose=True, compose_weight=1.3)
    assert "{dust lane:1.3}" in heavier["prompt"][0]


def test_free_prompt_stands_in_every_prompt_and_in_the_votes():
    plan = plan_for(target="in-between round galaxy, {dust lane:1.2}", n=5)
    for row in plan:
        assert row["prompt"].startswith("sdss, in-between round galaxy, {dust lane:1.2}, {smooth:")
        assert "completely round" not in row["prompt"], "the question is settled by what was asked"
        assert row["votes"][INDEX["dust_lane"]] == pytest.approx(0.95)
        assert row["votes"][INDEX["in_between"]] == 0.75
        assert row["votes"][INDEX["odd"]] > QUESTION_OF["dust_lane"].cut
        parse_prompt(row["prompt"])


def test_free_prompt_without_votes_is_used_as_it_is():
    plan = plan_for(Table({"flux": [1.0]}), target="edge-on galaxy, {dust lane:1.3}", n=2)
    assert plan["prompt"].tolist() == ["sdss, edge-on galaxy, {dust lane:1.3}"] * 2
    assert plan["base_row"].tolist() == [-1, -1]
    assert "votes" not in plan.colnames
    assert len(set(plan["seed"])) == 2


def test_boolean_column_of_an_answer_is_believed_more_than_the_votes():
    table = galaxies()
    table["dust_lane"] = np.arange(40) == 4
    plan = plan_for(table, target="dust_lane", n=1)
    assert plan["base_row"] == [4]
    assert "dust lane" in plan["prompt"][0].split(", ")
    assert plan["votes"][0, INDEX["dust_lane"]] == 0.75
    table["merger"] = np.arange(40) == 4
    assert plan_for(table, target="merger", n=1)["votes"][0, INDEX["merger"]] == 0.9


def test_loosely_selected_rows_have_the_tag_with_their_own_weight():
    table = galaxies()
    table["t06_odd_yes"][1], table["t06_odd_no"][1], table["t08_dust_lane"][1] = 0.3, 0.7, 0.4
    plan = plan_for(table, target="dust_lane", n=1, threshold=0.3, cut=0.2)
    assert plan["base_row"] == [1]
    assert "{dust lane:0.65}" in plan["prompt"][0]
    assert plan["votes"][0, INDEX["odd"]] == pytest.approx(0.3)


def test_labels_with_a_prompt_and_votes():
    table = galaxies()
    table["kind"] = np.where(np.arange(40) < 5, "M", "E")
    plan = plan_for(table, target="M", n=5, labels={"M": "merger"}, label_column="kind")
    assert set(plan["base_row"]) == set(range(5))
    assert all(prompt.startswith("sdss, merger, ") for prompt in plan["prompt"])
    assert (plan["votes"][:, INDEX["merger"]] == 0.75).all()
    own = plan_for(table, target="M", n=5, label_column="kind")
    assert own["votes"][own["base_row"] == 4, INDEX["merger"]] == 0.9


def test_prompts_of_real_rows_are_taken_where_there_are_no_votes():
    table = Table({"prompt": ["merger, {smooth:1.1}", "ring galaxy"]})
    plan = plan_for(table, target="merger", n=2)
    assert plan["prompt"].tolist() == ["sdss, merger, {smooth:1.1}"] * 2
    assert plan["base_row"].tolist() == [0, 0]
    composed = plan_for(table, target="dust_lane", n=2, compose=True)
    assert sorted(composed["prompt"]) == ["sdss, merger, {smooth:1.1}, {dust lane:1.25}",
                                          "sdss, ring galaxy, {dust lane:1.25}"]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "merger"}, "neither n nor ratio"),
        ({"target": "merger", "n": 3, "ratio": 0.5}, "both n=3 and ratio=0.5"),
        ({"target": "merger", "n": 0}, "n: 0 rows asked for; use a whole number of at least 1"),
        ({"target": "merger", "n": -3}, "n: -3 rows"),
        ({"target": "merger", "n": 2.5}, "n: 2.5 rows"),
        ({"target": "merger", "n": True}, "n: True rows"),
        ({"target": "merger", "ratio": 0}, "ratio=0 is not a positive number"),
        ({"target": "merger", "ratio": -1.0}, "ratio=-1.0 is not"),
        ({"target": "merger", "ratio": float("nan")}, "ratio=nan is not"),
        ({"target": "merger", "ratio": "many"}, "ratio='many' is not"),
        ({"target": {"merger": 3}, "n": 3}, "mapping of targets to counts was given together with n=3"),
        ({"target": {}}, "mapping of targets to counts is empty"),
        ({"target": {"merger": 0}}, "target 'merger': 0 rows"),
        ({"target": {"dust lane": 1, "dust_lane": 1}, "compose": True}, "'dust_lane' is 'dust_lane', which was named"),
        ({"target": "merger", "n": 1, "compose_weight": 0}, "compose_weight=0 is not"),
        ({"target": "merger", "n": 1, "rng": -1}, "rng=-1 is negative"),
        ({"target": "nice", "n": 1, "compose": True}, "'nice' can't be composed"),
    ],
)
def test_bad_requests(options, message):
    table = galaxies()
    table["nice"] = np.arange(40) == 7
    with pytest.raises(ConditionError, match=message):
        plan_for(table, **options)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"target": "mergr", "n": 1}, UnknownNameError),
        ({"target": "ring", "n": 1}, NoRealRowsError),
        ({"target": "smooth, {ring galaxy:1.2}", "ratio": 1}, NoRealRowsError),
        ({"target": "{ring", "n": 1}, PromptError),
        ({"target": "merger", "n": 1, "schema": "kagle"}, UnknownNameError),
        ({"target": "merger", "n": 1, "id_column": "objid"}, UnknownNameError),
    ],
)
def test_unknown_and_missing(options, error):
    with pytest.raises(error):
        plan_for(**options)


def test_a_class_whose_rows_have_no_votes_is_an_error():
    table = galaxies()
    table["nice"] = np.arange(40) == 7
    for name in table.colnames[1:-1]:
        table[name][7] = np.nan
    with pytest.raises(ConditionError, match="'nice': no real row with votes or a prompt"):
        plan_for(table, target="nice", n=1)


def test_duplicate_ids_are_an_error():
    table = galaxies()
    table["id"][1] = "g0"
    with pytest.raises(ConditionError, match=r"1 id\(s\) occur more than once \('g0'\)"):
        plan_for(table, target="merger", n=1)


def test_columns_that_provenance_needs_are_checked_before_any_work():
    table = galaxies()
    table["weights"] = 1.0
    with pytest.raises(ConditionError, match="column 'weights' holds float64.*rename the column"):
        plan_for(table, target="merger", n=1)


@pytest.mark.parametrize(
    ("target", "n_real"), [("ring", 33), ("irregular", 41), ("merger", 114), ("dust_lane", 9), ("arms_4", 1)]
)
def test_real_rows_of_rare_classes(gz2, target, n_real):
    """Numbers counted by others with the same cuts."""
    parquet = pytest.importorskip("pyarrow.parquet")
    names = parquet.read_schema(gz2 / "test.parquet").names
    kaggle = [name for name in names if name == "id" or name.startswith("Class")]
    table = Table.from_pandas(parquet.read_table(gz2 / "test.parquet", columns=kaggle).to_pandas())
    assert len(plan_for(table, target=target, ratio=1)) == n_real
