"""Round trips of tables through all three formats, exact to the last property."""

import errno
import gzip
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.io.misc import yaml
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.time import Time
from astropy.utils.masked import Masked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from astro_galaxysd.errors import (
    ConditionError,
    MissingDependencyError,
    OutputError,
    OutputExistsError,
    UnknownNameError,
)
from astro_galaxysd.images.storage import read_table, write_table
from astro_galaxysd.images.storage_columns import disassemble
from astro_galaxysd.images.storage_parquet import _flat_array, _pieces_array

SUFFIXES = [".fits", ".fits.gz", ".parquet", ""]
JPEG = b"\xff\xd8\xff\xe0 pretend \xff\xd9"


def objects(items):
    out = np.empty(len(items), object)
    for row, item in enumerate(items):
        out[row] = item
    return out


def assert_same(got, want):
    """Everything that has to survive."""
    assert type(got) is type(want)
    assert got.colnames == want.colnames
    assert len(got) == len(want)
    assert got.masked == want.masked
    assert got.meta == want.meta
    for name in want.colnames:
        assert_same_column(got[name], want[name])


def assert_same_column(got, want):
    assert type(got) is type(want)
    for attribute in ("unit", "description", "format", "meta"):
        assert getattr(got.info, attribute) == getattr(want.info, attribute), attribute
    if not isinstance(want, Column):
        assert np.all(got == want)
        return
    assert got.dtype == want.dtype
    assert got.dtype.str == want.dtype.str
    assert got.shape == want.shape
    mask = np.zeros(want.shape, bool)
    if isinstance(want, MaskedColumn):
        mask = np.ma.getmaskarray(want.data)
        np.testing.assert_array_equal(np.ma.getmaskarray(got.data), mask)
    left, right = np.asarray(np.ma.getdata(got.data))[~mask], np.asarray(np.ma.getdata(want.data))[~mask]
    if want.dtype.kind == "O":
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert type(one) is type(other)
            if isinstance(other, np.ndarray):
                assert one.dtype.str == other.dtype.str
                np.testing.assert_array_equal(one, other)
            else:
                assert one == other
        return
    # Bit for bit, so that NaN and -0.0 count.
    assert np.ascontiguousarray(left).tobytes() == np.ascontiguousarray(right).tobytes()


def round_trip(table, folder, suffix, **options):
    return read_table(write_table(table, folder / f"t{suffix}", **options))


@pytest.fixture
def everything():
    """One column of every sort."""
    rng = np.random.default_rng(1)
    table = Table(meta={"run": {"nested": [1, 2.5, None, {"a": "é"}], "flag": True}, "COMMENT": ["x", "y"]})
    table["id"] = Column(["a", "", "ccc"], description="name, 'quoted'", meta={"ucd": "meta.id"})
    table["masked text"] = MaskedColumn(["", "x ", "masked"], mask=[False, False, True])
    table["greek"] = Column(["α", "a\nb", ' "q", & '])
    table["f4"] = Column(np.array([0.1, np.nan, -0.0], ">f4"), unit="mag", format=".2f")
    table["f8"] = MaskedColumn([np.nan, 1e300, 3], mask=[False, True, False], unit=u.Jy / u.beam)
    table["f2"] = np.array([0.1, 2, np.inf], np.float16)
    table["i1"] = np.array([-128, 0, 127], np.int8)
    table["u8"] = np.array([0, 2**64 - 1, 2**63], np.uint64)
    table["seed"] = MaskedColumn(np.array([1, -(2**63), 2**63 - 1]), mask=[True, False, False])
    table["i4"] = MaskedColumn(np.array([1, 2, 3], np.int32), mask=[True, False, False])
    table["u2"] = MaskedColumn(np.array([1, 2, 65535], ">u2"), mask=[True, False, False])
    table["flag"] = MaskedColumn([True, True, False], mask=[True, False, False])
    table["bool"] = [True, False, True]
    table["c8"] = np.array([1 + 2j, np.nan, 0], np.complex64)
    table["c16"] = MaskedColumn([1 + 2j, 0, 5], mask=[False, True, False])
    table["bytes"] = np.array([b"ab", b"\xff\x00c", b""], "S5")
    table["when"] = np.array(["2020-01-01", "NaT", "1969-07-20"], "datetime64[D]")
    table["image"] = rng.integers(0, 256, (3, 5, 4, 3), np.uint8)
    table["float_image"] = rng.random((3, 4, 4, 3), np.float32)
    table["vector"] = MaskedColumn(rng.random((3, 2)), mask=[[0, 1], [0, 0], [1, 1]])
    table["names"] = MaskedColumn([["a", ""], ["ü", "x"], ["", "y "]], mask=[[0, 1], [0, 0], [0, 0]])
    table["hollow"] = np.empty((3, 0), np.int16)
    table["JPEG"] = objects([JPEG, b"", JPEG + b"\x00\x00"])
    table["jpeg_or_none"] = objects([JPEG, None, b""])
    table["jpeg_masked"] = MaskedColumn(objects([JPEG, None, JPEG]), mask=[False, True, True])
    table["encoded"] = objects([np.frombuffer(JPEG, np.uint8), np.zeros(0, np.uint8), np.zeros(3, np.uint8)])
    table["ragged"] = objects([np.zeros((2, 3, 3), np.uint8), np.arange(4, dtype=">i2"), np.array(["x"])])
    table["text_objects"] = objects(["a", "", None])
    table["dicts"] = objects([{"a": [1, None]}, [1.5], True])
    return table


