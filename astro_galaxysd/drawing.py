"""Planned rows in, their images out: weights and generator are found by name, checked, and drawn from in pieces."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from copy import copy, deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ConditionError, PluginError
from astro_galaxysd.images.provenance import GENERATOR, PROMPT, WEIGHTS, WEIGHTS_REVISION
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.plugins.protocols import Generator
from astro_galaxysd.records import GenerationRequest, ImageBatch, WeightCard
from astro_galaxysd.references import reference_images
from astro_galaxysd.weightcards import DEFAULT_WEIGHTS, weight_card

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.plugins.manager import Registered

__all__ = [
    "Drawing",
    "InterruptedWarning",
    "choose_generator",
    "estimate",
    "keep_drawn",
    "load_generator",
    "warn_if_interrupted",
]

#: Rows between two steps of the progress bar, which an interrupt can cost, of generators that don't say `together`.
_CHUNK = 8
#: Rows that generators with a card's `gflop` draw at a time on each core, padded where there are fewer.
_TOGETHER = 8
#: Share of the machine's matrix-product rate that sampling reaches on CPUs; see benchmarks/throughput.py.
_EFFICIENCY = 0.45


class InterruptedWarning(UserWarning):
    """Drawing was interrupted; what was finished is kept."""


def warn_if_interrupted(finished: int, planned: int) -> None:
    """Warn the caller's caller; last of all, so that one who makes warnings errors finds the rows written."""
    if finished < planned:
        message = f"interrupted: {finished} of {planned} rows were drawn and are kept"
        warnings.warn(message, InterruptedWarning, stacklevel=3)


def load_generator(
    weights: str | os.PathLike[str] = DEFAULT_WEIGHTS,
    *,
    generator: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    references: Table | np.ndarray | None = None,
    device: str | None = None,
    precision: str = "auto",
    compiled: bool = False,
) -> Generator:
    """Load a generator and its weights.

    Parameters
    ----------
    weights : str or path
        A name of ``galaxysd plugins`` (``"mini"`` ships with the package), a folder with weights, or a repository of
        the Hugging Face Hub: ``"organisation/name"`` or ``"organisation/name@revision"``. A branch or tag is brought to
        its commit, which is the images' ``weights_revision``.
    generator : str, optional
        Name of the generator plug-in; by default the one the weights belong to.
    steps, guidance : optional
        Sampling; by default what the weights recommend.
    references : Table or ndarray of shape (N, H, W, 3), uint8, optional
        Real galaxies for weights that begin with them; of a table the column ``image`` of rows that are neither
        synthetic nor, by a column ``split``, of a test. Each row's seed says which one it begins with.
    device : str, optional
        As torch names it; by default a GPU where CUDA finds one, else the processor.
    precision : {"auto", "fp32", "bf16", "fp16"}
        ``"auto"``: fp32 on processors, bf16 or fp16 on GPUs.
    compiled : bool
        Whether torch compiles the network first, which takes a minute.

    Returns
    -------
    Generator
        With ``generate(conditions, *, batch_size)``.

    Raises
    ------
    UnknownNameError
        If neither a folder nor a known name is given, or the generator is not known.
    WeightsError
        If the weights are damaged, unsafe or incomplete.
    HubError
        If they can't be fetched.
    ConditionError
        If `steps` or `guidance` is out of range, weights need references and there are none, or there is no such
        device.

    Examples
    --------
    >>> from astropy.table import Table
    >>> generator = load_generator("mini", steps=2)
    >>> batch = generator.generate(Table({"prompt": ["sdss, merger"], "seed": [7]}))
    >>> batch.images.shape, batch.images.dtype
    ((1, 128, 128, 3), dtype('uint8'))
    """
    card = weight_card(weights)
    asked = {"device": (device, None), "precision": (precision, "auto"), "compiled": (compiled, False)}
    more = {name: value for name, (value, default) in asked.items() if value != default}
    return _load(card, generator or card.generator, steps, guidance, references, **more)


def _load(
    card: WeightCard,
    generator: str,
    steps: int | None,
    guidance: float | None,
    references: Table | np.ndarray | None,
    **more: Any,
) -> Generator:
    """A generator; plug-ins need to take only what was asked for."""
    if references is not None:
        more["references"] = reference_images(references)
    loaded: Generator = get_registry().create("generator", generator, card, steps=steps, guidance=guidance, **more)
    return loaded


