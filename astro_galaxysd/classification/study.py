"""Every arm on the same labelled galaxies, again and again: a split table in, scores of its galaxies out.

For each run the training galaxies of the class are put in another order; the first ones are those whose labels an arm
is told. So the galaxies of a run with few labels are among those of the same run with more. The others, of which there
are enough, are the same in all runs. What was drawn and scored is kept in a folder.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from astro_galaxysd.classification.arms import ARMS, Arm, Rows, assemble, candidates, drawn_for
from astro_galaxysd.classification.classifiers import Scorer, told_apart
from astro_galaxysd.classification.curves import best_threshold
from astro_galaxysd.classification.drawn import as_rows
from astro_galaxysd.conditions.seeds import stream
from astro_galaxysd.errors import ConditionError
from astro_galaxysd.images.files import atomic_path, make_folder, rehearse_path
from astro_galaxysd.images.storage import read_table, write_table

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Key", "Scores", "Setting", "Store", "Study"]

_IDENTITY = "verdict.json"


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


class Store:
    """A folder of arrays and tables that are made once; without a folder nothing is kept.

    Parameters
    ----------
    folder : Path or None
        Made where it is missing.
    identity : mapping
        What they follow from, JSON-able.

    Raises
    ------
    ConditionError
        If the folder holds what follows from something else.
    OutputError
        If it can't be written.
    """

    def __init__(self, folder: Path | None, identity: Mapping[str, Any]) -> None:
        self._folder = folder
        if folder is None:
            return
        make_folder(folder)
        path = folder / _IDENTITY
        told = json.loads(json.dumps(dict(identity)))
        rehearse_path(path, overwrite=True)
        known = _read_identity(path) if path.exists() else told
        differ = sorted(name for name in {*told, *known} if told.get(name) != known.get(name))
        if differ:
            raise ConditionError(
                f"{folder} belongs to another verdict, which differs in {', '.join(differ)}; name another"
            )
        with atomic_path(path, overwrite=True) as partial:
            partial.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")

    @staticmethod
    def seed(folder: str | os.PathLike[str]) -> int | None:
        """The seed of the study in a folder, None where there is none."""
        path = Path(folder) / _IDENTITY
        seed = _read_identity(path).get("seed") if path.is_file() else None
        return seed if isinstance(seed, int) else None

    def array(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of a name, read or made."""
        if self._folder is None:
            return make()
        path = self._folder / f"{name}.npy"
        if path.exists():
            try:
                return np.asarray(np.load(path))
            except (OSError, EOFError, ValueError) as error:
                raise ConditionError(f"{path} is damaged ({error}); delete it, and it is made again") from error
        made, file = make(), io.BytesIO()
        np.save(file, made)
        with atomic_path(path, overwrite=True) as partial:
            partial.write_bytes(file.getvalue())
        return made

    def table(self, name: str, make: Callable[[], Table]) -> Table:
        """The table of a name, read or made."""
        if self._folder is None:
            return make()
        path = self._folder / f"{name}.fits"
        if not path.exists():
            write_table(make(), path)
        return read_table(path)


def _read_identity(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConditionError(f"{path} is damaged ({error}); name another folder") from error
    return found if isinstance(found, dict) else {}


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
    ) -> None:
        self.rows, self.parts, self.setting, self.store = rows, dict(parts), setting, store
        self._draw_class, self._draw_others, self._features = draw_class, draw_others, features
        self._agreement, self._learn = agreement, learn
        self._made: dict[str, tuple[object, Rows]] = {}

    def told(self, positives: int, run: int) -> np.ndarray:
        """Rows whose labels the arms of a run are told, those of the class first."""
        return np.concatenate([self._shuffled(True, f"run {run}")[:positives], self._told_others()])

    def _told_others(self) -> np.ndarray:
        return self._shuffled(False, "others")[: self.setting.others]

    def _shuffled(self, positive: bool, which: str) -> np.ndarray:
        training = self.parts["train"]
        rows = training[self.rows.positive[training] == positive]
        return stream(self.setting.seed, which).permutation(rows)

    def scores(self, key: Key) -> Scores:
        """Scores of one classifier."""
        evaluated = np.concatenate([self.parts["validation"], self.parts["test"]])
        name = f"{key.arm}-{key.positives}-{key.ratio:g}-{key.run}"
        found = self.store.array(name, lambda: self._scored(key, evaluated))
        return Scores(*np.split(found, [len(self.parts["validation"])]))

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
        if kind not in self._made or self._made[kind][0] != which:
            seed = int(stream(self.setting.seed, f"{kind} {which}").integers(2**62))
            drawn = self.store.table(f"drawn-{kind}-{which}", lambda: draw(sources, number, seed))
            height, width = self.rows.images.shape[1:3]
            self._made[kind] = which, as_rows(drawn, (height, width), self._features, positive=kind == "class")
        return self._made[kind][1]

    def _scored(self, key: Key, evaluated: np.ndarray) -> np.ndarray:
        arm = next(arm for arm in self.setting.arms if arm.name == key.arm)
        real = self.rows.take(self.told(key.positives, key.run))
        seed = int(stream(self.setting.seed, f"learn {key.positives} {key.run}").integers(2**31))
        training = real
        if arm.synthetic:
            number = candidates(arm, key.ratio, len(real.positive))
            made = self.of_class(key.positives, key.run), self.others()
            if arm.keep:
                made = self._kept(arm, real, [rows.take(slice(number)) for rows in made], seed)
            training = assemble(arm, real, *made, key.ratio)
        return self._learn(arm, training, seed)(self.rows.take(evaluated))

    def _kept(self, arm: Arm, real: Rows, made: Sequence[Rows], seed: int) -> tuple[Rows, Rows]:
        """Synthetic galaxies of both kinds, those first that the arm keeps."""
        if arm.keep == "agreed":
            ranks = [sign * self._agreement(real, rows) for sign, rows in zip((1, -1), made, strict=True)]
        else:
            score = self._learn(ARMS["real"], real, seed)
            validation = self.rows.take(self.parts["validation"])
            threshold = best_threshold(validation.positive, score(validation))
            ranks = [-np.abs(score(rows) - threshold) for rows in made]
        of_class, others = (rows.take(np.argsort(-rank, kind="stable")) for rows, rank in zip(made, ranks, strict=True))
        return of_class, others
