"""Recipes of training runs: presets (data files) and single settings in, a checked frozen record out."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from astro_galaxysd.diffusion.captions import CaptionStyle
from astro_galaxysd.errors import TrainingError, UnknownNameError

__all__ = [
    "AutoencoderRecipe",
    "ConditionedRecipe",
    "DiffusionRecipe",
    "FinetuneRecipe",
    "Recipe",
    "load_preset",
    "make_recipe",
    "parse_settings",
    "preset_names",
]

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
SCHEDULES = ("trapezoid", "one-cycle")

R = TypeVar("R", bound="Recipe")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What every run has; stored beside its checkpoint. Values come from presets, so there are no defaults here.

    Parameters
    ----------
    batch_size, steps : int
        Images a step; steps altogether.
    learning_rate : float
        AdamW's largest rate.
    schedule : str
        ``"trapezoid"``: linear rise over `warmup` steps, then constant, linear fall to zero over the last `cooldown`
        share of the steps. ``"one-cycle"``: a cosine from 1/25 of the rate over `warmup` steps, and one down to
        1/250,000 of it, as torch's OneCycleLR.
    warmup : int
    cooldown : float
        In [0, 1].
    betas : tuple of float
        AdamW's.
    weight_decay, clip : float
        AdamW's decay; largest gradient norm, 0 for none.
    ema : float
        Decay of the averaged weights, which are the ones that are kept; 0: no average, the last weights are kept.
    seed : int
        Of the initial weights and of every step.
    precision : str
        ``"fp32"``, ``"bf16"``, ``"fp16"`` (CUDA only) or ``"auto"``: bf16 where the hardware computes with it.
    accumulate : int
        Pieces a batch is computed in, one after the other; lowers memory, not the batch size.
    checkpointing : bool
        Compute activations again instead of keeping them: less memory, more time.
    """

    batch_size: int
    steps: int
    learning_rate: float
    schedule: str
    warmup: int
    cooldown: float
    betas: tuple[float, ...]
    weight_decay: float
    clip: float
    ema: float
    seed: int
    precision: str
    accumulate: int
    checkpointing: bool

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        if self.schedule == "one-cycle":
            return self.learning_rate * _one_cycle(step, self.warmup, self.steps)
        rise = (step + 1) / self.warmup if self.warmup else 1.0
        fall = (self.steps - step) / max(self.cooldown * self.steps, 1)
        return self.learning_rate * max(min(1.0, rise, fall), 0.0)


def _one_cycle(step: int, warmup: int, steps: int) -> float:
    """OneCycleLR's factor with its default divisors, 25 and 1e4."""
    peak, last = max(warmup - 1, 1), max(steps - 1, 1)
    if step <= peak:
        start, end, share = 1 / 25, 1.0, step / peak
    else:
        start, end, share = 1.0, 1 / 25e4, min((step - peak) / max(last - peak, 1), 1.0)
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


@dataclass(frozen=True, kw_only=True)
class AutoencoderRecipe(Recipe):
    """An autoencoder run.

    Parameters
    ----------
    latent_channels : int
        Numbers every 8x8 pixels are coded with.
    linear_steps : int
        Steps that fit the encoder before the decoder is trained.
    width, depth : int
        Channels and residual blocks of the decoder's sharpening network.
    """

    latent_channels: int
    linear_steps: int
    width: int
    depth: int


@dataclass(frozen=True, kw_only=True)
class ConditionedRecipe(Recipe):
    """What runs that learn to draw from votes share.

    Parameters
    ----------
    gamma : float
        Largest weight of a timestep (min-SNR); 0: all timesteps alike.
    rarity, rarity_limit : float
        Power and limit of `sampling_weights`: 0 draws rows as they come, 1 balances the classes.
    well_sampled : bool
        Whether answers of questions that few volunteers reached stay out of the prompts.
    cache_latents : bool
        Whether all images are encoded once, in their eight mirrored and rotated forms, into a file of the run.
    captions : CaptionStyle
    """

    gamma: float
    rarity: float
    rarity_limit: float
    well_sampled: bool
    cache_latents: bool
    captions: CaptionStyle