def choose_generator(conditions: Table, card: WeightCard) -> str:
    """The weights' own generator; where the weights are the default ones, plug-ins may choose another.

    Parameters
    ----------
    conditions : Table
        Planned rows.
    card : WeightCard

    Returns
    -------
    str
        Its name.
    """
    registry = get_registry()
    default = registry.records_of("weights").get(DEFAULT_WEIGHTS)
    if default is None or card is not default.record:
        return card.generator
    return registry.select_generator(conditions)


def estimate(n_rows: int, card: WeightCard, *, steps: int | None, guidance: float | None) -> dict[str, float | None]:
    """Seconds and megabytes that drawing takes on this processor, from the card and a matrix product timed now."""
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
    together = _TOGETHER * len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else [0])
    work = math.ceil(n_rows / together) * together * (card.steps if steps is None else steps) * calls * card.gflop
    return {
        "seconds": round(work / rate, 1),
        "memory_mb": round(card.memory + n_rows * card.image_size**2 * 3 / 1e6, 1),
    }


class Drawing:
    """Planned rows on their way through a generator: checked first, then drawn in pieces that survive an interrupt.

    Parameters
    ----------
    conditions : Table
        Columns ``prompt`` (str) and ``seed`` (int64).
    generator : str, Generator or None
        Name of a plug-in's generator, a loaded one, or None for the one that weights and plug-ins choose. One with a
        method ``check(prompts)`` gets all prompts before it draws, and raises for one that it can't draw.
    weights, steps, guidance
        As `load_generator`, or a card; they don't go with a loaded generator.
    batch_size : int, optional
        Handed on to the generator.
    references : Table or ndarray, optional
        As `load_generator`.
    progress : bool
        Whether to show a bar.

    Raises
    ------
    ConditionError, PromptError, PluginError, UnknownNameError, WeightsError
        Whatever is wrong with generator, weights, sampling or prompts.
    """

    def __init__(
        self,
        conditions: Table,
        generator: str | Generator | None,
        *,
        weights: str | os.PathLike[str] | WeightCard = DEFAULT_WEIGHTS,
        steps: int | None = None,
        guidance: float | None = None,
        batch_size: int | None = None,
        references: Table | np.ndarray | None = None,
        progress: bool = True,
    ) -> None:
        if batch_size is not None and (not isinstance(batch_size, (int, np.integer)) or batch_size < 1):
            raise ConditionError(f"batch_size = {batch_size!r}: give a whole number of at least 1, or None")
        self.conditions, self.progress = conditions, progress
        self.registry = get_registry()
        self.found: Registered | None = None
        self.shared: dict[str, Any] = {}
        #: What loads the same generator elsewhere; empty for one that was given.
        self.settings: dict[str, Any] = {}
        if generator is None or isinstance(generator, str):
            card = weights if isinstance(weights, WeightCard) else weight_card(weights)
            name = generator or choose_generator(conditions, card)
            self.found = self.registry.find("generator", name)
            self.generator = _load(card, name, steps, guidance, references)
            self.shared = {WEIGHTS: card.name, WEIGHTS_REVISION: card.revision}
            self.settings = {
                "generator": name, "weights": card, "steps": steps, "guidance": guidance, "batch_size": batch_size,
                "references": references,
            }  # fmt: skip
        else:
            _check_loaded(generator, steps, guidance, references)
            self.generator, name = generator, type(generator).__name__
        self.shared[GENERATOR] = name
        of = self.shared.get(WEIGHTS, "")
        self.request = GenerationRequest(conditions, name, of, steps, guidance, batch_size)
        self.shared |= getattr(self.generator, "provenance", {})
        self.check(conditions)

    def check(self, conditions: Table) -> None:
        """Raise what the generator has against the prompts of rows, if it can tell before it draws."""
        check = getattr(self.generator, "check", None)
        if check is not None:
            with self._guard("check"):
                check([str(prompt) for prompt in conditions[PROMPT]])

    def of(self, conditions: Table) -> Drawing:
        """The same for other rows, which have been checked, with the generator that is loaded."""
        other = copy(self)
        other.conditions, other.request = conditions, replace(self.request, conditions=conditions)
        other.shared = dict(self.shared)
        return other

    def _guard(self, stage: str) -> AbstractContextManager[None]:
        """What a plug-in's generator raises is named and reported; a caller's own object is the caller's business."""
        return nullcontext() if self.found is None else self.registry.guard(stage, self.found)

    def run(self) -> tuple[np.ndarray, dict[str, Any]]:
        """Images of the finished rows and what holds for all of them.

        Returns
        -------
        ndarray, shape (n, H, W, 3), uint8
            After an interrupt, n is smaller than the number of rows; before anything is finished it is passed on.
        dict
            ``generator``, ``weights``, ``weights_revision`` ("" where not known) and what else the generator tells.

        Raises
        ------
        PluginError
            If a plug-in's generator fails, or returns something else than one uint8 image a row.
        KeyboardInterrupt
            If nothing is finished yet.
        """
        from tqdm import tqdm

        pieces: list[np.ndarray] = []
        total = len(self.conditions)
        with tqdm(total=total, unit="galaxy", disable=not self.progress) as bar:
            try:
                for images in self.pieces():
                    pieces.append(images)
                    bar.update(len(images))
            except KeyboardInterrupt:
                if not pieces:
                    raise
            except Exception as error:
                if pieces:
                    keep_drawn(error, np.concatenate(pieces), total)
                raise
        return np.concatenate(pieces), self.told

    @property
    def told(self) -> dict[str, Any]:
        """What holds for all rows, as far as the generator has told it: as `provenance`, or with the first piece."""
        return {WEIGHTS: "", WEIGHTS_REVISION: ""} | self.shared

    def pieces(self) -> Iterator[np.ndarray]:
        """Images of the rows in order, each piece of shape (n, H, W, 3), uint8.

        Raises
        ------
        PluginError
            As `run`.
        """
        self.registry.before_generate(self.request)
        total, shape = len(self.conditions), None
        chunk = max(int(getattr(self.generator, "together", None) or _CHUNK), self.request.batch_size or 0)
        for start in range(0, total, chunk):
            batch = self._draw(start, min(start + chunk, total), shape)
            shape = batch.images.shape[1:]
            self.shared |= batch.meta
            yield batch.images
            self.registry.after_generate(self.request, batch)

    def _draw(self, start: int, stop: int, shape: tuple[int, ...] | None) -> ImageBatch:
        # By number, which copies: a slice of a Table shares its values and a generator might change them.
        rows = self.conditions[np.arange(start, stop)]
        rows.meta = deepcopy(rows.meta)
        with self._guard("generate"):
            batch = self.generator.generate(rows, batch_size=self.request.batch_size)
            _check_batch(batch, stop - start, self.request.generator, shape)
        return batch


