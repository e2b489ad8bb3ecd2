r"""What galaxies look like by their pixels alone: pixels in, blocks of numbers that gradients pass through out.

In: pixels of shape (N, 3, S, S) in [-1, 1], S a multiple of 8 and at least 32. Out: the blocks of
`astro_galaxysd.evaluation.appearance` that need no reader, in grey levels or logarithms of them, as they are measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch.nn import functional

__all__ = ["SMALLEST", "TILE", "measure_pixels", "moments"]

#: Pixels that latents are made of, side by side; the sides of images that are trained on are multiples of it.
TILE = 8
#: The smallest side, pixels: below it the frame is one pixel wide.
SMALLEST = 32
_BLUR = 9  # pixels
_CELL = 4  # frequencies side by side, each one cycle in half the side
_LEAST_GRAIN = 1e-4  # of relative power; nine tenths of the cells of SDSS galaxies have 1e-5 to 3e-2
_RINGS = np.array([0, 2, 4, 6, 8, 11, 14, 18, 22, 27, 32, 38, 44, 50, 57, 64]) / 64
_DEPTHS = np.array([0, 1, 2, 4, 8, 16]) / 128
_PATCH, _FAINT, _LEAST_MOTTLE = 4, 10.0, 0.02  # pixels; grey levels; nine tenths of SDSS rings have 0.05 to 0.65
_WIDE_RINGS = 8
_CIRCLES, _ANGLES, _TURNS, _KEPT = 24, 32, 6, 3  # circles, three a ring; modes of them; those whose angle is compared
_LEAST_TURN = 1e-4  # of compressed light squared; nine tenths of SDSS rings have 1e-5 to 3e-2
_FREQUENCIES = 24
_FRAME, _CORNER = 16, 8  # the frame is 1/16 of the side wide, a corner 1/8
_BRIGHTEST_SKY = 20.0  # grey levels: what is above is no sky


def measure_pixels(pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Numbers of images, block by block.

    Parameters
    ----------
    pixels : Tensor, shape (N, 3, S, S)
        In [-1, 1].

    Returns
    -------
    dict of str to Tensor, shape (N, D)
        ``profile``, ``power_luminance``, ``power_red_blue``, ``power_green``, ``lattice_sky``, ``lattice_galaxy``,
        ``grain``, ``mottle``, ``around``, ``border``, ``scalars``.
    """
    side = int(pixels.shape[-1])
    grey = (pixels + 1) * 127.5
    sky = grey[:, :, _frame(side)].quantile(0.5, dim=2)
    light = grey - sky[:, :, None, None]
    rings = torch.einsum("nchw,rhw->ncr", light, _rings(side).to(light.device))
    sky_lattice, galaxy_lattice = _lattice(light)
    return {
        "profile": torch.asinh(rings / 2).flatten(1),
        **{f"power_{name}": _power(plane) for name, plane in _planes(grey).items()},
        "lattice_sky": sky_lattice,
        "lattice_galaxy": galaxy_lattice,
        "grain": _grain(light),
        "mottle": _mottle(light),
        "around": _around(light),
        "border": torch.cat(list(_border(light)), dim=1),
        "scalars": torch.stack(list(_scalars(grey, light)), dim=1),
    }


def moments(level: torch.Tensor) -> torch.Tensor:
    """Means and deviations over the image, shape (N, 2 C), of what has the shape (N, C, h, w)."""
    return torch.cat([level.mean(dim=(2, 3)), level.flatten(2).std(dim=2)], dim=1)


def _planes(colours: torch.Tensor) -> dict[str, torch.Tensor]:
    """Luminance and two colours, each of shape (N, S, S); noise of the colours hardly shows in the luminance."""
    red, green, blue = colours.unbind(dim=1)
    return {"luminance": colours.mean(dim=1), "red_blue": red - blue, "green": green - 0.5 * (red + blue)}


def _modes(plane: torch.Tensor) -> torch.Tensor:
    """Power of the modes of square planes, tapered towards the border."""
    window = torch.outer(*[torch.hann_window(plane.shape[-1], device=plane.device)] * 2)
    modes: torch.Tensor = torch.fft.rfft2(plane * window)
    return modes.abs().square() / window.square().sum()


def _power(plane: torch.Tensor) -> torch.Tensor:
    """Logarithm of the power in rings of frequency."""
    modes = _modes(plane - plane.mean(dim=(1, 2), keepdim=True))
    return torch.log(torch.einsum("nhw,rhw->nr", modes, _frequency_rings(plane.shape[-1]).to(plane.device)) + 0.01)


