"""New rows' cutouts: kept like the real ones, with headers that claim no more than is known."""

import gzip
import io
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from astro_galaxysd.errors import ImageError, OutputError, OutputExistsError
from astro_galaxysd.images.encoded import read_encoding
from astro_galaxysd.images.provenance import run_record
from astro_galaxysd.survey.card import Survey
from astro_galaxysd.survey.layout import Layout, find_layouts
from astro_galaxysd.survey.newcells import as_picture
from astro_galaxysd.survey.rows import SurveyRows
from astro_galaxysd.survey.writing import NewCutouts

N, H, W = 3, 12, 15
FLUX = np.random.default_rng(0).normal(2, 5, (N, 3, H, W)).astype(np.float32)
GREY = np.random.default_rng(1).integers(0, 256, (N, H, W, 3), np.uint8)
LINEAR = {"kind": "linear", "vmin": -20.0, "vmax": 20.0}
#: Planes of two new rows, and their ids, one of which can't be a file's name as it is.
NEW = np.random.default_rng(2).uniform(0, 1, (2, 3, H, W))
IDS = ["gsd-1", "α/2"]


def survey(**what):
    return Survey(**{"stretch": LINEAR, **what})


def celestial():
    header = fits.Header({"BUNIT": "nmgy", "EXPTIME": 50.0, "MAGZPT": 22.5})
    for axis, (name, sign) in enumerate((("RA---TAN", -1), ("DEC--TAN", 1)), start=1):
        header[f"CTYPE{axis}"], header[f"CRPIX{axis}"], header[f"CRVAL{axis}"] = name, 5.0, 30.0
        header[f"CD{axis}_{axis}"] = sign * 0.4 / 3600
    return header


def objects(items):
    out = np.empty(len(items), object)
    for row, item in enumerate(items):
        out[row] = item
    return out


def written(rows, folder=None, planes=NEW, **options):
    """New cells, and the rows read back from them."""
    new = NewCutouts(rows, folder=folder)
    new.check(IDS)
    cells = new.encode(IDS, iter(planes), **options)
    assert tuple(cells) == new.columns
    table = Table({name: values if isinstance(values[0], str) else objects(values) for name, values in cells.items()})
    images = new.columns if len(new.columns) > 1 else new.columns[0]
    return cells, SurveyRows(table, images, rows.survey), new


def real_files(folder, suffix="fits", make=None):
    make = make or (lambda data: [fits.PrimaryHDU(data, celestial())])
    for row, data in enumerate(FLUX):
        fits.HDUList(make(data)).writeto(folder / f"g{row}.{suffix}")
    return [f"g{row}.{suffix}" for row in range(N)]


def three_extensions(data):
    return [fits.PrimaryHDU(), *(fits.ImageHDU(data[band], celestial(), name=name) for band, name in enumerate("IRG"))]


