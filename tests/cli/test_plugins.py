"""galaxysd plugins: good ones, broken ones and why."""

from __future__ import annotations

import json
import textwrap

import pytest

GOOD = """
from astro_galaxysd import hookimpl
from astro_galaxysd.records import GeneratorSpec

@hookimpl
def galaxysd_register_generators():
    yield GeneratorSpec("flow", "galaxy_flow:Flow", summary="Normalising flow.")
"""
MISSPELT = "from astro_galaxysd import hookimpl\n\n@hookimpl\ndef galaxysd_register_generator():\n    pass\n"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a plug-in as pip would leave it: a module and a *.dist-info folder on the path."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(module, code):
        (site / f"{module}.py").write_text(textwrap.dedent(code))
        info = site / f"{module}-2.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 2.1\n")
        (info / "entry_points.txt").write_text(f"[astro_galaxysd]\n{module} = {module}\n")

    return install


def test_our_own(galaxysd):
    done = galaxysd("plugins")
    assert done.status == 0
    lines = [line.split()[:2] for line in done.out.splitlines()]
    for line in (["generator", "diffusion"], ["weights", "mini"], ["schema", "kaggle"], ["evaluator", "photometry"]):
        assert line in lines
    assert "BROKEN" not in done.out


def test_good_and_broken(galaxysd, installed):
    installed("good_flow", GOOD)
    installed("no_import", "import a_module_that_is_not_there\n")
    installed("misspelt", MISSPELT)
    done = galaxysd("plugins")
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    (good,) = [line for line in lines if "flow" in line and not line.startswith("BROKEN")]
    assert good.split()[:4] == ["generator", "flow", "good-flow", "2.1"]
    assert good.endswith("Normalising flow.")
    broken = lines[-2:]
    assert all(line.startswith("BROKEN") for line in broken)
    assert any("no-import 2.1" in line and "No module named 'a_module_that_is_not_there'" in line for line in broken)
    assert any("misspelt 2.1" in line and "did you mean galaxysd_register_generators" in line for line in broken)


def test_json(galaxysd, installed):
    installed("no_import", "import a_module_that_is_not_there\n")
    listing = json.loads(galaxysd("plugins", "--json").out)
    assert {"kind", "name", "plugin", "distribution", "version", "summary", "problem"} == set(listing[0])
    (broken,) = [line for line in listing if line["problem"]]
    assert (broken["distribution"], broken["version"]) == ("no-import", "2.1")
    assert "a_module_that_is_not_there" in broken["problem"]


def test_two_of_one_name(galaxysd, installed):
    installed("good_flow", GOOD)
    installed("other_flow", GOOD)
    broken = [line for line in galaxysd("plugins").out.splitlines() if line.startswith("BROKEN")]
    assert len(broken) == 2
    assert all("offers this name too" in line for line in broken)
