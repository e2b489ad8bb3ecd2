"""Pieces of tables against slices of the whole table."""

import gzip
import io
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.time import Time
from astropy.utils.masked import Masked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astro_galaxysd.errors import ConditionError, ImageError, MissingDependencyError, UnknownNameError
from astro_galaxysd.images.storage import read_table, write_table
from astro_galaxysd.images.streaming import read_pieces, table_length

SUFFIXES = [".fits", ".fits.gz", ".parquet", ""]
JPEG = b"\xff\xd8\xff\xe0 pretend \xff\xd9"
ROWS = 7


def objects(items):
    out = np.empty(len(items), object)
    out[:] = items
    return out


def arrays(*items):
    out = np.empty(len(items), object)
    for row, item in enumerate(items):
        out[row] = item
    return out


def assert_pieces(source, rows, columns=None):
    """Pieces are slices of the whole table; those of files of other programs may have narrower texts."""
    whole = source if isinstance(source, Table) else read_table(source)
    names = [name for name in whole.colnames if columns is None or name in columns]
    pieces = list(read_pieces(source, columns, rows=rows))
    assert [len(piece) for piece in pieces] == [
        min(rows, len(whole) - start) for start in range(0, len(whole) if names else 0, rows)
    ]
    for number, piece in enumerate(pieces):
        want = whole[number * rows : (number + 1) * rows]
        assert type(piece) is type(whole)
        assert piece.colnames == names
        assert piece.meta == want.meta
        assert piece.masked == want.masked
        for name in names:
            assert_same_column(piece[name], want[name])
    assert table_length(source) == len(whole)
    return pieces


def assert_same_column(got, want):
    assert type(got) is type(want)
    for attribute in ("unit", "description", "format", "meta"):
        assert getattr(got.info, attribute) == getattr(want.info, attribute), attribute
    if not isinstance(want, Column):
        np.testing.assert_array_equal(np.asarray(getattr(got, "mask", False)), np.asarray(getattr(want, "mask", False)))
        assert repr(got) == repr(want)
        return
    assert got.shape == want.shape
    assert got.dtype.kind == want.dtype.kind
    if want.dtype.kind not in "SU":
        assert got.dtype.str == want.dtype.str
    mask = np.ma.getmaskarray(want.data) if isinstance(want, MaskedColumn) else np.zeros(want.shape, bool)
    if isinstance(want, MaskedColumn):
        np.testing.assert_array_equal(np.ma.getmaskarray(got.data), mask)
        assert want.dtype.kind in "SU" or str(got.fill_value) == str(want.fill_value)
    left, right = np.asarray(np.ma.getdata(got.data))[~mask], np.asarray(np.ma.getdata(want.data))[~mask]
    if want.dtype.kind == "O":
        for one, other in zip(left, right, strict=True):
            assert type(one) is type(other)
            if isinstance(other, np.ndarray):
                assert one.dtype.str == other.dtype.str
                np.testing.assert_array_equal(one, other)
            else:
                assert one == other
    elif want.dtype.kind in "SU":
        assert left.tolist() == right.tolist()
    else:
        # Bit for bit, so that NaN and -0.0 count.
        assert np.ascontiguousarray(left).tobytes() == np.ascontiguousarray(right).tobytes()


