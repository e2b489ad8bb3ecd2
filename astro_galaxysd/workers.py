"""Who draws the shards of a long run: this process, or workers of Dask.

A task holds the rows, so that it can be given to another worker when its own dies: it leaves a complete file under its
final name, the same whoever does it, and what it returns is the file's line in the manifest. What all tasks share is
sent to each worker once.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import pickle
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.drawing import Drawing
from astro_galaxysd.errors import (
    ConditionError,
    GalaxySDError,
    MissingDependencyError,
    OutputError,
    PluginError,
    WeightsError,
)
from astro_galaxysd.generation import add_provenance
from astro_galaxysd.images.manifest import file_hash
from astro_galaxysd.images.provenance import RUN_RECORD, WEIGHTS_REVISION, json_ready
from astro_galaxysd.images.shardfiles import write_shard
from astro_galaxysd.references import reference_images

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Done", "Task", "check_client", "draw_for", "draw_here", "draw_on", "draw_shard", "kept_drawing", "token_of"]

#: Tasks that are on their way for each worker: one it is at, one it has.
_AHEAD = 2
#: Times that a shard which Dask gave up, after several of its workers died, is begun again.
_AGAIN = 1
#: Seconds after which a file that a worker wrote has to be seen here; network file systems keep lists that long.
_SEEN_AFTER = 60.0
#: What Dask sets for the processes of its workers: bytes that glibc keeps at the end of the heap.
_TRIM, _DASK_S_OWN = "MALLOC_TRIM_THRESHOLD_", "65536"
#: In place of it, by glibc's mallopt: these bytes (-1), and the largest pieces that come from the heap (-3). One thread
#: drew 16 galaxies in 0.98 s with Dask's setting and in 0.57 s with these, on an EPYC processor.
_KEPT_MEMORY = {-1: 2**28, -3: 2**25}
_CLOSED = "the Dask client or its cluster was closed while galaxies were drawn; the same call goes on with another one"


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
    id_column : str, optional
        As `write_shard`: the column that the seeds follow from.
    """

    number: int
    rows: Table
    path: Path
    kind: str
    record: dict[str, Any]
    id_column: str | None = None


@dataclass(frozen=True)
class Done:
    """A shard that lies under its final name: its number, the SHA-256 of its file and its length in bytes."""

    number: int
    sha256: str
    size: int


def draw_shard(drawing: Drawing, task: Task, tell: Callable[[int], object] | None = None) -> Done:
    """Draw the rows of a task and write them.

    Parameters
    ----------
    drawing : Drawing
    task : Task
    tell : callable, optional
        Called with the number of rows that were drawn, piece by piece.

    Raises
    ------
    PluginError, OutputError
        If the generator fails, or the system refuses to write.
    """
    own = drawing.of(task.rows)
    pieces = own.pieces() if tell is None else _counted(own.pieces(), tell)
    first = next(pieces)  # with it the generator has told what it drew with
    rows = task.rows.copy(copy_data=False)
    add_provenance(rows, own.told)
    rows.meta[RUN_RECORD] = {**task.record, "parameters": {**task.record["parameters"], **json_ready(own.told)}}
    write_shard(rows, chain([first], pieces), task.path, task.kind, id_column=task.id_column)
    return Done(task.number, file_hash(task.path), task.path.stat().st_size)


def _counted(pieces: Iterator[np.ndarray], tell: Callable[[int], object]) -> Iterator[np.ndarray]:
    for piece in pieces:
        tell(len(piece))
        yield piece


def draw_here(drawing: Drawing, tasks: Iterable[Task], tell: Callable[[int], object] | None = None) -> Generator[Done]:
    """Draw one task after the other in this process; `tell` as in `draw_shard`."""
    return (draw_shard(drawing, task, tell) for task in tasks)


def check_client(client: Any) -> None:
    """Find out before long work whether a client can have shards drawn.

    Raises
    ------
    MissingDependencyError
        If dask is not installed.
    ConditionError
        If it is no client, one of asynchronous programs, closed, or without workers.
    """
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise MissingDependencyError('client= needs dask: pip install "astro-galaxysd[dask]"') from error
    if not isinstance(client, Client):
        raise ConditionError(
            f"client={client!r} is no client of Dask; give dask.distributed.Client(cluster or address)"
        )
    if client.asynchronous:
        raise ConditionError("client= is asynchronous; give one that was made without asynchronous=True")
    if client.status != "running":
        raise ConditionError(f"client= is {client.status}; give one that is connected")
    if not client.nthreads():
        raise ConditionError(
            "the client has no workers; start some, and client.wait_for_workers(1) waits for the first"
        )


