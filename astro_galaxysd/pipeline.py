"""The whole way on one page: a table and a target in, plan, images, the table with new rows out.

``augment_table`` = plan -> images of the real rows, of what domain -> rehearse with blank images -> draw -> keep where
a reader finds the class most surely -> give them the survey's pixels -> append -> write.
``generate``, which draws for rows that are there already, is in `astro_galaxysd.generation`.
Nothing here knows diffusion: a generator is whatever the plug-ins registered under its name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.augmentation.cutouts import append_drawn, find_cutouts, rehearse_append
from astro_galaxysd.augmentation.plan import PLAN
from astro_galaxysd.augmentation.plan import plan_augmentation as _plan
from astro_galaxysd.augmentation.survey_cutouts import check_match, find_survey_cutouts, new_folder
from astro_galaxysd.candidates import keep_surest, load_judge, usual_candidates
from astro_galaxysd.conditions.seeds import RNG, stream
from astro_galaxysd.drawing import (
    Drawing,
    InterruptedWarning,
    choose_generator,
    estimate,
    keep_drawn,
    load_generator,
    warn_if_interrupted,
)
from astro_galaxysd.errors import OutputError
from astro_galaxysd.generation import generate
from astro_galaxysd.images.provenance import GENERATOR, WEIGHTS, WEIGHTS_REVISION, drop_synthetic, run_record
from astro_galaxysd.images.storage import rehearse_writing, write_table
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.records import WeightCard
from astro_galaxysd.references import reference_rows
from astro_galaxysd.survey.bands import check_bands
from astro_galaxysd.survey.card import Survey, read_survey
from astro_galaxysd.survey.cells import holds_files
from astro_galaxysd.survey.cutouts import read_cutouts
from astro_galaxysd.surveying import check_domain, domain_of
from astro_galaxysd.weightcards import DEFAULT_WEIGHTS, weight_card

if TYPE_CHECKING:
    from pathlib import Path

    from astropy.table import Table

    from astro_galaxysd.augmentation.cutouts import NewRowImages
    from astro_galaxysd.plugins.protocols import Generator
    from astro_galaxysd.survey.domain import Domain

__all__ = ["InterruptedWarning", "augment_table", "drop_synthetic", "generate", "load_generator", "plan_augmentation"]

#: Real galaxies that new ones begin with, at most: 140 MB of 424 pixels.
_MOST_REFERENCES = 256


def plan_augmentation(
    table: Table,
    *,
    target: str | Mapping[str, int],
    n: int | None = None,
    ratio: float | None = None,
    weights: str | os.PathLike[str] = DEFAULT_WEIGHTS,
    generator: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    compose: bool = False,
    candidates: int | None = None,
    rng: RNG = None,
    schema: str | None = None,
    labels: Mapping[str, str] | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    threshold: float = 0.5,
    cut: float | None = None,
) -> Table:
    """Plan synthetic rows before anything is drawn; `augment_table` draws the same plan for the same `rng`.

    Parameters
    ----------
    table : Table or QTable
        Real galaxies; rows whose ``synthetic`` is True are left out.
    target, n, ratio, weights, generator, steps, guidance, compose, candidates, rng
        As `augment_table`.
    schema : str, optional
        Dialect of the vote columns: ``"kaggle"``, ``"hart16"``, ``"zoobot"``, ``"conditional"`` or a plug-in's; by
        default the most complete.
    labels : mapping of str to str, optional
        Label -> prompt, for the labels of `label_column`.
    label_column, id_column : str, optional
        Where labels and ids are; ids by default in a column called ``id``, ``objid`` or the like.
    threshold : float
        Vote fraction that makes a real row a member of the class, in (0, 1].
    cut : float, optional
        Looser cut than the published ones for the answers that lead to the question, in [0, 1).

    Returns
    -------
    Table
        One row for every image to draw: ``row_id``, ``target``, ``prompt``, ``prompt_weights``, ``seed``,
        ``base_row``, ``votes``. ``meta["galaxysd_plan"]["estimate"]`` has ``seconds`` and ``memory_mb`` on this
        machine (None where the weights' card does not say what they cost, or the generator is not theirs).

    Raises
    ------
    ConditionError, NoRealRowsError, PromptError, UnknownNameError
        For a table, target or number from which nothing can be planned, and unknown weights or generators.

    Examples
    --------
    >>> from astropy.table import Table
    >>> table = Table({"t01_smooth": [0.9], "t07_round": [0.9], "t06_odd_yes": [0.1]})
    >>> plan = plan_augmentation(table, target="round", n=2, rng=1)
    >>> plan["prompt"][0]
    np.str_('sdss, {smooth:1.15}, {completely round galaxy:1.15}')
    """
    card = weight_card(weights)
    if generator is not None and get_registry().get("generator", generator).name != card.generator:
        card = replace(card, gflop=0.0)  # what the weights cost says nothing of another generator
    several = usual_candidates(candidates, weights, generator)
    plan = _plan(
        table, target=target, n=n, ratio=ratio, compose=compose, candidates=several,
        weights=os.fspath(weights), generator=generator, steps=steps, guidance=guidance, rng=rng, schema=schema,
        labels=labels, label_column=label_column, id_column=id_column, threshold=threshold, cut=cut,
    )  # fmt: skip
    plan.meta[PLAN]["estimate"] = estimate(len(plan), card, steps=steps, guidance=guidance)
    return plan


def augment_table(
    table: Table,
    *,
    target: str | Mapping[str, int],
    n: int | None = None,
    ratio: float | None = None,
    images: Any = None,
    survey: Survey | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    match: str | None = None,
    anyway: bool = False,
    cutouts: str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] = DEFAULT_WEIGHTS,
    generator: str | Generator | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    batch_size: int | None = None,
    compose: bool = False,
    candidates: int | None = None,
    rng: RNG = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
    overwrite: bool = False,
    schema: str | None = None,
    labels: Mapping[str, str] | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    threshold: float = 0.5,
    cut: float | None = None,
) -> Table:
    """Add synthetic galaxies of a rare class to a table of real ones.

    Parameters
    ----------
    table : Table or QTable
        Real galaxies with vote columns (Kaggle, gz2_hart16, Zoobot or ``t01_*`` names), a column ``prompt``, or labels.
    target : str or mapping of str to int
        What there is too little of: an answer of the Galaxy Zoo 2 tree (``"merger"``, ``"ring"``, ``"dust_lane"``), a
        label, a boolean column, a free prompt with weights (``"in-between round galaxy, {dust lane:1.3}"``), or several
        with their numbers (``{"merger": 50, "ring": 20}``).
    n, ratio : int or float
        Rows to add, or rows per real row of the class; one of them, neither with a mapping.
    images : str, sequence or None
        Column of the images (``"image"`` where it exists), or the images themselves: arrays (N, H, W, 3) of uint8 or
        floats in [0, 1], JPEG or PNG bytes, HDUs with planes (3, H, W). New rows get images of the same kind, size and
        codec. A separate sequence becomes the column ``image``; HDUs become pixel arrays there (`to_hdus` gives HDUs).
        Without any, new rows get arrays (H, W, 3) of uint8 and real ones None. A column of file paths (FITS, JPEG,
        PNG) stays one: new rows get files.
    survey : Survey, mapping or path of a card, optional
        What the cutouts are where they are no display images: bands, stretch, pixel scale, seeing. See `Survey`.
    match : str, optional
        ``"survey"``: give drawn galaxies the size, seeing, noise and sky of the real rows' cutouts.
    anyway : bool
        Draw although the cutouts are unlike those the weights were trained on, or can't be matched.
    cutouts : path, optional
        Folder for new cutouts that are files; by default beside `out`, ``name_cutouts`` for ``name.fits``.
    weights, generator, steps, guidance
        As `load_generator`; `generator` may also be a loaded one, which has the other three already. Weights that
        begin with real galaxies are given those of the table, as references.
    batch_size : int, optional
        Rows the generator draws together; never changes a row's pixels.
    compose : bool
        Put the class's answer into the votes of typical galaxies: for combinations no real row has.
    candidates : int, optional
        Galaxies drawn for every one that is kept: those in which the reader ``"choosing"`` finds the class most surely.
        More than 1 for answers of the tree alone. By default 2 for these where weights are drawn with by their own
        generator, else 1.
    rng : None, int, SeedSequence or Generator
        Randomness of the run (SPEC 7); the same value gives the same rows, bit by bit, on one machine and version.
    out : path, optional
        Also write the result there: .fits, .parquet, or a folder (`write_table`).
    progress : bool
        Whether to show a bar.
    overwrite : bool
        Whether `out` may be replaced.
    schema, labels, label_column, id_column, threshold, cut
        As `plan_augmentation`.

    Returns
    -------
    Table
        Of the class of `table`: the real rows untouched, then the synthetic rows with their votes in the table's own
        dialect and the columns ``synthetic``, ``prompt``, ``prompt_weights``, ``seed``, ``generator``, ``weights``,
        ``weights_revision``; everything else about them is masked. With `match`, ``match_row`` (the real row that gave
        size and sky), ``match_scale`` and ``match_seeing`` (FWHM reached over the survey's). ``meta["galaxysd_run"]``
        holds the run record. After an interrupt the finished rows are kept and an `InterruptedWarning` says how many.

    Raises
    ------
    ConditionError, NoRealRowsError, PromptError, ImageError, UnknownNameError, WeightsError, OutputError
        Before anything is drawn.
    SurveyError, MatchError, DomainError
        Also before: a card that contradicts itself or the cutouts, galaxies that can't be matched to them, cutouts
        unlike all that the weights were trained on.
    PluginError
        If a plug-in's generator fails.
    OutputError
        If the result can't be written after all; the error's attribute ``result`` is the table.

    Examples
    --------
    >>> from astropy.table import Table
    >>> table = Table({"t06_odd_yes": [0.9, 0.1], "t08_merger": [0.8, 0.0], "t01_smooth": [0.7, 0.8]})
    >>> more = augment_table(table, target="merger", n=1, rng=1, steps=2, progress=False)
    >>> len(more), more["synthetic"].tolist()
    (3, [False, False, True])
    """
    named = generator is None or isinstance(generator, str)
    several = usual_candidates(candidates, weights, generator)
    plan = _plan(
        table, target=target, n=n, ratio=ratio, compose=compose, candidates=several,
        weights=os.fspath(weights) if named else "", generator=generator if isinstance(generator, str) else None,
        steps=steps, guidance=guidance, rng=rng, schema=schema, labels=labels, label_column=label_column,
        id_column=id_column, threshold=threshold, cut=cut,
    )  # fmt: skip
    declared = None if survey is None else read_survey(survey)
    chosen, card = _choose(plan, weights, generator)
    known = None if card is None else domain_of(card)
    found = _find_images(
        table, images, declared, card, known, match=match, folder=new_folder(cutouts, out), overwrite=overwrite,
        id_column=id_column,
    )  # fmt: skip
    rehearsed = rehearse_append(found, plan, id_column=id_column)
    if out is not None:
        rehearse_writing(rehearsed, out, overwrite=overwrite)
    seed = plan.meta[PLAN]["run_seed"]
    found = found.looked_at(seed=seed, progress=progress)
    domain = None
    if card is not None:
        domain = check_domain(table, images, declared, card, framed=match is not None, anyway=anyway, rng=seed)
    found = found.measured(
        seeing=known.seeing * 128 / known.image_size if known else 0.0,
        seed=seed,
        anyway=anyway,
        frame=known.frame(stretched=declared is not None and declared.stretch is not None) if known else None,
    )
    drawing = Drawing(
        plan, chosen, weights=card or weights, steps=steps, guidance=guidance, batch_size=batch_size, progress=progress,
        references=_references(table, images, declared, card, seed) if named else None,
    )  # fmt: skip
    judge = load_judge(plan)
    drawn, shared = drawing.run()
    try:
        kept, judged = keep_surest(plan, drawn, judge)
    except BaseException as error:
        keep_drawn(error, drawn, len(plan))
        raise
    asked = sum(part["n"] for part in plan.meta[PLAN]["targets"].values())
    result = append_drawn(
        found,
        plan[kept],
        drawn[kept],
        id_column=id_column,
        provenance={key: shared[key] for key in (GENERATOR, WEIGHTS, WEIGHTS_REVISION) if shared[key]},
        record=run_record(
            **plan.meta[PLAN] | shared, **found.record(), domain=domain.as_record() if domain else None,
            **judged, planned=asked, finished=len(kept),
        ),
    )  # fmt: skip
    if out is not None:
        try:
            write_table(result, out, overwrite=overwrite)
        except OutputError as error:
            error.add_note("what was drawn is this error's attribute `result`: write_table(error.result, other_path)")
            raise
    warn_if_interrupted(len(result) - len(table), asked)
    return result


def _choose(
    plan: Table, weights: str | os.PathLike[str], generator: str | Generator | None
) -> tuple[str | Generator, WeightCard | None]:
    """The generator, and the card of its weights; None where it has others than `weights`, or none."""
    if generator is not None and not isinstance(generator, str):
        own = getattr(generator, "card", None)
        return generator, own if isinstance(own, WeightCard) else None
    card = weight_card(weights)
    chosen = generator or choose_generator(plan, card)
    return chosen, card if chosen == card.generator else None


def _references(table: Table, images: Any, survey: Survey | None, card: WeightCard | None, seed: int) -> Table | None:
    """Real rows with their display images, for weights that begin with real galaxies; some, where there are many."""
    if card is None or not card.references:
        return None
    if images is not None and not isinstance(images, str | Mapping):
        return read_cutouts(table, survey, images)
    rows = reference_rows(table)
    if len(rows) > _MOST_REFERENCES:
        rows = np.sort(stream(seed, "references").choice(rows, _MOST_REFERENCES, replace=False))
    return read_cutouts(table[rows], survey, images)


def _find_images(
    table: Table,
    images: Any,
    survey: Survey | None,
    card: WeightCard | None,
    domain: Domain | None,
    *,
    match: str | None,
    folder: Path | None,
    overwrite: bool,
    id_column: str | None,
) -> NewRowImages:
    """The table's images: display images in its columns, or a survey's cutouts."""
    check_match(match)
    if survey is None and match is None and not holds_files(table, images):
        return find_cutouts(table, images)
    declared = survey or Survey()
    # Of weights that don't tell their bands, any three will do.
    told = domain.bands if domain else ()
    known = told or (declared.bands if len(declared.bands) == 3 and not declared.luminance else Survey().bands)
    note = check_bands(declared, tuple(known), f"weights {card.name!r}" if card else "the generator")
    return find_survey_cutouts(
        table, images, declared, match=match, note=note, folder=folder, overwrite=overwrite, id_column=id_column
    )
