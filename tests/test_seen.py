"""Who has seen rows before: weights, readers and embedders, by the ids that lie beside them."""

from __future__ import annotations

import hashlib
import warnings

import numpy as np
import pytest

from astro_galaxysd.errors import ConditionError
from astro_galaxysd.evaluation import reading
from astro_galaxysd.evaluation.samples import rows_of
from astro_galaxysd.evaluation.scoring import Sets
from astro_galaxysd.learning.trainingids import write_training_ids
from astro_galaxysd.seen import SeenRowsWarning, count_copies, count_rows, count_seen, judge_folders, weight_folders
from astro_galaxysd.testing import example_batch

IDS = ["a", "b", "c"]
READER, EMBEDDER = (hashlib.sha256(content).hexdigest() for content in (b"reads", b"embeds"))


@pytest.fixture
def ours(tmp_path, monkeypatch):
    """A folder in place of that of the judges that ship."""
    folder = tmp_path / "judges"
    folder.mkdir()
    (folder / "reader-reporting.safetensors").write_bytes(b"reads")
    (folder / "embedder.safetensors").write_bytes(b"embeds")
    monkeypatch.setattr(reading, "judges_folder", lambda: folder)
    return folder


def test_rows_are_counted_and_warned_of(tmp_path):
    write_training_ids(tmp_path, ["b", "c", "d"])
    with pytest.warns(SeenRowsWarning, match="2 of 3 real rows that are compared with were among those the reader"):
        assert count_seen(IDS, {"the reader": tmp_path, "weights 'x'": None}) == {"the reader": 2, "weights 'x'": None}


def test_what_is_not_known_is_none_and_not_zero(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert count_seen(IDS, {"the reader": tmp_path}) == {"the reader": None}
        assert count_rows(None, IDS) is None
        write_training_ids(tmp_path, ["d"])
        assert count_seen(IDS, {"the reader": tmp_path}) == {"the reader": 0}
        assert count_seen([], {"the reader": tmp_path}) == {"the reader": None}


@pytest.mark.parametrize("reader", ["reporting", object()])
def test_a_reader_that_ships_covers_the_embedder_beside_it(ours, reader):
    assert judge_folders(reader, READER, EMBEDDER) == {"the reader": ours}


def test_a_reader_of_ones_own_has_its_ids_beside_it(ours, tmp_path):
    own = tmp_path / "run" / "reader.safetensors"
    assert judge_folders(own, "f00", EMBEDDER) == {"the reader": own.parent, "the embedder": ours}
    assert judge_folders(str(own), "f00", "dinov2") == {"the reader": own.parent}
    assert judge_folders(object(), "f00", "dinov2") == {"the reader": None}


def test_nothing_is_said_of_a_reader_that_reads_nothing(ours):
    assert judge_folders(None, None, "dinov2") == {}
    assert judge_folders(None, None, EMBEDDER) == {"the embedder": ours}


def test_the_reader_that_ships_is_that_of_the_package():
    reader = reading.ImageReader.load("reporting")
    assert judge_folders("reporting", reader.revision, "") == {"the reader": reading.judges_folder()}


def test_weights_are_those_that_were_named_only(tiny_weights):
    from astro_galaxysd.diffusion.components import folder_revision

    name, revision = str(tiny_weights), folder_revision(tiny_weights)
    who = f"weights {name!r}"
    assert weight_folders([(name, revision)]) == weight_folders([(name, "")]) == {who: tiny_weights}
    assert weight_folders([(name, "f00"), ("gone", "")]) == {who: None, "weights 'gone'": None}
    assert weight_folders([(name, revision), (name, "f00")]) == {who: tiny_weights}


def test_images_that_occur_twice_are_counted_whatever_their_ids():
    real, held, synthetic, training = (example_batch(6, size=8, rng=seed) for seed in range(4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert count_copies(Sets(real, held, synthetic, training)) == {
            "real images that occur twice": 0, "synthetic images that are real ones": 0,
        }  # fmt: skip
    synthetic.images[2:4] = held.images[1], real.images[5]
    held.images[0] = real.images[0]
    with pytest.warns(SeenRowsWarning) as caught:
        found = count_copies(Sets(real, held, synthetic))
    assert found == {"real images that occur twice": 1, "synthetic images that are real ones": 2}
    said = [str(one.message) for one in caught]
    assert said[0].startswith("1 real images that occur twice, pixel by pixel")
    assert said[1].startswith("2 synthetic images that are real ones")
    with pytest.raises(ConditionError, match="3 images of training= are among the real ones, whatever their ids"):
        count_copies(Sets(real, held, synthetic, rows_of(real, np.array([1, 2, 3]))))
