r"""What galaxies look like, in numbers that gradients pass through: for training that compares drawn with real ones.

In: pixels of shape (N, 3, S, S) in [-1, 1]. Out: blocks of numbers, each brought to a mean distance of about 1 between
two real images, and what a reader of votes answers. The blocks are

- ``semantics``: what the reader knows of an image before it answers,
- ``texture``: means and deviations over the image of what the reader sees at each of its sizes, a block a size,
- ``profile``: :math:`\operatorname{arsinh}` of the light in rings about the middle, colour by colour,
- ``power``: logarithm of the power spectrum in rings of frequency,
- ``lattice``: mean sky, and mean detail of the galaxy, at each place within 8x8 pixels, of which latents are made:
  patterns that repeat stand out,
- ``border``: level and logarithm of the noise at five depths below the border,
- ``scalars``: flux, two colours, sky level of each colour, sky noise, asymmetry, ellipticity, size, each by itself.

The reader must not be the one that reports: what was drawn for one reader looks too good to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from astro_galaxysd.errors import ImageError, TrainingError
from astro_galaxysd.evaluation.networks import seen
from astro_galaxysd.evaluation.reader import reached
from astro_galaxysd.evaluation.reading import READERS, ImageReader, divergence, fractions_of
from astro_galaxysd.learning.energy import energy_score
from astro_galaxysd.learning.views import pixels_of

__all__ = ["WEIGHTS", "Appearance", "Seen"]

#: What a block counts in a sum over blocks; a size of texture, and each of the scalars.
WEIGHTS = {
    "semantics": 2.0, "texture": 0.5, "profile": 1.0, "power": 1.0, "lattice": 1.0, "border": 0.5, "scalars": 0.5
}  # fmt: skip
#: Real images that distances are measured on, and the fewest that will do.
_SAMPLE, _FEWEST, _BATCH = 1024, 32, 64
#: Directions in which real images vary less than this share of the largest are left out.
_LEAST_SHARE = 0.02
#: Scalars that vary less are left out; over galaxies of SDSS they vary by 0.17 to 2.3.
_LEAST_SPREAD = 1e-3
_RINGS = np.array([0, 2, 4, 6, 8, 11, 14, 18, 22, 27, 32, 38, 44, 50, 57, 64]) / 64
_DEPTHS = np.array([0, 1, 2, 4, 8, 16]) / 128
_FREQUENCIES = 24
_TILE, _BLUR = 8, 9  # pixels; the sides of images that are trained on are multiples of 8
_FRAME, _CORNER = 16, 8  # the frame is 1/16 of the side wide, a corner 1/8
_BRIGHTEST_SKY = 20.0  # grey levels: what is above is no sky


class Seen(NamedTuple):
    """Blocks of numbers by name, each of shape (N, D); log fractions of the answers, shape (N, 37)."""

    blocks: dict[str, torch.Tensor]
    answers: torch.Tensor


class Appearance:
    """Looks at images.

    Parameters
    ----------
    reader : ImageReader
    images : ndarray, shape (N, S, S, 3), uint8
        Real images, at least 32, of which up to 1,024 say what a distance is.
    rng : int
        Chooses these.
    device : torch.device

    Raises
    ------
    TrainingError
        For the reader that reports, and too few images.
    ImageError
        If the images have another size than the reader learnt from.
    """

    def __init__(
        self, reader: ImageReader, images: np.ndarray, *, rng: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        _check(reader, images)
        self._network = reader.network.to(device).requires_grad_(False)
        self.side, self.revision = int(images.shape[1]), reader.revision
        chosen = np.sort(np.random.default_rng(rng).permutation(len(images))[:_SAMPLE])
        with torch.no_grad():
            parts = [
                self._measure(pixels_of(images[chosen[start : start + _BATCH]], device))[0]
                for start in range(0, len(chosen), _BATCH)
            ]
        known = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        self._scales = {
            name: (_scalar_scale if name == "scalars" else _scale)(values) for name, values in known.items()
        }

    def __call__(self, pixels: torch.Tensor) -> Seen:
        """Numbers of images, shape (N, 3, S, S), in [-1, 1]."""
        found, answers = self._measure(pixels)
        blocks = {name: (values - self._scales[name][0]) @ self._scales[name][1] for name, values in found.items()}
        return Seen(blocks, fractions_of(answers, logarithm=True))

    def score(self, first: Seen, second: Seen, real: Seen) -> torch.Tensor:
        """Energy score of two draws for each condition, all blocks together, shape (N,)."""
        looks = (first.blocks, second.blocks, real.blocks)
        return torch.stack([_block_score(name, *(look[name] for look in looks)) for name in real.blocks]).sum(dim=0)

    def divergence(self, drawn: Seen, fractions: np.ndarray) -> torch.Tensor:
        """Divergence of what the reader answers from votes, question by question as a reader learns them.

        Parameters
        ----------
        drawn : Seen
        fractions : ndarray, shape (N, 37)
            Conditional vote fractions, NaN where not asked.

        Returns
        -------
        Tensor, shape (N,)
        """
        device = drawn.answers.device
        votes = torch.from_numpy(np.nan_to_num(fractions)).float().to(device)
        shares = torch.from_numpy(reached(fractions)).float().to(device)
        return divergence(drawn.answers, votes, shares)

    def _measure(self, pixels: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        levels, semantics, answers = self._read(pixels)
        grey = (pixels + 1) * 127.5
        sky = grey[:, :, _frame(self.side)].quantile(0.5, dim=2)
        light = grey - sky[:, :, None, None]
        rings = torch.einsum("nchw,rhw->ncr", light, _rings(self.side).to(light.device))
        sky_lattice, galaxy_lattice = _lattice(light)
        found = {f"texture_{size}": _moments(level) for size, level in levels.items()}
        found |= {"semantics": semantics, "profile": torch.asinh(rings / 2).flatten(1), "power": _power(grey)}
        found |= {
            "lattice_sky": sky_lattice,
            "lattice_galaxy": galaxy_lattice,
            "border": torch.cat(list(_border(light)), dim=1),
            "scalars": torch.stack(list(_scalars(grey, light)), dim=1),
        }
        return found, answers

    def _read(self, pixels: torch.Tensor) -> tuple[dict[int, torch.Tensor], torch.Tensor, torch.Tensor]:
        """The reader's last view at each size, what it knows at last, and its answers."""
        levels: dict[int, torch.Tensor] = {}
        *before, last = self._network.children()
        hidden = seen(pixels)
        for layer in before:
            hidden = layer(hidden)
            if hidden.ndim == 4 and hidden.shape[-1] > 1:
                levels[int(hidden.shape[-1])] = hidden
        return levels, hidden, last(hidden)


