"""Sérsic profiles fitted to real and synthetic galaxies, and how far their distributions lie apart."""

from __future__ import annotations

import warnings

import numpy as np
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Sersic1D
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from scipy.stats import ks_2samp

FEWEST = 3  # fitted galaxies on each side
KOLMOGOROV = 0.26  # standard deviation of the Kolmogorov distribution


class SersicEvaluator:
    """Kolmogorov-Smirnov distances of the Sérsic index and the half-light radius; lower is better."""

    def evaluate(self, real, synthetic, *, reference=None, embedder=None, rng=None):
        """Compare two `ImageBatch`; a Table with one row a metric."""
        fits = fit_profiles(real.images), fit_profiles(synthetic.images)
        rows = [self.compare(name, fits[0][name], fits[1][name]) for name in ("index", "radius")]
        return Table(rows=rows)

    def compare(self, name, real, synthetic):
        """One row: the distance and the standard deviation that equal distributions would give it."""
        real, synthetic = real[np.isfinite(real)], synthetic[np.isfinite(synthetic)]
        enough = min(len(real), len(synthetic)) >= FEWEST
        return {
            "metric": f"sersic_{name}_ks",
            "group": "all",
            "value": float(ks_2samp(real, synthetic).statistic) if enough else np.nan,
            "error": KOLMOGOROV * float(np.sqrt(1 / len(real) + 1 / len(synthetic))) if enough else np.nan,
            "n_real": len(real),
            "n_synthetic": len(synthetic),
            "higher_is_better": False,
            "note": "" if enough else f"fewer than {FEWEST} galaxies could be fitted",
        }


def fit_profiles(images):
    """Sérsic index and half-light radius in px of images (N, H, W, 3); NaN where the fit fails."""
    found = np.full((len(images), 2), np.nan)
    for row, image in enumerate(images):
        radius, light = profile(image.mean(axis=-1))
        start = Sersic1D(amplitude=light.max() / 4, r_eff=radius[len(radius) // 3], n=1.5)
        start.amplitude.min, start.r_eff.bounds, start.n.bounds = 0.0, (0.5, 2 * radius[-1]), (0.2, 8.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyUserWarning)  # a fit that did not converge counts as failed below
            fitter = TRFLSQFitter()
            fitted = fitter(start, radius, light)
        if light.max() > 0 and fitter.fit_info.success:
            found[row] = fitted.n.value, fitted.r_eff.value
    return {"index": found[:, 0], "radius": found[:, 1]}


def profile(grey):
    """Mean light above the sky in rings of 1 px about the middle: radii and light, out to half the side."""
    height, width = grey.shape
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2).ravel()
    rings, out = distance.astype(int), min(height, width) // 2
    counts = np.bincount(rings)[:out]
    radius, light = (np.bincount(rings, values)[:out] / counts for values in (distance, grey.ravel()))
    return radius, light - np.median(grey.ravel()[rings >= out])
