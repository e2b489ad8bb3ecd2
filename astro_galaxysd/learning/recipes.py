"""Recipes of training runs: presets (data files) and single settings in, a checked frozen record out."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_type_hints

from astro_galaxysd.errors import TrainingError, UnknownNameError

__all__ = [
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

    #: Table of a preset that holds a recipe's values; each kind of recipe names its own.
    table: ClassVar[str]

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        if self.schedule == "one-cycle":
            return self.learning_rate * _one_cycle(step, self.warmup, self.steps)
        rise = (step + 1) / self.warmup if self.warmup else 1.0
        fall = (self.steps - step) / max(self.cooldown * self.steps, 1)
        return self.learning_rate * max(min(1.0, rise, fall), 0.0)

    def check(self) -> None:
        """Raise TrainingError or UnknownNameError for values that can't be trained with."""
        _check(self)


def _one_cycle(step: int, warmup: int, steps: int) -> float:
    """OneCycleLR's factor with its default divisors, 25 and 1e4."""
    peak, last = max(warmup - 1, 1), max(steps - 1, 1)
    if step <= peak:
        start, end, share = 1 / 25, 1.0, step / peak
    else:
        start, end, share = 1.0, 1 / 25e4, min((step - peak) / max(last - peak, 1), 1.0)
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


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
    table = load_preset(preset).get(kind.table)
    if table is None:
        raise TrainingError(f"preset {preset} has no table [{kind.table}]; choose another with --preset")
    stored = _stored(Path(folder) / "recipe.json")
    types = {name: hint for name, hint in get_type_hints(kind).items() if name != "table"}
    for name in (*table, *settings):
        if name not in types:
            raise UnknownNameError("setting", name, types)
    known = {name: value for name, value in stored.items() if name in types}
    values = _merged(_merged(table, known), settings)
    missing = [field.name for field in fields(kind) if field.name not in values and field.default is MISSING]
    if missing:
        raise TrainingError(f'preset {preset}: [{kind.table}] lacks {", ".join(missing)}; say extends = "mini"')
    recipe = kind(**{name: _typed(name, types[name], value) for name, value in values.items()})
    recipe.check()
    return recipe


def _stored(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise TrainingError(f"{path}: can't be read ({error}); remove it to start with the preset") from error
    return content if isinstance(content, dict) else {}


def _typed(name: str, kind: Any, value: Any) -> Any:
    """A value as its field wants it: an int where a float may stand, tuples for lists, a record for a table."""
    if is_dataclass(kind):
        return _shares(name, kind, value)
    if getattr(kind, "__origin__", None) is tuple:
        inner: Any = (int, float) if float in kind.__args__ else int
        if isinstance(value, list | tuple) and all(isinstance(v, inner) and not isinstance(v, bool) for v in value):
            return tuple(value)
        raise TrainingError(f"recipe: {name} = {value!r} is not a list of numbers")
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is not float and type(value) is kind:
        return value
    raise TrainingError(f"recipe: {name} = {value!r} is not {kind.__name__}")


def _shares(name: str, kind: Any, value: Any) -> Any:
    """A record whose fields are all shares in [0, 1], from a table."""
    if isinstance(value, kind):
        return value
    known = [field.name for field in fields(kind)]
    if not isinstance(value, Mapping):
        raise TrainingError(f"recipe: {name} = {value!r} is not a table of {', '.join(known)}")
    for entry, share in value.items():
        if entry not in known:
            raise UnknownNameError(f"setting of {name}", entry, known)
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise TrainingError(f"recipe: {name}.{entry} = {share!r} is not in [0, 1]")
    return kind(**{entry: float(share) for entry, share in value.items()})


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
    if recipe.batch_size % recipe.accumulate:
        raise TrainingError(
            f"recipe: batch_size = {recipe.batch_size} can't be computed in accumulate = {recipe.accumulate} equal "
            "pieces; choose a divisor"
        )
    if not 0 <= recipe.ema < 1 or not 0 <= recipe.cooldown <= 1:
        raise TrainingError(f"recipe: ema = {recipe.ema} must be in [0, 1), cooldown = {recipe.cooldown} in [0, 1]")


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
