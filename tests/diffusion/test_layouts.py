from __future__ import annotations

import os
import shutil

import pytest
import torch
from safetensors.torch import save_file

from astro_galaxysd.diffusion import layouts
from astro_galaxysd.diffusion.layouts import inspect_layout
from astro_galaxysd.errors import UnknownNameError, WeightsError


class Payload:
    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def test_parts(tmp_path, sources, write_parts):
    write_parts(tmp_path, ema=True, dtype=torch.float16, old=False)
    layout = inspect_layout(tmp_path)
    assert (layout.kind, layout.prefixes, layout.pickled) == ("parts", ("base", "base_ema"), False)
    assert layout.parts == ("unet", "text_encoder")
    assert layout.dtypes == ("float16",)
    assert layout.n_parameters == sum(v.numel() for part in layout.parts for v in sources[0][part].values())
    assert layout.needs == ("autoencoder", "tokenizer", "scheduler", "configurations")
    assert layout.told == (
        "parts: text_encoder-1000.safetensors, unet-1000.safetensors (step 1000); UNet and text encoder, "
        f"{layout.n_parameters:,} parameters, float16, with averages; from a base: autoencoder, tokenizer, scheduler, "
        "configurations"
    )


def test_pickled_parts(tmp_path, write_parts):
    layout = inspect_layout(write_parts(tmp_path, pickled=True))
    assert (layout.kind, layout.prefixes, layout.pickled) == ("parts", ("base",), True)
    assert not layout.averages
    assert layout.dtypes == ("float32", "int64")  # the positions of old text encoders
    assert ", pickled; from a base" in layout.told


def test_parts_without_prefix_and_number(tmp_path, sources):
    """Names of files and prefixes are not all that tells what is in them."""
    for part in ("unet", "text_encoder", "vae"):
        save_file(sources[0][part], tmp_path / f"my-{part[::-1]}.weights")
    layout = inspect_layout(tmp_path)
    assert (layout.kind, layout.prefixes, layout.step, layout.steps) == ("parts", ("",), None, ())
    assert layout.parts == ("unet", "text_encoder", "vae")
    assert layout.needs == ("tokenizer", "scheduler", "configurations")


def test_one_file(tmp_path, write_parts):
    layout = inspect_layout(write_parts(tmp_path) / "unet-1000.safetensors")
    assert layout.parts == ("unet",)
    assert layout.told.startswith("parts: unet-1000.safetensors (step 1000); UNet, ")


def test_single_file(tmp_path, single_file):
    path = tmp_path / "v1.ckpt"
    save_file(single_file(ema=True), path)
    for location in (path, tmp_path):
        layout = inspect_layout(location)
        assert (layout.kind, layout.pickled) == ("single file", False)
        assert layout.parts == ("unet", "text_encoder", "vae")
        assert layout.averages.keys() == {"unet"}
        assert layout.needs == ("tokenizer", "scheduler", "configurations")
    torch.save(single_file(), path)
    assert inspect_layout(path).pickled


def test_diffusers_folder(sd_base, tmp_path):
    layout = inspect_layout(sd_base)
    assert (layout.kind, layout.needs, layout.others) == ("diffusers", (), {})
    assert layout.files["text_encoder"] == (sd_base / "text_encoder" / "model.safetensors",)
    folder = shutil.copytree(sd_base, tmp_path / "sd")
    (folder / "v1.ckpt").write_bytes(b"not looked at")
    (folder / "safety_checker").mkdir()
    (folder / "safety_checker" / "model.safetensors").write_bytes(b"not looked at")
    others = inspect_layout(folder).others
    assert others == dict.fromkeys(["v1.ckpt", "safety_checker/model.safetensors"], "not named for a part")


def test_a_folder_of_both(sd_base, tmp_path, write_parts):
    folder = shutil.copytree(sd_base, tmp_path / "sd")
    write_parts(folder / "ckpts")
    assert inspect_layout(folder).kind == "diffusers"
    assert inspect_layout(folder / "ckpts").kind == "parts"
    assert "ckpts/unet-1000.safetensors" in inspect_layout(folder).others


