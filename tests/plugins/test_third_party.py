"""A distribution of somebody else's, installed by pip: listed, drawn with, judged with, and true to its tutorial."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.records import WeightCard
from astro_galaxysd.testing import check_evaluator, check_generator

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(__file__).with_name("third_party") / "galaxysd-sersic"
TUTORIAL = ROOT / "docs" / "tutorials" / "write-a-plugin.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which pip has installed the package, offline; building it needs setuptools."""
    for needed in ("pip", "setuptools"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    folder = tmp_path_factory.mktemp("third_party")
    # A copy, because building leaves files beside the sources.
    shutil.copytree(PACKAGE, folder / "source", ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(folder / "site")]
    run([sys.executable, "-m", "pip", "install", "--quiet", *options, str(folder / "source")], folder)
    return folder / "site"


def run(command, folder, site=None):
    """Output of a command that must succeed, with the installed package on the path."""
    paths = [str(site)] * (site is not None) + [os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_listed_and_draws_in_a_program_of_its_own(site, tmp_path):
    """Nothing of this process helps: what is installed is found by its metadata alone."""
    code = """
import sys, warnings
warnings.simplefilter("error")
from astro_galaxysd.cli import main
print("status", main(["plugins"]), *sys.modules)
from astropy.table import Table
from astro_galaxysd import augment_table
table = Table({"t01_smooth": [0.9] * 3, "t07_round": [0.9] * 3, "t06_odd_yes": [0.1] * 3})
more = augment_table(table, target="round", n=2, generator="sersic", rng=1, progress=False)
new = more[more["synthetic"]]
print(*new["generator"], *new["weights"], *(image.shape for image in new["image"]), "torch" in sys.modules)
"""
    *listed, started, drawn = run([sys.executable, "-c", code], tmp_path, site).splitlines()
    lines = [line for line in listed if "galaxysd-sersic" in line]
    assert len(lines) == 2, listed
    assert all("0.1.0" in line and "sersic" in line for line in lines)
    assert {kind for line in lines for kind in ("generator", "evaluator") if kind in line} == {"generator", "evaluator"}
    _, status, *modules = started.split()
    assert status == "0"
    assert "galaxysd_sersic.hooks" in modules
    assert not {"galaxysd_sersic.generator", "astropy", "numpy"} & set(modules)  # listing imports its hooks only
    assert drawn == "sersic sersic " + "galaxysd-sersic " * 2 + "(128, 128, 3) " * 2 + "False"


@pytest.mark.slow
def test_its_own_tests_pass(site, tmp_path):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(PACKAGE)]
    output = run([*command, "-c", str(PACKAGE / "pyproject.toml"), str(PACKAGE / "tests")], tmp_path, site)
    assert re.search(r"^\d+ passed", output, re.MULTILINE), output


@pytest.fixture
def installed(site, tmp_path, monkeypatch):
    """The package is on the path of this process."""
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    get_registry.cache_clear()
    yield
    for name in [name for name in sys.modules if name.startswith("galaxysd_sersic")]:
        del sys.modules[name]


def test_what_it_offers_keeps_its_promises(installed):
    registry = get_registry()
    check_generator(registry.create("generator", "sersic", WeightCard("small", "", image_size=32)))
    check_evaluator(registry.create("evaluator", "sersic"))


def blocks(language):
    return [text for found, text in FENCE.findall(TUTORIAL.read_text(encoding="utf-8")) if found == language]


def test_the_tutorial_draws_and_judges_with_it(installed):
    """What the page does with the finished plug-in, in its order."""
    names = {}
    for block in blocks("python")[-2:]:
        exec(compile(block, str(TUTORIAL), "exec"), names)
    new = names["more"][names["more"]["synthetic"]]
    assert (len(names["real"]), len(new)) == (36, 30)
    assert set(new["generator"]) == {"sersic"}
    assert set(new["weights"]) == {"galaxysd-sersic"}
    assert np.unique(np.asarray(new["image"]), axis=0).shape == (30, 64, 64, 3)
    assert list(names["scores"]["metric"]) == ["sersic_index_ks", "sersic_radius_ks"]
    assert np.isfinite(names["scores"]["value"]).all()
    assert (names["scores"]["ceiling"] <= 1).all()


@pytest.mark.slow
def test_the_tutorial_runs_in_a_program_of_its_own(site, tmp_path):
    code = "".join(blocks("python")[-2:])
    assert "sersic_index_ks" in run([sys.executable, "-c", code], tmp_path, site)


@pytest.mark.parametrize(
    "file",
    ["pyproject.toml", "src/galaxysd_sersic/hooks.py", "src/galaxysd_sersic/generator.py",
     "src/galaxysd_sersic/evaluator.py"],
)  # fmt: skip
def test_the_tutorial_shows_the_package_itself(file):
    shown = FENCE.findall(TUTORIAL.read_text(encoding="utf-8").split(f"`{file}`:", 1)[1])[0][1]
    assert shown == (PACKAGE / file).read_text(encoding="utf-8")


def test_the_tutorial_shows_tests_of_the_package():
    own = (PACKAGE / "tests" / "test_promises.py").read_text(encoding="utf-8")
    shown = [block for block in blocks("python") if "check_generator" in block]
    assert len(shown) == 1
    assert shown[0][shown[0].index("SMALL = ") :] in own
    assert all(line in own for line in shown[0].splitlines() if not line.startswith("from astro_galaxysd.testing"))


def test_its_wheel_says_what_it_offers(site):
    (found,) = importlib.metadata.distributions(path=[str(site)])
    points = [(point.group, point.name, point.value) for point in found.entry_points]
    assert points == [("astro_galaxysd", "sersic", "galaxysd_sersic.hooks")]
    assert found.version == tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["version"]
