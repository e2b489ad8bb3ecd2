"""Galaxies by the million: conditions in, a folder of shards out, which an interruption or a kill doesn't hurt.

``generate_to`` = the conditions, stretch by stretch -> prompts and seeds, checked and hashed -> a manifest, or the one
that is there -> what it lacks is drawn, here or by workers of Dask (`astro_galaxysd.workers`) -> each shard is written
under a temporary name, gets its final one, and then its line in the manifest. A row's pixels follow from its prompt and
seed, so it does not matter who draws which shard, when, or how often.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.conditions.columns import find_id_column
from astro_galaxysd.conditions.seeds import RNG, refuse_duplicates
from astro_galaxysd.drawing import Drawing, warn_if_interrupted
from astro_galaxysd.errors import ConditionError, OutputError, OutputExistsError, VersionsWarning
from astro_galaxysd.images.manifest import (
    MANIFEST,
    DamagedManifestError,
    Manifest,
    Shard,
    only_writer,
    read_manifest,
    rows_hash,
    set_aside,
)
from astro_galaxysd.images.provenance import run_record
from astro_galaxysd.images.shardfiles import SHARD_KINDS, lost_columns
from astro_galaxysd.references import reference_images
from astro_galaxysd.stretches import Stretches
from astro_galaxysd.weightcards import DEFAULT_WEIGHTS
from astro_galaxysd.workers import Task, check_client, draw_here, draw_on

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.plugins.protocols import Generator

__all__ = ["Written", "generate_to"]

#: Rows of a shard: of the embedded model some 20 MB, and minutes of drawing.
SHARD_ROWS = 1000


@dataclass(frozen=True)
class Written:
    """What a folder of shards holds after a call.

    Parameters
    ----------
    folder : Path
    rows : int
        Rows that are there.
    planned : int
        Rows that were asked for; more than `rows` only after an interrupt.
    drawn : int
        Rows that this call drew.
    repaired : tuple of str
        Files that were there and had been damaged, and were drawn again.
    """

    folder: Path
    rows: int
    planned: int
    drawn: int
    repaired: tuple[str, ...] = ()


def generate_to(
    dest: str | os.PathLike[str],
    conditions: Table | str | os.PathLike[str],
    *,
    rng: RNG = None,
    format: str = "parquet",
    shard_rows: int = SHARD_ROWS,
    client: Any = None,
    verify: bool = False,
    batch_size: int | None = None,
    weights: str | os.PathLike[str] = DEFAULT_WEIGHTS,
    generator: str | Generator | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    references: Table | np.ndarray | None = None,
    schema: str | None = None,
    labels: Mapping[str, str] | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    progress: bool = True,
) -> Written:
    """Draw one image for every row of a table of any length, into a folder of shards.

    The same call goes on where an earlier one ended, however that ended. Rows are those of `generate`, bit by bit,
    whatever the batch size, the number of workers, and how often the drawing was interrupted.

    Parameters
    ----------
    dest : path-like
        The folder; made where it is missing. ``shard-00000.parquet`` ... and ``_manifest.json``.
    conditions : Table or path-like
        As `generate`; a file or folder is read piece by piece, so that memory does not grow with its length.
    rng : None, int, SeedSequence or Generator
        As `generate`. None goes on with the seed of the run that is there.
    format : {"parquet", "fits"}
        Parquet with an image feature, which pandas and `datasets` read; FITS with a table and one image HDU a row.
    shard_rows : int
        Rows of a file, and the most that a kill costs each worker.
    client : dask.distributed.Client, optional
        Its workers draw; they must see the same folder and weights.
    verify : bool
        Whether files that are there are compared with their hashes, and damaged ones drawn again. Where the manifest is
        damaged, all are; those that were there get names that begin with ``_old-shard-``, to be removed by hand.
    batch_size, weights, generator, steps, guidance, references
        As `generate`; for a `client`, the generator's name only.
    schema, labels, label_column, id_column
        As `generate`.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Written
        After an interrupt it has fewer rows than were asked for.

    Raises
    ------
    ConditionError, PromptError, UnknownNameError, WeightsError
        Before anything is drawn, of any row. A ConditionError also where the conditions change meanwhile.
    OutputExistsError
        If the folder holds something else, or rows that were drawn from other conditions or in another way.
    OutputError
        If a column can't be kept, another process writes there, or the system refuses: what is finished stays, and the
        same call goes on.
    PluginError
        If a plug-in's generator fails.
    MissingDependencyError
        For a `client` without dask.

    Examples
    --------
    >>> import tempfile
    >>> from astropy.table import Table
    >>> conditions = Table({"id": [1, 2, 3], "prompt": ["sdss, merger"] * 3})
    >>> written = generate_to(tempfile.mkdtemp(), conditions, rng=1, steps=2, shard_rows=2, progress=False)
    >>> written.rows, sorted(path.name for path in written.folder.glob("shard*"))
    (3, ['shard-00000.parquet', 'shard-00001.parquet'])
    """
    _check(format, shard_rows, client, generator)
    folder = Path(dest).expanduser().absolute()
    rows = Stretches(
        conditions, shard_rows, schema=schema, labels=labels, label_column=label_column, id_column=id_column
    )
    with only_writer(folder):
        before, lost = _before(folder, verify=verify)
        rows.choose_seed(rng, None if before is None else before.run["parameters"].get("run_seed"))
        drawing = Drawing(
            next(iter(rows)).rows, generator, weights=weights, steps=steps, guidance=guidance,
            batch_size=batch_size, references=references, progress=False,
        )  # fmt: skip
        wanted = _planned(folder, format, rows, drawing)
        manifest = wanted if before is None else _continued(wanted, before)
        if lost:
            set_aside(folder)
        written = _drawn(manifest, wanted.run, rows, drawing, client=client, verify=verify, progress=progress)
    warn_if_interrupted(written.rows, written.planned)
    return replace(written, repaired=(MANIFEST, *written.repaired)) if lost else written


def _before(folder: Path, *, verify: bool) -> tuple[Manifest | None, bool]:
    """The manifest that is there, and whether it is damaged, which is an error unless that is to be repaired."""
    try:
        return read_manifest(folder), False
    except DamagedManifestError:
        if not verify:
            raise
        return None, True


def _check(format: str, shard_rows: int, client: Any, generator: Any) -> None:
    if format not in SHARD_KINDS:
        raise ConditionError(f"format = {format!r}; choose one of {', '.join(SHARD_KINDS)}")
    if not isinstance(shard_rows, (int, np.integer)) or shard_rows < 1:
        raise ConditionError(f"shard_rows = {shard_rows!r}: give a whole number of at least 1")
    if client is not None and not (generator is None or isinstance(generator, str)):
        raise ConditionError(
            "generator= is a loaded generator, which can't travel to the workers of client=; give its name and weights="
        )
    if client is not None:
        check_client(client)


def _planned(folder: Path, kind: str, rows: Stretches, drawing: Drawing) -> Manifest:
    """Check all rows and say what each shard is to hold; nothing is drawn yet."""
    shards, ids = [], []
    for number, names, planned in rows:
        drawing.check(planned)
        ids.append(np.array([_short_hash(name) for name in names], dtype=np.uint64))
        shards.append(Shard(f"shard-{number:05d}.{kind}", len(planned), _asked(planned)))
    _refuse_repeated(rows, np.concatenate(ids))
    parameters = {"conditions": ", ".join(sorted(rows.sources)), "run_seed": rows.seed, **_told(drawing)}
    return Manifest(folder, kind, run_record(**parameters), tuple(shards))


def _told(drawing: Drawing) -> dict[str, Any]:
    """What is known of the drawing before the first galaxy; what was asked for, where the generator doesn't tell."""
    asked: dict[str, Any] = {"steps": drawing.request.steps, "guidance": drawing.request.guidance}
    if drawing.settings.get("references") is not None:
        asked["references"] = hashlib.sha256(reference_images(drawing.settings["references"]).tobytes()).hexdigest()
    given = {name: value for name, value in asked.items() if value is not None}
    return {**given, **drawing.told}


