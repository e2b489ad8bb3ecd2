"""What is refused before anything is measured, and the frame whose background is taken."""

from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.errors import ImageError
from astro_galaxysd.evaluation.cutouts import check_images, outer_frame


@pytest.mark.parametrize(
    ("images", "seen"),
    [
        ([[1]], "images are list; "),
        (np.zeros((0, 8, 8, 3), np.uint8), r"uint8 of shape \(0, 8, 8, 3\); "),
        (np.zeros((2, 8, 0, 3), np.uint8), r"\(2, 8, 0, 3\); "),
        (np.zeros((2, 8, 8), np.uint8), r"\(2, 8, 8\); "),
        (np.zeros((2, 8, 8, 4), np.uint8), r"\(2, 8, 8, 4\); "),
        (np.zeros((2, 8, 8, 3)), r"float64 of shape \(2, 8, 8, 3\); "),
    ],
)
def test_what_is_no_image(images, seen):
    with pytest.raises(ImageError, match=f"{seen}a test needs uint8 of shape .N, H, W, 3. with N at least 1"):
        check_images(images, "a test")


def test_any_numbers_where_they_are_wanted():
    images = np.zeros((2, 8, 8, 3))
    assert check_images(images, "a test", dtype=None) is images
    with pytest.raises(ImageError, match="bool of shape .*; a test needs numbers of shape"):
        check_images(images > 0, "a test", dtype=None)


@pytest.mark.parametrize("shape", [(7, 9), (9, 7)])
def test_what_is_too_small(shape):
    images = np.zeros((1, *shape, 3), np.uint8)
    assert check_images(images, "a test", 7) is images
    fault = f"images of {shape[0]}x{shape[1]} px are too small for a test; give sides of 8 px or more"
    with pytest.raises(ImageError, match=fault):
        check_images(images, "a test", 8)


def test_a_frame_by_hand():
    frame = outer_frame(16, 40)
    assert frame.sum() == 16 * 40 - 14 * 36
    assert not frame[1:-1, 2:-2].any()
    with pytest.raises(ValueError, match="read-only"):
        frame[0, 0] = False
