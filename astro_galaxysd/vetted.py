"""What was looked at in earlier rounds of a search: their folders in, galaxies with their images and answers out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astro_galaxysd.conditions.columns import texts
from astro_galaxysd.errors import ConditionError
from astro_galaxysd.images.codec import fit_size, read_images
from astro_galaxysd.images.storage import read_table
from astro_galaxysd.reporting.vetting import read_vetting

__all__ = ["ANSWERS", "CANDIDATES", "NAME", "SEARCH", "Vetted", "read_vetted"]

#: Files of a round: what was returned, and what was said of it.
CANDIDATES, ANSWERS = "candidates.parquet", "vetting.csv"
#: Column of the candidates: what the page calls them. Key of the record in their ``meta``.
NAME, SEARCH = "search_name", "galaxysd_search"


@dataclass(frozen=True)
class Vetted:
    """Galaxies that were looked at, each once.

    Parameters
    ----------
    names : list of str, length N
    identified : list of bool, length N
        Whether the name is an id, not a number of a row.
    images : ndarray, shape (N, H, W, 3), uint8
    digests : list of bytes, length N
        Of `images` (`astro_galaxysd.evaluation.memory.digests`).
    answers : list of bool or None, length N
        Whether they are of the class; None: can't be told.
    """

    names: list[str]
    identified: list[bool]
    images: np.ndarray
    digests: list[bytes]
    answers: list[bool | None]


@dataclass(frozen=True)
class _Answered:
    name: str
    identified: bool
    image: np.ndarray
    answer: bool | None


def read_vetted(
    folders: Sequence[str | os.PathLike[str]],
    size: tuple[int, int],
    *,
    target: str,
    against: str | None = None,
    images: str = "image",
) -> Vetted:
    """Read what was looked at.

    Parameters
    ----------
    folders : sequence of path
        ``out`` of earlier searches, with the answers that the page exports.
    size : tuple of int
        (height, width) that images are brought to.
    target, against : str
        Of the search that wants to know; the earlier ones must have asked for the same.
    images : str
        Image column.

    Raises
    ------
    ConditionError
        If a folder lacks a file, was a search for something else, answers are not of its candidates, or two rounds
        contradict each other.
    """
    from astro_galaxysd.evaluation.memory import digests

    found: dict[bytes, _Answered] = {}
    for folder in map(Path, folders):
        for one in _read_round(folder, size, images, (target, against)):
            key = digests(one.image[np.newaxis])[0]
            known = found.get(key)
            if known is not None and None not in (known.answer, one.answer) and known.answer != one.answer:
                raise ConditionError(
                    f"{folder / ANSWERS}: {one.name!r} is {_told(one.answer)}, in a round before it was "
                    f"{_told(known.answer)}; correct one of the two"
                )
            if known is None or one.answer is not None:
                found[key] = one
    every = list(found.values())
    return Vetted(
        [one.name for one in every],
        [one.identified for one in every],
        np.stack([one.image for one in every]) if every else np.zeros((0, *size, 3), np.uint8),
        list(found),
        [one.answer for one in every],
    )


def _read_round(folder: Path, size: tuple[int, int], images: str, asked: tuple[str, str | None]) -> Iterator[_Answered]:
    for name, way_out in (
        (CANDIDATES, "name the folder of a search"),
        (ANSWERS, "look at the candidates in vetting.html, export the answers, and save them there"),
    ):
        if not (folder / name).is_file():
            raise ConditionError(f"{folder / name} is not there; {way_out}")
    answers, table = read_vetting(folder / ANSWERS), read_table(folder / CANDIDATES)
    if NAME not in table.colnames or SEARCH not in table.meta:
        raise ConditionError(f"{folder / CANDIDATES} has no column {NAME!r} or no record; name the folder of a search")
    before = table.meta[SEARCH]["parameters"]
    if (before["target"], before["against"]) != asked:
        raise ConditionError(
            f"{folder} was a search for {_asked(before['target'], before['against'])}, this one is for "
            f"{_asked(*asked)}; its answers say nothing here"
        )
    rows = {name or "": row for row, name in enumerate(texts(table[NAME]))}
    strange = [name for name in answers if name not in rows]
    if strange:
        raise ConditionError(
            f"{folder / ANSWERS}: {len(strange)} of {len(answers)} answers are not of the candidates beside it, "
            f"{strange[0]!r} for example; put the file into the folder of its own search"
        )
    identified = bool(table.meta[SEARCH]["ids"])
    pixels = read_images(table, column=images, rows=[rows[name] for name in answers])
    for (name, answer), image in zip(answers.items(), pixels, strict=True):
        yield _Answered(name, identified, fit_size(image[np.newaxis], size)[0], answer)


def _asked(target: str, against: str | None) -> str:
    return repr(target) if against is None else f"{target!r} against {against!r}"


def _told(answer: bool | None) -> str:
    return "of the class" if answer else "not of the class"
