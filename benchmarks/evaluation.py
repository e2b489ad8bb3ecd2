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
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from astropy.table import vstack

from astro_galaxysd import read_table
from astro_galaxysd.assessment import assess
from astro_galaxysd.evaluation.diversity import DiversityEvaluator
from astro_galaxysd.evaluation.neighbours import directions
from astro_galaxysd.evaluation.realism import RealismEvaluator
from astro_galaxysd.seen import SeenRowsWarning


def evaluation(real, synthetic, n, names, cache):
    """What is found, and seconds from tables in files to figures."""
    warnings.simplefilter("ignore", SeenRowsWarning)  # the galaxies are only there to be counted
    started = time.perf_counter()
    tables = [read_table(path)[["id", "image"]] for path in real]
    given = vstack(tables, metadata_conflicts="silent"), read_table(synthetic)[["id", "image"]]
    found = assess(*given, evaluators=names, groups=None, n=n, rng=0, cache=cache, progress=False)
    return found, time.perf_counter() - started


def whole(*arguments):
    """Seconds and peak memory, MB, in a process of its own."""
    _, seconds = evaluation(*arguments)
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def metrics(*arguments):
    """Seconds of our metrics of realism and diversity, and of the package prdc, from remembered features."""
    from prdc import compute_prdc

    found, _ = evaluation(*arguments)
    sets = [directions(found.memory, batch.images) for batch in (found.real, found.synthetic)]
    started = time.perf_counter()
    for evaluator in (RealismEvaluator(), DiversityEvaluator()):
        evaluator.evaluate(found.real, found.synthetic, embedder=found.memory, rng=0)
    ours = time.perf_counter() - started
    started = time.perf_counter()
    compute_prdc(*sets, nearest_k=5)
    return ours, time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", nargs="+", help="tables with images, together at least 2 n rows")
    parser.add_argument("--synthetic", required=True, help="table with images, at least n rows")
    parser.add_argument("-n", type=int, default=1000, help="images of each set (default: 1000)")
    parser.add_argument("--evaluators", nargs="+", default=["realism", "diversity", "photometry", "morphology"])
    parser.add_argument("--prdc", action="store_true", help="also time the package prdc")
    options = parser.parse_args()
    names = ", ".join(options.evaluators)
    with (
        tempfile.TemporaryDirectory() as cache,
        ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool,
    ):
        given = (options.real, options.synthetic, options.n, options.evaluators, cache)
        first, _ = pool.submit(whole, *given).result()
        print(f"{options.n} against {options.n} images, and {options.n} more for the ceiling: {names}", flush=True)
        print(f"measured        {first:7.1f} s  {3 * options.n / first:.0f} images/s", flush=True)
        again, peak = pool.submit(whole, *given).result()
        print(f"remembered      {again:7.1f} s  {again / first:.2f} of the first time; peak {peak:.0f} MB", flush=True)
        if options.prdc:
            ours, theirs = pool.submit(metrics, *given).result()
            print(f"metrics alone   {ours:7.1f} s  realism and diversity, nine figures with errors")
            print(f"prdc            {theirs:7.1f} s  four figures without errors; ours {ours / theirs:.2f} of it")


if __name__ == "__main__":
    main()
