r"""Refinement: a trained model draws galaxies in a few steps, and learns from how they differ from real ones.

For each condition two galaxies are drawn from independent noise, *a* and *b*, and compared with the real galaxy *r* of
the condition, as the autoencoder rebuilds it, by numbers of their looks,

.. math:: \tfrac12 (|a - r| + |b - r|) - \tfrac12 |a - b|,

an energy score, which is least where what is drawn has the distribution of what is real. It is summed over blocks of
numbers, so it fixes the distribution of each block and of each scalar, not their joint one. What the autoencoder can't
express, such as the finest noise, would otherwise be most of a block's distance, and nothing else there would be
learnt. To it come the divergence of what a reader of votes answers from the votes asked for, and the error of plain
training, so that the network still removes noise at any step. The divergence is not proper: it is least where the
reader answers the votes exactly, while real galaxies scatter. Drawn galaxies come out somewhat too typical, and a
reader trained on the same rows finds answers in them more easily than in real ones. Prompts that leave votes out learn
the mixture of the rows that are drawn with them, in which rare answers are as frequent as `rarity` makes them, not as
in the sky.

Gradients go back through the sampler, whole or, for many steps, to some of them, each network call taking its input as
given (Wu et al. 2024, DRTune). Guidance is not needed afterwards: what it should do has been learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from astro_galaxysd.conditions.prompts import tags_from_fractions
from astro_galaxysd.diffusion.captions import CaptionStyle, caption_batch, fit_tags
from astro_galaxysd.diffusion.diffuse import channel_share
from astro_galaxysd.diffusion.finetune import FinetuneRun
from astro_galaxysd.diffusion.recipes import RefineRecipe
from astro_galaxysd.diffusion.sample import decoded, make_scheduler
from astro_galaxysd.learning.trainingset import TrainingSet

__all__ = ["Looks", "RefineRun", "drawn_latents"]

_SAMPLER = "dpm++"
#: Pixels by which the reader sees images moved, each way: a place on a raster of 8 px, which latents and readers have.
_SHIFTS = (-4, 4)
#: Prompts as `generate` makes them from votes.
_WHOLE = CaptionStyle(empty=0.0, weighted=1.0, tag_dropout=0.0, single_tags=0.0)


class Looks(Protocol):
    """What compares images; `astro_galaxysd.evaluation.appearance.Appearance` does."""

    @property
    def revisions(self) -> dict[str, str]:
        """Hashes of the reader and, where there is one, the embedder that it goes by."""

    def __call__(self, pixels: torch.Tensor, shift: tuple[int, int]) -> Any:
        """Numbers of images of shape (N, 3, S, S), in [-1, 1], which judges see moved by pixels down and right."""

    def score(self, first: Any, second: Any, real: Any) -> torch.Tensor:
        """Energy score of two draws for each condition, shape (N,)."""

    def divergence(self, drawn: Any, fractions: np.ndarray) -> torch.Tensor:
        """Divergence of what is read off draws from votes, shape (N,)."""


class _Draws(NamedTuple):
    """What a step draws: prompts, which of them carry all votes, noise, steps that learn, shift of what judges see."""

    prompts: list[str]
    whole: torch.Tensor
    noise: torch.Tensor
    learning: frozenset[int]
    shift: tuple[int, int]


class RefineRun(FinetuneRun):
    """Refines a complete model.

    Parameters
    ----------
    folder, data, base, recipe
        As `FinetuneRun`.
    looks : callable
        Given the training images at the size they are trained with, (N, S, S, 3) uint8, and a device: what compares.

    Raises
    ------
    WeightsError, TrainingError, UnknownNameError, MissingDependencyError
        As `FinetuneRun`.

    References
    ----------
    Wu, X. et al. 2024, arXiv 2405.00760. Gneiting, T. & Raftery, A. E. 2007, J. Am. Stat. Assoc. 102, 359.
    """

    recipe: RefineRecipe

    def __init__(
        self,
        folder: Path,
        data: TrainingSet,
        base: Path,
        recipe: RefineRecipe,
        looks: Callable[[np.ndarray, torch.device], Looks],
    ) -> None:
        super().__init__(folder, data, base, recipe)
        self.share = channel_share(self.vae, recipe.detail).to(self.device)
        self.looks = looks(self.data.images, self.device)  # whose distances are one between the images themselves
        self._all_tags = fit_tags(tags_from_fractions(self.data.fractions), self.tokenizer)
        self._kept: tuple[int, _Draws] | None = None

    @property
    def began_with(self) -> dict[str, str]:
        """As `FinetuneRun.began_with`, and ``reader`` and ``embedder``, their revisions."""
        return super().began_with | self.looks.revisions

    @property
    def sampling(self) -> dict[str, Any]:
        """As the draws of the run were sampled."""
        return {"steps": self.recipe.drawing_steps, "guidance": 1.0, "sampler": _SAMPLER, "turned": True}

    def loss(self, step: int, part: slice) -> torch.Tensor:
        """Energy score, divergence from the votes and weighted squared error of a part of a step's batch."""
        return self._drawn_loss(step, part) + self.recipe.denoising * super().loss(step, part)

    def _drawn_loss(self, step: int, part: slice) -> torch.Tensor:
        rows, draws, recipe = self.rows(step)[part], self._draws(step), self.recipe
        pixels, whole = self._draw(draws, part), draws.whole[part]
        first, second = (self.looks(drawn, draws.shift) for drawn in torch.split(pixels, len(rows)))
        with torch.no_grad():
            rebuilt = _as_stored(decoded(self.vae, self.batch(step).latents[part].float()))
            real = self.looks(rebuilt, draws.shift)
        fractions = self.data.fractions[rows]
        divergence = 0.5 * (self.looks.divergence(first, fractions) + self.looks.divergence(second, fractions))
        # prompts that leave votes out ask for no galaxy in particular
        asked = whole / max(float(draws.whole.mean()), 1e-6)
        return (self.looks.score(first, second, real) + recipe.votes * asked * divergence).mean()

    def _draw(self, draws: _Draws, part: slice) -> torch.Tensor:
        """Pixels of the first draws of a part of a batch, then of the second ones."""
        hidden = self._hidden(draws.prompts[part])
        noise = draws.noise[:, part].flatten(0, 1)
        with self.engine.autocast():
            latents = drawn_latents(
                self.unet, self.schedule, torch.cat([hidden, hidden]), noise, self.recipe.drawing_steps, draws.learning,
                truncated=self.recipe.truncated,
            )  # fmt: skip
        return _as_stored(decoded(self.vae, latents.float()))

    def _draws(self, step: int) -> _Draws:
        """What a step draws, from the seed and the step alone."""
        if self._kept is None or self._kept[0] != step:
            self._kept = (step, self._make_draws(step))
        return self._kept[1]

    def _make_draws(self, step: int) -> _Draws:
        recipe, rows = self.recipe, self.rows(step)
        rng = np.random.default_rng([recipe.seed, step, 1])
        whole = rng.random(len(rows)) < recipe.whole_prompts
        prompts = caption_batch([self.tags[row] for row in rows], rng, recipe.captions)
        for place in np.flatnonzero(whole):
            prompts[place] = caption_batch([self._all_tags[rows[place]]], rng, _WHOLE)[0]
        config = self.unet.config
        shape = (2, len(rows), config.in_channels, config.sample_size, config.sample_size)
        noise = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)).to(self.device)
        learning = rng.choice(recipe.drawing_steps, recipe.learning_steps, replace=False)
        down, right = (int(step) for step in rng.integers(*_SHIFTS, 2))
        shown = torch.from_numpy(whole).float().to(self.device)
        return _Draws(prompts, shown, noise, frozenset(learning.tolist()), (down, right))


