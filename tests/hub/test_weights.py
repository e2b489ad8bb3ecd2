"""Weights on the Hub: which files of a repository are a model, and that no others are asked for."""

from __future__ import annotations

import pytest

from astro_galaxysd.errors import HubError, HubWarning
from astro_galaxysd.hub.weights import choose_files, fetch_weights

UNET, VAE, TEXT = "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"
#: What a diffusers folder has besides weights.
SETTINGS = [
    "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json", "tokenizer/merges.txt",
    "tokenizer/vocab.json", "unet/config.json", "vae/config.json",
]  # fmt: skip
#: What stands beside weights and is none.
BESIDE = [
    "train.py",
    "unet/modeling.py",
    "images/ring.png",
    ".gitattributes",
    "runs/log.json",
    "pipeline.sh",
    "LICENSE",
]


def full(variant="", ending="safetensors"):
    """A file for each of the three parts."""
    return [f"{stem}{variant}.{ending}" for stem in (UNET, VAE, TEXT)]


def diffusers(*weights):
    return [*SETTINGS, *weights]


@pytest.mark.parametrize(
    "others",
    [
        full(".fp16"),
        full(".non_ema"),
        full("", "bin") + full(".fp16", "bin"),
        [f"{UNET}.fp16-0000{number}-of-00002.safetensors" for number in (1, 2)],
        ["v1-5-pruned.ckpt", "v1-5-pruned-emaonly.safetensors"],
        [
            "safety_checker/model.safetensors",
            "safety_checker/config.json",
            "feature_extractor/preprocessor_config.json",
        ],
        ["checkpoints/unet-1000.safetensors", "ckpts/deeper/model_index.json", "unet/old/config.json"],
        BESIDE,
    ],
    ids=["half", "not averaged", "pickles", "half in two", "single files", "checker", "other folders", "beside"],
)
def test_one_model_of_a_diffusers_repository(others):
    assert choose_files([*diffusers(*full()), *others]) == sorted(diffusers(*full()))


def test_a_card_and_the_rest_of_the_top_comes_along():
    beside = ["README.md", "sampling.json", "training_ids.txt"]
    assert choose_files([*diffusers(*full()), *beside]) == sorted([*diffusers(*full()), *beside])


def test_half_precision_where_there_is_nothing_else():
    assert choose_files(diffusers(*full(".fp16"), *full(".non_ema"))) == sorted(diffusers(*full(".fp16")))
    mixed = diffusers(
        f"{UNET}.fp16.safetensors", f"{VAE}.safetensors", f"{VAE}.fp16.safetensors", f"{TEXT}.safetensors"
    )
    assert choose_files(mixed) == sorted(set(mixed) - {f"{VAE}.fp16.safetensors"})


@pytest.mark.parametrize("variant", ["", ".fp16"])
def test_parts_in_several_files(variant):
    shards = [f"{UNET}{variant}-0000{number}-of-00002.safetensors" for number in (1, 2)]
    index = f"{UNET}.safetensors.index{variant}.json"
    rest = [f"{VAE}{variant}.safetensors", f"{TEXT}{variant}.safetensors"]
    assert choose_files(diffusers(*shards, index, *rest)) == sorted(diffusers(*shards, index, *rest))


def test_the_last_of_numbered_checkpoints():
    steps = [f"{part}-{step}.safetensors" for part in ("unet", "text_encoder") for step in (900, 5000, 10000)]
    last = ["text_encoder-10000.safetensors", "unet-10000.safetensors"]
    assert choose_files([*steps, "README.md", *BESIDE]) == ["README.md", *last]
    below = [f"ckpts/{path}" for path in steps]
    assert choose_files([*below, "sampling.json", *BESIDE]) == [*(f"ckpts/{path}" for path in last), "sampling.json"]
    deeper = [f"a/b/c/{path}" for path in last]
    assert choose_files([*steps, *deeper]) == last


def test_the_last_that_all_parts_have():
    """As it is chosen on the disk."""
    paths = ["unet-1000.safetensors", "unet-2000.safetensors", "text_encoder-1000.safetensors", "vae.safetensors"]
    assert choose_files(paths) == ["text_encoder-1000.safetensors", "unet-1000.safetensors", "vae.safetensors"]
    assert choose_files(["unet-2000.ckpt", "unet-3000.ckpt", "text_encoder-1000.ckpt"]) == [
        "text_encoder-1000.ckpt",
        "unet-3000.ckpt",
    ]


