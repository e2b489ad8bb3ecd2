"""Whole-process times of what a user waits for until the first galaxy is there, beside four well-known imports.

    python benchmarks/import_time.py

Every line is a fresh interpreter. The lines are run in turn, again and again, so that a slow minute of the machine
falls on all of them; the first round only fills the disk cache. What is printed are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

#: "first cutout": with the weights that ship, until table and picture are written.
CASES = {
    "python -c pass": ["-c", "pass"],
    "import astro_galaxysd": ["-c", "import astro_galaxysd"],
    "plug-in discovery": ["-c", "from astro_galaxysd.plugins.manager import get_registry; get_registry().describe()"],
    "galaxysd --help": ["-m", "astro_galaxysd.cli", "--help"],
    "galaxysd plugins": ["-m", "astro_galaxysd.cli", "plugins"],
    "first cutout": ["-m", "astro_galaxysd.cli", "generate", "--prompt", "sdss, merger", "-n", "1", "--no-progress",
                     "--overwrite", "-o", "one.parquet"],
    "import astropy.table": ["-c", "import astropy.table"],
    "import torch": ["-c", "import torch"],
    "import diffusers": ["-c", "import diffusers"],
    "diffusers' StableDiffusionPipeline": ["-c", "from diffusers import StableDiffusionPipeline"],
}  # fmt: skip
PEERS = ("import astropy.table", "import torch", "import diffusers", "diffusers' StableDiffusionPipeline")
OURS = tuple(name for name in CASES if name not in PEERS)


def cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measure(rounds: int = 7) -> dict[str, float]:
    """Median seconds of each case."""
    times: dict[str, list[float]] = {name: [] for name in CASES}
    # Elsewhere than in the project's root, whose folder astro_galaxysd/ would hide the installed package.
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            for name, arguments in CASES.items():
                start = time.perf_counter()
                subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True)
                if number:
                    times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def table(seconds: dict[str, float]) -> list[str]:
    """Lines of the table: each case and its ratio to each peer."""
    head = ["whole process", "seconds", *(f"/ {name}" for name in PEERS)]
    rows = [
        [name, f"{seconds[name]:.3f}", *(f"{seconds[name] / seconds[peer]:.3f}" for peer in PEERS)] for name in CASES
    ]
    return markdown([head, *rows])


def markdown(rows: list[list[str]]) -> list[str]:
    """Cells as an aligned Markdown table; numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rule = ["-" * width if column == 0 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    lines = [rows[0], rule, *rows[1:]]
    return [
        "| "
        + " | ".join(
            cell.ljust(w) if column == 0 else cell.rjust(w)
            for column, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in lines
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="times every line is run (default: 7)")
    parser.add_argument("--json", action="store_true", help="print the medians as JSON")
    options = parser.parse_args()
    seconds = measure(options.rounds)
    if options.json:
        print(json.dumps({"cpus": cpus(), "seconds": seconds}, indent=1))
    else:
        print("\n".join(table(seconds)))


if __name__ == "__main__":
    main()
