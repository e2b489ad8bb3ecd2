"""Whole or not at all."""

import os

import pytest

from astro_galaxysd.errors import OutputError, OutputExistsError
from astro_galaxysd.images.files import atomic_folder, atomic_path, rehearse_folder, rehearse_path


def end_with(error, block):
    """Write something in the block and leave it by an error."""
    with block as partial:
        (partial / "x" if partial.is_dir() else partial).write_text("half")
        raise error


def test_nothing_is_visible_before_the_end(tmp_path):
    target = tmp_path / "a.fits"
    with atomic_path(target) as partial:
        partial.write_text("half")
        assert not target.exists()
        assert partial.parent == tmp_path
        assert partial.suffix == ".fits"
    assert target.read_text() == "half"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("kind", [atomic_path, atomic_folder])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_or_interrupt_leaves_nothing(tmp_path, kind, error):
    with pytest.raises(error):
        end_with(error(), kind(tmp_path / "a"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [atomic_path, atomic_folder])
def test_output_that_appears_meanwhile_is_kept(tmp_path, kind):
    target = tmp_path / "a"
    block = kind(target)
    partial = block.__enter__()
    (partial / "x" if partial.is_dir() else partial).write_text("mine")
    target.write_text("theirs")
    with pytest.raises(OutputExistsError):
        block.__exit__(None, None, None)
    assert target.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [target]


def test_file_over_folder_and_folder_over_file(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputExistsError, match="is a folder; choose another name for the file"):
        atomic_path(tmp_path / "folder", overwrite=True).__enter__()
    with pytest.raises(OutputExistsError, match="is a file; choose another name for the folder"):
        atomic_folder(tmp_path / "file", overwrite=True).__enter__()


def test_system_errors_become_output_errors(tmp_path):
    full = OSError(28, os.strerror(28))
    with pytest.raises(OutputError, match="No space left on device; nothing was left .* Free space"):
        end_with(full, atomic_path(tmp_path / "a"))


def test_own_errors_pass(tmp_path):
    with pytest.raises(OutputError, match="^mine$"), atomic_path(tmp_path / "a"):
        raise OutputError("mine")


def test_a_folder_that_cant_be_replaced_is_put_back(tmp_path, monkeypatch):
    target = tmp_path / "t"
    target.mkdir()
    (target / "old").write_text("x")
    rename, calls = os.rename, []

    def fail_once(source, destination):
        calls.append(destination)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        rename(source, destination)

    monkeypatch.setattr(os, "rename", fail_once)
    block = atomic_folder(target, overwrite=True, ours=lambda folder: True)
    with pytest.raises(OutputError, match="Input/output error"), block:
        pass
    assert (target / "old").exists()
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("rehearse", [rehearse_path, rehearse_folder])
def test_a_rehearsal_leaves_nothing(tmp_path, rehearse):
    rehearse(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="its folder .* doesn't exist; create it"):
        rehearse(tmp_path / "none" / "a")


def test_a_folder_is_rehearsed_as_it_is_replaced(tmp_path):
    target = tmp_path / "a"
    target.mkdir()
    (target / "x").write_text("kept")
    with pytest.raises(OutputExistsError, match="exists already; pass overwrite=True"):
        rehearse_folder(target, ours=lambda folder: True)
    with pytest.raises(OutputExistsError, match="holds files that this package did not write"):
        rehearse_folder(target, overwrite=True)
    rehearse_folder(target, overwrite=True, ours=lambda folder: True)
    assert (target / "x").read_text() == "kept"
    assert list(tmp_path.iterdir()) == [target]
