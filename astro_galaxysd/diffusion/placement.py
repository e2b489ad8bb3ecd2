"""Where and how the networks of a model compute: device, precision, layout in memory, rows of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from astro_galaxysd.errors import ConditionError, UnknownNameError

if TYPE_CHECKING:
    from astro_galaxysd.diffusion.components import Components

__all__ = ["MICRO_BATCH", "PRECISIONS", "is_small", "micro_batch", "place"]

#: Rows of a network call on processors. More are drawn faster, and leave more idle where there are few.
MICRO_BATCH = 8
#: Rows of a call of a small network on a GPU, which eight would leave idle.
_ON_GPU = 64
#: Parameters up to which a UNet is small: on processors micro-batches of it have one thread each, side by side. The
#: embedded one has 5 million, Stable Diffusion 860.
_SMALL = 100_000_000
#: Precisions by name; ``"auto"`` is one of them.
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def is_small(components: Components) -> bool:
    """Whether several calls of the UNet can go on at a time."""
    return bool(sum(parameter.numel() for parameter in components.unet.parameters()) <= _SMALL)


def micro_batch(components: Components) -> int:
    """Rows that each call of the networks has, padded where there are fewer."""
    return _ON_GPU if components.unet.device.type != "cpu" and is_small(components) else MICRO_BATCH


def place(components: Components, device: str | None = None, precision: str = "auto", compiled: bool = False) -> str:
    """Bring the networks of a model where they shall compute, in place.

    Parameters
    ----------
    components : Components
    device : str, optional
        As torch names it, such as ``"cuda:1"``; by default the first GPU that CUDA finds, else the processor.
    precision : {"auto", "fp32", "bf16", "fp16"}
        Of the UNet; text encoder and autoencoder stay in fp32. ``"auto"``: fp32 on processors, bf16 on GPUs that
        compute with it, fp16 on others.
    compiled : bool
        Whether torch compiles the UNet, a minute at the first call: for large models and many galaxies.

    Returns
    -------
    str
        Kind of device and precision, for provenance: ``"cpu fp32"``, ``"cuda bf16 compiled"``.

    Raises
    ------
    ConditionError
        If there is no such device, or it has no fp16.
    UnknownNameError
        For a precision that is none of `PRECISIONS`.
    """
    where = _device(device)
    if precision != "auto" and precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, ("auto", *PRECISIONS))
    if precision == "fp16" and where.type == "cpu":
        raise ConditionError("precision='fp16' needs a GPU; use 'bf16', 'fp32' or 'auto' on a processor")
    if precision == "auto":
        precision = "fp32" if where.type == "cpu" else _of_gpu(where)
    for network in (components.vae, components.text_encoder):
        network.to(where)
    # the method of diffusers warns of casts, whatever the model
    torch.nn.Module.to(components.unet, where, PRECISIONS[precision])
    if is_small(components):
        # what convolutions of oneDNN and of CUDA compute with: others are brought to it, again and again
        for network in (components.unet, components.vae):
            network.to(memory_format=torch.channels_last)
    if compiled:
        components.unet = torch.compile(components.unet)
    return f"{where.type} {precision}" + " compiled" * compiled


def _of_gpu(where: torch.device) -> str:
    """The half precision that a GPU computes with."""
    with torch.cuda.device(where):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        found = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        raise ConditionError(
            f"device={name!r} can't be used ({str(error).splitlines()[0]}); there is {', '.join(['cpu', *found])}"
        ) from error
    return device