def test_pickles_only_where_there_are_no_safetensors():
    pickles = ["unet-10000.ckpt", "text_encoder-10000.ckpt", "unet-5000.ckpt"]
    assert choose_files(pickles) == ["text_encoder-10000.ckpt", "unet-10000.ckpt"]
    assert choose_files([*pickles, "v1.safetensors"]) == ["v1.safetensors"]
    assert choose_files(["model.bin", "model.pt", "model.pth", "model.pkl", "model.npz"]) == []


def test_nothing():
    assert choose_files([]) == []
    assert choose_files(BESIDE) == []
    assert choose_files(["README.md", "train.py"]) == ["README.md"]


# ---- from a Hub


def content(paths):
    return {path: path.encode() for path in paths}


@pytest.fixture
def galaxies(hub):
    """The commit of team/galaxies, a diffusers repository with everything twice."""
    others = [*full(".fp16"), *full(".non_ema"), *full("", "bin"), "v1-5-pruned.ckpt", *BESIDE]
    return hub.add("team/galaxies", content([*diffusers(*full()), *others]), tag="v1")


@pytest.mark.parametrize("name", ["team/galaxies", "team/galaxies@v1"])
def test_only_one_model_is_asked_for(hub, galaxies, name):
    fetched = fetch_weights(name)
    wanted = sorted(diffusers(*full()))
    assert (fetched.revision, fetched.files) == (galaxies, tuple(wanted))
    assert {one.path.partition(f"/{galaxies}/")[2] for one in hub.asked("/resolve/")} == set(wanted)
    large = [path for path in wanted if path.endswith(".safetensors")]
    assert len(hub.asked("^GET /storage/")) == len(large)
    there = {path.relative_to(fetched.path).as_posix() for path in fetched.path.rglob("*") if path.is_file()}
    assert there == set(wanted)
    assert all((fetched.path / path).read_bytes() == path.encode() for path in wanted)


def test_the_commit_that_is_given_beside_the_name(hub, galaxies):
    hub.add("team/galaxies", {f"{UNET}.safetensors": b"newer"})
    assert fetch_weights("team/galaxies", galaxies).revision == galaxies
    assert (fetch_weights("team/galaxies").path / f"{UNET}.safetensors").read_bytes() == b"newer"


def test_a_pickle_where_it_is_alone(hub):
    hub.add("team/rings", content(["README.md", "unet-10.ckpt", "train.py", "optimizer.bin"]))
    assert fetch_weights("team/rings").files == ("README.md", "unet-10.ckpt")
    hub.add("team/rings", content(["unet-10.safetensors"]))
    assert fetch_weights("team/rings").files == ("README.md", "unet-10.safetensors")


@pytest.mark.parametrize(
    ("paths", "held"),
    [
        (["README.md", "train.py", "model.bin"], "README.md, model.bin, train.py"),
        (["a/b/c/unet-1.safetensors"], "a/b/c/unet-1.safetensors"),
        (diffusers(*full("", "bin"))[-5:], "text_encoder/model.bin, unet/config.json, unet/diff"),
        ([f"images/{number}.png" for number in range(30)], "images/0.png, images/1.png"),
        ([], "nothing"),
    ],
    ids=["code", "too deep", "bin", "images", "empty"],
)
def test_no_weights(hub, paths, held):
    hub.add("team/notes", content(paths))
    with pytest.raises(HubError, match=f"team/notes holds no weights that can be read, but {held}.*; weights are a"):
        fetch_weights("team/notes")
    assert hub.bodies() == []


def test_a_diffusers_folder_of_pickles_alone(hub):
    hub.add("team/old", content(diffusers(*full("", "bin"))))
    with pytest.raises(HubError, match="team/old holds no weights that can be read, but model_index.json, "):
        fetch_weights("team/old")
    assert hub.bodies() == []


def test_offline_after_a_branch_was_fetched(hub, galaxies, offline):
    first = fetch_weights("team/galaxies")
    offline()
    del hub.requests[:]
    assert fetch_weights("team/galaxies") == fetch_weights("team/galaxies", galaxies) == first
    with pytest.raises(HubError, match="team/galaxies"):
        fetch_weights("team/galaxies@v1")  # a name that was not fetched by
    assert hub.requests == []


def test_a_hub_that_is_away(hub, galaxies):
    first = fetch_weights("team/galaxies")
    hub.answer(503)
    with pytest.warns(HubWarning, match=f"Now used: commit {galaxies}"):
        assert fetch_weights("team/galaxies") == first
