"""A survey's cutouts row by row: every kind of cell, and every kind of fault named."""

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from PIL import Image

from astro_galaxysd.errors import ConditionError, ImageError, SurveyError, UnknownNameError
from astro_galaxysd.survey.card import Survey
from astro_galaxysd.survey.cells import holds_files, open_cell
from astro_galaxysd.survey.rows import SurveyRows

N, H, W = 4, 12, 15
FLUX = np.random.default_rng(0).normal(2, 5, (N, 3, H, W)).astype(np.float32)
GREY = np.random.default_rng(1).integers(0, 256, (N, H, W, 3), np.uint8)
LINEAR = {"kind": "linear", "vmin": -20.0, "vmax": 20.0}


def survey(**what):
    return Survey(**{"stretch": LINEAR, **what})


def celestial(scale=0.4):
    header = fits.Header()
    for axis, (name, sign) in enumerate((("RA---TAN", -1), ("DEC--TAN", 1)), start=1):
        header[f"CTYPE{axis}"], header[f"CRPIX{axis}"], header[f"CRVAL{axis}"] = name, 5.0, 30.0
        header[f"CD{axis}_{axis}"] = sign * scale / 3600
    return header


def fits_folder(folder, planes=FLUX, **cards):
    for row, data in enumerate(planes):
        header = celestial()
        header.update(cards)
        fits.PrimaryHDU(np.ascontiguousarray(data[..., ::-1, :]), header).writeto(folder / f"g{row}.fits")
    return [f"g{row}.fits" for row in range(len(planes))]


def encoded(pixels, codec="PNG"):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, codec)
    return stream.getvalue()


def objects(items):
    out = np.empty(len(items), object)
    for row, item in enumerate(items):
        out[row] = item
    return out


def sources(folder):
    names = fits_folder(folder)
    paths = [folder / name for name in names]
    hdus = [fits.ImageHDU(data[:, ::-1]) for data in FLUX]
    last = np.moveaxis(FLUX, 1, -1)
    return {
        "text": (Table({"image": [str(path) for path in paths]}), None),
        "paths": (Table({"image": objects(paths)}), None),
        "bytes of paths": (Table({"image": objects([str(path).encode() for path in paths])}), None),
        "S column": (Table({"image": np.array([str(path) for path in paths], dtype="S")}), None),
        "list": (Table({"id": range(N)}), paths),
        "array": (Table({"image": last}), None),
        "objects": (Table({"image": objects(list(last))}), None),
        "quantity": (Table({"image": last * u.ct}), None),
        "hdus": (Table({"id": range(N)}), hdus),
        "one file": (Table({"id": range(N)}), fits.HDUList([fits.PrimaryHDU(), *hdus])),
        "columns": (Table({f"c{band}": FLUX[:, number] for number, band in enumerate("irg")}), ("ci", "cr", "cg")),
        "mapping": (Table({"i": FLUX[:, 0]}), {"g": list(FLUX[:, 2]), "i": "i", "r": FLUX[:, 1]}),
    }  # fmt: skip


@pytest.mark.parametrize("kind", [
    "text", "paths", "bytes of paths", "S column", "list", "array", "objects", "quantity", "hdus", "one file",
    "columns", "mapping",
])  # fmt: skip
def test_every_kind_gives_the_same_planes(tmp_path, kind):
    table, images = sources(tmp_path)[kind]
    rows = SurveyRows(table, images, survey())
    assert (len(rows), rows.size, rows.unusable(), rows.unusable(full=True)) == (N, (H, W), {}, {})
    for row in range(N):
        planes = rows.planes(row)
        assert planes.dtype == np.float64
        np.testing.assert_array_equal(planes, FLUX[row])


@pytest.mark.parametrize(("make", "kind"), [
    (lambda folder: objects([encoded(pixels) for pixels in GREY]), "encoded"),
    (lambda folder: objects([np.frombuffer(encoded(pixels), np.uint8) for pixels in GREY]), "encoded"),
    (lambda folder: GREY, "array"),
    (lambda folder: (GREY / 255).astype(np.float32), "array"),
    (lambda folder: [Path(folder / f"{row}.png").write_bytes(encoded(pixels)) and str(folder / f"{row}.png")
                     for row, pixels in enumerate(GREY)], "picture"),
])  # fmt: skip
def test_display_images(tmp_path, make, kind):
    rows = SurveyRows(Table({"image": make(tmp_path)}))
    assert rows.kind == kind
    for row in range(N):
        np.testing.assert_allclose(rows.planes(row), np.moveaxis(GREY[row], -1, 0) / 255, atol=1e-7)
        np.testing.assert_array_equal(rows.survey.display(rows.planes(row)), GREY[row])


