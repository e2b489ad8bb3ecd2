"""Sheets and figures of a run that is watched: always the same rows and seeds, so that what changes is the weights."""

from __future__ import annotations

import csv
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from astro_galaxysd.conditions.prompts import parse_prompt
from astro_galaxysd.conditions.published import PUBLISHED_PROMPTS
from astro_galaxysd.conditions.tree import ANSWERS, INDEX
from astro_galaxysd.diffusion.diffuse import DiffusionRun
from astro_galaxysd.diffusion.encode import check_prompts
from astro_galaxysd.diffusion.recipes import DiffusionRecipe
from astro_galaxysd.diffusion.tokenizer import build_tokenizer
from astro_galaxysd.errors import TrainingError
from astro_galaxysd.evaluation.progress import HIGHER_IS_BETTER
from astro_galaxysd.evaluation.reader import VoteReader
from astro_galaxysd.learning.recipes import make_recipe
from astro_galaxysd.learning.trainingset import TrainingSet
from astro_galaxysd.records import WeightCard
from astro_galaxysd.testing import example_batch
from astro_galaxysd.watching import Watcher, fitted_reader

SIZES = {"batch_size": 2, "width": (16, 32), "text_width": 32, "text_layers": 1, "steps": 3, "precision": "fp32"}
HELD_BACK, DRAWN = 24, 8


def galaxies(first, n=HELD_BACK, size=32):
    """Round galaxies, every second of them odd."""
    fractions = np.full((n, len(ANSWERS)), np.nan)
    fractions[:, [INDEX[key] for key in ("smooth", "features", "artifact")]] = 0.9, 0.05, 0.05
    fractions[:, INDEX["odd"]] = np.where(np.arange(n) % 2, 0.1, 0.9)
    fractions[:, INDEX["not_odd"]] = 1 - fractions[:, INDEX["odd"]]
    return TrainingSet(example_batch(n, size=size).images, fractions, [f"{first}{row}" for row in range(n)])


@pytest.fixture(scope="module")
def training():
    return galaxies("t", 16)


@pytest.fixture(scope="module")
def quick_reader(training):
    """A reader that has learnt enough to be saved."""
    return VoteReader(hidden=8, epochs=1).fit(training.images, training.fractions)


@pytest.fixture
def watched(tmp_path, tiny_weights, training, quick_reader, monkeypatch):
    """A tiny run and its watcher, in a folder that has a reader already; sheets of two prompts."""
    monkeypatch.setattr("astro_galaxysd.watching.PUBLISHED_PROMPTS", PUBLISHED_PROMPTS[:2])
    folder = tmp_path / "run"
    folder.mkdir()
    quick_reader.save(folder / "reader.safetensors")
    recipe = make_recipe(DiffusionRecipe, folder, SIZES, "mini")
    run = DiffusionRun(folder, training, tiny_weights / "vae", recipe)
    card = WeightCard("run", str(folder), steps=2, guidance=1.0)
    return SimpleNamespace(
        run=run, folder=folder, watch=lambda held_back=None: Watcher(folder, training, held_back, n=DRAWN, card=card)
    )


