"""Images as networks see them: scaled pixels, and the same galaxy mirrored, turned, shifted or seen differently."""

from __future__ import annotations

import math

import numpy as np
import torch

__all__ = ["dihedral", "moved", "pixels_of", "shifted", "viewed"]

#: Largest change of scale, background (in units of 255 / 2 grey levels), gain and noise between two views of a galaxy.
_ZOOM, _LEVEL, _GAIN, _NOISE = 1.25, 0.03, 0.15, 0.03


def pixels_of(images: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
    """Cutouts of shape (N, H, W, 3), uint8, as a tensor of shape (N, 3, H, W), float32 in [-1, 1]."""
    # torch takes writable arrays in order only; others are copied
    moved = torch.from_numpy(np.require(images, requirements=["C", "W"])).to(device)
    return moved.permute(0, 3, 1, 2).float().div(127.5).sub(1)


def dihedral(images: torch.Tensor, variant: torch.Tensor) -> torch.Tensor:
    """Each image in one of its eight mirrored and rotated forms.

    Parameters
    ----------
    images : Tensor, shape (N, C, H, H)
    variant : Tensor, shape (N,), int
        0 to 7: bit 0 mirrors left-right, bit 1 up-down, bit 2 transposes.
    """
    flags = [((variant >> bit) & 1).bool()[:, None, None, None] for bit in range(3)]
    images = torch.where(flags[0], images.flip(3), images)
    images = torch.where(flags[1], images.flip(2), images)
    return torch.where(flags[2], images.transpose(2, 3), images)


def shifted(images: torch.Tensor, rng: np.random.Generator, largest: int) -> torch.Tensor:
    """All images moved by one whole number of pixels, at most `largest` each way; borders are mirrored outwards."""
    down, right = (largest - int(step) for step in rng.integers(0, 2 * largest + 1, 2))
    return moved(images, down, right)


def moved(images: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """All images moved by whole numbers of pixels; borders are mirrored outwards."""
    largest = max(abs(down), abs(right))
    padded = torch.nn.functional.pad(images, (largest,) * 4, mode="reflect")
    height, width = images.shape[2:]
    return padded[:, :, largest - down : largest - down + height, largest - right : largest - right + width]


def viewed(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Each galaxy seen another time: at another angle and scale, a little aside, under another sky.

    Parameters
    ----------
    images : Tensor, shape (N, 3, H, H)
        In [-1, 1].
    rng : Generator

    Returns
    -------
    Tensor, shape (N, 3, H, H)
        Turned by any angle, mirrored or not, 0.8 to 1.25 times as large, up to 4 % of the side off the centre; gain and
        background of each colour differ by up to 15 % and 4 grey levels, noise of up to 4 grey levels is added.
    """
    n = len(images)
    angle, mirror = rng.uniform(0, 2 * math.pi, n), rng.choice([-1.0, 1.0], n)
    scale = np.exp(rng.uniform(-math.log(_ZOOM), math.log(_ZOOM), n))
    moved = rng.uniform(-0.08, 0.08, (n, 2))
    cosine, sine = np.cos(angle) * scale, np.sin(angle) * scale
    maps = np.stack([cosine * mirror, -sine, moved[:, 0], sine * mirror, cosine, moved[:, 1]], axis=1).reshape(n, 2, 3)

    def placed(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(images.device, torch.float32)

    grid = torch.nn.functional.affine_grid(placed(maps), list(images.shape), align_corners=False)
    turned = torch.nn.functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    gain = placed(rng.uniform(1 - _GAIN, 1 + _GAIN, (n, 3, 1, 1)))
    level = placed(rng.uniform(-_LEVEL, _LEVEL, (n, 3, 1, 1)))
    noise = placed(rng.uniform(0, _NOISE, (n, 1, 1, 1)))
    return (turned + 1) * gain - 1 + level + noise * placed(rng.standard_normal(turned.shape, dtype=np.float32))
