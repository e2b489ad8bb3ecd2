r"""Non-parametric morphology: cutouts in, six numbers of each galaxy out, and how far their distributions are apart.

All is measured on the luminance less its background (`astro_galaxysd.evaluation.sources`), in grey levels of the
display stretch. A stretch compresses bright cores, so the numbers are no substitute for those of calibrated images:
compare only images that were stretched alike.

- ellipticity :math:`1 - b / a` from the second moments of the light in the galaxy's segment,
- asymmetry :math:`A = \sum |I - I_{180}| / \sum |I| - A_{sky}` within 1.5 Petrosian radii (Conselice, Bershady &
  Jangren 2000), smallest over the centres on a grid of half pixels, on which turning needs no interpolation;
  :math:`A_{sky}` is what the sky's noise alone would give,
- Petrosian radius :math:`r_p`, where the brightness is 0.2 of its mean inside, about that centre (Petrosian 1976),
- half_light_radius: radius of the circle that holds half of the light, in pixels; all light is that within
  :math:`1.5 r_p`, or as far as the cutout goes,
- concentration :math:`5 \log_{10}(r_{80} / r_{20})` (Bershady, Jangren & Conselice 2000; Conselice 2003),
- gini :math:`G = \sum_i (2i - n - 1) |I_i| / (\overline{|I|}\, n (n - 1))`, I sorted from faint to bright, and
- m20 :math:`\log_{10} (\sum_i M_i / M_{tot})`, :math:`M_i = I_i d_i^2`, over the brightest pixels that have 20 % of the
  light, d from the point with the smallest :math:`M_{tot}` (both Lotz, Primack & Madau 2004). Their pixels are those
  that, smoothed by a Gaussian of :math:`r_p / 5`, are above the mean at the elliptical Petrosian radius.

What can't be measured is NaN, and counted: ``failures`` is the share of images without one of the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.evaluation.distributions import check_resamples, check_sizes, compare
from astro_galaxysd.evaluation.memory import remembered
from astro_galaxysd.evaluation.scores import Score, score_table, share_error
from astro_galaxysd.evaluation.sources import Growth, Source, central_sources

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.plugins.protocols import Embedder
    from astro_galaxysd.records import ImageBatch

__all__ = ["QUANTITIES", "MorphologyEvaluator", "compare_shapes", "measure", "remembered_measure"]

#: Quantities of `measure`, in its order.
QUANTITIES = ("ellipticity", "half_light_radius", "concentration", "asymmetry", "gini", "m20")
_REVISION = "morphology-1"  # counted up when the same image would give other numbers
_EXTENT = 1.5  # Petrosian radii
_LONGEST_WALK = 20
_NEIGHBOURS = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]


def measure(images: np.ndarray) -> dict[str, np.ndarray]:
    """Morphology of the galaxy in the middle of each cutout.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3), uint8
        Display-stretched colour cutouts, H and W at least 32.

    Returns
    -------
    dict of str to ndarray, shape (N,), float64
        Named by `QUANTITIES`; NaN where there is no source in the middle, or the cutout ends before the Petrosian
        radius.

    Raises
    ------
    ImageError
        No image, another shape or another dtype, or images that are too small.
    """
    return dict(zip(QUANTITIES, _numbers(images).T, strict=True))


def remembered_measure(embedder: object, images: np.ndarray) -> dict[str, np.ndarray]:
    """Morphology of the galaxy in the middle of each cutout, from a memory where there is one.

    Parameters
    ----------
    embedder : Memory or object or None
        A `astro_galaxysd.evaluation.memory.Memory` gives what it knows and keeps the rest; anything else is not used.
    images : ndarray, shape (N, H, W, 3), uint8
        As `measure`.

    Returns
    -------
    dict of str to ndarray, shape (N,), float64
        As `measure`.

    Raises
    ------
    ImageError
        As `measure`.
    """
    return dict(zip(QUANTITIES, remembered(embedder, _REVISION, _numbers, images).T, strict=True))


def _numbers(images: np.ndarray) -> np.ndarray:
    rows = [_measure(source) for source in central_sources(images)]
    return np.array([[row.get(name, np.nan) for name in QUANTITIES] for row in rows])


def _measure(source: Source | None) -> dict[str, float]:
    if source is None:
        return {}
    x, y, xx, yy, xy = source.moments()
    axis_ratio = _axis_ratio(xx, yy, xy)
    found = {"ellipticity": 1 - axis_ratio}
    rows, columns = np.ogrid[: source.light.shape[0], : source.light.shape[1]]
    reach = min(source.light.shape) / 2  # beyond it light is missing, and any brightness drops
    radius = Growth(source, np.hypot(rows - y, columns - x), 1.0, reach).petrosian()
    if not radius < reach - 1:
        return found
    found["asymmetry"], y, x = _asymmetry(source, y, x, _EXTENT * radius)
    growth = Growth(source, np.hypot(rows - y, columns - x), 1.0, 2 * reach)
    radius = growth.petrosian()
    if radius < reach - 1:
        total = growth.within(_EXTENT * radius)
        found["half_light_radius"] = growth.holding(total / 2)
        found["concentration"] = 5 * np.log10(growth.holding(0.8 * total) / growth.holding(0.2 * total))
    pixels = _bright_pixels(source, _along(rows - y, columns - x, xx, yy, xy), axis_ratio, (y, x))
    if pixels is not None:
        found["gini"], found["m20"] = _gini(source.light[pixels]), _m20(source.light, pixels)
    return found


def _axis_ratio(xx: float, yy: float, xy: float) -> float:
    """Minor over major axis; a pixel is a square, whose own moment keeps lines from a ratio of 0."""
    own = 1 / 12
    middle, apart = (xx + yy) / 2 + own, np.hypot((xx - yy) / 2, xy)
    return float(np.sqrt((middle - apart) / (middle + apart)))


def _along(dy: np.ndarray, dx: np.ndarray, xx: float, yy: float, xy: float) -> np.ndarray:
    """Distance along the longer axis of the ellipse through each pixel."""
    angle, flat = 0.5 * np.arctan2(2 * xy, xx - yy), 1 / _axis_ratio(xx, yy, xy) ** 2 - 1
    cos, sin = np.cos(angle), np.sin(angle)
    squares = dx**2 * (1 + flat * sin**2) + dy**2 * (1 + flat * cos**2)
    return np.asarray(np.sqrt(squares - dy * (2 * flat * sin * cos) * dx))


def _asymmetry(source: Source, y: float, x: float, radius: float) -> tuple[float, float, float]:
    """Smallest asymmetry within `radius`, and its centre: downhill from the centroid, half a pixel a step."""
    light, known = source.light.astype(np.float32), source.known.astype(np.float32)
    tried: dict[tuple[int, int], float] = {}

    def at(centre: tuple[int, int]) -> float:
        if centre not in tried:
            tried[centre] = _asymmetry_at(light, known, centre, radius, source.noise)
        return tried[centre]

    best = round(2 * y), round(2 * x)
    for _ in range(_LONGEST_WALK):
        nearest = min(((best[0] + i, best[1] + j) for i, j in _NEIGHBOURS), key=at)
        if at(nearest) >= at(best):
            break
        best = nearest
    return at(best), best[0] / 2, best[1] / 2


def _asymmetry_at(light: np.ndarray, known: np.ndarray, centre: tuple[int, int], radius: float, noise: float) -> float:
    """Asymmetry about a centre, given in half pixels; pixels whose opposite is masked or outside are left out."""
    spans = []
    for middle, size in zip(centre, light.shape, strict=True):
        first = max(0, middle - size + 1, int(np.ceil(middle / 2 - radius)))
        spans.append(slice(first, middle - first + 1))
    rows, columns = (np.arange(s.start, s.stop) - m / 2 for s, m in zip(spans, centre, strict=True))
    part, mask = light[spans[0], spans[1]], known[spans[0], spans[1]]
    used = ((rows**2)[:, None] <= radius**2 - columns**2) * mask * mask[::-1, ::-1]
    difference = float(np.vdot(np.abs(part - part[::-1, ::-1]), used)) - noise * float(used.sum())
    brightness = float(np.vdot(np.abs(part), used))
    return difference / brightness if brightness > 0 else float("nan")


def _bright_pixels(
    source: Source, distance: np.ndarray, axis_ratio: float, centre: tuple[float, float]
) -> np.ndarray | None:
    """Pixels brighter than the elliptical Petrosian radius, in one piece about the centre; (H, W) bool."""
    from scipy.ndimage import gaussian_filter, label

    growth = Growth(source, distance, axis_ratio, max(source.light.shape))
    radius = growth.petrosian()
    if not np.isfinite(radius):
        return None
    smooth = gaussian_filter(source.light.astype(np.float32), radius / 5, truncate=3, mode="constant")
    ring = smooth[np.abs(distance - radius) < 0.5]
    if not len(ring):
        return None
    pieces, _ = label(smooth >= ring.mean(), np.ones((3, 3)))
    middle = pieces[round(centre[0]), round(centre[1])] or pieces.flat[smooth.argmax()]
    pixels = (pieces == middle) & source.known
    return pixels if middle and pixels.sum() > 1 else None


def _gini(light: np.ndarray) -> float:
    from photutils.morphology import gini

    return float(gini(light))


def _m20(light: np.ndarray, pixels: np.ndarray) -> float:
    rows, columns = np.nonzero(pixels)
    values = light[rows, columns]
    total = values.sum()
    if total <= 0:
        return float("nan")
    # the sum of light times squared distance is smallest about the centroid
    y, x = values @ rows / total, values @ columns / total
    moment = values * ((rows - y) ** 2 + (columns - x) ** 2)
    order = np.argsort(-values)
    brightest = order[np.cumsum(values[order]) <= 0.2 * total]
    share = moment[brightest].sum() / moment.sum()
    return float(np.log10(share)) if share > 0 else float("nan")


def compare_shapes(
    real: Mapping[str, np.ndarray],
    synthetic: Mapping[str, np.ndarray],
    *,
    n_bootstrap: int,
    rng: np.random.Generator | int | None = None,
) -> Table:
    """Compare measured numbers, and count what could not be measured.

    Parameters
    ----------
    real, synthetic : mapping of str to ndarray, shape (N,) and (M,), float
        Quantities by name, the same in both; NaN where one could not be measured.
    n_bootstrap : int
        Resamples for the errors.
    rng : Generator or int, optional
        For the bootstrap.

    Returns
    -------
    Table
        Columns `astro_galaxysd.evaluation.scores.COLUMNS`: ``_ks`` and ``_wasserstein`` of each quantity, and
        ``failures``, the share of synthetic images that lack one of the numbers, with its binomial error, or
        `astro_galaxysd.evaluation.scores.share_error` where that is larger.
    """
    rows = list(compare(real, synthetic, np.random.default_rng(rng), times=n_bootstrap))
    failed = ~np.all(np.isfinite(np.stack(list(synthetic.values()))), axis=0)
    share, n_real = float(failed.mean()), len(next(iter(real.values())))
    error = max(float(np.sqrt(share * (1 - share) / len(failed))), share_error(int(failed.sum()), len(failed)))
    return score_table([*rows, Score("failures", "all", share, error, n_real, len(failed), False)])


class MorphologyEvaluator:
    """Compare ellipticity, half-light radius, concentration, asymmetry, Gini and M20.

    Parameters
    ----------
    n_bootstrap : int
        Resamples for the error, at least 2.
    """

    def __init__(self, *, n_bootstrap: int = 100) -> None:
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
            Images of one size: radii are in pixels.
        reference : ImageBatch, optional
            Not used: morphology knows no training images.
        embedder : Embedder, optional
            A `astro_galaxysd.evaluation.memory.Memory` keeps what was measured; another embedder is not used.
        rng : Generator or int, optional
            For the bootstrap (SPEC 7).

        Returns
        -------
        Table
            Columns `astro_galaxysd.evaluation.scores.COLUMNS`, group ``"all"``: ``_ks`` and ``_wasserstein`` of each
            quantity (`astro_galaxysd.evaluation.distributions`) and ``failures``.

        Raises
        ------
        ImageError
            A batch without images, of another kind than uint8 (N, H, W, 3), too small, or two sizes.
        ConditionError
            `n_bootstrap` below 2.
        """
        check_resamples(self.n_bootstrap)
        check_sizes(real.images, synthetic.images)
        one, two = (remembered_measure(embedder, batch.images) for batch in (real, synthetic))
        return compare_shapes(one, two, n_bootstrap=self.n_bootstrap, rng=rng)
