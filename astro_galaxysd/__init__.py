"""astro_galaxysd: a Table of labelled galaxies in, the same Table with believable synthetic rows of a rare class out.

The names below are loaded when they are first used: ``import astro_galaxysd`` alone loads neither torch nor astropy,
so a host that only lists plug-ins, or a command that only prints its help, does not wait for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astro_galaxysd import errors
    from astro_galaxysd.assessment import evaluate
    from astro_galaxysd.bulk import generate_to
    from astro_galaxysd.diffusion.autoencoder import LappedAutoencoder
    from astro_galaxysd.evaluation.pareto import pareto_front
    from astro_galaxysd.images.storage import read_table, write_table
    from astro_galaxysd.images.stretch import AsinhStretch, LinearStretch, LuptonStretch
    from astro_galaxysd.pipeline import augment_table, drop_synthetic, generate, load_generator, plan_augmentation
    from astro_galaxysd.plugins.hookspecs import hookimpl
    from astro_galaxysd.plugins.host import install_into
    from astro_galaxysd.publishing import publish, publish_table
    from astro_galaxysd.searching import search
    from astro_galaxysd.survey.card import Survey, read_survey
    from astro_galaxysd.survey.cutouts import read_cutouts
    from astro_galaxysd.survey.hdus import to_hdus
    from astro_galaxysd.surveying import inspect_survey
    from astro_galaxysd.sweeping import sweep
    from astro_galaxysd.verdict import augmentation_verdict

    __version__: str

__all__ = [
    "AsinhStretch",
    "LappedAutoencoder",
    "LinearStretch",
    "LuptonStretch",
    "Survey",
    "__version__",
    "augment_table",
    "augmentation_verdict",
    "drop_synthetic",
    "errors",
    "evaluate",
    "generate",
    "generate_to",
    "hookimpl",
    "inspect_survey",
    "install_into",
    "load_generator",
    "pareto_front",
    "plan_augmentation",
    "publish",
    "publish_table",
    "read_cutouts",
    "read_survey",
    "read_table",
    "search",
    "sweep",
    "to_hdus",
    "write_table",
]

_HOMES = {
    "AsinhStretch": "images.stretch",
    "LappedAutoencoder": "diffusion.autoencoder",
    "LinearStretch": "images.stretch",
    "LuptonStretch": "images.stretch",
    "Survey": "survey.card",
    "augment_table": "pipeline",
    "augmentation_verdict": "verdict",
    "drop_synthetic": "pipeline",
    "evaluate": "assessment",
    "generate": "pipeline",
    "generate_to": "bulk",
    "hookimpl": "plugins.hookspecs",
    "inspect_survey": "surveying",
    "install_into": "plugins.host",
    "load_generator": "pipeline",
    "pareto_front": "evaluation.pareto",
    "plan_augmentation": "pipeline",
    "publish": "publishing",
    "publish_table": "publishing",
    "read_cutouts": "survey.cutouts",
    "read_survey": "survey.card",
    "read_table": "images.storage",
    "search": "searching",
    "sweep": "sweeping",
    "to_hdus": "survey.hdus",
    "write_table": "images.storage",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    import importlib

    if name == "errors":
        return importlib.import_module("astro_galaxysd.errors")
    if name == "__version__":
        value = _installed_version()
    elif name in _HOMES:
        value = getattr(importlib.import_module(f"astro_galaxysd.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module 'astro_galaxysd' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what is there and what can be loaded."""
    return sorted({*globals(), *__all__})


def _installed_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("astro-galaxysd")
    except PackageNotFoundError:
        return "0+unknown"  # run from a source tree that was never installed
