"""Weighted prompts in, text-encoder hidden states out, with the published arithmetic.

The hidden states after the final layer norm of every token inside braces are multiplied by the feature's weight
(begin, end and padding tokens untouched), then the whole tensor is rescaled to its old mean (Ma et al. 2026).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from astro_galaxysd.conditions.prompts import parse_prompt
from astro_galaxysd.errors import PromptError

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer

__all__ = ["PromptStates", "apply_weights", "check_prompts", "encode_prompts", "tokenise"]

#: Prompts that are encoded at a time, padded where there are fewer, as bits can change with their number.
_TOGETHER = 8
#: Prompts that are kept: 10 MB for the embedded model, 60 MB for Stable Diffusion.
_KEPT = 256


def tokenise(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and token weights of weighted prompts.

    Parameters
    ----------
    tokenizer : CLIPTokenizer
    prompts : sequence of str, length N

    Returns
    -------
    ids : Tensor, shape (N, L), int64
        Padded to the tokenizer's `model_max_length`, L.
    weights : Tensor, shape (N, L), float32
        1 outside braces.

    Raises
    ------
    PromptError
        If a prompt is malformed or has more tokens than fit; the overflow is named.
    """
    length = tokenizer.model_max_length
    ids = torch.full((len(prompts), length), tokenizer.pad_token_id, dtype=torch.int64)
    weights = torch.ones(len(prompts), length)
    for row, prompt in enumerate(prompts):
        tokens, factors = _tokens(tokenizer, prompt)
        if len(tokens) > length - 2:
            lost = tokenizer.decode(tokens[length - 2 :])
            raise PromptError(
                f"prompt too long: {len(tokens)} tokens where {length - 2} fit; {lost!r} would be lost from "
                f"{prompt!r}. "
                "Shorten it or drop features of little weight."
            )
        ids[row, 0] = tokenizer.bos_token_id
        ids[row, 1 : len(tokens) + 1] = torch.tensor(tokens, dtype=torch.int64)
        ids[row, len(tokens) + 1] = tokenizer.eos_token_id
        weights[row, 1 : len(tokens) + 1] = torch.tensor(factors)
    return ids, weights


def _tokens(tokenizer: CLIPTokenizer, prompt: str) -> tuple[list[int], list[float]]:
    tokens: list[int] = []
    factors: list[float] = []
    for segment in parse_prompt(prompt):
        new = tokenizer(segment.text, add_special_tokens=False, truncation=False, verbose=False).input_ids
        tokens += new
        factors += [segment.weight] * len(new)
    return tokens, factors


def check_prompts(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> None:
    """Raise `PromptError` for the first prompt that is malformed or too long."""
    tokenise(tokenizer, list(dict.fromkeys(prompts)))


def apply_weights(hidden: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Multiply token states by their weights and restore each tensor's mean.

    Parameters
    ----------
    hidden : Tensor, shape (N, L, D)
        States after the final layer norm.
    weights : Tensor, shape (N, L)
        Token weights; a row of ones is returned as it was.
    """
    weighted = hidden * weights[..., None]
    plain = (weights == 1).all(dim=1)[:, None, None]
    # a mean of zero must not reach the gradients of rows that are returned as they were
    mean = torch.where(plain, 1.0, weighted.mean(dim=(1, 2), keepdim=True))
    return torch.where(plain, hidden, weighted * (hidden.mean(dim=(1, 2), keepdim=True) / mean))


def encode_prompts(
    text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, prompts: Sequence[str], *, masked_padding: bool = False
) -> torch.Tensor:
    """Hidden states of weighted prompts.

    Parameters
    ----------
    text_encoder : CLIPTextModel
    tokenizer, prompts
        As `tokenise`, which also says what is raised.
    masked_padding : bool
        Whether tokens pay no attention to the padding, as Ma et al. (2026) sampled.

    Returns
    -------
    Tensor, shape (N, L, D), float32
    """
    ids, weights = tokenise(tokenizer, prompts)
    device = text_encoder.device
    mask = _up_to_the_end(ids, int(tokenizer.eos_token_id)).to(device) if masked_padding else None
    output = text_encoder(ids.to(device), attention_mask=mask)
    return apply_weights(output.last_hidden_state.float(), weights.to(device))  # means need more digits than bf16 has


def _up_to_the_end(ids: torch.Tensor, end: int) -> torch.Tensor:
    """1 up to the first end token of each row, 0 behind it, where padding may be the same token."""
    ends = (ids == end).long()
    return (ends.cumsum(dim=1) - ends == 0).long()


class PromptStates:
    """Hidden states of prompts, each encoded once as long as it is remembered; threads may share it.

    Parameters
    ----------
    text_encoder : CLIPTextModel
    tokenizer : CLIPTokenizer
    masked_padding : bool
        As `encode_prompts`.
    """

    def __init__(self, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, *, masked_padding: bool = False) -> None:
        self._text_encoder, self._tokenizer, self._masked_padding = text_encoder, tokenizer, masked_padding
        self._known: dict[str, torch.Tensor] = {}
        self._lock = threading.Lock()

    def __call__(self, prompts: Sequence[str]) -> torch.Tensor:
        """States of prompts, shape (N, L, D), float32; bits of one do not depend on the others.

        Raises
        ------
        PromptError
            As `tokenise`.
        """
        found = {prompt: self._known.get(prompt) for prompt in prompts}
        missing = [prompt for prompt, states in found.items() if states is None]
        for start in range(0, len(missing), _TOGETHER):
            part = missing[start : start + _TOGETHER]
            padded = part + part[-1:] * (_TOGETHER - len(part))
            encoded = encode_prompts(
                self._text_encoder, self._tokenizer, padded, masked_padding=self._masked_padding
            )  # fmt: skip
            found.update(zip(part, (states.clone() for states in encoded), strict=False))  # no views of all eight
        self._keep({prompt: states for prompt in missing if (states := found[prompt]) is not None})
        return torch.stack([states for prompt in prompts if (states := found[prompt]) is not None])

    def _keep(self, new: dict[str, torch.Tensor]) -> None:
        with self._lock:
            self._known.update(new)
            for prompt in list(self._known)[:-_KEPT]:
                del self._known[prompt]
