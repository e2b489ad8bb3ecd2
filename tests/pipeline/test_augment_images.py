"""New rows' images are kept as the real ones are: kind, size, dtype, codec and its quality."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from PIL import Image, JpegImagePlugin

from astro_galaxysd import augment_table, drop_synthetic, read_table, to_hdus
from astro_galaxysd.images.codec import read_images
from astro_galaxysd.testing import NoiseGenerator


@pytest.fixture
def bare(make_catalogue):
    return make_catalogue(images=False)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)


def augment(table, **options):
    defaults = {"target": "merger", "n": 2, "rng": 1, "generator": NoiseGenerator(16), "progress": False}
    return augment_table(table, **defaults | options)


def encoded(pixels, codec, **how):
    items = np.empty(len(pixels), dtype=object)
    for row, image in enumerate(pixels):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, codec, **how)
        items[row] = stream.getvalue()
    return items


def drawn(result):
    """What the generator drew, from the seeds of the rows."""
    return NoiseGenerator(16).generate(Table({"seed": result["seed"][5:]})).images


def test_stack_of_bytes(catalogue, pixels):
    result = augment(catalogue)
    assert result["image"].dtype == np.uint8
    assert result["image"].shape == (7, 16, 16, 3)
    np.testing.assert_array_equal(result["image"][:5], pixels)
    np.testing.assert_array_equal(result["image"][5:], drawn(result))


def test_floats_in_unit_range(bare, pixels):
    bare["cutout"] = pixels.astype(np.float32) / 255
    result = augment(bare, images="cutout")
    assert result["cutout"].dtype == np.float32
    np.testing.assert_array_equal(result["cutout"][:5], bare["cutout"])
    np.testing.assert_allclose(result["cutout"][5:], drawn(result) / 255, atol=1e-6)
    assert "image" not in result.colnames


@pytest.mark.parametrize(("quality", "subsampling"), [(77, "4:2:0"), (92, "4:4:4")])
def test_jpeg_keeps_quality_and_subsampling(bare, pixels, quality, subsampling):
    bare["image"] = encoded(pixels, "JPEG", quality=quality, subsampling=subsampling)
    result = augment(bare)
    assert all(a is b or a == b for a, b in zip(result["image"][:5], bare["image"], strict=True))
    real, new = (Image.open(io.BytesIO(result["image"][row])) for row in (0, 5))
    assert new.format == "JPEG"
    assert new.quantization == real.quantization
    assert JpegImagePlugin.get_sampling(new) == JpegImagePlugin.get_sampling(real)


def test_png_is_lossless(bare, pixels, tmp_path):
    bare["image"] = encoded(pixels, "PNG")
    result = augment(bare, out=tmp_path / "out.fits")
    np.testing.assert_array_equal(read_images(result)[5:], drawn(result))
    np.testing.assert_array_equal(read_images(read_table(tmp_path / "out.fits"))[5:], drawn(result))


def test_images_are_fitted_to_the_size_of_the_real_ones(bare):
    bare["image"] = np.zeros((5, 20, 24, 3), dtype=np.uint8)
    assert augment(bare)["image"].shape == (7, 20, 24, 3)


def planes(pixels):
    return [fits.ImageHDU(np.moveaxis(image[::-1], -1, 0)) for image in pixels]


@pytest.mark.parametrize("kind", [list, lambda hdus: fits.HDUList([fits.PrimaryHDU(), *hdus])])
def test_image_hdus(bare, pixels, kind, assert_same):
    """A table can't hold HDUs: their pixels stand in it, the right way up, and to_hdus() gives HDUs again."""
    result = augment(bare, images=kind(planes(pixels)))
    np.testing.assert_array_equal(result["image"][:5], pixels)
    np.testing.assert_array_equal(result["image"][5:], drawn(result))
    np.testing.assert_array_equal(to_hdus(result)[0].data, planes(pixels)[0].data)
    assert_same(drop_synthetic(result), bare)


def test_float_hdus_stay_floats(bare, pixels):
    result = augment(bare, images=planes((pixels / 255).astype(np.float32)))
    assert result["image"].dtype.newbyteorder("=") == np.float32
    np.testing.assert_allclose(result["image"][5:], drawn(result) / 255, atol=1e-6)


@pytest.mark.parametrize("kind", [np.asarray, list])
def test_images_beside_the_table(bare, pixels, kind, assert_same):
    result = augment(bare, images=kind(pixels))
    np.testing.assert_array_equal(np.stack(list(result["image"]))[:5], pixels)
    assert_same(drop_synthetic(result), bare)
    assert "image" not in bare.colnames


def test_jpeg_beside_the_table(bare, pixels):
    result = augment(bare, images=list(encoded(pixels, "JPEG", quality=88)))
    assert all(isinstance(image, bytes) for image in result["image"])


@pytest.mark.parametrize("name", ["out.fits", "out.parquet", "out"])
def test_no_images_at_all(bare, tmp_path, assert_same, name):
    """Real rows have None, which costs nothing where a catalogue is long."""
    result = augment(bare, out=tmp_path / name)
    assert result["image"].dtype.kind == "O"
    assert all(image is None for image in result["image"][:5])
    np.testing.assert_array_equal(np.stack(list(result["image"][5:])), drawn(result))
    assert_same(drop_synthetic(result), bare)
    read = read_table(tmp_path / name)
    np.testing.assert_array_equal(read_images(read[5:]), drawn(result))
    assert_same(drop_synthetic(read), bare)


def test_no_images_twice(bare):
    once = augment(bare)
    twice = augment(once, rng=2)
    assert len(twice) == 9
    np.testing.assert_array_equal(np.stack(list(twice["image"][5:7])), drawn(once))
    assert twice["image"][8].shape == (16, 16, 3)
    assert all(image is None for image in twice["image"][:5])
