"""Fine-tuning: a complete model such as Stable Diffusion 1.5 goes on learning from galaxies with votes.

Any diffusers folder of `UNet2DConditionModel`, `CLIPTextModel`, `CLIPTokenizer` and a known autoencoder serves as base.
Either all weights of the UNet, and of the text encoder if wanted, are trained, or low-rank adapters on the projections
of their attention: W + B A, B being zero at first (Hu et al. 2021). Autoencoder and tokenizer stay as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from astro_galaxysd.diffusion.autoencoder import LappedAutoencoder
from astro_galaxysd.diffusion.components import Components, load_components
from astro_galaxysd.diffusion.diffuse import ConditionedRun
from astro_galaxysd.diffusion.recipes import FinetuneRecipe
from astro_galaxysd.errors import MissingDependencyError, TrainingError, UnknownNameError, WeightsError
from astro_galaxysd.learning.engine import Engine
from astro_galaxysd.learning.trainingset import TrainingSet

if TYPE_CHECKING:
    from peft.tuners.tuners_utils import BaseTunerLayer

__all__ = ["ADAPTED", "BASE", "PREDICTIONS", "FinetuneRun", "base_terms", "finetune_schedule", "merge_adapters"]

#: In a run's folder: which base it was begun with.
BASE = "base.json"
#: What a network can predict.
PREDICTIONS = ("epsilon", "v_prediction")
#: Layers that adapters are put on: queries, keys, values and outputs of the attention, by their names in each network.
ADAPTED = {
    "unet": ("to_q", "to_k", "to_v", "to_out.0"),
    "text_encoder": ("q_proj", "k_proj", "v_proj", "out_proj"),
}
#: The part of a scheduler's configuration that is the noise schedule, not the choice of a sampler.
_SCHEDULE = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type",
             "rescale_betas_zero_snr", "timestep_spacing", "steps_offset")  # fmt: skip


def finetune_schedule(base: dict[str, Any], prediction: str, *, zero_snr: bool) -> dict[str, Any]:
    """The noise schedule to train and draw with.

    Parameters
    ----------
    base : dict
        Configuration of the base's scheduler.
    prediction : str
        One of `PREDICTIONS`.
    zero_snr : bool
        Whether the last step is pure noise: betas are rescaled and samplers start at the last timestep (Lin et al.
        2023). Otherwise the betas are the base's.

    Raises
    ------
    UnknownNameError
        If `prediction` is not known.
    TrainingError
        If noise should be predicted from pure noise.
    """
    if prediction not in PREDICTIONS:
        raise UnknownNameError("prediction", prediction, PREDICTIONS)
    if zero_snr and prediction == "epsilon":
        raise TrainingError(
            "recipe: zero_snr = true with prediction = epsilon: where there is only noise, predicting it teaches "
            "nothing; set prediction = v_prediction"
        )
    schedule = {name: base[name] for name in _SCHEDULE if base.get(name) is not None}
    schedule |= {"prediction_type": prediction, "rescale_betas_zero_snr": zero_snr}
    return schedule | ({"timestep_spacing": "trailing"} if zero_snr else {})


class FinetuneRun(ConditionedRun):
    """Trains a base on.

    Images may have any square size whose latents the base can halve often enough, from 64 px on for Stable Diffusion:
    its networks are convolutions and attention, which have no size of their own. The weights draw images of the size
    they were trained with.

    Parameters
    ----------
    folder, data
        As `TrainingRun`; the images are brought to the recipe's `image_size`.
    base : Path
        A diffusers folder, safetensors.
    recipe : FinetuneRecipe

    Raises
    ------
    WeightsError
        If the base is missing, damaged, or its parts do not belong together.
    TrainingError
        If the recipe asks for what the base or the device can't do, images are too small, or no galaxy has votes.
    UnknownNameError
        If the recipe's prediction is not known.
    MissingDependencyError
        If adapters are wanted and peft is not installed.

    References
    ----------
    Hu, E. J. et al. 2021, arXiv 2106.09685. Lin, S. et al. 2023, arXiv 2305.08891.
    """

    recipe: FinetuneRecipe

    def __init__(self, folder: Path, data: TrainingSet, base: Path, recipe: FinetuneRecipe) -> None:
        engine = Engine(recipe.precision)
        torch.manual_seed(recipe.seed)
        components = _load_base(Path(base))
        self.base_revision = components.revision
        _check_adaptable(components, recipe)
        components.scheduler = finetune_schedule(components.scheduler, recipe.prediction, zero_snr=recipe.zero_snr)
        data = _fitted(data, recipe.image_size)
        _check_data(data, components)
        _set_image_size(components, data.images.shape[1])
        trained = ("unet", "text_encoder") if recipe.train_text_encoder else ("unet",)
        for name in trained:
            _make_trainable(getattr(components, name), name, recipe.lora_rank)
        for network in (components.unet, components.vae, components.text_encoder):
            network.to(engine.device)
        self._adapters: dict[str, dict[str, torch.Tensor]] = {}
        super().__init__(folder, data, recipe, components, engine, share=torch.ones(1, 1, 1, 1), trained=trained)
        self.origin = Path(base)

    def resume(self) -> bool:
        """Load the checkpoint if there is one; say whether there was.

        Raises
        ------
        TrainingError
            As `TrainingRun.resume`, and if the run is of another stage, or was begun with another base, or another of
            what it goes by.
        """
        record = self.folder / BASE
        if self.checkpoint.exists() and record.exists():
            self._check_begun(json.loads(record.read_text()))
        return super().resume()

    def _check_begun(self, begun: dict[str, str]) -> None:
        """Raise where a record names something else."""
        stage = self.recipe.table
        if begun.get("stage", stage) != stage:
            raise TrainingError(
                f"{self.folder}: this run is one of {begun['stage']}, not of {stage}; go on with `galaxysd train "
                f"{begun['stage']}`, or start in another folder"
            )
        for what, revision in self.began_with.items():
            if begun.get(what, "") != revision:
                name = "base" if what == "revision" else what
                raise TrainingError(
                    f"{self.folder}: this run was begun with {begun.get(what) or 'none'} as --{name}, this one is "
                    f"{revision or 'none'}; give the same, or start in another folder"
                )

    def write_records(self) -> None:
        """Write which base the run belongs to, and what that was trained on."""
        super().write_records()
        (self.folder / BASE).write_text(json.dumps(self.began_with | base_terms(self.origin)) + "\n")

    @property
    def began_with(self) -> dict[str, str]:
        """What the run can't change on its way: ``stage``, and ``revision``, the base's."""
        return {"stage": self.recipe.table, "revision": self.base_revision}

    def components(self) -> Components:
        """The averaged weights on the processor, adapters merged, ready to sample or save; ends the run's training."""
        components = super().components()
        if self.recipe.lora_rank and not self._adapters:
            self._adapters = self._adapter_layers()
            for module in self.modules.values():
                merge_adapters(module)
        return components

    @property
    def sampling(self) -> dict[str, Any]:
        """As published for weights that predict noise; the same number of steps and guidance for other large ones."""
        if isinstance(self.vae, LappedAutoencoder):
            return super().sampling
        sampler = "dpm++" if self.recipe.zero_snr else "euler-ancestral"
        return {"steps": 40, "guidance": 6.5, "sampler": sampler}

    def export(self, folder: Path) -> None:
        """Write the complete weights, how to sample them, and what their base was trained on; ends the run's training.

        A run of adapters writes them by themselves too: ``lora`` in the run's folder is what
        ``StableDiffusionPipeline.load_lora_weights`` takes, to be used with the base.

        Parameters
        ----------
        folder : Path
            Of the weights.
        """
        from diffusers import StableDiffusionPipeline

        super().export(folder)
        if self._adapters:
            StableDiffusionPipeline.save_lora_weights(
                self.folder / "lora", **{f"{name}_lora_layers": layers for name, layers in self._adapters.items()}
            )
        (folder / "sampling.json").write_text(json.dumps(self.sampling) + "\n")

    def _adapter_layers(self) -> dict[str, dict[str, torch.Tensor]]:
        """Adapters of each trained network by their names in the file, on the processor."""
        from peft.utils import get_peft_model_state_dict

        return {
            name: {key: value.detach().cpu().clone() for key, value in get_peft_model_state_dict(module).items()}
            for name, module in self.modules.items()
        }


