r"""The energy score: how far draws are from a distribution of which one sample is known at a time.

In: two independent draws *a*, *b* for a condition, and one real sample *r* of it. Out: for each condition

.. math:: S = \tfrac12 (|a - r| + |b - r|) - \tfrac12 |a - b|,

whose mean over conditions and draws is smallest where draws have the distribution of the real samples of their
condition, and only there: the score is strictly proper (Gneiting and Raftery 2007, J. Am. Stat. Assoc. 102, 359). The
second term is what keeps draws as different from each other as real samples are.

A sum of scores of several blocks of numbers fixes the distribution of each block, and not how they go together: draws
whose blocks are each distributed as the real ones', but independently of each other, score as well. A loss to which
something else is added, such as the divergence of votes that are read from those asked for, is no longer proper: that
divergence is least where each draw is read exactly as was asked, while what is read off real samples scatters. Draws
then come out somewhat too typical of what was asked for.
"""

from __future__ import annotations

import torch

__all__ = ["energy_score"]

_LEAST = 1e-6  # squared distances: a root has no gradient at 0


def energy_score(first: torch.Tensor, second: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Energy score of pairs of draws, with gradients.

    Parameters
    ----------
    first, second, real : Tensor, shape (N, D)
        Row by row the same condition; `first` and `second` drawn independently of each other.

    Returns
    -------
    Tensor, shape (N,)
        Single values may be negative; the mean is half the expected distance of two real samples at its smallest.

    Examples
    --------
    >>> energy_score(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])).round()
    tensor([5.])
    """
    return 0.5 * (_distance(first, real) + _distance(second, real) - _distance(first, second))


def _distance(these: torch.Tensor, those: torch.Tensor) -> torch.Tensor:
    return ((these - those).square().sum(dim=-1) + _LEAST).sqrt()
