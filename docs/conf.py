"""Sphinx configuration: builds offline, and every warning is an error in the checks."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.metadata import version as installed_version

from docutils import nodes
from docutils.parsers.rst import Directive

project = "astro_galaxysd"
author = "astro_galaxysd developers"
copyright = author
release = installed_version("astro-galaxysd")
version = ".".join(release.split(".")[:2])

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
default_role = "py:obj"  # docstrings name things in single backticks
myst_enable_extensions = ["dollarmath", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc's sections say the types, with shapes and ranges
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"astro_galaxysd {version}"
html_theme_options = {"navigation_with_keys": True}
mathjax_path = ""  # pages must build and open without a network; formulas are few and stay readable as text


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


def setup(app: object) -> None:
    """Register the directive."""
    app.add_directive("command-help", CommandHelp)  # type: ignore[attr-defined]