def drawn_latents(
    unet: Any,
    schedule: dict[str, Any],
    hidden: torch.Tensor,
    noise: torch.Tensor,
    steps: int,
    learning: Collection[int],
    *,
    truncated: bool = True,
) -> torch.Tensor:
    """Latents drawn without guidance, with gradients to some of the steps.

    Parameters
    ----------
    unet : UNet2DConditionModel
    schedule : dict
        Configuration of a scheduler.
    hidden : Tensor, shape (N, L, D)
        States of the prompts.
    noise : Tensor, shape (N, C, h, w)
    steps : int
        Sampling steps.
    learning : collection of int
        Numbers, from 0, of the steps whose network calls get gradients.
    truncated : bool
        Whether each call takes its input as given: less work and memory, and no gradient says how what an early step
        draws is changed by those after it.

    Returns
    -------
    Tensor, shape (N, C, h, w)
        The same as `astro_galaxysd.diffusion.sample.sample_latents` gives for this noise without guidance.
    """
    scheduler = make_scheduler(schedule, _SAMPLER, steps)
    latents = noise * scheduler.init_noise_sigma
    for number, time in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(latents, time)
        if truncated:
            scaled = scaled.detach()
        with torch.set_grad_enabled(number in learning and torch.is_grad_enabled()):
            predicted = unet(scaled, time, hidden, return_dict=False)[0]
        latents = scheduler.step(predicted, time, latents, return_dict=False)[0]
    drawn: torch.Tensor = latents
    return drawn


def _as_stored(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels rounded to the 256 levels of an image, with the gradients of pixels that were not."""
    levels = ((pixels + 1) * 127.5).round().clamp(0, 255)
    return pixels + (levels / 127.5 - 1 - pixels).detach()