LAYOUTS = {
    "one image": ("fits", None, ""),
    "gzip": ("fits.gz", None, ""),
    "tiles": ("fits.fz", lambda data: [fits.PrimaryHDU(), fits.CompImageHDU(data, celestial(), name="SCI",
              compression_type="GZIP_2", quantize_level=0)], ""),
    "extension": ("fits", lambda data: [fits.PrimaryHDU(), fits.ImageHDU(data, celestial(), name="SCI", ver=2),
                  fits.ImageHDU(data, name="WHT"), fits.BinTableHDU(Table({"a": [1]}), name="CAT")], "[SCI,2]"),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_have_the_layout_of_the_real_ones(tmp_path, layout):
    suffix, make, extension = LAYOUTS[layout]
    names = real_files(tmp_path, suffix, make)
    rows = SurveyRows(Table({"image": [name + extension for name in names]}), survey=survey(folder=tmp_path))
    cells, back, _ = written(rows, tmp_path / "new")
    assert cells["image"] == [f"new/gsd-1.{suffix}{extension}", f"new/%CE%B1%2F2.{suffix}{extension}"]
    for row in range(2):
        np.testing.assert_array_equal(back.planes(row), NEW[row].astype(np.float32))
        assert back.pixel_scale(row) == pytest.approx(0.4)
    with fits.open(tmp_path / names[0]) as real, fits.open(tmp_path / "new" / f"gsd-1.{suffix}") as new:
        new.verify("exception")
        assert [(type(hdu), hdu.name, hdu.ver) for hdu in new] == [(type(hdu), hdu.name, hdu.ver) for hdu in real]
        pixels = [(hdu.header["BITPIX"], hdu.shape) for hdu in real if hdu.name not in ("WHT", "CAT")]
        assert [(hdu.header["BITPIX"], hdu.shape) for hdu in new if hdu.name not in ("WHT", "CAT")] == pixels
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [f"%CE%B1%2F2.{suffix}", f"gsd-1.{suffix}"]


def test_the_same_pixels_give_the_same_bytes(tmp_path):
    rows = SurveyRows(Table({"image": real_files(tmp_path, "fits.gz")}), survey=survey(folder=tmp_path))
    for folder in ("one", "two"):
        NewCutouts(rows, folder=tmp_path / folder).encode(IDS[:1], NEW[:1])
    data = [(tmp_path / folder / "gsd-1.fits.gz").read_bytes() for folder in ("one", "two")]
    assert data[0] == data[1]
    assert gzip.decompress(data[0]).startswith(b"SIMPLE")


def test_a_header_claims_no_more_than_is_known(tmp_path):
    rows = SurveyRows(Table({"image": real_files(tmp_path)}), survey=survey(folder=tmp_path, unit="nanomaggy"))
    record = run_record(steps=20, guidance=2.5)
    written(rows, tmp_path / "new", cards=[{"prompt": "sdss", "seed": 7}, {}], record=record)
    header = fits.getheader(tmp_path / "new" / "gsd-1.fits")
    assert (header["SYNTHET"], header["CALIB"], header["BUNIT"], header["PIXSCALE"]) == (
        True, False, "nanomaggy", pytest.approx(0.4),
    )  # fmt: skip
    assert (header["PROMPT"], header["SEED"], header["STEPS"], header["ROWID"]) == ("sdss", 7, 20, "gsd-1")
    assert "inverse of the stretch" in str(header["COMMENT"])
    assert {"EXPTIME", "MAGZPT", "RADESYS"}.isdisjoint(header)
    assert not WCS(header, naxis=2).has_celestial


@pytest.mark.parametrize(
    ("what", "unit"),
    [
        ({}, None),
        ({"unit": "adu"}, "adu"),
        ({"unit": "adu", "bands": "luminance"}, None),
        ({"unit": "adu", "stretch": None}, None),
    ],
)
def test_a_unit_needs_a_stretch_and_colours(tmp_path, what, unit):
    flat = what.get("bands") == "luminance"
    for row in range(N):
        data = FLUX[row, 0] if flat else FLUX[row]
        fits.PrimaryHDU(np.clip(data / 40 + 0.5, 0, 1)).writeto(tmp_path / f"{row}.fits")
    rows = SurveyRows(Table({"image": [f"{row}.fits" for row in range(N)]}), survey=survey(folder=tmp_path, **what))
    written(rows, tmp_path / "new", NEW[:, :1] if flat else NEW)
    header = fits.getheader(tmp_path / "new" / "gsd-1.fits")
    assert header.get("BUNIT") == unit
    assert "PIXSCALE" not in header
    assert header["NAXIS"] == (2 if flat else 3)


@pytest.mark.parametrize(
    ("what", "unit"),
    [({}, "nmgy"), ({"unit": "nanomaggy"}, "nanomaggy"), ({"stretch": None}, None), ({"bands": "luminance"}, None)],
)
def test_the_unit_of_the_real_files_counts_where_none_is_declared(tmp_path, what, unit):
    (tmp_path / "gone.fits").touch()
    planes = 1 if "bands" in what else 3
    for row in range(N):
        data = np.clip(FLUX[row, :planes] / 40 + 0.5, 0, 1)
        fits.PrimaryHDU(data, fits.Header({"BUNIT": "nmgy"})).writeto(tmp_path / f"{row}.fits")
    names = ["gone.fits", *(f"{row}.fits" for row in range(N))]
    rows = SurveyRows(Table({"image": names}), survey=survey(folder=tmp_path, pixel_scale=0.1 + 0.2, **what))
    written(rows, tmp_path / "new", NEW[:, :planes])
    header = fits.getheader(tmp_path / "new" / "gsd-1.fits")
    assert header.get("BUNIT") == unit
    assert (header["PIXSCALE"], header["CDELT2"]) == (0.3, 0.3)


def test_columns_that_share_a_file(tmp_path):
    names = real_files(tmp_path, make=three_extensions)
    table = Table({f"c{band}": [f"{name}[{band.upper()}]" for name in names] for band in "irg"})
    cells, back, _ = written(
        SurveyRows(table, survey=survey(folder=tmp_path, columns=("ci", "cr", "cg"))), tmp_path / "new"
    )
    assert [values[0] for values in cells.values()] == [f"new/gsd-1.fits[{band}]" for band in "IRG"]
    np.testing.assert_array_equal(back.planes(1), NEW[1].astype(np.float32))
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_a_file_for_each_band(tmp_path):
    for row in range(N):
        for band, name in enumerate("irg"):
            fits.PrimaryHDU(FLUX[row, band]).writeto(tmp_path / f"{row}{name}.fits")
    table = Table({band: [str(tmp_path / f"{row}{band}.fits") for row in range(N)] for band in "irg"})
    cells, back, _ = written(SurveyRows(table, ("i", "r", "g"), survey()), tmp_path / "new")
    assert [values[0] for values in cells.values()] == [str(tmp_path / "new" / f"gsd-1_{band}.fits") for band in "irg"]
    np.testing.assert_array_equal(back.planes(1), NEW[1].astype(np.float32))


def test_one_file_with_all_cutouts(tmp_path):
    """A new row gets a file of its own, not one with as many extensions."""
    fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(data) for data in FLUX)]).writeto(tmp_path / "all.fits")
    rows = SurveyRows(Table({"image": [f"all.fits[{row + 1}]" for row in range(N)]}), survey=survey(folder=tmp_path))
    cells, back, _ = written(rows, tmp_path / "new")
    assert cells["image"][0] == "new/gsd-1.fits[1]"
    np.testing.assert_array_equal(back.planes(0), NEW[0].astype(np.float32))
    with fits.open(tmp_path / "new" / "gsd-1.fits") as hdus:
        assert len(hdus) == 2


