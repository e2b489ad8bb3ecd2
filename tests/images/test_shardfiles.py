"""Shards: written as their images come, read like any table."""

import gzip
import io
import json
import weakref

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Column, MaskedColumn, Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from astro_galaxysd.errors import ConditionError, ImageError, OutputError, UnknownNameError
from astro_galaxysd.images.codec import detect_format, read_images
from astro_galaxysd.images.encoded import decode_image, quick_png
from astro_galaxysd.images.features import write_features
from astro_galaxysd.images.hdu import from_hdus, to_hdus
from astro_galaxysd.images.provenance import PROVENANCE_COLUMNS, RUN_RECORD
from astro_galaxysd.images.shardfiles import SHARD_KINDS, lost_columns, write_shard
from astro_galaxysd.images.storage import read_table
from astro_galaxysd.images.streaming import read_pieces, read_rows, table_columns, table_length

N = 7
IMAGES = np.random.default_rng(3).integers(0, 256, (N, 6, 5, 3), np.uint8)
RECORD = {"created": "2026-01-01T00:00:00+00:00", "parameters": {"steps": 20, "guidance": None, "more": [1, 2.5]}}


def drawn():
    """Rows as a run that draws leaves them, with columns of every sort a table of conditions may have."""
    odd = np.arange(N) % 2 == 1
    table = Table(meta={RUN_RECORD: RECORD})
    table["id"] = [f"galaxy {row}" * row for row in range(N)]
    table["votes"] = MaskedColumn(np.linspace(0, 1, N), mask=odd, unit="mag")
    table["count"] = MaskedColumn(np.arange(N, dtype=np.int16), mask=odd)
    table["unsigned"] = np.arange(N, dtype=np.uint64) + 2**63
    table["flag"] = MaskedColumn(odd, mask=~odd)
    table["nan"] = np.where(odd, np.nan, np.arange(N)).astype(np.float32)
    table["vector"] = np.arange(3 * N, dtype=np.float32).reshape(N, 3)
    table["holes"] = MaskedColumn(np.arange(2 * N).reshape(N, 2), mask=np.stack([odd, ~odd], axis=1))
    table["words"] = MaskedColumn(["α ", "b", "", "d", "'e' &", "\n", "g"], mask=odd)
    table["notes"] = Column(np.array([None, "x", "y", "", None, "z", "α"], dtype=object))
    table["position"] = SkyCoord(np.arange(N) * u.deg, np.arange(N) * u.deg)
    table["synthetic"] = True
    table["prompt"] = [f"sdss, {'round, ' * 30 * (row == 2)}merger" for row in range(N)]
    table["seed"] = np.arange(N) * 10**15
    return table


def pieces(*sizes):
    ends = np.cumsum(sizes)
    assert ends[-1] == N
    return [IMAGES[end - size : end] for size, end in zip(sizes, ends, strict=True)]


@pytest.fixture(params=SHARD_KINDS)
def kind(request):
    return request.param


def written(folder, kind, table=None, images=None):
    path = folder / f"shard.{kind}"
    write_shard(drawn() if table is None else table, pieces(3, 4) if images is None else images, path, kind)
    return path


def assert_same(got, want):
    assert got.colnames == [*want.colnames, "image"]
    assert got.meta == want.meta
    for name in want.colnames:
        one, other = got[name], want[name]
        assert type(one) is type(other), name
        if isinstance(other, SkyCoord):
            assert (one == other).all()
            continue
        assert one.dtype == other.dtype, name
        assert one.unit == other.unit
        np.testing.assert_array_equal(np.ma.getmaskarray(one), np.ma.getmaskarray(other), err_msg=name)
        assert repr(one.tolist()) == repr(other.tolist()), name
    np.testing.assert_array_equal(np.stack(read_images(got)), IMAGES[: len(got)])


def test_everything_comes_back(kind, tmp_path):
    path = written(tmp_path, kind)
    assert_same(read_table(path), drawn())
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert table_length(path) == N
    assert table_columns(path) == [*drawn().colnames, "image"]


