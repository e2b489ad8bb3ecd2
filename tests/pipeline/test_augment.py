"""augment_table from its argument to its result: what is asked for, what comes back, what stays as it was."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.table import QTable, Table

from astro_galaxysd import augment_table, drop_synthetic, read_table, write_table
from astro_galaxysd.conditions.tree import ANSWER_BY_KEY
from astro_galaxysd.images.provenance import PROVENANCE_COLUMNS

RECORD = "galaxysd_run"


def augment(table, generator, **options):
    defaults = {"target": "merger", "n": 3, "rng": 1, "progress": False}
    return augment_table(table, generator=generator, **defaults | options)


@pytest.mark.parametrize(
    ("dialect", "target", "bases", "source"),
    [
        ("kaggle", "merger", [0, 1], "kaggle"),
        ("conditional", "merger", [0, 1], "conditional"),
        ("hart16", "merger", [0, 1], "hart16 _fraction"),
        ("zoobot", "round", [0, 3], "zoobot fractions"),
    ],
)
def test_votes_come_back_in_the_table_s_own_dialect(make_catalogue, noise, dialect, target, bases, source):
    table = make_catalogue(dialect)
    result = augment(table, noise, target=target, n=4)
    names = [name for name in table.colnames if result[name].dtype == np.float32]
    assert len(names) > 5
    own = np.array([[table[name][row] for name in names] for row in bases])
    for row in result[5:]:
        votes = np.array([np.nan if row[name] is np.ma.masked else row[name] for name in names])
        # A question below an answer of 0 was not asked: NaN or 0, as the dialect has it.
        distance = np.nanmax(np.abs(np.nan_to_num(votes) - own), axis=1)
        assert distance.min() < 2e-3
    assert result.meta[RECORD]["parameters"]["conditions"] == source


def test_several_dialects(make_catalogue, noise):
    """The most complete serves, or the one that is named; the record says which; new rows have votes in all."""
    table, kaggle = make_catalogue("conditional"), make_catalogue("kaggle")
    table["Class6.1"], table["Class8.6"] = kaggle["Class6.1"], kaggle["Class8.6"]
    result = augment(table, noise)
    assert result.meta[RECORD]["parameters"]["conditions"] == "conditional"
    named = augment(table, noise, schema="kaggle")
    assert named.meta[RECORD]["parameters"]["conditions"] == "kaggle"
    for row in result[5:]:
        assert row["Class8.6"] == pytest.approx(row["t06_odd_yes"] * row["t08_merger"], abs=1e-5)


def test_real_rows_are_untouched(catalogue, noise, assert_same):
    before = catalogue.copy()
    result = augment(catalogue, noise)
    assert_same(catalogue, before)
    assert len(result) == 8
    assert result.colnames == [*catalogue.colnames, *PROVENANCE_COLUMNS]
    assert_same(drop_synthetic(result), before)
    assert result.meta["survey"] == before.meta["survey"]
    assert result["ra"].unit == "deg"
    assert result["id"][:5].tolist() == before["id"].tolist()


def test_new_rows_claim_nothing(catalogue, noise):
    new = augment(catalogue, noise)[5:]
    assert new["votes"].mask.all()
    assert np.isnan(new["ra"]).all()
    assert new["split"].mask.all()
    assert new["clean"].mask.all()
    assert len(set(new["id"])) == 3
    assert not set(new["id"]) & set(catalogue["id"])


def test_provenance(catalogue, flow):
    result = augment_table(catalogue, target="merger", n=3, rng=1, generator="flow", steps=5, progress=False)
    real, new = result[:5], result[5:]
    kinds = {name: result[name].dtype.kind for name in PROVENANCE_COLUMNS}
    assert kinds == dict.fromkeys(PROVENANCE_COLUMNS, "U") | {"synthetic": "b", "seed": "i"}
    assert result["seed"].dtype == np.int64
    assert result["synthetic"].tolist() == [False] * 5 + [True] * 3
    for name in PROVENANCE_COLUMNS[1:]:
        assert real[name].mask.all()
        assert not new[name].mask.any()
    assert set(new["generator"]) == {"flow"}
    assert set(new["weights"]) == {"streams"}
    assert set(new["weights_revision"]) == {"r1"}
    for row in new:
        parts = [part.strip("{}").split(":") for part in row["prompt"].removeprefix("sdss, ").split(", ")]
        assert json.loads(row["prompt_weights"]) == {
            words: float(weight[0]) if weight else 1.0 for words, *weight in parts if weight and float(weight[0]) != 1
        }
        assert "merger" in row["prompt"]


def test_run_record(catalogue, flow):
    result = augment_table(catalogue, target="merger", n=3, rng=7, generator="flow", steps=5, progress=False)
    record = result.meta[RECORD]
    json.dumps(record)
    assert set(record) == {"created", "versions", "machine", "parameters", "layout"}
    assert record["versions"]["astro_galaxysd"]
    known = record["parameters"]
    assert known["run_seed"] == 7
    assert known["planned"] == known["finished"] == known["n"] == 3
    assert [known["generator"], known["weights"], known["weights_revision"]] == ["flow", "streams", "r1"]
    assert known["steps"] == 3  # what the generator did, not what it was asked for
    assert known["targets"]["merger"]["n_real"] == 2


def test_a_loaded_generator_without_weights_claims_none(catalogue, noise):
    result = augment(catalogue, noise)
    assert result["weights"].mask.all()
    assert result["weights_revision"].mask.all()
    assert result.meta[RECORD]["parameters"]["weights"] == ""
    assert set(result["generator"][5:]) == {"noise"}


@pytest.mark.parametrize("name", ["augmented.fits", "augmented.parquet", "augmented"])
def test_out_round_trips(catalogue, noise, tmp_path, assert_same, name):
    result = augment(catalogue, noise, out=tmp_path / name)
    read = read_table(tmp_path / name)
    assert_same(read, result)
    assert_same(drop_synthetic(read), catalogue)
    write_table(read, tmp_path / name, overwrite=True)
    assert_same(read_table(tmp_path / name), result)


def test_qtable_with_units(make_catalogue, noise, assert_same):
    table = make_catalogue("kaggle", cls=QTable)
    result = augment(table, noise)
    assert type(result) is QTable
    assert result["ra"].unit == "deg"
    assert np.isnan(result["ra"][5:].value).all()
    assert_same(drop_synthetic(result), table)


def test_prompt_column(noise):
    table = Table({"prompt": ["sdss, {merger:1.2}", "sdss, ring galaxy", "sdss, {merger:0.4}"]})
    result = augment(table, noise)
    assert set(result["prompt"][3:]) == {"sdss, {merger:1.2}"}
    assert result["prompt"][:3].tolist() == table["prompt"].tolist()


def test_labels(noise):
    table = Table({"type": ["E", "S", "S", "M"]})
    labels = {"E": "smooth galaxy, round", "M": "two galaxies, {merger:1.2}"}
    result = augment(table, noise, target="M", n=2, label_column="type", labels=labels)
    assert result["type"].tolist() == ["E", "S", "S", "M", "M", "M"]
    assert set(result["prompt"][4:]) == {"sdss, two galaxies, {merger:1.2}"}


def test_boolean_column(catalogue, noise):
    catalogue["interesting"] = [False, False, False, True, False]
    result = augment(catalogue, noise, target="interesting", n=2)
    assert result["interesting"].tolist() == [False, False, False, True, False, True, True]
    np.testing.assert_allclose(result["t01_smooth"][5:], 0.9, atol=1e-6)


def test_free_prompt(catalogue, noise):
    prompt = "in-between round galaxy, {dust lane:1.3}"
    result = augment(catalogue, noise, target=prompt)
    assert all(prompt in text for text in result["prompt"][5:])
    assert all(json.loads(text)["dust lane"] == 1.3 for text in result["prompt_weights"][5:])


def test_mapping_of_several(catalogue, noise):
    result = augment(catalogue, noise, target={"merger": 2, "ring": 3}, n=None)
    assert len(result) == 10
    assert ["merger" in identifier for identifier in result["id"][5:]] == [True, True, False, False, False]
    assert ["ring" in identifier for identifier in result["id"][5:]] == [False, False, True, True, True]


def test_ratio_counts_real_rows_of_the_class(catalogue, noise):
    assert len(augment(catalogue, noise, n=None, ratio=1.5)) == 5 + 3


def test_compose_makes_what_no_row_has(catalogue, noise):
    catalogue["t08_dust_lane"] = np.zeros(5, dtype=np.float32)
    result = augment(catalogue, noise, target="dust_lane", compose=True)
    assert (result["t08_dust_lane"][5:] > 0.5).all()
    assert all(ANSWER_BY_KEY["dust_lane"].words in json.loads(text) for text in result["prompt_weights"][5:])


def test_twice(catalogue, noise, assert_same):
    once = augment(catalogue, noise)
    twice = augment(once, noise)
    assert len(twice) == 11
    assert len(set(twice["id"])) == 11
    assert twice.meta[RECORD]["previous"]["parameters"]["finished"] == 3
    assert_same(drop_synthetic(twice), catalogue)


def test_real_galaxies(gz2, noise, assert_same):
    table = read_table(gz2 / "val.parquet")[:200]
    result = augment(table, noise, target="spiral", n=2)
    assert len(result) == 202
    assert_same(drop_synthetic(result), table)
    assert all(bytes(image).startswith(b"\xff\xd8") for image in result["image"])


def test_hart16_sample(gz2, noise):
    table = read_table(gz2 / "hart16_sample.parquet")
    result = augment(table, noise, target="ring", n=2)
    assert (result["t08_odd_feature_a19_ring_weighted_fraction"][-2:] >= 0.5).all()
    assert result["total_votes"].dtype == table["total_votes"].dtype
    assert np.ma.getmaskarray(np.ma.asarray(result["gz2_class"]))[-2:].all()
