"""The galaxy in the middle of a cutout: measured where its radii are known, and brought to another frame."""

from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.errors import ImageError
from astro_galaxysd.survey.sizes import DISPLAY_FRAME, FLUX_FRAME, Frame, find_galaxy, frame_planes, place

SIDE = 96
MIDDLE = (47.7, 48.1)
# radii that hold half and 90 % of the light, in sigma or in scale lengths
GAUSSIAN, EXPONENTIAL = (1.17741, 2.14597), (1.67835, 3.88972)
SIGMA = 6.0


def cutout(
    size: float = SIGMA,
    centre: tuple[float, float] = MIDDLE,
    *,
    flux: float = 300.0,
    noise: float | tuple[float, ...] = (1.0, 1.0, 1.0),
    exponential: bool = False,
    shape: tuple[int, int] = (SIDE, SIDE),
    seed: int = 0,
) -> np.ndarray:
    """A round galaxy on a sky of 5, 105 and 205."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    radius = np.hypot(x - centre[0], y - centre[1]) / size
    light = flux * np.exp(-radius if exponential else -(radius**2) / 2)
    sigma = np.atleast_1d(np.asarray(noise))[:, None, None]
    sky = 5.0 + 100.0 * np.arange(len(sigma))[:, None, None]
    return sky + light + sigma * np.random.default_rng(seed).normal(size=(len(sigma), *shape))


def star(centre: tuple[float, float], flux: float = 300.0, sigma: float = 2.0) -> np.ndarray:
    return cutout(sigma, centre, flux=flux, noise=0.0)[0] - 5.0


@pytest.mark.parametrize("sigma", [4.0, 6.0])
@pytest.mark.parametrize("centre", [MIDDLE, (51.2, 44.9)])
def test_radii_of_a_gaussian(sigma, centre):
    galaxy = find_galaxy(cutout(sigma, centre))
    # noise gives 0.2 %; pixels are 1/10 of the smaller R50
    np.testing.assert_allclose([galaxy.r50, galaxy.r90], sigma * np.array(GAUSSIAN), rtol=0.02)
    np.testing.assert_allclose([galaxy.x, galaxy.y], centre, atol=0.05)
    np.testing.assert_allclose(galaxy.level, [5, 105, 205], atol=0.15)
    assert galaxy.flux == pytest.approx(300 * 2 * np.pi * sigma**2, rel=0.01)
    assert galaxy.axis_ratio > 0.97


@pytest.mark.parametrize("length", [2.0, 4.0])
def test_radii_of_an_exponential_disk(length):
    galaxy = find_galaxy(cutout(length, exponential=True))
    # 2.5 Kron radii hold 96 % to 98 % of its light: both radii are of that
    assert 0.95 < galaxy.flux / (300 * 2 * np.pi * length**2) < 0.99
    assert galaxy.r50 == pytest.approx(length * EXPONENTIAL[0], rel=0.04)
    assert 0.91 < galaxy.r90 / (length * EXPONENTIAL[1]) < 0.98


def test_an_inclined_galaxy_has_its_axis_ratio():
    y, x = np.mgrid[:SIDE, :SIDE]
    planes = cutout(flux=0.0) + 300 * np.exp(-(((x - 47) / 8) ** 2 + ((y - 48) / 4) ** 2) / 2)
    galaxy = find_galaxy(planes)
    assert galaxy.axis_ratio == pytest.approx(0.5, abs=0.04)
    assert galaxy.flux == pytest.approx(300 * 2 * np.pi * 32, rel=0.02)


def test_numbers_of_the_image_agree():
    planes = cutout() + star((75, 20))
    galaxy = find_galaxy(planes)
    assert galaxy.segment.shape == galaxy.sources.shape == galaxy.light.shape == (SIDE, SIDE)
    assert (galaxy.segment.dtype, galaxy.sources.dtype) == (bool, np.int32)
    number = galaxy.sources[48, 48]
    assert number > 0
    np.testing.assert_array_equal(galaxy.segment, galaxy.sources == number)
    assert galaxy.sources[20, 75] not in (0, number)
    np.testing.assert_allclose(galaxy.light, (planes - galaxy.level[:, None, None]).mean(axis=0), atol=0.5)


@pytest.mark.parametrize("flux", [100.0, 3000.0])
def test_neighbours_are_not_counted(flux):
    alone = find_galaxy(cutout())
    galaxy = find_galaxy(cutout() + star((78, 30), flux) + star((20, 75), flux))
    assert not galaxy.segment[30, 78]
    # what hides behind them comes from the other side
    np.testing.assert_allclose([galaxy.r50, galaxy.r90, galaxy.flux], [alone.r50, alone.r90, alone.flux], rtol=0.02)


def test_a_star_on_the_edge_does_not_make_the_galaxy_larger():
    alone = find_galaxy(cutout())
    galaxy = find_galaxy(cutout() + star((63, 48), 600.0))
    assert galaxy.segment[48, 63]
    np.testing.assert_allclose([galaxy.r50, galaxy.r90], [alone.r50, alone.r90], rtol=0.1)


def test_the_galaxy_in_the_middle_is_measured_not_the_brightest():
    galaxy = find_galaxy(cutout(4.0) + star((80, 80), 5000.0, 4.0))
    np.testing.assert_allclose([galaxy.x, galaxy.y], MIDDLE, atol=0.05)
    assert galaxy.r90 == pytest.approx(4.0 * GAUSSIAN[1], rel=0.03)


def test_borders_that_were_not_observed_do_not_count():
    planes = cutout()
    planes[:, :, :12], planes[1, 85:] = np.nan, np.nan
    galaxy, whole = find_galaxy(planes), find_galaxy(cutout())
    np.testing.assert_allclose([galaxy.r50, galaxy.r90, galaxy.flux], [whole.r50, whole.r90, whole.flux], rtol=0.02)
    np.testing.assert_allclose(galaxy.level, whole.level, atol=0.15)
    assert not galaxy.light[:, :12].any()
    assert not galaxy.light[85:].any()  # missing in one band is missing
    assert not galaxy.segment[:, :12].any()


def test_bands_are_weighted_by_their_noise():
    noise = np.array([1.0, 5.0, 40.0])
    galaxy = find_galaxy(cutout(noise=tuple(noise)))
    weights = noise**-2 / (noise**-2).sum()
    # 1 / sqrt(sum of inverse variances); the mean without weights has 13.4
    assert galaxy.light[:15].std() == pytest.approx(np.sqrt((weights**2 * noise**2).sum()), rel=0.1)
    np.testing.assert_allclose([galaxy.r50, galaxy.r90], SIGMA * np.array(GAUSSIAN), rtol=0.03)


@pytest.mark.parametrize("unit", [1e-20, 1e6])
def test_the_unit_does_not_matter(unit):
    galaxy, scaled = find_galaxy(cutout()), find_galaxy(cutout() * unit)
    np.testing.assert_allclose([scaled.r50, scaled.r90], [galaxy.r50, galaxy.r90], rtol=1e-6)
    assert scaled.flux == pytest.approx(galaxy.flux * unit, rel=1e-6)


def test_one_band_without_noise():
    galaxy = find_galaxy(cutout(noise=0.0))
    np.testing.assert_allclose([galaxy.r50, galaxy.r90], SIGMA * np.array(GAUSSIAN), rtol=0.02)


@pytest.mark.parametrize(
    "planes",
    [
        cutout(flux=0.0),
        cutout(centre=(80, 20)),
        np.full((3, 32, 32), 0.1),
        np.zeros((1, 16, 16)),
        np.full((3, 32, 32), np.nan),
    ],
    ids=["noise", "galaxy elsewhere", "flat", "zero", "nothing observed"],
)
def test_no_galaxy(planes):
    assert find_galaxy(planes) is None
    assert frame_planes(planes) is None


@pytest.mark.parametrize("shape", [(3, 15, 40), (3, 40, 15), (40, 40), (1, 3, 40, 40)])
def test_cutouts_that_cannot_be_measured(shape):
    planes = np.zeros(shape)
    said = r"can't be measured; planes \(B, H, W\) with sides of 16 px or more are needed"
    with pytest.raises(ImageError, match=said) as caught:
        find_galaxy(planes)
    assert str(shape) in str(caught.value)
    with pytest.raises(ImageError, match=said):
        frame_planes(planes)


def test_frames_of_the_shipped_weights():
    assert (FLUX_FRAME.radius, FLUX_FRAME.side) == (22.6, 128)
    assert (DISPLAY_FRAME.radius, DISPLAY_FRAME.side) == (34.2, 128)


@pytest.mark.parametrize(("sigma", "radius"), [(4.0, 22.6), (6.0, 22.6), (12.0, 12.0)])
def test_framing_brings_the_radius_to_that_of_the_frame(sigma, radius):
    framed = frame_planes(cutout(sigma, (50.3, 45.2)), Frame(radius=radius, side=112))
    assert framed.shape == (3, 112, 112)
    galaxy = find_galaxy(framed)
    assert galaxy.r90 == pytest.approx(radius, rel=0.05)
    np.testing.assert_allclose([galaxy.x, galaxy.y], 55.5, atol=0.3)
    np.testing.assert_allclose(galaxy.level, [5, 105, 205], atol=0.8)  # the largest reaches the edges with 0.3
    # surface brightness stays
    assert np.nanmax(framed[0]) == pytest.approx(305, rel=0.03)


def test_what_the_cutout_does_not_cover_is_nan():
    planes = cutout(8.0, shape=(64, 80), centre=(39.5, 31.5))
    planes[:, :, :10] = np.nan
    framed = frame_planes(planes, Frame(radius=8.0 * GAUSSIAN[1], side=100))
    known = np.isfinite(framed).all(axis=0)
    # about 1:1, the middle of the cutout at (49.5, 49.5): 10 columns not observed, 10 to 90 and 18 to 82 covered
    rows, columns = np.flatnonzero(known.any(axis=1)), np.flatnonzero(known.any(axis=0))
    np.testing.assert_allclose([rows[0], rows[-1], columns[0], columns[-1]], [18, 81, 20, 89], atol=2)
    assert known[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    np.testing.assert_array_equal(np.isnan(framed).any(axis=0), np.isnan(framed).all(axis=0))


def centroid(light: np.ndarray, near: tuple[float, float], reach: float) -> np.ndarray:
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    weights = light * (np.hypot(x - near[0], y - near[1]) < reach)
    return np.array([(weights * x).sum(), (weights * y).sum()]) / weights.sum()


@pytest.mark.parametrize("scale", [0.613, 1.0, 1.737])
def test_placing_is_exact_in_scale_and_place(scale):
    first, second, centre = (40.2, 47.9), (62.7, 55.1), (51.3, 49.4)
    light = np.stack([star(first, sigma=2.5), 2 * star(second, sigma=2.5)])
    placed = place(light, scale, centre, (101, 120))
    assert placed.shape == (2, 101, 120)
    for band, source in enumerate((first, second)):
        wanted = (np.array(source) - centre) * scale + [59.5, 50.0]
        np.testing.assert_allclose(centroid(placed[band], tuple(wanted), 6 * 2.5 * scale), wanted, atol=0.005)
    # surface brightness stays, so light grows with the area
    np.testing.assert_allclose(placed.sum(axis=(1, 2)), light.sum(axis=(1, 2)) * scale**2, rtol=1e-3)


def test_placing_keeps_a_flat_image_and_fills_with_nothing():
    placed = place(np.full((1, 20, 30), 7.0), 0.5, (14.5, 9.5), (40, 40))[0]
    # 10 by 15 pixels are covered; at the edge a bicubic mean rings
    np.testing.assert_allclose(placed[17:23, 15:25], 7.0, rtol=1e-6)
    assert not placed[:13].any()
    assert not placed[:, :10].any()


def test_placing_at_the_same_scale_copies():
    planes = np.random.default_rng(0).normal(size=(2, 21, 17))
    np.testing.assert_allclose(place(planes, 1.0, (8.0, 10.0), (21, 17)), planes, atol=1e-6)
