"""Cutouts a second and peak memory, beside diffusers' StableDiffusionPipeline with the same weights.

    python benchmarks/throughput.py
    python benchmarks/throughput.py --long 10000

Each way of drawing runs in turn with the others in a process of its own, again and again; medians are printed. Each
draws a few rows before the clock starts. Rows have different prompts without weights, which the pipeline does not know.

- `load_generator("mini").generate(table)`, as the weights recommend;
- the pipeline called once a row with 40 steps of Euler ancestral and guidance 6.5, as the published model is sampled:
  what one writes first;
- the pipeline with 32 rows a call, 20 steps of DPM-Solver++ and the same guidance: what one writes to be quick;
- the pipeline with eight rows a call and the generator's own steps, sampler and timesteps. Its images, turned by their
  seeds as the generator's are, are compared with the generator's: the largest difference, in grey levels, shows that
  the work was the same.

A last process counts the operations of UNet and decoder for one row and one call (torch.utils.flop_counter; a
multiplication and an addition are two). It then runs in turn the UNet as the generator runs it, micro-batches side by
side, and float32 matrix products, both with all threads on one and with one on each thread, of which the faster counts.

With --long so many rows and 100 rows are drawn into folders of shards by `generate_to`, in one process and with one
loaded generator, the 100 before and after: cost and memory should not grow.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from import_time import cpus, markdown

PUBLISHED, QUICK, ALIKE = (
    "pipeline, 1 a call, as published",
    "pipeline, 32 a call, DPM++ 20",
    "pipeline, 8 a call, as ours",
)
WAYS = ("generator", PUBLISHED, QUICK, ALIKE)
#: Rows of each way, as a multiple of --rows; the generator's are drawn in the time of a few of the others'.
ROWS = {"generator": 16, PUBLISHED: 1, QUICK: 4, ALIKE: 2}
PER_CALL = {PUBLISHED: 1, QUICK: 32, ALIKE: 8}
GUIDANCE = 6.5  # of the published model
WARM_UP = 8
FEATURES = (
    "smooth, completely round galaxy", "smooth, in-between round galaxy", "smooth, cigar shaped galaxy",
    "features or disk-shaped, edge-on galaxy", "features or disk-shaped, spiral galaxy",
    "features or disk-shaped, spiral galaxy, 2 spiral arms", "something odd, ring galaxy", "something odd, merger",
)  # fmt: skip


def prompts(n: int) -> list[str]:
    return [f"sdss, {FEATURES[row % len(FEATURES)]}" for row in range(n)]


def seeds(n: int) -> list[int]:
    return [7919 * row + 11 for row in range(n)]


def peak_memory() -> float:
    """Peak resident memory of this process, MB."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def draw_with_generator(steps: int | None) -> Any:
    from astropy.table import Table

    from astro_galaxysd import load_generator

    generator = load_generator("mini", steps=steps)

    def draw(rows: int) -> Any:
        return generator.generate(Table({"prompt": prompts(rows), "seed": seeds(rows)})).images

    return draw


def draw_with_pipeline(way: str, steps: int | None) -> Any:
    import numpy as np
    import torch
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    from astro_galaxysd import LappedAutoencoder  # noqa: F401  diffusers looks for it among what is imported
    from astro_galaxysd.diffusion.generator import weights_folder
    from astro_galaxysd.diffusion.sample import GUIDANCE_RESCALE, make_scheduler, turned
    from astro_galaxysd.weightcards import weight_card

    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    card = weight_card("mini")
    sampler, number, guidance = {
        PUBLISHED: ("euler-ancestral", 40, GUIDANCE),
        QUICK: ("dpm++", 20, GUIDANCE),
        ALIKE: (card.sampler, steps or card.steps, card.guidance),
    }[way]
    pipe = StableDiffusionPipeline.from_pretrained(weights_folder(card.location))
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = make_scheduler(dict(pipe.scheduler.config), sampler, number)
    times = pipe.scheduler.timesteps.tolist()
    # euler-ancestral takes no list of timesteps: it is given their number, and spaces them itself
    schedule = {"timesteps": times} if sampler == "dpm++" else {"num_inference_steps": len(times)}

    def draw(rows: int) -> Any:
        images = []
        for start in range(0, rows, PER_CALL[way]):
            part = slice(start, min(start + PER_CALL[way], rows))
            images += pipe(
                prompts(rows)[part],
                guidance_scale=guidance,
                guidance_rescale=GUIDANCE_RESCALE,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds(rows)[part]],
                height=card.image_size,
                width=card.image_size,
                **schedule,
            ).images
        drawn = np.stack([np.asarray(image) for image in images])
        return turned(drawn, seeds(rows)) if way == ALIKE and card.turned else drawn

    return draw


