"""Do weights reach their targets? Test galaxies are drawn from their votes and measured beside the real ones.

    python benchmarks/targets.py test.parquet --train train.parquet --drawn drawn.parquet -o targets.json

Drawn are 1,400 rows of the test table by lot (seed 20261121, as in docs/evaluation.md) and all others that ask for an
answer that fewer than 300 rows ask for. --drawn keeps them; the same command goes on with what is there. Asked for is a
fraction of at least 0.5 in a question that enough volunteers reached (`answers_asked`, cuts of Willett et al. 2013).

- consistency of an answer: at least 0.9 of that of the same rows' real images, where 20 rows or more ask for it; dust
  lanes have no target. The share of volunteers who would give it, as it is read, stands beside without a target.
- calibration: of fractions asked for within 0.1 of 0.2, 0.5 and 0.8, over all answers with prompt words and of each
  with 20 such rows, the mean that is read lies within 0.1 of the mean asked for. The real column is what is read in
  real images of these rows: the reader's errors and those of the votes move it away from what was asked for, too.
- density and coverage: at least 0.7 of those of real images. frechet and kernel_distance: at most 3 times that of the
  autoencoder's reconstructions, or 3 of its standard errors where it is smaller than one (it may be below 0 by chance).
- medians of flux and background: within 5 %, that of the sky's noise within 15 %; Kolmogorov-Smirnov distance of flux
  and background: at most 0.1; power spectrum: within 15 %, the mean over frequencies up to half the Nyquist frequency.
- near_copies: the interval reaches down to the 0.01 that is expected of galaxies that are no copies.

Consistency and calibration are of all drawn rows, all else of the lot beside as many other test rows (`assess`).
Intervals are 95 % ones: Wilson's for the consistency of an answer, by images drawn again with replacement for the
calibration over all answers, which counts one of smooth and features, as the other follows from it. The figure decides,
not they, but for near_copies.

Two things are no merit of weights that `galaxysd train refine` made. It lowers differences of flux, background, sky and
power spectrum themselves: these lines are marked with *, and say that it worked, not that nothing else is wrong. And it
draws galaxies near to what a reader answers, while real ones scatter: a line of the agreement whose whole interval lies
above the real value is labelled "above real", which means too typical.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import vstack
from scipy.stats import binomtest

from astro_galaxysd import generate, read_table, write_table
from astro_galaxysd.assessment import assess
from astro_galaxysd.conditions.columns import row_names
from astro_galaxysd.conditions.requests import answers_asked, read_requests
from astro_galaxysd.conditions.tree import ANSWERS, QUESTIONS
from astro_galaxysd.diffusion.components import folder_revision
from astro_galaxysd.diffusion.generator import weights_folder
from astro_galaxysd.evaluation.asking import OVER_ALL
from astro_galaxysd.evaluation.calibration import calibration_curve
from astro_galaxysd.evaluation.consistency import ConsistencyEvaluator, fractions_asked, told_alike
from astro_galaxysd.evaluation.embedders import make_embedder
from astro_galaxysd.evaluation.memory import Memory
from astro_galaxysd.evaluation.reading import ImageReader
from astro_galaxysd.evaluation.samples import read_sample
from astro_galaxysd.evaluation.scoring import EVALUATION
from astro_galaxysd.evaluation.sides import read_side
from astro_galaxysd.evaluation.votes import read_votes
from astro_galaxysd.images.files import atomic_path, rehearse_path
from astro_galaxysd.images.provenance import RUN_RECORD, WEIGHTS_REVISION, json_ready
from astro_galaxysd.weightcards import weight_card

LOT, SEED, DRAWING_SEED = 1400, 20261121, 1
FEWEST, RARE = 20, 300
LEVELS, WIDTH, CLOSE = (0.2, 0.5, 0.8), 0.1, 0.1
NO_TARGET = ("dust_lane",)
OF_REAL = {"density": 0.7, "coverage": 0.7}
OF_REBUILT = {"frechet": 3.0, "kernel_distance": 3.0}
AT_MOST = {
    "flux_shift": 0.05, "background_shift": 0.05, "sky_rms_shift": 0.15, "flux_ks": 0.1, "background_ks": 0.1,
    "power": float(np.log(1.15)), "near_copies": 0.01,
}  # fmt: skip
ALL_IMAGES = (*OF_REAL, *OF_REBUILT, *AT_MOST)
#: What refinement lowers itself.
OPTIMISED = ("flux_shift", "background_shift", "sky_rms_shift", "flux_ks", "background_ks", "power")
RESAMPLES = 1000
OVERALL = ("realism", "diversity", "photometry", "memorisation")
TOGETHER = 256  # rows drawn before they are written


class Line(NamedTuple):
    """One quantity; `reached`: yes, no ("no, real neither"), "interval" without a target, or why there is no figure.

    "above real" is added where the whole interval is. `optimised`: whether refinement lowers the quantity itself.
    """

    quantity: str
    n: int
    drawn: float
    low: float
    high: float
    real: float
    target: str
    reached: str
    optimised: bool = False


def judged(reached):
    return "yes" if reached else "no"


def choose(test, n):
    """Rows chosen by lot, and all others that ask for a rare answer."""
    lot = np.random.default_rng(SEED).permutation(len(test))[:n]
    asked = answers_asked(read_requests(test, drawn=False))
    rare = asked[:, asked.sum(axis=0) < RARE].any(axis=1)
    rare[lot] = False
    return lot, np.flatnonzero(rare)


def rows_named(table, names):
    """Rows of a table whose ids are among `names`, in its order."""
    return np.flatnonzero([name in names for name in row_names(table)])


def draw(conditions, path, *, weights, steps, guidance, more=True):
    """The table at `path`; with `more`, rows that it does not have yet are drawn and kept there."""
    card, known = weight_card(weights), None
    if path.exists() or not more:
        known = read_table(path)
        wanted = {"steps": card.steps if steps is None else steps}
        wanted |= {"guidance": card.guidance if guidance is None else guidance}
        refuse_other(known, {WEIGHTS_REVISION: folder_revision(weights_folder(card.location)), **wanted}, path)
    there = set() if known is None else set(row_names(known))
    missing = np.flatnonzero([more and name not in there for name in row_names(conditions)])
    for start in range(0, len(missing), TOGETHER):
        part = conditions[missing[start : start + TOGETHER]]
        new = generate(part, rng=DRAWING_SEED, weights=weights, steps=steps, guidance=guidance)
        known = new if known is None else vstack([known, new], metadata_conflicts="silent")
        known.meta[RUN_RECORD] = new.meta[RUN_RECORD] | {"planned": len(conditions), "finished": len(known)}
        write_table(known, path, overwrite=True)
        if len(new) < len(part):
            raise SystemExit(f"interrupted: {path} has {len(known)} rows; the same command goes on from there")
    return known


def refuse_other(known, wanted, path):
    """Rows that were drawn with other weights or settings are not mixed with these."""
    record = known.meta.get(RUN_RECORD, {}).get("parameters", {})
    for name, value in wanted.items():
        found = set(known[name].tolist()) if name in known.colnames else {record.get(name)}
        if found != {value}:
            told = " and ".join(sorted(map(str, found)))
            raise SystemExit(f"{path} was drawn with {name} {told}, not {value}: name what it was, or another --drawn")


def paired(test, drawn):
    """Drawn images and the real ones of the same rows, with what each asks for."""
    ours, theirs = read_side(drawn, drawn=True, what="synthetic"), read_side(test, drawn=False, what="real")
    place = {name: row for row, name in enumerate(theirs.names)}
    kept = np.flatnonzero([name in place for name in ours.names])
    own = np.array([place[ours.names[row]] for row in kept])
    samples = ((ours, kept, "synthetic"), (theirs, own, "real"))
    return told_alike(*(
        read_sample(side.table, side.rows[rows], side.requests[rows], what=what, ids=[side.names[row] for row in rows])
        for side, rows, what in samples
    ))  # fmt: skip


def agreement(drawn, held, reader, memory):
    """Lines of consistency and of the share read, over all and by answer."""
    evaluator = ConsistencyEvaluator(reader)
    found = [evaluator.evaluate(held, batch, embedder=memory, rng=SEED) for batch in (drawn, held)]
    real = {(row["metric"], row["group"]): row["value"] for row in found[1]}
    for row in found[0]:
        key, n = (str(row["metric"]), str(row["group"])), int(row["n_synthetic"])
        if key[0] not in ("consistency", "share_read") or (np.isnan(row["value"]) and key[1] not in NO_TARGET):
            continue
        bound = key[0] == "consistency" and key[1] not in NO_TARGET and n >= FEWEST
        limit = 0.9 * real.get(key, np.nan)
        told = str(row["note"]) or (judged(row["value"] >= limit) if bound else "interval")
        target = f"at least {limit:.3f}" if bound else ""
        ends, own = interval(row, key), real.get(key, np.nan)
        told += ", above real" if ends[0] > own else ""
        yield Line(" ".join(key), n, float(row["value"]), *ends, own, target, told)


def interval(row, key):
    """95 %: Wilson's of an answer's consistency, else by the standard error."""
    value, n = float(row["value"]), int(row["n_synthetic"])
    if key[0] == "consistency" and key[1] != OVER_ALL and np.isfinite(value):
        found = binomtest(round(value * n), n).proportion_ci(method="wilson")
        return float(found.low), float(found.high)
    return value - 1.96 * float(row["error"]), value + 1.96 * float(row["error"])


def calibration(drawn, held, reader, memory):
    """Lines of fractions read where about 0.2, 0.5 and 0.8 were asked for, over all and by answer."""
    spoken = [bool(answer.words) for answer in ANSWERS]
    asked = np.where(spoken, fractions_asked(drawn), np.nan)
    read = [read_votes(reader, batch.images, memory) for batch in (drawn, held)]
    for level in LEVELS:
        near = np.where(np.abs(asked - level) <= WIDTH + 1e-9, asked, np.nan)
        for key in (None, *(answer.key for answer in ANSWERS if answer.words)):
            near_all = np.where(counted_once(), near, np.nan) if key is None else near
            ours, theirs = (calibration_curve(near_all, votes, key, bins=1) for votes in read)
            images = int(np.isfinite(near_all).any(axis=1).sum())
            if not len(ours.n) or (images if key is None else ours.n[0]) < FEWEST:
                continue
            (asking,), (value,), (error,), (n,) = ours
            told = judged(abs(value - asking) <= CLOSE)
            if told == "no" and abs(theirs.read[0] - asking) > CLOSE:
                told = "no, real neither"
            ends = (value - 1.96 * error, value + 1.96 * error) if key else resampled(near_all, read[0])
            n, target = int(n) if key else images, f"{asking:.3f} ± {CLOSE:g}"
            yield Line(f"read at {level:g} {key or OVER_ALL}", n, value, *ends, theirs.read[0], target, told)


def counted_once():
    """Whether an answer counts over all: where a question has words for two, the second follows from the first."""
    spoken = [[answer.key for answer in question.answers if answer.words] for question in QUESTIONS]
    follows = {words[1] for words in spoken if len(words) == 2}
    return np.array([answer.key not in follows for answer in ANSWERS])


def resampled(asked, read):
    """95 % interval of the mean that is read where something is asked for, by images drawn again with replacement."""
    there = np.isfinite(asked) & np.isfinite(read)
    sums, numbers = np.where(there, read, 0).sum(axis=1)[there.any(axis=1)], there.sum(axis=1)[there.any(axis=1)]
    drawn = np.random.default_rng(SEED).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), RESAMPLES)
    low, high = np.quantile((drawn @ sums) / (drawn @ numbers), [0.025, 0.975])
    return float(low), float(high)


def overall(table):
    """Lines of the figures over all in a table of `assess`."""
    for row in table[table["group"] == OVER_ALL]:
        metric = str(row["metric"])
        if metric not in ALL_IMAGES:
            continue
        limit, (low, high) = limit_of(metric, row), interval(row, (metric, OVER_ALL))
        met = row["value"] >= limit if row["higher_is_better"] else row["value"] <= limit
        if metric == "near_copies":
            met = low <= limit
        told = str(row["note"]) or judged(met)
        target = f"{'at least' if row['higher_is_better'] else 'at most'} {limit:.3g}"
        figures = (int(row["n_synthetic"]), float(row["value"]), low, high, float(row["ceiling"]))
        yield Line(metric, *figures, target, told, metric in OPTIMISED)


def limit_of(metric, row):
    if metric in OF_REBUILT:
        return OF_REBUILT[metric] * max(row["reconstruction"], row["reconstruction_error"])
    return OF_REAL[metric] * row["ceiling"] if metric in OF_REAL else AT_MOST[metric]


def measure(test, drawn, training, reconstructions, *, n=LOT, reader=None, memory=None):
    """Lines of all quantities, and the record of what was compared."""
    reader, memory = reader or ImageReader.load("reporting"), memory or Memory(make_embedder())
    both = paired(test, drawn)
    lines = [*agreement(*both, reader, memory), *calibration(*both, reader, memory)]
    by_lot = rows_named(drawn, set(row_names(test[choose(test, n)[0]])))
    found = assess(
        test, drawn[by_lot], training=training, reconstructions=reconstructions, evaluators=OVERALL, embedder=memory,
        reader=reader, rng=DRAWING_SEED,
    )  # fmt: skip
    return [*lines, *overall(found.table)], found.table.meta[EVALUATION]


def show(lines):
    print(f"{'quantity':<36} {'n':>5}  {'drawn':>7} {'interval':^18} {'real':>7}  {'target':<16} reached")
    for one in lines:
        ends = f"{one.low:.3f} to {one.high:.3f}"
        name = one.quantity + " *" * one.optimised
        row = f"{name:<36} {one.n:>5}  {one.drawn:>7.3f} {ends:^18} {one.real:>7.3f}"
        print(f"{row}  {one.target:<16} {one.reached}")
    print("* what refinement lowers itself; above real: more typical than real galaxies of the same rows")
    for name, kinds in {"consistency": ("consistency",), "calibration": ("read at",), "images": ALL_IMAGES}.items():
        told = [one.reached.split(",")[0] for one in lines if one.quantity.startswith(kinds)]
        print(f"{name}: {told.count('yes')} of {told.count('yes') + told.count('no')} targets reached")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("test", help="real galaxies with images and votes that neither weights nor judges have seen")
    parser.add_argument("--train", required=True, help="what the weights were trained on")
    parser.add_argument("--weights", default="mini", help="name or folder (default: mini)")
    parser.add_argument("--steps", type=int, help="sampling steps (default: what the weights recommend)")
    parser.add_argument("--guidance", type=float, help="classifier-free guidance (default: what the weights recommend)")
    parser.add_argument("--drawn", type=Path, default=Path("drawn.parquet"), help="drawn rows (default: drawn.parquet)")
    parser.add_argument("--as-drawn", action="store_true", help="measure the rows that --drawn has, draw no others")
    parser.add_argument("-n", type=int, default=LOT, help=f"rows drawn by lot (default: {LOT})")
    parser.add_argument("--cache", help="folder in which what was measured of images is kept for the next time")
    parser.add_argument("-o", "--out", type=Path, help="the table as JSON")
    options = parser.parse_args()
    if options.out:
        rehearse_path(options.out, overwrite=True)
    test = read_table(options.test)
    chosen = np.concatenate(choose(test, options.n))
    sampling = {name: getattr(options, name) for name in ("weights", "steps", "guidance")}
    drawn = draw(test[chosen], options.drawn, more=not options.as_drawn, **sampling)
    wanted = rows_named(drawn, set(row_names(test[chosen])))
    print(f"{len(wanted)} of {len(chosen)} rows are drawn: {options.n} by lot, the others for rare answers")
    memory = Memory(make_embedder(), folder=options.cache)
    training = read_table(options.train)
    lines, record = measure(test, drawn[wanted], training, options.weights, n=options.n, memory=memory)
    show(lines)
    if options.out:
        facts = {
            "targets": [one._asdict() for one in lines],
            "evaluation": record,
            "drawing": drawn.meta.get(RUN_RECORD),
        }
        with atomic_path(options.out, overwrite=True) as partial:
            partial.write_text(json.dumps(json_ready(facts), indent=1) + "\n")


if __name__ == "__main__":
    main()