@dataclass(frozen=True, kw_only=True)
class DiffusionRecipe(ConditionedRecipe):
    """A diffusion run from nothing.

    Parameters
    ----------
    width : tuple of int
        Channels of the UNet's levels.
    text_width, text_layers : int
        Size of the text encoder.
    detail : float
        A latent channel counts in the loss by the light it carries to this power; 0: all channels alike.
    """

    width: tuple[int, ...]
    text_width: int
    text_layers: int
    detail: float


@dataclass(frozen=True, kw_only=True)
class FinetuneRecipe(ConditionedRecipe):
    """A run that goes on from a complete model, such as Stable Diffusion 1.5.

    Parameters
    ----------
    prediction : str
        ``"epsilon"`` or ``"v_prediction"``.
    zero_snr : bool
        Whether the schedule ends in pure noise (Lin et al. 2023); asks for ``"v_prediction"``.
    train_text_encoder : bool
    lora_rank : int
        Rank of low-rank adapters; 0 trains all weights.
    image_size : int
        Side the images are brought to, pixels, a multiple of 8; 0: as they are.
    """

    prediction: str
    zero_snr: bool
    train_text_encoder: bool
    lora_rank: int
    image_size: int


#: Channels are normalised in groups of so many, and read by so many heads.
_GROUPS, _HEADS = 16, 4
#: Table of a preset that holds a recipe's values.
_TABLES = {AutoencoderRecipe: "autoencoder", DiffusionRecipe: "diffusion", FinetuneRecipe: "finetune"}


def preset_names() -> list[str]:
    """Names of the presets that ship."""
    folder = files("astro_galaxysd").joinpath("presets")
    return sorted(path.name.removesuffix(".toml") for path in folder.iterdir() if path.name.endswith(".toml"))


def load_preset(name: str) -> dict[str, Any]:
    """Content of a preset: a name of `preset_names`, or a TOML file of the same form.

    A file may say ``extends = "mini"``, or name another file beside it, and give only what differs.

    Raises
    ------
    UnknownNameError
        If there is neither such a preset nor such a file.
    TrainingError
        If the file is not TOML, or extends itself.
    """
    return _load_preset(name, ())


