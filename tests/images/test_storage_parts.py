"""Folders of files that are one table: which they are, what they have in common, their rows."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Column, MaskedColumn, QTable, Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astro_galaxysd.errors import ConditionError, UnknownNameError
from astro_galaxysd.images.codec import read_images
from astro_galaxysd.images.provenance import RUN_RECORD
from astro_galaxysd.images.shardfiles import SHARD_KINDS, write_shard
from astro_galaxysd.images.storage import PARTS, locate_table, read_table, write_table
from astro_galaxysd.images.streaming import pieces_of_rows, read_pieces, read_rows, table_columns, table_length

N = 10
IMAGES = np.random.default_rng(5).integers(0, 256, (N, 4, 5, 3), np.uint8)


def rows():
    table = Table(meta={RUN_RECORD: {"seed": 1}})
    table["id"] = [f"galaxy {'x' * row}" for row in range(N)]
    table["votes"] = MaskedColumn(np.linspace(0, 1, N, dtype=np.float32), mask=np.arange(N) == 8)
    table["vector"] = np.arange(3 * N).reshape(N, 3)
    table["flag"] = np.arange(N) % 3 == 0
    return table


def shards(folder, kind, sizes=(4, 4, 2)):
    """Shards whose first ones don't know that votes may be masked."""
    table, start = rows(), 0
    folder.mkdir(exist_ok=True)
    for number, size in enumerate(sizes):
        part = table[start : start + size]
        if not part["votes"].mask.any():
            part["votes"] = Column(part["votes"])
        write_shard(part, [IMAGES[start : start + size]], folder / f"shard-{number:05d}.{kind}", kind)
        start += size
    (folder / "_manifest.json").write_text("{}")
    (folder / ".lock").touch()
    (folder / f".partial-0a-shard-00003.{kind}").write_bytes(b"begun")
    return folder


def assert_rows(found, numbers, columns=("id", "votes", "vector", "flag", "image")):
    want = rows()[list(numbers)]
    assert found.colnames == list(columns)
    assert found.meta == want.meta
    for name in columns:
        if name == "image":
            images = read_images(found) if len(found) else np.empty((0, 4, 5, 3))
            np.testing.assert_array_equal(np.reshape(images, (-1, 4, 5, 3)), IMAGES[list(numbers)])
            continue
        assert type(found[name]) is type(want[name])
        assert found[name].dtype.kind == want[name].dtype.kind
        assert name == "id" or found[name].dtype == want[name].dtype
        assert found[name].tolist() == want[name].tolist()


@pytest.fixture(params=SHARD_KINDS)
def folder(request, tmp_path):
    return shards(tmp_path / "drawn", request.param)


def test_shards_are_one_table(folder):
    assert locate_table(folder) == (folder, PARTS)
    assert_rows(read_table(folder), range(N))
    assert_rows(read_table(folder, ["flag", "id"]), range(N), ["id", "flag"])
    assert table_length(folder) == table_length(str(folder)) == N
    assert table_columns(folder) == ["id", "votes", "vector", "flag", "image"]


def test_shards_piece_by_piece(folder):
    pieces = list(read_pieces(folder, rows=3))
    assert [len(piece) for piece in pieces] == [3, 1, 3, 1, 2]
    start = 0
    for piece in pieces:
        assert_rows(piece, range(start, start + len(piece)))
        start += len(piece)
    assert list(read_pieces(folder, [], rows=3)) == []


@pytest.mark.parametrize("asked", [[7, 0, 9, 7, 4], [3], [], range(N), np.array([9, 8])])
def test_some_rows(folder, asked):
    assert_rows(read_rows(folder, asked), asked)
    assert_rows(read_rows(folder, asked, ["image"]), asked, ["image"])
    assert read_rows(folder, asked, []).colnames == []


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    asked=st.lists(st.integers(0, N - 1), max_size=12), suffix=st.sampled_from([".parquet", ".fits", ".fits.gz", ""])
)
def test_some_rows_of_anything(tmp_path_factory, asked, suffix):
    table = rows()
    path = write_table(table, tmp_path_factory.mktemp("some") / f"t{suffix}")
    for source in (table, path):
        found = read_rows(source, asked)
        assert found.colnames == table.colnames
        assert found.meta == table.meta
        for name in table.colnames:
            assert type(found[name]) is type(table[name])
            assert found[name].tolist() == table[asked][name].tolist()
        assert read_rows(source, asked, ["flag"]).colnames == ["flag"]
    assert table_columns(path) == table_columns(table) == table.colnames


