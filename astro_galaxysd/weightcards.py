"""Weights by name: a name, a folder or a repository of the Hugging Face Hub in, the card that tells of them out.

What is asked of the Hub is which commit a name means, and the small file that says how to sample; weights are fetched
when they are loaded.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from astro_galaxysd.errors import ConditionError, HubError, HubNameError, UnknownNameError, WeightsError
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.records import WeightCard

__all__ = ["DEFAULT_WEIGHTS", "known_card", "pinned", "refuse_references", "weight_card"]

#: Weights that are used where none are named.
DEFAULT_WEIGHTS = "mini"
_SAMPLING = "sampling.json"


def weight_card(weights: str | os.PathLike[str]) -> WeightCard:
    """Card of registered weights, or one made for a folder or a repository of the Hub, at a commit.

    What ``sampling.json`` in it recommends is in the card: how to sample, and which base has the parts it lacks.

    Raises
    ------
    UnknownNameError
        If there is neither.
    WeightsError
        If the recommendation can't be read.
    HubError
        If the text is a name on the Hub, and what it names is not there.
    """
    text = os.fspath(weights)
    card = known_card(text)
    if card is not None:
        return _at_a_commit(card)
    from astro_galaxysd.hub.download import fetch_folder
    from astro_galaxysd.hub.names import parse_name
    from astro_galaxysd.hub.weights import list_weights

    names = get_registry().records_of("weights")
    try:
        where = parse_name(text)
    except HubNameError:
        note = "A folder can be given too, or organisation/name of a repository on the Hugging Face Hub."
        raise UnknownNameError("weights", text, names, note) from None
    try:
        listing = list_weights(where.name, where.revision)
        found = listing.by_path().keys() & {_SAMPLING}
        # a card of the repository says more than the repository
        for name in names:
            published: WeightCard = get_registry().get("weights", name)
            if published.location == f"hub:{where.name}":
                return replace(published, revision=listing.commit)
        told = _recommended(fetch_folder(where.name, listing.commit, patterns=[_SAMPLING]).path) if found else {}
    except HubError as error:
        error.add_note(f"{text!r} is neither a folder here nor a name of `galaxysd plugins`, so the Hub was asked")
        raise
    if not str(told.get("base", "hub:")).startswith("hub:"):
        raise WeightsError(
            f"{where}: {_SAMPLING} names the base {told['base']!r}, which is not on the Hub; name 'hub:...'"
        )
    return WeightCard(name=where.name, location=f"hub:{where.name}", revision=listing.commit, **told)


def _at_a_commit(card: WeightCard) -> WeightCard:
    """The card, with the commit that its repository has now where it names none."""
    if not card.location.startswith("hub:"):
        return card
    from astro_galaxysd.hub.names import is_commit, parse_name
    from astro_galaxysd.hub.weights import list_weights

    where = parse_name(card.location.removeprefix("hub:"), card.revision or None)
    known = where.revision or ""
    commit = known if is_commit(known) else list_weights(where.name, where.revision).commit
    return replace(card, location=f"hub:{where.name}", revision=commit)


def known_card(weights: str | os.PathLike[str]) -> WeightCard | None:
    """Card of registered weights or of a folder, without a question to the Hub; None for anything else."""
    text = os.fspath(weights)
    if text in get_registry().records_of("weights"):
        card: WeightCard = get_registry().get("weights", text)
        return card
    folder = Path(text).expanduser().absolute()  # workers and later calls may be elsewhere
    if folder.is_file():
        raise WeightsError(
            f"{text} is a file; give the folder that it is in, which may say in sampling.json how to sample"
        )
    if folder.is_dir():
        told = _recommended(folder)
        if told.get("base") and not told["base"].startswith(("hub:", "package:")):
            told["base"] = str(folder / Path(told["base"]).expanduser())
        return WeightCard(name=folder.resolve().name, location=str(folder), **told)
    return None


def pinned(weights: str | os.PathLike[str]) -> str:
    """What means the same weights at any time: ``organisation/name@commit`` for those of the Hub, else `weights`."""
    card = weight_card(weights)
    if not card.location.startswith("hub:"):
        return os.fspath(weights)
    return f"{card.location.removeprefix('hub:')}@{card.revision}"


def refuse_references(weights: str | os.PathLike[str], what: str) -> None:
    """Raise ConditionError for weights that begin with real galaxies, where `what` has none to give them."""
    card = known_card(weights)
    if card is not None and card.references:
        raise ConditionError(
            f"weights {card.name!r} begin with real galaxies, and {what} has none to give them that it does not test "
            "on; draw with augment_table or generate, or name other weights"
        )


def _recommended(folder: Path) -> dict[str, Any]:
    """What a folder has in ``sampling.json``; what is not there is as usual."""
    path = folder / _SAMPLING
    if not path.is_file():
        return {}
    types: dict[str, Any] = {
        "steps": int, "guidance": (int, float), "sampler": str, "turned": bool, "base": str, "image_size": int,
        "masked_padding": bool, "references": bool, "ema": bool, "licence": str,
    }  # fmt: skip
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} can't be read ({error}); mend or remove it") from error
    if not isinstance(content, dict) or any(
        name not in types or not isinstance(value, types[name]) for name, value in content.items()
    ):
        raise WeightsError(f"{path} holds {content!r}; {', '.join(types)} may stand there")
    return content
