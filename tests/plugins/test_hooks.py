"""Every hook is documented with its arguments, shows a plug-in that runs, and has a test that names it."""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path

import pytest

from astro_galaxysd.plugins import hookspecs
from astro_galaxysd.plugins.manager import PluginRegistry

ROOT = Path(__file__).resolve().parents[2]
DOC = ROOT / "docs" / "plugins.md"
HOOKS = {name: value for name, value in vars(hookspecs).items() if name.startswith(hookspecs.PREFIX)}


def documented():
    """Hooks that have a heading in docs/plugins.md, with the arguments it gives."""
    headings = re.findall(r"^###+ `(galaxysd_\w+)\((.*?)\)`$", DOC.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(headings)


def test_there_are_hooks():
    assert len(HOOKS) == 11
    assert set(HOOKS) <= set(hookspecs.__all__)


@pytest.mark.parametrize("name", sorted(HOOKS))
def test_hook_is_documented_with_its_arguments(name):
    assert documented()[name] == ", ".join(inspect.signature(HOOKS[name]).parameters)


def test_no_hook_is_documented_that_is_not_there():
    assert set(documented()) == set(HOOKS)


@pytest.mark.parametrize("name", sorted(HOOKS))
def test_docstring_holds_a_whole_plugin(name):
    example = HOOKS[name].__doc__.split("::\n", 1)[1]
    namespace = {}
    exec(compile(textwrap.dedent(example), f"<example of {name}>", "exec"), namespace)
    plugin = type("Example", (), {key: staticmethod(value) for key, value in namespace.items() if key == name})
    registry = PluginRegistry(entry_points=[], plugins={"example": plugin})
    assert registry.failures == ()
    lines = registry.describe()
    assert len(lines) == 1
    # Examples name modules that do not exist; nothing is imported to list them.
    assert lines[0].kind == "hooks" or lines[0].summary


@pytest.mark.parametrize("name", sorted(HOOKS))
def test_hook_is_named_in_a_test(name):
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__).resolve()]
    assert any(name in path.read_text(encoding="utf-8") for path in tests)


def code_of_the_docs():
    return re.findall(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)


def test_plugins_of_the_docs_work(install):
    plugins = [block for block in code_of_the_docs() if "@hookimpl" in block]
    assert plugins
    for number, block in enumerate(plugins):
        install.add(f"docs_plugin_{number}", block)
    registry = PluginRegistry(entry_points=install.entry_points())
    assert registry.describe()
    assert registry.failures == ()


def test_code_of_the_docs_runs():
    blocks = code_of_the_docs()
    assert len(blocks) > 2
    for block in blocks:
        exec(compile(block, str(DOC), "exec"), {})