def test_some_columns(kind, tmp_path):
    path = written(tmp_path, kind)
    assert read_table(path, ["prompt", "id"]).colnames == ["id", "prompt"]
    alone = read_table(path, ["image"])
    assert alone.colnames == ["image"]
    np.testing.assert_array_equal(np.stack(read_images(alone)), IMAGES)
    with pytest.raises(UnknownNameError, match="unknown column 'immage'.*did you mean 'image'"):
        read_table(path, ["immage"])


def test_images_are_named_by_the_column_that_is_asked_for(kind, tmp_path):
    table = drawn()
    table["galaxy"] = [f"G{row}" for row in range(N)]
    path = tmp_path / f"shard.{kind}"
    write_shard(table, [IMAGES], path, kind, id_column="galaxy")
    assert_same(read_table(path), table)
    if kind == "fits":
        with fits.open(path) as hdus:
            wanted = list(table["galaxy"])
            assert [hdu.header["ROWID"] for hdu in hdus if "ROWID" in hdu.header] == wanted
            assert [hdu.name for hdu in hdus[-N:]] == wanted
    with pytest.raises(UnknownNameError, match="unknown id column 'galaxi': did you mean 'galaxy'"):
        write_shard(table, [IMAGES], path, kind, id_column="galaxi")


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_piece_by_piece(kind, tmp_path, rows):
    path = written(tmp_path, kind)
    found = list(read_pieces(path, ["id", "image"], rows=rows))
    assert [name for piece in found for name in piece["id"]] == drawn()["id"].tolist()
    np.testing.assert_array_equal(np.concatenate([read_images(piece) for piece in found]), IMAGES)
    np.testing.assert_array_equal(np.stack(read_images(read_rows(path, [5, 0, 5], ["image"]))), IMAGES[[5, 0, 5]])


def test_the_same_rows_give_the_same_bytes(kind, tmp_path):
    first = written(tmp_path, kind).read_bytes()
    for sizes in ((7,), (1,) * 7, (0, 6, 1)):
        assert written(tmp_path, kind, images=iter(pieces(*sizes))).read_bytes() == first


def test_row_groups_end_where_images_say(tmp_path, monkeypatch):
    monkeypatch.setattr("astro_galaxysd.images.shardfiles._GROUP_ROWS", 3)
    path = written(tmp_path, "parquet")
    first = path.read_bytes()
    assert pq.ParquetFile(path).metadata.num_row_groups == 3
    assert_same(read_table(path), drawn())
    assert written(tmp_path, "parquet", images=pieces(2, 5)).read_bytes() == first
    monkeypatch.setattr("astro_galaxysd.images.shardfiles._GROUP_BYTES", 1)
    assert pq.ParquetFile(written(tmp_path, "parquet")).metadata.num_row_groups == N


