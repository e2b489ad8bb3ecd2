"""Sphinx configuration: builds offline, and every warning is an error in the checks."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.metadata import version as installed_version

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

project = "astro_galaxysd"
author = "astro_galaxysd developers"
copyright = author
release = installed_version("astro-galaxysd")
version = ".".join(release.split(".")[:2])

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
default_role = "py:obj"  # docstrings name things in single backticks
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc's sections say the types, with shapes and ranges
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"astro_galaxysd {version}"
html_theme_options = {"navigation_with_keys": True}


class CommandHelp(Directive):
    """What ``galaxysd ... --help`` prints, so that the page can't fall behind the program."""

    optional_arguments = 5

    def run(self) -> list[nodes.Node]:
        """Run the command and show its output."""
        arguments = [*self.arguments, "--help"]
        # Elsewhere than in the project's root, whose folder astro_galaxysd/ would hide the installed package.
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, "-m", "astro_galaxysd.cli", *arguments],
                cwd=folder, env={**os.environ, "COLUMNS": "100"}, check=True, capture_output=True, text=True,
            )  # fmt: skip
        text = f"$ galaxysd {' '.join(arguments)}\n{done.stdout}"
        return [nodes.literal_block(text, text, language="console")]


class AnswerTable(Directive):
    """The answers of the tree with their prompt words, their Kaggle column and the cut of their question."""

    def run(self) -> list[nodes.Node]:
        """Write the table as text and have it parsed."""
        from astro_galaxysd.conditions.tree import QUESTIONS

        lines = ["| answer | prompt words | `kaggle` | asked where |", "|---|---|---|---|"]
        for question in QUESTIONS:
            asked = f"`{question.parent} > {question.cut:.3f}`" if question.parent else "always"
            lines += [f"| `{a.key}` | {a.words or '-'} | `{a.kaggle}` | {asked} |" for a in question.answers]
        parent = nodes.container()
        self.state.nested_parse(StringList(lines, "tree"), self.content_offset, parent)
        return parent.children


def setup(app: object) -> None:
    """Register the directives."""
    app.add_directive("answer-table", AnswerTable)  # type: ignore[attr-defined]
    app.add_directive("command-help", CommandHelp)  # type: ignore[attr-defined]
