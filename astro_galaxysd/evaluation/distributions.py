r"""Distributions of one quantity compared: numbers of real and of other images in, rows of an evaluation out.

- ``<quantity>_ks``: the two-sample Kolmogorov-Smirnov distance :math:`D = \max_x |F_{real}(x) - F_{other}(x)|`, in
  [0, 1] (Smirnov 1948). It sees any difference, wherever it is.
- ``<quantity>_wasserstein``: the first Wasserstein distance :math:`W = \int |F_{real}(x) - F_{other}(x)| dx`
  (Vallender 1974) in units of the standard deviation of the real numbers: how far they would have to be moved.
- ``<quantity>_shift``: the difference of the medians, without its sign.

Lower is better in all three. Errors are standard deviations over bootstrap resamples of both samples (Efron 1979). Both
distances grow as samples shrink, so compare them only with those of as many real images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from astro_galaxysd.errors import ConditionError, ImageError
from astro_galaxysd.evaluation.scores import Score, not_computed

__all__ = ["FEWEST", "check_resamples", "check_sizes", "compare", "ks_distance", "spread", "wasserstein_distance"]

#: Fewest images of each kind for a comparison; below, its error would mean nothing.
FEWEST = 8


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
    first, second = first[np.isfinite(first)], second[np.isfinite(second)]
    return _Pooled(first, second).ks() if len(first) and len(second) else float("nan")


def wasserstein_distance(first: np.ndarray, second: np.ndarray) -> float:
    """First Wasserstein distance, in the units of the numbers.

    Parameters
    ----------
    first, second : ndarray, shape (N,) and (M,), float
        Samples; values that are not finite are left out.

    Returns
    -------
    float
        0 or more, symmetric; NaN if a sample has no finite value.

    Examples
    --------
    >>> wasserstein_distance(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    2.0
    """
    first, second = first[np.isfinite(first)], second[np.isfinite(second)]
    return _Pooled(first, second).wasserstein() if len(first) and len(second) else float("nan")


def compare(
    real: Mapping[str, np.ndarray],
    other: Mapping[str, np.ndarray],
    rng: np.random.Generator,
    *,
    times: int = 100,
    shifts: Mapping[str, bool] | None = None,
) -> Iterator[Score]:
    """Rows that compare each quantity of two sets of images.

    Parameters
    ----------
    real, other : mapping of str to ndarray, shape (N,) and (M,), float
        Quantities by name; values that are not finite are left out, and not counted.
    rng : Generator
        For the resamples.
    times : int
        Resamples for the errors.
    shifts : mapping of str to bool, optional
        Quantities whose ``_shift`` is wanted; True: relative to the real median, False: in units of the quantity.

    Yields
    ------
    Score
        Two or three a quantity; NaN with a note where fewer than `FEWEST` images of a set have it, where all real
        values are equal (Wasserstein) or their median is 0 (a relative shift).
    """
    for name, values in real.items():
        first, second = values[np.isfinite(values)], other[name][np.isfinite(other[name])]
        yield from _rows(name, first, second, (shifts or {}).get(name), rng, times)


def spread(
    function: Callable[[np.ndarray, np.ndarray], np.ndarray],
    n: int,
    m: int,
    rng: np.random.Generator,
    times: int,
) -> np.ndarray:
    """Standard errors of figures of two samples, both drawn again with replacement.

    Parameters
    ----------
    function : callable
        Rows of the first and of the second sample in, shapes (n,) and (m,); figures out, shape (k,).
    n, m : int
        Sizes of the samples, at least 2.
    rng : Generator
        Source of the resamples.
    times : int
        Number of resamples, at least 2.

    Returns
    -------
    ndarray, shape (k,), float64
        Standard deviations over the resamples.
    """
    figures = [function(rng.integers(n, size=n), rng.integers(m, size=m)) for _ in range(times)]
    return np.asarray(np.std(figures, axis=0, ddof=1))


def check_resamples(n_bootstrap: int) -> None:
    """Raise `ConditionError` if `n_bootstrap` resamples are too few for a standard deviation."""
    if n_bootstrap < 2:
        raise ConditionError(f"n_bootstrap is {n_bootstrap}; a standard deviation needs at least 2 resamples")


def check_sizes(real: np.ndarray, synthetic: np.ndarray) -> None:
    """Raise `ImageError` if two sets of images, shape (N, H, W, 3), are of different sizes."""
    sizes = np.shape(real)[1:], np.shape(synthetic)[1:]
    if sizes[0] != sizes[1]:
        raise ImageError(f"real images of {sizes[0]} beside synthetic ones of {sizes[1]}; bring them to one size")


def _rows(
    name: str, real: np.ndarray, other: np.ndarray, relative: bool | None, rng: np.random.Generator, times: int
) -> Iterator[Score]:
    """Rows of one quantity, all values finite; `relative` None: no shift."""
    metrics = [f"{name}_{kind}" for kind in ("ks", "wasserstein", "shift")][: 2 if relative is None else 3]
    counts = len(real), len(other)
    if min(counts) < FEWEST:
        note = f"{counts[0]} real and {counts[1]} synthetic images have a {name}; at least {FEWEST} each are needed"
        yield from (not_computed(metric, "all", note, *counts, False) for metric in metrics)
        return
    pooled = _Pooled(real, other)
    unit = float(np.std(real)) if np.ptp(real) > 0 else np.nan
    scale = (abs(float(np.median(real))) or np.nan) if relative else 1.0

    def figures(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        pooled.resample(rows, columns)
        shift = abs(np.median(other[columns]) - np.median(real[rows]))
        return np.array([pooled.ks(), pooled.wasserstein() / unit, shift / scale])

    values = figures(np.arange(counts[0]), np.arange(counts[1]))
    errors = spread(figures, *counts, rng, times)
    notes = ("", "all real values are equal: no standard deviation to measure in", "the median of the real values is 0")
    for metric, value, error, note in zip(metrics, values, errors, notes, strict=False):
        if np.isfinite(value):
            yield Score(metric, "all", float(value), float(error), *counts, False)
        else:
            yield not_computed(metric, "all", note, *counts, False)


class _Pooled:
    """Two samples sorted together once: distances of their resamples are sums of counts.

    scipy sorts both samples for every resample, and makes a p-value that nobody asks for; for thousands of images and
    a hundred resamples this is some ten times as fast.
    """

    def __init__(self, first: np.ndarray, second: np.ndarray) -> None:
        values = np.concatenate([first, second])
        self._sizes = len(first), len(second)
        self._order = np.argsort(values, kind="stable")
        self._gaps = np.diff(values[self._order])
        self.resample(np.arange(len(first)), np.arange(len(second)))

    def resample(self, rows: np.ndarray, columns: np.ndarray) -> None:
        """Take these rows of the first sample and these of the second from now on, as many as there are."""
        n, m = self._sizes
        steps = np.concatenate([m * np.bincount(rows, minlength=n), -n * np.bincount(columns, minlength=m)])
        # in whole numbers, so that what is equal is at 0; the last difference always is
        self._apart = np.abs(np.cumsum(steps[self._order]))[:-1] / (n * m)

    def ks(self) -> float:
        # between equal values there is no place where the functions could differ
        return float(np.max(self._apart, where=self._gaps > 0, initial=0.0))

    def wasserstein(self) -> float:
        return float(self._apart @ self._gaps)
