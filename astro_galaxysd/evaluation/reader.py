r"""A simple reader of votes: images in, the fractions volunteers would have given out.

It reads the descriptors of `describe`, standardised with the training rows' means and deviations, through a network of
two hidden layers; the answers of each question come out of a softmax, so they sum to one. What is minimised is

.. math:: \sum_{ij} w_{ij} (f_{ij} - \hat f_{ij})^2, \qquad w_{ij} = \text{share of volunteers who saw the question},

which is the product of the fractions on the way to it; votes that are NaN count nothing. It is for choosing weights
while they are trained. A result that is published needs a better reader, and another one than chose the weights.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.conditions.prompts import well_sampled
from astro_galaxysd.conditions.tree import ANSWERS, INDEX, QUESTIONS
from astro_galaxysd.errors import ConditionError, WeightsError
from astro_galaxysd.evaluation.descriptors import describe

if TYPE_CHECKING:
    import torch

__all__ = ["VoteReader", "check_fractions", "reached", "rmse_by_task"]

_COLUMNS = {question.task: [INDEX[answer.key] for answer in question.answers] for question in QUESTIONS}
_PARAMETERS = ("mean", "scale", "weight_0", "bias_0", "weight_1", "bias_1", "weight_2", "bias_2")
_BATCH = 256
_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 1e-2
_DROPOUT = (0.1, 0.3, 0.3)  # of the descriptors, of the first and of the second layer
#: A descriptor further than this many deviations from the mean is read as if it were there.
_FURTHEST = 6.0


class VoteReader:
    """Reads conditional vote fractions off images.

    Parameters
    ----------
    hidden : int
        Width of the first layer; the second has half.
    epochs : int
        Times every training row is seen, on average.
    rng : int
        Seed of first values, batches and dropout: with it and one number of threads, a fit can be repeated.

    Attributes
    ----------
    parameters_ : dict of str to ndarray
        What was learnt; missing before `fit`.

    Examples
    --------
    >>> reader = VoteReader().fit(train_images, train_fractions)  # doctest: +SKIP
    >>> reader.predict(images)[:, INDEX["merger"]]  # doctest: +SKIP
    """

    def __init__(self, *, hidden: int = 256, epochs: int = 12, rng: int = 0) -> None:
        self.hidden = hidden
        self.epochs = epochs
        self.rng = rng

    def fit(self, images: np.ndarray, fractions: np.ndarray) -> VoteReader:
        """Learn from galaxies with votes.

        Parameters
        ----------
        images : ndarray, shape (N, H, H, 3), uint8
        fractions : ndarray, shape (N, 37), float in [0, 1]
            Conditional vote fractions, NaN where not asked.

        Returns
        -------
        VoteReader
            Itself.

        Raises
        ------
        ImageError
            As `describe`.
        ConditionError
            If the votes don't fit the images, or no row has any.
        """
        return self.fit_described(describe(images), fractions)

    def fit_described(self, descriptors: np.ndarray, fractions: np.ndarray) -> VoteReader:
        """`fit` for images whose descriptors, shape (N, D), are known already."""
        fractions = check_fractions(fractions, len(descriptors))
        weights = reached(fractions)
        seen = weights.any(axis=1)
        if not seen.any():
            raise ConditionError("no row has a vote; a reader learns from galaxies that volunteers classified")
        descriptors = descriptors[seen]
        mean, scale = descriptors.mean(axis=0), np.maximum(descriptors.std(axis=0), 1e-4)
        layers = self._learn(_standard(descriptors, mean, scale), np.nan_to_num(fractions[seen]), weights[seen])
        self.parameters_: dict[str, np.ndarray] = {"mean": mean, "scale": scale, **layers}
        return self

    def _learn(self, inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
        import torch

        # the caller's random numbers are as they were afterwards
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(self.rng)
            network = _new_network(inputs.shape[1], self.hidden)
            steps = max(2, self.epochs * len(inputs) // _BATCH)
            optimizer = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
            x, y, w = (torch.from_numpy(a.astype(np.float32)) for a in (inputs, targets, weights))
            for _ in range(steps):
                rows = torch.randint(len(x), (_BATCH,))
                loss = (w[rows] * (_fractions_of(network(x[rows])) - y[rows]) ** 2).sum() / _BATCH
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
        linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
        named = {f"{kind}_{i}": getattr(layer, kind) for i, layer in enumerate(linear) for kind in ("weight", "bias")}
        return {name: value.detach().numpy() for name, value in named.items()}

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Read images.

        Parameters
        ----------
        images : ndarray, shape (N, H, H, 3), uint8
            Of the size the reader learnt from: texture depends on it.

        Returns
        -------
        ndarray, shape (N, 37), float32
            Conditional fractions in [0, 1], without NaN; the answers of each question sum to 1.

        Raises
        ------
        ImageError
            As `describe`.
        WeightsError
            If the reader has not learnt yet.
        """
        return self.predict_described(describe(images))

    def predict_described(self, descriptors: np.ndarray) -> np.ndarray:
        """`predict` for images whose descriptors, shape (N, D), are known already."""
        p = self._learnt()
        values = _standard(descriptors, p["mean"], p["scale"])
        for layer in range(3):
            values = values @ p[f"weight_{layer}"].T + p[f"bias_{layer}"]
            if layer < 2:
                values = values / (1 + np.exp(-np.clip(values, -60, 60)))
        for columns in _COLUMNS.values():
            part = np.exp(values[:, columns] - values[:, columns].max(axis=1, keepdims=True))
            values[:, columns] = part / part.sum(axis=1, keepdims=True)
        return np.asarray(values, dtype=np.float32)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was learnt to a safetensors file.

        Raises
        ------
        WeightsError
            If the reader has not learnt yet.
        """
        from safetensors.numpy import save_file

        save_file({name: np.ascontiguousarray(value) for name, value in self._learnt().items()}, os.fspath(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> VoteReader:
        """Read a reader that was saved.

        Raises
        ------
        WeightsError
            If the file is missing, damaged or not a reader's.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            parameters: Mapping[str, np.ndarray] = load_file(os.fspath(path))
        except (OSError, SafetensorError) as error:
            raise WeightsError(f"{path}: no reader can be read ({error}); fit one and save it again") from error
        if set(parameters) != set(_PARAMETERS):
            raise WeightsError(
                f"{path} holds {', '.join(sorted(parameters)[:4]) or 'nothing'}: not a reader; fit one and save it"
            )
        reader = cls(hidden=len(parameters["bias_0"]))
        reader.parameters_ = dict(parameters)
        return reader

    def _learnt(self) -> dict[str, np.ndarray]:
        if not hasattr(self, "parameters_"):
            raise WeightsError("the reader has not learnt yet; call fit(images, fractions) or VoteReader.load(path)")
        return self.parameters_