@pytest.fixture(scope="module")
def everything():
    """Columns of every sort; what is masked is masked in some pieces only."""
    rng = np.random.default_rng(1)
    late = np.arange(ROWS) == ROWS - 2
    table = Table(meta={"run": {"nested": [1, 2.5, None]}, "COMMENT": ["x", "y"]})
    table["id"] = Column([f"galaxy {row}" * row for row in range(ROWS)], description="name", meta={"ucd": "meta.id"})
    table["greek"] = MaskedColumn(["α", "b", "", "d ", "e", "f", "g"], mask=late)
    table["f4"] = Column(np.linspace(0, 1, ROWS).astype(">f4"), unit="mag", format=".2f")
    table["f8"] = MaskedColumn([1, 2, np.nan, 4, 5, 6, 7], mask=late, unit=u.Jy)
    table["i8"] = MaskedColumn(np.arange(ROWS), mask=late)
    table["never"] = MaskedColumn(np.arange(ROWS))
    table["u2"] = np.arange(ROWS, dtype=np.uint16) + 60000
    table["flag"] = np.arange(ROWS) % 2 == 0
    table["c8"] = MaskedColumn(np.arange(ROWS) * (1 + 2j), mask=late)
    table["when"] = np.array(["2020-01-01", "NaT", *["1969-07-20"] * (ROWS - 2)], "datetime64[D]")
    table["vector"] = MaskedColumn(rng.random((ROWS, 2)), mask=np.stack([late, ~late], 1))
    table["names"] = MaskedColumn([["a", f"ü{row}"] for row in range(ROWS)], mask=np.stack([late, ~late], 1))
    table["image"] = rng.integers(0, 256, (ROWS, 5, 4, 3), np.uint8)
    table["float_image"] = rng.random((ROWS, 4, 4, 3), np.float32)
    table["JPEG"] = objects([JPEG * row for row in range(ROWS)])
    table["jpeg_or_none"] = objects([JPEG, None, b"", JPEG + b"\0", None, None, JPEG])
    table["jpeg_masked"] = MaskedColumn(objects([None if one else JPEG for one in late]), mask=late)
    table["encoded"] = arrays(*[np.frombuffer(JPEG * row, np.uint8) for row in range(ROWS)])
    table["dicts"] = objects([{"a": [row, None]} for row in range(ROWS)])
    return table


@pytest.fixture(scope="module")
def mixins():
    table = QTable({"n": np.arange(ROWS)})
    table["flux"] = np.arange(ROWS) * 1.5 * u.nJy
    table["mag"] = Masked(np.arange(ROWS) * u.mag, mask=np.arange(ROWS) == 5)
    table["where"] = SkyCoord(np.arange(ROWS) * u.deg, -np.arange(ROWS) * u.deg, frame="galactic")
    table["when"] = Time(np.arange(ROWS) + 50000.0, format="mjd")
    return table


class TestTable:
    @pytest.mark.parametrize("rows", [1, 3, 7, 100])
    def test_slices(self, everything, mixins, rows):
        assert_pieces(everything, rows)
        assert_pieces(mixins, rows)

    def test_some_columns(self, everything):
        assert_pieces(everything, 3, ["image", "id"])
        assert list(read_pieces(everything, [])) == []
        with pytest.raises(UnknownNameError, match="unknown column 'imag': did you mean 'image'"):
            list(read_pieces(everything, ["imag"]))

    def test_a_new_column_stays_out_of_the_table(self):
        table = Table({"a": [1, 2]})
        for piece in read_pieces(table):
            piece["b"] = 1
        assert table.colnames == ["a"]

    def test_no_rows(self):
        assert list(read_pieces(Table({"a": []}))) == []
        assert table_length(Table({"a": []})) == 0


@pytest.mark.parametrize("suffix", SUFFIXES)
class TestOurFiles:
    @pytest.mark.parametrize("rows", [1, 3, 7, 100])
    def test_slices(self, everything, tmp_path, suffix, rows):
        pieces = assert_pieces(write_table(everything, tmp_path / f"t{suffix}"), rows)
        # Of our own files, even the width of texts is that of the whole.
        assert all(piece["id"].dtype == everything["id"].dtype for piece in pieces)

    def test_mixin_columns(self, mixins, tmp_path, suffix):
        path = write_table(mixins, tmp_path / f"t{suffix}")
        assert_pieces(path, 3)
        assert_pieces(path, 3, ["where", "mag"])
        with pytest.raises(UnknownNameError, match="unknown column 'where.l'"):
            next(read_pieces(path, ["where.l"]))

    def test_some_columns(self, everything, tmp_path, suffix):
        path = write_table(everything, tmp_path / f"t{suffix}")
        assert_pieces(path, 3, ["vector", "JPEG"])
        assert_pieces(path, 3, ["id"])
        assert list(read_pieces(path, [])) == []

    def test_no_rows(self, everything, tmp_path, suffix):
        path = write_table(everything[:0], tmp_path / f"t{suffix}")
        assert list(read_pieces(path)) == []
        assert table_length(path) == 0
        with pytest.raises(UnknownNameError, match="unknown column 'imag'"):
            list(read_pieces(path, ["imag"]))

    def test_unknown_column(self, everything, tmp_path, suffix):
        path = write_table(everything, tmp_path / f"t{suffix}")
        with pytest.raises(UnknownNameError, match="unknown column 'imag': did you mean 'image'"):
            next(read_pieces(path, ["imag"], rows=2))

    def test_a_text_as_path(self, tmp_path, suffix):
        path = write_table(Table({"a": [1, 2]}), tmp_path / f"t{suffix}")
        assert [piece["a"].tolist() for piece in read_pieces(str(path), rows=1)] == [[1], [2]]
        assert table_length(str(path)) == 2

    def test_missing_file(self, tmp_path, suffix):
        for ask in (read_pieces, table_length):
            with pytest.raises(ConditionError, match="there is no table at"):
                ask(tmp_path / f"none{suffix}")

    def test_warnings_of_the_caller_stay(self, tmp_path, suffix):
        path = write_table(Table({"a": [1, 2, 3]}), tmp_path / f"t{suffix}")
        before = list(warnings.filters)
        pieces = read_pieces(path, rows=1)
        next(pieces)
        assert warnings.filters == before
        pieces.close()
        assert warnings.filters == before