def _block_score(name: str, *looks: torch.Tensor) -> torch.Tensor:
    weight = WEIGHTS[name.partition("_")[0]]
    if name == "scalars":  # each by itself: together, one of them would hide behind the others
        return weight * energy_score(*(look[..., None] for look in looks)).sum(dim=1)
    return weight * energy_score(*looks)


def _check(reader: ImageReader, images: np.ndarray) -> None:
    if reader.revision == ImageReader.load("reporting").revision:
        raise TrainingError(
            f"{READERS['reporting']} reports on weights, so it can't teach them; train another one with `galaxysd "
            "train reader --preset choosing --set seed=31`"
        )
    if len(images) < _FEWEST:
        raise TrainingError(f"{len(images)} real images to compare with; give at least {_FEWEST}")
    if images.shape[1] != int(reader.facts["image_size"]):
        raise ImageError(
            f"images of {images.shape[1]} px for a reader of {reader.facts['image_size']} px; train a reader on such "
            "images, or bring them to its size with fit_size"
        )


def _scale(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean, and directions of a block: half whitened, so that large differences count more, but not alone."""
    mean = values.mean(dim=0)
    _, spread, axes = torch.linalg.svd(values - mean, full_matrices=False)
    kept = spread > _LEAST_SHARE * spread[0]
    turned = axes[kept].T / spread[kept].sqrt()
    points = (values - mean) @ turned
    half = len(points) // 2
    return mean, turned / (points[:half] - points[half : 2 * half]).norm(dim=1).mean()


def _scalar_scale(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    spread = values.std(dim=0)
    # what is the same in all real images says nothing, such as the level of a sky too bright to be taken for one
    return values.mean(dim=0), torch.diag(torch.where(spread > _LEAST_SPREAD, 1 / spread, 0.0))


def _moments(level: torch.Tensor) -> torch.Tensor:
    return torch.cat([level.mean(dim=(2, 3)), level.flatten(2).std(dim=2)], dim=1)


def _power(grey: torch.Tensor) -> torch.Tensor:
    """Logarithm of the luminance's power in rings of frequency."""
    side = grey.shape[-1]
    window = torch.outer(*[torch.hann_window(side, device=grey.device)] * 2)
    luminance = grey.mean(dim=1)
    luminance = luminance - luminance.mean(dim=(1, 2), keepdim=True)
    modes = torch.fft.rfft2(luminance * window).abs().square() / window.square().sum()
    return torch.log(torch.einsum("nhw,rhw->nr", modes, _frequency_rings(side).to(grey.device)) + 0.01)


def _lattice(light: torch.Tensor) -> Iterator[torch.Tensor]:
    """Mean at each place in a tile, over all tiles: of the sky, and of the galaxy's detail relative to its light."""
    smooth = functional.avg_pool2d(light, _BLUR, stride=1, padding=_BLUR // 2, count_include_pad=False)
    bright = (smooth.mean(dim=1, keepdim=True) > _BRIGHTEST_SKY).float()
    detail = (light - smooth) / (smooth.clamp_min(0) + _BRIGHTEST_SKY)
    sky = light.clamp(-_BRIGHTEST_SKY, _BRIGHTEST_SKY)
    for values, area in ((sky, torch.ones_like(bright)), (detail * bright, bright)):
        places = _folded(values) / (_folded(area) + 1)
        yield (places - places.mean(dim=(2, 3), keepdim=True)).flatten(1)


def _folded(images: torch.Tensor) -> torch.Tensor:
    """Sum over tiles, shape (N, C, 8, 8)."""
    n, channels, height, width = images.shape
    return images.reshape(n, channels, height // _TILE, _TILE, width // _TILE, _TILE).sum(dim=(2, 4))


def _border(light: torch.Tensor) -> Iterator[torch.Tensor]:
    for depth in _depths(light.shape[-1]):
        sky = light[:, :, depth].clamp(max=_BRIGHTEST_SKY)
        yield sky.mean(dim=2)
        yield torch.log(sky.std(dim=2) + 0.3)


def _scalars(grey: torch.Tensor, light: torch.Tensor) -> Iterator[torch.Tensor]:
    side = grey.shape[-1]
    area = (side / 128) ** 2
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
    yield from _shapes(light.mean(dim=1))


def _shapes(light: torch.Tensor) -> Iterator[torch.Tensor]:
    """Asymmetry under half a turn, ellipticity and size by the moments of the light."""
    small = functional.avg_pool2d(light[:, None], 4)[:, 0]
    turned = (small - small.flip((1, 2))).abs().sum(dim=(1, 2))
    yield torch.log(turned / small.abs().sum(dim=(1, 2)).clamp_min(50) + 0.02)
    side = light.shape[-1]
    y, x = (axis.to(light.device) for axis in _axes(side))
    weight = light.clamp_min(0) * (torch.hypot(x, y) < 0.39 * side)
    total = weight.sum(dim=(1, 2)) + 200
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
