"""What a folder of shards says of itself."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Column, MaskedColumn, QTable, Table

from astro_galaxysd.errors import ConditionError, OutputError, OutputExistsError
from astro_galaxysd.images import files
from astro_galaxysd.images.manifest import (
    MANIFEST,
    Manifest,
    Shard,
    file_hash,
    only_writer,
    read_manifest,
    rows_hash,
    set_aside,
)

JOURNAL = "_finished.jsonl"
RUN = {"created": "2026", "versions": {"numpy": "2"}, "machine": "Linux", "parameters": {"run_seed": 1}}


@pytest.fixture
def manifest(tmp_path):
    """Of a folder with one shard that is finished, and one that isn't."""
    (tmp_path / "shard-00000.parquet").write_bytes(b"rows")
    first = Shard("shard-00000.parquet", 3, "a" * 64, file_hash(tmp_path / "shard-00000.parquet"), 4)
    found = Manifest(tmp_path, "parquet", RUN, (first, Shard("shard-00001.parquet", 2, "b" * 64)))
    found.write()
    return found


def test_it_is_read_as_it_was_written(manifest, tmp_path):
    assert read_manifest(tmp_path) == manifest
    assert sorted(path.name for path in tmp_path.iterdir()) == [MANIFEST, "shard-00000.parquet"]
    assert manifest.rows == 3
    assert json.loads((tmp_path / MANIFEST).read_text())["rows"] == 5


def test_later_runs(manifest, tmp_path):
    later = replace(manifest, later=({**RUN, "machine": "other"},)).with_shard(0, replace(manifest.shards[0], run=1))
    later.write()
    assert read_manifest(tmp_path) == later
    assert later.runs[later.shards[0].run]["machine"] == "other"


def finished(number, kind="c"):
    return Shard(f"shard-{number:05d}.parquet", 3 - number, "ab"[number] * 64, kind * 64, 4)


@pytest.fixture
def begun(manifest):
    """Of the same folder, with a line for each shard."""
    (manifest.folder / "shard-00001.parquet").write_bytes(b"more")
    written = manifest.write()
    return written.finish(0, finished(0)).finish(1, finished(1))


def test_lines_are_read_with_the_manifest(begun, tmp_path):
    assert read_manifest(tmp_path) == begun
    assert begun.rows == 5
    assert begun.write() == read_manifest(tmp_path) == begun
    assert not (tmp_path / JOURNAL).exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-20],
        lambda text: text.replace("shard-00001", "shard-00009"),
        lambda text: text.replace("b" * 64, "d" * 64),
        lambda text: text.replace('"size": 4, "run": 0}\n', '"size": "4"}\n'),
    ],
)
def test_lines_that_say_nothing(spoil, begun, manifest, tmp_path):
    first, second = (tmp_path / JOURNAL).read_text().splitlines(keepends=True)
    (tmp_path / JOURNAL).write_text("\ufffd[]\n\n" + first + spoil(second))
    assert read_manifest(tmp_path).shards == (finished(0), manifest.shards[1])


def test_the_last_of_repeated_lines_counts(begun, tmp_path):
    begun.finish(0, finished(0, "d")).finish(0, finished(0, "e"))
    assert read_manifest(tmp_path).shards == (finished(0, "e"), finished(1))


def test_lines_count_for_one_manifest(begun, manifest, tmp_path):
    """A kill between the two: the new one is there, and lines of the one before still are."""
    lines = (tmp_path / JOURNAL).read_bytes()
    replace(manifest, shards=tuple(shard.unfinished() for shard in manifest.shards)).write()
    (tmp_path / JOURNAL).write_bytes(lines)
    assert read_manifest(tmp_path).rows == 0


def test_line_that_the_system_refuses(manifest, tmp_path):
    written = manifest.write()
    (tmp_path / JOURNAL).mkdir()
    with pytest.raises(OutputError, match=rf"can't write .*{JOURNAL}': .*the same call goes on"):
        written.finish(0, finished(0))