class TestErrors:
    @pytest.mark.parametrize("rows", [0, -3])
    def test_rows(self, rows):
        with pytest.raises(ConditionError, match=f"a piece of {rows} rows is none; use rows=1 or more"):
            read_pieces(Table({"a": [1]}), rows=rows)

    def test_unknown_format(self, tmp_path):
        (tmp_path / "t.csv").write_text("a\n1\n")
        for ask in (read_pieces, table_length):
            with pytest.raises(ConditionError, match="can't tell a table format from .*t.csv"):
                ask(tmp_path / "t.csv")

    @pytest.mark.parametrize("suffix", [".fits", ".fits.gz", ".parquet"])
    def test_truncated(self, everything, tmp_path, suffix):
        path = write_table(everything, tmp_path / f"t{suffix}")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ConditionError, match=f"can't read .*t{suffix}.*damaged or incomplete"):
            next(read_pieces(path, rows=1))
        with pytest.raises(ConditionError, match=f"can't read .*t{suffix}.*damaged or incomplete"):
            table_length(path)

    def test_damaged_gz(self, tmp_path):
        rng = np.random.default_rng(0)
        path = write_table(Table({"a": rng.random(5000)}), tmp_path / "t.fits.gz")
        data = bytearray(path.read_bytes())
        data[20000:20400] = bytes(400)
        path.write_bytes(data)
        for ask in (read_table, table_length):
            with pytest.raises(ConditionError, match="can't read .*t.fits.gz.*damaged or incomplete"):
                ask(path)

    def test_no_table_inside(self, tmp_path):
        fits.PrimaryHDU(np.zeros((2, 2))).writeto(tmp_path / "t.fits")
        with pytest.raises(ConditionError, match="holds no table"):
            next(read_pieces(tmp_path / "t.fits"))
        with pytest.raises(ConditionError, match="holds no table"):
            table_length(tmp_path / "t.fits")

    def test_folder_without_table(self, tmp_path):
        for ask in (read_pieces, table_length):
            with pytest.raises(ConditionError, match="holds no table.ecsv"):
                ask(tmp_path)

    @pytest.mark.parametrize("suffix", [".fits", ".parquet"])
    def test_a_later_layout_is_refused(self, tmp_path, suffix, monkeypatch):
        monkeypatch.setattr("astro_galaxysd.images.storage_columns.LAYOUT", 7)
        path = write_table(Table({"a": [1]}), tmp_path / f"t{suffix}")
        monkeypatch.undo()
        with pytest.raises(ConditionError, match="layout 7, this version reads up to 1: update astro_galaxysd"):
            next(read_pieces(path))

    def test_parquet_without_pyarrow(self, tmp_path, monkeypatch):
        path = write_table(Table({"a": [1]}), tmp_path / "t.parquet")
        monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
        with pytest.raises(MissingDependencyError, match="pip install pyarrow"):
            next(read_pieces(path))


