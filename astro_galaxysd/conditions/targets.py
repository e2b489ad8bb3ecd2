"""What the caller asks for: a table and a target in, the real rows of that class and how to ask for more of them out.

A target is, in this order, a label of the label column, a boolean column, an answer of the tree (by key or by words),
or a free prompt.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.conditions.columns import SYNTHETIC, texts
from astro_galaxysd.conditions.composition import known_tags
from astro_galaxysd.conditions.prompts import fraction_from_weight, parse_prompt
from astro_galaxysd.conditions.selection import Population, Selection
from astro_galaxysd.conditions.table import no_conditions
from astro_galaxysd.conditions.tree import ANSWERS, INDEX, QUESTION_OF, Answer
from astro_galaxysd.errors import ConditionError, NoRealRowsError, UnknownNameError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Target", "find_answer", "resolve_target"]


@dataclass(frozen=True)
class Target:
    """A class of galaxies and its real rows.

    Parameters
    ----------
    name : str
        As the caller gave it; an answer's key.
    kind : str
        ``"answer"``, ``"label"``, ``"column"`` or ``"prompt"``.
    mask : ndarray, shape (N,), bool
        Real rows of the class.
    matches : ndarray, shape (N, M), bool
        For targets with a prompt: which of its M answers each row has.
    answer : Answer or None
        The answer whose words must stand in every prompt.
    prompt : str or None
        A prompt that must stand in every prompt as it is.
    column : str or None
        The label or boolean column that tells the class.
    value : object
        The label as it stands in the column, or True.
    """

    name: str
    kind: str
    mask: np.ndarray
    matches: np.ndarray
    answer: Answer | None = None
    prompt: str | None = None
    column: str | None = None
    value: Any = None


def find_answer(name: str) -> Answer | None:
    """Answer by its key or words: ``"dust_lane"``, ``"Dust lane"``, ``"edge-on galaxy"``; None if there is none."""
    wanted = _plain(name)
    return next((a for a in ANSWERS if wanted in (_plain(a.key), _plain(a.words)) and wanted), None)


def _speakable(name: str) -> Answer | None:
    """The answer called so, if prompt words stand for it."""
    answer = find_answer(name)
    return answer if answer is not None and answer.words else None


def resolve_target(
    population: Population,
    target: object,
    *,
    labels: Mapping[str, str] | None = None,
    label_column: str | None = None,
    selection: Selection | None = None,
    compose: bool = False,
) -> Target:
    """Find out what a target is and which real rows have it.

    Parameters
    ----------
    population : Population
        From `selection.read_population`.
    target : str (or a label of another type)
        Label, boolean column, answer of the tree, or free prompt.
    labels : mapping of str to str, optional
        Label (or boolean column) -> prompt.
    label_column : str, optional
        Where the labels are.
    selection : Selection, optional
        Threshold and cuts of the selection by votes; by default a fraction of 0.5 and the published cuts.
    compose : bool
        True: no real row is needed.

    Returns
    -------
    Target

    Raises
    ------
    NoRealRowsError
        If no real row has it and `compose` is False; a free prompt needs none.
    UnknownNameError
        If nothing has that name; the nearest answers, columns and labels are suggested.
    ConditionError
        If the answer has no prompt words, or the table nothing to tell the class by.
    PromptError
        If a prompt can't be parsed.
    """
    name, selection = str(target), selection or Selection()
    found = (
        _label_target(population, name, labels or {}, label_column, selection)
        or _column_target(population, name, labels or {}, selection)
        or _answer_target(population, name, selection)
        or _prompt_target(population, name, selection, _names(population.table, labels, label_column))
    )
    if found.kind != "prompt" and not compose and not found.mask.any():
        raise _no_real_rows(population, found, selection)
    return found


def _label_target(
    population: Population, name: str, labels: Mapping[str, str], label_column: str | None, selection: Selection
) -> Target | None:
    if label_column is None:
        if _prompt_of(labels, name) and name not in population.table.colnames:
            raise ConditionError(
                f"labels= has {name!r}, but label_column= does not say which column holds the labels; columns are "
                f"{', '.join(population.table.colnames)}"
            )
        return None
    if label_column not in population.table.colnames:
        raise UnknownNameError("label column", label_column, population.table.colnames)
    values = texts(population.table[label_column])
    prompt = _prompt_of(labels, name)
    if name not in values and prompt is None:
        return None
    has = np.array([value == name for value in values], dtype=bool)
    answer = None if prompt else _speakable(name)
    if answer is None and prompt is None and population.fractions is None and population.prompts is None:
        raise ConditionError(
            f"label {name!r} of column {label_column!r}: nothing says what it looks like; "
            f"pass labels={{{name!r}: 'a prompt'}}, or add vote columns"
        )
    value = population.table[label_column][int(np.argmax(has))] if has.any() else name
    matches = _matches(population, prompt, selection)
    return Target(name, "label", has & population.real, matches, answer, prompt, label_column, value)


def _column_target(population: Population, name: str, labels: Mapping[str, str], selection: Selection) -> Target | None:
    if name not in population.table.colnames or name == SYNTHETIC:
        return None
    column = population.table[name]
    if getattr(column, "dtype", None) != np.dtype(bool):
        return None
    has = np.asarray(np.ma.filled(np.ma.asarray(column), False), dtype=bool)
    prompt = _prompt_of(labels, name)
    answer = None if prompt else _speakable(name)
    if answer is None and prompt is None and population.fractions is None and population.prompts is None:
        raise ConditionError(
            f"boolean column {name!r}: nothing says what its galaxies look like; "
            f"pass labels={{{name!r}: 'a prompt'}}, or add vote columns"
        )
    matches = _matches(population, prompt, selection)
    return Target(name, "column", has & population.real, matches, answer, prompt, name, True)


def _answer_target(population: Population, name: str, selection: Selection) -> Target | None:
    answer = find_answer(name)
    if answer is None:
        return None
    if not answer.words:
        raise ConditionError(
            f"target {name!r}: no prompt words stand for this answer, so that no image can be asked for; "
            "use a free prompt that says what is to be seen, for example 'smooth, completely round galaxy'"
        )
    has = _has(population, answer, selection)
    if has is None:
        raise no_conditions(population.table)
    return Target(answer.key, "answer", has & population.real, _matches(population, None, selection), answer)


def _prompt_target(population: Population, name: str, selection: Selection, names: list[str]) -> Target:
    punctuated = any(mark in name for mark in ",{}")
    if not punctuated and (len(name.split()) < 2 or (_looks_like(name, names) and not known_tags(name))):
        hint = "A target is one of these or a free prompt, which has a comma, braces or several words."
        raise UnknownNameError("target", name, names, hint)
    parse_prompt(name)
    matches = _matches(population, name, selection)
    has = matches.all(axis=1) if matches.shape[1] else np.zeros(len(population.table), dtype=bool)
    return Target(name, "prompt", has & population.real, matches, None, name)


def _has(population: Population, answer: Answer, selection: Selection) -> np.ndarray | None:
    """Rows that have an answer by their votes, else by their prompts; None without either."""
    if population.fractions is not None:
        return selection.has(population.fractions, answer)
    if population.prompts is None:
        return None
    weights = (known_tags(prompt).get(answer.key, 0.0) for prompt in population.prompts)
    return np.array([fraction_from_weight(weight) >= selection.threshold for weight in weights], dtype=bool)


def _matches(population: Population, prompt: str | None, selection: Selection) -> np.ndarray:
    """Which answers that a prompt names each row has: bool, shape (N, M); M = 0 without a prompt or conditions."""
    answers = [ANSWERS[INDEX[key]] for key in known_tags(prompt)] if prompt else []
    columns = [has for answer in answers if (has := _has(population, answer, selection)) is not None]
    return np.column_stack(columns) if columns else np.zeros((len(population.table), 0), dtype=bool)


def _prompt_of(labels: Mapping[str, str], name: str) -> str | None:
    prompt = next((prompt for label, prompt in labels.items() if str(label) == name), None)
    if prompt is not None and not parse_prompt(prompt):
        raise ConditionError(f"labels[{name!r}] is {prompt!r}; write a prompt, for example 'edge-on galaxy'")
    return prompt


def _names(table: Table, labels: Mapping[str, str] | None, label_column: str | None) -> list[str]:
    """Everything that would have been a target."""
    answers = [answer.key for answer in ANSWERS if answer.words] + [answer.words for answer in ANSWERS if answer.words]
    booleans = [n for n in table.colnames if getattr(table[n], "dtype", None) == np.dtype(bool) and n != SYNTHETIC]
    values = [value for value in texts(table[label_column]) if value] if label_column else []
    return [*answers, *booleans, *map(str, labels or ()), *values]


def _looks_like(name: str, names: list[str]) -> bool:
    return bool(difflib.get_close_matches(_plain(name), [_plain(known) for known in names], n=1, cutoff=0.9))


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())


def _no_real_rows(population: Population, target: Target, selection: Selection) -> NoRealRowsError:
    real, ways = int(population.real.sum()), "pass compose=True to compose it from other galaxies"
    if target.kind != "answer" or target.answer is None:
        where = f"in column {target.column!r}" if target.column else ""
        return NoRealRowsError(f"target {target.name!r}: none of {real} real rows has it {where}; {ways}")
    question, best = QUESTION_OF[target.answer.key], ""
    cuts = f" where {question.parent} is above {question.cut:g}" if question.parent else ""
    if population.fractions is not None and population.real.any():
        column = np.nan_to_num(population.fractions[population.real, INDEX[target.answer.key]])
        best = f"; the highest anywhere is {column.max():.2f}"
    return NoRealRowsError(
        f"target {target.name!r}: none of {real} real rows has it (fraction of at least "
        f"{selection.threshold:g}{cuts if selection.cut is None else ''}{best}); {ways}, or lower threshold= or cut="
    )
