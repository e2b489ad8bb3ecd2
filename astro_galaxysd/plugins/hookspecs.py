"""The hooks that a plug-in may implement.

A plug-in is a module (or any object) with functions marked by `hookimpl`, announced as an entry point of the group
``astro_galaxysd``. Its ``galaxysd_register_*`` hooks only hand over *records*; what is heavy stands behind the
record's ``factory``, a string that is imported when somebody uses it. Each hook's docstring shows a whole plug-in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from astropy.table import Table

    from astro_galaxysd.records import (
        AugmenterSpec,
        ConditionSchema,
        EmbedderSpec,
        EvaluatorSpec,
        GenerationRequest,
        GeneratorSpec,
        ImageBatch,
        WeightCard,
    )

__all__ = [
    "PREFIX",
    "PROJECT",
    "galaxysd_after_generate",
    "galaxysd_before_generate",
    "galaxysd_configure",
    "galaxysd_on_error",
    "galaxysd_register_augmenters",
    "galaxysd_register_condition_schemas",
    "galaxysd_register_embedders",
    "galaxysd_register_evaluators",
    "galaxysd_register_generators",
    "galaxysd_register_weights",
    "galaxysd_select_generator",
    "hookimpl",
    "hookspec",
]

#: Name of the pluggy project and of the entry-point group.
PROJECT = "astro_galaxysd"
#: Every hook's name starts with it, so that the hooks of a host can't be taken for ours.
PREFIX = "galaxysd_"

hookspec = pluggy.HookspecMarker(PROJECT)
#: Marks a function of a plug-in as the implementation of the hook that has its name.
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(historic=True)
def galaxysd_configure(config: Mapping[str, Any]) -> None:
    """Receive the settings of the run, once, also when the plug-in is registered after they were set.

    Parameters
    ----------
    config : mapping of str to object
        What the host or the command line set; treat it as read-only and ignore unknown keys.

    Examples
    --------
    ::

        from astro_galaxysd import hookimpl

        SETTINGS = {}

        @hookimpl
        def galaxysd_configure(config):
            SETTINGS["cache"] = config.get("cache_folder")
    """


@hookspec
def galaxysd_register_condition_schemas() -> Iterable[ConditionSchema]:  # type: ignore[empty-body]
    """Offer dialects of vote columns.

    Returns
    -------
    iterable of ConditionSchema
        Their factories give objects with the `VoteDialect` protocol.

    Examples
    --------
    ::

        from astro_galaxysd import hookimpl
        from astro_galaxysd.records import ConditionSchema

        @hookimpl
        def galaxysd_register_condition_schemas():
            yield ConditionSchema("survey", "my_survey.votes:SurveyDialect", summary="Vote columns of my survey.")
    """


@hookspec
def galaxysd_register_generators() -> Iterable[GeneratorSpec]:  # type: ignore[empty-body]
    """Offer generators of images.

    Returns
    -------
    iterable of GeneratorSpec
        Their factories take ``(weights, *, steps, guidance)`` and give objects with the `Generator` protocol;
        `astro_galaxysd.testing.check_generator` tells whether one keeps its promises.

    Examples
    --------
    ::

        from astro_galaxysd import hookimpl
        from astro_galaxysd.records import GeneratorSpec

        @hookimpl
        def galaxysd_register_generators():
            yield GeneratorSpec("flow", "my_flow.generator:FlowGenerator", summary="A flow model.", requires=("torch",))
    """


@hookspec
def galaxysd_register_evaluators() -> Iterable[EvaluatorSpec]:  # type: ignore[empty-body]
    """Offer comparisons of synthetic with real images.

    Returns
    -------
    iterable of EvaluatorSpec
        Their factories take no argument and give objects with the `Evaluator` protocol.

    Examples
    --------
    ::

        from astro_galaxysd import hookimpl
        from astro_galaxysd.records import EvaluatorSpec

        @hookimpl
        def galaxysd_register_evaluators():
            yield EvaluatorSpec("shapes", "my_shapes.evaluator:ShapeEvaluator", summary="Ellipticities, KS distance.")
    """


@hookspec
def galaxysd_register_augmenters() -> Iterable[AugmenterSpec]:  # type: ignore[empty-body]
    """Offer ways to add synthetic rows to a table.

    Returns
    -------
    iterable of AugmenterSpec
        Their factories give objects with the `Augmenter` protocol.

    Examples
    --------
    ::

        from astro_galaxysd import hookimpl
        from astro_galaxysd.records import AugmenterSpec

        @hookimpl
        def galaxysd_register_augmenters():
            yield AugmenterSpec("balance", "my_balance:BalanceAugmenter", summary="Levels all classes.")
    """


@hookspec
def galaxysd_register_embedders() -> Iterable[EmbedderSpec]:  # type: ignore[empty-body]
    """Offer maps from images to feature vectors, for evaluators that compare distributions of features.

    Returns
    -------
    iterable of EmbedderSpec
        Their factories give objects with the `Embedder` protocol.

    Examples
    --------
    ::

        from astro_galaxysd import hookimpl
        from astro_galaxysd.records import EmbedderSpec

        @hookimpl
        def galaxysd_register_embedders():
            yield EmbedderSpec("votes", "my_votes.network:VoteNetwork", summary="Features of a vote predictor.")
    """


@hookspec
def galaxysd_register_weights() -> Iterable[WeightCard]:  # type: ignore[empty-body]
    """Offer trained weights: where they lie, which generator reads them, how they want to be sampled.

    Returns
    -------
    iterable of WeightCard
        Cards only; nothing is opened or downloaded before the name is asked for.

    Examples
    --------
    ::

        from astro_galaxysd import hookimpl
        from astro_galaxysd.records import WeightCard

        @hookimpl
        def galaxysd_register_weights():
            yield WeightCard("dwarfs", "package:my_dwarfs/weights", licence="MIT", summary="Dwarf galaxies, 64 pixels.")
    """


@hookspec(firstresult=True)
def galaxysd_select_generator(conditions: Table, available: Mapping[str, GeneratorSpec]) -> str | None:
    """Choose the generator for conditions when the caller named none; the first answer that is not None holds.

    Parameters
    ----------
    conditions : Table
        What is to be drawn: at least the columns ``prompt`` and ``seed``.
    available : mapping of str to GeneratorSpec
        The generators that can be chosen, by name.

    Returns
    -------
    str or None
        A key of `available`, or None to leave the choice to the next plug-in. The built-in answer comes last.

    Examples
    --------
    ::

        from astro_galaxysd import hookimpl

        @hookimpl
        def galaxysd_select_generator(conditions, available):
            few = len(conditions) < 10
            return "slow_but_sharp" if few and "slow_but_sharp" in available else None
    """


@hookspec
def galaxysd_before_generate(request: GenerationRequest) -> None:
    """Be told that images are about to be drawn.

    A plug-in that raises here is reported and the drawing goes on: watching must not cost a run.

    Parameters
    ----------
    request : GenerationRequest
        Conditions, generator, weights and sampling.

    Examples
    --------
    ::

        import logging

        from astro_galaxysd import hookimpl

        @hookimpl
        def galaxysd_before_generate(request):
            logging.getLogger(__name__).info("drawing %d galaxies", len(request.conditions))
    """


@hookspec
def galaxysd_after_generate(request: GenerationRequest, batch: ImageBatch) -> None:
    """Be told that images were drawn; report-and-go-on as with `galaxysd_before_generate`.

    Parameters
    ----------
    request : GenerationRequest
        What was asked for.
    batch : ImageBatch
        What came; treat it as read-only.

    Examples
    --------
    ::

        import logging

        from astro_galaxysd import hookimpl

        @hookimpl
        def galaxysd_after_generate(request, batch):
            logging.getLogger(__name__).info("mean grey level %.1f", batch.images.mean())
    """


@hookspec
def galaxysd_on_error(stage: str, plugin: str, error: BaseException) -> None:
    """Be told that a plug-in failed.

    Parameters
    ----------
    stage : str
        What was being done: ``"load"``, ``"register"``, ``"configure"``, ``"create"``, ``"generate"``, ...
    plugin : str
        Name of the plug-in, ``distribution:entry point``.
    error : BaseException
        What it raised.

    Examples
    --------
    ::

        import logging

        from astro_galaxysd import hookimpl

        @hookimpl
        def galaxysd_on_error(stage, plugin, error):
            logging.getLogger(__name__).warning("%s failed at %s: %s", plugin, stage, error)
    """