class TestOnePieceAtATime:
    def test_parquet_decodes_the_images_of_a_piece(self, tmp_path):
        """The image of row 5 is broken: that is found when its piece is asked for, and told by its row in the file."""
        images = np.random.default_rng(0).integers(0, 256, (8, 9, 9, 3), np.uint8)
        path = write_table(Table({"image": images}), tmp_path / "t.parquet")
        arrow = pq.read_table(path)
        png = arrow.column("image").to_pylist()
        png[5] = png[5][:100]
        pq.write_table(arrow.set_column(0, "image", pa.array(png)), path)
        pieces = read_pieces(path, rows=2)
        assert [len(next(pieces)), len(next(pieces))] == [2, 2]
        with pytest.raises(ImageError, match="row 5: PNG of .* truncated"):
            next(pieces)

    def test_parquet_damaged_in_the_middle(self, tmp_path):
        rng = np.random.default_rng(0)
        table = Table({"n": np.arange(4000), "JPEG": objects([rng.bytes(1000) for _ in range(4000)])})
        path = write_table(table, tmp_path / "t.parquet")
        data = bytearray(path.read_bytes())
        begin = len(data) * 3 // 4
        data[begin:-100_000] = bytes(len(data) - 100_000 - begin)
        path.write_bytes(data)
        pieces = read_pieces(path, rows=100)
        assert next(pieces)["JPEG"][99] == table["JPEG"][99]
        with pytest.raises(ConditionError, match="can't read .*t.parquet.*damaged or incomplete"):
            list(pieces)

    def test_fits_damaged_in_the_middle(self, tmp_path):
        table = Table({"JPEG": objects([JPEG * row for row in range(8)])})
        path = write_table(table, tmp_path / "t.fits")
        with fits.open(path) as hdus:
            place = hdus["TABLE"].fileinfo()["datLoc"] + 5 * hdus["TABLE"].header["NAXIS1"]
        data = bytearray(path.read_bytes())
        data[place + 4 : place + 8] = (2**30).to_bytes(4, "big")
        path.write_bytes(data)
        pieces = read_pieces(path, rows=2)
        assert [len(next(pieces)), len(next(pieces))] == [2, 2]
        with pytest.raises(ConditionError, match="can't read .*t.fits.*which ends at .*damaged or incomplete"):
            next(pieces)

    def test_fits_reads_the_bytes_of_a_piece(self, tmp_path, monkeypatch):
        rng = np.random.default_rng(0)
        table = Table({"n": np.arange(1000), "JPEG": objects([rng.bytes(10000) for _ in range(1000)])})
        table["flux"] = rng.random((1000, 100))
        path = write_table(table, tmp_path / "t.fits")
        asked = []
        read = fits.file._File.read
        monkeypatch.setattr(fits.file._File, "read", lambda file, size=None: asked.append(size) or read(file, size))
        pieces = read_pieces(path, rows=10)
        next(pieces)
        asked.clear()
        assert next(pieces)["JPEG"].tolist() == table["JPEG"][10:20].tolist()
        assert max(asked) < 20000
        assert 108000 < sum(asked) < 130000
        asked.clear()
        assert next(read_pieces(path, ["flux"], rows=10))["flux"].tolist() == table["flux"][:10].tolist()
        assert max(asked) < 20000

    def test_the_file_is_closed(self, everything, tmp_path):
        for suffix in (".fits", ".parquet"):
            path = write_table(everything, tmp_path / f"t{suffix}")
            pieces = read_pieces(path, rows=1)
            next(pieces)
            assert is_open(path)
            pieces.close()
            assert not is_open(path)


def is_open(path):
    """Whether this process has a file open."""
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("this system does not list the open files of a process")
    return any(entry.is_symlink() and os.path.realpath(entry) == os.path.realpath(path) for entry in folder.iterdir())


