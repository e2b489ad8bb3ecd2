"""Synthetic and real rows that belong together: what both ask for in, groups with the real rows that answer them out.

Synthetic rows are grouped by their prompts or by the answer that leads in what they ask for; real rows answer a
prompt if they have all of its strong tags by well-sampled votes.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.conditions.columns import texts
from astro_galaxysd.conditions.prompts import SURVEY, plain_text
from astro_galaxysd.conditions.requests import ASKED, Requests, answers_asked, votes_of_prompt
from astro_galaxysd.conditions.tree import ANSWERS, INDEX, QUESTION_OF
from astro_galaxysd.errors import ConditionError, UnknownNameError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["EVERYTHING", "UNDECIDED", "Grouping", "UngroupedWarning", "group_rows", "leading_answers"]

#: Name of the one group where rows are not grouped.
EVERYTHING = "all"
#: Leading answer of rows that ask for none.
UNDECIDED = "undecided"

_ODD = [INDEX[answer.key] for answer in ANSWERS if QUESTION_OF[answer.key].parent == "odd"]
#: From the most special to the most general; odd features come before all of them.
_LEADING = ("edge_on", "spiral", "features", "round", "in_between", "cigar", "smooth")
_MOST_PROMPTS = 64
_FEWEST_EACH = 8
_MOST_GROUPS = 256
_WHOLE_FLOAT = re.compile(r"^([+-]?[0-9]+)\.0*$")


class UngroupedWarning(UserWarning):
    """Rows were not grouped, as nothing is known of what one side shows or was asked for."""


@dataclass(frozen=True)
class Grouping:
    """Groups of synthetic rows and who answers them.

    Parameters
    ----------
    names : ndarray, shape (N,), str
        Group of each synthetic row; "" where it has none.
    answered : dict of str to ndarray, shape (M,), bool
        For every group the real rows that answer it; a real row may answer several.
    notes : dict of str to str
        Why a group can't be answered by any real row; of `EVERYTHING`, why rows are not grouped that could have been.
    """

    names: np.ndarray
    answered: dict[str, np.ndarray]
    notes: dict[str, str] = field(default_factory=dict)


def group_rows(
    how: str | None, synthetic: Requests, real: Requests, *, synthetic_table: Table, real_table: Table
) -> Grouping:
    """Group synthetic rows, and find the real rows that answer each group.

    Parameters
    ----------
    how : str or None
        ``"prompt"``: rows with the same prompt, whatever its weights. ``"answer"``: rows with the same leading answer
        (`leading_answers`). ``"auto"``: by prompt where there are at most 64 different ones of 8 rows on average, else
        by answer. Another text: a column of both tables, whose values are compared as text, less blanks around it
        and with whole floats as integers. None: all rows are one group.
    synthetic, real : Requests
        Of N synthetic and M real rows.
    synthetic_table, real_table : Table
        The same rows; read where `how` is a column.

    Returns
    -------
    Grouping
        Names begin with ``"prompt: "``, ``"kind: "`` or the column's name.

    Raises
    ------
    UnknownNameError
        If `how` is neither of these words nor a column of both tables.
    ConditionError
        If there are more than 256 groups.

    Warns
    -----
    UngroupedWarning
        If `how` is ``"auto"`` and votes or prompts are known of one side only.
    """
    if how is None or (how == "auto" and not (synthetic.any and real.any)):
        notes = {} if how is None else _told_of_one_side(synthetic, real)
        return Grouping(np.full(len(synthetic), EVERYTHING), {EVERYTHING: np.ones(len(real), dtype=bool)}, notes)
    if how == "auto":
        different = len({_prompt_key(prompt) for prompt in set(synthetic.prompts)})
        few = different <= _MOST_PROMPTS and different * _FEWEST_EACH <= len(synthetic)
        how = "prompt" if few else "answer"
    if how == "prompt":
        found = _by_prompt(synthetic, real)
    elif how == "answer":
        found = _by_value("kind", leading_answers(synthetic), leading_answers(real))
    else:
        found = _by_value(how, *(_text_column(table, how, real_table) for table in (synthetic_table, real_table)))
    if len(found.answered) > _MOST_GROUPS:
        raise ConditionError(
            f"groups={how!r} gives {len(found.answered)} groups; at most {_MOST_GROUPS} are told apart: group by "
            "'answer', or by a column with fewer values"
        )
    return found


def _told_of_one_side(synthetic: Requests, real: Requests) -> dict[str, str]:
    if synthetic.any == real.any:
        return {}
    known, unknown = ("synthetic", "real") if synthetic.any else ("real", "synthetic")
    note = f"not grouped: the {known} rows have votes or prompts, the {unknown} rows have neither"
    warnings.warn(
        f"{note}, so that sets of different mixtures are compared; give both votes or prompts, or groups=COLUMN, a "
        "column of both tables",
        UngroupedWarning,
        stacklevel=5,
    )
    return {EVERYTHING: note}


def leading_answers(requests: Requests) -> np.ndarray:
    """The answer that says most about each row.

    Its strongest odd feature (ring, merger, ...) if one is asked for; else the first that is asked for of edge-on,
    spiral, features, round, in between, cigar, smooth; else ``"undecided"``.

    Returns
    -------
    ndarray, shape (N,), str
        Keys of answers.
    """
    asked = answers_asked(requests)
    leading = np.full(len(requests), UNDECIDED, dtype=object)
    for key in reversed(_LEADING):
        leading[asked[:, INDEX[key]]] = key
    odd = np.where(asked[:, _ODD], requests.votes[:, _ODD], -1.0)
    keys = np.array([ANSWERS[column].key for column in _ODD], dtype=object)
    has = asked[:, _ODD].any(axis=1)
    leading[has] = keys[odd.argmax(axis=1)][has]
    return leading.astype(str)


def _prompt_key(prompt: str) -> frozenset[str]:
    parts = (part.strip().lower() for part in plain_text(prompt).split(","))
    return frozenset(part for part in parts if part and part != SURVEY)


def _by_prompt(synthetic: Requests, real: Requests) -> Grouping:
    """Groups of prompts that differ in more than weights and the order of their tags."""
    shown: dict[frozenset[str], str] = {}
    strong: dict[str, np.ndarray] = {}
    names = []
    for prompt in synthetic.prompts:
        key = _prompt_key(prompt)
        if key not in shown:
            parts = [part.strip() for part in plain_text(prompt).split(",")]
            words = ", ".join(part for part in parts if part and part.lower() != SURVEY)
            shown[key] = f"prompt: {words or '(none)'}"
        names.append(shown[key])
        asked = np.nan_to_num(votes_of_prompt(prompt)) >= ASKED
        strong[names[-1]] = strong.get(names[-1], np.zeros(len(ANSWERS), dtype=bool)) | asked
    has = answers_asked(real)
    empty = shown.get(frozenset(), "")
    answered: dict[str, np.ndarray] = {}
    notes: dict[str, str] = {}
    for name, tags in strong.items():
        answered[name] = np.asarray(has[:, tags].all(axis=1) & (tags.any() | (name == empty)))
        if not tags.any() and name != empty:
            notes[name] = "the prompt names no answer of the tree, so that no real row is known to answer it"
    return Grouping(np.array(names, dtype=str), answered, notes)


def _by_value(kind: str, synthetic: np.ndarray, real: np.ndarray) -> Grouping:
    names = np.array([f"{kind}: {value}" if value else "" for value in synthetic], dtype=str)
    answered: dict[str, np.ndarray] = {
        f"{kind}: {value}": np.isin(real, [value]) for value in sorted(set(synthetic.tolist()) - {""})
    }
    return Grouping(names, answered)


def _text_column(table: Table, name: str, other: Table) -> np.ndarray:
    if name not in table.colnames:
        known = ["auto", "prompt", "answer", *(column for column in table.colnames if column in other.colnames)]
        raise UnknownNameError("groups", name, known, "A column must be in both tables.")
    return np.array([_WHOLE_FLOAT.sub(r"\1", (value or "").strip()) for value in texts(table[name])], dtype=str)
