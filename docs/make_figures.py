"""Draw the figures of the gallery: a contact sheet of synthetic galaxies for ten prompts.

    python docs/make_figures.py docs/gallery
    python docs/make_figures.py sheets --real votes_and_images.parquet

The second form needs a table with votes and images. For each prompt it picks real galaxies whose votes say the same,
draws one synthetic galaxy from the votes of each, and writes `real_and_synthetic.png` beside `ten_prompts.png`: a row
of real galaxies above a row of synthetic ones with the same votes, in the same order.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack

from astro_galaxysd import generate, plan_augmentation, read_table
from astro_galaxysd.images.codec import fit_size, read_images
from astro_galaxysd.images.sheet import contact_sheet

PROMPTS = (
    "sdss, smooth, completely round galaxy",
    "sdss, smooth, in-between round galaxy",
    "sdss, smooth, cigar shaped galaxy",
    "sdss, features or disk-shaped, edge-on galaxy, with rounded edge-on bulge",
    "sdss, features or disk-shaped, edge-on galaxy, without edge-on bulge",
    "sdss, features or disk-shaped, spiral galaxy, obvious bulge prominence, tightly wound spiral arms",
    "sdss, features or disk-shaped, spiral galaxy, just noticeable bulge prominence, loosely wound spiral arms",
    "sdss, features or disk-shaped, bar-shaped structure in the center of galaxy, spiral galaxy",
    "sdss, features or disk-shaped, something odd, ring galaxy",
    "sdss, something odd, merger",
)
ACROSS = 8


def ten_prompts(folder: Path, seed: int, overwrite: bool, **sampling: object) -> Path:
    """Eight galaxies for each prompt, nothing chosen by hand: they are the first eight of the seed."""
    rows = [
        (f"prompt {number} galaxy {copy}", prompt) for number, prompt in enumerate(PROMPTS) for copy in range(ACROSS)
    ]
    table = Table(rows=rows, names=["id", "prompt"])
    images = generate(table, rng=seed, **sampling)["image"]
    groups = [(prompt, images[ACROSS * number :][:ACROSS]) for number, prompt in enumerate(PROMPTS)]
    return contact_sheet(groups, folder / "ten_prompts.png", columns=ACROSS, overwrite=overwrite)


def real_and_synthetic(folder: Path, table: Table, seed: int, overwrite: bool, **sampling: object) -> Path:
    """For each prompt, real galaxies above synthetic ones that were drawn from their votes."""
    plans = [plan_augmentation(table, target=text, n=ACROSS, rng=seed + place) for place, text in enumerate(PROMPTS)]
    conditions = vstack([plan["row_id", "prompt", "seed", "base_row"] for plan in plans], metadata_conflicts="silent")
    drawn = generate(conditions, **sampling)["image"]
    groups = []
    for number, prompt in enumerate(PROMPTS):
        part = slice(ACROSS * number, ACROSS * (number + 1))
        real = np.stack(read_images(table, rows=conditions["base_row"][part].tolist()))
        groups.append((f"real: {prompt}", fit_size(real, drawn.shape[1:3])))
        groups.append(("synthetic, from the votes of the galaxies above", drawn[part]))
    return contact_sheet(groups, folder / "real_and_synthetic.png", columns=ACROSS, overwrite=overwrite)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the figures go")
    parser.add_argument("--real", metavar="TABLE", help="also draw from the votes of this table's real galaxies")
    parser.add_argument("--weights", default="mini", help="name or folder (default: mini)")
    parser.add_argument("--steps", type=int, help="sampling steps (default: what the weights recommend)")
    parser.add_argument("--guidance", type=float, help="classifier-free guidance (default: what the weights recommend)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the run (default: 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace existing figures")
    options = parser.parse_args()
    sampling = {key: getattr(options, key) for key in ("weights", "steps", "guidance")}
    options.folder.mkdir(parents=True, exist_ok=True)
    print(ten_prompts(options.folder, options.seed, options.overwrite, **sampling))
    if options.real:
        table = read_table(options.real)
        print(real_and_synthetic(options.folder, table, options.seed, options.overwrite, **sampling))


if __name__ == "__main__":
    main()
