"""Folders of shards: the same rows and files however often the drawing is disturbed."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Column, MaskedColumn, QTable, Table, vstack

from astro_galaxysd import generate, generate_to, read_table, write_table
from astro_galaxysd.bulk import Written
from astro_galaxysd.drawing import InterruptedWarning
from astro_galaxysd.errors import (
    ConditionError,
    OutputError,
    OutputExistsError,
    PluginError,
    PromptError,
    UnknownNameError,
    VersionsWarning,
)
from astro_galaxysd.images import files
from astro_galaxysd.images.codec import read_images
from astro_galaxysd.images.manifest import MANIFEST, Manifest, read_manifest
from astro_galaxysd.images.provenance import RUN_RECORD

WRITER = Path(__file__).with_name("bulk_writer.py")
KINDS = ["parquet", "fits"]


@pytest.fixture(scope="session")
def writer(load_script):
    return load_script("tests/bulk_writer.py")


@pytest.fixture
def cheap(writer):
    return writer.Cheap


@pytest.fixture
def shards(writer):
    return writer.shards


@pytest.fixture
def write(writer, cheap):
    """generate_to with 12 rows in shards of 5, where nothing else is said."""

    def write(folder, conditions=None, **options):
        rows = writer.table(12) if conditions is None else conditions
        return writer.write(folder, rows, **{"generator": cheap()} | options)

    return write


@pytest.fixture
def done(write, tmp_path):
    """A folder with all of its shards."""
    write(tmp_path / "done")
    return tmp_path / "done"


class Untouchable:
    """A generator that must not be called: the error has to come before."""

    def generate(self, conditions, *, batch_size=None):
        pytest.fail("the generator drew although it should not")


#: The same, of a name that passes for the one that drew before.
UNTOUCHABLE = type("Cheap", (Untouchable,), {})()


def at(rows, error):
    """Raise an error before the piece with which `rows` rows are there."""

    def before(drawn):
        if drawn >= rows:
            raise error

    return before


def assert_as_generated(folder, want):
    """A folder holds the rows of `generate`."""
    got = read_table(folder)
    assert set(got.colnames) == set(want.colnames)
    np.testing.assert_array_equal(np.stack(read_images(got)), want["image"])
    for name in set(want.colnames) - {"image"}:
        assert type(got[name]) is type(want[name]), name
        assert got[name].dtype.kind == want[name].dtype.kind
        assert getattr(got[name], "unit", None) == getattr(want[name], "unit", None)
        mask = np.ma.getmaskarray(np.ma.asarray(want[name]))
        np.testing.assert_array_equal(np.ma.getmaskarray(np.ma.asarray(got[name])), mask)
        np.testing.assert_array_equal(np.asarray(got[name])[~mask], np.asarray(want[name])[~mask])


def pixels_by(column, folder):
    table = read_table(folder)
    return {str(row): image.tobytes() for row, image in zip(table[column], read_images(table), strict=True)}


# What is written


def test_the_bar_counts_galaxies_of_a_shard_that_is_begun(write, tmp_path, monkeypatch):
    import tqdm

    bars = []

    class Bar(tqdm.tqdm):
        def update(self, n=1):
            bars.append((self.n, n))
            return super().update(n)

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    write(tmp_path / "out", shard_rows=12, progress=True)
    assert bars == [(0, 8), (8, 4)]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_those_of_generate(kind, write, writer, cheap, tmp_path):
    conditions = writer.table(12)
    written = write(tmp_path / "out", conditions, format=kind)
    assert written == Written(tmp_path / "out", rows=12, planned=12, drawn=12)
    names = [f"shard-0000{number}.{kind}" for number in range(3)]
    assert sorted(path.name for path in tmp_path.joinpath("out").iterdir() if path.name[0] != ".") == [MANIFEST, *names]
    assert [len(read_table(tmp_path / "out" / name)) for name in names] == [5, 5, 2]
    assert_as_generated(tmp_path / "out", generate(conditions, rng=1, generator=cheap(), progress=False))


@pytest.mark.parametrize("kind", KINDS)
def test_columns_are_kept(kind, write, cheap, writer, tmp_path):
    conditions = writer.table(12)
    conditions["n"] = MaskedColumn(np.arange(12, dtype=np.int16), mask=np.arange(12) % 3 == 1)
    conditions["clean"] = np.arange(12) % 2 == 0
    conditions["note"] = [["", "α", "a longer text"][row % 3] for row in range(12)]
    conditions["said"] = MaskedColumn(["yes"] * 12, mask=np.arange(12) > 6)
    conditions["bands"] = np.arange(36, dtype=np.float32).reshape(12, 3)
    conditions["mag"] = Column(np.linspace(14, 17, 12), unit="mag", description="r band")
    conditions["image"] = np.zeros((12, 4, 4, 3), dtype=np.uint8)
    write(tmp_path / "out", conditions, format=kind)
    assert_as_generated(tmp_path / "out", generate(conditions, rng=1, generator=cheap(), progress=False))
    assert read_table(tmp_path / "out")["mag"].description == "r band"


@pytest.mark.parametrize("kind", KINDS)
def test_positions_and_quantities_are_kept(kind, write, writer, tmp_path):
    conditions = QTable(writer.table(7))
    conditions["size"] = np.arange(7) * u.arcsec
    conditions["where"] = SkyCoord(np.arange(7.0), np.arange(7.0) + 1 / 3, unit="deg")
    write(tmp_path / "out", conditions, format=kind)
    got = read_table(tmp_path / "out")
    np.testing.assert_array_equal(got["size"], conditions["size"])
    np.testing.assert_array_equal(got["where"].dec, conditions["where"].dec)
    conditions["where"] = SkyCoord(np.arange(7.0), np.arange(7.0) + 1 / 3 + 1e-9, unit="deg")
    with pytest.raises(OutputExistsError, match="other conditions"):
        write(tmp_path / "out", conditions, format=kind, generator=Untouchable())


def test_conditions_are_left_as_they_are(write, writer, tmp_path):
    conditions = writer.table(12)
    conditions.meta = {"survey": {"name": "SDSS"}}
    before = conditions.copy()
    write(tmp_path / "out", conditions)
    assert conditions.colnames == before.colnames
    assert conditions.meta == before.meta
    assert all((conditions[name] == before[name]).all() for name in before.colnames)


def test_a_generator_may_change_its_rows(write, writer, shards, cheap, tmp_path, done):
    class Careless(cheap):
        def generate(self, conditions, *, batch_size=None):
            batch = super().generate(conditions, batch_size=batch_size)
            conditions["flux"] = 0.0
            conditions["seed"][:] = 0
            conditions.meta["mine"] = 1
            return batch

    write(tmp_path / "out", generator=type("Cheap", (Careless,), {})())
    assert shards(tmp_path / "out") == shards(done)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_batch_size_makes_no_difference(kind, batch_size, write, shards, tmp_path):
    write(tmp_path / "out", format=kind)
    write(tmp_path / "other", format=kind, batch_size=batch_size)
    assert shards(tmp_path / "other") == shards(tmp_path / "out")


def test_order_makes_no_difference_to_pixels(write, writer, done, tmp_path):
    write(tmp_path / "out", writer.table(12)[::-1], shard_rows=7)
    assert pixels_by("id", tmp_path / "out") == pixels_by("id", done)


@pytest.mark.parametrize("name", ["conditions.parquet", "conditions.fits", "conditions", "parts"])
def test_conditions_in_files(name, write, writer, shards, done, tmp_path):
    source = tmp_path / name
    if name == "parts":
        source.mkdir()
        write_table(writer.table(12)[:7], source / "a.parquet")
        write_table(writer.table(12)[7:], source / "b.parquet")
        want = [5, 2, 5]  # a stretch ends with its file
    else:
        write_table(writer.table(12), source)
        want = [5, 5, 2]
    write(tmp_path / "out", source)
    assert [shard.rows for shard in read_manifest(tmp_path / "out").shards] == want
    assert pixels_by("id", tmp_path / "out") == pixels_by("id", done)
    if name != "parts":
        assert shards(tmp_path / "out") == shards(done)


def test_shards_serve_as_conditions(write, writer, done, tmp_path):
    """Their images are not read; a column of seeds gives the same galaxies again."""
    write(tmp_path / "again", done, rng=None, shard_rows=12)
    assert pixels_by("id", tmp_path / "again") == pixels_by("id", done)


@pytest.mark.parametrize("column", [None, "row_id", "galaxysd_id", "name"])
def test_ids(column, write, cheap, writer, tmp_path):
    conditions = writer.table(12)["prompt", "flux"]
    option = {"id_column": "name"} if column == "name" else {}
    if column:
        conditions[column] = [f"x{row}" for row in range(12)]
    write(tmp_path / "out", conditions, **option)
    want = generate(conditions, rng=1, generator=cheap(), progress=False, **option)
    assert_as_generated(tmp_path / "out", want)


def test_seeds_of_their_own(write, writer, cheap, tmp_path):
    """They need no ids, which may then repeat."""
    conditions = writer.table(12)
    conditions["id"] = "one"
    conditions["seed"] = np.arange(12) * 17
    write(tmp_path / "out", conditions, rng=None)
    assert_as_generated(tmp_path / "out", generate(conditions, generator=cheap(), progress=False))
    assert read_manifest(tmp_path / "out").run["parameters"]["run_seed"] is None
    write(tmp_path / "out", conditions, rng=None, generator=UNTOUCHABLE)


def test_votes_and_labels(write, cheap, tmp_path):
    votes = Table({"t01_smooth": np.linspace(0.3, 0.9, 12), "t08_merger": [0.7] * 12, "t06_odd_yes": [0.8] * 12})
    write(tmp_path / "votes", votes)
    assert_as_generated(tmp_path / "votes", generate(votes, rng=1, generator=cheap(), progress=False))
    labelled = Table({"kind": ["ring", "merger"] * 6})
    options = {"label_column": "kind", "labels": {"ring": "sdss, ring galaxy", "merger": "sdss, {merger:1.2}"}}
    write(tmp_path / "labels", labelled, **options)
    assert_as_generated(tmp_path / "labels", generate(labelled, rng=1, generator=cheap(), progress=False, **options))
    assert read_manifest(tmp_path / "labels").run["parameters"]["conditions"] == "labels of column 'kind'"


def test_dialect_is_that_of_the_whole_table(write, cheap, tmp_path):
    """The first stretches alone have more votes in the dialect that has fewer in all."""
    few = np.where(np.arange(20) < 10, 0.9, np.nan)
    votes = Table({
        "Class1.1": few, "Class1.2": 1 - few, "Class6.1": few, "Class6.2": 1 - few,
        "t01_smooth": [0.1] * 20, "t01_features": [0.9] * 20,
        "t06_odd_yes": np.where(np.arange(20) < 3, np.nan, 0.1), "t06_odd_no": np.where(np.arange(20) < 3, np.nan, 0.9),
    })  # fmt: skip
    want = generate(votes, rng=1, generator=cheap(), progress=False)
    assert "{smooth" not in "".join(want["prompt"])
    for length in (3, 20):
        write(tmp_path / str(length), votes, shard_rows=length)
        assert_as_generated(tmp_path / str(length), want)


def test_hart16_columns_are_those_of_the_whole_table(write, cheap, tmp_path):
    stem = "t01_smooth_or_features_a0{}_{}"
    answers = ((1, "smooth"), (2, "features_or_disk"))
    some = np.where(np.arange(12) < 4, 0.9, np.nan)
    votes = Table({f"{stem.format(*answer)}_weighted_fraction": some for answer in answers})
    for answer, value in zip(answers, (0.25, 0.75), strict=True):
        votes[f"{stem.format(*answer)}_fraction"] = value
    want = generate(votes, rng=1, generator=cheap(), progress=False)
    write(tmp_path / "out", votes, shard_rows=4)
    assert_as_generated(tmp_path / "out", want)
    assert read_manifest(tmp_path / "out").run["parameters"]["conditions"] == "hart16 _fraction"


def test_prompts_of_some_rows(write, cheap, tmp_path):
    votes = Table({"t01_smooth": [0.9] * 12, "prompt": ["sdss, ring galaxy"] * 6 + [""] * 6})
    write(tmp_path / "out", votes)
    assert_as_generated(tmp_path / "out", generate(votes, rng=1, generator=cheap(), progress=False))
    write(tmp_path / "out", votes, generator=UNTOUCHABLE)


def test_embedded_weights(writer, tmp_path):
    conditions = writer.table(6)
    options = {"rng": 3, "steps": 2, "progress": False}
    written = generate_to(tmp_path / "out", conditions, shard_rows=4, batch_size=3, **options)
    assert written.drawn == 6
    assert_as_generated(written.folder, generate(conditions, **options))


def test_many_shards_keep_their_order(write, writer, tmp_path):
    write(tmp_path / "out", writer.table(23), shard_rows=2)
    np.testing.assert_array_equal(read_table(tmp_path / "out")["id"], writer.table(23)["id"])


# Going on


@pytest.mark.parametrize("kind", KINDS)
def test_interrupt_keeps_what_is_finished(kind, write, cheap, shards, tmp_path):
    write(tmp_path / "whole", format=kind)
    with pytest.warns(InterruptedWarning, match="interrupted: 5 of 12 rows were drawn and are kept") as warned:
        written = write(tmp_path / "out", format=kind, generator=cheap(before=at(5, KeyboardInterrupt())))
    assert warned[0].filename.endswith("bulk_writer.py")
    assert (written.rows, written.planned, written.drawn) == (5, 12, 5)
    assert list(shards(tmp_path / "out")) == [f"shard-00000.{kind}"]
    assert read_manifest(tmp_path / "out").rows == 5
    generator = cheap()
    written = write(tmp_path / "out", format=kind, generator=generator)
    assert (written.rows, written.drawn, written.repaired, generator.drawn) == (12, 7, (), 7)
    assert shards(tmp_path / "out") == shards(tmp_path / "whole")


def test_interrupt_before_anything_is_finished(write, cheap, shards, done, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out", generator=cheap(before=at(0, KeyboardInterrupt())))
    assert shards(tmp_path / "out") == {}
    write(tmp_path / "out")
    assert shards(tmp_path / "out") == shards(done)


def test_interrupt_in_the_middle_of_a_shard(write, cheap, shards, done, tmp_path):
    with pytest.warns(InterruptedWarning):
        write(tmp_path / "out", batch_size=1, generator=Small(cheap(before=at(8, KeyboardInterrupt()))))
    assert len(shards(tmp_path / "out")) == 1
    write(tmp_path / "out")
    assert shards(tmp_path / "out") == shards(done)


@pytest.mark.parametrize("rows", [5, 10])
def test_interrupt_when_a_line_has_been_written(rows, write, shards, done, tmp_path, monkeypatch):
    real = Manifest.finish

    def finish(self, number, shard):
        now = real(self, number, shard)
        if now.rows == rows:
            raise KeyboardInterrupt
        return now

    monkeypatch.setattr(Manifest, "finish", finish)
    with pytest.warns(InterruptedWarning, match=f"interrupted: {rows} of 12 rows"):
        written = write(tmp_path / "out")
    monkeypatch.undo()
    assert (written.rows, written.drawn) == (rows, rows)
    assert write(tmp_path / "out").drawn == 12 - rows
    assert shards(tmp_path / "out") == shards(done)


def test_killed_before_lines_are_in_the_manifest(write, shards, cheap, done, tmp_path):
    """As after an error; what was finished is known by its lines alone."""
    with pytest.raises(MemoryError):
        write(tmp_path / "out", generator=cheap(before=at(10, MemoryError())))
    assert [entry["sha256"] for entry in json.loads((tmp_path / "out" / MANIFEST).read_text())["shards"]] == [""] * 3
    assert len((tmp_path / "out" / "_finished.jsonl").read_text().splitlines()) == 2
    damage(tmp_path / "out" / "shard-00000.parquet")
    assert write(tmp_path / "out", verify=True).drawn == 7
    assert shards(tmp_path / "out") == shards(done)
    assert not (tmp_path / "out" / "_finished.jsonl").exists()


def Small(generator):
    """It draws one row at a time, whatever it is given."""
    generator.together = 1
    return generator


def test_error_of_a_generator(write, cheap, shards, done, tmp_path):
    with pytest.raises(MemoryError, match="too much") as caught:
        write(tmp_path / "out", generator=cheap(before=at(10, MemoryError("too much"))))
    assert caught.value.__notes__ == [f"10 of 12 rows are in {str(tmp_path / 'out')!r}; the same call goes on"]
    assert len(shards(tmp_path / "out")) == 2
    assert write(tmp_path / "out").drawn == 2
    assert shards(tmp_path / "out") == shards(done)


def test_error_of_a_plug_in(write, flow, monkeypatch, tmp_path):
    real = flow.generate

    def broken(self, conditions, *, batch_size=None):
        if sum(self.calls) >= 5:
            raise ValueError("out of ink")
        return real(self, conditions, batch_size=batch_size)

    flow.calls.clear()
    monkeypatch.setattr(flow, "generate", broken)
    with pytest.raises(PluginError, match="out of ink"):
        write(tmp_path / "out", generator="flow")
    assert read_manifest(tmp_path / "out").rows == 5


def test_images_of_another_size(write, cheap, shards, tmp_path):
    class Growing(cheap):
        def image(self, prompt, seed):
            return np.zeros((4 + self.drawn, 4, 3), np.uint8)

    with pytest.raises(PluginError, match=r"returned images of uint8 .*they must be uint8"):
        write(tmp_path / "out", generator=Small(Growing()))
    assert shards(tmp_path / "out") == {}


def test_system_refuses_a_while(write, shards, done, tmp_path, monkeypatch):
    def full(source, target):
        if str(target).endswith("shard-00001.parquet"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.rename(source, target)

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OutputError, match="No space left on device.*Free space") as caught:
        write(tmp_path / "out")
    monkeypatch.undo()
    assert "5 of 12 rows" in caught.value.__notes__[-1]
    assert not list((tmp_path / "out").glob(".partial*"))
    write(tmp_path / "out")
    assert shards(tmp_path / "out") == shards(done)


def test_nothing_is_left_to_do(write, shards, done):
    before = {path: path.stat().st_mtime_ns for path in done.glob("shard*")}
    written = write(done, generator=UNTOUCHABLE)
    assert (written.rows, written.drawn) == (12, 0)
    assert {path: path.stat().st_mtime_ns for path in done.glob("shard*")} == before


def test_seed_of_the_run_that_is_there(write, cheap, writer, tmp_path):
    with pytest.warns(InterruptedWarning):
        write(tmp_path / "out", rng=None, generator=cheap(before=at(5, KeyboardInterrupt())))
    write(tmp_path / "out", rng=None)
    seed = read_manifest(tmp_path / "out").run["parameters"]["run_seed"]
    write(tmp_path / "other", rng=seed)
    assert pixels_by("id", tmp_path / "out") == pixels_by("id", tmp_path / "other")


def test_seed_of_the_run_comes_before_seeds_of_rows(write, writer, tmp_path):
    conditions = writer.table(12)
    conditions["seed"] = np.arange(12)
    write(tmp_path / "out", conditions)
    assert write(tmp_path / "out", conditions, rng=None, generator=UNTOUCHABLE).rows == 12


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda rows: rows[:11], {}, r"other conditions or other shard_rows \(12 rows there, 11 now\)"),
        (lambda rows: rows[::-1], {}, r"other conditions or other shard_rows \(12 rows there, 12 now\)"),
        (
            lambda rows: vstack([rows, Table({"id": ["z"], "prompt": ["a"], "flux": [0.0]})]),
            {},
            r"12 rows there, 13 now",
        ),
        (lambda rows: rows["id", "prompt"], {}, "other conditions"),
        (lambda rows: Table(rows, units={"flux": "mJy"}), {}, "other conditions"),
        (lambda rows: rows, {"shard_rows": 4}, "other conditions or other shard_rows"),
        (lambda rows: rows, {"rng": 2}, "run_seed 1 there, 2 now"),
        (lambda rows: rows, {"format": "fits"}, "format parquet there, fits now"),
    ],
)
def test_another_run_is_refused(change, options, message, write, writer, shards, done):
    before = shards(done)
    with pytest.raises(OutputExistsError, match=f"holds galaxies that were drawn otherwise: .*{message}.*Name another"):
        write(done, change(writer.table(12)), **options, generator=UNTOUCHABLE)
    assert shards(done) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "steps 3 there, None now"),
        ({"steps": 4}, "steps 3 there, 4 now"),
        ({"steps": 3, "guidance": 2.0}, "guidance None there, 2.0 now"),
    ],
)
def test_another_sampling_of_a_plug_in_is_refused(options, message, write, flow, tmp_path):
    """This one doesn't say before it draws what it draws with."""
    write(tmp_path / "out", generator="flow", steps=3)
    with pytest.raises(OutputExistsError, match=message):
        write(tmp_path / "out", generator="flow", **options)


