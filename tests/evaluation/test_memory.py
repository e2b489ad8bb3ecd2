"""Nothing is measured twice: by content, by revision, in the process and in a file that several processes share."""

from __future__ import annotations

import gc
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from astro_galaxysd.errors import ConditionError, ImageError, OutputError, PluginError
from astro_galaxysd.evaluation import embedders
from astro_galaxysd.evaluation import memory as memory_module
from astro_galaxysd.evaluation.featurefile import CACHE_FILE, FeatureFile, MemoryWarning
from astro_galaxysd.evaluation.memory import Memory, remembered
from astro_galaxysd.testing import check_embedder, example_batch


class Counting:
    """Mean colours, and how many images were asked for at a time."""

    def __init__(self, revision="colours-1", power=1):
        self.revision, self.power, self.asked = revision, power, []

    def embed(self, images):
        self.asked.append(len(images))
        return (images.astype(np.float32).mean(axis=(1, 2)) / 255) ** self.power


class Faulty:
    revision = "faulty-1"

    def __init__(self, answer):
        self.answer = answer

    def embed(self, images):
        return self.answer(images)


@pytest.fixture
def images():
    return example_batch(10, size=16).images


def total(images):
    return images.sum(axis=(1, 2, 3), dtype=float)


def rows_in(folder):
    with sqlite3.connect(folder / CACHE_FILE) as database:
        found = database.execute("SELECT key, count(*) FROM measured_1 GROUP BY key").fetchall()
    database.close()
    return dict(found)


def test_only_what_is_unknown_is_embedded(images):
    embedder = Counting()
    memory = Memory(embedder, batch_size=4)
    first = memory.embed(images[:6])
    assert embedder.asked == [4, 2]
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, Counting().embed(images[:6]))
    np.testing.assert_array_equal(memory.embed(images[::-1]), Counting().embed(images[::-1]))
    assert embedder.asked == [4, 2, 4]
    memory.embed(np.flip(images, axis=2))  # mirrored images are others, and not contiguous
    assert sum(embedder.asked) == 20


def test_equal_images_are_embedded_once(images):
    embedder = Counting()
    features = Memory(embedder).embed(images[[0, 1, 0, 0, 1]])
    assert embedder.asked == [2]
    np.testing.assert_array_equal(features, Counting().embed(images[[0, 1, 0, 0, 1]]))


def test_memory_keeps_the_promises_of_an_embedder(images):
    check_embedder(Memory(Counting()))
    memory = Memory(Counting("r7"))
    assert memory.revision == "r7"
    features = memory.embed(images)
    features[:] = 0  # the caller's to change
    assert memory.embed(images).any()


def test_features_of_images_that_differ_in_shape_or_dtype_are_kept_apart():
    grey = np.zeros((1, 4, 16, 3), np.uint8)
    memory = Memory()
    assert memory.of("side-1", lambda part: np.full(len(part), part.shape[1]), grey).item() == 4
    assert memory.of("side-1", lambda part: np.full(len(part), part.shape[1]), grey.reshape(1, 16, 4, 3)).item() == 16
    assert memory.of("side-1", lambda part: np.full(len(part), -1), grey.astype(np.int8)).item() == -1


def test_other_numbers_are_remembered_by_name_with_nan(images):
    asked = []

    def half(part):
        asked.append(len(part))
        return np.stack([total(part), np.where(total(part) > np.median(total(images)), np.nan, 1)], axis=1)

    memory = Memory()
    numbers = memory.of("half-1", half, images)
    assert (numbers.shape, numbers.dtype) == ((10, 2), np.float64)
    assert np.isnan(numbers[:, 1]).sum() == 5
    np.testing.assert_array_equal(memory.of("half-1", half, images), numbers)
    assert asked == [10]
    memory.of("half-2", half, images)
    assert asked == [10, 10]


