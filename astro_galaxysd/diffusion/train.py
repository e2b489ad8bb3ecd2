"""Training of the autoencoder's decoder and of the diffusion model.

Diffusion: the loss is the squared error of the velocity v = sqrt(a) eps - sqrt(1 - a) x (Salimans & Ho 2022) under a
schedule that ends in pure noise (Lin et al. 2023), weighted min(SNR + 1, gamma) / (SNR + 1) so that steps that only
polish noise do not dominate (after Hang et al. 2023, whose weight would leave pure noise untrained).

Autoencoder: mean absolute plus ten times mean squared error of 64x64 px crops on the block grid.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from astro_galaxysd.conditions.prompts import tags_from_fractions
from astro_galaxysd.diffusion.autoencoder import BLOCK, block_components, dihedral, latent_encoder, new_autoencoder
from astro_galaxysd.diffusion.captions import CaptionStyle, caption_batch, sampling_weights
from astro_galaxysd.diffusion.components import SCHEDULER, Components, load_autoencoder, new_text_encoder, new_unet
from astro_galaxysd.diffusion.encode import encode_prompts
from astro_galaxysd.diffusion.runs import Recipe, TrainingRun
from astro_galaxysd.diffusion.tokenizer import build_tokenizer

__all__ = [
    "AutoencoderRecipe",
    "AutoencoderRun",
    "DiffusionRecipe",
    "DiffusionRun",
    "alphas_cumprod",
    "training_device",
]


@dataclass(frozen=True)
class AutoencoderRecipe(Recipe):
    """An autoencoder run.

    Parameters
    ----------
    latent_channels : int
        Numbers an 8x8-pixel block is coded with.
    channels : int
        Of the decoder.
    blocks : tuple of int
        Residual blocks of the decoder at 1/8, 1/4, 1/2 and full resolution.
    crop : int
        Side of the training crops, pixels, a multiple of 8.
    """

    batch_size: int = 16
    steps: int = 4000
    learning_rate: float = 2e-3
    warmup: int = 100
    cooldown: float = 0.6
    weight_decay: float = 0.0
    ema: float = 0.995
    latent_channels: int = 8
    channels: int = 48
    blocks: tuple[int, ...] = (4, 3, 1, 0)
    crop: int = 64


@dataclass(frozen=True)
class DiffusionRecipe(Recipe):
    """A diffusion run.

    Parameters
    ----------
    width : tuple of int
        Channels of the UNet's levels.
    text_width, text_layers : int
        Size of the text encoder.
    gamma : float
        Largest weight of a timestep in units of its SNR + 1.
    rarity : float
        Power of `sampling_weights`.
    captions : CaptionStyle
    """

    batch_size: int = 24
    steps: int = 5200
    learning_rate: float = 7e-4
    width: tuple[int, ...] = (96, 128, 192)
    text_width: int = 128
    text_layers: int = 2
    gamma: float = 5.0
    rarity: float = 0.5
    captions: CaptionStyle = field(default_factory=CaptionStyle)


def training_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def alphas_cumprod(scheduler: dict[str, Any]) -> torch.Tensor:
    """Share of signal power at each timestep of a schedule, shape (T,), as diffusers computes it."""
    from diffusers import DDIMScheduler

    signal: torch.Tensor = DDIMScheduler.from_config(scheduler).alphas_cumprod
    return signal.clone()


def _pixels(images: np.ndarray, rng: np.random.Generator, device: torch.device) -> torch.Tensor:
    """uint8 images in a random mirrored and rotated form, as (N, 3, H, W) in [-1, 1]."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1).to(device)
    return dihedral(pixels, torch.from_numpy(rng.integers(0, 8, len(images))).to(device))


