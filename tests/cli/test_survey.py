"""galaxysd survey, and galaxysd augment with a survey's own cutouts."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from astro_galaxysd import read_table, write_table
from astro_galaxysd.cli.arguments import make_parser
from astro_galaxysd.errors import MatchWarning


@pytest.fixture
def named(made, tmp_path):
    """Paths of a survey's table and card."""
    return write_table(made[1], tmp_path / "table.fits"), made[0] / "survey.toml"


@pytest.fixture
def add(galaxysd, named, flow, tmp_path):
    def run(*more):
        request = ["augment", named[0], "--target", "round", "-n", 2, "--generator", "flow", "--no-progress"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MatchWarning)
            return galaxysd(*request, "--survey", named[1], "-o", tmp_path / "more.fits", *more)

    return run


def test_survey_says_what_was_found(galaxysd, named, tmp_path):
    done = galaxysd("survey", named[0], "--survey", named[1], "--framed", "-o", tmp_path / "own.parquet")
    assert done.status == 0, done.err
    assert "12 real rows, 0 of them can't be used" in done.out
    assert "64x64 px, bands i, r, g, 0.5 arcsec a pixel" in done.out
    assert "R90 of the galaxies:" in done.out
    assert f"table    {tmp_path}/own.parquet" in done.out
    own = read_table(tmp_path / "own.parquet")
    assert own["image"].shape == (12, 128, 128, 3)
    assert (tmp_path / "own.png").exists()


def test_augment_with_a_card(add, made, tmp_path):
    done = add("--match", "survey")
    assert done.status == 0, done.err
    table = read_table(tmp_path / "more.fits")
    new = table[table["synthetic"]]
    assert fits.getheader(made[0] / str(new["file_r"][0]))["SYNTHET"] is True
    assert len(list((tmp_path / "more_cutouts").iterdir())) == 6
    assert np.isfinite(new["match_scale"]).all()
    assert (tmp_path / "more.png").exists()


def test_cutouts_go_where_they_are_told(add, tmp_path):
    assert add("--cutouts", tmp_path / "elsewhere").status == 0
    assert len(list((tmp_path / "elsewhere").iterdir())) == 6


def test_refusals(add, galaxysd, named, tmp_path):
    done = add("--hdus", tmp_path / "hdus.fits")
    assert done.status == 1
    assert "the cutouts of file_i, file_r, file_g are files, and new ones will be; leave --hdus out" in done.err
    done = galaxysd("survey", named[0], "--survey", named[1], "--framed")
    assert done.status == 1
    assert "--framed says what is written; give -o FILE" in done.err
    assert add("--match", "sky").status == 1


def test_every_command_has_its_help_on_the_page():
    page = (Path(__file__).resolve().parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
    (commands,) = (action.choices for action in make_parser()._actions if isinstance(action.choices, dict))
    assert "survey" in commands
    assert [name for name in commands if f"```{{command-help}} {name}\n" not in page] == []
