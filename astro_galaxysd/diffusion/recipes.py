"""Recipes of the runs that learn to draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from astro_galaxysd.diffusion.captions import CaptionStyle
from astro_galaxysd.errors import TrainingError
from astro_galaxysd.learning.recipes import Recipe

__all__ = ["AutoencoderRecipe", "ConditionedRecipe", "DiffusionRecipe", "FinetuneRecipe", "RefineRecipe"]

#: Channels are normalised in groups of so many, and read by so many heads.
_GROUPS, _HEADS = 16, 4


@dataclass(frozen=True, kw_only=True)
class AutoencoderRecipe(Recipe):
    """An autoencoder run.

    Parameters
    ----------
    latent_channels : int
        Numbers every 8x8 pixels are coded with.
    linear_steps : int
        Steps that fit the encoder before the decoder is trained.
    width, depth : int
        Channels and residual blocks of the decoder's sharpening network.
    """

    latent_channels: int
    linear_steps: int
    width: int
    depth: int

    table: ClassVar[str] = "autoencoder"


@dataclass(frozen=True, kw_only=True)
class ConditionedRecipe(Recipe):
    """What runs that learn to draw from votes share.

    Parameters
    ----------
    gamma : float
        Largest weight of a timestep (min-SNR); 0: all timesteps alike.
    rarity, rarity_limit : float
        Power and limit of `sampling_weights`: 0 draws rows as they come, 1 balances the classes.
    well_sampled : bool
        Whether answers of questions that few volunteers reached stay out of the prompts.
    cache_latents : bool
        Whether all images are encoded once, in their eight mirrored and rotated forms, into a file of the run.
    captions : CaptionStyle
    """

    gamma: float
    rarity: float
    rarity_limit: float
    well_sampled: bool
    cache_latents: bool
    captions: CaptionStyle


@dataclass(frozen=True, kw_only=True)
class DiffusionRecipe(ConditionedRecipe):
    """A diffusion run from nothing.

    Parameters
    ----------
    width : tuple of int
        Channels of the UNet's levels.
    text_width, text_layers : int
        Size of the text encoder.
    detail : float
        A latent channel counts in the loss by the light it carries to this power; 0: all channels alike.
    """

    width: tuple[int, ...]
    text_width: int
    text_layers: int
    detail: float

    table: ClassVar[str] = "diffusion"

    def check(self) -> None:
        """Raise for values that can't be trained with."""
        super().check()
        _check_sizes(self)


@dataclass(frozen=True, kw_only=True)
class FinetuneRecipe(ConditionedRecipe):
    """A run that goes on from a complete model, such as Stable Diffusion 1.5.

    Parameters
    ----------
    prediction : str
        ``"epsilon"`` or ``"v_prediction"``.
    zero_snr : bool
        Whether the schedule ends in pure noise (Lin et al. 2023); asks for ``"v_prediction"``.
    train_text_encoder : bool
    lora_rank : int
        Rank of low-rank adapters; 0 trains all weights.
    image_size : int
        Side the images are brought to, pixels, a multiple of 8; 0: as they are.
    """

    prediction: str
    zero_snr: bool
    train_text_encoder: bool
    lora_rank: int
    image_size: int

    table: ClassVar[str] = "finetune"


@dataclass(frozen=True, kw_only=True)
class RefineRecipe(FinetuneRecipe):
    """A run that compares what a complete model draws with real galaxies.

    Parameters
    ----------
    drawing_steps : int
        Sampling steps of a draw; the weights are to be sampled with as many.
    learning_steps : int
        Of these, how many learn in a step of the run, chosen anew each time.
    truncated : bool
        Whether a learning step takes what the steps before it drew as given: less work and memory. Otherwise gradients
        go on to the steps before it; those that don't learn pass them on as the sampler does, without their network.
    whole_prompts : float
        Share of the draws, in [0, 1], whose prompt carries all votes, as ``generate`` makes it from a table; the
        others have prompts as in other runs. More than 0 where `votes` is.
    votes, denoising : float
        Weight of the divergence from the votes, and of the error that other runs minimise.
    detail : float
        As `DiffusionRecipe`.
    """

    drawing_steps: int
    learning_steps: int
    truncated: bool
    whole_prompts: float
    votes: float
    denoising: float
    detail: float

    table: ClassVar[str] = "refine"

    def check(self) -> None:
        """Raise for values that can't be trained with."""
        super().check()
        if not 2 <= self.drawing_steps <= 500 or not 1 <= self.learning_steps <= self.drawing_steps:
            raise TrainingError(
                f"recipe: drawing_steps = {self.drawing_steps}, learning_steps = {self.learning_steps}; give 2 to 500 "
                "of the first, and of the second 1 to as many"
            )
        if self.whole_prompts > 1:
            raise TrainingError(f"recipe: whole_prompts = {self.whole_prompts} is not in [0, 1]")
        if self.votes and not self.whole_prompts:
            raise TrainingError(
                f"recipe: whole_prompts = 0 with votes = {self.votes}: no prompt asks for all votes, so none can be "
                "compared; set votes = 0, or more whole_prompts"
            )


def _check_sizes(recipe: DiffusionRecipe) -> None:
    if len(recipe.width) < 2 or any(channels <= 0 or channels % _GROUPS for channels in recipe.width):
        raise TrainingError(f"recipe: width = {list(recipe.width)}; give two or more multiples of {_GROUPS}")
    if recipe.text_width <= 0 or recipe.text_width % _HEADS or recipe.text_layers <= 0:
        raise TrainingError(
            f"recipe: text_width = {recipe.text_width}, text_layers = {recipe.text_layers}; give a multiple "
            f"of {_HEADS} and at least 1"
        )
