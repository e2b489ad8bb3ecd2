"""Morphology by statmorph, and how near our own numbers come to it."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from astro_galaxysd.errors import MissingDependencyError
from astro_galaxysd.evaluation.morphology import measure
from astro_galaxysd.evaluation.statmorph_evaluator import QUANTITIES, StatmorphEvaluator, measure_by_statmorph
from astro_galaxysd.testing import example_batch


def test_without_statmorph(monkeypatch):
    monkeypatch.setitem(sys.modules, "statmorph", None)
    with pytest.raises(MissingDependencyError, match='pip install "astro-galaxysd.statmorph.", or take the evaluator'):
        StatmorphEvaluator().evaluate(example_batch(9), example_batch(9))


class TestWithStatmorph:
    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("statmorph", reason="statmorph is not installed")

    def test_a_galaxy_and_none(self):
        images = np.concatenate([example_batch(1, size=64, rng=3).images, np.zeros((1, 64, 64, 3), np.uint8)])
        found, own = measure_by_statmorph(images), measure(images)
        assert list(found) == list(QUANTITIES)
        assert all(np.isnan(values[1]) for values in found.values())
        assert found["half_light_radius"][0] == pytest.approx(own["half_light_radius"][0], rel=0.05)
        assert found["petrosian_radius"][0] > found["half_light_radius"][0]
        for name in ("ellipticity", "gini"):
            assert found[name][0] == pytest.approx(own[name][0], abs=0.05)

    def test_the_table(self, monkeypatch):
        name = "astro_galaxysd.evaluation.statmorph_evaluator._measure"
        monkeypatch.setattr(name, lambda statmorph, source: list(source.light[:7, 0]))
        table = StatmorphEvaluator(n_bootstrap=5).evaluate(example_batch(9, rng=1), example_batch(9, rng=2), rng=0)
        assert list(table["metric"][-3:]) == ["petrosian_radius_ks", "petrosian_radius_wasserstein", "failures"]
        assert np.isfinite(table["value"]).all()

    def test_a_galaxy_that_statmorph_breaks_off_at(self, monkeypatch):
        def broken(*args, **options):
            raise ValueError

        monkeypatch.setattr("statmorph.SourceMorphology", broken)
        assert all(np.isnan(values).all() for values in measure_by_statmorph(example_batch(2).images).values())

    @pytest.mark.slow
    def test_own_numbers_are_nearly_those_of_statmorph(self, gz2):
        from astro_galaxysd import read_table
        from astro_galaxysd.images.codec import read_images

        table = read_table(gz2 / "val.parquet")
        images = np.stack(read_images(table, rows=list(range(60))))
        found, own = measure_by_statmorph(images), measure(images)
        least = {"ellipticity": 0.99, "half_light_radius": 0.95, "concentration": 0.95, "gini": 0.9, "m20": 0.98}
        # both take the sky's own asymmetry away, which is as large as the galaxies', and estimate it in other places
        least["asymmetry"] = 0.7
        for name, correlation in least.items():
            known = np.isfinite(found[name]) & np.isfinite(own[name])
            assert known.sum() > 50
            assert np.corrcoef(found[name][known], own[name][known])[0, 1] > correlation, name
