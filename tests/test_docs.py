"""What the documentation promises: its code runs, the architecture page names every module, links lead to files."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import astro_galaxysd
from astro_galaxysd import cli, drawing, generation, pipeline, surveying, training
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.records import GeneratorSpec
from astro_galaxysd.testing import NoiseGenerator, example_survey

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page, *languages):
    """Code blocks of a page, in order."""
    return [(language, text) for language, text in FENCE.findall(page.read_text()) if language in languages]


def patch_cards(monkeypatch, change):
    """Every card of weights that is looked up goes through `change`."""
    real = drawing.weight_card
    for module in (drawing, pipeline, generation, surveying, training):
        if hasattr(module, "weight_card"):
            monkeypatch.setattr(module, "weight_card", lambda weights: change(real(weights)))


@pytest.fixture
def tiny_mini(monkeypatch, tiny_weights):
    """The name 'mini' means weights that draw noise in no time."""

    def tiny(card):
        return replace(card, location=str(tiny_weights), steps=2, image_size=32) if card.name == "mini" else card

    patch_cards(monkeypatch, tiny)


class RoundGalaxies(NoiseGenerator):
    """Draws smooth round galaxies of the size that the weights that ship draw, at once."""

    def __init__(self, card, *, steps=None, guidance=None):
        super().__init__(128)
        self.card = card

    def generate(self, conditions, *, batch_size=None):
        batch = super().generate(conditions, batch_size=batch_size)
        offset = np.arange(128) - 63.5
        light = 180 * np.exp(-np.hypot(offset[:, None], offset[None, :]) / 9)[..., None]
        images = (light + 3 + 7 * (batch.images / 255.0)).astype(np.uint8)
        return replace(batch, images=images, meta={"generator": "round", "weights_revision": "r1"})


@pytest.fixture
def round_galaxies(monkeypatch):
    """All weights are drawn from by a generator that draws round galaxies in no time."""
    plugin = ModuleType("round_galaxies")
    plugin.RoundGalaxies = RoundGalaxies
    plugin.galaxysd_register_generators = astro_galaxysd.hookimpl(
        lambda: [GeneratorSpec("round", "round_galaxies:RoundGalaxies")], specname="galaxysd_register_generators"
    )
    monkeypatch.setitem(sys.modules, "round_galaxies", plugin)
    assert get_registry().register(plugin, name="round:galaxies", distribution="round", version="1")
    patch_cards(monkeypatch, lambda card: replace(card, generator="round"))


def run_blocks(page, capsys, *, names=None, quicker=()):
    """Run commands and code of a page in order; return the names that the code leaves.

    `names` are there before; of `quicker` each first text is replaced by the second, and must be there.
    """
    namespace = dict(names or {})
    texts = [(language, text) for language, text in blocks(page, "console", "python")]
    for old, new in quicker:
        assert any(old in text for _, text in texts), old
        texts = [(language, text.replace(old, new)) for language, text in texts]
    for language, text in texts:
        if language == "python":
            exec(compile(text, page.name, "exec"), namespace)
            continue
        for command in re.findall(r"(?:^\$ |&& \S*/)galaxysd (.*)$", text, re.MULTILINE):
            quiet = [] if command.startswith("survey ") else ["--no-progress"]
            status = cli.main([*shlex.split(command), *quiet])
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


TUTORIALS = DOCS / "tutorials"
#: A dozen cutouts have too few stars to make a seeing of, which is warned of.
FEW_STARS = pytest.mark.filterwarnings("ignore:the survey's seeing is not known:astro_galaxysd.errors.MatchWarning")
#: What makes the tutorials short enough to be tested every time.
FEWER = [
    ('example_survey("made", 60)', 'example_survey("made", 12)'),
    ("--survey made/survey.toml\n", "--survey made/survey.toml -n 8\n"),
    ('inspect_survey(table, "made/survey.toml", rng=1)', 'inspect_survey(table, "made/survey.toml", rng=1, n=8)'),
    ("-n 4", "-n 2"),
]
FEW_OWN = [
    ('example_survey("made", 500)', 'example_survey("made", 10)'),
    ("--steps 100", "--steps 2 --set batch_size=4 --set precision=fp32"),
    ("held[:48]", "held[:2]"),
    ("-n 4", "-n 1"),
]


@FEW_STARS
def test_survey_tutorial_runs(round_galaxies, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run_blocks(TUTORIALS / "augment-a-survey.md", capsys, quicker=FEWER)
    check_survey_tutorial(names, tmp_path, n_real=12, n_table=2)


@pytest.mark.slow
def test_survey_tutorial_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run_blocks(TUTORIALS / "augment-a-survey.md", capsys)
    check_survey_tutorial(names, tmp_path, n_real=60, n_table=4)


def check_survey_tutorial(names, folder, *, n_real, n_table):
    assert len(names["table"]) == n_real
    assert len(names["more"]) == n_real + 4
    assert set(names["new"]["match_row"]) <= set(names["table"]["id"])
    assert len(list((folder / "more_cutouts").iterdir())) == 3 * n_table
    assert len(list((folder / "made" / "new").iterdir())) == 3 * 4
    assert (names["header"]["SYNTHET"], names["header"]["CALIB"]) == (True, False)
    assert names["header"]["PIXSCALE"] == pytest.approx(0.5)
    for picture in ("more.png", "look.png"):
        assert (folder / picture).exists()


def test_survey_tutorial_shows_the_card(tmp_path):
    example_survey(tmp_path, 1)
    (shown,) = blocks(TUTORIALS / "augment-a-survey.md", "toml")
    assert tomllib.loads(shown[1]) == tomllib.loads((tmp_path / "survey.toml").read_text())


@FEW_STARS
def test_fine_tuning_tutorial_runs(round_galaxies, tiny_weights, tmp_path, monkeypatch, capsys):
    """What is drawn is not what was trained here, but the trained weights are complete."""
    from astro_galaxysd.diffusion.components import load_components

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "_base_folder", lambda base: tiny_weights if base == "mini" else None)
    scores = [{"metric": metric, "value": 0.0} for metric in ("nearest_real", "frechet", "background_ks")]
    monkeypatch.setattr(astro_galaxysd, "evaluate", lambda *tables, **options: scores, raising=False)
    names = run_blocks(TUTORIALS / "fine-tune.md", capsys, quicker=FEW_OWN)
    assert set(names["own"]["split"]) == {"train", "val"}
    assert names["own"]["image"].shape == (10, 128, 128, 3)
    assert load_components(tmp_path / "runs" / "own" / "weights").vae.config.latent_channels == 4
    assert (tmp_path / "more.png").exists()


@pytest.mark.slow
def test_fine_tuning_tutorial_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run_blocks(TUTORIALS / "fine-tune.md", capsys)
    before, after = names["figures"]["mini"], names["figures"]["runs/own/weights"]
    assert after["nearest_real"] > before["nearest_real"]
    assert after["frechet"] < before["frechet"]
    assert (tmp_path / "edge_on.png").exists()


@FEW_STARS
def test_surveys_page_runs(round_galaxies, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run_blocks(DOCS / "surveys.md", capsys, names={"table": example_survey("made", 12)})
    assert len(names["more"]) == 14
    assert len(list((tmp_path / "made" / "new").iterdir())) == 3 * 2
    assert np.allclose(names["stretch"].invert(names["display"]), names["planes"])


def test_surveys_page_describes_every_key_of_a_card():
    from dataclasses import fields

    from astro_galaxysd.survey.card import Survey

    page = (DOCS / "surveys.md").read_text()
    for field in fields(Survey):
        assert f"| `{field.name}` |" in page
    (card,) = blocks(DOCS / "surveys.md", "toml")
    assert Survey(**tomllib.loads(card[1])).n_bands == 3


def test_public_names_have_an_entry():
    page = (DOCS / "api" / "public.rst").read_text()
    for name in set(astro_galaxysd.__all__) - {"errors"}:
        assert re.search(rf"^\.\. (auto\w+|py:data):: {name}$", page, re.MULTILINE), name
    assert ".. automodule:: astro_galaxysd.errors\n" in page


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


@pytest.mark.slow
def test_benchmarks_and_figures_start(tmp_path):
    """They run for minutes; that they start at all is tested here."""
    scripts = (
        "benchmarks/run.py",
        "benchmarks/throughput.py",
        "benchmarks/import_time.py",
        "benchmarks/evaluation.py",
        "benchmarks/judges.py",
        "benchmarks/matching.py",
        "benchmarks/domain.py",
        "benchmarks/unseen.py",
        "benchmarks/targets.py",
        "benchmarks/looks.py",
        "benchmarks/verdicts.py",
        "benchmarks/search.py",
        "benchmarks/catalogue.py",
        "benchmarks/shards.py",
        "benchmarks/dask_workers.py",
        "docs/make_figures.py",
    )
    # All at once: what they import takes longer than what is looked at.
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [subprocess.Popen([sys.executable, ROOT / name, "--help"], cwd=tmp_path, **pipes) for name in scripts]
    for process in started:
        said, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert "usage:" in said
