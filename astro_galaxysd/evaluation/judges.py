r"""Training of what judges galaxies: readers of votes, and an embedder that nobody tells what a galaxy is.

A reader minimises the divergence of the volunteers' answers from its own
(`astro_galaxysd.evaluation.reading.divergence`), each question weighted by the share of volunteers who saw it, so what
it says is the mean fraction of galaxies that look so.

An embedder is trained as SimCLR is (Chen et al. 2020, ICML), which the published GalaxyEmb follows too: of each galaxy
two views are made (`viewed`), and among all views of a batch the other one is to be found by its direction,

.. math:: -\ln \frac{e^{\cos(z_i, z_j) / T}}{\sum_{k \ne i} e^{\cos(z_i, z_k) / T}},

z being two layers after the features that are kept. These are whitened at last.
"""

from __future__ import annotations

import copy
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from astro_galaxysd.conditions.tree import ANSWERS
from astro_galaxysd.errors import ConditionError, TrainingError
from astro_galaxysd.evaluation.embedding import mean_of_turns
from astro_galaxysd.evaluation.networks import build, save_network, seen
from astro_galaxysd.evaluation.reader import reached
from astro_galaxysd.evaluation.reading import divergence, fractions_of
from astro_galaxysd.images.files import atomic_path
from astro_galaxysd.learning.engine import Engine
from astro_galaxysd.learning.recipes import Recipe
from astro_galaxysd.learning.runs import TrainingRun
from astro_galaxysd.learning.trainingset import TrainingSet
from astro_galaxysd.learning.views import dihedral, pixels_of, shifted, viewed

__all__ = ["JUDGES", "EmbedderRecipe", "EmbedderRun", "JudgeRecipe", "JudgeRun", "ReaderRecipe", "ReaderRun"]

_LARGEST_SHIFT = 4
#: Galaxies from whose features directions and variances are taken; share of the largest variance added to each.
_WHITENED_ON, _LEAST_VARIANCE = 4096, 1e-3


@dataclass(frozen=True, kw_only=True)
class JudgeRecipe(Recipe):
    """What readers and embedders share.

    Parameters
    ----------
    architecture : str
        A name of `astro_galaxysd.evaluation.networks.ARCHITECTURES`.
    width : tuple of int
        Channels of the network's levels, multiples of 8.
    """

    architecture: str
    width: tuple[int, ...]

    def check(self) -> None:
        """Raise for values that can't be trained with."""
        super().check()
        if not self.width or any(channels <= 0 or channels % 8 for channels in self.width):
            raise TrainingError(f"recipe: width = {list(self.width)}; give one or more multiples of 8")


@dataclass(frozen=True, kw_only=True)
class ReaderRecipe(JudgeRecipe):
    """A reader of votes."""

    table: ClassVar[str] = "reader"


@dataclass(frozen=True, kw_only=True)
class EmbedderRecipe(JudgeRecipe):
    """An embedder.

    Parameters
    ----------
    features : int
        Numbers that describe a galaxy.
    projection : int
        Width of the two layers behind them, in which views are compared; they are not kept.
    temperature : float
        T of the loss: the smaller, the more the nearest other galaxies count.
    """

    features: int
    projection: int
    temperature: float

    table: ClassVar[str] = "embedder"

    def check(self) -> None:
        """Raise for values that can't be trained with."""
        super().check()
        if self.accumulate > 1:
            raise TrainingError(
                f"recipe: accumulate = {self.accumulate}; an embedder compares all galaxies of a batch, so it can't be "
                "computed in pieces: set accumulate = 1 and lower batch_size where memory is short"
            )
        if not (self.features > 0 and self.projection > 0 and self.temperature > 0):
            raise TrainingError(
                f"recipe: features = {self.features}, projection = {self.projection}, temperature = "
                f"{self.temperature}; all must be above 0"
            )


class JudgeRun(TrainingRun):
    """A run whose result is one file."""

    recipe: JudgeRecipe
    #: What the result is.
    kind: ClassVar[str]

    def __init__(
        self, folder: Path, data: TrainingSet, recipe: JudgeRecipe, outputs: int, **more: torch.nn.Module
    ) -> None:
        engine = Engine(recipe.precision)
        self.network = build(recipe.architecture, recipe.width, outputs)
        self._outputs = outputs
        modules = {"network": self.network, **more}
        super().__init__(folder, recipe, {name: m.to(engine.device) for name, m in modules.items()}, data, engine)

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write the network with its averaged weights; ends the run's training."""
        self.use_average()
        network = self._finished()
        facts: dict[str, Any] = {
            "kind": self.kind,
            "architecture": self.recipe.architecture,
            "width": list(self.recipe.width),
            "outputs": self._outputs,
            "image_size": int(self.data.images.shape[1]),
            "images_seen": self.step * self.recipe.batch_size,
            "recipe": asdict(self.recipe),
        }
        with atomic_path(path, overwrite=True) as partial:
            save_network(network, partial, facts)

    def _finished(self) -> torch.nn.Module:
        """What is kept of the network."""
        return self.network