def test_other_references_are_refused(write, flow, monkeypatch, tmp_path):
    def begin(self, card, *, steps=None, guidance=None, references=None):
        self.size = 16

    monkeypatch.setattr(flow, "__init__", begin)
    images = np.zeros((2, 16, 16, 3), np.uint8)
    write(tmp_path / "out", generator="flow", references=images)
    assert write(tmp_path / "out", generator="flow", references=images).drawn == 0
    with pytest.raises(OutputExistsError, match="references .* there, .* now"):
        write(tmp_path / "out", generator="flow", references=images + 1)


def test_another_generator_is_refused(write, done, cheap):
    with pytest.raises(OutputExistsError, match="generator 'Cheap' there, 'Untouchable' now"):
        write(done, generator=Untouchable())
    dear = cheap()
    dear.provenance = {"steps": 4}
    with pytest.raises(OutputExistsError, match="steps None there, 4 now"):
        write(done, generator=dear)


def of_another_version(folder):
    """As if what is there had been drawn with an old numpy."""
    path = folder / MANIFEST
    content = json.loads(path.read_text())
    content["run"]["versions"]["numpy"] = "1.0"
    path.write_text(json.dumps(content))


def test_other_versions(write, cheap, tmp_path):
    folder = tmp_path / "out"
    with pytest.warns(InterruptedWarning):
        write(folder, generator=cheap(before=at(5, KeyboardInterrupt())))
    of_another_version(folder)
    with pytest.warns(VersionsWarning, match=r"5 rows were drawn with other versions: numpy 1\.0 -> ") as warned:
        assert write(folder).rows == 12
    assert warned[0].filename.endswith("bulk_writer.py")
    found = read_manifest(folder)
    assert [found.runs[shard.run]["versions"]["numpy"] for shard in found.shards] == ["1.0", *[np.__version__] * 2]
    records = [read_table(folder / shard.file).meta[RUN_RECORD] for shard in found.shards]
    assert [record["versions"]["numpy"] for record in records] == [np.__version__] * 3
    (folder / "shard-00001.parquet").unlink()
    with pytest.warns(VersionsWarning, match="5 rows were drawn"):
        write(folder)
    assert read_manifest(folder) == found  # no third run


