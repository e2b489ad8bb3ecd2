"""A small training set and runs on it."""

from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.conditions.tree import INDEX
from astro_galaxysd.diffusion.diffuse import DiffusionRun
from astro_galaxysd.diffusion.recipes import AutoencoderRecipe, DiffusionRecipe
from astro_galaxysd.learning.recipes import make_recipe
from astro_galaxysd.learning.trainingset import TrainingSet

TINY = {
    AutoencoderRecipe: {"batch_size": 4, "steps": 6, "warmup": 2, "latent_channels": 4, "linear_steps": 20, "width": 8,
                        "depth": 1},
    DiffusionRecipe: {"batch_size": 4, "steps": 6, "warmup": 2, "width": (16, 32), "text_width": 32, "text_layers": 1,
                      "precision": "fp32"},
}  # fmt: skip


@pytest.fixture(scope="session")
def galaxies():
    """Twelve images of 32 px with one vote fraction each."""
    rng = np.random.default_rng(0)
    coarse = rng.random((12, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)
    images = (60 + 120 * coarse + 20 * rng.random((12, 32, 32, 3))).astype(np.uint8)
    fractions = np.full((12, 37), np.nan)
    fractions[:, INDEX["smooth"]] = rng.random(12)
    return TrainingSet(images, fractions, [f"g{row}" for row in range(12)])


@pytest.fixture
def tiny_recipe(tmp_path):
    """A recipe of a kind, small enough for milliseconds a step."""
    return lambda kind, **changes: make_recipe(kind, tmp_path / "no run", {**TINY[kind], **changes}, "mini")


@pytest.fixture
def start(galaxies, tiny_weights, tmp_path, tiny_recipe):
    """Starts a diffusion run in a folder of its own, or goes on with it."""

    def run(name="run", data=galaxies, **changes):
        return DiffusionRun(tmp_path / name, data, tiny_weights / "vae", tiny_recipe(DiffusionRecipe, **changes))

    return run
