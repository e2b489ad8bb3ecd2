"""Weights in any layout to a complete model.

Only a diffusers folder is complete. What other layouts lack, the configurations always among it, comes from a base: the
diffusers folder of the model that was trained on. Every parameter of the model comes from a file, and every tensor of a
file goes into the model.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from astro_galaxysd.diffusion.checkpointfiles import Tensors
from astro_galaxysd.diffusion.components import (
    PARTS_OF_FOLDER,
    Components,
    check_parts,
    folder_revision,
    load_components,
    load_empty,
    load_tokenizer,
    read_schedule,
)
from astro_galaxysd.diffusion.layouts import Layout, inspect_layout
from astro_galaxysd.diffusion.modelparts import NAMES, filled
from astro_galaxysd.diffusion.parameternames import PARTS, renamed
from astro_galaxysd.diffusion.partfolders import read_part
from astro_galaxysd.diffusion.safefiles import shown
from astro_galaxysd.diffusion.singlefile import stored_unet_names, stored_vae_names, with_shapes
from astro_galaxysd.errors import WeightsError

__all__ = ["load_checkpoint", "load_layout"]

_GET_BASE = (
    "name it in the weights' card or in sampling.json beside them, "
    '{"base": "hub:stable-diffusion-v1-5/stable-diffusion-v1-5"}, or give base=, a diffusers folder'
)


def load_checkpoint(
    location: str | os.PathLike[str],
    *,
    base: str | os.PathLike[str] | None = None,
    ema: bool = False,
    step: int | None = None,
    kind: str | None = None,
) -> Components:
    """Read weights in any layout; float32, evaluation mode.

    Parameters
    ----------
    location, step, kind
        As `inspect_layout`.
    base : path, optional
        A diffusers folder that supplies what the files lack; without effect where they lack nothing.
    ema : bool
        Whether to take the averages over the training in place of the last values.

    Returns
    -------
    Components

    Raises
    ------
    WeightsError
        As `inspect_layout` and `load_layout`.
    UnknownNameError
        If `kind` is not known.

    Examples
    --------
    >>> from astro_galaxysd.diffusion.released import load_checkpoint
    >>> model = load_checkpoint("released", base="sd15")  # doctest: +SKIP
    """
    return load_layout(inspect_layout(location, step=step, kind=kind), base=base, ema=ema)


def load_layout(
    layout: Layout, *, base: str | os.PathLike[str] | None = None, base_revision: str = "", ema: bool = False
) -> Components:
    """Read weights that were looked at; float32, evaluation mode.

    Parameters
    ----------
    layout : Layout
    base, ema
        As `load_checkpoint`.
    base_revision : str
        What the base is known by; empty: a hash of its content.

    Raises
    ------
    WeightsError
        If the layout is that of an adapter, if a base is needed and not given, or lacks something; if there are no
        averages and they were asked for, or nothing else; if parameters are missing, tensors left over, shapes other
        than the base's, values not finite.
    """
    if layout.kind == "adapter":
        raise WeightsError(
            f"{layout.root} holds adapters ({shown(layout.prefixes)}), which change a model and are none; merge them "
            "into it with the program that trained them, or ask their author for merged weights"
        )
    _check_averages(layout, ema)
    if layout.kind == "diffusers":
        return load_components(layout.root)
    if base is None:
        raise WeightsError(
            f"{layout.root} holds {' and '.join(NAMES[part] for part in layout.parts)} only; {', '.join(layout.needs)} "
            f"have to come from the model it was trained from: {_GET_BASE}"
        )
    folder = Path(base)
    check_parts(folder, PARTS_OF_FOLDER)
    return Components(
        **{part: _part(layout, part, folder, ema) for part in PARTS},
        tokenizer=load_tokenizer(folder),
        scheduler=read_schedule(folder),
        revision=_revision(layout, base_revision or folder_revision(folder), ema),
    )


def _check_averages(layout: Layout, ema: bool) -> None:
    """Raise for averages that are asked for and not there, and for values that are there as averages only."""
    for part in layout.parts:
        where = shown(path.name for path in layout.files[part])
        if not ema and part not in layout.tensors:
            raise WeightsError(f"{layout.root}: {where} holds averages only (base_ema); give ema=True")
    lacking = [part for part in layout.parts if part not in layout.averages]
    if layout.kind == "single file":
        lacking = [part for part in lacking if part == "unet"]  # nothing else was ever averaged
    if ema and lacking:
        raise WeightsError(
            f"{layout.root}: no averages of the {' and '.join(NAMES[part] for part in lacking)}; leave ema out"
        )


def _part(layout: Layout, part: str, base: Path, ema: bool) -> Any:
    """A part, made as the base says, with the values of the files that have it."""
    empty = load_empty(base, part)
    if part not in layout.parts:
        return filled(empty, read_part(base / part, base)[1], part, str(base / part))
    where = shown(layout.files[part])
    tensors = layout.averages[part] if ema and part in layout.averages else layout.tensors[part]
    if layout.kind == "single file":
        tensors = _with_our_names(empty, tensors, part, where)
    return filled(empty, tensors, part, where)


def _with_our_names(empty: Any, tensors: Tensors, part: str, where: str) -> Tensors:
    """Tensors of a single file as diffusers names them; text encoders have transformers' names there."""
    if part == "text_encoder":
        return tensors
    if part == "unet":
        names = stored_unet_names(empty)
    elif type(empty).__name__ == "AutoencoderKL":
        names = stored_vae_names(empty.state_dict(), len(empty.config.up_block_types))
    else:
        raise WeightsError(
            f"{where} holds an autoencoder that the base's {type(empty).__name__} can't be filled from; {_GET_BASE}"
        )
    ours = renamed(tensors, {stored: name for name, stored in names.items()}, where)
    return with_shapes(ours, empty.state_dict())


def _revision(layout: Layout, base: str, ema: bool) -> str:
    """Content hash of all that a model was made of: 40 hexadecimal digits."""
    digest = hashlib.sha256(f"{layout.kind} {ema} {base}".encode())
    for file in sorted({file for part in layout.files for file in layout.files[part]}):
        with file.open("rb") as stream:
            digest.update(file.name.encode() + hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:40]