@pytest.mark.parametrize("verify", [False, True])
def test_what_draws_nothing_claims_nothing(verify, write, done):
    of_another_version(done)
    before = (done / MANIFEST).read_bytes()
    with pytest.warns(VersionsWarning, match="12 rows were drawn with other versions"):
        assert write(done, verify=verify, generator=UNTOUCHABLE).drawn == 0
    assert (done / MANIFEST).read_bytes() == before


def test_record_of_a_run_without_rows_is_replaced(write, cheap, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out", generator=cheap(before=at(0, KeyboardInterrupt())))
    of_another_version(tmp_path / "out")
    write(tmp_path / "out")
    assert [run["versions"]["numpy"] for run in read_manifest(tmp_path / "out").runs] == [np.__version__]


# Refused before anything is drawn


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "csv"}, "format = 'csv'; choose one of parquet, fits"),
        ({"shard_rows": 0}, "shard_rows = 0: give a whole number of at least 1"),
        ({"shard_rows": 2.5}, "shard_rows = 2.5"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"rng": -1}, "rng=-1 is negative"),
        ({"client": object()}, "generator= is a loaded generator, which can't travel"),
        ({"id_column": "nam"}, "unknown id column 'nam'"),
        ({"schema": "kagle"}, "unknown schema 'kagle'"),
        ({"weights": "minni", "generator": None}, "minni"),
    ],
)
def test_options(options, message, write, tmp_path):
    with pytest.raises((ConditionError, UnknownNameError), match=message):
        write(tmp_path / "out", **{"generator": Untouchable()} | options)


