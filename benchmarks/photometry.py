"""Brightness, sky and colour of drawn galaxies beside real ones of the same votes, and two halves of the real ones.

    python benchmarks/photometry.py votes_and_images.parquet -n 200

The real-against-real column is the ceiling: what the same number of galaxies gives where nothing is synthetic.
"""

from __future__ import annotations

import argparse

import numpy as np

from astro_galaxysd import generate, read_table
from astro_galaxysd.evaluation.distributions import ks_distance
from astro_galaxysd.evaluation.photometry import measure
from astro_galaxysd.images.codec import read_images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", help="real galaxies with images and votes that the weights have not seen")
    parser.add_argument("-n", type=int, default=200, help="galaxies to draw (default: 200)")
    parser.add_argument("--weights", default="mini")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    options = parser.parse_args()
    table = read_table(options.table)
    rows = np.random.default_rng(0).permutation(len(table))[: 2 * options.n]
    real = np.stack(read_images(table, rows=rows.tolist()))
    conditions = table[rows[: options.n]]
    conditions.remove_column("image")
    drawn = generate(conditions, rng=0, weights=options.weights, steps=options.steps, guidance=options.guidance)
    half, other, synthetic = (measure(x) for x in (real[: options.n], real[options.n :], np.asarray(drawn["image"])))
    print(f"n = {options.n}; medians in grey levels (colours: mag)")
    print(f"{'quantity':<11} {'real':>11} {'synthetic':>11} {'KS':>6} {'KS real-real':>13}")
    for name in half:
        medians = [float(np.nanmedian(values[name])) for values in (half, synthetic)]
        distances = [ks_distance(half[name], values[name]) for values in (synthetic, other)]
        print(f"{name:<11} {medians[0]:>11.4g} {medians[1]:>11.4g} {distances[0]:>6.3f} {distances[1]:>13.3f}")


if __name__ == "__main__":
    main()
