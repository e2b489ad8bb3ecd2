"""What the rows of a table ask for: votes and prompts in, fractions asked for and answers asked for out.

A synthetic row asks for what its prompt says. Its votes serve where they say the same, because they also hold the
answers that a prompt leaves out; where they don't (a catalogue's votes beside a prompt of one's own), the prompt's
tags serve, each with the fraction that its weight stands for. A real row shows what its votes say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.conditions.columns import prompt_column
from astro_galaxysd.conditions.composition import known_tags
from astro_galaxysd.conditions.prompts import (
    fraction_from_weight,
    prompts_from_fractions,
    tags_from_fractions,
    well_sampled,
)
from astro_galaxysd.conditions.table import VOTES, choose_dialect, describe, find_dialects
from astro_galaxysd.conditions.tree import ANSWERS, INDEX, QUESTIONS

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = [
    "ASKED",
    "Requests",
    "answers_asked",
    "known_fractions",
    "named_fractions",
    "read_requests",
    "told_by_prompts",
    "votes_of_prompt",
]

#: Least fraction with which an answer counts as asked for, as in the published prompts.
ASKED = 0.5
#: A prompt's strong tag contradicts votes below this.
_CONTRADICTS = 0.4
_SPEAKABLE = np.array([bool(answer.words) for answer in ANSWERS])


@dataclass(frozen=True)
class Requests:
    """What the rows of a table ask for.

    Parameters
    ----------
    prompts : list of str, length N
        Braces carry weights; "" where nothing is asked.
    votes : ndarray, shape (N, 37), float64
        Conditional fractions asked for, NaN where nothing is asked.
    source : str
        Where they come from, for the run record: ``"kaggle"``, ``"prompt column"``, "" where there is nothing.
    """

    prompts: list[str]
    votes: np.ndarray
    source: str

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, rows: np.ndarray) -> Requests:
        """Return the requests of some rows."""
        return Requests([self.prompts[row] for row in rows], self.votes[rows], self.source)

    @property
    def any(self) -> bool:
        """Whether a row asks for anything."""
        return any(self.prompts) or bool(np.isfinite(self.votes).any())


def read_requests(table: Table, *, schema: str | None = None, drawn: bool = True) -> Requests:
    """What every row asks for, or, of real rows, shows.

    Parameters
    ----------
    table : Table
        With votes of any dialect, a column ``prompt``, both or neither.
    schema : str, optional
        Dialect of the votes, see `choose_dialect`; by default the most complete one.
    drawn : bool
        True: rows that were drawn, for which a prompt comes before votes that contradict it. False: real rows, whose
        votes come first.

    Returns
    -------
    Requests
        Nothing in it where the table says nothing.

    Raises
    ------
    ConditionError
        If there is no column of the dialect `schema`, or a vote is no fraction.
    PromptError
        If a prompt can't be parsed; names the row.
    """
    votes, source = _votes(table, schema)
    own = prompt_column(table)
    prompts = own or [""] * len(table)
    if votes is None:
        return Requests(prompts, _votes_of_prompts(prompts), "prompt column" if own else "")
    known = np.isfinite(votes).any(axis=1)
    if own is None:
        return Requests(_written(votes, known), votes, source)
    tagged = _votes_of_prompts(prompts)
    serve = known & _agree(votes, tagged, prompts) if drawn else known
    chosen = np.where(serve[:, None], votes, tagged)
    silent = np.array([not prompt for prompt in prompts]) if drawn else known
    written = _written(votes, silent & known)
    shown = [new if quiet else prompt for new, prompt, quiet in zip(written, prompts, silent, strict=True)]
    return Requests(shown, chosen, source if serve.any() else "prompt column")


def _votes(table: Table, schema: str | None) -> tuple[np.ndarray | None, str]:
    """Fractions and their description; None without votes."""
    if schema is None and VOTES in table.colnames and np.shape(table[VOTES]) == (len(table), len(ANSWERS)):
        return np.asarray(np.ma.filled(np.ma.asarray(table[VOTES]), np.nan), dtype=np.float64), VOTES
    if schema is None and not find_dialects(table):
        return None, ""
    dialect = choose_dialect(table, schema)
    return dialect.read(table), describe(dialect, table)


def _written(votes: np.ndarray, rows: np.ndarray) -> list[str]:
    """Prompts of the votes of some rows (bool, shape (N,)), "" for the others."""
    prompts = [""] * len(votes)
    chosen = np.flatnonzero(rows)
    for row, prompt in zip(chosen, prompts_from_fractions(votes[chosen]), strict=True):
        prompts[row] = prompt
    return prompts


def votes_of_prompt(prompt: str) -> np.ndarray:
    """Fractions that a prompt's tags ask for by their weights: float64, shape (37,), NaN for answers it leaves out.

    Raises
    ------
    PromptError
        If the prompt can't be parsed.

    Examples
    --------
    >>> float(votes_of_prompt("sdss, {merger:1.15}")[INDEX["merger"]])
    0.9
    """
    votes = np.full(len(ANSWERS), np.nan)
    for key, weight in known_tags(prompt).items():
        votes[INDEX[key]] = round(fraction_from_weight(weight), 6)
    return votes


def _votes_of_prompts(prompts: list[str]) -> np.ndarray:
    found = {prompt: votes_of_prompt(prompt) for prompt in set(prompts)}
    return np.array([found[prompt] for prompt in prompts]).reshape(len(prompts), len(ANSWERS))


def _agree(votes: np.ndarray, tagged: np.ndarray, prompts: list[str]) -> np.ndarray:
    """Rows whose votes and prompt say the same (bool, shape (N,)); a row without a prompt can't contradict."""
    strong = tagged >= ASKED
    kept = ~(strong & (np.nan_to_num(votes) < _CONTRADICTS)).any(axis=1)
    named = np.isfinite(tagged)
    index = {answer.words: INDEX[answer.key] for answer in ANSWERS if answer.words}
    complete = np.array(
        [all(row[index[words]] for words, _ in tags)
         for row, tags in zip(named, tags_from_fractions(votes, minimum=ASKED), strict=True)],
        dtype=bool,
    )  # fmt: skip
    return np.asarray((kept & complete) | np.array([not prompt for prompt in prompts], dtype=bool))


