"""Importing the package and finding plug-ins loads nothing heavy; the public names are there."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import astro_galaxysd

HEAVY = {
    "torch",
    "diffusers",
    "transformers",
    "photutils",
    "astropy.table",
    "numpy",
    "pandas",
    "PIL",
    "sklearn",
    "scipy",
}


def loaded_after(code, folder, heavy=HEAVY):
    """Modules of `heavy` in a fresh interpreter; started elsewhere, so that the installed package is met."""
    program = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True, timeout=120
    )
    return heavy & set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import astro_galaxysd",
        "import astro_galaxysd; astro_galaxysd.__version__, astro_galaxysd.errors, astro_galaxysd.hookimpl",
        "import astro_galaxysd.plugins.manager as m; assert m.get_registry().describe()",
        "import pluggy, astro_galaxysd; astro_galaxysd.install_into(pluggy.PluginManager('host'))",
    ],
)
def test_nothing_heavy_is_loaded(code, tmp_path):
    assert loaded_after(code, tmp_path) == set()


#: What one cutout needs nothing of, and would wait for.
NOT_FOR_DRAWING = {
    "astro_galaxysd.assessment",
    "astro_galaxysd.evaluation.judges",
    "astro_galaxysd.pipeline",
    "astro_galaxysd.surveying",
    "astropy.coordinates",
    "matplotlib",
    "pandas",
    "photutils",
    "sklearn",
}

DRAW = """
from astro_galaxysd.cli import main
assert main("generate --prompt merger -n 1 --steps 2 --no-progress -o one.parquet".split()) == 0
"""


@pytest.mark.slow
def test_a_cutout_waits_for_nothing_that_it_does_not_need(tmp_path):
    assert loaded_after(DRAW, tmp_path, NOT_FOR_DRAWING) == set()
    assert (tmp_path / "one.parquet").exists()


@pytest.mark.parametrize("module", ["pandas", "astropy.coordinates"])
def test_the_check_of_drawing_can_fail(module, tmp_path):
    assert loaded_after(f"import {module}", tmp_path, NOT_FOR_DRAWING) == {module}


def test_the_check_can_fail(tmp_path):
    assert loaded_after("import numpy", tmp_path) == {"numpy"}


@pytest.mark.parametrize("name", astro_galaxysd.__all__)
def test_public_name_is_there_and_documented(name):
    value = getattr(astro_galaxysd, name)
    assert value.__doc__
    assert name in dir(astro_galaxysd)


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="module 'astro_galaxysd' has no attribute 'augment'"):
        astro_galaxysd.augment  # noqa: B018


def test_version_without_installation(monkeypatch):
    from importlib import metadata

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert astro_galaxysd._installed_version() == "0+unknown"