def foreign_arrow():
    """Every column hangs on a row that is not in the first piece."""
    return pa.table(
        {
            "id": pa.array(["a", "b", "c", "", None, "much longer", "g"]),
            "jpeg": pa.array([JPEG, JPEG + b"\0\0", JPEG, JPEG, JPEG, None, JPEG], pa.binary()),
            "hf": pa.array([{"bytes": JPEG, "path": f"{row}.jpg"} for row in range(ROWS)]),
            "hf null": pa.array([None if row == 5 else {"bytes": JPEG, "path": None} for row in range(ROWS)]),
            "hf no bytes": pa.array([{"bytes": None if row == 5 else JPEG, "path": "x"} for row in range(ROWS)]),
            "d": pa.array(["a", "b", "a", "a", None, "c", "c"]).dictionary_encode(),
            "f": pa.array([1.0, float("nan"), 3, 4, 5, 6, 7]),
            "f null": pa.array([1.0, float("nan"), 3, 4, 5, None, 7], pa.float32()),
            "i": pa.array([2**62 + 1, 2, 3, 4, 5, None, 7], pa.int64()),
            "b": pa.array([True, False, True, True, True, None, False]),
            "list": [[row, 2] for row in range(ROWS)],
            "list null": [None if row == 5 else [row, 2] for row in range(ROWS)],
            "list all null at first": [None if row < 3 else [row, 2] for row in range(ROWS)],
            "ragged": [[1] * (2 if row < 5 else 3) for row in range(ROWS)],
            "ragged inside": [[[1], [2, 3]] if row == 5 else [[1, 2], [3, 4]] for row in range(ROWS)],
            "big": pa.array([[2**63 + 1] if row == 5 else [1] for row in range(ROWS)], pa.list_(pa.uint64())),
            "texts": [["a"]] * 6 + [["b", "c"]],
            "hole": [[1.0, None if row == 5 else 2] for row in range(ROWS)],
            "fixed": pa.array([[row, 2] for row in range(ROWS)], pa.list_(pa.float32(), 2)),
            "struct": pa.array([None if row == 5 else {"x": row, "y": "z"} for row in range(ROWS)]),
            "date": pa.array([0, 1, 2, 3, 4, None, 6], pa.date32()),
            "stamp": pa.array([0, 1, 2, 3, 4, None, 6], pa.timestamp("us")),
            "decimal": pa.array([1, 2, 3, 4, 5, None, 7]).cast(pa.decimal128(25, 1)),
            "nothing": pa.nulls(ROWS),
            "list.part": pa.array(range(ROWS)),
        }
    ).replace_schema_metadata({"origin": "elsewhere", "pandas": "{}"})


class TestForeignParquet:
    @pytest.mark.parametrize("statistics", [True, False])
    @pytest.mark.parametrize("group", [2, 100])
    @pytest.mark.parametrize("rows", [1, 3, 7, 100])
    def test_slices(self, tmp_path, rows, group, statistics):
        path = tmp_path / "t.parquet"
        pq.write_table(foreign_arrow(), path, row_group_size=group, write_statistics=statistics)
        assert read_table(path)["jpeg"].mask[5]
        assert_pieces(path, rows)

    @pytest.mark.parametrize("name", foreign_arrow().column_names)
    def test_each_column_by_itself(self, tmp_path, name):
        pq.write_table(foreign_arrow(), tmp_path / "t.parquet")
        assert_pieces(tmp_path / "t.parquet", 2, [name])

    def test_a_column_brings_no_other(self, tmp_path):
        pq.write_table(foreign_arrow(), tmp_path / "t.parquet")
        assert read_table(tmp_path / "t.parquet", ["list"]).colnames == ["list"]
        assert next(read_pieces(tmp_path / "t.parquet", ["list"])).colnames == ["list"]

    def test_written_by_pandas(self, tmp_path):
        pd = pytest.importorskip("pandas")
        frame = pd.DataFrame({"id": ["a", None, "c"], "image": [JPEG, JPEG, None], "x": [1.5, None, 3]})
        frame.to_parquet(tmp_path / "t.parquet")
        assert_pieces(tmp_path / "t.parquet", 1)

    def test_columns_that_cant_have_nulls(self, tmp_path):
        schema = pa.schema([pa.field("a", pa.int64(), nullable=False)])
        pq.write_table(pa.table({"a": [1, 2, 3]}, schema), tmp_path / "t.parquet", write_statistics=False)
        assert_pieces(tmp_path / "t.parquet", 2)

    def test_images_are_not_looked_through(self, tmp_path, monkeypatch):
        """With statistics, or with the paths beside the bytes, the images are read once."""
        table = foreign_arrow().select(["jpeg", "hf", "hf null", "i"])
        pq.write_table(table, tmp_path / "t.parquet")
        asked = []
        iterate = pq.ParquetFile.iter_batches

        def watched(file, *args, columns=None, **options):
            asked.append(columns)
            return iterate(file, *args, columns=columns, **options)

        monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
        assert len(list(read_pieces(tmp_path / "t.parquet", rows=3))) == 3
        assert asked == [["hf null.path"], table.column_names]

    def test_short_batches_are_joined(self, tmp_path, monkeypatch):
        pq.write_table(foreign_arrow(), tmp_path / "t.parquet")
        iterate = pq.ParquetFile.iter_batches
        monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda file, batch_size, **more: iterate(file, 2, **more))
        assert_pieces(tmp_path / "t.parquet", 3)
        assert_pieces(tmp_path / "t.parquet", 4)

    def test_no_rows(self, tmp_path):
        pq.write_table(foreign_arrow()[:0], tmp_path / "t.parquet")
        assert list(read_pieces(tmp_path / "t.parquet", rows=3)) == []
        with pytest.raises(UnknownNameError, match="unknown column 'zz'"):
            next(read_pieces(tmp_path / "t.parquet", ["zz"]))

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        data=st.lists(
            st.none() | st.lists(st.integers(-3, 3) | st.integers(0, 2**63 - 1), max_size=2), min_size=1, max_size=7
        ),
        rows=st.integers(1, 3),
    )
    def test_any_lists(self, tmp_path_factory, data, rows):
        path = tmp_path_factory.mktemp("t") / "t.parquet"
        pq.write_table(pa.table({"v": pa.array(data, pa.list_(pa.int64()))}), path)
        assert_pieces(path, rows)

    def test_real_galaxies(self, gz2):
        path = gz2 / "test.parquet"
        whole = read_table(path, ["id", "image", "Class1.1"])
        first, second = (piece for _, piece in zip(range(2), read_pieces(path, whole.colnames, rows=100), strict=False))
        for name in whole.colnames:
            assert_same_column(first[name], whole[name][:100])
            assert_same_column(second[name], whole[name][100:200])
        assert table_length(path) == len(whole)


