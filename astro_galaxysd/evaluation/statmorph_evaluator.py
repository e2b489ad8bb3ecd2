"""Morphology by statmorph, to compare with `astro_galaxysd.evaluation.morphology` and with the literature.

In: two `ImageBatch`. Out: the same table, from statmorph (Rodriguez-Gomez et al. 2019, MNRAS 483, 4140), with the
Petrosian radius beside it. The galaxy and its segment are those of `astro_galaxysd.evaluation.sources`; the rest is
statmorph's: the centre of least asymmetry lies between pixels, ellipticity is taken about it, light is counted to 1.5
(asymmetry, concentration) or 2 (half-light radius) Petrosian radii. A galaxy takes about a second.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import MissingDependencyError
from astro_galaxysd.evaluation.distributions import check_resamples, check_sizes
from astro_galaxysd.evaluation.memory import remembered
from astro_galaxysd.evaluation.morphology import compare_shapes
from astro_galaxysd.evaluation.sources import Source, central_sources

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.plugins.protocols import Embedder
    from astro_galaxysd.records import ImageBatch

__all__ = ["QUANTITIES", "StatmorphEvaluator", "measure_by_statmorph"]

#: Quantities of `measure_by_statmorph` and statmorph's names of them.
QUANTITIES = {
    "ellipticity": "ellipticity_asymmetry",
    "half_light_radius": "rhalf_circ",
    "concentration": "concentration",
    "asymmetry": "asymmetry",
    "gini": "gini",
    "m20": "m20",
    "petrosian_radius": "rpetro_circ",
}
_REVISION = "statmorph-0.7-1"  # counted up when the same image would give other numbers
_BAD = 2  # statmorph's flag of a measurement that is not to be used
_FAILED = -99  # statmorph's value of what it could not measure


def measure_by_statmorph(images: np.ndarray) -> dict[str, np.ndarray]:
    """Morphology of the galaxy in the middle of each cutout, by statmorph.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3), uint8
        Display-stretched colour cutouts, H and W at least 32.

    Returns
    -------
    dict of str to ndarray, shape (N,), float64
        Named by `QUANTITIES`, radii in pixels; NaN where there is no source in the middle, or where statmorph fails or
        flags the galaxy as bad.

    Raises
    ------
    MissingDependencyError
        If statmorph is not installed.
    ImageError
        As `astro_galaxysd.evaluation.morphology.measure`.
    """
    return dict(zip(QUANTITIES, _numbers(images).T, strict=True))


def _numbers(images: np.ndarray) -> np.ndarray:
    statmorph = _statmorph()
    return np.array([_measure(statmorph, source) for source in central_sources(images)])


def _statmorph() -> Any:
    try:
        return importlib.import_module("statmorph")
    except ImportError as error:
        raise MissingDependencyError(
            'statmorph is not installed; pip install "astro-galaxysd[statmorph]", or take the evaluator "morphology"'
        ) from error


def _measure(statmorph: Any, source: Source | None) -> list[float]:
    missing = [float("nan")] * len(QUANTITIES)
    if source is None:
        return missing
    weights = np.full(source.light.shape, max(source.noise, 1e-3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statmorph warns of what its flag says
        try:
            found = statmorph.SourceMorphology(
                source.light, source.segment.astype(np.int64), 1, mask=~source.known, weightmap=weights
            )
        except (ArithmeticError, AssertionError, IndexError, TypeError, ValueError):
            return missing  # on some sources it breaks off
    if found.flag >= _BAD:
        return missing
    values = [float(getattr(found, name)) for name in QUANTITIES.values()]
    return [value if value > _FAILED else float("nan") for value in values]


class StatmorphEvaluator:
    """Compare the morphology that statmorph measures: like `MorphologyEvaluator`, slower, with the Petrosian radius.

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
            Images of one size.
        reference : ImageBatch, optional
            Not used.
        embedder : Embedder, optional
            A `astro_galaxysd.evaluation.memory.Memory` keeps what was measured; another embedder is not used.
        rng : Generator or int, optional
            For the bootstrap (SPEC 7).

        Returns
        -------
        Table
            As `astro_galaxysd.evaluation.morphology.MorphologyEvaluator.evaluate`.

        Raises
        ------
        MissingDependencyError
            If statmorph is not installed.
        ImageError, ConditionError
            As `astro_galaxysd.evaluation.morphology.MorphologyEvaluator.evaluate`.
        """
        _statmorph()
        check_resamples(self.n_bootstrap)
        check_sizes(real.images, synthetic.images)
        numbers = (remembered(embedder, _REVISION, _numbers, batch.images) for batch in (real, synthetic))
        one, two = (dict(zip(QUANTITIES, columns.T, strict=True)) for columns in numbers)
        return compare_shapes(one, two, n_bootstrap=self.n_bootstrap, rng=rng)
