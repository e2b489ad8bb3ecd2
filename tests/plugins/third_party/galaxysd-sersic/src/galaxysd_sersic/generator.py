"""Galaxies from Sérsic profiles: a prompt and a seed in, a display image out."""

from __future__ import annotations

import numpy as np
from astropy.convolution import Gaussian2DKernel, convolve
from astropy.modeling.models import Sersic2D

from astro_galaxysd.conditions.prompts import parse_prompt
from astro_galaxysd.records import ImageBatch

SEEING = 1.5  # px, standard deviation of the Gaussian
SKY, NOISE = 12.0, 3.0  # grey levels
#: Words of a prompt: the Sérsic index and the range of ellipticities that they ask for.
SHAPES = {
    "edge-on": (1.0, (0.75, 0.85)),
    "spiral": (1.0, (0.1, 0.5)),
    "round": (4.0, (0.0, 0.1)),
    "cigar": (2.5, (0.6, 0.7)),
}
OTHERS = (2.5, (0.1, 0.4))


class SersicGenerator:
    """Draws one galaxy for every row; two where the prompt says "merg...".

    Parameters
    ----------
    weights : WeightCard, optional
        Only its image size counts.
    steps, guidance
        Of no effect: nothing is sampled in steps here.
    """

    def __init__(self, weights=None, *, steps=None, guidance=None):
        self.size = 64 if weights is None else weights.image_size

    def generate(self, conditions, *, batch_size=None):
        """Draw the rows of `conditions` (columns ``prompt`` and ``seed``); `batch_size` makes no difference."""
        images = np.zeros((len(conditions), self.size, self.size, 3), dtype=np.uint8)
        for row, (prompt, seed) in enumerate(zip(conditions["prompt"], conditions["seed"], strict=True)):
            images[row] = self.draw(str(prompt), np.random.default_rng(int(seed)))
        ids = np.array([f"sersic-{row}" for row in range(len(conditions))], dtype=str)
        # These become provenance columns; without "weights" the rows would name the weights that were not used.
        meta = {"generator": "sersic", "weights": "galaxysd-sersic", "weights_revision": "0.1.0"}
        return ImageBatch(images, conditions.copy(), ids, meta)

    def draw(self, prompt, rng):
        """One galaxy, shape (size, size, 3), uint8."""
        light = self.profile(prompt, rng)
        if weight(prompt, "merg"):
            light += self.profile(prompt, rng, offset=0.15 * self.size)
        light = convolve(light, Gaussian2DKernel(SEEING), boundary="extend")
        colour = np.array([1.0, 0.85, 0.65]) ** rng.uniform(0.5, 1.5)  # red, green, blue
        shown = 40 * np.arcsinh(light[..., np.newaxis] * colour)
        return np.clip(shown + rng.normal(SKY, NOISE, shown.shape), 0, 255).astype(np.uint8)

    def profile(self, prompt, rng, offset=0.0):
        """Light of one galaxy, shape (size, size); 1 at the half-light radius."""
        word = max(SHAPES, key=lambda word: weight(prompt, word))
        index, ellipticity = SHAPES[word] if weight(prompt, word) else OTHERS
        angle = rng.uniform(0, 2 * np.pi)
        galaxy = Sersic2D(
            amplitude=1.0,
            r_eff=self.size * rng.uniform(0.08, 0.14),
            n=index,
            x_0=self.size / 2 + offset * np.cos(angle),
            y_0=self.size / 2 + offset * np.sin(angle),
            ellip=rng.uniform(*ellipticity),
            theta=rng.uniform(0, np.pi),
        )
        y, x = np.mgrid[: self.size, : self.size]
        return galaxy(x, y)


def weight(prompt, word):
    """Greatest weight with which `word` stands in a prompt; 0 where it does not."""
    return max((segment.weight for segment in parse_prompt(prompt) if word in segment.text), default=0.0)
