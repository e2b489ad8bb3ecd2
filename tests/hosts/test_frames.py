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


@pytest.mark.parametrize("kind", [bytes, int, str])
def test_ids_that_are_objects(flow, frame, kind):
    """Names are those of the texts, so that the pixels are too."""
    drawn = draw_partition(frame, rng=4, generator="flow")
    ids = [str(one).encode() if kind is bytes else kind(one) for one in frame["objid"]]
    objects = frame.assign(objid=pd.Series(ids, index=frame.index, dtype=object))
    again = draw_partition(objects, rng=4, generator="flow")
    assert list(again["seed"]) == list(drawn["seed"])
    assert list(again["objid"]) == ids
    renamed = objects.rename(columns={"objid": "mine"})
    assert list(draw_partition(renamed, rng=4, generator="flow", id_column="mine")["seed"]) == list(drawn["seed"])


def test_ids_that_a_partition_lacks(flow, frame):
    """Another column must not take their place in this partition alone."""
    lacking = frame.assign(objid=pd.Series([None] * len(frame), index=frame.index, dtype=object))
    with pytest.raises(ConditionError, match="row 0 has no id in column 'objid'"):
        draw_partition(lacking.assign(dr7objid=range(len(frame))), rng=4, generator="flow")


def test_columns_that_can_not_be_ids(frame):
    with pytest.raises(
        ConditionError, match=r"no column of ids, only .*name \(spectrum, thumbnail: neither numbers nor"
    ):
        draw_partition(frame.drop(columns="objid"), rng=1)
    with pytest.raises(ConditionError, match="id column 'spectrum' holds neither numbers nor texts; name another"):
        draw_partition(frame, rng=1, id_column="spectrum")


def test_seeds_that_are_objects(flow):
    seeded = pd.DataFrame({"prompt": [b"sdss, merger"] * 2, "seed": pd.Series([5, 9], dtype=object)})
    again = draw_partition(seeded, generator="flow")
    plain = pd.DataFrame({"prompt": ["sdss, merger"] * 2, "seed": [5, 9]})
    np.testing.assert_array_equal(pixels(again["image"]), whole(plain)["image"])


SMOOTH, DISK = "t01_smooth_or_features_a01_smooth_", "t01_smooth_or_features_a02_features_or_disk_"


@pytest.fixture
def hart16():
    """Votes that half of the rows have under one suffix and the others under another."""
    there = np.arange(6) < 3
    votes = {SMOOTH + "fraction": (there, 0.9), DISK + "fraction": (there, 0.1)}
    votes |= {SMOOTH + "weighted_fraction": (~there, 0.2), DISK + "weighted_fraction": (~there, 0.8)}
    frame = pd.DataFrame({"id": list("abcdef")})
    return frame.assign(**{name: np.where(known, value, np.nan) for name, (known, value) in votes.items()})


@pytest.mark.parametrize("schema", [None, "hart16"])
def test_votes_that_each_partition_would_read_in_its_own_way(flow, hart16, schema):
    message = (
        r"votes can be read in several ways, hart16 _weighted_fraction \(t01_.*_a01_smooth_weighted_fraction, ...\); "
        r"hart16 _fraction \(t01.*, and the rows .*; name one, schema='hart16 _weighted_fraction', or drop the col"
    )
    for part in (hart16, hart16.iloc[:3], hart16.iloc[3:].astype(object)):
        with pytest.raises(ConditionError, match=message):
            draw_partition(part, rng=1, generator="flow", schema=schema)


def test_votes_of_one_way(flow, hart16):
    hart16[[SMOOTH + "fraction", DISK + "fraction"]] = [0.9, 0.1]
    named = draw_partition(hart16, rng=1, generator="flow", schema="hart16 _fraction")
    parts = [hart16.iloc[:2], hart16.iloc[2:]]
    cut = pd.concat([draw_partition(part, rng=1, generator="flow", schema="hart16 _fraction") for part in parts])
    alone = hart16.drop(columns=[name for name in hart16 if "weighted" in name])
    for other in (cut, draw_partition(alone, rng=1, generator="flow")):
        assert list(other["prompt"]) == list(named["prompt"])
        assert list(other["image"]) == list(named["image"])
    np.testing.assert_array_equal(pixels(named["image"]), whole(alone, rng=1)["image"])
    with pytest.raises(UnknownNameError, match="unknown schema 'hart16 _flag': did you mean 'hart16'"):
        draw_partition(hart16, rng=1, schema="hart16 _flag")


def test_votes_of_two_dialects(flow, frame):
    both = frame.assign(**{"Class1.1": 0.9, "Class1.2": 0.05, "Class1.3": 0.05})
    with pytest.raises(
        ConditionError, match=r"ways, kaggle \(Class1.1, ...\); conditional \(t01_smooth, ...\), and .*"
    ):
        draw_partition(both, rng=4, generator="flow")
    drawn = draw_partition(both, rng=4, generator="flow", schema="conditional")
    assert list(drawn["prompt"]) == list(draw_partition(frame, rng=4, generator="flow")["prompt"])


def test_prompts_and_labels_come_before_votes(flow, hart16):
    prompted = hart16.assign(prompt="sdss, merger", kind="M")
    assert set(draw_partition(prompted, rng=1, generator="flow")["prompt"]) == {"sdss, merger"}
    drawn = draw_partition(hart16.assign(kind="M"), rng=1, generator="flow", labels={"M": "ring"}, label_column="kind")
    assert set(drawn["prompt"]) == {"ring"}
    prompted.loc[2, "prompt"] = None
    with pytest.raises(ConditionError, match="votes can be read in several ways"):
        draw_partition(prompted, rng=1, generator="flow")


def test_references_are_read_once(flow, frame, monkeypatch):
    real, read, loaded = workers.reference_images, [], []
    monkeypatch.setattr(workers, "reference_images", lambda images: read.append(1) or real(images))

    def load(planned, *, references, **settings):
        loaded.append(references)
        return frames.Drawing(planned, settings["generator"], progress=False)

    monkeypatch.setattr(frames, "_load", load)
    references = np.zeros((3, 8, 8, 3), np.uint8)
    for part in (frame.iloc[:3], frame.iloc[3:9], frame.iloc[9:]):
        draw_partition(part, rng=4, generator="flow", references=references)
    assert (len(read), len(loaded)) == (1, 1)
    draw_partition(frame, rng=4, generator="flow", references=references + 1)
    assert (len(read), len(loaded)) == (2, 2)


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
