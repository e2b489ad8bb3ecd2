"""Training of the diffusion model.

With signal share a of a timestep, latents x and noise e, the network sees sqrt(a) x + sqrt(1 - a) e and predicts the
noise e, or the velocity v = sqrt(a) e - sqrt(1 - a) x (Salimans & Ho 2022), whichever the schedule says. A timestep's
squared error counts min(SNR, gamma) / SNR for noise, min(SNR + 1, gamma) / (SNR + 1) for velocities, SNR being
a / (1 - a): steps that only polish noise do not dominate (after Hang et al. 2023, whose weight for velocities would
leave pure noise untrained).
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from astro_galaxysd.conditions.prompts import tags_from_fractions
from astro_galaxysd.diffusion.autoencoder import BLOCK, LappedAutoencoder
from astro_galaxysd.diffusion.captions import caption_batch, fit_tags, sampling_weights
from astro_galaxysd.diffusion.components import (
    SCHEDULER,
    Components,
    load_autoencoder,
    load_components,
    new_text_encoder,
    new_unet,
    save_components,
)
from astro_galaxysd.diffusion.encode import encode_prompts
from astro_galaxysd.diffusion.latents import LatentSource
from astro_galaxysd.diffusion.recipes import ConditionedRecipe, DiffusionRecipe
from astro_galaxysd.diffusion.tokenizer import build_tokenizer
from astro_galaxysd.errors import TrainingError
from astro_galaxysd.learning.engine import Engine
from astro_galaxysd.learning.runs import TrainingRun
from astro_galaxysd.learning.trainingids import (
    IDS,
    LEARNT_ANSWERS,
    write_learnt_answers,
    write_training_ids,
)
from astro_galaxysd.learning.trainingset import TrainingSet

__all__ = [
    "BASE_IDS",
    "ConditionedBatch",
    "ConditionedRun",
    "DiffusionRun",
    "alphas_cumprod",
    "autoencoder_hash",
    "channel_share",
    "timestep_weights",
]

#: In a run's folder: hashes of the ids of the rows that the weights it began with were trained on, if they say which.
BASE_IDS, BASE_ANSWERS = "base_ids.txt", "base_answers.csv"


def alphas_cumprod(scheduler: dict[str, Any]) -> torch.Tensor:
    """Share of signal power at each timestep of a schedule, shape (T,), as diffusers computes it."""
    from diffusers import DDIMScheduler

    signal: torch.Tensor = DDIMScheduler.from_config(scheduler).alphas_cumprod
    return signal.clone()


def timestep_weights(signal: torch.Tensor, prediction: str, gamma: float) -> torch.Tensor:
    """Weight of the squared error at signal shares, same shape; all 1 for `gamma` = 0.

    Parameters
    ----------
    signal : Tensor
        In [0, 1].
    prediction : str
        ``"epsilon"`` or ``"v_prediction"``.
    gamma : float
        Largest weight in the units of the clean latents' error.
    """
    if not gamma:
        return torch.ones_like(signal)
    snr = signal / (1 - signal)
    if prediction == "epsilon":
        return torch.where(snr > 0, snr.clamp(max=gamma) / snr.clamp_min(1e-20), torch.ones_like(snr))
    return (snr + 1).clamp(max=gamma) / (snr + 1)


def channel_share(vae: Any, detail: float) -> torch.Tensor:
    """Weight of each latent channel in the loss, mean 1, shape (1, C, 1, 1); 1 for other autoencoders than ours."""
    if not isinstance(vae, LappedAutoencoder):
        return torch.ones(1, 1, 1, 1)
    share: torch.Tensor = vae.amplitudes**detail
    return torch.reshape(share / share.mean(), (1, -1, 1, 1))


def autoencoder_hash(vae: Any) -> str:
    """Content of an autoencoder, in the half precision that it is stored with."""
    digest = hashlib.sha256()
    for name, value in sorted(vae.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().half().numpy().tobytes())
    return digest.hexdigest()


class ConditionedBatch(NamedTuple):
    """One step's batch: training rows, latents, captions, timesteps, noise."""

    rows: np.ndarray
    latents: torch.Tensor
    captions: list[str]
    times: torch.Tensor
    noise: torch.Tensor