def _load_preset(name: str, below: tuple[str, ...]) -> dict[str, Any]:
    """A preset that those `below` extend."""
    if name in below:
        raise TrainingError(f"preset {below[0]}: extends itself by way of {name}; name a preset that ships")
    if name in preset_names():
        text = files("astro_galaxysd").joinpath("presets", f"{name}.toml").read_text(encoding="utf-8")
    elif name.endswith(".toml") and Path(name).is_file():
        text = Path(name).read_text(encoding="utf-8")
    else:
        raise UnknownNameError("preset", name, preset_names(), "Or give a .toml file.")
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TrainingError(f"preset {name}: {error}; see the presets that ship for the form") from error
    if "extends" in content:
        base = str(content.pop("extends"))
        base = str(Path(name).parent / base) if base.endswith(".toml") else base
        content = _merged(_load_preset(base, (*below, name)), content)
    return content


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` over `base`, in tables within tables too."""
    merged = dict(base)
    for name, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merged(merged[name], value) if both else value
    return merged


def make_recipe(kind: type[R], folder: Path, settings: Mapping[str, Any], preset: str) -> R:
    """The recipe of a run: the preset's values, those the run has already, and `settings`, each over the last.

    Raises
    ------
    UnknownNameError
        If a setting is none of the recipe's.
    TrainingError
        If the preset has no such recipe, a setting has a wrong type or value, or the stored recipe can't be read.
    """
    table = load_preset(preset).get(_TABLES[kind])
    if table is None:
        raise TrainingError(f"preset {preset} has no table [{_TABLES[kind]}]; choose another with --preset")
    stored = _stored(Path(folder) / "recipe.json")
    types = {field.name: str(field.type) for field in fields(kind)}
    for name in (*table, *settings):
        if name not in types:
            raise UnknownNameError("setting", name, types)
    known = {name: value for name, value in stored.items() if name in types}
    values = _merged(_merged(table, known), settings)
    missing = [field.name for field in fields(kind) if field.name not in values and field.default is MISSING]
    if missing:
        raise TrainingError(f'preset {preset}: [{_TABLES[kind]}] lacks {", ".join(missing)}; say extends = "mini"')
    recipe = kind(**{name: _typed(name, types[name], value) for name, value in values.items()})
    _check(recipe)
    return recipe


def _stored(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise TrainingError(f"{path}: can't be read ({error}); remove it to start with the preset") from error
    return content if isinstance(content, dict) else {}


def _typed(name: str, kind: str, value: Any) -> Any:
    """A value as its field wants it: an int where a float may stand, tuples for lists, `CaptionStyle` for a table."""
    if kind == "CaptionStyle":
        return _caption_style(value)
    if kind.startswith("tuple"):
        inner: Any = (int, float) if "float" in kind else int
        if isinstance(value, list | tuple) and all(isinstance(v, inner) and not isinstance(v, bool) for v in value):
            return tuple(value)
    elif kind == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif kind != "float" and type(value).__name__ == kind:
        return value
    raise TrainingError(f"recipe: {name} = {value!r} is not {'a list of numbers' if 'tuple' in kind else kind}")


def _caption_style(value: Any) -> CaptionStyle:
    if isinstance(value, CaptionStyle):
        return value
    known = [field.name for field in fields(CaptionStyle)]
    if not isinstance(value, Mapping):
        raise TrainingError(f"recipe: captions = {value!r} is not a table of {', '.join(known)}")
    for name, share in value.items():
        if name not in known:
            raise UnknownNameError("setting of captions", name, known)
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise TrainingError(f"recipe: captions.{name} = {share!r} is not in [0, 1]")
    return CaptionStyle(**{name: float(share) for name, share in value.items()})


def _check(recipe: Recipe) -> None:
    """Raise for values that can't be trained with."""
    above = ("batch_size", "steps", "learning_rate", "accumulate")
    numbers = {name: value for name, value in vars(recipe).items() if isinstance(value, int | float)}
    wrong = {name: value for name, value in numbers.items() if not (value > 0 if name in above else value >= 0)}
    if wrong:
        seen = ", ".join(f"{name} = {value}" for name, value in wrong.items())
        raise TrainingError(f"recipe: {seen}; must be {'above 0' if set(wrong) <= set(above) else 'at least 0'}")
    for name, allowed in (("precision", PRECISIONS), ("schedule", SCHEDULES)):
        if getattr(recipe, name) not in allowed:
            raise UnknownNameError(name, getattr(recipe, name), allowed)
    if len(recipe.betas) != 2 or not all(0 <= beta < 1 for beta in recipe.betas):
        raise TrainingError(f"recipe: betas = {list(recipe.betas)}; AdamW takes two in [0, 1)")
    if isinstance(recipe, DiffusionRecipe):
        _check_sizes(recipe)
    if recipe.batch_size % recipe.accumulate:
        raise TrainingError(
            f"recipe: batch_size = {recipe.batch_size} can't be computed in accumulate = {recipe.accumulate} equal "
            "pieces; choose a divisor"
        )
    if not 0 <= recipe.ema < 1 or not 0 <= recipe.cooldown <= 1:
        raise TrainingError(f"recipe: ema = {recipe.ema} must be in [0, 1), cooldown = {recipe.cooldown} in [0, 1]")


def _check_sizes(recipe: DiffusionRecipe) -> None:
    if len(recipe.width) < 2 or any(channels <= 0 or channels % _GROUPS for channels in recipe.width):
        raise TrainingError(f"recipe: width = {list(recipe.width)}; give two or more multiples of {_GROUPS}")
    if recipe.text_width <= 0 or recipe.text_width % _HEADS or recipe.text_layers <= 0:
        raise TrainingError(
            f"recipe: text_width = {recipe.text_width}, text_layers = {recipe.text_layers}; give a multiple "
            f"of {_HEADS} and at least 1"
        )


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Settings from ``name=value`` and ``captions.name=value`` with TOML values; words need no quotation marks.

    Raises
    ------
    TrainingError
        If there is no name or no equals sign.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.strip():
            raise TrainingError(f"--set {pair}: write name=value, for example --set learning_rate=1e-4")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        for part in reversed(name.strip().split(".")):
            value = {part: value}
        settings = _merged(settings, value)
    return settings
