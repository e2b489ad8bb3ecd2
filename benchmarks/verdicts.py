"""Whether synthetic galaxies improve classifiers of six classes of Galaxy Zoo 2, and by how much.

    python benchmarks/verdicts.py val.parquet test.parquet -o verdicts/

Galaxies that the weights that ship were not trained on are split by object; `astro_galaxysd.augmentation_verdict` does
the rest. The first three classes are studied with 10 and 50 labelled galaxies and every way to learn, the others with
10 and the ways that matter most; five runs each. What is done is kept in the folder. Printed are average precisions and
differences with 95 % intervals, as Markdown.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from astropy.table import vstack

from astro_galaxysd import augmentation_verdict, read_table
from astro_galaxysd.conditions.selection import read_population
from astro_galaxysd.conditions.tree import INDEX
from astro_galaxysd.verdict import VERDICT

FEW = {
    "positives": 10,
    "arms": ["class_weights", "oversampled", "transfer", "synthetic", "transfer_synthetic", "wrong_prompts"],
}
DUST = "edge-on dust lane"
STUDIES = {
    "merger": {"target": "merger"},
    "ring": {"target": "ring"},
    "tight": {"target": "tight_arms", "against": "loose_arms"},
    "bar": {"target": "bar", **FEW},
    "irregular": {"target": "irregular", **FEW},
    "dust": {"target": DUST, **FEW},
}
METRICS = ("average_precision", "purity", "completeness")


def labelled(paths):
    """The tables as one, with a column of edge-on disks in whose dust lane a fifth of the volunteers believe."""
    table = vstack([read_table(path) for path in paths])
    table.meta.clear()
    votes = {key: np.nan_to_num(read_population(table).fractions[:, place]) for key, place in INDEX.items()}
    disks = (votes["edge_on"] > 0.5) & (votes["features"] > 0.3)
    table[DUST] = disks & (votes["odd"] > 0.2) & (votes["dust_lane"] >= 0.2)
    return table


def told(row):
    return f"{row['value']:.3f}"


def change(row, kind="gain"):
    sign = "" if kind == "gain" else " %"
    scale = 1 if kind == "gain" else 100
    digits = 3 if kind == "gain" else 0
    value, low, high = (scale * row[name] for name in (kind, f"{kind}_low", f"{kind}_high"))
    return f"{value:+.{digits}f}{sign} ({low:+.{digits}f} to {high:+.{digits}f})"


def lines(name, found):
    """A line for each number of labelled galaxies, arm and ratio; a star marks ratios that validation chose."""
    for row in found[found["metric"] == METRICS[0]]:
        same = (
            (found["arm"] == row["arm"]) & (found["ratio"] == row["ratio"]) & (found["positives"] == row["positives"])
        )
        of = {metric: found[same & (found["metric"] == metric)][0] for metric in METRICS}
        at = f", ratio {row['ratio']:g}{' *' if row['chosen'] else ''}" if row["ratio"] else ""
        way = row["arm"].replace("_", " ") + at
        cells = [name, row["positives"], way, told(row), change(row), *(change(of[m], "relative") for m in METRICS[1:])]
        print("| " + " | ".join(map(str, cells)) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--studies", nargs="+", default=list(STUDIES), choices=list(STUDIES))
    parser.add_argument("--weights", default="mini")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("-o", "--out", required=True)
    options = parser.parse_args()
    table = labelled(options.tables)
    folder = Path(options.out)
    folder.mkdir(exist_ok=True)
    verdicts = {
        name: augmentation_verdict(table, rng=options.seed, out=folder / name, weights=options.weights, **STUDIES[name])
        for name in options.studies
    }
    print("| class | labelled | way to learn | average precision | over real only | purity | completeness |")
    print("|---|---|---|---|---|---|---|")
    for name, verdict in verdicts.items():
        lines(name, verdict.table)
    print()
    for verdict in verdicts.values():
        record = verdict.table.meta[VERDICT]
        print(f"{verdict.conclusion}\n  split {record['split']}; told apart {record['told apart']}\n")


if __name__ == "__main__":
    main()