def work(way: str, n: int, steps: int | None, threads: int, out: Path) -> dict[str, float]:
    """Inside a process of its own: draw `n` rows, keep the images, say how long it took."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    draw = draw_with_generator(steps) if way == "generator" else draw_with_pipeline(way, steps)
    draw(WARM_UP)
    start, cpu = time.perf_counter(), time.process_time()
    images = draw(n)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    memory = peak_memory()
    np.save(out, images)
    return {"seconds": seconds, "cpu": cpu, "memory": memory}


def cost(threads: int) -> dict[str, float]:
    """GFLOP of the UNet for one row and one step, of the decoder for one row; GFLOP/s of a matrix product."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from astro_galaxysd.diffusion.components import load_components
    from astro_galaxysd.diffusion.generator import weights_folder
    from astro_galaxysd.weightcards import weight_card

    torch.set_num_threads(threads)
    parts = load_components(weights_folder(weight_card("mini").location))
    config = parts.unet.config
    latents = torch.zeros(1, config.in_channels, config.sample_size, config.sample_size)
    text = torch.zeros(1, parts.tokenizer.model_max_length, config.cross_attention_dim)
    with torch.inference_mode(), FlopCounterMode(display=False) as unet:
        parts.unet(latents, 500, text)
    with torch.inference_mode(), FlopCounterMode(display=False) as decoder:
        parts.vae.decode(latents)
    speeds = speeds_of(parts.unet, unet.get_total_flops() / 1e9, threads)
    return {
        "unet_gflop": unet.get_total_flops() / 1e9,
        "decoder_gflop": decoder.get_total_flops() / 1e9,
        **speeds,
        "parameters": sum(p.numel() for part in (parts.unet, parts.vae, parts.text_encoder) for p in part.parameters()),
    }


def speeds_of(unet: Any, gflop: float, threads: int, seconds: float = 20.0) -> dict[str, float]:
    """GFLOP/s of the UNet as the generator calls it and of matrix products, measured in turn; medians."""
    import torch

    from astro_galaxysd.diffusion.placement import MICRO_BATCH
    from astro_galaxysd.learning.threads import side_by_side

    unet.to(memory_format=torch.channels_last)
    side, channels = unet.config.sample_size, unet.config.in_channels
    latents = torch.randn(MICRO_BATCH, channels, side, side).contiguous(memory_format=torch.channels_last)
    text = torch.randn(MICRO_BATCH, 77, unet.config.cross_attention_dim)
    matrix = torch.randn(1024, 1024)

    def network(_: int) -> None:
        with torch.inference_mode():
            unet(latents, 500, text)

    def products(_: int) -> None:
        for _ in range(20):
            matrix @ matrix

    calls = 4 * threads
    cases = {
        "unet_rate": (lambda: list(side_by_side(network, range(calls))), calls * MICRO_BATCH * gflop),
        "beside": (lambda: list(side_by_side(products, range(calls))), calls * 20 * 2 * 1024**3 / 1e9),
        "together": (lambda: products(0), 20 * 2 * 1024**3 / 1e9),
    }
    found: dict[str, list[float]] = {name: [] for name in cases}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(found["together"]) < 3:
        for name, (action, cost) in cases.items():
            found[name].append(cost / _timed(action))
    rates = {name: statistics.median(some[1:]) for name, some in found.items()}
    return {"unet_rate": rates["unet_rate"], "matmul_gflop_per_s": max(rates["beside"], rates["together"])}


def long_run(rows: int, threads: int) -> dict[str, float]:
    """Seconds a cutout of 100 rows and of many into folders of shards, with one loaded generator; peak memory."""
    import torch
    from astropy.table import Table

    from astro_galaxysd import generate_to, load_generator

    torch.set_num_threads(threads)
    generator = load_generator("mini")

    def seconds_a_row(number: int) -> float:
        table = Table({"prompt": prompts(number), "seed": seeds(number)})
        with tempfile.TemporaryDirectory() as folder:
            return _timed(lambda: generate_to(folder, table, generator=generator, progress=False)) / number

    seconds_a_row(WARM_UP)
    few = [seconds_a_row(100) for _ in range(3)]
    memory = peak_memory()
    many = seconds_a_row(rows)
    few += [seconds_a_row(100) for _ in range(3)]
    return {"few": statistics.median(few), "many": many, "few_memory": memory, "many_memory": peak_memory()}


