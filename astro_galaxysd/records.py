"""Frozen records that cross the borders between layers and plug-ins.

A plug-in registers *records*; whatever is heavy stands behind `factory`, a string ``"module:Class"`` that is
imported when the plug-in is used, never when it is found. This module imports neither numpy nor astropy.
"""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from astro_galaxysd.errors import PluginError

if TYPE_CHECKING:
    import numpy as np
    from astropy.table import Table

__all__ = [
    "API_VERSION",
    "AugmenterSpec",
    "ConditionSchema",
    "EmbedderSpec",
    "EvaluatorSpec",
    "FactorySpec",
    "GenerationRequest",
    "GeneratorSpec",
    "ImageBatch",
    "PluginFailure",
    "WeightCard",
]

#: Version of the plug-in interface; a record of another version is refused with both numbers named.
API_VERSION = 1


@dataclass(frozen=True)
class FactorySpec:
    """What every registered capability has.

    Parameters
    ----------
    name : str
        The name users ask for; unique within its kind.
    factory : str
        ``"package.module:Class"``; imported and called when the capability is used.
    summary : str
        One sentence for ``galaxysd plugins``.
    requires : tuple of str
        Distributions that the factory needs beyond the core (pip names).
    api_version : int
        Version of the plug-in interface the record was written for.
    """

    name: str
    factory: str
    summary: str = ""
    requires: tuple[str, ...] = ()
    api_version: int = API_VERSION

    def resolve(self) -> Any:
        """Import and return the factory.

        Raises
        ------
        PluginError
            If the module or the name in it can't be imported; says which packages the record requires.
        """
        module_name, _, attribute = self.factory.partition(":")
        try:
            with _no_garbage():
                factory = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            needs = f" It requires {', '.join(self.requires)}: pip install them." if self.requires else ""
            raise PluginError(f"{self.name!r}: can't import its factory {self.factory!r}: {error}.{needs}") from error
        return factory


@contextmanager
def _no_garbage() -> Iterator[None]:
    """What imports make stays: to look through it for garbage, again and again, is for nothing."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        if not gc.get_freeze_count():
            # all that is there joins the oldest objects, which are looked through least often
            gc.freeze()
            gc.unfreeze()


@dataclass(frozen=True)
class GeneratorSpec(FactorySpec):
    """A generator: ``factory(weights, *, steps, guidance)`` gives an object with the `Generator` protocol."""


@dataclass(frozen=True)
class EvaluatorSpec(FactorySpec):
    """An evaluator: ``factory()`` gives an object with the `Evaluator` protocol."""


@dataclass(frozen=True)
class AugmenterSpec(FactorySpec):
    """An augmenter: ``factory()`` gives an object with the `Augmenter` protocol."""


@dataclass(frozen=True)
class EmbedderSpec(FactorySpec):
    """An embedder: ``factory()`` gives an object with the `Embedder` protocol."""


@dataclass(frozen=True)
class ConditionSchema(FactorySpec):
    """A dialect of vote columns: ``factory()`` gives an object with the `VoteDialect` protocol."""


@dataclass(frozen=True)
class WeightCard:
    """Where a generator's weights lie and how they want to be sampled.

    Parameters
    ----------
    name : str
        The name users ask for, for example ``"mini"``.
    location : str
        A folder, ``"package:astro_galaxysd/weights/mini"`` for a folder inside an installed package, or
        ``"hub:organisation/name"`` for a repository of the Hugging Face Hub.
    generator : str
        Name of the generator that reads them.
    revision : str
        A content hash, or the commit of a repository, which is then pinned; empty: what the files say when they are
        loaded, of a repository the newest.
    summary, licence, restrictions : str
        One sentence; an SPDX or Hub identifier; what the licence forbids, in words.
    image_size : int
        Side of the square images, pixels; 0: what the model is configured for.
    layout : str
        How the files are laid out, where that is known (`astro_galaxysd.diffusion.layouts`).
    base : str
        Where the parts lie that these files lack, as `location`; of a repository with ``@revision``.
    base_model : str
        What the weights were fine-tuned from, an id of the Hub.
    prediction_type : str
        ``"epsilon"`` or ``"v_prediction"``, checked against the schedule; empty: as the schedule says.
    ema : bool
        Whether averaged parameters are taken where a checkpoint has both.
    masked_padding : bool
        Whether tokens of a prompt pay no attention to its padding.
    references : bool
        Whether images begin with real ones, which have to be given: image to image with strength 1.
    prompt_dialect : str
        ``"galaxysd"``: braces carry weights.
    steps, guidance, sampler
        Recommended sampling; ``sampler`` is a name of `astro_galaxysd.diffusion.sample.SAMPLERS`.
    turned : bool
        Whether each image is mirrored and turned by right angles, as its seed says: for weights that learnt from
        galaxies in all eight forms, whose own draws may prefer some.
    gflop : float
        Floating-point work of one step of one image, 1e9 operations, for estimates of time; 0: not known.
    memory : float
        Resident memory of the loaded generator at work, MB; 0: not known.
    """

    name: str
    location: str
    generator: str = "diffusion"
    revision: str = ""
    summary: str = ""
    licence: str = ""
    image_size: int = 0
    prompt_dialect: str = "galaxysd"
    steps: int = 20
    guidance: float = 2.0
    sampler: str = "dpm++"
    turned: bool = False
    gflop: float = 0.0
    memory: float = 0.0
    base: str = ""
    base_model: str = ""
    restrictions: str = ""
    layout: str = ""
    prediction_type: str = ""
    ema: bool = False
    masked_padding: bool = False
    references: bool = False


@dataclass(frozen=True)
class ImageBatch:
    """Images with the conditions that belong to them.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3), uint8
        Display-stretched colour cutouts.
    conditions : Table, length N
        One row an image: ``prompt`` and whatever else is known (votes, seed, provenance).
    ids : ndarray, shape (N,), str
        Unique identifiers.
    meta : dict
        What holds for the whole batch (weights, revision, scheduler, steps, guidance, versions).
    """

    images: np.ndarray
    conditions: Table
    ids: np.ndarray
    meta: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class GenerationRequest:
    """What is about to be generated; hooks see it before and after."""

    conditions: Table
    generator: str
    weights: str
    steps: int | None = None
    guidance: float | None = None
    batch_size: int | None = None


@dataclass(frozen=True)
class PluginFailure:
    """A plug-in that could not be used, and why."""

    name: str
    distribution: str
    version: str
    error: str