def test_files_are_safe_before_they_are_named(manifest, tmp_path, monkeypatch):
    """What a power cut leaves is what has been synced."""
    done, real = [], os.fsync

    def fsync(descriptor):
        done.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        real(descriptor)

    if not Path("/proc/self/fd").exists():
        pytest.skip("the system doesn't tell which file is synced")
    monkeypatch.setattr(files.os, "fsync", fsync)
    written = manifest.write()
    assert done[0].endswith(MANIFEST)
    assert done[0].startswith(".partial")
    assert done[1:] == [tmp_path.name]
    written.finish(0, finished(0))
    assert done[2:] == ["shard-00000.parquet", JOURNAL, tmp_path.name]


def test_old_shards_are_set_aside(manifest, tmp_path):
    set_aside(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [MANIFEST, "_old-shard-00000.parquet"]
    (tmp_path / "shard-00000.parquet").touch()
    (tmp_path / "_old-shard-00000.parquet").unlink()
    (tmp_path / "_old-shard-00000.parquet").mkdir()
    with pytest.raises(OutputError, match=r"can't rename .*shard-00000\.parquet.*; name another folder"):
        set_aside(tmp_path)


def test_no_manifest(tmp_path):
    assert read_manifest(tmp_path) is None


def test_what_is_there(manifest, tmp_path):
    first, second = manifest.shards
    assert manifest.is_there(first, verify=True)
    assert not manifest.is_there(second)
    manifest.path(second).write_bytes(b"")
    assert not manifest.is_there(second)
    manifest.path(first).write_bytes(b"sowr")
    assert manifest.is_there(first)
    assert not manifest.is_there(first, verify=True)
    manifest.path(first).write_bytes(b"row")
    assert not manifest.is_there(first)
    manifest.path(first).unlink()
    assert not manifest.is_there(first)


def test_another_shard_in_place_of_one(manifest):
    after = manifest.with_shard(1, Shard("shard-00001.parquet", 2, "b" * 64, "c" * 64, 9))
    assert (after.rows, manifest.rows) == (5, 3)
    assert after.shards[0] is manifest.shards[0]


def test_the_old_one_stays_where_the_system_refuses(manifest, tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OutputError, match=f"can't write .*{MANIFEST}.*No space left"):
        manifest.with_shard(1, Shard("shard-00001.parquet", 2, "b" * 64, "c" * 64, 9)).write()
    monkeypatch.undo()
    assert read_manifest(tmp_path) == manifest
    assert not list(tmp_path.glob(".partial*"))


def changed(**values):
    return lambda content: content.update(values)


def in_shard(**values):
    return lambda content: content["shards"][0].update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(format="astro_galaxysd shards, version 9"), "its format is .*version 9', not"),
        (changed(kind=3), "TypeError: it holds 3 where a str belongs"),
        (changed(run=[]), "TypeError"),
        (changed(run={"parameters": {}}), "KeyError: 'versions'"),
        (changed(run={**RUN, "parameters": None}), "TypeError: it holds None where a dict belongs"),
        (changed(shards={}), "TypeError: it holds {} where a list belongs"),
        (changed(shards=[1]), "TypeError: it holds 1 where a dict belongs"),
        (in_shard(rows="many"), "TypeError: it holds 'many' where a int belongs"),
        (in_shard(sha256=None), "TypeError: it holds None where a str belongs"),
        (in_shard(run=1), "ValueError: it names run 1 of 1"),
        (changed(later=[1]), "TypeError"),
        (in_shard(colour="red"), "TypeError: .*colour"),
        (in_shard(file="../elsewhere"), "ValueError: it names '../elsewhere', outside the folder"),
        (lambda content: content.pop("shards"), "KeyError: 'shards'"),
    ],
)
def test_damaged(change, message, manifest, tmp_path):
    content = json.loads((tmp_path / MANIFEST).read_text())
    change(content)
    (tmp_path / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(ConditionError, match=f"can't read .*{MANIFEST}' .{message}.*restore it, or write to another"):
        read_manifest(tmp_path)


def test_no_text(manifest, tmp_path):
    (tmp_path / MANIFEST).write_bytes(b"\xff\xfe")
    with pytest.raises(ConditionError, match=r"can't read .*UnicodeDecodeError"):
        read_manifest(tmp_path)


def test_hash_of_a_file(tmp_path):
    (tmp_path / "long").write_bytes(b"a" * (2**20 + 1))
    assert file_hash(tmp_path / "long") == hashlib.sha256(b"a" * (2**20 + 1)).hexdigest()


ROWS = Table({"id": ["a", "b"], "n": [1, 2], "x": [0.5, np.nan], "image": np.zeros((2, 2, 2, 3), np.uint8)})


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.rename_column("n", "m"),
        lambda rows: rows.reverse(),
        lambda rows: rows.replace_column("n", Column([1, 2], dtype=np.int32)),
        lambda rows: rows.replace_column("n", Column([1, 2], unit="mJy")),
        lambda rows: rows.replace_column("n", Column([1, 2], description="votes")),
        lambda rows: rows.replace_column("n", MaskedColumn([1, 2], mask=[True, False])),
        lambda rows: rows.replace_column("x", Column([0.5, 0.0])),
        lambda rows: rows["id"].__setitem__(1, "c"),
        lambda rows: rows["image"].__setitem__((1, 1, 1, 1), 1),
        lambda rows: rows.remove_column("x"),
        lambda rows: rows.add_column([None, b"1"], name="cell"),
    ],
)
def test_hash_of_rows_tells_them_apart(change):
    rows = ROWS.copy()
    assert rows_hash(rows) == rows_hash(ROWS)
    change(rows)
    assert rows_hash(rows) != rows_hash(ROWS)


