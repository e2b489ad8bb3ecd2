"""What was looked at in earlier rounds: answers beside candidates, and what does not fit together."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd import write_table
from astro_galaxysd.errors import ConditionError
from astro_galaxysd.vetted import NAME, SEARCH, read_vetted


def make_round(folder, names, answers, levels=(0, 1, 2), ids=True, target="merger"):
    """What a search and its page leave; a galaxy is known by its level."""
    folder.mkdir()
    images = [np.full((8, 8, 3), level, np.uint8) for level, _ in zip(levels, names, strict=False)]
    table = Table({NAME: names, "image": images})
    table.meta[SEARCH] = {"parameters": {"target": target, "against": None}, "ids": ids}
    write_table(table, folder / "candidates.parquet")
    lines = "".join(f"{name},{answer},1.5\r\n" for name, answer in answers.items())
    (folder / "vetting.csv").write_text(f"id,answer,seconds\r\n{lines}")
    return folder


def test_two_rounds(tmp_path):
    first = make_round(tmp_path / "1", ["a", "b", "c"], {"c": "yes", "a": "unsure"})
    second = make_round(tmp_path / "2", ["d", "a"], {"d": "no", "a": "yes"}, (100, 0))
    found = read_vetted([first, second], (16, 16), target="merger")
    assert dict(zip(found.names, found.answers, strict=True)) == {"c": True, "a": True, "d": False}
    assert found.images.shape == (3, 16, 16, 3)
    assert found.images[found.names.index("c")].mean() == 2
    assert found.images[found.names.index("d")].mean() == 100
    assert found.identified == [True] * 3


def test_what_could_not_be_told_does_not_undo_an_answer(tmp_path):
    first = make_round(tmp_path / "1", ["a"], {"a": "no"})
    second = make_round(tmp_path / "2", ["a"], {"a": "unsure"})
    assert read_vetted([first, second], (8, 8), target="merger").answers == [False]


def test_no_round():
    found = read_vetted([], (8, 8), target="merger")
    assert (found.names, found.answers, found.images.shape) == ([], [], (0, 8, 8, 3))


def test_rows_of_catalogues_without_ids_are_told_by_their_pixels(tmp_path):
    first = make_round(tmp_path / "1", ["row 0"], {"row 0": "yes"}, (5,), ids=False)
    second = make_round(tmp_path / "2", ["row 0"], {"row 0": "no"}, (9,), ids=False)
    found = read_vetted([first, second], (8, 8), target="merger")
    assert (found.answers, found.identified) == ([True, False], [False, False])


def test_rounds_for_something_else(tmp_path):
    folder = make_round(tmp_path / "1", ["a"], {"a": "yes"}, target="ring")
    with pytest.raises(ConditionError, match="was a search for 'ring', this one is for 'merger' against 'odd'; its an"):
        read_vetted([folder], (8, 8), target="merger", against="odd")


def test_rounds_that_contradict_each_other(tmp_path):
    first = make_round(tmp_path / "1", ["a"], {"a": "no"})
    second = make_round(tmp_path / "2", ["a"], {"a": "yes"})
    with pytest.raises(
        ConditionError, match=r"vetting.csv: 'a' is of the class, in a round before it was not of the c"
    ):
        read_vetted([first, second], (8, 8), target="merger")


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(ConditionError, match=r"candidates.parquet is not there; name the folder of a search"):
        read_vetted([tmp_path], (8, 8), target="merger")
    folder = make_round(tmp_path / "1", ["a"], {"a": "no"})
    (folder / "vetting.csv").unlink()
    with pytest.raises(ConditionError, match=r"vetting.csv is not there; look at the candidates in vetting.html, exp"):
        read_vetted([folder], (8, 8), target="merger")


def test_answers_of_another_search(tmp_path):
    folder = make_round(tmp_path / "1", ["a", "b"], {"a": "no", "z": "yes"})
    with pytest.raises(ConditionError, match="1 of 2 answers are not of the candidates beside it, 'z' for example"):
        read_vetted([folder], (8, 8), target="merger")


def test_candidates_of_another_program(tmp_path):
    folder = make_round(tmp_path / "1", ["a"], {"a": "no"})
    write_table(Table({"id": ["a"]}), folder / "candidates.parquet", overwrite=True)
    with pytest.raises(ConditionError, match="candidates.parquet has no column 'search_name' or no record; name the"):
        read_vetted([folder], (8, 8), target="merger")
