"""Draw the figures of the gallery: contact sheets of synthetic galaxies, nothing in them chosen by hand.

    python docs/make_figures.py docs/gallery
    python docs/make_figures.py sheets --real votes_and_images.parquet
    python docs/make_figures.py docs/gallery --kinds
    python docs/make_figures.py sheets --kinds --real votes_and_images.parquet

The first draws the sixteen published prompts. The second needs a table with votes and images. For each prompt it picks
real galaxies whose votes say the same, draws one synthetic galaxy from the votes of each, and writes
`real_and_synthetic.png` beside `sixteen_prompts.png`: a row of real galaxies above a row of synthetic ones with the
same votes, in the same order.

With --kinds rare kinds are drawn instead: `kinds_odd.png`, `kinds_disks.png` and `kinds_bulges.png` from prompts; with
--real `real_and_synthetic_kinds_odd.png` ... Each kind shows the real galaxies with the strongest votes for it, by the
published cuts, above galaxies drawn from their votes. There are hardly any smooth galaxies with a dust lane: those of
which a fifth said odd and dust lane stand above galaxies drawn from the prompt. No sheet with real galaxies is to be
committed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from astropy.table import Table

from astro_galaxysd import generate, plan_augmentation, read_table
from astro_galaxysd.conditions.prompts import prompt_from_tags
from astro_galaxysd.conditions.published import PUBLISHED_PROMPTS
from astro_galaxysd.conditions.schemas import reached
from astro_galaxysd.conditions.selection import Selection, read_population
from astro_galaxysd.conditions.tree import ANSWER_BY_KEY, ANSWERS, INDEX, QUESTION_OF
from astro_galaxysd.errors import NoRealRowsError
from astro_galaxysd.images.codec import fit_size, read_images
from astro_galaxysd.images.sheet import contact_sheet

ACROSS = 8
#: Kinds of each sheet: answers that a galaxy has all of.
KINDS = {
    "odd": (("ring",), ("merger",), ("irregular",), ("edge_on", "dust_lane")),
    "disks": (("bar",), *((f"arms_{n}",) for n in range(1, 5)), ("tight_arms",), ("medium_arms",), ("loose_arms",)),
    "bulges": tuple((f"{size}_bulge",) for size in ("no", "just_noticeable", "obvious", "dominant")),
}
COMPOSED, COMPOSED_OF = "in-between round galaxy, {dust lane:1.3}", ("smooth", "dust_lane")
LOOSER = {"dust_lane": Selection(0.2, 0.2)}


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


def kinds(folder: Path, table: Table | None, seed: int, overwrite: bool, **sampling: object) -> list[Path]:
    """Sheets of rare kinds, beside real galaxies where there is a table."""
    paths = []
    for name, rows in KINDS.items():
        groups = [group for keys in rows for group in _kind(table, keys, {}, None, seed, **sampling)]
        if name == "odd":
            groups += _kind(table, COMPOSED_OF, LOOSER, COMPOSED, seed, **sampling)
        path = folder / f"{'kinds' if table is None else 'real_and_synthetic_kinds'}_{name}.png"
        paths.append(contact_sheet(groups, path, columns=ACROSS, overwrite=overwrite))
    return paths


def _kind(
    table: Table | None,
    keys: tuple[str, ...],
    cuts: dict[str, Selection],
    prompt: str | None,
    seed: int,
    **sampling: object,
) -> list[tuple[str, np.ndarray]]:
    """Rows of a sheet that show one kind, drawn from its prompt or from the votes of real galaxies."""
    words = ", ".join(ANSWER_BY_KEY[key].words for key in keys)
    from_prompt = _from_prompt(prompt or _prompt_of(keys), seed, **sampling) if table is None or prompt else None
    if table is None:
        return [from_prompt] if from_prompt else []
    rows, n = _strongest(table, keys, cuts)
    if not len(rows):
        return [(f"no real galaxy: {words}", np.zeros((0, 8, 8, 3), np.uint8)), *([from_prompt] if from_prompt else [])]
    drawn = from_prompt or (
        "synthetic, from the votes of the galaxies above",
        np.asarray(generate(table[rows], rng=seed, **sampling)["image"]),
    )
    real = fit_size(np.stack(read_images(table, rows=rows.tolist())), drawn[1].shape[1:3])
    return [(f"real: {words} ({len(rows)} of {n})", real), drawn]


def _from_prompt(prompt: str, seed: int, **sampling: object) -> tuple[str, np.ndarray]:
    table = Table({"id": [f"{prompt} {copy}" for copy in range(ACROSS)], "prompt": [prompt] * ACROSS})
    return f"synthetic, from the prompt: {prompt}", np.asarray(generate(table, rng=seed, **sampling)["image"])


def _prompt_of(keys: tuple[str, ...]) -> str:
    """The answers and all that lead to them, in the words and in the order of the tree."""
    named = set(keys)
    for key in keys:
        while parent := QUESTION_OF[key].parent:
            named.add(key := parent)
    return prompt_from_tags((answer.words, 1.0) for answer in ANSWERS if answer.key in named and answer.words)


def _strongest(table: Table, keys: tuple[str, ...], cuts: dict[str, Selection]) -> tuple[np.ndarray, int]:
    """Real rows with the largest shares of volunteers who gave all answers, and how many rows there are."""
    population = read_population(table)
    votes = np.nan_to_num(population.fractions)
    selected = [cuts.get(key, Selection()).has(population.fractions, ANSWER_BY_KEY[key]) for key in keys]
    has = np.all([population.real, *selected], axis=0)
    shares = np.prod([reached(votes, QUESTION_OF[key]) * votes[:, INDEX[key]] for key in keys], axis=0)
    rows = np.flatnonzero(has)
    return rows[np.argsort(-shares[rows], kind="stable")][:ACROSS], len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the figures go")
    parser.add_argument("--real", metavar="TABLE", help="also draw from the votes of this table's real galaxies")
    parser.add_argument("--kinds", action="store_true", help="draw rare kinds in place of the published prompts")
    parser.add_argument("--weights", default="mini", help="name or folder (default: mini)")
    parser.add_argument("--steps", type=int, help="sampling steps (default: what the weights recommend)")
    parser.add_argument("--guidance", type=float, help="classifier-free guidance (default: what the weights recommend)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the run (default: 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace existing figures")
    options = parser.parse_args()
    sampling = {key: getattr(options, key) for key in ("weights", "steps", "guidance")}
    options.folder.mkdir(parents=True, exist_ok=True)
    table = read_table(options.real) if options.real else None
    if options.kinds:
        print(*kinds(options.folder, table, options.seed, options.overwrite, **sampling), sep="\n")
        return
    print(sixteen_prompts(options.folder, options.seed, options.overwrite, **sampling))
    if table is not None:
        print(real_and_synthetic(options.folder, table, options.seed, options.overwrite, **sampling))


if __name__ == "__main__":
    main()
