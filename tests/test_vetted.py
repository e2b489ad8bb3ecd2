"""What was looked at in earlier rounds: answers beside candidates, and what does not fit together."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd import write_table
from astro_galaxysd.errors import ConditionError
from astro_galaxysd.vetted import NAME, read_vetted


def make_round(folder, names, answers, level=0):
    folder.mkdir()
    images = [np.full((8, 8, 3), level + number, np.uint8) for number in range(len(names))]
    write_table(Table({NAME: names, "image": images}), folder / "candidates.parquet")
    lines = "".join(f"{name},{answer},1.5\r\n" for name, answer in answers.items())
    (folder / "vetting.csv").write_text(f"id,answer,seconds\r\n{lines}")
    return folder


def test_two_rounds(tmp_path):
    first = make_round(tmp_path / "1", ["a", "b", "c"], {"c": "yes", "a": "unsure"})
    second = make_round(tmp_path / "2", ["d", "a"], {"d": "no", "a": "yes"}, 100)
    found = read_vetted([first, second], (16, 16))
    assert dict(zip(found.names, found.answers, strict=True)) == {"c": True, "a": True, "d": False}
    assert found.images.shape == (3, 16, 16, 3)
    assert found.images[found.names.index("c")].mean() == 2
    assert found.images[found.names.index("d")].mean() == 100


def test_what_could_not_be_told_does_not_undo_an_answer(tmp_path):
    first = make_round(tmp_path / "1", ["a"], {"a": "no"})
    second = make_round(tmp_path / "2", ["a"], {"a": "unsure"})
    assert read_vetted([first, second], (8, 8)).answers == [False]


def test_no_round():
    found = read_vetted([], (8, 8))
    assert (found.names, found.answers, found.images.shape) == ([], [], (0, 8, 8, 3))


def test_rounds_that_contradict_each_other(tmp_path):
    first = make_round(tmp_path / "1", ["a"], {"a": "no"})
    second = make_round(tmp_path / "2", ["a"], {"a": "yes"})
    with pytest.raises(
        ConditionError, match=r"vetting.csv: 'a' is of the class, in a round before it was not of the c"
    ):
        read_vetted([first, second], (8, 8))


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(ConditionError, match=r"candidates.parquet is not there; name the folder of a search"):
        read_vetted([tmp_path], (8, 8))
    folder = make_round(tmp_path / "1", ["a"], {"a": "no"})
    (folder / "vetting.csv").unlink()
    with pytest.raises(ConditionError, match=r"vetting.csv is not there; look at the candidates in vetting.html, exp"):
        read_vetted([folder], (8, 8))


def test_answers_of_another_search(tmp_path):
    folder = make_round(tmp_path / "1", ["a", "b"], {"a": "no", "z": "yes"})
    with pytest.raises(ConditionError, match="1 of 2 answers are not of the candidates beside it, 'z' for example"):
        read_vetted([folder], (8, 8))


def test_candidates_of_another_program(tmp_path):
    folder = make_round(tmp_path / "1", ["a"], {"a": "no"})
    write_table(Table({"id": ["a"]}), folder / "candidates.parquet", overwrite=True)
    with pytest.raises(ConditionError, match="candidates.parquet has no column 'search_name'; name the folder of a s"):
        read_vetted([folder], (8, 8))