class ConditionedRun(TrainingRun):
    """Base of the runs that learn to draw galaxies of stated votes.

    Parameters
    ----------
    folder, data
        As `TrainingRun`.
    recipe : ConditionedRecipe
    components : Components
        Networks on the engine's device, and the noise schedule.
    engine : Engine
    share : Tensor, shape (1, C, 1, 1)
        Weight of each latent channel in the loss.
    trained : sequence of str
        Parts that learn, of ``"unet"`` and ``"text_encoder"``.
    """

    recipe: ConditionedRecipe

    def __init__(
        self,
        folder: Path,
        data: TrainingSet,
        recipe: ConditionedRecipe,
        components: Components,
        engine: Engine,
        *,
        share: torch.Tensor,
        trained: tuple[str, ...] = ("unet", "text_encoder"),
    ) -> None:
        self.unet, self.vae = components.unet, components.vae.requires_grad_(False)
        self.text_encoder, self.tokenizer = components.text_encoder, components.tokenizer
        self.schedule, self.share = components.scheduler, share.to(engine.device)
        self.prediction = str(self.schedule.get("prediction_type", "epsilon"))
        self.tags = fit_tags(tags_from_fractions(data.fractions, cuts=recipe.well_sampled), self.tokenizer)
        self.probability = sampling_weights(data.fractions, power=recipe.rarity, largest=recipe.rarity_limit)
        if engine.rank:
            engine.wait()  # the first process writes the file of latents, the others find it
        self.source = LatentSource(self.vae, data.images, Path(folder) if recipe.cache_latents else None)
        if not engine.rank:
            engine.wait()
        self.signal = alphas_cumprod(self.schedule).to(engine.device)
        if recipe.checkpointing:
            self.unet.enable_gradient_checkpointing()
            text = self.text_encoder  # transformers 5 names it anew, and warns of the old name
            getattr(text, "activation_checkpointing_enable", text.gradient_checkpointing_enable)()
        if np.isnan(data.fractions).all():
            raise TrainingError(
                f"none of the {len(data.ids)} galaxies has votes, so there are no prompts to learn; "
                "give tables with vote columns"
            )
        self._batch: tuple[int, ConditionedBatch] | None = None
        self.origin: Path | None = None  # the weights it began with, where they are known
        super().__init__(folder, recipe, {name: getattr(self, name).train() for name in trained}, data, engine)

    def source_hash(self) -> str:
        """Changes with the training rows, the size of their images, and the autoencoder that encodes them."""
        return hashlib.sha256(f"{super().source_hash()} {autoencoder_hash(self.vae)}".encode()).hexdigest()

    def batch(self, step: int) -> ConditionedBatch:
        """The batch of a step, from the seed and the step alone."""
        if self._batch is None or self._batch[0] != step:
            self._batch = (step, self._make_batch(step))
        return self._batch[1]

    def _make_batch(self, step: int) -> ConditionedBatch:
        rng, n = self.rng(step), self.recipe.batch_size
        rows = rng.choice(len(self.data.images), n, p=self.probability)
        forms = rng.integers(0, 8, n)
        captions = caption_batch([self.tags[row] for row in rows], rng, self.recipe.captions)
        # stratified over the batch: every step sees the whole range of noise
        times = ((np.arange(n) + rng.random(n)) / n * len(self.signal)).astype(np.int64)
        noise_rng, latent_rng = rng.spawn(2)
        latents = self.source.draw(rows, forms, latent_rng)
        noise = torch.from_numpy(noise_rng.standard_normal(latents.shape, dtype=np.float32)).to(self.device)
        return ConditionedBatch(rows, latents, captions, torch.from_numpy(times).to(self.device), noise)

    def rows(self, step: int) -> np.ndarray:
        """Rows of the training set in a step's batch, shape (batch_size,)."""
        return self.batch(step).rows

    def loss(self, step: int, part: slice) -> torch.Tensor:
        """Weighted squared error of a part of a step's batch."""
        batch = self.batch(step)
        latents, captions = batch.latents[part], batch.captions[part]
        times, noise = batch.times[part], batch.noise[part]
        a = self.signal[times][:, None, None, None]
        noisy = a.sqrt() * latents + (1 - a).sqrt() * noise
        target = noise if self.prediction == "epsilon" else a.sqrt() * noise - (1 - a).sqrt() * latents
        with self.engine.autocast():
            hidden = self._hidden(captions)
            predicted = self.unet(noisy, times, hidden, return_dict=False)[0]
        error = ((predicted.float() - target).square() * self.share).mean(dim=(1, 2, 3))
        loss: torch.Tensor = (error * timestep_weights(self.signal[times], self.prediction, self.recipe.gamma)).mean()
        return loss

    def _hidden(self, captions: list[str]) -> torch.Tensor:
        with torch.set_grad_enabled("text_encoder" in self.modules):
            return encode_prompts(self.text_encoder, self.tokenizer, captions)

    def write_records(self) -> None:
        """Write, before the first checkpoint, which rows the weights that the run began with were trained on."""
        super().write_records()
        if self.checkpoint.exists():
            return
        for name, copy in ((IDS, BASE_IDS), (LEARNT_ANSWERS, BASE_ANSWERS)):
            (self.folder / copy).unlink(missing_ok=True)  # of another run in this folder
            if self.origin is not None and (self.origin / name).is_file():
                shutil.copyfile(self.origin / name, self.folder / copy)

    def export(self, folder: Path) -> None:
        """Write the complete weights, and which rows they and those they began with learnt from; ends the training.

        Parameters
        ----------
        folder : Path
            Of the weights.
        """
        save_components(self.components(), folder)
        before = self.folder / BASE_IDS
        known = before.read_text().split() if before.is_file() else []
        write_training_ids(folder, self.data.ids, known)
        write_learnt_answers(
            folder, self.data.ids, self.data.fractions, hashes=known, answers=self.folder / BASE_ANSWERS
        )

    @property
    def sampling(self) -> dict[str, Any]:
        """Steps, guidance and sampler that the weights want; empty for what is usual for our own."""
        return {}

    def current(self) -> Components:
        """The networks as they are, on their device."""
        return Components(self.unet, self.vae, self.text_encoder, self.tokenizer, dict(self.schedule))

    def components(self) -> Components:
        """The averaged weights on the processor, ready to sample or save; ends the run's training."""
        self.use_average()
        return Components(self.unet.cpu(), self.vae.cpu(), self.text_encoder.cpu(), self.tokenizer, dict(self.schedule))


