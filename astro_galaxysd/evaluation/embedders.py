"""Embedders: whatever turns images into features, by name, from a function or from a transformers model.

In: a name, a folder, a name of the Hugging Face Hub, a function or an object. Out: an object with ``embed(images)``.
Weights are read from safetensors only and no code that comes with them is run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ConditionError, PluginError, UnknownNameError, WeightsError
from astro_galaxysd.evaluation.cutouts import check_images
from astro_galaxysd.evaluation.memory import check_features
from astro_galaxysd.evaluation.preprocessing import read_preprocessing
from astro_galaxysd.evaluation.visionmodels import HUB_NAME, VisionModel, fetch_model, load_model, model_revision
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.plugins.protocols import Embedder

if TYPE_CHECKING:
    from astro_galaxysd.plugins.manager import Registered

__all__ = ["DEFAULT_EMBEDDER", "FunctionEmbedder", "TransformersEmbedder", "make_embedder"]

#: Name of our own embedder.
DEFAULT_EMBEDDER = "galaxysd"
_VERSION = 1  # of how images are prepared and features read; counted up when it changes


def make_embedder(spec: str | os.PathLike[str] | Callable[[np.ndarray], Any] | Embedder | None = None) -> Embedder:
    """Make an embedder from what a caller has.

    Parameters
    ----------
    spec : str, path, callable, Embedder or None
        None: our own, ``"galaxysd"``. A name that a plug-in offers (``galaxysd plugins``). A folder of a
        transformers vision model, or its name on the Hugging Face Hub, ``"facebook/dinov2-small"``, with
        ``"@revision"`` behind it if it should be pinned. A function of images, shape (N, H, W, 3), uint8, that gives
        features, shape (N, D). Or an embedder, which is given back.

    Returns
    -------
    Embedder

    Raises
    ------
    UnknownNameError
        No plug-in offers the name and it is neither a folder nor a name of the Hub.
    WeightsError
        A model that can't be read.
    PluginError
        A plug-in that fails, a class in place of an object, or something else altogether.

    Examples
    --------
    >>> embedder = make_embedder(lambda images: images.mean(axis=(1, 2)))
    >>> embedder.embed(np.zeros((2, 8, 8, 3), np.uint8)).shape
    (2, 3)
    """
    if spec is None:
        spec = DEFAULT_EMBEDDER
    if isinstance(spec, type):
        raise PluginError(f"{spec.__qualname__} is a class; give an object of it as embedder")
    if isinstance(spec, Embedder):
        return spec
    if isinstance(spec, (str, os.PathLike)):
        return _named(os.fspath(spec))
    if callable(spec):
        return FunctionEmbedder(spec)
    raise PluginError(
        f"{spec!r} is no embedder; give a name, a folder, a function of images or an object with embed(images)"
    )


def _named(name: str) -> Embedder:
    registry = get_registry()
    known = registry.records_of("embedder")
    if name in known:
        return _PluginEmbedder(registry.create("embedder", name), registry.find("embedder", name))
    with suppress(UnknownNameError):
        registry.find("embedder", name)  # two plug-ins may offer it
    if name == DEFAULT_EMBEDDER:
        return _galaxy_embedder()
    folder = Path(name).expanduser()
    if folder.is_dir():
        return TransformersEmbedder(folder)
    if match := HUB_NAME.fullmatch(name):
        return TransformersEmbedder(match[1], revision=match[2])
    broken = "".join(f" Plug-in {failure.name} is broken." for failure in registry.failures)
    hint = f"A folder of a transformers model or its name on the Hub, organisation/model, will do too.{broken}"
    raise UnknownNameError("embedder", name, dict.fromkeys([DEFAULT_EMBEDDER, *known]), hint)


def _galaxy_embedder() -> Embedder:
    """Ours where the package has no entry points, as in a checkout that was not installed."""
    from astro_galaxysd.evaluation.embedding import GalaxyEmbedder

    return GalaxyEmbedder()


class FunctionEmbedder:
    """A function as embedder.

    Parameters
    ----------
    function : callable
        Images of shape (N, H, W, 3), uint8, to features of shape (N, D). Its attribute ``revision``, a text, if it has
        one, says which features these are, so that they can be kept in a file.

    Examples
    --------
    >>> FunctionEmbedder(lambda images: images.mean(axis=(1, 2))).revision
    ''
    """

    def __init__(self, function: Callable[[np.ndarray], Any]) -> None:
        self.function = function
        self.revision = str(getattr(function, "revision", "") or "")

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Features of images, shape (N, H, W, 3), uint8: (N, D), float32.

        Raises
        ------
        ImageError
            No image, or another shape or dtype.
        PluginError
            The function gives something else.
        """
        check_images(images, "an embedder")
        return check_features(self.function, np.asarray(self.function(images)), len(images))


