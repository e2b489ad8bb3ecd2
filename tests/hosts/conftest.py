"""A small augmented table, and Hyrax made importable where torch is a build without CUDA."""

from __future__ import annotations

import importlib
import importlib.util
import warnings

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

SIZE = 32


def grey_levels(rows):
    """Images whose pixels tell row, place and band, so that every turn can be seen: (N, SIZE, SIZE, 3) uint8."""
    y, x = np.mgrid[:SIZE, :SIZE]
    one = np.stack([2 * x + y, x + 2 * y, 40 + x], axis=-1)
    return (one[np.newaxis] + 10 * np.asarray(rows)[:, np.newaxis, np.newaxis, np.newaxis]).astype(np.uint8)


@pytest.fixture
def table():
    """Eight real galaxies, two of them mergers, then four synthetic mergers."""
    merger = np.array([0.9, 0.8, 0, 0, 0, 0.1, 0, 0.2] + [0.9] * 4)
    real = Table(
        {
            "id": [f"g{row}" for row in range(8)] + [f"s{row}" for row in range(4)],
            "image": grey_levels(range(12)),
            "t06_odd_yes": np.where(merger > 0.5, 0.9, 0.1),
            "t08_merger": merger,
            "t01_smooth": np.full(12, 0.7),
            "kind": ["M", "M"] + ["E", "S"] * 3 + ["M"] * 4,
            "redshift": MaskedColumn(np.arange(12) / 100, mask=[False] * 8 + [True] * 4),
            "synthetic": [False] * 8 + [True] * 4,
        }
    )
    return real


@pytest.fixture(scope="session")
def hyrax():
    """Hyrax; skips where it is not installed."""
    if importlib.util.find_spec("hyrax") is None:
        pytest.skip("Hyrax is not installed (tox -e hyrax)")
    return _import_hyrax()


def _import_hyrax():
    """Import Hyrax beside any build of torch.

    The torchvision wheels of PyPI are built for CUDA. Beside a torch without CUDA their operators don't load and the
    import fails for want of two of them; declaring these two is enough, as nothing here calls them.
    """
    import torch

    if torch.version.cuda is None:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            if not hasattr(torch.ops.torchvision, operator):
                library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _import_hyrax.library = library  # operators go with the object that declared them
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("hyrax")
