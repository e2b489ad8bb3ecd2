"""``galaxysd train``: runs, fine-tuning and data packs."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from astro_galaxysd.cli.inputs import use_threads

__all__ = ["run_pack", "run_train"]


def run_train(options: argparse.Namespace) -> int:
    """Start a training run, or go on with it; print where the weights are."""
    from astro_galaxysd import run_promotion, training

    settings = _settings(options)
    use_threads(options.threads)
    shared: dict[str, Any] = {
        "column": options.images,
        "schema": options.schema,
        "progress": not options.no_progress,
        "preset": options.preset,
        "minutes": options.minutes,
    }
    promotion = getattr(options, "promote", None)
    try:
        if promotion is not None:
            run_promotion.check_promotion(promotion, options.validation)
        if options.part == "autoencoder":
            folder = training.train_autoencoder(options.data, options.folder, settings, **shared)
        elif options.part in ("reader", "embedder"):
            folder = training.train_judge(options.part, options.data, options.folder, settings, **shared)
        else:
            watch_every = None if options.no_watch else options.watch_every
            shared |= {"validation": options.validation, "watch_every": watch_every}
            if options.part == "diffusion":
                folder = training.train_diffusion(
                    options.data, options.folder, options.autoencoder, settings, start_from=options.start_from, **shared
                )
            elif options.part == "refine":
                shared["embedder"] = options.embedder
                folder = training.refine(options.data, options.folder, options.base, options.reader, settings, **shared)
            else:
                folder = training.finetune(options.data, options.folder, options.base, settings, **shared)
        if int(os.environ.get("RANK", "0")):
            return 0  # the first of several processes speaks for all
        print(f"weights  {folder}")
        if promotion is not None:
            columns = {"column": options.images, "schema": options.schema}
            print(run_promotion.promote_run(options.folder, options.data, options.validation, promotion, **columns))
    except KeyboardInterrupt:
        print(f"galaxysd: interrupted; the same command goes on from {options.folder}", file=sys.stderr)
        return 130
    return 0


def run_pack(options: argparse.Namespace) -> int:
    """Write a data pack; print where it is and how large."""
    from astro_galaxysd.training import write_training_pack

    folder = write_training_pack(
        options.data,
        options.out,
        weights=options.weights,
        validation=options.validation,
        column=options.images,
        schema=options.schema,
        overwrite=options.overwrite,
    )
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"pack     {folder}  {size / 1e6:.1f} MB")
    return 0


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of ``--set`` and ``--steps``, by name."""
    from astro_galaxysd.learning.recipes import parse_settings

    settings = parse_settings(options.set or [])
    if options.steps is not None:
        settings["steps"] = options.steps
    return settings