def draw_on(client: Any, drawing: Drawing, tasks: Iterable[Task]) -> Generator[Done]:
    """Draw tasks on the workers of a Dask client; those of a worker that dies are given to others.

    Parameters
    ----------
    client : dask.distributed.Client
        Of which `check_client` has nothing to say.
    drawing : Drawing
        Not sent itself: each worker loads what it names, once.
    tasks : iterable of Task
        Only a few are in memory.

    Raises
    ------
    PluginError
        If a shard killed several workers, Dask gave the work up, or the client was closed.
    OutputError
        If workers write to another folder than this process sees.
    """
    waiting, folders = iter(tasks), set()
    with _Shared(client, drawing) as shared:
        shared.send_settings()
        for task in islice(waiting, shared.room):
            shared.begin(task)
        while shared.begun:
            task, done = shared.next()
            if done is not None:
                _refuse_elsewhere(task, done)
                folders.add(task.path.parent)
                yield done
            for following in islice(waiting, max(0, shared.room - len(shared.begun))):
                shared.begin(following)
        for folder in folders:
            _clear(folder)


class _Shared:
    """A run on a client: what workers need is theirs, and what nobody waits for any longer is cancelled at the end."""

    def __init__(self, client: Any, drawing: Drawing) -> None:
        from dask.distributed import as_completed

        self.client = client
        #: Of this run alone: a client hands out what it has under a name that it knows.
        self._name = f"galaxysd-{secrets.token_hex(6)}"
        content = drawing.settings, _pixels_follow_from(drawing)
        self._plugin = _settings_plugin(self._name, token_of(drawing.settings, drawing.told), pickle.dumps(content))
        self._running = as_completed(loop=client.loop)
        self.begun: dict[str, tuple[Any, Task, int]] = {}

    @property
    def room(self) -> int:
        """Tasks that may be on their way with the workers of this moment."""
        return _AHEAD * max(1, len(self.client.nthreads()))

    def begin(self, task: Task, again: int = 0) -> None:
        key = f"{self._name}-{task.number}-{again}"
        future = self.client.submit(draw_for, self._name, task, key=key, pure=False)
        self.begun[key] = future, task, again
        self._running.add(future)

    def next(self) -> tuple[Task, Done | None]:
        """A task that has ended; without its outcome where it was begun again."""
        future = next(self._running)
        _, task, again = self.begun.pop(future.key)
        try:
            return task, self._outcome(future, task, again)
        finally:
            future.release()  # or the traceback of an error would keep it

    def _outcome(self, future: Any, task: Task, again: int) -> Done | None:
        from dask.distributed import KilledWorker

        try:
            done: Done = future.result()
        except KilledWorker as error:
            if again == _AGAIN:
                raise PluginError(
                    f"{task.path.name} was begun again and again, and each time its worker died; see the workers' "
                    "logs, and give them more memory or fewer shard_rows"
                ) from error
            self.begin(task, again + 1)
            return None
        except Exception as error:
            if future.cancelled():
                raise PluginError(_CLOSED) from error
            if type(error).__module__.partition(".")[0] == "distributed":
                raise PluginError(f"Dask gave {task.path.name} up: {type(error).__name__}: {error}") from error
            raise
        return done

    def send_settings(self) -> None:
        """Give them to all workers, and to those that come later."""
        self.client.register_plugin(self._plugin, name=self._name)

    def __enter__(self) -> _Shared:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        with suppress(Exception):  # of a client that was closed meanwhile
            self.client.cancel([future for future, _, _ in self.begun.values()])
            self.client.unregister_worker_plugin(self._name)
        self.begun.clear()
        if isinstance(error, Exception) and not isinstance(error, GalaxySDError) and self.client.status != "running":
            raise PluginError(_CLOSED) from error


def _settings_plugin(run: str, token: str, packed: bytes) -> Any:
    """What gives workers, those to come too, the settings of a run, and takes them away at its end."""
    from dask.distributed import WorkerPlugin

    class Settings(WorkerPlugin):  # type: ignore[misc]
        def setup(self, worker: Any) -> None:
            _receive(run, token, packed)

        def teardown(self, worker: Any) -> None:
            _forget(run)

    return Settings()


def _refuse_elsewhere(task: Task, done: Done) -> None:
    """Raise where a worker's file is not what lies here."""
    patience = time.monotonic() + _SEEN_AFTER
    while not _is_seen(task.path, done.size):
        if time.monotonic() > patience:
            raise OutputError(
                f"a worker wrote {task.path.name}, but it is not in {str(task.path.parent)!r} here; give a folder that "
                "all workers and this process share"
            )
        time.sleep(1)


def _is_seen(path: Path, size: int) -> bool:
    """Whether a file is there; where it is not, the folder is listed: network file systems then look at it anew."""
    if _has_size(path, size):
        return True
    with suppress(OSError):
        return any(found.name == path.name for found in path.parent.iterdir()) and _has_size(path, size)
    return False


def _has_size(path: Path, size: int) -> bool:
    with suppress(OSError):
        return path.stat().st_size == size
    return False


def _clear(folder: Path) -> None:
    """Remove what workers that were killed had begun, once all is drawn."""
    for leftover in folder.glob(".partial-*"):
        with suppress(OSError):
            leftover.unlink()