class DiffusionRun(ConditionedRun):
    """Trains the embedded model from nothing.

    Parameters
    ----------
    folder, data
        As `TrainingRun`.
    autoencoder : Path
        Folder of the autoencoder.
    recipe : DiffusionRecipe
    """

    recipe: DiffusionRecipe

    def __init__(self, folder: Path, data: TrainingSet, autoencoder: Path, recipe: DiffusionRecipe) -> None:
        engine = Engine(recipe.precision)
        torch.manual_seed(recipe.seed)
        self.autoencoder = Path(autoencoder)
        vae = load_autoencoder(autoencoder)
        tokenizer = build_tokenizer()
        unet = new_unet(
            vae.config.latent_channels,
            width=recipe.width,
            text_width=recipe.text_width,
            sample_size=data.images.shape[1] // BLOCK,
        )
        text_encoder = new_text_encoder(tokenizer, width=recipe.text_width, layers=recipe.text_layers)
        components = Components(
            unet.to(engine.device), vae.to(engine.device), text_encoder.to(engine.device), tokenizer, dict(SCHEDULER)
        )
        super().__init__(folder, data, recipe, components, engine, share=channel_share(vae, recipe.detail))

    def begin_with(self, weights: Path) -> None:
        """Begin with the UNet and text encoder of complete weights.

        Raises
        ------
        TrainingError
            If they were made for another autoencoder, or have another shape than the recipe's.
        WeightsError
            If they can't be loaded.
        """
        trained = load_components(weights)
        if autoencoder_hash(trained.vae) != autoencoder_hash(self.vae):
            raise TrainingError(
                f"{weights}: these weights were made for another autoencoder than {self.autoencoder}, their latents "
                f"mean something else; give --autoencoder {weights / 'vae'}"
            )
        self.start_from({"unet": trained.unet, "text_encoder": trained.text_encoder})
        self.origin = weights
