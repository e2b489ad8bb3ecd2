"""Every kind of record goes from its hook to its name."""

from __future__ import annotations

import gc
import sys

import pytest

from astro_galaxysd import hookimpl
from astro_galaxysd.errors import PluginError
from astro_galaxysd.plugins.manager import PluginRegistry
from astro_galaxysd.records import (
    AugmenterSpec,
    ConditionSchema,
    EmbedderSpec,
    EvaluatorSpec,
    GeneratorSpec,
    WeightCard,
)


class OneOfEach:
    @hookimpl
    def galaxysd_register_condition_schemas(self):
        return [ConditionSchema("survey", "types:SimpleNamespace")]

    @hookimpl
    def galaxysd_register_generators(self):
        return [GeneratorSpec("flow", "types:SimpleNamespace")]

    @hookimpl
    def galaxysd_register_evaluators(self):
        return [EvaluatorSpec("shapes", "types:SimpleNamespace")]

    @hookimpl
    def galaxysd_register_augmenters(self):
        return [AugmenterSpec("balance", "types:SimpleNamespace")]

    @hookimpl
    def galaxysd_register_embedders(self):
        return [EmbedderSpec("votes", "types:SimpleNamespace")]

    @hookimpl
    def galaxysd_register_weights(self):
        return [WeightCard("dwarfs", "/dwarfs")]


@pytest.mark.parametrize(
    ("singular", "plural", "name"),
    [
        ("schema", "schemas", "survey"),
        ("generator", "generators", "flow"),
        ("evaluator", "evaluators", "shapes"),
        ("augmenter", "augmenters", "balance"),
        ("embedder", "embedders", "votes"),
        ("weights", "weights", "dwarfs"),
    ],
)
def test_record_of_each_kind(singular, plural, name):
    registry = PluginRegistry(entry_points=[], plugins={"all": OneOfEach()})
    assert list(registry.records_of(plural)) == list(registry.records_of(singular)) == [name]
    assert registry.get(singular, name).name == name
    assert [line.name for line in registry.describe() if line.kind == singular] == [name]


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that notes whether garbage is looked for while it is imported, and fails or not."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, last="Maker = dict"):
        (tmp_path / f"{name}.py").write_text(f"import gc\nlooked_for = gc.isenabled()\n{last}\n")
        return GeneratorSpec("flow", f"{name}:Maker")

    return write


def test_no_garbage_is_looked_for_while_a_factory_is_imported(module):
    frozen = gc.get_freeze_count()
    assert module("quiet_maker").resolve() is dict
    assert not sys.modules["quiet_maker"].looked_for
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen


def test_garbage_is_looked_for_again_after_a_factory_that_fails(module):
    with pytest.raises(PluginError, match="can't import its factory"):
        module("broken_maker", "import nothing_of_this_name").resolve()
    assert gc.isenabled()


def test_who_wants_no_garbage_looked_for_is_obeyed(module):
    gc.disable()
    try:
        module("other_maker").resolve()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_a_caller_froze_stays_frozen(module):
    gc.freeze()
    try:
        module("cold_maker").resolve()
        assert gc.get_freeze_count()
    finally:
        gc.unfreeze()
