"""Tables in, runs that go on, weights that draw."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from astropy.table import Table
from safetensors.numpy import load_file, save_file

from astro_galaxysd import load_generator, run_promotion, training, write_table
from astro_galaxysd.conditions.prompts import prompts_from_fractions
from astro_galaxysd.conditions.seeds import row_seeds
from astro_galaxysd.conditions.tree import INDEX
from astro_galaxysd.diffusion.components import load_autoencoder, load_components
from astro_galaxysd.diffusion.data import read_training_set
from astro_galaxysd.diffusion.pack import is_pack
from astro_galaxysd.errors import TrainingError, UnknownNameError, WeightsError
from astro_galaxysd.evaluation import domain as domain_records
from astro_galaxysd.evaluation.embedding import GalaxyEmbedder
from astro_galaxysd.evaluation.progress import HIGHER_IS_BETTER
from astro_galaxysd.evaluation.reading import ImageReader, judges_folder
from astro_galaxysd.learning import runs
from astro_galaxysd.learning.trainingids import IDS, trained_on, write_training_ids
from astro_galaxysd.survey.domain import make_domain, read_domain
from astro_galaxysd.weightcards import weight_card

SIZES = {"batch_size": 2, "width": (16, 32), "text_width": 32, "text_layers": 1, "steps": 3, "precision": "fp32"}
CODE = {"batch_size": 2, "steps": 2, "latent_channels": 4, "linear_steps": 10, "width": 8, "depth": 1}


def table(n=12, first="g", **columns):
    rng = np.random.default_rng(0)
    names = {"id": [f"{first}{row}" for row in range(n)]} if first else {}
    return Table({
        **names, "t01_smooth": rng.random(n), "image": rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), **columns,
    })  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_table(table(), tmp_path_factory.mktemp("data") / "train.fits")


@pytest.fixture
def watched(monkeypatch):
    """What would have been drawn and measured: (step, validation rows) of every call."""
    calls = []

    class Recorder:
        def __init__(self, folder, rows, held_back=None, *, card=None):
            self.held_back = held_back

        def __call__(self, run):
            calls.append((run.step, None if self.held_back is None else self.held_back.ids))

    monkeypatch.setattr(training, "Watcher", Recorder)
    return calls


@pytest.fixture
def train(data, tiny_weights, tmp_path, watched):
    """Trains a diffusion model in a folder of its own, or goes on."""

    def run(name="run", rows=None, settings=None, **options):
        settings = {**SIZES, **(settings or {})}
        folder, vae = tmp_path / name, tiny_weights / "vae"
        return training.train_diffusion(rows or [data], folder, vae, settings, progress=False, **options)

    return run


def drawn(weights):
    return load_generator(weights, steps=2).generate(Table({"prompt": ["sdss, smooth"], "seed": [3]})).images


def test_going_on_is_the_same_as_never_stopping(train):
    long, short = {"steps": 6, "cooldown": 0.0}, {"steps": 2, "cooldown": 0.0}
    train("parts", settings=short)
    np.testing.assert_array_equal(drawn(train("whole", settings=long)), drawn(train("parts", settings=long)))


def test_minutes_stop_a_run_and_the_same_call_goes_on(train, monkeypatch, caplog):
    whole = train("whole", settings={"steps": 5})
    advance, now = runs.TrainingRun.advance, time.time()
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):

        def late(run):
            if run.step == 1:
                patch.setattr(runs, "time", SimpleNamespace(time=lambda: now + 3600))
            return advance(run)

        patch.setattr(runs.TrainingRun, "advance", late)
        weights = train("parts", settings={"steps": 5}, minutes=30)
    assert "stopped at step 2 of 5; the same command goes on" in caplog.text
    assert load_components(weights).image_size == 32
    np.testing.assert_array_equal(drawn(train("parts", settings={"steps": 5})), drawn(whole))


@pytest.mark.parametrize("minutes", [0, -1.5])
def test_no_time_at_all(train, minutes):
    with pytest.raises(TrainingError, match=f"minutes = {minutes}: give more than 0, or none to train to the last"):
        train(minutes=minutes)


def test_a_new_run_can_begin_with_trained_weights(train, tiny_weights):
    quiet = {"steps": 1, "learning_rate": 1e-12, "weight_decay": 0.0}
    trained = train(settings=quiet, start_from=tiny_weights)
    before, after = load_components(tiny_weights), load_components(trained)
    for part in ("unet", "text_encoder"):
        for mine, other in zip(getattr(before, part).parameters(), getattr(after, part).parameters(), strict=True):
            torch.testing.assert_close(mine, other, atol=1e-3, rtol=1e-3)
    with pytest.raises(TrainingError, match="can't start from weights of another shape"):
        train("other", settings={**quiet, "width": (16, 48)}, start_from=tiny_weights)


def test_what_a_run_has_comes_before_what_it_could_start_from(train, tiny_weights):
    train(settings={"learning_rate": 0.1})
    again = train(start_from=tiny_weights, settings={"learning_rate": 0.1})
    first, second = load_components(again).unet, load_components(tiny_weights).unet
    assert not torch.equal(next(first.parameters()), next(second.parameters()))


def test_a_run_says_once_what_it_learnt_from(train, monkeypatch):
    numbers = {kind: np.zeros((100, 2)) for kind in ("colour", "grey", "tint")}
    domain = make_domain(numbers, numbers, embedder="e", revision="", image_size=32)
    measured = []

    def measure(images, held_out=None):
        measured.append((len(images), held_out))
        return domain

    monkeypatch.setattr(domain_records, "measure_domain", measure)
    weights = train(settings={"steps": 2})
    assert read_domain(weights).embedder == "e"
    train(settings={"steps": 2})  # the same rows, so the same record
    assert measured == [(12, None)]
    assert read_domain(weights).embedder == "e"


def test_weights_say_which_rows_they_learnt_from(train, data, tiny_weights, tmp_path, watched):
    base = shutil.copytree(tiny_weights, tmp_path / "base")
    write_training_ids(base, ["before"])
    fine = training.finetune([data], tmp_path / "fine", base, BASE, preset="mini", progress=False)
    train("on", settings={"steps": 1}, start_from=base)
    on = train("on", settings={"steps": 2})
    train("anew", settings={"steps": 1}, start_from=base)
    (tmp_path / "anew" / "checkpoint.pt").unlink()
    anew = train("anew", settings={"steps": 1})  # another run in the folder, from nothing
    for weights, before in ((train(settings={"steps": 1}), False), (fine, True), (on, True), (anew, False)):
        assert trained_on(weights, ["g0", "g11", "before", "other"]).tolist() == [True, True, before, False]
        assert len((weights / "training_ids.txt").read_text().split()) == 12 + before


def test_watched_every_so_many_steps_and_after_the_last(train, watched):
    train(settings={"steps": 5}, watch_every=2)
    assert watched == [(2, None), (4, None), (5, None)]


def test_validation_rows(train, watched, tmp_path):
    rows = write_table(table(4, "v", split=["val", "val", "test", "train"]), tmp_path / "val.parquet")
    train(validation=[rows])
    assert watched == [(3, ["v0", "v1"])]


def test_one_table_with_a_column_split(train, watched, tmp_path):
    both = write_table(table(4, split=["train", "train", "val", "test"]), tmp_path / "both.parquet")
    train(rows=[both], validation=[both])
    assert watched == [(3, ["g2"])]


def test_validation_rows_that_are_trained_on(train, data):
    with pytest.raises(TrainingError, match="12 validation rows are trained on too: g0, g1, g10, g11, g2; figures on"):
        train(validation=[data])


def test_tables_without_ids_do_not_overlap(train, watched, tmp_path):
    first = write_table(table(4, ""), tmp_path / "first.parquet")
    second = write_table(table(2, ""), tmp_path / "second.parquet")
    train(rows=[first], validation=[second])
    assert watched == [(3, [f"{tmp_path.name}/second.parquet row {row}" for row in range(2)])]


def test_a_pack_as_data(train, watched, tmp_path):
    rows = write_table(table(4, split=["train", "train", "val", "val"]), tmp_path / "rows.parquet")
    pack = training.write_training_pack([rows], tmp_path / "pack", validation=[rows], codec="png")
    assert is_pack(pack)
    weights = train("pack", rows=[pack], validation=[pack])
    assert watched == [(3, ["g2", "g3"])]
    # votes are rounded to half precision, which no weight of a prompt shows
    np.testing.assert_array_equal(drawn(weights), drawn(train("table", rows=[rows])))


def test_autoencoder_of_images_with_and_without_votes(data, tmp_path):
    bare = table(4, "u")
    bare.remove_column("t01_smooth")
    paths = [data, write_table(bare, tmp_path / "bare.parquet")]
    folder = training.train_autoencoder(paths, tmp_path / "run", CODE, progress=False)
    assert load_autoencoder(folder).config.latent_channels == 4
    again = training.train_autoencoder(paths, tmp_path / "run", {"steps": 3}, progress=False)
    assert again == folder
    with pytest.raises(TrainingError, match="rows than the 12 of 32 px given, or with another autoencoder"):
        training.train_autoencoder([data], tmp_path / "run", progress=False)


@pytest.mark.parametrize("kind", ["reader", "embedder"])
def test_a_judge_and_the_rows_it_saw(data, tmp_path, kind):
    sizes = {"width": (8, 16), "batch_size": 4, "steps": 2, "warmup": 1}
    file = training.train_judge(kind, [data], tmp_path / kind, sizes, progress=False)
    assert file == tmp_path / kind / f"{kind}.safetensors"
    assert trained_on(tmp_path / kind, ["g0", "g11", "other"]).tolist() == [True, True, False]
    images = read_training_set([data], votes=True).images
    answers = ImageReader.load(file).predict(images) if kind == "reader" else GalaxyEmbedder(file).embed(images)
    assert answers.shape == (12, 37 if kind == "reader" else 64)
    assert np.isfinite(answers).all()


def test_an_unknown_kind_of_judge(data, tmp_path):
    with pytest.raises(UnknownNameError, match="unknown kind of judge 'readr': did you mean 'reader'"):
        training.train_judge("readr", [data], tmp_path / "run")


def test_votes_of_the_table_reach_the_prompts(data):
    assert np.isfinite(read_training_set([data], votes=True).fractions[:, INDEX["smooth"]]).all()


BASE = {"batch_size": 2, "steps": 1, "warmup": 0, "image_size": 0, "precision": "fp32", "cache_latents": False,
        "checkpointing": False}  # fmt: skip


def test_finetuned_weights_of_ours_are_sampled_as_ours(data, tiny_weights, tmp_path, watched):
    settings = {**BASE, "zero_snr": True, "prediction": "v_prediction"}
    weights = training.finetune([data], tmp_path / "run", tiny_weights, settings, progress=False)
    assert json.loads((weights / "sampling.json").read_text()) == {}
    assert (weight_card(weights).steps, weight_card(weights).sampler) == (20, "dpm++")


def test_a_base_by_the_name_of_installed_weights(data, tiny_weights, tmp_path, watched, monkeypatch):
    card = weight_card("mini")
    monkeypatch.setattr(training, "weight_card", lambda name: replace(card, location=str(tiny_weights)))
    first = training.finetune([data], tmp_path / "a", "mini", BASE, preset="mini", progress=False)
    second = training.finetune([data], tmp_path / "b", tiny_weights, BASE, preset="mini", progress=False)
    assert load_components(first).revision == load_components(second).revision
    stored = json.loads((tmp_path / "a" / "recipe.json").read_text())
    assert (stored["prediction"], stored["zero_snr"], stored["image_size"]) == ("v_prediction", True, 0)


def test_a_folder_comes_before_installed_weights_of_its_name(data, tiny_weights, tmp_path, watched, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_weights, "mini")
    assert training.finetune([data], "run", "mini", BASE, preset="mini", progress=False).is_dir()


def test_a_base_that_is_nowhere(data, tmp_path):
    with pytest.raises(WeightsError, match=r"no folder 'mnii' to start from; give a diffusers folder"):
        training.finetune([data], tmp_path / "run", "mnii", BASE, preset="mini", progress=False)


def test_a_run_that_is_not_watched(data, tiny_weights, tmp_path, watched):
    training.finetune([data], tmp_path / "run", tiny_weights, BASE, preset="mini", watch_every=None, progress=False)
    assert watched == []


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Rows enough to say what a distance between galaxies is."""
    return write_table(table(32), tmp_path_factory.mktemp("many") / "many.fits")


