"""A repository as weights have it, and the client without a network."""

from __future__ import annotations

import hashlib

import pytest

FILES = {
    ".gitattributes": b"*.safetensors filter=lfs",
    "README.md": b"# rings\n",
    "model_index.json": b'{"_class_name": "StableDiffusionPipeline"}',
    "training_ids.txt": b"0011223344556677\n",
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(100)),
    "vae/diffusion_pytorch_model.safetensors": b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(50)),
    "modeling.py": b"raise SystemExit",
    "old.ckpt": b"a pickle, perhaps",
}
SAFE = ("README.md", "model_index.json", "training_ids.txt", "unet/config.json")
LARGE = ("unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors")


@pytest.fixture
def rings(hub):
    """The commit of team/rings, a public repository."""
    return hub.add("team/rings", FILES, tag="v1")


@pytest.fixture
def offline(monkeypatch):
    """Call it, and the client asks nothing any more."""
    from huggingface_hub import constants

    return lambda on=True: monkeypatch.setattr(constants, "HF_HUB_OFFLINE", on)


@pytest.fixture
def whole(hub):
    """Says whether a fetched folder holds the given files exactly, and the cache no part of another."""

    def check(fetched, files=FILES):
        cache = fetched.path.parents[2]
        assert not list(cache.rglob("*.incomplete"))
        assert not list(cache.rglob(".partial-*"))
        return all((fetched.path / path).read_bytes() == files[path] for path in fetched.files)

    return check
