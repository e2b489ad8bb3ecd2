"""``galaxysd publish``."""

from __future__ import annotations

import argparse
from pathlib import Path

from astro_galaxysd.cli.inputs import read_named_table
from astro_galaxysd.errors import ConditionError

__all__ = ["run_publish"]


def run_publish(options: argparse.Namespace) -> int:
    """Publish a folder of weights, or the synthetic rows of a table; say what went where."""
    from astro_galaxysd import publishing
    from astro_galaxysd.diffusion.components import is_weights_folder
    from astro_galaxysd.hub.listing import size_text
    from astro_galaxysd.images.storage_folder import is_table_folder

    shared = {
        "licence": options.licence, "message": options.message, "private": options.private, "dry_run": options.dry_run,
        "verify": options.verify,
    }  # fmt: skip
    place = Path(options.source).expanduser()
    if is_weights_folder(place) or (place.is_dir() and not is_table_folder(place)):
        references = None if options.references is None else read_named_table(options.references)
        done = publishing.publish(place, options.repo, base_model=options.base_model, references=references, **shared)
    elif options.base_model is not None or options.references is not None:
        raise ConditionError(f"{place} is no folder of weights, so --base-model and --references don't go with it")
    else:
        done = publishing.publish_table(read_named_table(options.source), options.repo, **shared)
    for file in done.files:
        print(f"{size_text(file.size):>12}  {file.path}")
    if not done.revision:
        print(f"{len(done.files)} files would go to {done.repo}; nothing was pushed")
        return 0
    print(f"published {done.repo}@{done.revision}{', verified' if options.verify else ''}")
    return 0
