"""Training images a second, beside the plain training loop of diffusers' text-to-image example on the same model.

    python benchmarks/training.py --steps 4 --rounds 3 --batch-size 32 --threads 1

Ours is `DiffusionRun.advance` with the recipe of the embedded model. The peer is what the example script
examples/text_to_image/train_text_to_image.py of diffusers does in each step, written down here again: a DataLoader
that normalises and mirrors images and tokenises captions, the frozen autoencoder and text encoder in the loop, noise
and timesteps at random, DDPMScheduler.add_noise and get_velocity, the UNet under accelerate, squared errors with
min-SNR weights, accelerator.backward, clipping, AdamW, the learning rate's schedule, EMAModel.step. Both have the same
UNet, autoencoder and text encoder with fresh weights, batch size, image size and number of threads; each runs in fp32
and in bf16 (--mixed_precision of the script). Images are random bytes in memory: reading files is nobody's advantage.

What ours does more: it trains the text encoder too, reads weighted prompts, and draws one of eight mirrored and
rotated forms instead of two. So beside the rates stand the operations of one step (torch.utils.flop_counter; forward
and backward, a multiplication and an addition are two), and which share of the machine's matrix product they reach,
measured between the rounds in the same precision.

Each way has a process of its own that stays; their rounds alternate, so that a slow minute of the machine falls on
all. Printed are medians over the rounds, and the ratio of rates with its smallest and largest value; processor seconds
tell more than rates where other programs run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from import_time import cpus, markdown

PRECISIONS = ("fp32", "bf16")
IMAGES = 512
RATE, DECAY, CLIP, GAMMA, SEED = 7e-4, 1e-3, 1.0, 5.0, 0


def synthetic(size: int) -> tuple[Any, Any]:
    """Random images and votes: speed does not depend on what they show."""
    import numpy as np

    from astro_galaxysd.conditions.tree import INDEX

    rng = np.random.default_rng(SEED)
    images = rng.integers(0, 256, (IMAGES, size, size, 3), dtype=np.uint8)
    fractions = np.full((IMAGES, 37), np.nan)
    for yes, no in (("smooth", "features"), ("odd", "not_odd"), ("edge_on", "not_edge_on"), ("spiral", "no_spiral")):
        fractions[:, INDEX[yes]] = rng.random(IMAGES)
        fractions[:, INDEX[no]] = 1 - fractions[:, INDEX[yes]]
    return images, fractions


def our_run(options: argparse.Namespace, precision: str, folder: Path) -> Any:
    import torch

    from astro_galaxysd.diffusion.autoencoder import LappedAutoencoder
    from astro_galaxysd.diffusion.diffuse import DiffusionRun
    from astro_galaxysd.diffusion.recipes import AutoencoderRecipe, DiffusionRecipe
    from astro_galaxysd.learning.recipes import make_recipe
    from astro_galaxysd.learning.trainingset import TrainingSet

    torch.manual_seed(SEED)
    shape = make_recipe(AutoencoderRecipe, folder, {}, "mini")
    LappedAutoencoder(shape.latent_channels, shape.width, shape.depth).save_pretrained(folder / "autoencoder")
    images, fractions = synthetic(options.image_size)
    settings = {"batch_size": options.batch_size, "precision": precision, "steps": 1_000_000, "warmup": 0}
    recipe = make_recipe(DiffusionRecipe, folder / "run", settings, "mini")
    data = TrainingSet(images, fractions, [str(row) for row in range(IMAGES)])
    return DiffusionRun(folder / "run", data, folder / "autoencoder", recipe)


def our_step(options: argparse.Namespace, precision: str, folder: Path) -> Callable[[], float]:
    run = our_run(options, precision, folder)
    advance: Callable[[], float] = run.advance
    return advance


def plain_step(options: argparse.Namespace, precision: str, folder: Path) -> Callable[[], float]:
    """One step of the example's loop; the model is that of our run, its weights still untrained."""
    import torch
    from accelerate import Accelerator
    from diffusers import DDPMScheduler
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import EMAModel, compute_snr

    parts = our_run(options, "fp32", folder)
    unet, vae, text_encoder = parts.unet, parts.vae, parts.text_encoder
    accelerator = Accelerator(mixed_precision="no" if precision == "fp32" else precision)
    vae.requires_grad_(False)
    text_encoder.requires_grad_(False).eval()
    low = torch.float32 if precision == "fp32" else torch.bfloat16
    vae.to(accelerator.device, dtype=low)
    text_encoder.to(accelerator.device, dtype=low)
    schedule = DDPMScheduler.from_config(parts.schedule)
    average = EMAModel(unet.parameters(), decay=0.9999, model_cls=type(unet), model_config=unet.config)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=RATE, weight_decay=DECAY)
    loader = torch.utils.data.DataLoader(
        _Examples(parts), shuffle=True, batch_size=options.batch_size, drop_last=True, collate_fn=_collate
    )
    rates = get_scheduler("constant_with_warmup", optimizer=optimizer, num_warmup_steps=10)
    unet.train()
    unet, optimizer, loader, rates = accelerator.prepare(unet, optimizer, loader, rates)
    average.to(accelerator.device)
    batches = _endless(loader)
    last = schedule.config.num_train_timesteps

    def step() -> float:
        pixels, tokens = next(batches)
        with accelerator.accumulate(unet):
            latents = vae.encode(pixels.to(low)).latents * vae.config.scaling_factor
            noise = torch.randn_like(latents)
            times = torch.randint(0, last, (len(latents),), device=latents.device).long()
            noisy = schedule.add_noise(latents, noise, times)
            hidden = text_encoder(tokens, return_dict=False)[0]
            target = schedule.get_velocity(latents, noise, times)
            predicted = unet(noisy, times, hidden, return_dict=False)[0]
            snr = compute_snr(schedule, times)
            weights = torch.stack([snr, GAMMA * torch.ones_like(times)], dim=1).min(dim=1)[0] / (snr + 1)
            error = torch.nn.functional.mse_loss(predicted.float(), target.float(), reduction="none")
            loss = (error.mean(dim=list(range(1, error.ndim))) * weights).mean()
            seen = accelerator.gather(loss.repeat(len(latents))).mean().item()
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(unet.parameters(), CLIP)
            optimizer.step()
            rates.step()
            optimizer.zero_grad()
        if accelerator.sync_gradients:
            average.step(unet.parameters())
        return float(seen)

    return step


