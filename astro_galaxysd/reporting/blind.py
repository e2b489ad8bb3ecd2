"""Can a reader tell real from synthetic galaxies? Images of both in, a page that asks and scores out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.errors import ImageError
from astro_galaxysd.images.files import atomic_path
from astro_galaxysd.reporting.asking import Answer, asking_page
from astro_galaxysd.reporting.page import data_uri

if TYPE_CHECKING:
    from astro_galaxysd.records import ImageBatch

__all__ = ["write_blind_page"]

_REAL, _SYNTHETIC = "real", "synthetic"
_ANSWERS = Answer(_REAL, "Real", "r"), Answer(_SYNTHETIC, "Synthetic", "s")


def write_blind_page(
    real: ImageBatch,
    synthetic: ImageBatch,
    path: str | os.PathLike[str],
    *,
    n: int = 40,
    rng: np.random.Generator | int | None = None,
    title: str = "Real or synthetic?",
    overwrite: bool = False,
) -> Path:
    """Write an offline page that shows images one by one, asks which are real, and scores the answers.

    Half of the images are real, in an order drawn by lot. All are stored in the same way, without names; which is which
    is in the page, encoded, so that a reader does not meet it by chance. The score comes with the exact 95 % interval
    of a binomial share (Clopper & Pearson 1934) beside the 50 % of guessing. Answers survive a reload where the browser
    allows it, and are exported as CSV: number, id, truth, answer, seconds.

    Parameters
    ----------
    real, synthetic : ImageBatch
        Images of one size, shape (N, H, W, 3), uint8; chosen from by lot.
    path : path
        The HTML file.
    n : int
        Images shown, 2 or more; where it is odd, lot decides which kind has one more.
    rng : Generator, int or None
        Chooses and mixes.
    title : str
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    Path

    Raises
    ------
    ImageError
        If `n` is below 2 or more than there are images for, or sizes differ.
    OutputExistsError, OutputError
        As `astro_galaxysd.images.files.atomic_path`.
    """
    _check(real, synthetic, n)
    generator = np.random.default_rng(rng)
    shares = n // 2, n - n // 2
    few, many = shares if generator.random() < 0.5 else shares[::-1]
    drawn = [
        (data_uri(batch.images[row]), str(batch.ids[row]), kind)
        for batch, kind, count in ((real, _REAL, few), (synthetic, _SYNTHETIC, many))
        for row in generator.permutation(len(batch))[:count]
    ]
    mixed = [drawn[place] for place in generator.permutation(n)]
    with atomic_path(path, overwrite) as partial:
        partial.write_text(_page(mixed, title, real.images.shape[1:3]), encoding="utf-8")
    return Path(path)


def _check(real: ImageBatch, synthetic: ImageBatch, n: int) -> None:
    if n < 2:
        raise ImageError(f"n = {n} images to be judged; give 2 or more")
    fewest = min(len(real), len(synthetic))
    if fewest < n - n // 2:
        raise ImageError(
            f"n = {n} images need {n - n // 2} of each kind; there are {len(real)} real and {len(synthetic)} synthetic"
        )
    shapes = real.images.shape[1:], synthetic.images.shape[1:]
    if shapes[0] != shapes[1]:
        raise ImageError(
            f"real images of shape {shapes[0]} and synthetic ones of {shapes[1]} can be told apart by their size; "
            "bring them to one size with fit_size"
        )


def _page(mixed: list[tuple[str, str, str]], title: str, size: tuple[int, int]) -> str:
    half = "half" if len(mixed) % 2 == 0 else "about half"
    return asking_page(
        "blind",
        [image for image, _, _ in mixed],
        [[identifier, kind] for _, identifier, kind in mixed],
        title=title,
        lead=f"{len(mixed)} galaxies, {half} of them real. Say of each what you think it is; nothing is sent anywhere.",
        answers=_ANSWERS,
        finish="Finish and score",
        size=size,
    )
