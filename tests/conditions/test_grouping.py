"""Groups of synthetic rows, and the real rows that answer them."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd.conditions.composition import set_answers
from astro_galaxysd.conditions.grouping import EVERYTHING, UngroupedWarning, group_rows, leading_answers
from astro_galaxysd.conditions.requests import read_requests
from astro_galaxysd.conditions.table import VOTES
from astro_galaxysd.conditions.tree import ANSWERS
from astro_galaxysd.errors import ConditionError, UnknownNameError


def voted(*rows):
    empty = np.full((1, len(ANSWERS)), np.nan)
    return Table({VOTES: [set_answers(empty, dict.fromkeys(keys, 1.15))[0] for keys in rows]})


REAL = voted(("spiral",), ("spiral", "merger"), ("round",), ("cigar",), ("edge_on",))


def group(how, synthetic, real=REAL):
    return group_rows(how, read_requests(synthetic), read_requests(real, drawn=False), synthetic_table=synthetic,
                      real_table=real)  # fmt: skip


def test_leading_answer_is_the_most_special():
    assert leading_answers(read_requests(REAL)).tolist() == ["spiral", "merger", "round", "cigar", "edge_on"]
    assert leading_answers(read_requests(Table({"prompt": ["sdss"]}))).tolist() == ["undecided"]


def test_prompts_that_differ_in_weights_and_order_are_one_group():
    prompts = ["sdss, spiral galaxy, merger", "sdss, merger, {spiral galaxy:1.2}", "sdss, completely round galaxy"]
    found = group("prompt", Table({"prompt": prompts}))
    assert found.names.tolist() == ["prompt: spiral galaxy, merger"] * 2 + ["prompt: completely round galaxy"]
    assert found.answered["prompt: spiral galaxy, merger"].tolist() == [False, True, False, False, False]
    assert found.answered["prompt: completely round galaxy"].tolist() == [False, False, True, False, False]


def test_a_mention_is_not_needed_in_real_rows():
    found = group("prompt", Table({"prompt": ["sdss, spiral galaxy, {merger:0.5}"]}))
    assert found.answered["prompt: spiral galaxy, merger"].tolist() == [True, True, False, False, False]


def test_unknown_words_are_answered_by_nobody_and_said_so():
    found = group("prompt", Table({"prompt": ["sdss, a green bean", "sdss"]}))
    assert not found.answered["prompt: a green bean"].any()
    assert "names no answer" in found.notes["prompt: a green bean"]
    assert found.answered["prompt: (none)"].all()


def test_auto_takes_prompts_where_they_are_few_and_repeated():
    few = Table({"prompt": ["sdss, spiral galaxy"] * 8 + ["sdss, cigar shaped galaxy"] * 8})
    many = Table({"prompt": [f"sdss, spiral galaxy, number {row}" for row in range(16)]})
    assert set(group("auto", few).answered) == {"prompt: spiral galaxy", "prompt: cigar shaped galaxy"}
    assert set(group("auto", many).answered) == {"kind: spiral"}


def test_no_groups_and_no_conditions_are_one_group():
    plain = Table({"number": [1, 2]})
    for found in (group(None, REAL), group("auto", plain, plain), group(None, REAL, plain)):
        assert set(found.names) == {EVERYTHING}
        assert found.answered[EVERYTHING].all()
        assert found.notes == {}


@pytest.mark.parametrize(
    ("synthetic", "real", "says"),
    [
        (REAL, Table({"number": [1, 2]}), "the synthetic rows have votes or prompts, the real rows have neither"),
        (Table({"number": [1, 2]}), REAL, "the real rows have votes or prompts, the synthetic rows have neither"),
    ],
)
def test_where_one_side_says_nothing_it_is_said(synthetic, real, says):
    with pytest.warns(UngroupedWarning, match=f"not grouped: {says}, so that sets of different mixtures"):
        found = group("auto", synthetic, real)
    assert set(found.names) == {EVERYTHING}
    assert says in found.notes[EVERYTHING]


def test_values_of_a_column_are_compared_as_they_are_meant():
    synthetic, real = Table({"field": ["1.0", " 2 ", "-3.", "1.5"]}), Table({"field": [1, 2, -3, 4]})
    found = group("field", synthetic, real)
    assert found.names.tolist() == ["field: 1", "field: 2", "field: -3", "field: 1.5"]
    assert found.answered["field: -3"].tolist() == [False, False, True, False]
    assert group("field", Table({"field": [1.0, 2.0]}), real).answered["field: 2"].tolist() == [
        False,
        True,
        False,
        False,
    ]


def test_a_column_of_both_tables():
    synthetic, real = Table({"label": ["a", "b", "a"]}), Table({"label": ["a", "", "c"]})
    found = group("label", synthetic, real)
    assert found.names.tolist() == ["label: a", "label: b", "label: a"]
    assert found.answered["label: a"].tolist() == [True, False, False]
    assert not found.answered["label: b"].any()


def test_a_group_that_is_no_column_names_those_that_are():
    with pytest.raises(UnknownNameError, match="did you mean 'label'"):
        group("labels", Table({"label": ["a"]}), Table({"label": ["a"]}))


def test_too_many_groups_are_refused():
    with pytest.raises(ConditionError, match="300 groups; at most 256 are told apart: group by 'answer'"):
        group("number", Table({"number": np.arange(300)}), Table({"number": np.arange(300)}))
