from __future__ import annotations

import json
from dataclasses import fields

import pytest
import torch

from astro_galaxysd.diffusion.captions import CaptionStyle
from astro_galaxysd.diffusion.recipes import AutoencoderRecipe, DiffusionRecipe, FinetuneRecipe, RefineRecipe
from astro_galaxysd.errors import TrainingError, UnknownNameError
from astro_galaxysd.evaluation.judges import EmbedderRecipe, ReaderRecipe
from astro_galaxysd.learning.recipes import load_preset, make_recipe, preset_names

KINDS = {
    "autoencoder": AutoencoderRecipe,
    "diffusion": DiffusionRecipe,
    "finetune": FinetuneRecipe,
    "refine": RefineRecipe,
    "reader": ReaderRecipe,
    "embedder": EmbedderRecipe,
}


@pytest.fixture
def recipe(tmp_path):
    """A diffusion recipe with settings of one's own, for a run that is not there yet."""
    return lambda **settings: make_recipe(DiffusionRecipe, tmp_path / "run", settings, "mini")


@pytest.fixture
def toml(tmp_path):
    """Writes a preset of one's own; gives its name."""

    def write(text, name="mine.toml"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize(("warmup", "steps"), [(400, 2000), (2, 7), (30, 31), (1, 5)])
def test_one_cycle_is_torchs(recipe, warmup, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    mine = recipe(schedule="one-cycle", learning_rate=1.6e-6, warmup=warmup, steps=steps)
    if warmup == 1:  # torch divides by zero: the cycle starts at its peak
        assert mine.rate(1) == pytest.approx(1.6e-6)
        return
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.6e-6, total_steps=steps, pct_start=warmup / steps, cycle_momentum=False
    )
    for step in range(steps):
        assert mine.rate(step) == pytest.approx(theirs.get_last_lr()[0], rel=1e-6), step
        optimizer.step()
        if step + 1 < steps:
            theirs.step()


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.1), (9, 1.0), (50, 1.0), (75, 1.0), (90, 0.4), (99, 0.04), (100, 0.0), (120, 0.0)]
)
def test_trapezoid(recipe, step, rate):
    mine = recipe(schedule="trapezoid", steps=100, learning_rate=1.0, warmup=10, cooldown=0.25)
    assert mine.rate(step) == pytest.approx(rate)


def test_trapezoid_without_slopes(recipe):
    mine = recipe(schedule="trapezoid", steps=100, learning_rate=0.5, warmup=0, cooldown=0.0)
    assert [mine.rate(step) for step in (0, 50, 99)] == [0.5, 0.5, 0.5]


def test_presets_that_ship():
    assert {"mini", "galaxysd-paper", "galaxysd-zsnr", "galaxysd-lora", "choosing"} <= set(preset_names())
    assert set(load_preset("mini")) == {"summary", *KINDS}


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_complete(tmp_path, name):
    content = load_preset(name)
    assert len(content.pop("summary")) > 20
    assert content
    for table, values in content.items():
        assert set(values) == {field.name for field in fields(KINDS[table])}
        if "captions" in values:
            assert set(values["captions"]) == {field.name for field in fields(CaptionStyle)}
        made = make_recipe(KINDS[table], tmp_path, {}, name)
        assert made.steps == values["steps"]
        assert 0 < made.rate(made.steps // 2) <= made.learning_rate


def test_preset_of_ones_own(tmp_path, toml):
    first = toml('extends = "mini"\n[diffusion]\nsteps = 5\n[diffusion.captions]\nweighted = 0.9\n', "first.toml")
    second = toml(f'extends = "{first}"\n[diffusion]\ngamma = 1\n[diffusion.captions]\nempty = 0.3\n')
    mine = make_recipe(DiffusionRecipe, tmp_path, {}, second)
    mini = make_recipe(DiffusionRecipe, tmp_path, {}, "mini")
    assert (mine.steps, mine.gamma, mine.width) == (5, 1.0, mini.width)
    assert (mine.captions.weighted, mine.captions.empty) == (0.9, 0.3)
    assert make_recipe(AutoencoderRecipe, tmp_path, {}, second) == make_recipe(AutoencoderRecipe, tmp_path, {}, "mini")


def test_captions_can_be_set_one_by_one(tmp_path, toml):
    name = toml('extends = "mini"\n[diffusion.captions]\nweighted = 0.9\n')
    mine = make_recipe(DiffusionRecipe, tmp_path, {"captions": {"empty": 0.3}}, name)
    assert (mine.captions.weighted, mine.captions.empty) == (0.9, 0.3)


def test_the_run_comes_before_the_preset_and_settings_before_the_run(tmp_path):
    stored = {"steps": 7, "width": [16, 32], "captions": {"empty": 0.3}, "gone_since": 1}
    (tmp_path / "recipe.json").write_text(json.dumps(stored))
    mine = make_recipe(DiffusionRecipe, tmp_path, {"learning_rate": 0.5, "gamma": 2}, "mini")
    assert (mine.steps, mine.width, mine.captions.empty, mine.learning_rate) == (7, (16, 32), 0.3, 0.5)
    assert make_recipe(DiffusionRecipe, tmp_path, {"steps": 9}, "mini").steps == 9
    assert mine.batch_size == load_preset("mini")["diffusion"]["batch_size"]


def test_whole_numbers_may_stand_for_fractions(recipe):
    mine = recipe(learning_rate=1, cooldown=0, betas=[0, 0.99], captions={"empty": 0})
    assert (mine.learning_rate, mine.betas, mine.captions.empty) == (1.0, (0, 0.99), 0.0)
    assert type(mine.learning_rate) is type(mine.cooldown) is type(mine.captions.empty) is float


def test_captions_as_a_record(recipe):
    assert recipe(captions=CaptionStyle(empty=0.7)).captions == CaptionStyle(empty=0.7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stesp": 4}, "unknown setting 'stesp': did you mean 'steps'"),
        ({"precision": "fp8"}, "unknown precision 'fp8': did you mean 'fp"),
        ({"schedule": "one-cycel"}, "unknown schedule 'one-cycel': did you mean 'one-cycle'"),
        ({"captions": {"emtpy": 0.1}}, "unknown setting of captions 'emtpy': did you mean 'empty'"),
    ],
)
def test_unknown_names(recipe, settings, message):
    with pytest.raises(UnknownNameError, match=message):
        recipe(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": "many"}, "recipe: steps = 'many' is not int"),
        ({"steps": 3.5}, "recipe: steps = 3.5 is not int"),
        ({"steps": True}, "recipe: steps = True is not int"),
        ({"learning_rate": "1e-4"}, "recipe: learning_rate = '1e-4' is not float"),
        ({"learning_rate": True}, "recipe: learning_rate = True is not float"),
        ({"checkpointing": 1}, "recipe: checkpointing = 1 is not bool"),
        ({"precision": 16}, "recipe: precision = 16 is not str"),
        ({"width": 96}, "recipe: width = 96 is not a list of numbers"),
        ({"width": [96, 1.5]}, r"recipe: width = \[96, 1.5\] is not a list of numbers"),
        ({"betas": [0.9, "x"]}, r"recipe: betas = \[0.9, 'x'\] is not a list of numbers"),
        ({"captions": 0.1}, "recipe: captions = 0.1 is not a table of empty, weighted"),
        ({"captions": {"empty": 1.1}}, r"recipe: captions.empty = 1.1 is not in \[0, 1\]"),
        ({"captions": {"empty": True}}, r"recipe: captions.empty = True is not in \[0, 1\]"),
        ({"captions": {"empty": "x"}}, r"recipe: captions.empty = 'x' is not in \[0, 1\]"),
        ({"steps": 0}, "recipe: steps = 0; must be above 0"),
        ({"batch_size": -1}, "recipe: batch_size = -1; must be above 0"),
        ({"learning_rate": 0, "accumulate": 0}, "recipe: learning_rate = 0.0, accumulate = 0; must be above 0"),
        ({"learning_rate": float("nan")}, "recipe: learning_rate = nan; must be above 0"),
        ({"batch_size": 6, "accumulate": 4}, "batch_size = 6 can't be computed in accumulate = 4 equal pieces; choose"),
        ({"ema": 1}, r"recipe: ema = 1.0 must be in \[0, 1\)"),
        ({"ema": -0.1}, r"recipe: ema = -0.1; must be at least 0"),
        ({"cooldown": 1.5}, r"cooldown = 1.5 in \[0, 1\]"),
    ],
)
def test_settings_that_can_not_be(recipe, settings, message):
    with pytest.raises(TrainingError, match=message):
        recipe(**settings)


