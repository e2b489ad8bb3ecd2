"""``galaxysd train``: the embedded model's parts."""

from __future__ import annotations

import argparse
import sys

from astro_galaxysd.cli.inputs import read_json, use_threads

__all__ = ["run_train"]


def run_train(options: argparse.Namespace) -> int:
    """Start a training run, or go on with it; print where the weights are."""
    from astro_galaxysd.diffusion.commands import train_autoencoder, train_diffusion

    settings = read_json(options.recipe, "--recipe") if options.recipe else {}
    if options.steps is not None:
        settings["steps"] = options.steps
    use_threads(options.threads)
    shared = {"column": options.images, "schema": options.schema, "progress": not options.no_progress}
    try:
        if options.part == "autoencoder":
            folder = train_autoencoder(options.data, options.folder, settings, **shared)
        else:
            folder = train_diffusion(
                options.data, options.folder, options.autoencoder, settings, start_from=options.start_from, **shared
            )
    except KeyboardInterrupt:
        print(f"galaxysd: interrupted; the same command goes on from {options.folder}", file=sys.stderr)
        return 130
    print(f"weights  {folder}")
    return 0
