"""Every benchmark in one run, as tables of ratios: `tox -e benchmarks`, or `python benchmarks/run.py`.

Ratios against a peer measured in the same run say more than seconds, which are this machine's. Close other programs
first; ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import platform
from importlib import metadata

import import_time
import throughput


def machine() -> str:
    versions = ", ".join(
        f"{name} {metadata.version(name)}" for name in ("astro-galaxysd", "torch", "diffusers", "astropy")
    )
    system = f"{platform.system()} {platform.machine()}, {import_time.cpus()} CPU(s)"
    return f"Python {platform.python_version()}, {versions}; {system}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="times every line is run (default: 5)")
    parser.add_argument("--rows", type=int, default=8, help="rows of the slowest way to draw (default: 8)")
    parser.add_argument("--threads", type=int, help="processor threads for drawing (default: all)")
    options = parser.parse_args()
    print(f"{machine()}\n\nTime to start\n")
    print("\n".join(import_time.table(import_time.measure(options.rounds))), flush=True)
    print("\nDrawing\n")
    print("\n".join(throughput.table(throughput.measure(options.rows, rounds=options.rounds, threads=options.threads))))


if __name__ == "__main__":
    main()
