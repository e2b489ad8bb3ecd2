"""Images through the autoencoder of a weights folder."""

from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.diffusion.roundtrip import through_autoencoder
from astro_galaxysd.errors import ImageError


def test_smooth_images_come_back_nearly_as_they_were(tiny_weights):
    ramp = np.linspace(40, 200, 32)
    images = np.stack([np.broadcast_to((ramp + shift)[:, None, None], (32, 32, 3)) for shift in range(-30, 20, 5)])
    images = images.astype(np.uint8)
    back = through_autoencoder(tiny_weights, images)
    assert back.shape == images.shape
    assert back.dtype == np.uint8
    apart = np.abs(back.astype(float) - images).mean()
    assert 0 < apart < np.abs(images.astype(float) - images.mean()).mean() / 3


def test_images_of_another_size_are_refused(tiny_weights):
    with pytest.raises(ImageError, match=r"16x16 pixels can't be reconstructed by weights that draw 32x32"):
        through_autoencoder(tiny_weights, np.zeros((1, 16, 16, 3), np.uint8))
