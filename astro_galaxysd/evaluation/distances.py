"""Distances between clouds of points: numbers of drawn and of real images in, one number out."""

from __future__ import annotations

import numpy as np

__all__ = ["apart", "diversity", "diversity_of_rows", "frechet", "frechet_of_moments", "moments", "realism", "unit"]


def realism(points: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Largest cosine of each of `points` to any real one, both with a coordinate of sqrt(d) more.

    Parameters
    ----------
    points, real : ndarray, shape (n, d) and (N, d)
        In a space where real points have unit variance.

    Returns
    -------
    ndarray, shape (n,), float64
        In [-1, 1]; 1 where a real point is in the same place.

    Notes
    -----
    Without the constant, a cosine does not see how far out a point is: pure noise, far from all galaxies, and galaxies
    beside the middle would score like real ones, as some real galaxy lies in about the same direction.
    """
    one, two = (np.pad(p, ((0, 0), (0, 1)), constant_values=np.sqrt(p.shape[1])) for p in (points, real))
    return np.asarray((unit(one) @ unit(two).T).max(axis=1))


def diversity(points: np.ndarray) -> float:
    """1 less the mean cosine over all pairs of `points`, shape (n, d), n at least 2; 0 if all point one way."""
    directions = unit(points)
    return diversity_of_rows(directions @ directions.T, np.arange(len(points)))


def diversity_of_rows(cosines: np.ndarray, rows: np.ndarray) -> float:
    """`diversity` of resampled `rows`, shape (n,), from all cosines: pairs of an image with itself don't count."""
    count = np.bincount(rows, minlength=len(cosines)).astype(float)
    pairs = count.sum() ** 2 - (count**2).sum()
    if not pairs:
        return 0.0  # one image, again and again
    return float(1 - (count @ cosines @ count - (count**2) @ np.diag(cosines)) / pairs)


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    r"""Frechet distance of the Gaussians that have the samples' means and covariances.

    Parameters
    ----------
    first, second : ndarray, shape (n, d) and (m, d)
        At least 2 points each. The value grows as n or m shrinks: compare equal numbers only.

    Returns
    -------
    float
        0 or more, in squared units of the points.

    Notes
    -----
    For n + m < d no matrix of d x d is made: with centred points A and B, :math:`\operatorname{tr} (\Sigma_A
    \Sigma_B)^{1/2}` is the sum of the singular values of :math:`A B^T / \sqrt{(n - 1)(m - 1)}`.
    """
    if len(first) + len(second) >= first.shape[1]:
        return frechet_of_moments(*moments(first), *moments(second))
    (one, a), (two, b) = ((points.mean(axis=0), _scaled(points)) for points in (first, second))
    overlap = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(max(((one - two) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * overlap, 0.0))


def _scaled(points: np.ndarray) -> np.ndarray:
    """Points about their mean, scaled so that their products are the covariance."""
    return np.asarray((points - points.mean(axis=0)) / np.sqrt(len(points) - 1))


def moments(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean, shape (d,), and unbiased covariance, shape (d, d), of at least 2 points, shape (n, d)."""
    return points.mean(axis=0), np.atleast_2d(np.cov(points, rowvar=False))


def frechet_of_moments(mean: np.ndarray, covariance: np.ndarray, mean2: np.ndarray, covariance2: np.ndarray) -> float:
    """Frechet distance of two Gaussians (Dowson & Landau 1982), of shape (d,) and (d, d) each; 0 or more."""
    shift = mean - mean2
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    overlap = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ covariance2 @ root), 0)).sum()
    return float(max(shift @ shift + np.trace(covariance) + np.trace(covariance2) - 2 * overlap, 0.0))


def unit(points: np.ndarray) -> np.ndarray:
    """Rows of `points`, shape (n, d), at length 1; a row of zeros stays."""
    return np.asarray(points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12))


def apart(drawn: np.ndarray, real: np.ndarray) -> float:
    """Size of the logarithm of the ratio of medians, the mean over columns.

    Parameters
    ----------
    drawn, real : ndarray, shape (n, d) and (N, d)
        0 or more; a hundredth is added to the medians, which keeps black images finite.

    Returns
    -------
    float
        0 or more; 0 where the medians are equal.
    """
    one, two = (np.median(values, axis=0) + 0.01 for values in (drawn, real))
    return float(np.abs(np.log(one / two)).mean())
