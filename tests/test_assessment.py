"""evaluate: rows, ceilings, warnings and refusals, with stub evaluators, reader and embedder."""

from __future__ import annotations

import inspect
import json
import sys
from types import ModuleType

import numpy as np
import pytest
from astropy.table import Table, vstack

from astro_galaxysd import hookimpl
from astro_galaxysd.assessment import assess, evaluate
from astro_galaxysd.conditions.composition import set_answers
from astro_galaxysd.conditions.grouping import UngroupedWarning
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
from astro_galaxysd.evaluation.scoring import EVALUATION
from astro_galaxysd.images import codec
from astro_galaxysd.images.shardfiles import write_shard
from astro_galaxysd.images.storage import write_table
from astro_galaxysd.learning.trainingids import write_training_ids
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.records import EvaluatorSpec
from astro_galaxysd.seen import SeenRowsWarning

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


def test_a_group_of_which_too_few_rows_were_chosen(kept):
    found = judge(table(REAL), table([0] * 30 + [1] * 8, ids="s", seed=1), n=16)
    used = found.record["groups"]["kind: cigar"]["used"]
    assert 0 < used < 8
    rows = found.table[found.table["group"] == "kind: cigar"]
    assert rows["note"].tolist() == [f"{used} of its rows came into each set; 8 are needed"]
    assert (found.synthetic.conditions["group"][found.groups["kind: round"]] == "kind: round").all()


def test_the_ceiling_is_real_images_in_the_synthetic_ones_place(kept):
    found = judge(table(REAL), table(REAL[:40], ids="s", seed=1))
    row = found.table[0]
    assert row["value"] == pytest.approx(found.synthetic.images.mean())
    assert row["ceiling"] == pytest.approx(found.held.images.mean())
    first, second = kept.calls[:2]
    assert first["synthetic"].ids.tolist() == found.synthetic.ids.tolist()
    assert second["synthetic"].ids.tolist() == found.held.ids.tolist()
    assert np.shares_memory(first["real"].images, found.real.images)
    assert np.shares_memory(second["real"].images, found.real.images)
    assert first["embedder"] is found.memory
    assert first["rng"] == second["rng"]
    assert first["reader"] is found.reader


def test_rows_drawn_for_real_ones_are_compared_with_their_own_galaxies(kept):
    real = table(REAL)
    synthetic = real[10:40].copy()
    synthetic["image"] = synthetic["image"] // 2 + 4
    found = judge(real, synthetic)
    assert found.record["paired"]
    assert found.held.ids.tolist() == found.synthetic.ids.tolist()
    assert not set(found.real.ids) & set(found.held.ids)
    assert len(found.held) == 30


def test_artifacts_among_the_drawn_rows_do_not_undo_the_pairs(kept):
    real = table(REAL)
    real[VOTES][3:5, 2] = 0.9
    synthetic = table(REAL, seed=1)[:40]
    synthetic[VOTES] = real[VOTES][:40]
    found = judge(real, synthetic)
    assert found.record["paired"]
    assert found.held.ids.tolist() == found.synthetic.ids.tolist()
    assert len(found.held) == 38
    assert found.record["excluded"]["synthetic"] == {"without their own real row": 2, "not matched": 0}


def test_ids_of_two_columns_pair_nothing(kept):
    synthetic = table(REAL[:40], seed=1)
    synthetic.rename_column("id", "row_id")
    assert not judge(table(REAL), synthetic).record["paired"]
    synthetic.rename_column("row_id", "ID")
    assert judge(table(REAL), synthetic).record["paired"]


def test_a_galaxy_that_is_there_twice_is_refused(kept):
    real, synthetic = table(REAL), table(REAL[:40], ids="s", seed=1)
    with pytest.raises(ConditionError, match=r"120 id\(s\) of the real rows occur more than once \('r0', 'r1'"):
        judge(vstack([real, real]), synthetic)
    training = table(REAL, ids="t", seed=2)
    with pytest.raises(ConditionError, match=r"120 id\(s\) of the training rows occur more than once \('t0'"):
        judge(real, synthetic, training=vstack([training, training]))


def test_images_that_occur_twice_are_told(kept):
    real = table(REAL)
    synthetic = table(REAL[:40], ids="s", seed=1)
    with pytest.raises(ConditionError, match="are among the real ones, whatever their ids"):
        judge(real, synthetic, training=table(REAL, ids="t"))
    found = judge(real, synthetic)
    assert set(found.record["copies"].values()) == {0}
    synthetic["image"] = real["image"][:40]
    with pytest.warns(SeenRowsWarning, match="synthetic images that are real ones"):
        found = judge(real, synthetic)
    assert found.record["copies"]["synthetic images that are real ones"] > 0


