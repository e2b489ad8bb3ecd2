from __future__ import annotations

import pytest
from astropy.table import Table

from astro_galaxysd.reporting.verdicts import verdict_page


@pytest.fixture
def found():
    lines = [
        {
            "positives": number, "arm": arm, "ratio": ratio, "metric": metric, "value": 0.4 + ratio / 10, "low": 0.3,
            "high": 0.6, "gain": ratio / 10, "gain_low": -0.1, "gain_high": 0.2, "chosen": True,
        }
        for number in (10, 50)
        for arm, ratio in (("real", 0.0), ("class_weights", 0.0), ("synthetic", 1.0))
        for metric in ("average_precision", "purity")
    ]  # fmt: skip
    return Table(lines)


@pytest.fixture
def record():
    return {
        "target": "merger <b>",
        "split": {part: {"of the class": 20, "others": 60} for part in ("train", "validation", "test")},
        "compared by": ["id", "image"],
        "rows of one object": {"id": 0, "image": 2},
        "seen": {"weights 'mini'": {"train": 3, "test": None}},
        "galaxies of the class that the weights were trained on": 595,
        "told apart": {"10": 0.913},
        "excluded": {"no image": {"rows": 2, "named": ["g1", "g2"]}},
    }


def test_every_number_and_arm_is_on_the_page(found, record):
    page = verdict_page(found, "merger: helps & more", record)
    assert page.count("<svg") == 2
    assert "10 labelled galaxies" in page
    assert "50 labelled galaxies" in page
    assert page.count('<th scope="row">synthetic, ratio 1</th>') == 2
    assert page.count("<td>0.50<br><small>+0.10 (-0.10 to +0.20)</small></td>") == 4
    for told in ("train 3, test not known", "595", "10 0.91", "no image 2", "id, image"):
        assert told in page


def test_text_is_no_html(found, record):
    page = verdict_page(found, "merger: helps & more", record)
    assert "merger: helps &amp; more" in page
    assert "merger &lt;b&gt;" in page
    assert "<b>" not in page
    assert "://" not in page.replace("http://www.w3.org", "")
