"""Images of a report: real galaxies above synthetic ones of one request, and synthetic ones beside training images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.conditions.published import PUBLISHED_PROMPTS
from astro_galaxysd.conditions.requests import ASKED, votes_of_prompt
from astro_galaxysd.evaluation.memorisation import form
from astro_galaxysd.reporting.page import data_uri

if TYPE_CHECKING:
    from astro_galaxysd.records import ImageBatch

__all__ = ["ACROSS", "group_sheets", "published_sheets", "rows_for_prompt", "strip", "twins"]

#: Images side by side.
ACROSS = 6
_MOST_GROUPS = 12


def strip(batch: ImageBatch, rows: Iterable[int], kind: str) -> str:
    """Images of some rows side by side, as HTML; `kind` is said in their alternative texts."""
    shown = [
        f'<img src="{data_uri(batch.images[row])}" alt="{kind} galaxy {escape(str(batch.ids[row]))}" '
        f'title="{escape(str(batch.ids[row]))}">'
        for row in rows
    ]
    return f'<div class="strip">{"".join(shown)}</div>' if shown else '<p class="empty">None in this table.</p>'


def rows_for_prompt(asked: np.ndarray, prompt: str) -> np.ndarray:
    """Rows that have every answer that a prompt names.

    Parameters
    ----------
    asked : ndarray, shape (N, 37), bool
        Answers of each row, from `astro_galaxysd.conditions.requests.answers_asked`.
    prompt : str

    Returns
    -------
    ndarray, shape (n,), int
        None where the prompt names no answer.
    """
    tags = np.nan_to_num(votes_of_prompt(prompt)) >= ASKED
    return np.flatnonzero(asked[:, tags].all(axis=1) & tags.any())


def published_sheets(real: ImageBatch, synthetic: ImageBatch, asked: Mapping[str, np.ndarray]) -> str:
    """Real row and synthetic row of each published prompt.

    Parameters
    ----------
    real, synthetic : ImageBatch
        The first rows that answer a prompt are shown.
    asked : mapping of str to ndarray, shape (N, 37), bool
        ``real`` and ``synthetic``: answers of each row.

    Returns
    -------
    str
        HTML; says so where a row is empty, and names in one line the prompts that neither answers.
    """
    blocks, absent = [], []
    for prompt in PUBLISHED_PROMPTS:
        shown, drawn = (rows_for_prompt(asked[kind], prompt) for kind in ("real", "synthetic"))
        if len(shown) or len(drawn):
            blocks.append(_sheet(prompt, real, shown, synthetic, drawn))
        else:
            absent.append(prompt)
    missing = "; ".join(escape(prompt) for prompt in absent)
    return "".join(blocks) + (f'<p class="empty">None in this table: {missing}.</p>' if absent else "")


def group_sheets(groups: Mapping[str, np.ndarray], synthetic: ImageBatch, real: ImageBatch) -> str:
    """Real row and synthetic row of the largest groups that were compared.

    Parameters
    ----------
    groups : mapping of str to ndarray, int
        Rows of each group, the same in `synthetic` and `real`.
    synthetic, real : ImageBatch

    Returns
    -------
    str
        HTML.
    """
    largest = sorted(groups, key=lambda name: -len(groups[name]))[:_MOST_GROUPS]
    blocks = [_sheet(name, real, groups[name], synthetic, groups[name]) for name in largest]
    more = len(groups) - len(largest)
    return "".join(blocks) + (f'<p class="hint">{more} smaller groups are not shown.</p>' if more else "")


def _sheet(name: str, real: ImageBatch, shown: np.ndarray, synthetic: ImageBatch, drawn: np.ndarray) -> str:
    return (
        f'<h4>{escape(name)}</h4><p class="rowname"><b>real</b>, {_of(shown)}</p>{strip(real, shown[:ACROSS], "real")}'
        f'<p class="rowname"><b>synthetic</b>, {_of(drawn)}</p>{strip(synthetic, drawn[:ACROSS], "synthetic")}'
    )


def _of(rows: np.ndarray) -> str:
    return f"{min(len(rows), ACROSS)} of {len(rows)}"


def twins(pairs: Iterable[Any], synthetic: ImageBatch, training: ImageBatch) -> str:
    """Synthetic images beside the training image that is nearest to each.

    Parameters
    ----------
    pairs : iterable
        As `astro_galaxysd.evaluation.memorisation.closest_pairs` gives them: ``synthetic`` and ``training`` (rows),
        ``distance`` (cosine), ``correlation`` (of pixels) and ``form`` (how the training image is turned for it).
    synthetic, training : ImageBatch

    Returns
    -------
    str
        HTML.
    """
    shown = []
    for pair in pairs:
        one, two = int(pair.synthetic), int(pair.training)
        fitting = form(training.images[two], pair.form)
        left, right = str(synthetic.ids[one]), str(training.ids[two])
        shown.append(
            f'<figure><div class="two"><img src="{data_uri(synthetic.images[one])}" alt="synthetic galaxy '
            f'{escape(left)}"><img src="{data_uri(fitting)}" alt="training galaxy {escape(right)}"></div>'
            f"<figcaption>{escape(left)} | {escape(right)}<br>cosine distance {pair.distance:.2g}, "
            f"correlation {pair.correlation:.2f}</figcaption></figure>"
        )
    return f'<div class="twins">{"".join(shown)}</div>'
