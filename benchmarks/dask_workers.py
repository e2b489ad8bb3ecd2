"""What a second worker of Dask is worth: galaxies a second of `generate_to` with one process and with two.

    python benchmarks/dask_workers.py -n 1280

Each round draws the same rows into a new folder, by one worker and by two, each a process with one thread. Workers have
loaded the weights before the clock starts. Peer: one worker; the ratio is sought to be 1.8 or more, and means something
on a machine that has two cores to spare. The memory of each worker is told too. Dask's sampling profiler is off unless
`--profiler` is given: it takes a tenth of the time where every core is drawing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.table import Table

from astro_galaxysd import generate_to

SOUGHT = 1.8


def conditions(n):
    prompts = ["sdss, merger", "sdss, edge-on disk", "sdss, {spiral galaxy:1.2}", "sdss, completely round galaxy"]
    return Table({"id": np.arange(n), "prompt": [prompts[row % len(prompts)] for row in range(n)]})


def memory_of(client):
    """Peak memory of each worker, MB."""

    def peak():
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3

    return sorted(client.run(peak).values())


def drawn(client, rows, options):
    """Seconds of a run, and the files it left, by their names."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        generate_to(Path(folder) / "drawn", rows, client=client, rng=1, progress=False, **options)
        seconds = time.perf_counter() - started
        return seconds, {path.name: path.read_bytes() for path in Path(folder, "drawn").glob("shard-*")}


def round_with(n_workers, rows, options, *, profiler):
    """Seconds of a round, its files and the memory of the workers."""
    import dask
    from dask.distributed import Client, LocalCluster

    with (
        dask.config.set({"distributed.worker.profile.enabled": profiler}),
        LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(n_workers)
        drawn(client, rows[: 2 * n_workers], options | {"shard_rows": 1})  # loads the weights
        return *drawn(client, rows, options), memory_of(client)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=1280, help="rows (default: 1280); of few the start is a part")
    parser.add_argument("--shard-rows", type=int, default=160, help="rows of a shard (default: 160)")
    parser.add_argument("--profiler", action="store_true", help="with Dask's sampling profiler, which is its default")
    parser.add_argument("--steps", type=int, default=None, help="by default what the weights recommend")
    parser.add_argument("--weights", default="mini")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rows = conditions(args.n)
    options = {"steps": args.steps, "weights": args.weights, "shard_rows": args.shard_rows}
    seconds, files, memory = {1: [], 2: []}, {}, {}
    for _ in range(args.rounds):
        for workers in (1, 2):
            found, files[workers], memory[workers] = round_with(workers, rows, options, profiler=args.profiler)
            seconds[workers].append(found)
    for workers, found in seconds.items():
        each = ", ".join(f"{megabytes:.0f}" for megabytes in memory[workers])
        print(
            f"{workers} worker(s): {args.n / statistics.median(found):.2f} galaxies/s "
            f"({', '.join(f'{value:.1f}' for value in found)} s), {each} MB"
        )
    ratios = [one / two for one, two in zip(seconds[1], seconds[2], strict=True)]
    ratio = statistics.median(ratios)
    print(f"ratio {ratio:.2f} ({', '.join(f'{value:.2f}' for value in ratios)}), sought {SOUGHT}")
    print(f"files byte-identical: {files[1] == files[2]}")


if __name__ == "__main__":
    main()
