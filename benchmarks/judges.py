"""How well the readers and the embedder that ship do, on galaxies they never saw, and how fast they are.

python benchmarks/judges.py test.parquet --train train.parquet

Readers: root of the mean squared error of the 37 cumulative votes of the Galaxy Zoo challenge, and of the conditional
votes of each question where enough volunteers saw it. Peers: the mean vote for every galaxy, and the small reader of
descriptors that a training run fits to its own rows. Embedder: the error of the mean vote of the 20 nearest training
galaxies, beside the same in the space of the descriptors, and the share of turned, slightly noisy copies that are
nearer to their original than all but 1 % of the test galaxies are to any training galaxy.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from astro_galaxysd import read_table
from astro_galaxysd.conditions.columns import column_values
from astro_galaxysd.conditions.table import choose_dialect
from astro_galaxysd.conditions.tree import ANSWERS, QUESTIONS
from astro_galaxysd.evaluation.descriptors import describe
from astro_galaxysd.evaluation.distances import unit
from astro_galaxysd.evaluation.embedding import GalaxyEmbedder
from astro_galaxysd.evaluation.reader import VoteReader, reached, rmse_by_task
from astro_galaxysd.evaluation.reading import READERS, ImageReader
from astro_galaxysd.images.codec import read_images

NEIGHBOURS = 20


def load(path):
    table = read_table(path)
    cumulative = np.stack([column_values(table, answer.kaggle) for answer in ANSWERS], axis=1)
    return np.stack(read_images(table)), choose_dialect(table).read(table), cumulative


def rmse(read, votes):
    return float(np.sqrt(np.nanmean((read - votes) ** 2)))


def timed(function, images):
    function(images[:64])
    started = time.perf_counter()
    result = function(images)
    return result, len(images) / (time.perf_counter() - started)


def by_question(read, fractions):
    found = rmse_by_task(read, fractions)
    return "  ".join(f"T{question.task:02d} {found[question.task]:.3f}" for question in QUESTIONS)


def nearest_votes(points, others, votes):
    """Mean votes of the nearest of `others`, whose votes are known."""
    found = np.empty((len(points), votes.shape[1]))
    for start in range(0, len(points), 500):
        cosines = points[start : start + 500] @ others.T
        near = np.argpartition(-cosines, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        found[start : start + 500] = np.nanmean(votes[near], axis=1)
    return found


def nearest_cosine(points, others):
    return np.concatenate(
        [(points[start : start + 500] @ others.T).max(axis=1) for start in range(0, len(points), 500)]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("test", help="table with votes in the columns Class1.1 ... and images")
    parser.add_argument("--train", required=True, help="table of the rows that the readers learnt from")
    parser.add_argument("-n", type=int, help="rows of the test table (default: all)")
    options = parser.parse_args()
    images, fractions, cumulative = (part[: options.n] for part in load(options.test))
    seen_images, seen_fractions, seen_cumulative = load(options.train)

    print(f"{len(images)} galaxies that were not trained on")
    print(f"mean vote           cumulative RMSE {rmse(np.nanmean(seen_cumulative, axis=0), cumulative):.4f}")
    described, seen_described = describe(images), describe(seen_images)
    small = VoteReader().fit_described(seen_described, seen_fractions).predict_described(described)
    print(f"descriptors         cumulative RMSE {rmse(reached(small) * small, cumulative):.4f}")
    print(f"                    {by_question(small, fractions)}")
    for name in READERS:
        read, speed = timed(ImageReader.load(name).predict, images)
        print(f"reader {name:<12} cumulative RMSE {rmse(reached(read) * read, cumulative):.4f}  {speed:.0f} images/s")
        print(f"                    {by_question(read, fractions)}")
    scale = np.maximum(seen_described.std(axis=0), 1e-4)
    standard = [
        unit(np.clip((part - seen_described.mean(axis=0)) / scale, -6, 6)) for part in (described, seen_described)
    ]
    print(f"nearest by descriptors  {rmse(nearest_votes(*standard, seen_cumulative), cumulative):.4f}")
    embedder = GalaxyEmbedder()
    points, speed = timed(embedder.embed, images)
    points, others = unit(points), unit(embedder.embed(seen_images))
    error = rmse(nearest_votes(points, others, seen_cumulative), cumulative)
    print(f"nearest by embedder     {error:.4f}  {speed:.0f} images/s")
    null = np.quantile(1 - nearest_cosine(points, others), 0.01)
    noise = np.random.default_rng(0).normal(0, 2, images.shape)
    copies = np.clip(images.transpose(0, 2, 1, 3) + noise, 0, 255).round().astype(np.uint8)
    own = 1 - (points * unit(embedder.embed(copies))).sum(axis=1)
    print(
        f"transposed copies with noise of 2 grey levels that are nearer than 99 % of galaxies have a neighbour: "
        f"{np.mean(own < null):.3f}"
    )


if __name__ == "__main__":
    main()