def test_planes_that_are_not_drawn_stay_empty(tmp_path):
    five = survey(folder=tmp_path, planes=tuple("ugriz"))
    for row in range(N):
        fits.PrimaryHDU(np.repeat(FLUX[row, :1], 5, axis=0)).writeto(tmp_path / f"{row}.fits")
    names = [f"{row}.fits" for row in range(N)]
    _, back, _ = written(SurveyRows(Table({"image": names}), survey=five), tmp_path / "new")
    np.testing.assert_array_equal(back.planes(0), NEW[0].astype(np.float32))
    data = fits.getdata(tmp_path / "new" / "gsd-1.fits")
    assert np.isnan(data[[0, 4]]).all()
    counts = SurveyRows(Table({"image": np.ones((N, H, W, 5), np.int16)}), survey=five)
    with pytest.raises(
        ImageError, match="planes u, z of new rows are not drawn and stay empty, which int16 pixels can't say"
    ):
        NewCutouts(counts).check()


def test_scaled_integers_keep_their_scale_and_their_blank(tmp_path):
    for row in range(N):
        hdu = fits.PrimaryHDU(FLUX[row])
        hdu.scale("int16", bscale=0.001, bzero=1.5)
        hdu.header["BLANK"] = -32768
        hdu.writeto(tmp_path / f"{row}.fits")
    rows = SurveyRows(Table({"image": [f"{row}.fits" for row in range(N)]}), survey=survey(folder=tmp_path))
    planes = NEW.copy()
    planes[0, :, :3] = np.nan
    _, back, _ = written(rows, tmp_path / "new", planes)
    np.testing.assert_allclose(back.planes(0), planes[0], atol=0.000501)
    header = fits.getheader(tmp_path / "new" / "gsd-1.fits", do_not_scale_image_data=True)
    assert (header["BITPIX"], header["BSCALE"], header["BZERO"], header["BLANK"]) == (16, 0.001, 1.5, -32768)


