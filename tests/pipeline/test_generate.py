"""generate: the same rows with an image each, and where it came from."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.table import QTable, Table

from astro_galaxysd import augment_table, generate, load_generator, to_hdus


def draw(table, generator, **options):
    return generate(table, generator=generator, **{"rng": 2, "progress": False} | options)


def test_prompts_in_images_out(flow):
    table = Table({"prompt": ["sdss, {merger:1.2}", "ring galaxy"], "z": [0.1, 0.2]}, meta={"run": 3})
    result = draw(table, "flow")
    assert result["image"].shape == (2, 16, 16, 3)
    assert result["image"].dtype == np.uint8
    assert result["prompt"].tolist() == table["prompt"].tolist()
    assert result["z"].tolist() == [0.1, 0.2]
    assert json.loads(result["prompt_weights"][0]) == {"merger": 1.2}
    assert result["seed"].dtype == np.int64
    assert result["synthetic"].tolist() == [True, True]
    assert [set(result[name]) for name in ("generator", "weights", "weights_revision")] == [
        {"flow"}, {"streams"}, {"r1"},
    ]  # fmt: skip
    assert result.meta["run"] == 3
    record = result.meta["galaxysd_run"]["parameters"]
    assert (record["run_seed"], record["conditions"], record["finished"]) == (2, "prompt column", 2)
    assert table.colnames == ["prompt", "z"]
    assert table.meta == {"run": 3}


@pytest.mark.parametrize("dialect", ["kaggle", "hart16", "zoobot", "conditional"])
def test_votes_in(make_catalogue, noise, dialect):
    result = draw(make_catalogue(dialect, cls=QTable), noise)
    assert type(result) is QTable
    assert all(prompt.startswith("sdss, ") for prompt in result["prompt"])
    assert result["ra"].unit == "deg"
    assert result.meta["galaxysd_run"]["parameters"]["conditions"].startswith(dialect)


def test_labels_in(noise):
    table = Table({"type": ["E", "S"]})
    result = draw(table, noise, labels={"E": "smooth galaxy", "S": "{spiral galaxy:1.1}"}, label_column="type")
    assert result["prompt"].tolist() == ["smooth galaxy", "{spiral galaxy:1.1}"]


def test_seed_column(noise):
    table = Table({"prompt": ["a b", "c d"], "seed": [5, 6]})
    kept, new = draw(table, noise, rng=None), draw(table, noise)
    assert kept["seed"].tolist() == [5, 6]
    assert "run_seed" not in kept.meta["galaxysd_run"]["parameters"]
    assert new["seed"].tolist() != [5, 6]


def test_augmented_table_with_numbers_for_ids(catalogue, noise):
    """Synthetic rows of such a table have their ids in a column of their own."""
    catalogue["id"] = np.arange(5)
    table = augment_table(catalogue, target="merger", n=2, rng=1, generator=noise, progress=False)
    result = draw(table, noise)
    assert len(set(result["seed"])) == 7


def test_generator_may_not_change_the_conditions(noise):
    class Changing(type(noise)):
        def generate(self, conditions, *, batch_size=None):
            batch = super().generate(conditions, batch_size=batch_size)
            conditions["seed"][:] = 0
            return batch

    table = Table({"prompt": ["a b", "c d"], "seed": [5, 6]})
    assert draw(table, Changing(8), rng=None)["seed"].tolist() == [5, 6]
    assert table["seed"].tolist() == [5, 6]


def test_hdus_say_what_they_are(flow):
    hdus = to_hdus(draw(Table({"prompt": ["sdss, {merger:1.2}"]}), "flow"))
    header = hdus[0].header
    assert (header["CALIB"], header["SYNTHET"], header["PROMPT"]) == (False, True, "sdss, {merger:1.2}")
    assert (header["GENERATR"], header["WEIGHTS"], header["WREVIS"]) == ("flow", "streams", "r1")
    assert "BUNIT" not in header


def test_no_provenance_that_is_not_known(noise):
    result = draw(Table({"prompt": ["ring galaxy"]}), noise)
    assert result["weights"].mask.all()
    assert "WEIGHTS" not in to_hdus(result)[0].header


def test_loaded_generator_is_the_named_one(tiny_weights):
    table = Table({"prompt": ["sdss, ring galaxy"]})
    by_folder = generate(table, weights=tiny_weights, steps=2, guidance=1.5, rng=1, progress=False)
    loaded = generate(table, generator=load_generator(tiny_weights, steps=2, guidance=1.5), rng=1, progress=False)
    np.testing.assert_array_equal(by_folder["image"], loaded["image"])
    for result in (by_folder, loaded):
        assert result["weights"][0] == "tiny"
        assert len(result["weights_revision"][0]) == 40
        record = result.meta["galaxysd_run"]["parameters"]
        assert (record["steps"], record["guidance"], record["sampler"]) == (2, 1.5, "dpm++")
        assert record["versions"]["torch"]


def test_progress_bar(noise, capsys):
    draw(Table({"prompt": ["ring galaxy"] * 9}), noise, progress=True)
    assert "9/9" in capsys.readouterr().err
    draw(Table({"prompt": ["ring galaxy"] * 9}), noise)
    assert capsys.readouterr().err == ""
