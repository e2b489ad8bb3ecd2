"""Texture against noise and waves whose spectrum is known, and against a blur that must be seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astro_galaxysd.errors import ImageError
from astro_galaxysd.evaluation.texture import power_ratio, radial_power, sky_rms

SIDE = 64


@pytest.fixture(scope="module")
def noise():
    """White noise of standard deviation 6 in each colour, independent of the other two."""
    return np.random.default_rng(0).normal(100, 6, (60, SIDE, SIDE, 3))


def blurred(images):
    """Each pixel the mean of its 3x3 neighbourhood, borders joined."""
    shifts = [np.roll(images, (y, x), (1, 2)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return np.mean(shifts, axis=0)


def wave(cycles_y, cycles_x, amplitude=10.0):
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    plane = 100 + amplitude * np.cos(2 * np.pi * (cycles_y * y + cycles_x * x))
    return plane[None, :, :, None].repeat(3, axis=3)


class TestRadialPower:
    def test_white_noise_is_flat_at_its_variance(self, noise):
        frequency, power = radial_power(noise)
        np.testing.assert_allclose(frequency, np.arange(1, SIDE // 2 + 1) / SIDE)
        # the mean of three independent colours has a third of their variance
        # a ring of radius k has about 2 pi k modes, in pairs of equals, and the window correlates neighbours
        scatter = np.sqrt(4.5 / (len(noise) * 2 * np.pi * SIDE * frequency))
        assert (np.abs(power.mean(axis=0)[1:] / 12 - 1) < 4 * scatter[1:]).all()
        assert scatter[-1] < 0.02
        assert power.mean() / 12 == pytest.approx(1, abs=0.01)

    def test_what_the_lowest_ring_loses_with_the_mean(self):
        """Of four modes the window's spectrum says 1/9, of the four on the diagonals 1/36."""
        images = np.random.default_rng(6).normal(0, 1, (6000, 16, 16, 1)).repeat(3, axis=3)
        assert radial_power(images)[1].mean(axis=0)[0] == pytest.approx(1 - (1 / 9 + 1 / 36) / 2, abs=0.02)

    @pytest.mark.parametrize("cycles", [(0, 5), (12, 0), (6, 8), (-9, 12), (0, 32)])
    def test_plane_wave_peaks_at_its_ring(self, cycles):
        frequency, power = radial_power(wave(*cycles))
        assert frequency[power[0].argmax()] == pytest.approx(np.hypot(*cycles) / SIDE)
        far = np.abs(frequency - np.hypot(*cycles) / SIDE) > 2.5 / SIDE
        assert power[0, far].max() < 1e-20 * power[0].max()

    def test_power_of_a_wave_is_its_mean_square(self):
        # Parseval: half the squared amplitude for each pixel, all of it inside the rings
        frequency, power = radial_power(wave(6, 8))
        distance = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE))
        ring = np.where(distance <= 0.5, np.rint(distance * SIDE), 0)
        modes = np.array([(ring == number).sum() for number in np.rint(frequency * SIDE)])
        assert (power[0] * modes).sum() / SIDE**2 == pytest.approx(10.0**2 / 2)

    @settings(deadline=None)
    @given(st.floats(0.01, 100))
    def test_scaling_images_scales_power_by_the_square(self, factor):
        images = np.random.default_rng(1).random((2, 16, 16, 3))
        np.testing.assert_allclose(radial_power(factor * images)[1], factor**2 * radial_power(images)[1], rtol=1e-9)

    def test_brightness_has_no_power(self, noise):
        np.testing.assert_allclose(radial_power(noise[:3] + 50)[1], radial_power(noise[:3])[1], rtol=1e-9)
        assert radial_power(np.full((1, 32, 32, 3), 200, np.uint8))[1].max() == 0

    def test_uint8_is_not_added_up_in_uint8(self):
        images = np.random.default_rng(2).integers(150, 256, (3, 32, 32, 3), dtype=np.uint8)
        np.testing.assert_array_equal(radial_power(images)[1], radial_power(images.astype(float))[1])

    def test_turned_images_have_the_same_power(self, noise):
        np.testing.assert_allclose(
            radial_power(noise[:4].transpose(0, 2, 1, 3))[1], radial_power(noise[:4])[1], rtol=1e-9
        )

    def test_oblong_images_have_rings_of_frequency(self):
        images = np.random.default_rng(3).normal(0, 3, (200, 16, 48, 1)).repeat(3, axis=3)
        frequency, power = radial_power(images)
        np.testing.assert_allclose(frequency, np.arange(1, 9) / 16)
        np.testing.assert_allclose(power.mean(axis=0)[1:], 9, rtol=0.06)

    def test_chunks_do_not_matter(self, noise, monkeypatch):
        power, rms = radial_power(noise)[1], sky_rms(noise)
        monkeypatch.setattr("astro_galaxysd.evaluation.texture._CHUNK", 7)
        np.testing.assert_array_equal(radial_power(noise)[1], power)
        np.testing.assert_array_equal(sky_rms(noise), rms)


