"""galaxysd generate into folders of shards."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from astro_galaxysd import read_table
from astro_galaxysd.images.codec import read_images


@pytest.fixture
def generate(galaxysd, survey, tmp_path, flow):
    """Run ``galaxysd generate SURVEY -o drawn/`` with an instant generator, two rows a file."""

    def run(*more, out=f"{tmp_path}/drawn/", rows=2):
        options = ["--generator", "flow", "--no-progress", "-o", out]
        return galaxysd("generate", survey, *options, *(["--shard-rows", rows] if rows else []), *more)

    return run


def test_a_folder_of_shards(generate, galaxysd, survey, tmp_path):
    done = generate()
    assert done.status == 0
    assert done.out.splitlines() == [
        f"shards   {tmp_path}/drawn/  (5 of 5 rows, 5 drawn now)",
        f"picture  {tmp_path}/drawn/_first.png",
    ]
    with Image.open(tmp_path / "drawn" / "_first.png") as image:
        assert image.format == "PNG"
    galaxysd("generate", survey, "--generator", "flow", "--no-progress", "-o", tmp_path / "all.parquet")
    alone, sharded = read_table(tmp_path / "all.parquet"), read_table(tmp_path / "drawn")
    np.testing.assert_array_equal(np.stack(read_images(sharded)), alone["image"])
    assert sharded["seed"].tolist() == alone["seed"].tolist()


def test_the_same_command_goes_on(generate, tmp_path):
    generate()
    (tmp_path / "drawn" / "shard-00001.parquet").unlink()
    assert "(5 of 5 rows, 2 drawn now)" in generate().out
    assert "(5 of 5 rows, 0 drawn now)" in generate().out


def test_a_damaged_file_is_drawn_again(generate, tmp_path):
    generate()
    path = tmp_path / "drawn" / "shard-00001.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    assert "0 drawn now" in generate().out
    assert generate("--verify").out.splitlines()[:2] == [
        "repaired shard-00001.parquet",
        f"shards   {tmp_path}/drawn/  (5 of 5 rows, 2 drawn now)",
    ]
    assert path.read_bytes() == whole


def test_fits(generate, tmp_path):
    assert generate("--format", "fits", "--sheet", tmp_path / "s.png").status == 0
    assert (tmp_path / "s.png").exists()
    with fits.open(tmp_path / "drawn" / "shard-00000.fits") as hdus:
        assert [hdu.header["SYNTHET"] for hdu in hdus[3:]] == [True] * 2


def test_files_of_others_stay(generate, tmp_path):
    """The picture is in the folder, where it may be replaced; one that is named is not."""
    (tmp_path / "drawn.png").write_bytes(b"mine")
    assert generate().status == 0
    first = (tmp_path / "drawn" / "_first.png").read_bytes()
    (tmp_path / "drawn" / "_first.png").write_bytes(b"")
    assert generate().status == 0
    assert (tmp_path / "drawn" / "_first.png").read_bytes() == first
    assert len(read_table(tmp_path / "drawn")) == 5
    done = generate("--sheet", tmp_path / "drawn.png", out=f"{tmp_path}/other/")
    assert done.status == 1
    assert "drawn.png exists; give another name, or leave it out for _first.png in the folder" in done.err
    assert (tmp_path / "drawn.png").read_bytes() == b"mine"
    assert not (tmp_path / "other").exists()


def test_a_picture_that_can_not_be_written(generate, tmp_path):
    done = generate("--sheet", tmp_path / "nowhere" / "s.png")
    assert done.status == 1
    assert "its folder" in done.err
    assert not (tmp_path / "drawn").exists()


def test_prompts(galaxysd, tmp_path, flow):
    out = f"{tmp_path}/drawn/"
    done = galaxysd("generate", "--prompt", "ring galaxy", "-n", 3, "--generator", "flow", "--no-progress", "-o", out)
    assert done.status == 0
    assert json.loads((tmp_path / "drawn" / "_manifest.json").read_text())["rows"] == 3


def test_interrupted(generate, flow, monkeypatch, tmp_path):
    draw = flow.generate

    def interrupted(self, conditions, *, batch_size=None):
        if len(self.calls) == 2:
            raise KeyboardInterrupt
        return draw(self, conditions, batch_size=batch_size)

    monkeypatch.setattr(flow, "generate", interrupted)
    done = generate()
    assert done.status == 130
    assert "(4 of 5 rows, 4 drawn now)" in done.out
    assert "interrupted: 4 of 5 rows were drawn and are kept" in done.err
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("more", "out", "message"),
    [
        (["--verify"], "drawn.parquet", "--verify is of folders of shards; end the output's name with a slash"),
        (["--shard-rows", 0], "drawn.parquet", "--shard-rows is of folders of shards"),
        (["--hdus", "h.fits"], "drawn/", "--hdus h.fits: a folder of shards has HDUs in its files; use --format fits"),
        (["--overwrite"], "drawn/", "to begin anew, remove the folder or name another"),
        (["--scheduler", "nowhere://x"], "drawn/", "no Dask scheduler answers"),
        (["--shard-rows", 0], "drawn/", "shard_rows = 0: give a whole number of at least 1"),
    ],
)
def test_refused(generate, tmp_path, more, out, message):
    if "--scheduler" in more:
        pytest.importorskip("distributed")
    done = generate(*more, out=f"{tmp_path}/{out}", rows=None)
    assert done.status == 1
    assert message in done.err


def test_without_dask(generate, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    done = generate("--scheduler", "tcp://127.0.0.1:9")
    assert done.status == 1
    assert 'pip install "astro-galaxysd[dask]"' in done.err
