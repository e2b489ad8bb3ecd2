"""HDUs of a table: a survey's planes in their own dtype, with their unit and WCS; display images as before."""

import io

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Column, MaskedColumn, Table
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from astro_galaxysd import to_hdus as public_to_hdus
from astro_galaxysd.errors import ImageError, SurveyError
from astro_galaxysd.images.wcs import wcs_text
from astro_galaxysd.survey.card import Survey
from astro_galaxysd.survey.hdus import from_hdus, to_hdus

LINEAR = {"kind": "linear", "vmin": -20.0, "vmax": 20.0}
FLUX = np.random.default_rng(0).normal(2, 5, (3, 12, 15, 3)).astype(np.float32)


def celestial():
    header = fits.Header()
    for axis, (name, sign) in enumerate((("RA---TAN", -1), ("DEC--TAN", 1)), start=1):
        header[f"CTYPE{axis}"], header[f"CRPIX{axis}"], header[f"CRVAL{axis}"] = name, 5.0, 30.0
        header[f"CD{axis}_{axis}"] = sign * 0.4 / 3600
    return header


@pytest.fixture
def table():
    wcs = MaskedColumn([wcs_text(celestial()), "", ""], mask=[False, True, True])
    return Table({"id": ["a", "b", "c"], "image": FLUX, "image_wcs": wcs, "synthetic": [False, False, True]})


def test_planes_keep_dtype_unit_and_wcs(table):
    survey = Survey(stretch=LINEAR, unit="nanomaggy", pixel_scale=0.4, bands=("z", "r", "g"))
    hdus = to_hdus(table, survey=survey)
    for row, hdu in enumerate(hdus):
        assert hdu.data.dtype == np.float32
        np.testing.assert_array_equal(hdu.data, np.moveaxis(FLUX[row], -1, 0)[:, ::-1])
        assert (hdu.header["BUNIT"], hdu.header["PIXSCALE"]) == ("nanomaggy", 0.4)
        assert str(hdu.header["COMMENT"]).startswith("Planes: z, r, g.")
    real, plain, drawn = (hdu.header for hdu in hdus)
    assert WCS(real, naxis=2).has_celestial
    assert not any("CTYPE1" in header for header in (plain,))
    assert not WCS(drawn, naxis=2).has_celestial
    assert drawn["CTYPE1"] == "XOFFSET"
    assert ("CALIB" in real, drawn["CALIB"], drawn["SYNTHET"]) == (False, False, True)


def test_drawn_luminance_has_no_unit(table):
    table["image"] = FLUX[..., 0]
    real, _, drawn = (
        hdu.header for hdu in to_hdus(table, survey=Survey(stretch=LINEAR, unit="adu", bands="luminance"))
    )
    assert (real["NAXIS"], real["BUNIT"], "BUNIT" in drawn) == (2, "adu", False)


def test_without_a_stretch_there_is_no_unit(table):
    table["image"] = np.clip(FLUX / 40 + 0.5, 0, 1)
    headers = [hdu.header for hdu in to_hdus(table, survey=Survey(unit="adu"))]
    assert not any("BUNIT" in header for header in headers)
    assert [header["CALIB"] for header in headers] == [False] * 3


def test_display_images_keep_their_wcs(table):
    table["image"] = np.zeros((3, 12, 15, 3), np.uint8)
    hdus = to_hdus(table, pixel_scale=0.4)
    assert [WCS(hdu.header, naxis=2).has_celestial for hdu in hdus] == [True, False, False]
    assert [hdu.header["CALIB"] for hdu in hdus] == [False] * 3
    back = from_hdus(hdus)
    assert back["image_wcs"].mask.tolist() == [False, True, True]
    assert back["image_pixel_scale"].tolist() == [0.4] * 3


def test_columns_of_paths_are_no_images():
    with pytest.raises(ImageError, match="column 'image' holds paths of files, .* astropy.io.fits, or .* read_cutouts"):
        to_hdus(Table({"image": ["a.fits"]}))


def test_other_cells():
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), 9, np.uint8)).save(stream, "PNG")
    cells = np.empty(3, object)
    cells[:] = [stream.getvalue(), fits.ImageHDU(np.ones((3, 4, 5), np.int16)), np.ones((4, 5), np.float64)]
    shapes = [(hdu.data.dtype.kind, hdu.data.shape) for hdu in to_hdus(Table({"image": cells}), survey=Survey())]
    assert shapes == [("u", (3, 4, 5)), ("i", (3, 4, 5)), ("f", (4, 5))]
    masked = np.ma.MaskedArray(FLUX, FLUX > 5)
    data = to_hdus(Table({"image": MaskedColumn(masked)}), survey=Survey(stretch=LINEAR))[0].data
    assert np.isnan(data).sum() == (FLUX[0] > 5).sum()


