"""How good a set of synthetic galaxies is: two tables in, one table of figures with errors and ceilings out.

``assess`` = what every row asks for -> rows of three sets with one mixture -> their images -> warnings where a real row
was seen before -> evaluators -> figures beside the ceiling. ``evaluate`` gives the table alone.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.conditions.columns import texts
from astro_galaxysd.conditions.seeds import RNG, run_seed, stream
from astro_galaxysd.errors import GalaxySDError, OutputError, OutputExistsError, WeightsError
from astro_galaxysd.evaluation.scoring import Named, Sets, create_evaluators, score_sets, with_ceilings
from astro_galaxysd.evaluation.sets import read_sets, with_rebuilt, with_rebuilt_table
from astro_galaxysd.evaluation.sides import Side, match_sides, read_side, refuse_shared
from astro_galaxysd.images.provenance import WEIGHTS, WEIGHTS_REVISION, json_ready, run_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from astropy.table import Table

    from astro_galaxysd.conditions.matching import Matched
    from astro_galaxysd.evaluation.consistency import Reader
    from astro_galaxysd.evaluation.memory import Memory
    from astro_galaxysd.plugins.protocols import Embedder
    from astro_galaxysd.records import ImageBatch

__all__ = ["EVALUATION", "Assessment", "SeenRowsWarning", "assess", "evaluate"]

#: Key of the record in the meta of the table of figures.
EVALUATION = "galaxysd_evaluation"


class SeenRowsWarning(UserWarning):
    """Real rows that are compared with were seen before, by what is judged or by what judges."""


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
    training : ImageBatch or None
        What the generator was trained on.
    reconstructions : ImageBatch or None
        Images of `held` after the generator's autoencoder, as far as they were given.
    groups : dict of str to (ndarray, ndarray, ndarray)
        Rows of `synthetic`, `real` and `held` of each group that was measured by itself.
    memory : Memory
        What was measured of the images.
    reader : object
        Reads votes off images; None where consistency was not asked for.
    record : dict
        Of the run, JSON-able.
    """

    table: Table
    real: ImageBatch
    held: ImageBatch
    synthetic: ImageBatch
    training: ImageBatch | None = None
    reconstructions: ImageBatch | None = None
    groups: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=dict)
    memory: Any = None
    reader: Any = None
    record: dict[str, Any] = field(default_factory=dict)


