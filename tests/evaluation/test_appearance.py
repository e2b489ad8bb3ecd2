from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from astro_galaxysd.conditions.tree import INDEX
from astro_galaxysd.errors import ImageError, TrainingError
from astro_galaxysd.evaluation.appearance import WEIGHTS, Appearance, Look
from astro_galaxysd.evaluation.embedding import GalaxyEmbedder
from astro_galaxysd.evaluation.measures import measure_pixels
from astro_galaxysd.evaluation.networks import build
from astro_galaxysd.evaluation.reading import ImageReader
from astro_galaxysd.learning.views import moved, pixels_of

#: Places of the scalars in their block.
FLUX, RED_BLUE, RED_GREEN, SKY, NOISE, ASYMMETRY, ELLIPTICITY, SIZE = 0, 1, 2, slice(3, 6), 6, 7, 8, 9
SIDE = 64


def galaxies(n, *, side=SIDE, seed=0):
    """Elliptical blobs on a noisy sky of 8 grey levels, redder or bluer, shape (n, side, side, 3), uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    size = rng.uniform(0.05, 0.12, (n, 1, 1)) * side
    ratio, angle = rng.uniform(0.4, 1, (n, 1, 1)), rng.uniform(0, np.pi, (n, 1, 1))
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    light = rng.uniform(60, 160, (n, 1, 1)) * np.exp(-((along / size) ** 2 + (across / (ratio * size)) ** 2) / 2)
    light += 0.3 * light * rng.random((n, 1, 1)) * (x > 0)  # not all alike on both sides
    colour = 1 + rng.uniform(-0.3, 0.3, (n, 1, 1, 3))
    noise = rng.normal(0, rng.uniform(2, 4, (n, 1, 1, 1)), (n, side, side, 3))
    return (light[..., None] * colour + 8 + noise).round().clip(0, 255).astype(np.uint8)


def reader_of(side=SIDE, architecture="residual", seed=0):
    """A reader that has learnt nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(architecture, (8, 16, 24), 37)
    return ImageReader(network, {"revision": f"none {seed}", "image_size": side})


def embedder_of(side=SIDE):
    """An embedder that has learnt nothing."""
    found = GalaxyEmbedder()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        found.network = build("plain", (8, 16), 6)
    found.facts, found.revision = {"image_size": side}, "none"
    return found


@pytest.fixture(scope="module")
def real():
    return galaxies(64)


@pytest.fixture(scope="module", params=["residual", "plain"])
def appearance(request, real):
    return Appearance(reader_of(architecture=request.param), real, embedder=embedder_of())


@pytest.fixture(scope="module")
def residual(real):
    return Appearance(reader_of(), real)