def _load_base(base: Path) -> Components:
    """The base's networks, which must belong together."""
    if not base.is_dir():
        raise WeightsError(
            f"no folder {str(base)!r} to start from; give a diffusers folder, for example one made by "
            "`hf download stable-diffusion-v1-5/stable-diffusion-v1-5 --local-dir sd15`"
        )
    components = load_components(base)
    reads, writes = components.unet.config.cross_attention_dim, components.text_encoder.config.hidden_size
    if reads != writes:
        raise WeightsError(
            f"{base}: the UNet reads prompts of {reads} numbers a token, the text encoder gives {writes}; "
            "they do not belong together"
        )
    channels, latents = components.unet.config.in_channels, components.vae.config.latent_channels
    if channels != latents:
        raise WeightsError(
            f"{base}: the UNet takes {channels} channels, the autoencoder gives {latents}; give a text-to-image "
            "model, not one for inpainting"
        )
    return components


def _check_adaptable(components: Components, recipe: FinetuneRecipe) -> None:
    """Adapters go on with what the base predicts: another target is more than a low rank can learn."""
    predicts = components.scheduler.get("prediction_type", "epsilon")
    if recipe.lora_rank and recipe.prediction in PREDICTIONS and recipe.prediction != predicts:
        raise TrainingError(
            f"recipe: adapters can't turn a base that predicts {predicts} to prediction = {recipe.prediction}; "
            f"set prediction = {predicts}, or lora_rank = 0"
        )


