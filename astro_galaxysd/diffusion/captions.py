"""Training captions: the votes of a batch become prompts, differently each time they are seen.

Half of the captions carry every answer with a weight that is its vote fraction (`weight_from_fraction`), half are
plain lists of the answers above one half, as in the published prompts. Tags are shuffled, some are left out, and a
tenth of the captions is empty for classifier-free guidance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from astro_galaxysd.conditions.prompts import SURVEY, prompt_from_tags, tags_from_fractions, weight_from_fraction

__all__ = ["CaptionStyle", "caption_batch", "fit_tags", "sampling_weights"]


@dataclass(frozen=True)
class CaptionStyle:
    """How captions vary; all values are probabilities or vote fractions in [0, 1]."""

    empty: float = 0.1
    weighted: float = 0.5
    tag_dropout: float = 0.1
    single_tags: float = 0.1
    threshold: float = 0.5


def caption_batch(
    tags: list[list[tuple[str, float]]],
    rng: np.random.Generator,
    style: CaptionStyle = CaptionStyle(),
) -> list[str]:
    """One caption for every row of `tags` (words, vote fraction), from `tags_from_fractions`."""
    return [_caption(row, rng, style) for row in tags]


def _caption(tags: list[tuple[str, float]], rng: np.random.Generator, style: CaptionStyle) -> str:
    if rng.random() < style.empty:
        return ""
    weighted = rng.random() < style.weighted
    if not weighted:
        tags = [(words, fraction) for words, fraction in tags if fraction >= style.threshold]
    tags = [tags[i] for i in rng.permutation(len(tags)) if rng.random() >= style.tag_dropout]
    if rng.random() < style.single_tags:
        tags = tags[:2]
    return prompt_from_tags((words, weight_from_fraction(fraction) if weighted else 1.0) for words, fraction in tags)


def sampling_weights(fractions: np.ndarray, *, power: float = 0.5, largest: float = 8.0) -> np.ndarray:
    """Probability of drawing each training row, so that rare answers are seen more often.

    A row counts (N / n) ** `power` for its rarest answer, n rows having that answer above one half; at most
    `largest`. Shape (N,), sums to 1.
    """
    rows = tags_from_fractions(fractions, minimum=0.5)
    counts: dict[str, int] = {}
    for row in rows:
        for words, _ in row:
            counts[words] = counts.get(words, 0) + 1
    rarity = np.array([max([len(rows) / counts[words] for words, _ in row], default=1.0) for row in rows])
    weights = np.minimum(rarity**power, largest)
    return np.asarray(weights / weights.sum())


def fit_tags(tags: list[list[tuple[str, float]]], tokenizer: Any) -> list[list[tuple[str, float]]]:
    """Tags of which every prompt fits the text encoder: where there are too many, those of fewest votes go.

    Parameters
    ----------
    tags : list of list of (str, float)
        Words and vote fractions, as `tags_from_fractions` gives them.
    tokenizer : CLIPTokenizer
    """
    lengths: dict[str, int] = {}

    def length(words: str) -> int:
        if words not in lengths:
            lengths[words] = len(tokenizer(f"{words},", add_special_tokens=False).input_ids)
        return lengths[words]

    room = tokenizer.model_max_length - 2 - length(SURVEY)  # begin and end
    fitting = [list(row) for row in tags]
    for row in fitting:
        while sum(length(words) for words, _ in row) > room:
            row.remove(min(row, key=lambda tag: tag[1]))
    return fitting
