"""Pair, figures and verdict of `benchmarks/unseen.py`: numbers of each set of images in, intervals out.

All intervals come from one bootstrap, in which a resample says how often each image counts. Copies of an image are no
pair, so that kernel distances bear it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from astro_galaxysd.conditions.prompts import prompt_from_tags, tags_from_fractions, weight_from_fraction
from astro_galaxysd.conditions.tree import ANSWER_BY_KEY, INDEX, QUESTION_OF
from astro_galaxysd.errors import ConditionError, UnknownNameError
from astro_galaxysd.evaluation.reader import reached
from astro_galaxysd.evaluation.realism import RealismEvaluator
from astro_galaxysd.evaluation.scores import share_error
from astro_galaxysd.evaluation.votes import answers_found
from astro_galaxysd.records import ImageBatch

KINDS = ("pair", "first", "second")
#: Sets: whose rows they are, what of them is asked for, and of which weights; without weights, the real galaxies.
SETS = {
    "a": ("pair", "pair", "unseen"), "b": ("pair", "first", "unseen"), "c": ("pair", "second", "unseen"),
    "d": ("pair", "pair", "seen"),
    "real pair": ("pair", None, None), "real first": ("first", None, None), "real second": ("second", None, None),
}  # fmt: skip
FIGURES = ("first found", "second found", "both found", "both by the rule", "first", "second", "both")
FIRST, SECOND, BOTH = 4, 5, 6
DISTANCES = ("nearest_real", "frechet", "kernel_distance")
TIMES = 2000
#: Part of the difference between real galaxies that a difference between drawn ones must reach to count.
LEAST = 0.25


@dataclass(frozen=True)
class Pair:
    """Two answers by key, and the least shares of all volunteers that make a row show both."""

    first: str
    second: str
    first_share: float = 0.3
    second_share: float = 0.1

    def __post_init__(self):
        for key, share in ((self.first, self.first_share), (self.second, self.second_share)):
            if key not in INDEX:
                raise UnknownNameError("answer", key, INDEX)
            if not 0 < share <= 1:
                raise ConditionError(f"{key}: {share:g} is no share of volunteers; use one above 0 and up to 1")
        if self.first == self.second:
            raise ConditionError(f"the pair is {self.first!r} twice; give two answers")
        for one, other in ((self.first, self.second), (self.second, self.first)):
            if one in path_to(other):
                raise ConditionError(f"{other} is only asked of those who said {one}, so it is never without it; give "
                                     "answers of which neither leads to the other")  # fmt: skip

    def shares(self, fractions):
        """Shares of all volunteers who gave either answer: (N, 2), 0 where not asked."""
        columns = [INDEX[self.first], INDEX[self.second]]
        return (reached(fractions) * np.nan_to_num(fractions))[:, columns]

    def kinds(self, fractions):
        """Which rows show the pair, or one of the two alone: bool, shape (N,), by kind."""
        first, second = (self.shares(fractions) >= (self.first_share, self.second_share)).T
        return dict(zip(KINDS, (first & second, first & ~second, second & ~first), strict=True))

    def words(self, fractions):
        """As `kinds`, by whose words stand in weighted prompts of the votes."""
        answers = [ANSWER_BY_KEY[key] for key in (self.first, self.second)]
        for answer in answers:
            if not answer.words:
                raise ConditionError(f"{answer.key}: prompts have no words for it; ask for another answer")
        tags = [dict(row) for row in tags_from_fractions(fractions)]
        first, second = (np.array([answer.words in row for row in tags], dtype=bool) for answer in answers)
        return dict(zip(KINDS, (first & second, first & ~second, second & ~first), strict=True))

    def named(self, fractions):
        """As `kinds`, but only rows whose prompts have the words of what they show and not the other's."""
        words = self.words(fractions)
        return {kind: rows & words[kind] for kind, rows in self.kinds(fractions).items()}

    def prompts(self, fractions):
        """Weighted prompts by what they ask for: the pair, the first answer without the second, and the reverse."""
        tags, gone = tags_from_fractions(fractions), {"pair": set()}
        for kind, key, other in (("first", self.second, self.first), ("second", self.first, self.second)):
            family = {*path_to(key), *(answer for answer in INDEX if key in path_to(answer))} - set(path_to(other))
            gone[kind] = {ANSWER_BY_KEY[answer].words for answer in family}
        return {
            kind: [prompt_from_tags((w, weight_from_fraction(f)) for w, f in row if w not in words) for row in tags]
            for kind, words in gone.items()
        }


