"""The kinds of record that plug-ins offer, and what a record of each must be like."""

from __future__ import annotations

from typing import NamedTuple

from astro_galaxysd import records
from astro_galaxysd.errors import UnknownNameError
from astro_galaxysd.records import API_VERSION

__all__ = ["KINDS", "Kind", "fault_of", "kind_named"]


class Kind(NamedTuple):
    """A kind of record: its names, the hook that offers it and the class it must have."""

    name: str
    plural: str
    hook: str
    record: type


KINDS = (
    Kind("schema", "schemas", "galaxysd_register_condition_schemas", records.ConditionSchema),
    Kind("generator", "generators", "galaxysd_register_generators", records.GeneratorSpec),
    Kind("evaluator", "evaluators", "galaxysd_register_evaluators", records.EvaluatorSpec),
    Kind("augmenter", "augmenters", "galaxysd_register_augmenters", records.AugmenterSpec),
    Kind("embedder", "embedders", "galaxysd_register_embedders", records.EmbedderSpec),
    Kind("weights", "weights", "galaxysd_register_weights", records.WeightCard),
)


def kind_named(name: str) -> Kind:
    """Kind of a singular or plural name.

    Raises
    ------
    UnknownNameError
        There is no such kind.
    """
    for kind in KINDS:
        if name in (kind.name, kind.plural):
            return kind
    raise UnknownNameError("kind of plug-in record", name, [kind.name for kind in KINDS])


def fault_of(record: object, kind: Kind) -> str:
    """Say what is wrong with a record, with the value seen; empty if nothing is."""
    if not isinstance(record, kind.record):
        return f"offered {record!r}, not a {kind.record.__name__} of astro_galaxysd.records"
    name = getattr(record, "name", None)
    if not isinstance(name, str) or not name:
        return f"offered a {kind.record.__name__} whose name is {name!r}; it must be a text that is not empty"
    version = getattr(record, "api_version", API_VERSION)
    if version != API_VERSION:
        older = "plug-in" if version < API_VERSION else "package astro-galaxysd"
        return (
            f"{kind.name} {name!r} was written for version {version} of the plug-in interface and this is version "
            f"{API_VERSION}; update the {older}"
        )
    factory = getattr(record, "factory", "module:Class")
    module, colon, attribute = factory.partition(":")
    if not (module and colon and attribute):
        return f"{kind.name} {name!r} has the factory {factory!r}; write 'package.module:Class'"
    return ""