def test_bands_are_chosen_from_planes_by_name():
    five = np.arange(5.0)[:, None, None] * np.ones((N, 5, H, W))
    rows = SurveyRows(
        Table({"image": np.moveaxis(five, 1, -1)}), survey=survey(planes=tuple("ugriz"), bands=tuple("zrg"))
    )
    assert rows.planes(0)[:, 0, 0].tolist() == [4, 2, 1]


def test_luminance():
    rows = SurveyRows(Table({"image": FLUX[:, 0]}), survey=survey(bands="luminance"))
    np.testing.assert_array_equal(rows.planes(1), FLUX[1, :1])
    grey = np.repeat(GREY[..., :1], 3, axis=-1)
    rows = SurveyRows(Table({"image": grey}), survey=Survey(bands="luminance"))
    np.testing.assert_allclose(rows.planes(1), GREY[1, ..., 0][None] / 255)
    coloured = SurveyRows(Table({"image": GREY}), survey=Survey(bands="luminance"))
    assert coloured.unusable() == {}
    assert "coloured, where bands='luminance' needs one band" in coloured.unusable(full=True)[0]


def test_missing_pixels_are_nan():
    masked = np.ma.MaskedArray(np.moveaxis(FLUX, 1, -1), np.zeros((N, H, W, 3), bool))
    masked.mask[0, :2] = True
    rows = SurveyRows(Table({"image": MaskedColumn(masked)}), survey=survey())
    assert np.isnan(rows.planes(0)[:, :2]).all()
    assert np.isfinite(rows.planes(0)[:, 2:]).all()


def test_names_and_rows_that_take_part():
    table = Table({"objid": [f"J{row}" for row in range(N)], "image": np.moveaxis(FLUX, 1, -1)})
    rows = SurveyRows(table, survey=survey(), rows=[3, 1])
    assert [rows.name(0), rows.identifier(1), len(rows)] == ["row 3 (J3)", "J1", 2]
    np.testing.assert_array_equal(rows.planes(0), FLUX[3])
    plain = SurveyRows(table["image",], survey=survey())
    assert [plain.name(2), plain.row_id(2), plain.identifier(2)] == ["row 2", None, "2"]


def test_pixel_scale(tmp_path):
    names = fits_folder(tmp_path)
    rows = SurveyRows(Table({"image": names}), survey=survey(folder=tmp_path))
    assert rows.pixel_scale(0) == pytest.approx(0.4)
    assert SurveyRows(Table({"image": names}), survey=survey(folder=tmp_path, pixel_scale=0.3)).pixel_scale(0) == 0.3
    arrays = SurveyRows(Table({"id": ["a"] * N, "image": np.moveaxis(FLUX, 1, -1)}), survey=survey())
    assert arrays.pixel_scale(0) is None


def test_saturation(tmp_path):
    table = Table({"image": fits_folder(tmp_path, SATURATE=30.0)})
    assert SurveyRows(table, survey=survey(folder=tmp_path)).saturation(0) == 30.0
    assert SurveyRows(table, survey=survey(folder=tmp_path, saturation=1e9)).saturation(0) == 1e9
    # a header speaks of fluxes, not of display values
    assert SurveyRows(table, survey=Survey(folder=tmp_path)).saturation(0) is None
    assert SurveyRows(Table({"image": np.moveaxis(FLUX, 1, -1)}), survey=survey()).saturation(0) is None


@pytest.mark.parametrize(
    ("cards", "level"), [((900.0, 800, 1000.0), 800.0), ((0.0, True, "high"), None), ((None, None, 5), 5.0)]
)
def test_saturation_is_that_of_the_band_that_saturates_first(cards, level):
    headers = [fits.Header() if card is None else fits.Header({"SATURATE": card}) for card in cards]
    bands = {band: [fits.ImageHDU(FLUX[0, 0], header)] for band, header in zip("irg", headers, strict=True)}
    assert SurveyRows(Table({"id": [1]}), bands, survey()).saturation(0) == level


def test_the_headers_of_plain_files_need_no_open_file(tmp_path, monkeypatch):
    """Headers of a long table are all looked at before anything is drawn; astropy.io.fits.open takes twice as long."""
    names = fits_folder(tmp_path)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(FLUX[0])]).writeto(tmp_path / "extension.fits")
    rows = SurveyRows(Table({"image": [*names, "extension.fits"]}), survey=survey(folder=tmp_path))
    opened, original = [], fits.open

    def counted(path, **options):
        opened.append(Path(path).name)
        return original(path, **options)

    monkeypatch.setattr(fits, "open", counted)
    assert rows.unusable() == {}
    assert rows.pixel_scale(0) == pytest.approx(0.4)
    assert set(opened) == {"extension.fits"}


