"""Ways to learn a class from few labelled galaxies, with and without synthetic ones, that are compared with each other.

Every arm gets the same labelled galaxies. Synthetic ones are added to both classes, as many to each, else a classifier
learns "synthetic" for the class. Two arms tell whether it did, and whether the prompts matter: `positives_only` adds
them to the class alone, `wrong_prompts` takes galaxies that were drawn with votes of others and calls half of them the
class. Two more choose among twice as many synthetic galaxies as they add.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from astro_galaxysd.errors import UnknownNameError

__all__ = ["ARMS", "Arm", "Rows", "assemble", "candidates", "choose_arms", "drawn_for"]


class Rows(NamedTuple):
    """Galaxies: images, features of them, and which are of the class."""

    images: np.ndarray
    features: np.ndarray
    positive: np.ndarray

    def take(self, rows: np.ndarray | slice) -> Rows:
        """Some of them."""
        return Rows(self.images[rows], self.features[rows], self.positive[rows])

    def labelled(self, positive: bool) -> Rows:
        """The same galaxies with another label."""
        return self._replace(positive=np.full(len(self.positive), positive))


@dataclass(frozen=True)
class Arm:
    """A way to learn.

    Parameters
    ----------
    name, told : str
        Key, and what a reader is told.
    balance : str
        ``""``, ``"weights"``: the rare class counts more in the loss, or ``"drawn"``: it is drawn more often.
    focal : bool
        Whether what is already told apart counts less.
    synthetic : str
        ``""``: none; ``"asked"``; ``"positives"``; ``"wrong"``.
    linear : bool
        A linear model on what a frozen network sees, in place of a network that learns from nothing.
    keep : str
        Which half of the synthetic galaxies is kept: ``""``: all of them; ``"agreed"``: those in which a reader finds
        most surely what was asked for; ``"unsure"``: those of which a classifier of real galaxies is least sure.
    """

    name: str
    told: str
    balance: str = ""
    focal: bool = False
    synthetic: str = ""
    linear: bool = False
    keep: str = ""


#: Arms by name, in the order of tables.
ARMS = {
    arm.name: arm
    for arm in (
        Arm("real", "real galaxies only"),
        Arm("class_weights", "class weights", balance="weights"),
        Arm("focal", "focal loss", focal=True),
        Arm("oversampled", "oversampling", balance="drawn"),
        Arm("transfer", "linear model on a frozen reader of votes", balance="weights", linear=True),
        Arm("synthetic", "synthetic galaxies", synthetic="asked"),
        Arm("transfer_synthetic", "the same linear model, synthetic galaxies", "weights", False, "asked", True),
        Arm("filtered", "synthetic galaxies in which a reader finds what was asked", synthetic="asked", keep="agreed"),
        Arm("uncertain", "synthetic galaxies that are hard to tell", synthetic="asked", keep="unsure"),
        Arm("wrong_prompts", "synthetic galaxies with wrong prompts", synthetic="wrong"),
        Arm("positives_only", "synthetic galaxies of the class alone", synthetic="positives"),
    )
}


def choose_arms(names: object) -> list[Arm]:
    """Arms by name, and those with which they are compared: ``real``, and ``transfer``; all where none is named.

    Raises
    ------
    UnknownNameError
    """
    if names is None:
        return list(ARMS.values())
    chosen = [names] if isinstance(names, str) else list(names)  # type: ignore[call-overload]
    for name in chosen:
        if name not in ARMS:
            raise UnknownNameError("arm", str(name), ARMS)
    compared = ["real", *(["transfer"] if "transfer_synthetic" in chosen else [])]
    return [arm for name, arm in ARMS.items() if name in (*compared, *chosen)]


def drawn_for(ways: Iterable[tuple[Arm, float]], real: int) -> tuple[int, int]:
    """Synthetic galaxies of the class, and others, that arms at their ratios need for `real` labelled ones."""
    of_class = others = 0
    for arm, ratio in ways:
        number = candidates(arm, ratio, real)
        if arm.synthetic in ("asked", "positives"):
            of_class = max(of_class, number)
        if arm.synthetic == "asked":
            others = max(others, number)
        if arm.synthetic == "wrong":
            others = max(others, 2 * number)
    return of_class, others


def candidates(arm: Arm, ratio: float, real: int) -> int:
    """Synthetic galaxies of each kind that an arm adds for `real` labelled ones, or that it chooses half of."""
    return _half(ratio, real) * (2 if arm.keep else 1)


def assemble(arm: Arm, real: Rows, of_class: Rows, others: Rows, ratio: float) -> Rows:
    """What an arm learns from.

    Parameters
    ----------
    arm : Arm
    real, of_class, others : Rows
        Labelled galaxies; synthetic ones with votes of the class, and with votes of others, those to be kept first.
    ratio : float
        Synthetic galaxies for every real one, half of them of the class.
    """
    half = _half(ratio, len(real.positive))
    added = {
        "": [],
        "asked": [of_class.take(slice(half)).labelled(True), others.take(slice(half)).labelled(False)],
        "positives": [of_class.take(slice(half)).labelled(True)],
        "wrong": [others.take(slice(half)).labelled(False), others.take(slice(half, 2 * half)).labelled(True)],
    }[arm.synthetic]
    parts = [real, *added]
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in Rows._fields))


def _half(ratio: float, real: int) -> int:
    return max(1, round(0.5 * ratio * real))
