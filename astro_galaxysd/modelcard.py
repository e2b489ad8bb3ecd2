"""The model card of trained weights: facts and figures in, the text of its README.md out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from astro_galaxysd.evaluation.progress import HIGHER_IS_BETTER, Figure
from astro_galaxysd.survey.domain import DOMAIN_FILE

if TYPE_CHECKING:
    from astro_galaxysd.promotion import Measured
    from astro_galaxysd.survey.domain import Domain

__all__ = ["CardFacts", "model_card", "shown"]

_LIMITS = (
    "Display-stretched colours, not fluxes: nothing photometric follows from them.",
    "Confident galaxies are over-represented in the training data; fractions of classes in what is drawn are not "
    "fractions in the sky.",
    "Rare classes are drawn from the few examples there were. How near drawn galaxies come to single training "
    "galaxies has not been measured.",
    "SDSS images alone.",
)

_NO_LICENCE = "The licence of what they were fine-tuned from holds for the weights; it is not known here."


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What the model card says besides the figures.

    Parameters
    ----------
    name : str
        Of the weights: ``"mini"``.
    summary : str
        What kind of model, at what image size; one paragraph.
    data : mapping of str to int
        Each table and split that was trained on, in words -> its rows.
    validation : str
        The rows the figures come from, in words.
    recipe : mapping
        Every setting; JSON-ready.
    steps, images : int
        Steps taken; training images seen, repetitions counted.
    seconds : float
        Wall time.
    hardware : str
        In words: ``"one core of a 2.5 GHz processor"``.
    command : str
        With which training goes on.
    training_ids : sequence of str
        Ids of all rows that were trained on.
    base : str
        Revision of the weights that the training began with; empty: from nothing, or not noted.
    base_ids : sequence of str
        Hashes of the ids of rows that these were trained on; empty: not known.
    reader, embedder : str
        Revisions of those that taught, empty for none.
    licence, base_model : str
        Identifier of the Hub, and what the weights were fine-tuned from; empty: not known.
    limits : sequence of str
    """

    name: str
    summary: str
    data: Mapping[str, int]
    validation: str
    recipe: Mapping[str, Any]
    steps: int
    images: int
    seconds: float
    hardware: str
    command: str
    training_ids: Sequence[str] = field(repr=False)
    base: str = ""
    base_ids: Sequence[str] = field(default=(), repr=False)
    reader: str = ""
    embedder: str = ""
    licence: str = "bsd-3-clause"
    base_model: str = ""
    limits: Sequence[str] = _LIMITS


def shown(figure: Figure) -> str:
    """A figure with its error, as text."""
    return f"{figure.value:.3g} ± {figure.error:.2g}"


def model_card(card: CardFacts, new: Measured, old: Measured | None, reason: str, domain: Domain | None = None) -> str:
    """Text of ``README.md``: Markdown with the front matter of the Hugging Face hub.

    Parameters
    ----------
    card : CardFacts
    new, old : Measured
        Figures of these weights and of those before; None where there were none.
    reason : str
        Why these are here, a sentence.
    domain : Domain, optional
        What the training cutouts are like.
    """
    rows = "\n".join(f"| {words} | {count:,} |" for words, count in card.data.items())
    limits = "\n".join(f"- {limit}" for limit in card.limits)
    sampling = ", ".join(f"{name} {value}" for name, value in new.sampling.items())
    return _TEMPLATE.format(
        card=card,
        rows=rows,
        limits=limits,
        sampling=sampling,
        figures=_figures_table(new, old),
        recipe=json.dumps(dict(card.recipe), indent=2, default=str),
        wall=f"{card.seconds / 3600:.1f} hours" if card.seconds >= 3600 else f"{card.seconds / 60:.0f} minutes",
        new=new,
        reason=reason,
        ids=len(set(card.training_ids)),
        domain="" if domain is None else _domain_text(domain),
        began=_beginning(card),
        front=_front(card),
        licence=f"The weights are under the licence {card.licence}." if card.licence else _NO_LICENCE,
        before=_before(card),
    )


