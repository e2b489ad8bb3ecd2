"""A survey's cutouts as display images: as they are, or with the galaxy at the place and size that weights draw it at.

In: rows of a survey, a frame. Out: an image of each row, or why there is none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from astro_galaxysd.conditions.seeds import stream
from astro_galaxysd.errors import ImageError
from astro_galaxysd.images.codec import fit_size
from astro_galaxysd.survey.domain import Domain
from astro_galaxysd.survey.rows import SurveyRows
from astro_galaxysd.survey.sizes import Frame, find_galaxy, frame_planes

__all__ = ["ShownRow", "ShownRows", "each_shown", "framed_planes", "show_rows"]


class ShownRow(NamedTuple):
    """One row.

    Parameters
    ----------
    row : int
    image : ndarray, shape (H, W, 3), uint8, or None
    reason : str
        Why there is no image; empty where there is one.
    lost : bool
        The cutout can be read, but no galaxy in its middle can be brought to the frame.
    """

    row: int
    image: np.ndarray | None
    reason: str = ""
    lost: bool = False


class ShownRows(NamedTuple):
    """Display images of rows.

    Parameters
    ----------
    images : list of ndarray, shape (S, S, 3), uint8
    lost : int
        Rows without a galaxy in the middle that could be brought to the frame.
    left_out : list of str
        Why other rows can't be read, with their names.
    """

    images: list[np.ndarray]
    lost: int
    left_out: list[str]


def each_shown(rows: SurveyRows, frame: Frame | None = None) -> Iterator[ShownRow]:
    """Make the display images of rows, one at a time.

    Parameters
    ----------
    rows : SurveyRows
    frame : Frame, optional
        Bring each galaxy to it.

    Yields
    ------
    ShownRow
        For every row in order; images are not brought to one size.
    """
    for row in range(len(rows)):
        try:
            planes: np.ndarray | None = rows.planes(row)
        except ImageError as error:
            yield ShownRow(row, None, rows.reason(row, error))
            continue
        try:
            planes = planes if frame is None or planes is None else framed_planes(planes, frame)
        except ImageError as error:
            yield ShownRow(row, None, str(error), lost=True)
            continue
        if planes is None:
            yield ShownRow(row, None, "no galaxy was found in the middle of the cutout", lost=True)
        else:
            yield ShownRow(row, rows.survey.display(planes))


def show_rows(rows: SurveyRows, domain: Domain, *, framed: bool) -> ShownRows:
    """Make display images of all rows at the size that was trained on.

    Parameters
    ----------
    rows : SurveyRows
    domain : Domain
    framed : bool
        Bring each galaxy to the place and size that it has in training cutouts.

    Returns
    -------
    ShownRows
    """
    frame = domain.frame(stretched=rows.survey.stretch is not None) if framed else None
    images, lost, left_out = [], 0, []
    for shown in each_shown(rows, frame):
        if shown.image is not None:
            images.append(fit_size(shown.image[np.newaxis], (domain.image_size,) * 2)[0])
        elif shown.lost:
            lost += 1
        else:
            left_out.append(f"{rows.name(shown.row)}: {shown.reason}")
    return ShownRows(images, lost, left_out)


def framed_planes(planes: np.ndarray, frame: Frame) -> np.ndarray | None:
    """Bring a galaxy to a frame; what the cutout does not cover gets pixels of its sky, in another order.

    A black border would be unlike anything that was trained on, and weights that learn from it would draw it. The order
    follows from the pixels themselves, so that a cutout looks the same wherever it stands in a table.

    Parameters
    ----------
    planes : ndarray, shape (B, H, W)
    frame : Frame

    Returns
    -------
    ndarray, shape (B, side, side), or None
        None where no galaxy is in the middle.

    Raises
    ------
    ImageError
        As `astro_galaxysd.survey.sizes.find_galaxy`.
    """
    framed = frame_planes(planes, frame)
    return None if framed is None else _covered(framed, _seed(planes))


def _seed(planes: np.ndarray) -> int:
    """A number in [0, 2**63) that depends on the pixels alone."""
    pixels = np.ascontiguousarray(planes, dtype="<f8")
    return int.from_bytes(hashlib.sha256(pixels.tobytes()).digest()[:8], "big") >> 1


def _covered(planes: np.ndarray, seed: int) -> np.ndarray:
    """Planes with pixels of their own sky, shuffled, where nothing was observed; as they are where no sky was seen."""
    missing = ~np.isfinite(planes).all(axis=0)
    galaxy = find_galaxy(planes) if missing.any() else None
    if galaxy is None:
        return planes
    sky = planes[:, (galaxy.sources == 0) & ~missing]
    if not sky.size:
        return planes
    filled = planes.copy()
    filled[:, missing] = sky[:, stream(seed, "border").integers(0, sky.shape[1], int(missing.sum()))]
    return filled