class ReaderRun(JudgeRun):
    """Trains a reader of votes.

    Parameters
    ----------
    folder : Path
    data : TrainingSet
        Rows without votes are left out.
    recipe : ReaderRecipe

    Raises
    ------
    ConditionError
        If no row has a vote.
    """

    kind = "reader"

    def __init__(self, folder: Path, data: TrainingSet, recipe: ReaderRecipe) -> None:
        self._weights = reached(data.fractions)
        self._voted = np.flatnonzero(self._weights.any(axis=1))
        if not len(self._voted):
            raise ConditionError("no row has a vote; a reader learns from galaxies that volunteers classified")
        torch.manual_seed(recipe.seed)
        super().__init__(folder, data, recipe, len(ANSWERS))

    def rows(self, step: int) -> np.ndarray:
        """Rows of the training set in a step's batch, shape (batch_size,)."""
        return self._voted[self.rng(step).integers(0, len(self._voted), self.recipe.batch_size)]

    def loss(self, step: int, part: slice) -> torch.Tensor:
        """Divergence of a part of a step's answers."""
        rows = self.rows(step)
        rng = np.random.default_rng([self.recipe.seed, step, 1])
        forms = torch.from_numpy(rng.integers(0, 8, len(rows)))[part].to(self.device)
        pixels = dihedral(pixels_of(self.data.images[rows[part]], self.device), forms)
        votes = torch.from_numpy(np.nan_to_num(self.data.fractions[rows[part]])).float().to(self.device)
        weights = torch.from_numpy(self._weights[rows[part]]).float().to(self.device)
        with self.engine.autocast():
            answers = self.network(seen(shifted(pixels, rng, _LARGEST_SHIFT)))
        read = fractions_of(answers.float(), logarithm=True)
        return divergence(read, votes, weights).mean()


class EmbedderRun(JudgeRun):
    """Trains an embedder; votes are not looked at.

    Parameters
    ----------
    folder : Path
    data : TrainingSet
    recipe : EmbedderRecipe

    Raises
    ------
    TrainingError
        If there are fewer images than a batch has: a galaxy would be told from itself. Or if several processes were
        started.
    """

    kind = "embedder"
    recipe: EmbedderRecipe

    def __init__(self, folder: Path, data: TrainingSet, recipe: EmbedderRecipe) -> None:
        if not 2 <= recipe.batch_size <= len(data.images):
            raise TrainingError(
                f"batch_size = {recipe.batch_size} with {len(data.images)} images; an embedder tells at least two "
                "galaxies apart and each only once a step: lower it, or give more images"
            )
        torch.manual_seed(recipe.seed)
        self.head = torch.nn.Sequential(
            torch.nn.Linear(recipe.features, recipe.projection),
            torch.nn.ReLU(),
            torch.nn.Linear(recipe.projection, recipe.projection),
        )
        super().__init__(folder, data, recipe, recipe.features, head=self.head)
        if self.engine.processes > 1:
            raise TrainingError("an embedder is trained by one process: all galaxies of a batch are compared")

    def rows(self, step: int) -> np.ndarray:
        """Rows of the training set in a step's batch, each once, shape (batch_size,)."""
        return self.rng(step).choice(len(self.data.images), self.recipe.batch_size, replace=False)

    def loss(self, step: int, part: slice) -> torch.Tensor:
        """Mean loss of finding each view's partner."""
        rng = np.random.default_rng([self.recipe.seed, step, 1])
        pixels = pixels_of(self.data.images[self.rows(step)[part]], self.device)
        both = torch.cat([viewed(pixels, rng), viewed(pixels, rng)])
        with self.engine.autocast():
            features = self.head(self.network(seen(both)))
        points = torch.nn.functional.normalize(features.float(), dim=1)
        alike = points @ points.T / self.recipe.temperature
        alike.fill_diagonal_(float("-inf"))
        partners = torch.arange(len(both), device=alike.device).roll(len(pixels))
        return torch.nn.functional.cross_entropy(alike, partners)

    def _finished(self) -> torch.nn.Module:
        """The network whose features of training galaxies have zero mean and a variance of one in all directions.

        Directions of less than a thousandth of the largest variance keep less than one. Without this, a handful of
        directions would be all that a distance sees.
        """
        network = copy.deepcopy(self.network).cpu()
        rows = self.rng(0).permutation(len(self.data.images))[:_WHITENED_ON]
        features = mean_of_turns(network, self.data.images[np.sort(rows)], self.data.images.shape[1]).astype(np.float64)
        variances, axes = np.linalg.eigh(np.atleast_2d(np.cov(features, rowvar=False)))
        scaled = torch.from_numpy(axes / np.sqrt(variances + _LEAST_VARIANCE * variances.max() + 1e-12)).float()
        last = network[-1]  # type: ignore[index]
        with torch.no_grad():
            last.bias.copy_((last.bias - torch.from_numpy(features.mean(axis=0)).float()) @ scaled)
            last.weight.copy_(scaled.T @ last.weight)
        return network


#: What judges, with its recipe and its run.
JUDGES: dict[str, tuple[type[JudgeRecipe], Any]] = {
    "reader": (ReaderRecipe, ReaderRun),
    "embedder": (EmbedderRecipe, EmbedderRun),
}