def keep_drawn(error: BaseException, images: np.ndarray, total: int) -> None:
    """Hand what was drawn on with the error, as its attribute ``drawn``."""
    with suppress(AttributeError):  # an exception class with slots
        error.drawn = images  # type: ignore[attr-defined]
        error.add_note(
            f"{len(images)} of {total} rows were drawn before; this error's attribute `drawn` is their images"
        )


def _check_loaded(generator: object, steps: int | None, guidance: float | None, references: object) -> None:
    if not isinstance(generator, Generator):
        raise PluginError(
            f"generator={generator!r} has no method generate(conditions, *, batch_size); give a name of "
            "`galaxysd plugins` or an object of load_generator()"
        )
    if references is not None:
        raise ConditionError(
            "references= was given with a loaded generator, which has its own; give it to load_generator()"
        )
    if steps is not None or guidance is not None:
        raise ConditionError(
            f"steps={steps!r}, guidance={guidance!r} were given with a loaded generator, which has its own; "
            "give them to load_generator()"
        )


def _check_batch(batch: object, rows: int, generator: str, shape: tuple[int, ...] | None) -> None:
    """Refuse what can't stand beside the rows it was drawn for."""
    images = batch.images if isinstance(batch, ImageBatch) else None
    if not isinstance(images, np.ndarray):
        raise PluginError(f"generator {generator!r} returned {type(batch).__name__}; it must return an ImageBatch")
    if len(images) != rows:
        raise PluginError(
            f"generator {generator!r} returned {len(images)} images for {rows} rows; "
            "it must return one image a row, in order"
        )
    colour = images.dtype == np.uint8 and images.ndim == 4 and images.shape[3] == 3
    if not colour or images.shape[1:] != (shape or images.shape[1:]):
        seen, wanted = f"{images.dtype} {images.shape[1:]}", ", ".join(map(str, shape or ("H", "W", 3)))
        raise PluginError(f"generator {generator!r} returned images of {seen}; they must be uint8 ({wanted})")
