"""The four dialects of Galaxy Zoo vote columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_galaxysd import hookimpl
from astro_galaxysd.records import ConditionSchema

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODULE = "astro_galaxysd.conditions.schemas"


@hookimpl
def galaxysd_register_condition_schemas() -> Iterator[ConditionSchema]:
    """Offer the dialects that Galaxy Zoo 2 tables are found in."""
    yield ConditionSchema("kaggle", f"{_MODULE}:KaggleDialect", summary="Class1.1 ...: cumulative fractions.")
    yield ConditionSchema("hart16", f"{_MODULE}:Hart16Dialect", summary="t01_..._debiased ...: Hart et al. 2016.")
    yield ConditionSchema("zoobot", f"{_MODULE}:ZoobotDialect", summary="question_answer_fraction names of Zoobot.")
    yield ConditionSchema("conditional", f"{_MODULE}:ConditionalDialect", summary="t01_* conditional fractions.")
