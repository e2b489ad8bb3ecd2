"""A drawn galaxy comes off its sky, and to a size and a seeing."""

from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.survey.placing import cut_out, place_light, whole_image
from astro_galaxysd.survey.seeing import Seeing
from astro_galaxysd.survey.sizes import find_galaxy


@pytest.fixture(scope="module")
def cutting():
    y, x = np.mgrid[:96, :96] - 47.5
    light = 4 * np.exp(-(np.hypot(x, y) ** 2) / 2 / 6**2)
    planes = (light + 0.5 + np.random.default_rng(0).normal(0, 0.02, (96, 96)))[None]
    return cut_out(planes, find_galaxy(planes))


def width(placed):
    line = placed.light[0].sum(axis=0)
    x = np.arange(len(line))
    middle = (line * x).sum() / line.sum()
    return float(np.sqrt((line * (x - middle) ** 2).sum() / line.sum()))


def test_no_sky_comes_along(cutting):
    assert not cutting.light[0, :5].any()
    assert cutting.light.max() == pytest.approx(4, rel=0.05)
    assert cutting.centre == pytest.approx((47.5, 47.5), abs=0.2)


def test_size_and_seeing(cutting):
    plain = place_light(cutting, 0.5, (64, 64), 0.0, Seeing(None, "unknown"))
    assert width(plain) == pytest.approx(3, rel=0.1)
    blurred = place_light(cutting, 0.5, (64, 64), 4.0, Seeing(6.0, "given"))
    assert blurred.fwhm == 6.0
    assert width(blurred) ** 2 - width(plain) ** 2 == pytest.approx((36 - 4) / (8 * np.log(2)), rel=0.15)
    assert (blurred.variance >= 0).all()
    assert place_light(cutting, 1.0, (64, 64), 8.0, Seeing(6.0, "given")).fwhm == 8.0


def test_where_no_galaxy_is_the_middle_stands_for_it():
    found = whole_image(np.full((2, 32, 32), 3.0), 6.0)
    assert (found.r90, found.x, found.y) == (6.0, 15.5, 15.5)
    assert found.level.tolist() == [3.0, 3.0]
    assert found.segment[16, 16]
    assert not found.segment[0, 0]
