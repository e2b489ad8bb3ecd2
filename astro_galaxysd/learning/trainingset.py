"""What a training run learns from, in memory; needs numpy alone, so that it can be made from a pack too."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["TrainingSet"]


@dataclass(frozen=True)
class TrainingSet:
    """Images with their votes.

    Parameters
    ----------
    images : ndarray, shape (N, H, H, 3), uint8
    fractions : ndarray, shape (N, 37), float
        Conditional vote fractions; NaN where not asked, all NaN for galaxies without votes.
    ids : list of str, length N
    unreadable : dict of str to str
        Rows left out, id -> reason.
    """

    images: np.ndarray
    fractions: np.ndarray
    ids: list[str]
    unreadable: dict[str, str] = field(default_factory=dict)
