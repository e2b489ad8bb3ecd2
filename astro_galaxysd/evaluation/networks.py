"""The networks that look at galaxies: convolutions from pixels to a few numbers, and the files they are kept in.

Two architectures, so that what judges a generator need not be what chose its weights: `ResidualNetwork` reads 4x4
pixels at a time and adds what it finds block by block (He et al. 2016), `PlainNetwork` halves the image at first and
stacks convolutions with pooling between them (Simonyan and Zisserman 2015). Both are normalised in groups (Wu and He
2018): an image's numbers do not depend on the images beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from astro_galaxysd.errors import ImageError, UnknownNameError, WeightsError
from astro_galaxysd.images.codec import fit_size
from astro_galaxysd.learning.views import pixels_of

__all__ = ["ARCHITECTURES", "PlainNetwork", "ResidualNetwork", "build", "load_network", "run_network", "save_network"]

_GROUPS = 8
_PATCH, _STRIDE = 6, 4
_BATCH = 64
#: Where the middle of the pixels' range in [-1, 1] is brought to zero, and what becomes one: most of a cutout is sky.
_SKY, _SPREAD = -0.85, 0.25


class _Residual(nn.Module):
    """Two convolutions whose sum is added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.GroupNorm(_GROUPS, channels), nn.ReLU(), _convolution(channels, channels)]
        self.change = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = self.change(x)
        return x + changed


class ResidualNetwork(nn.Sequential):
    """Overlapping patches of 6 px every 4 px, then residual blocks, each level at half the size of the one before.

    Parameters
    ----------
    width : sequence of int
        Channels of the levels, multiples of 8.
    outputs : int
        Numbers that come out of an image.
    """

    def __init__(self, width: tuple[int, ...], outputs: int) -> None:
        layers: list[nn.Module] = [nn.Conv2d(3, width[0], _PATCH, _STRIDE, padding=1), _Residual(width[0])]
        for before, channels in pairwise(width):
            layers += [nn.GroupNorm(_GROUPS, before), nn.ReLU(), _convolution(before, channels, 2), _Residual(channels)]
        super().__init__(*layers, nn.GroupNorm(_GROUPS, width[-1]), nn.ReLU(), *_head(width[-1], outputs))


class PlainNetwork(nn.Sequential):
    """The image at half its size, then two convolutions a level and the largest of 2x2 between levels.

    Parameters
    ----------
    width, outputs
        As `ResidualNetwork`.
    """

    def __init__(self, width: tuple[int, ...], outputs: int) -> None:
        layers: list[nn.Module] = [nn.AvgPool2d(2)]
        for number, (before, channels) in enumerate(zip((3, *width), width, strict=False)):
            for inputs in (before, channels):
                step = 2 if number == 0 and inputs == 3 else 1
                layers += [_convolution(inputs, channels, step), nn.GroupNorm(_GROUPS, channels), nn.SiLU()]
            layers += [nn.MaxPool2d(2)] if number + 1 < len(width) else []
        super().__init__(*layers, *_head(width[-1], outputs))


def _convolution(inputs: int, outputs: int, step: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, step, padding=1, bias=False)


def _head(channels: int, outputs: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, outputs)]


#: Networks by the name they have in recipes and files.
ARCHITECTURES: dict[str, type[ResidualNetwork] | type[PlainNetwork]] = {
    "residual": ResidualNetwork,
    "plain": PlainNetwork,
}


def build(architecture: str, width: tuple[int, ...], outputs: int) -> nn.Module:
    """A network of a name of `ARCHITECTURES`, with first values from torch's random numbers.

    Raises
    ------
    UnknownNameError
        If there is no such architecture.
    """
    if architecture not in ARCHITECTURES:
        raise UnknownNameError("architecture", architecture, ARCHITECTURES)
    network: nn.Module = ARCHITECTURES[architecture](tuple(width), outputs)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def seen(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels in [-1, 1] as the networks take them: sky about 0, bright cores up to 7."""
    return ((pixels - _SKY) / _SPREAD).contiguous(memory_format=torch.channels_last)


def save_network(network: nn.Module, path: str | os.PathLike[str], facts: Mapping[str, Any]) -> None:
    """Write a network in half precision with what is needed to build it again.

    Parameters
    ----------
    network : Module
    path : path
        The safetensors file.
    facts : mapping
        ``kind``, ``architecture``, ``width``, ``outputs``, ``image_size`` and whatever else should be known of it.
    """
    from safetensors.torch import save

    tensors = {name: value.detach().half().contiguous() for name, value in network.state_dict().items()}
    # written by us: the library's own file could be read by its owner alone
    Path(path).write_bytes(save(tensors, metadata={"galaxysd": json.dumps(dict(facts), sort_keys=True)}))


def load_network(path: str | os.PathLike[str], kind: str) -> tuple[nn.Module, dict[str, Any]]:
    """Read what `save_network` wrote.

    Parameters
    ----------
    path : path
    kind : str
        What it must be: ``"reader"`` or ``"embedder"``.

    Returns
    -------
    network : Module
        In float32, not training.
    facts : dict
        As saved, and ``revision``: a hash of the file's content.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, of another kind, or does not fit what it says of itself.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), "pt") as file:
            facts: dict[str, Any] = json.loads((file.metadata() or {})["galaxysd"])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no mapping)
        if facts.get("kind") != kind:
            raise WeightsError(f"{os.fspath(path)} holds a {facts.get('kind')!r}, not a {kind}; give one of those")
        network = build(facts["architecture"], tuple(facts["width"]), int(facts["outputs"]))
        network.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        if isinstance(error, WeightsError | UnknownNameError):
            raise
        raise WeightsError(
            f"{os.fspath(path)}: no {kind} can be read ({type(error).__name__}: {error}); train one with "
            f"`galaxysd train {kind}`, or install the package again if the file belongs to it"
        ) from error
    facts["revision"] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return network.eval(), facts


def run_network(network: nn.Module, images: np.ndarray, side: int) -> torch.Tensor:
    """What comes out of a network for cutouts, batch by batch.

    Parameters
    ----------
    network : Module
    images : ndarray, shape (N, H, W, 3), uint8
        Brought to `side` pixels where they have another size.
    side : int
        Of the images that the network learnt from.

    Returns
    -------
    Tensor, shape (N, outputs), float32

    Raises
    ------
    ImageError
        Another dtype or shape, or no image.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape or images.dtype != np.uint8:
        raise ImageError(f"images are {images.dtype} of shape {images.shape}; give uint8 (N, H, W, 3), N at least 1")
    with torch.inference_mode():
        batches = (fit_size(images[start : start + _BATCH], (side, side)) for start in range(0, len(images), _BATCH))
        return torch.cat([network(seen(pixels_of(batch))) for batch in batches])
