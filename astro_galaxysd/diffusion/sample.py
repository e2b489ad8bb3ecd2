"""Sampling: prompt states and seeds in, latents out, images at the end.

A row's bits depend on its prompt and seed alone: its noise is drawn on the CPU from its own generator, and the networks
run in micro-batches that are padded to full length. Sums of oneDNN depend on the number of threads. So on processors
each micro-batch of a small network has one thread, several of them side by side; a large network, of which one alone
fills processor and memory, gets all threads, and works without oneDNN. Guidance: out = u + g (c - u), its contrast
partly restored to that of c (Lin et al. 2023).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from astro_galaxysd.diffusion.encode import PromptStates
from astro_galaxysd.diffusion.latents import latent_moments
from astro_galaxysd.diffusion.placement import is_small, micro_batch
from astro_galaxysd.errors import UnknownNameError
from astro_galaxysd.learning.threads import side_by_side
from astro_galaxysd.learning.views import dihedral, pixels_of

if TYPE_CHECKING:
    from astro_galaxysd.diffusion.components import Components

__all__ = [
    "SAMPLERS",
    "decode_latents",
    "decoded",
    "guide",
    "make_scheduler",
    "sample_latents",
    "sample_rows",
    "turned",
]

#: Samplers by the name users ask for, and the diffusers class of each.
SAMPLERS = {"dpm++": "DPMSolverMultistepScheduler", "euler-ancestral": "EulerAncestralDiscreteScheduler"}
#: Share of the contrast restored after guidance (Lin et al. 2023, section 3.4).
GUIDANCE_RESCALE = 0.7
_FORM = 1  # tells the random number for a row's form from others of its seed


def make_scheduler(config: dict[str, Any], sampler: str, steps: int) -> Any:
    """A diffusers scheduler with its timesteps set.

    DPM-Solver++ on a schedule that ends in pure noise gets quadratically spaced timesteps: with evenly spaced ones a
    Gaussian field of standard deviation 0.15 comes back with 0.08, a sky that is too smooth; so spaced, with 0.144.

    Raises
    ------
    UnknownNameError
        If the sampler is none of `SAMPLERS`.
    """
    import diffusers

    if sampler not in SAMPLERS:
        raise UnknownNameError("sampler", sampler, SAMPLERS)
    scheduler = getattr(diffusers, SAMPLERS[sampler]).from_config(_own_keys(config, sampler))
    if sampler == "dpm++" and config.get("rescale_betas_zero_snr"):
        last = scheduler.config.num_train_timesteps - 1
        rounded = np.round(2 + (last - 2) * np.linspace(0, 1, steps) ** 2).astype(int)
        # near the end rounding makes equal ones of many steps: move each at least one above the last
        spaced = np.maximum.accumulate(rounded - np.arange(steps)) + np.arange(steps)
        scheduler.set_timesteps(timesteps=spaced[::-1].tolist())
    else:
        scheduler.set_timesteps(steps)
    return scheduler


def _own_keys(config: dict[str, Any], sampler: str) -> dict[str, Any]:
    """The schedule without another sampler's choices."""
    keep = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type",
            "rescale_betas_zero_snr", "timestep_spacing", "steps_offset")  # fmt: skip
    own = {key: config[key] for key in keep if key in config}
    return own | ({"algorithm_type": "dpmsolver++"} if sampler == "dpm++" else {})


def guide(
    conditional: torch.Tensor, unconditional: torch.Tensor, guidance: float, rescale: float = GUIDANCE_RESCALE
) -> torch.Tensor:
    """Classifier-free guidance with its contrast restored to the share `rescale`; all shapes (N, C, H, W)."""
    guided = unconditional + guidance * (conditional - unconditional)
    axes = tuple(range(1, guided.ndim))
    ratio = conditional.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True)
    return guided * (rescale * ratio + 1 - rescale)


def _padded(rows: torch.Tensor, size: int) -> torch.Tensor:
    """Repeat the last row up to the micro-batch."""
    missing = size - len(rows)
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing else rows