def foreign_columns():
    late = np.arange(ROWS) == 5
    return [
        fits.Column("id", "8A", array=np.array(["a", "b ", "c", "d", "e", "", "g"])),
        fits.Column("utf8", "8A", array=np.array([b"a", b"", b"c", b"d", b"e", "\xfc".encode(), b"g"])),
        fits.Column("texts", "8A", dim="(4,2)", array=np.array([["ab", "c"]] * ROWS)),
        fits.Column("f", "E", unit="Jy", array=np.where(late, np.nan, 1)),
        fits.Column("f good", "D", array=np.arange(ROWS)),
        fits.Column("v", "2D", array=np.where(late[:, np.newaxis], [np.nan, 1], 2)),
        fits.Column("c", "C", array=np.where(late, np.nan, 1 + 1j)),
        fits.Column("i", "J", null=-9, array=np.where(late, -9, 2)),
        fits.Column("u", "I", bzero=2**15, array=np.arange(ROWS, dtype=np.uint16)),
        fits.Column("l", "L", array=late),
        fits.Column("x", "3X", array=np.ones((ROWS, 3), bool)),
        fits.Column("image", "48B", dim="(4,4,3)", array=np.arange(ROWS * 48, dtype=np.uint8).reshape(ROWS, 3, 4, 4)),
        fits.Column("jpeg", "PB()", array=arrays(*[np.frombuffer(JPEG * row, np.uint8) for row in range(ROWS)])),
        fits.Column("q", "QE()", array=arrays(*[np.full(row, np.nan, np.float32) for row in range(ROWS)])),
        fits.Column("pi", "PI()", array=arrays(*[np.arange(row, dtype=np.int16) for row in range(ROWS)])),
        fits.Column("pd", "PD()", array=arrays(*[np.arange(2.0) for _ in range(ROWS)])),
    ]


