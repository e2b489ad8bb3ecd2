"""`docs/make_figures.py --kinds`: rare kinds from prompts, or below the real galaxies with the strongest votes."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd.conditions.selection import Selection
from astro_galaxysd.conditions.tree import ANSWERS, INDEX, QUESTION_OF
from astro_galaxysd.testing import example_batch


@pytest.fixture
def figures(monkeypatch, load_script):
    """The script; what it draws and writes is kept in `drawn` and `sheets`."""
    module = load_script("docs/make_figures.py")
    module.drawn, module.sheets = [], {}

    def generate(table, **sampling):
        module.drawn.append(table)
        return Table({"image": np.zeros((len(table), 16, 16, 3), np.uint8)})

    def contact_sheet(groups, path, **options):
        module.sheets[path.name] = groups
        return path

    monkeypatch.setattr(module, "generate", generate)
    monkeypatch.setattr(module, "contact_sheet", contact_sheet)
    return module


def rings(n=12):
    """Galaxies with more and more votes for a ring; the last four are no odd ones by the published cuts."""
    votes = np.full((n, len(ANSWERS)), 0.0)
    votes[:, INDEX["smooth"]], votes[:, INDEX["odd"]] = 1, np.r_[np.full(n - 4, 0.8), np.full(4, 0.3)]
    votes[:, INDEX["ring"]] = np.linspace(0.4, 1, n)
    table = Table({answer.kaggle: np.zeros(n) for answer in ANSWERS})
    for key in ("smooth", "odd", "ring"):
        share = votes[:, INDEX["odd"]] if QUESTION_OF[key].parent else 1
        table[ANSWERS[INDEX[key]].kaggle] = votes[:, INDEX[key]] * share
    table["id"], table["image"] = [f"g{row}" for row in range(n)], example_batch(n).images
    return table


def test_kinds_from_prompts(figures, tmp_path):
    paths = figures.kinds(tmp_path, None, 0, False)
    assert [path.name for path in paths] == ["kinds_odd.png", "kinds_disks.png", "kinds_bulges.png"]
    prompts = [str(table["prompt"][0]) for table in figures.drawn]
    assert len(prompts) == 17
    assert "sdss, features or disk-shaped, edge-on galaxy, something odd, dust lane" in prompts
    assert "sdss, features or disk-shaped, spiral galaxy, 4 spiral arms" in prompts
    assert figures.COMPOSED in prompts
    assert {len(images) for groups in figures.sheets.values() for _, images in groups} == {figures.ACROSS}


def test_kinds_beside_real_galaxies(figures, tmp_path):
    paths = figures.kinds(tmp_path, rings(), 0, False)
    assert paths[0].name == "real_and_synthetic_kinds_odd.png"
    (real, images), (told, drawn) = figures.sheets[paths[0].name][:2]
    assert (real, len(images), len(drawn)) == ("real: ring galaxy (6 of 6)", 6, 6)
    assert told == "synthetic, from the votes of the galaxies above"
    assert list(figures.drawn[0]["id"]) == ["g7", "g6", "g5", "g4", "g3", "g2"]
    labels = [label for label, _ in figures.sheets[paths[0].name]]
    assert "no real galaxy: merger" in labels
    assert labels[-1] == f"synthetic, from the prompt: {figures.COMPOSED}"


def test_strongest_votes_come_first(figures):
    rows, n = figures._strongest(rings(), ("smooth", "ring"), {"ring": Selection(0.2, 0.2)})
    assert n == 12
    assert rows.tolist() == [7, 6, 5, 4, 3, 2, 1, 0]
