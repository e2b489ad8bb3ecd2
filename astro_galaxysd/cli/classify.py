"""``galaxysd verdict`` and ``galaxysd search``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from astro_galaxysd.cli.inputs import read_json, read_named_table, use_threads
from astro_galaxysd.errors import ConditionError

__all__ = ["run_search", "run_verdict"]


def run_verdict(options: argparse.Namespace) -> int:
    """Compare, write table and page, print the average precisions and what follows from them."""
    from astro_galaxysd.images.files import atomic_path
    from astro_galaxysd.reporting.verdicts import verdict_page
    from astro_galaxysd.verdict import VERDICT, augmentation_verdict

    folder = _prepare(options, "merger/")
    table = read_named_table(options.table)
    test = read_named_table(options.test) if options.test else None
    try:
        found = augmentation_verdict(
            table,
            test=test,
            positives=options.positives,
            others=options.others,
            ratios=options.ratios,
            runs=options.runs,
            arms=options.arms,
            quick=options.quick,
            **_shared(options),
        )
    except KeyboardInterrupt:
        print(f"galaxysd: interrupted; the same command goes on from {folder}", file=sys.stderr)
        return 130
    with atomic_path(folder / "verdict.ecsv", overwrite=True) as partial:
        found.table.write(partial, format="ascii.ecsv", overwrite=True)
    with atomic_path(folder / "verdict.html", overwrite=True) as partial:
        partial.write_text(verdict_page(found.table, found.conclusion, found.table.meta[VERDICT]), encoding="utf-8")
    for row in found.table[found.table["metric"] == "average_precision"]:
        at = f" at ratio {row['ratio']:g}" if row["ratio"] else ""
        gain = f"{row['gain']:+.3f} ({row['gain_low']:+.3f} to {row['gain_high']:+.3f})"
        print(f"{row['positives']:>4} labelled  {row['arm'] + at:<34} {row['value']:.3f}  over real only {gain}")
    _print_left_out(found.table.meta[VERDICT]["excluded"])
    print(found.conclusion)
    print(f"verdict  {folder / 'verdict.html'}")
    return 0


def run_search(options: argparse.Namespace) -> int:
    """Rank, write candidates, sheet and page, print what may be expected of them."""
    from astro_galaxysd.searching import PAGE, SEARCH, SHEET, search

    folder = _prepare(options, "mergers/")
    found = search(
        options.catalogue,
        labelled=read_named_table(options.labelled),
        n_synthetic=options.n_synthetic,
        budget=options.budget,
        classifier=options.classifier,
        prevalence=options.prevalence,
        after=options.after or (),
        overwrite=options.overwrite,
        **_shared(options),
    )
    record = found.candidates.meta[SEARCH]
    _print_left_out(record["excluded"])
    _print_left_out(record["left out"])
    tried = ", ".join(f"{value:.3f} at ratio {ratio}" for ratio, value in record["average precision by ratio"].items())
    labelled = record["labelled"]
    print(f"labelled  {labelled['of the class']} of the class, {labelled['others']} others")
    print(f"synthetic  {record['synthetic']} (average precision of held-out labelled galaxies {tried})")
    print(f"scored  {record['scored']}")
    for name, told in vars(found.expected).items():
        print(f"{name}  {told.value:.3g} ({told.low:.3g} to {told.high:.3g})")
    print(f"candidates  {folder / SHEET}")
    print(f"look at them  {folder / PAGE}; save its answers there as vetting.csv, then add --after {options.out}")
    return 0


def _prepare(options: argparse.Namespace, example: str) -> Path:
    if not options.out:
        raise ConditionError(f"no output named; give -o FOLDER, for example -o {example}")
    use_threads(options.threads)
    return Path(options.out)


def _shared(options: argparse.Namespace) -> dict[str, Any]:
    """What both commands pass on as it is."""
    return {
        "target": options.target,
        "against": options.against,
        "training_steps": options.training_steps,
        "reader": options.reader,
        "weights": options.weights,
        "generator": options.generator,
        "steps": options.steps,
        "guidance": options.guidance,
        "images": options.images,
        "schema": options.schema,
        "labels": read_json(options.labels, "--labels") if options.labels else None,
        "label_column": options.label_column,
        "id_column": options.id_column,
        "threshold": options.threshold,
        "cut": options.cut,
        "out": options.out,
        "rng": options.seed,
        "progress": not options.no_progress,
    }


def _print_left_out(reasons: Mapping[str, Mapping[str, Any]]) -> None:
    for why, left_out in reasons.items():
        more = ", ..." if left_out["rows"] > len(left_out["named"]) else ""
        print(f"left out, {why}: {left_out['rows']}, {', '.join(left_out['named'])}{more}")