def sample_latents(
    components: Components,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int,
    guidance: float,
    sampler: str,
    masked_padding: bool = False,
    image_size: int | None = None,
    references: np.ndarray | None = None,
    states: PromptStates | None = None,
) -> torch.Tensor:
    """Latents of one micro-batch.

    Parameters
    ----------
    components : Components
    prompts : sequence of str, length n
        At most `astro_galaxysd.diffusion.placement.micro_batch`.
    seeds : sequence of int, length n
    steps : int
    guidance : float
        1: no guidance, half the work.
    sampler : str
    masked_padding : bool
        As `astro_galaxysd.diffusion.encode.encode_prompts`.
    image_size : int, optional
        Side of the images, pixels; by default what the UNet is configured for.
    references : ndarray, shape (n, S, S, 3), uint8, optional
        Images of that side to begin with, in place of noise alone: image to image with strength 1. On a schedule that
        does not end in pure noise they give the images their brightness.
    states : PromptStates, optional
        What knows prompts from earlier calls, in place of `masked_padding`.

    Returns
    -------
    Tensor, shape (n, C, h, w), float32
    """
    unet, n, together = components.unet, len(prompts), micro_batch(components)
    states = states or PromptStates(components.text_encoder, components.tokenizer, masked_padding=masked_padding)
    device = unet.device
    side = unet.config.sample_size
    if image_size is not None:
        side = image_size * side // components.image_size
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    generators += [torch.Generator().manual_seed(0) for _ in range(together - n)]
    shape = (unet.config.in_channels, side, side)
    noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
    conditional = _padded(states(prompts), together).to(unet.dtype)
    empty = states([""]).expand_as(conditional).to(unet.dtype) if guidance != 1.0 else None
    scheduler = make_scheduler(components.scheduler, sampler, steps)
    if references is None:
        latents = (noise * scheduler.init_noise_sigma).to(device)
    else:
        begun, _ = latent_moments(components.vae, _padded(pixels_of(references), together).to(device))
        latents = scheduler.add_noise(begun, noise.to(device), scheduler.timesteps[:1].expand(together))
    # the remedy belongs to schedules that end in pure noise; others are sampled as they were published
    rescale = GUIDANCE_RESCALE if components.scheduler.get("rescale_betas_zero_snr") else 0.0
    for time in scheduler.timesteps:
        scaled = scheduler.scale_model_input(latents, time).to(unet.dtype)
        predicted = unet(scaled, time, conditional, return_dict=False)[0].float()
        if empty is not None:
            unconditional = unet(scaled, time, empty, return_dict=False)[0].float()
            predicted = guide(predicted, unconditional, guidance, rescale)
        latents = scheduler.step(predicted, time, latents, generator=generators, return_dict=False)[0]
    drawn: torch.Tensor = latents[:n]
    return drawn


def decoded(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Pixels of latents as a UNet sees them: shape (N, 3, H, W), float32, about [-1, 1]."""
    config = vae.config
    scaled = latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)
    pixels: torch.Tensor = vae.decode(scaled, return_dict=False)[0].float()
    return pixels


def decode_latents(components: Components, latents: torch.Tensor) -> np.ndarray:
    """Images of the latents of one micro-batch, shape (n, H, W, 3), uint8."""
    pixels = decoded(components.vae, _padded(latents, micro_batch(components)))[: len(latents)]
    grey = (pixels * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
    return np.asarray(grey.permute(0, 2, 3, 1).cpu())


def turned(images: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
    """Each image in one of its eight mirrored and rotated forms, which follows from its seed alone.

    Parameters
    ----------
    images : ndarray, shape (N, H, H, 3), uint8
    seeds : sequence of int, length N

    Returns
    -------
    ndarray, shape (N, H, H, 3), uint8
    """
    forms = [int(np.random.SeedSequence([seed, _FORM]).generate_state(1)[0]) % 8 for seed in seeds]
    moved = dihedral(torch.from_numpy(images).permute(0, 3, 1, 2), torch.tensor(forms))
    return np.ascontiguousarray(moved.permute(0, 2, 3, 1).numpy())


@contextmanager
def _without_onednn() -> Iterator[None]:
    """Sums in an order that does not depend on the number of threads."""
    with warnings.catch_warnings():
        # entering and leaving the switch makes torch speak of a TF32 setting of other hardware
        warnings.filterwarnings("ignore", message="TF32 acceleration")
        with torch.backends.mkldnn.flags(enabled=False):
            yield


def sample_rows(
    components: Components,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int,
    guidance: float,
    sampler: str,
    turn: bool = False,
    masked_padding: bool = False,
    image_size: int | None = None,
    references: np.ndarray | None = None,
    states: PromptStates | None = None,
) -> np.ndarray:
    """Images of any number of rows, micro-batch by micro-batch.

    Parameters
    ----------
    components, prompts, seeds, steps, guidance, sampler, masked_padding, image_size, references, states
        As `sample_latents`.
    turn : bool
        Whether each image gets the form that `turned` gives it.

    Returns
    -------
    ndarray, shape (N, H, W, 3), uint8
    """
    known = states or PromptStates(components.text_encoder, components.tokenizer, masked_padding=masked_padding)
    together = micro_batch(components)

    def images_from(start: int) -> np.ndarray:
        rows = slice(start, start + together)
        with torch.inference_mode():
            latents = sample_latents(
                components, prompts[rows], seeds[rows], steps=steps, guidance=guidance, sampler=sampler,
                image_size=image_size, references=None if references is None else references[rows], states=known,
            )  # fmt: skip
            return decode_latents(components, latents)

    starts = range(0, len(prompts), together)
    if components.unet.device.type == "cpu" and is_small(components):
        images = list(side_by_side(images_from, starts))
    else:
        with _without_onednn():
            images = [images_from(start) for start in starts]
    drawn = np.concatenate(images)
    return turned(drawn, seeds) if turn else drawn
