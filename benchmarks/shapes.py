"""Are drawn galaxies as round or as flat as they were asked to be? Axis ratios beside those of real galaxies.

    python benchmarks/shapes.py votes_and_images.parquet -n 40

Drawn ones have the votes of the real ones. Axis ratio: minor over major axis from the second moments of the central
source (`astro_galaxysd.evaluation.morphology`), median and quartiles; the real column is what a perfect generator would
give.
"""

from __future__ import annotations

import argparse

import numpy as np

from astro_galaxysd import generate, read_table
from astro_galaxysd.conditions.selection import Selection, read_population
from astro_galaxysd.conditions.tree import ANSWER_BY_KEY
from astro_galaxysd.evaluation.morphology import measure
from astro_galaxysd.images.codec import read_images

ANSWERS = ("round", "in_between", "cigar", "edge_on", "spiral", "merger")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", help="real galaxies with images and votes that the weights have not seen")
    parser.add_argument("-n", type=int, default=40, help="galaxies of each answer (default: 40)")
    parser.add_argument("--weights", default="mini")
    parser.add_argument("--guidance", type=float)
    options = parser.parse_args()
    table = read_table(options.table)
    population, selection = read_population(table), Selection(threshold=0.7)
    print(f"{'answer':<11} {'n':>3}  {'real':>18}  {'drawn':>18}  no source")
    for key in ANSWERS:
        rows = np.flatnonzero(selection.has(population.fractions, ANSWER_BY_KEY[key]))[: options.n]
        conditions = table[rows]
        conditions.remove_column("image")
        drawn = generate(conditions, rng=0, weights=options.weights, guidance=options.guidance, progress=False)
        columns, lost = [], 0
        for images in (read_images(table, rows=rows.tolist()), drawn["image"]):
            ratios = 1 - measure(np.asarray(images))["ellipticity"]
            lost = int(np.isnan(ratios).sum())
            low, middle, high = np.nanpercentile(ratios, [25, 50, 75])
            columns.append(f"{middle:.2f} ({low:.2f}-{high:.2f})")
        print(f"{key:<11} {len(rows):>3}  {columns[0]:>18}  {columns[1]:>18}  {lost}", flush=True)


if __name__ == "__main__":
    main()