def path_to(key):
    """An answer and those that lead to it."""
    keys = [key]
    while QUESTION_OF[keys[-1]].parent:
        keys.append(QUESTION_OF[keys[-1]].parent)
    return keys


def read_figures(images, pair, reader):
    """What a reader sees in each image: (N, 7), in the order of `FIGURES`."""
    read = np.asarray(reader.predict(images), dtype=np.float64)
    found = answers_found(read)[:, [INDEX[pair.first], INDEX[pair.second]]]
    shares = pair.shares(read)
    return np.column_stack([found, found.all(axis=1), pair.kinds(read)["pair"], shares, shares.prod(axis=1)])


def far_from(reference, images, memory):
    """Realism of images by the package's evaluator: metric -> value and error."""
    batches = [ImageBatch(part, Table(), np.arange(len(part)).astype(str)) for part in (reference, images)]
    rows = RealismEvaluator().evaluate(*batches, embedder=memory, rng=0)
    return {row["metric"]: [float(row["value"]), float(row["error"])] for row in rows if row["metric"] in DISTANCES}


def resamples(n, rng):
    """How often each of n images counts: (1 + TIMES, n), in the first row once."""
    return np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), size=TIMES)])


def interval(values):
    """Figure of a sample and the bounds between which 95 % of its resamples lie; NaN where one is."""
    return [float(values[0]), *np.quantile(values[1:], [0.025, 0.975]).tolist()]


def share_interval(values, counts):
    """`interval` of the mean of an image's figures; of shares of which no image or all count, a wider one."""
    n, hits = len(values), values.sum()
    if hits in (0, n) and np.isin(values, (0, 1)).all():
        middle, error = (hits + 2) / (n + 4), share_error(int(hits), n)
        return [hits / n, max(0.0, middle - 1.96 * error), min(1.0, middle + 1.96 * error)]
    return interval(counts @ values / n)


def pull(points, reference, own, theirs):
    """Kernel distance to a reference, for resamples of both, without the part that is the reference's alone."""
    kernel = (points @ points.T + 1) ** 3
    np.fill_diagonal(kernel, 0)  # an image with itself, or its copy in a resample, is no pair
    pairs = ((own @ kernel) * own).sum(axis=1) / (own.sum(axis=1) ** 2 - (own**2).sum(axis=1))
    across = ((own @ (points @ reference.T + 1) ** 3) * theirs).sum(axis=1) / (own.sum(axis=1) * theirs.sum(axis=1))
    return pairs - 2 * across


def follow(asked, read, counts):
    """Correlation over images of the share asked for with the share read, resampled; NaN where one is constant."""
    x, y = ((counts @ column / len(asked))[:, None] for column in (asked, read))
    x, y = asked - x, read - y
    with np.errstate(invalid="ignore"):
        return (counts * x * y).sum(axis=1) / np.sqrt((counts * x**2).sum(axis=1) * (counts * y**2).sum(axis=1))


def compare(figures, points, reference, asked, seed):
    """Intervals of figures, differences and correlations from one bootstrap.

    `figures`, `points`: by set, (n, 7) and (n, D); `reference`: (m, D); `asked`: shares (n, 2) of the pair's rows.
    """
    n, rng = len(asked), np.random.default_rng(seed)
    by_kind = {kind: resamples(n, rng) for kind in KINDS}
    counts = {name: by_kind[kind] for name, (kind, _, _) in SETS.items()}
    theirs = resamples(len(reference), rng)
    means = {name: counts[name] @ figures[name] / n for name in SETS}
    far = {name: pull(points[name], reference, counts[name], theirs) for name in SETS}
    followed = {
        name: [interval(follow(asked[:, i], figures[name][:, at], counts[name])) for i, at in ((0, FIRST), (1, SECOND))]
        for name in ("a", "d", "real pair")
    }
    columns = list(enumerate(FIGURES))
    return {
        "figures": {
            name: {key: share_interval(figures[name][:, i], counts[name]) for i, key in columns} for name in SETS
        },
        "differences": differences_of(means, far),
        "follows": followed,
        "way": {name: way(name, {key: float(values[0, BOTH]) for key, values in means.items()}) for name in "ad"},
    }