def test_evaluate_names_its_options():
    ours, theirs = (inspect.signature(function).parameters for function in (evaluate, assess))
    assert set(ours) - set(theirs) == {"report", "blind", "overwrite"}
    for name, parameter in theirs.items():
        assert (ours[name].default, ours[name].annotation) == (parameter.default, parameter.annotation)


def test_more_rows_than_there_are(kept):
    with pytest.raises(ConditionError, match="n = 41 rows of each set; the tables have rows for 40 at most: give n=40"):
        judge(table(REAL), table(REAL[:40], ids="s", seed=1), n=41)


def test_sets_that_can_not_be_grouped_are_told(kept):
    real = table(REAL)
    real.remove_column(VOTES)
    with pytest.warns(UngroupedWarning, match="the real rows have neither"):
        found = judge(real, table(REAL[:40], ids="s", seed=1), groups="auto")
    assert found.record["note"].startswith("not grouped: the synthetic rows have votes or prompts")


def test_one_evaluator_by_its_name(kept):
    found = judge(table(REAL), table(REAL[:40], ids="s", seed=1), evaluators="kept")
    assert found.record["evaluators"] == ["kept"]


def test_ids_that_are_row_numbers_pair_nothing(kept):
    found = judge(table(REAL, ids=None), table(REAL[:40], ids=None, seed=1))
    assert not found.record["paired"]


def test_an_augmented_table_gives_both_sides(kept):
    both = table(np.concatenate([REAL, REAL[:40]]), synthetic=np.arange(160) >= 120)
    found = judge(both, both)
    assert set(found.synthetic.ids) <= {f"r{row}" for row in range(120, 160)}
    assert set(found.real.ids) | set(found.held.ids) <= {f"r{row}" for row in range(120)}
    assert found.record["excluded"]["synthetic"]["not synthetic"] == 120


def in_shards(rows, folder, kind, size=17):
    folder.mkdir()
    for number, start in enumerate(range(0, len(rows), size)):
        part = rows[start : start + size]
        write_shard(part, [np.asarray(part["image"])], folder / f"shard-{number:05d}.{kind}", kind)
    return folder


@pytest.mark.parametrize("kind", ["parquet", "fits", None])
def test_files_give_the_figures_of_tables(kept, tmp_path, monkeypatch, kind):
    """Of real rows that are not compared, no image is read."""
    real, drawn = table(REAL), table([0] * 20 + [1] * 20, ids="s", seed=1, synthetic=np.ones(40, bool))
    learnt = table(REAL, ids="t", seed=4)
    want = judge(real, drawn, n=16, training=learnt, reconstructions=real)
    if kind:
        paths = [in_shards(one, tmp_path / f"{number}", kind) for number, one in enumerate((real, drawn, learnt))]
    else:
        paths = [write_table(one, tmp_path / f"{number}.fits") for number, one in enumerate((real, drawn, learnt))]
    read = []
    monkeypatch.setattr(
        "astro_galaxysd.evaluation.samples.read_images",
        lambda items, rows: read.extend(rows) or codec.read_images(items, rows=rows),
    )
    found = judge(paths[0], str(paths[1]), n=16, training=paths[2], reconstructions=real)
    assert len(read) == 4 * 16 + len(learnt)
    for name in ("real", "held", "synthetic", "training", "reconstructions"):
        one, other = getattr(found, name), getattr(want, name)
        assert one.ids.tolist() == other.ids.tolist()
        np.testing.assert_array_equal(one.images, other.images)
        assert one.conditions["group"].tolist() == other.conditions["group"].tolist()
    assert found.table.pformat(max_lines=-1) == want.table.pformat(max_lines=-1)
    assert found.record | {"created": ""} == want.record | {"created": ""}


def test_the_same_file_gives_both_sides(kept, tmp_path):
    both = vstack([table(REAL, synthetic=[False] * 120), table([0, 1] * 10, ids="s", seed=1, synthetic=[True] * 20)])
    folder = in_shards(both, tmp_path / "both", "parquet")
    want, found = judge(both, both), judge(folder, folder)
    np.testing.assert_array_equal(found.synthetic.images, want.synthetic.images)
    np.testing.assert_array_equal(found.held.images, want.held.images)