class TestForeignFits:
    @pytest.mark.parametrize("rows", [1, 3, 7, 100])
    @pytest.mark.parametrize("name", ["t.fits", "t.fits.gz"])
    def test_slices(self, tmp_path, rows, name):
        hdu = fits.BinTableHDU.from_columns(foreign_columns(), header=fits.Header({"ORIGIN": "x", "COMMENT": "y"}))
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros(5)), hdu, hdu]).writeto(tmp_path / name, checksum=True)
        whole = read_table(tmp_path / name)
        assert whole["f"].mask[5]
        assert whole["utf8"][5] == "ü"
        assert bytes(whole["jpeg"][2]) == JPEG * 2
        assert "CHECKSUM" in whole.meta
        assert_pieces(tmp_path / name, rows)

    @pytest.mark.parametrize("column", foreign_columns(), ids=lambda column: column.name)
    def test_each_column_by_itself(self, tmp_path, column):
        fits.BinTableHDU.from_columns(foreign_columns()).writeto(tmp_path / "t.fits")
        assert_pieces(tmp_path / "t.fits", 2, [column.name])

    def test_ascii_table(self, tmp_path):
        columns = [
            fits.Column("id", "A5", array=np.array(["a", "b", "c", "", "e"])),
            fits.Column("x", "E15.7", array=np.array([1, 2, 3, np.nan, 5])),
            fits.Column("n", "I5", array=np.array([1, 2, 3, -9, 5])),
        ]
        fits.TableHDU.from_columns(columns).writeto(tmp_path / "t.fits")
        assert_pieces(tmp_path / "t.fits", 2)

    def test_mixin_columns_of_astropy(self, mixins, tmp_path):
        mixins["n", "flux", "mag", "when"].write(tmp_path / "t.fits")
        assert_pieces(tmp_path / "t.fits", 2)
        assert_pieces(tmp_path / "t.fits", 2, ["mag"])

    def test_a_gap_before_the_heap(self, tmp_path):
        """THEAP is not always where the rows end, and values don't lie in the order of the rows."""
        hdu = fits.BinTableHDU.from_columns([foreign_columns()[-4]])
        hdu.writeto(tmp_path / "t.fits")
        with fits.open(tmp_path / "t.fits") as hdus:
            header, begin = hdus[1].header.copy(), hdus[1].fileinfo()["datLoc"]
            data = (tmp_path / "t.fits").read_bytes()
        size = 8 * ROWS
        rows = np.frombuffer(data[begin : begin + size], ">i4").reshape(ROWS, 2)[::-1].tobytes()
        heap = data[begin + size : begin + size + header["PCOUNT"]]
        header["THEAP"], header["PCOUNT"] = size + 100, len(heap) + 100
        stream = io.BytesIO()
        stream.write(fits.PrimaryHDU().header.tostring().encode() + header.tostring().encode())
        stream.write((rows + b"\7" * 100 + heap).ljust(2880, b"\0"))
        (tmp_path / "gap.fits").write_bytes(stream.getvalue())
        assert bytes(read_table(tmp_path / "gap.fits")["jpeg"][4]) == JPEG * 2
        assert_pieces(tmp_path / "gap.fits", 2)

    def test_unit_warnings_come_once(self, tmp_path):
        fits.BinTableHDU.from_columns([fits.Column("a", "J", unit="furlongs", array=np.arange(6))]).writeto(
            tmp_path / "t.fits"
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert len(list(read_pieces(tmp_path / "t.fits", rows=2))) == 3
        assert [str(warning.message).count("furlongs") > 0 for warning in caught] == [True]

    def test_no_rows(self, tmp_path):
        fits.BinTableHDU.from_columns([fits.Column("a", "J"), fits.Column("b", "PB()")], nrows=0).writeto(
            tmp_path / "t.fits"
        )
        assert list(read_pieces(tmp_path / "t.fits")) == []
        with pytest.raises(UnknownNameError, match="unknown column 'zz'"):
            next(read_pieces(tmp_path / "t.fits", ["zz"]))

    def test_unknown_column_before_all_is_looked_through(self, tmp_path, monkeypatch):
        fits.BinTableHDU.from_columns(foreign_columns()).writeto(tmp_path / "t.fits")
        monkeypatch.setattr("astro_galaxysd.images.streaming_fits._FitsRows.deciding_rows", None)
        with pytest.raises(UnknownNameError, match="unknown column 'jpg'"):
            next(read_pieces(tmp_path / "t.fits", ["jpg"], rows=2))

    def test_unpacked_under_another_name(self, tmp_path):
        """A compressed file without .gz in its name is astropy's to unpack."""
        fits.BinTableHDU.from_columns(foreign_columns()).writeto(tmp_path / "t.fits")
        (tmp_path / "u.fits").write_bytes(gzip.compress((tmp_path / "t.fits").read_bytes()))
        assert_pieces(tmp_path / "u.fits", 3)


def test_plain_ecsv_in_a_folder(tmp_path):
    Table({"a": [1, 2, 3], "b": ["x", "y", "z"]}).write(tmp_path / "table.ecsv")
    assert_pieces(tmp_path, 2)
    assert_pieces(tmp_path, 2, ["b"])
    assert read_table(tmp_path, ["b", "a"]).colnames == ["a", "b"]
    assert read_table(tmp_path, []).colnames == []
