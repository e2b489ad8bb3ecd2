"""Planned rows in, their images out: weights and generator are found by name, checked, and drawn from in pieces."""

from __future__ import annotations

import math
import os
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ConditionError, PluginError, UnknownNameError
from astro_galaxysd.images.provenance import GENERATOR, PROMPT, WEIGHTS, WEIGHTS_REVISION
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.records import GenerationRequest, WeightCard

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.plugins.manager import Registered
    from astro_galaxysd.plugins.protocols import Generator

__all__ = ["DEFAULT_WEIGHTS", "Drawing", "InterruptedWarning", "estimate", "load_generator", "weight_card"]

#: Weights that are used where none are named.
DEFAULT_WEIGHTS = "mini"
#: Rows between two looks at the progress bar and the keyboard.
_CHUNK = 32
#: Share of the machine's matrix-product rate that sampling reaches on CPUs; see benchmarks/throughput.py.
_EFFICIENCY = 0.3


class InterruptedWarning(UserWarning):
    """Drawing was interrupted; what was finished is kept."""


def load_generator(
    weights: str | os.PathLike[str] = DEFAULT_WEIGHTS,
    *,
    generator: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
) -> Generator:
    """Load a generator and its weights.

    Parameters
    ----------
    weights : str or path
        A name of ``galaxysd plugins`` (``"mini"`` ships with the package) or a diffusers folder.
    generator : str, optional
        Name of the generator plug-in; by default the one the weights belong to.
    steps, guidance : optional
        Sampling; by default what the weights recommend.

    Returns
    -------
    Generator
        With ``generate(conditions, *, batch_size)``.

    Raises
    ------
    UnknownNameError
        If neither a folder nor a known name is given, or the generator is not known.
    WeightsError
        If the weights are damaged.
    ConditionError
        If `steps` or `guidance` is out of range.

    Examples
    --------
    >>> from astropy.table import Table
    >>> generator = load_generator("mini", steps=2)
    >>> batch = generator.generate(Table({"prompt": ["sdss, merger"], "seed": [7]}))
    >>> batch.images.shape, batch.images.dtype
    ((1, 128, 128, 3), dtype('uint8'))
    """
    card = weight_card(weights)
    name = card.generator if generator is None else generator
    loaded: Generator = get_registry().create("generator", name, card, steps=steps, guidance=guidance)
    return loaded


def weight_card(weights: str | os.PathLike[str]) -> WeightCard:
    """Card of registered weights, or one made for a folder."""
    registry = get_registry()
    text = os.fspath(weights)
    if text in registry.records_of("weights"):
        card: WeightCard = registry.get("weights", text)
        return card
    if Path(text).expanduser().is_dir():
        return WeightCard(name=Path(text).resolve().name, location=text)
    raise UnknownNameError("weights", text, registry.records_of("weights"), "A diffusers folder can be given too.")


def estimate(n_rows: int, card: WeightCard, *, steps: int | None, guidance: float | None) -> dict[str, float | None]:
    """Seconds and megabytes that drawing takes here, from the card and a matrix product timed now."""
    if not card.gflop:
        return {"seconds": None, "memory_mb": None}
    size = 768
    matrix = np.ones((size, size), dtype=np.float32)
    best = math.inf
    for _ in range(3):
        start = time.perf_counter()
        matrix @ matrix
        best = min(best, time.perf_counter() - start)
    rate = 2 * size**3 / best / 1e9 * _EFFICIENCY
    calls = 1 if (card.guidance if guidance is None else guidance) == 1 else 2
    work = n_rows * (card.steps if steps is None else steps) * calls * card.gflop
    return {
        "seconds": round(work / rate, 1),
        "memory_mb": round(card.memory + n_rows * card.image_size**2 * 3 / 1e6, 1),
    }


class Drawing:
    """Planned rows on their way through a generator: checked first, then drawn in pieces that survive an interrupt."""

    def __init__(
        self,
        conditions: Table,
        weights: str | os.PathLike[str],
        generator: str | Generator | None,
        steps: int | None,
        guidance: float | None,
        batch_size: int | None,
        progress: bool,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ConditionError(f"batch_size = {batch_size}: give a whole number of at least 1")
        self.conditions, self.progress = conditions, progress
        self.chunk = batch_size or _CHUNK
        self.registry = get_registry()
        self.found: Registered | None = None
        if generator is None or isinstance(generator, str):
            card = weight_card(weights)
            name = generator or self._choose(card)
            self.found = self.registry.find("generator", name)
            self.generator: Generator = load_generator(weights, generator=name, steps=steps, guidance=guidance)
        else:
            self.generator, name = generator, type(generator).__name__
        self.request = GenerationRequest(conditions, name, os.fspath(weights), steps, guidance, batch_size)
        check = getattr(self.generator, "check", None)
        if check is not None:
            check([str(prompt) for prompt in conditions[PROMPT]])

    def _choose(self, card: WeightCard) -> str:
        """The weights' own generator; where the weights are the default ones, plug-ins may choose another."""
        if card.name != DEFAULT_WEIGHTS:
            return card.generator
        return self.registry.select_generator(self.conditions)

    def run(self) -> tuple[np.ndarray, dict[str, Any]]:
        """Images of the finished rows, shape (n, H, W, 3), uint8, and what holds for all of them."""
        from tqdm import tqdm

        self.registry.before_generate(self.request)
        pieces: list[np.ndarray] = []
        provenance: dict[str, Any] = {}
        total = len(self.conditions)
        with tqdm(total=total, unit="galaxy", disable=not self.progress) as bar:
            try:
                for start in range(0, total, self.chunk):
                    images, provenance = self._draw(slice(start, start + self.chunk))
                    pieces.append(images)
                    bar.update(len(images))
            except KeyboardInterrupt:
                if not pieces:
                    raise
                done = sum(map(len, pieces))
                warnings.warn(
                    f"interrupted: {done} of {total} rows were drawn and are kept", InterruptedWarning, stacklevel=4
                )
        return np.concatenate(pieces), provenance

    def _draw(self, rows: slice) -> tuple[np.ndarray, dict[str, Any]]:
        part = self.conditions[rows]
        if self.found is None:
            batch = self.generator.generate(part, batch_size=self.chunk)
        else:
            with self.registry.guard("generate", self.found):
                batch = self.generator.generate(part, batch_size=self.chunk)
        if len(batch) != len(part):
            raise PluginError(
                f"generator {self.request.generator!r} returned {len(batch)} images for {len(part)} rows; "
                "it must return one image a row, in order"
            )
        self.registry.after_generate(self.request, batch)
        shared = {GENERATOR: self.request.generator, WEIGHTS: "", WEIGHTS_REVISION: ""} | batch.meta
        return np.asarray(batch.images), shared