def _timed(action: Any) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def run_apart(*arguments: str, threads: int) -> dict[str, float]:
    """Run this file in a process of its own and read what it prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    command = [sys.executable, str(Path(__file__).resolve()), *arguments, "--threads", str(threads)]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure(n: int = 8, steps: int | None = None, rounds: int = 3, threads: int | None = None) -> dict[str, Any]:
    """Cutouts a second, memory and images of each way; speed of the model; medians over the rounds."""
    import numpy as np

    from astro_galaxysd.weightcards import weight_card

    threads = threads or cpus()
    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        out = {way: str(Path(folder) / f"{number}.npy") for number, way in enumerate(WAYS)}
        for _ in range(rounds):
            for way in WAYS:
                shared = ["--rows", str(n * ROWS[way]), *(["--steps", str(steps)] if steps else [])]
                results[way].append(run_apart("--work", way, "--out", out[way], *shared, threads=threads))
        both = (np.load(out[way]).astype(int)[: n * ROWS[ALIKE]] for way in ("generator", ALIKE))
        difference = int(np.abs(next(both) - next(both)).max())
    card = weight_card("mini")
    medians = {
        key: {way: statistics.median(one[key] for one in rows) for way, rows in results.items()}
        for key in ("seconds", "cpu", "memory")
    }
    for key in ("seconds", "cpu"):
        medians[key] = {way: value / (n * ROWS[way]) for way, value in medians[key].items()}
    model = run_apart("--work", "cost", threads=threads)
    calls = (1 if card.guidance == 1 else 2) * (steps or card.steps)
    return {
        "rows": {way: n * ROWS[way] for way in WAYS},
        "steps": steps or card.steps,
        "guidance": card.guidance,
        "sampler": card.sampler,
        "threads": threads,
        **medians,
        "difference": difference,
        **model,
        "share": calls * model["unet_gflop"] / medians["seconds"]["generator"] / model["matmul_gflop_per_s"],
    }


def table(found: dict[str, Any]) -> list[str]:
    """Lines of the report."""
    ours = found["seconds"]["generator"]
    head = ["drawing", "rows", "cutouts/s", "generator's rate / this", "CPU s a cutout", "peak MB"]
    rows = [
        [way, str(found["rows"][way]), f"{1 / s:.2f}", f"{s / ours:.1f}", f"{found['cpu'][way]:.3f}",
         f"{found['memory'][way]:.0f}"]
        for way, s in found["seconds"].items()
    ]  # fmt: skip
    return [
        f"generator: {found['steps']} steps, {found['sampler']}, guidance {found['guidance']:g}; {found['threads']} "
        f"thread(s), same weights ({found['parameters'] / 1e6:.1f} M parameters)",
        "",
        *markdown([head, *rows]),
        "",
        f"Largest difference between the generator's images and those of the last line, in grey levels: "
        f"{found['difference']}",
        f"UNet, one row, one call: {found['unet_gflop']:.3f} GFLOP; decoder, one row: "
        f"{found['decoder_gflop']:.3f} GFLOP",
        f"UNet: {found['unet_rate']:.1f} GFLOP/s, float32 matrix product {found['matmul_gflop_per_s']:.1f}, ratio "
        f"{found['unet_rate'] / found['matmul_gflop_per_s']:.2f}; its work while the generator draws: "
        f"{found['share']:.2f} of the matrix product's rate",
    ]


def long_lines(rows: int, found: dict[str, float]) -> list[str]:
    """Lines about many rows."""
    few, many = found["few"], found["many"]
    return [
        "",
        f"Into shards: 100 rows {few * 1e3:.1f} ms a cutout, {found['few_memory']:.0f} MB at most; {rows} rows "
        f"{many * 1e3:.1f} ms, {found['many_memory']:.0f} MB; ratio {many / few:.2f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8, help="rows of the slowest way (default: 8)")
    parser.add_argument("--steps", type=int, help="the generator's steps (default: what the weights recommend)")
    parser.add_argument("--rounds", type=int, default=3, help="times every way is run (default: 3)")
    parser.add_argument("--threads", type=int, help="processor threads of every way (default: all)")
    parser.add_argument("--long", type=int, default=0, metavar="ROWS", help="also draw so many rows (default: none)")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    parser.add_argument("--work", choices=(*WAYS, "cost", "long"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work == "cost":
        print(json.dumps(cost(options.threads)))
    elif options.work == "long":
        print(json.dumps(long_run(options.rows, options.threads)))
    elif options.work:
        print(json.dumps(work(options.work, options.rows, options.steps, options.threads, options.out)))
    else:
        found = measure(options.rows, options.steps, options.rounds, options.threads)
        lines = table(found)
        if options.long:
            threads = options.threads or cpus()
            found["long"] = run_apart("--work", "long", "--rows", str(options.long), threads=threads)
            lines += long_lines(options.long, found["long"])
        print(json.dumps(found, indent=1) if options.json else "\n".join(lines))


if __name__ == "__main__":
    main()
