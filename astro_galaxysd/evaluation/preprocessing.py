"""How a vision model wants its images: what its folder says, done in torch.

In: the ``preprocessor_config.json`` of a transformers model and uint8 images. Out: pixels as the model was trained on:
resized, cropped in the middle, multiplied by 1/255, less the mean and divided by the standard deviation of each colour.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import WeightsError

if TYPE_CHECKING:
    import torch

__all__ = ["PREPROCESSOR_FILES", "Preprocessing", "read_preprocessing"]

#: Files that may hold it, the first that is there counts.
PREPROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
#: Pillow's numbers of filters, by which configurations name them.
_FILTERS = {0: "nearest-exact", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_UNKNOWN_STEPS = ("do_pad", "rescale_offset", "do_flip_channel_order", "do_color_quantize")
_WHOLE = 384  # ConvNeXt crops smaller images only


@dataclass(frozen=True)
class Preprocessing:
    """From grey levels to what a model reads.

    Parameters
    ----------
    size : int or (int, int), optional
        Length of the shorter side, or height and width; by default images keep theirs. Pixels.
    crop : (int, int), optional
        Height and width that are cut out of the middle, with black around images that are smaller.
    resample : str
        Filter: ``"bilinear"``, ``"bicubic"``, ``"lanczos"`` or ``"nearest-exact"``.
    factor : float
        What grey levels are multiplied by.
    mean, std : tuple of 3 floats
        Of each colour, after `factor`.
    """

    size: int | tuple[int, int] | None
    crop: tuple[int, int] | None
    resample: str
    factor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: np.ndarray) -> torch.Tensor:
        """Prepare images.

        Parameters
        ----------
        images : ndarray, shape (N, H, W, 3), uint8

        Returns
        -------
        Tensor, shape (N, 3, h, w), float32
        """
        import torch

        pixels = torch.from_numpy(np.require(images, requirements=["C", "W"])).permute(0, 3, 1, 2)
        pixels = self._cropped(self._resized(pixels)).float() * self.factor
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return (pixels - mean) / std

    def _resized(self, pixels: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import interpolate

        height, width = pixels.shape[-2:]
        size = self.size
        if isinstance(size, int):
            short, long = size, int(size * max(height, width) / min(height, width))
            size = (short, long) if height <= width else (long, short)
        if size is None or size == (height, width):
            return pixels
        # as uint8, rounded and cut at 0 and 255 after each of the two directions: that is what Pillow does
        return interpolate(pixels, size, mode=self.resample, antialias=self.resample != "nearest-exact")

    def _cropped(self, pixels: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import pad

        if self.crop is None:
            return pixels
        missing = [max(wanted - side, 0) for wanted, side in zip(self.crop, pixels.shape[-2:], strict=True)]
        top, left = (math.ceil(number / 2) for number in missing)
        pixels = pad(pixels, (left, missing[1] - left, top, missing[0] - top))
        top, left = ((side - wanted) // 2 for wanted, side in zip(self.crop, pixels.shape[-2:], strict=True))
        return pixels[..., top : top + self.crop[0], left : left + self.crop[1]]


def read_preprocessing(folder: Path) -> Preprocessing:
    """Read how the model of a folder wants its images.

    Parameters
    ----------
    folder : Path
        With one of `PREPROCESSOR_FILES`.

    Returns
    -------
    Preprocessing

    Raises
    ------
    WeightsError
        If the file is missing, damaged or asks for a step that is not known here.
    """
    path = next((folder / name for name in PREPROCESSOR_FILES if (folder / name).is_file()), None)
    if path is None:
        raise WeightsError(
            f"{folder} has no {PREPROCESSOR_FILES[0]}, so nobody knows how the model wants its images; copy it from "
            "where the model comes from"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        config = config.get("image_processor") or config
        unknown = [step for step in _UNKNOWN_STEPS if config.get(step)]
        if unknown:
            raise WeightsError(f"{path} asks for {', '.join(unknown)}, which is not done here; choose another model")
        return _from_config(config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: no preprocessing can be read ({error!r}); copy the file again") from error


def _from_config(config: dict[str, Any]) -> Preprocessing:
    crop = _sides(config["crop_size"]) if config.get("do_center_crop") else None
    size = _size(config["size"], crop is not None) if config.get("do_resize", True) else None
    if config.get("crop_pct") and isinstance(size, int):  # ConvNeXt
        crop = (size, size) if size < _WHOLE else None
        size = int(size / config["crop_pct"]) if size < _WHOLE else (size, size)
    normal = config.get("do_normalize", True)
    mean, std = (tuple(map(float, config[f"image_{name}"])) for name in ("mean", "std")) if normal else ((0.0,), (1.0,))
    if {len(mean), len(std)} - {1, 3}:
        raise ValueError(f"image_mean and image_std have {len(mean)} and {len(std)} numbers, not 3")
    return Preprocessing(
        size=size,
        crop=crop,
        resample=_FILTERS[config.get("resample", 2)],
        factor=float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0,
        mean=mean * (3 // len(mean)),
        std=std * (3 // len(std)),
    )


def _size(value: Any, cropped: bool) -> int | tuple[int, int]:
    """The shorter side or both; a lone number, of older files, is the shorter side where a crop follows."""
    given = {name: side for name, side in value.items() if side} if isinstance(value, dict) else {}
    if set(given) == {"shortest_edge"}:
        return int(given["shortest_edge"])
    return int(value) if cropped and not isinstance(value, dict) else _sides(value)


def _sides(value: Any) -> tuple[int, int]:
    if not isinstance(value, dict):
        return int(value), int(value)
    if not value.get("height") or not value.get("width"):
        raise ValueError(f"size {value}; height and width or shortest_edge are known")
    return int(value["height"]), int(value["width"])
