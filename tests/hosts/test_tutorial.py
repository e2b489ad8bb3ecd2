"""What the tutorial does with Hyrax and LSDB, run where they are (`tox -e hyrax`)."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from astro_galaxysd import workers, write_table
from astro_galaxysd.images.encoded import decode_image

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorials" / "host-us.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
(CARD,) = (text for language, text in BLOCKS if language == "toml")
HYRAX, LSDB = (text for language, text in BLOCKS if language == "py")


def test_the_card_names_the_class_and_its_settings():
    from astro_galaxysd.hosts.hyrax import GalaxyTable, read_settings

    config = tomllib.loads(CARD)
    classes = {group["data"]["dataset_class"] for group in config["data_request"].values()}
    assert classes == {f"{GalaxyTable.__module__}.{GalaxyTable.__name__}"}
    assert read_settings(config)["stand_ins"] == 0.3
    assert read_settings(config["data_request"]["validate"]["data"]["dataset_config"])["rows"] == "real"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_hyrax(hyrax, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_table(table, "train.parquet")
    write_table(table, "validate.parquet")
    Path("hyrax.toml").write_text(CARD.replace("[model]", "[train]\nepochs = 1\n\n[model]", 1))
    names = {}
    exec(compile(HYRAX, PAGE.name, "exec"), names)
    assert {group: len(provider) for group, provider in names["providers"].items()} == {"train": 12, "validate": 8}
    assert all(np.isfinite(value.detach().numpy()).all() for value in names["model"].parameters())
    assert list(Path("results").glob("*/example_model.pth"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_lsdb_draws_the_same_however_it_is_cut(flow, monkeypatch):
    if importlib.util.find_spec("lsdb") is None:
        pytest.skip("LSDB is not installed (tox -e hyrax)")
    import lsdb
    import pandas as pd

    monkeypatch.setattr(workers, "_kept", {})
    rng, n = np.random.default_rng(0), 60
    places = {"ra": rng.uniform(0, 360, n), "dec": np.degrees(np.arcsin(rng.uniform(-1, 1, n)))}
    frame = pd.DataFrame({"id": [f"g{row}" for row in range(n)], "prompt": ["sdss, merger"] * n, **places})
    found = []
    for order in (0, 1):
        code = LSDB.replace("rng=1", 'rng=1, generator="flow"')
        code = code.replace('dec_column="dec"', f'dec_column="dec", lowest_order={order}, partition_rows=10')
        names = {"pd": pd, "lsdb": lsdb, "frame": frame}
        exec(compile(code, PAGE.name, "exec"), names)
        found.append(
            (names["catalogue"].npartitions, dict(zip(names["drawn"]["id"], names["drawn"]["image"], strict=True)))
        )
    (coarse, one), (fine, other) = found
    assert 1 < coarse < fine
    assert one == other
    assert len(set(one.values())) == n
    assert {decode_image(image, "").shape for image in one.values()} == {(16, 16, 3)}
    assert flow.made_with == [("mini", None, None)]
