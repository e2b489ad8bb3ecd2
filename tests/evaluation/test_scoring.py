"""Evaluators asked about sets: ceilings, groups, plug-ins that fail."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd import hookimpl
from astro_galaxysd.errors import GalaxySDError, PluginWarning, UnknownNameError
from astro_galaxysd.evaluation.asking import create_evaluators, give_reader
from astro_galaxysd.evaluation.samples import rows_of
from astro_galaxysd.evaluation.scores import Score, score_table
from astro_galaxysd.evaluation.scoring import Sets, score_sets, with_ceilings
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.records import EvaluatorSpec
from astro_galaxysd.testing import example_batch


class Brightness:
    """Mean grey level less that of the real images."""

    def evaluate(self, real, synthetic, *, reference=None, embedder=None, rng=None):
        value = float(synthetic.images.mean() - real.images.mean())
        return score_table([
            Score("brightness", "own", value, 0.1, len(real), len(synthetic), False),
            Score("brightness", "all", value, 0.1, len(real), len(synthetic), False),
        ])  # fmt: skip


class Broken:
    def evaluate(self, real, synthetic, **options):
        raise ValueError("no such star")


class FailsOnFew(Brightness):
    def evaluate(self, real, synthetic, **options):
        if len(synthetic) < 20:
            raise ValueError("too few")
        return super().evaluate(real, synthetic, **options)


class NoTable:
    def evaluate(self, real, synthetic, **options):
        return Table({"metric": ["a"], "value": [1.0]})


class Unmade:
    def __init__(self):
        raise RuntimeError("no licence")


class Greedy:
    def evaluate(self, real, synthetic, **options):
        raise MemoryError("no room for a matrix")


class Twice(Brightness):
    def evaluate(self, real, synthetic, **options):
        return score_table([Score("brightness", "all", 1.0, 0.1, 24, 24, False)] * 2)


class Endless(Brightness):
    """Infinite, and for real images without a ceiling."""

    def evaluate(self, real, synthetic, **options):
        held = synthetic.images.max() < 220
        return score_table([
            Score("a", "all", float("inf"), 0.1, 24, 24, False),
            Score("b", "all", 1.0, float("inf"), 24, 24, False),
            Score("c", "all", float("nan") if held else 1.0, 0.1, 24, 24, False, "too dark" if held else ""),
            *([] if held else [Score("d", "all", 1.0, 0.1, 24, 24, False)]),
        ])  # fmt: skip


class Meddler(Brightness):
    """Changes what it is given, as far as it can."""

    def evaluate(self, real, synthetic, *, reference=None, **options):
        for batch in (real, synthetic):
            with pytest.raises(ValueError, match="read-only"):
                batch.images[:] = 0
            with pytest.raises(ValueError, match="read-only"):
                batch.ids[:] = "x"
            batch.conditions["prompt"] = "mine"
            batch.meta["mine"] = True
        self.references.append(reference)
        return super().evaluate(real, synthetic)

    references: list = []  # noqa: RUF012


class ReadOnly(Brightness):
    @property
    def reader(self):
        return None


class Raising(Brightness):
    @property
    def reader(self):
        raise OSError("no such file")


class Reads(Brightness):
    reader = None


@pytest.fixture
def stubs(monkeypatch):
    module = ModuleType("stub_evaluators")
    names = {
        "bright": Brightness, "broken": Broken, "few": FailsOnFew, "no_table": NoTable, "unmade": Unmade,
        "greedy": Greedy, "twice": Twice, "endless": Endless, "meddler": Meddler, "read_only": ReadOnly,
        "raising": Raising, "reads": Reads,
    }  # fmt: skip
    for name, made in names.items():
        setattr(module, name, made)
    specs = [EvaluatorSpec(name, f"stub_evaluators:{name}") for name in names]
    module.galaxysd_register_evaluators = hookimpl(lambda: specs, specname="galaxysd_register_evaluators")
    monkeypatch.setitem(sys.modules, "stub_evaluators", module)
    assert get_registry().register(module, name="stubs", distribution="stub-dist", version="1")


@pytest.fixture
def sets():
    real, held, synthetic = (example_batch(24, rng=seed) for seed in (1, 2, 3))
    synthetic.images[:] = np.minimum(synthetic.images, 200) + 20
    rows = np.arange(8)
    return Sets(real, held, synthetic, groups={"kind: a": rows}, short={"kind: b": ("too few", 3, 4)})


def lines_of(name, sets, **options):
    return score_sets(create_evaluators([name]), sets, memory=None, seed=0, **options)


def test_values_stand_beside_ceilings_over_all_first(stubs, sets):
    told = []
    table = with_ceilings(lines_of("bright", sets, step=told.append))
    assert table["group"].tolist() == ["all", "own", "kind: a", "kind: b"]
    assert told == ["bright", "bright, kind: a"]
    whole, real = sets.synthetic.images.mean(), sets.real.images.mean()
    np.testing.assert_allclose(table["value"][0], whole - real)
    np.testing.assert_allclose(table["ceiling"][0], sets.held.images.mean() - real)
    np.testing.assert_allclose(table["value"][2], sets.synthetic.images[:8].mean() - sets.real.images[:8].mean())
    assert table["n_synthetic"].tolist() == [24, 24, 8, 4]
    assert np.isnan(table["value"][3])
    assert table["note"].tolist() == ["", "", "", "too few"]
    assert table.colnames == [
        "evaluator", "metric", "group", "value", "error", "ceiling", "ceiling_error", "n_real", "n_synthetic",
        "higher_is_better", "note",
    ]  # fmt: skip


def test_reconstructions_over_all_and_of_groups_with_enough(stubs, sets):
    shown = np.arange(4, 24)
    rebuilt = replace(sets.held, images=sets.held.images + 1)
    more = replace(
        sets, reconstructions=rows_of(rebuilt, shown), rebuilt=shown,
        groups=sets.groups | {"kind: c": np.arange(8, 20)},
    )  # fmt: skip
    table = with_ceilings(lines_of("bright", more), reconstructions=True)
    found = dict(zip(table["group"].tolist(), table["reconstruction"].tolist(), strict=True))
    np.testing.assert_allclose(found["all"], sets.held.images[4:].mean() + 1 - sets.real.images.mean())
    assert np.isnan(found["kind: a"])  # 4 of its rows were reconstructed
    np.testing.assert_allclose(found["kind: c"], sets.held.images[8:20].mean() + 1 - sets.real.images[8:20].mean())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("broken", "ValueError: no such star"),
        ("no_table", "without the columns group"),
        ("unmade", "no licence"),
        ("greedy", "ran out of memory: no room for a matrix"),
        ("twice", "'brightness' of group 'all' twice"),
    ],
)
def test_a_plugin_that_fails_costs_its_own_rows_only(stubs, sets, name, reason):
    def run():
        return with_ceilings(score_sets(create_evaluators([name, "bright"]), sets, memory=None, seed=0))

    with pytest.warns(PluginWarning, match="gives no figures"):
        table = run()
    failed = table[table["evaluator"] == name]
    assert np.isnan(failed["value"]).all()
    assert reason in failed["note"][0]
    assert "stub-dist" in failed["note"][0]
    assert np.isfinite(table["value"][table["evaluator"] == "bright"]).sum() == 3


def test_a_plugin_that_fails_on_a_group_keeps_the_rest(stubs, sets):
    with pytest.warns(PluginWarning, match="too few"):
        table = with_ceilings(lines_of("few", sets))
    assert np.isfinite(table["value"][table["group"] == "all"]).all()
    assert np.isnan(table["value"][table["group"] == "kind: a"]).all()


def test_unknown_evaluator(stubs):
    with pytest.raises(UnknownNameError, match="did you mean 'bright'"):
        create_evaluators(["brigth"])


def test_ours_raise(stubs, monkeypatch):
    from astro_galaxysd.evaluation import consistency

    def fail(self):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(consistency.ConsistencyEvaluator, "__init__", fail)
    with pytest.raises(GalaxySDError, match="ours"):
        create_evaluators(["consistency"])


def test_by_default_all_but_the_slow_one(stubs):
    with pytest.warns(PluginWarning):
        names = [one.name for one in create_evaluators()]
    assert {"bright", "broken", "photometry"} <= set(names)
    assert "statmorph" not in names


def test_one_name_is_one_evaluator(stubs):
    assert [one.name for one in create_evaluators("bright")] == ["bright"]


def test_what_is_infinite_or_without_a_ceiling_has_a_reason(stubs, sets):
    table = with_ceilings(lines_of("endless", replace(sets, groups={}, short={})))
    notes = dict(zip(table["metric"].tolist(), table["note"].tolist(), strict=True))
    assert notes == {
        "a": "the evaluator gave inf",
        "b": "the evaluator gave an error of inf",
        "c": "ceiling: too dark",
        "d": "ceiling: the evaluator gave none",
    }
    assert np.isnan(table["value"]).tolist() == [True, False, False, False]
    assert np.isnan(table["error"]).tolist() == [True, True, False, False]


def test_a_plugin_can_not_change_what_others_see(stubs, sets):
    sets = replace(sets, training=example_batch(24, rng=4))
    before = [batch.images.copy() for batch in (sets.real, sets.synthetic)]
    Meddler.references.clear()
    lines_of("meddler", sets)
    for batch, images in zip((sets.real, sets.synthetic), before, strict=True):
        np.testing.assert_array_equal(batch.images, images)
        assert batch.images.flags.writeable
        assert "mine" not in batch.conditions["prompt"]
        assert "mine" not in batch.meta
    assert [reference is None for reference in Meddler.references] == [False, False, True, True]  # not for groups


def test_memorisation_has_no_groups(stubs, sets, described):
    told = score_sets(create_evaluators("memorisation"), replace(sets, training=sets.held), memory=described, seed=0)
    assert {line.score.group for line in told} == {"all"}


@pytest.mark.parametrize(("name", "reason"), [("read_only", "AttributeError"), ("raising", "OSError: no such file")])
def test_a_reader_that_can_not_be_set_costs_that_evaluator_only(stubs, sets, name, reason):
    with pytest.warns(PluginWarning, match=f"{name!r} of .*gives no figures.*{reason}"):
        made, reader = give_reader(create_evaluators(["reads", name]), lambda: "the reader")
    assert reader == made[0].evaluator.reader == "the reader"
    table = with_ceilings(score_sets(made, sets, memory=None, seed=0))
    assert np.isnan(table["value"][table["evaluator"] == name]).all()
    assert np.isfinite(table["value"][0])


def test_no_reader_is_loaded_for_nobody(stubs):
    assert give_reader(create_evaluators(["bright"]), lambda: pytest.fail("loaded"))[1] is None
