"""A training run in a folder: steps, averaged weights, a checkpoint that goes on exactly, a log.

What is trained and its loss come from a subclass. Everything random in step k comes from the recipe's seed and k,
so an interrupted run goes on with the same batches and noise, and ends in the same weights.
"""

from __future__ import annotations

import csv
import json
import os
import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from astro_galaxysd.errors import OutputError, TrainingError

__all__ = ["Recipe", "TrainingRun"]

_LOG_EVERY = 100


@dataclass(frozen=True)
class Recipe:
    """What every run has; stored beside its checkpoint.

    Parameters
    ----------
    batch_size, steps : int
        Images a step; steps altogether.
    learning_rate, warmup, cooldown
        AdamW's peak rate; steps of linear rise; share of the steps at the end that falls linearly to zero.
    weight_decay, clip : float
        AdamW's decay; largest gradient norm.
    ema : float
        Decay of the averaged weights, which are the ones that are kept.
    seed : int
        Of the initial weights and of every step.
    """

    batch_size: int
    steps: int
    learning_rate: float
    warmup: int = 300
    cooldown: float = 0.25
    weight_decay: float = 1e-3
    clip: float = 1.0
    ema: float = 0.999
    seed: int = 20261121

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        rise = (step + 1) / self.warmup
        fall = (self.steps - step) / max(self.cooldown * self.steps, 1)
        return self.learning_rate * max(min(1.0, rise, fall), 0.0)


class TrainingRun(ABC):
    """Base of the runs.

    Parameters
    ----------
    folder : Path
        Checkpoint, log and recipe live here.
    recipe : Recipe
    modules : dict of str to torch.nn.Module
        What is trained, by the name it has in the checkpoint.
    images : ndarray, shape (N, H, H, 3), uint8
        Training images.
    """

    def __init__(self, folder: Path, recipe: Recipe, modules: dict[str, torch.nn.Module], images: np.ndarray) -> None:
        self.folder, self.recipe, self.modules, self.images = Path(folder), recipe, modules, images
        self.device = next(iter(modules.values())).parameters().__next__().device
        self.parameters = [p for module in modules.values() for p in module.parameters()]
        self.average = [p.detach().clone() for p in self.parameters]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=recipe.learning_rate, betas=(0.9, 0.99), weight_decay=recipe.weight_decay
        )
        self.step = 0
        self._losses: list[float] = []

    @abstractmethod
    def loss(self, step: int) -> torch.Tensor:
        """Loss of one step's batch."""

    @property
    def checkpoint(self) -> Path:
        """Where the run goes on from."""
        return self.folder / "checkpoint.pt"

    def resume(self) -> bool:
        """Load the checkpoint if there is one; say whether there was.

        Raises
        ------
        TrainingError
            If it is damaged or belongs to a model of another shape.
        """
        if not self.checkpoint.exists():
            return False
        try:
            state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
            for name, module in self.modules.items():
                module.load_state_dict(state[name])
            self.optimizer.load_state_dict(state["optimizer"])
            for mine, stored in zip(self.average, state["average"], strict=True):
                mine.copy_(stored)
            self.step = int(state["step"])
        except Exception as error:  # torch raises pickle, zip, key and runtime errors for damaged files
            raise TrainingError(
                f"{self.checkpoint}: can't go on from this checkpoint ({error}). "
                "Use the recipe it was made with, or start in another folder."
            ) from error
        return True

    def start_from(self, modules: dict[str, torch.nn.Module]) -> None:
        """Begin with the parameters of trained modules, by their names in the checkpoint.

        Raises
        ------
        TrainingError
            If they have another shape than the recipe's.
        """
        try:
            for name, module in self.modules.items():
                module.load_state_dict(modules[name].state_dict())
        except RuntimeError as error:
            raise TrainingError(
                f"can't start from weights of another shape: {error}; use the recipe they have"
            ) from error
        for average, parameter in zip(self.average, self.parameters, strict=True):
            average.copy_(parameter.detach())

    def save(self) -> None:
        """Write the checkpoint under a temporary name, then rename it."""
        partial = self.checkpoint.with_suffix(".partial")
        state = {name: module.state_dict() for name, module in self.modules.items()}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            torch.save(
                {**state, "optimizer": self.optimizer.state_dict(), "average": self.average, "step": self.step}, partial
            )
            os.replace(partial, self.checkpoint)
            (self.folder / "recipe.json").write_text(json.dumps(asdict(self.recipe), indent=1))
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            partial.unlink(missing_ok=True)
            raise OutputError(
                f"{self.checkpoint}: can't write the checkpoint ({error}); the last one is kept"
            ) from error

    def advance(self) -> float:
        """Do one step; return its loss.

        Raises
        ------
        TrainingError
            If the loss is not finite; the last checkpoint is kept.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(self.step)
        loss = self.loss(self.step)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss.item()} at step {self.step}; the last checkpoint in {self.folder} is kept. "
                "Lower learning_rate and go on from it."
            )
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)
        self.step += 1
        return float(loss.detach())

    def run(self, *, every_seconds: float = 600.0, progress: bool = True) -> None:
        """Train up to the recipe's steps; save every `every_seconds`, at the end and when interrupted."""
        from tqdm import tqdm

        saved = time.monotonic()
        finite = True
        with tqdm(total=self.recipe.steps, initial=self.step, disable=not progress, mininterval=5) as bar:
            try:
                while self.step < self.recipe.steps:
                    self._losses.append(self.advance())
                    bar.update()
                    if self.step % _LOG_EVERY == 0:
                        self._log()
                    if time.monotonic() - saved > every_seconds:
                        self.save()
                        saved = time.monotonic()
            except TrainingError:
                finite = False
                raise
            finally:
                if finite:
                    self.save()

    def use_average(self) -> None:
        """Put the averaged weights into the modules, which stop training."""
        for mine, average in zip(self.parameters, self.average, strict=True):
            mine.data.copy_(average)
        for module in self.modules.values():
            module.eval()

    def _log(self) -> None:
        path = self.folder / "log.csv"
        self.folder.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        row = [self.step, self.step * self.recipe.batch_size, f"{np.mean(self._losses):.5f}",
               f"{self.recipe.rate(self.step):.2e}", f"{time.time():.0f}"]  # fmt: skip
        with path.open("a", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerows([["step", "images", "loss", "rate", "unix_time"], row] if new else [row])
        self._losses.clear()
