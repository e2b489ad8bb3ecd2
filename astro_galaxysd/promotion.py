"""Weights that ship are replaced by better ones only: both draw the same rows, are measured, and a rule decides.

In: the folder of trained weights, the folder of those that are there, validation rows, a reader. Out: the target folder
with the new weights, a model card and hashes of the training rows' ids, or untouched. The rule, stated beforehand:
weights are better if frechet, consistency or realism improves by more than the error of the difference (both errors
added in quadrature), and none of these, nor diversity, flux_ks or background_ks, worsens by more than that. A figure
beyond the ceiling counts as the ceiling: nothing is gained by being better than real images, as one galaxy drawn
again and again can be.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.conditions.prompts import prompts_from_fractions
from astro_galaxysd.conditions.seeds import row_seeds
from astro_galaxysd.diffusion.components import folder_revision, is_weights_folder
from astro_galaxysd.drawing import load_generator
from astro_galaxysd.errors import TrainingError, WeightsError
from astro_galaxysd.evaluation.progress import HIGHER_IS_BETTER, Figure, Progress, choose_rows
from astro_galaxysd.images.files import atomic_folder
from astro_galaxysd.learning.trainingids import IDS, write_training_ids
from astro_galaxysd.modelcard import CardFacts, model_card, shown
from astro_galaxysd.survey.domain import write_domain

if TYPE_CHECKING:
    from astro_galaxysd.evaluation.reader import VoteReader
    from astro_galaxysd.learning.trainingset import TrainingSet
    from astro_galaxysd.survey.domain import Domain

__all__ = [
    "GUARDED",
    "IMPROVING",
    "CardFacts",
    "Measured",
    "is_better",
    "measure_weights",
    "promote",
]

#: Metrics one of which must improve.
IMPROVING = ("frechet", "consistency", "realism")
#: Metrics none of which may worsen.
GUARDED = (*IMPROVING, "diversity", "flux_ks", "background_ks")

_CARD = "README.md"
_SAMPLING = ("sampler", "steps", "guidance")
_TOGETHER = 32


@dataclass(frozen=True)
class Measured:
    """What weights scored, and on what, so that two of them can be compared.

    Parameters
    ----------
    revision : str
        Content hash of the weights folder.
    figures, ceiling : dict of str to Figure
        Of the weights; of real images in their place.
    n, rows : int
        Images drawn; real images they were compared with.
    seed : int
        From which rows, seeds and resamples follow.
    conditions : str
        Hash of the ids and prompts drawn for.
    sampling : dict
        Steps, guidance and whatever else the generator tells.
    """

    revision: str
    figures: dict[str, Figure]
    ceiling: dict[str, Figure]
    n: int
    rows: int
    seed: int
    conditions: str
    sampling: dict[str, Any]


def measure_weights(
    weights: str | os.PathLike[str],
    validation: TrainingSet,
    reader: VoteReader,
    *,
    n: int = 96,
    rng: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
) -> Measured:
    """Draw validation rows and measure what was drawn.

    Parameters
    ----------
    weights : path
        A diffusers folder.
    validation : TrainingSet
        Rows that were never trained on, at least 2 n, with images of the size that the weights draw. Each row's
        prompt carries its votes as weights.
    reader : VoteReader
        Fitted to other rows.
    n : int
        Rows to draw. Errors shrink with its root; see `choose_rows` for which rows.
    rng : int
        Seed: with the same rows and seed, all weights draw the same conditions from the same noise.
    steps, guidance
        Sampling; by default what is usual for a folder.

    Returns
    -------
    Measured

    Raises
    ------
    WeightsError
        If the weights can't be loaded or draw another size.
    ConditionError, ImageError
        If the rows are too few or can't be measured.
    """
    folder = _existing(weights)
    drawn, compared = choose_rows(validation.fractions, n, rng=rng)
    images, fractions = validation.images, validation.fractions
    ids = [validation.ids[row] for row in drawn]
    prompts = prompts_from_fractions(fractions[drawn])
    synthetic, sampling = _draw(folder, prompts, row_seeds(rng, ids), steps, guidance)
    if synthetic.shape[1:] != images.shape[1:]:
        raise WeightsError(
            f"{folder} draws {synthetic.shape[1]} px, the validation images have {images.shape[1]} px; "
            "bring them to one size with fit_size"
        )
    reference = (images[drawn], fractions[drawn])
    progress = Progress(images[compared], fractions[compared], reader, reference=reference, rng=rng)
    return Measured(
        revision=folder_revision(folder),
        figures=progress.measure(synthetic, fractions[drawn]),
        ceiling=progress.ceiling,
        n=n,
        rows=len(compared),
        seed=rng,
        conditions=hashlib.sha256("\0".join([*ids, *prompts]).encode()).hexdigest(),
        sampling=sampling,
    )


def _existing(weights: str | os.PathLike[str]) -> Path:
    folder = Path(weights).expanduser()
    if not is_weights_folder(folder):
        raise WeightsError(f"{folder} is no weights folder: it has no model_index.json; give a run's folder weights")
    return folder


def _draw(
    folder: Path, prompts: Sequence[str], seeds: np.ndarray, steps: int | None, guidance: float | None
) -> tuple[np.ndarray, dict[str, Any]]:
    from astropy.table import Table

    generator = load_generator(folder, steps=steps, guidance=guidance)
    pieces = []
    for start in range(0, len(prompts), _TOGETHER):
        rows = slice(start, start + _TOGETHER)
        batch = generator.generate(Table({"prompt": prompts[rows], "seed": seeds[rows]}))
        pieces.append(batch.images)
    told: dict[str, Any] = {name: batch.meta[name] for name in _SAMPLING if name in batch.meta}
    return np.concatenate(pieces), told


def is_better(new: Measured, old: Measured) -> tuple[bool, str]:
    """Whether new weights may take the place of old ones, by the rule of this module.

    Returns
    -------
    bool
    str
        The sentence that says why.

    Raises
    ------
    TrainingError
        If they were measured on different rows or seeds.
    """
    if (new.conditions, new.n, new.rows, new.seed) != (old.conditions, old.n, old.rows, old.seed):
        raise TrainingError(
            f"measured on different rows or seeds (n = {new.n} and {old.n}, seed {new.seed} and {old.seed}): "
            "measure both weights again with the same validation rows, n and rng"
        )
    worse = [name for name in GUARDED if _change(name, new, old) < -1]
    better = [name for name in IMPROVING if _change(name, new, old) > 1]
    if worse:
        gains = f", though {_listed(better, new, old)} improves" if better else ""
        return False, f"not better: {_listed(worse, new, old)} worsens by more than its error{gains}."
    if not better:
        seen = _listed(IMPROVING, new, old)
        return False, f"not better: none of {seen} improves by more than its error."
    return True, f"better: {_listed(better, new, old)} improves by more than its error, and nothing worsens by more."


def _change(name: str, new: Measured, old: Measured) -> float:
    """Improvement in units of its error, worsening negative; what can't be measured any more has worsened."""
    after, before = _goodness(name, new), _goodness(name, old)
    if not (np.isfinite(after) and np.isfinite(before)):
        return -np.inf if np.isfinite(before) else 0.0
    both = float(np.hypot(new.figures[name].error, old.figures[name].error))
    if after == before:
        return 0.0
    return (after - before) / both if both > 0 else float(np.copysign(np.inf, after - before))


