"""What rows ask for: votes and prompts that agree, that contradict, and that are missing."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from astro_galaxysd.conditions.composition import set_answers
from astro_galaxysd.conditions.prompts import prompts_from_fractions
from astro_galaxysd.conditions.requests import (
    answers_asked,
    known_fractions,
    named_fractions,
    read_requests,
    told_by_prompts,
    votes_of_prompt,
)
from astro_galaxysd.conditions.table import VOTES
from astro_galaxysd.conditions.tree import ANSWERS, INDEX
from astro_galaxysd.errors import ConditionError, PromptError


def votes(*keys, weight=1.15):
    return set_answers(np.full((1, len(ANSWERS)), np.nan), dict.fromkeys(keys, weight))[0]


def keys_of(row):
    return {answer.key for answer, asked in zip(ANSWERS, row, strict=True) if asked}


def test_prompt_tags_become_fractions_of_their_weights():
    found = votes_of_prompt("sdss, in-between round galaxy, {dust lane:1.3}")
    assert found[INDEX["in_between"]] == 0.75
    assert found[INDEX["dust_lane"]] == 1.0
    assert np.isfinite(found).sum() == 2


def test_rows_without_votes_ask_for_their_tags():
    requests = read_requests(Table({"prompt": ["sdss, ring galaxy", "sdss, {spiral galaxy:0.6}"]}))
    assert requests.source == "prompt column"
    asked = answers_asked(requests)
    assert keys_of(asked[0]) == {"ring"}  # although task 6 was not asked
    assert keys_of(asked[1]) == set()  # 0.35 is below 0.5
    assert known_fractions(requests)[1, INDEX["spiral"]]


def test_votes_serve_where_the_prompt_says_the_same():
    both = np.stack([votes("spiral", "arms_2"), votes("merger")])
    requests = read_requests(Table({VOTES: both, "prompt": prompts_from_fractions(both)}))
    np.testing.assert_array_equal(requests.votes, both)
    assert requests.source == VOTES


def test_a_prompt_of_ones_own_comes_before_the_catalogue_votes():
    table = Table(
        {VOTES: [votes("spiral"), votes("spiral")], "prompt": ["sdss, merger", "sdss, spiral galaxy, merger"]}
    )
    requests = read_requests(table)
    assert keys_of(answers_asked(requests)[0]) == {"merger"}
    assert keys_of(answers_asked(requests)[1]) == {"spiral", "merger"}
    shown = read_requests(table, drawn=False)
    np.testing.assert_array_equal(shown.votes, table[VOTES])
    assert shown.prompts[0] == prompts_from_fractions(table[VOTES][:1])[0]


def test_what_weighted_prompts_name_of_votes_and_of_themselves():
    row = votes("spiral", weight=1.1)
    row[INDEX["arms_2"]], row[INDEX["arms_3"]], row[INDEX["smooth"]] = 0.6, 0.1, 0.0
    by_votes = read_requests(Table({VOTES: row[None]}))
    by_prompt = read_requests(Table({"prompt": by_votes.prompts}))
    assert told_by_prompts(by_votes).tolist() == [False]
    assert told_by_prompts(by_prompt).tolist() == [True]
    named = keys_of(named_fractions(by_votes)[0])
    assert {"spiral", "arms_2"} <= named
    assert not named & {"arms_3", "smooth"}
    assert keys_of(named_fractions(by_prompt)[0]) == named
    mixed = read_requests(Table({"prompt": ["sdss, edge-on galaxy, {dust lane:1.3}", "sdss"]}))
    assert [keys_of(asked) for asked in named_fractions(mixed)] == [{"dust_lane"}, set()]
    assert told_by_prompts(mixed).tolist() == [True, False]


def test_reading_again_what_was_read_changes_nothing():
    table = Table({VOTES: [votes("spiral"), votes("cigar")], "prompt": ["sdss, {merger:1.3}, smooth", ""]})
    once = read_requests(table)
    again = read_requests(Table({VOTES: once.votes, "prompt": once.prompts}))
    assert again.prompts == once.prompts
    np.testing.assert_array_equal(again.votes, once.votes)
    np.testing.assert_array_equal(answers_asked(again), answers_asked(once))


def test_real_rows_of_an_augmented_table_have_masked_prompts():
    prompts = MaskedColumn(["", "sdss, merger"], mask=[True, False])
    requests = read_requests(Table({VOTES: [votes("spiral"), votes("merger")], "prompt": prompts}))
    assert "spiral galaxy" in requests.prompts[0]
    assert keys_of(answers_asked(requests)[0]) >= {"spiral"}


def test_a_dialect_is_read_and_named(gz2_like):
    requests = read_requests(gz2_like, drawn=False)
    assert requests.source == "conditional"
    assert keys_of(answers_asked(requests)[0]) == {"smooth", "round"}


@pytest.fixture
def gz2_like():
    return Table({"t01_smooth": [0.9], "t07_round": [0.9], "t06_odd_yes": [0.1]})


def test_answers_without_words_and_of_badly_sampled_questions_are_not_asked_for():
    row = np.full((1, len(ANSWERS)), np.nan)
    row[0, [INDEX["smooth"], INDEX["features"], INDEX["edge_on"], INDEX["not_odd"]]] = 0.7, 0.3, 0.9, 0.95
    requests = read_requests(Table({VOTES: row}))
    assert keys_of(answers_asked(requests)[0]) == {"smooth"}
    assert not known_fractions(requests)[0, INDEX["edge_on"]]
    assert known_fractions(requests)[0, INDEX["not_odd"]]


def test_a_table_that_says_nothing_asks_for_nothing():
    requests = read_requests(Table({"id": [1, 2]}))
    assert not requests.any
    assert len(requests) == 2
    assert not answers_asked(requests).any()
    assert requests[np.array([1])].prompts == [""]


def test_errors_name_the_row_and_the_dialect():
    with pytest.raises(PromptError, match="row 1"):
        read_requests(Table({"prompt": ["sdss", "{ring"]}))
    with pytest.raises(ConditionError, match="looked for kaggle"):
        read_requests(Table({"prompt": ["sdss"]}), schema="kaggle")
