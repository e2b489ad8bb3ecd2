"""What the documentation promises: its code runs, the architecture page names every module, links lead to files."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from astro_galaxysd import cli, drawing, generation, pipeline

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page, *languages):
    """Code blocks of a page, in order."""
    return [(language, text) for language, text in FENCE.findall(page.read_text()) if language in languages]


@pytest.fixture
def tiny_mini(monkeypatch, tiny_weights):
    """The name 'mini' means weights that draw noise in no time."""
    real = drawing.weight_card

    def card(weights):
        found = real(weights)
        return replace(found, location=str(tiny_weights), steps=2, image_size=32) if found.name == "mini" else found

    for module in (drawing, pipeline, generation):
        if hasattr(module, "weight_card"):
            monkeypatch.setattr(module, "weight_card", card)


def run_blocks(page, capsys):
    """Run commands and code of a page in order; return the names that the code leaves."""
    namespace = {}
    for language, text in blocks(page, "console", "python"):
        if language == "python":
            exec(compile(text, page.name, "exec"), namespace)
            continue
        for command in re.findall(r"(?:^\$ |&& \S*/)galaxysd (.*)$", text, re.MULTILINE):
            status = cli.main([*shlex.split(command), "--no-progress"])
            assert status == 0, capsys.readouterr().err
    return namespace


def test_quickstart_runs(tiny_mini, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run_blocks(DOCS / "quickstart.md", capsys)
    assert len(names["real"]) == 24
    assert len(names["new"]) == 8
    assert len(names["more"]) == 29
    assert names["asked"]["prompt"][0].startswith("sdss, in-between round galaxy, {dust lane:1.3}")
    assert (tmp_path / "mergers.png").exists()


def test_readme_runs(tiny_mini, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run_blocks(ROOT / "README.md", capsys)
    assert len(names["table"]) == 24
    assert len(names["plan"]) >= 2
    assert len(names["hdus"]) == 6
    assert "mergers.png" in capsys.readouterr().out
    assert (tmp_path / "mergers.png").exists()


def test_prompt_examples_run():
    namespace = {}
    for _, text in blocks(DOCS / "prompts-and-weights.md", "python"):
        exec(compile(text, "prompts-and-weights.md", "exec"), namespace)
    assert "parse_prompt" in namespace


@pytest.mark.parametrize(
    ("written", "weights"),
    [
        ("dust lane", {}),
        ("{dust lane:1.3}", {"dust lane": 1.3}),
        ("{dust lane}", {"dust lane": 1.1}),
        ("{spiral galaxy, {merger:1.2}:1.1}", {"spiral galaxy": 1.1, "merger": 1.32}),
    ],
)
def test_table_of_weights_is_right(written, weights):
    from astro_galaxysd.conditions.prompts import prompt_weights

    assert f"| `{written}` |" in (DOCS / "prompts-and-weights.md").read_text()
    assert prompt_weights(written) == weights


@pytest.mark.parametrize("module", sorted(ROOT.glob("astro_galaxysd/**/*.py")), ids=lambda path: path.stem)
def test_architecture_names_every_module(module):
    if not module.stem.startswith("__"):
        assert f"`{module.stem}`" in (DOCS / "architecture.md").read_text()


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_links_lead_to_files(page):
    for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in link:
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_page_is_in_the_contents():
    contents = (DOCS / "index.md").read_text()
    for page in PAGES:
        if page.name != "index.md":
            assert re.search(rf"^{page.relative_to(DOCS).with_suffix('')}$", contents, re.MULTILINE), page.name


def test_benchmarks_and_figures_start(tmp_path):
    """They run for minutes; that they start at all is tested here."""
    for script in (
        "benchmarks/run.py",
        "benchmarks/throughput.py",
        "benchmarks/import_time.py",
        "benchmarks/evaluation.py",
        "benchmarks/judges.py",
        "docs/make_figures.py",
    ):
        done = subprocess.run(
            [sys.executable, ROOT / script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "usage:" in done.stdout