def test_damaged_recipe_of_a_run(tmp_path):
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(TrainingError, match=r"recipe\.json: can't be read .*remove it to start with the preset"):
        make_recipe(DiffusionRecipe, tmp_path, {}, "mini")


@pytest.mark.parametrize("name", ["mnii", "absent.toml"])
def test_unknown_preset(tmp_path, name):
    with pytest.raises(UnknownNameError, match=rf"unknown preset '{name}': .*Or give a \.toml file\."):
        make_recipe(DiffusionRecipe, tmp_path, {}, name)


def test_preset_that_is_not_toml(toml):
    with pytest.raises(TrainingError, match=r"mine\.toml: .* see the presets that ship for the form"):
        load_preset(toml("steps: 3"))


def test_preset_that_extends_an_unknown_one(toml):
    with pytest.raises(UnknownNameError, match="unknown preset 'mnii': did you mean 'mini'"):
        load_preset(toml('extends = "mnii"'))


def test_preset_of_something_else(tmp_path):
    with pytest.raises(TrainingError, match=r"preset galaxysd-paper has no table \[diffusion\]; choose another with"):
        make_recipe(DiffusionRecipe, tmp_path, {}, "galaxysd-paper")


def test_preset_that_lacks_values(tmp_path, toml):
    name = toml("[autoencoder]\nsteps = 3\nbatch_size = 2\n")
    with pytest.raises(TrainingError, match=r'\[autoencoder\] lacks learning_rate, .*depth; say extends = "mini"'):
        make_recipe(AutoencoderRecipe, tmp_path, {}, name)


def test_preset_with_an_unknown_setting(tmp_path, toml):
    with pytest.raises(UnknownNameError, match="unknown setting 'wdith': did you mean 'width'"):
        make_recipe(AutoencoderRecipe, tmp_path, {}, toml('extends = "mini"\n[autoencoder]\nwdith = 3\n'))


def test_preset_that_extends_itself(tmp_path):
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text('extends = "second.toml"\n')
    second.write_text('extends = "first.toml"\n')
    with pytest.raises(TrainingError, match="extends itself by way of .*first.toml; name a preset that ships"):
        load_preset(str(first))


@pytest.mark.parametrize("name", ["gamma", "warmup", "clip", "weight_decay", "rarity"])
def test_negative_settings(tmp_path, name):
    with pytest.raises(TrainingError, match=f"recipe: {name} = -1.*; must be at least 0"):
        make_recipe(DiffusionRecipe, tmp_path, {name: -1}, "mini")


def test_betas_are_two(tmp_path):
    with pytest.raises(TrainingError, match=r"betas = \[0.9\]; AdamW takes two"):
        make_recipe(DiffusionRecipe, tmp_path, {"betas": [0.9]}, "mini")
