"""Conditions of planned rows: base rows and a target in, votes and a prompt that say the same out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astro_galaxysd.conditions.composition import headed, known_tags, set_answers
from astro_galaxysd.conditions.prompts import (
    prompt_from_tags,
    tags_from_fractions,
    weight_from_fraction,
    weighted_tag,
)
from astro_galaxysd.conditions.selection import Population
from astro_galaxysd.conditions.targets import Target
from astro_galaxysd.conditions.tree import ANSWER_BY_KEY, INDEX, QUESTION_OF
from astro_galaxysd.errors import ConditionError

__all__ = ["Condition", "conditions_for"]


@dataclass(frozen=True)
class Condition:
    """What one planned row asks for.

    Parameters
    ----------
    prompt : str
        Braces carry weights.
    votes : ndarray, shape (37,), or None
        Conditional fractions, NaN where not asked.
    base_row : int
        Row of the table from which votes or prompt were taken; -1 where none was.
    """

    prompt: str
    votes: np.ndarray | None = None
    base_row: int = -1


def conditions_for(
    population: Population, target: Target, rows: np.ndarray, *, weight: float | None = None
) -> list[Condition]:
    """Conditions of new rows.

    Parameters
    ----------
    population : Population
    target : Target
    rows : ndarray, shape (n,), int
        Base rows; -1 where there is none.
    weight : float, optional
        Put the target's answer into the votes with this feature weight (compose); None: the rows have it.

    Returns
    -------
    list of Condition, length n

    Raises
    ------
    ConditionError
        If a class without prompt words is to be composed.
    """
    if weight is not None and target.answer is None:
        raise ConditionError(
            f"target {target.name!r} can't be composed: no prompt words stand for it; pass labels={{{target.name!r}: "
            "'a prompt'}, or use a free prompt"
        )
    if target.prompt is not None:
        return _from_prompt(population, target.prompt, rows)
    if population.fractions is not None:
        return _from_votes(population.fractions[rows], target, rows, weight)
    if population.prompts is not None:
        return [Condition(_with_tag(population.prompts[row], target, weight), None, int(row)) for row in rows]
    return [Condition(_with_tag("", target, weight)) for _ in rows]


def _from_votes(votes: np.ndarray, target: Target, rows: np.ndarray, weight: float | None) -> list[Condition]:
    """The base rows' own votes, with the target's answer set where it is composed or a column claims it."""
    answer = target.answer
    if answer is not None and weight is not None:
        votes = set_answers(votes, {answer.key: weight})
    elif answer is not None and target.kind in ("column", "label"):
        # The owner of the table says so: votes that contradict would make the new row's label a lie.
        silent = [answer.words not in dict(tags) for tags in tags_from_fractions(votes, minimum=0.5)]
        votes = np.where(np.array(silent)[:, None], set_answers(votes, {answer.key: 1.0}), votes)
    conditions = []
    for row, own, tags in zip(rows, votes, tags_from_fractions(votes), strict=True):
        weights = {words: weight_from_fraction(fraction) for words, fraction in tags}
        if answer is not None and (weight is not None or answer.words not in weights):
            weights[answer.words] = weight or weight_from_fraction(own[INDEX[answer.key]])
        conditions.append(Condition(prompt_from_tags(weights.items()), own, int(row)))
    return conditions


def _from_prompt(population: Population, prompt: str, rows: np.ndarray) -> list[Condition]:
    """The prompt as it is, and behind it what the base row's votes say about all questions it leaves open."""
    if population.fractions is None or not len(rows) or rows[0] < 0:
        return [Condition(headed(prompt)) for _ in rows]
    asked = known_tags(prompt)
    votes = set_answers(population.fractions[rows], asked)
    settled = {answer.words for key in asked for answer in QUESTION_OF[key].answers}
    return [
        Condition(", ".join([headed(prompt.strip(" ,")), *_open_tags(tags, settled)]), own, int(row))
        for row, own, tags in zip(rows, votes, tags_from_fractions(votes), strict=True)
    ]


def _open_tags(tags: list[tuple[str, float]], settled: set[str]) -> list[str]:
    return [weighted_tag(words, weight_from_fraction(f)) for words, f in tags if words not in settled]


def _with_tag(prompt: str, target: Target, weight: float | None) -> str:
    """A row's own prompt, with the target's words in it."""
    answer, prompt = target.answer, prompt.strip(" ,")
    if answer is None or answer.key in known_tags(prompt):
        return headed(prompt)
    tag = weighted_tag(ANSWER_BY_KEY[answer.key].words, weight or 1.0)
    return headed(f"{prompt}, {tag}" if prompt else tag)
