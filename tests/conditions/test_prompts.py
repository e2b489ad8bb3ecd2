"""Prompts: braces, weights, and the way from votes to tags."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro_galaxysd.conditions import prompts
from astro_galaxysd.conditions.prompts import Segment, parse_prompt, plain_text, prompt_weights
from astro_galaxysd.conditions.tree import ANSWERS, INDEX, QUESTIONS
from astro_galaxysd.errors import PromptError

WORDS = st.sampled_from([answer.words for answer in ANSWERS if answer.words])
TEXT = st.text(st.characters(exclude_characters="{}:", exclude_categories=["Cs"]), max_size=20)


def votes(**fractions):
    row = np.full((1, 37), np.nan)
    for key, value in fractions.items():
        row[0, INDEX[key]] = value
    return row


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("sdss, {dust lane:1.3}", [("sdss, ", 1.0), ("dust lane", 1.3)]),
        ("{ring}", [("ring", 1.1)]),
        ("{{ring}}", [("ring", 1.1 * 1.1)]),
        ("{a {b:2} c:3}", [("a ", 3.0), ("b", 6.0), (" c", 3.0)]),
        ("", []),
        ("{x:1e-1}", [("x", 0.1)]),
    ],
)
def test_braces_multiply(prompt, expected):
    assert [(s.text, pytest.approx(s.weight)) for s in parse_prompt(prompt)] == expected


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("{ring", "never closed"),
        ("ring}", "closes nothing"),
        ("{}", "empty braces"),
        ("{:1.2}", "empty braces"),
        ("{ring:heavy}", "'heavy' is not a positive number"),
        ("{ring:0}", "not a positive number"),
        ("{ring:-1}", "not a positive number"),
        ("{ring:nan}", "not a positive number"),
        ("{ring:inf}", "not a positive number"),
    ],
)
def test_bad_prompts_say_what_is_wrong(prompt, message):
    with pytest.raises(PromptError, match=message) as caught:
        parse_prompt(prompt)
    assert repr(prompt) in str(caught.value)


@given(TEXT)
def test_text_without_braces_is_one_segment_of_weight_one(text):
    assert parse_prompt(text) == ((Segment(text, 1.0),) if text.strip() else ())


@given(st.lists(st.tuples(WORDS, st.floats(0.01, 3)), max_size=8, unique_by=lambda tag: tag[0]))
def test_weights_survive_the_prompt(tags):
    tags = [(words, round(weight, 2)) for words, weight in tags]
    prompt = prompts.prompt_from_tags(tags)
    assert prompt_weights(prompt) == {words: weight for words, weight in tags if weight != 1.0}
    assert plain_text(prompt) == ", ".join([prompts.SURVEY, *(words for words, _ in tags)])


@given(st.floats(0, 1))
def test_fraction_and_weight_are_inverse(fraction):
    weight = prompts.weight_from_fraction(fraction)
    assert prompts.fraction_from_weight(weight) == pytest.approx(fraction, abs=0.00501)


@given(st.floats(0, 10))
def test_fractions_stay_fractions(weight):
    assert 0 <= prompts.fraction_from_weight(weight) <= 1


def test_a_question_is_well_sampled_only_above_all_cuts():
    arms = QUESTIONS[9]
    good = votes(features=0.5, not_edge_on=0.8, spiral=0.7)
    assert prompts.well_sampled(good, arms).tolist() == [True]
    for ancestor in ("features", "not_edge_on", "spiral"):
        low = good.copy()
        low[0, INDEX[ancestor]] = 0.4
        assert prompts.well_sampled(low, arms).tolist() == [False]
    assert prompts.well_sampled(votes(), arms).tolist() == [False]
    assert prompts.well_sampled(votes(), QUESTIONS[0]).tolist() == [True]


def test_prompts_carry_the_votes():
    row = votes(smooth=0.9, features=0.1, round=0.75, in_between=0.21, cigar=0.04, odd=0.6, merger=0.5, dust_lane=0.19)
    assert prompts.prompts_from_fractions(row) == [
        "sdss, {smooth:1.15}, {something odd:0.85}, completely round galaxy, {in-between round galaxy:0.46}, "
        "{merger:0.75}"
    ]
    assert prompts.prompts_from_fractions(row, weighted=False) == [
        "sdss, smooth, something odd, completely round galaxy, merger"
    ]


def test_answers_below_the_cut_stay_out():
    assert prompts.prompts_from_fractions(votes(smooth=0.9, odd=0.41, merger=0.9)) == [
        "sdss, {smooth:1.15}, {something odd:0.66}"
    ]


def test_cuts_can_be_left_out():
    row = votes(smooth=0.9, features=0.1, not_edge_on=0.8, spiral=0.7)
    words = [[words for words, _ in prompts.tags_from_fractions(row, **more)[0]] for more in ({}, {"cuts": False})]
    assert words == [["smooth"], ["smooth", "spiral galaxy"]]
    assert prompts.tags_from_fractions(votes(spiral=0.1), cuts=False) == [[]]
    assert prompts.tags_from_fractions(votes(), cuts=False) == [[]]