class TestPowerRatio:
    def test_the_same_images_keep_all_power(self, noise):
        np.testing.assert_array_equal(power_ratio(noise, noise)[1], 1)

    def test_a_blur_lowers_high_frequencies_only(self, noise):
        frequency, ratio = power_ratio(noise, blurred(noise))
        assert ratio[0] == pytest.approx(1, abs=0.02)
        assert ratio[frequency > 0.25].max() < 0.2
        # along an axis the mean of three neighbours keeps ((1 + 2 cos 2 pi f) / 3)^2 of the power
        expected = ((1 + 2 * np.cos(2 * np.pi * frequency[:8])) / 3) ** 2
        np.testing.assert_allclose(ratio[:8], expected, atol=0.05)

    def test_one_bad_image_does_not_move_the_median(self, noise):
        other = noise.copy()
        other[0] *= 100
        np.testing.assert_allclose(power_ratio(noise, other)[1], 1, atol=1e-12)

    def test_constant_real_images_are_left_out(self, noise):
        real = noise[:3].copy()
        real[0] = 10.0
        np.testing.assert_allclose(power_ratio(real, 2 * noise[:3])[1], 4)

    def test_only_constant_images(self, noise):
        with pytest.raises(ImageError, match="all 3 real images have one single value; power needs images with struct"):
            power_ratio(np.full((3, SIDE, SIDE, 3), 7), noise[:3])

    def test_other_shapes(self, noise):
        with pytest.raises(ImageError, match=r"\(3, 64, 64, 3\) beside .*\(2, 64, 64, 3\); .*give as many"):
            power_ratio(noise[:3], noise[:2])


class TestSkyRms:
    @pytest.mark.parametrize("sigma", [0.8, 3.0, 12.0])
    def test_gaussian_noise(self, sigma):
        images = np.random.default_rng(4).normal(100, sigma, (40, 128, 128, 3))
        np.testing.assert_allclose(sky_rms(images), sigma, rtol=0.1)
        assert sky_rms(images).mean() == pytest.approx(sigma, rel=0.01)

    def test_whole_grey_levels_tell_a_tenth_apart(self):
        rng = np.random.default_rng(5)
        first, second = (rng.normal(30, sigma, (40, 128, 128, 3)).round().astype(np.uint8) for sigma in (3.0, 3.3))
        assert np.median(sky_rms(second)) / np.median(sky_rms(first)) == pytest.approx(1.1, abs=0.015)

    def test_the_galaxy_does_not_count(self, noise):
        bright = noise.copy()
        bright[:, 8:-8, 8:-8] += 120
        np.testing.assert_array_equal(sky_rms(bright), sky_rms(noise))

    def test_a_star_in_a_corner_hardly_counts(self, noise):
        star = noise.copy()
        star[:, 2:4, 2:4] += 150
        np.testing.assert_allclose(sky_rms(star), sky_rms(noise), rtol=0.06)

    def test_corners_of_different_brightness(self, noise):
        tilted = noise.copy()
        tilted[:, :32] += 20
        np.testing.assert_allclose(sky_rms(tilted), sky_rms(noise), rtol=1e-9)

    def test_a_smooth_sky_has_none(self):
        assert sky_rms(np.full((2, 16, 16, 3), 9, np.uint8)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("measure", [radial_power, sky_rms])
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((0, 32, 32, 3), np.uint8), r"uint8 of shape \(0, 32, 32, 3\); .*N at least 1"),
        (np.zeros((2, 32, 32)), r"float64 of shape \(2, 32, 32\); .*\(N, H, W, 3\)"),
        (np.zeros((2, 32, 32, 3), bool), "images are bool of shape"),
        (np.zeros((2, 32, 8, 3), np.uint8), "images of 32x8 px .* give sides of 16 px or more"),
        (
            np.array([0.0, np.nan])[:, None, None, None] + np.zeros((2, 16, 16, 3)),
            "1 images .* first is number 1; leave",
        ),
    ],
)
def test_images_that_are_none(measure, images, message):
    with pytest.raises(ImageError, match=message):
        measure(images)