def _asked(planned: Table) -> str:
    try:
        return rows_hash(planned)
    except OutputError as error:
        lost = lost_columns(planned)
        raise OutputError(
            f"shards can't keep the column(s) {', '.join(lost)}: {'; '.join(lost.values()) or error}; remove them from "
            "the conditions"
        ) from error


def _refuse_repeated(rows: Stretches, ids: np.ndarray) -> None:
    """Raise where an id occurs twice; only then are names kept."""
    values, counts = np.unique(ids, return_counts=True)
    repeated = set(values[counts > 1].tolist())
    if repeated:
        named = (name for stretch in rows for name in stretch.names)
        refuse_duplicates([name for name in named if _short_hash(name) in repeated])


def _short_hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode(errors="surrogatepass")).digest()[:8], "big")


def _continued(manifest: Manifest, before: Manifest) -> Manifest:
    """The manifest that is there, if it is of the same rows, drawn in the same way.

    Raises
    ------
    OutputExistsError
        Says what differs.
    """
    wanted, there = manifest.run["parameters"], before.run["parameters"]
    changed = {name: (there.get(name), wanted.get(name)) for name in {**there, **wanted} if name != "versions"}
    told = [f"{name} {old!r} there, {new!r} now" for name, (old, new) in changed.items() if old != new]
    if manifest.kind != before.kind:
        told.append(f"format {before.kind} there, {manifest.kind} now")
    asked = [[(shard.rows, shard.asked) for shard in one.shards] for one in (before, manifest)]
    if asked[0] != asked[1]:
        rows = [sum(number for number, _ in one) for one in asked]
        told.append(f"other conditions or other shard_rows ({rows[0]} rows there, {rows[1]} now)")
    if told:
        moved = there.get("device") != wanted.get("device")
        where = "; generator=load_generator(..., device=, precision=) says where to draw" if moved else ""
        raise OutputExistsError(
            f"{str(manifest.folder)!r} holds galaxies that were drawn otherwise: {'; '.join(told)}. Name another "
            f"folder, or ask for the same to go on{where}"
        )
    if not before.rows:
        return replace(manifest, shards=before.shards)
    _warn_of_versions(before, manifest.run)
    return before


