"""``galaxysd verdict``."""

from __future__ import annotations

import argparse
from pathlib import Path

from astro_galaxysd.cli.inputs import read_json, read_named_table, use_threads
from astro_galaxysd.errors import ConditionError

__all__ = ["run_verdict"]

_NAMED = 5


def run_verdict(options: argparse.Namespace) -> int:
    """Compare, write table and page, print the average precisions and what follows from them."""
    from astro_galaxysd.images.files import atomic_path
    from astro_galaxysd.reporting.verdicts import verdict_page
    from astro_galaxysd.verdict import VERDICT, augmentation_verdict

    if not options.out:
        raise ConditionError("no output named; give -o FOLDER, for example -o merger/")
    use_threads(options.threads)
    found = augmentation_verdict(
        read_named_table(options.table),
        target=options.target,
        against=options.against,
        test=read_named_table(options.test) if options.test else None,
        positives=options.positives,
        others=options.others,
        ratios=options.ratios,
        runs=options.runs,
        arms=options.arms,
        quick=options.quick,
        training_steps=options.training_steps,
        reader=options.reader,
        weights=options.weights,
        generator=options.generator,
        steps=options.steps,
        guidance=options.guidance,
        images=options.images,
        schema=options.schema,
        labels=read_json(options.labels, "--labels") if options.labels else None,
        label_column=options.label_column,
        id_column=options.id_column,
        threshold=options.threshold,
        cut=options.cut,
        out=options.out,
        rng=options.seed,
        progress=not options.no_progress,
    )
    folder = Path(options.out)
    with atomic_path(folder / "verdict.ecsv", overwrite=True) as partial:
        found.table.write(partial, format="ascii.ecsv", overwrite=True)
    with atomic_path(folder / "verdict.html", overwrite=True) as partial:
        partial.write_text(verdict_page(found.table, found.conclusion, found.table.meta[VERDICT]), encoding="utf-8")
    for row in found.table[found.table["metric"] == "average_precision"]:
        at = f" at ratio {row['ratio']:g}" if row["ratio"] else ""
        gain = f"{row['gain']:+.3f} ({row['gain_low']:+.3f} to {row['gain_high']:+.3f})"
        print(f"{row['positives']:>4} labelled  {row['arm'] + at:<34} {row['value']:.3f}  over real only {gain}")
    for reason, names in found.table.meta[VERDICT]["excluded"].items():
        print(f"left out, {reason}: {len(names)}, {', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''}")
    print(found.conclusion)
    print(f"verdict  {folder / 'verdict.html'}")
    return 0
