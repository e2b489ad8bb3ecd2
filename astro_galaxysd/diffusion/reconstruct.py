"""Training of the autoencoder: mean absolute plus ten times mean squared error of the pixels.

The encoder is fitted first and then stays; what is trained is the decoder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from astro_galaxysd.diffusion.autoencoder import LappedAutoencoder, fit_linear_code
from astro_galaxysd.diffusion.recipes import AutoencoderRecipe
from astro_galaxysd.learning.engine import Engine
from astro_galaxysd.learning.runs import CHECKPOINT, TrainingRun
from astro_galaxysd.learning.trainingset import TrainingSet
from astro_galaxysd.learning.views import dihedral, pixels_of

__all__ = ["AutoencoderRun"]


class AutoencoderRun(TrainingRun):
    """Fits the lapped code, then trains its decoder.

    Parameters
    ----------
    folder, data
        As `TrainingRun`; votes are not needed.
    recipe : AutoencoderRecipe
    """

    recipe: AutoencoderRecipe

    def __init__(self, folder: Path, data: TrainingSet, recipe: AutoencoderRecipe) -> None:
        engine = Engine(recipe.precision)
        torch.manual_seed(recipe.seed)
        self.vae = LappedAutoencoder(recipe.latent_channels, recipe.width, recipe.depth)
        if not (Path(folder) / CHECKPOINT).exists():
            fit_linear_code(self.vae, data.images, steps=recipe.linear_steps, seed=recipe.seed)
        self.vae.encoder.requires_grad_(False)
        super().__init__(folder, recipe, {"autoencoder": self.vae.to(engine.device)}, data, engine)

    def rows(self, step: int) -> np.ndarray:
        """Rows of the training set in a step's batch, shape (batch_size,)."""
        return self.rng(step).integers(0, len(self.data.images), self.recipe.batch_size)

    def loss(self, step: int, part: slice) -> torch.Tensor:
        """Reconstruction error of a part of a step's images."""
        rng = self.rng(step)
        rows = rng.integers(0, len(self.data.images), self.recipe.batch_size)
        forms = torch.from_numpy(rng.integers(0, 8, len(rows)))[part].to(self.device)
        pixels = dihedral(pixels_of(self.data.images[rows[part]], self.device), forms)
        with self.engine.autocast():
            decoded = self.vae.decode(self.vae.encode(pixels).latents).sample
        error = decoded.float() - pixels
        loss: torch.Tensor = error.abs().mean() + 10 * error.square().mean()
        return loss

    def export(self, folder: Path) -> None:
        """Write the autoencoder with its averaged decoder; ends the run's training."""
        self.use_average()
        self.vae.cpu().save_pretrained(folder)