def known_fractions(requests: Requests) -> np.ndarray:
    """Fractions that mean something: of a well-sampled question (Willett et al. 2013), or named in the prompt.

    Returns
    -------
    ndarray, shape (N, 37), bool
    """
    known: np.ndarray = np.isfinite(requests.votes)
    for question in QUESTIONS:
        columns = [INDEX[answer.key] for answer in question.answers]
        known[:, columns] &= well_sampled(requests.votes, question)[:, None]
    named = np.isfinite(_votes_of_prompts(requests.prompts)) & np.isfinite(requests.votes)
    return np.asarray(known | named)


def told_by_prompts(requests: Requests) -> np.ndarray:
    """Rows of which nothing is known but what their prompts say.

    Returns
    -------
    ndarray, shape (N,), bool
    """
    tagged = _votes_of_prompts(requests.prompts)
    same = (tagged == requests.votes) | (np.isnan(tagged) & np.isnan(requests.votes))
    return np.asarray(same.all(axis=1) & np.isfinite(tagged).any(axis=1))


def named_fractions(requests: Requests) -> np.ndarray:
    """Fractions that weighted prompts tell: of rows with votes, the prompts that would be written from them.

    A tag without a weight tells no fraction: 0.75 is what such galaxies have on average, not what this one has.

    Returns
    -------
    ndarray, shape (N, 37), bool
    """
    told = told_by_prompts(requests)
    written = _written(requests.votes, ~told)
    prompts = [own if by else new for own, new, by in zip(requests.prompts, written, told, strict=True)]
    weighted = np.zeros(requests.votes.shape, dtype=bool)
    for row, prompt in enumerate(prompts):
        weighted[row, [INDEX[key] for key, weight in known_tags(prompt).items() if weight != 1]] = True
    return np.asarray(weighted & np.isfinite(requests.votes))


def answers_asked(requests: Requests, *, threshold: float = ASKED) -> np.ndarray:
    """Answers that each row asks for: known, with prompt words, and with a fraction of at least `threshold`.

    Returns
    -------
    ndarray, shape (N, 37), bool
    """
    return np.asarray(known_fractions(requests) & _SPEAKABLE & (np.nan_to_num(requests.votes) >= threshold))