@pytest.mark.parametrize(("mode", "codec", "how"), [
    ("RGB", "JPEG", {"quality": 83, "subsampling": "4:2:0"}), ("RGB", "PNG", {}),
    ("L", "JPEG", {"quality": 83}), ("L", "PNG", {}),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["files", "bytes", "arrays of bytes"])
def test_pictures_are_encoded_like_the_real_ones(tmp_path, mode, codec, how, kind):
    data = []
    for pixels in GREY:
        stream = io.BytesIO()
        Image.fromarray(pixels if mode == "RGB" else pixels[..., 0]).save(stream, codec, **how)
        data.append(stream.getvalue())
    suffix = ".jpg" if codec == "JPEG" else ".png"
    for row, content in enumerate(data):
        (tmp_path / f"{row}{suffix}").write_bytes(content)
    cells = {"files": [str(tmp_path / f"{row}{suffix}") for row in range(N)], "bytes": objects(data),
             "arrays of bytes": objects([np.frombuffer(content, np.uint8) for content in data])}[kind]  # fmt: skip
    bands = {"bands": "luminance"} if mode == "L" else {}
    planes = NEW[:, :1] if mode == "L" else NEW
    made, back, _ = written(SurveyRows(Table({"image": cells}), survey=Survey(**bands)), tmp_path / "new", planes)
    content = (tmp_path / "new" / f"gsd-1{suffix}").read_bytes() if kind == "files" else bytes(made["image"][0])
    image = Image.open(io.BytesIO(content))
    assert (image.mode, image.format) == (mode, codec)
    if codec == "PNG":
        np.testing.assert_allclose(back.planes(0), planes[0], atol=0.5001 / 255)
    elif mode == "RGB":
        assert read_encoding(content, "") == read_encoding(data[0], "")
    else:
        assert image.quantization == Image.open(io.BytesIO(data[0])).quantization


DTYPES = ["uint8", "int16", "uint16", "int32", "float32", ">f4", "float64"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    dtype=st.sampled_from(DTYPES),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    flat=st.booleans(),
    stack=st.booleans(),
    seed=st.integers(0, 99),
)
def test_arrays_go_out_as_they_came_in(dtype, size, flat, stack, seed):
    rng = np.random.default_rng(seed)
    real = rng.normal(50, 20, (2, *size, *(() if flat else (3,)))).clip(1, 200).astype(dtype)
    table = Table({"image": real if stack else objects(list(real))})
    rows = SurveyRows(table, survey=survey(bands="luminance" if flat else ("i", "r", "g")))
    new = NewCutouts(rows)
    new.check()
    (cell,) = new.encode(["a"], [rows.planes(1)])["image"]
    assert (cell.dtype, cell.shape) == (real.dtype, real.shape[1:])
    np.testing.assert_array_equal(cell, real[1])


def test_whole_numbers_and_levels_that_floats_hold():
    counts = SurveyRows(Table({"image": np.rint(np.moveaxis(FLUX, 1, -1))}), survey=survey())
    cell = NewCutouts(counts).encode(["a"], [NEW[0] * 30])["image"][0]
    np.testing.assert_array_equal(cell, np.rint(cell))
    levels = SurveyRows(Table({"image": (GREY / 255).astype(np.float32)}))
    cell = NewCutouts(levels).encode(["a"], NEW[:1])["image"][0]
    np.testing.assert_allclose(cell * 255, np.rint(cell * 255), atol=1e-4)
    smooth = SurveyRows(Table({"image": np.moveaxis(FLUX, 1, -1)}), survey=survey())
    cell = NewCutouts(smooth).encode(["a"], NEW[:1])["image"][0]
    np.testing.assert_array_equal(cell, np.moveaxis(NEW[0], 0, -1).astype(np.float32))


def test_missing_pixels_in_whole_numbers_are_the_darkest():
    planes = NEW[0].copy() * 0.5 + 0.25
    planes[:, 0, 0] = np.nan
    cell = NewCutouts(SurveyRows(Table({"image": GREY}))).encode(["a"], [planes])["image"][0]
    assert set(cell[0, 0]) == {cell.min()}


def test_hdus_beside_the_table_become_columns():
    hdus = [fits.ImageHDU(FLUX[0][:, ::-1], celestial()), fits.ImageHDU(FLUX[1][:, ::-1])]
    new = NewCutouts(SurveyRows(Table({"id": ["a", "b"]}), hdus, survey()))
    columns = new.real_columns()
    np.testing.assert_array_equal(columns["image"], np.moveaxis(FLUX[:2], 1, -1))
    assert columns["image"].dtype == np.dtype(np.float32).newbyteorder("=")
    assert columns["image_wcs"].mask.tolist() == [False, True]
    assert "CTYPE1  = 'RA---TAN'" in columns["image_wcs"][0]
    assert "EXPTIME" not in columns["image_wcs"][0]
    assert new.encode(IDS, NEW)["image"][0].shape == (H, W, 3)
    table = Table({"id": ["a", "b"], "image_wcs": columns["image_wcs"], "image": columns["image"]})
    assert SurveyRows(table, survey=survey()).pixel_scale(0) == pytest.approx(0.4)
    assert SurveyRows(table, survey=survey()).pixel_scale(1) is None


def test_other_cutouts_beside_the_table():
    empty = fits.ImageHDU()
    new = NewCutouts(
        SurveyRows(Table({"id": range(3)}), [*(fits.ImageHDU(data) for data in FLUX[:2]), empty], survey())
    )
    assert new.real_columns()["image"][2] is None
    given_arrays = NewCutouts(SurveyRows(Table({"id": range(N)}), np.moveaxis(FLUX, 1, -1), survey()))
    np.testing.assert_array_equal(given_arrays.real_columns()["image"], np.moveaxis(FLUX, 1, -1))
    assert NewCutouts(SurveyRows(Table({"image": GREY}))).real_columns() == {}


def test_blank_cells_write_nothing(tmp_path):
    rows = SurveyRows(Table({"image": real_files(tmp_path)}), survey=survey(folder=tmp_path))
    assert NewCutouts(rows, folder=tmp_path / "new").blank(IDS[:1]) == {"image": ["new/gsd-1.fits"]}
    assert not (tmp_path / "new").exists()
    assert NewCutouts(SurveyRows(Table({"image": GREY}))).blank(["a", "b"])["image"][1].shape == (H, W, 3)


def test_planes_are_made_and_written_one_at_a_time(tmp_path):
    rows = SurveyRows(Table({"image": real_files(tmp_path)}), survey=survey(folder=tmp_path))
    seen = []

    def planes():
        for values in NEW:
            seen.append([path.name for path in (tmp_path / "new").glob("*/*")])
            yield values

    NewCutouts(rows, folder=tmp_path / "new").encode(IDS, planes())
    assert seen == [[], ["gsd-1.fits"]]
    assert len(list((tmp_path / "new").iterdir())) == 2


def stopped_by(error, at=1):
    """Planes of new rows, the making of which ends with an error."""
    for row, values in enumerate(NEW):
        if row == at:
            raise error
        yield values


@pytest.mark.parametrize("error", [RuntimeError("broken"), OSError("disk"), SystemExit(1), KeyboardInterrupt()])
def test_a_call_that_does_not_finish_leaves_no_file(tmp_path, error):
    rows = SurveyRows(Table({"image": real_files(tmp_path)}), survey=survey(folder=tmp_path))
    new = NewCutouts(rows, folder=tmp_path / "new")
    with pytest.raises(type(error)):
        new.encode(IDS, stopped_by(error, at=0 if isinstance(error, KeyboardInterrupt) else 1))
    assert not (tmp_path / "new").exists()
    # the same again, in a folder with other files
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "other.txt").write_text("kept")
    with pytest.raises(type(error)):
        new.encode(IDS, stopped_by(error, at=0 if isinstance(error, KeyboardInterrupt) else 1))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["other.txt"]
    new.check(IDS)
    assert len(new.encode(IDS, NEW)["image"]) == 2


