"""Make the example table that ships with the package: invented votes, galaxies that the embedded weights drew of them.

Usage: python docs/make_example.py astro_galaxysd/data/example.parquet [--overwrite] [--weights FOLDER] [--sheet PNG]

No real galaxy is in it, so that it can be given away with the package. Votes are in the Kaggle dialect (cumulative:
an answer's value is its fraction times that of the answer that leads to its question).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from astropy.table import Table
from PIL import Image

from astro_galaxysd import generate, write_table
from astro_galaxysd.conditions.schemas import KaggleDialect
from astro_galaxysd.conditions.tree import ANSWERS, QUESTIONS
from astro_galaxysd.images.codec import ImageFormat, encode_images
from astro_galaxysd.images.encoded import Encoding

#: Galaxies by class: how many, and the answers that most volunteers gave, with the fraction.
GALAXIES = (
    (5, {"smooth": 0.88, "round": 0.85, "odd": 0.08}),
    (2, {"smooth": 0.82, "in_between": 0.85, "odd": 0.06}),
    (2, {"features": 0.85, "edge_on": 0.9, "odd": 0.08, "edge_bulge_rounded": 0.7}),
    (1, {"features": 0.8, "edge_on": 0.92, "odd": 0.05, "edge_bulge_none": 0.8}),
    (3, {"features": 0.9, "not_edge_on": 0.97, "spiral": 0.94, "arms_2": 0.7, "medium_arms": 0.6, "odd": 0.07}),
    (
        1,
        {"features": 0.9, "not_edge_on": 0.97, "spiral": 0.9, "bar": 0.8, "arms_2": 0.8, "loose_arms": 0.6, "odd": 0.1},
    ),
    (1, {"features": 0.88, "not_edge_on": 0.96, "spiral": 0.85, "tight_arms": 0.7, "odd": 0.1}),
    (3, {"features": 0.72, "not_edge_on": 0.95, "odd": 0.85, "ring": 0.86, "obvious_bulge": 0.6}),
    (4, {"smooth": 0.72, "round": 0.6, "odd": 0.9, "merger": 0.85}),
    (2, {"features": 0.62, "not_edge_on": 0.9, "odd": 0.92, "merger": 0.8, "spiral": 0.5}),
)
#: What volunteers answer where nothing is said above: weights of the answers, which share what is left.
USUAL = {"smooth": 6, "features": 3, "artifact": 0.4, "edge_on": 0.4, "not_edge_on": 4, "spiral": 1, "no_spiral": 1,
         "no_bar": 4, "no_bulge": 0.3, "dominant_bulge": 0.4, "not_odd": 5, "cigar": 0.3, "lens_or_arc": 0.1,
         "irregular": 0.5}  # fmt: skip
#: Scatter of a fraction that some forty volunteers voted on.
SCATTER = 0.03
RNG = 2026
JPEG = ImageFormat("encoded", (128, 128), dtype="bytes", encoding=Encoding("JPEG", quality=92, subsampling="4:4:4"))


def conditional_fractions(answers: dict[str, float], rng: np.random.Generator) -> list[float]:
    """Fractions of all answers of the tree, each question adding up to 1."""
    fractions: list[float] = []
    for question in QUESTIONS:
        names = [answer.key for answer in question.answers]
        given = {
            name: float(np.clip(answers[name] + rng.normal(0, SCATTER), 0, 1)) for name in names if name in answers
        }
        others = [name for name in names if name not in given]
        shares = rng.dirichlet([10 * USUAL.get(name, 1.0) for name in others]) * (1 - sum(given.values()))
        voted = given | dict(zip(others, shares.tolist(), strict=True))
        fractions += [voted[name] for name in names]
    return fractions


def make_example(weights: str, progress: bool = True) -> tuple[Table, np.ndarray]:
    """The example table, and its images as they were drawn, shape (24, H, W, 3)."""
    rng = np.random.default_rng(RNG)
    rows = np.array([conditional_fractions(answers, rng) for number, answers in GALAXIES for _ in range(number)])
    rows = rng.permutation(rows)
    votes = KaggleDialect().write(rows, [answer.kaggle for answer in ANSWERS])
    example = Table({"id": [f"example-{number:02d}" for number in range(1, len(rows) + 1)]})
    example.update({name: values.astype(np.float32) for name, values in votes.items()})
    drawn = generate(example, rng=RNG, weights=weights, progress=progress)
    example["image"] = encode_images(np.asarray(drawn["image"]), JPEG)
    parameters = drawn.meta["galaxysd_run"]["parameters"]
    example.meta = {
        "title": "Example table of astro_galaxysd",
        "note": "No real galaxy is in this table: the votes were invented, the images drawn from them by a model.",
        "votes": "Invented; columns and arithmetic of the Galaxy Zoo challenge: cumulative fractions.",
        "images": "JPEG, quality 92, 4:4:4.",
        "made_by": {key: parameters[key] for key in ("generator", "weights", "weights_revision", "steps", "guidance")},
    }
    return example, np.asarray(drawn["image"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--weights", default="mini", help="name or folder (default: mini)")
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--sheet", type=Path, help="also a picture of all galaxies")
    options = parser.parse_args()
    example, images = make_example(options.weights)
    options.path.parent.mkdir(parents=True, exist_ok=True)
    write_table(example, options.path, overwrite=options.overwrite)
    print(f"{options.path}: {len(example)} galaxies, {options.path.stat().st_size / 1024:.0f} kB")
    if options.sheet:
        height, width = images.shape[1:3]
        sheet = images.reshape(4, 6, height, width, 3).swapaxes(1, 2).reshape(4 * height, 6 * width, 3)
        Image.fromarray(sheet).save(options.sheet)


if __name__ == "__main__":
    main()