def reached(fractions: np.ndarray) -> np.ndarray:
    """Share of a galaxy's volunteers who saw the question of each answer.

    Parameters
    ----------
    fractions : ndarray, shape (N, 37)
        Conditional vote fractions, NaN where not asked.

    Returns
    -------
    ndarray, shape (N, 37), float64
        In [0, 1]; 0 where the fraction is NaN.
    """
    shares = np.zeros_like(fractions, dtype=np.float64)
    for question in QUESTIONS:  # parents come before their children
        columns = _COLUMNS[question.task]
        if question.parent:
            parent = INDEX[question.parent]
            shares[:, columns] = (shares[:, parent] * np.nan_to_num(fractions[:, parent]))[:, None]
        else:
            shares[:, columns] = 1.0
    return np.asarray(np.where(np.isfinite(fractions), shares, 0.0))


def rmse_by_task(read: np.ndarray, fractions: np.ndarray) -> dict[int, float]:
    """Root of the mean squared error of well-sampled answers, for each of the tree's eleven questions.

    Parameters
    ----------
    read, fractions : ndarray, shape (N, 37)
        What a reader says, and the votes, NaN where not asked.

    Returns
    -------
    dict of int to float
        Task -> RMSE over rows and answers; NaN where no row is well sampled.
    """
    found: dict[int, float] = {}
    for question in QUESTIONS:
        columns = _COLUMNS[question.task]
        rows = well_sampled(fractions, question)
        squares = (read[rows][:, columns] - fractions[rows][:, columns]) ** 2
        known = squares[np.isfinite(squares)]
        found[question.task] = float(np.sqrt(known.mean())) if known.size else float("nan")
    return found


def check_fractions(fractions: np.ndarray, rows: int) -> np.ndarray:
    """Votes as float64, refused where they don't fit `rows` images.

    Raises
    ------
    ConditionError
        Another shape than (rows, 37).
    """
    fractions = np.asarray(fractions, dtype=np.float64)
    if fractions.shape != (rows, len(ANSWERS)):
        raise ConditionError(
            f"votes of shape {fractions.shape} for {rows} images; give conditional fractions of shape "
            f"({rows}, {len(ANSWERS)}), NaN where not asked"
        )
    return fractions


def _standard(descriptors: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip((descriptors - mean) / scale, -_FURTHEST, _FURTHEST))


def _new_network(inputs: int, hidden: int) -> Any:
    from torch.nn import Dropout, Linear, Sequential, SiLU

    first, second, third = _DROPOUT
    return Sequential(
        Dropout(first), Linear(inputs, hidden), SiLU(),
        Dropout(second), Linear(hidden, hidden // 2), SiLU(),
        Dropout(third), Linear(hidden // 2, len(ANSWERS)),
    )  # fmt: skip


def _fractions_of(values: torch.Tensor) -> torch.Tensor:
    """Softmax within each question; the columns are in the tree's order already."""
    import torch

    parts = torch.split(values, [len(columns) for columns in _COLUMNS.values()], dim=1)
    return torch.cat([part.softmax(dim=1) for part in parts], dim=1)
