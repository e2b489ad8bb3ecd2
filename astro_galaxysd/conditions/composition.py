"""Conditions that nobody voted for: vote fractions of a base population in, fractions that say what is asked out.

An asked answer gets the fraction its weight stands for, the other answers of its question share the rest in their old
proportion, and the answers that lead to the question are lifted above the well-sampled cuts (Willett et al. 2013), so
that the votes of a new row and its prompt say the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from astro_galaxysd.conditions.prompts import SURVEY, fraction_from_weight, parse_prompt, well_sampled
from astro_galaxysd.conditions.schemas import reached
from astro_galaxysd.conditions.tree import ANSWERS, INDEX, QUESTION_OF, QUESTIONS, Question

__all__ = [
    "ARTIFACT",
    "COMPOSE_WEIGHT",
    "LIFT",
    "MINIMUM_BASE",
    "best_matching_rows",
    "headed",
    "known_tags",
    "set_answers",
    "typical_rows",
]

#: Feature weight of an answer that is composed: the largest that training has seen, of a fraction of 1.
COMPOSE_WEIGHT = 1.25
#: Answers that lead to a composed one get at least their cut and this much.
LIFT = 0.1
#: ... and, where a rival leads on too, at least this: what is left for it (0.35) is below every cut, of which 0.430 is
#: the lowest, so that a prompt never names features of both branches.
SETTLED = 0.65
#: A base population smaller than this would show the same few galaxies again and again.
MINIMUM_BASE = 20
#: Rows with at least this fraction for 'star or artifact' are no galaxies.
ARTIFACT = 0.5

_ANSWER_OF_WORDS = {answer.words: answer.key for answer in ANSWERS if answer.words}
# Longest first: 'more than 4 spiral arms' holds '4 spiral arms'.
_WORDS = re.compile(
    r"(?<!\w)(?:" + "|".join(map(re.escape, sorted(_ANSWER_OF_WORDS, key=len, reverse=True))) + r")(?!\w)",
    re.IGNORECASE,
)


def known_tags(prompt: str) -> dict[str, float]:
    """Answers that a prompt names, key -> weight; the largest weight where one is named twice.

    Raises
    ------
    PromptError
        If the prompt can't be parsed.

    Examples
    --------
    >>> known_tags("in-between round galaxy, {dust lane:1.3}")
    {'in_between': 1.0, 'dust_lane': 1.3}
    """
    tags: dict[str, float] = {}
    for segment in parse_prompt(prompt):
        for match in _WORDS.finditer(segment.text):
            key = _ANSWER_OF_WORDS[match.group().lower()]
            tags[key] = max(tags.get(key, 0.0), round(segment.weight, 6))
    return tags


def headed(prompt: str) -> str:
    """The prompt behind the survey's name, with which every prompt in training began."""
    first = prompt.split(",")[0].strip().lower()
    return prompt if first == SURVEY else f"{SURVEY}, {prompt}"


def set_answers(fractions: np.ndarray, weights: Mapping[str, float]) -> np.ndarray:
    """Votes that ask for answers with given feature weights.

    Parameters
    ----------
    fractions : ndarray, shape (N, 37)
        Conditional vote fractions in [0, 1], NaN where not asked; left as they are.
    weights : mapping of str to float
        Answer key -> feature weight; `fraction_from_weight` makes it a fraction. Where the answers of one question
        ask for more than 1 together, they share 1.

    Returns
    -------
    ndarray, shape (N, 37)
        Every question that is asked for adds up to 1; questions below an answer of 0 are NaN.
    """
    result = np.array(fractions, dtype=np.float64)
    questions = [q for q in QUESTIONS if any(answer.key in weights for answer in q.answers)]
    for question in questions:
        _lift_ancestors(result, question)
    # After the lifting, so that what was asked for outright wins over what leads to something else.
    for question in questions:
        asked = {a.key: fraction_from_weight(weights[a.key]) for a in question.answers if a.key in weights}
        excess = max(sum(asked.values()), 1.0)
        _set_question(result, question, {key: np.full(len(result), f / excess) for key, f in asked.items()})
    for question in QUESTIONS:
        unreached = reached(result, question) == 0
        for answer in question.answers:
            result[unreached, INDEX[answer.key]] = np.nan
    return result


