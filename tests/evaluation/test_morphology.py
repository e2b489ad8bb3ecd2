"""Morphology against galaxies whose shape is known, against photutils, and every change seen where it belongs."""

from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.errors import ConditionError, ImageError
from astro_galaxysd.evaluation.memory import Memory
from astro_galaxysd.evaluation.morphology import (
    QUANTITIES,
    MorphologyEvaluator,
    compare_shapes,
    measure,
    remembered_measure,
)
from astro_galaxysd.evaluation.sources import Growth, Source, central_sources
from astro_galaxysd.records import ImageBatch
from astro_galaxysd.testing import check_evaluator, example_conditions

SIDE = 64


def galaxy(light, *, sky=12.0, noise=1.5, rng=0, side=SIDE):
    """One cutout, (1, side, side, 3) uint8: `light` of x, y in pixels from the middle on a noisy sky."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    pixels = light(x, y)[..., None] + sky + np.random.default_rng(rng).normal(0, noise, (side, side, 3))
    return np.clip(pixels, 0, 255).round().astype(np.uint8)[None]


def gauss(width=6.0, ratio=1.0, angle=0.0, at=(0.0, 0.0), bright=200.0):
    def light(x, y):
        x, y = x - at[0], y - at[1]
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        return bright * np.exp(-(along**2 + (across / ratio) ** 2) / (2 * width**2))

    return light


def exponential(scale=4.0, bright=220.0):
    return lambda x, y: bright * np.exp(-np.hypot(x, y) / scale)


def both(first, second):
    return lambda x, y: first(x, y) + second(x, y)


def one(light, **options):
    return {name: float(values[0]) for name, values in measure(galaxy(light, **options)).items()}


class TestMeasure:
    @pytest.mark.parametrize("angle", [0.0, 0.6, 1.57])
    @pytest.mark.parametrize("ratio", [0.35, 0.6, 0.95])
    def test_ellipticity(self, ratio, angle):
        assert one(gauss(7, ratio, angle))["ellipticity"] == pytest.approx(1 - ratio, abs=0.03)

    @pytest.mark.parametrize("width", [4.0, 6.0, 8.0])
    def test_radius_and_concentration_of_a_gaussian(self, width):
        found = one(gauss(width), noise=0.3)
        # within r a Gaussian has 1 - exp(-r^2 / 2 w^2) of its light; beyond 1.5 Petrosian radii there is next to none
        radii = width * np.sqrt(-2 * np.log(1 - np.array([0.2, 0.5, 0.8])))
        assert found["half_light_radius"] == pytest.approx(radii[1], rel=0.03)
        assert found["concentration"] == pytest.approx(5 * np.log10(radii[2] / radii[0]), abs=0.05)

    def test_an_exponential_disc_is_more_concentrated_than_a_gaussian(self):
        # Bershady et al. (2000): 2.7 for an exponential disc
        assert one(exponential(), noise=0.3, side=128)["concentration"] == pytest.approx(2.7, abs=0.1)
        assert one(gauss())["concentration"] < 2.2

    @pytest.mark.parametrize("noise", [0.3, 3.0])
    @pytest.mark.parametrize("at", [(0, 0), (0.5, 0), (1.5, -2)])
    def test_a_symmetric_galaxy_has_no_asymmetry(self, at, noise):
        assert one(gauss(6, 0.7, 0.4, at), noise=noise)["asymmetry"] == pytest.approx(0, abs=0.03)

    def test_a_one_sided_galaxy_is_asymmetric(self):
        lopsided = both(gauss(5), gauss(2.5, at=(9, 0), bright=150))
        assert one(lopsided)["asymmetry"] > 0.2

    def test_gini_of_a_flat_and_of_a_peaked_disc(self):
        flat = one(lambda x, y: 120.0 * (np.hypot(x, y) < 12))
        assert flat["gini"] < 0.25
        assert one(exponential(3))["gini"] > flat["gini"] + 0.2

    def test_m20_of_two_nuclei_is_larger(self):
        double = both(gauss(3, at=(-7, 0)), gauss(3, at=(7, 0)))
        assert one(double)["m20"] > one(gauss(6))["m20"] + 0.5

    @pytest.mark.parametrize(
        "turned", [lambda i: i[:, ::-1], lambda i: i.swapaxes(1, 2), lambda i: np.rot90(i, 1, (1, 2))]
    )
    def test_a_turned_galaxy_has_the_same_morphology(self, turned):
        images = np.concatenate(
            [galaxy(both(gauss(6, 0.6, 0.3), gauss(2, at=(5, 4), bright=80)), rng=i) for i in range(4)]
        )
        before, after = measure(images), measure(turned(images))
        for name in QUANTITIES:
            np.testing.assert_allclose(after[name], before[name], rtol=0.02, atol=0.01)

    def test_another_source_does_not_count(self):
        alone = one(gauss(5), side=96)
        beside = one(both(gauss(5), gauss(2, at=(34, 30))), side=96)
        for name in QUANTITIES:
            assert beside[name] == pytest.approx(alone[name], abs=0.02, rel=0.02)

    @pytest.mark.parametrize("light", [lambda x, y: 0 * x, gauss(3, at=(24, 24))])
    def test_nothing_in_the_middle_is_nan(self, light):
        assert all(np.isnan(value) for value in one(light).values())

    def test_black_images(self):
        measured = measure(np.zeros((2, 32, 32, 3), np.uint8))
        assert all(np.isnan(values).all() for values in measured.values())

    def test_a_galaxy_without_an_end_has_an_ellipticity_only(self):
        found = one(gauss(200, 0.02))  # a band from side to side
        assert np.isfinite(found["ellipticity"])
        assert np.isnan(found["half_light_radius"])

    def test_oblong_images(self):
        images = galaxy(gauss(5))[:, 8:-8]
        found = measure(images)
        assert found["half_light_radius"][0] == pytest.approx(5 * np.sqrt(2 * np.log(2)), rel=0.05)

    @pytest.mark.parametrize(
        ("images", "message"),
        [
            (
                np.zeros((0, 32, 32, 3), np.uint8),
                r"uint8 of shape \(0, 32, 32, 3\); morphology needs uint8 .*at least 1",
            ),
            (np.zeros((1, 32, 32, 3)), "images are float64"),
            (np.zeros((1, 64, 16, 3), np.uint8), "64x16 px are too small for morphology; give sides of 32 px or more"),
        ],
    )
    def test_refused(self, images, message):
        with pytest.raises(ImageError, match=message):
            measure(images)


class TestGrowth:
    """The curve of growth against exact apertures."""

    @staticmethod
    def source(light, known=None):
        known = np.ones(light.shape, bool) if known is None else known
        return Source(light * known, known, known, 0.0)

    @pytest.mark.parametrize("radius", [3.0, 7.3, 12.0])
    def test_light_within_is_that_of_an_exact_aperture(self, radius):
        from photutils.aperture import CircularAperture

        y, x = np.mgrid[:48, :48]
        light = gauss(5, at=(23.7, 24.2))(x, y)
        distance = np.hypot(x - 23.7, y - 24.2)
        found = Growth(self.source(light), distance, 1.0, 24).within(radius)
        exact = CircularAperture((23.7, 24.2), radius).do_photometry(light)[0][0]
        assert found == pytest.approx(exact, rel=0.01)

    def test_an_even_disc(self):
        y, x = np.mgrid[:48, :48] - 23.5
        growth = Growth(self.source(np.ones((48, 48))), np.hypot(x, y), 1.0, 20)
        np.testing.assert_allclose(growth.light, np.pi * growth.radius**2, rtol=1e-9)
        assert growth.holding(np.pi * 5.3**2) == pytest.approx(5.3)
        assert np.isnan(growth.holding(1e9))
        assert np.isnan(growth.petrosian())

    def test_what_is_masked_is_filled_in_from_its_ring(self):
        y, x = np.mgrid[:48, :48] - 23.5
        light, distance = gauss(5)(x, y), np.hypot(x, y)
        masked = Growth(self.source(light, ~((x > 4) & (y > 4))), distance, 1.0, 20)
        whole = Growth(self.source(light), distance, 1.0, 20)
        np.testing.assert_allclose(masked.light, whole.light, rtol=0.02)

    def test_it_ends_where_rings_are_no_longer_seen(self):
        y, x = np.mgrid[:48, :48] - 23.5
        growth = Growth(self.source(np.ones((48, 48))), np.hypot(x, y), 1.0, 48)
        assert 26 < growth.radius[-1] < 31

    def test_petrosian_radius_of_a_gaussian(self):
        # exp(-t) / ((1 - exp(-t)) / t) = 0.2 has t = 2.66, t = r^2 / 2 w^2
        y, x = np.mgrid[:96, :96] - 47.5
        radius = Growth(self.source(gauss(6)(x, y)), np.hypot(x, y), 1.0, 40).petrosian()
        assert radius == pytest.approx(6 * np.sqrt(2 * 2.66), rel=0.01)


def test_ellipticity_is_that_of_photutils():
    from photutils.segmentation import SegmentationImage, SourceCatalog

    for seed, ratio in enumerate((0.3, 0.5, 0.8)):
        images = galaxy(gauss(6, ratio, 0.5), rng=seed)
        source = next(central_sources(images))
        catalog = SourceCatalog(source.light, SegmentationImage(source.segment.astype(int)))
        assert measure(images)["ellipticity"][0] == pytest.approx(float(catalog.ellipticity[0]), abs=0.01)


def sample(seed, flat=1.0, n=40):
    rng = np.random.default_rng(seed)
    widths, ratios, angles = rng.uniform(3.5, 6, n), flat * rng.uniform(0.5, 1, n), rng.uniform(0, 3, n)
    return np.concatenate(
        [
            galaxy(both(gauss(w, q, a), gauss(w / 3, bright=50)), rng=(seed, row), noise=2)
            for row, (w, q, a) in enumerate(zip(widths, ratios, angles, strict=True))
        ]
    )


@pytest.fixture(scope="module")
def population():
    """Two samples of 40 galaxies of one kind."""
    return sample(1), sample(2)


def batch(images):
    return ImageBatch(images, example_conditions(len(images)), np.arange(len(images)).astype(str))


def evaluated(real, images, **options):
    table = MorphologyEvaluator(n_bootstrap=12).evaluate(batch(real), batch(images), rng=0, **options)
    return {row["metric"]: row for row in table}


def test_same_images_are_at_distance_zero(population):
    found = evaluated(population[0], population[0])
    assert list(found) == [f"{q}_{kind}" for q in QUANTITIES for kind in ("ks", "wasserstein")] + ["failures"]
    assert {row["value"] for row in found.values()} == {0.0}
    assert not any(row["higher_is_better"] for row in found.values())


def flatter(images):
    return sample(2, flat=0.5, n=len(images))


def companion(images):
    light = gauss(2, at=(7, 5), bright=120)(*(np.mgrid[:SIDE, :SIDE][::-1] - (SIDE - 1) / 2))
    return np.clip(images + light[..., None], 0, 255).astype(np.uint8)


def recoloured(images):
    return images[..., ::-1]


@pytest.mark.parametrize(
    ("change", "seen", "bystanders"),
    [
        (flatter, ["ellipticity"], ["asymmetry"]),
        (companion, ["asymmetry"], ["ellipticity"]),
        (recoloured, [], list(QUANTITIES)),
    ],
)
def test_each_fault_is_seen_where_it_belongs(population, change, seen, bystanders):
    before, after = evaluated(*population), evaluated(population[0], change(population[1]))
    for name in seen:
        for kind in ("ks", "wasserstein"):
            one, two = before[f"{name}_{kind}"], after[f"{name}_{kind}"]
            assert two["value"] > one["value"] + 2 * np.hypot(one["error"], two["error"])
    for name in bystanders:
        one, two = before[f"{name}_ks"], after[f"{name}_ks"]
        assert abs(two["value"] - one["value"]) < 2 * np.hypot(one["error"], two["error"]) + 0.01


def test_failures_are_counted_and_not_compared(population):
    images = population[1].copy()
    images[:10] = 12
    found = evaluated(population[0], images)
    assert found["failures"]["value"] == pytest.approx(0.25)
    assert found["failures"]["error"] == pytest.approx(np.sqrt(0.25 * 0.75 / 40))
    assert (found["failures"]["n_real"], found["failures"]["n_synthetic"]) == (40, 40)
    assert found["gini_ks"]["n_synthetic"] == 30


def test_empty_images_fail_with_a_note(population):
    found = evaluated(population[0], np.zeros_like(population[1]))
    assert found["failures"]["value"] == 1
    assert found["failures"]["error"] > 0
    assert np.isnan(found["m20_ks"]["value"])
    assert found["m20_ks"]["note"] == "40 real and 0 synthetic images have a m20; at least 8 each are needed"


def test_any_numbers_can_be_compared():
    width, height = np.random.default_rng(0).normal(size=(2, 20))
    one, two = {"width": width, "height": height}, {"width": width, "height": height + 3}
    table = compare_shapes(one, two, n_bootstrap=5, rng=0)
    assert list(table["metric"]) == ["width_ks", "width_wasserstein", "height_ks", "height_wasserstein", "failures"]
    assert table["value"][0] == 0
    assert table["value"][2] > 0.8


def test_a_memory_measures_once(population, monkeypatch):
    memory, calls = Memory(), []
    first = evaluated(*population, embedder=memory)
    monkeypatch.setattr("astro_galaxysd.evaluation.morphology._measure", lambda source: calls.append(source) or {})
    assert [tuple(r) for r in evaluated(*population, embedder=memory).values()] == [tuple(r) for r in first.values()]
    assert tuple(remembered_measure(memory, population[0])) == QUANTITIES
    assert not calls


def test_what_is_refused(population):
    with pytest.raises(ConditionError, match="n_bootstrap is 0; a standard deviation needs at least 2"):
        MorphologyEvaluator(n_bootstrap=0).evaluate(batch(population[0]), batch(population[1]))
    with pytest.raises(ImageError, match="bring them to one size"):
        evaluated(population[0], population[1][:, 8:-8, 8:-8])


def test_it_keeps_the_promises_of_an_evaluator():
    check_evaluator(MorphologyEvaluator(n_bootstrap=5))
