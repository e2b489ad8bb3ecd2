"""A CLIP tokenizer whose vocabulary is the words of the Galaxy Zoo 2 tree.

Every word of the published prompts becomes one token; any other text is spelt with the remaining byte tokens, so
nothing is unknown. The merges are learnt by byte-pair encoding from the tree's own words, the same on every machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

from astro_galaxysd.conditions.prompts import SURVEY
from astro_galaxysd.conditions.tree import ANSWERS

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

__all__ = ["EXTRA_WORDS", "build_tokenizer", "tree_words"]

#: Words of the sixteen published prompts that the tree's own answers lack.
EXTRA_WORDS = (
    "spiral galaxy with tightly wound arms",
    "cigar-shaped galaxy",
    "obvious bulge",
    "the galaxy center",
    "disk",
)

_END = "</w>"
_SPECIAL = ("<|startoftext|>", "<|endoftext|>")


def tree_words() -> list[str]:
    """Texts whose words get a token of their own."""
    return [SURVEY, *(answer.words for answer in ANSWERS if answer.words), *EXTRA_WORDS]


def _settled(merges: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Merges in one order: the trainer leaves it to chance among equally frequent ones that end a word.

    Neighbours that join the same letter with two different last letters never compete, so their order means nothing
    but their numbers.
    """
    settled = list(merges)
    for place, (one, two) in enumerate(pairwise(merges)):
        if one[0] == two[0] and len(one[0]) == 1 and _ends_word(one[1]) and _ends_word(two[1]):
            settled[place : place + 2] = sorted((one, two))
    return settled


def _ends_word(token: str) -> bool:
    return token.endswith(_END) and len(token) == 1 + len(_END)


def build_tokenizer(texts: Iterable[str] | None = None, *, max_length: int = 77) -> CLIPTokenizer:
    """Learn the merges and return the tokenizer.

    Parameters
    ----------
    texts : iterable of str, optional
        Texts to learn words from; `tree_words` unless given.
    max_length : int
        Tokens a prompt is padded to, with the begin and end tokens.

    Returns
    -------
    transformers.CLIPTokenizer
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    texts = list(tree_words() if texts is None else texts)
    learner = Tokenizer(models.BPE(end_of_word_suffix=_END))
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # limit_alphabet must not cut: every byte and every byte that ends a word stays spellable
    trainer = trainers.BpeTrainer(vocab_size=4096, min_frequency=1, show_progress=False, initial_alphabet=alphabet,
                                  end_of_word_suffix=_END)  # fmt: skip
    learner.train_from_iterator(texts, trainer)
    merges = _settled([tuple(merge) for merge in json.loads(learner.to_str())["model"]["merges"]])
    tokens = [*alphabet, *(letter + _END for letter in alphabet), *("".join(merge) for merge in merges)]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys([*tokens, *_SPECIAL]))}
    begin, end = _SPECIAL
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        model_max_length=max_length,
        unk_token=end,
        bos_token=begin,
        eos_token=end,
        pad_token=end,
    )