def evaluate(
    real: Table,
    synthetic: Table,
    *,
    training: Table | None = None,
    reconstructions: Table | str | os.PathLike[str] | None = None,
    evaluators: Sequence[str] | None = None,
    embedder: str | Callable[[np.ndarray], Any] | Embedder | None = None,
    reader: str | os.PathLike[str] | Reader = "reporting",
    groups: str | None = "auto",
    n: int | None = None,
    images: str = "image",
    schema: str | None = None,
    id_column: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    rng: RNG = None,
    report: str | os.PathLike[str] | None = None,
    blind: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> Table:
    """Say how good synthetic galaxies are, with errors, beside what real galaxies score in their place.

    Parameters
    ----------
    real : Table
        Real galaxies with images, and votes or prompts; rows whose ``synthetic`` is True are left out. They must be
        rows that the generator was not trained on.
    synthetic : Table
        Synthetic galaxies with images and what was asked for; of an augmented table the synthetic rows count.
    training : Table, optional
        Rows the generator was trained on: its images are searched for copies (memorisation).
    reconstructions : Table, str or path, optional
        The real rows after the generator's autoencoder, with their ids; or weights, through whose autoencoder the
        images go now. They show what latents alone cost.
    evaluators : sequence of str, optional
        Names of ``galaxysd plugins``; by default all but ``statmorph``, which is slow.
    embedder : str, callable or Embedder, optional
        See `astro_galaxysd.evaluation.embedders.make_embedder`; by default ours.
    reader : str, path or Reader
        Reads votes off images, for consistency; never one that chose weights or rows.
    groups : str or None
        Rows that are also judged by themselves, and whose mixture is the same in all sets: ``"prompt"``,
        ``"answer"``, ``"auto"``, a column of both tables, or None, see `group_rows`.
    n : int, optional
        Images of each set, at least 16; by default as many as there are.
    images : str
        Image column of all tables.
    schema, id_column : str, optional
        Dialect of the vote columns; column of the ids.
    cache : path, optional
        Folder in which what was measured of images is kept for the next time.
    rng : None, int, SeedSequence or Generator
        Chooses rows and resamples (SPEC 7).
    report : path, optional
        Folder for a report, see `astro_galaxysd.reporting.report.write_report`.
    blind : bool
        Whether the report has a page on which a person tells real from synthetic galaxies.
    overwrite : bool
        Whether the folder `report` may be replaced.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Table
        A row for each metric and group. ``evaluator``, ``metric``; ``group``: ``"all"``, an answer's key, or a group of
        rows; ``value``, ``error`` (standard error); ``ceiling``, ``ceiling_error``: the same figure of as many real
        images in the synthetic ones' place; ``reconstruction``, ``reconstruction_error`` where there are any;
        ``n_real``, ``n_synthetic``; ``higher_is_better``; ``note``: why a value is NaN. ``meta`` has the record of
        the run under `EVALUATION`.

    Raises
    ------
    ConditionError, ImageError, NoRealRowsError, UnknownNameError, WeightsError, OutputError
        Before anything is measured.

    Examples
    --------
    >>> scores = evaluate(real, synthetic, rng=1)  # doctest: +SKIP
    >>> scores["metric", "value", "error", "ceiling"][scores["group"] == "all"]  # doctest: +SKIP
    """
    return assess(
        real, synthetic, training=training, reconstructions=reconstructions, evaluators=evaluators, embedder=embedder,
        reader=reader, groups=groups, n=n, images=images, schema=schema, id_column=id_column, cache=cache, rng=rng,
        report=report, blind=blind, overwrite=overwrite, progress=progress,
    ).table  # fmt: skip


def assess(
    real: Table,
    synthetic: Table,
    *,
    training: Table | None = None,
    reconstructions: Table | str | os.PathLike[str] | None = None,
    evaluators: Sequence[str] | None = None,
    embedder: str | Callable[[np.ndarray], Any] | Embedder | None = None,
    reader: str | os.PathLike[str] | Reader = "reporting",
    groups: str | None = "auto",
    n: int | None = None,
    images: str = "image",
    schema: str | None = None,
    id_column: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    rng: RNG = None,
    report: str | os.PathLike[str] | None = None,
    blind: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> Assessment:
    """Do what `evaluate` does, and keep what was measured; parameters and errors are the same.

    Returns
    -------
    Assessment
    """
    seed = run_seed(rng)
    _refuse_report(report, overwrite)
    options: dict[str, Any] = {"images": images, "schema": schema, "id_column": id_column}
    drawn = read_side(synthetic, drawn=True, what="synthetic", **options)
    observed = read_side(real, drawn=False, what="real", **options)
    learnt = None if training is None else read_side(training, drawn=False, what="training", **options)
    if learnt is not None:
        refuse_shared(learnt, observed)
    matched, notes = match_sides(drawn, observed, groups=groups, n=n, rng=stream(seed, "rows"))
    made = create_evaluators(evaluators)
    sets = read_sets(drawn, observed, matched, notes, training=learnt, images=images)
    if reconstructions is not None:
        sets = _reconstructed(sets, reconstructions, observed, images, id_column)
    weights = _weights_of(drawn, matched)
    seen = _seen_rows(observed, matched, weights)
    judge = _give_reader(made, reader) if drawn.requests.any else None
    memory = _memory(embedder, cache)
    table = _score(made, sets, memory, seed, progress)
    table.meta[EVALUATION] = record = _record(
        sets, drawn, observed, matched, seed=seed, evaluators=[one.name for one in made], weights=weights, seen=seen,
        embedder=memory.revision, reader=getattr(judge, "revision", None),
    )  # fmt: skip
    batches = (sets.real, sets.held, sets.synthetic, sets.training, sets.reconstructions)
    found = Assessment(table, *batches, sets.groups, memory, judge, record)
    if report is not None:
        from astro_galaxysd.reporting.report import write_report

        write_report(found, report, blind=blind, overwrite=overwrite)
    return found


def _refuse_report(report: str | os.PathLike[str] | None, overwrite: bool) -> None:
    """Long work should not end at a folder that can't be written."""
    if report is None:
        return
    target = Path(report)
    if target.exists() and not overwrite:
        raise OutputExistsError(f"{str(target)!r} exists already; pass overwrite=True or choose another name")
    if not target.resolve().parent.is_dir():
        raise OutputError(f"can't write {str(target)!r}: its folder {str(target.parent)!r} doesn't exist; create it")


def _reconstructed(
    sets: Sets, given: Table | str | os.PathLike[str], real: Side, images: str, id_column: str | None
) -> Sets:
    if not isinstance(given, str | os.PathLike):
        return with_rebuilt_table(sets, real, given, images=images, id_column=id_column)
    from astro_galaxysd.diffusion.generator import weights_folder
    from astro_galaxysd.diffusion.roundtrip import through_autoencoder
    from astro_galaxysd.drawing import weight_card

    folder = weights_folder(weight_card(given).location)
    return with_rebuilt(sets, through_autoencoder(folder, sets.held.images))


def _weights_of(synthetic: Side, matched: Matched) -> list[tuple[str, str]]:
    """Names and revisions of the weights that drew the chosen rows."""
    light = synthetic.light
    if WEIGHTS not in light.colnames:
        return []
    names = texts(light[WEIGHTS])
    revisions = texts(light[WEIGHTS_REVISION]) if WEIGHTS_REVISION in light.colnames else [None] * len(names)
    found = {(names[row], revisions[row] or "") for row in matched.synthetic}
    return sorted((name, revision) for name, revision in found if name)


def _seen_rows(real: Side, matched: Matched, weights: list[tuple[str, str]]) -> dict[str, int | None]:
    """How many of the real rows each of the weights, and the reader that ships, were trained on; None: not known."""
    from astro_galaxysd.evaluation.reading import judges_folder

    chosen = np.concatenate([matched.real, matched.held])
    ids = [real.names[row] for row in chosen] if real.identified else []
    folders = {f"weights {name!r}": _folder_of(name, revision) for name, revision in weights}
    folders["the reader that ships"] = judges_folder()
    seen = {who: _count_seen(folder, ids) for who, folder in folders.items()}
    for who, number in seen.items():
        if number:
            warnings.warn(
                f"{number} of {len(ids)} real rows that are compared with were among those {who} learnt from: what is "
                "said of them is too good; compare with other rows",
                SeenRowsWarning,
                stacklevel=4,
            )
    return seen


def _folder_of(weights: str, revision: str) -> Path | None:
    """Folder of weights that a table names, if they are here in that revision."""
    from astro_galaxysd.diffusion.components import folder_revision
    from astro_galaxysd.diffusion.generator import weights_folder
    from astro_galaxysd.drawing import weight_card

    try:
        card = weight_card(weights)
        folder = weights_folder(card.location)
        here = card.revision or folder_revision(folder)
    except GalaxySDError:
        return None
    return folder if revision in ("", here) else None


def _count_seen(folder: Path | None, ids: list[str]) -> int | None:
    from astro_galaxysd.promotion import trained_on

    if folder is None or not ids:
        return None
    try:
        return int(trained_on(folder, ids).sum())
    except WeightsError:
        return None


def _give_reader(made: list[Named], reader: str | os.PathLike[str] | Reader) -> Reader | None:
    """Load the reader if an evaluator has an attribute ``reader``, and set it there."""
    reading = [one.evaluator for one in made if hasattr(one.evaluator, "reader")]
    if not reading:
        return None
    if isinstance(reader, str | os.PathLike):
        from astro_galaxysd.evaluation.reading import ImageReader

        reader = ImageReader.load(reader)
    for evaluator in reading:
        evaluator.reader = reader
    return reader


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
    facts |= {
        "n": n,
        "paired": matched.paired,
        "groups": {name: count._asdict() for name, count in matched.counts.items()},
        "weights": [{"name": name, "revision": revision} for name, revision in facts["weights"]],
        "conditions": {"synthetic": drawn.requests.source, "real": observed.requests.source},
        "excluded": {
            "synthetic": drawn.excluded | {"not matched": len(drawn) - n},
            "real": observed.excluded | {"not matched": len(observed) - 2 * n},
        },
        "training": None if learnt is None else len(learnt),
        "reconstructions": None if rebuilt is None else len(rebuilt),
    }
    record: dict[str, Any] = json_ready(common | facts)
    return record