class _Examples:
    """Images mirrored at random and normalised, captions as tokens: what the example's transforms give."""

    def __init__(self, run: Any) -> None:
        import numpy as np

        from astro_galaxysd.diffusion.captions import caption_batch

        self.images, self.tokenizer = run.data.images, run.tokenizer
        self.captions = [
            caption.replace("{", "").split(":")[0] for caption in caption_batch(run.tags, np.random.default_rng(SEED))
        ]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        import torch

        pixels = torch.from_numpy(self.images[row]).permute(2, 0, 1).float().div(255)
        if torch.rand(1) < 0.5:
            pixels = pixels.flip(-1)
        length = self.tokenizer.model_max_length
        tokens = self.tokenizer(
            self.captions[row], max_length=length, padding="max_length", truncation=True, return_tensors="pt"
        )
        return (pixels - 0.5) / 0.5, tokens.input_ids[0]


def _collate(examples: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    import torch

    pixels, tokens = zip(*examples, strict=True)
    return torch.stack(pixels).to(memory_format=torch.contiguous_format).float(), torch.stack(tokens)


def _endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def matrix_rates() -> dict[str, float]:
    """GFLOP/s of a square matrix product in each precision, the best of several."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = 8192 if device.type == "cuda" else 1024
    found = {}
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        one, other = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
        best = min(_timed(lambda one=one, other=other: one @ other) for _ in range(20))
        found[name] = 2 * size**3 / best / 1e9
    return found


def _timed(action: Callable[[], Any]) -> float:
    import torch

    start = time.perf_counter()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def work(way: str, options: argparse.Namespace) -> None:
    """Inside a process of its own: prepare, then do a round for every line that comes in."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(options.threads)
    if way == "matrix":
        _answer({})
        for _ in sys.stdin:
            _answer(matrix_rates())
        return
    kind, precision = way.split()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        step = (our_step if kind == "ours" else plain_step)(options, precision, Path(folder))
        with FlopCounterMode(display=False) as counter:
            step()
        step()
        _answer({"gflop": counter.get_total_flops() / 1e9})
        for _ in sys.stdin:
            losses: list[float] = []
            cpu = time.process_time()
            seconds = _timed(lambda losses=losses: losses.extend(step() for _ in range(options.steps)))
            _answer({"seconds": seconds, "cpu": time.process_time() - cpu, "loss": statistics.fmean(losses)})


def _answer(found: dict[str, float]) -> None:
    print(json.dumps(found), file=sys.__stdout__, flush=True)


class Worker:
    """A process that waits for its next round."""

    def __init__(self, way: str, options: argparse.Namespace, log: Any) -> None:
        threads = str(options.threads)
        command = [sys.executable, str(Path(__file__).resolve()), "--work", way, "--threads", threads]
        command += ["--steps", str(options.steps), "--batch-size", str(options.batch_size)]
        command += ["--image-size", str(options.image_size)]
        environment = {**os.environ, "OMP_NUM_THREADS": threads}
        self.way = way
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment, text=True
        )
        self.prepared = self._read()

    def round(self) -> dict[str, float]:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _read(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.way}: the process ended; what it said is above")
        answer: dict[str, float] = json.loads(line)
        return answer


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds a round of every way, operations a step, and the machine's matrix product."""
    ways = [f"{kind} {precision}" for precision in options.precisions for kind in ("ours", "plain")]
    with tempfile.TemporaryFile("w+") as log:
        workers: list[Worker] = []
        try:
            workers += [Worker(way, options, log) for way in (*ways, "matrix")]
            rounds = [{worker.way: worker.round() for worker in workers} for _ in range(options.rounds)]
        except SystemExit:
            log.seek(0)
            print(log.read(), file=sys.stderr)
            raise
        finally:
            for worker in workers:
                worker.close()
    return {
        "seconds": {way: [one[way]["seconds"] for one in rounds] for way in ways},
        "cpu": {way: [one[way]["cpu"] for one in rounds] for way in ways},
        "loss": {way: rounds[-1][way]["loss"] for way in ways},
        "gflop": {worker.way: worker.prepared["gflop"] for worker in workers if worker.prepared},
        "matrix": {p: max(one["matrix"][p] for one in rounds) for p in options.precisions},
    }


