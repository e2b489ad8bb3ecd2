from __future__ import annotations

import ast
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table
from PIL import Image

from astro_galaxysd import write_table
from astro_galaxysd.diffusion.autoencoder import psnr
from astro_galaxysd.diffusion.data import read_training_set
from astro_galaxysd.diffusion.pack import is_pack, pack_weights, read_holdout, read_pack, write_pack
from astro_galaxysd.diffusion.recipes import DiffusionRecipe
from astro_galaxysd.diffusion.sources import needed_modules, write_sources
from astro_galaxysd.errors import OutputError, OutputExistsError, TrainingError, UnknownNameError, WeightsError
from astro_galaxysd.images.sources import object_array
from astro_galaxysd.learning.recipes import make_recipe
from astro_galaxysd.learning.trainingset import TrainingSet


def galaxies(n=40, seed=0):
    """Blobs on a noisy sky."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    light = np.exp(-(x**2 + y**2) / rng.uniform(0.02, 0.2, (n, 1, 1)))[..., None] * rng.uniform(60, 200, (n, 1, 1, 3))
    images = np.clip(20 + light + rng.normal(0, 4, (n, 32, 32, 1)), 0, 255).astype(np.uint8)
    fractions = rng.random((n, 37))
    fractions[rng.random((n, 37)) < 0.4] = np.nan
    return TrainingSet(images, fractions, [f"{seed}-{i}" for i in range(n)], {"dark": "empty bytes"})


@pytest.fixture
def pack(tmp_path):
    return write_pack(galaxies(), tmp_path / "pack", source=["/somewhere/train.parquet"])


def content(folder):
    return json.loads((folder / "pack.json").read_text())


def replaced(folder, name, arrays):
    """A shard with other content under the right hash."""
    np.savez_compressed(folder / name, **arrays)
    says = content(folder)
    says["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "pack.json").write_text(json.dumps(says))


def test_rows_come_back(pack):
    rows, again = galaxies(), read_pack(pack)
    assert again.images.shape == rows.images.shape
    assert again.images.dtype == np.uint8
    assert psnr(rows.images, again.images) > 38
    np.testing.assert_array_equal(np.isnan(again.fractions), np.isnan(rows.fractions))
    np.testing.assert_allclose(again.fractions, rows.fractions, atol=3e-4)
    assert again.ids == rows.ids
    assert again.unreadable == {"dark": "empty bytes"}


def test_what_pack_json_says(pack):
    says = content(pack)
    assert (says["rows"], says["side"], says["codec"], says["quality"]) == (40, 32, "jpeg", 92)
    assert says["split"] == "train"
    assert says["source"] == ["train.parquet"]
    assert "somewhere" not in (pack / "pack.json").read_text()
    parts = [path for path in pack.rglob("*") if path.is_file() and path.name != "pack.json"]
    assert says["bytes"] == sum(path.stat().st_size for path in parts)
    assert says["files"] == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in parts}


def test_the_sky_keeps_its_noise(pack):
    rows, again = galaxies().images.astype(float), read_pack(pack).images.astype(float)
    before, after = (images[:, :5].mean(axis=-1).std() for images in (rows, again))
    # white noise of half a quantisation step gains the rounding's, and loses nothing
    assert before < after < 1.2 * before


@pytest.mark.parametrize(("codec", "quality", "at_least"), [("png", None, np.inf), ("webp", 95, 35), ("jpeg", 100, 48)])
def test_codecs(tmp_path, codec, quality, at_least):
    rows = galaxies(8)
    again = read_pack(write_pack(rows, tmp_path / "pack", codec=codec, quality=quality))
    assert psnr(rows.images, again.images) >= at_least


def test_shards_are_no_larger_than_said(tmp_path):
    pack = write_pack(galaxies(), tmp_path / "pack", shard_mb=0.012)
    shards = sorted(pack.glob("train-*.npz"))
    assert len(shards) > 2
    assert max(path.stat().st_size for path in shards) <= 12_000
    assert read_pack(pack).ids == galaxies().ids


def test_an_image_larger_than_a_shard(tmp_path):
    with pytest.raises(OutputError, match="train-000.npz: a shard of 0.0005 MB is too small for 1 rows; allow more"):
        write_pack(galaxies(2), tmp_path / "pack", shard_mb=0.0005)
    assert list(tmp_path.iterdir()) == []


def test_shards_need_numpy_and_pillow_alone(pack):
    with np.load(pack / "train-000.npz", allow_pickle=False) as arrays:
        begin, end = arrays["offsets"][:2]
        image = Image.open(io.BytesIO(arrays["images"][begin:end].tobytes()))
        assert image.size == (32, 32)
        assert arrays["votes"].dtype == np.float16
        assert arrays["ids"][0] == "0-0"


def test_damaged_shard(pack):
    data = bytearray((pack / "train-000.npz").read_bytes())
    data[-100] ^= 1
    (pack / "train-000.npz").write_bytes(data)
    with pytest.raises(
        TrainingError, match=r"train-000.npz: damaged, or of another data pack \(SHA-256 .* instead of "
    ):
        read_pack(pack)


def test_shard_of_another_pack(pack, tmp_path):
    other = write_pack(galaxies(seed=1), tmp_path / "other")
    (pack / "train-000.npz").write_bytes((other / "train-000.npz").read_bytes())
    with pytest.raises(TrainingError, match="train-000.npz: damaged, or of another data pack"):
        read_pack(pack)


def test_missing_shard(pack):
    (pack / "train-000.npz").unlink()
    with pytest.raises(TrainingError, match="train-000.npz: part of this data pack, but it can't be read"):
        read_pack(pack)


def test_shard_with_other_rows_than_said(pack):
    with np.load(pack / "train-000.npz") as arrays:
        fewer = {name: arrays[name][:-1] for name in arrays}
    replaced(pack, "train-000.npz", fewer)
    with pytest.raises(TrainingError, match="train-000.npz: 39 rows where pack.json says 40; copy the pack again"):
        read_pack(pack)


def test_unreadable_images_are_left_out_and_named(pack):
    with np.load(pack / "train-000.npz") as arrays:
        changed = {name: arrays[name].copy() for name in arrays}
    begin = changed["offsets"][3]
    changed["images"][begin : begin + 50] = 0
    large = io.BytesIO()
    Image.new("RGB", (40, 40)).save(large, "JPEG")
    start, end = changed["offsets"][5:7]
    changed["images"] = np.concatenate(
        [changed["images"][:start], np.frombuffer(large.getvalue(), np.uint8), changed["images"][end:]]
    )
    changed["offsets"][6:] += len(large.getvalue()) - (end - start)
    replaced(pack, "train-000.npz", changed)
    again = read_pack(pack)
    assert len(again.ids) == len(again.images) == len(again.fractions) == 38
    assert set(again.unreadable) == {"dark", "0-3", "0-5"}
    assert "an image of 40x40 px where 32x32 px are packed" in again.unreadable["0-5"]
    assert psnr(np.delete(galaxies().images, [3, 5], axis=0), again.images) > 38


def test_no_image_can_be_read(tmp_path):
    pack = write_pack(galaxies(3), tmp_path / "pack")
    with np.load(pack / "train-000.npz") as arrays:
        dark = {**{name: arrays[name] for name in arrays}, "images": np.zeros_like(arrays["images"])}
    replaced(pack, "train-000.npz", dark)
    with pytest.raises(TrainingError, match="none of the 3 images can be read; write the pack again"):
        read_pack(pack)


def test_no_pack(tmp_path):
    (tmp_path / "pack.json").write_text('{"rows": 3}')
    assert not is_pack(tmp_path)
    with pytest.raises(TrainingError, match=r"no data pack \(pack.json is missing or of something else\)"):
        read_pack(tmp_path)


def test_another_version(pack):
    (pack / "pack.json").write_text(json.dumps({**content(pack), "version": 9}))
    assert is_pack(pack)
    with pytest.raises(TrainingError, match="a data pack of version 9; version 1 is read here: write it again"):
        read_pack(pack)


def test_holdout(tmp_path, pack):
    assert read_holdout(pack) is None
    held_back = galaxies(5, seed=2)
    with_holdout = write_pack(galaxies(), tmp_path / "second", holdout=held_back)
    assert read_holdout(with_holdout).ids == held_back.ids
    assert not set(read_pack(with_holdout).ids) & set(held_back.ids)


def test_holdout_that_is_trained_on(tmp_path):
    rows = galaxies()
    with pytest.raises(TrainingError, match="1 rows of the holdout are trained on too: 0-7; remove them"):
        write_pack(rows, tmp_path / "pack", holdout=replace(galaxies(2, seed=3), ids=["x", "0-7"]))


def test_rows_of_another_split_never_get_in(tmp_path):
    grey = [io.BytesIO() for _ in range(4)]
    for value, stream in enumerate(grey):
        Image.new("RGB", (32, 32), (40 * value,) * 3).save(stream, "JPEG")
    table = Table({"id": list("abcd"), "t01_smooth": [0.2, 0.4, 0.6, 0.8], "split": ["train", "test", "val", "train"]})
    table["image"] = object_array([stream.getvalue() for stream in grey])
    path = write_table(table, tmp_path / "rows.parquet")
    pack = write_pack(read_training_set([path], votes=True), tmp_path / "pack")
    again = read_training_set([pack], votes=True)
    assert again.ids == ["a", "d"]
    assert again.images[:, 0, 0, 0].tolist() == [0, 120]
    with np.load(pack / "train-000.npz") as arrays:
        assert arrays["ids"].tolist() == ["a", "d"]


def test_weights_are_copied_without_pickles(tmp_path, tiny_weights):
    (tmp_path / "weights").mkdir()
    for name in ("model_index.json", "unet.bin", "model.safetensors"):
        (tmp_path / "weights" / name).write_text("{}")
    pack = write_pack(galaxies(2), tmp_path / "pack", weights=tmp_path / "weights")
    assert sorted(path.name for path in (pack / "weights").iterdir()) == ["model.safetensors", "model_index.json"]
    assert pack_weights(pack) == pack / "weights"
    (pack / "weights" / "model.safetensors").write_text("[]")
    with pytest.raises(TrainingError, match="model.safetensors: damaged"):
        pack_weights(pack)


def test_no_weights(pack, tmp_path):
    assert pack_weights(pack) is None
    with pytest.raises(WeightsError, match="no weights folder"):
        write_pack(galaxies(2), tmp_path / "second", weights=tmp_path)


def test_recipes(tmp_path):
    recipe = make_recipe(DiffusionRecipe, tmp_path, {"steps": 77}, "mini")
    pack = write_pack(galaxies(2), tmp_path / "pack", recipe=recipe)
    assert content(pack)["recipes"]["diffusion"]["steps"] == 77
    given = {"autoencoder": {"steps": 5}}
    assert content(write_pack(galaxies(2), tmp_path / "second", recipe=given))["recipes"] == given


def test_unknown_codec(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown codec 'jpg': did you mean 'jpeg'"):
        write_pack(galaxies(2), tmp_path / "pack", codec="jpg")


def test_quality_out_of_range(tmp_path):
    with pytest.raises(TrainingError, match="quality = 101; must be in 1 to 100"):
        write_pack(galaxies(2), tmp_path / "pack", quality=101)


def test_an_existing_pack_is_replaced_only_if_allowed(pack, tmp_path):
    with pytest.raises(OutputExistsError, match="exists already"):
        write_pack(galaxies(3), pack)
    assert read_pack(write_pack(galaxies(3), pack, overwrite=True)).ids == ["0-0", "0-1", "0-2"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="not overwritten"):
        write_pack(galaxies(3), tmp_path / "other", overwrite=True)


def test_equal_rows_give_equal_code(pack, tmp_path):
    again = write_pack(galaxies(), tmp_path / "again")
    assert (again / "code.zip").read_bytes() == (pack / "code.zip").read_bytes()


HEAVY = {"astropy", "pandas", "pyarrow", "pluggy", "peft", "photutils", "sklearn", "scipy"}


def test_code_imports_nothing_that_may_be_absent(pack):
    with zipfile.ZipFile(pack / "code.zip") as archive:
        names = archive.namelist()
        trees = {name: ast.parse(archive.read(name)) for name in names if name.endswith(".py")}
    assert "astro_galaxysd/diffusion/continuation.py" in names
    assert "astro_galaxysd/presets/mini.toml" in names
    for name, tree in trees.items():
        for node in ast.walk(tree):
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for module in found:
                if name != "astro_galaxysd/__init__.py":  # names its imports for type checkers only
                    assert module.partition(".")[0] not in HEAVY, f"{name} imports {module}"


def test_modules_that_are_needed():
    assert set(needed_modules("astro_galaxysd.images.files")) == {
        "astro_galaxysd",
        "astro_galaxysd.errors",
        "astro_galaxysd.images",
        "astro_galaxysd.images.files",
    }
    # imported inside functions
    assert "astro_galaxysd.images.storage_parquet" in needed_modules("astro_galaxysd.images.storage")


def test_unknown_module(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown module 'astro_galaxysd.error': known are"):
        write_sources("astro_galaxysd.error", tmp_path / "code.zip")


def test_the_archive_is_imported_from(tmp_path):
    write_sources("astro_galaxysd.errors", tmp_path / "code.zip")
    program = "import astro_galaxysd.errors as e; print(e.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "code.zip")},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.startswith(str(tmp_path / "code.zip"))


@pytest.mark.slow
def test_real_galaxies(gz2, tmp_path):
    training = read_training_set([gz2 / "train.parquet"], votes=True)
    pack = write_pack(training, tmp_path / "pack")
    again = read_pack(pack)
    assert content(pack)["bytes"] < 40e6
    assert again.ids == training.ids
    assert psnr(training.images[::20], again.images[::20]) > 42.5
    before, after = (rows.images[::20, :16].mean(axis=-1).std(axis=(1, 2)) for rows in (training, again))
    assert np.median(after / before) == pytest.approx(1, abs=0.06)