def _goodness(name: str, measured: Measured) -> float:
    """A figure with the sign that makes more better, at most the ceiling's."""
    sign = 1 if HIGHER_IS_BETTER[name] else -1
    return float(np.minimum(sign * measured.figures[name].value, sign * measured.ceiling[name].value))


def _listed(names: Iterable[str], new: Measured, old: Measured) -> str:
    return ", ".join(f"{name} ({shown(old.figures[name])} -> {shown(new.figures[name])})" for name in names)


def promote(
    run_weights: str | os.PathLike[str],
    target_folder: str | os.PathLike[str],
    *,
    measured_new: Measured,
    measured_old: Measured | None,
    card: CardFacts,
    domain: Domain | None = None,
    force: bool = False,
) -> tuple[bool, str]:
    """Put new weights in the place of old ones if they are better.

    Parameters
    ----------
    run_weights, target_folder : path
        The new weights; the folder to replace.
    measured_new, measured_old : Measured
        Figures of both; None for the old ones where `target_folder` does not exist yet.
    card : CardFacts
        For the model card.
    domain : Domain, optional
        Record of the training cutouts, in place of what the new weights bring along.
    force : bool
        Replace whatever the rule says; the card says so.

    Returns
    -------
    bool
        Whether the folder was replaced.
    str
        Why.

    Raises
    ------
    WeightsError
        If a folder is missing or is not the one that was measured; nothing was changed then.
    TrainingError
        As `is_better`.
    OutputError
        If the folder can't be written; the old one is there as it was.
    """
    source, target = _existing(run_weights), Path(target_folder).expanduser()
    _same_as_measured(source, measured_new)
    if target.exists():
        if measured_old is None:
            raise WeightsError(f"{target} holds weights that were not measured; give measured_old=measure_weights(...)")
        _same_as_measured(_existing(target), measured_old)
    better, reason = (True, "the first weights.") if measured_old is None else is_better(measured_new, measured_old)
    if not (better or force):
        return False, reason
    if not better:
        reason = f"replaced by force; {reason}"
    with atomic_folder(target, overwrite=True, ours=is_weights_folder) as partial:
        shutil.copytree(source, partial, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*", _CARD, IDS))
        (partial / _CARD).write_text(model_card(card, measured_new, measured_old, reason, domain), encoding="utf-8")
        write_training_ids(partial, card.training_ids, card.base_ids)
        if domain is not None:
            write_domain(domain, partial)
    return True, reason


def _same_as_measured(folder: Path, measured: Measured) -> None:
    found = folder_revision(folder)
    if found != measured.revision:
        raise WeightsError(
            f"{folder} has changed since it was measured (content {found[:12]}, then {measured.revision[:12]}); "
            "measure it again"
        )