def test_remembered_through_a_memory_or_straight_away(images):
    memory, asked = Memory(Counting()), []

    def measure(part):
        asked.append(len(part))
        return total(part)

    for embedder in (memory, memory, None, Counting()):
        np.testing.assert_array_equal(remembered(embedder, "total-1", measure, images)[:, 0], total(images))
    assert asked == [10, 10, 10]


def test_the_next_process_finds_the_file(images, tmp_path):
    folder = tmp_path / "new" / "cache"
    first = Memory(Counting(), folder=folder, batch_size=3)
    features = first.embed(images[:7])
    first.of("total-1", total, images)
    again = Counting()
    second = Memory(again, folder=folder)
    np.testing.assert_array_equal(second.embed(images), np.concatenate([features, Counting().embed(images[7:])]))
    assert again.asked == [3]

    def refuse(part):
        raise AssertionError

    np.testing.assert_array_equal(second.of("total-1", refuse, images)[:, 0], total(images))
    assert rows_in(folder) == {"embedding colours-1": 10, "measure total-1": 10}


def test_another_revision_is_measured_anew(images, tmp_path):
    Memory(Counting("r1"), folder=tmp_path).embed(images)
    other = Counting("r2", power=2)
    np.testing.assert_array_equal(Memory(other, folder=tmp_path).embed(images), Counting(power=2).embed(images))
    assert other.asked == [10]


def test_without_a_revision_only_the_process_remembers(images, tmp_path):
    embedder = Counting("")
    memory = Memory(embedder, folder=tmp_path)
    memory.embed(images)
    memory.embed(images)
    assert embedder.asked == [10]
    assert rows_in(tmp_path) == {}
    del embedder.revision
    assert memory.revision == ""


def test_what_was_interrupted_goes_on(images, tmp_path):
    def stop(part):
        if stop.calls:
            raise KeyboardInterrupt
        stop.calls += 1
        return total(part)

    stop.calls = 0
    with pytest.raises(KeyboardInterrupt):
        Memory(folder=tmp_path, batch_size=4).of("total-1", stop, images)
    asked = []
    Memory(folder=tmp_path).of("total-1", lambda part: asked.append(len(part)) or total(part), images)
    assert asked == [6]


def test_several_processes_share_a_file(images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    code = (
        "import sys, numpy as np\n"
        "from astro_galaxysd.evaluation.memory import Memory\n"
        f"images = np.load({str(tmp_path / 'images.npy')!r})\n"
        f"memory = Memory(folder={str(tmp_path / 'cache')!r}, batch_size=1)\n"
        "rows = np.random.default_rng(int(sys.argv[1])).permutation(len(images))\n"
        "for row in rows:\n"
        "    memory.of('total-1', lambda part: part.sum(axis=(1, 2, 3), dtype=float), images[row : row + 1])\n"
    )
    running = [subprocess.Popen([sys.executable, "-W", "error", "-c", code, str(seed)]) for seed in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert rows_in(tmp_path / "cache") == {"measure total-1": 10}
    found = Memory(folder=tmp_path / "cache").of("total-1", lambda part: None, images)
    np.testing.assert_array_equal(found[:, 0], total(images))


def test_default_embedder_is_loaded_when_it_is_needed(images, monkeypatch):
    made = []
    monkeypatch.setattr(embedders, "make_embedder", lambda: made.append(Counting("ours")) or made[0])
    memory = Memory()
    memory.of("total-1", total, images)
    assert not made
    memory.embed(images)
    assert (memory.revision, len(made), made[0].asked) == ("ours", 1, [10])


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (lambda images: images.mean(axis=(1, 2)).tolist(), "gives features of list"),
        (lambda images: images.mean(axis=(1, 2)).astype(str), "gives features of <U"),
        (lambda images: images.mean(axis=(1, 2))[1:], r"shape \(9, 3\) for 10 images; it must be \(10, D\)"),
        (lambda images: images.mean(axis=1), r"shape \(10, 16, 3\) for 10 images"),
        (lambda images: images.mean(axis=(1, 2))[:, :0], r"shape \(10, 0\)"),
        (lambda images: np.where(np.arange(10)[:, None] < 2, np.inf, 1), "not finite for 2 of 10 .* first is number 0"),
    ],
)
def test_faulty_features_are_refused(images, tmp_path, answer, fault):
    memory = Memory(Faulty(answer), folder=tmp_path)
    with pytest.raises(PluginError, match=fault) as raised:
        memory.embed(images)
    assert "Faulty" in str(raised.value)
    assert rows_in(tmp_path) == {}


