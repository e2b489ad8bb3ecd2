"""What was looked at in earlier rounds of a search: their folders in, galaxies with their images and answers out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astro_galaxysd.conditions.columns import texts
from astro_galaxysd.errors import ConditionError
from astro_galaxysd.images.codec import fit_size, read_images
from astro_galaxysd.images.storage import read_table
from astro_galaxysd.reporting.vetting import read_vetting

__all__ = ["ANSWERS", "CANDIDATES", "NAME", "Vetted", "read_vetted"]

#: Files of a round: what was returned, and what was said of it.
CANDIDATES, ANSWERS = "candidates.parquet", "vetting.csv"
#: Column of the candidates: what the page calls them.
NAME = "search_name"


@dataclass(frozen=True)
class Vetted:
    """Galaxies that were looked at.

    Parameters
    ----------
    names : list of str, length N
    images : ndarray, shape (N, H, W, 3), uint8
    answers : list of bool or None, length N
        Whether they are of the class; None: can't be told.
    """

    names: list[str]
    images: np.ndarray
    answers: list[bool | None]


def read_vetted(folders: Sequence[str | os.PathLike[str]], size: tuple[int, int], *, images: str = "image") -> Vetted:
    """Read what was looked at.

    Parameters
    ----------
    folders : sequence of path
        ``out`` of earlier searches, with the answers that the page exports.
    size : tuple of int
        (height, width) that images are brought to.
    images : str
        Image column.

    Raises
    ------
    ConditionError
        If a folder lacks a file, answers are not of its candidates, or two rounds contradict each other.
    """
    found: dict[str, tuple[np.ndarray, bool | None]] = {}
    for folder in map(Path, folders):
        for name, image, answer in _read_round(folder, images):
            known = found.get(name)
            if known is not None and None not in (known[1], answer) and known[1] != answer:
                raise ConditionError(
                    f"{folder / ANSWERS}: {name!r} is {_told(answer)}, in a round before it was {_told(known[1])}; "
                    "correct one of the two"
                )
            found[name] = fit_size(image[np.newaxis], size)[0], known[1] if known and answer is None else answer
    pixels = [image for image, _ in found.values()]
    return Vetted(
        list(found), np.stack(pixels) if pixels else np.zeros((0, *size, 3), np.uint8), [a for _, a in found.values()]
    )


def _read_round(folder: Path, images: str) -> list[tuple[str, np.ndarray, bool | None]]:
    for name, way_out in (
        (CANDIDATES, "name the folder of a search"),
        (ANSWERS, "look at the candidates in vetting.html, export the answers, and save them there"),
    ):
        if not (folder / name).is_file():
            raise ConditionError(f"{folder / name} is not there; {way_out}")
    answers, table = read_vetting(folder / ANSWERS), read_table(folder / CANDIDATES)
    if NAME not in table.colnames:
        raise ConditionError(f"{folder / CANDIDATES} has no column {NAME!r}; name the folder of a search")
    rows = {name or "": row for row, name in enumerate(texts(table[NAME]))}
    strange = [name for name in answers if name not in rows]
    if strange:
        raise ConditionError(
            f"{folder / ANSWERS}: {len(strange)} of {len(answers)} answers are not of the candidates beside it, "
            f"{strange[0]!r} for example; put the file into the folder of its own search"
        )
    pixels = read_images(table, column=images, rows=[rows[name] for name in answers])
    return [(name, image, answer) for (name, answer), image in zip(answers.items(), pixels, strict=True)]


def _told(answer: bool | None) -> str:
    return "of the class" if answer else "not of the class"