#: In a worker: token and settings of the runs that go on, by their names.
_received: dict[str, tuple[str, bytes]] = {}
#: The one drawing that is loaded, by its token.
_kept: dict[str, Drawing] = {}
_one_at_a_time = threading.Lock()


def _receive(run: str, token: str, packed: bytes) -> None:
    _received[run] = token, packed
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Have glibc keep what is freed, where Dask's own setting hands every tensor back to the system at once."""
    if os.environ.get(_TRIM) != _DASK_S_OWN:
        return
    with suppress(OSError, AttributeError, TypeError):  # other systems have other ways
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, size in _KEPT_MEMORY.items():
            mallopt(parameter, size)


def _forget(run: str) -> None:
    _received.pop(run, None)


def draw_for(run: str, task: Task) -> Done:
    """Draw a task in a worker, one at a time; what its run shares is loaded when the first one comes.

    Parameters
    ----------
    run : str
        Name of a run whose settings the worker was sent.
    task : Task

    Raises
    ------
    WeightsError, ConditionError
        If the worker's weights, or its device and software, are not those of the process that asks.
    PluginError, OutputError, UnknownNameError
        As `Drawing` and `draw_shard`.
    """
    token, packed = _received[run]

    def load() -> Drawing:
        settings, wanted = pickle.loads(packed)
        drawing = Drawing(task.rows, progress=False, **settings)
        _refuse_others(drawing, wanted)
        return drawing

    with kept_drawing(token, load) as drawing:
        return draw_shard(drawing, task)


def _pixels_follow_from(drawing: Drawing) -> dict[str, Any]:
    """What has to be the same wherever a run is drawn; None where the generator does not tell."""
    told = drawing.told
    return {
        WEIGHTS_REVISION: str(told[WEIGHTS_REVISION]), "device": told.get("device"), "versions": told.get("versions")
    }  # fmt: skip


def _refuse_others(drawing: Drawing, wanted: dict[str, Any]) -> None:
    """Raise in a worker that would draw other pixels than the process that asks."""
    own = _pixels_follow_from(drawing)
    if own[WEIGHTS_REVISION] != wanted[WEIGHTS_REVISION]:
        raise WeightsError(
            f"weights {drawing.settings['weights'].location!r} are {own[WEIGHTS_REVISION]!r} at a worker and "
            f"{wanted[WEIGHTS_REVISION]!r} here; give a folder that all share, or a name of one commit on the Hub"
        )
    if own["device"] != wanted["device"]:
        raise ConditionError(
            f"a worker draws on {own['device']!r} and this process on {wanted['device']!r}, which gives other pixels; "
            "call from a machine like the workers', or start workers on machines like this one"
        )
    if own["versions"] != wanted["versions"]:
        there, here = own["versions"] or {}, wanted["versions"] or {}
        other = [name for name in {**here, **there} if here.get(name) != there.get(name)]
        told = ", ".join(f"{name} {there.get(name)} at a worker and {here.get(name)} here" for name in other)
        raise ConditionError(f"{told}: other versions may give other pixels; install the same in both places")


def token_of(settings: Mapping[str, Any], told: Mapping[str, Any] | None = None) -> str:
    """A name for settings, by which a process knows that it has loaded them.

    Parameters
    ----------
    settings : mapping
        Of a `Drawing`; ``references`` by their pixels, of which each object is read once.
    told : mapping, optional
        What else has to be the same.

    Returns
    -------
    str
        The same for equal settings, in all processes.
    """
    references = settings.get("references")
    plain = {**settings, "references": None if references is None else _references_hash(references)}
    return hashlib.sha256(json.dumps(json_ready([plain, told]), sort_keys=True).encode()).hexdigest()[:16]


#: Hashes of references that are in use, by the ids of their objects.
_hashed: dict[int, tuple[weakref.ref[Any], str]] = {}


def _references_hash(references: Any) -> str:
    known, name = _hashed.get(id(references)), id(references)
    if known is not None and known[0]() is references:
        return known[1]
    images = reference_images(references)
    digest = hashlib.sha256(f"{images.shape}".encode())
    digest.update(np.ascontiguousarray(images).data)
    with suppress(TypeError):  # lists can't be watched; they are read again
        _hashed[name] = weakref.ref(references, lambda _: _hashed.pop(name, None)), digest.hexdigest()
    return digest.hexdigest()


@contextmanager
def kept_drawing(token: str, load: Callable[[], Drawing]) -> Iterator[Drawing]:
    """What `load` gives, for one thread at a time; the process keeps it until it is asked for another one.

    Parameters
    ----------
    token : str
        The same for the same settings.
    load : callable
    """
    with _one_at_a_time:  # threads share a generator, which has threads of its own
        if token not in _kept:
            _kept.clear()
            _kept[token] = load()
        yield _kept[token]