@pytest.mark.parametrize("row", [-1, N, 99])
def test_rows_that_are_not_there(folder, row):
    for source in (folder, rows()):
        with pytest.raises(ConditionError, match=f"row {row} is not there: the table has 10 rows, counted from 0"):
            read_rows(source, [0, row])
    with pytest.raises(UnknownNameError, match="unknown column 'vots'"):
        read_rows(folder, [0], ["vots"])


def test_only_files_with_asked_rows_are_read(folder, monkeypatch):
    read = []
    real = __import__("astro_galaxysd.images.streaming", fromlist=["x"])._file_pieces
    monkeypatch.setattr(
        "astro_galaxysd.images.streaming._file_pieces", lambda path, *more: read.append(path.stem) or real(path, *more)
    )
    assert len(read_rows(folder, [9, 1])) == 2
    assert read == ["shard-00000", "shard-00002"]


def test_only_row_groups_with_asked_rows_are_read(tmp_path, monkeypatch):
    write_shard(rows(), [IMAGES], tmp_path / "a.parquet", "parquet")
    pq.write_table(pq.read_table(tmp_path / "a.parquet"), tmp_path / "a.parquet", row_group_size=2)
    groups = []
    iterate = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile,
        "iter_batches",
        lambda file, **more: groups.extend(more["row_groups"] or []) or iterate(file, **more),
    )
    assert_rows(read_rows(tmp_path / "a.parquet", [7, 2, 6]), [7, 2, 6])
    assert groups == [1, 3]


@pytest.mark.parametrize("kind", SHARD_KINDS)
def test_memory_does_not_grow_with_the_files(tmp_path, kind, monkeypatch):
    """Of 6 MB of images that can't be compressed, three rows and a piece are in memory."""
    monkeypatch.setattr("astro_galaxysd.images.streaming._ROWS", 10)
    noise = np.random.default_rng(1).integers(0, 256, (60, 100, 111, 3), np.uint8)
    for shard in range(3):
        part = Table({"id": np.arange(60) + 60 * shard})
        write_shard(part, np.split(noise, 6), tmp_path / f"shard-{shard}.{kind}", kind)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) > 3 * noise.nbytes
    tracemalloc.start()
    found = read_rows(tmp_path, [179, 3, 100])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    whole = read_table(tmp_path)
    all_of_it = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found["id"].tolist() == [179, 3, 100]
    assert len(whole) == 180
    assert peak < noise.nbytes < 3 * noise.nbytes < all_of_it


def test_pieces_of_rows_come_in_the_order_of_the_table(folder):
    found = [(places.tolist(), table["id"].tolist()) for places, table in pieces_of_rows(folder, [9, 0, 8, 0], ["id"])]
    names = rows()["id"].tolist()
    assert found == [([1, 3], [names[0], names[0]]), ([2, 0], [names[8], names[9]])]


class TestForeign:
    def test_parquet(self, tmp_path):
        """Columns are masked in all pieces; a list column is an array of numbers."""
        for number in range(3):
            held = pa.table({
                "name": [f"{number}-{row}" * (number + 1) for row in range(3)],
                "flux": pa.array([1.5, None if number == 2 else 2.5, 3.5]),
                "bands": pa.array([[1.0, 2.0]] * 3),
                "JPEG": [b"\xff\xd8\0", b"", b"x"],
            })  # fmt: skip
            pq.write_table(held, tmp_path / f"part.{number}.parquet")
        (tmp_path / "README.md").write_text("A catalogue.")
        (tmp_path / "sky.png").touch()
        whole = read_table(tmp_path)
        assert whole["name"].tolist()[-1] == "2-2" * 3
        assert whole["flux"].mask.tolist() == [False] * 7 + [True, False]
        assert whole["bands"].shape == (9, 2)
        pieces = list(read_pieces(tmp_path, rows=2))
        assert [len(piece) for piece in pieces] == [2, 1] * 3
        assert {type(piece["flux"]) for piece in pieces} == {MaskedColumn}
        assert read_rows(tmp_path, [8, 4])["flux"].tolist() == [3.5, 2.5]
        assert read_rows(tmp_path, [8, 4])["JPEG"].tolist() == [b"x", b""]

    def test_fits(self, tmp_path):
        for number in range(2):
            flux = np.array([1.0, np.nan if number else 2.0, 3.0])
            columns = [
                fits.Column("flux", "E", unit="mag", array=flux),
                fits.Column("name", "2A", array=["a", "b", "c"]),
            ]
            fits.BinTableHDU.from_columns(columns).writeto(tmp_path / f"{number}.fits")
        whole = read_table(tmp_path)
        assert whole["flux"].unit == u.mag
        assert whole["name"].tolist() == ["a", "b", "c"] * 2
        assert [type(piece["flux"]) for piece in read_pieces(tmp_path, rows=2)] == [type(whole["flux"])] * 4
        assert read_rows(tmp_path, [4, 3])["flux"].tolist() == whole["flux"][[4, 3]].tolist()

    @pytest.mark.parametrize("suffix", [".parquet", ".fits"])
    def test_files_of_write_table(self, tmp_path, suffix):
        table = QTable({"id": ["a", "b"], "flux": [1, 2] * u.Jy, "image": IMAGES[:2]})
        table["at"] = SkyCoord([1, 2] * u.deg, [3, 4] * u.deg)
        for number in range(2):
            write_table(table, tmp_path / f"{number}{suffix}")
        whole = read_table(tmp_path)
        assert type(whole) is QTable
        assert (whole["flux"] == [1, 2, 1, 2] * u.Jy).all()
        assert whole["at"].ra.deg.tolist() == [1, 2, 1, 2]
        np.testing.assert_array_equal(read_rows(tmp_path, [3, 0])["image"], IMAGES[[1, 0]])

    def test_masked_tables(self, tmp_path):
        for number in range(2):
            write_table(Table({"a": [1, 2]}, masked=True), tmp_path / f"{number}.parquet")
        assert read_table(tmp_path).masked

    def test_files_without_rows(self, tmp_path):
        for number, size in enumerate((0, 2, 0)):
            write_table(rows()[:size], tmp_path / f"{number}.parquet")
        assert read_table(tmp_path)["id"].tolist() == rows()["id"][:2].tolist()
        assert [len(piece) for piece in read_pieces(tmp_path, rows=1)] == [1, 1]
        assert len(read_rows(tmp_path, [1])) == 1


