"""Names of parameters in files of Stable Diffusion 1 brought to those that diffusers and transformers have now.

Text encoders come with a level ``text_model.`` before their names or without it: transformers dropped it in 5.6.
Autoencoders from before 2023 call the projections of their attention query, key, value and proj_attn.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from astro_galaxysd.diffusion.safefiles import TensorInFile, shown
from astro_galaxysd.errors import WeightsError

__all__ = ["PARTS", "named_as", "part_of", "renamed"]

#: Parts whose parameters are in files.
PARTS = ("unet", "text_encoder", "vae")
#: By which name each is known.
_TELLING = {
    "unet": re.compile(r"(conv_in|conv_out|time_embedding|(down|mid|up)_blocks?)\."),
    "text_encoder": re.compile(
        r"(text_model\.)?(embeddings|final_layer_norm|encoder\.layers\.\d+\.(self_attn|mlp|layer_norm\d))\."
    ),
    "vae": re.compile(r"(encoder|decoder)\.(conv_in|conv_out|(down|mid|up)_blocks?)\."),
}
_LEVEL = "text_model."
#: Numbers from 0 to 76, which text encoders stored before transformers 4.31; they are not learnt.
_POSITIONS = "embeddings.position_ids"
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}

Tensor = TypeVar("Tensor", bound=TensorInFile)


def part_of(names: Iterable[str]) -> str | None:
    """Which of `PARTS` has all parameters of these names; None for other names, those of several parts, or none."""
    names = list(names)
    fits = [part for part, telling in _TELLING.items() if any(telling.match(name) for name in names)]
    return fits[0] if len(fits) == 1 else None


def named_as(wanted: Iterable[str], tensors: Mapping[str, Tensor], part: str, where: str) -> dict[str, Tensor]:
    """Tensors under the names that a model has for them.

    Parameters
    ----------
    wanted : iterable of str
        The model's names.
    tensors : mapping of str to TensorInFile
        By their names in the files.
    part : str
        One of `PARTS`.
    where : str
        Which files, for the error.

    Returns
    -------
    dict of str
        All of them but the positions of text encoders; what the model does not know keeps its name.

    Raises
    ------
    WeightsError
        If two would have one name.
    """
    level = _LEVEL if any(name.startswith(_LEVEL) for name in wanted) else ""
    if part != "text_encoder":
        return renamed(tensors, {name: _modern(name) for name in tensors} if part == "vae" else {}, where)
    bare = {name: name.removeprefix(_LEVEL) for name in tensors}
    learnt = {name: tensor for name, tensor in tensors.items() if bare[name] != _POSITIONS}
    return renamed(learnt, {name: level + bare[name] for name in learnt}, where)


def renamed(tensors: Mapping[str, Tensor], names: Mapping[str, str], where: str) -> dict[str, Tensor]:
    """Tensors under other names.

    Parameters
    ----------
    tensors : mapping of str to TensorInFile
    names : mapping of str to str
        From old to new; others keep theirs.
    where : str
        Which files, for the error.

    Raises
    ------
    WeightsError
        If two would have one name.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        new = names.get(name, name)
        if new in found:
            raise WeightsError(f"{where}: {shown([new])} is there under two names; get the weights from their source")
        found[new] = tensor
    return found


def _modern(name: str) -> str:
    """The name that diffusers has now for a projection of an autoencoder's attention."""
    level, _, kind = name.rpartition(".")
    above, _, last = level.rpartition(".")
    if last in _OLD_ATTENTION and re.search(r"mid_block\.attentions\.\d+$", above):
        return f"{above}.{_OLD_ATTENTION[last]}.{kind}"
    return name
