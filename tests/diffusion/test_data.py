from __future__ import annotations

import io
import logging

import numpy as np
import pytest
from astropy.table import Table
from PIL import Image

from astro_galaxysd import write_table
from astro_galaxysd.conditions.tree import INDEX
from astro_galaxysd.diffusion.data import VALIDATION_SPLITS, read_training_set
from astro_galaxysd.diffusion.pack import write_pack
from astro_galaxysd.errors import ConditionError, TrainingError
from astro_galaxysd.images.sources import object_array


def jpeg(grey, size=32):
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), (grey, grey, grey)).save(buffer, "JPEG")
    return buffer.getvalue()


def table(n=4, **columns):
    rows = Table({"id": [f"g{i}" for i in range(n)], "t01_smooth": np.linspace(0.1, 0.9, n)})
    rows["image"] = object_array([jpeg(20 * i) for i in range(n)])
    for name, values in columns.items():
        rows[name] = values
    return rows


def written(tmp_path, rows, name="rows.parquet"):
    return write_table(rows, tmp_path / name)


def test_images_votes_and_ids(tmp_path):
    training = read_training_set([written(tmp_path, table())], votes=True)
    assert training.images.shape == (4, 32, 32, 3)
    assert training.images[:, 0, 0, 0].tolist() == [0, 20, 40, 60]
    np.testing.assert_allclose(training.fractions[:, INDEX["smooth"]], np.linspace(0.1, 0.9, 4))
    assert training.ids == ["g0", "g1", "g2", "g3"]
    assert training.unreadable == {}


def test_other_splits_are_never_trained_on(tmp_path):
    rows = table(split=["train", "test", "val", "train"])
    assert read_training_set([written(tmp_path, rows)], votes=True).ids == ["g0", "g3"]


def test_only_test_rows(tmp_path):
    rows = table(split=["test"] * 4)
    with pytest.raises(TrainingError, match="no row to use; rows of the splits train or training are read"):
        read_training_set([written(tmp_path, rows)], votes=True)


def test_validation_rows(tmp_path):
    rows = table(split=["train", "test", "Val", "validation"])
    assert read_training_set([written(tmp_path, rows)], votes=True, splits=VALIDATION_SPLITS).ids == ["g2", "g3"]


def test_rows_whose_split_is_not_said_are_used(tmp_path):
    rows = table()
    rows["split"] = np.ma.masked_array(["train", "x", "x", "test"], mask=[False, True, True, False])
    assert read_training_set([written(tmp_path, rows)], votes=True).ids == ["g0", "g1", "g2"]


class TestPack:
    @pytest.fixture
    def pack(self, tmp_path):
        """Two rows to train on, and two that are held back."""
        rows = written(tmp_path, table(split=["train", "train", "val", "val"]))
        parts = [read_training_set([rows], votes=True, **more) for more in ({}, {"splits": VALIDATION_SPLITS})]
        return write_pack(parts[0], tmp_path / "pack", codec="png", holdout=parts[1])

    def test_is_read_as_a_table_is(self, tmp_path, pack):
        training = read_training_set([pack], votes=True)
        assert training.ids == ["g0", "g1"]
        assert training.images[:, 0, 0, 0].tolist() == [0, 20]
        np.testing.assert_allclose(training.fractions[:, INDEX["smooth"]], [0.1, 0.1 + 0.8 / 3], atol=1e-3)

    def test_beside_a_table(self, tmp_path, pack):
        more = table(id=["h0", "h1", "h2", "h3"])
        training = read_training_set([pack, written(tmp_path, more, "more.parquet")], votes=True)
        assert training.ids == ["g0", "g1", "h0", "h1", "h2", "h3"]
        assert training.images.shape == (6, 32, 32, 3)

    def test_its_rows_that_are_held_back_are_for_validation(self, pack):
        assert read_training_set([pack], votes=True, splits=VALIDATION_SPLITS).ids == ["g2", "g3"]

    def test_without_rows_that_are_held_back(self, tmp_path):
        training = read_training_set([written(tmp_path, table())], votes=True)
        pack = write_pack(training, tmp_path / "pack", codec="png")
        with pytest.raises(TrainingError, match="pack has no validation rows; write it with --validation"):
            read_training_set([pack], votes=True, splits=VALIDATION_SPLITS)


def test_unreadable_rows_are_counted_and_named(tmp_path, caplog):
    rows = table()
    rows["image"][2] = rows["image"][2][:200]
    with caplog.at_level(logging.WARNING):
        training = read_training_set([written(tmp_path, rows)], votes=True)
    assert training.ids == ["g0", "g1", "g3"]
    assert list(training.unreadable) == ["g2"]
    assert "1 of 4 rows can't be read and are left out: g2: " in caplog.text


def test_several_tables_with_and_without_votes(tmp_path):
    bare = table()
    bare.remove_column("t01_smooth")
    paths = [written(tmp_path, table()), written(tmp_path, bare, "bare.parquet")]
    training = read_training_set(paths, votes=False)
    assert len(training.images) == 8
    assert np.isnan(training.fractions[4:]).all()
    with pytest.raises(ConditionError, match="vote"):
        read_training_set(paths, votes=True)


def test_rows_without_ids_are_named_by_table_and_number(tmp_path):
    rows = table()
    rows.remove_column("id")
    paths = [written(tmp_path, rows, "first.parquet"), written(tmp_path, rows, "second.parquet")]
    ids = read_training_set(paths, votes=True).ids
    where = tmp_path.name
    assert (ids[0], ids[-1], len(set(ids))) == (f"{where}/first.parquet row 0", f"{where}/second.parquet row 3", 8)


def test_ragged_images(tmp_path):
    rows = table()
    rows["image"][1] = jpeg(9, size=40)
    with pytest.raises(TrainingError, match=r"images of different sizes \(32x32, 40x40\)"):
        read_training_set([written(tmp_path, rows)], votes=True)


def test_sides_that_do_not_divide_into_blocks(tmp_path):
    rows = table()
    rows["image"] = object_array([jpeg(9, size=30)] * 4)
    with pytest.raises(TrainingError, match="images of 30x30 px; they must be square, the side a multiple of 8"):
        read_training_set([written(tmp_path, rows)], votes=True)


def test_real_rows_of_another_split_are_refused(gz2):
    with pytest.raises(TrainingError, match="no row to use"):
        read_training_set([gz2 / "val.parquet"], votes=True)