def way(name, both):
    """How far a set goes from the better of (b) and (c) to the real pair, in the mean share of both; 1 is all."""
    alone = max(both["b"], both["c"])
    return (both[name] - alone) / (both["real pair"] - alone) if both["real pair"] != alone else float("nan")


def differences_of(means, far):
    """Differences between sets, from the resampled means and kernel distances of each."""
    real = {"a": "real pair", "b": "real first", "c": "real second"}

    def more(one, other, at):
        drawn, shown = (means[x][:, at] - means[y][:, at] for x, y in ((one, other), (real[one], real[other])))
        return difference(drawn, shown)

    def nearer(one, other):
        return difference(far[other] - far[one], far[real[other]] - far[real[one]])

    return {
        "a more of both than b": more("a", "b", BOTH),
        "a more of both than c": more("a", "c", BOTH),
        "a nearer than b": nearer("a", "b"),
        "a nearer than c": nearer("a", "c"),
        "b more of the first than c": more("b", "c", FIRST),
        "c more of the second than b": more("c", "b", SECOND),
        "d more of both than a": difference(means["d"][:, BOTH] - means["a"][:, BOTH]),
        "d nearer than a": difference(far["a"] - far["d"]),
    }


def difference(values, real=None):
    """Interval of a difference, that of real galaxies, and whether it counts by the rule of `benchmarks/unseen.py`."""
    holds = interval(values)[1] > 0 and (real is None or interval(values - LEAST * real)[1] > 0)
    return {"interval": interval(values), "real": None if real is None else interval(real), "holds": bool(holds)}


def verdict(differences):
    """The rule of `benchmarks/unseen.py`; `differences` as `compare` gives them."""
    holds = {name: found["holds"] for name, found in differences.items()}
    if not (holds["b more of the first than c"] and holds["c more of the second than b"]):
        return "can't be told"
    more = holds["a more of both than b"] and holds["a more of both than c"]
    nearer = holds["a nearer than b"] and holds["a nearer than c"]
    return "composes" if more and nearer else "composes partly" if more or nearer else "does not compose"


def described(pair):
    """What each set is, in words."""
    both = f"{pair.first} and {pair.second}"
    return {
        "a": f"(a) asked for {both}, left out of training",
        "b": f"(b) asked for {pair.first}, {pair.second} taken out",
        "c": f"(c) asked for {pair.second}, {pair.first} taken out",
        "d": f"(d) asked for {both}, weights that saw them",
        "real pair": f"real {both}",
        "real first": f"real {pair.first}, not {pair.second}",
        "real second": f"real {pair.second}, not {pair.first}",
    }


def span(values, digits):
    """A figure and its interval as text."""
    value, low, high = (f"{number:.{digits}f}" for number in values)
    return f"{value} ({low} to {high})"


def markdown(result, pair):
    """The tables of the page."""
    sets = described(pair)
    names = [name.replace("first", pair.first).replace("second", pair.second) for name in FIGURES]
    lines = [f"| {result['n']} images each | {' | '.join(names)} |", "|---" * (1 + len(FIGURES)) + "|"]
    for name, figures in result["figures"].items():
        cells = (span(values, 3) for values in figures.values())
        lines.append(f"| {sets[name]} | {' | '.join(cells)} |")
    lines += ["", f"| to {result['reference']} real ones | " + " | ".join(f"`{key}`" for key in DISTANCES) + " |"]
    lines.append("|---" * (1 + len(DISTANCES)) + "|")
    for name, scores in result["distances"].items():
        cells = (f"{scores[key][0]:.4f} ± {scores[key][1]:.4f}" for key in DISTANCES)
        lines.append(f"| {sets[name]} | {' | '.join(cells)} |")
    lines += ["", "| difference | drawn | real in their place | counts |", "|---|---|---|---|"]
    for name, found in result["differences"].items():
        cells = ("" if cell is None else span(cell, 4) for cell in (found["interval"], found["real"]))
        lines.append(f"| {name} | {' | '.join(cells)} | {'yes' if found['holds'] else 'no'} |")
    return "\n".join(lines)
