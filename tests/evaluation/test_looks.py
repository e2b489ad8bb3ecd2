"""`benchmarks/looks.py`: galaxies of the same kind are near, and a mesh and patches of colour are found and named."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
import torch
from astropy.table import Table
from scipy.ndimage import gaussian_filter

from astro_galaxysd import write_table
from astro_galaxysd.conditions.table import VOTES
from astro_galaxysd.conditions.tree import ANSWERS, INDEX
from astro_galaxysd.evaluation.measures import measure_pixels
from astro_galaxysd.evaluation.networks import build, save_network

SIDE = 64


@pytest.fixture(scope="module")
def looks(load_script):
    return load_script("benchmarks/looks.py")


def galaxies(n, seed, side=SIDE):
    """Round blobs on a noisy sky, shape (n, side, side, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    light = 150 * np.exp(-(x**2 + y**2) / 2 / (rng.uniform(0.1, 0.15, (n, 1, 1)) * side) ** 2)
    return 20 + light[..., None] + rng.normal(0, 2, (n, side, side, 3))


def stored(images):
    return np.clip(images, 0, 255).round().astype(np.uint8)


def test_points_of_one_distribution_are_near_and_moved_ones_far(looks):
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 400, 2)))
    assert abs(looks.energy_distance(points[0], points[1])) < 0.03
    # two normal distributions d apart, for large d: twice what the mean distance grows
    assert looks.energy_distance(points[0], points[1] + torch.tensor([30.0, 0.0])) == pytest.approx(
        2 * (30 - np.sqrt(np.pi)), rel=0.05
    )


def test_single_numbers_count_one_by_one(looks):
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 200, 4)))
    drawn, real = looks.compare("scalars", *points)
    assert drawn == pytest.approx(
        sum(looks.energy_distance(points[0, :, [axis]], points[1, :, [axis]]) for axis in range(4))
    )
    assert real == pytest.approx(
        sum(looks.energy_distance(points[2, :, [axis]], points[1, :, [axis]]) for axis in range(4))
    )


def test_a_mesh_is_found_at_its_frequency_and_direction(looks, capsys):
    plain = galaxies(12, seed=1)
    y, x = np.mgrid[:SIDE, :SIDE]
    mesh = 1 + 0.2 * np.sin(2 * np.pi * (0.16 * x - 0.09 * y))[None, :, :, None] * (plain > 40)
    looks.show_pixels(stored(plain * mesh), stored(galaxies(12, seed=2)))
    found = re.search(r"highest: ([\d.]+) at ([+-][\d.]+) down, ([\d.]+) to the right", capsys.readouterr().out)
    power, down, right = map(float, found.groups())
    assert power > 5
    assert (down, right) == (pytest.approx(-0.09, abs=0.04), pytest.approx(0.16, abs=0.04))


def test_patches_of_colour_scatter_along_the_ring(looks):
    plain = galaxies(12, seed=1)
    patches = gaussian_filter(np.random.default_rng(1).normal(0, 30, plain.shape[:3]), (0, 3, 3))
    before, after = (
        looks.scatter(looks.looked_at(measure_pixels, stored(images)))
        for images in (plain, plain + patches[..., None] * [1, 0, -1])
    )
    assert after[1] > 3 * before[1]
    assert after[0] < 1.2 * before[0]
    assert after[2] < 1.2 * before[2]


def test_what_is_smooth_lacks_power_at_high_frequencies(looks, capsys):
    plain = galaxies(12, seed=1)
    for images in (plain, gaussian_filter(plain, (0, 1, 1, 0))):
        looks.show_spectrum(stored(images), stored(galaxies(12, seed=2)))
    found = re.findall(r"images at ([\d.]+) to .*: ([\d.]+) of the median power, ([\d.]+) of", capsys.readouterr().out)
    same, smooth = np.array(found, dtype=float).reshape(2, -1, 3)
    assert same[:, 0].tolist() == smooth[:, 0].tolist() == list(looks.BANDS[:-1])
    assert np.abs(np.log(same[2:, 1:])).max() < 0.1  # below, other galaxies have another size
    assert smooth[-1, 1:].max() < 0.5 * smooth[0, 1:].min()


class TestCommand:
    @pytest.fixture
    def given(self, tmp_path):
        votes = np.full((48, len(ANSWERS)), np.nan)
        votes[:, :3] = 0.6, 0.3, 0.1
        votes[:, [INDEX["odd"], INDEX["not_odd"]]] = 0.1, 0.9
        ids = [f"{row}" for row in range(48)]
        write_table(
            Table({"id": ids, "image": stored(galaxies(48, seed=1, side=32)), VOTES: votes}), tmp_path / "real.parquet"
        )
        torch.manual_seed(0)
        facts = {"kind": "reader", "architecture": "residual", "width": [8, 16], "outputs": 37, "image_size": 32}
        save_network(build("residual", (8, 16), 37), tmp_path / "reader.safetensors", facts)
        return tmp_path

    def run(self, looks, monkeypatch, given, weights, n):
        told = ["looks.py", given / "real.parquet", "--weights", weights, "--reader", given / "reader.safetensors"]
        monkeypatch.setattr(sys, "argv", [*map(str, told), "--steps", "2", "-n", str(n)])
        looks.main()

    def test_every_block_is_told(self, looks, monkeypatch, given, tiny_weights, capsys):
        self.run(looks, monkeypatch, given, tiny_weights, 20)
        said = capsys.readouterr().out
        for block in ("semantics", "profile", "power_luminance", "grain", "mottle", "around", "border", "scalars"):
            distances = re.search(rf"^{block} +[\d.]+ +(\S+) +(\S+)$", said, re.MULTILINE)
            drawn, real = map(float, distances.groups())
            assert drawn > real  # random weights draw no galaxies
        assert said.count("scatter along the outermost ring") == 3
        assert "of the median power" in said

    def test_too_few_rows(self, looks, monkeypatch, given, tiny_weights, capsys):
        with pytest.raises(SystemExit):
            self.run(looks, monkeypatch, given, tiny_weights, 25)
        assert "-n 25: the table has 48 rows; give half of them at most" in capsys.readouterr().err
