"""Weights are replaced by better ones only, in one step, with a card that says what they are."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from astro_galaxysd.conditions.tree import ANSWERS, INDEX
from astro_galaxysd.errors import ConditionError, OutputError, TrainingError, WeightsError
from astro_galaxysd.evaluation.progress import HIGHER_IS_BETTER, Figure
from astro_galaxysd.evaluation.reader import VoteReader
from astro_galaxysd.learning.trainingids import trained_on, write_training_ids
from astro_galaxysd.modelcard import CardFacts, model_card
from astro_galaxysd.promotion import GUARDED, IMPROVING, Measured, is_better, measure_weights, promote
from astro_galaxysd.survey.domain import make_domain, read_domain
from astro_galaxysd.testing import example_batch

CEILING = {name: Figure(1.0 if higher else 0.0, 0.1) for name, higher in HIGHER_IS_BETTER.items()}
MIDDLING = {name: Figure(0.5, 0.1) for name in HIGHER_IS_BETTER}


def measured(revision="", **changed):
    """Middling figures, but for those given, and their errors of 0.1."""
    figures = MIDDLING | {name: Figure(value, 0.1) for name, value in changed.items()}
    return Measured(revision, figures, CEILING, 24, 100, 0, "conditions", {"steps": 4, "guidance": 2.0})


def improved(name, by):
    return 0.5 + by * (1 if HIGHER_IS_BETTER[name] else -1)


@pytest.mark.parametrize("name", IMPROVING)
def test_one_metric_that_improves_beyond_the_error_is_enough(name):
    better, reason = is_better(measured(**{name: improved(name, 0.2)}), measured())
    assert better
    assert reason.startswith(f"better: {name} (0.5 ± 0.1 -> ")
    better, reason = is_better(measured(**{name: improved(name, 0.13)}), measured())  # the errors make 0.141
    assert not better
    assert "improves by more than its error." in reason


@pytest.mark.parametrize("name", GUARDED)
def test_none_may_worsen_beyond_the_error(name):
    gain = next(other for other in IMPROVING if other != name)
    new = measured(**{gain: improved(gain, 0.4), name: improved(name, -0.2)})
    better, reason = is_better(new, measured())
    assert not better
    assert reason.startswith(f"not better: {name} (0.5 ± 0.1 -> ")
    assert reason.endswith("improves.")
    assert is_better(measured(**{gain: improved(gain, 0.4), name: improved(name, -0.1)}), measured())[0]


@pytest.mark.parametrize("name", ["sky", "power"])
def test_what_is_only_shown_decides_nothing(name):
    assert is_better(measured(frechet=0.1, **{name: 5.0}), measured())[0]
    assert not is_better(measured(**{name: 0.0}), measured())[0]


def test_nothing_is_gained_beyond_the_ceiling():
    assert not is_better(measured(realism=1.9), measured(realism=1.0))[0]
    assert is_better(measured(realism=1.9), measured(realism=0.5))[0]
    assert is_better(measured(realism=1.0, frechet=0.1), measured(realism=1.9))[0]


def test_a_figure_that_can_not_be_measured_any_more_has_worsened():
    assert not is_better(measured(frechet=0.1, consistency=float("nan")), measured())[0]
    assert is_better(measured(frechet=0.1, consistency=float("nan")), measured(consistency=float("nan")))[0]


def test_equal_weights_without_errors_are_not_better():
    sure = replace(measured(), figures={name: Figure(0.5, 0.0) for name in HIGHER_IS_BETTER})
    assert not is_better(sure, sure)[0]
    assert is_better(replace(sure, figures=sure.figures | {"frechet": Figure(0.4, 0.0)}), sure)[0]


def test_figures_of_other_rows_are_not_compared():
    with pytest.raises(TrainingError, match="different rows or seeds .n = 24 and 24, seed 1 and 0.*measure both"):
        is_better(replace(measured(), seed=1), measured())


class Validation:
    """Forty round galaxies with votes, half of them odd."""

    images = example_batch(40, size=32).images
    fractions = np.full((40, len(ANSWERS)), np.nan)
    fractions[:, [INDEX[key] for key in ("smooth", "features", "artifact")]] = 0.9, 0.05, 0.05
    fractions[:, INDEX["odd"]] = np.tile([0.9, 0.1], 20)
    fractions[:, INDEX["not_odd"]] = 1 - fractions[:, INDEX["odd"]]
    ids = tuple(f"galaxy-{row}" for row in range(40))


@pytest.fixture(scope="module")
def reader():
    return VoteReader(hidden=8, epochs=2).fit(Validation.images, Validation.fractions)


@pytest.fixture(scope="module")
def scored(tiny_weights, reader):
    return measure_weights(tiny_weights, Validation, reader, n=16, steps=2, guidance=1.0)


def test_weights_are_measured(scored, tiny_weights, reader):
    assert set(scored.figures) == set(scored.ceiling) == set(HIGHER_IS_BETTER)
    assert scored.sampling == {"sampler": "dpm++", "steps": 2, "guidance": 1.0}
    assert (scored.n, scored.rows) == (16, 16)
    assert scored.figures["frechet"].value > 2 * scored.ceiling["frechet"].value  # random weights draw no galaxies
    again = measure_weights(tiny_weights, Validation, reader, n=16, steps=2, guidance=1.0)
    assert again == scored
    other = measure_weights(tiny_weights, Validation, reader, n=16, steps=2, guidance=1.0, rng=1)
    assert other.conditions != scored.conditions


def test_weights_that_can_not_be_measured(tmp_path, tiny_weights, reader):
    with pytest.raises(WeightsError, match="none is no weights folder: it has no model_index.json"):
        measure_weights(tmp_path / "none", Validation, reader, n=16)
    damaged = shutil.copytree(tiny_weights, tmp_path / "damaged")
    shutil.rmtree(damaged / "unet")
    with pytest.raises(WeightsError, match="unet is missing"):
        measure_weights(damaged, Validation, reader, n=16)
    with pytest.raises(ConditionError, match="n = 30 rows to draw for, of 40"):
        measure_weights(tiny_weights, Validation, reader, n=30)

    class Larger(Validation):
        images = example_batch(40, size=64).images

    with pytest.raises(WeightsError, match="draws 32 px, the validation images have 64 px"):
        measure_weights(tiny_weights, Larger, reader, n=16, steps=2)


@pytest.fixture
def card():
    return CardFacts(
        name="mini",
        summary="A small model.",
        data={"train split": 3},
        validation="the validation split",
        recipe={"batch_size": 24, "learning_rate": 7e-4},
        steps=3600,
        images=86400,
        seconds=7200,
        hardware="one core",
        command="galaxysd train diffusion --run runs/diffusion",
        training_ids=["587722", "a", "b"],
    )


@pytest.fixture
def folders(tmp_path, tiny_weights):
    """New weights and the old ones they should replace, with their revisions."""
    from astro_galaxysd.diffusion.components import folder_revision

    new, old = (shutil.copytree(tiny_weights, tmp_path / name) for name in ("new", "old"))
    (old / "scheduler" / "scheduler_config.json").write_text('{"num_train_timesteps": 7}')
    (old / "README.md").write_text("old")
    return new, old, folder_revision(new), folder_revision(old)


def content(folder: Path):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_better_weights_replace(folders, card):
    new, old, now, then = folders
    replaced, reason = promote(
        new, old, measured_new=measured(now, frechet=0.1), measured_old=measured(then), card=card
    )
    assert replaced
    after = content(old)
    text, ids = after.pop(Path("README.md")).decode(), after.pop(Path("training_ids.txt")).decode().split()
    assert after == content(new)
    assert reason in text
    assert len(ids) == 3
    assert ids == sorted(ids)
    assert "587722" not in ids
    assert sorted(path.name for path in old.parent.iterdir()) == ["new", "old"]


def test_worse_weights_change_nothing_unless_forced(folders, card):
    new, old, now, then = folders
    before = content(old)
    figures = {"measured_new": measured(now, diversity=0.1, frechet=0.1), "measured_old": measured(then)}
    replaced, reason = promote(new, old, **figures, card=card)
    assert (replaced, reason.startswith("not better: diversity")) == (False, True)
    assert content(old) == before
    replaced, reason = promote(new, old, **figures, card=card, force=True)
    assert replaced
    assert reason.startswith("replaced by force; not better: diversity")
    assert reason in (old / "README.md").read_text()


def test_the_first_weights_need_nothing_to_compare_with(folders, card):
    new, old, now, _ = folders
    first = old.parent / "first"
    assert promote(new, first, measured_new=measured(now), measured_old=None, card=card) == (True, "the first weights.")
    assert "| frechet | lower | 0.5 ± 0.1 | - | 0 ± 0.1 |" in (first / "README.md").read_text()


def test_what_fails_leaves_the_old_weights(folders, card, monkeypatch):
    new, old, now, then = folders
    before = content(old)
    good = {"measured_new": measured(now, frechet=0.1), "measured_old": measured(then)}
    with pytest.raises(WeightsError, match="missing is no weights folder"):
        promote(old.parent / "missing", old, **good, card=card)
    with pytest.raises(WeightsError, match="old holds weights that were not measured; give measured_old="):
        promote(new, old, measured_new=good["measured_new"], measured_old=None, card=card)
    with pytest.raises(WeightsError, match="new has changed since it was measured .content .*measure it again"):
        promote(new, old, measured_new=measured("0" * 40, frechet=0.1), measured_old=good["measured_old"], card=card)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("astro_galaxysd.promotion.model_card", full)
    with pytest.raises(OutputError, match="No space left on device"):
        promote(new, old, **good, card=card)
    assert content(old) == before
    assert sorted(path.name for path in old.parent.iterdir()) == ["new", "old"]


def test_a_folder_of_other_files_is_never_replaced(folders, card):
    new, old, now, _ = folders
    photos = old.parent / "photos"
    photos.mkdir()
    (photos / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(WeightsError, match="photos is no weights folder"):
        promote(new, photos, measured_new=measured(now), measured_old=measured(), card=card, force=True)
    assert content(photos) == {Path("cat.jpg"): b"cat"}


def test_the_record_of_the_training_cutouts_comes_along(folders, card):
    new, old, now, then = folders
    numbers = {kind: np.zeros((200, 2)) for kind in ("colour", "grey", "tint")}
    domain = make_domain(numbers, numbers, embedder="e", revision="", image_size=32, survey="sdss")
    promote(new, old, measured_new=measured(now, frechet=0.1), measured_old=measured(then), card=card, domain=domain)
    assert read_domain(old).survey == "sdss"
    assert read_domain(new) is None


def test_training_rows_are_known_by_their_ids(folders, card):
    new, old, now, then = folders
    promote(new, old, measured_new=measured(now, frechet=0.1), measured_old=measured(then), card=card)
    np.testing.assert_array_equal(trained_on(old, ["a", "c", 587722, "587722"]), [True, False, True, True])
    assert trained_on(old, []).shape == (0,)
    with pytest.raises(WeightsError, match="training_ids.txt can't be read.*don't say which rows"):
        trained_on(new, ["a"])


def test_rows_of_the_base_are_known_too(folders, card):
    new, old, now, then = folders
    base = new.parent / "base"
    base.mkdir()
    write_training_ids(base, ["before", "a"])
    hashes = (base / "training_ids.txt").read_text().split()
    card = replace(card, base="0123456789abcdef", base_ids=hashes)
    promote(new, old, measured_new=measured(now, frechet=0.1), measured_old=measured(then), card=card)
    assert trained_on(old, ["before", "a", "b", "587722", "c"]).tolist() == [True, True, True, True, False]
    assert len((old / "training_ids.txt").read_text().split()) == 4
    assert "ids of all 3 training rows, and of the 2 of the weights it began with; `" in (old / "README.md").read_text()
    write_training_ids(old, ["c"])
    assert trained_on(old, ["before", "c"]).tolist() == [True, True]


def test_the_card_says_with_what_training_began(card):
    text = model_card(replace(card, base="0123456789abcdef", reader="fedcba9876543210"), measured(), None, "first.")
    assert "Began with weights of revision 0123456789ab, taught by a reader of revision fedcba987654. 3,600" in text
    assert "3 training rows (what it began with was trained on is not known); `" in text
    text = model_card(replace(card, base_ids=["0" * 16]), measured(), None, "first.")  # as of a diffusion run
    assert "3 training rows, and of the 1 of the weights it began with; `" in text
    assert "Began" not in text


def test_the_card_says_what_was_done(card):
    import yaml

    domain = SimpleNamespace(
        features={"colour": [0] * 1400}, held_out={"colour": [0] * 900}, bands=("i", "r"), seeing=3.5
    )
    text = model_card(card, measured(frechet=0.1), measured(), "better.", domain)
    assert "features of 1,400 training cutouts, how far 900 held-out ones are from them, with the bands (i, r" in text
    front = yaml.safe_load(text.split("---")[1])
    assert front["license"] == "bsd-3-clause"
    assert (front["library_name"], front["pipeline_tag"]) == ("diffusers", "text-to-image")
    for words in (
        "# astro_galaxysd mini",
        "| train split | 3 |",
        "3,600 steps, 86,400 images seen, 2.0 hours on one core",
        '"learning_rate": 0.0007',
        "    galaxysd train diffusion --run runs/diffusion",
        "| frechet | lower | 0.1 ± 0.1 | 0.5 ± 0.1 | 0 ± 0.1 |",
        "24 rows drawn (steps 4, guidance 2.0; seed 0), compared with 100 others",
        "ids of all 3 training rows",
        "- SDSS images alone.",
        "Ma et al. 2026",
    ):
        assert words in text
    assert "{" not in text.replace("{\n", "").replace('{"', "")  # every blank was filled
    assert "20 minutes" in model_card(replace(card, seconds=1200), measured(), None, "first.")