@pytest.fixture(scope="module")
def teacher(many, tmp_path_factory):
    """File of a reader that has learnt for one step."""
    sizes = {"width": (8, 16), "batch_size": 4, "steps": 1, "warmup": 1}
    return training.train_judge("reader", [many], tmp_path_factory.mktemp("teacher"), sizes, progress=False)


@pytest.fixture(scope="module")
def embedder(many, tmp_path_factory):
    sizes = {"width": (8, 16), "batch_size": 4, "steps": 1, "warmup": 1, "features": 4, "projection": 8}
    return training.train_judge("embedder", [many], tmp_path_factory.mktemp("embedder"), sizes, progress=False)


REFINE = {"batch_size": 2, "steps": 2, "warmup": 0, "precision": "fp32", "drawing_steps": 3, "learning_steps": 2}


def test_refined_weights_are_sampled_as_they_learnt_to_draw(many, teacher, tiny_weights, tmp_path, watched):
    rows = table(4, "v", split=["val"] * 4)
    rows["image"] = np.asarray(rows["image"]).repeat(2, axis=1).repeat(2, axis=2)
    shared = {"validation": [write_table(rows, tmp_path / "val.parquet")], "watch_every": 1, "progress": False}
    short = {**REFINE, "steps": 1, "cooldown": 0.0}
    training.refine([many], tmp_path / "run", tiny_weights, teacher, short, **shared)
    weights = training.refine([many], tmp_path / "run", tiny_weights, teacher, {"steps": 2}, **shared)
    assert watched == [(1, ["v0", "v1", "v2", "v3"]), (2, ["v0", "v1", "v2", "v3"])]
    assert weights == tmp_path / "run" / "weights"
    assert json.loads((weights / "sampling.json").read_text()) == {
        "steps": 3,
        "guidance": 1.0,
        "sampler": "dpm++",
        "turned": True,
    }
    assert drawn(weights).shape == (1, 32, 32, 3)
    assert load_components(weights).revision != load_components(tiny_weights).revision


