"""Every kind of record goes from its hook to its name."""

from __future__ import annotations

import pytest

from astro_galaxysd import hookimpl
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