def test_no_rows(write, writer, tmp_path):
    with pytest.raises(ConditionError, match="conditions have no row; give at least one"):
        write(tmp_path / "out", writer.table(0), generator=Untouchable())


@pytest.mark.parametrize(
    ("column", "value", "error", "message"),
    [
        ("prompt", "sdss, {merger", PromptError, "row 1: .*never closed"),
        ("prompt", "", ConditionError, r"1 row\(s\) without any vote or prompt \(1\)"),
        ("id", "", ConditionError, "row 1 has no id"),
        ("kind", "spiral", UnknownNameError, "unknown label 'spiral'.*row 1"),
        ("seed", -3, ConditionError, "row 1: -3 is no seed"),
    ],
)
def test_faults_of_a_late_row(column, value, error, message, write, writer, shards, tmp_path):
    conditions = writer.table(12)
    conditions["prompt"] = conditions["prompt"].astype(object)
    options = {}
    if column == "kind":
        conditions["kind"] = ["merger"] * 12
        options = {"label_column": "kind", "labels": {"merger": "sdss, merger"}}
    if column == "seed":
        conditions["seed"] = np.arange(12)
        options = {"rng": None}
    conditions[column][11] = value
    with pytest.raises(error, match=message) as caught:
        write(tmp_path / "out", conditions, generator=Untouchable(), **options)
    assert "rows are counted from row 10 of the conditions" in caught.value.__notes__
    assert shards(tmp_path / "out") == {}