@pytest.mark.parametrize(
    ("reader", "error", "message"),
    [
        ("absent.safetensors", WeightsError, r"absent.safetensors: no reader can be read .*`galaxysd train reader`"),
        ("reporting", TrainingError, "reports on weights, so it can't teach them; train another one with"),
        ("choosing", TrainingError, "chooses guidance and which rows are kept, so it can't teach them; train another"),
    ],
)
def test_readers_that_can_not_teach(many, tiny_weights, tmp_path, monkeypatch, reader, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        training.refine([many], "run", tiny_weights, reader, REFINE, progress=False)
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_teachers_that_learnt_from_validation_rows(many, teacher, embedder, tiny_weights, tmp_path):
    rows = write_table(table(4, "v", id=["g3", "v1", "v2", "v3"]), tmp_path / "val.parquet")
    training_rows = write_table(table(12, "n"), tmp_path / "train.parquet")
    shutil.copytree(embedder.parent, tmp_path / "embedder")
    shutil.copy(teacher.parent / IDS, tmp_path / "embedder")
    shutil.copytree(teacher.parent, tmp_path / "reader")
    (tmp_path / "reader" / IDS).unlink()
    for judges, told in (
        ((teacher, None), "the reader .*reader.safetensors"),
        ((tmp_path / "reader" / teacher.name, tmp_path / "embedder" / embedder.name), "the embedder .*r.safetensors"),
    ):
        message = f"{told} learnt from 1 validation rows: g3; .* Train one on the rows that are"
        with pytest.raises(TrainingError, match=message):
            training.refine(
                [training_rows], tmp_path / "r", tiny_weights, judges[0], REFINE, embedder=judges[1], validation=[rows]
            )


def test_embedders_that_can_not_teach(many, teacher, tiny_weights, tmp_path):
    ships = judges_folder() / "embedder.safetensors"
    with pytest.raises(WeightsError, match="holds a 'embedder', not a reader"):
        training.refine([many], tmp_path / "run", tiny_weights, ships, REFINE, progress=False)
    with pytest.raises(
        TrainingError, match="the embedder that ships reports on weights, so it can't teach them; train"
    ):
        training.refine([many], tmp_path / "run", tiny_weights, teacher, REFINE, embedder=ships, progress=False)


def test_a_run_goes_on_with_the_embedder_that_it_was_begun_with(many, teacher, embedder, tiny_weights, tmp_path):
    def refined(steps, embedder):
        settings = {**REFINE, "steps": steps, "cooldown": 0.0}
        return training.refine(
            [many], tmp_path / "run", tiny_weights, teacher, settings, embedder=embedder, progress=False
        )

    refined(1, embedder)
    begun = json.loads((tmp_path / "run" / "base.json").read_text())
    assert begun["embedder"] == hashlib.sha256(embedder.read_bytes()).hexdigest()
    with pytest.raises(TrainingError, match=f"begun with {begun['embedder']} as --embedder, this one is none"):
        refined(2, None)
    assert refined(2, embedder).is_dir()


def test_too_few_galaxies_to_compare_with(data, teacher, tiny_weights, tmp_path):
    with pytest.raises(TrainingError, match="12 real images to compare with; give at least 32"):
        training.refine([data], tmp_path / "run", tiny_weights, teacher, REFINE, progress=False)


N = 8  # rows to draw with both weights; as many are compared with


def scramble(weights):
    """Take the decoder's numbers away: all images are the same grey."""
    path = weights / "vae" / "diffusion_pytorch_model.safetensors"
    values = load_file(path)
    save_file({name: 0 * value if "decoder" in name else value for name, value in values.items()}, path)


@pytest.fixture(scope="module")
def finished(data, tiny_weights, tmp_path_factory):
    """A finished run and the path of validation rows that look exactly as its weights draw them."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "Watcher", lambda *_, **__: lambda run: None)
        weights = training.train_diffusion([data], folder, tiny_weights / "vae", SIZES, progress=False)
    (weights / "sampling.json").write_text('{"steps": 2, "guidance": 1.0}')
    rows = table(2 * N, "v", split=["val"] * 2 * N)
    path = write_table(rows, folder.parent / "val.parquet")
    held_back = read_training_set([path], votes=True, splits=("val",))
    asked = Table({"prompt": prompts_from_fractions(held_back.fractions), "seed": row_seeds(0, held_back.ids)})
    rows["image"] = load_generator(weights).generate(asked).images
    return folder, write_table(rows, path, overwrite=True)


@pytest.fixture
def run(finished, tmp_path):
    """Copies of the finished run and of its weights, both to be changed."""
    folder = shutil.copytree(finished[0], tmp_path / "run")
    return folder, shutil.copytree(folder / "weights", tmp_path / "there"), finished[1]


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_better_weights_replace_those_that_are_there(run, data):
    folder, there, rows = run
    scramble(there)
    told = run_promotion.promote_run(folder, [data], [rows], there, n=N, command="galaxysd train diffusion --run r")
    assert told.startswith(f"replaced {there}: better: ")
    after = content(there)
    card, ids = after.pop("README.md").decode(), after.pop("training_ids.txt").decode().split()
    before = content(folder / "weights")
    assert before.pop("training_ids.txt").decode().split() == ids
    assert after == before
    assert len(ids) == 12
    np.testing.assert_array_equal(trained_on(there, ["g0", "g11", "v0", "g12"]), [True, True, False, False])
    recipe = json.loads((folder / "recipe.json").read_text())
    for words in (
        "# astro_galaxysd there",
        "galaxies at 32x32 pixels",
        "(LappedAutoencoder, 4 latent channels)",
        "| train.fits | 12 |",
        "On 16 rows of val.parquet: 8 rows drawn (sampler dpm++, steps 2, guidance 1.0; seed 0), compared with 8",
        "3 steps, 6 images seen, ",
        json.loads((folder / "hardware.json").read_text())["hardware"],
        json.dumps(recipe, indent=2),
        "    galaxysd train diffusion --run r",
        told.removeprefix(f"replaced {there}: "),
    ):
        assert words in card
    for name in HIGHER_IS_BETTER:
        (line,) = [line for line in card.splitlines() if line.startswith(f"| {name} |")]
        _, _, _, new, old, real, _ = (cell.strip() for cell in line.split("|"))
        assert new == real  # the real images are what these weights draw
        assert name != "frechet" or old != new


def test_weights_that_are_not_better_change_nothing(run, data):
    folder, there, rows = run
    scramble(folder / "weights")
    before = content(there)
    told = run_promotion.promote_run(folder, [data], [rows], there, n=N)
    assert told.startswith(f"kept {there}: not better: ")
    assert content(there) == before
    assert sorted(path.name for path in there.parent.iterdir()) == ["run", "there"]


def test_the_first_weights_of_a_folder(run, data):
    folder, there, rows = run
    first = there.parent / "first"
    assert run_promotion.promote_run(folder, [data], [rows], first, n=N) == f"replaced {first}: the first weights."
    assert (first / "sampling.json").exists()  # how to sample them comes along
    (folder / "hardware.json").unlink()
    again = there.parent / "again"
    run_promotion.promote_run(folder, [data], [rows], again, n=N)
    assert "hardware that was not noted" in (again / "README.md").read_text()


def test_the_card_of_a_refined_run(run, data):
    folder, there, rows = run
    recipe = json.loads((folder / "recipe.json").read_text())
    (folder / "recipe.json").write_text(json.dumps(recipe | {"drawing_steps": 6}))
    (folder / "base.json").write_text('{"revision": "0123456789abcdef"}')
    first = there.parent / "first"
    run_promotion.promote_run(folder, [data], [rows], first, n=N)
    card = (first / "README.md").read_text()
    assert "galaxysd train refine --data ... --base FOLDER --reader ..." in card
    assert "Began with weights of revision 0123456789ab." in card


def test_the_card_of_a_run_that_began_with_others(run, data):
    folder, there, rows = run
    begun = {"stage": "finetune", "revision": "0123456789abcdef", "reader": "fedcba9876543210", "embedder": "ab" * 32}
    (folder / "base.json").write_text(json.dumps(begun))
    write_training_ids(there, ["old", "g0"])
    shutil.copyfile(there / "training_ids.txt", folder / "base_ids.txt")
    first = there.parent / "first"
    run_promotion.promote_run(folder, [data], [rows], first, n=N)
    card = (first / "README.md").read_text()
    taught = "taught by a reader of revision fedcba987654 and an embedder of revision abababababab."
    assert f"Began with weights of revision 0123456789ab, {taught}" in card
    assert "    galaxysd train finetune --data ... --base FOLDER --run NEW_RUN" in card
    assert trained_on(first, ["old", "g0", "g11", "v0"]).tolist() == [True, True, True, False]


def test_weights_are_not_compared_without_validation_rows(run, data):
    folder, there, _ = run
    with pytest.raises(TrainingError, match="compared on validation rows: give tables with them .--validation"):
        run_promotion.promote_run(folder, [data], [], there)
    with pytest.raises(TrainingError, match="12 validation rows are trained on too"):
        run_promotion.promote_run(folder, [data], [data], there)


def test_a_name_that_no_weights_have(run, data):
    folder, _, rows = run
    with pytest.raises(UnknownNameError, match="unknown weights 'minni': did you mean 'mini'"):
        run_promotion.promote_run(folder, [data], [rows], "minni", n=N)


@pytest.mark.slow
def test_sheets_and_figures_appear(data, tiny_weights, tmp_path):
    rows = write_table(table(24, "v", split=["val"] * 24), tmp_path / "val.parquet")
    training.train_diffusion(
        [data], tmp_path / "run", tiny_weights / "vae", SIZES, validation=[rows], watch_every=2, progress=False
    )
    names = {path.relative_to(tmp_path / "run").as_posix() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert {"sheets/step-0000002.png", "sheets/step-0000003.png", "metrics.csv", "weights/model_index.json"} <= names
