"""The layers of pyproject.toml hold, and the contracts can break: each is broken once by a planted import."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter", reason="import-linter is not installed")

ROOT = Path(__file__).resolve().parents[1]
LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"


@pytest.fixture
def tree(tmp_path):
    """The package as it is installed: with entry_points inside. On the editable install the linter can't see them."""
    ignore = shutil.ignore_patterns("__pycache__", "weights", "data")
    shutil.copytree(ROOT / "astro_galaxysd", tmp_path / "astro_galaxysd", ignore=ignore)
    shutil.copytree(ROOT / "entry_points", tmp_path / "astro_galaxysd" / "entry_points", ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(tree):
    done = subprocess.run([sys.executable, "-c", LINT], cwd=tree, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_contracts_are_kept(tree):
    status, output = lint(tree)
    assert status == 0, output
    assert "4 kept, 0 broken" in output


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("errors", "import astro_galaxysd.records", "Layers"),
        ("conditions/tree", "from astro_galaxysd.images import storage", "Layers"),
        ("evaluation/photometry", "import astro_galaxysd.diffusion", "Layers"),
        ("testing", "import astro_galaxysd.entry_points.weights", "Nobody imports the entry points"),
        ("__init__", "import astro_galaxysd.entry_points.weights", "Nobody imports the entry points"),
        ("entry_points/weights", "import torch", "Discovery loads"),
        ("records", "import numpy", "Discovery loads"),
        ("plugins/manager", "def later():\n    import astropy.table", "Discovery loads"),
        ("conditions/prompts", "import torch", "Torch lives"),
        ("unplaced", "", "Layers"),
    ],
)
def test_planted_violation_breaks_its_contract(tree, module, line, contract):
    with (tree / "astro_galaxysd" / f"{module}.py").open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    status, output = lint(tree)
    assert status != 0, output
    broken = [text for text in output.splitlines() if text.endswith("BROKEN")]
    assert any(text.startswith(contract) for text in broken), output
