from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from astro_galaxysd.errors import ImageError, UnknownNameError, WeightsError
from astro_galaxysd.evaluation.embedding import GalaxyEmbedder
from astro_galaxysd.evaluation.networks import ARCHITECTURES, build, load_network, run_network, save_network
from astro_galaxysd.evaluation.reading import ImageReader
from astro_galaxysd.testing import example_batch

FACTS = {"kind": "embedder", "architecture": "residual", "width": [8, 16], "outputs": 5, "image_size": 32}


@pytest.fixture
def saved(tmp_path):
    """Writes a small network; gives its file."""

    def save(name="judge.safetensors", **changes):
        facts = {**FACTS, **changes}
        torch.manual_seed(0)
        save_network(build("residual", (8, 16), facts["outputs"]), tmp_path / name, facts)
        return tmp_path / name

    return save


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("side", [32, 64, 128])
def test_one_row_of_numbers_an_image(name, side):
    network = build(name, (8, 16, 24), 7)
    assert network(torch.rand(2, 3, side, side)).shape == (2, 7)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_numbers_do_not_depend_on_the_images_beside(name):
    images = example_batch(6, size=32).images
    network = build(name, (8, 16), 4).eval()
    torch.testing.assert_close(run_network(network, images, 32)[2:3], run_network(network, images[2:3], 32))


def test_unknown_architecture():
    with pytest.raises(UnknownNameError, match="unknown architecture 'residul': did you mean 'residual'"):
        build("residul", (8,), 4)


def test_a_saved_network_is_the_same_in_half_precision(saved):
    network, facts = load_network(saved(), "embedder")
    torch.manual_seed(0)
    fresh = build("residual", (8, 16), 5)
    for mine, other in zip(network.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(mine, other.half().float())
    assert {name: facts[name] for name in FACTS} == FACTS
    assert len(facts["revision"]) == 64
    assert not network.training


def test_images_of_another_size_are_brought_to_the_networks(saved):
    embedder = GalaxyEmbedder(saved())
    images = example_batch(3, size=64).images
    halved = images.reshape(3, 32, 2, 32, 2, 3).mean(axis=(2, 4)).round().astype(np.uint8)
    # the mean of four is rounded in another way where it ends in one half
    np.testing.assert_allclose(embedder.embed(images), embedder.embed(halved), atol=0.03)
    assert embedder.embed(images).shape == (3, 5)
    assert embedder.embed(images).dtype == np.float32


@pytest.mark.parametrize(
    "images",
    [np.zeros((2, 32, 32, 3)), np.zeros((2, 32, 32), np.uint8), np.zeros((0, 32, 32, 3), np.uint8), np.zeros((2, 3))],
)
def test_images_of_another_kind(saved, images):
    with pytest.raises(ImageError, match=r"images are .* of shape .*; give uint8 \(N, H, W, 3\)"):
        GalaxyEmbedder(saved()).embed(images)


def test_no_such_file(tmp_path):
    with pytest.raises(WeightsError, match=r"missing.safetensors: no embedder can be read .*`galaxysd train embedder`"):
        GalaxyEmbedder(tmp_path / "missing.safetensors")


def test_a_file_of_another_kind(saved):
    with pytest.raises(WeightsError, match="holds a 'embedder', not a reader"):
        ImageReader.load(saved())


def test_a_reader_of_other_answers(saved):
    with pytest.raises(WeightsError, match="reads 5 answers; the tree has 37"):
        ImageReader.load(saved(kind="reader"))


def test_a_damaged_file(saved):
    path = saved()
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(WeightsError, match="no embedder can be read"):
        load_network(path, "embedder")


@pytest.mark.parametrize("metadata", [None, {"galaxysd": "no json"}, {"galaxysd": json.dumps(FACTS)}])
def test_a_file_that_is_not_what_it_says(tmp_path, metadata):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata=metadata)
    with pytest.raises(WeightsError, match="no embedder can be read"):
        load_network(path, "embedder")
