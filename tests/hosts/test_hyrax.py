"""The adapter for Hyrax: settings and messages without it, and the whole way inside it (`tox -e hyrax`)."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import astro_galaxysd
from astro_galaxysd import write_table
from astro_galaxysd.errors import ConditionError, MissingDependencyError

DEFAULTS = Path(astro_galaxysd.__file__).with_name("default_config.toml")


@pytest.fixture
def adapter(monkeypatch):
    """The module as it is where Hyrax is absent, whatever is installed."""
    name = "astro_galaxysd.hosts.hyrax"
    monkeypatch.setitem(sys.modules, "hyrax", None)
    monkeypatch.delitem(sys.modules, name, raising=False)
    import importlib

    module = importlib.import_module(name)
    yield module
    sys.modules.pop(name, None)


def test_without_hyrax_the_class_says_what_to_install(adapter):
    with pytest.raises(MissingDependencyError, match=r"pip install 'astro-galaxysd\[hyrax\]'"):
        adapter.GalaxyTable({}, "galaxies.parquet")


def test_defaults(adapter):
    settings = adapter.read_settings({})
    assert settings == {
        "images": None,
        "survey": None,
        "id_column": None,
        "label": None,
        "classes": [],
        "threshold": 0.5,
        "rows": "all",
        "turns": True,
        "stand_ins": 0.0,
    }


def test_settings_of_a_configuration_come_first(adapter):
    config = {"astro_galaxysd": {"GalaxyTable": {"turns": False, "label": "merger", "images": False}}}
    settings = adapter.read_settings(config)
    assert (settings["turns"], settings["label"], settings["images"]) == (False, "merger", None)


def test_an_unknown_setting_is_named(adapter):
    config = {"astro_galaxysd": {"GalaxyTable": {"lable": "merger"}}}
    with pytest.raises(ConditionError, match=r"astro_galaxysd.GalaxyTable has no lable; it has images, survey, id_col"):
        adapter.read_settings(config)


def test_nothing_imports_the_hosts():
    code = "import sys, astro_galaxysd.plugins.manager as m; m.get_registry().describe(); print(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=os.sep)
    assert "astro_galaxysd.plugins" in done.stdout
    assert "astro_galaxysd.hosts" not in done.stdout


CONFIG = """
[general]
results_dir = "results"
log_level = "warning"

[model]
name = "HyraxCNN"

[model.HyraxCNN]
output_classes = 2

[train]
epochs = 2

[data_loader]
batch_size = 4

[data_set]
seed = 5

[data_request.train.data]
dataset_class = "astro_galaxysd.hosts.hyrax.GalaxyTable"
data_location = "train.parquet"
primary_id_field = "object_id"
fields = ["image", "label", "synthetic"]
augment = ["image", "synthetic"]

[data_request.validate.data]
dataset_class = "astro_galaxysd.hosts.hyrax.GalaxyTable"
data_location = "validate.parquet"
primary_id_field = "object_id"
fields = ["image", "label"]

[data_request.validate.data.dataset_config.astro_galaxysd.GalaxyTable]
rows = "real"

[astro_galaxysd.GalaxyTable]
label = "merger"
stand_ins = 0.5
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
class TestInsideHyrax:
    """Hyrax finds the class by its dotted path, reads its settings, and trains a model of its own with it."""

    @pytest.fixture
    def program(self, hyrax, table, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write_table(table, "train.parquet")
        write_table(table, "validate.parquet")
        Path("hyrax.toml").write_text(CONFIG)
        return hyrax.Hyrax(config_file="hyrax.toml")

    def test_the_settings_have_hyrax_defaults(self, program):
        assert program.config["astro_galaxysd"]["GalaxyTable"]["threshold"] == 0.5
        assert set(tomllib.loads(DEFAULTS.read_text())["astro_galaxysd"]["GalaxyTable"]) == set(
            program.config["astro_galaxysd"]["GalaxyTable"]
        )

    def test_prepare_gives_our_rows(self, program, table):
        providers = program.prepare()
        train, validate = providers["train"], providers["validate"]
        assert (len(train), len(validate)) == (12, 8)
        assert list(train.ids()) == list(table["id"])
        assert {"image", "label", "object_id", "synthetic", "votes", "redshift", "kind"} <= set(train.fields()["data"])
        batch = validate.collate([validate[row] for row in range(8)])
        assert batch["data"]["image"].shape == (8, 3, 32, 32)
        assert batch["data"]["image"].dtype == np.float32
        assert batch["data"]["label"].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
        assert np.array_equal(np.rint(batch["data"]["image"][3] * 255), np.moveaxis(table["image"][3], -1, 0))

    def test_augmented_rows_agree_and_follow_from_the_seed(self, program, table):
        one, other = (program.prepare()["train"] for _ in range(2))
        stood_in = 0
        for row in [0, 1, 5] * 20:
            data, again = one[row]["data"], other[row]["data"]
            assert np.array_equal(data["image"], again["image"])
            galaxy = one.prepped_datasets["data"].galaxies
            shown = [at for at in range(12) if sorted(galaxy.image(at).ravel()) == sorted(data["image"].ravel())]
            assert bool(data["synthetic"]) is (shown[0] > 7)
            assert data["label"] == (row < 2)
            stood_in += shown != [row]
        assert 8 <= stood_in <= 32

    def test_missing_values_reach_hyrax_as_nan(self, program):
        metadata = program.prepare()["train"].metadata([0, 9], ["redshift_data", "kind_data"])
        assert metadata["redshift_data"][0] == 0
        assert np.isnan(metadata["redshift_data"][1])
        assert list(metadata["kind_data"]) == ["M", "M"]

    def test_a_model_of_hyrax_is_trained(self, program, monkeypatch):
        from astro_galaxysd.hosts.hyrax import GalaxyTable

        seen, real = [], GalaxyTable.augment_image

        def spy(self, data, idx, rng_seed):
            seen.append(idx)
            return real(self, data, idx, rng_seed)

        monkeypatch.setattr(GalaxyTable, "augment_image", spy)
        model = program.train()
        weights = [value.detach().numpy() for value in model.parameters()]
        assert all(np.isfinite(value).all() for value in weights)
        # Once for the model's size, then every row in each of two epochs (Hyrax draws rows with its own sampler).
        assert len(seen) == 1 + 2 * 12
        assert list(Path("results").glob("*/example_model.pth"))

    def test_a_dataset_without_a_table(self, program):
        from astro_galaxysd.hosts.hyrax import GalaxyTable

        with pytest.raises(ConditionError, match="GalaxyTable needs a table: set data_location"):
            GalaxyTable(program.config)