@pytest.mark.parametrize(
    ("measure", "fault"),
    [
        (
            lambda part: total(part)[1:],
            r"'total-1' gives float64 of shape \(9,\) for 10 images; it must give \(10, k\)",
        ),
        (lambda part: part, r"shape \(10, 16, 16, 3\)"),
        (lambda part: np.empty((len(part), 0)), r"shape \(10, 0\)"),
        (lambda part: ["x"] * len(part), "gives <U1"),
    ],
)
def test_faulty_measures_are_refused(images, measure, fault):
    with pytest.raises(PluginError, match=fault):
        Memory().of("total-1", measure, images)


@pytest.mark.parametrize("name", ["total", "total-"])
def test_a_name_without_version_is_refused(images, name):
    with pytest.raises(PluginError, match=f"remembered as '{name}'; write a version behind the name"):
        remembered(None, name, total, images)


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (np.zeros((0, 8, 8, 3), np.uint8), r"uint8 of shape \(0, 8, 8, 3\); an embedder needs uint8 .* N at least 1"),
        (np.zeros((2, 8, 8), np.uint8), r"shape \(2, 8, 8\)"),
        (np.zeros((2, 8, 8, 3)), "images are float64"),
        ([1], "images are list"),
    ],
)
def test_wrong_images_are_refused(wrong, fault):
    with pytest.raises(ImageError, match=fault):
        Memory(Counting()).embed(wrong)
    if not isinstance(wrong, np.ndarray) or wrong.dtype == np.uint8:
        with pytest.raises(ImageError, match="'total-1' needs numbers of shape"):
            Memory().of("total-1", total, wrong)


def test_batch_size_is_positive():
    with pytest.raises(ConditionError, match="batch_size is 0; give 1 image or more"):
        Memory(batch_size=0)


def test_an_embedder_that_changed_under_its_revision_is_found(images, tmp_path):
    Memory(Counting("r1"), folder=tmp_path).embed(images[:5])
    other = Faulty(lambda part: part.mean(axis=(1, 2))[:, :2])
    other.revision = "r1"
    with pytest.raises(PluginError, match=f"'embedding r1' gives 2 and 3 numbers an image; .* remove .*{CACHE_FILE}"):
        Memory(other, folder=tmp_path).embed(images)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"can't keep features in .*file.*; choose a folder that can be written"):
        Memory(folder=tmp_path / "file" / "cache")
    (tmp_path / CACHE_FILE).mkdir()
    with pytest.raises(OutputError, match="unable to open database file"):
        Memory(folder=tmp_path)


def test_a_file_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    Memory(folder=tmp_path)
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: connect(f"file:{path}?mode=ro", timeout, uri=True))
    with pytest.raises(OutputError, match="readonly database"):
        Memory(folder=tmp_path)


def test_a_damaged_file_is_set_aside(images, tmp_path):
    (tmp_path / CACHE_FILE).write_bytes(b"no database at all" * 100)
    with pytest.warns(
        MemoryWarning, match=r"is damaged \(file is not a database\); it was set aside as features.damaged"
    ):
        memory = Memory(folder=tmp_path)
    memory.of("total-1", total, images)
    assert rows_in(tmp_path) == {"measure total-1": 10}
    assert (tmp_path / "features.damaged").read_bytes().startswith(b"no database")


