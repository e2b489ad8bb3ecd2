"""What was measured of images, kept so that nothing is measured twice.

In: images and what measures them. Out: the numbers of each image, computed or remembered. An image is known by its
content, a BLAKE2 digest of shape, dtype and bytes; what measures it by its revision. So an evaluation that compares the
same images again, in another mixture or prompt by prompt, measures each once, and with a folder the next process and
its neighbours don't measure them at all.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import warnings
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ConditionError, PluginError
from astro_galaxysd.evaluation.cutouts import check_images
from astro_galaxysd.evaluation.featurefile import FeatureFile, MemoryWarning

if TYPE_CHECKING:
    from astro_galaxysd.plugins.protocols import Embedder

__all__ = ["Memory", "check_features", "digests", "remembered"]

_DIGEST_BYTES = 20


class Memory:
    """An embedder that remembers, and a place to remember other numbers of images.

    Parameters
    ----------
    embedder : Embedder, optional
        What `embed` asks; by default `astro_galaxysd.evaluation.embedders.make_embedder()`, loaded when it is
        needed. Features of an embedder without a ``revision`` are kept in this process only.
    folder : path, optional
        Where numbers are kept for later, in `astro_galaxysd.evaluation.featurefile.CACHE_FILE`; made if it is
        missing. Several processes may use one folder at a time. Each batch is written when it is measured, so that
        what was interrupted goes on from there. By default nothing is written.
    batch_size : int
        Images measured together, 1 or more.

    Notes
    -----
    Content is looked at in each call, but once only for an array that nobody can write to: one that owns its data, and
    whose ``flags.writeable`` is False whenever it is given here.

    Raises
    ------
    ConditionError
        If `batch_size` is less than 1.
    OutputError
        If the folder can't be written.

    Warns
    -----
    MemoryWarning
        If the file is damaged, which is then set aside, or can't be used any more, as on a full disk. Nothing is lost
        but time.

    Examples
    --------
    >>> from astro_galaxysd.evaluation.descriptors import describe
    >>> images = np.zeros((3, 32, 32, 3), np.uint8)
    >>> memory = Memory()
    >>> memory.of("descriptors-1", describe, images).dtype
    dtype('float64')
    """

    def __init__(
        self,
        embedder: Embedder | None = None,
        *,
        folder: str | os.PathLike[str] | None = None,
        batch_size: int = 256,
    ) -> None:
        if batch_size < 1:
            raise ConditionError(f"batch_size is {batch_size}; give 1 image or more")
        self.batch_size = batch_size
        self._embedder = embedder
        self._known: dict[str, dict[bytes, np.ndarray]] = {}
        self._frozen: dict[int, tuple[weakref.ref[np.ndarray], list[bytes]]] = {}
        self._file = None if folder is None else FeatureFile(Path(folder).expanduser())

    @property
    def embedder(self) -> Embedder:
        """The embedder that is asked; the default one is loaded at the first use."""
        if self._embedder is None:
            from astro_galaxysd.evaluation.embedders import make_embedder

            self._embedder = make_embedder()
        return self._embedder

    @property
    def revision(self) -> str:
        """Revision of the embedder; empty where it has none."""
        return str(getattr(self.embedder, "revision", "") or "")

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Features of images, asking the embedder for those only that it has not seen.

        Parameters
        ----------
        images : ndarray, shape (N, H, W, 3), uint8
            N at least 1.

        Returns
        -------
        ndarray, shape (N, D), float32
            Finite.

        Raises
        ------
        ImageError
            No image, or another shape or dtype.
        PluginError
            The embedder gives another shape or values that are not finite, or another number of features than are
            remembered of its revision.
        """
        check_images(images, "an embedder")
        key, embedder = f"embedding {self.revision}", self.embedder
        return self._recall(key, lambda part: check_features(embedder, embedder.embed(part), len(part)), images)

    def of(self, name: str, measure: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
        """Any other numbers of images, each image measured once.

        Parameters
        ----------
        name : str
            What is measured, with the version of how: ``"morphology-1"``. Count it up when `measure` changes.
        measure : callable
            Images of shape (n, H, W, 3) to numbers of shape (n, k) or (n,); the numbers of an image must not depend on
            the others. NaN is remembered too.
        images : ndarray, shape (N, H, W, 3), integers or floats
            N at least 1.

        Returns
        -------
        ndarray, shape (N, k), float64

        Raises
        ------
        ImageError
            No image, or another shape.
        PluginError
            If `name` has no version, or `measure` gives another shape or no numbers.
        """
        if not name.partition("-")[2]:
            raise PluginError(f"numbers are remembered as {name!r}; write a version behind the name, as in '{name}-1'")
        check_images(images, repr(name), dtype=None)
        return self._recall(f"measure {name}", lambda part: _numbers(name, measure(part), len(part)), images)

    def _recall(self, key: str, measure: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
        digests = self._digests(images)
        known = self._known.setdefault(key, {})
        known.update(self._read(key, [digest for digest in dict.fromkeys(digests) if digest not in known]))
        rows = {digest: row for row, digest in enumerate(digests) if digest not in known}  # each different image once
        missing = sorted(rows.values())
        for start in range(0, len(missing), self.batch_size):
            part = missing[start : start + self.batch_size]
            found = dict(zip((digests[row] for row in part), measure(images[part]), strict=True))
            known.update(found)
            self._write(key, found)
        widths = sorted({len(known[digest]) for digest in digests})
        if len(widths) > 1:
            where = "" if self._file is None else f", or remove {self._file.path}"
            raise PluginError(
                f"{key!r} gives {' and '.join(map(str, widths))} numbers an image; give what measures another revision "
                f"when it changes{where}"
            )
        return np.stack([known[digest] for digest in digests])

    def _digests(self, images: np.ndarray) -> list[bytes]:
        """Digests of images, remembered while an array lives that can't be written to."""
        name = id(images)
        if images.flags.writeable or not images.flags.owndata:  # what a view shows may be written elsewhere
            self._frozen.pop(name, None)
            return _digests(images)
        array, digests = self._frozen.get(name, (None, []))
        if array is None or array() is not images:
            digests = _digests(images)
            self._frozen[name] = weakref.ref(images, lambda _: self._frozen.pop(name, None)), digests
        return digests

    def _read(self, key: str, digests: list[bytes]) -> dict[bytes, np.ndarray]:
        return self._from_file(key, lambda file: file.read(key, digests)) if digests else {}

    def _write(self, key: str, found: Mapping[bytes, np.ndarray]) -> None:
        self._from_file(key, lambda file: file.write(key, found))

    def _from_file(self, key: str, use: Callable[[FeatureFile], Any]) -> Any:
        """Use the file if there is one and what measures can be told from another; a fault of it costs the file."""
        if self._file is None or key.endswith(" "):  # an embedder without a revision
            return {}
        try:
            return use(self._file)
        except (OSError, sqlite3.Error) as error:
            message = f"{self._file.path} can't be used any more ({error}); going on without it"
            warnings.warn(message, MemoryWarning, stacklevel=6)
            self._file = None
            return {}


def remembered(
    embedder: object, name: str, measure: Callable[[np.ndarray], np.ndarray], images: np.ndarray
) -> np.ndarray:
    """Numbers of images: from a `Memory`, if that is what an evaluator was given, else measured straight away.

    Parameters
    ----------
    embedder : Memory or object or None
        What came in as ``embedder``.
    name, measure, images
        As `Memory.of`.

    Returns
    -------
    ndarray, shape (N, k), float64

    Raises
    ------
    ImageError, PluginError
        As `Memory.of`.
    """
    memory = embedder if isinstance(embedder, Memory) else Memory()
    return memory.of(name, measure, images)


def check_features(embedder: object, features: object, rows: int) -> np.ndarray:
    """Features as float32, refused where they can't be those of `rows` images.

    Raises
    ------
    PluginError
        Another shape than (rows, D) with D at least 1, or values that are not finite; names the embedder's class.
    """
    who = f"{type(embedder).__module__}.{type(embedder).__qualname__}"
    if not isinstance(features, np.ndarray) or features.dtype.kind not in "fiu":
        what = getattr(features, "dtype", type(features).__name__)
        raise PluginError(f"{who} gives features of {what}; an embedder gives a numpy array of float32")
    if features.ndim != 2 or len(features) != rows or not features.shape[1]:
        raise PluginError(f"{who} gives features of shape {features.shape} for {rows} images; it must be ({rows}, D)")
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise PluginError(
            f"{who} gives features that are not finite for {len(bad)} of {rows} images, the first is number {bad[0]}"
        )
    return features.astype(np.float32, copy=False)


def _numbers(name: str, values: object, rows: int) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub" or array.ndim not in (1, 2) or len(array) != rows or not array.size:
        raise PluginError(
            f"{name!r} gives {array.dtype} of shape {array.shape} for {rows} images; it must give ({rows}, k) numbers"
        )
    return array.reshape(rows, -1).astype(np.float64)


def digests(images: np.ndarray) -> list[bytes]:
    """Digest of each image's shape, dtype and bytes: the same for equal images only.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3)

    Returns
    -------
    list of bytes, length N
    """
    return _digests(images)


def _digests(images: np.ndarray) -> list[bytes]:
    kind = hashlib.blake2b(f"{images.dtype.str} {images.shape[1:]}".encode(), digest_size=_DIGEST_BYTES)
    digests = []
    for image in images:
        digest = kind.copy()
        digest.update(np.ascontiguousarray(image).reshape(-1).view(np.uint8).data)
        digests.append(digest.digest())
    return digests