def test_hash_of_rows_is_of_what_is_kept():
    """What lies below a mask isn't."""
    one, other = (
        Table({name: MaskedColumn([value, value], mask=[True, False]) for name, value in hidden.items()})
        for hidden in ({"n": 1, "t": "a"}, {"n": 1, "t": "a"})
    )
    other["n"].data.data[0], other["t"].data.data[0] = 9, "z"
    assert rows_hash(one) == rows_hash(other)
    other["n"].mask[0] = False
    assert rows_hash(one) != rows_hash(other)


def test_hash_of_quantities():
    one, other = (QTable({"x": [1.0, value] * u.m}) for value in (2.0, 2.0 + 1e-15))
    assert rows_hash(one) == rows_hash(one.copy())
    assert rows_hash(one) != rows_hash(other)


def test_hash_of_what_can_not_be_kept():
    with pytest.raises(OutputError, match="thing"):
        rows_hash(Table({"thing": np.array([object()], dtype=object)}))


# One writer


def test_folder_is_made_and_tidied(tmp_path):
    folder = tmp_path / "a" / "b"
    with only_writer(folder):
        assert folder.is_dir()
        (folder / ".partial-0-shard-00000.fits").write_text("half")
    (folder / ".hidden").write_text("not ours")
    with only_writer(folder):
        assert not list(folder.glob(".partial*"))
    assert (folder / ".hidden").exists()


def test_one_at_a_time(tmp_path):
    refused = pytest.raises(OutputError, match="another process writes to")
    with only_writer(tmp_path), refused, only_writer(tmp_path):
        pytest.fail("two writers")
    with only_writer(tmp_path):
        pass


def test_other_files(manifest, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with only_writer(tmp_path):
        pass  # they are beside a manifest
    (tmp_path / MANIFEST).unlink()
    with pytest.raises(OutputExistsError, match=r"holds other files, as 'shard-00000\.parquet'"), only_writer(tmp_path):
        pytest.fail("files of others")


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError("no flock")])
def test_file_system_without_locks(error, tmp_path, monkeypatch):
    import filelock

    def refuse(self, *args, **kwargs):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    refused = pytest.raises(OutputError, match=r"can't lock .*(No locks available|no flock).*on another file system")
    with refused, only_writer(tmp_path):
        pytest.fail("no lock")


def test_kernel_without_flock(tmp_path, monkeypatch):
    """A lock that is a mere file would outlive its process, and then nobody could go on."""
    fcntl = pytest.importorskip("fcntl")

    def refuse(*arguments):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    refused = pytest.raises(OutputError, match=r"can't lock .*on another file system")
    with refused, only_writer(tmp_path):
        pytest.fail("no lock")
