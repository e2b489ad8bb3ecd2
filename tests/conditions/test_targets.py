"""What a target is, which rows have it, and what is said where none has."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from astro_galaxysd.conditions.selection import Selection, read_population
from astro_galaxysd.conditions.targets import find_answer, resolve_target
from astro_galaxysd.conditions.tree import ANSWERS, QUESTION_OF
from astro_galaxysd.errors import ConditionError, NoRealRowsError, PromptError, UnknownNameError


def galaxies(**columns):
    """Conditional votes: 0 and 1 are mergers, 2 is one below the cut, 3 is a disk, 4 an artifact."""
    table = Table({
        "id": ["a", "b", "c", "d", "e"],
        "t01_smooth": [0.9, 0.8, 0.9, 0.1, 0.1],
        "t01_features_or_disk": [0.1, 0.2, 0.1, 0.9, 0.1],
        "t01_star_or_artifact": [0.0, 0.0, 0.0, 0.0, 0.8],
        "t06_odd_yes": [0.9, 0.6, 0.3, 0.1, 0.9],
        "t06_odd_no": [0.1, 0.4, 0.7, 0.9, 0.1],
        "t08_merger": [0.8, 0.5, 0.9, 0.0, 0.9],
        "t08_ring": [0.2, 0.5, 0.1, 0.0, 0.1],
    })  # fmt: skip
    for name, values in columns.items():
        table[name] = values
    return table


def resolve(table, target, *, schema=None, **options):
    return resolve_target(read_population(table, schema=schema), target, **options)


@pytest.mark.parametrize("name", ["merger", "MERGER", " merger "])
def test_answers_select_well_sampled_rows(name):
    found = resolve(galaxies(), name)
    assert (found.kind, found.name, found.answer.key) == ("answer", "merger", "merger")
    assert found.mask.tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("name", ["dust_lane", "dust lane", "Dust Lane", "dust-lane"])
def test_answers_are_known_by_key_and_words(name):
    assert find_answer(name).key == "dust_lane"


def test_every_answer_is_found_by_its_key_and_words():
    assert all(find_answer(answer.key) is answer for answer in ANSWERS)
    assert all(find_answer(answer.words) is answer for answer in ANSWERS if answer.words)
    assert find_answer("") is None


def test_threshold_and_cut_are_parameters():
    assert resolve(galaxies(), "merger", selection=Selection(0.6)).mask.tolist() == [True] + 4 * [False]
    assert resolve(galaxies(), "merger", selection=Selection(cut=0.2)).mask.tolist() == [True, True, True, False, False]
    half = np.full((1, 37), 0.5)
    assert Selection(cut=0.9).sampled(half, QUESTION_OF["merger"]).tolist() == [True], "no cut is raised"


@pytest.mark.parametrize(("options", "message"), [
    ({"threshold": 0}, "threshold=0 is no vote fraction"), ({"threshold": 1.2}, "threshold=1.2"),
    ({"cut": 1}, "cut=1 is no vote fraction"), ({"threshold": float("nan")}, "threshold=nan"),
])  # fmt: skip
def test_bad_thresholds(options, message):
    with pytest.raises(ConditionError, match=message):
        Selection(**options)


def test_synthetic_rows_are_not_real():
    table = galaxies(synthetic=[False, True, False, False, False])
    assert resolve(table, "merger").mask.tolist() == [True] + 4 * [False]
    with pytest.raises(ConditionError, match="no real rows"):
        read_population(galaxies(synthetic=True))


def test_a_table_without_rows_is_an_error():
    with pytest.raises(ConditionError, match="the table has no rows"):
        read_population(galaxies()[:0])


def test_no_real_rows_suggests_composing():
    with pytest.raises(NoRealRowsError, match=r"'ring': none of 4 real rows.*highest anywhere is 0\.50.*compose=True"):
        resolve(galaxies(), "ring", selection=Selection(0.7))
    assert not resolve(galaxies(), "ring", selection=Selection(0.7), compose=True).mask.any()


def test_unknown_target_names_answers_columns_and_labels():
    table = galaxies(is_nice=[True] * 5, kind=["lenslike"] * 5)
    for wrong, near in [
        ("mergr", "merger"),
        ("is_nic", "is_nice"),
        ("lenslik", "lenslike"),
        ("dust lanes", "dust lane"),
    ]:
        with pytest.raises(UnknownNameError, match=f"unknown target '{wrong}': did you mean .*'{near}'"):
            resolve(table, wrong, label_column="kind")


@pytest.mark.parametrize("key", ["artifact", "not_edge_on"])
def test_answers_without_words_cannot_be_asked_for(key):
    with pytest.raises(ConditionError, match="no prompt words stand for this answer"):
        resolve(galaxies(), key)


def test_named_answer_without_votes_lists_the_ways_out():
    with pytest.raises(ConditionError, match="no vote columns"):
        resolve(Table({"flux": [1.0]}), "merger")


def test_boolean_columns_are_targets():
    table = galaxies(nice=MaskedColumn([True, True, False, True, True], mask=[0, 1, 0, 0, 0]))
    found = resolve(table, "nice")
    assert (found.kind, found.column, found.value, found.answer) == ("column", "nice", True, None)
    assert found.mask.tolist() == [True, False, False, True, False]


def test_a_boolean_column_called_like_an_answer_has_its_words():
    found = resolve(galaxies(ring=[False, False, False, True, False]), "ring")
    assert (found.kind, found.answer.key, found.mask.tolist()) == ("column", "ring", [False, False, False, True, False])
    assert resolve(Table({"ring": [True]}), "ring").answer.words == "ring galaxy"


def test_a_boolean_column_needs_words_votes_or_a_prompt():
    with pytest.raises(ConditionError, match="'nice': nothing says what its galaxies look like"):
        resolve(Table({"nice": [True]}), "nice")
    assert resolve(Table({"nice": [True]}), "nice", labels={"nice": "smooth"}).prompt == "smooth"
    with pytest.raises(NoRealRowsError, match="'nice': none of 1 real rows has it in column 'nice'"):
        resolve(Table({"nice": [False]}), "nice", labels={"nice": "smooth"})


@pytest.mark.parametrize("dtype", [str, bytes, object])
def test_labels_are_targets(dtype):
    table = Table({"kind": np.array(["S", "E", "S"], dtype=dtype)})
    found = resolve(table, "S", labels={"S": "spiral galaxy", "E": "smooth"}, label_column="kind")
    assert (found.kind, found.prompt, found.column) == ("label", "spiral galaxy", "kind")
    assert found.mask.tolist() == [True, False, True]


def test_numbers_are_labels_too():
    found = resolve(Table({"kind": [3, 5]}), 5, labels={5: "smooth"}, label_column="kind")
    assert (found.mask.tolist(), found.value) == ([False, True], 5)


def test_labels_with_votes_need_no_prompt():
    table = galaxies(kind=["x", "y", "x", "y", "x"])
    assert resolve(table, "x", label_column="kind").mask.tolist() == [True, False, True, False, False]


def test_labels_that_do_not_fit():
    table = Table({"kind": ["S", "E"]})
    with pytest.raises(ConditionError, match="label 'S' of column 'kind': nothing says what it looks like"):
        resolve(table, "S", label_column="kind")
    with pytest.raises(UnknownNameError, match="unknown label column 'knd'"):
        resolve(table, "S", label_column="knd")
    with pytest.raises(NoRealRowsError, match="'Irr': none of 2 real rows has it in column 'kind'"):
        resolve(table, "Irr", labels={"Irr": "irregular"}, label_column="kind")
    with pytest.raises(ConditionError, match=r"labels\['S'\] is ''; write a prompt"):
        resolve(table, "S", labels={"S": ""}, label_column="kind")


def test_free_prompts_need_no_real_row():
    found = resolve(galaxies(), "smooth, {merger:1.2}")
    assert (found.kind, found.prompt) == ("prompt", "smooth, {merger:1.2}")
    assert found.mask.tolist() == [True, True, False, False, False]
    assert found.matches.sum(axis=0).tolist() == [3, 3]
    assert not resolve(galaxies(), "blue galaxy").mask.any()
    assert resolve(Table({"flux": [1.0]}), "{ring galaxy}").kind == "prompt"


def test_free_prompts_are_checked():
    with pytest.raises(PromptError, match="'heavy' is not a positive number"):
        resolve(galaxies(), "smooth, {merger:heavy}")


def test_prompts_tell_the_class_where_there_are_no_votes():
    table = Table({"prompt": ["merger", "ring galaxy, {merger:0.5}", "{merger:1.2}, smooth"]})
    assert resolve(table, "merger").mask.tolist() == [True, False, True]


def test_labels_without_their_column():
    table = Table({"cls": ["E", "S", "E"], "prompt": ["smooth", "spiral galaxy", "smooth"]})
    with pytest.raises(ConditionError, match="labels= has 'E', but label_column= does not say which column.*cls"):
        resolve(table, "E", labels={"E": "smooth"})