def _lattice(light: torch.Tensor) -> Iterator[torch.Tensor]:
    """Mean at each place in a tile, over all tiles: of the sky, and of the galaxy's detail relative to its light."""
    smooth = _smooth(light)
    bright = (smooth.mean(dim=1, keepdim=True) > _BRIGHTEST_SKY).float()
    detail = (light - smooth) / (smooth.clamp_min(0) + _BRIGHTEST_SKY)
    sky = light.clamp(-_BRIGHTEST_SKY, _BRIGHTEST_SKY)
    for values, area in ((sky, torch.ones_like(bright)), (detail * bright, bright)):
        places = _folded(values) / (_folded(area) + 1)
        yield (places - places.mean(dim=(2, 3), keepdim=True)).flatten(1)


def _smooth(light: torch.Tensor) -> torch.Tensor:
    return functional.avg_pool2d(light, _BLUR, stride=1, padding=_BLUR // 2, count_include_pad=False)


def _grain(light: torch.Tensor) -> torch.Tensor:
    """Logarithm of the power of the galaxy's detail relative to its light, in cells of frequency and direction.

    From the middle quarter of the luminance. A fine pattern of one direction is a peak here, which rings would hide.
    """
    luminance = light.mean(dim=1, keepdim=True)
    smooth = _smooth(luminance)
    quarter = light.shape[-1] // 4
    middle = slice(quarter, 3 * quarter)
    detail = ((luminance - smooth) / (smooth.clamp_min(0) + _BRIGHTEST_SKY))[:, 0, middle, middle]
    cells = functional.avg_pool2d(torch.fft.fftshift(_modes(detail)[:, :, :-1], dim=1)[:, None], _CELL)
    return torch.log(cells.flatten(1) + _LEAST_GRAIN)


def _mottle(light: torch.Tensor) -> torch.Tensor:
    """Logarithm of how much the light and two colours vary around rings, four pixels together.

    Light is compressed, so that a faint patch of colour in the sky counts as much as one in the galaxy.
    """
    bent = torch.asinh(functional.avg_pool2d(light, _PATCH) / _FAINT)
    planes = torch.stack([*_planes(bent).values()], dim=1)
    rings = _wide_rings(light.shape[-1] // _PATCH).to(light.device)
    mean, square = (torch.einsum("nchw,rhw->ncr", values, rings) for values in (planes, planes.square()))
    return 0.5 * torch.log((square - mean.square()).clamp_min(0) + _LEAST_MOTTLE**2).flatten(1)


def _around(light: torch.Tensor) -> torch.Tensor:
    """Logarithm of the power of modes along circles, ring by ring, and how well they keep their angle between rings.

    Of the compressed luminance and a colour. A nucleus off the middle, a bar, arms, and a peak that follows the raster
    differ here.
    """
    planes = _planes(torch.asinh(light / _FAINT))
    bent = torch.stack([planes["luminance"], planes["red_blue"]], dim=1)
    places = _circles(light.shape[-1]).to(light.device).expand(len(light), -1, -1, -1)
    circles = functional.grid_sample(bent, places, align_corners=False)
    modes = torch.fft.rfft(circles, dim=3)[..., 1 : _TURNS + 1].unflatten(2, (_WIDE_RINGS, -1)) / _ANGLES
    power = torch.log(modes.abs().square().mean(dim=3) + _LEAST_TURN)
    first = modes[:, 0, ..., :_KEPT]
    inner, outer = first[:, :-1], first[:, 1:]
    strength = (inner.abs() * outer.abs()).mean(dim=2) + _LEAST_TURN
    kept = (inner * outer.conj()).real.mean(dim=2) / strength
    return torch.cat([power.flatten(1), kept.flatten(1)], dim=1)


def _folded(images: torch.Tensor) -> torch.Tensor:
    """Sum over tiles, shape (N, C, 8, 8)."""
    n, channels, height, width = images.shape
    return images.reshape(n, channels, height // TILE, TILE, width // TILE, TILE).sum(dim=(2, 4))


def _border(light: torch.Tensor) -> Iterator[torch.Tensor]:
    for depth in _depths(light.shape[-1]):
        sky = light[:, :, depth].clamp(max=_BRIGHTEST_SKY)
        yield sky.mean(dim=2)
        yield torch.log(sky.std(dim=2) + 0.3)


def _scalars(grey: torch.Tensor, light: torch.Tensor) -> Iterator[torch.Tensor]:
    side = grey.shape[-1]
    area = (side / 128) ** 2  # sums over the image are brought to those of 128 px
    colours = light.sum(dim=(2, 3)) / area
    yield torch.asinh(colours.mean(dim=1) / 2e4)
    yield torch.asinh((colours[:, 0] - colours[:, 2]) / 5e3)
    yield torch.asinh((colours[:, 0] - colours[:, 1]) / 3e3)
    # a median of whole grey levels would be a whole number
    yield from grey[:, :, _frame(side)].clamp(max=_BRIGHTEST_SKY).mean(dim=2).unbind(dim=1)
    corners = grey.mean(dim=1)[:, _corners(side)]
    corners = corners - corners.median(dim=1, keepdim=True).values
    noise = corners.square().clamp(max=_BRIGHTEST_SKY**2).mean(dim=1)
    yield torch.log(noise.clamp_min(1e-12).sqrt() + 0.1)  # a root has no gradient at 0, where the sky is all black
    yield from _shapes(light.mean(dim=1), area)


def _shapes(light: torch.Tensor, area: float) -> Iterator[torch.Tensor]:
    """Asymmetry under half a turn, ellipticity and size by the moments of the light."""
    small = functional.avg_pool2d(light[:, None], 4)[:, 0]
    turned = (small - small.flip((1, 2))).abs().sum(dim=(1, 2))
    yield torch.log(turned / small.abs().sum(dim=(1, 2)).clamp_min(50 * area) + 0.02)
    side = light.shape[-1]
    y, x = (axis.to(light.device) for axis in _axes(side))
    weight = light.clamp_min(0) * (torch.hypot(x, y) < 0.39 * side)
    total = weight.sum(dim=(1, 2)) + 200 * area
    xx, yy, xy = ((weight * product).sum(dim=(1, 2)) / total for product in (x * x, y * y, x * y))
    yield ((xx - yy).square() + 4 * xy.square() + 0.01).sqrt() / (xx + yy + 1)
    yield torch.log(xx + yy + 1)


@lru_cache(maxsize=4)
def _axes(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    axis = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
    return axis[:, None].expand(side, side), axis[None].expand(side, side)


def _between(values: torch.Tensor, edges: Sequence[float] | np.ndarray) -> torch.Tensor:
    """Masks of what lies between one edge and the next, each of sum 1; empty ones are left out."""
    masks = torch.stack([(values >= low) & (values < high) for low, high in pairwise(edges)])
    counts = masks.sum(dim=(1, 2), keepdim=True)
    return masks[counts[:, 0, 0] > 0].float() / counts[counts[:, 0, 0] > 0]


@lru_cache(maxsize=4)
def _rings(side: int) -> torch.Tensor:
    y, x = _axes(side)
    return _between(torch.hypot(x, y), _RINGS * side / 2)


@lru_cache(maxsize=4)
def _circles(side: int) -> torch.Tensor:
    """Places on circles about the middle, shape (1, circles, angles, 2), in half sides from it."""
    radius = (torch.arange(_CIRCLES) + 0.5) / _CIRCLES * (1 - 2 / side)
    angle = 2 * torch.pi * torch.arange(_ANGLES) / _ANGLES
    return torch.stack([radius[:, None] * angle.cos(), radius[:, None] * angle.sin()], dim=-1)[None]


@lru_cache(maxsize=4)
def _wide_rings(side: int) -> torch.Tensor:
    y, x = _axes(side)
    return _between(torch.hypot(x, y), np.linspace(0, side / 2, _WIDE_RINGS + 1))


@lru_cache(maxsize=4)
def _frequency_rings(side: int) -> torch.Tensor:
    frequency = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None])
    return _between(frequency, np.geomspace(0.9 / side, 0.5, _FREQUENCIES + 1))


@lru_cache(maxsize=4)
def _depth(side: int) -> torch.Tensor:
    axis = torch.arange(side)
    nearest = torch.minimum(axis, side - 1 - axis)
    return torch.minimum(nearest[:, None], nearest[None])


@lru_cache(maxsize=4)
def _depths(side: int) -> list[torch.Tensor]:
    edges = np.unique((_DEPTHS * side).round().astype(int))
    return [(_depth(side) >= low) & (_depth(side) < high) for low, high in pairwise(edges)]


@lru_cache(maxsize=4)
def _frame(side: int) -> torch.Tensor:
    return _depth(side) < side // _FRAME


@lru_cache(maxsize=4)
def _corners(side: int) -> torch.Tensor:
    axis = torch.arange(side)
    outer = (axis < side // _CORNER) | (axis >= side - side // _CORNER)
    return outer[:, None] & outer[None]
