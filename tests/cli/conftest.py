"""The command line in this process, and a small survey to give it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd import write_table
from astro_galaxysd.cli import main


class Done(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def galaxysd(capsys):
    """Run ``galaxysd ARGUMENTS``."""

    def run(*arguments):
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        return Done(status, *capsys.readouterr())

    return run


@pytest.fixture
def survey(tmp_path):
    """Path of a table: two mergers of five galaxies."""
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    table = Table({
        "id": list("abcde"), "image": images,
        "t01_smooth": [0.8, 0.7, 0.2, 0.9, 0.1], "t06_odd_yes": [0.9, 0.8, 0.1, 0.1, 0.2],
        "t08_merger": [0.75, 0.6, 0.1, 0.0, 0.0],
    })  # fmt: skip
    return write_table(table, tmp_path / "survey.parquet")


@pytest.fixture
def augment(galaxysd, survey, tmp_path, flow):
    """Run ``galaxysd augment SURVEY --target merger -n 3 -o out.parquet`` with an instant generator."""

    def run(*more, table=survey, target="merger", n=3, out=tmp_path / "out.parquet"):
        request = ["augment", table, "--target", target, "-n", n, "-o", out, "--generator", "flow", "--no-progress"]
        return galaxysd(*request, *more)

    return run
