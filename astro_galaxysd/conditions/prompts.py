"""Prompts: weighted text in, segments with weights out; vote fractions in, prompts out.

``{dust lane:1.3}`` multiplies the feature by 1.3, bare braces by 1.1, nesting multiplies (Ma et al. 2026).
A vote fraction f and a feature weight w are tied by w = f + 0.25: our own weights are trained so, which makes an
unweighted tag (w = 1) the fraction 0.75 that a confident set of volunteers gives. The mapping is ours, not the
paper's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from astro_galaxysd.conditions.tree import INDEX, QUESTION_OF, QUESTIONS, Question
from astro_galaxysd.errors import PromptError

__all__ = [
    "BARE_BRACES",
    "MENTIONED",
    "SURVEY",
    "WEIGHT_OFFSET",
    "Segment",
    "fraction_from_weight",
    "parse_prompt",
    "plain_text",
    "prompt_from_tags",
    "prompt_weights",
    "prompts_from_fractions",
    "tags_from_fractions",
    "weight_from_fraction",
    "weighted_tag",
    "well_sampled",
]

#: First tag of every prompt: the survey the galaxy is drawn in.
SURVEY = "sdss"
#: Weight of bare braces (Ma et al. 2026).
BARE_BRACES = 1.1
#: w = f + WEIGHT_OFFSET; see the module's docstring.
WEIGHT_OFFSET = 0.25
#: Answers with at least this vote fraction are mentioned in a weighted prompt.
MENTIONED = 0.2

_BRACE = re.compile(r"[{}]")
_WEIGHT = re.compile(r":([^:{}]*)$")


@dataclass(frozen=True)
class Segment:
    """A stretch of prompt text and the weight of all its tokens."""

    text: str
    weight: float


def weight_from_fraction(fraction: float) -> float:
    """Feature weight of a vote fraction, rounded to 0.01."""
    return round(float(fraction) + WEIGHT_OFFSET, 2)


def fraction_from_weight(weight: float) -> float:
    """Vote fraction that a feature weight asks for, clipped to [0, 1]."""
    return min(max(weight - WEIGHT_OFFSET, 0.0), 1.0)


def weighted_tag(words: str, weight: float) -> str:
    """`words` in braces with their weight; without braces where the weight is 1."""
    return words if weight == 1.0 else f"{{{words}:{weight:g}}}"


def parse_prompt(prompt: str) -> tuple[Segment, ...]:
    """Split a prompt at its braces.

    Parameters
    ----------
    prompt : str
        Text with ``{feature:weight}``, ``{feature}`` and nested braces.

    Returns
    -------
    tuple of Segment
        In reading order; the product of the enclosing weights is each segment's weight.

    Raises
    ------
    PromptError
        On unbalanced braces, empty braces, or a weight that is not a positive finite number.

    Examples
    --------
    >>> parse_prompt("sdss, {dust lane:1.3}")
    (Segment(text='sdss, ', weight=1.0), Segment(text='dust lane', weight=1.3))
    """
    segments: list[Segment] = []
    position = _parse_level(prompt, 0, 1.0, segments, depth=0)
    if position != len(prompt):
        raise PromptError(
            f"prompt {prompt!r}: '}}' at character {position} closes nothing; remove it or open it with '{{'"
        )
    return tuple(segment for segment in segments if segment.text.strip())


def _parse_level(prompt: str, position: int, weight: float, segments: list[Segment], depth: int) -> int:
    """Append the segments of one brace level; return the position of what ends it."""
    while (brace := _BRACE.search(prompt, position)) is not None and brace[0] == "{":
        opening = brace.start()
        segments.append(Segment(prompt[position:opening], weight))
        end = _matching_brace(prompt, opening)
        inner, factor = _split_weight(prompt, prompt[opening + 1 : end])
        _parse_level(inner, 0, weight * factor, segments, depth + 1)
        position = end + 1
    end = len(prompt) if brace is None else brace.start()
    segments.append(Segment(prompt[position:end], weight))
    return end


def _matching_brace(prompt: str, opening: int) -> int:
    depth = 0
    for brace in _BRACE.finditer(prompt, opening):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    raise PromptError(f"prompt {prompt!r}: '{{' at character {opening} is never closed; add '}}'")


def _split_weight(prompt: str, inner: str) -> tuple[str, float]:
    """Text and weight inside one pair of braces."""
    match = _WEIGHT.search(inner)
    text, number = (inner[: match.start()], match.group(1)) if match else (inner, str(BARE_BRACES))
    if not text.strip("{} "):
        raise PromptError(f"prompt {prompt!r}: empty braces; put a feature inside, for example {{dust lane:1.3}}")
    try:
        weight = float(number)
    except ValueError:
        weight = float("nan")
    if not 0 < weight < float("inf"):
        raise PromptError(
            f"prompt {prompt!r}: the weight {number.strip()!r} is not a positive number; write {{{text}:1.3}}"
        )
    return text, weight


def plain_text(prompt: str) -> str:
    """The prompt without braces and weights."""
    return "".join(segment.text for segment in parse_prompt(prompt))


def prompt_weights(prompt: str) -> dict[str, float]:
    """Feature -> weight for every feature of the prompt whose weight is not 1."""
    return {s.text.strip(" ,"): round(s.weight, 6) for s in parse_prompt(prompt) if s.weight != 1.0}


def prompt_from_tags(tags: Iterable[tuple[str, float]], *, survey: str = SURVEY) -> str:
    """A prompt of words and weights, headed by the survey."""
    return ", ".join([survey, *(weighted_tag(words, weight) for words, weight in tags)])


def well_sampled(fractions: np.ndarray, question: Question) -> np.ndarray:
    """Rows in which a question was reached by enough volunteers.

    Parameters
    ----------
    fractions : ndarray, shape (N, 37)
        Conditional vote fractions in [0, 1], NaN where not asked.
    question : Question
        Its cut and those of all its ancestors are applied (Willett et al. 2013, table 3).

    Returns
    -------
    ndarray, shape (N,), bool
    """
    good = np.ones(len(fractions), dtype=bool)
    while question.parent:
        good &= np.nan_to_num(fractions[:, INDEX[question.parent]]) > question.cut
        question = QUESTION_OF[question.parent]
    return good


def tags_from_fractions(
    fractions: np.ndarray, *, minimum: float = MENTIONED, cuts: bool = True
) -> list[list[tuple[str, float]]]:
    """Answers worth a mention, a list of (words, vote fraction) for every row, in the order of the tree.

    Parameters
    ----------
    fractions : ndarray, shape (N, 37)
        Conditional vote fractions in [0, 1], NaN where not asked.
    minimum : float
        Answers below this fraction or without prompt words stay out.
    cuts : bool
        Whether answers of a question that is not `well_sampled` stay out.
    """
    rows: list[list[tuple[str, float]]] = [[] for _ in range(len(fractions))]
    for question in QUESTIONS:
        sampled = well_sampled(fractions, question) if cuts else np.ones(len(fractions), dtype=bool)
        for answer in question.answers:
            if answer.words:
                column = fractions[:, INDEX[answer.key]]
                for row in np.flatnonzero(sampled & (np.nan_to_num(column) >= minimum)):
                    rows[row].append((answer.words, float(column[row])))
    return rows


def prompts_from_fractions(fractions: np.ndarray, *, weighted: bool = True, threshold: float = 0.5) -> list[str]:
    """Prompts of galaxies with known votes.

    Parameters
    ----------
    fractions : ndarray, shape (N, 37)
        Conditional vote fractions in [0, 1], NaN where not asked.
    weighted : bool
        True: every answer above `MENTIONED` with its weight; False: answers above `threshold`, unweighted, as in
        the published prompts.
    threshold : float
        Used where `weighted` is False.

    Returns
    -------
    list of str, length N
    """
    if weighted:
        rows = tags_from_fractions(fractions)
        return [prompt_from_tags((words, weight_from_fraction(f)) for words, f in row) for row in rows]
    rows = tags_from_fractions(fractions, minimum=threshold)
    return [prompt_from_tags((words, 1.0) for words, _ in row) for row in rows]
