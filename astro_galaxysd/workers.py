"""Who draws the shards of a long run: this process, or workers of Dask.

A task holds all that a worker needs, so that it can be given to another when its worker dies: it leaves a complete file
under its final name, the same whoever does it, and what it returns is the file's line in the manifest.
"""

from __future__ import annotations

import hashlib
import pickle
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_galaxysd.drawing import Drawing
from astro_galaxysd.errors import MissingDependencyError, OutputError, PluginError
from astro_galaxysd.generation import add_provenance
from astro_galaxysd.images.manifest import file_hash
from astro_galaxysd.images.provenance import RUN_RECORD, json_ready
from astro_galaxysd.images.shardfiles import write_shard

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Done", "Task", "draw_for", "draw_here", "draw_on", "draw_shard"]

#: Tasks that are on their way for each worker: one it is at, one it has.
_AHEAD = 2
#: Times that Dask may give a shard up, each after several of its workers died, before it is the shard's fault.
_DEATHS = 3


@dataclass(frozen=True)
class Task:
    """A shard to draw.

    Parameters
    ----------
    number : int
        Of the shard, from 0.
    rows : Table
        With prompts and seeds.
    path : Path
    kind : str
        As `write_shard`.
    record : dict
        The run record that the file gets; the same in every process that draws for the run.
    """

    number: int
    rows: Table
    path: Path
    kind: str
    record: dict[str, Any]


@dataclass(frozen=True)
class Done:
    """A shard that lies under its final name: its number, the SHA-256 of its file and its length in bytes."""

    number: int
    sha256: str
    size: int


def draw_shard(drawing: Drawing, task: Task) -> Done:
    """Draw the rows of a task and write them.

    Raises
    ------
    PluginError, OutputError
        If the generator fails, or the system refuses to write.
    """
    own = drawing.of(task.rows)
    pieces = own.pieces()
    first = next(pieces)  # with it the generator has told what it drew with
    rows = task.rows.copy(copy_data=False)
    add_provenance(rows, own.told)
    rows.meta[RUN_RECORD] = {**task.record, "parameters": {**task.record["parameters"], **json_ready(own.told)}}
    write_shard(rows, chain([first], pieces), task.path, task.kind)
    return Done(task.number, file_hash(task.path), task.path.stat().st_size)


def draw_here(drawing: Drawing, tasks: Iterable[Task]) -> Iterator[Done]:
    """Draw one task after the other in this process."""
    return (draw_shard(drawing, task) for task in tasks)


def draw_on(client: Any, drawing: Drawing, tasks: Iterable[Task]) -> Iterator[Done]:
    """Draw tasks on the workers of a Dask client; those of a worker that dies are given to others.

    Parameters
    ----------
    client : dask.distributed.Client
    drawing : Drawing
        Not sent itself: each worker loads what it names, once.
    tasks : iterable of Task
        Only a few are in memory.

    Raises
    ------
    MissingDependencyError
        If dask is not installed.
    PluginError
        If a shard killed several workers.
    OutputError
        If workers write to another folder than this process sees.
    """
    try:
        from dask.distributed import KilledWorker, as_completed
    except ImportError as error:
        raise MissingDependencyError('client= needs dask: pip install "astro-galaxysd[dask]"') from error
    settings = drawing.settings
    token = hashlib.sha256(pickle.dumps(settings)).hexdigest()[:16]
    waiting = iter(tasks)
    begun: dict[str, tuple[Task, int]] = {}
    running = as_completed(raise_errors=False)

    def begin(task: Task, deaths: int = 0) -> None:
        key = f"galaxysd-{token}-{task.number}-{deaths}"
        begun[key] = task, deaths
        running.add(client.submit(draw_for, settings, token, task, key=key, pure=False))

    try:
        for task in islice(waiting, _AHEAD * max(1, len(client.nthreads()))):
            begin(task)
        for future in running:
            task, deaths = begun.pop(future.key)
            error = future.exception()
            if isinstance(error, KilledWorker):
                if deaths == _DEATHS:
                    raise PluginError(
                        f"{task.path.name} was begun again and again, and each time its worker died; see the workers' "
                        "logs, and give them more memory or fewer shard_rows"
                    ) from error
                begin(task, deaths + 1)
                continue
            done: Done = future.result()
            _refuse_elsewhere(task, done)
            yield done
            for task in islice(waiting, 1):
                begin(task)
    finally:
        client.cancel([future for future in running.futures])


def _refuse_elsewhere(task: Task, done: Done) -> None:
    """Raise where a worker's file is not what lies here."""
    if not task.path.exists() or task.path.stat().st_size != done.size:
        raise OutputError(
            f"a worker wrote {task.path.name}, but it is not in {str(task.path.parent)!r} here; give a folder that all "
            "workers and this process share"
        )


_loaded: dict[str, Drawing] = {}
_one_at_a_time = threading.Lock()


def draw_for(settings: dict[str, Any], token: str, task: Task) -> Done:
    """Draw a task in a worker; what `settings` name is loaded when the first one comes, and kept for the others.

    Parameters
    ----------
    settings : dict
        Of `Drawing`.
    token : str
        The same for the same settings.
    task : Task
    """
    with _one_at_a_time:  # a worker's threads share a generator, which has threads of its own
        if token not in _loaded:
            _loaded.clear()
            _loaded[token] = Drawing(task.rows, progress=False, **settings)
        return draw_shard(_loaded[token], task)