def test_some_of_the_rows(tmp_path):
    table = Table({"objid": [f"J{row}" for row in range(N)], "key": list("abcd"), "image": np.moveaxis(FLUX, 1, -1)})
    rows = SurveyRows(table, survey=survey(), rows=[3, 1, 2], id_column="key")
    part = rows.only([2, 0])
    assert [len(rows), rows.name(0), len(part), part.name(0), part.name(1)] == [
        3, "row 3 (d)", 2, "row 2 (c)", "row 3 (d)",
    ]  # fmt: skip
    np.testing.assert_array_equal(part.planes(1), FLUX[3])
    with pytest.raises(ImageError, match="there are no cutouts: no row is left"):
        rows.only([])
    with pytest.raises(UnknownNameError, match="unknown id column 'name'"):
        SurveyRows(table, survey=survey(), id_column="name")


def test_a_long_table_costs_no_memory(tmp_path):
    names = fits_folder(tmp_path, np.ones((1, 3, 200, 200), np.float32)) * 15
    rows = SurveyRows(Table({"image": names}), survey=survey(folder=tmp_path))
    rows.planes(0)
    tracemalloc.start()
    for row in range(len(rows)):
        rows.planes(row)
    assert tracemalloc.get_traced_memory()[1] < 5 * 8 * 3 * 200 * 200
    tracemalloc.stop()


def bad_rows(folder):
    """Cells with a fault each, behind two good ones, and what is said of them."""
    good = fits_folder(folder)
    last = np.moveaxis(FLUX[0], 0, -1)
    infinite = last.copy()
    infinite[3, 3, 0] = np.inf
    fits.PrimaryHDU(np.moveaxis(FLUX[0], 0, -1)).writeto(folder / "last.fits")
    fits.PrimaryHDU(FLUX[0], fits.Header({"BUNIT": "adu"})).writeto(folder / "adu.fits")
    return [
        (folder / good[0], ""), (folder / good[1], ""),
        (folder / "gone.fits", "no file"), (folder / ("x" * 300), "'/"), (folder / good[0] / "inner.fits", "no file"),
        ("", "has no cutout"), (None, "has no cutout"),
        (3.5, "unknown kind of cutout (float)"),
        (folder / "last.fits", "the bands come last, shape"),
        (FLUX[0], "planes first in an array; use np.moveaxis(images, -3, -1)"),
        (last[..., :2], "2 bands, 12x15 pixels; the survey has 3 (i, r, g); name all 2 in their order with planes="),
        (last[..., 0], "1 band, 12x15 pixels; the survey has 3 (i, r, g); name one column a band, or declare bands"),
        (folder / "adu.fits", "unit 'adu' (BUNIT) where the survey declares 'nanomaggy'"),
        (encoded(GREY[0]), "a JPEG or PNG is a display image already, but a stretch is declared"),
        (last[:9], "9x15 pixels where most are 12x15"),
        (infinite, "infinite pixels; set what was not observed to NaN"),
        (np.full_like(last, np.nan), "has no finite pixel"),
    ]  # fmt: skip


def test_every_fault_is_named(tmp_path):
    cells = bad_rows(tmp_path)
    rows = SurveyRows(Table({"image": objects([cell for cell, _ in cells])}), survey=survey(unit="nanomaggy"))
    reasons = rows.unusable(full=True)
    assert sorted(reasons) == list(range(2, len(cells)))
    for row, (_, reason) in enumerate(cells):
        assert reasons.get(row, "").startswith(reason), reasons.get(row)
    by_header = rows.unusable()
    assert sorted(by_header) == list(range(2, len(cells) - 2))
    assert 14 not in rows.unusable(same_size=False)
    assert rows.unusable([0, 2]) == {2: by_header[2]}


def test_fluxes_without_a_stretch(tmp_path):
    rows = SurveyRows(Table({"image": fits_folder(tmp_path, BUNIT="nmgy")}), survey=Survey(folder=tmp_path))
    with pytest.raises(
        ImageError, match=r"row 0: values from -\d.* to \d.* nmgy and no stretch is declared; .*declare str"
    ):
        rows.planes(0)
    counts = SurveyRows(Table({"image": np.ones((N, H, W, 3), np.int16)}))
    with pytest.raises(
        ImageError, match=r"pixels of dtype int16; without a stretch they must be uint8.*declare stretch="
    ):
        counts.planes(0)
    with pytest.raises(ImageError, match=r"no cutout can be used: row 0: .*; row 1: .*; row 2: .* \.\.\. and 1 more"):
        _ = counts.size


