"""The generator behind the plug-in name ``diffusion``: a weights folder that answers conditions with images."""

from __future__ import annotations

import hashlib
import logging
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from astro_galaxysd.diffusion.components import Components
from astro_galaxysd.diffusion.encode import PromptStates, check_prompts
from astro_galaxysd.diffusion.layouts import Layout, inspect_layout
from astro_galaxysd.diffusion.placement import is_small, micro_batch, place
from astro_galaxysd.diffusion.released import load_layout
from astro_galaxysd.diffusion.sample import SAMPLERS, sample_rows
from astro_galaxysd.errors import ConditionError, UnknownNameError, WeightsError
from astro_galaxysd.hub.names import parse_name
from astro_galaxysd.hub.weights import MODELS, fetch_weights
from astro_galaxysd.images.codec import fit_size
from astro_galaxysd.records import ImageBatch, WeightCard

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["DiffusionGenerator", "weights_folder"]

logger = logging.getLogger(__name__)

_HUB = "hub:"
_REFERENCE = 2  # tells the random number for a row's reference from others of its seed


def weights_folder(weights: WeightCard | str) -> Path:
    """Folder that a weight card points at; what is on the Hub is fetched.

    Parameters
    ----------
    weights : WeightCard or str
        A card, or its location: a path, ``"package:NAME/inner/path"`` inside an installed package, or
        ``"hub:organisation/name"``, with ``@revision`` or without.

    Raises
    ------
    WeightsError
        If there is no such folder.
    HubError
        If it can't be fetched.
    """
    location, revision = (weights, "") if isinstance(weights, str) else (weights.location, weights.revision)
    if location.startswith(_HUB):
        return fetch_weights(location.removeprefix(_HUB), revision or None).path
    if location.startswith("package:"):
        package, _, inner = location.removeprefix("package:").partition("/")
        folder = Path(str(files(package).joinpath(inner)))
    else:
        folder = Path(location).expanduser()
    if not folder.is_dir():
        raise WeightsError(
            f"no weights folder {str(folder)!r}; give a diffusers folder or a name of `galaxysd plugins`"
        )
    return folder


