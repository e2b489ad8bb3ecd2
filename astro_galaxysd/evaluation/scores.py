"""Rows of an evaluation and their errors: numbers in, the table that every evaluator returns out.

Three ways to a standard error. `bootstrap`: rows are repeated; for figures of one sample that bear repetitions.
`leave_out` with `jackknife`: for figures of two batches that change smoothly when a few images go. `halves` with
`half_spread`: for those that are made of neighbours. There a bootstrap is wrong, as repeated images are nearest
neighbours of each other, and a jackknife gives up to twice the true error, as an image that is left out opens a gap
that a new sample would have closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = [
    "COLUMNS",
    "Kept",
    "Score",
    "bootstrap",
    "half_spread",
    "halves",
    "jackknife",
    "leave_out",
    "not_computed",
    "score_table",
    "share_error",
]


class Score(NamedTuple):
    """One figure of merit.

    Parameters
    ----------
    metric, group : str
        What was measured, of which images: ``"all"``, or one of the evaluator's own groups.
    value, error : float
        The figure and its standard error, in the same units; NaN where it can't be computed.
    n_real, n_synthetic : int
        Images that entered.
    higher_is_better : bool
        Which way is better.
    note : str
        Why the value is NaN; empty otherwise.
    """

    metric: str
    group: str
    value: float
    error: float
    n_real: int
    n_synthetic: int
    higher_is_better: bool
    note: str = ""


#: Columns of an evaluation, in their order.
COLUMNS: tuple[str, ...] = Score._fields
_DTYPES = (str, str, float, float, int, int, bool, str)


def score_table(rows: Iterable[Score]) -> Table:
    """Rows as a Table with the columns `COLUMNS`.

    Parameters
    ----------
    rows : iterable of Score
        In the order of the table; none gives an empty table with the columns' dtypes.

    Returns
    -------
    Table
        ``metric``, ``group``, ``note`` str; ``value``, ``error`` float64; ``n_real``, ``n_synthetic`` int64;
        ``higher_is_better`` bool.
    """
    from astropy.table import Table

    columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    return Table({n: np.array(c, dtype=d) for n, c, d in zip(COLUMNS, columns, _DTYPES, strict=True)})


def not_computed(metric: str, group: str, note: str, n_real: int, n_synthetic: int, higher_is_better: bool) -> Score:
    """Return the row of a figure that can't be computed: NaN for value and error, and why in `note`."""
    return Score(metric, group, float("nan"), float("nan"), n_real, n_synthetic, higher_is_better, note)


def bootstrap(
    function: Callable[[np.ndarray], float], n: int, rng: np.random.Generator | int | None, times: int = 100
) -> float:
    """Standard error of a figure: its standard deviation over resamples.

    Parameters
    ----------
    function : callable
        Rows in, shape (n,), int64, drawn with replacement; the figure out.
    n : int
        Number of rows; at least 2, else the error is not known.
    rng : Generator, int or None
        Source of the resamples.
    times : int
        Number of resamples, at least 2.

    Returns
    -------
    float
        0 or more, in units of the figure; NaN if n is below 2 or fewer than 2 resamples gave a finite figure.
    """
    if n < 2:
        return float("nan")
    generator = np.random.default_rng(rng)
    values = np.array([function(generator.integers(0, n, n)) for _ in range(times)], dtype=float)
    values = values[np.isfinite(values)]
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def share_error(hits: int, n: int) -> float:
    """Least standard error of a share: that of n independent images after Agresti & Coull (1998).

    Parameters
    ----------
    hits, n : int
        Images that count, of how many; 0 <= hits <= n.

    Returns
    -------
    float
        Above 0 also where all or none count: n images are not infinitely many.
    """
    adjusted = (hits + 2) / (n + 4)
    return float(np.sqrt(adjusted * (1 - adjusted) / (n + 4)))


class Kept(NamedTuple):
    """Which images enter a figure: in the first column all, in each other a part.

    Parameters
    ----------
    real, synthetic : ndarray, shape (n, C) and (m, C), bool
        One row an image.
    """

    real: np.ndarray
    synthetic: np.ndarray


def leave_out(n: int, m: int, rng: np.random.Generator | int | None, groups: int = 50) -> Kept:
    """Split two batches into random groups of equal size, to be left out one by one.

    Parameters
    ----------
    n, m : int
        Sizes of the batches, at least 1.
    rng : Generator, int or None
        Source of the split.
    groups : int
        Groups of each batch, at least 2; a batch with fewer images is left out image by image, a single one never.

    Returns
    -------
    Kept
        Of C = 1 + groups of the one + groups of the other columns.
    """
    generator = np.random.default_rng(rng)
    first, second = (_groups(size, min(groups, size) if size > 1 else 0, generator) for size in (n, m))
    real = np.hstack([np.ones((n, 1), bool), first, np.ones((n, second.shape[1]), bool)])
    return Kept(real, np.hstack([np.ones((m, 1 + first.shape[1]), bool), second]))


def _groups(size: int, groups: int, rng: np.random.Generator) -> np.ndarray:
    return np.asarray((rng.permutation(size) % max(groups, 1))[:, None] != np.arange(groups))


def jackknife(values: np.ndarray, kept: Kept) -> tuple[float, float]:
    r"""Figure and its standard error by the delete-a-group jackknife (Quenouille 1956; Kott 2001).

    Parameters
    ----------
    values : ndarray, shape (C,), float
        The figure for each column of `kept`.
    kept : Kept
        From `leave_out`.

    Returns
    -------
    value, error : float
        The error is :math:`\sqrt{\sum_b \frac{G_b - 1}{G_b} \sum_g (\theta_{bg} - \bar\theta_b)^2}` over the groups
        g of both batches b, too large rather than too small (Efron & Stein 1981); NaN where a batch is one image.
    """
    variance = 0.0
    for side in kept:
        left = values[~side.all(axis=0)]
        variance += (len(left) - 1) * left.var() if len(left) > 1 else np.nan
    return float(values[0]), float(np.sqrt(variance))


def halves(n: int, m: int, rng: np.random.Generator | int | None, times: int = 50) -> Kept:
    """Random halves of two batches, both at once.

    Parameters
    ----------
    n, m : int
        Sizes of the batches, at least 2.
    rng : Generator, int or None
        Source of the halves.
    times : int
        How many, at least 2.

    Returns
    -------
    Kept
        Of C = 1 + times columns; all but the first have n // 2 and m // 2 images.
    """
    generator = np.random.default_rng(rng)
    kept = Kept(np.ones((n, 1 + times), bool), np.ones((m, 1 + times), bool))
    for column in range(1, 1 + times):
        for side in kept:
            side[generator.permutation(len(side))[len(side) // 2 :], column] = False
    return kept


def half_spread(values: np.ndarray) -> tuple[float, float]:
    r"""Figure and its standard error from random halves, drawn without replacement (Shao & Wu 1989).

    Parameters
    ----------
    values : ndarray, shape (C,), float
        The figure for each column of `halves`.

    Returns
    -------
    value, error : float
        The error is the standard deviation over halves: half a sample has twice the variance, of which it shares one
        half with the other halves. Exact for means, at most :math:`\sqrt 2` too large for means of local quantities;
        NaN without halves.
    """
    return float(values[0]), float(values[1:].std(ddof=1)) if len(values) > 2 else float("nan")
