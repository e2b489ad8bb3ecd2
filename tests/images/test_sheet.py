"""Contact sheets: every image is on it, unchanged, and labels fit."""

import numpy as np
import pytest
from PIL import Image

from astro_galaxysd.errors import ImageError, OutputExistsError
from astro_galaxysd.images.sheet import contact_sheet

RED = np.full((3, 10, 10, 3), (200, 0, 0), np.uint8)
BLUE = np.full((5, 14, 12, 3), (0, 0, 200), np.uint8)


def pixels_of(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def count(sheet, colour):
    return int((sheet == colour).all(-1).sum())


@pytest.mark.parametrize("columns", [1, 2, 4, 50])
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_every_pixel_is_there(tmp_path, columns, scale):
    path = contact_sheet([("red", RED), ("blue", BLUE)], tmp_path / "s.png", columns=columns, scale=scale, title="T")
    sheet = pixels_of(path)
    assert count(sheet, (200, 0, 0)) == 3 * 100 * scale**2
    assert count(sheet, (0, 0, 200)) == 5 * 168 * scale**2


def test_shrinking(tmp_path):
    assert count(pixels_of(contact_sheet([("red", RED)], tmp_path / "s.png", scale=0.5)), (200, 0, 0)) == 75


def test_long_labels_are_wrapped_not_cut_off(tmp_path):
    short = pixels_of(contact_sheet([("a", RED)], tmp_path / "a.png"))
    long = pixels_of(contact_sheet([("edge-on galaxy, {dust lane:1.3}, " * 8, RED)], tmp_path / "b.png"))
    endless = pixels_of(contact_sheet([("x" * 300, RED)], tmp_path / "c.png"))
    assert long.shape[1] == short.shape[1]
    assert long.shape[0] > short.shape[0] + 40
    assert endless.shape[0] > short.shape[0] + 40
    # Nothing is drawn in the margin.
    assert (long[:, -12:] == long[0, 0]).all()
    assert (endless[:, -12:] == endless[0, 0]).all()


def test_a_group_without_images_keeps_its_label(tmp_path):
    one = pixels_of(contact_sheet([("red", RED)], tmp_path / "a.png"))
    two = pixels_of(contact_sheet([("red", RED), ("none", RED[:0])], tmp_path / "b.png", scale=1))
    assert two.shape[0] > one.shape[0]
    contact_sheet([("red", RED), ("none", RED[:0])], tmp_path / "c.png", scale=2)


@pytest.mark.parametrize("groups", [[], [("none", RED[:0])]])
def test_no_images(tmp_path, groups):
    with pytest.raises(ImageError, match="at least one image and one column"):
        contact_sheet(groups, tmp_path / "s.png")


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (RED[0], {}, "group 'g': uint8 .10, 10, 3. instead of uint8"),
        (RED / 255, {}, "group 'g': float64"),
        (RED, {"columns": 0}, "or 0 columns"),
        (RED, {"scale": 0}, "scale must be positive, not 0"),
    ],
)
def test_bad_arguments(tmp_path, images, options, message):
    with pytest.raises(ImageError, match=message):
        contact_sheet([("g", images)], tmp_path / "s.png", **options)


def test_existing_output(tmp_path):
    path = contact_sheet([("red", RED)], tmp_path / "s.png")
    with pytest.raises(OutputExistsError):
        contact_sheet([("red", RED)], path)
    contact_sheet([("blue", BLUE)], path, overwrite=True)
    assert count(pixels_of(path), (0, 0, 200)) == 5 * 168