def test_one_piece_is_in_memory(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("astro_galaxysd.images.shardfiles._GROUP_ROWS", 2)
    alive = []

    def one_by_one():
        for row in range(N):
            assert sum(one() is not None for one in alive) == 0
            piece = IMAGES[row : row + 1].copy()
            alive.append(weakref.ref(piece))
            yield piece
            del piece

    path = written(tmp_path, kind, images=one_by_one())
    assert len(alive) == table_length(path) == N


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_rows_survive(tmp_path_factory, data):
    count = data.draw(st.integers(1, 4))
    table = Table()
    for number, dtype in enumerate(data.draw(st.lists(st.sampled_from(["i1", "u2", "i8", "f4", "f8", "?", "U"])))):
        values = {
            "U": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
            "f": st.floats(width=32),
            "?": st.booleans(),
        }.get(dtype[0], st.integers(0, 100))
        items = data.draw(st.lists(values, min_size=count, max_size=count))
        mask = data.draw(st.none() | st.lists(st.booleans(), min_size=count, max_size=count))
        column = np.array(items, dtype=dtype if dtype != "U" else str)
        table[f"c{number}"] = Column(column) if mask is None else MaskedColumn(column, mask=mask)
    folder = tmp_path_factory.mktemp("any")
    for kind in SHARD_KINDS:
        path = written(folder, kind, table if table.colnames else Table({"id": range(count)}), [IMAGES[:count]])
        assert_same(read_table(path), table if table.colnames else Table({"id": range(count)}))


def test_what_other_programs_read_in_parquet(tmp_path):
    path = written(tmp_path, "parquet")
    frame = pd.read_parquet(path)
    image = np.asarray(Image.open(io.BytesIO(frame["image"][3]["bytes"])))
    np.testing.assert_array_equal(image, IMAGES[3])
    assert frame["votes"].isna().tolist() == frame["words"].isna().tolist() == [False, True] * 3 + [False]
    assert frame["vector"][1].tolist() == [3, 4, 5]
    metadata = pq.read_schema(path).metadata
    assert json.loads(metadata[b"galaxysd_run"]) == RECORD
    features = json.loads(metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["flag"] == {"dtype": "bool", "_type": "Value"}
    assert features["vector"] == {"feature": {"dtype": "float32", "_type": "Value"}, "length": 3, "_type": "List"}
    assert list(features) == frame.columns.tolist()


def test_what_another_program_wrote_again(tmp_path):
    arrow = pq.read_table(written(tmp_path, "parquet"))
    pq.write_table(arrow.drop_columns(["id"]), tmp_path / "again.parquet")
    again = read_table(tmp_path / "again.parquet")
    assert again.meta[RUN_RECORD] == RECORD
    np.testing.assert_array_equal(np.stack(read_images(again)), IMAGES)
    arrow = arrow.drop_columns(["id"]).replace_schema_metadata({RUN_RECORD: "no JSON"})
    pq.write_table(arrow, tmp_path / "again.parquet")
    assert read_table(tmp_path / "again.parquet").meta == {RUN_RECORD: "no JSON"}


def test_parquet_images_are_not_decoded(tmp_path, monkeypatch):
    path = written(tmp_path, "parquet")
    monkeypatch.setattr("astro_galaxysd.images.storage_parquet.decode_image", None)
    images = read_table(path)["image"]
    assert images[3].startswith(b"\x89PNG")
    assert detect_format(images).kind == "encoded"


def test_what_other_programs_read_in_fits(tmp_path):
    path = written(tmp_path, "fits")
    with fits.open(path, checksum=True) as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus[:3]] == ["PRIMARY", "GALAXIES", "GALAXYSD"]
        assert len(hdus) == 3 + N
        assert "DATE" not in hdus[1].header
        assert hdus["GALAXIES"].data["seed"].tolist() == drawn()["seed"].tolist()
        wanted = drawn()
        wanted["image"] = IMAGES
        for got, want in zip(hdus[3:], to_hdus(wanted), strict=True):
            assert repr(got.header) == repr(want.header)
            np.testing.assert_array_equal(got.data, want.data)
        again = from_hdus(hdus)
    np.testing.assert_array_equal(again["image"], IMAGES)
    assert again["prompt"].tolist() == wanted["prompt"].tolist()
    assert Table.read(path, hdu=1)["prompt"][0] == "sdss, merger"


def test_fits_reads_the_images_of_a_piece(tmp_path, monkeypatch):
    path = written(tmp_path, "fits")
    asked = []
    read = fits.file._File.read
    monkeypatch.setattr(fits.file._File, "read", lambda file, size=None: asked.append(size) or read(file, size))
    light = read_table(path, ["id"])
    assert len(light) == N
    assert asked.count(IMAGES[0].nbytes) == 0
    assert len(read_rows(path, [6], ["image"])) == 1
    found = read_pieces(path, ["image"], rows=2)
    asked.clear()
    np.testing.assert_array_equal(next(found)["image"], IMAGES[:2])
    assert asked.count(IMAGES[0].nbytes) == 2


def test_a_compressed_shard(tmp_path):
    path = written(tmp_path, "fits")
    (tmp_path / "packed.fits.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert_same(read_table(tmp_path / "packed.fits.gz"), drawn())


@pytest.mark.parametrize("keep", [0.55, 0.9])
def test_truncated(tmp_path, keep):
    path = written(tmp_path, "fits")
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(ConditionError, match="can't read .*shard.fits.*damaged or incomplete"):
        read_table(path)
    with pytest.raises(ConditionError, match="can't read .*shard.fits.*damaged or incomplete"):
        list(read_pieces(path, rows=2))


def test_other_images_in_a_fits_shard(tmp_path):
    path = written(tmp_path, "fits")
    with fits.open(path, mode="update") as hdus:
        hdus[5] = fits.ImageHDU(np.zeros((3, 2, 2), np.uint8))
    with pytest.raises(ConditionError, match=r"no image of shape \(6, 5, 3\) at byte .* where that of row 2 should be"):
        read_table(path)


def test_an_image_in_a_fits_shard_that_does_not_begin(tmp_path):
    path = written(tmp_path, "fits")
    data = path.read_bytes()
    end = data.rindex(b"END" + b" " * 77)
    path.write_bytes(data[:end] + b" " * (len(data) - end))
    with pytest.raises(ConditionError, match="row 6.*damaged or incomplete"):
        read_table(path)


def test_images_of_the_table_are_replaced(kind, tmp_path):
    table = drawn()
    table["image"] = np.zeros_like(IMAGES)
    assert_same(read_table(written(tmp_path, kind, table)), drawn())
    assert len(table.colnames) == len(drawn().colnames) + 1


def test_what_is_there_is_replaced_at_the_end(kind, tmp_path):
    path = written(tmp_path, kind)
    before = path.read_bytes()

    def broken():
        yield IMAGES[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written(tmp_path, kind, images=broken())
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("images", "told"),
    [
        ([], "0 images for 7 rows; give one for each row"),
        ([IMAGES[:3]], "3 images for 7 rows"),
        ([IMAGES, IMAGES[:2]], "9 images for 7 rows"),
        ([IMAGES[:3], IMAGES[3:, 1:]], r"images 3 and on are of shape \(4, 5, 5, 3\), uint8"),
        ([IMAGES / 255], r"images 0 and on are of shape \(7, 6, 5, 3\), float64; .* pieces \(n, H, W, 3\) of uint8"),
        ([IMAGES[..., :2]], r"of shape \(7, 6, 5, 2\)"),
        ([IMAGES[:, :0]], r"of shape \(7, 0, 5, 3\)"),
        ([IMAGES[0]], r"of shape \(6, 5, 3\)"),
    ],
)
def test_images_that_are_none(kind, tmp_path, images, told):
    with pytest.raises(ImageError, match=told):
        written(tmp_path, kind, images=images)
    assert not list(tmp_path.iterdir())


def test_what_is_no_shard(tmp_path):
    with pytest.raises(ConditionError, match="unknown kind of shard 'csv'; choose one of parquet, fits"):
        write_shard(drawn(), pieces(7), tmp_path / "a.csv", "csv")
    with pytest.raises(ConditionError, match="a shard without rows"):
        write_shard(drawn()[:0], [], tmp_path / "a.fits", "fits")


def test_columns_that_can_not_be_kept(kind, tmp_path):
    table = drawn()
    assert lost_columns(table) == {}
    table["pair"] = np.zeros(N, dtype=[("a", int), ("b", float)])
    table["thing"] = Column(np.array([object()] * N, dtype=object))
    table["image"] = Column(np.array([object()] * N, dtype=object))
    lost = lost_columns(table)
    assert set(lost) == {"pair", "thing"}
    assert lost["pair"] == "column 'pair' is structured; store its fields as columns of their own"
    assert table.meta == drawn().meta
    with pytest.raises(OutputError, match="'pair' is structured"):
        written(tmp_path, kind, table)
    table.remove_columns(lost)
    assert_same(read_table(written(tmp_path, kind, table)), drawn())


def test_published_rows_are_what_they_were(tmp_path):
    table = drawn()[["id", "votes", "flag", "vector", "words", "position", "synthetic"]]
    names = write_features(table, IMAGES, tmp_path / "rows.parquet")
    assert names == ["id", "votes", "flag", "words", "synthetic", "image"]
    assert not set(names) & (set(PROVENANCE_COLUMNS) - {"synthetic"})
    features = json.loads(pq.read_schema(tmp_path / "rows.parquet").metadata[b"huggingface"])["info"]["features"]
    assert features["votes"] == {"dtype": "float64", "_type": "Value"}
    assert features["image"] == {"_type": "Image"}


def test_quick_png_loses_nothing():
    for pixels in (IMAGES[0], np.zeros((40, 30, 3), np.uint8), IMAGES[1][:, ::-1]):
        np.testing.assert_array_equal(decode_image(quick_png(pixels), "row 0"), pixels)