def test_a_kind_is_chosen(tmp_path, write_parts, single_file):
    save_file(single_file(), write_parts(tmp_path) / "v1.safetensors")
    with pytest.raises(WeightsError, match="has parts and single file; give one of the files, or kind='parts'"):
        inspect_layout(tmp_path)
    layout = inspect_layout(tmp_path, kind="single file")
    assert layout.kind == "single file"
    assert layout.others == dict.fromkeys(["unet-1000.safetensors", "text_encoder-1000.safetensors"], "parts")
    with pytest.raises(WeightsError, match="has no weights of kind diffusers"):
        inspect_layout(tmp_path, kind="diffusers")
    with pytest.raises(UnknownNameError, match="unknown kind of weights 'part': did you mean 'parts'"):
        inspect_layout(tmp_path, kind="part")


@pytest.mark.parametrize("name", ["lora:a.down", "lora_ema:a.down", "plugin:a", "lora_unet_down.lora_up.weight"])
def test_adapters(tmp_path, name):
    save_file({name: torch.ones(2), "base:conv_in.bias": torch.ones(2)}, tmp_path / "unet-20.safetensors")
    layout = inspect_layout(tmp_path)
    assert layout.kind == "adapter"
    assert layout.told.startswith("adapter: unet-20.safetensors (step")
    torch.save({"lora": {"a": torch.ones(2)}}, tmp_path / "other.ckpt")
    assert inspect_layout(tmp_path / "other.ckpt").prefixes == ("lora",)


def test_what_is_not_read_is_told(tmp_path, write_parts):
    write_parts(tmp_path)
    save_file({"lora:a": torch.ones(2)}, tmp_path / "unet-lora-1000.safetensors")
    save_file({"vision_model.a": torch.ones(2)}, tmp_path / "clip.safetensors")
    torch.save({"emb": torch.ones(2)}, tmp_path / "galaxy-1000.pt")
    (tmp_path / "training_args.bin").write_bytes(b"PK\x03\x04")
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "._unet-1000.safetensors").write_text("another system's notes")
    layout = inspect_layout(tmp_path)
    assert layout.others.keys() == {
        "unet-lora-1000.safetensors", "clip.safetensors", "galaxy-1000.pt", "training_args.bin"
    }  # fmt: skip
    assert layout.others["unet-lora-1000.safetensors"] == "adapter"
    assert "no layout that is known; it holds vision_model.a" in layout.others["clip.safetensors"]
    assert "not read: clip.safetensors (" in layout.told


def test_a_pickle_of_what_is_there_as_safetensors(tmp_path, write_parts):
    write_parts(tmp_path)
    write_parts(tmp_path, pickled=True)
    layout = inspect_layout(tmp_path)
    assert not layout.pickled
    assert layout.others["unet-1000.ckpt"] == "unet-1000.safetensors is read in its place"


def test_two_files_of_a_part(tmp_path, write_parts):
    write_parts(tmp_path)
    shutil.copy(tmp_path / "unet-1000.safetensors", tmp_path / "best_unet-1000.safetensors")
    with pytest.raises(WeightsError, match="best_unet-1000.safetensors, unet-1000.safetensors all hold a UNet; give"):
        inspect_layout(tmp_path)


def test_deeper_folders(tmp_path, write_parts):
    write_parts(tmp_path / "exps" / "ckpts")
    assert inspect_layout(tmp_path).files["unet"] == (tmp_path / "exps" / "ckpts" / "unet-1000.safetensors",)
    (tmp_path / "exps").rename(tmp_path / "x")
    (tmp_path / "a").mkdir()
    (tmp_path / "x").rename(tmp_path / "a" / "exps")
    with pytest.raises(WeightsError, match="has no weights; give a folder with safetensors or with model_index.json"):
        inspect_layout(tmp_path)


def test_nothing_there(tmp_path):
    (tmp_path / "notes.pt").write_bytes(b"PK\x03\x04")
    with pytest.raises(
        WeightsError, match="has no weights: notes.pt: no pickle of tensors alone .File is not a zip file"
    ):
        inspect_layout(tmp_path)
    (tmp_path / "notes.pt").unlink()
    with pytest.raises(WeightsError, match="no file or folder '.*/gone'; give the weights, or a folder that has them"):
        inspect_layout(tmp_path / "gone")
    with pytest.raises(WeightsError, match="has no weights; give a folder with safetensors or with model_index.json"):
        inspect_layout(tmp_path)
    (tmp_path / "a.txt").write_text("text of some length")
    with pytest.raises(WeightsError, match="a.txt: neither safetensors nor a pickle by its content"):
        inspect_layout(tmp_path / "a.txt")


