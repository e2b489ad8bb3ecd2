"""One cutout that is read: kinds told by content, extensions, damage named."""

import io

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from astro_galaxysd.errors import ImageError
from astro_galaxysd.images.encoded import Encoding, encode_image, read_encoding
from astro_galaxysd.survey.files import file_kind, grey_encoding, locate, read_file, read_picture
from astro_galaxysd.survey.pixels import array_pixels, hdu_pixels

PLANES = np.random.default_rng(0).normal(size=(3, 40, 50)).astype(np.float32)


def picture(mode="RGB", codec="PNG", **how):
    pixels = np.random.default_rng(1).integers(0, 256, (20, 24, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels if mode == "RGB" else pixels[..., 0]).save(stream, codec, **how)
    return stream.getvalue(), pixels


@pytest.fixture
def folder(tmp_path):
    fits.PrimaryHDU(PLANES).writeto(tmp_path / "plain.fits")
    fits.PrimaryHDU(PLANES).writeto(tmp_path / "packed.fits.gz")
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(PLANES, name="SCI", compression_type="GZIP_2",
                  quantize_level=0)]).writeto(tmp_path / "tiles.fits.fz")  # fmt: skip
    several = [fits.PrimaryHDU(), fits.ImageHDU(PLANES, name="SCI"), fits.ImageHDU(-PLANES, name="SCI", ver=2)]
    fits.HDUList(several).writeto(tmp_path / "several.fits")
    (tmp_path / "a.jpg").write_bytes(picture(codec="JPEG")[0])
    return tmp_path


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("plain.fits", 1), ("packed.fits.gz", 1), ("tiles.fits.fz", 1), ("several.fits", 1),
        ("several.fits[SCI]", 1), ("several.fits[1]", 1), ("several.fits[sci,2]", -1), ("several.fits[2]", -1),
    ],
)  # fmt: skip
def test_fits_files_are_turned_the_right_way_up(folder, name, factor):
    found = read_file(locate(name, folder), "row 0")
    assert found.shape == PLANES.shape
    np.testing.assert_array_equal(found.values, factor * PLANES[:, ::-1])
    header_only = read_file(locate(name, folder), "row 0", pixels=False)
    assert (header_only.shape, header_only.dtype.newbyteorder("="), header_only.values) == (
        PLANES.shape, np.dtype(np.float32), None,
    )  # fmt: skip


def test_brackets_that_belong_to_a_name_stay(tmp_path):
    fits.PrimaryHDU(PLANES).writeto(tmp_path / "odd.fits[1]")
    assert locate("odd.fits[1]", tmp_path).extension == ""
    assert read_file(locate("odd.fits[1]", tmp_path), "row 0").shape == PLANES.shape


def test_the_name_of_a_file_does_not_count(folder):
    (folder / "a.jpg").rename(folder / "a.fits")
    assert file_kind(folder / "a.fits", "row 0") == "picture"
    assert read_file(locate("a.fits", folder), "row 0").picture


@pytest.mark.parametrize("bitpix", ["int16", "uint16", "int32", "float32", "float64", "uint8"])
def test_the_dtype_is_in_the_header(tmp_path, bitpix):
    fits.PrimaryHDU(np.arange(12, dtype=bitpix).reshape(3, 4)).writeto(tmp_path / "a.fits")
    place = locate("a.fits", tmp_path)
    assert read_file(place, "", pixels=False).dtype == read_file(place, "").dtype == np.dtype(bitpix).newbyteorder(">")