def _front(card: CardFacts) -> str:
    """Lines of the front matter that are not the same for all."""
    told = {"license": card.licence, "base_model": card.base_model}
    return "".join(f"{name}: {value}\n" for name, value in told.items() if value)


def _beginning(card: CardFacts) -> str:
    teachers = {"a reader": card.reader, "an embedder": card.embedder}
    told = " and ".join(f"{what} of revision {revision[:12]}" for what, revision in teachers.items() if revision)
    taught = f", taught by {told}" if told else ""
    return f"Began with weights of revision {card.base[:12]}{taught}. " if card.base else ""


def _before(card: CardFacts) -> str:
    """What is known of the rows that the weights it began with were trained on."""
    if card.base_ids:
        return f", and of the {len(card.base_ids):,} of the weights it began with"
    return " (what it began with was trained on is not known)" if card.base else ""


def _domain_text(domain: Domain) -> str:
    """Paragraph on the record of the training cutouts."""
    trained, held_out = (len(next(iter(numbers.values()))) for numbers in (domain.features, domain.held_out))
    known = [f"the bands ({', '.join(domain.bands)} as red, green, blue)"] if domain.bands else []
    known += [f"the seeing ({domain.seeing:.1f} px)"] if domain.seeing else []
    also = f", with {' and '.join(known)}" if known else ""
    return (
        f"\n`{DOMAIN_FILE}` says what these cutouts are like, "
        "so that others can be compared with them before anything\n"
        f"is drawn: features of {trained:,} training cutouts, how far {held_out:,} held-out ones are from them{also}.\n"
        "`benchmarks/domain.py` measures what that tells apart.\n"
    )


def _figures_table(new: Measured, old: Measured | None) -> str:
    lines = ["| metric | better is | these weights | weights before | real images |", "|---|---|---|---|---|"]
    for name, figure in new.figures.items():
        before = shown(old.figures[name]) if old is not None else "-"
        direction = "higher" if HIGHER_IS_BETTER[name] else "lower"
        lines.append(f"| {name} | {direction} | {shown(figure)} | {before} | {shown(new.ceiling[name])} |")
    return "\n".join(lines)


_TEMPLATE = """---
{front}library_name: diffusers
pipeline_tag: text-to-image
tags: [astronomy, galaxies, galaxy-zoo, sdss]
---
# astro_galaxysd {card.name}

{card.summary}

`StableDiffusionPipeline.from_pretrained` loads this folder where astro_galaxysd is installed, which also adds feature
weights, a timestep spacing that keeps the sky noise, and reproducible rows.

## Data

| trained on | rows |
|---|---|
{rows}

SDSS colour cutouts with votes of Galaxy Zoo 2 (Willett et al. 2013, Hart et al. 2016). `training_ids.txt` holds hashes
of the ids of all {ids:,} training rows{before}; `astro_galaxysd.learning.trainingids.trained_on(folder, ids)` says
which were among them.
{domain}
## Training

{began}{card.steps:,} steps, {card.images:,} images seen, {wall} on {card.hardware}. All settings:

```json
{recipe}
```

To go on:

    {card.command}

## Measured

On {card.validation}: {new.n} rows drawn ({sampling}; seed {new.seed}), compared with {new.rows} others. Last column:
the real images of the drawn rows in their place. Errors: standard deviations over bootstrap resamples of the drawn
images. These rows chose the weights, so they are not a test. `astro_galaxysd.evaluation.progress` defines the metrics.

{figures}

Why these weights are here: {reason}

## Limits

{limits}

## Licence and citation

{licence} Cite Willett et al. 2013 (MNRAS 435, 2835) and Hart et al. 2016
(MNRAS 461, 3663) for the votes, Ma et al. 2026 (ApJS 282, 25) for the method, and acknowledge the SDSS as it asks
(https://www.sdss.org/collaboration/citing-sdss/). Say that galaxies are synthetic where they are.
"""
