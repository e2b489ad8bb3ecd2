"""How good a set of synthetic galaxies is: two tables in, one table of figures with errors and ceilings out.

``assess`` = what every row asks for -> rows of three sets with one mixture -> their images -> warnings where a real row
was seen before -> evaluators -> figures beside the ceiling. ``evaluate`` gives the table alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.conditions.grouping import EVERYTHING
from astro_galaxysd.conditions.seeds import RNG, run_seed, stream
from astro_galaxysd.evaluation.asking import Named, create_evaluators, give_reader
from astro_galaxysd.evaluation.scoring import EVALUATION, Sets, score_sets, with_ceilings
from astro_galaxysd.evaluation.sets import read_sets, with_rebuilt, with_rebuilt_table
from astro_galaxysd.evaluation.sides import Side, match_sides, read_side, refuse_shared
from astro_galaxysd.images.files import rehearse_folder
from astro_galaxysd.images.provenance import json_ready, run_record
from astro_galaxysd.seen import count_copies, count_seen, judge_folders, weight_folders, weights_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from astropy.table import Table

    from astro_galaxysd.conditions.matching import Matched
    from astro_galaxysd.evaluation.consistency import Reader
    from astro_galaxysd.evaluation.memory import Memory
    from astro_galaxysd.plugins.protocols import Embedder
    from astro_galaxysd.records import ImageBatch

__all__ = ["Assessment", "assess", "evaluate"]


@dataclass(frozen=True)
class Assessment:
    """Figures of synthetic galaxies, and everything that was measured for them.

    Parameters
    ----------
    table : Table
        See `evaluate`.
    real, held, synthetic : ImageBatch, each of length n
        Real images that are compared with, real images that stand in the synthetic ones' place for the ceiling, and
        the synthetic ones. Row i of each is of the same group. `conditions` has ``prompt``, ``votes`` and ``group``.
    memory : Memory
        The embedder, and what was measured of the images.
    training : ImageBatch or None
        What the generator was trained on.
    reconstructions : ImageBatch or None
        Images of `held` after the generator's autoencoder, as far as they were given.
    groups : dict of str to ndarray, int
        Rows of each group that was measured by itself, the same in `real`, `held` and `synthetic`.
    reader : Reader or None
        Reads votes off images; None where consistency was not asked for.
    record : dict
        Of the run, JSON-able.
    """

    table: Table
    real: ImageBatch
    held: ImageBatch
    synthetic: ImageBatch
    memory: Memory
    training: ImageBatch | None = None
    reconstructions: ImageBatch | None = None
    groups: dict[str, np.ndarray] = field(default_factory=dict)
    reader: Reader | None = None
    record: dict[str, Any] = field(default_factory=dict)


def evaluate(
    real: Table | str | os.PathLike[str],
    synthetic: Table | str | os.PathLike[str],
    *,
    report: str | os.PathLike[str] | None = None,
    blind: bool = False,
    overwrite: bool = False,
    training: Table | str | os.PathLike[str] | None = None,
    reconstructions: Table | str | os.PathLike[str] | None = None,
    evaluators: str | Sequence[str] | None = None,
    embedder: str | Callable[[np.ndarray], Any] | Embedder | None = None,
    reader: str | os.PathLike[str] | Reader = "reporting",
    groups: str | None = "auto",
    n: int | None = None,
    images: str = "image",
    schema: str | None = None,
    id_column: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    rng: RNG = None,
    progress: bool = True,
) -> Table:
    """Say how good synthetic galaxies are, with errors, beside what real galaxies score in their place.

    Parameters
    ----------
    real : Table or path
        Real galaxies with images, and votes or prompts; rows whose ``synthetic`` is True are left out. They must be
        rows that the generator was not trained on. Of a file, or a folder of files, only the images of the rows that
        are compared are read; so memory hangs on `n`, and on the other columns.
    synthetic : Table or path
        Synthetic galaxies with images and what was asked for; of an augmented table the synthetic rows count.
    report : path, optional
        Folder for a report, see `astro_galaxysd.reporting.report.write_report`.
    blind : bool
        Whether the report has a page on which a person tells real from synthetic galaxies.
    overwrite : bool
        Whether a report that is in the folder already may be replaced.
    training : Table or path, optional
        Rows the generator was trained on: its images are searched for copies (memorisation).
    reconstructions : Table, str or path, optional
        The real rows after the generator's autoencoder, with their ids; or weights, through whose autoencoder the
        images go now. They show what latents alone cost.
    evaluators : str or sequence of str, optional
        Name or names of ``galaxysd plugins``; by default all but ``statmorph``, which is slow.
    embedder : str, callable or Embedder, optional
        See `astro_galaxysd.evaluation.embedders.make_embedder`; by default ours.
    reader : str, path or Reader
        Reads votes off images, for consistency; by default ``"reporting"``. Never one that chose weights or rows.
    groups : str or None
        Rows that are also judged by themselves, and whose mixture is the same in all sets: ``"auto"`` (default),
        ``"prompt"``, ``"answer"``, a column of both tables, or None, see `group_rows`.
    n : int, optional
        Images of each set, at least 16 and no more than there are; by default as many as there are.
    images : str
        Image column of all tables, by default ``"image"``.
    schema, id_column : str, optional
        Dialect of the vote columns; column of the ids.
    cache : path, optional
        Folder in which what was measured of images is kept for the next time.
    rng : None, int, SeedSequence or Generator
        Chooses rows and resamples (SPEC 7).
    progress : bool
        Whether to show a bar, as by default.

    Returns
    -------
    Table
        A row for each metric and group. ``evaluator``, ``metric``; ``group``: ``"all"``, an answer's key, or a group of
        rows; ``value``, ``error`` (standard error); ``ceiling``, ``ceiling_error``: the same figure of as many real
        images in the synthetic ones' place; ``reconstruction``, ``reconstruction_error`` where there are any;
        ``n_real``, ``n_synthetic``; ``higher_is_better``; ``note``: why a value or its ceiling is NaN. ``meta`` has the
        record of the run under `astro_galaxysd.evaluation.scoring.EVALUATION`.

    Raises
    ------
    ConditionError, ImageError, NoRealRowsError, UnknownNameError, WeightsError, OutputError
        Before anything is measured.

    Warns
    -----
    SeenRowsWarning, UngroupedWarning, PluginWarning
        Real rows were seen before or images occur twice; one side can't be grouped; a plug-in gives no figures.

    Examples
    --------
    >>> scores = evaluate(real, synthetic, rng=1)  # doctest: +SKIP
    >>> scores["metric", "value", "error", "ceiling"][scores["group"] == "all"]  # doctest: +SKIP
    """
    if report is not None:
        from astro_galaxysd.reporting.report import is_report, write_report

        rehearse_folder(report, overwrite, ours=is_report)
    found = assess(
        real, synthetic, training=training, reconstructions=reconstructions, evaluators=evaluators, embedder=embedder,
        reader=reader, groups=groups, n=n, images=images, schema=schema, id_column=id_column, cache=cache, rng=rng,
        progress=progress,
    )  # fmt: skip
    if report is not None:
        write_report(found, report, blind=blind, overwrite=overwrite)
    return found.table


def assess(
    real: Table | str | os.PathLike[str],
    synthetic: Table | str | os.PathLike[str],
    *,
    training: Table | str | os.PathLike[str] | None = None,
    reconstructions: Table | str | os.PathLike[str] | None = None,
    evaluators: str | Sequence[str] | None = None,
    embedder: str | Callable[[np.ndarray], Any] | Embedder | None = None,
    reader: str | os.PathLike[str] | Reader = "reporting",
    groups: str | None = "auto",
    n: int | None = None,
    images: str = "image",
    schema: str | None = None,
    id_column: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    rng: RNG = None,
    progress: bool = True,
) -> Assessment:
    """Do what `evaluate` does but for the report, and keep what was measured; parameters and errors are the same.

    Returns
    -------
    Assessment
    """
    seed = run_seed(rng)
    options: dict[str, Any] = {"images": images, "schema": schema, "id_column": id_column}
    drawn = read_side(synthetic, drawn=True, what="synthetic", **options)
    observed = read_side(real, drawn=False, what="real", **options)
    learnt = None if training is None else read_side(training, drawn=False, what="training", **options)
    if learnt is not None:
        refuse_shared(learnt, observed)
    matched, notes = match_sides(drawn, observed, groups=groups, n=n, rng=stream(seed, "rows"))
    made = create_evaluators(evaluators)
    sets = read_sets(drawn, observed, matched, notes, training=learnt, images=images)
    copies = count_copies(sets)
    if reconstructions is not None:
        sets = _reconstructed(sets, reconstructions, observed, images, id_column)
    weights = weights_of(drawn.light, matched.synthetic)
    made, judge = give_reader(made, partial(_load_reader, reader)) if drawn.requests.any else (made, None)
    memory = _memory(embedder, cache)
    revision = getattr(judge, "revision", None)
    judges = judge_folders(None if judge is None else reader, revision, memory.revision)
    ids = [observed.names[row] for row in (*matched.real, *matched.held)] if observed.identified else []
    seen = count_seen(ids, weight_folders(weights) | judges)
    table = _score(made, sets, memory, seed, progress)
    table.meta[EVALUATION] = record = _record(
        sets, drawn, observed, matched, seed=seed, evaluators=[one.name for one in made], weights=weights, seen=seen,
        embedder=memory.revision, reader=revision, copies=copies, note=notes.get(EVERYTHING, ""),
    )  # fmt: skip
    batches = (sets.real, sets.held, sets.synthetic, memory, sets.training, sets.reconstructions)
    return Assessment(table, *batches, sets.groups, judge, record)


def _reconstructed(
    sets: Sets, given: Table | str | os.PathLike[str], real: Side, images: str, id_column: str | None
) -> Sets:
    if not isinstance(given, str | os.PathLike):
        return with_rebuilt_table(sets, real, given, images=images, id_column=id_column)
    from astro_galaxysd.diffusion.generator import weights_folder
    from astro_galaxysd.diffusion.roundtrip import through_autoencoder
    from astro_galaxysd.weightcards import weight_card

    folder = weights_folder(weight_card(given))
    return with_rebuilt(sets, through_autoencoder(folder, sets.held.images))


def _load_reader(reader: str | os.PathLike[str] | Reader) -> Reader:
    if not isinstance(reader, str | os.PathLike):
        return reader
    from astro_galaxysd.evaluation.reading import ImageReader

    return ImageReader.load(reader)


def _memory(embedder: Any, cache: str | os.PathLike[str] | None) -> Memory:
    from astro_galaxysd.evaluation.embedders import make_embedder
    from astro_galaxysd.evaluation.memory import Memory

    return embedder if isinstance(embedder, Memory) else Memory(make_embedder(embedder), folder=cache)


def _score(made: list[Named], sets: Sets, memory: Memory, seed: int, progress: bool) -> Table:
    from tqdm import tqdm

    with tqdm(total=len(made) * (1 + len(sets.groups)), unit="set", disable=not progress) as bar:

        def step(told: str) -> None:
            bar.set_description(told)
            bar.update()

        lines = score_sets(made, sets, memory=memory, seed=seed, step=step)
    return with_ceilings(lines, reconstructions=sets.reconstructions is not None)


def _record(sets: Sets, drawn: Side, observed: Side, matched: Matched, **facts: Any) -> dict[str, Any]:
    """Everything that someone who repeats the evaluation needs to know."""
    common = {key: value for key, value in run_record().items() if key != "parameters"}
    n, rebuilt, learnt = len(matched), sets.reconstructions, sets.training
    unpaired = {"without their own real row": matched.unpaired} if matched.unpaired else {}
    facts |= {
        "n": n,
        "paired": matched.paired,
        "groups": {name: count._asdict() for name, count in matched.counts.items()},
        "weights": [{"name": name, "revision": revision} for name, revision in facts["weights"]],
        "conditions": {"synthetic": drawn.requests.source, "real": observed.requests.source},
        "excluded": {
            "synthetic": drawn.excluded | unpaired | {"not matched": len(drawn) - n - matched.unpaired},
            "real": observed.excluded | {"not matched": len(observed) - 2 * n},
        },
        "training": None if learnt is None else len(learnt),
        "reconstructions": None if rebuilt is None else len(rebuilt),
    }
    record: dict[str, Any] = json_ready(common | facts)
    return record
