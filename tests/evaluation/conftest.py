"""What tests of evaluators share."""

from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.evaluation.descriptors import describe
from astro_galaxysd.evaluation.memory import Memory
from astro_galaxysd.testing import example_batch


class Described:
    """A deterministic embedder: descriptors, standardised with those of a batch that no test compares."""

    revision = "described-1"

    def __init__(self):
        known = describe(example_batch(200, rng=1000).images)
        self._mean, self._spread = known.mean(axis=0), known.std(axis=0) + 0.05

    def embed(self, images):
        return np.clip((describe(images) - self._mean) / self._spread, -10, 10)


@pytest.fixture(scope="session")
def described() -> Memory:
    """An embedder that needs no weights; no turn and no reflection changes its features. It remembers."""
    return Memory(Described())
