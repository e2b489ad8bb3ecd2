"""What an evaluation costs: images measured for the first time, and again when all numbers are remembered.

    python benchmarks/evaluation.py train.parquet test.parquet --synthetic unlabelled.parquet -n 9000

Any galaxies do in the place of synthetic ones: their number counts, not what they are. Peer: precision, recall, density
and coverage of the same features by the package prdc, which holds whole matrices of distances; ours is the time of all
metrics of realism and diversity with their errors.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time

from astropy.table import vstack

from astro_galaxysd import read_table
from astro_galaxysd.assessment import assess
from astro_galaxysd.evaluation.diversity import DiversityEvaluator
from astro_galaxysd.evaluation.neighbours import directions
from astro_galaxysd.evaluation.realism import RealismEvaluator

NAMES = ("realism", "diversity", "photometry", "morphology")


def peak():
    """Largest resident memory so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def run(real, synthetic, n, cache):
    started = time.perf_counter()
    found = assess(real, synthetic, evaluators=NAMES, groups=None, n=n, rng=0, cache=cache, progress=False)
    return found, time.perf_counter() - started


def peer(found):
    from prdc import compute_prdc

    sets = [directions(found.memory, batch.images) for batch in (found.real, found.synthetic)]
    started = time.perf_counter()
    compute_prdc(*sets, nearest_k=5)
    return time.perf_counter() - started


def ours(found):
    directions(found.memory, found.real.images)
    started = time.perf_counter()
    for evaluator in (RealismEvaluator(), DiversityEvaluator()):
        evaluator.evaluate(found.real, found.synthetic, embedder=found.memory, rng=0)
    return time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", nargs="+", help="tables with images, together at least 2 n rows")
    parser.add_argument("--synthetic", required=True, help="table with images, at least n rows")
    parser.add_argument("-n", type=int, default=1000, help="images of each set (default: 1000)")
    parser.add_argument("--prdc", action="store_true", help="also time the package prdc")
    options = parser.parse_args()
    parts = [read_table(path)[["id", "image"]] for path in options.real]
    real, synthetic = vstack(parts, metadata_conflicts="silent"), read_table(options.synthetic)[["id", "image"]]
    with tempfile.TemporaryDirectory() as cache:
        _, first = run(real, synthetic, options.n, cache)
        print(f"{options.n} against {options.n} images, and {options.n} more for the ceiling")
        print(f"measured        {first:7.1f} s  {3 * options.n / first:.0f} images/s, {', '.join(NAMES)}")
        found, again = run(real, synthetic, options.n, cache)
        print(f"remembered      {again:7.1f} s  {again / first:.2f} of the first time; peak {peak():.0f} MB")
        mine = ours(found)
        print(f"metrics alone   {mine:7.1f} s  realism and diversity, nine figures with errors")
        if options.prdc:
            theirs = peer(found)
            print(f"prdc            {theirs:7.1f} s  four figures without errors; ours {mine / theirs:.2f} of it")
            print(f"peak with prdc  {peak():7.0f} MB")


if __name__ == "__main__":
    main()