def test_vote_fault_of_a_late_row(write, tmp_path):
    votes = Table({"Class1.1": [0.9] * 11 + [9.0], "t01_smooth": [0.9] * 12})
    with pytest.raises(ConditionError, match="'Class1.1', row 1: 9 is not a fraction") as caught:
        write(tmp_path / "out", votes, generator=Untouchable())
    assert "rows are counted from row 10 of the conditions" in caught.value.__notes__


def test_prompt_that_the_generator_refuses(write, writer, cheap, shards, tmp_path):
    class Picky(cheap):
        def check(self, prompts):
            if "sdss, too long" in prompts:
                raise PromptError("prompt too long")

    conditions = writer.table(12)
    conditions["prompt"][11] = "sdss, too long"
    generator = Picky()
    with pytest.raises(PromptError, match="prompt too long"):
        write(tmp_path / "out", conditions, generator=generator)
    assert generator.drawn == 0
    assert shards(tmp_path / "out") == {}


def test_id_that_is_repeated_in_another_stretch(write, writer, tmp_path):
    conditions = writer.table(12)
    conditions["id"][11] = "g2"
    with pytest.raises(ConditionError, match=r"1 id\(s\) occur more than once \('g2'\)"):
        write(tmp_path / "out", conditions, generator=Untouchable())


