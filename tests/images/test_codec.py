"""Image sources of every kind: read, recognised, encoded alike, refused by name."""

import io

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Column, MaskedColumn, Table
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, JpegImagePlugin

from astro_galaxysd.errors import ImageError, UnknownNameError
from astro_galaxysd.images.codec import check_images, detect_format, encode_images, fit_size, read_images
from astro_galaxysd.images.encoded import Encoding, encode_image, read_encoding
from astro_galaxysd.images.sources import object_array


def smooth_images(n=4, height=16, width=16):
    """Images without sharp edges, so that JPEG changes them little."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    return np.stack(
        [np.stack([100 + 100 * x, 60 + 150 * y, 40 * k + 0 * x], -1).astype(np.uint8) for k in range(1, n + 1)]
    )


def jpegs(images, **options):
    options = {"quality": 92, "subsampling": "4:4:4"} | options
    out = []
    for pixels in images:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", **options)
        out.append(stream.getvalue())
    return out


def pngs(images):
    return [encode_image(pixels, Encoding("PNG")) for pixels in images]


def hdus(images):
    return [fits.ImageHDU(np.ascontiguousarray(np.moveaxis(pixels[::-1], -1, 0))) for pixels in images]


IMAGES = smooth_images()
FLOATS = (IMAGES / 255).astype(np.float32)
EXACT = {
    "stack": IMAGES,
    "column": Column(IMAGES),
    "floats": FLOATS,
    "big-endian doubles": (IMAGES / 255).astype(">f8"),
    "halves": (IMAGES / 255).astype(np.float16),
    "masked column": MaskedColumn(IMAGES),
    "objects": Column(object_array(list(IMAGES))),
    "list": list(IMAGES),
    "png": object_array(pngs(IMAGES)),
    "png in a masked column": MaskedColumn(object_array(pngs(IMAGES))),
    "png list": pngs(IMAGES),
    "bytearrays": [bytearray(png) for png in pngs(IMAGES)],
    "encoded arrays": object_array([np.frombuffer(png, np.uint8) for png in pngs(IMAGES)]),
    "hdus": hdus(IMAGES),
    "float hdus": hdus(FLOATS),
    "hdulists": [fits.HDUList([fits.PrimaryHDU(), hdu]) for hdu in hdus(IMAGES)],
    "one hdulist": fits.HDUList([fits.PrimaryHDU(), *hdus(IMAGES)]),
}


@pytest.mark.parametrize("source", EXACT.values(), ids=EXACT)
class TestEveryKind:
    def test_read(self, source):
        read = read_images(source)
        assert all(pixels.dtype == np.uint8 for pixels in read)
        np.testing.assert_array_equal(np.stack(read), IMAGES)

    def test_some_rows(self, source):
        np.testing.assert_array_equal(np.stack(read_images(source, rows=[2, 0])), IMAGES[[2, 0]])

    def test_new_rows_look_like_the_old_ones(self, source):
        image_format = check_images(source, len(IMAGES))
        assert image_format == detect_format(source)
        assert image_format.size == (16, 16)
        again = encode_images(IMAGES, image_format)
        assert detect_format(again) == image_format
        np.testing.assert_array_equal(np.stack(read_images(again)), IMAGES)

    def test_another_number_of_rows(self, source):
        with pytest.raises(ImageError, match="4 images for 5 rows; give one image for each row"):
            check_images(source, 5)


def test_reading_gives_copies():
    read_images(IMAGES)[0][:] = 0
    assert IMAGES[0].any()


def test_column_of_a_table():
    table = Table({"cutout": IMAGES, "n": [1, 2, 3, 4]})
    np.testing.assert_array_equal(np.stack(read_images(table, column="cutout")), IMAGES)
    with pytest.raises(UnknownNameError, match="unknown image column 'cutou': did you mean 'cutout'"):
        read_images(table, column="cutou")


def test_only_the_asked_rows_are_decoded():
    data = jpegs(IMAGES)
    data[3] = data[3][:-40]
    assert len(read_images(data, rows=[0, 1])) == 2


class TestFormat:
    @pytest.mark.parametrize("quality", [1, 30, 75, 85, 92, 95, 100])
    @pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
    def test_jpeg_settings_are_recognised(self, quality, subsampling):
        data = jpegs(IMAGES, quality=quality, subsampling=subsampling)
        image_format = detect_format(data)
        assert image_format.encoding == Encoding("JPEG", quality, None, subsampling)
        assert encode_images(IMAGES, image_format).tolist() == data

    @pytest.mark.parametrize("options", [{"progressive": True}, {"optimize": True}])
    def test_scans_and_huffman_tables(self, options):
        data = jpegs(IMAGES, **options)
        encoding = detect_format(data).encoding
        assert [encoding.progressive, encoding.optimize] == ["progressive" in options, "optimize" in options]
        assert encode_images(IMAGES, detect_format(data)).tolist() == data

    def test_tables_of_no_quality_are_used_as_they_are(self):
        data = jpegs(IMAGES, quality=-1, qtables=[[7] * 64, [9] * 64])
        encoding = detect_format(data).encoding
        assert encoding.tables == ((7,) * 64, (9,) * 64)
        assert encode_images(IMAGES, detect_format(data)).tolist() == data

    def test_nearest_quality(self):
        standard = Image.open(io.BytesIO(jpegs(IMAGES[:1], quality=80)[0])).quantization
        nudged = [[value + (k == 5) for k, value in enumerate(standard[n])] for n in (0, 1)]
        encoding, _ = read_encoding(jpegs(IMAGES[:1], quality=-1, qtables=nudged)[0], "row 0")
        assert encoding.quality == 80
        assert encoding.tables is not None

    def test_majority_decides(self):
        data = jpegs(IMAGES[:1], quality=50) + jpegs(IMAGES[1:3], quality=92) + pngs(IMAGES[3:])
        assert detect_format(data).encoding.quality == 92
        assert check_images(data, 4).encoding.codec == "JPEG"

    def test_real_galaxies(self, gz2):
        import pyarrow.parquet as pq

        data = pq.read_table(gz2 / "val.parquet", columns=["image"])["image"].slice(0, 20).to_pylist()
        image_format = check_images(data, 20)
        assert image_format.size == (128, 128)
        assert image_format.encoding == Encoding("JPEG", 92, None, "4:4:4", False, image_format.encoding.optimize)
        pixels = np.stack(read_images(data))
        again = encode_images(pixels, image_format)
        new = Image.open(io.BytesIO(again[0]))
        assert new.quantization == Image.open(io.BytesIO(data[0])).quantization
        assert JpegImagePlugin.get_sampling(new) == 0
        # Coding twice at quality 92 moves pixels by a few grey levels at most.
        assert np.abs(np.stack(read_images(again)).astype(int) - pixels).max() < 16
        assert sum(map(len, again)) == pytest.approx(sum(map(len, data)), rel=0.02)


class TestFloats:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 255), st.sampled_from(["<f2", "<f4", ">f4", "<f8"]))
    def test_every_grey_level_survives(self, level, dtype):
        image_format = detect_format(np.zeros((1, 2, 2, 3), dtype))
        images = np.full((1, 2, 2, 3), level, np.uint8)
        encoded = encode_images(images, image_format)
        assert encoded.dtype.str == dtype
        assert encoded.max() <= 1
        np.testing.assert_array_equal(read_images(encoded)[0], images[0])

    @pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8"])
    @pytest.mark.parametrize("keep", [np.asarray, list, hdus], ids=["stack", "list", "hdus"])
    def test_continuous_sources_get_continuous_rows(self, dtype, keep):
        if keep is hdus and dtype == "<f2":
            pytest.skip("FITS has no half floats")
        rng = np.random.default_rng(0)
        image_format = check_images(keep(rng.random((4, 32, 32, 3)).astype(dtype)), 4)
        assert image_format.continuous
        images = rng.integers(0, 256, (3, 32, 32, 3), np.uint8)
        images[0], images[1] = 0, 255
        encoded = encode_images(images, image_format)
        np.testing.assert_array_equal(np.stack(read_images(encoded)), images)
        assert detect_format(encoded) == image_format
        values = [np.asarray(item.data if keep is hdus else item) for item in encoded]
        assert all(item.min() >= 0 and item.max() <= 1 for item in values)
        assert len(np.unique(values[2])) > (1000 if dtype == "<f2" else 2950)
        backwards = encode_images(images[::-1], image_format)
        again = [np.asarray(item.data if keep is hdus else item) for item in backwards[::-1]]
        assert [item.tobytes() for item in again] == [item.tobytes() for item in values]

    @pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8"])
    def test_quantised_sources_get_quantised_rows(self, dtype):
        source = (IMAGES / 255).astype(dtype)
        source[0, 0, 0] = np.nan
        image_format = detect_format(source)
        assert not image_format.continuous
        levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
        assert encode_images(levels, image_format).tobytes() == (levels / 255).astype(dtype).tobytes()

    def test_missing_pixels_take_the_darkest_value(self):
        values = np.full((1, 2, 2, 3), 0.8)
        values[0, 0, 0] = np.nan
        values[0, 1, 1] = 0.2
        read = read_images(values)[0]
        assert read[0, 0].tolist() == [51, 51, 51]
        assert np.isnan(values[0, 0, 0]).all()

    def test_masked_bytes_too(self):
        values = MaskedColumn(IMAGES.copy(), mask=np.zeros(IMAGES.shape, bool))
        values.mask[0, 0, 0, 0] = True
        assert read_images(values)[0][0, 0, 0] == IMAGES[0].min()

    def test_rounding_beyond_the_range_is_forgiven(self):
        assert read_images(np.full((1, 2, 2, 3), 1 + 5e-7))[0].max() == 255


class TestFitSize:
    def test_same_size_is_the_same_array(self):
        assert fit_size(IMAGES, (16, 16)) is IMAGES

    @pytest.mark.parametrize("size", [(8, 8), (5, 5), (40, 40), (424, 424), (8, 20), (31, 7), (1, 1)])
    def test_a_constant_stays_constant(self, size):
        images = np.full((2, 16, 12, 3), (10, 100, 250), np.uint8)
        fitted = fit_size(images, size)
        assert fitted.shape == (2, *size, 3)
        assert (fitted == images[0, 0, 0]).all()

    def test_halving_is_the_area_mean(self):
        blocks = IMAGES.reshape(4, 8, 2, 8, 2, 3).mean((2, 4))
        assert np.abs(fit_size(IMAGES, (8, 8)) - blocks).max() <= 1

    def test_another_aspect_cuts_and_does_not_stretch(self):
        images = np.zeros((1, 40, 40, 3), np.uint8)
        images[0, 15:25, 15:25] = 255
        fitted = fit_size(images, (40, 20))
        np.testing.assert_array_equal(fitted[0], images[0, :, 10:30])

    def test_new_rows_get_the_size_of_the_old(self):
        assert encode_images(smooth_images(2, 32, 32), detect_format(IMAGES)).shape == (2, 16, 16, 3)

    @pytest.mark.parametrize("size", [(0, 4), (4, -1)])
    def test_no_pixels(self, size):
        with pytest.raises(ImageError, match="both sides must be at least 1"):
            fit_size(IMAGES, size)

    @pytest.mark.parametrize("images", [IMAGES[0], FLOATS, [1]])
    def test_wrong_batches(self, images):
        with pytest.raises(ImageError, match="images must be an array .N, H, W, 3. of uint8, not"):
            fit_size(images, (4, 4))


def nan_only():
    values = FLOATS.copy()
    values[2] = np.nan
    return values


def with_row(items, row, item):
    return [item if number == row else old for number, old in enumerate(items)]


BAD = {
    "bytes in an S column": (
        np.array(jpegs(IMAGES)),
        "bytes in a column of dtype .S.* loses NUL bytes .* object column",
    ),
    "truncated JPEG": (
        with_row(jpegs(IMAGES), 1, jpegs(IMAGES)[1][:-9]),
        "row 1: JPEG of .* bytes is truncated or dam",
    ),
    "no image file": (
        with_row(jpegs(IMAGES), 3, b"GIF89a nonsense"),
        "row 3: 15 bytes that are no readable JPEG or PNG",
    ),
    "empty bytes": (with_row(jpegs(IMAGES), 3, b""), "row 3: empty bytes instead of an image"),
    "ragged": (with_row(list(IMAGES), 2, IMAGES[0][:8]), "ragged images: row 2 is 8x16 pixels where most are 16x16"),
    "ragged JPEG": (with_row(jpegs(IMAGES), 0, jpegs(IMAGES[:1, :8])[0]), "ragged images: row 0 is 8x16 pixels"),
    "empty": ([], "there are no images: the source is empty"),
    "empty stack": (IMAGES[:0], "the source is empty"),
    "NaN only": (nan_only(), "row 2 has no finite pixel"),
    "masked pixels only": (MaskedColumn(IMAGES, mask=IMAGES >= 0), "row 0 has no finite pixel"),
    "infinite": (np.full((4, 2, 2, 3), np.inf), "row 0: float pixels from inf to inf"),
    "too bright": (FLOATS * 300, "row 0: float pixels from .* they must lie in .0, 1.: divide by 255"),
    "negative": (FLOATS - 0.5, "row 0: float pixels from -0.*must lie in"),
    "grey": (IMAGES[..., 0], "row 0: 1 band .shape .16, 16.*three colour bands are needed"),
    "grey items": (list(IMAGES[..., 0]), "row 0: 1 band "),
    "four bands": (np.concatenate([IMAGES, IMAGES[..., :1]], -1), "row 0: 4 bands .*drop a fourth"),
    "planes first": (np.moveaxis(IMAGES, -1, 1), "row 0: planes first, shape .3, 16, 16.; use np.moveaxis"),
    "five axes": (IMAGES[:, np.newaxis], "row 0: 4 axes"),
    "one image": (IMAGES[0], "one image of shape .16, 16, 3. instead of a stack"),
    "integers": (IMAGES.astype(np.int32), "row 0: pixels of dtype int32; they must be uint8"),
    "no pixels": (IMAGES[:, :0], "row 0: an image without pixels"),
    "numbers": (np.arange(4.0), "the source: unknown kind of image .float64 .4"),
    "texts": (["a.jpg"] * 4, "row 0: unknown kind of image .str.; known are arrays"),
    "text column": (np.array(["a.jpg"] * 4), "the source: unknown kind of image .<U5"),
    "one text": ("a.jpg", "the source: unknown kind of image .str"),
    "one JPEG": (b"abcd", "the source: unknown kind of image .bytes"),
    "dicts": ([{}] * 4, "row 0: unknown kind of image .dict"),
    "a generator": (iter(IMAGES), "the source: unknown kind of image .generator|iterator"),
    "None": (with_row(jpegs(IMAGES), 1, None), "row 1 has no image .it is masked or None"),
    "masked": (MaskedColumn(object_array(jpegs(IMAGES)), mask=[0, 0, 1, 0]), "row 2 has no image"),
    "masked encoded array": (
        MaskedColumn(object_array([np.frombuffer(data, np.uint8) for data in jpegs(IMAGES)]), mask=[0, 0, 1, 0]),
        "row 2 has no image",
    ),
    "mixed kinds": (with_row(jpegs(IMAGES), 2, IMAGES[2]), "row 2 is of the kind 'array' where row 0 is 'encoded'"),
    "object matrix": (np.empty((4, 2), object), "must have one item a row, not the shape .4, 2."),
    "grey HDU": (
        with_row(hdus(IMAGES), 1, fits.ImageHDU(IMAGES[0, ..., 0])),
        "row 1: an HDU of shape .16, 16., 1 band;",
    ),
    "HDU bands last": (with_row(hdus(IMAGES), 1, fits.ImageHDU(IMAGES[0])), "its bands come last: use np.moveaxis"),
    "empty HDU": (with_row(hdus(IMAGES), 1, fits.ImageHDU()), "row 1: the HDU is empty"),
    "empty HDUList": (fits.HDUList([fits.PrimaryHDU()]), "the source is empty"),
    "table HDU": (with_row(hdus(IMAGES), 1, fits.BinTableHDU(Table({"a": [1]}))), "row 1: the HDU is empty"),
}


@pytest.mark.parametrize(("source", "message"), BAD.values(), ids=BAD)
def test_bad_sources(source, message):
    with pytest.raises(ImageError, match=message):
        check_images(source, 4)


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA", "CMYK"])
def test_encoded_images_with_other_bands(mode):
    stream = io.BytesIO()
    Image.new(mode, (4, 4)).save(stream, "JPEG" if mode == "CMYK" else "PNG")
    with pytest.raises(ImageError, match=f"row 0: a .* of mode '{mode}' .* convert it to RGB"):
        check_images([stream.getvalue()], 1)


def test_palette_images_are_colour_images():
    stream = io.BytesIO()
    Image.fromarray(IMAGES[0]).quantize(200).save(stream, "PNG")
    assert read_images([stream.getvalue()])[0].shape == (16, 16, 3)


@pytest.mark.parametrize("cut", [1, 2, 10, 100])
def test_a_jpeg_cut_anywhere_is_found(cut):
    with pytest.raises(ImageError, match="row 0: "):
        check_images([jpegs(IMAGES[:1])[0][:-cut]], 1)
