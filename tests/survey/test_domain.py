"""What weights were trained on is kept beside them, and other cutouts are compared with it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astro_galaxysd.errors import ConditionError, ImageError, WeightsError
from astro_galaxysd.survey.domain import (
    COLOUR,
    DOMAIN_FILE,
    GREY,
    TINT,
    Domain,
    as_grey,
    distances,
    make_domain,
    read_domain,
    tints,
    write_domain,
)
from astro_galaxysd.survey.sizes import DISPLAY_FRAME, FLUX_FRAME, Frame

FACTS = {"embedder": "e", "revision": "r1", "image_size": 32, "radius": 8.0, "seeing": 3.5, "bands": ("i", "r", "g")}


def numbers(n, seed, shift=0.0):
    rng = np.random.default_rng(seed)
    return {
        COLOUR: rng.normal(shift, 1, (n, 6)),
        GREY: rng.normal(shift, 1, (n, 6)),
        TINT: rng.normal(shift, 1, (n, 2)),
    }


@pytest.fixture(scope="module")
def domain():
    return make_domain(numbers(300, 0), numbers(400, 1), **FACTS)


def test_distance_is_the_mean_over_the_five_nearest(domain):
    kept = np.asarray(domain.features[COLOUR], dtype=float)
    point = numbers(1, 2)[COLOUR]
    nearest = np.sort(np.linalg.norm(kept - point, axis=1))[:5]
    assert distances(point, domain) == pytest.approx([nearest.mean()], rel=1e-6)


def test_many_at_once_are_as_one_by_one(domain):
    points = numbers(600, 3)[COLOUR]
    far = distances(points, domain)
    assert far.shape == (600,)
    np.testing.assert_allclose(
        far[[0, 300, 599]], [distances(points[row : row + 1], domain)[0] for row in (0, 300, 599)]
    )


@pytest.mark.parametrize("kind", [COLOUR, GREY, TINT])
def test_one_held_out_cutout_in_a_hundred_is_outside(domain, kind):
    far = distances(numbers(400, 1)[kind], domain, kind)
    assert (far > domain.limit(kind)).sum() == 4
    others = distances(numbers(2000, 4)[kind], domain, kind)
    assert (others > domain.limit(kind)).mean() == pytest.approx(0.01, abs=0.01)
    assert (distances(numbers(50, 5, shift=6)[kind], domain, kind) > domain.limit(kind)).all()
    assert 0 < domain.usual(kind) < domain.limit(kind)


def test_a_longer_vector_the_same_way_is_farther(domain):
    """Cosines would not see it."""
    point = np.asarray(domain.features[COLOUR][:1], dtype=float)
    assert distances(9 * point, domain)[0] > domain.limit()


def test_numbers_of_another_embedder(domain):
    with pytest.raises(WeightsError, match=r"shape \(2, 5\) are compared with 6 numbers.*embedder 'e', take that one"):
        distances(np.zeros((2, 5)), domain)


def test_too_few_cutouts():
    with pytest.raises(
        ConditionError, match="300 training and 99 held-out cutouts are too few.*give 5 and 100 or more"
    ):
        make_domain(numbers(300, 0), numbers(99, 1), **FACTS)
    with pytest.raises(ConditionError, match="4 training and 100 held-out"):
        make_domain(numbers(4, 0), numbers(100, 1), **FACTS)


def test_written_and_read(domain, tmp_path):
    assert read_domain(tmp_path) is None
    path = write_domain(domain, tmp_path)
    assert path == tmp_path / DOMAIN_FILE
    write_domain(domain, tmp_path)  # in place of the first
    again = read_domain(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [DOMAIN_FILE]
    assert again.bands == ("i", "r", "g")
    assert {name: getattr(again, name) for name in FACTS} == FACTS
    for kind in (COLOUR, GREY, TINT):
        np.testing.assert_array_equal(again.features[kind], domain.features[kind])
        np.testing.assert_array_equal(again.held_out[kind], domain.held_out[kind])
        assert again.features[kind].dtype == np.float16


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(5, 12), st.text(max_size=9), st.floats(0, 1e3), st.integers(0, 9))
def test_any_record_comes_back(tmp_path_factory, width, n, survey, seeing, seed):
    rng = np.random.default_rng(seed)
    parts = ({kind: rng.normal(size=(rows, width)) for kind in (COLOUR, GREY, TINT)} for rows in (n, 100))
    domain = make_domain(*parts, embedder="e", revision="", image_size=64, survey=survey, seeing=seeing)
    folder = tmp_path_factory.mktemp("record")
    write_domain(domain, folder)
    again = read_domain(folder)
    assert (again.survey, again.seeing, again.bands) == (survey, seeing, ())
    np.testing.assert_array_equal(again.held_out[TINT], domain.held_out[TINT])


def test_a_damaged_record(domain, tmp_path):
    path = write_domain(domain, tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        WeightsError, match=f"{DOMAIN_FILE} can't be read .*copy the weights again, or remove this file"
    ):
        read_domain(tmp_path)
    write_domain(Domain({COLOUR: np.zeros((5, 2))}, {COLOUR: np.zeros(3)}, "e", "", 32), tmp_path)
    with pytest.raises(WeightsError, match="can't be read .KeyError: 'grey'"):
        read_domain(tmp_path)


def test_the_frame_of_the_galaxies(domain):
    assert domain.frame(stretched=False) == Frame(8.0, 32)
    ratio = FLUX_FRAME.radius / DISPLAY_FRAME.radius
    assert ratio < 1  # fluxes are more concentrated
    assert domain.frame(stretched=True) == Frame(pytest.approx(8 * ratio), 32)


@pytest.mark.parametrize(("stretched", "shipped"), [(False, DISPLAY_FRAME), (True, FLUX_FRAME)])
def test_weights_that_do_not_say_their_size_draw_as_those_that_ship(stretched, shipped):
    facts = FACTS | {"radius": 0.0}
    for side in (128, 64):
        unknown = make_domain(numbers(5, 0), numbers(100, 1), **(facts | {"image_size": side}))
        assert unknown.frame(stretched=stretched) == Frame(pytest.approx(shipped.radius * side / 128), side)


def test_tint_of_the_galaxy():
    images = np.full((3, 32, 32, 3), 10, np.uint8)
    images[1, 12:20, 12:20] = 90, 50, 30
    images[2, 12:20, 12:20] = 30, 50, 90
    empty, red, blue = tints(images)
    assert empty.tolist() == [0, 0]
    light = np.array([80, 40, 20]) * 64 / 256 + 2
    assert red == pytest.approx([2.5 * np.log10(light[0] / light[2]), 2.5 * np.log10(light[0] / light[1])])
    assert blue[0] == pytest.approx(-red[0])


def test_grey_has_the_mean_of_the_colours():
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
    grey = as_grey(images)
    assert grey.dtype == np.uint8
    np.testing.assert_array_equal(grey[..., 0], np.rint(images.mean(axis=-1)))
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])


@pytest.mark.parametrize("function", [tints, as_grey])
@pytest.mark.parametrize(
    "images", [np.zeros((1, 15, 20, 3), np.uint8), np.zeros((1, 32, 32, 3)), np.zeros((32, 32, 3), np.uint8)]
)
def test_no_display_images(function, images):
    with pytest.raises(
        ImageError, match="images are .* of shape .*; uint8 of shape .N, H, W, 3. is needed, H and W at"
    ):
        function(images)
