"""galaxysd augment and galaxysd generate: what they leave and what they say."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

import astro_galaxysd.images.files as files
from astro_galaxysd import drop_synthetic, read_table, write_table


def is_png(path):
    with Image.open(path) as image:
        return image.format == "PNG" and min(image.size) > 16


def test_augment(augment, survey, tmp_path):
    done = augment("--hdus", tmp_path / "new.fits", "--seed", 4)
    assert done.status == 0
    assert done.out.splitlines() == [
        f"table    {tmp_path}/out.parquet  (5 given + 3 synthetic rows)",
        f"picture  {tmp_path}/out.png",
        f"HDUs     {tmp_path}/new.fits",
    ]
    assert done.err == "galaxysd: 3 galaxies to draw\n"
    result = read_table(tmp_path / "out.parquet")
    assert len(result) == 8
    assert result.meta["galaxysd_run"]["parameters"]["run_seed"] == 4
    np.testing.assert_array_equal(drop_synthetic(result)["image"], read_table(survey)["image"])
    assert is_png(tmp_path / "out.png")
    with fits.open(tmp_path / "new.fits") as hdus:
        hdus.verify("exception")
        assert len(hdus) == 4
        for hdu, row in zip(hdus[1:], result[5:], strict=True):
            header = hdu.header
            assert (header["CALIB"], header["SYNTHET"]) == (False, True)
            assert (header["SEED"], header["PROMPT"], header["GENERATR"]) == (row["seed"], row["prompt"], "flow")
            assert (header["WEIGHTS"], header["WREVIS"], header["ROWID"]) == ("streams", "r1", row["id"])
            np.testing.assert_array_equal(hdu.data, np.moveaxis(row["image"][::-1], -1, 0))


def test_the_same_command_draws_the_same(augment, tmp_path):
    one, two = tmp_path / "one.fits", tmp_path / "two.fits"
    assert augment(out=one).status == augment("--batch-size", 1, out=two).status == 0
    np.testing.assert_array_equal(read_table(one)["image"], read_table(two)["image"])
    augment("--seed", 9, "--overwrite", out=two)
    assert (read_table(one)["image"][5:] != read_table(two)["image"][5:]).any()


@pytest.mark.parametrize(
    ("out", "picture"),
    [("a.b.fits", "a.b.png"), ("big.fits.gz", "big.png"), ("folder", "folder.png"), ("folder/", "folder.png")],
)
def test_names_of_the_outputs(augment, tmp_path, out, picture):
    assert augment(out=f"{tmp_path}/{out}").status == 0
    assert is_png(tmp_path / picture)
    assert len(read_table(f"{tmp_path}/{out}")) == 8


def test_sheet_has_a_name_of_its_own(augment, tmp_path):
    assert augment("--sheet", tmp_path / "sheet.png").status == 0
    assert is_png(tmp_path / "sheet.png")
    assert not (tmp_path / "out.png").exists()


def test_augment_without_images(augment, survey, tmp_path):
    table = read_table(survey)
    del table["image"]
    bare = write_table(table, tmp_path / "bare.parquet")
    assert augment(table=bare).status == 0
    assert is_png(tmp_path / "out.png")
    twice = augment("--sheet", tmp_path / "twice.png", table=tmp_path / "out.parquet", out=tmp_path / "twice.parquet")
    assert twice.status == 0
    assert len(read_table(tmp_path / "twice.parquet")) == 11


def test_plan(galaxysd, augment, survey, flow):
    done = galaxysd("augment", survey, "--target", "merger", "-n", 3, "--plan")
    first, *rows = done.out.splitlines()
    assert (done.status, done.err) == (0, "")
    assert re.fullmatch(r"6 galaxies to draw(, about \d+ s and \d+ MB)?", first)
    assert len(rows) == 6  # two candidates each
    assert all(re.fullmatch(r"gsd-\w{8}-merger-0000\d  seed \d+  sdss, .*merger.*", row) for row in rows)
    assert flow.calls == []
    augment("--candidates", 2)
    result = read_table(survey.parent / "out.parquet")
    kept = result["id"][5:].tolist()
    assert len(kept) == 3
    assert set(kept) < {row.split()[0] for row in rows}


def test_plan_says_what_it_costs(galaxysd, survey, monkeypatch):
    monkeypatch.setattr("astro_galaxysd.pipeline.estimate", lambda *_, **__: {"seconds": 61.4, "memory_mb": 700.2})
    done = galaxysd("augment", survey, "--target", "merger", "--ratio", 2, "--plan")
    assert done.out.splitlines()[0] == "8 galaxies to draw, about 61 s and 700 MB"
    done = galaxysd("augment", survey, "--target", "merger", "--ratio", 2, "--candidates", 1, "--plan")
    assert done.out.splitlines()[0] == "4 galaxies to draw, about 61 s and 700 MB"


def test_labels(augment, survey, tmp_path):
    table = read_table(survey)
    table["type"] = ["M", "E", "E", "E", "S"]
    survey = write_table(table, tmp_path / "typed.fits")
    (tmp_path / "labels.json").write_text('{"M": "two galaxies, {merger:1.2}"}')
    done = augment("--labels", tmp_path / "labels.json", "--label-column", "type", table=survey, target="M")
    assert done.status == 0
    assert all("two galaxies, {merger:1.2}" in prompt for prompt in read_table(tmp_path / "out.parquet")["prompt"][5:])


def test_generate_from_prompts(galaxysd, tmp_path, flow):
    out = tmp_path / "drawn.fits"
    options = ["--generator", "flow", "--no-progress", "-o", out, "--hdus", tmp_path / "h.fits"]
    done = galaxysd("generate", "--prompt", "ring galaxy", "--prompt", "{merger:1.2}", "-n", 3, *options)
    assert done.status == 0
    result = read_table(out)
    assert sorted(result["prompt"]) == ["ring galaxy"] * 3 + ["{merger:1.2}"] * 3
    assert "(0 given + 6 synthetic rows)" in done.out
    assert is_png(tmp_path / "drawn.png")
    with fits.open(tmp_path / "h.fits") as hdus:
        assert [hdu.header["SYNTHET"] for hdu in hdus[1:]] == [True] * 6


def test_generate_from_a_table(galaxysd, survey, tmp_path, flow):
    done = galaxysd("generate", survey, "--generator", "flow", "--no-progress", "-o", tmp_path / "drawn")
    assert done.status == 0
    result = read_table(tmp_path / "drawn")
    assert result["id"].tolist() == list("abcde")
    assert result["image"].shape == (5, 16, 16, 3)


def test_generate_with_weights(galaxysd, tiny_weights, tmp_path):
    out = tmp_path / "drawn.parquet"
    arguments = ["--prompt", "sdss, ring galaxy", "--weights", tiny_weights, "--steps", 2, "--guidance", 1.5]
    assert galaxysd("generate", *arguments, "--threads", 1, "--no-progress", "-o", out).status == 0
    record = read_table(out).meta["galaxysd_run"]["parameters"]
    assert (record["steps"], record["guidance"], record["weights"]) == (2, 1.5, "tiny")


def interrupt_after(monkeypatch, flow, calls):
    draw = flow.generate

    def generate(self, conditions, *, batch_size=None):
        if len(self.calls) == calls:
            raise KeyboardInterrupt
        return draw(self, conditions, batch_size=batch_size)

    monkeypatch.setattr(flow, "generate", generate)


def test_interrupt_keeps_what_is_finished(augment, flow, tmp_path, monkeypatch):
    interrupt_after(monkeypatch, flow, 2)
    done = augment(n=30)
    assert done.status == 130
    assert done.err.splitlines()[-1] == "galaxysd: interrupted: 16 of 30 rows were drawn and are kept"
    assert "(5 given + 16 synthetic rows)" in done.out
    assert len(read_table(tmp_path / "out.parquet")) == 21
    assert is_png(tmp_path / "out.png")


def test_interrupt_of_generate(galaxysd, flow, tmp_path, monkeypatch):
    interrupt_after(monkeypatch, flow, 1)
    prompt = ["--prompt", "ring galaxy", "-n", 20, "--generator", "flow", "--no-progress"]
    assert galaxysd("generate", *prompt, "-o", tmp_path / "out.fits").status == 130
    assert len(read_table(tmp_path / "out.fits")) == 8


def test_interrupt_before_anything_is_finished(augment, flow, tmp_path, monkeypatch):
    interrupt_after(monkeypatch, flow, 0)
    done = augment()
    assert (done.status, done.out) == (130, "")
    assert done.err.splitlines()[-1] == "galaxysd: interrupted; nothing was finished yet"
    assert not (tmp_path / "out.parquet").exists()


@pytest.fixture
def full_disk(monkeypatch, tmp_path):
    """Nothing can get its final name in `tmp_path` any more, while the system's temporary folder has room."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    replace = os.replace

    def refuse(source, target):
        if Path(target).parent == tmp_path:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", refuse)
    return elsewhere