def test_files_that_would_be_replaced_stay_until_the_last_is_written(tmp_path):
    rows = SurveyRows(Table({"image": real_files(tmp_path)}), survey=survey(folder=tmp_path))
    NewCutouts(rows, folder=tmp_path / "new").encode(IDS, NEW)
    before = (tmp_path / "new" / "gsd-1.fits").read_bytes()
    again = NewCutouts(rows, folder=tmp_path / "new", overwrite=True)
    with pytest.raises(RuntimeError):
        again.encode(IDS, stopped_by(RuntimeError("broken")))
    assert (tmp_path / "new" / "gsd-1.fits").read_bytes() == before
    again.encode(IDS, NEW[::-1])
    assert (tmp_path / "new" / "gsd-1.fits").read_bytes() != before


def test_an_interrupt_keeps_the_rows_that_are_finished(tmp_path):
    rows = SurveyRows(Table({"image": real_files(tmp_path)}), survey=survey(folder=tmp_path))
    new = NewCutouts(rows, folder=tmp_path / "new")
    assert new.encode(IDS, stopped_by(KeyboardInterrupt())) == {"image": ["new/gsd-1.fits"]}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["gsd-1.fits"]
    arrays = NewCutouts(SurveyRows(Table({"image": GREY})))
    assert len(arrays.encode(IDS, stopped_by(KeyboardInterrupt()))["image"]) == 1
    with pytest.raises(KeyboardInterrupt):
        arrays.encode(IDS, stopped_by(KeyboardInterrupt(), at=0))


