"""A training run in a folder: steps, averaged weights, a checkpoint that goes on exactly, a log.

What is trained and its loss come from a subclass. Everything random in step k comes from the recipe's seed and k,
so an interrupted run goes on with the same batches and noise, and ends in the same weights.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from astro_galaxysd.errors import OutputError, TrainingError
from astro_galaxysd.learning.engine import Engine, uninterrupted
from astro_galaxysd.learning.recipes import Recipe
from astro_galaxysd.learning.trainingset import TrainingSet

__all__ = ["CHECKPOINT", "TrainingRun"]

#: Name of the checkpoint in a run's folder.
CHECKPOINT = "checkpoint.pt"
_LOG_EVERY = 100
_LOG_COLUMNS = ("step", "images", "loss", "gradient", "rate", "images_per_second", "unix_time")


class TrainingRun(ABC):
    """Base of the runs.

    Parameters
    ----------
    folder : Path
        Checkpoint, log and recipe live here.
    recipe : Recipe
    modules : dict of str to torch.nn.Module
        What is trained, by the name it has in the checkpoint; parameters that need no gradient stay as they are.
    data : TrainingSet
    engine : Engine

    Raises
    ------
    TrainingError
        If there are more processes than images in a batch.
    """

    def __init__(
        self, folder: Path, recipe: Recipe, modules: dict[str, torch.nn.Module], data: TrainingSet, engine: Engine
    ) -> None:
        if recipe.batch_size < engine.processes:
            raise TrainingError(
                f"batch_size = {recipe.batch_size} leaves some of {engine.processes} processes without an image; "
                "raise it, or start fewer"
            )
        self.folder, self.recipe, self.modules, self.data, self.engine = Path(folder), recipe, modules, data, engine
        self.parameters = [p for module in modules.values() for p in module.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.parameters] if recipe.ema else []
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=recipe.learning_rate,
            betas=(recipe.betas[0], recipe.betas[1]),
            weight_decay=recipe.weight_decay,
        )
        self.step = 0
        self._since_log: list[tuple[float, float]] = []
        self._logged = time.time()

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.engine.device

    def rng(self, step: int) -> np.random.Generator:
        """The source of everything random in a step."""
        return np.random.default_rng([self.recipe.seed, step])

    @abstractmethod
    def rows(self, step: int) -> np.ndarray:
        """Rows of the training set in a step's batch, shape (batch_size,)."""

    @abstractmethod
    def loss(self, step: int, part: slice) -> torch.Tensor:
        """Mean loss of a part of a step's batch."""

    @property
    def checkpoint(self) -> Path:
        """Where the run goes on from."""
        return self.folder / CHECKPOINT

    def resume(self) -> bool:
        """Load the checkpoint if there is one; say whether there was.

        Raises
        ------
        TrainingError
            If it is damaged, or belongs to a model of another shape or to other data.
        """
        if not self.checkpoint.exists():
            return False
        try:
            state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
            same_source = state["source"] == self.source_hash()
            if same_source:
                self._restore(state)
        except Exception as error:  # torch raises pickle, zip, key and runtime errors for damaged files
            raise TrainingError(
                f"{self.checkpoint}: can't go on from this checkpoint ({error}). "
                "Use the recipe it was made with, or start in another folder."
            ) from error
        if not same_source:
            raise TrainingError(
                f"{self.checkpoint}: this run was made with other training rows than the {len(self.data.ids)} of "
                f"{self.data.images.shape[1]} px given, or with another autoencoder. Give the same ones in the same "
                "order, or begin in another folder."
            )
        return True

    def _restore(self, state: Mapping[str, Any]) -> None:
        for name, module in self.modules.items():
            _load_trained(module, state[name])
        self.optimizer.load_state_dict(state["optimizer"])
        for mine, stored in zip(self.average, state["average"], strict=True):
            mine.copy_(stored)
        self.engine.restore(state["engine"])
        self.step = int(state["step"])

    def source_hash(self) -> str:
        """Changes with what a run can't change on its way: the training rows and the size of their images."""
        return hashlib.sha256("\n".join([str(self.data.images.shape[1]), *self.data.ids]).encode()).hexdigest()

    def start_from(self, modules: Mapping[str, torch.nn.Module]) -> None:
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
            seen = " ".join(str(error).split()[:24])
            raise TrainingError(
                f"can't start from weights of another shape ({seen} ...); use the recipe they have"
            ) from error
        self._average_is_current()

    def _average_is_current(self) -> None:
        for average, parameter in zip(self.average, self.parameters, strict=bool(self.average)):
            average.copy_(parameter.detach())

    def save(self) -> None:
        """Write the checkpoint under a temporary name, then rename it."""
        if self.engine.rank:
            return
        partial = self.checkpoint.with_suffix(".partial")
        state: dict[str, Any] = {name: _trained(module) for name, module in self.modules.items()}
        state |= {
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "engine": self.engine.state(),
            "step": self.step,
            "source": self.source_hash(),
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.write_records()
            torch.save(state, partial)
            os.replace(partial, self.checkpoint)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            partial.unlink(missing_ok=True)
            raise OutputError(
                f"{self.checkpoint}: can't write the checkpoint ({error}); the last one is kept"
            ) from error

    def write_records(self) -> None:
        """Write what belongs beside a checkpoint, before it: the recipe."""
        (self.folder / "recipe.json").write_text(json.dumps(asdict(self.recipe), indent=1) + "\n")

    def advance(self) -> float:
        """Do one step; return its loss.

        Raises
        ------
        TrainingError
            If the loss or its gradient is not finite, or memory does not suffice; the last checkpoint is kept.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(self.step)
        torch.manual_seed(int(self.rng(self.step).integers(2**62)))  # for layers with randomness of their own
        with self._explained():
            loss = self.engine.total(self._gradients())
            if not np.isfinite(loss):
                raise self._not_finite("loss", loss)
            with uninterrupted():
                norm = self.engine.update(self.optimizer, self.parameters, self.recipe.clip)
                if not np.isfinite(norm) and self.engine.precision != "fp16":  # whose overflows are part of it
                    raise self._not_finite("gradient", norm)
                self._finish_step()
        self._since_log.append((loss, norm))
        return loss

    def _finish_step(self) -> None:
        if self.average:
            decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)
        self.step += 1

    def _gradients(self) -> float:
        """Gradients of this process's share of the batch, piece by piece; return the share's part of the mean loss."""
        size, total = self.recipe.batch_size, 0.0
        pieces = np.array_split(np.arange(size), self.recipe.accumulate * self.engine.processes)
        for piece in pieces[self.engine.rank :: self.engine.processes]:
            if not len(piece):
                continue
            part = self.loss(self.step, slice(int(piece[0]), int(piece[-1]) + 1)) * (len(piece) / size)
            self.engine.backward(part)
            total += float(part.detach())
        return total

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn a lack of memory into an error that says what to lower."""
        try:
            yield
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if isinstance(error, TrainingError) or not _is_lack_of_memory(error):
                raise
            recipe = self.recipe
            raise TrainingError(
                f"out of memory at step {self.step} with batch_size = {recipe.batch_size} in accumulate = "
                f"{recipe.accumulate} piece(s). Raise accumulate (the result stays the same), set checkpointing = true "
                "or lower batch_size; the last checkpoint is kept."
            ) from error

    def _not_finite(self, what: str, value: float) -> TrainingError:
        ids = [self.data.ids[row] for row in self.rows(self.step)]
        self.folder.mkdir(parents=True, exist_ok=True)
        record = self.folder / "not_finite.json"
        record.write_text(json.dumps({"step": self.step, what: str(value), "ids": ids}, indent=1) + "\n")
        some = ", ".join(ids[:8]) + (f" and {len(ids) - 8} more, all in {record.name}" if len(ids) > 8 else "")
        return TrainingError(
            f"the {what} became {value} at step {self.step} with the rows {some}; the last checkpoint in {self.folder} "
            "is kept. Look at these rows, or lower learning_rate, and go on from it."
        )

    def run(
        self,
        *,
        every_seconds: float = 600.0,
        progress: bool = True,
        until: float | None = None,
        watch: Callable[[Any], None] | None = None,
        watch_every: int = 0,
    ) -> bool:
        """Train up to the recipe's steps; save every `every_seconds`, at the end and when interrupted.

        Parameters
        ----------
        every_seconds : float
            Between checkpoints.
        progress : bool
            Whether to show a bar.
        until : float, optional
            Unix time to stop at, as if interrupted.
        watch : callable, optional
            Called with the run, whose networks hold the averaged weights meanwhile, every `watch_every` steps and
            after the last.
        watch_every : int

        Returns
        -------
        bool
            Whether the last step was done.
        """
        from tqdm import tqdm

        self._trim_log()
        saved = self._logged = time.time()
        finite, steps = True, self.recipe.steps
        bar = tqdm(total=steps, initial=self.step, disable=not progress or self.engine.rank > 0, mininterval=5)
        with bar:
            try:
                while self.step < steps and not self._late(until):
                    self.advance()
                    bar.update()
                    if self.step % _LOG_EVERY == 0 or self.step == steps:
                        self._log()
                    if watch and (self.step == steps or (watch_every and self.step % watch_every == 0)):
                        self.save()
                        self._watch(watch)
                        saved = time.time()
                    if time.time() - saved > every_seconds:
                        self.save()
                        saved = time.time()
            except TrainingError:
                finite = False
                raise
            finally:
                if finite:
                    self._log()
                    self.save()
        return self.step >= steps

    def _late(self, until: float | None) -> bool:
        """Whether the time is up for any process: clocks differ, and none may go on alone."""
        return until is not None and self.engine.total(float(time.time() > until)) > 0

    def _watch(self, watch: Callable[[Any], None]) -> None:
        if self.engine.rank == 0:
            with self.averaged():
                watch(self)
        self.engine.wait()
        self._logged = time.time()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the networks hold the averaged weights and do not train."""
        training = {name: module.training for name, module in self.modules.items()}
        current = [p.detach().clone() for p in self.parameters] if self.average else []
        try:
            self.use_average()
            yield
        finally:
            for mine, value in zip(self.parameters, current, strict=bool(current)):
                mine.data.copy_(value)
            for name, module in self.modules.items():
                module.train(training[name])

    def use_average(self) -> None:
        """Put the averaged weights, if there are any, into the networks, which stop training."""
        for mine, average in zip(self.parameters, self.average, strict=bool(self.average)):
            mine.data.copy_(average)
        for module in self.modules.values():
            module.eval()

    def _trim_log(self) -> None:
        """Forget what a lost stretch after the checkpoint had logged."""
        path = self.folder / "log.csv"
        if self.engine.rank or not path.exists():
            return
        with path.open(newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row["step"].isdigit() and int(row["step"]) <= self.step]
        partial = path.with_suffix(".partial")
        with partial.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, _LOG_COLUMNS, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(partial, path)

    def _log(self) -> None:
        since, self._since_log = self._since_log, []
        if self.engine.rank or not since:
            return
        path, now = self.folder / "log.csv", time.time()
        self.folder.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        loss, norm = np.mean(since, axis=0)
        speed = len(since) * self.recipe.batch_size / max(now - self._logged, 1e-6)
        with path.open("a", newline="") as stream:
            writer = csv.writer(stream)
            if new:
                writer.writerow(_LOG_COLUMNS)
            writer.writerow([self.step, self.step * self.recipe.batch_size, f"{loss:.5f}", f"{norm:.3f}",
                             f"{self.recipe.rate(self.step - 1):.2e}", f"{speed:.1f}", f"{now:.0f}"])  # fmt: skip
        self._logged = now


def _trained(module: torch.nn.Module) -> dict[str, Any]:
    """What of a module a checkpoint must hold: everything, or where most is frozen (adapters), what is trained."""
    state = module.state_dict()
    trained = {name for name, value in module.named_parameters() if value.requires_grad}
    frozen = {name for name, value in module.named_parameters() if not value.requires_grad}
    return {name: value for name, value in state.items() if not (frozen and name in frozen and _is_adapted(trained))}


def _is_adapted(names: set[str]) -> bool:
    return any("lora_" in name for name in names)


def _load_trained(module: torch.nn.Module, state: Mapping[str, Any]) -> None:
    """Load what `_trained` gave; frozen parameters beside adapters may be absent, nothing else."""
    missing, unexpected = module.load_state_dict(state, strict=False)
    frozen = {name for name, value in module.named_parameters() if not value.requires_grad}
    if unexpected or not set(missing) <= frozen:
        names = ", ".join(sorted([*unexpected, *(set(missing) - frozen)])[:5])
        raise KeyError(f"parameters do not fit: {names}")


def _is_lack_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)
