"""Draw the figures of the gallery: a contact sheet of synthetic galaxies for the sixteen published prompts.

    python docs/make_figures.py docs/gallery
    python docs/make_figures.py sheets --real votes_and_images.parquet

The second form needs a table with votes and images. For each prompt it picks real galaxies whose votes say the same,
draws one synthetic galaxy from the votes of each, and writes `real_and_synthetic.png` beside `sixteen_prompts.png`: a
row of real galaxies above a row of synthetic ones with the same votes, in the same order.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from astropy.table import Table

from astro_galaxysd import generate, plan_augmentation, read_table
from astro_galaxysd.conditions.published import PUBLISHED_PROMPTS
from astro_galaxysd.errors import NoRealRowsError
from astro_galaxysd.images.codec import fit_size, read_images
from astro_galaxysd.images.sheet import contact_sheet

ACROSS = 8


def sixteen_prompts(folder: Path, seed: int, overwrite: bool, **sampling: object) -> Path:
    """Eight galaxies for each prompt, nothing chosen by hand: they are the first eight of the seed."""
    rows = [
        (f"prompt {number} galaxy {copy}", prompt)
        for number, prompt in enumerate(PUBLISHED_PROMPTS)
        for copy in range(ACROSS)
    ]
    table = Table(rows=rows, names=["id", "prompt"])
    images = generate(table, rng=seed, **sampling)["image"]
    groups = [(prompt, images[ACROSS * number :][:ACROSS]) for number, prompt in enumerate(PUBLISHED_PROMPTS)]
    return contact_sheet(groups, folder / "sixteen_prompts.png", columns=ACROSS, overwrite=overwrite)


def real_and_synthetic(folder: Path, table: Table, seed: int, overwrite: bool, **sampling: object) -> Path:
    """For each prompt, real galaxies above synthetic ones that were drawn from their votes."""
    groups = []
    for number, prompt in enumerate(PUBLISHED_PROMPTS):
        try:
            plan = plan_augmentation(table, target=prompt, n=ACROSS, rng=seed + number)
        except NoRealRowsError:
            groups.append((f"no real galaxy has the votes of: {prompt}", np.zeros((0, 8, 8, 3), np.uint8)))
            continue
        drawn = generate(plan["row_id", "prompt", "seed"], **sampling)["image"]
        real = np.stack(read_images(table, rows=plan["base_row"].tolist()))
        groups.append((f"real: {prompt}", fit_size(real, drawn.shape[1:3])))
        groups.append(("synthetic, from the votes of the galaxies above", drawn))
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
    print(sixteen_prompts(options.folder, options.seed, options.overwrite, **sampling))
    if options.real:
        table = read_table(options.real)
        print(real_and_synthetic(options.folder, table, options.seed, options.overwrite, **sampling))


if __name__ == "__main__":
    main()
