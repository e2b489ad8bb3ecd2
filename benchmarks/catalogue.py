"""What it costs to search a large catalogue: time and memory of one pass over a Parquet or FITS file.

    python benchmarks/catalogue.py unlabelled.parquet --labelled val.parquet -n 250000

The cutouts of the first file are repeated until there are so many; their number counts, not what they are. Peer: the
vote reader alone, on cutouts that lie in memory as arrays. The ratio says what reading, decoding, comparing with what
is known, and ranking cost beside it. The search runs in a process of its own, whose peak memory is told beside that of
a search of a hundredth of the catalogue.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from astro_galaxysd import read_table, search, write_table
from astro_galaxysd.evaluation.reading import ImageReader
from astro_galaxysd.images.codec import read_images
from astro_galaxysd.searching import SEARCH

ALONE = 2048
PART = 100


def make_catalogue(source, n, path):
    """Write n rows, those of the source again and again."""
    table = read_table(source, ["id", "image"])
    rows = np.arange(n) % len(table)
    table = table[rows]
    table["id"] = [f"c{row}" for row in range(n)]
    return write_table(table, path)


def searched(path, labelled, target, threads):
    """Galaxies that were scored, seconds from files to candidates, peak memory in MB."""
    import torch

    torch.set_num_threads(threads)
    started = time.perf_counter()
    found = search(path, target=target, labelled=read_table(labelled), n_synthetic=0, rng=0, progress=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return found.candidates.meta[SEARCH]["scored"], time.perf_counter() - started, peak


def reader_alone(source, threads):
    """Cutouts a second."""
    import torch

    torch.set_num_threads(threads)
    images = np.stack(read_images(read_table(source, ["image"])[:ALONE]))
    reader = ImageReader.load("choosing")
    reader.embed(images[:64])
    started = time.perf_counter()
    reader.embed(images)
    return len(images) / (time.perf_counter() - started)


def apart(function, *arguments):
    """Call a function in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--labelled", required=True)
    parser.add_argument("--target", default="merger")
    parser.add_argument("-n", type=int, default=250_000)
    parser.add_argument("--format", choices=["parquet", "fits"], default="parquet")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    alone = apart(reader_alone, options.source, options.threads)
    with tempfile.TemporaryDirectory() as folder:
        for n in (options.n // PART, options.n):
            path = apart(make_catalogue, options.source, n, Path(folder) / f"catalogue{n}.{options.format}")
            size = path.stat().st_size / 1e6
            scored, seconds, peak = apart(searched, path, options.labelled, options.target, options.threads)
            rate = scored / seconds
            print(f"{scored:>9,} cutouts, {size:,.0f} MB: {seconds:.0f} s, {rate:.0f} a second, peak {peak:,.0f} MB")
    print(f"the reader alone {alone:.0f} a second; the search over it {rate / alone:.2f}")


if __name__ == "__main__":
    main()
