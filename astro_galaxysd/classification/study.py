"""Every arm on the same labelled galaxies, again and again: a split table in, scores of its galaxies out.

For each run the training galaxies of the class are put in another order; the first ones are those whose labels an arm
is told. So the galaxies of a run with few labels are among those of the same run with more. The others, of which there
are enough, are the same in all runs. What was drawn and scored is kept in a folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from astro_galaxysd.classification.arms import ARMS, Arm, Rows, assemble, candidates, drawn_for
from astro_galaxysd.classification.classifiers import Scorer, told_apart
from astro_galaxysd.classification.curves import best_threshold
from astro_galaxysd.classification.drawn import as_rows
from astro_galaxysd.classification.network import SIDE
from astro_galaxysd.classification.store import Store
from astro_galaxysd.conditions.seeds import stream
from astro_galaxysd.images.codec import fit_size
from astro_galaxysd.learning.threads import side_by_side

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Key", "Scores", "Setting", "Study"]


@dataclass(frozen=True)
class Setting:
    """What is repeated how often.

    Parameters
    ----------
    positives : tuple of int
        Labelled galaxies of the class, rising.
    others : int
        Labelled galaxies that are not.
    ratios : tuple of float
        Synthetic galaxies for each labelled one.
    runs : int
    arms : tuple of Arm
    seed : int
    """

    positives: tuple[int, ...]
    others: int
    ratios: tuple[float, ...]
    runs: int
    arms: tuple[Arm, ...]
    seed: int

    @property
    def control(self) -> float:
        """The ratio of arms that are tried at one alone: that nearest to 1."""
        return min(self.ratios, key=lambda ratio: abs(np.log(ratio)))

    @property
    def ways(self) -> list[tuple[Arm, float]]:
        """Arms and the ratios at which each is tried; 0 for those without synthetic galaxies."""
        return [(arm, ratio) for arm in self.arms for ratio in self._ratios_of(arm)]

    def _ratios_of(self, arm: Arm) -> tuple[float, ...]:
        if not arm.synthetic:
            return (0.0,)
        return self.ratios if arm.synthetic == "asked" and not arm.keep else (self.control,)

    def keys(self) -> Iterator[Key]:
        """Every combination that is learnt; those with the same synthetic galaxies one after another."""
        for run in range(self.runs):
            for number in self.positives:
                for arm, ratio in self.ways:
                    yield Key(number, arm.name, ratio, run)


class Key(NamedTuple):
    """One classifier."""

    positives: int
    arm: str
    ratio: float
    run: int


class Scores(NamedTuple):
    """Of the validation and the test galaxies."""

    validation: np.ndarray
    test: np.ndarray


class Study:
    """The galaxies of a split table, and who learns from them.

    Parameters
    ----------
    rows : Rows
        Of all labelled galaxies.
    parts : dict of str to ndarray, int
        Rows for training, validation and test.
    setting : Setting
    store : Store
    draw_class, draw_others : callable
        Rows of labelled galaxies whose votes are taken, a number and a seed in, a table of synthetic galaxies out.
    features : callable
        Features of images.
    agreement : callable
        Labelled galaxies and others in, how surely a reader finds the class in each of the others out.
    learn : callable
        Arm, training rows and a seed in, what scores other rows out.
    parallel : bool
        Whether `learn` may be called from several threads at a time.
    """

    def __init__(
        self,
        rows: Rows,
        parts: Mapping[str, np.ndarray],
        setting: Setting,
        store: Store,
        *,
        draw_class: Callable[[np.ndarray, int, int], Table],
        draw_others: Callable[[np.ndarray, int, int], Table],
        features: Callable[[np.ndarray], np.ndarray],
        agreement: Callable[[Rows, Rows], np.ndarray],
        learn: Callable[[Arm, Rows, int], Scorer],
        parallel: bool = True,
    ) -> None:
        self.rows, self.parts, self.setting, self.store = rows, dict(parts), setting, store
        self._draw_class, self._draw_others, self._features = draw_class, draw_others, features
        self._agreement, self._learn, self._parallel = agreement, learn, parallel
        self._made: dict[str, tuple[str, Rows]] = {}
        self._plain: tuple[object, Scorer] | None = None
        self._plain_lock = Lock()

    def told(self, positives: int, run: int) -> np.ndarray:
        """Rows whose labels the arms of a run are told, those of the class first."""
        return np.concatenate([self._shuffled(True, f"run {run}")[:positives], self._told_others()])

    def _told_others(self) -> np.ndarray:
        return self._shuffled(False, "others")[: self.setting.others]

    def _shuffled(self, positive: bool, which: str) -> np.ndarray:
        training = self.parts["train"]
        rows = training[self.rows.positive[training] == positive]
        return stream(self.setting.seed, which).permutation(rows)

    def each(self) -> Iterator[tuple[Key, Scores]]:
        """Every classifier and its scores; classifiers learn side by side, each on one thread."""
        for (positives, run), group in groupby(self.setting.keys(), lambda key: (key.positives, key.run)):
            keys = list(group)
            self._prepare(positives, run, keys)
            yield from zip(keys, side_by_side(self.scores, keys, None if self._parallel else 1), strict=True)

    def scores(self, key: Key) -> Scores:
        """Scores of one classifier."""
        found = self.store.array(_name(key), lambda: self._scored(key))
        return Scores(*np.split(found, [len(self.parts["validation"])]))

    def _prepare(self, positives: int, run: int, keys: Iterable[Key]) -> None:
        """Draw what classifiers that learn side by side share."""
        if any(ARMS[key.arm].synthetic and not self.store.holds(_name(key)) for key in keys):
            self.of_class(positives, run)
            self.others()

    def of_class(self, positives: int, run: int) -> Rows:
        """Synthetic galaxies with votes of the labelled ones of the class, as many as any arm needs."""
        number = drawn_for(self.setting.ways, positives + self.setting.others)[0]
        sources = self.told(positives, run)[:positives]
        return self._drawn("class", f"{positives}-{run}", self._draw_class, sources, number)

    def others(self) -> Rows:
        """Synthetic galaxies with votes of the labelled ones that are not of the class."""
        number = drawn_for(self.setting.ways, self.setting.positives[-1] + self.setting.others)[1]
        return self._drawn("others", "all", self._draw_others, self._told_others(), number)

    def told_apart(self, positives: int) -> float | None:
        """How surely synthetic galaxies of the class are told from real ones; None where no arm has any.

        Real ones are all of the training part, also those whose labels no arm is told.
        """
        if not any(arm.synthetic in ("asked", "positives") for arm in self.setting.arms):
            return None
        training = self.rows.take(self.parts["train"])
        return told_apart(training.take(training.positive), self.of_class(positives, 0), seed=self.setting.seed % 2**32)

    def _drawn(
        self, kind: str, which: str, draw: Callable[[np.ndarray, int, int], Table], sources: np.ndarray, number: int
    ) -> Rows:
        """Synthetic galaxies of a kind; the last ones are remembered."""
        if not number:
            return self.rows.take(slice(0))
        if kind not in self._made or self._made[kind][0] != which:
            seed = int(stream(self.setting.seed, f"{kind} {which}").integers(2**62))
            drawn = self.store.table(f"drawn-{kind}-{which}", lambda: draw(sources, number, seed))
            height, width = self.rows.images.shape[1:3]
            self._made[kind] = which, as_rows(drawn, (height, width), self._features, positive=kind == "class")
        return self._made[kind][1]

    def _scored(self, key: Key) -> np.ndarray:
        arm = ARMS[key.arm]
        real = self.rows.take(self.told(key.positives, key.run))
        seed = int(stream(self.setting.seed, f"learn {key.positives} {key.run}").integers(2**31))
        training = real
        if arm.synthetic:
            of_class, others = self.of_class(key.positives, key.run), self.others()
            if arm.keep:
                few = slice(candidates(arm, key.ratio, len(real.positive)))
                of_class, others = self._best_first(key, real, of_class.take(few), others.take(few), seed)
            training = assemble(arm, real, of_class, others, key.ratio)
        score = self._learn_plainly(key, real, seed) if arm is ARMS["real"] else self._learn(arm, training, seed)
        return score(self._evaluated)

    @cached_property
    def _evaluated(self) -> Rows:
        """Validation and test galaxies, as small as the network sees them: nobody else looks at their images."""
        rows = self.rows.take(np.concatenate([self.parts["validation"], self.parts["test"]]))
        return rows._replace(images=fit_size(rows.images, (SIDE, SIDE)))

    def _learn_plainly(self, key: Key, real: Rows, seed: int) -> Scorer:
        """From real galaxies alone; the last such classifier is remembered, as one arm chooses by it."""
        with self._plain_lock:
            if self._plain is None or self._plain[0] != (key.positives, key.run):
                self._plain = (key.positives, key.run), self._learn(ARMS["real"], real, seed)
            return self._plain[1]

    def _best_first(self, key: Key, real: Rows, of_class: Rows, others: Rows, seed: int) -> tuple[Rows, Rows]:
        """Synthetic galaxies of both kinds, those first that the arm keeps."""
        if ARMS[key.arm].keep == "agreed":
            ranks = self._agreement(real, of_class), -self._agreement(real, others)
        else:
            score = self._learn_plainly(key, real, seed)
            validation = self.rows.take(self.parts["validation"])
            threshold = best_threshold(validation.positive, score(validation))
            ranks = -np.abs(score(of_class) - threshold), -np.abs(score(others) - threshold)
        first, second = (np.argsort(-rank, kind="stable") for rank in ranks)
        return of_class.take(first), others.take(second)


def _name(key: Key) -> str:
    """What the scores of a classifier are kept as."""
    return f"{key.arm}-{key.positives}-{key.ratio:g}-{key.run}"