def rows_of(folder):
    with (folder / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def sheets(folder):
    return sorted(path.name for path in (folder / "sheets").iterdir())


def test_a_watched_run_shows_sheets_and_figures(watched):
    watch = watched.watch(galaxies("v"))
    assert watched.run.run(progress=False, watch=watch, watch_every=2)
    assert sheets(watched.folder) == ["step-0000002.png", "step-0000003.png"]
    with Image.open(watched.folder / "sheets" / "step-0000002.png") as sheet:
        assert sheet.width >= 4 * 32
        assert sheet.height >= 2 * 32
    rows = rows_of(watched.folder)
    names = len(HIGHER_IS_BETTER)
    assert [(row["step"], row["images"], row["n"]) for row in rows] == [("2", "4", "8")] * names + [
        ("3", "6", "8")
    ] * names
    assert {row["metric"] for row in rows} == set(HIGHER_IS_BETTER)
    values = {(row["step"], row["metric"]): float(row["value"]) for row in rows}
    assert values["2", "frechet"] != values["3", "frechet"]  # a step of training lies between
    ceilings = {(row["step"], row["metric"]): row["ceiling"] for row in rows}
    assert all(ceilings["2", name] == ceilings["3", name] for name in HIGHER_IS_BETTER)


def test_there_is_a_plot(watched):
    watched.watch(galaxies("v"))(watched.run)
    with Image.open(watched.folder / "metrics.png") as plot:
        assert plot.width > plot.height > 100


def test_the_same_weights_have_the_same_sheet_and_figures(watched):
    held_back = galaxies("v")
    watch = watched.watch(held_back)
    watch(watched.run)
    sheet = (watched.folder / "sheets" / "step-0000000.png").read_bytes()
    watch(watched.run)
    torch.manual_seed(5)  # and for a watcher that starts anew
    watched.watch(held_back)(watched.run)
    rows, names = rows_of(watched.folder), len(HIGHER_IS_BETTER)
    assert rows[:names] == rows[names : 2 * names] == rows[2 * names :]
    assert (watched.folder / "sheets" / "step-0000000.png").read_bytes() == sheet


def test_what_is_watched_are_the_averaged_weights(watched):
    """The networks hold the average inside, and afterwards go on from what they had."""
    seen = []
    watched.run.run(
        progress=False,
        watch=lambda run: seen.append([p.detach().clone() for p in run.current().unet.parameters()]),
    )
    average = dict(zip(map(id, watched.run.parameters), watched.run.average, strict=True))
    parameters = list(watched.run.unet.parameters())
    for shown, parameter in zip(seen[0], parameters, strict=True):
        torch.testing.assert_close(shown, average[id(parameter)], rtol=0, atol=0)
    assert any(not torch.equal(shown, now) for shown, now in zip(seen[0], parameters, strict=True))


def test_without_validation_rows_there_are_sheets_only(watched):
    watched.watch()(watched.run)
    assert sheets(watched.folder) == ["step-0000000.png"]
    assert not (watched.folder / "metrics.csv").exists()


def test_a_watcher_draws_as_the_card_says(watched, monkeypatch):
    asked = []

    def draw(components, prompts, seeds, *, steps, guidance, sampler, turn):
        asked.append((steps, guidance, sampler, turn, len(prompts)))
        return np.zeros((len(prompts), 32, 32, 3), np.uint8)

    monkeypatch.setattr("astro_galaxysd.watching.sample_rows", draw)
    monkeypatch.setattr("astro_galaxysd.watching.PUBLISHED_PROMPTS", PUBLISHED_PROMPTS)
    card = WeightCard("run", "run", steps=40, guidance=6.5, sampler="euler-ancestral", turned=True)
    Watcher(watched.folder, watched.run.data, card=card)(watched.run)
    assert asked == [(40, 6.5, "euler-ancestral", True, 4 * len(PUBLISHED_PROMPTS))]


def test_validation_images_of_another_size_are_refused(watched):
    with pytest.raises(TrainingError, match="validation images have 64 px, training images 32 px; bring them to one"):
        watched.watch(galaxies("v", size=64))


def test_few_validation_rows_lower_what_is_drawn(watched):
    assert watched.watch(galaxies("v", 16)).n == min(8, DRAWN)
    assert watched.watch(galaxies("v", 4 * DRAWN)).n == DRAWN


def test_the_reader_is_kept_and_read_back(tmp_path, training):
    first = fitted_reader(tmp_path, training)
    assert (tmp_path / "reader.safetensors").exists()
    # other votes would give another reader, but this folder has one already
    again = fitted_reader(tmp_path, replace(training, fractions=1 - training.fractions))
    np.testing.assert_array_equal(first.predict(training.images), again.predict(training.images))
    other = fitted_reader(tmp_path.parent, replace(training, fractions=training.fractions[::-1]))
    assert (other.predict(training.images) != first.predict(training.images)).any()


def test_a_run_fits_its_reader_to_the_rows_it_trains_on(watched, training, monkeypatch, quick_reader):
    (watched.folder / "reader.safetensors").unlink()
    fitted = []
    monkeypatch.setattr(
        VoteReader, "fit", lambda reader, images, fractions: fitted.append((images, fractions)) or quick_reader
    )
    watched.watch(galaxies("v"))(watched.run)
    ((images, fractions),) = fitted
    assert images is training.images
    assert fractions is training.fractions
    assert (watched.folder / "reader.safetensors").exists()


def test_the_published_prompts_are_sixteen_and_fit():
    assert len(PUBLISHED_PROMPTS) == len(set(PUBLISHED_PROMPTS)) == 16
    tokenizer = build_tokenizer()
    check_prompts(tokenizer, PUBLISHED_PROMPTS)
    for prompt in PUBLISHED_PROMPTS:
        segments = parse_prompt(prompt)
        weighted = [(segment.text, segment.weight) for segment in segments if segment.weight != 1]
        assert weighted == ([("dust lane", 1.3)] if "dust" in prompt else [])
        # every word is one the tokenizer was built with: no letters are left as pieces
        tokens = tokenizer.tokenize("".join(segment.text for segment in segments))
        assert all(
            len(token.removesuffix("</w>")) > 1 or token in {",</w>", "-</w>", "2</w>", "4</w>"} for token in tokens
        )
