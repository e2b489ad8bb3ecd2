r"""Do weights draw a pair of answers that was left out of their training?

    python benchmarks/unseen.py leave-out train.parquet -o rest.parquet --pair smooth merger --strict
    python benchmarks/unseen.py judge test.parquet val.parquet train.parquet --unseen runs/unseen/weights \
        --drawn drawn.npz -o unseen.json --sheet unseen.png

A row shows the pair if at least 0.3 of all its volunteers gave the first answer and at least 0.1 the second. The share
of all volunteers is the product of the fractions down the tree. `leave-out` writes the table without these rows, with
--strict also without those of smaller shares whose weighted prompts have the words of both: only then did no prompt of
the training name the pair. It is what a run should use.

`judge` asks the weights of --unseen, trained on that table, for (a) the pair, (b) the same rows without the second
answer and (c) without the first, and the weights of --seen for (d) the pair. Prompts are weighted, from votes of real
rows that show the pair and whose prompts name it. Without an answer they lack its words, those of the answers that lead
to it and of those it leads to, but not what the other answer needs. All four have the same rows and seeds, each weights
are sampled as their card recommends. Rows of the first table come first; that --unseen learnt from any is an error.
Beside the drawn stand the real galaxies of these rows, and of rows that show one answer and not the other. Half of the
real pair or more is not asked for: distances are to it, and the galaxies whose votes were asked are the ceiling. All
sets have equally many images.

The reader `reporting` gives the shares of volunteers who would give either answer; "both" is their product, "by the
rule" the share of images in which it finds the pair as above, "found" that each is its first choice. Intervals hold
95 % of bootstrap resamples, sets that have the same rows resampled alike, so that their differences are those of
pairs; where no image or all count, they are those of Agresti & Coull (1998). "More", and "nearer" (by kernel distance)
mean that the interval of the difference is above 0, and above a quarter of the difference between the real galaxies in
their place: with many images the smallest difference is significant. The verdict:

- composes: (a) has more of both than (b) and than (c), and is nearer to the real pair than (b) and than (c);
- composes partly: one of these two, but not the other;
- does not compose: neither;
- can't be told: (b) has not more of the first answer than (c), or (c) not more of the second than (b), so that
  there is nothing to put together.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from astropy.table import Table
from unseen_figures import KINDS, SETS, Pair, compare, described, far_from, markdown, read_figures, span, verdict

from astro_galaxysd import generate, read_table, write_table
from astro_galaxysd.conditions.columns import row_names
from astro_galaxysd.conditions.selection import Selection, read_population
from astro_galaxysd.conditions.table import choose_dialect
from astro_galaxysd.conditions.tree import ANSWER_BY_KEY
from astro_galaxysd.diffusion.captions import sampling_weights
from astro_galaxysd.diffusion.components import folder_revision
from astro_galaxysd.diffusion.generator import weights_folder
from astro_galaxysd.errors import ConditionError, NoRealRowsError, WeightsError
from astro_galaxysd.evaluation.memory import Memory
from astro_galaxysd.evaluation.neighbours import directions
from astro_galaxysd.evaluation.reading import ImageReader
from astro_galaxysd.images.codec import fit_size, read_images
from astro_galaxysd.images.files import atomic_path, rehearse_path
from astro_galaxysd.images.sheet import contact_sheet
from astro_galaxysd.learning.recipes import load_preset
from astro_galaxysd.seen import count_rows
from astro_galaxysd.weightcards import weight_card

PIECE, ON_SHEET, FEWEST = 40, 16, 8


def leave_out(path, output, pair, strict=False):
    """Write a table without the rows that show the pair; return what is said of it."""
    table = read_table(path)
    fractions = choose_dialect(table).read(table)
    kinds, words = pair.kinds(fractions), pair.words(fractions)
    rest = ~(kinds["pair"] | words["pair"]) if strict else ~kinds["pair"]
    write_table(table[rest], output)
    keys = (pair.first, pair.second)
    has = (f"{(Selection().has(fractions, ANSWER_BY_KEY[key]) & rest).sum()} {key}" for key in keys)
    alone = ((kinds[kind] & rest).sum() for kind in ("first", "second"))
    return "\n".join((
        f"{(~rest).sum()} of {len(rest)} rows left out: share of {pair.first} at least {pair.first_share:g}, "
        f"of {pair.second} at least {pair.second_share:g}{', or both words in the weighted prompt' if strict else ''}",
        "left: {} rows with such a share of {} alone, {} of {} alone".format(
            *(part for both in zip(alone, keys, strict=True) for part in both)),
        f"by a fraction of 0.5 or more of those who were asked: {' and '.join(has)}",
        still_named(pair.shares(fractions).prod(axis=1), fractions, words["pair"] & rest, rest),
    ))  # fmt: skip


def still_named(both, fractions, named, rest):
    """What is said of rows that are left though their prompts name the pair."""
    said = f"{named.sum()} of the rows that are left have less than these shares and yet both words in their weighted"
    if not named.any():
        return f"{said} prompts"
    recipe = load_preset("mini")["diffusion"]
    drawn = sampling_weights(fractions[rest], power=recipe["rarity"], largest=recipe["rarity_limit"])
    return (
        f"{said} prompts,\nso that training on them sees the pair hardly ever, but not never: they are "
        f"{100 * drawn[named[rest]].sum():.1f} % of what `galaxysd train diffusion` draws;\nthe median of the product "
        f"of both shares is {np.median(both[named]):.3f}, that of the rows left out {np.median(both[~rest]):.3f}. "
        "Leave them out with --strict"
    )


def choose_rows(paths, pair, n, rng):
    """Rows of each kind by lot, those of the first table first: dict of kind -> Table with id, prompts, image, shares.

    Of the pair come all rows, of the others n, which is lowered to half of the pair and to what there is of each.
    """
    found = {kind: [] for kind in KINDS}
    for path in paths:
        population = read_population(read_table(path))
        if population.fractions is None:
            raise ConditionError(f"{path}: no votes, so that nothing says which rows show a pair; use another table")
        table, names = population.table, row_names(population.table)
        for kind, rows in pair.named(population.fractions).items():
            rows = rng.permutation(np.flatnonzero(rows & population.real))
            found[kind].append((table, names, population.fractions, rows))
    available = {kind: sum(len(rows) for *_, rows in parts) for kind, parts in found.items()}
    n = min(n, available["pair"] // 2, available["first"], available["second"])
    if n < FEWEST:
        raise NoRealRowsError(f"{n} images of each set, from rows {available}: an interval needs {FEWEST} of each and "
                              f"{2 * FEWEST} of the pair; give more tables, lower shares or a larger -n")  # fmt: skip
    return {kind: _taken(parts, pair, None if kind == "pair" else n) for kind, parts in found.items()}, n, available


def _taken(parts, pair, n):
    names, prompts, images, shares = [], {kind: [] for kind in KINDS}, [], []
    for table, ids, fractions, rows in parts:
        rows = rows[: None if n is None else n - len(names)]
        if len(rows):
            names += [ids[row] for row in rows]
            prompts = {kind: [*prompts[kind], *new] for kind, new in pair.prompts(fractions[rows]).items()}
            images += read_images(table, rows=rows.tolist())
            shares.append(pair.shares(fractions[rows]))
    return Table({"id": names, **prompts, "image": np.stack(images), "shares": np.concatenate(shares)})


class Drawn:
    """Drawn galaxies, kept in a file by what they were drawn from, so that a run that was cut off goes on."""

    def __init__(self, path, seed, steps=None, guidance=None):
        self.path, self.seed, self.steps, self.guidance = path, seed, steps, guidance
        self.images = {}
        if path and Path(path).exists():
            with np.load(path) as kept:
                self.images = dict(zip(kept["keys"].tolist(), kept["images"], strict=True))

    def sampling(self, weights):
        """Steps, guidance and sampler: what the weights recommend, where nothing else was asked for."""
        card = weight_card(weights)
        guidance = card.guidance if self.guidance is None else self.guidance
        return {"steps": self.steps or card.steps, "guidance": guidance, "sampler": card.sampler}

    def of(self, weights, names, prompts):
        """Galaxies of prompts, (N, H, W, 3), drawn where the file lacks them; a name has one seed."""
        sampling = self.sampling(weights)
        drawn_by = f"{folder_revision(folder_of(weights))} {self.seed} {sampling}"
        keys = [f"{drawn_by} {name} {prompt}" for name, prompt in zip(names, prompts, strict=True)]
        missing = np.array([row for row, key in enumerate(keys) if key not in self.images], dtype=int)
        for start in range(0, len(missing), PIECE):
            piece = missing[start : start + PIECE]
            told = Table({"id": [str(names[row]) for row in piece], "prompt": [str(prompts[row]) for row in piece]})
            asked = {"rng": self.seed, "weights": weights, "steps": sampling["steps"], "guidance": sampling["guidance"]}
            drawn = generate(told, **asked, progress=False)["image"]
            self.images |= {keys[row]: np.asarray(image) for row, image in zip(piece, drawn, strict=False)}
            self.keep()
            if len(drawn) < len(piece):
                raise KeyboardInterrupt
            print(f"{weights}: {start + len(piece)} of {len(missing)} drawn", flush=True)
        return np.stack([self.images[key] for key in keys])

    def keep(self):
        if self.path:
            with atomic_path(self.path, overwrite=True) as partial, partial.open("wb") as file:
                np.savez(file, keys=np.array(list(self.images)), images=np.stack(list(self.images.values())))


def folder_of(weights):
    return weights_folder(weight_card(weights).location)


def check_unseen(weights, chosen):
    """Raise if weights learnt from rows of the pair; else rows of each kind that they learnt from, None if unknown."""
    learnt = {kind: count_rows(folder_of(weights), rows["id"].tolist()) for kind, rows in chosen.items()}
    if learnt["pair"]:
        raise WeightsError(
            f"{weights}: these weights learnt from {learnt['pair']} of the {len(chosen['pair'])} rows of the pair, so "
            "they saw it; give weights trained on what `leave-out` writes"
        )
    if learnt["pair"] is None:
        told = "no training_ids.txt says which rows they learnt from; that none is of the pair was not checked"
    else:
        told = (
            f"they learnt from none of the pair's rows, but from {learnt['first']} and {learnt['second']} of the others"
        )
    print(f"{weights}: {told}")
    return learnt


def judge(options, pair):
    """Draw, read, compare, write; return the verdict."""
    for path in filter(None, (options.output, options.sheet, options.drawn)):
        rehearse_path(path, overwrite=True)
    chosen, n, available = choose_rows(options.tables, pair, options.n, np.random.default_rng(options.seed))
    learnt = check_unseen(options.unseen, chosen)
    reference, rows = chosen["pair"][n:], {kind: chosen[kind][:n] for kind in KINDS}
    weights = {"unseen": options.unseen, "seen": options.seen}
    drawn, asked = Drawn(options.drawn, options.seed, options.steps, options.guidance), rows["pair"]
    images = {name: drawn.of(weights[who], asked["id"], asked[words]) for name, (_, words, who) in SETS.items() if who}
    size = images["a"].shape[1:3]
    images |= {name: fit_size(rows[kind]["image"], size) for name, (kind, _, who) in SETS.items() if not who}
    real, memory, reader = fit_size(reference["image"], size), Memory(), ImageReader.load("reporting")
    figures = {name: read_figures(batch, pair, reader) for name, batch in images.items()}
    points = {name: directions(memory, batch) for name, batch in images.items()}
    result = {
        "pair": asdict(pair), "tables": [Path(path).name for path in options.tables], "n": n,
        "reference": len(reference), "available": available, "rows the unseen weights learnt from": learnt,
        "weights": {who: folder_revision(folder_of(path)) for who, path in weights.items()},
        "sampling": {who: drawn.sampling(path) for who, path in weights.items()},
        "seed": options.seed, "distances": {name: far_from(real, batch, memory) for name, batch in images.items()},
    }  # fmt: skip
    result |= compare(figures, points, directions(memory, real), asked["shares"], options.seed)
    result["verdict"] = verdict(result["differences"])
    report(result, images, pair, options)
    return f"verdict: {result['verdict']}"


def report(result, images, pair, options):
    """Print tables and verdict; write JSON and sheet."""
    print(markdown(result, pair))
    for name, values in result["follows"].items():
        told = f"{pair.first} {span(values[0], 2)}, {pair.second} {span(values[1], 2)}"
        print(f"correlation of shares asked and read, {name}: {told}")
    for name, value in result["way"].items():
        print(f"of the way from the better of b and c to the real pair, {name} goes {value:.2f}")
    if options.output:
        with atomic_path(options.output, overwrite=True) as partial:
            partial.write_text(json.dumps(result, indent=1))
    if options.sheet:
        named = [(described(pair)[name], batch[:ON_SHEET]) for name, batch in images.items()]
        contact_sheet([*named[4:] * options.real, *named[:4]], options.sheet, columns=8, overwrite=True)


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    leave = commands.add_parser("leave-out", help="write a table without the rows that show the pair")
    leave.add_argument("table")
    leave.add_argument("-o", "--output", required=True)
    strict = "leave out rows too whose weighted prompts name both, whatever the shares; a run should use it"
    leave.add_argument("--strict", action="store_true", help=strict)
    ask = commands.add_parser("judge", help="draw the pair with weights trained without it, and judge it")
    ask.add_argument("tables", nargs="+", help="real galaxies with votes, best those that no weights saw first")
    ask.add_argument("--unseen", required=True, help="weights trained without the pair")
    ask.add_argument("--seen", default="mini", help="weights that saw it (default: mini)")
    ask.add_argument("-n", type=int, default=200, help="images of each set (default: 200)")
    ask.add_argument("--steps", type=int, help="of both weights (default: what each recommends)")
    ask.add_argument("--guidance", type=float, help="of both weights (default: what each recommends)")
    ask.add_argument("--seed", type=int, default=0)
    ask.add_argument("--drawn", metavar="NPZ", help="keeps drawn galaxies; what is in it is not drawn again")
    ask.add_argument("-o", "--output", metavar="JSON")
    ask.add_argument("--sheet", metavar="PNG", help="sheet of drawn galaxies")
    ask.add_argument("--real", action="store_true", help="real galaxies on the sheet too, which is not to be passed on")
    for command in (leave, ask):
        command.add_argument("--pair", nargs=2, default=("smooth", "merger"), metavar="KEY", help="two answers")
        command.add_argument("--first", type=float, default=0.3, help="least share of the first (default: 0.3)")
        command.add_argument("--second", type=float, default=0.1, help="least share of the second (default: 0.1)")
    return parser


def main():
    options = parser().parse_args()
    pair = Pair(*options.pair, options.first, options.second)
    if options.command == "leave-out":
        print(leave_out(options.table, options.output, pair, options.strict))
    else:
        print(judge(options, pair))


if __name__ == "__main__":
    main()
