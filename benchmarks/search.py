"""How many rare galaxies a search finds, with and without synthetic galaxies, beside looking at them by chance.

    python benchmarks/search.py val.parquet test.parquet --targets merger ring irregular

The labels of a class are hidden but for a few; everything else is the catalogue. In each run other galaxies are
labelled. (1) Galaxies of the class among the first 50, 100 and 200 that are looked at, how many have to be looked at
until half of them are found, and the area under the curve of purity over completeness. (2) What the search expects of
its first hundred, and what is true of them. "all labels" is the answer that the vote reader gives by itself; it learnt
from 14,768 labelled galaxies. Errors are standard errors over runs.
"""

from __future__ import annotations

import argparse

import numpy as np
from astropy.table import vstack
from sklearn.metrics import average_precision_score

from astro_galaxysd import read_table, search
from astro_galaxysd.classification.samples import read_labelled
from astro_galaxysd.conditions.selection import Selection
from astro_galaxysd.conditions.tree import ANSWERS, INDEX
from astro_galaxysd.evaluation.reader import reached
from astro_galaxysd.evaluation.reading import ImageReader

LOOKED_AT = (50, 100, 200)
BUDGET = 100


def figures(of_class):
    """Found by each number that is looked at, looked at until half are found, average precision."""
    found = np.cumsum(of_class)
    half = int(np.searchsorted(found, found[-1] / 2)) + 1
    return [*(int(found[n - 1]) for n in LOOKED_AT), half, average_precision_score(of_class, -np.arange(len(found)))]


def split(known, positives, others, seed):
    """Rows that are labelled, and rows of the catalogue."""
    rng = np.random.default_rng(seed)
    labelled = np.concatenate(
        [
            rng.permutation(np.flatnonzero(known.positive == kind))[:n]
            for kind, n in ((True, positives), (False, others))
        ]
    )
    return labelled, np.setdiff1d(np.arange(len(known)), labelled)


def line(name, runs):
    runs = np.array(runs, float)
    values, errors = runs.mean(axis=0), runs.std(axis=0, ddof=1) / np.sqrt(len(runs))
    print(
        f"  {name:<30}" + "".join(f"{value:>9.3g} ± {error:<5.2g}" for value, error in zip(values, errors, strict=True))
    )


def study(table, target, options):
    known = read_labelled(table, target, selection=Selection())
    of_class = dict(zip(known.names, known.positive, strict=True))
    reader = ImageReader.load("choosing")
    votes = reader.predict(known.images)
    answers = (reached(votes) * votes)[:, INDEX[target]]
    found, expected = {}, {}
    for run in range(options.runs):
        labelled, rest = split(known, options.positives, options.others, run)
        found.setdefault("by chance", []).append(figures(known.positive[np.random.default_rng(run).permutation(rest)]))
        found.setdefault("all labels", []).append(figures(known.positive[rest[np.argsort(-answers[rest])]]))
        for number in (0, options.positives + options.others):
            name = f"{options.classifier}, {number} synthetic"
            shared = {
                "target": target, "labelled": known.table[labelled], "n_synthetic": number, "rng": run,
                "classifier": options.classifier, "weights": options.weights, "progress": False,
            }  # fmt: skip
            whole = search(known.table[rest], budget=len(rest), **shared).candidates
            hits = np.array([of_class[name] for name in whole["search_name"]])
            found.setdefault(name, []).append(figures(hits))
            first = search(known.table[rest], budget=BUDGET, **shared) if not number else None
            if first is not None:
                true = hits[:BUDGET].mean(), hits[:BUDGET].sum() / hits.sum(), hits.mean()
                told = first.expected.purity, first.expected.completeness, first.expected.prevalence
                expected.setdefault(name, []).append((told, true))
    hidden = int(known.positive.sum()) - options.positives
    print(f"{target}: {hidden} hidden among {len(rest)}, {options.positives} and {options.others} labelled")
    print(
        f"  {'found among the first':<30}"
        + "".join(f"{n:>9}        " for n in LOOKED_AT)
        + "  until half       average"
    )
    for name, runs in found.items():
        line(name, runs)
    without, with_them = list(found.values())[-2:]
    line("synthetic over none, paired", np.subtract(with_them, without))
    for name, runs in expected.items():
        for place, what in enumerate(("purity", "completeness", "share of the class")):
            inside = sum(told[place].low <= true[place] <= told[place].high for told, true in runs)
            mean = [np.mean([told[place][edge] for told, _ in runs]) for edge in range(3)]
            true = np.mean([true[place] for _, true in runs])
            told = f"{mean[0]:.3f} ({mean[1]:.3f} to {mean[2]:.3f}); true {true:.3f}"
            print(f"  expected {what}, {BUDGET} by {name}: {told}, inside in {inside} of {len(runs)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+")
    parser.add_argument(
        "--targets", nargs="+", default=["merger", "ring", "irregular"], choices=[a.key for a in ANSWERS]
    )
    parser.add_argument("--positives", type=int, default=10)
    parser.add_argument("--others", type=int, default=200)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--classifier", default="linear", choices=["linear", "network"])
    parser.add_argument("--weights", default="mini")
    options = parser.parse_args()
    table = vstack([read_table(path) for path in options.tables], metadata_conflicts="silent")
    for target in options.targets:
        study(table, target, options)


if __name__ == "__main__":
    main()