def test_damage_that_shows_later_costs_what_was_kept_only(images, tmp_path):
    memory = Memory(folder=tmp_path)
    memory.of("total-1", total, images[:5])
    (tmp_path / CACHE_FILE).write_bytes(b"no database at all" * 100)
    with pytest.warns(MemoryWarning, match="is damaged"):
        numbers = memory.of("total-1", total, images)
    np.testing.assert_array_equal(numbers[:, 0], total(images))
    assert rows_in(tmp_path) == {"measure total-1": 5}


def test_a_damaged_row_is_measured_anew(images, tmp_path):
    Memory(folder=tmp_path).of("total-1", total, images)
    with sqlite3.connect(tmp_path / CACHE_FILE) as database:
        digests = [row[0] for row in database.execute("SELECT digest FROM measured_1")]
        database.execute("UPDATE measured_1 SET numbers = x'00' WHERE digest = ?", digests[:1])
        (numbers,) = database.execute("SELECT numbers FROM measured_1 WHERE digest = ?", digests[1:2]).fetchone()
        flipped = bytes([numbers[0] ^ 1]) + numbers[1:]
        database.execute("UPDATE measured_1 SET numbers = ? WHERE digest = ?", (flipped, digests[1]))
    database.close()
    asked = []
    numbers = Memory(folder=tmp_path).of("total-1", lambda part: asked.append(len(part)) or total(part), images)
    assert asked == [2]
    np.testing.assert_array_equal(numbers[:, 0], total(images))


@pytest.mark.parametrize("method", ["read", "write"])
def test_a_file_that_fails_at_work_is_left(images, tmp_path, monkeypatch, method):
    def full(*arguments):
        raise sqlite3.OperationalError("database or disk is full")

    memory = Memory(folder=tmp_path)
    monkeypatch.setattr(FeatureFile, method, full)
    with pytest.warns(MemoryWarning, match=r"can't be used any more \(database or disk is full\); going on without it"):
        numbers = memory.of("total-1", total, images)
    np.testing.assert_array_equal(numbers[:, 0], total(images))
    memory.of("total-2", total, images)  # one warning is enough


def test_a_busy_file_is_not_taken_for_a_damaged_one(images, tmp_path, monkeypatch):
    memory = Memory(folder=tmp_path)
    memory.of("total-1", total, images[:5])
    monkeypatch.setattr("astro_galaxysd.evaluation.featurefile._WAIT", 0.01)
    other = sqlite3.connect(tmp_path / CACHE_FILE)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.warns(MemoryWarning, match="database is locked"):
        memory.of("total-1", total, images)
    with pytest.raises(OutputError, match="database is locked"):
        Memory(folder=tmp_path)
    other.rollback()
    other.close()
    assert rows_in(tmp_path) == {"measure total-1": 5}


def test_an_array_that_nobody_writes_to_is_looked_at_once(images, monkeypatch):
    looked = []
    digests = memory_module._digests
    monkeypatch.setattr(memory_module, "_digests", lambda some: looked.append(len(some)) or digests(some))
    memory = Memory(Counting())
    frozen = images.copy()
    frozen.flags.writeable = False
    first = memory.embed(frozen)
    memory.of("total-1", total, frozen)
    np.testing.assert_array_equal(memory.embed(frozen), first)
    assert looked == [10]
    memory.embed(frozen[:4])  # a view: who holds the rest could write
    assert looked == [10, 4]
    assert len(memory._frozen) == 1
    del frozen
    gc.collect()
    assert not memory._frozen


def test_what_may_be_written_to_is_looked_at_again(images):
    memory = Memory(Counting())
    images = images.copy()
    images.flags.writeable = False
    first = memory.embed(images)
    images.flags.writeable = True
    images[0] = 255
    assert (memory.embed(images)[0] != first[0]).all()
    window = images[:]
    window.flags.writeable = False
    before = memory.embed(window)
    images[1] = 255
    assert (memory.embed(window)[1] != before[1]).all()
