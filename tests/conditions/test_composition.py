"""Votes for what nobody voted on: sums, cuts, base populations, tags in prompts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astro_galaxysd.conditions import composition
from astro_galaxysd.conditions.prompts import prompts_from_fractions, well_sampled
from astro_galaxysd.conditions.tree import ANSWER_BY_KEY, ANSWERS, INDEX, QUESTION_OF, QUESTIONS

KEYS = [answer.key for answer in ANSWERS]


def votes(rows=1, **fractions):
    table = np.full((rows, 37), np.nan)
    for key, value in fractions.items():
        table[:, INDEX[key]] = value
    return table


def block(table, key):
    return table[:, [INDEX[answer.key] for answer in QUESTION_OF[key].answers]]


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(KEYS), st.floats(0.25, 2), st.integers(0, 2**32))
def test_a_set_answer_has_its_fraction_and_its_question_adds_up(key, weight, seed):
    rng = np.random.default_rng(seed)
    base = rng.dirichlet(np.ones(37), size=3)
    base[rng.random(base.shape) < 0.3] = np.nan
    before = base.copy()
    result = composition.set_answers(base, {key: weight})
    np.testing.assert_array_equal(base, before)
    np.testing.assert_allclose(result[:, INDEX[key]], min(weight - 0.25, 1))
    np.testing.assert_allclose(block(result, key).sum(axis=1), 1)
    assert well_sampled(result, QUESTION_OF[key]).all()
    assert np.nanmin(result) >= 0
    assert np.nanmax(result) <= 1 + 1e-12


def test_others_keep_their_proportion_and_ancestors_are_lifted_only_as_far_as_needed():
    base = votes(ring=0.6, merger=0.2, disturbed=0.2, odd=0.1, not_odd=0.9, smooth=0.8, features=0.2)
    result = composition.set_answers(base, {"dust_lane": 0.75})
    assert result[0, INDEX["dust_lane"]] == 0.5
    assert result[0, [INDEX["ring"], INDEX["merger"]]] == pytest.approx([0.3, 0.1])
    assert result[0, [INDEX["odd"], INDEX["not_odd"]]] == pytest.approx([0.52, 0.48])
    assert result[0, INDEX["smooth"]] == 0.8
    high = composition.set_answers(votes(odd=0.9, not_odd=0.1), {"dust_lane": 1.0})
    assert high[0, INDEX["odd"]] == 0.9


def test_answers_of_one_question_share_it():
    result = composition.set_answers(votes(), {"ring": 1.0, "merger": 1.0})
    assert result[0, [INDEX["ring"], INDEX["merger"]]] == pytest.approx([0.5, 0.5])


def test_what_was_asked_outright_wins_over_lifting():
    result = composition.set_answers(votes(), {"edge_on": 1.0, "spiral": 1.0})
    assert result[0, INDEX["edge_on"]] == 0.75


def test_questions_below_an_answer_of_zero_are_not_asked():
    result = composition.set_answers(votes(edge_on=0.1, not_edge_on=0.9, spiral=0.7, arms_2=1.0), {"edge_on": 1.25})
    assert np.isnan(result[0, [INDEX["spiral"], INDEX["arms_2"]]]).all()


def test_composed_votes_say_in_the_prompt_what_was_asked():
    base = votes(smooth=0.9, features=0.1, odd=0.0, not_odd=1.0)
    assert "{dust lane:1.25}" in prompts_from_fractions(composition.set_answers(base, {"dust_lane": 1.25}))[0]


@pytest.mark.parametrize(
    ("prompt", "tags"),
    [
        ("in-between round galaxy, {dust lane:1.3}", {"in_between": 1.0, "dust_lane": 1.3}),
        ("Spiral Galaxy with 4 spiral arms", {"spiral": 1.0, "arms_4": 1.0}),
        ("more than 4 spiral arms", {"arms_more_than_4": 1.0}),
        ("{merger}, {{merger}}", {"merger": 1.21}),
        ("mergers, dust lanes", {}),
        ("", {}),
    ],
)
def test_known_tags(prompt, tags):
    assert composition.known_tags(prompt) == tags


def test_every_word_of_the_tree_is_known():
    for answer in ANSWERS:
        if answer.words:
            assert composition.known_tags(f"sdss, {answer.words}") == {answer.key: 1.0}


def test_prompts_are_headed_once():
    assert composition.headed("merger") == composition.headed("sdss, merger") == "sdss, merger"
    assert composition.headed("SDSS, merger") == "SDSS, merger"


def test_typical_rows_are_measured_and_not_odd():
    table = votes(5, smooth=0.8, features=0.2, odd=0.1)
    table[1, INDEX["odd"]] = 0.5
    table[2, INDEX["smooth"]] = np.nan
    eligible = np.array([True, True, True, False, True])
    question = QUESTION_OF["merger"]
    assert composition.typical_rows(table, eligible, question).tolist() == [True, False, False, False, True]
    only_odd = composition.typical_rows(table[1:2], eligible[:1], question)
    assert only_odd.tolist() == [True], "where nothing is typical every eligible row serves"


def test_arms_are_composed_on_spirals_if_there_are_enough():
    table = votes(40, smooth=0.1, features=0.9, not_edge_on=0.9, spiral=0.3, odd=0.1)
    table[:20, INDEX["spiral"]] = 0.9
    arms = QUESTIONS[10]
    assert np.flatnonzero(composition.typical_rows(table, np.ones(40, bool), arms)).tolist() == list(range(20))
    table[0, INDEX["spiral"]] = 0.3
    assert composition.typical_rows(table, np.ones(40, bool), arms).all()


def test_best_matching_rows_are_the_closest_of_which_there_are_enough():
    matches = np.zeros((100, 2), dtype=bool)
    matches[:50, 0], matches[45:70, 1] = True, True
    everybody = np.ones(100, dtype=bool)
    assert composition.best_matching_rows(matches, everybody).sum() == 70
    matches[:50, 1] = True
    assert composition.best_matching_rows(matches, everybody).sum() == 50
    assert composition.best_matching_rows(matches[70:], everybody[70:]).all()
    assert composition.best_matching_rows(matches[:, :0], everybody).all()


@pytest.mark.parametrize(
    ("asked", "rivals"),
    [
        ("arms_4", ("round galaxy", "cigar shaped", "edge-on galaxy")),
        ("bar", ("round galaxy", "cigar shaped", "edge-on galaxy")),
        ("edge_bulge_boxy", ("round galaxy", "cigar shaped", "spiral arms", "bulge prominence")),
        ("in_between", ("edge-on galaxy", "spiral galaxy", "spiral arms", "bulge prominence")),
    ],
)
def test_no_prompt_names_features_of_both_branches(asked, rivals):
    rng = np.random.default_rng(0)
    fractions = np.concatenate([rng.dirichlet(np.ones(len(q.answers)), 300) for q in QUESTIONS], axis=1)
    prompts = prompts_from_fractions(composition.set_answers(fractions, {asked: 1.25}))
    assert all(ANSWER_BY_KEY[asked].words in prompt for prompt in prompts)
    assert [prompt for prompt in prompts if any(rival in prompt for rival in rivals)] == []