class AutoencoderRun(TrainingRun):
    """Learns the decoder of the block code.

    Parameters
    ----------
    folder, images
        As `TrainingRun`; the principal components are those of `images`.
    recipe : AutoencoderRecipe
    """

    recipe: AutoencoderRecipe

    def __init__(self, folder: Path, images: np.ndarray, recipe: AutoencoderRecipe) -> None:
        torch.manual_seed(recipe.seed)
        self.vae = new_autoencoder(
            block_components(images, recipe.latent_channels), channels=recipe.channels, blocks=recipe.blocks
        ).to(training_device())
        self.encode = latent_encoder(self.vae)
        super().__init__(folder, recipe, {"decoder": self.vae.decoder}, images)

    def loss(self, step: int) -> torch.Tensor:
        """Reconstruction error of one step's crops."""
        rng = np.random.default_rng([self.recipe.seed, step])
        rows = rng.integers(0, len(self.images), self.recipe.batch_size)
        size = self.images.shape[1]
        crop = min(self.recipe.crop, size)
        tops = rng.integers(0, (size - crop) // BLOCK + 1, (len(rows), 2)) * BLOCK
        crops = np.stack([self.images[r, y : y + crop, x : x + crop] for r, (y, x) in zip(rows, tops, strict=True)])
        pixels = _pixels(crops, rng, self.device)
        with torch.no_grad():
            latents = self.encode(pixels) / self.vae.config.scaling_factor
        error = self.vae.decode(latents).sample - pixels
        loss: torch.Tensor = error.abs().mean() + 10 * error.square().mean()
        return loss

    def export(self, folder: Path) -> None:
        """Write the autoencoder with its averaged decoder."""
        self.use_average()
        self.vae.cpu().save_pretrained(folder)


class DiffusionRun(TrainingRun):
    """Learns to draw galaxies of stated votes.

    Parameters
    ----------
    folder, images
        As `TrainingRun`.
    fractions : ndarray, shape (N, 37)
        Conditional vote fractions of the images.
    autoencoder : Path
        Folder of the autoencoder.
    recipe : DiffusionRecipe
    """

    recipe: DiffusionRecipe

    def __init__(
        self, folder: Path, images: np.ndarray, fractions: np.ndarray, autoencoder: Path, recipe: DiffusionRecipe
    ) -> None:
        device = training_device()
        torch.manual_seed(recipe.seed)
        self.tags = tags_from_fractions(fractions)
        self.probability = sampling_weights(fractions, power=recipe.rarity)
        self.vae = load_autoencoder(autoencoder).to(device)
        self.encode = latent_encoder(self.vae)
        self.tokenizer = build_tokenizer()
        self.unet = new_unet(
            self.vae.config.latent_channels,
            width=recipe.width,
            text_width=recipe.text_width,
            sample_size=images.shape[1] // BLOCK,
        ).to(device)
        self.text_encoder = new_text_encoder(self.tokenizer, width=recipe.text_width, layers=recipe.text_layers)
        self.text_encoder.to(device)
        self.signal = alphas_cumprod(SCHEDULER).to(device)
        modules = {"unet": self.unet.train(), "text_encoder": self.text_encoder.train()}
        super().__init__(folder, recipe, modules, images)

    def batch(self, step: int) -> tuple[torch.Tensor, list[str], torch.Tensor, torch.Tensor]:
        """Latents, captions, timesteps and noise of a step, from the seed and the step alone."""
        rng = np.random.default_rng([self.recipe.seed, step])
        n = self.recipe.batch_size
        rows = rng.choice(len(self.images), n, p=self.probability)
        with torch.no_grad():
            latents = self.encode(_pixels(self.images[rows], rng, self.device))
        captions = caption_batch([self.tags[row] for row in rows], rng, self.recipe.captions)
        # stratified over the batch: every step sees the whole range of noise
        times = ((np.arange(n) + rng.random(n)) / n * len(self.signal)).astype(np.int64)
        noise = torch.from_numpy(rng.standard_normal(latents.shape, dtype=np.float32)).to(self.device)
        return latents, captions, torch.from_numpy(times).to(self.device), noise

    def loss(self, step: int) -> torch.Tensor:
        """Weighted velocity error of one step's batch."""
        latents, captions, times, noise = self.batch(step)
        a = self.signal[times][:, None, None, None]
        noisy = a.sqrt() * latents + (1 - a).sqrt() * noise
        target = a.sqrt() * noise - (1 - a).sqrt() * latents
        hidden = encode_prompts(self.text_encoder, self.tokenizer, captions)
        error = (self.unet(noisy, times, hidden, return_dict=False)[0] - target).square().mean(dim=(1, 2, 3))
        snr = self.signal[times] / (1 - self.signal[times])
        loss: torch.Tensor = (error * (snr + 1).clamp(max=self.recipe.gamma) / (snr + 1)).mean()
        return loss

    def components(self) -> Components:
        """The averaged weights as a model ready to sample or save; ends the run's training."""
        self.use_average()
        return Components(self.unet.cpu(), self.vae.cpu(), self.text_encoder.cpu(), self.tokenizer, dict(SCHEDULER))
