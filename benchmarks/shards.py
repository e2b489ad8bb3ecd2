"""What a long run costs beside its drawing: 100,000 rows through `generate_to`, `read_pieces` and `evaluate`.

    python benchmarks/shards.py
    python benchmarks/shards.py --rows 2000 -n 100

Conditions are rows of 37 votes made by a seed, in a Parquet file; a generator that costs next to nothing draws round
galaxies of 64 pixels from the rows' seeds. Peer: the same with a tenth of the rows. Each step runs in a process of its
own, with one thread, whose peak memory is read as benchmarks/throughput.py reads it: ratios of memory near 1 say that
it does not grow with the rows, ratios of seconds near 10 that time grows no faster than they do. `evaluate` compares
the same number of galaxies both times.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from import_time import markdown
from throughput import peak_memory

STEPS = ("generate_to", "the same call again", "verify", "read_pieces", "evaluate")
PART = 10
SIZE = 64
#: Rows of conditions that are made at a time.
BLOCK = 10_000


def votes(rows: int, rng: Any) -> Any:
    """A table of `rows` galaxies with conditional fractions, which add up to 1 for every question."""
    import numpy as np
    from astropy.table import Table

    from astro_galaxysd.conditions.tree import QUESTIONS

    table = Table()
    for question in QUESTIONS:
        shares = rng.dirichlet(np.full(len(question.answers), 0.5), rows)
        for answer, share in zip(question.answers, shares.T, strict=True):
            table[answer.conditional] = share.astype(np.float32)
    return table


def write_conditions(rows: int, path: Path) -> None:
    """A folder of Parquet files, as a catalogue that does not fit into the memory would be."""
    import numpy as np

    from astro_galaxysd import write_table

    path.mkdir()
    rng = np.random.default_rng(0)
    for start in range(0, rows, BLOCK):
        table = votes(min(BLOCK, rows - start), rng)
        table.add_column([f"g{row}" for row in range(start, start + len(table))], name="id", index=0)
        write_table(table, path / f"part-{start:09d}.parquet")


class RoundGalaxies:
    """Round galaxies on a noisy sky; a row's pixels follow from its seed."""

    def __init__(self) -> None:
        import numpy as np

        rng = np.random.default_rng(0)
        offset = np.arange(SIZE) - (SIZE - 1) / 2
        radius = np.hypot(offset[:, None], offset[None, :])
        self.light = [(200 * np.exp(-radius / width))[..., None].astype(np.uint8) for width in np.linspace(3, 9, 16)]
        self.sky = rng.integers(0, 20, (8 * SIZE, 8 * SIZE, 3), dtype=np.uint8)

    def generate(self, conditions: Any, *, batch_size: int | None = None) -> Any:
        import numpy as np

        from astro_galaxysd.records import ImageBatch

        images = np.stack([self.image(int(seed)) for seed in conditions["seed"]])
        return ImageBatch(images, conditions, np.arange(len(conditions)).astype(str))

    def image(self, seed: int) -> Any:
        light, down, right = seed % 16, seed // 16 % (7 * SIZE), seed // 16384 % (7 * SIZE)
        return self.light[light] + self.sky[down : down + SIZE, right : right + SIZE]


def write_real(rows: int, path: Path) -> None:
    """Galaxies that are taken for real ones."""
    import numpy as np

    from astro_galaxysd import write_table

    rng = np.random.default_rng(1)
    table, generator = votes(rows, rng), RoundGalaxies()
    table["id"] = [f"r{row}" for row in range(rows)]
    table["image"] = np.stack([generator.image(int(seed)) for seed in rng.integers(2**40, size=rows)])
    write_table(table, path)


def work(step: str, folder: Path, n: int) -> dict[str, float]:
    """Inside a process of its own: do one step, say how long it took."""
    from astro_galaxysd import evaluate, generate_to
    from astro_galaxysd.images.codec import read_images
    from astro_galaxysd.images.streaming import read_pieces

    start, cpu = time.perf_counter(), time.process_time()
    if step == "read_pieces":
        rows = sum(len(read_images(piece)) for piece in read_pieces(folder / "drawn"))
    elif step == "evaluate":
        evaluate(folder / "real.parquet", folder / "drawn", n=n, rng=1, progress=False)
        rows = n
    else:
        options = {"rng": 1, "generator": RoundGalaxies(), "verify": step == "verify", "progress": False}
        rows = generate_to(folder / "drawn", folder / "conditions", **options).rows
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {"rows": rows, "seconds": seconds, "cpu": cpu, "memory": peak_memory()}


def run_apart(step: str, folder: Path, n: int) -> dict[str, float]:
    """Run this file in a process of its own and read what it prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--work", step, "--folder", str(folder), "-n", str(n)]
    done = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure(rows: int = 100_000, n: int = 500) -> dict[str, list[dict[str, float]]]:
    """What each step took with a tenth of the rows, and with all."""
    found: dict[str, list[dict[str, float]]] = {step: [] for step in STEPS}
    for some in (rows // PART, rows):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_conditions(some, folder / "conditions")
            write_real(4 * n, folder / "real.parquet")
            for step in STEPS:
                found[step].append(run_apart(step, folder, n))
                said = found[step][-1]
                print(f"{some} rows, {step}: {said['seconds']:.1f} s, {said['memory']:.0f} MB", file=sys.stderr)
    return found


def table(found: dict[str, list[dict[str, float]]], rows: int) -> list[str]:
    """Lines of the report."""
    head = ["step", "rows", "seconds", "CPU s", "rows a second", "peak MB", "seconds / tenth", "peak / tenth"]
    lines = []
    for step, (tenth, whole) in found.items():
        for one in (tenth, whole):
            ratios = [f"{whole[key] / tenth[key]:.2f}" for key in ("seconds", "memory")] if one is whole else ["", ""]
            rate = one["rows"] / one["seconds"]
            seen = f"{int(one['rows']):,}"
            lines.append(
                [
                    step,
                    seen,
                    f"{one['seconds']:.1f}",
                    f"{one['cpu']:.1f}",
                    f"{rate:.0f}",
                    f"{one['memory']:.0f}",
                    *ratios,
                ]
            )
    return [f"{rows:,} rows of {SIZE} pixels, 37 votes, and a tenth of them; one thread", "", *markdown([head, *lines])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="rows to draw (default: 100000)")
    parser.add_argument("-n", type=int, default=500, help="galaxies of each set that are compared (default: 500)")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    parser.add_argument("--work", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        print(json.dumps(work(options.work, options.folder, options.n)))
    else:
        found = measure(options.rows, options.n)
        print(json.dumps(found, indent=1) if options.json else "\n".join(table(found, options.rows)))


if __name__ == "__main__":
    main()
