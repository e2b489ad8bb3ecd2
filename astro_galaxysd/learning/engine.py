"""What a training step runs on: device, precision, and the other processes if there are any.

One process needs nothing but torch. Where several were started (``accelerate launch``, ``torchrun``), accelerate
places them and averages their gradients; each computes its share of every batch, so the weights are those of one
process to rounding.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import torch

from astro_galaxysd.errors import MissingDependencyError, TrainingError

__all__ = ["Engine", "processor_has_bf16", "uninterrupted"]


def processor_has_bf16() -> bool:
    """Whether the processor computes with bfloat16 itself; elsewhere it is slower than float32."""
    read = getattr(torch.cpu, "get_capabilities", None)  # torch 2.13; older ones answer no
    known = read() if read else {}
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


class Engine:
    """Device and precision of a run.

    Parameters
    ----------
    precision : str
        As in `Recipe`.

    Raises
    ------
    TrainingError
        For fp16 without CUDA.
    MissingDependencyError
        If several processes were started and accelerate is not installed.
    """

    def __init__(self, precision: str) -> None:
        self._accelerator = _accelerator()
        self.device: torch.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self._accelerator is not None:
            self.device = self._accelerator.device
        cuda = self.device.type == "cuda"
        if precision == "auto":
            precision = "bf16" if (torch.cuda.is_bf16_supported() if cuda else processor_has_bf16()) else "fp32"
        if precision == "fp16" and not cuda:
            raise TrainingError("precision = fp16 needs a CUDA device; choose bf16, fp32 or auto on a processor")
        self.precision = precision
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return int(self._accelerator.process_index) if self._accelerator else 0

    @property
    def processes(self) -> int:
        """How many processes work on each batch."""
        return int(self._accelerator.num_processes) if self._accelerator else 1

    def hardware(self) -> str:
        """What this run computes on, in words."""
        if self.device.type == "cuda":
            return f"{self.processes} {torch.cuda.get_device_name(self.device)}"
        read = getattr(torch.cpu, "get_capabilities", None)
        name = read().get("cpu_name") if read else None
        threads = torch.get_num_threads() * self.processes
        return f"{threads} thread{'s' * (threads > 1)} of {name or 'a'} processor"

    def autocast(self) -> AbstractContextManager[Any]:
        """Context in which networks compute in the run's precision."""
        kind = torch.float16 if self.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, kind, enabled=self.precision != "fp32")

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a loss."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def update(self, optimizer: torch.optim.Optimizer, parameters: Sequence[torch.Tensor], clip: float) -> float:
        """Average the gradients over the processes, clip, step; return the gradient's norm before clipping.

        Weights stay as they are if it is not finite.
        """
        if self.processes > 1:
            self._average([p.grad for p in parameters if p.grad is not None])
        self._scaler.unscale_(optimizer)  # after the sum, so that all processes see an overflow of one
        norm = torch.nn.utils.clip_grad_norm_(parameters, clip if clip > 0 else float("inf"))
        if self._scaler.is_enabled() or torch.isfinite(norm):
            self._scaler.step(optimizer)  # a scaler leaves out steps that overflow, by itself
            self._scaler.update()
        optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def total(self, value: float) -> float:
        """Sum of a number over the processes."""
        if self._accelerator is None:
            return value
        return float(self._accelerator.reduce(torch.tensor(value, device=self.device), reduction="sum"))

    def wait(self) -> None:
        """Wait for the other processes."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold besides the optimizer."""
        return dict(self._scaler.state_dict())

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        if state:
            self._scaler.load_state_dict(state)

    def _average(self, gradients: Sequence[torch.Tensor]) -> None:
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        flat = self._accelerator.reduce(flat, reduction="sum")
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back to the end: weights, average and step number must change together."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals come in the main thread only
        return
    held: list[tuple[int, Any]] = []
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.signal(kind, lambda *arguments: held.append(arguments)) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, signal.SIG_DFL if handler is None else handler)
    for number, _ in held[:1]:
        signal.raise_signal(number)


def _accelerator() -> Any:
    """Accelerate's Accelerator where several processes were started, else None."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    try:
        from accelerate import Accelerator
        from accelerate.utils import InitProcessGroupKwargs
    except ImportError:
        raise MissingDependencyError(
            'several processes need accelerate: pip install "astro-galaxysd[train]", or start one process'
        ) from None
    # the others wait while the first one draws sheets or encodes images
    patient = InitProcessGroupKwargs(timeout=timedelta(days=1))
    return Accelerator(cpu=not torch.cuda.is_available(), kwargs_handlers=[patient])
