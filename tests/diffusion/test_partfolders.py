from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from astro_galaxysd.diffusion.partfolders import read_part
from astro_galaxysd.errors import WeightsError

INDEX = "model.safetensors.index.json"
SHARDS = ("model-1.safetensors", "model-2.safetensors")


@pytest.fixture
def part(tmp_path):
    """A part in two files."""
    folder = tmp_path / "w" / "unet"
    folder.mkdir(parents=True)
    save_file({"a": torch.ones(2), "b": torch.ones(3)}, folder / SHARDS[0])
    save_file({"c": torch.ones(4)}, folder / SHARDS[1])
    return place(folder, {"a": SHARDS[0], "b": SHARDS[0], "c": SHARDS[1]})


def place(folder, places):
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 36}, "weight_map": places}))
    return folder


def test_several_files(part):
    files, tensors = read_part(part, part.parent)
    assert files == tuple(part / name for name in SHARDS)
    assert {name: tensor.shape for name, tensor in tensors.items()} == {"a": (2,), "b": (3,), "c": (4,)}


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (None, "has no weight_map from names to files"),
        ({}, "has no weight_map"),
        ([], "has no weight_map"),
        ({"a": 1}, "has no weight_map"),
        ({"a": "../../secret.safetensors"}, "files that are no safetensors beside it: '../../secret.safetensors'"),
        ({"a": "/etc/secret.safetensors"}, "no safetensors beside it"),
        ({"a": "..\\secret.safetensors"}, "no safetensors beside it"),
        ({"a": INDEX}, f"no safetensors beside it: '{INDEX}'"),
        ({"a": "model-1.bin"}, "no safetensors beside it"),
        ({"a": "mod\u0435l-1.safetensors"}, r"no safetensors beside it: 'mod\\u0435l-1.safetensors'"),
        ({"a": "model-3.safetensors"}, "model-3.safetensors is missing; copy the weights again"),
        ({str(n): f"model-{n}.safetensors" for n in range(1001)}, "names 1,001 files, where 1,000 are allowed"),
        ({"a": SHARDS[0], "c": SHARDS[1]}, "does not fit model-1.safetensors, which holds b too"),
        ({"a": SHARDS[0], "b": SHARDS[1], "c": SHARDS[1]}, "model-1.safetensors, which holds b too"),
        ({"a": SHARDS[0], "b": SHARDS[0], "d": SHARDS[1]}, "model-2.safetensors, which lacks d and holds c too"),
    ],
)  # fmt: skip
def test_indices_that_do_not_fit(part, places, message):
    with pytest.raises(WeightsError, match=message):
        read_part(place(part, places), part.parent)


def test_a_shard_that_is_a_link(part):
    secret = part.parents[1] / "secret.safetensors"
    (part / SHARDS[1]).rename(secret)
    (part / SHARDS[1]).symlink_to(secret)
    with pytest.raises(WeightsError, match="model-2.safetensors is a link that leaves"):
        read_part(part, part.parent)
    (part / SHARDS[1]).unlink()
    (part / SHARDS[1]).symlink_to(SHARDS[1])
    with pytest.raises(WeightsError, match="model-2.safetensors can't be followed"):
        read_part(part, part.parent)


def test_a_shard_that_is_an_index(part):
    (part / SHARDS[1]).write_text((part / INDEX).read_text())
    with pytest.raises(WeightsError, match="model-2.safetensors: no sound safetensors .a header of"):
        read_part(part, part.parent)


def test_a_part_that_is_a_link(part, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "unet").symlink_to(part)
    with pytest.raises(WeightsError, match="x/unet is a link that leaves"):
        read_part(tmp_path / "x" / "unet", tmp_path / "x")


def test_a_file_and_an_index(part):
    save_file({"a": torch.ones(2)}, part / "model.safetensors")
    message = f"has model.safetensors and {INDEX}, either of which could be meant; remove all but one"
    with pytest.raises(WeightsError, match=message):
        read_part(part, part.parent)


def test_variants_come_last(part):
    save_file({"z": torch.ones(2)}, part / "model.fp16.safetensors")
    assert "z" not in read_part(part, part.parent)[1]
    (part / INDEX).rename(part / "gone")
    assert set(read_part(part, part.parent)[1]) == {"z"}


def test_nothing_but_pickles(part):
    for name in (INDEX, *SHARDS):
        (part / name).unlink()
    with pytest.raises(WeightsError, match="has no safetensors .diffusion_pytorch_model.safetensors or model.safetens"):
        read_part(part, part.parent)
    (part / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    message = (
        "no safetensors, only pytorch_model.bin, pickles that could run code; get the model's safetensors, or conv"
    )
    with pytest.raises(WeightsError, match=message):
        read_part(part, part.parent)


def test_no_folder(tmp_path):
    with pytest.raises(WeightsError, match="unet is missing"):
        read_part(Path(tmp_path / "unet"), tmp_path)