def test_further_axes_of_length_one():
    assert hdu_pixels(fits.ImageHDU(np.zeros((1, 1, 4, 5))), "row 0").shape == (1, 4, 5)
    assert hdu_pixels(fits.ImageHDU(np.zeros((4, 5))), "row 0").shape == (1, 4, 5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.fits", "row 3: no file '.*gone.fits'; correct the path, or folder="),
        ("inner", "row 3: '.*inner' can't be opened .* check that it is a file"),
        ("text.fits", "row 3: '.*text.fits' is no image, it starts with b'hello'; give FITS, JPEG or PNG files"),
        ("a.jpg[SCI]", "row 3: 'a.jpg' is no FITS file and has no extension 'SCI'"),
        ("half_plain.fits", "row 3: '.*half_plain.fits' can't be read, it is truncated or damaged"),
        ("half_packed.fits.gz", "row 3: '.*' can't be read, it is truncated or damaged"),
        ("half_tiles.fits.fz", "row 3: '.*' can't be read, it is truncated or damaged"),
        ("padding.fits", "row 3: '.*padding.fits' is truncated .*fetch it again"),
        ("several.fits[DQ]", r"row 3: no extension \[DQ\] in the file; it has 0 PRIMARY, 1 SCI, 2 SCI"),
        ("several.fits[9]", r"row 3: no extension \[9\]"),
        ("several.fits[0]", "row 3: the HDU is empty"),
        ("half.jpg", "row 3: JPEG of .* is truncated or damaged"),
    ],
)
def test_bad_files(folder, name, message):
    (folder / "inner").mkdir()
    (folder / "text.fits").write_text("hello")
    for whole in ("plain.fits", "packed.fits.gz", "tiles.fits.fz"):
        data = (folder / whole).read_bytes()
        (folder / f"half_{whole}").write_bytes(data[: len(data) // 2])
    (folder / "padding.fits").write_bytes((folder / "plain.fits").read_bytes()[:-100])
    (folder / "half.jpg").write_bytes((folder / "a.jpg").read_bytes()[:-200])
    with pytest.raises(ImageError, match=message):
        read_file(locate(name, folder), "row 3")


def test_a_truncated_file_shows_in_its_header_already(folder):
    data = (folder / "plain.fits").read_bytes()
    (folder / "plain.fits").write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match="is truncated"):
        read_file(locate("plain.fits", folder), "row 0", pixels=False)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4, 5)])
def test_hdus_of_other_shapes(shape):
    with pytest.raises(ImageError, match=r"row 1: an HDU of shape .*; an image \(H, W\) or planes"):
        hdu_pixels(fits.ImageHDU(np.zeros(shape)), "row 1")


def test_arrays():
    assert array_pixels(np.zeros((4, 5)), "row 0").shape == (1, 4, 5)
    assert array_pixels(np.zeros((4, 5, 3)), "row 0").shape == (3, 4, 5)
    for wrong in (np.zeros(4), np.zeros((0, 3)), np.zeros((4, 5), bool), np.zeros((1, 4, 5, 3))):
        with pytest.raises(ImageError, match="row 2: an array of .* numbers is needed"):
            array_pixels(wrong, "row 2")


def test_pictures():
    data, pixels = picture()
    np.testing.assert_array_equal(read_picture(data, "").values, np.moveaxis(pixels, -1, 0))
    data, pixels = picture("L")
    np.testing.assert_array_equal(read_picture(data, "").values, pixels[np.newaxis, ..., 0])
    assert read_picture(data, "", pixels=False).shape == (1, 20, 24)
    with pytest.raises(ImageError, match="row 0: PNG is truncated or damaged"):
        read_picture(data[: len(data) // 2], "row 0")
    with pytest.raises(ImageError, match="no readable JPEG or PNG"):
        read_picture(b"nonsense", "row 0")


@pytest.mark.parametrize(
    "how", [{"quality": 71}, {"quality": 90, "optimize": True}, {"quality": 90, "progressive": True}]
)
def test_grey_jpegs_are_encoded_alike(how):
    data, pixels = picture("L", "JPEG", **how)
    assert encode_image(pixels[..., 0], grey_encoding(data)) == data
    assert grey_encoding(picture("L")[0]) == Encoding("PNG") == read_encoding(picture()[0], "")[0]
