from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest
import torch
from astropy.table import Table

from astro_galaxysd import load_generator, write_table
from astro_galaxysd.cli import main
from astro_galaxysd.diffusion.commands import make_recipe, train_autoencoder, train_diffusion
from astro_galaxysd.diffusion.components import load_components
from astro_galaxysd.diffusion.train import AutoencoderRecipe, AutoencoderRun, DiffusionRecipe
from astro_galaxysd.errors import TrainingError, UnknownNameError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rng = np.random.default_rng(0)
    rows = Table({"t01_smooth": rng.random(12), "image": (rng.random((12, 32, 32, 3)) * 255).astype(np.uint8)})
    return str(write_table(rows, tmp_path_factory.mktemp("data") / "train.fits"))


def recipes(tmp_path):
    autoencoder = {"batch_size": 2, "steps": 3, "latent_channels": 4, "channels": 8, "blocks": [1, 0, 0, 0], "crop": 16}
    diffusion = {"batch_size": 2, "steps": 3, "width": [16, 32], "text_width": 32, "text_layers": 1}
    paths = tmp_path / "autoencoder.json", tmp_path / "diffusion.json"
    for path, recipe in zip(paths, (autoencoder, diffusion), strict=True):
        path.write_text(json.dumps(recipe))
    return [str(path) for path in paths]


def test_the_two_commands_make_weights_that_draw(data, tmp_path, capsys):
    first, second = recipes(tmp_path)
    runs = str(tmp_path / "a"), str(tmp_path / "d")
    shared = ["--data", data, "--no-progress"]
    assert main(["train", "autoencoder", *shared, "--run", runs[0], "--recipe", first]) == 0
    folder = capsys.readouterr().out.split()[-1]
    command = ["train", "diffusion", *shared, "--run", runs[1], "--autoencoder", folder]
    assert main([*command, "--recipe", second]) == 0
    weights = capsys.readouterr().out.split()[-1]
    batch = load_generator(weights, steps=2).generate(Table({"prompt": ["sdss, merger"], "seed": [0]}))
    assert batch.images.shape == (1, 32, 32, 3)
    # the same command with more steps goes on; the recipe is the run's own
    assert main([*command, "--steps", "5"]) == 0
    stored = json.loads((tmp_path / "d" / "recipe.json").read_text())
    assert (stored["steps"], stored["width"]) == (5, [16, 32])
    assert load_generator(weights, steps=2).provenance["weights_revision"] != batch.meta["weights_revision"]


def test_terminated_training_keeps_its_step(data, tmp_path, monkeypatch, capsys):
    first, _ = recipes(tmp_path)
    advance = AutoencoderRun.advance

    def terminated(run):
        if run.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return advance(run)

    monkeypatch.setattr(AutoencoderRun, "advance", terminated)
    command = ["train", "autoencoder", "--data", data, "--no-progress", "--run", str(tmp_path / "a"), "--recipe", first]
    assert main(command) == 130
    assert "interrupted; the same command goes on from" in capsys.readouterr().err
    monkeypatch.setattr(AutoencoderRun, "advance", advance)
    assert main(command) == 0
    assert (tmp_path / "a" / "autoencoder" / "config.json").exists()


def test_a_new_run_can_begin_with_trained_weights(data, tiny_weights, tmp_path):
    sizes = {"batch_size": 2, "steps": 1, "width": (16, 32), "text_width": 32, "text_layers": 1}
    quiet = {**sizes, "learning_rate": 1e-12, "weight_decay": 0.0}
    vae = tiny_weights / "vae"
    trained = train_diffusion([data], tmp_path / "d", vae, quiet, start_from=tiny_weights, progress=False)
    before, after = load_components(tiny_weights).unet, load_components(trained).unet
    for mine, other in zip(before.parameters(), after.parameters(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-3, rtol=1e-3)
    with pytest.raises(TrainingError, match="can't start from weights of another shape"):
        train_diffusion([data], tmp_path / "e", vae, {**quiet, "width": (16, 48)}, start_from=tiny_weights)


def test_going_on_is_the_same_as_never_stopping(data, tmp_path):
    settings = {"batch_size": 2, "width": (16, 32), "text_width": 32, "text_layers": 1, "cooldown": 0.0}
    small = {"batch_size": 2, "steps": 2, "latent_channels": 4, "channels": 8, "blocks": (1, 0, 0, 0), "crop": 16}
    autoencoder = train_autoencoder([data], tmp_path / "a", small, progress=False)
    folders = []
    for name, stops in (("whole", [6]), ("parts", [2, 6])):
        for steps in stops:
            folder = train_diffusion([data], tmp_path / name, autoencoder, {**settings, "steps": steps}, progress=False)
        folders.append(folder)
    draws = [
        load_generator(folder, steps=2).generate(Table({"prompt": ["sdss, smooth"], "seed": [3]})).images
        for folder in folders
    ]
    np.testing.assert_array_equal(*draws)


def test_recipe_of_the_run_comes_first(tmp_path):
    (tmp_path / "recipe.json").write_text(json.dumps({"steps": 7, "width": [16, 32], "captions": {"empty": 0.3}}))
    recipe = make_recipe(DiffusionRecipe, tmp_path, {"learning_rate": 0.5})
    assert (recipe.steps, recipe.width, recipe.captions.empty, recipe.learning_rate) == (7, (16, 32), 0.3, 0.5)


def test_unknown_setting(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown setting 'step': did you mean 'steps'"):
        make_recipe(AutoencoderRecipe, tmp_path, {"step": 4})


@pytest.mark.parametrize("settings", [{"steps": 0}, {"batch_size": -1}, {"learning_rate": 0}])
def test_settings_out_of_range(tmp_path, settings):
    with pytest.raises(TrainingError, match="all must be above 0"):
        make_recipe(DiffusionRecipe, tmp_path, settings)


def test_settings_of_the_wrong_type(tmp_path):
    with pytest.raises(TrainingError, match="recipe: "):
        make_recipe(DiffusionRecipe, tmp_path, {"steps": "many"})


def test_damaged_recipe(tmp_path):
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(TrainingError, match=r"recipe\.json: can't be read .*remove it to start with the defaults"):
        make_recipe(DiffusionRecipe, tmp_path, {})
