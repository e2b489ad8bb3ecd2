"""Partitions of Dask and LSDB drawn as the whole table is, however they are cut."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.table import Table

from astro_galaxysd import generate, workers
from astro_galaxysd.errors import ConditionError, UnknownNameError
from astro_galaxysd.hosts import frames
from astro_galaxysd.hosts.frames import draw_partition, partition_meta
from astro_galaxysd.images.encoded import decode_image

PROVENANCE = ("prompt", "prompt_weights", "seed", "synthetic", "generator", "weights", "weights_revision")


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch):
    monkeypatch.setattr(workers, "_kept", {})


@pytest.fixture
def frame():
    """Galaxies with votes, and with columns that say nothing of them."""
    rng = np.random.default_rng(0)
    n = 14
    return pd.DataFrame(
        {
            "objid": np.arange(n) + 587722981736120347,
            "ra": rng.uniform(0, 360, n),
            "dec": np.degrees(np.arcsin(rng.uniform(-1, 1, n))),
            "t01_smooth": rng.uniform(0.6, 1, n),
            "t07_round": rng.uniform(0.6, 1, n),
            "t06_odd_yes": [0.9, np.nan] * (n // 2),
            "name": pd.Series([f"J{row}" if row % 3 else None for row in range(n)], dtype="str"),
            "spectrum": [np.arange(row) for row in range(n)],
            "thumbnail": [b"abc"] * n,
        },
        index=pd.Index(np.arange(n) * 10, name="place"),
    )


def pixels(images):
    return np.stack([decode_image(image, "") for image in images])


def whole(frame, **options):
    plain = frame.drop(columns=["spectrum", "thumbnail", "name"], errors="ignore")
    return generate(Table.from_pandas(plain), generator="flow", progress=False, **options)


def check_drawn(drawn, frame, expected):
    """Rows of the frame in some order, with the images and the provenance of the table that was drawn at once."""
    drawn = drawn.sort_values("objid")
    np.testing.assert_array_equal(pixels(drawn["image"]), expected["image"])
    for name in PROVENANCE:
        assert list(drawn[name]) == list(expected[name]), name
    assert list(drawn["objid"]) == list(frame["objid"])


def test_a_frame_is_drawn_as_its_table(flow, frame):
    before = frame.copy()
    drawn = draw_partition(frame, rng=4, generator="flow")
    check_drawn(drawn, frame, whole(frame, rng=4))
    assert drawn.index.equals(frame.index)
    assert drawn["thumbnail"].iloc[3] == b"abc"
    pd.testing.assert_frame_equal(frame, before)
    assert drawn["image"].dtype == pd.ArrowDtype(pa.binary())
    assert drawn["seed"].dtype == np.int64


def test_it_is_loaded_once(flow, frame):
    for part in (frame.iloc[:3], frame.iloc[3:9], frame.iloc[9:]):
        draw_partition(part, rng=4, generator="flow")
    assert len(flow.made_with) == 1
    draw_partition(frame.iloc[:1], rng=4, generator="flow", steps=5)
    assert len(flow.made_with) == 2


def test_empty_partitions_load_nothing(flow, frame):
    flow.made_with.clear()
    empty = draw_partition(frame.iloc[:0], rng=4, generator="flow")
    drawn = draw_partition(frame, rng=4, generator="flow")
    assert len(flow.made_with) == 1
    assert len(empty) == 0
    pd.testing.assert_series_equal(empty.dtypes, drawn.dtypes)
    pd.testing.assert_series_equal(partition_meta(frame).dtypes, drawn.dtypes)
    other = draw_partition(frame.iloc[:0], rng=4, image_column="cutout")
    assert list(other.columns) == list(partition_meta(frame, image_column="cutout").columns)
    assert "cutout" in other.columns
    assert "image" not in other.columns


def test_arrow_columns(flow, frame):
    """As catalogues of HATS files have them."""
    plain = frame.drop(columns="spectrum")
    arrow = plain.convert_dtypes(dtype_backend="pyarrow")
    assert isinstance(arrow["t06_odd_yes"].dtype, pd.ArrowDtype)
    check_drawn(draw_partition(arrow, rng=4, generator="flow"), frame, whole(frame, rng=4))


def test_prompts_labels_and_seeds(flow):
    frame = pd.DataFrame({"id": ["a", "b"], "prompt": ["sdss, merger", "sdss, {ring:1.2}"]})
    check = draw_partition(frame, rng=1, generator="flow")
    np.testing.assert_array_equal(pixels(check["image"]), whole(frame, rng=1)["image"])
    seeded = pd.DataFrame({"prompt": ["sdss, merger"] * 2, "seed": [5, 9]})
    again = draw_partition(seeded, generator="flow")
    np.testing.assert_array_equal(pixels(again["image"]), whole(seeded)["image"])
    labelled = pd.DataFrame({"id": ["a", "b"], "kind": ["M", "R"]})
    options = {"labels": {"M": "merger", "R": "ring"}, "label_column": "kind"}
    drawn = draw_partition(labelled, rng=1, generator="flow", **options)
    np.testing.assert_array_equal(pixels(drawn["image"]), whole(labelled, rng=1, **options)["image"])


def test_without_ids(frame):
    with pytest.raises(
        ConditionError, match="has no column of ids, only ra, dec.*those of every partition; name id_col"
    ):
        draw_partition(frame.drop(columns="objid"), rng=1)
    with pytest.raises(UnknownNameError, match="unknown id column 'galid'"):
        draw_partition(frame, rng=1, id_column="galid")


@pytest.mark.parametrize("rng", [None, np.random.default_rng(0), 1.5, True])
def test_without_a_seed(frame, rng):
    with pytest.raises(ConditionError, match="rng=.*: give a whole number, which is the same for every partition"):
        draw_partition(frame, rng=rng)


def test_an_interrupt_is_passed_on(flow, frame, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(flow, "generate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        draw_partition(frame, rng=1, generator="flow")


@pytest.mark.parametrize("parts", [1, 4])
def test_a_dask_dataframe(flow, frame, parts):
    pytest.importorskip("dask.dataframe", reason="dask is not installed")
    import dask.dataframe as dd

    cut = dd.from_pandas(frame.drop(columns=["spectrum", "thumbnail"]), npartitions=parts)
    drawn = cut.map_partitions(draw_partition, rng=4, generator="flow", meta=partition_meta(cut))
    assert cut.npartitions == parts
    assert list(drawn.columns) == list(partition_meta(cut).columns)
    check_drawn(drawn.compute(scheduler="threads"), frame, whole(frame, rng=4))
    assert len(flow.made_with) == 2  # here and in `whole`


@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")  # what Dask calls of pandas
def test_a_dask_dataframe_goes_through_parquet(flow, frame, tmp_path):
    pytest.importorskip("dask.dataframe", reason="dask is not installed")
    import dask.dataframe as dd

    cut = dd.from_pandas(frame.drop(columns=["spectrum"]), npartitions=3)
    drawn = cut.map_partitions(draw_partition, rng=4, generator="flow", meta=partition_meta(cut))
    drawn.to_parquet(tmp_path / "drawn")
    check_drawn(dd.read_parquet(tmp_path / "drawn").compute(), frame, whole(frame, rng=4))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("order", [0, 1])
def test_an_lsdb_catalogue(flow, frame, tmp_path, order):
    """Cut in two ways, kept as HATS, and read again."""
    lsdb = pytest.importorskip("lsdb", reason="LSDB is not installed (tox -e hyrax)")
    catalogue = lsdb.from_dataframe(
        frame.drop(columns=["spectrum", "thumbnail"]).reset_index(drop=True), ra_column="ra", dec_column="dec",
        lowest_order=order, partition_rows=3,
    )  # fmt: skip
    drawn = catalogue.map_partitions(draw_partition, rng=4, generator="flow")
    assert catalogue.npartitions > 1
    assert set(PROVENANCE) < set(drawn.columns)
    check_drawn(drawn.compute(), frame, whole(frame, rng=4))
    drawn.to_hats(tmp_path / "drawn", catalog_name="drawn")
    check_drawn(lsdb.open_catalog(tmp_path / "drawn").compute(), frame, whole(frame, rng=4))


def test_no_dask_is_needed():
    assert not {"dask", "lsdb"} & set(vars(frames))