def test_columns_that_can_not_be_kept(write, writer, tmp_path):
    conditions = writer.table(12)
    conditions["thing"] = np.array([object() for _ in range(12)], dtype=object)
    with pytest.raises(OutputError, match=r"shards can't keep the column\(s\) thing: .*remove them from"):
        write(tmp_path / "out", conditions, generator=Untouchable())


def test_conditions_that_change_meanwhile(write, writer, cheap, shards, tmp_path):
    conditions = writer.table(12)

    def change(drawn):
        conditions["flux"][7] = -1

    with pytest.raises(ConditionError, match=r"conditions of shard-00001\.parquet changed while they were drawn from"):
        write(tmp_path / "out", conditions, generator=cheap(before=change))
    assert list(shards(tmp_path / "out")) == ["shard-00000.parquet"]


def test_conditions_that_become_fewer(write, writer, monkeypatch, tmp_path):
    from astro_galaxysd import stretches

    real, calls = stretches.read_pieces, []

    def shorter(source, columns=None, *, rows=1024):
        calls.append(rows)
        return real(source if len(calls) < 4 else source[:10], columns, rows=rows)

    monkeypatch.setattr(stretches, "read_pieces", shorter)
    with pytest.raises(ConditionError, match=r"shard-00002\.parquet changed .*bring back what they were"):
        write(tmp_path / "out")


