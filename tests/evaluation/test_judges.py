from __future__ import annotations

import numpy as np
import pytest
import torch

from astro_galaxysd.conditions.tree import INDEX, QUESTIONS
from astro_galaxysd.errors import ConditionError, TrainingError
from astro_galaxysd.evaluation.embedding import GalaxyEmbedder
from astro_galaxysd.evaluation.judges import EmbedderRecipe, EmbedderRun, ReaderRecipe, ReaderRun
from astro_galaxysd.evaluation.reading import ImageReader, fractions_of
from astro_galaxysd.learning.recipes import make_recipe
from astro_galaxysd.learning.trainingset import TrainingSet

SMALL = {"width": (8, 16), "batch_size": 16, "steps": 60, "learning_rate": 1e-2, "warmup": 5, "ema": 0.5}


def bars(n, seed):
    """Images of 32 px with a bright bar that lies or stands; votes say smooth for those that are bright."""
    rng = np.random.default_rng(seed)
    images = rng.integers(10, 20, (n, 32, 32, 3), dtype=np.uint8)
    bright = rng.random(n) < 0.5
    images[bright, 10:22, 10:22] += 150
    images[~bright, 14:18, 14:18] += 150
    fractions = np.full((n, 37), np.nan)
    fractions[:, INDEX["smooth"]] = np.where(bright, 0.9, 0.1)
    fractions[:, INDEX["features"]] = np.where(bright, 0.1, 0.9)
    fractions[:, INDEX["artifact"]] = 0.0
    return TrainingSet(images, fractions, [f"{seed}-{row}" for row in range(n)])


@pytest.fixture
def recipe(tmp_path):
    return lambda kind, **changes: make_recipe(kind, tmp_path / "none", {**SMALL, **changes}, "mini")


def test_a_reader_learns_what_it_is_told(tmp_path, recipe):
    run = ReaderRun(tmp_path / "run", bars(64, 0), recipe(ReaderRecipe))
    assert run.run(progress=False)
    run.export(tmp_path / "reader.safetensors")
    reader = ImageReader.load(tmp_path / "reader.safetensors")
    other = bars(32, 1)
    read = reader.predict(other.images)
    assert read.shape == (32, 37)
    for question in QUESTIONS:
        columns = [INDEX[answer.key] for answer in question.answers]
        np.testing.assert_allclose(read[:, columns].sum(axis=1), 1, atol=1e-5)
    error = np.abs(read[:, INDEX["smooth"]] - other.fractions[:, INDEX["smooth"]])
    assert error.mean() < 0.1


@pytest.mark.parametrize("architecture", ["residual", "plain"])
def test_a_reader_that_went_on_is_the_reader_that_never_stopped(tmp_path, recipe, architecture):
    choice = {"architecture": architecture, "steps": 4, "batch_size": 4}
    whole = ReaderRun(tmp_path / "whole", bars(20, 0), recipe(ReaderRecipe, **choice))
    whole.run(progress=False)
    for _ in range(2):
        parts = ReaderRun(tmp_path / "parts", bars(20, 0), recipe(ReaderRecipe, **choice))
        parts.resume()
        parts.advance()
        parts.save()
    parts = ReaderRun(tmp_path / "parts", bars(20, 0), recipe(ReaderRecipe, **choice))
    assert parts.resume()
    assert parts.step == 2
    parts.run(progress=False)
    for mine, other in zip(parts.average, whole.average, strict=True):
        assert torch.equal(mine, other)


def test_rows_without_votes_are_not_read_from(tmp_path, recipe):
    data = bars(20, 0)
    data.fractions[:15] = np.nan
    run = ReaderRun(tmp_path / "run", data, recipe(ReaderRecipe))
    assert set(np.concatenate([run.rows(step) for step in range(30)]).tolist()) == set(range(15, 20))


def test_a_reader_needs_votes(tmp_path, recipe):
    data = bars(4, 0)
    data.fractions[:] = np.nan
    with pytest.raises(ConditionError, match="no row has a vote"):
        ReaderRun(tmp_path / "run", data, recipe(ReaderRecipe))


def test_the_loss_is_zero_where_the_reader_says_what_volunteers_said(tmp_path, recipe):
    run = ReaderRun(tmp_path / "run", bars(8, 0), recipe(ReaderRecipe, batch_size=4))

    class Knows(torch.nn.Module):
        def forward(self, pixels):
            votes = torch.from_numpy(np.nan_to_num(run.data.fractions[run.rows(0)], nan=1.0)).float()
            return votes.clamp(min=1e-30).log()

    first = run.loss(0, slice(None)).item()
    run.network = Knows()
    assert first > 0.1
    assert run.loss(0, slice(None)).item() == pytest.approx(0, abs=1e-5)


def test_fractions_and_their_logarithm():
    answers = torch.randn(5, 37)
    torch.testing.assert_close(fractions_of(answers).log(), fractions_of(answers, logarithm=True))
    assert torch.allclose(fractions_of(answers).sum(dim=1), torch.tensor(float(len(QUESTIONS))))


def test_an_embedder_finds_the_galaxy_again_however_it_is_turned(tmp_path, recipe):
    small = {"features": 8, "projection": 16, "steps": 60}
    data = bars(64, 0)
    data.images[:, :, :, 0] += np.random.default_rng(5).integers(0, 80, (64, 1, 1), dtype=np.uint8)  # each its own
    run = EmbedderRun(tmp_path / "run", data, recipe(EmbedderRecipe, **small))
    before = run.loss(0, slice(None)).item()
    assert run.run(progress=False)
    assert run.loss(0, slice(None)).item() < before - 0.3
    run.export(tmp_path / "embedder.safetensors")
    embedder = GalaxyEmbedder(tmp_path / "embedder.safetensors")
    points = embedder.embed(data.images)
    turned = embedder.embed(np.ascontiguousarray(data.images.transpose(0, 2, 1, 3)))
    assert points.shape == (64, 8)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=0.05)  # half precision
    assert 0.5 < points.std(axis=0).max() < 1.1
    for turn in range(1, 4):
        np.testing.assert_allclose(embedder.embed(np.rot90(data.images, turn, (1, 2))), points, atol=1e-4)
    assert np.abs(points - turned).mean() < 0.2 * np.abs(points - points.mean(axis=0)).mean()


def test_an_embedder_needs_a_batch_of_different_galaxies(tmp_path, recipe):
    with pytest.raises(TrainingError, match="batch_size = 16 with 8 images"):
        EmbedderRun(tmp_path / "run", bars(8, 0), recipe(EmbedderRecipe))


def test_an_embedder_is_not_computed_in_pieces(recipe):
    with pytest.raises(TrainingError, match="accumulate = 2; an embedder compares all galaxies"):
        recipe(EmbedderRecipe, accumulate=2)


@pytest.mark.parametrize("wrong", [{"features": 0}, {"projection": 0}, {"temperature": 0}])
def test_sizes_of_an_embedder(recipe, wrong):
    with pytest.raises(TrainingError, match="must be above 0|is not|at least 0"):
        recipe(EmbedderRecipe, **wrong)


@pytest.mark.parametrize("width", [(), (12,), (8, 0)])
def test_widths(recipe, width):
    with pytest.raises(TrainingError, match="give one or more multiples of 8"):
        recipe(ReaderRecipe, width=width)
