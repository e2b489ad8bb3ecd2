"""The pages on plug-ins and hosts are complete, and their code runs."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path

import pytest

import astro_galaxysd
from astro_galaxysd.plugins import hookspecs
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.testing import NoiseGenerator

DOCS = Path(__file__).resolve().parents[2] / "docs"
HOOKS = {name: value for name, value in vars(hookspecs).items() if name.startswith(hookspecs.PREFIX)}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text(page):
    return (DOCS / page).read_text(encoding="utf-8")


def arguments(name):
    return list(inspect.signature(HOOKS[name]).parameters)


def section(name):
    return re.split(r"^##+ ", text("plugins.md").split(f"### `{name}(", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("name", sorted(HOOKS))
def test_a_hook_is_in_the_table_with_its_arguments(name):
    rows = re.findall(rf"^\| `{name}` \| (.*?) \| ", text("plugins.md"), re.MULTILINE)
    assert rows == [", ".join(f"`{argument}`" for argument in arguments(name)) or "none"]


@pytest.mark.parametrize("name", sorted(HOOKS))
def test_a_hook_says_what_each_argument_is(name):
    assert re.findall(r"^- `(\w+)`: ", section(name), re.MULTILINE) == arguments(name)


@pytest.mark.parametrize("name", sorted(name for name in HOOKS if "register" in name))
def test_a_hook_that_registers_names_its_record(name):
    record = re.search(r"Iterable\[(\w+)\]", str(inspect.signature(HOOKS[name]).return_annotation))[1]
    assert f"`{record}` records" in section(name)
    assert re.search(rf"^\| `{name}` \| none \| `{record}` records \|", text("plugins.md"), re.MULTILINE)


def test_the_three_lines_of_hosting_run():
    names = {}
    for language, code in BLOCK.findall(text("hosting.md")):
        if language == "python":
            exec(compile(code, "hosting.md", "exec"), names)
    assert "diffusion" in names["names"]


def test_the_settings_of_hyrax_are_in_a_table():
    file = Path(astro_galaxysd.__file__).with_name("default_config.toml")
    settings = tomllib.loads(file.read_text(encoding="utf-8"))["astro_galaxysd"]["GalaxyTable"]
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \| ", text("hosting.md"), re.MULTILINE)
    assert {name: tomllib.loads(f"value = {value}")["value"] for name, value in rows} == settings


class Quick(NoiseGenerator):
    """Stands for the diffusion model, which takes seconds."""

    def __init__(self, weights, *, steps=None, guidance=None):
        super().__init__(16)
        assert (weights.name, steps) == ("mini", 2)


def test_the_tutorial_for_a_program_with_plugins_runs(monkeypatch):
    monkeypatch.setattr("astro_galaxysd.diffusion.generator.DiffusionGenerator", Quick)
    names = {}
    for language, code in BLOCK.findall(text("tutorials/host-us.md")):
        if language == "python":
            exec(compile(code, "host-us.md", "exec"), names)
    assert len(names["more"]) == 4
    assert "diffusion" in names["generators"]
    assert "noise" in names["offered"]
    assert names["drawn"]["image"][-1].shape == (128, 128, 3)
    # Four rows filed by the program itself, two rows drawn afterwards that its listener was told of.
    assert names["archive"].sizes == [4, 2]
    assert "observatory" in get_registry().plugins
    assert names["pm"].project_name == "observatory"
