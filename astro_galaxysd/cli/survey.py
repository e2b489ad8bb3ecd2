"""``galaxysd survey``: what a survey's cutouts are, and the table of display images that other commands read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from astro_galaxysd.cli.inputs import read_named_table, use_threads
from astro_galaxysd.cli.outputs import SHOWN, Outputs, choose_outputs
from astro_galaxysd.errors import ConditionError

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.survey.card import Survey
    from astro_galaxysd.survey.sizes import Frame

__all__ = ["run_survey", "survey_of"]


def survey_of(options: argparse.Namespace) -> Survey | None:
    """The survey of ``--survey``; None where no card was named."""
    from astro_galaxysd.survey.card import read_survey

    return None if options.survey is None else read_survey(options.survey)


def run_survey(options: argparse.Namespace) -> int:
    """Print what was found; write display cutouts where an output is named."""
    from astro_galaxysd.surveying import inspect_survey

    if options.framed and not options.out:
        raise ConditionError("--framed says what is written; give -o FILE, for example -o cutouts.parquet")
    outputs = choose_outputs(options) if options.out else None
    use_threads(options.threads)
    table, survey = read_named_table(options.table), survey_of(options)
    report = inspect_survey(table, survey, options.images, weights=options.weights, n=options.n, rng=options.seed)
    print(report.text())
    return 0 if outputs is None else _write_cutouts(table, survey, options, outputs)


def _write_cutouts(table: Table, survey: Survey | None, options: argparse.Namespace, outputs: Outputs) -> int:
    from astro_galaxysd.images.sheet import contact_sheet
    from astro_galaxysd.images.storage import write_table
    from astro_galaxysd.survey.cutouts import read_cutouts

    framed = _frame(options.weights, survey) if options.framed else False
    cutouts = read_cutouts(table, survey, options.images, framed=framed)
    write_table(cutouts, outputs.table, overwrite=outputs.overwrite)
    print(f"table    {outputs.table}  ({len(cutouts)} rows)")
    label = f"{Path(options.table).name}{' in the frame of the weights' if options.framed else ''}"
    contact_sheet([(label, cutouts["image"][:SHOWN])], outputs.sheet, overwrite=outputs.overwrite)
    print(f"picture  {outputs.sheet}")
    return 0


def _frame(weights: str, survey: Survey | None) -> Frame | bool:
    """How the weights draw galaxies; True: as those that ship, where they don't say."""
    from astro_galaxysd.surveying import domain_of
    from astro_galaxysd.weightcards import weight_card

    domain = domain_of(weight_card(weights))
    return True if domain is None else domain.frame(stretched=survey is not None and survey.stretch is not None)