class TestErrors:
    def test_other_columns(self, tmp_path):
        write_table(Table({"id": [1], "x": [1.0], "image": IMAGES[:1]}), tmp_path / "a.parquet")
        write_table(Table({"id": ["one"], "y": [1.0], "image": IMAGES[:1, 1:]}), tmp_path / "b.parquet")
        told = (
            r"b.parquet' has other columns than 'a.parquet' \('x' is missing; 'y' is more; 'id' is text, not int64; "
            r"'image' is uint8 \(3, 5, 3\), not uint8 \(4, 5, 3\)\)"
        )
        for ask in (read_table, table_columns, lambda path: next(read_pieces(path)), lambda path: read_rows(path, [0])):
            with pytest.raises(ConditionError, match=told):
                ask(tmp_path)
        with pytest.raises(ConditionError, match="b.parquet' has other columns than 'a.parquet': unknown column 'x'"):
            read_table(tmp_path, ["x"])
        with pytest.raises(UnknownNameError, match="unknown column 'z'"):
            read_table(tmp_path, ["z"])

    def test_more_differences_than_are_named(self, tmp_path):
        write_table(Table({name: [1] for name in "abcdefg"}), tmp_path / "a.fits")
        write_table(Table({"flux": SkyCoord([1] * u.deg, [1] * u.deg)}), tmp_path / "b.fits")
        with pytest.raises(ConditionError, match=r"'e' is missing; \.\.\.\)"):
            read_table(tmp_path)

    def test_columns_in_another_order(self, tmp_path):
        write_table(Table({"a": [1], "b": [2]}), tmp_path / "a.parquet")
        write_table(Table({"b": [4], "a": [3]}), tmp_path / "b.parquet")
        assert read_table(tmp_path)["b"].tolist() == [2, 4]

    def test_several_formats(self, tmp_path):
        for name in ("a.parquet", "b.fits.gz"):
            (tmp_path / name).touch()
        with pytest.raises(ConditionError, match=r"several formats, 'b.fits.gz' and 'a.parquet'; keep those"):
            read_table(tmp_path)

    @pytest.mark.parametrize("stranger", ["more.csv", "catalogue.h5", "year=2020/"])
    def test_files_that_would_not_be_read(self, tmp_path, stranger):
        write_table(Table({"a": [1]}), tmp_path / "a.parquet")
        if stranger.endswith("/"):
            (tmp_path / stranger).mkdir()
        else:
            (tmp_path / stranger).touch()
        with pytest.raises(ConditionError, match=f"holds '{stranger.strip('/')}' beside its parquet files"):
            table_length(tmp_path)

    def test_nothing_there(self, tmp_path):
        (tmp_path / "_a.parquet").touch()
        with pytest.raises(ConditionError, match=r"holds no table.ecsv, and no .parquet or .fits files; give a folder"):
            read_table(tmp_path)

    def test_a_damaged_file_is_named(self, tmp_path):
        folder = shards(tmp_path / "drawn", "parquet")
        (folder / "shard-00001.parquet").write_bytes(b"PAR1")
        with pytest.raises(ConditionError, match=r"can't read .*shard-00001.parquet.*damaged or incomplete"):
            read_table(folder)
