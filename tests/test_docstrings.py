"""Every example in a docstring is true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import warnings

import pytest

import astro_galaxysd

MODULES = [found.name for found in pkgutil.walk_packages(astro_galaxysd.__path__, "astro_galaxysd.")]
EXAMPLES = [name for name in MODULES if not name.endswith("__main__")]


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    tests = [test for name in EXAMPLES for test in finder.find(importlib.import_module(name))]
    assert sum(bool(test.examples) for test in tests) >= 10