def test_too_many_files(tmp_path, monkeypatch):
    monkeypatch.setattr(layouts, "_MOST_FILES", 2)
    for name in "abc":
        (tmp_path / name).write_text(name)
    with pytest.raises(WeightsError, match="has more than 2 files; give the folder of the weights alone"):
        inspect_layout(tmp_path)


def test_names_of_files_that_look_like_others(tmp_path, write_parts):
    write_parts(tmp_path)
    shutil.copy(tmp_path / "unet-1000.safetensors", tmp_path / "un\u0435t-2000.safetensors")
    with pytest.raises(WeightsError, match=r"'un\\u0435t-2000.safetensors' has characters that look like others"):
        inspect_layout(tmp_path)


def damaged(path):
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_damage_is_no_other_step(tmp_path, write_parts, suffix):
    """The weights of a lower step are not taken where those of a higher one are damaged."""
    for step in (1000, 2000):
        write_parts(tmp_path, step, pickled=suffix == ".ckpt")
    damaged(tmp_path / f"unet-2000{suffix}")
    with pytest.raises(WeightsError, match=f"unet-2000{suffix}: no "):
        inspect_layout(tmp_path)


def test_a_payload_beside_weights_does_not_run(tmp_path, write_parts):
    write_parts(tmp_path)
    torch.save({"x": Payload(tmp_path / "owned")}, tmp_path / "optimizer.pt")
    assert "it wants posix.mkdir" in inspect_layout(tmp_path).others["optimizer.pt"]
    torch.save({"x": Payload(tmp_path / "owned")}, tmp_path / "unet-3000.ckpt")
    with pytest.raises(WeightsError, match="unet-3000.ckpt: no pickle of tensors alone .it wants posix.mkdir"):
        inspect_layout(tmp_path)
    assert not (tmp_path / "owned").exists()


def test_links_out_of_the_folder(tmp_path, write_parts):
    write_parts(tmp_path / "elsewhere")
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "unet-1000.safetensors").symlink_to("../elsewhere/unet-1000.safetensors")
    with pytest.raises(WeightsError, match="unet-1000.safetensors is a link that leaves"):
        inspect_layout(tmp_path / "w")
    # who names a link has chosen where it leads
    assert inspect_layout(tmp_path / "w" / "unet-1000.safetensors").parts == ("unet",)


def test_a_snapshot_of_the_hub(tmp_path, write_parts):
    model = tmp_path / "models--a--b"
    snapshot = model / "snapshots" / "1f"
    write_parts(snapshot)
    (model / "blobs").mkdir()
    for number, path in enumerate(sorted(snapshot.iterdir())):
        path.rename(model / "blobs" / str(number))
        path.symlink_to(f"../../blobs/{number}")
    assert inspect_layout(snapshot).parts == ("unet", "text_encoder")
    assert inspect_layout(snapshot / "unet-1000.safetensors").step == 1000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"base": {"stranger": torch.ones(2)}}, "no layout that is known; it holds base:stranger"),
        ({"base": {"conv_in.bias": torch.ones(2)}, "x": {"a": torch.ones(2)}}, "it holds base:conv_in.bias, x:a"),
        ({}, "no layout that is known; it holds nothing"),
        ({"a": 1.5}, "a is 1.5, not a tensor; no layout that is known"),
        ({"conv_in.bias": torch.ones(2)}, "a pickled unet as transformers and diffusers wrote them; get the model's"),
        ({"base": {"a": torch.ones(2)}, "base:a": torch.ones(2)}, "base:a is there twice"),
    ],
)
def test_pickles_of_no_layout(tmp_path, content, message):
    torch.save(content, tmp_path / "w.ckpt")
    with pytest.raises(WeightsError, match=message):
        inspect_layout(tmp_path / "w.ckpt")
