"""The tree as data: complete, unique names, parents before children."""

from __future__ import annotations

import pytest

from astro_galaxysd.conditions.tree import ANSWER_BY_KEY, ANSWERS, INDEX, QUESTION_OF, QUESTIONS


def test_eleven_tasks_with_37_answers():
    assert [question.task for question in QUESTIONS] == list(range(1, 12))
    assert [len(question.answers) for question in QUESTIONS] == [3, 2, 2, 2, 4, 2, 3, 7, 3, 3, 6]
    assert len(ANSWERS) == 37


@pytest.mark.parametrize("name", ["key", "kaggle", "hart16", "conditional"])
def test_names_are_unique(name):
    assert len({getattr(answer, name) for answer in ANSWERS}) == 37


def test_words_and_zoobot_names_are_unique_where_there_are_any():
    for names in ([a.words for a in ANSWERS if a.words], [a.zoobot for a in ANSWERS if a.zoobot]):
        assert len(set(names)) == len(names)
    assert [a.key for a in ANSWERS if not a.zoobot] == [a.key for a in QUESTIONS[7].answers]


def test_lookups_agree_with_the_order():
    assert all(ANSWERS[INDEX[key]] is answer for key, answer in ANSWER_BY_KEY.items())
    assert all(answer in QUESTION_OF[answer.key].answers for answer in ANSWERS)


@pytest.mark.parametrize(
    ("child", "parent"),
    [(2, "features"), (3, "not_edge_on"), (4, "not_edge_on"), (5, "not_edge_on"), (7, "smooth"), (8, "odd"),
     (9, "edge_on"), (10, "spiral"), (11, "spiral"), (1, ""), (6, "")],
)  # fmt: skip
def test_parents_are_those_of_the_published_flow(child, parent):
    assert QUESTIONS[child - 1].parent == parent


@pytest.mark.parametrize(
    ("task", "cut"), [(2, 0.430), (3, 0.715), (4, 0.715), (5, 0.715), (7, 0.469), (8, 0.420), (9, 0.602), (11, 0.619)]
)
def test_cuts_are_those_of_willett_2013(task, cut):
    assert QUESTIONS[task - 1].cut == cut


def test_names_of_one_answer_in_all_dialects():
    lane = ANSWER_BY_KEY["dust_lane"]
    assert (lane.kaggle, lane.hart16, lane.zoobot) == ("Class8.7", "t08_odd_feature_a38_dust_lane", "")
    assert ANSWER_BY_KEY["spiral"].zoobot == "has-spiral-arms-gz2_yes"
    assert ANSWER_BY_KEY["arms_cant_tell"].conditional == "t11_arms_cant_tell"
