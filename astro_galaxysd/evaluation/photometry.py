r"""Photometric comparison of synthetic with real cutouts.

In: two `ImageBatch`. Out: a Table with one row a quantity. Each image gives three numbers, in grey levels of the
display stretch (they are not calibrated photometry):

- background :math:`b_c`: median of the outermost frame (1/16 of the side), per channel; reported as the channels' mean,
- flux :math:`F = \sum_{xy} (\bar I_{xy} - \bar b)`, channels averaged,
- colour :math:`2.5 \log_{10}(F_R / F_B)`, positive where the galaxy is redder; NaN unless both fluxes are positive.

The value compared is the two-sample Kolmogorov-Smirnov distance :math:`D = \max_x |F_{real}(x) - F_{synth}(x)|` in
[0, 1], lower is better; its error is the standard deviation of D over bootstrap resamples of both batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.errors import ConditionError, ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astropy.table import Table

    from astro_galaxysd.plugins.protocols import Embedder
    from astro_galaxysd.records import ImageBatch

__all__ = ["PhotometryEvaluator", "ks_distance", "measure"]

COLUMNS = ("metric", "group", "value", "error", "n_real", "n_synthetic", "higher_is_better")
_FRAME = 16
_CHUNK = 256


def measure(images: np.ndarray) -> dict[str, np.ndarray]:
    """Flux, background and colour of cutouts.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3), uint8
        Display-stretched colour cutouts, H and W at least 3.

    Returns
    -------
    dict of str to ndarray, shape (N,), float64
        ``flux`` and ``background`` in grey levels, ``colour`` in magnitudes (NaN where a channel has no positive flux).

    Raises
    ------
    ImageError
        No image, another shape or another dtype.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape or images.dtype != np.uint8:
        raise ImageError(
            f"images are {images.dtype} of shape {images.shape}; photometry needs uint8 (N, H, W, 3) with N at least 1"
        )
    # In chunks: as floats a survey's worth of cutouts would need eight times its memory.
    pieces = [_measure_chunk(images[start : start + _CHUNK]) for start in range(0, len(images), _CHUNK)]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _measure_chunk(images: np.ndarray) -> dict[str, np.ndarray]:
    pixels = images.astype(np.float64)
    height, width = pixels.shape[1:3]
    frame = np.zeros((height, width), dtype=bool)
    rows, columns = max(1, height // _FRAME), max(1, width // _FRAME)
    frame[:rows] = frame[-rows:] = frame[:, :columns] = frame[:, -columns:] = True
    background = np.median(pixels[:, frame], axis=1)
    flux = pixels.sum(axis=(1, 2)) - background * (height * width)
    red, blue = flux[:, 0], flux[:, 2]
    colour = np.full(len(pixels), np.nan)
    lit = (red > 0) & (blue > 0)
    colour[lit] = 2.5 * np.log10(red[lit] / blue[lit])
    return {"flux": flux.mean(axis=1), "background": background.mean(axis=1), "colour": colour}


def ks_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sample Kolmogorov-Smirnov distance.

    Parameters
    ----------
    first, second : ndarray, shape (N,) and (M,), float
        Samples; values that are not finite are left out.

    Returns
    -------
    float
        In [0, 1], symmetric; NaN if a sample has no finite value.

    Examples
    --------
    >>> ks_distance(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    1.0
    """
    first, second = np.sort(first[np.isfinite(first)]), np.sort(second[np.isfinite(second)])
    if not (len(first) and len(second)):
        return float("nan")
    steps = np.concatenate([first, second])
    below_first = np.searchsorted(first, steps, side="right") / len(first)
    below_second = np.searchsorted(second, steps, side="right") / len(second)
    return float(np.abs(below_first - below_second).max())


class PhotometryEvaluator:
    """Compare the distributions of total flux, background and colour.

    Parameters
    ----------
    n_bootstrap : int
        Resamples for the error, at least 2.
    """

    def __init__(self, *, n_bootstrap: int = 200) -> None:
        self.n_bootstrap = n_bootstrap

    def evaluate(
        self,
        real: ImageBatch,
        synthetic: ImageBatch,
        *,
        reference: ImageBatch | None = None,
        embedder: Embedder | None = None,
        rng: np.random.Generator | int | None = None,
    ) -> Table:
        """Judge synthetic against real images.

        Parameters
        ----------
        real, synthetic : ImageBatch
            At least one image each.
        reference : ImageBatch, optional
            Other real images: compared with `real` too, group ``"reference"``, to show what distance real images have.
        embedder : Embedder, optional
            Not used: this evaluator reads pixels.
        rng : Generator or int, optional
            For the bootstrap (SPEC 7).

        Returns
        -------
        Table
            Columns metric, group, value, error, n_real, n_synthetic (images with a finite value), higher_is_better.

        Raises
        ------
        ImageError
            A batch without images or of another kind than uint8 (N, H, W, 3).
        ConditionError
            `n_bootstrap` below 2.
        """
        from astropy.table import Table

        if self.n_bootstrap < 2:
            raise ConditionError(f"n_bootstrap is {self.n_bootstrap}; a standard deviation needs at least 2 resamples")
        generator = np.random.default_rng(rng)
        measured = measure(real.images)
        rows = list(self._compare("all", measured, measure(synthetic.images), generator))
        if reference is not None:
            rows += self._compare("reference", measured, measure(reference.images), generator)
        return Table(rows=rows, names=COLUMNS)

    def _compare(
        self, group: str, real: dict[str, np.ndarray], other: dict[str, np.ndarray], rng: np.random.Generator
    ) -> Iterator[tuple[str, str, float, float, int, int, bool]]:
        for metric, values in real.items():
            first, second = values[np.isfinite(values)], other[metric][np.isfinite(other[metric])]
            error = self._error(first, second, rng)
            yield f"{metric}_ks", group, ks_distance(first, second), error, len(first), len(second), False

    def _error(self, first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> float:
        if not (len(first) and len(second)):
            return float("nan")
        resampled = [
            ks_distance(rng.choice(first, len(first)), rng.choice(second, len(second))) for _ in range(self.n_bootstrap)
        ]
        return float(np.std(resampled, ddof=1))
