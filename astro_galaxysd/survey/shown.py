"""Cutouts as they are compared with those that weights were trained on: display images of one size.

In: rows of a survey, the record of a training set. Out: images; and how many rows have none, and why.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from astro_galaxysd.errors import ImageError
from astro_galaxysd.images.codec import fit_size
from astro_galaxysd.survey.domain import Domain
from astro_galaxysd.survey.framing import framed_planes
from astro_galaxysd.survey.rows import SurveyRows

__all__ = ["Shown", "show_rows"]


class Shown(NamedTuple):
    """Display images of rows.

    Parameters
    ----------
    images : list of ndarray, shape (S, S, 3), uint8
    lost : int
        Rows without a galaxy in the middle that could be brought to the frame.
    left_out : list of str
        Why other rows can't be read.
    """

    images: list[np.ndarray]
    lost: int
    left_out: list[str]


def show_rows(rows: SurveyRows, domain: Domain, *, framed: bool) -> Shown:
    """Make display images of all rows at the size that was trained on.

    Parameters
    ----------
    rows : SurveyRows
    domain : Domain
    framed : bool
        Bring each galaxy to the place and size that it has in training cutouts.

    Returns
    -------
    Shown
    """
    frame, side = domain.frame(stretched=rows.survey.stretch is not None), (domain.image_size,) * 2
    shown = Shown([], 0, [])
    for row in range(len(rows)):
        try:
            planes: np.ndarray | None = rows.planes(row)
        except ImageError as error:
            shown.left_out.append(str(error))
            continue
        if framed and planes is not None:
            planes = framed_planes(planes, frame, row)
        if planes is None:
            shown = shown._replace(lost=shown.lost + 1)
        else:
            shown.images.append(fit_size(rows.survey.display(planes)[np.newaxis], side)[0])
    return shown
