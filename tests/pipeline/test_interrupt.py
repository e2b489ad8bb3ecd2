"""An interrupt keeps what is finished, and a full disk loses nothing."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from astropy.table import Table

import astro_galaxysd.images.files as files
from astro_galaxysd import augment_table, drop_synthetic, generate, read_table, write_table
from astro_galaxysd.drawing import InterruptedWarning
from astro_galaxysd.errors import ConditionError, OutputError, OutputExistsError

OPTIONS = {"target": "merger", "n": 20, "rng": 1, "progress": False}


def test_finished_rows_are_kept(catalogue, interrupted, noise, tmp_path, assert_same):
    whole = augment_table(catalogue, generator=noise, **OPTIONS)
    with pytest.warns(InterruptedWarning, match="interrupted: 16 of 20 rows were drawn and are kept") as warned:
        result = augment_table(catalogue, generator=interrupted(2), out=tmp_path / "out.parquet", **OPTIONS)
    assert warned[0].filename == __file__
    assert len(result) == 5 + 16
    np.testing.assert_array_equal(result["image"], whole["image"][:21])
    record = result.meta["galaxysd_run"]["parameters"]
    assert (record["planned"], record["finished"]) == (20, 16)
    assert_same(read_table(tmp_path / "out.parquet"), result)
    assert_same(drop_synthetic(result), catalogue)


def test_out_is_written_before_the_warning(catalogue, interrupted, tmp_path):
    """Here warnings are errors, as in many test suites."""
    with pytest.raises(InterruptedWarning):
        augment_table(catalogue, generator=interrupted(1), out=tmp_path / "out.fits", **OPTIONS)
    assert len(read_table(tmp_path / "out.fits")) == 5 + 8


def test_generate_keeps_finished_rows(interrupted):
    table = Table({"prompt": ["sdss, ring galaxy"] * 12})
    with pytest.warns(InterruptedWarning, match="10 of 12"):
        result = generate(table, generator=interrupted(1), batch_size=10, rng=1, progress=False)
    assert len(result) == 10
    assert result.meta["galaxysd_run"]["parameters"]["finished"] == 10


def test_an_error_carries_what_was_drawn_before_it(catalogue, noise):
    class Failing:
        rows = 0

        def generate(self, conditions, *, batch_size=None):
            self.rows += len(conditions)
            if self.rows > 16:
                raise MemoryError("too much")
            return noise.generate(conditions, batch_size=batch_size)

    whole = augment_table(catalogue, generator=noise, **OPTIONS)
    with pytest.raises(MemoryError, match="too much") as caught:
        augment_table(catalogue, generator=Failing(), **OPTIONS)
    assert "16 of 20 rows were drawn before" in caught.value.__notes__[0]
    np.testing.assert_array_equal(caught.value.drawn, whole["image"][5:21])


def test_nothing_finished(catalogue, interrupted, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        augment_table(catalogue, generator=interrupted(0), out=tmp_path / "out.fits", **OPTIONS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.fits", "out.parquet", "out"])
def test_disk_full_after_drawing(catalogue, noise, tmp_path, monkeypatch, assert_same, name):
    def full(source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "replace", full)
    monkeypatch.setattr(files.os, "rename", full)
    with pytest.raises(OutputError, match="No space left on device") as caught:
        augment_table(catalogue, generator=noise, out=tmp_path / name, **OPTIONS)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
    assert "write_table(error.result, other_path)" in caught.value.__notes__[-1]
    assert len(caught.value.result) == 25
    write_table(caught.value.result, tmp_path / name)
    assert_same(read_table(tmp_path / name), caught.value.result)


def test_any_other_failure_of_writing_keeps_the_table(catalogue, noise, tmp_path, monkeypatch):
    from astro_galaxysd.images import storage_parquet

    real = storage_parquet.write_parquet

    def failing(table, path):
        if len(table) > 10:
            raise MemoryError("out of memory")
        real(table, path)

    monkeypatch.setattr(storage_parquet, "write_parquet", failing)
    with pytest.raises(OutputError, match="MemoryError: out of memory") as caught:
        augment_table(catalogue, generator=noise, out=tmp_path / "out.parquet", **OPTIONS)
    assert len(caught.value.result) == 25
    assert list(tmp_path.iterdir()) == []


def test_existing_output(catalogue, noise, untouchable, tmp_path):
    out = tmp_path / "out.fits"
    out.write_text("mine")
    with pytest.raises(OutputExistsError, match="exists already; pass overwrite=True or choose another name"):
        augment_table(catalogue, generator=untouchable, out=out, **OPTIONS)
    assert out.read_text() == "mine"
    augment_table(catalogue, generator=noise, out=out, overwrite=True, **OPTIONS)
    assert len(read_table(out)) == 25


def test_foreign_folder_is_never_replaced(catalogue, untouchable, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputExistsError, match="holds files that this package did not write"):
        augment_table(catalogue, generator=untouchable, out=tmp_path, overwrite=True, **OPTIONS)


def test_folder_of_the_output_is_missing(catalogue, untouchable, tmp_path):
    with pytest.raises(OutputError, match="its folder .*absent' doesn't exist; create it"):
        augment_table(catalogue, generator=untouchable, out=tmp_path / "absent" / "out.fits", **OPTIONS)


@pytest.mark.skipif(os.getuid() == 0 if hasattr(os, "getuid") else True, reason="root may write everywhere")
def test_folder_without_permission(catalogue, untouchable, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        augment_table(catalogue, generator=untouchable, out=tmp_path / "out.fits", **OPTIONS)


def test_folder_that_refuses(catalogue, untouchable, tmp_path, monkeypatch):
    from astro_galaxysd.images import storage_parquet

    def refuse(table, path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(storage_parquet, "write_parquet", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        augment_table(catalogue, generator=untouchable, out=tmp_path / "out.parquet", **OPTIONS)
    assert list(tmp_path.iterdir()) == []


def test_unknown_format(catalogue, untouchable, tmp_path):
    with pytest.raises(OutputError, match=r"can't tell a table format from .*out\.csv"):
        augment_table(catalogue, generator=untouchable, out=tmp_path / "out.csv", **OPTIONS)


def test_column_that_can_not_be_kept(catalogue, untouchable, tmp_path):
    catalogue["thing"] = np.array([object() for _ in range(5)], dtype=object)
    with pytest.raises((OutputError, ConditionError), match="thing"):
        augment_table(catalogue, generator=untouchable, out=tmp_path / "out.fits", **OPTIONS)
