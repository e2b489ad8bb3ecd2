"""Stretches: astropy's numbers forward, exact backward where nothing was clipped, honest where something was."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy import visualization
from hypothesis import given, settings
from hypothesis import strategies as st

from astro_galaxysd.errors import ImageError, SurveyError
from astro_galaxysd.images.stretch import AsinhStretch, LinearStretch, LuptonStretch, Stretch, make_stretch

STRETCHES = [
    LuptonStretch(),
    LuptonStretch(0.3, 12.0, minimum=(-0.1, 0.0, 0.2), scales=(0.6, 1.0, 2.5)),
    AsinhStretch(-1.0, 40.0),
    AsinhStretch((-1.0, 0.0, 2.0), (10.0, 20.0, 30.0), a=0.01),
    LinearStretch((0.0, 1.0, -3.0), 7.0),
]


def fluxes(seed: int, shape: tuple[int, ...] = (3, 16, 15)) -> np.ndarray:
    """Fluxes from below black to above white."""
    return np.random.default_rng(seed).normal(1.0, 20.0, shape)


def test_lupton_has_the_numbers_of_make_lupton_rgb() -> None:
    planes = fluxes(0)
    expected = visualization.make_lupton_rgb(
        *planes,
        interval=[visualization.ManualInterval(low, 1.0) for low in (0.5, -1.0, 0.0)],
        stretch=3.0,
        Q=6.0,
        output_dtype=np.float64,
    )
    shown = LuptonStretch(3.0, 6.0, minimum=(0.5, -1.0, 0.0)).apply(planes)
    np.testing.assert_allclose(shown, np.moveaxis(expected, -1, 0), atol=1e-6)
    assert shown.max() == 1.0
    assert shown.min() == 0.0
    assert np.unique(shown).size > 100


def test_lupton_scales_after_the_minimum() -> None:
    planes = fluxes(1)
    scaled = (planes - 0.5) * np.array([2.0, 1.0, 0.5])[:, None, None]
    np.testing.assert_allclose(
        LuptonStretch(minimum=0.5, scales=(2.0, 1.0, 0.5)).apply(planes), LuptonStretch().apply(scaled), atol=1e-12
    )


def test_lupton_of_one_band_is_the_asinh_of_its_flux() -> None:
    planes = np.linspace(-1.0, 30.0, 64).reshape(1, 8, 8)
    slope = 0.1 / np.arcsinh(0.1 * 6.0)
    np.testing.assert_allclose(
        LuptonStretch(3.0, 6.0).apply(planes), np.clip(slope * np.arcsinh(6.0 * planes / 3.0), 0.0, 1.0), atol=1e-12
    )


@pytest.mark.parametrize("a", [1e-3, 0.1, 2.0])
def test_asinh_has_the_numbers_of_astropy(a: float) -> None:
    planes = fluxes(2)
    expected = visualization.AsinhStretch(a)(visualization.ManualInterval(-2.0, 30.0)(planes))
    np.testing.assert_allclose(AsinhStretch(-2.0, 30.0, a).apply(planes), expected, atol=1e-6)


def test_linear_is_the_interval_of_astropy() -> None:
    planes = fluxes(3)
    expected = [visualization.ManualInterval(low, 30.0)(plane) for low, plane in zip((-2.0, 0, 1), planes, strict=True)]
    np.testing.assert_allclose(LinearStretch((-2.0, 0, 1), 30.0).apply(planes), expected, atol=1e-12)


@pytest.mark.parametrize("stretch", STRETCHES)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_every_display_value_comes_back(stretch: Stretch, data: st.DataObject) -> None:
    n_bands = data.draw(st.sampled_from([1, 3])) if np.ndim(getattr(stretch, "vmin", 0.0)) == 0 else 3
    n_bands = 3 if np.ndim(getattr(stretch, "minimum", 0.0)) else n_bands
    levels = data.draw(st.lists(st.floats(0.0, 1.0), min_size=n_bands * 4, max_size=n_bands * 4))
    display = np.array(levels).reshape(n_bands, 2, 2)
    np.testing.assert_allclose(stretch.apply(stretch.invert(display)), display, atol=1e-9)


@pytest.mark.parametrize("stretch", STRETCHES)
def test_fluxes_come_back_where_nothing_was_clipped(stretch: Stretch) -> None:
    planes = np.random.default_rng(4).uniform(-2.0, 12.0, (3, 32, 32))
    shown = stretch.apply(planes)
    kept = ((shown > 1e-6) & (shown < 1.0)).all(axis=0)
    assert 50 < kept.sum() < kept.size
    np.testing.assert_allclose(stretch.invert(shown)[:, kept], planes[:, kept], rtol=1e-6, atol=1e-6)


def test_saturated_pixels_come_back_fainter_in_their_colour() -> None:
    planes = np.full((3, 1, 2), 1.0)
    planes[:, 0, 1] = 400.0, 200.0, 100.0
    shown = LuptonStretch().apply(planes)
    assert (shown == 1.0).any(axis=0).tolist() == [[False, True]]
    back = LuptonStretch().invert(shown)[:, 0, 1]
    assert back[0] < 400.0
    np.testing.assert_allclose(back / back[0], [1.0, 0.5, 0.25])


def test_fluxes_below_the_minimum_come_back_as_the_minimum() -> None:
    stretch = LuptonStretch(minimum=(1.0, 2.0, 3.0))
    np.testing.assert_array_equal(stretch.invert(stretch.apply(np.full((3, 1, 1), -9.0)))[:, 0, 0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("stretch", STRETCHES)
def test_what_was_not_observed_stays_so(stretch: Stretch) -> None:
    planes = fluxes(5)
    planes[:, :3], planes[:, 5, 5] = np.nan, np.inf
    shown = stretch.apply(planes)
    assert np.isnan(shown[:, :3]).all()
    assert np.isnan(shown[:, 5, 5]).all()
    assert np.isfinite(shown[:, 6:]).all()
    np.testing.assert_array_equal(np.isnan(stretch.invert(shown)), np.isnan(shown))
    assert np.isnan(stretch.apply(np.full((3, 2, 2), np.nan))).all()


def test_lupton_has_no_intensity_where_one_band_is_missing() -> None:
    planes = np.ones((3, 1, 2))
    planes[0, 0, 0] = np.nan
    assert np.isnan(LuptonStretch().apply(planes)).tolist() == [[[True, False]]] * 3


@pytest.mark.parametrize("stretch", STRETCHES)
def test_stretches_go_through_json(stretch: Stretch) -> None:
    assert make_stretch(json.loads(json.dumps(stretch.as_dict()))) == stretch
    assert make_stretch(stretch) is stretch


def test_lists_and_arrays_become_tuples() -> None:
    assert LuptonStretch(minimum=np.array([1, 2, 3]), scales=[1, 2, 3]) == LuptonStretch(  # type: ignore[arg-type]
        minimum=(1.0, 2.0, 3.0), scales=(1.0, 2.0, 3.0)
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"stretch": 5}, "a stretch needs a kind, one of lupton, asinh, linear, and its parameters; not kind None"),
        ({"kind": "log"}, "not kind 'log'"),
        ({"kind": ["lupton"]}, "not kind"),
        ("lupton", "not 'lupton'"),
        ({"kind": "lupton", "q": 8}, "a stretch of kind lupton has no q; it has stretch, Q, minimum, scales"),
        ({"kind": "asinh", "vmin": 0}, "a stretch of kind asinh needs vmax"),
        ({"kind": "lupton", "stretch": -1}, "stretch of a lupton stretch is -1; give a finite number above 0"),
        ({"kind": "lupton", "stretch": "5"}, "stretch of a lupton stretch is '5'; give a finite number above 0"),
        ({"kind": "lupton", "Q": 0}, "Q of a lupton stretch is 0; give a finite number above 0"),
        ({"kind": "lupton", "Q": 1e11}, r"Q of a lupton stretch is 1e\+11; it goes from 1e-6"),
        ({"kind": "lupton", "minimum": float("nan")}, "minimum of a lupton stretch is nan; give a finite number"),
        ({"kind": "lupton", "minimum": [0, "a", 1]}, "minimum of .* one is 'a'; give a finite number"),
        ({"kind": "lupton", "scales": [1, 0, 1]}, "scales of .* one is 0; give a finite number above 0"),
        ({"kind": "lupton", "scales": []}, "give one number for all bands, or one a band"),
        ({"kind": "linear", "vmin": True, "vmax": 2}, "vmin of a linear stretch is True; give a finite number"),
        ({"kind": "linear", "vmin": 2, "vmax": [3, 2, 1]}, r"vmin 2.0 is not below vmax \(3.0, 2.0, 1.0\)"),
        ({"kind": "linear", "vmin": [1, 2], "vmax": [3, 4, 5]}, "vmin has 2 values and vmax 3; give one for all"),
        ({"kind": "asinh", "vmin": 0, "vmax": 1, "a": 0}, "a of an asinh stretch is 0; give a finite number above 0"),
    ],
)
def test_wrong_parameters_are_named(source: object, message: str) -> None:
    with pytest.raises(SurveyError, match=message):
        make_stretch(source)  # type: ignore[arg-type]


def test_values_a_band_must_fit_the_planes() -> None:
    with pytest.raises(SurveyError, match="minimum of the stretch has 3 values for 1 band; give one for all"):
        LuptonStretch(minimum=(0.0, 0.0, 0.0)).apply(np.ones((1, 4, 4)))
    with pytest.raises(SurveyError, match="vmax of the stretch has 2 values for 3 bands"):
        LinearStretch(0.0, (1.0, 2.0)).invert(np.ones((3, 4, 4)))


def test_lupton_is_for_one_band_or_three() -> None:
    for method in (LuptonStretch().apply, LuptonStretch().invert):
        with pytest.raises(SurveyError, match="a lupton stretch is for one band or three, not 2"):
            method(np.ones((2, 4, 4)))


@pytest.mark.parametrize("stretch", STRETCHES)
def test_planes_have_three_axes(stretch: Stretch) -> None:
    for method in (stretch.apply, stretch.invert):
        with pytest.raises(ImageError, match=r"planes of shape \(B, H, W\), red first, not \(4, 4\)"):
            method(np.ones((4, 4)))