@pytest.mark.parametrize("suffix", SUFFIXES)
class TestRoundTrip:
    def test_every_sort_of_column(self, everything, tmp_path, suffix):
        assert_same(round_trip(everything, tmp_path, suffix), everything)

    def test_twice_through_gives_the_same(self, everything, tmp_path, suffix):
        again = round_trip(read_table(write_table(everything, tmp_path / f"first{suffix}")), tmp_path, suffix)
        assert_same(again, everything)

    def test_no_rows(self, everything, tmp_path, suffix):
        assert_same(round_trip(everything[:0], tmp_path, suffix), everything[:0])

    def test_no_columns(self, tmp_path, suffix):
        assert_same(round_trip(Table(meta={"a": 1}), tmp_path, suffix), Table(meta={"a": 1}))

    def test_masked_table(self, tmp_path, suffix):
        table = Table({"a": [1, 2], "b": ["", "x"]}, masked=True)
        table["b"].mask[1] = True
        assert_same(round_trip(table, tmp_path, suffix), table)

    def test_mixin_columns(self, tmp_path, suffix):
        table = QTable({"n": [1, 2]})
        table["flux"] = [1.5, 2] * u.nJy
        table["flux"].info.description = "total"
        table["where"] = SkyCoord([1, 2] * u.deg, [-3, 4] * u.deg, frame="galactic")
        table["when"] = Time(["2020-01-01T00:00:00", "2021-01-01T00:00:00"], scale="tdb")
        table["int with unit"] = Column([3, 4])
        table["int with unit"].unit = "m"
        got = round_trip(table, tmp_path, suffix)
        assert type(got) is QTable
        assert got.colnames == table.colnames
        assert got["flux"].unit == u.nJy
        np.testing.assert_array_equal(got["flux"], table["flux"])
        assert got["flux"].info.description == "total"
        assert got["where"].frame.name == "galactic"
        np.testing.assert_array_equal(got["where"].l, table["where"].l)
        assert got["when"].scale == "tdb"
        assert got["when"].format == "isot"
        assert np.all(got["when"] == table["when"])
        assert_same_column(got["int with unit"], table["int with unit"])
        assert "__serialized_columns__" not in got.meta

    def test_masked_quantity_and_time(self, tmp_path, suffix):
        table = QTable()
        table["mag"] = Masked([1.0, 2.0] * u.mag, mask=[False, True])
        table["when"] = Time([1.0, 2.0], format="mjd")
        table["when"][1] = np.ma.masked
        got = round_trip(table, tmp_path, suffix)
        assert got["mag"].unit == u.mag
        np.testing.assert_array_equal(got["mag"].mask, [False, True])
        assert got["mag"][0] == 1 * u.mag
        np.testing.assert_array_equal(np.asarray(got["when"].mask), [False, True])

    def test_quantity_column_in_a_plain_table(self, tmp_path, suffix):
        table = Table({"a": [1.0, 2] * u.m})
        assert_same(round_trip(table, tmp_path, suffix), table)

    def test_some_columns(self, everything, tmp_path, suffix):
        path = write_table(everything, tmp_path / f"t{suffix}")
        got = read_table(path, ["vector", "id"])
        assert got.colnames == ["id", "vector"]
        assert_same_column(got["vector"], everything["vector"])
        assert read_table(path, []).colnames == []

    def test_some_columns_of_a_table_with_mixins(self, tmp_path, suffix):
        table = QTable({"a": [1], "where": SkyCoord([1] * u.deg, [2] * u.deg), "m": [1.0] * u.m})
        path = write_table(table, tmp_path / f"t{suffix}")
        assert read_table(path, ["where"]).colnames == ["where"]
        assert read_table(path, ["m", "a"]).colnames == ["a", "m"]
        with pytest.raises(UnknownNameError, match="unknown column 'where.ra'"):
            read_table(path, ["where.ra"])

    def test_unknown_column(self, everything, tmp_path, suffix):
        path = write_table(everything, tmp_path / f"t{suffix}")
        with pytest.raises(UnknownNameError, match="unknown column 'imag': did you mean 'image'"):
            read_table(path, ["imag"])

    def test_odd_column_names(self, tmp_path, suffix):
        names = ["a", "A", "größe", "a/b", "x" * 80, " lead", "galaxysd_masks", "..", "table", "CON.", "é" * 40]
        table = Table({name: MaskedColumn([[1], [2]], mask=[[False], [True]]) for name in names})
        assert_same(round_trip(table, tmp_path, suffix), table)

    def test_existing_output(self, tmp_path, suffix):
        first, second = Table({"a": [1]}), Table({"a": [2, 3]})
        path = write_table(first, tmp_path / f"t{suffix}")
        with pytest.raises(OutputExistsError, match="exists already; pass overwrite=True"):
            write_table(second, path)
        assert_same(read_table(path), first)
        write_table(second, path, overwrite=True)
        assert_same(read_table(path), second)
        assert len(list(tmp_path.iterdir())) == 1

    def test_disk_full_leaves_nothing(self, everything, tmp_path, suffix, monkeypatch):
        def full(*args, **kwargs):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        import pyarrow.parquet as pq

        monkeypatch.setattr(fits.HDUList, "writeto", full)
        monkeypatch.setattr(pq, "write_table", full)
        monkeypatch.setattr(Path, "write_text", full)
        with pytest.raises(OutputError, match="No space left on device; nothing was left under that name"):
            write_table(everything, tmp_path / f"t{suffix}")
        assert list(tmp_path.iterdir()) == []

    def test_interrupt_leaves_the_old_output(self, tmp_path, suffix, monkeypatch):
        old = Table({"a": [1]})
        path = write_table(old, tmp_path / f"t{suffix}")

        def interrupt(*args, **kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "replace", interrupt)
        monkeypatch.setattr(os, "rename", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_table(Table({"a": [2]}), path, overwrite=True)
        monkeypatch.undo()
        assert_same(read_table(path), old)
        assert len(list(tmp_path.iterdir())) == 1

    @pytest.mark.parametrize(
        ("column", "message"),
        [
            (objects([object()]), "column 'bad' is an object column whose item 0 .object. can't be stored exactly"),
            (objects([(1, 2)]), "item 0 .tuple. can't be stored"),
            (objects([{1: 2}]), "item 0 .dict. can't be stored"),
            (np.zeros(1, "f4,i2"), "column 'bad' is structured"),
            (np.zeros(1, np.longdouble), "column 'bad' of dtype float128 can't be stored"),
            (["\ud800"], "the text of row 0 is no Unicode text"),
            (np.array([[None, b""]], object), "object column with 2 axes"),
            (MaskedColumn(objects([None]), mask=[False]), "row 0 is None and not masked"),
        ],
    )
    def test_what_cant_be_stored(self, tmp_path, suffix, column, message):
        table = Table()
        table["bad"] = column
        with pytest.raises(OutputError, match=message):
            write_table(table, tmp_path / f"t{suffix}")
        assert list(tmp_path.iterdir()) == []

    def test_meta_that_cant_be_stored(self, tmp_path, suffix):
        with pytest.raises(OutputError, match="the table's meta can't be stored"):
            write_table(Table({"a": [1]}, meta={"x": lambda: 1}), tmp_path / f"t{suffix}")

    def test_mixin_that_cant_be_stored(self, tmp_path, suffix):
        from astropy.table import NdarrayMixin

        table = Table()
        table["bad"] = np.zeros(2, object).view(NdarrayMixin)
        table["bad"][0] = object()
        with pytest.raises(OutputError):
            write_table(table, tmp_path / f"t{suffix}")

    def test_missing_file(self, tmp_path, suffix):
        with pytest.raises(ConditionError, match="there is no table at"):
            read_table(tmp_path / f"none{suffix}")

    def test_missing_folder(self, tmp_path, suffix):
        with pytest.raises(OutputError, match="its folder .* doesn't exist; create it"):
            write_table(Table({"a": [1]}), tmp_path / "none" / f"t{suffix}")


TEXTS = st.text(max_size=6)
UNICODE = TEXTS.filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text) and not text.endswith("\0"))
YAML = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | UNICODE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(UNICODE, inner, max_size=3),
    max_leaves=5,
)
DTYPES = st.sampled_from(
    ["b1", "i1", "u1", "i2", ">i2", "u4", ">i4", "i8", "u8", "f2", "f4", ">f4", "f8", ">f8", "c8", ">c16"]
).map(np.dtype)


