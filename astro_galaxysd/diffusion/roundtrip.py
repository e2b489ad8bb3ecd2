"""Real images through the autoencoder of weights and back: what its latents alone cost, without any diffusion."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from astro_galaxysd.diffusion.components import load_components
from astro_galaxysd.diffusion.latents import latent_moments
from astro_galaxysd.diffusion.placement import micro_batch
from astro_galaxysd.diffusion.sample import decode_latents
from astro_galaxysd.errors import ImageError
from astro_galaxysd.learning.views import pixels_of

__all__ = ["through_autoencoder"]


@torch.no_grad()
def through_autoencoder(folder: str | os.PathLike[str], images: np.ndarray) -> np.ndarray:
    """Encode images to their mean latents and decode these.

    Parameters
    ----------
    folder : path
        Weights in the layout of a diffusers pipeline.
    images : ndarray, shape (N, H, W, 3), uint8
        Of the size that the weights draw.

    Returns
    -------
    ndarray, shape (N, H, W, 3), uint8
        The best that a generator with these weights could draw of each image.

    Raises
    ------
    WeightsError
        If the weights can't be loaded.
    ImageError
        If the images have another size than the weights draw.
    """
    components = load_components(Path(folder))
    side = components.image_size
    if images.shape[1:3] != (side, side):
        raise ImageError(
            f"images of {images.shape[1]}x{images.shape[2]} pixels can't be reconstructed by weights that draw "
            f"{side}x{side}; bring them to that size with astro_galaxysd.images.codec.fit_size"
        )
    pieces = []
    together = micro_batch(components)
    for start in range(0, len(images), together):
        pixels = pixels_of(images[start : start + together], components.unet.device)
        latents, _ = latent_moments(components.vae, pixels)
        pieces.append(decode_latents(components, latents))
    return np.concatenate(pieces)