class DiffusionGenerator:
    """Draws galaxies with a latent diffusion model.

    Parameters
    ----------
    weights : WeightCard
        Which folder, and how it wants to be sampled.
    steps : int, optional
        Sampling steps, 2 to 500; the card's unless given.
    guidance : float, optional
        Classifier-free guidance, 1 (none) or more; the card's unless given.
    sampler : str, optional
        ``"dpm++"`` or ``"euler-ancestral"``; the card's unless given.
    references : ndarray, shape (N, H, W, 3), uint8, optional
        Real galaxies for weights whose card asks for them; each row begins with the one that its seed chooses.
    device, precision, compiled
        As `astro_galaxysd.diffusion.placement.place`.

    Raises
    ------
    ConditionError
        If `steps` or `guidance` is out of range, references are asked for and not given, or there is no such device.
    UnknownNameError
        For a sampler or a precision that is not known.
    WeightsError
        If the folder can't be loaded, or its schedule is another than the card says, or its autoencoder makes no
        images of the card's size.
    HubError
        If it can't be fetched.

    Examples
    --------
    >>> from astro_galaxysd import load_generator
    >>> generator = load_generator("mini", steps=10)  # doctest: +SKIP
    """

    def __init__(
        self,
        weights: WeightCard,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        sampler: str | None = None,
        references: np.ndarray | None = None,
        device: str | None = None,
        precision: str = "auto",
        compiled: bool = False,
    ) -> None:
        self.card = weights
        self.steps = weights.steps if steps is None else steps
        self.guidance = weights.guidance if guidance is None else guidance
        self.sampler = weights.sampler if sampler is None else sampler
        if not (isinstance(self.steps, int | np.integer) and 2 <= self.steps <= 500):
            raise ConditionError(
                f"steps = {self.steps!r}: give a whole number from 2 to 500, or None for {weights.steps}"
            )
        if not 1.0 <= float(self.guidance) < 100:
            raise ConditionError(f"guidance = {self.guidance!r}: give 1 (none) to 99, or None for {weights.guidance}")
        if self.sampler not in SAMPLERS:
            raise UnknownNameError("sampler", self.sampler, SAMPLERS)
        if weights.references and references is None:
            raise ConditionError(
                f"images of weights {weights.name!r} begin with real galaxies, as text alone makes them too bright; "
                "give references=, a table of real ones"
            )
        layout = inspect_layout(weights_folder(weights))
        logger.info("weights %s: %s", weights.name, layout.told)
        self._layout = "" if layout.kind == "diffusers" else layout.told
        base, self._base = self._find_base(layout)
        self.components: Components = load_layout(
            layout, base=base, base_revision=self._base if "@" in self._base else "", ema=weights.ema
        )
        self._check_schedule()
        self._check_size()
        size = self.image_size
        self._references = fit_size(references, (size, size)) if weights.references and references is not None else None
        self._device = place(self.components, device, precision, compiled)
        self._states = PromptStates(
            self.components.text_encoder, self.components.tokenizer, masked_padding=weights.masked_padding
        )

    def _find_base(self, layout: Layout) -> tuple[Path | None, str]:
        """Folder of what the files lack, and what is told of it; of the Hub no weights are fetched that they have."""
        location = self.card.base
        if layout.kind == "diffusers" or not location:
            return None, ""
        if not location.startswith(_HUB):
            return weights_folder(location), location
        where = parse_name(location.removeprefix(_HUB))
        fetched = fetch_weights(where.name, where.revision, parts=[part for part in MODELS if part not in layout.parts])
        return fetched.path, f"{where.name}@{fetched.revision}"

    def _check_schedule(self) -> None:
        said, found = self.card.prediction_type, self.components.scheduler.get("prediction_type", "epsilon")
        if said and said != found:
            raise WeightsError(
                f"weights {self.card.name!r} predict {said!r} by their card and {found!r} by their schedule; mend the "
                "one that is wrong"
            )

    def _check_size(self) -> None:
        size, pixels = self.image_size, self.components.image_size // self.components.unet.config.sample_size
        if size < pixels or size % pixels:
            raise WeightsError(
                f"weights {self.card.name!r} can't draw images of {size} pixels, only multiples of {pixels}; mend "
                "image_size in their card or in sampling.json beside them"
            )

    @property
    def image_size(self) -> int:
        """Side of the images, pixels."""
        return self.card.image_size or self.components.image_size

    @property
    def together(self) -> int:
        """Rows to ask for at a time: a micro-batch for each thread."""
        beside = is_small(self.components) and self.components.unet.device.type == "cpu"
        return micro_batch(self.components) * (torch.get_num_threads() if beside else 1)

    @property
    def provenance(self) -> dict[str, Any]:
        """What holds for every image this generator draws; JSON-ready."""
        return {
            "generator": self.card.generator,
            "weights": self.card.name,
            "weights_revision": self.card.revision or self.components.revision,
            "sampler": self.sampler,
            "scheduler": SAMPLERS[self.sampler],
            "steps": int(self.steps),
            "guidance": float(self.guidance),
            "turned": self.card.turned,
            "device": self._device,
            **({"layout": self._layout} if self._layout else {}),
            **({"base": self._base} if self._base else {}),
            **({"masked_padding": True} if self.card.masked_padding else {}),
            **({"references": _digest(self._references)} if self._references is not None else {}),
            "versions": {name: version(name) for name in ("astro-galaxysd", "torch", "diffusers", "transformers")},
        }

    def check(self, prompts: list[str]) -> None:
        """Raise `PromptError` for a prompt that is malformed or does not fit the text encoder; draws nothing."""
        check_prompts(self.components.tokenizer, prompts)

    def generate(self, conditions: Table, *, batch_size: int | None = None) -> ImageBatch:
        """Draw one image a row.

        Parameters
        ----------
        conditions : Table
            With columns ``prompt`` (str) and ``seed`` (int, 0 or more).
        batch_size : int, optional
            Without effect on this generator, whose networks always see micro-batches of one size.

        Returns
        -------
        ImageBatch
            ``images`` of shape (N, H, H, 3), uint8.

        Raises
        ------
        ConditionError
            If a column is missing or the table is empty.
        PromptError
            If a prompt is malformed or too long.
        """
        for name in ("prompt", "seed"):
            if name not in conditions.colnames:
                raise ConditionError(
                    f"conditions have no column {name!r}, only {', '.join(conditions.colnames) or 'none'}"
                )
        if not len(conditions):
            raise ConditionError("conditions have no row; give at least one")
        prompts = [str(prompt) for prompt in conditions["prompt"]]
        self.check(prompts)
        seeds = [int(seed) for seed in conditions["seed"]]
        images = sample_rows(
            self.components, prompts, seeds, steps=int(self.steps), guidance=float(self.guidance),
            sampler=self.sampler, turn=self.card.turned,
            image_size=self.image_size, references=self._begin_with(seeds), states=self._states,
        )  # fmt: skip
        ids = conditions["row_id"] if "row_id" in conditions.colnames else range(len(conditions))
        return ImageBatch(images, conditions, np.array([str(i) for i in ids]), self.provenance)

    def _begin_with(self, seeds: list[int]) -> np.ndarray | None:
        """The reference of each row."""
        if self._references is None:
            return None
        numbers = [int(np.random.SeedSequence([seed, _REFERENCE]).generate_state(1)[0]) for seed in seeds]
        return np.asarray(self._references[np.array(numbers) % len(self._references)])


def _digest(images: np.ndarray) -> str:
    """What images that others begin with are known by: 40 hexadecimal digits."""
    return hashlib.sha256(f"{images.shape}".encode() + np.ascontiguousarray(images).tobytes()).hexdigest()[:40]
