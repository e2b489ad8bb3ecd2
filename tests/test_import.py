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


def loaded_after(code, folder):
    """Heavy modules in a fresh interpreter; started elsewhere, so that the installed package is met."""
    program = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    return HEAVY & set(json.loads(done.stdout.splitlines()[-1]))


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
