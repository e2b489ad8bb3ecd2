"""``galaxysd train`` as it is typed."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd import load_generator, run_promotion, training, write_table
from astro_galaxysd.diffusion.pack import is_pack
from astro_galaxysd.diffusion.reconstruct import AutoencoderRun
from astro_galaxysd.learning.recipes import parse_settings

CODE = ["latent_channels=4", "linear_steps=10", "width=8", "depth=1", "batch_size=2"]
SIZES = ["width=[16, 32]", "text_width=32", "text_layers=1", "batch_size=2", "precision=fp32"]


def settings(pairs):
    return [word for pair in pairs for word in ("--set", pair)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    rows = Table({"id": [f"g{row}" for row in range(12)], "t01_smooth": rng.random(12), "image": images})
    return write_table(rows, tmp_path_factory.mktemp("data") / "train.fits")


@pytest.fixture(scope="module")
def validation(tmp_path_factory):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    columns = {"id": [f"v{row}" for row in range(16)], "split": ["val"] * 16, "t01_smooth": rng.random(16)}
    return write_table(Table({**columns, "image": images}), tmp_path_factory.mktemp("val") / "val.parquet")


@pytest.fixture
def code(galaxysd, data, tmp_path):
    """``galaxysd train autoencoder``, small."""

    def run(*more, steps=3):
        command = ["train", "autoencoder", "--data", data, "--run", tmp_path / "a", "--no-progress"]
        return galaxysd(*command, "--steps", steps, *settings(CODE), *more)

    return run


@pytest.fixture
def diffusion(galaxysd, data, tmp_path, tiny_weights, monkeypatch):
    """``galaxysd train diffusion``, small and unwatched."""
    monkeypatch.setattr(training, "Watcher", lambda *_, **__: lambda run: None)

    def run(*more, autoencoder=tiny_weights / "vae"):
        command = ["train", "diffusion", "--data", data, "--run", tmp_path / "d", "--autoencoder", autoencoder]
        return galaxysd(*command, "--no-progress", *more)

    return run


def test_the_two_commands_make_weights_that_draw(code, diffusion, tmp_path):
    done = code()
    assert (done.status, done.out) == (0, f"weights  {tmp_path / 'a' / 'autoencoder'}\n")
    done = diffusion("--steps", 3, *settings(SIZES), autoencoder=tmp_path / "a" / "autoencoder")
    assert (done.status, done.out) == (0, f"weights  {tmp_path / 'd' / 'weights'}\n")
    weights = done.out.split()[-1]
    batch = load_generator(weights, steps=2).generate(Table({"prompt": ["sdss, merger"], "seed": [0]}))
    assert batch.images.shape == (1, 32, 32, 3)
    # the same command with more steps goes on; the recipe is the run's own
    assert diffusion("--steps", 5, autoencoder=tmp_path / "a" / "autoencoder").status == 0
    stored = json.loads((tmp_path / "d" / "recipe.json").read_text())
    assert (stored["steps"], stored["width"]) == (5, [16, 32])
    assert load_generator(weights, steps=2).provenance["weights_revision"] != batch.meta["weights_revision"]


def test_a_run_that_nobody_watches(diffusion, monkeypatch):
    monkeypatch.setattr(training, "Watcher", lambda *_, **__: pytest.fail("it is watched"))
    assert diffusion("--no-watch", "--steps", 1, *settings(SIZES)).status == 0


def test_preset_minutes_and_settings(diffusion, tmp_path):
    preset = tmp_path / "mine.toml"
    preset.write_text(
        'extends = "mini"\n[diffusion]\nsteps = 2\nwidth = [16, 32]\ntext_width = 32\ntext_layers = 1\nbatch_size = 2\n'
    )
    done = diffusion("--preset", preset, "--minutes", 30, *settings(["captions={empty = 0.4}", "precision=fp32"]))
    assert done.status == 0
    stored = json.loads((tmp_path / "d" / "recipe.json").read_text())
    assert (stored["steps"], stored["captions"]["empty"], stored["captions"]["weighted"]) == (2, 0.4, 0.5)


def test_terminated_training_keeps_its_step(code, tmp_path, monkeypatch):
    advance = AutoencoderRun.advance

    def terminated(run):
        if run.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return advance(run)

    monkeypatch.setattr(AutoencoderRun, "advance", terminated)
    done = code()
    assert done.status == 130
    assert f"galaxysd: interrupted; the same command goes on from {tmp_path / 'a'}" in done.err
    steps = []
    monkeypatch.setattr(AutoencoderRun, "advance", lambda run: steps.append(run.step) or advance(run))
    assert code().status == 0
    assert steps == [2]
    assert (tmp_path / "a" / "autoencoder" / "config.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "steps"], "--set steps: write name=value, for example --set learning_rate=1e-4"),
        (["--set", "stesp=3"], "unknown setting 'stesp': did you mean 'steps'"),
        (["--set", "steps=many"], "recipe: steps = 'many' is not int"),
        (["--set", "learning_rate="], "recipe: learning_rate = '' is not float"),
        (["--set", "captions={emtpy = 1}"], "unknown setting of captions 'emtpy': did you mean 'empty'"),
        (["--set", "precision=fp8"], "unknown precision 'fp8': did you mean 'fp"),
        (["--steps", "0"], "recipe: steps = 0; must be above 0"),
        (["--preset", "mnii"], "unknown preset 'mnii': did you mean 'mini'?"),
        (["--preset", "galaxysd-paper"], "preset galaxysd-paper has no table [diffusion]; choose another"),
        (["--threads", "0"], "--threads 0: give at least 1"),
        (["--data", "absent.fits"], "there is no table at 'absent.fits'"),
        (["--validation", "absent.fits"], "there is no table at 'absent.fits'"),
        (["--images", "imaeg"], "unknown image column 'imaeg': did you mean 'image'"),
        (["--autoencoder", "absent"], "absent: no such folder; the autoencoder should be there"),
        (["--minutes", "0", *settings(SIZES)], "minutes = 0.0: give more than 0, or none to train to the last step"),
    ],
)
def test_errors(diffusion, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = diffusion(*arguments)
    assert (done.status, done.out) == (1, "")
    (line,) = [line for line in done.err.splitlines() if line.startswith("galaxysd: error: ")]
    assert message in line
    assert not (tmp_path / "d" / "checkpoint.pt").exists()


def test_validation_rows_that_are_trained_on(diffusion, data):
    done = diffusion("--validation", data)
    assert done.status == 1
    assert "12 validation rows are trained on too: g0, g1" in done.err


@pytest.mark.parametrize(
    ("words", "target"), [([], None), (["--promote"], "mini"), (["--promote", "./best"], "./best")]
)
def test_promote_compares_when_training_is_done(diffusion, data, validation, tmp_path, monkeypatch, words, target):
    compared = []

    def compare(folder, rows, held_back, place, **options):
        assert (tmp_path / "d" / "weights" / "model_index.json").exists()
        compared.append((folder, rows, held_back, place, options))
        return "kept that: not better."

    monkeypatch.setattr(run_promotion, "promote_run", compare)
    done = diffusion("--validation", validation, "--images", "image", *words, "--steps", 1, *settings(SIZES))
    weights = f"weights  {tmp_path / 'd' / 'weights'}\n"
    if target is None:
        assert (done.status, done.out, compared) == (0, weights, [])
        return
    assert (done.status, done.out) == (0, f"{weights}kept that: not better.\n")
    ((folder, rows, held_back, place, options),) = compared
    assert (folder, rows, held_back, place) == (str(tmp_path / "d"), [str(data)], [str(validation)], target)
    assert options == {"column": "image", "schema": None}


def test_promote_writes_the_first_weights_of_a_folder(diffusion, validation, tmp_path, monkeypatch):
    # twenty steps with guidance take seconds
    monkeypatch.setattr("astro_galaxysd.promotion.load_generator", lambda folder, **_: load_generator(folder, steps=2))
    best = tmp_path / "best"
    done = diffusion("--validation", validation, "--promote", best, "--steps", 1, *settings(SIZES))
    assert done.status == 0
    assert done.out.splitlines()[1] == f"replaced {best}: the first weights."
    assert "galaxysd train diffusion --data ... --autoencoder" in (best / "README.md").read_text()


def test_promote_without_validation_rows(diffusion):
    done = diffusion("--promote", "--steps", 1, *settings(SIZES))
    assert done.status == 1
    assert "weights are compared on validation rows: give tables with them (--validation)" in done.err


@pytest.fixture
def refine(galaxysd, tmp_path, tiny_weights, monkeypatch):
    """``galaxysd train refine`` of 32 galaxies, small and unwatched, with a reader that has learnt for one step."""
    monkeypatch.setattr(training, "Watcher", lambda *_, **__: lambda run: None)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (32, 32, 32, 3), dtype=np.uint8)
    rows = Table({"id": [f"g{row}" for row in range(32)], "t01_smooth": rng.random(32), "image": images})
    data = write_table(rows, tmp_path / "many.fits")
    shared = ["--data", data, "--steps", 1, "--no-progress"]
    sizes = settings(["width=[8, 16]", "batch_size=4"])
    assert galaxysd("train", "reader", "--run", tmp_path / "teacher", *shared, *sizes).status == 0

    def run(*more, reader=tmp_path / "teacher" / "reader.safetensors"):
        command = ["train", "refine", "--base", tiny_weights, "--reader", reader, "--run", tmp_path / "r", *shared]
        small = settings(["batch_size=2", "drawing_steps=3", "learning_steps=2", "precision=fp32"])
        return galaxysd(*command, *small, *more)

    return run


def test_a_reader_and_weights_refined_with_it(refine, validation, tmp_path, monkeypatch):
    compared = []
    monkeypatch.setattr(run_promotion, "promote_run", lambda *given, **_: compared.append(given[3]) or "kept that.")
    done = refine("--validation", validation, "--promote", tmp_path / "best")
    assert (done.status, done.out) == (0, f"weights  {tmp_path / 'r' / 'weights'}\nkept that.\n")
    assert compared == [str(tmp_path / "best")]
    told = json.loads((tmp_path / "r" / "weights" / "sampling.json").read_text())
    assert told == {"steps": 3, "guidance": 1.0, "sampler": "dpm++", "turned": True}


def test_errors_of_refine(refine, tmp_path):
    for more, reader, message in (
        ([], tmp_path / "absent", "absent: no reader can be read"),
        (["--preset", "galaxysd-paper"], tmp_path / "absent", "preset galaxysd-paper has no table [refine]"),
        (["--set", "learning_steps=4"], tmp_path / "absent", "drawing_steps = 3, learning_steps = 4; give 2 to 500"),
        (["--embedder", tmp_path / "none"], tmp_path / "teacher/reader.safetensors", "none: no embedder can be read"),
    ):
        done = refine(*more, reader=reader)
        assert done.status == 1
        assert message in done.err


def test_later_settings_win_and_words_need_no_quotes():
    pairs = ["steps=3", "steps = 4", "precision=bf16", 'schedule="one-cycle"', "betas=[0.9, 0.99]", "clip=1e-1"]
    expected = {"steps": 4, "precision": "bf16", "schedule": "one-cycle", "betas": [0.9, 0.99], "clip": 0.1}
    assert parse_settings(pairs) == expected


def test_a_pack_is_written_and_trained_on(galaxysd, diffusion, data, tmp_path):
    done = galaxysd("train", "pack", "--data", data, "-o", tmp_path / "pack")
    assert done.status == 0
    assert done.out.startswith(f"pack     {tmp_path / 'pack'}  0.")
    assert done.out.endswith(" MB\n")
    assert is_pack(tmp_path / "pack")
    again = galaxysd("train", "pack", "--data", data, "-o", tmp_path / "pack")
    assert (again.status, "exists" in again.err) == (1, True)
    assert galaxysd("train", "pack", "--data", data, "-o", tmp_path / "pack", "--overwrite").status == 0
    assert diffusion("--data", tmp_path / "pack", "--steps", 1, *settings(SIZES)).status == 0