def table(found: dict[str, Any], options: argparse.Namespace) -> list[str]:
    """Lines of the report."""
    images = options.steps * options.batch_size
    head = [
        "training", "images/s", "ours / plain (spread)", "CPU s an image", "ours / plain", "GFLOP an image", "GFLOP/s",
        "of matrix product",
    ]  # fmt: skip
    rows = []
    for way, seconds in found["seconds"].items():
        precision = way.split()[1]
        gflop = found["gflop"][way] / options.batch_size
        rate = images / statistics.median(seconds)
        cpu = statistics.median(found["cpu"][way]) / images
        ratio, cpu_ratio = "", ""
        if way.startswith("ours"):
            plain = f"plain {precision}"
            ratio = _spread(found["seconds"][plain], seconds)
            cpu_ratio = f"{images * cpu / statistics.median(found['cpu'][plain]):.2f}"
        share = rate * gflop / found["matrix"][precision]
        cells = (f"{rate:.1f}", ratio, f"{cpu:.3f}", cpu_ratio, f"{gflop:.2f}", f"{rate * gflop:.0f}", f"{share:.0%}")
        rows.append([way, *cells])
    peaks = ", ".join(f"{precision} {rate:.0f}" for precision, rate in found["matrix"].items())
    return [
        f"batches of {options.batch_size} images of {options.image_size} px, {options.threads} thread(s), "
        f"{options.rounds} rounds of {options.steps} steps",
        "",
        *markdown([head, *rows]),
        "",
        f"matrix product, GFLOP/s: {peaks}",
    ]


def _spread(over: list[float], under: list[float]) -> str:
    """Median, smallest and largest ratio of rounds that were run side by side."""
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3, help="steps of a round (default: 3)")
    parser.add_argument("--batch-size", type=int, default=32, help="images a step (default: 32)")
    parser.add_argument("--image-size", type=int, default=128, help="side of the images, pixels (default: 128)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of every way (default: 3)")
    parser.add_argument("--threads", type=int, default=cpus(), help="processor threads of every way (default: all)")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS, help="default: both")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options)
        return
    found = measure(options)
    print(json.dumps(found, indent=1) if options.json else "\n".join(table(found, options)))


if __name__ == "__main__":
    main()