def pattern(height=3, side=SIDE):
    """A bright and a dark spot in every 8x8 pixels, shape (side, side, 1)."""
    tile = np.zeros((8, 8))
    tile[2:4, 2:4], tile[5:7, 5:7] = height, -height
    return np.tile(tile, (side // 8, side // 8))[..., None]


def scalars(appearance, images):
    """Mean scalars of uint8 images."""
    return appearance(pixels_of(np.asarray(images).clip(0, 255).round().astype(np.uint8))).blocks["scalars"].mean(dim=0)


@pytest.mark.parametrize("architecture", ["residual", "plain"])
def test_blocks_of_real_images_have_distances_of_about_one(architecture):
    real = galaxies(256, side=32)  # more than a block has numbers
    appearance = Appearance(reader_of(32, architecture), real, embedder=embedder_of(32))
    seen = appearance(pixels_of(galaxies(64, side=32, seed=1)))
    assert {name.partition("_")[0] for name in seen.blocks} == set(WEIGHTS)
    assert sum(name.startswith("texture") for name in seen.blocks) >= 2
    for name, values in seen.blocks.items():
        assert values.shape[0] == 64
        if name != "scalars":
            assert 0.5 < (values[:32] - values[32:]).norm(dim=1).mean() < 2, name
    known = appearance(pixels_of(real)).blocks["scalars"]
    torch.testing.assert_close(known.mean(dim=0), torch.zeros(10), atol=1e-3, rtol=0)
    torch.testing.assert_close(known.std(dim=0), torch.ones(10), atol=1e-3, rtol=0)
    assert seen.answers.shape == (64, 37)
    assert (seen.answers <= 0).all()


def test_every_block_has_gradients(appearance):
    pixels = pixels_of(galaxies(3, seed=2)).requires_grad_(True)
    seen = appearance(pixels)
    for name, values in {**seen.blocks, "answers": seen.answers}.items():
        (gradient,) = torch.autograd.grad(values.square().sum(), pixels, retain_graph=True)
        assert torch.isfinite(gradient).all(), name
        assert (gradient.flatten(1).abs().max(dim=1).values > 0).all(), name


def test_a_reader_sees_images_moved_and_pixels_are_measured_where_they_are(appearance):
    pixels = pixels_of(galaxies(4, seed=2))
    here, there = appearance(pixels), appearance(pixels, (3, -2))
    elsewhere = appearance(moved(pixels, 3, -2))
    assert torch.equal(there.answers, elsewhere.answers)
    for name, values in there.blocks.items():
        by_reader = name.startswith(("semantics", "embedding", "texture"))
        assert torch.equal(values, (elsewhere if by_reader else here).blocks[name]), name
        assert not torch.equal(values, (here if by_reader else elsewhere).blocks[name]), name


def test_a_copy_of_the_reader_that_does_not_learn(real):
    reader = reader_of()
    appearance = Appearance(reader, real, device="cpu")
    assert not any(value.requires_grad for value in appearance._network.parameters())
    assert all(value.requires_grad for value in reader.network.parameters())  # the caller's is as it was
    before = appearance(pixels_of(real[:2])).answers
    with torch.no_grad():
        next(reader.network.parameters()).zero_()
    assert torch.equal(appearance(pixels_of(real[:2])).answers, before)


@pytest.mark.parametrize("level", [0, 30, 255])
def test_images_of_one_level_have_finite_gradients(residual, level):
    pixels = torch.full((2, 3, SIDE, SIDE), level / 127.5 - 1).requires_grad_(True)
    for name, values in residual(pixels).blocks.items():
        (gradient,) = torch.autograd.grad(values.sum(), pixels, retain_graph=True)
        assert torch.isfinite(gradient).all(), name


class TestScalars:
    """Each scalar says what its name says."""

    def moved(self, residual, change):
        images = galaxies(24, seed=3).astype(float)
        return scalars(residual, change(images)) - scalars(residual, images)

    def test_brighter(self, residual):
        moved = self.moved(residual, lambda images: 8 + 1.3 * (images - 8))
        assert moved[FLUX] > 0.1
        assert abs(moved[ELLIPTICITY]) < 0.3

    def test_redder(self, residual):
        moved = self.moved(residual, lambda images: 8 + (images - 8) * [1.3, 1.0, 0.7])
        assert moved[RED_BLUE] > 0.1
        assert moved[RED_GREEN] > 0.1

    def test_brighter_sky(self, residual):
        moved = self.moved(residual, lambda images: images + 2)
        assert (moved[SKY] > 1).all()
        assert moved[[FLUX, RED_BLUE, NOISE, SIZE]].abs().max() < 0.05

    def test_noisier(self, residual):
        rng = np.random.default_rng(4)
        moved = self.moved(residual, lambda images: images + rng.normal(0, 4, images.shape))
        assert moved[NOISE] > 1

    def test_smoother_sky(self, residual):
        moved = self.moved(residual, lambda images: gaussian_filter(images, (0, 1, 1, 0)))
        assert moved[NOISE] < -1

    def test_one_sided(self, residual):
        moved = self.moved(residual, lambda images: images * np.linspace(0.4, 1.6, SIDE)[None, None, :, None])
        assert moved[ASYMMETRY] > 0.3

    def test_flatter(self, residual):
        squeezed = np.abs(np.arange(SIDE) * 2 - SIDE // 2)
        inside = squeezed < SIDE

        def flatten(images):
            flat = np.full_like(images, 8.0)
            flat[:, inside] = images[:, squeezed[inside]]
            return flat

        moved = self.moved(residual, flatten)
        assert moved[ELLIPTICITY] > 0.5

    def test_larger(self, residual):
        y = np.arange(SIDE) // 2 + SIDE // 4
        moved = self.moved(residual, lambda images: images[:, y][:, :, y])
        assert moved[SIZE] > 0.5


@pytest.mark.parametrize("where", ["sky", "galaxy"])
def test_a_pattern_that_repeats_stands_out(residual, where):
    images = galaxies(24, seed=3).astype(float)
    tiled = images + pattern(1) if where == "sky" else images * (1 + 0.2 * pattern(1) * (images > 40))
    brighter = images + 1 if where == "sky" else images * 1.05
    given = [pixels_of(np.clip(changed, 0, 255).astype(np.uint8)) for changed in (images, tiled, brighter)]
    looks = [residual(pixels).blocks[f"lattice_{where}"] for pixels in given]
    spread = (looks[0][:12] - looks[0][12:]).norm(dim=1).mean()
    assert (looks[1] - looks[0]).norm(dim=1).mean() > 0.5 * spread
    assert (looks[2] - looks[0]).norm(dim=1).mean() < 0.3 * spread  # other edges of what is galaxy


def test_a_mesh_of_one_direction_stands_out(residual):
    """Of any period, also one that tiles of 8 pixels do not have; and a round blur does not look like it."""
    images = galaxies(24, seed=3).astype(float)
    y, x = np.mgrid[:SIDE, :SIDE]
    mesh = 1 + 0.2 * np.sin(2 * np.pi * (x - y) * 0.17)[None, :, :, None] * (images > 40)
    plain, meshed = (
        residual(pixels_of(np.clip(changed, 0, 255).astype(np.uint8))).blocks["grain"]
        for changed in (images, images * mesh)
    )
    spread = (plain[:12] - plain[12:]).norm(dim=1).mean()
    assert (meshed.mean(dim=0) - plain.mean(dim=0)).norm() > 0.5 * spread


def test_noise_that_differs_between_colours(residual):
    images = 20 + galaxies(24, seed=3).astype(float)
    noise = np.random.default_rng(1).normal(0, 4, images.shape[:3])[..., None]
    plain, coloured, green = (
        residual(pixels_of(np.clip(changed, 0, 255).round().astype(np.uint8))).blocks
        for changed in (images, images + noise * [1, 0, -1], images + noise * [-1, 2, -1])
    )
    for noisy, name, other in ((coloured, "red_blue", "green"), (green, "green", "red_blue")):
        change = {key: (noisy[key] - plain[key]).mean(dim=0).norm() for key in plain if key.startswith("power")}
        assert change[f"power_{name}"] > 0.5
        assert change["power_luminance"] < 0.1 * change[f"power_{name}"]
        assert change[f"power_{other}"] < 0.1 * change[f"power_{name}"]


def test_patches_of_colour_in_the_sky(residual):
    images = 20 + galaxies(24, seed=3).astype(float)
    patches = gaussian_filter(np.random.default_rng(1).normal(0, 12, images.shape[:3]), (0, 2, 2))[..., None] * [
        1,
        0,
        -1,
    ]
    plain, patchy = (
        residual(pixels_of(np.clip(changed, 0, 255).round().astype(np.uint8))).blocks["mottle"]
        for changed in (images, images + patches)
    )
    spread = (plain[:12] - plain[12:]).norm(dim=1).mean()
    assert (patchy.mean(dim=0) - plain.mean(dim=0)).norm() > 0.5 * spread
    turned = residual(pixels_of(np.rot90(images, axes=(1, 2)).round().astype(np.uint8))).blocks["mottle"]
    torch.testing.assert_close(turned, plain, atol=1e-3, rtol=1e-3)  # how patchy, not where


class TestAround:
    """Two-fold galaxies whose angle stays, or turns with the radius."""

    def around(self, turn, folds=2, contrast=0.5):
        y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
        radius, angle = np.hypot(x, y), np.arctan2(y, x)
        light = 150 * np.exp(-radius / 8) * (1 + contrast * np.cos(folds * (angle - turn * radius)))
        noise = np.random.default_rng(0).normal(0, 2, (SIDE, SIDE, 3))
        image = np.clip(20 + light[..., None] + noise, 0, 255).round().astype(np.uint8)
        found = measure_pixels(pixels_of(np.stack([image, np.rot90(image)])))["around"]
        torch.testing.assert_close(found[0], found[1], atol=0.05, rtol=0.01)  # wherever it points
        power, kept = found[0].split([2 * 8 * 6, 7 * 3])
        return power.reshape(2, 8, 6), kept.reshape(7, 3)

    @pytest.mark.parametrize("folds", [1, 2, 3])
    def test_power_is_where_the_folds_are(self, folds):
        power, _ = self.around(0.0, folds)
        luminance, colour = power[:, 2]
        assert int(luminance.argmax()) == folds - 1
        assert luminance[folds - 1] > colour.max() + 2

    def test_a_bar_keeps_its_angle_and_arms_do_not(self):
        (_, bar), (_, arms) = self.around(0.0), self.around(0.15)
        assert bar[1:4, 1].min() > 0.9
        assert arms[1:4, 1].max() < 0.7


class TestScore:
    @pytest.fixture
    def score(self, appearance):
        """Mean score of two sets of draws, beside galaxies that are none of them."""
        with torch.no_grad():
            others = appearance(pixels_of(galaxies(24, seed=7)))

            def scored(first, second):
                with torch.no_grad():
                    found = appearance.score(*(appearance(pixels_of(images)) for images in (first, second)), others)
                assert found.shape == (24,)
                return found.mean().item()

            return scored

    def test_real_ones_score_best(self, score):
        first, second = galaxies(24, seed=5), galaxies(24, seed=6)
        rng = np.random.default_rng(8)
        wrong = {
            "blurred": lambda images: gaussian_filter(images, (0, 1, 1, 0)),
            "noisy": lambda images: (images + rng.normal(0, 3, images.shape)).clip(0, 255).astype(np.uint8),
            "dimmed": lambda images: (images * 0.8).astype(np.uint8),
            "tiled": lambda images: (images + pattern()).clip(0, 255).astype(np.uint8),
            "one over and over": lambda images: np.repeat(galaxies(1, seed=5), 24, axis=0),
        }
        real = score(first, second)
        for name, change in wrong.items():
            assert real < score(change(first), change(second)) - 0.1, name

    def test_a_collapse_has_a_gradient_that_is_finite(self, residual):
        pixels = pixels_of(np.repeat(galaxies(1, seed=5), 2, axis=0)).requires_grad_(True)
        same = residual(pixels)
        residual.score(same, same, residual(pixels_of(galaxies(2, seed=7)))).sum().backward()
        assert torch.isfinite(pixels.grad).all()
        assert pixels.grad.abs().max() > 0


def test_a_block_that_never_varies_in_real_images_is_left_out():
    grey = np.repeat(galaxies(48)[..., 1:2], 3, axis=3)
    appearance = Appearance(reader_of(), grey)
    blocks = appearance(pixels_of(galaxies(4, seed=2))).blocks
    assert not blocks["power_red_blue"].any()
    assert not blocks["power_green"].any()
    assert blocks["power_luminance"].isfinite().all()
    assert blocks["power_luminance"].any()


def test_what_never_varies_in_real_images_must_not_vary_in_draws():
    def grey(seed):
        return np.repeat(galaxies(48, seed=seed)[..., 1:2], 3, axis=3)

    appearance = Appearance(reader_of(), grey(0))

    def score(change):
        looks = [appearance(pixels_of(images)) for images in (change(grey(1)), change(grey(2)), grey(3))]
        found = [Look({"lattice_sky": look.blocks["lattice_sky"]}, look.answers) for look in looks]
        return appearance.score(*found).mean().item()

    coloured = pattern(1) * [1, 0, -1]  # real images have no colours: only a direction without variance tells of it
    tiled = score(lambda images: (images + coloured).clip(0, 255).astype(np.uint8))
    assert tiled > score(lambda images: images) + 0.2


def test_divergence_is_that_of_the_votes(residual):
    drawn = residual(pixels_of(galaxies(3, seed=5)))
    fractions = np.full((3, 37), np.nan)
    fractions[:2, INDEX["smooth"]], fractions[:2, INDEX["features"]], fractions[:2, INDEX["artifact"]] = 0.8, 0.2, 0
    found = residual.divergence(drawn, fractions)
    votes = torch.tensor([0.8, 0.2])
    read = drawn.answers[:, [INDEX["smooth"], INDEX["features"]]]
    torch.testing.assert_close(found[:2], (votes * (votes.log() - read[:2])).sum(dim=1))
    assert found[2] == 0  # nobody was asked


def test_scalars_that_never_vary_say_nothing(real):
    bright = np.clip(real.astype(int) + 60, 0, 255).astype(np.uint8)  # no pixel is dark enough to be sky
    appearance = Appearance(reader_of(), bright)
    found = appearance(torch.cat([pixels_of(bright[:2]), pixels_of(real[:2])])).blocks["scalars"]
    assert torch.equal(found[:, SKY], torch.zeros(4, 3))
    assert found.abs().max() < 100
    assert (found[:, FLUX].std()) > 0


def test_the_same_images_measure_the_same(real):
    pixels = pixels_of(galaxies(2, seed=9))
    first, second = (Appearance(reader_of(), real, rng=3)(pixels) for _ in range(2))
    for name, values in first.blocks.items():
        assert torch.equal(values, second.blocks[name])


@pytest.mark.parametrize("side", [40, 128])
def test_another_size(side):
    appearance = Appearance(reader_of(side), galaxies(32, side=side))
    seen = appearance(pixels_of(galaxies(2, side=side, seed=1)))
    assert appearance.side == side
    assert all(torch.isfinite(values).all() for values in seen.blocks.values())


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "told"),
        [("reporting", "reports on weights"), ("choosing", "chooses guidance and which rows are kept")],
    )
    @pytest.mark.parametrize("side", [128, SIDE])
    def test_readers_that_ship(self, name, told, side):
        way_out = "train another one with `galaxysd train reader --preset choosing --set seed=31`"
        with pytest.raises(TrainingError, match=f"reader-{name}.* {told}, so it can't teach them; {way_out}"):
            Appearance(ImageReader.load(name), galaxies(32, side=side))

    @pytest.mark.parametrize("side", [24, 36, 100])
    def test_sides_that_can_not_be_measured(self, side):
        message = f"images of {side} px: the side must be a multiple of 8, 32 or more; bring .* with fit_size, or set "
        with pytest.raises(ImageError, match=message):
            Appearance(reader_of(side), np.zeros((32, side, side, 3), np.uint8))

    def test_another_size_than_the_readers(self, real):
        with pytest.raises(ImageError, match="images of 64 px for one reader of 128 px; train readers on such"):
            Appearance(reader_of(128), real)
        with pytest.raises(ImageError, match="images of 64 px for one embedder of 96 px; train embedders on such"):
            Appearance(reader_of(), real, embedder=embedder_of(96))

    def test_too_few_images(self, real):
        with pytest.raises(TrainingError, match="31 real images to compare with; give at least 32"):
            Appearance(reader_of(), real[:31])
