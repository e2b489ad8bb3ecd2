"""Cutouts a second and peak memory, beside the plain StableDiffusionPipeline on the same rows and the same weights.

    python benchmarks/throughput.py

Three ways to draw the same N rows, each with its own prompt and seed, are run in turn in processes of their own:

- `load_generator("mini").generate(table)`;
- diffusers' StableDiffusionPipeline, called once a row;
- the same pipeline, called with eight rows at a time, which is what one would write to be quick.

Same weights folder, sampler, timesteps, guidance and guidance rescale, number of threads; prompts carry no weights,
which the pipeline does not know. Each process draws eight rows before the clock starts. Medians over the rounds are
printed, with the largest difference between the images, in grey levels: it shows that the work was the same.

A last process counts the operations of the UNet for one row and one step (torch.utils.flop_counter; a multiplication
and an addition are two), and the float32 matrix product of the machine, as `astro_galaxysd.drawing.estimate` times it.
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

WAYS = ("generator", "pipeline, 1 a call", "pipeline, 8 a call")
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


def draw_with_pipeline(steps: int | None, per_call: int) -> Any:
    import numpy as np
    import torch
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    from astro_galaxysd import LappedAutoencoder  # noqa: F401  diffusers looks for it among what is imported
    from astro_galaxysd.diffusion.generator import weights_folder
    from astro_galaxysd.diffusion.sample import GUIDANCE_RESCALE, make_scheduler
    from astro_galaxysd.weightcards import weight_card

    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    card = weight_card("mini")
    pipe = StableDiffusionPipeline.from_pretrained(weights_folder(card.location))
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = make_scheduler(dict(pipe.scheduler.config), card.sampler, steps or card.steps)
    times = pipe.scheduler.timesteps.tolist()
    # euler-ancestral takes no list of timesteps: it is given their number, and spaces them itself
    schedule = {"timesteps": times} if card.sampler == "dpm++" else {"num_inference_steps": len(times)}

    def draw(rows: int) -> Any:
        images = []
        for start in range(0, rows, per_call):
            part = slice(start, min(start + per_call, rows))
            images += pipe(
                prompts(rows)[part],
                guidance_scale=card.guidance,
                guidance_rescale=GUIDANCE_RESCALE,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds(rows)[part]],
                height=card.image_size,
                width=card.image_size,
                **schedule,
            ).images
        return np.stack([np.asarray(image) for image in images])

    return draw


def work(way: str, n: int, steps: int | None, threads: int, out: Path) -> dict[str, float]:
    """Inside a process of its own: draw `n` rows, keep the images, say how long it took."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    if way == "generator":
        draw = draw_with_generator(steps)
    else:
        draw = draw_with_pipeline(steps, 1 if "1 a call" in way else 8)
    draw(WARM_UP)
    start, cpu = time.perf_counter(), time.process_time()
    images = draw(n)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    memory = peak_memory()
    np.save(out, images)
    return {"seconds": seconds, "cpu": cpu, "memory": memory}


def cost(threads: int) -> dict[str, float]:
    """GFLOP of the UNet for one row and one step, of the decoder for one row; GFLOP/s of a matrix product."""
    import numpy as np
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
    matrix = np.ones((768, 768), dtype=np.float32)
    best = min(_timed(lambda: matrix @ matrix) for _ in range(20))
    return {
        "unet_gflop": unet.get_total_flops() / 1e9,
        "decoder_gflop": decoder.get_total_flops() / 1e9,
        "matmul_gflop_per_s": 2 * 768**3 / best / 1e9,
        "parameters": sum(p.numel() for part in (parts.unet, parts.vae, parts.text_encoder) for p in part.parameters()),
    }


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


def measure(n: int = 16, steps: int | None = None, rounds: int = 3, threads: int | None = None) -> dict[str, Any]:
    """Seconds, memory and images of each way; cost of the model; medians over the rounds."""
    import numpy as np

    from astro_galaxysd.weightcards import weight_card

    threads = threads or cpus()
    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    costs = []
    with tempfile.TemporaryDirectory() as folder:
        out = {way: str(Path(folder) / f"{number}.npy") for number, way in enumerate(WAYS)}
        shared = ["--rows", str(n), *(["--steps", str(steps)] if steps else [])]
        for _ in range(rounds):
            costs.append(run_apart("--work", "cost", threads=threads))
            for way in WAYS:
                results[way].append(run_apart("--work", way, "--out", out[way], *shared, threads=threads))
        images = {way: np.load(path).astype(int) for way, path in out.items()}
    card = weight_card("mini")
    model = {key: statistics.median(one[key] for one in costs) for key in costs[0]}
    calls = (1 if card.guidance == 1 else 2) * (steps or card.steps)
    medians = {
        key: {way: statistics.median(one[key] for one in rows) for way, rows in results.items()}
        for key in ("seconds", "cpu", "memory")
    }
    seconds = medians["seconds"]
    rate = n * (calls * model["unet_gflop"] + model["decoder_gflop"]) / seconds["generator"]
    return {
        "rows": n,
        "steps": steps or card.steps,
        "guidance": card.guidance,
        "sampler": card.sampler,
        "threads": threads,
        **medians,
        "difference": {way: int(np.abs(images[way] - images["generator"]).max()) for way in WAYS},
        **model,
        "gflop_per_s": rate,
        "share": n * calls * model["unet_gflop"] / seconds["generator"] / model["matmul_gflop_per_s"],
    }


def table(found: dict[str, Any]) -> list[str]:
    """Lines of the report."""
    n, ours = found["rows"], found["seconds"]["generator"]
    head = ["drawing", "cutouts/s", "generator's rate / this", "CPU s a cutout", "peak MB", "largest difference"]
    rows = [
        [
            way,
            f"{n / s:.2f}",
            f"{s / ours:.2f}",
            f"{found['cpu'][way] / n:.2f}",
            f"{found['memory'][way]:.0f}",
            str(found["difference"][way]),
        ]
        for way, s in found["seconds"].items()
    ]
    return [
        f"{n} rows of different prompts, {found['steps']} steps, {found['sampler']}, guidance {found['guidance']:g}, "
        f"{found['threads']} thread(s), same weights ({found['parameters'] / 1e6:.1f} M parameters)",
        "",
        *markdown([head, *rows]),
        "",
        f"UNet, one row, one call: {found['unet_gflop']:.3f} GFLOP (two calls a step with guidance); "
        f"decoder, one row: {found['decoder_gflop']:.3f} GFLOP",
        f"float32 matrix product here: {found['matmul_gflop_per_s']:.1f} GFLOP/s; the UNet's work while the generator "
        f"draws: {100 * found['share']:.0f} % of it",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16, help="rows to draw (default: 16)")
    parser.add_argument("--steps", type=int, help="sampling steps (default: what the weights recommend)")
    parser.add_argument("--rounds", type=int, default=3, help="times every way is run (default: 3)")
    parser.add_argument("--threads", type=int, help="processor threads of every way (default: all)")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    parser.add_argument("--work", choices=(*WAYS, "cost"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work == "cost":
        print(json.dumps(cost(options.threads)))
    elif options.work:
        print(json.dumps(work(options.work, options.rows, options.steps, options.threads, options.out)))
    else:
        found = measure(options.rows, options.steps, options.rounds, options.threads)
        print(json.dumps(found, indent=1) if options.json else "\n".join(table(found)))


if __name__ == "__main__":
    main()