def test_one_column_a_band():
    table = Table({"i": FLUX[:, 0], "r": FLUX[:, 1, :9], "g": np.moveaxis(FLUX, 1, -1)})
    with pytest.raises(ImageError, match="row 0: band r is 9x15 pixels where band i is 12x15; resample the bands"):
        SurveyRows(table, ("i", "r", "i"), survey()).planes(0)
    with pytest.raises(ImageError, match="row 0: 3 bands.*; a column of one band holds one; name one column for all"):
        SurveyRows(table, ("i", "i", "g"), survey()).planes(0)
    assert SurveyRows(table, ("g",), survey()).planes(0).shape == (3, H, W)


def test_where_the_cutouts_are():
    table = Table({"image": np.moveaxis(FLUX, 1, -1), "i": FLUX[:, 0], "r": FLUX[:, 1]})
    with pytest.raises(UnknownNameError, match="unknown image column 'pixels'"):
        SurveyRows(table, "pixels")
    with pytest.raises(UnknownNameError, match="unknown image column 'g'"):
        SurveyRows(table, survey=survey(columns=("i", "r", "g")))
    with pytest.raises(ImageError, match="2 columns of cutouts for the bands .*; name one for each band"):
        SurveyRows(table, ["i", "r"], survey())
    with pytest.raises(ImageError, match="images= has the bands i, z where the survey has i, r, g; give one"):
        SurveyRows(table, {"i": "i", "z": "r"}, survey())
    with pytest.raises(ConditionError, match="given twice: images= and the table's column 'image'"):
        SurveyRows(table, list(FLUX), survey())
    with pytest.raises(ImageError, match="3 cutouts for 4 rows; give one for each row"):
        SurveyRows(table["i",], list(FLUX[:3]), survey())
    with pytest.raises(ImageError, match="images= is of the type float; give the name of a column"):
        SurveyRows(table["i",], 3.5, survey())
    with pytest.raises(ImageError, match="the images are bytes in a column of dtype .*: make an object column"):
        SurveyRows(Table({"image": np.array([encoded(pixels) for pixels in GREY])}))
    with pytest.raises(ImageError, match="there are no cutouts: the table has no rows"):
        SurveyRows(table[:0], survey=survey())
    with pytest.raises(SurveyError, match=r"planes=.* but there is a column for each band; drop planes="):
        SurveyRows(table, ("i", "r", "i"), survey(planes=("i", "r", "g")))


def test_holds_files():
    assert holds_files(Table({"image": ["a.fits"]}))
    assert holds_files(Table({"other": objects([None, Path("a.fits")])}), "other")
    assert holds_files(Table({"id": [1]}), [b"a.fits"])
    assert not holds_files(Table({"image": GREY}))
    assert not holds_files(Table({"id": [1]}))
    assert not holds_files(Table({"image": objects([encoded(GREY[0])])}))


def test_bytes_that_are_neither_path_nor_picture():
    assert open_cell(b"\xff\xfe\x00", "row 0").kind == "encoded"
    with pytest.raises(ImageError, match="row 0: 3 bytes that are no readable JPEG or PNG"):
        open_cell(b"\xff\xfe\x00", "row 0").read()


def test_real_files():
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / "fits"
    if not folder.is_dir():
        pytest.skip("real FITS files (../shared/data/fits) are not here")
    names = [f"abell_2744_{name}_f105w.fits.gz" for name in ("group_of_galaxies", "spiral_galaxy")]
    hst = survey(bands="luminance", folder=folder, unit="electron / s")
    rows = SurveyRows(Table({"image": names}), survey=hst)
    assert [rows.planes(row).shape for row in range(2)] == [(1, 100, 100), (1, 150, 150)]
    assert rows.pixel_scale(0) == pytest.approx(0.06, rel=1e-4)
    assert list(rows.unusable()) == [1]


def test_another_unit_than_most_is_named(tmp_path):
    for row in range(4):
        hdu = fits.PrimaryHDU(np.ones((16, 16), np.float32))
        hdu.header["BUNIT"] = "Jy" if row == 2 else "nanomaggy"
        hdu.writeto(tmp_path / f"{row}.fits")
    table = Table({"image": [f"{row}.fits" for row in range(4)]})
    stretch = {"kind": "linear", "vmin": 0.0, "vmax": 2.0}
    rows = SurveyRows(table, survey=Survey(bands="luminance", stretch=stretch, folder=tmp_path))
    assert list(rows.unusable()) == [2]
    assert "unit 'Jy' (BUNIT) where most have 'nanomaggy'; bring all cutouts to one unit" in rows.unusable()[2]