# Folders


def test_folder_with_other_files(write, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputExistsError, match=r"holds other files, as 'thesis\.tex'; name a new one"):
        write(tmp_path, generator=Untouchable())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_folder_is_a_file_or_below_one(write, tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="can't make the folder .*name another"):
            write(folder, generator=Untouchable())


@contextmanager
def anybody():
    """Give up root's right to write everywhere, for a while."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions are kept otherwise")
@pytest.mark.parametrize("state", ["empty", "begun"])
def test_folder_without_permission(state, write, cheap, done):
    """In a folder that anybody may look into; what is needed has been imported by writing another."""
    with tempfile.TemporaryDirectory() as outside:
        os.chmod(outside, 0o755)
        folder = Path(outside) / "out"
        folder.mkdir()
        if state == "begun":
            with pytest.warns(InterruptedWarning):
                write(folder, generator=cheap(before=at(5, KeyboardInterrupt())))
        folder.chmod(0o555)
        before = sorted(folder.iterdir())
        with anybody():
            with pytest.raises(OutputError, match="can't write .*Permission denied"):
                write(folder, generator=UNTOUCHABLE)
            with pytest.raises(OutputError, match="can't make the folder .*Permission denied"):
                write(folder / "below", generator=Untouchable())
            assert sorted(folder.iterdir()) == before
        folder.chmod(0o755)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions are kept otherwise")
def test_folder_that_can_not_be_looked_into(write, done):
    with tempfile.TemporaryDirectory() as outside:
        os.chmod(outside, 0o755)
        folder = Path(outside) / "out"
        folder.mkdir(mode=0o300)
        with anybody(), pytest.raises(OutputError, match="can't (look into|write)"):
            write(folder, generator=Untouchable())


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "another"}'])
def test_damaged_manifest(text, write, shards, done):
    before = shards(done)
    (done / MANIFEST).write_text(text)
    with pytest.raises(ConditionError, match=f"can't read .*{MANIFEST}.*restore it, or write to another folder"):
        write(done, generator=Untouchable())
    assert shards(done) == before


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_damaged_manifest_is_begun_anew(text, write, writer, shards, done, tmp_path):
    """What it told of is set aside, as nobody knows of what it was."""
    before = shards(done)
    (done / MANIFEST).write_text(text)
    with pytest.raises(ConditionError, match=r"or begin anew with verify=True, which draws all its rows again"):
        write(done, generator=Untouchable())
    written = write(done, writer.table(7), verify=True)
    assert (written.rows, written.drawn, written.repaired) == (7, 7, (MANIFEST,))
    write(tmp_path / "seven", writer.table(7))
    assert shards(done) == shards(tmp_path / "seven")
    assert {path.name[5:]: path.read_bytes() for path in done.glob("_old-shard-*")} == before
    assert len(read_table(done)) == 7


def test_manifest_of_another_version_is_never_replaced(write, done):
    (done / MANIFEST).write_text('{"format": "another"}')
    with pytest.raises(ConditionError, match=r"its format is 'another', not .*; restore it, or write to another f"):
        write(done, verify=True, generator=Untouchable())


# Damaged shards


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("kind", KINDS)
def test_verify_repairs_a_damaged_shard_alone(kind, write, cheap, shards, tmp_path):
    folder = tmp_path / "out"
    write(folder, format=kind)
    want = shards(folder)
    damage(folder / f"shard-00001.{kind}")
    before = {path: path.stat().st_mtime_ns for path in folder.glob("shard*")}
    assert write(folder, format=kind, generator=UNTOUCHABLE).rows == 12  # its length is what it was
    generator = cheap()
    written = write(folder, format=kind, verify=True, generator=generator)
    assert (written.repaired, written.drawn, generator.drawn) == ((f"shard-00001.{kind}",), 5, 5)
    assert shards(folder) == want
    changed = {path.name for path in folder.glob("shard*") if path.stat().st_mtime_ns != before[path]}
    assert changed == {f"shard-00001.{kind}"}
    assert write(folder, format=kind, verify=True, generator=UNTOUCHABLE).repaired == ()


@pytest.mark.parametrize("hurt", [Path.unlink, lambda path: path.write_bytes(b"PAR1")])
def test_shard_that_is_missing_or_shorter(hurt, write, shards, done):
    """It is drawn again without `verify` too."""
    want = shards(done)
    hurt(done / "shard-00000.parquet")
    assert write(done).repaired == ("shard-00000.parquet",)
    assert shards(done) == want


def test_interrupt_while_a_shard_is_repaired(write, cheap, shards, done):
    want = shards(done)
    damage(done / "shard-00000.parquet")
    damage(done / "shard-00002.parquet")
    with pytest.warns(InterruptedWarning, match="10 of 12"):
        write(done, verify=True, generator=cheap(before=at(5, KeyboardInterrupt())))
    assert write(done).drawn == 2
    assert shards(done) == want


# Other processes


def start(*arguments):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, WRITER, *map(str, arguments)], **pipes)


def answer(*arguments):
    process = start(*arguments)
    said, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return json.loads(said.splitlines()[-1])


def test_second_writer_and_the_lock_of_a_killed_one(write, writer, shards, tmp_path):
    write(tmp_path / "whole", writer.table(15))
    folder = tmp_path / "out"
    with start("hold", folder) as process:
        try:
            assert process.stdout.readline() == "drawing\n"
            with pytest.raises(OutputError, match="another process writes to .*wait until it ends, or name another"):
                write(folder, writer.table(15), generator=UNTOUCHABLE)
            assert (folder / ".partial-left-by-a-kill").exists()
        finally:
            process.kill()
    assert len(shards(folder)) == 1
    assert write(folder, writer.table(15)).drawn == 10
    assert shards(folder) == shards(tmp_path / "whole")
    assert not list(folder.glob(".partial*"))


def test_second_writer_in_the_same_process(write, cheap, tmp_path):
    refused = []

    def again(drawn):
        with pytest.raises(OutputError, match="another process writes to"):
            write(tmp_path / "out", generator=UNTOUCHABLE)
        refused.append(drawn)

    assert write(tmp_path / "out", generator=cheap(before=again)).rows == 12
    assert refused == [0, 5, 10]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of file sizes are set otherwise")
def test_disk_full(write, writer, cheap, shards, tmp_path):
    rows = writer.table(15, flat=10)
    write(tmp_path / "whole", rows, generator=cheap(64))
    want = shards(tmp_path / "whole")
    sizes = [len(data) for data in want.values()]
    assert 2 * max(sizes[:2]) < sizes[2]
    said = answer("limited", tmp_path / "out", (max(sizes[:2]) + sizes[2]) // 2)
    assert "can't write" in said["error"]
    assert "shard-00002.parquet" in said["error"]
    assert "Free space" in said["error"]
    assert "10 of 15 rows" in said["note"]
    assert shards(tmp_path / "out") == dict(list(want.items())[:2])
    assert not list((tmp_path / "out").glob(".partial*"))
    assert write(tmp_path / "out", rows, generator=cheap(64)).drawn == 5
    assert shards(tmp_path / "out") == want


KILLS = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are begun otherwise")


@KILLS
def test_killed_a_few_times(tmp_path):
    said = answer("killed", tmp_path, 3, 1, 60)
    assert (said["kills"], said["shards"]) == (3, 12)


@KILLS
@pytest.mark.slow
def test_killed_twenty_times(tmp_path):
    said = answer("killed", tmp_path, 20, 2)
    assert (said["kills"], said["shards"]) == (20, 60)
    assert any(0 < there < 60 for there in said["there_after_each_kill"])


def test_hdus_are_named_by_the_column_of_ids(write, tmp_path):
    conditions = Table({"id": ["a", "b"], "galaxy": ["first", "second"], "prompt": ["sdss, merger"] * 2})
    write(tmp_path / "f", conditions, format="fits", id_column="galaxy")
    with fits.open(tmp_path / "f" / "shard-00000.fits") as hdus:
        assert [hdu.header["ROWID"] for hdu in hdus[3:]] == ["first", "second"]


def test_another_device_is_refused_with_the_way_back(write, cheap, tmp_path):
    here, elsewhere = cheap(), cheap()
    here.provenance, elsewhere.provenance = {"device": "cpu fp32"}, {"device": "cuda bf16"}
    write(tmp_path / "f", generator=here)
    with pytest.raises(OutputExistsError, match="device 'cpu fp32' there, 'cuda bf16' now.*load_generator"):
        write(tmp_path / "f", generator=elsewhere)