def test_files_of_images_alone(kept, tmp_path):
    for name, seed in (("real", 0), ("drawn", 1)):
        alone = table(REAL, ids="", seed=seed)[["image"]]
        write_table(alone, tmp_path / f"{name}.parquet")
    found = judge(tmp_path / "real.parquet", tmp_path / "drawn.parquet", groups=None, n=20)
    assert len(found.synthetic) == 20


def test_a_file_without_the_images(kept, tmp_path):
    path = write_table(table(REAL), tmp_path / "real.parquet")
    with pytest.raises(UnknownNameError, match="unknown image column 'img': did you mean 'image'"):
        judge(path, table(REAL, ids="s", seed=1), images="img")
    with pytest.raises(ConditionError, match="there is no table at .*gone.parquet"):
        judge(tmp_path / "gone.parquet", table(REAL, ids="s", seed=1))


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
    assert found.record["seen"] == {}  # nobody reads
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
    assert np.shares_memory(kept.calls[0]["reference"].images, found.training.images)
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


@pytest.mark.parametrize(
    ("ids", "others", "why"),
    [
        ("r", "x", "shows 0 of the 40"),
        (None, "x", "has ids in column 'id', the real rows have no ids: nothing says which galaxy"),
        ("r", None, "has no ids, the real rows have ids in column 'id'"),
        (None, None, "has no ids, the real rows have no ids"),
    ],
)
def test_reconstructions_of_other_rows_are_refused(kept, ids, others, why):
    with pytest.raises(ConditionError, match=why):
        judge(table(REAL, ids=ids), table(REAL[:40], ids="s", seed=1), reconstructions=table(REAL, ids=others))


def test_reconstructions_that_occur_twice_are_refused(kept):
    rebuilt = table(REAL)
    with pytest.raises(ConditionError, match="of the reconstructed rows occur more than once"):
        judge(table(REAL), table(REAL[:40], ids="s", seed=1), reconstructions=vstack([rebuilt, rebuilt]))


def test_the_record_says_what_was_done(kept):
    synthetic = table(REAL[:40], ids="s", seed=1, weights=["mine"] * 40, weights_revision=["abc"] * 40)
    scores = evaluate(table(REAL), synthetic, **OPTIONS)
    record = scores.meta[EVALUATION]
    json.dumps(record)
    assert record["n"] == 40
    assert record["seed"] == 1
    assert record["embedder"] == "features-3"
    assert record["weights"] == [{"name": "mine", "revision": "abc"}]
    assert record["seen"] == {"weights 'mine'": None, "the reader": None}
    assert record["conditions"] == {"synthetic": VOTES, "real": VOTES}
    assert "numpy" in record["versions"]
    assert record["evaluators"] == ["kept"]


def test_real_rows_that_the_weights_were_trained_on_are_warned_of(kept, tmp_path):
    write_training_ids(tmp_path, [f"r{row}" for row in range(60)])
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


@pytest.fixture
def written(monkeypatch):
    """Reports that would have been written."""
    from astro_galaxysd.reporting import report

    got = []
    monkeypatch.setattr(report, "write_report", lambda found, folder, **options: got.append((found, folder, options)))
    return got


def test_a_report_is_written_last(kept, written, tmp_path):
    scores = evaluate(table(REAL), table(REAL[:40], ids="s", seed=1), report=tmp_path / "r", blind=True, **OPTIONS)
    assert written[0][0].table is scores
    assert written[0][1:] == (tmp_path / "r", {"blind": True, "overwrite": False})


def test_a_report_that_can_not_be_written_is_refused_before_work_starts(kept, written, tmp_path):
    sides = table(REAL), table(REAL[:40], ids="s", seed=1)
    with pytest.raises(OutputError, match="doesn't exist; create it"):
        evaluate(*sides, report=tmp_path / "none" / "r", **OPTIONS)
    old = tmp_path / "r"
    old.mkdir()
    for name in ("report.html", "evaluation.json"):
        (old / name).touch()
    with pytest.raises(OutputExistsError, match="exists already; pass overwrite=True"):
        evaluate(*sides, report=old, **OPTIONS)
    (old / "mine.txt").touch()
    with pytest.raises(OutputExistsError, match="holds files that this package did not write"):
        evaluate(*sides, report=old, overwrite=True, **OPTIONS)
    assert kept.calls == []
    (old / "mine.txt").unlink()
    evaluate(*sides, report=old, overwrite=True, **OPTIONS)
    assert len(written) == 1


def test_features_are_kept_in_the_cache(kept, tmp_path):
    found = judge(table(REAL), table(REAL[:40], ids="s", seed=1), cache=tmp_path / "cache")
    found.memory.embed(found.real.images)
    assert any((tmp_path / "cache").iterdir())