def test_disk_full(augment, full_disk, tmp_path):
    """What was drawn is kept somewhere else, and said to be there."""
    done = augment()
    assert (done.status, done.out) == (1, "")
    _, error, kept = done.err.splitlines()
    assert error.startswith(f"galaxysd: error: can't write '{tmp_path}/out.parquet': No space left on device")
    (place,) = full_disk.glob("galaxysd-*/out.parquet")
    assert kept == f"galaxysd: what was drawn is kept in {place}; move it before the system clears temporary files"
    assert len(read_table(place)) == 8


def test_disk_full_in_generate(galaxysd, flow, full_disk, tmp_path):
    request = ["--prompt", "ring galaxy", "--generator", "flow", "--no-progress", "-o", tmp_path / "out.parquet"]
    done = galaxysd("generate", *request)
    assert done.status == 1
    (place,) = full_disk.glob("galaxysd-*/out.parquet")
    assert str(place) in done.err
    assert len(read_table(place)) == 1


def test_disk_full_everywhere(augment, monkeypatch, tmp_path):
    def refuse(source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "replace", refuse)
    done = augment()
    assert done.status == 1
    assert "could not be kept anywhere else" in done.err
    assert "the same command with the same --seed draws it again" in done.err
    assert "Traceback" not in done.err