@st.composite
def tables(draw):
    rows = draw(st.integers(0, 4))
    table = Table(meta=draw(st.dictionaries(UNICODE, YAML, max_size=2)))
    for number in range(draw(st.integers(1, 4))):
        sort = draw(st.sampled_from(["numbers", "texts", "bytes", "arrays"]))
        if sort == "numbers":
            shape = (rows, *draw(hnp.array_shapes(min_dims=0, max_dims=3, max_side=3)))
            values = draw(hnp.arrays(draw(DTYPES), shape))
        elif sort == "texts":
            values = np.array(draw(st.lists(UNICODE, min_size=rows, max_size=rows)), dtype=str)
        elif sort == "bytes":
            values = objects(draw(st.lists(st.binary(max_size=5), min_size=rows, max_size=rows)))
        else:
            array = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=3, max_side=3))
            values = objects(draw(st.lists(array, min_size=rows, max_size=rows)))
        # numpy itself warns of the fill value of masked half floats.
        if values.dtype != np.float16 and draw(st.booleans()):
            values = MaskedColumn(values, mask=draw(hnp.arrays(bool, values.shape)))
        table[f"c{number}"] = values
    return table


@pytest.mark.parametrize("suffix", [".fits", ".parquet", ""])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(table=tables())
def test_any_small_table_survives(table, suffix, tmp_path_factory):
    assert_same(round_trip(table, tmp_path_factory.mktemp("t"), suffix), table)


