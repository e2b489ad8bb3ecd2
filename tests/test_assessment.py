"""evaluate: rows, ceilings, warnings and refusals, with stub evaluators, reader and embedder."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd import hookimpl
from astro_galaxysd.assessment import EVALUATION, SeenRowsWarning, assess, evaluate
from astro_galaxysd.conditions.composition import set_answers
from astro_galaxysd.conditions.table import VOTES
from astro_galaxysd.conditions.tree import ANSWERS
from astro_galaxysd.errors import (
    ConditionError,
    ImageError,
    NoRealRowsError,
    OutputError,
    OutputExistsError,
    UnknownNameError,
)
from astro_galaxysd.evaluation.scores import Score, score_table
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.records import EvaluatorSpec

KINDS = ("round", "cigar", "edge_on", "merger")
FRACTIONS = np.concatenate([set_answers(np.full((1, len(ANSWERS)), np.nan), {kind: 1.15}) for kind in KINDS])


class Kept:
    """Keeps what it was asked about."""

    calls: list[dict] = []  # noqa: RUF012
    reader = None

    def evaluate(self, real, synthetic, *, reference=None, embedder=None, rng=None):
        self.calls.append({"real": real, "synthetic": synthetic, "reference": reference, "embedder": embedder,
                           "rng": rng, "reader": self.reader})  # fmt: skip
        value = float(np.mean(synthetic.images))
        return score_table([Score("mean", "all", value, 0.5, len(real), len(synthetic), True)])


class Reader:
    revision = "reader-7"

    def predict(self, images):
        return np.nan_to_num(FRACTIONS[images[:, 0, 0, 0] % len(KINDS)])


class Features:
    revision = "features-3"

    def embed(self, images):
        return images.reshape(len(images), -1).astype(np.float32)


@pytest.fixture
def kept(monkeypatch):
    module = ModuleType("kept_evaluator")
    module.Kept = Kept
    module.galaxysd_register_evaluators = hookimpl(
        lambda: [EvaluatorSpec("kept", "kept_evaluator:Kept")], specname="galaxysd_register_evaluators"
    )
    monkeypatch.setitem(sys.modules, "kept_evaluator", module)
    assert get_registry().register(module, name="kept", distribution="kept-dist", version="1")
    monkeypatch.setattr(Kept, "calls", [])
    return Kept


def table(kinds, *, ids="r", seed=0, size=8, **columns):
    kinds = np.asarray(kinds)
    images = np.random.default_rng(seed).integers(0, 256, (len(kinds), size, size, 3), dtype=np.uint8)
    images[:, 0, 0, 0] = kinds
    made = Table({VOTES: FRACTIONS[kinds], "image": images, **columns})
    if ids:
        made["id"] = [f"{ids}{row}" for row in range(len(kinds))]
    return made


REAL = np.arange(120) % 4
OPTIONS = {"evaluators": ["kept"], "embedder": Features(), "reader": Reader(), "rng": 1, "progress": False}
OPTIONS |= {"groups": "answer"}


def judge(real, synthetic, **options):
    return assess(real, synthetic, **(OPTIONS | options))


def test_three_sets_with_one_mixture(kept):
    found = judge(table(REAL), table([0] * 10 + [1] * 20 + [3] * 5, ids="s", seed=1))
    assert len(found.synthetic) == len(found.real) == len(found.held) == 10 + 15 + 5
    groups = found.synthetic.conditions["group"].tolist()
    for batch in (found.real, found.held, found.synthetic):
        assert batch.conditions["group"].tolist() == groups
        kinds = [f"kind: {KINDS[kind]}" for kind in batch.images[:, 0, 0, 0]]
        assert kinds == groups
    assert not set(found.real.ids) & set(found.held.ids)
    assert set(found.groups) == {"kind: round", "kind: cigar"}
    rows = found.table[found.table["group"] == "kind: merger"]
    assert np.isnan(rows["value"][0])
    assert rows["note"][0] == "asked for by 5 synthetic rows; 8 are needed"
    assert found.record["groups"]["kind: merger"] == {"synthetic": 5, "real": 30, "used": 5}
    assert found.record["excluded"]["synthetic"] == {"not matched": 5}


def test_the_ceiling_is_real_images_in_the_synthetic_ones_place(kept):
    found = judge(table(REAL), table(REAL[:40], ids="s", seed=1))
    row = found.table[0]
    assert row["value"] == pytest.approx(found.synthetic.images.mean())
    assert row["ceiling"] == pytest.approx(found.held.images.mean())
    first, second = kept.calls[:2]
    assert first["synthetic"].ids.tolist() == found.synthetic.ids.tolist()
    assert second["synthetic"].ids.tolist() == found.held.ids.tolist()
    assert first["real"] is second["real"] is found.real
    assert first["embedder"] is found.memory
    assert first["rng"] == second["rng"]
    assert first["reader"] is found.reader


def test_rows_drawn_for_real_ones_are_compared_with_their_own_galaxies(kept):
    real = table(REAL)
    synthetic = real[10:40].copy()
    found = judge(real, synthetic)
    assert found.record["paired"]
    assert found.held.ids.tolist() == found.synthetic.ids.tolist()
    assert not set(found.real.ids) & set(found.held.ids)
    assert len(found.held) == 30


def test_ids_that_are_row_numbers_pair_nothing(kept):
    found = judge(table(REAL, ids=None), table(REAL[:40], ids=None, seed=1))
    assert not found.record["paired"]


def test_an_augmented_table_gives_both_sides(kept):
    both = table(np.concatenate([REAL, REAL[:40]]), synthetic=np.arange(160) >= 120)
    found = judge(both, both)
    assert set(found.synthetic.ids) <= {f"r{row}" for row in range(120, 160)}
    assert set(found.real.ids) | set(found.held.ids) <= {f"r{row}" for row in range(120)}
    assert found.record["excluded"]["synthetic"]["not synthetic"] == 120


def test_the_same_rng_gives_the_same_rows(kept):
    sides = table(REAL), table(REAL[:40], ids="s", seed=1)
    first, second, third = (judge(*sides, n=20, rng=rng) for rng in (5, 5, 6))
    assert len(first.real) == 20
    assert first.real.ids.tolist() == second.real.ids.tolist()
    assert first.table["value"][0] == second.table["value"][0]
    assert first.real.ids.tolist() != third.real.ids.tolist()


def test_prompts_are_groups_where_they_are_few(kept):
    prompts = ["sdss, completely round galaxy"] * 10 + ["sdss, {merger:1.2}"] * 10 + ["sdss, ring galaxy"] * 8
    synthetic = table([0] * 28, ids="s", seed=1, prompt=prompts)
    synthetic.remove_column(VOTES)
    found = judge(table(REAL), synthetic, groups="auto")
    assert set(found.groups) == {"prompt: completely round galaxy", "prompt: merger"}
    row = found.table[found.table["group"] == "prompt: ring galaxy"][0]
    assert row["note"] == "answered by 0 real rows; 16 are needed, for two sets"
    assert np.isnan(row["value"])


def test_without_any_conditions_all_is_one_group(kept):
    real, synthetic = table(REAL), table(REAL[:40], ids="s", seed=1)
    real.remove_column(VOTES)
    synthetic.remove_column(VOTES)
    found = judge(real, synthetic, evaluators=["kept", "consistency"], groups="auto")
    assert found.groups == {}
    assert found.reader is None
    assert len(found.synthetic) == 40
    notes = found.table["note"][found.table["evaluator"] == "consistency"]
    assert all("nothing is known" in note for note in notes)


def test_consistency_reads_with_the_reader_that_was_given(kept):
    found = judge(table(REAL), table(REAL[:40], ids="s", seed=1), evaluators=["consistency"])
    by = {(row["metric"], row["group"]): row for row in found.table}
    assert by["consistency", "all"]["value"] == by["consistency", "all"]["ceiling"] == 1
    assert by["consistency", "merger"]["n_synthetic"] == 10
    assert by["consistency", "kind: merger"]["value"] == 1
    assert found.record["reader"] == "reader-7"


def test_training_rows_are_the_reference(kept):
    training = table(REAL[:30], ids="t", seed=2)
    found = judge(table(REAL), table(REAL[:40], ids="s", seed=1), training=training)
    assert kept.calls[0]["reference"] is found.training
    assert len(found.training) == found.record["training"] == 30


def test_training_rows_among_the_real_ones_are_refused(kept):
    with pytest.raises(ConditionError, match="30 rows of training= are among the real rows"):
        judge(table(REAL), table(REAL[:40], ids="s"), training=table(REAL[:30]))


def test_reconstructions_have_columns_of_their_own(kept):
    real = table(REAL)
    rebuilt = real.copy()
    rebuilt["image"] = np.maximum(real["image"], 9)
    found = judge(real, table(REAL[:40], ids="s", seed=1), reconstructions=rebuilt)
    np.testing.assert_array_equal(found.reconstructions.images, np.maximum(found.held.images, 9))
    assert found.table["reconstruction"][0] == pytest.approx(found.reconstructions.images.mean())
    assert found.record["reconstructions"] == 40


def test_reconstructions_by_weights(kept, tiny_weights):
    real, synthetic = table(REAL, size=32), table(REAL[:40], ids="s", seed=1, size=32)
    found = judge(real, synthetic, reconstructions=str(tiny_weights), n=16)
    assert found.reconstructions.images.shape == (16, 32, 32, 3)
    assert np.isfinite(found.table["reconstruction"][0])


@pytest.mark.parametrize(("ids", "why"), [("x", "shows 0 of the 40"), (None, "because the real rows have no ids")])
def test_reconstructions_of_other_rows_are_refused(kept, ids, why):
    real = table(REAL, ids="r" if ids else None)
    with pytest.raises(ConditionError, match=why):
        judge(real, table(REAL[:40], ids="s"), reconstructions=table(REAL, ids="x"))


def test_the_record_says_what_was_done(kept):
    synthetic = table(REAL[:40], ids="s", seed=1, weights=["mine"] * 40, weights_revision=["abc"] * 40)
    scores = evaluate(table(REAL), synthetic, **OPTIONS)
    record = scores.meta[EVALUATION]
    json.dumps(record)
    assert record["n"] == 40
    assert record["seed"] == 1
    assert record["embedder"] == "features-3"
    assert record["weights"] == [{"name": "mine", "revision": "abc"}]
    assert record["seen"]["weights 'mine'"] is None
    assert record["conditions"] == {"synthetic": VOTES, "real": VOTES}
    assert "numpy" in record["versions"]
    assert record["evaluators"] == ["kept"]


def test_real_rows_that_the_weights_were_trained_on_are_warned_of(kept, tmp_path):
    from astro_galaxysd.promotion import _hash

    (tmp_path / "training_ids.txt").write_text("\n".join(_hash(f"r{row}") for row in range(60)))
    (tmp_path / "model_index.json").write_text("{}")
    synthetic = table(REAL[:40], ids="s", seed=1, weights=[str(tmp_path)] * 40)
    with pytest.warns(SeenRowsWarning, match=r"of 80 real rows that are compared with were among those weights"):
        found = judge(table(REAL), synthetic)
    chosen = [*found.real.ids, *found.held.ids]
    assert found.record["seen"][f"weights '{tmp_path}'"] == sum(int(name[1:]) < 60 for name in chosen)


def test_artifacts_take_no_part(kept):
    real = table(REAL)
    real[VOTES][:8, 2] = 0.9
    found = judge(real, table(REAL[:40], ids="s", seed=1))
    assert found.record["excluded"]["real"]["star or artifact"] == 8
    assert not {f"r{row}" for row in range(8)} & {*found.real.ids, *found.held.ids}


@pytest.mark.parametrize(
    ("real", "synthetic", "options", "error", "says"),
    [
        (table(REAL), table(REAL[:10]), {}, ImageError, "10 synthetic images; an evaluation needs at least 16"),
        (table(REAL[:31]), table(REAL), {}, ImageError, "31 real images; an evaluation needs at least 32"),
        (table(REAL), table(REAL, ids="s", size=16), {}, ImageError, "synthetic images are 16x16 pixels.*fit_size"),
        (table(REAL), table(REAL, ids="s"), {"n": 5}, ConditionError, "n = 5 rows"),
        (table([0] * 40), table([3] * 40, ids="s"), {}, NoRealRowsError, "'kind: merger': 0 real rows for 40"),
        (table(REAL), table(REAL, ids="s"), {"evaluators": ["kapt"]}, UnknownNameError, "did you mean 'kept'"),
        (table(REAL), table(REAL, ids="s"), {"images": "cutout"}, UnknownNameError, "image column 'cutout'"),
        (table(REAL), table(REAL, ids="s"), {"groups": "colour"}, UnknownNameError, "groups 'colour'"),
        (table(REAL), table(REAL, synthetic=np.zeros(120, bool)), {}, ConditionError, "no synthetic rows: 120 row"),
        (table(REAL, synthetic=np.ones(120, bool)), table(REAL), {}, ConditionError, "no real rows: 120 row"),
        (table(REAL), table(REAL)[:0], {}, ConditionError, "no synthetic rows: 0 row"),
        (table(REAL), table(REAL, ids="s"), {"report": "/no/such/folder/r"}, OutputError, "doesn't exist; create it"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_before_work_starts(kept, real, synthetic, options, error, says):
    with pytest.raises(error, match=says):
        judge(real, synthetic, **options)
    assert kept.calls == []


def test_pixels_that_are_no_pixels_are_refused(kept):
    synthetic = table(REAL[:40], ids="s")
    floats = synthetic["image"] / 255
    floats[7, 0, 0, 0] = np.nan
    synthetic["image"] = floats
    with pytest.raises(ImageError, match="synthetic images: row 7 has 1 pixel values that are NaN"):
        judge(table(REAL), synthetic)
    synthetic["image"] = (table(REAL[:40])["image"] > 128).astype(np.uint8)
    with pytest.raises(ImageError, match="synthetic images: no pixel is above 1 of 255"):
        judge(table(REAL), synthetic)
    assert kept.calls == []


def test_a_report_is_written_last_and_not_over_another(kept, tmp_path, monkeypatch):
    written = ModuleType("astro_galaxysd.reporting.report")
    got = []
    written.write_report = lambda found, folder, **options: got.append((found, folder, options))
    monkeypatch.setitem(sys.modules, "astro_galaxysd.reporting.report", written)
    sides = table(REAL), table(REAL[:40], ids="s", seed=1)
    scores = evaluate(*sides, report=tmp_path / "r", blind=True, **OPTIONS)
    assert got[0][0].table is scores
    assert got[0][1:] == (tmp_path / "r", {"blind": True, "overwrite": False})
    with pytest.raises(OutputExistsError, match="exists already"):
        evaluate(*sides, report=tmp_path, **OPTIONS)
    assert len(got) == 1


def test_features_are_kept_in_the_cache(kept, tmp_path):
    found = judge(table(REAL), table(REAL[:40], ids="s", seed=1), cache=tmp_path / "cache")
    found.memory.embed(found.real.images)
    assert any((tmp_path / "cache").iterdir())