def _warn_of_versions(before: Manifest, run: dict[str, Any]) -> None:
    """Say which rows were drawn with what is another version now."""
    new, told, rows = _circumstances(run), set(), 0
    for number, one in enumerate(before.runs):
        old, drawn = _circumstances(one), sum(shard.rows for shard in before.finished if shard.run == number)
        if drawn and old != new:
            rows += drawn
            told |= {
                f"{name} {old.get(name)} -> {new.get(name)}" for name in old | new if old.get(name) != new.get(name)
            }
    if rows:
        warnings.warn(
            f"{rows} rows were drawn with other versions: {', '.join(sorted(told))}; single pixels may differ",
            VersionsWarning,
            stacklevel=4,
        )


def _circumstances(run: Mapping[str, Any]) -> dict[str, Any]:
    return {**run["versions"], "machine": run["machine"]}


def _numbered(manifest: Manifest, run: dict[str, Any]) -> tuple[Manifest, int]:
    """Number of a run in a manifest: of one with the same versions, else of itself, which then comes last."""
    for number, one in enumerate(manifest.runs):
        if _circumstances(one) == _circumstances(run):
            return manifest, number
    return replace(manifest, later=(*manifest.later, run)), len(manifest.runs)


def _drawn(
    manifest: Manifest,
    run: dict[str, Any],
    rows: Stretches,
    drawing: Drawing,
    *,
    client: Any,
    verify: bool,
    progress: bool,
) -> Written:
    """Draw what is not there, with a line in the journal for each; where all is, nothing is written."""
    from tqdm import tqdm

    there = [manifest.is_there(shard, verify=verify) for shard in manifest.shards]
    damaged = tuple(shard.file for shard, good in zip(manifest.shards, there, strict=True) if shard.sha256 and not good)
    missing = np.flatnonzero(~np.array(there)).tolist()
    kept = zip(manifest.shards, there, strict=True)
    manifest = replace(manifest, shards=tuple(old if good else old.unfinished() for old, good in kept))
    manifest, number = _numbered(manifest, run)
    if missing:
        manifest = manifest.write()
    planned, before = sum(shard.rows for shard in manifest.shards), manifest.rows
    tasks = _tasks(manifest, run, rows, missing)
    bar = tqdm(total=planned, initial=before, unit="galaxy", disable=not progress)
    # here galaxy by galaxy; workers tell of shards
    finished = draw_here(drawing, tasks, bar.update) if client is None else draw_on(client, drawing, tasks)
    with closing(finished), bar:
        try:
            for done in finished:
                shard = replace(manifest.shards[done.number], sha256=done.sha256, size=done.size, run=number)
                manifest = manifest.finish(done.number, shard)
                if client is not None:
                    bar.update(shard.rows)
        except KeyboardInterrupt:
            manifest = read_manifest(manifest.folder) or manifest  # it may know of a shard more than is known here
            if not manifest.rows:
                raise
        except Exception as error:
            error.add_note(f"{manifest.rows} of {planned} rows are in {str(manifest.folder)!r}; the same call goes on")
            raise
    if missing:
        manifest = manifest.write()
    return Written(manifest.folder, manifest.rows, planned, manifest.rows - before, damaged)


def _tasks(manifest: Manifest, run: dict[str, Any], rows: Stretches, missing: Sequence[int]) -> Iterator[Task]:
    """Shards to draw, one by one, as they were planned.

    Raises
    ------
    ConditionError
        If the conditions aren't any more what they were.
    """
    record = {name: value for name, value in run.items() if name != "created"}
    left = set(missing)
    for number, _, planned in rows.some(set(missing)) if missing else ():
        if rows_hash(planned) != manifest.shards[number].asked:
            break
        left.remove(number)
        path = manifest.path(manifest.shards[number])
        yield Task(number, planned, path, manifest.kind, record, find_id_column(planned, rows.id_column))
    if left:
        raise ConditionError(
            f"the conditions of {manifest.shards[min(left)].file} changed while they were drawn from; "
            "write to another folder, or bring back what they were"
        )