@pytest.mark.parametrize(("cell", "message"), [
    (np.zeros((1, 4, 5, 3)), "row 0: an array of float64 and shape .*; an image"),
    (np.zeros((0, 5)), "row 0: an array of float64 and shape"),
    (fits.ImageHDU(np.zeros((2, 3, 4, 5))), r"row 0: an HDU of shape .*; an image \(H, W\) or planes"),
    (None, "row 0 has no cutout"),
])  # fmt: skip
def test_cells_that_are_no_cutouts(cell, message):
    cells = np.empty(1, object)
    cells[0] = cell
    with pytest.raises(ImageError, match=message):
        to_hdus(Table({"image": cells}), survey=Survey())


@settings(max_examples=25, deadline=None)
@given(
    dtype=st.sampled_from(["uint8", "int16", "uint16", "int32", "float32", "float64"]),
    bands=st.sampled_from([None, 1, 3, 5]),
    sizes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=3),
    unit=st.sampled_from([None, "nanomaggy", "electron / s"]),
    scale=st.sampled_from([None, 0.262]),
    with_wcs=st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_round_trip(dtype, bands, sizes, unit, scale, with_wcs):
    rng = np.random.default_rng(0)
    arrays = [
        rng.normal(60, 20, size if bands is None else (*size, bands)).clip(0, 200).astype(dtype) for size in sizes
    ]
    cells = np.empty(len(arrays), object)
    for row, array in enumerate(arrays):
        cells[row] = array
    texts = [wcs_text(celestial()) if known else "" for known in with_wcs[: len(arrays)]]
    table = Table({"id": [f"g{row}" for row in range(len(arrays))], "image": cells, "synthetic": [False] * len(arrays)})
    table["image_wcs"] = MaskedColumn(texts, mask=[not text for text in texts], dtype=str)
    survey = Survey(stretch=LINEAR, unit=unit, pixel_scale=scale, bands="luminance")
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *to_hdus(table, survey=survey)]).writeto(stream)
    stream.seek(0)
    with fits.open(stream) as hdus:
        back = from_hdus(hdus, survey=survey)
    for row, array in enumerate(arrays):
        assert back["image"][row].dtype == array.dtype
        np.testing.assert_array_equal(back["image"][row], array)
    assert list(back["id"]) == list(table["id"])
    assert back["image"].unit == (None if unit is None else u.Unit(unit))
    read = back["image_wcs"].filled("") if "image_wcs" in back.colnames else Column([""] * len(texts))
    assert list(read) == texts
    assert ("image_pixel_scale" in back.colnames) == (scale is not None)
    again = to_hdus(back, survey=survey)
    for first, second in zip(to_hdus(table, survey=survey), again, strict=True):
        assert first.header.tostring() == second.header.tostring()


def test_a_survey_is_described_in_any_way(table, tmp_path):
    what = {"stretch": LINEAR, "unit": "adu", "pixel_scale": 0.4}
    path = tmp_path / "card.toml"
    path.write_text('unit = "adu"\npixel_scale = 0.4\n[stretch]\nkind = "linear"\nvmin = -20.0\nvmax = 20.0\n')
    hdus = [hdu.header.tostring() for hdu in to_hdus(table, survey=Survey(**what))]
    for source in (what, path, str(path)):
        made = to_hdus(table, survey=source)
        assert [hdu.header.tostring() for hdu in made] == hdus
        np.testing.assert_array_equal(from_hdus(made, survey=source)["image"], FLUX)
    assert public_to_hdus is to_hdus
    for work in (lambda: to_hdus(table, survey=5), lambda: from_hdus(to_hdus(table, survey=what), survey=5)):
        with pytest.raises(SurveyError, match="a survey is a Survey, a mapping or the path of a card, not 5"):
            work()


def test_further_axes_of_length_one():
    """As `SurveyRows` reads them."""
    data = np.moveaxis(FLUX[0], -1, 0)
    (hdu,) = to_hdus(Table({"image": [fits.ImageHDU(data[None])]}, dtype=[object]), survey=Survey(stretch=LINEAR))
    np.testing.assert_array_equal(hdu.data, data)
    back = from_hdus([fits.ImageHDU(data[None])], survey=Survey(stretch=LINEAR))
    np.testing.assert_array_equal(back["image"][0], FLUX[0][::-1])