def test_an_interrupt_between_the_last_names_leaves_no_file(tmp_path, monkeypatch):
    rows = SurveyRows(Table({"image": real_files(tmp_path)}), survey=survey(folder=tmp_path))
    original, calls = os.replace, []

    def replace(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        NewCutouts(rows, folder=tmp_path / "new").encode(IDS, NEW)
    assert len(calls) == 2
    assert not (tmp_path / "new").exists()


def test_files_of_a_table_that_cannot_be_written_are_removed(tmp_path):
    rows = SurveyRows(Table({"image": real_files(tmp_path)}), survey=survey(folder=tmp_path))
    new = NewCutouts(rows, folder=tmp_path / "new")
    new.encode(IDS[:1], NEW[:1])
    (tmp_path / "new" / "%CE%B1%2F2.fits").write_text("of somebody else")
    new.remove(IDS)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["%CE%B1%2F2.fits"]
    new.remove(IDS)
    (tmp_path / "new" / "%CE%B1%2F2.fits").unlink()
    new.encode(IDS, NEW)
    new.remove(IDS)
    NewCutouts(SurveyRows(Table({"image": GREY}))).remove(IDS)
    assert list(tmp_path.glob("new/*")) == []


def test_a_file_that_somebody_else_wrote_meanwhile(tmp_path):
    rows = SurveyRows(Table({"image": real_files(tmp_path)}), survey=survey(folder=tmp_path))

    def planes():
        yield NEW[0]
        (tmp_path / "new" / "%CE%B1%2F2.fits").write_text("of somebody else")
        yield NEW[1]

    with pytest.raises(OutputExistsError, match="2.fits' was written by somebody else meanwhile; choose another"):
        NewCutouts(rows, folder=tmp_path / "new").encode(IDS, planes())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["%CE%B1%2F2.fits"]


def test_a_full_disk(tmp_path, monkeypatch):
    rows = SurveyRows(Table({"image": real_files(tmp_path)}), survey=survey(folder=tmp_path))

    def write_bytes(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(OutputError, match="can't write .*new/gsd-1.fits': No space left on device; no new file was"):
        NewCutouts(rows, folder=tmp_path / "new").encode(IDS, NEW)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("row_id", ["x" * 251, "α" * 42])
def test_ids_that_are_too_long_for_a_file(tmp_path, row_id):
    rows = SurveyRows(Table({"image": real_files(tmp_path)}), survey=survey(folder=tmp_path))
    new = NewCutouts(rows, folder=tmp_path / "new")
    with pytest.raises(
        OutputError, match=f"the id '{row_id}' is too long for a file: .* has 25[67] characters, 255 are possible"
    ):
        new.check(["short", row_id])
    new.check([row_id[:-1]])
    new.encode([row_id[:-1]], NEW[:1])


def test_what_cannot_be_written_is_said_first(tmp_path):
    rows = SurveyRows(Table({"image": real_files(tmp_path)}), survey=survey(folder=tmp_path))
    with pytest.raises(
        OutputError, match="cutouts are files, and new ones need a folder: name it with cutouts=, or .* out="
    ):
        NewCutouts(rows).check(IDS)
    with pytest.raises(OutputExistsError, match="g0.fits' is a file; name a folder"):
        NewCutouts(rows, folder=tmp_path / "g0.fits").check(IDS)
    with pytest.raises(OutputError, match="its folder .* doesn't exist; create it"):
        NewCutouts(rows, folder=tmp_path / "a" / "b").check(IDS)
    with pytest.raises(OutputError, match="need a folder: name it with cutouts="):
        NewCutouts(rows).encode(IDS, NEW)
    with pytest.raises(OutputError, match="can't make the folder .*: No such file or directory; .* choose another"):
        NewCutouts(rows, folder=tmp_path / "a" / "b").encode(IDS, NEW)
    NewCutouts(rows, folder=tmp_path / "new").encode(IDS, NEW)
    with pytest.raises(OutputExistsError, match=r"gsd-1.fits' exists already \(2 such files\); pass overwrite=True"):
        NewCutouts(rows, folder=tmp_path / "new").check(IDS)
    again = NewCutouts(rows, folder=tmp_path / "new", overwrite=True)
    again.check(IDS)
    again.encode(IDS, NEW)
    with pytest.raises(
        OutputExistsError, match="g1.fits' is the cutout of row 1 and is not overwritten; choose another"
    ):
        NewCutouts(rows, folder=tmp_path, overwrite=True).check(["g1"])


def test_planes_of_another_shape_or_number():
    new = NewCutouts(SurveyRows(Table({"image": GREY})))
    with pytest.raises(
        ImageError, match=r"new row 1: planes of shape \(3, 5, 5\) for 2 rows; the survey's cutouts have \(3,"
    ):
        new.encode(IDS, [NEW[0], NEW[0, :, :5, :5]])
    with pytest.raises(ImageError, match="1 cutouts for 2 new rows; give one for each"):
        new.encode(IDS, NEW[:1])
    with pytest.raises(ImageError, match="new row 1: planes of shape .* for 1 rows"):
        new.encode(IDS[:1], NEW)


def test_files_that_went_away(tmp_path):
    names = real_files(tmp_path)
    rows = SurveyRows(Table({"image": names}), survey=survey(folder=tmp_path))
    assert rows.size == (H, W)
    for name in names:
        (tmp_path / name).unlink()
    with pytest.raises(ImageError, match="no cutout can be used any more; were its files moved"):
        find_layouts(rows)


def test_a_layout_without_a_codec():
    with pytest.raises(ImageError, match="cutouts of the kind 'array' have no codec"):
        as_picture(GREY[0], Layout("array", (3, H, W), "|u1"))