def _lift_ancestors(fractions: np.ndarray, question: Question) -> None:
    while question.parent:
        column = np.nan_to_num(fractions[:, INDEX[question.parent]])
        lowest, parent = min(question.cut + LIFT, 1.0), question.parent
        question = QUESTION_OF[parent]
        if any(leads_on.parent in {a.key for a in question.answers} - {parent} for leads_on in QUESTIONS):
            lowest = max(lowest, SETTLED)
        _set_question(fractions, question, {parent: np.full(len(column), lowest)}, where=column < lowest)


def _set_question(
    fractions: np.ndarray, question: Question, asked: dict[str, np.ndarray], where: np.ndarray | None = None
) -> None:
    """Set answers of one question in place; the others share what is left in their old proportion, or equally."""
    others = [INDEX[answer.key] for answer in question.answers if answer.key not in asked]
    rest = 1.0 - sum(asked.values(), start=np.zeros(len(fractions)))
    old = np.nan_to_num(fractions[:, others])
    total = old.sum(axis=1, keepdims=True)
    share = np.where(total > 0, old / np.where(total > 0, total, 1.0), 1.0 / max(len(others), 1))
    rows = np.ones(len(fractions), dtype=bool) if where is None else where
    for column, values in zip(others, (share * rest[:, None]).T, strict=True):
        fractions[rows, column] = values[rows]
    for key, values in asked.items():
        fractions[rows, INDEX[key]] = values[rows]


def typical_rows(fractions: np.ndarray, eligible: np.ndarray, question: Question) -> np.ndarray:
    """Rows on which an answer of `question` is composed where no row has it.

    Typical galaxies were looked at (tasks 1 and 6 have votes), are no artifact and nothing odd (below task 8's cut).
    If at least `MINIMUM_BASE` of them reach the question by well-sampled votes, as arms need a spiral, only they
    serve. Where no galaxy is typical, every eligible row with a vote does.

    Parameters
    ----------
    fractions : ndarray, shape (N, 37)
        Conditional vote fractions.
    eligible : ndarray, shape (N,), bool
        Real galaxies.
    question : Question

    Returns
    -------
    ndarray, shape (N,), bool
    """
    odd = fractions[:, INDEX["odd"]]
    seen = np.isfinite(fractions[:, INDEX["smooth"]]) & np.isfinite(odd)
    typical = eligible & seen & (np.nan_to_num(odd) <= _odd_cut())
    reaching = typical & well_sampled(fractions, question)
    if reaching.sum() >= MINIMUM_BASE:
        return np.asarray(reaching)
    return np.asarray(typical if typical.any() else eligible & np.isfinite(fractions).any(axis=1))


def _odd_cut() -> float:
    return next(question.cut for question in QUESTIONS if question.parent == "odd")


def best_matching_rows(matches: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """Rows that match most of a prompt's answers.

    Parameters
    ----------
    matches : ndarray, shape (N, M), bool
        Row has answer.
    eligible : ndarray, shape (N,), bool
        Real galaxies with votes.

    Returns
    -------
    ndarray, shape (N,), bool
        The rows with at least k matches, for the largest k that `MINIMUM_BASE` rows (or all, if there are fewer)
        have; every eligible row where k is 0.
    """
    score = np.where(eligible, matches.sum(axis=1), -1)
    enough = min(MINIMUM_BASE, int(eligible.sum()))
    for lowest in range(matches.shape[1], 0, -1):
        if (score >= lowest).sum() >= enough:
            return np.asarray(score >= lowest)
    return eligible