def test_format_overrides_the_suffix(tmp_path):
    table = Table({"a": [1]})
    path = write_table(table, tmp_path / "x.dat", format="folder")
    assert path.is_dir()
    assert_same(read_table(path), table)


@pytest.mark.parametrize(("name", "options"), [("t.csv", {}), ("t.fits", {"format": "votable"})])
def test_unknown_format(tmp_path, name, options):
    with pytest.raises(OutputError, match="can't tell a table format from .* use .fits"):
        write_table(Table({"a": [1]}), tmp_path / name, **options)


def test_read_unknown_format(tmp_path):
    (tmp_path / "t.csv").write_text("a\n1\n")
    with pytest.raises(ConditionError, match="can't tell a table format"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize("suffix", [".fits", ".fits.gz", ".parquet"])
def test_damaged_file(everything, tmp_path, suffix):
    path = write_table(everything, tmp_path / f"t{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ConditionError, match="can't read .*damaged or incomplete"), np.errstate(all="ignore"):
        read_table(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_later_layout_is_refused(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr("astro_galaxysd.images.storage_columns.LAYOUT", 7)
    path = write_table(Table({"a": [1]}), tmp_path / f"t{suffix}")
    monkeypatch.undo()
    with pytest.raises(ConditionError, match="layout 7, this version reads up to 1: update astro_galaxysd"):
        read_table(path)


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    path = write_table(Table({"a": [1]}), tmp_path / "t.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingDependencyError, match="pip install pyarrow"):
        read_table(path)
    with pytest.raises(MissingDependencyError, match="pip install pyarrow"):
        write_table(Table({"a": [1]}), tmp_path / "u.parquet")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "meta",
    [
        {"plain": {"numbers": [1, 2.5, 1e17, True, None, float("inf")], "text": "a: b\n'c'", "empty": {}}},
        {"pair": (1, 2)},
        {"deep": [{"pair": (1, "a")}]},
        {"numpy": np.float32(0.1), "unit": u.Jy},
    ],
)
def test_meta_is_written_as_astropy_writes_it(meta):
    description, _ = disassemble(Table({"a": [1]}, meta=meta))
    assert description["meta"] == yaml.dump(meta, sort_keys=False)


@pytest.mark.parametrize(
    ("values", "nulls"),
    [
        (np.array([True, False] * 6), None),
        (np.array([True, False] * 6), np.arange(12) % 3 == 0),
        (np.arange(24, dtype=np.int16)[::2], np.arange(12) % 3 == 0),
        (np.array([0.5, -np.inf, 1e30], dtype=np.float32), np.array([True, False, False])),
        (np.array([], dtype=np.uint64), None),
    ],
)
def test_numbers_become_what_arrow_makes_of_them(values, nulls):
    assert _flat_array(pa, values, nulls).equals(pa.array(values, mask=nulls))


@pytest.mark.parametrize("text", [True, False])
def test_texts_and_bytes_become_what_arrow_makes_of_them(text, monkeypatch):
    pieces = [b"merger", None, b"", "Bärenhüter".encode(), *[b"x"] * 9]
    items = [piece.decode() if text and piece is not None else piece for piece in pieces]
    kinds = (pa.string(), pa.large_string()) if text else (pa.binary(), pa.large_binary())
    for some in (slice(None), slice(0)):
        assert _pieces_array(pa, pieces[some], text=text).equals(pa.array(items[some], kinds[0]))
    monkeypatch.setattr("astro_galaxysd.images.storage_parquet._OFFSET_LIMIT", 20)
    large = _pieces_array(pa, pieces, text=text)
    large.validate(full=True)
    assert large.equals(pa.array(items, kinds[1]))


def test_writing_leaves_the_table_alone(everything, tmp_path):
    before = everything.copy()
    everything["where"] = SkyCoord([1, 2, 3] * u.deg, [4, 5, 6] * u.deg)
    for suffix in SUFFIXES:
        write_table(everything, tmp_path / f"t{suffix}")
    everything.remove_column("where")
    assert_same(everything, before)


class TestFits:
    def test_other_programs_read_it(self, everything, tmp_path):
        path = write_table(everything, tmp_path / "t.fits")
        with fits.open(path) as hdus:
            hdus.verify("exception")
            assert [hdu.name for hdu in hdus] == ["PRIMARY", "TABLE", "GALAXYSD"]
        table = Table.read(path)
        np.testing.assert_array_equal(table["image"], everything["image"])
        assert [table["id"][0], table["id"][2]] == ["a", "ccc"]
        assert table["i4"].mask.tolist() == [True, False, False]
        assert np.ma.getmaskarray(table["f8"])[1]
        assert table["f8"].unit == u.Jy / u.beam
        assert bytes(table["JPEG"][0]) == JPEG

    def test_gz_is_compressed(self, tmp_path):
        path = write_table(Table({"a": [1]}), tmp_path / "t.fits.gz")
        assert gzip.decompress(path.read_bytes()).startswith(b"SIMPLE")

    def test_rows_removed_by_others_keep_their_masks(self, everything, tmp_path):
        path = write_table(everything, tmp_path / "t.fits")
        with fits.open(path) as hdus:
            hdus[1].data = hdus[1].data[1:]
            hdus.writeto(tmp_path / "cut.fits")
        assert_same(read_table(tmp_path / "cut.fits"), everything[1:])

    def test_foreign_file(self, tmp_path):
        names = np.array(["a", "bb"])
        Table({"name": names, "x": [1.5, 2], "n": MaskedColumn([1, 2], mask=[0, 1])}).write(tmp_path / "t.fits")
        table = read_table(tmp_path / "t.fits")
        assert list(table["name"]) == ["a", "bb"]
        assert table["name"].dtype.kind == "U"
        assert table["x"].dtype == np.float64
        assert table["x"].dtype.isnative
        assert table["n"].mask[1]
        assert read_table(tmp_path / "t.fits", ["x"]).colnames == ["x"]
        with pytest.raises(UnknownNameError, match="unknown column 'y'"):
            read_table(tmp_path / "t.fits", ["y"])

    def test_no_table_inside(self, tmp_path):
        fits.PrimaryHDU(np.zeros((2, 2))).writeto(tmp_path / "t.fits")
        with pytest.raises(ConditionError, match="holds no table"):
            read_table(tmp_path / "t.fits")

    def test_changed_columns_are_read_as_foreign(self, tmp_path):
        path = write_table(Table({"a": [1], "b": [2]}), tmp_path / "t.fits")
        with fits.open(path) as hdus:
            hdus[1].columns.del_col("a")
            hdus.writeto(tmp_path / "cut.fits")
        assert read_table(tmp_path / "cut.fits").colnames == ["b"]


class TestParquet:
    def test_pandas_reads_it(self, everything, tmp_path):
        import io

        pd = pytest.importorskip("pandas")
        from PIL import Image

        frame = pd.read_parquet(write_table(everything, tmp_path / "t.parquet"))
        assert frame["JPEG"][0] == JPEG
        assert frame["id"].tolist() == ["a", "", "ccc"]
        assert frame["seed"].isna().tolist() == [True, False, False]
        image = Image.open(io.BytesIO(frame["image"][1]))
        np.testing.assert_array_equal(np.asarray(image), everything["image"][1])

    def test_selected_rows_keep_their_masks(self, everything, tmp_path):
        import pyarrow.parquet as pq

        arrow = pq.read_table(write_table(everything, tmp_path / "t.parquet"))
        pq.write_table(arrow.slice(1), tmp_path / "cut.parquet")
        assert_same(read_table(tmp_path / "cut.parquet"), everything[1:])

    def test_foreign_file(self, tmp_path):
        import datetime
        import decimal

        import pyarrow as pa
        import pyarrow.parquet as pq

        arrow = pa.table(
            {
                "jpeg": pa.array([JPEG + b"\0\0", None], pa.binary()),
                "hf": pa.array([{"bytes": JPEG, "path": None}, {"bytes": b"x", "path": "p"}]),
                "s": pa.array(["", None]),
                "d": pa.array(["a", "b"]).dictionary_encode(),
                "f": pa.array([float("nan"), None]),
                "i": pa.array([2**62 + 1, None], pa.int64()),
                "b": pa.array([True, None]),
                "v": [[1, 2], [3, 4]],
                "r": [[1, 2], [3]],
                "t": [datetime.date(2020, 1, 2), None],
                "m": [decimal.Decimal("1.5"), None],
            }
        ).replace_schema_metadata({"origin": "elsewhere", "pandas": "{}"})
        pq.write_table(arrow, tmp_path / "t.parquet")
        table = read_table(tmp_path / "t.parquet")
        assert table.colnames == list(arrow.column_names)
        assert table["jpeg"][0] == JPEG + b"\0\0"
        assert table["jpeg"].mask.tolist() == [False, True]
        assert list(table["hf"]) == [JPEG, b"x"]
        assert table["s"][0] == ""
        assert table["s"].mask.tolist() == [False, True]
        assert list(table["d"]) == ["a", "b"]
        assert np.isnan(table["f"][0])
        assert table["f"].mask.tolist() == [False, True]
        assert table["i"][0] == 2**62 + 1
        assert table["b"].dtype == bool
        assert table["v"].shape == (2, 2)
        assert table["r"][1].tolist() == [3]
        assert str(table["t"][0]) == "2020-01-02"
        assert table["m"][0] == 1.5
        assert table.meta == {"origin": "elsewhere"}
        assert read_table(tmp_path / "t.parquet", ["i"]).colnames == ["i"]
        with pytest.raises(UnknownNameError, match="unknown column 'zz'"):
            read_table(tmp_path / "t.parquet", ["zz"])

    def test_real_galaxies(self, gz2, tmp_path):
        table = read_table(gz2 / "test.parquet", ["id", "image", "Class1.1"])[:20]
        assert table["image"].dtype == object
        assert table["image"][0].startswith(b"\xff\xd8\xff")
        assert table["id"].dtype.kind == "U"
        for suffix in SUFFIXES:
            assert_same(round_trip(table, tmp_path, suffix), table)


class TestFolder:
    def test_images_can_be_opened(self, everything, tmp_path):
        from PIL import Image

        folder = write_table(everything, tmp_path / "galaxies")
        np.testing.assert_array_equal(np.asarray(Image.open(folder / "image" / "000001.png")), everything["image"][1])
        assert (folder / "jpeg_masked" / "000000.jpg").read_bytes() == JPEG
        visible = Table.read(folder / "table.ecsv")
        assert visible["image"][0] == "image/000000.png"
        assert visible["seed"].mask[0]

    def test_plain_ecsv_in_a_folder(self, tmp_path):
        Table({"a": [1, 2], "b": ["x", "y"]}).write(tmp_path / "table.ecsv")
        assert read_table(tmp_path, ["b"]).colnames == ["b"]
        with pytest.raises(UnknownNameError, match="unknown column 'c'"):
            read_table(tmp_path, ["c"])

    def test_edited_table(self, tmp_path):
        folder = write_table(Table({"a": [1, 2]}), tmp_path / "t")
        (folder / "table.ecsv").write_text((folder / "table.ecsv").read_text() + "3\n")
        with pytest.raises(ConditionError, match="don't belong together"):
            read_table(folder)

    def test_missing_image_file(self, everything, tmp_path):
        folder = write_table(everything, tmp_path / "t")
        (folder / "image" / "000002.png").unlink()
        with pytest.raises(ConditionError, match="row 2 of column 'image' has no file"):
            read_table(folder)

    def test_folder_without_table(self, tmp_path):
        with pytest.raises(ConditionError, match="holds no table.ecsv"):
            read_table(tmp_path)

    def test_other_folders_are_never_overwritten(self, tmp_path):
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "thesis.tex").write_text("x")
        with pytest.raises(OutputExistsError, match="it is not overwritten"):
            write_table(Table({"a": [1]}), tmp_path / "home", overwrite=True)
        assert (tmp_path / "home" / "thesis.tex").exists()

    def test_an_empty_folder_is_filled(self, tmp_path):
        (tmp_path / "t").mkdir()
        assert len(read_table(write_table(Table({"a": [1]}), tmp_path / "t", overwrite=True))) == 1
