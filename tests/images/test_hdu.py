"""Image HDUs: pixels the right way up, headers that claim nothing they don't know."""

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astro_galaxysd.errors import ImageError, UnknownNameError
from astro_galaxysd.images.hdu import from_hdus, to_hdus
from astro_galaxysd.images.provenance import RUN_RECORD, run_record

LONG = "sdss, " + ", ".join(f"{{tag number {k} with 'quotes' & more:1.25}}" for k in range(12))


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    mask = [True, False]
    return Table(
        {
            "id": ["real-1", "gsd-α"],
            "image": rng.integers(0, 256, (2, 6, 5, 3), np.uint8),
            "synthetic": [False, True],
            "prompt": MaskedColumn(["", LONG], mask=mask),
            "prompt_weights": MaskedColumn(["", '{"dust lane": 1.3}'], mask=mask),
            "seed": MaskedColumn(np.array([0, 2**63 - 1]), mask=mask),
            "generator": MaskedColumn(["", "diffusion"], mask=mask),
            "weights": MaskedColumn(["", "mini"], mask=mask),
            "weights_revision": MaskedColumn(["", "ab12"], mask=mask),
        },
        meta={RUN_RECORD: run_record(steps=20, guidance=2.5, sampler="dpm++", target="merger")},
    )


def written(hdus, path):
    """The HDUs as a file returns them, with every warning an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
        with fits.open(path, memmap=False) as read:
            read.verify("exception")
            return [hdu.copy() for hdu in read[1:]]


def test_pixels(table):
    for hdu, pixels in zip(to_hdus(table), table["image"], strict=True):
        assert isinstance(hdu, fits.ImageHDU)
        assert hdu.data.dtype == np.uint8
        assert hdu.data.shape == (3, 6, 5)
        # Row 0 of a FITS image is the bottom of the picture.
        np.testing.assert_array_equal(hdu.data[1, 0], pixels[-1, :, 1])


def test_an_honest_header(table, tmp_path):
    real, synthetic = (hdu.header for hdu in written(to_hdus(table), tmp_path / "t.fits"))
    for header in (real, synthetic):
        assert header["CALIB"] is False
        assert not {"BUNIT", "BSCALE", "BZERO", "CTYPE1", "PIXSCALE", "MAGZPT", "EXPTIME"} & set(header)
    assert real["SYNTHET"] is False
    assert synthetic["SYNTHET"] is True
    assert not {"PROMPT", "SEED", "GENERATR", "WEIGHTS", "STEPS", "GSDVERS"} & set(real)
    assert synthetic["PROMPT"] == LONG
    assert synthetic["PRWEIGHT"] == '{"dust lane": 1.3}'
    assert synthetic["SEED"] == 2**63 - 1
    assert synthetic["GENERATR"] == "diffusion"
    assert [synthetic["WEIGHTS"], synthetic["WREVIS"]] == ["mini", "ab12"]
    assert [synthetic["STEPS"], synthetic["GUIDANCE"], synthetic["SAMPLER"]] == [20, 2.5, "dpm++"]
    assert [real["EXTNAME"], synthetic["EXTNAME"]] == ["real-1", "gsd-?"]


def test_round_trip_through_a_file(table, tmp_path):
    read = from_hdus(written(to_hdus(table), tmp_path / "t.fits"))
    np.testing.assert_array_equal(read["image"], table["image"])
    assert read.colnames == [*table.colnames, "sampler", "steps", "guidance"]
    for name in table.colnames:
        np.testing.assert_array_equal(np.ma.getmaskarray(read[name]), np.ma.getmaskarray(table[name]))
        np.testing.assert_array_equal(read[name][1], table[name][1])


def test_hdulist_with_an_empty_primary(table):
    read = from_hdus(fits.HDUList([fits.PrimaryHDU(), *to_hdus(table)]))
    np.testing.assert_array_equal(read["image"], table["image"])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(prompt=st.text(max_size=200).filter(lambda t: t.encode("utf-8", "ignore").decode() == t and t[-1:] != "\0"))
def test_any_prompt_survives(prompt, tmp_path_factory):
    table = Table({"image": np.zeros((1, 2, 2, 3), np.uint8), "synthetic": [True]})
    table["prompt"] = [prompt]
    read = from_hdus(written(to_hdus(table), tmp_path_factory.mktemp("t") / "t.fits"))
    assert read["prompt"][0] == prompt


def test_rows_without_names():
    hdus = to_hdus(Table({"image": np.zeros((2, 2, 2, 3), np.uint8)}))
    assert [hdu.header["EXTNAME"] for hdu in hdus] == ["ROW0", "ROW1"]
    assert [hdu.header["SYNTHET"] for hdu in hdus] == [False, False]
    assert "ROWID" not in hdus[0].header


def test_names_from_a_column_and_masked_names(table):
    table["objid"] = MaskedColumn([587722981742084144, 0], mask=[False, True])
    hdus = to_hdus(table, id_column="objid")
    assert [hdu.header["EXTNAME"] for hdu in hdus] == ["587722981742084144", "ROW1"]
    with pytest.raises(UnknownNameError, match="unknown id column 'objidd': did you mean 'objid'"):
        to_hdus(table, id_column="objidd")


@pytest.mark.parametrize("pixel_scale", [0.396, 0.396 * u.arcsec, 0.0066 * u.arcmin, 0.00011 * u.deg])
def test_a_given_pixel_scale(table, pixel_scale):
    header = to_hdus(table, pixel_scale=pixel_scale)[0].header
    assert header["PIXSCALE"] == pytest.approx(0.396)
    assert "arcsec" in header.comments["PIXSCALE"]


@pytest.mark.parametrize("pixel_scale", [3 * u.m, "wide", [1, 2]])
def test_no_angle(table, pixel_scale):
    with pytest.raises(ImageError, match="is no angle; give arcsec"):
        to_hdus(table, pixel_scale=pixel_scale)


@pytest.mark.parametrize("pixel_scale", [0, -1, np.nan, np.inf])
def test_no_positive_angle(table, pixel_scale):
    with pytest.raises(ImageError, match="must be a positive angle"):
        to_hdus(table, pixel_scale=pixel_scale)


def test_missing_column(table):
    with pytest.raises(UnknownNameError, match="unknown image column 'img'"):
        to_hdus(table, "img")


def test_hdus_of_other_programs_and_of_several_sizes():
    one = fits.ImageHDU(np.full((3, 4, 4), 0.5, ">f4"), name="A")
    two = fits.PrimaryHDU(np.zeros((3, 2, 5), np.uint8))
    read = from_hdus([one, two], "cutout")
    assert read["id"].tolist() == ["A", ""]
    assert [pixels.shape for pixels in read["cutout"]] == [(4, 4, 3), (2, 5, 3)]
    assert read["synthetic"].tolist() == [False, False]
    assert read.colnames == ["id", "cutout", "synthetic"]