class _PluginEmbedder:
    """An embedder of a plug-in, which is named in whatever it raises."""

    def __init__(self, embedder: Any, found: Registered) -> None:
        if not isinstance(embedder, Embedder):
            raise PluginError(f"{found.source} makes {type(embedder).__qualname__}, which has no method embed(images)")
        self.embedder, self._found = embedder, found
        self.revision = str(getattr(embedder, "revision", "") or "")

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Features, shape (N, D), float32."""
        check_images(images, "an embedder")
        with get_registry().guard("embed", self._found):
            return check_features(self.embedder, self.embedder.embed(images), len(images))


class TransformersEmbedder:
    """A vision model of transformers as embedder: DINOv2, the image half of CLIP or SigLIP, ViT, ConvNeXt and others.

    Parameters
    ----------
    model : str or path
        A folder with ``config.json``, ``preprocessor_config.json`` and safetensors, or a name of the Hugging Face Hub.
    revision : str, optional
        Branch, tag or commit on the Hub; by default the newest.
    batch_size : int
        Images in the model at a time, 1 or more.

    Attributes
    ----------
    revision : str
        Name and commit, or name and hash of the folder's files.

    Raises
    ------
    ConditionError
        If `batch_size` is less than 1.
    WeightsError
        If the folder or the model on the Hub is missing, has no configuration or no safetensors, is damaged, lacks
        parameters, needs code of its own, or is no vision model.

    Notes
    -----
    Features are what the model itself pools (``pooler_output``) where that was learnt; else the class token, and in a
    model without one the mean over all tokens or places. float32; on a CUDA device where there is one.
    """

    def __init__(self, model: str | os.PathLike[str], *, revision: str | None = None, batch_size: int = 32) -> None:
        if batch_size < 1:
            raise ConditionError(f"batch_size is {batch_size}; give 1 image or more")
        self.batch_size = batch_size
        folder = Path(model).expanduser()
        if not folder.is_dir():
            folder = fetch_model(os.fspath(model), revision)
            name = f"{os.fspath(model)}@{folder.name}"
        elif revision is None:
            name = model_revision(folder)
        else:
            raise WeightsError(f"{folder} is a folder, which has no revision {revision!r}; leave the revision out")
        self._prepare = read_preprocessing(folder)
        self._model: VisionModel = load_model(folder)
        self.revision = f"{name}#{_VERSION}"

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Features of images.

        Parameters
        ----------
        images : ndarray, shape (N, H, W, 3), uint8
            N at least 1.

        Returns
        -------
        ndarray, shape (N, D), float32

        Raises
        ------
        ImageError
            No image, or another shape or dtype.
        PluginError
            If the model gives values that are not finite.
        """
        import torch

        check_images(images, "an embedder")
        pieces = []
        with torch.inference_mode():
            for start in range(0, len(images), self.batch_size):
                pixels = self._prepare(images[start : start + self.batch_size])
                pieces.append(self._model.features(pixels).cpu().numpy())
        return check_features(self, np.concatenate(pieces), len(images))
