"""More galaxies than were asked for, of which a reader keeps some: a plan and its images in, rows to keep out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.augmentation.plan import PLAN
from astro_galaxysd.records import WeightCard
from astro_galaxysd.weightcards import weight_card

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.evaluation.reading import ImageReader

__all__ = ["keep_surest", "load_judge", "usual_candidates"]

_READER = "choosing"


def usual_candidates(asked: int | None, weights: str | os.PathLike[str], generator: object) -> int | None:
    """Candidates to plan for every row: what was asked, else 1 for anybody's generator, else what the plan decides.

    Of other generators than the weights' own nothing was measured, and they may well be lighter than a reader.

    Parameters
    ----------
    asked : int or None
    weights : str or path
    generator : str, Generator or None
        A name, or a loaded one, whose attribute ``card`` says that it draws with weights.
    """
    if asked is not None or generator is None:
        return asked
    own = generator == weight_card(weights).generator if isinstance(generator, str) else _has_weights(generator)
    return None if own else 1


def _has_weights(generator: object) -> bool:
    return isinstance(getattr(generator, "card", None), WeightCard)


def load_judge(plan: Table) -> ImageReader | None:
    """The reader that a plan with candidates needs; None where all of its rows are kept."""
    if all(part["candidates"] == 1 for part in plan.meta[PLAN]["targets"].values()):
        return None
    from astro_galaxysd.evaluation.reading import ImageReader

    return ImageReader.load(_READER)


def keep_surest(plan: Table, drawn: np.ndarray, judge: ImageReader | None) -> tuple[np.ndarray, dict[str, Any]]:
    """Which of the drawn rows are kept: of each target those in which a reader finds it most surely.

    Parameters
    ----------
    plan : Table
        From `astro_galaxysd.augmentation.plan.plan_augmentation`.
    drawn : ndarray, shape (m, H, W, 3), uint8
        Of its first rows; after an interrupt the same share of fewer is kept, rounded down.
    judge : ImageReader or None
        From `load_judge`.

    Returns
    -------
    ndarray, int
        Their places, rising.
    dict
        What a record says of the reader.
    """
    if judge is None:
        return np.arange(len(drawn)), {}
    from astro_galaxysd.evaluation.reading import agreement

    names, kept = np.asarray(plan["target"][: len(drawn)]), []
    for name, part in plan.meta[PLAN]["targets"].items():
        rows = np.flatnonzero(names == name)
        if len(rows) and part["candidates"] > 1:
            surely = agreement(judge, drawn[rows], part["answer"])
            rows = rows[np.argsort(-surely, kind="stable")[: max(1, len(rows) // part["candidates"])]]
        kept.append(rows)
    return np.sort(np.concatenate(kept)), {"reader": _READER, "reader_revision": judge.revision, "drawn": len(drawn)}