def _fitted(data: TrainingSet, size: int) -> TrainingSet:
    """The set with its images of the wanted size."""
    if not size or data.images.shape[1:3] == (size, size):
        return data
    from astro_galaxysd.images.codec import fit_size  # astropy comes with it

    return replace(data, images=fit_size(data.images, (size, size)))


def _check_data(data: TrainingSet, components: Components) -> None:
    """Raise for images the base can't be given and for a set without votes."""
    side, factor = data.images.shape[1], _pixels_per_latent(components)
    halvings = len(components.unet.config.block_out_channels) - 1
    if side % factor:
        raise TrainingError(f"images of {side}x{side} px: the side must be a multiple of {factor}; set image_size")
    if side < factor * 2**halvings:
        raise TrainingError(
            f"images of {side}x{side} px are too small for this base, which needs {factor * 2**halvings} px or more; "
            "set image_size"
        )


def _pixels_per_latent(components: Components) -> int:
    config = components.vae.config
    return int(2 ** (len(config.get("block_out_channels") or config.get("decoder_block_out_channels")) - 1))


def _set_image_size(components: Components, side: int) -> None:
    """Note the size in the UNet's configuration, from which pipelines take what they draw."""
    from diffusers import __version__

    # pipelines reset a size below 512 px to 512 where the configuration is as old as Stable Diffusion's
    components.unet.register_to_config(
        sample_size=side // _pixels_per_latent(components), _diffusers_version=__version__
    )


def _make_trainable(network: Any, name: str, rank: int) -> None:
    """Let all weights of a network learn, or put adapters on it that learn alone."""
    if not rank:
        network.requires_grad_(True)
        return
    try:
        from peft import LoraConfig
    except ImportError:
        raise MissingDependencyError(
            'adapters need peft: pip install "astro-galaxysd[train]", or set lora_rank = 0'
        ) from None
    network.add_adapter(
        LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(ADAPTED[name]))
    )


def merge_adapters(network: Any) -> Any:
    """Add the adapters of a network to the weights they stand beside, in place; return the network.

    Parameters
    ----------
    network : UNet2DConditionModel or CLIPTextModel
        With adapters of peft, or without.
    """
    for path, layer in list(_adapted_layers(network)):
        layer.merge(safe_merge=True)
        parent, _, child = path.rpartition(".")
        setattr(network.get_submodule(parent), child, layer.get_base_layer())
    if hasattr(network, "peft_config"):
        del network.peft_config
        network._hf_peft_config_loaded = False
    return network


def _adapted_layers(network: Any) -> Iterator[tuple[str, BaseTunerLayer]]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    for path, layer in network.named_modules():
        if isinstance(layer, BaseTunerLayer):
            yield path, layer


def base_terms(base: Path | None) -> dict[str, str]:
    """Licence of a base and what it comes from itself, as the front matter of its README.md says; "" where it doesn't.

    Parameters
    ----------
    base : Path or None
        A weights folder.

    Returns
    -------
    dict of str to str
        ``licence`` and ``base_model``.
    """
    card = None if base is None else base / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card is not None and card.is_file() else ""
    front = text.split("\n---", 1)[0] if text.startswith("---") else ""
    found = {key: re.search(rf"^{key}: *(\S+) *$", front, re.MULTILINE) for key in ("license", "base_model")}
    told = {key: match[1].strip("'\"") if match else "" for key, match in found.items()}
    # a folder of huggingface_hub's cache tells where it comes from
    place = re.search(
        r"models--([\w.-]+?)--([\w.-]+)/snapshots/", "" if base is None else base.resolve().as_posix() + "/"
    )
    return {"licence": told["license"], "base_model": "/".join(place.groups()) if place else told["base_model"]}
