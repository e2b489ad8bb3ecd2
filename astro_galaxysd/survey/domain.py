r"""What weights were trained on, as numbers that lie beside them, and how far other cutouts are from it.

In: numbers of training cutouts and of held-out ones of the same survey. Out: `DOMAIN_FILE` in a weights folder. Three
kinds of numbers are kept: an embedder's features of the cutouts in colour and in grey, and their tint. The distance of
a cutout is

.. math:: d(x) = \frac{1}{k} \sum_{j \in N_k(x)} |x - t_j|

over its k nearest training cutouts (Sun et al. 2022, arXiv:2204.06507, take the k-th alone, of unit vectors). It lies
outside what was trained on if it is farther than 99 % of the held-out cutouts. Lengths of features count: by
cosines no inverted SDSS cutout lies outside, by these distances 99 % do. The tint is looked at besides, as the
embedder is all but blind to the order of the bands. ``benchmarks/domain.py`` measures both.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from astro_galaxysd.errors import ConditionError, ImageError, WeightsError
from astro_galaxysd.images.files import atomic_path
from astro_galaxysd.survey.sizes import DISPLAY_FRAME, FLUX_FRAME, Frame

__all__ = [
    "COLOUR",
    "DOMAIN_FILE",
    "FEWEST",
    "GREY",
    "NEIGHBOURS",
    "TINT",
    "Domain",
    "as_grey",
    "distances",
    "make_domain",
    "read_domain",
    "tints",
    "write_domain",
]

#: In a weights folder.
DOMAIN_FILE = "domain.safetensors"
#: Kinds of numbers: features of colour and of grey cutouts, and the tint.
COLOUR, GREY, TINT = "colour", "grey", "tint"
#: Training cutouts that a distance is averaged over.
NEIGHBOURS = 5
#: Share of held-out cutouts that lie inside.
_INSIDE = 0.99
#: Fewest held-out cutouts: of fewer, 99 % are all.
FEWEST = 100
#: Light in grey levels below which a tint says nothing: the softening of its logarithms.
_SOFTENING = 2.0
_BLOCK = 256
_FACTS = ("bands", "survey", "radius", "seeing", "image_size", "embedder", "revision")


@dataclass(frozen=True)
class Domain:
    """What weights were trained on.

    Parameters
    ----------
    features : dict of str to ndarray, shape (N, D), float
        Numbers of training cutouts, by kind: `COLOUR`, `GREY`, `TINT`.
    held_out : dict of str to ndarray, shape (M,), float
        Sorted distances of held-out cutouts to them, by kind.
    embedder, revision : str
        Which embedder the features are of.
    image_size : int
        Side of the training cutouts, pixels.
    radius : float
        R90 of the galaxies in these display images, median, pixels; 0 where not known.
    seeing : float
        FWHM of point sources, pixels; 0 where not known.
    bands : tuple of str
        Red, green, blue; empty where not known.
    survey : str
        Its name; empty where not known.
    """

    features: Mapping[str, np.ndarray] = field(repr=False)
    held_out: Mapping[str, np.ndarray] = field(repr=False)
    embedder: str
    revision: str
    image_size: int
    radius: float = 0.0
    seeing: float = 0.0
    bands: tuple[str, ...] = ()
    survey: str = ""

    def limit(self, kind: str = COLOUR) -> float:
        """Distance below which 99 % of the held-out cutouts are."""
        return float(np.quantile(self.held_out[kind], _INSIDE))

    def usual(self, kind: str = COLOUR) -> float:
        """Median distance of the held-out cutouts."""
        return float(np.median(self.held_out[kind]))

    def frame(self, *, stretched: bool) -> Frame:
        """How large galaxies must be to look like those that were trained on.

        Parameters
        ----------
        stretched : bool
            Whether they are measured in fluxes, from which a stretch makes display images; there they are smaller.

        Returns
        -------
        Frame
            Where the record has no radius that of the weights that ship, in proportion to `image_size`. A radius in
            fluxes is that in display values times the ratio of `astro_galaxysd.survey.sizes.FLUX_FRAME` to
            `DISPLAY_FRAME`.
        """
        radius = self.radius or DISPLAY_FRAME.radius * self.image_size / DISPLAY_FRAME.side
        if stretched:
            radius *= FLUX_FRAME.radius / DISPLAY_FRAME.radius
        return Frame(radius=radius, side=self.image_size)


def make_domain(training: Mapping[str, np.ndarray], held_out: Mapping[str, np.ndarray], **facts: Any) -> Domain:
    """Make the record of a training set.

    Parameters
    ----------
    training, held_out : mapping of str to ndarray, shape (N, D) and (M, D)
        Numbers of cutouts that were trained on, and of some that were not, by kind; M at least 100.
    **facts
        As `Domain`.

    Returns
    -------
    Domain
        Features in half precision, which moves no distance by more than a thousandth.

    Raises
    ------
    ConditionError
        If there are too few cutouts.
    """
    n, m = (min(len(numbers) for numbers in part.values()) for part in (training, held_out))
    if n < NEIGHBOURS or m < FEWEST:
        raise ConditionError(
            f"{n} training and {m} held-out cutouts are too few to say what weights were trained on; "
            f"give {NEIGHBOURS} and {FEWEST} or more"
        )
    features = {kind: np.asarray(numbers, dtype=np.float16) for kind, numbers in training.items()}
    far = {kind: np.sort(_distances(held_out[kind], features[kind])).astype(np.float32) for kind in features}
    return Domain(features, far, **facts)


def distances(numbers: np.ndarray, domain: Domain, kind: str = COLOUR) -> np.ndarray:
    """How far cutouts are from what weights were trained on.

    Parameters
    ----------
    numbers : ndarray, shape (n, D)
        Features of the record's embedder, or tints.
    domain : Domain
    kind : str
        `COLOUR`, `GREY` or `TINT`.

    Returns
    -------
    ndarray, shape (n,), float64
        Mean Euclidean distance to the 5 nearest training cutouts, 0 or more.

    Raises
    ------
    WeightsError
        If the numbers are no ones of the record's embedder.
    """
    kept = domain.features[kind]
    if np.ndim(numbers) != 2 or np.shape(numbers)[1] != kept.shape[1]:
        raise WeightsError(
            f"numbers of shape {np.shape(numbers)} are compared with {kept.shape[1]} numbers a training cutout; the "
            f"record is of the embedder {domain.embedder!r}, take that one"
        )
    return _distances(numbers, kept)


def _distances(numbers: np.ndarray, kept: np.ndarray) -> np.ndarray:
    points, others = np.asarray(numbers, dtype=float), np.asarray(kept, dtype=float)
    squares, found = (others**2).sum(axis=1), np.empty(len(points))
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        square = (block**2).sum(axis=1)[:, None] + squares - 2 * block @ others.T
        near = np.partition(square, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        found[start : start + _BLOCK] = np.sqrt(np.maximum(near, 0)).mean(axis=1)
    return found


def tints(images: np.ndarray) -> np.ndarray:
    r"""Colours of the galaxies in the middle, as far as display values tell them.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3), uint8
        H and W at least 16.

    Returns
    -------
    ndarray, shape (N, 2), float64
        Red to blue and red to green, :math:`2.5 \log_{10}((F_R + s) / (F_B + s))` in magnitudes: F is the mean light
        above the background in the inner half of each side, at least 0, the background the median of the outermost
        sixteenth, and s is 2 grey levels, so that an empty image has no colour.

    Raises
    ------
    ImageError
        If they are no such images.
    """
    pixels = _checked(images)
    height, width = pixels.shape[1:3]
    top, left = height // 16, width // 16
    edge = np.concatenate([pixels[:, :top].reshape(len(pixels), -1, 3), pixels[:, -top:].reshape(len(pixels), -1, 3),
                           pixels[:, :, :left].reshape(len(pixels), -1, 3),
                           pixels[:, :, -left:].reshape(len(pixels), -1, 3)], axis=1)  # fmt: skip
    inner = pixels[:, height // 4 : height - height // 4, width // 4 : width - width // 4]
    light = np.maximum(inner.mean(axis=(1, 2)) - np.median(edge, axis=1), 0) + _SOFTENING
    return np.asarray(2.5 * np.log10(light[:, :1] / light[:, :0:-1]))


def as_grey(images: np.ndarray) -> np.ndarray:
    """Cutouts without their colour, as luminance is shown: each pixel has the mean of its three values.

    Raises
    ------
    ImageError
        If they are no uint8 images (N, H, W, 3), 16 px or more.
    """
    pixels = _checked(images)
    grey = np.rint(pixels.mean(axis=-1, keepdims=True, dtype=np.float32)).astype(np.uint8)
    return np.repeat(grey, 3, axis=-1)


def _checked(images: np.ndarray) -> np.ndarray:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or min(images.shape[1:3], default=0) < 16:
        raise ImageError(
            f"images are {images.dtype} of shape {images.shape}; uint8 of shape (N, H, W, 3) is needed, H and W at "
            "least 16"
        )
    return images


def write_domain(domain: Domain, folder: str | os.PathLike[str]) -> Path:
    """Write the record into a weights folder, in place of one that is there; return its path.

    Raises
    ------
    OutputError
        If it can't be written.
    """
    from safetensors.numpy import save

    tensors = {f"features.{kind}": np.ascontiguousarray(numbers) for kind, numbers in domain.features.items()}
    tensors |= {f"held_out.{kind}": np.ascontiguousarray(far) for kind, far in domain.held_out.items()}
    facts = {name: getattr(domain, name) for name in _FACTS}
    path = Path(folder) / DOMAIN_FILE
    with atomic_path(path, overwrite=True) as partial:
        partial.write_bytes(save(tensors, metadata={"galaxysd": json.dumps(facts, sort_keys=True)}))
    return path


def read_domain(folder: str | os.PathLike[str]) -> Domain | None:
    """Read the record of a weights folder; None where it has none.

    Raises
    ------
    WeightsError
        If the record is damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(folder) / DOMAIN_FILE
    if not path.is_file():
        return None
    try:
        with safe_open(os.fspath(path), "np") as file:
            facts: dict[str, Any] = json.loads((file.metadata() or {})["galaxysd"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        parts: dict[str, Any] = {
            part: {name.partition(".")[2]: value for name, value in tensors.items() if name.startswith(part)}
            for part in ("features", "held_out")
        }
        domain = Domain(**parts, **(facts | {"bands": tuple(facts["bands"])}))
        for kind in (COLOUR, GREY, TINT):
            domain.limit(kind), domain.features[kind].shape[1]
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, IndexError) as error:
        raise WeightsError(
            f"{path} can't be read ({type(error).__name__}: {error}); copy the weights again, or remove this file: "
            "cutouts are then not checked against what the weights were trained on"
        ) from error
    return domain
