"""Shards drawn by workers of Dask: as one process draws them, whatever happens to the workers."""

from __future__ import annotations

import hashlib
import importlib
import os
import platform
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd import generate, generate_to, read_table, workers
from astro_galaxysd.drawing import Drawing
from astro_galaxysd.errors import (
    ConditionError,
    MissingDependencyError,
    OutputError,
    PluginError,
    UnknownNameError,
    WeightsError,
)
from astro_galaxysd.images.encoded import decode_image
from astro_galaxysd.images.manifest import read_manifest
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.workers import Task, draw_on

distributed = pytest.importorskip("distributed", reason="dask is not installed")

ENTRY = "[astro_galaxysd]\nslow = galaxysd_slow\n"
#: A plug-in as it is installed: its generator tells a file what it does, and does what its prompts say.
PLUGIN = """
    import os, signal, time
    from pathlib import Path
    from astro_galaxysd import hookimpl
    from astro_galaxysd.records import GeneratorSpec
    from astro_galaxysd.testing import NoiseGenerator

    HERE = Path(__file__).parent

    def tell(what):
        with open(HERE / "told.txt", "a") as file:
            file.write(f"{what} {os.getpid()}\\n")

    class Slow(NoiseGenerator):
        together = 4

        def __init__(self, card, *, steps=None, guidance=None, references=None):
            super().__init__(8)
            self.references = references
            tell("loaded")
            time.sleep(0.3)  # one that dies while its nanny still starts it is not started again

        def generate(self, conditions, *, batch_size=None):
            tell("begun")
            for prompt in conditions["prompt"]:
                time.sleep(0.02)
                if "dust lane" in prompt:
                    raise ValueError("no dust here")
                if "ring" in prompt and (HERE / "deadly").exists():
                    os.kill(os.getpid(), signal.SIGKILL)
            return super().generate(conditions, batch_size=batch_size)

    @hookimpl
    def galaxysd_register_generators():
        yield GeneratorSpec("slow", "galaxysd_slow:Slow")
"""


class Site:
    """The folder of the installed plug-in, and what its generator told."""

    def __init__(self, folder):
        self.folder = folder

    def told(self):
        path = self.folder / "told.txt"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def pids(self, what):
        return [int(pid) for told, pid in self.told() if told == what]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "galaxysd_slow.py").write_text(textwrap.dedent(PLUGIN))
    info = folder / "galaxysd_slow-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: galaxysd-slow\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))
        importlib.invalidate_caches()
        get_registry.cache_clear()
        yield Site(folder)
    sys.modules.pop("galaxysd_slow", None)


@contextmanager
def two_workers():
    """A client of two workers with one thread each."""
    import dask

    with (
        dask.config.set({"distributed.scheduler.no-workers-timeout": "60s"}),  # rather than to wait for ever
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def cluster(site):
    with two_workers() as client:
        yield client


@pytest.fixture
def mortal(site):
    """A client whose workers may be killed: a nanny that was about to start one may not start it again."""
    for name in ("told.txt", "deadly"):
        (site.folder / name).unlink(missing_ok=True)
    with two_workers() as client:
        yield client


@pytest.fixture
def client(cluster, site):
    """Two workers, one thread each, which have nothing loaded."""
    cluster.wait_for_workers(2, timeout=30)
    cluster.run(lambda: importlib.import_module("astro_galaxysd.workers")._kept.clear())
    (site.folder / "told.txt").unlink(missing_ok=True)
    (site.folder / "deadly").unlink(missing_ok=True)
    return cluster


def rows(n, prompt="sdss, merger"):
    return Table({"id": [f"g{row}" for row in range(n)], "prompt": [prompt] * n, "weight": np.arange(n) / 7})


def draw(folder, conditions, **options):
    options = {"generator": "slow", "rng": 5, "shard_rows": 4, "progress": False} | options
    return generate_to(folder, conditions, **options)


def files(folder):
    """Contents of all files of a folder but the lock and what tells of single runs."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in ("_manifest.json", ".lock")}


def check_complete(folder, conditions):
    """Every row once, in its shard; nothing half-written, and the manifest knows it all."""
    manifest = read_manifest(folder)
    assert all(manifest.is_there(shard, verify=True) for shard in manifest.shards)
    assert {path.name for path in folder.iterdir()} == {
        "_manifest.json", ".lock", *(shard.file for shard in manifest.shards)
    }  # fmt: skip
    assert list(read_table(folder)["id"]) == list(conditions["id"])


def test_files_are_those_of_a_run_without_a_client(client, site, tmp_path):
    conditions = rows(18)
    written = draw(tmp_path / "many", conditions, client=client)
    drawn_by = set(site.pids("begun"))
    draw(tmp_path / "one", conditions)
    assert (written.rows, written.planned, written.drawn) == (18, 18, 18)
    assert len(drawn_by) == 2
    assert os.getpid() not in drawn_by
    assert files(tmp_path / "many") == files(tmp_path / "one")
    check_complete(tmp_path / "many", conditions)
    alone = generate(conditions, generator="slow", rng=5, progress=False)
    np.testing.assert_array_equal(
        np.stack([decode_image(image, "") for image in read_table(tmp_path / "many")["image"]]), alone["image"]
    )


def test_fits_and_what_is_there_already(client, site, tmp_path):
    conditions = rows(10)
    draw(tmp_path / "one", conditions, format="fits")
    draw(tmp_path / "many", conditions, format="fits", client=client)
    assert files(tmp_path / "many") == files(tmp_path / "one")
    (tmp_path / "many" / "shard-00001.fits").unlink()
    again = draw(tmp_path / "many", conditions, format="fits", client=client)
    assert again.drawn == 4
    assert files(tmp_path / "many") == files(tmp_path / "one")


def test_each_worker_loads_once(client, site, tmp_path):
    """For two runs, with a shard for each of which a worker could load again."""
    here = os.getpid()
    draw(tmp_path / "first", rows(24), client=client)
    draw(tmp_path / "second", rows(24), client=client, rng=6)
    counts = Counter(pid for pid in site.pids("loaded") if pid != here)
    assert len(counts) == 2
    assert set(counts.values()) == {1}
    draw(tmp_path / "third", rows(24), client=client, steps=7)  # another generator, which is loaded
    counts = Counter(pid for pid in site.pids("loaded") if pid != here)
    assert set(counts.values()) == {2}


@pytest.mark.slow
def test_the_diffusion_generator(client, tiny_weights, tmp_path):
    conditions = rows(5)
    options = {"generator": None, "weights": tiny_weights, "steps": 2, "shard_rows": 2}
    draw(tmp_path / "many", conditions, client=client, **options)
    draw(tmp_path / "one", conditions, **options)
    assert files(tmp_path / "many") == files(tmp_path / "one")
    threads = client.run(lambda: importlib.import_module("torch").get_num_threads())
    assert set(threads.values()) == {1}


def test_a_worker_with_other_weights(client, site, tmp_path):
    drawing = Drawing(Table({"prompt": ["sdss"], "seed": [1]}), "slow", progress=False)
    drawing.shared["weights_revision"] = "0" * 40
    _, tasks = tasks_of(tmp_path, 3)
    with pytest.raises(WeightsError, match="weights '.*mini' are '.*' at a worker and '0{40}' here; give a folder"):
        list(draw_on(client, drawing, tasks))


OTHERS = [
    ("device", "cuda:0 bf16", "a worker draws on None and this process on 'cuda:0 bf16', .* start workers on machines"),
    ("versions", {"torch": "0.1"}, "torch None at a worker and 0.1 here: other .*; install the same in both places"),
]


@pytest.mark.parametrize(("what", "here", "message"), OTHERS)
def test_a_worker_that_would_draw_other_pixels(client, site, tmp_path, what, here, message):
    drawing = Drawing(Table({"prompt": ["sdss"], "seed": [1]}), "slow", progress=False)
    drawing.shared[what] = here
    _, tasks = tasks_of(tmp_path, 3)
    with pytest.raises(ConditionError, match=message):
        list(draw_on(client, drawing, tasks))
    assert not list(tmp_path.glob("shard-*"))


def test_what_a_generator_tells_of_its_device_and_versions(tiny_weights):
    """Is what workers are compared by."""
    drawing = Drawing(Table({"prompt": ["sdss"], "seed": [1]}), None, weights=tiny_weights, progress=False)
    own = workers._pixels_follow_from(drawing)
    workers._refuse_others(drawing, own)
    assert own["weights_revision"]
    with pytest.raises(ConditionError, match="a worker draws on 'c.*' and this process on 'tpu int4', .*; call from a"):
        workers._refuse_others(drawing, own | {"device": "tpu int4"})
    newer = {**own["versions"], "torch": "99.0"}
    with pytest.raises(ConditionError, match=r"^torch [\d.+a-z]* at a worker and 99.0 here: other versions"):
        workers._refuse_others(drawing, own | {"versions": newer})


class Killer(threading.Thread):
    """Kills a worker that is drawing, three times, at moments that nobody chose; looks at files all the while."""

    def __init__(self, site, folder, seed):
        super().__init__()
        self.site, self.folder, self.random = site, folder, random.Random(seed)
        self.killed, self.seen, self.ended = [], {}, threading.Event()

    def look(self):
        for path in self.folder.glob("shard-*"):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            assert self.seen.setdefault(path.name, content) == content

    def run(self):
        known = 0
        while not self.ended.is_set():
            self.look()
            begun = [pid for pid in self.site.pids("begun") if pid != os.getpid()]
            if len(self.killed) < 3 and len(begun) > known:
                self.ended.wait(self.random.uniform(0, 0.08))
                if begun[-1] not in self.killed:
                    os.kill(begun[-1], signal.SIGKILL)
                    self.killed.append(begun[-1])
                known = len(begun)
            self.ended.wait(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_workers_that_are_killed(mortal, site, tmp_path, seed):
    conditions = rows(80)
    killer = Killer(site, tmp_path / "many", seed)
    killer.start()
    try:
        written = draw(tmp_path / "many", conditions, client=mortal)
    finally:
        killer.ended.set()
        killer.join()
    draw(tmp_path / "one", conditions)
    assert len(killer.killed) == 3
    assert written.rows == 80
    assert files(tmp_path / "many") == files(tmp_path / "one")
    check_complete(tmp_path / "many", conditions)
    whole = {name: hashlib.sha256(content).hexdigest() for name, content in files(tmp_path / "many").items()}
    assert killer.seen.items() <= whole.items()
    assert killer.seen


def test_a_generator_that_raises(client, site, tmp_path):
    """As it does here; it is not asked again, and what was finished stays and is gone on from."""
    conditions = rows(20)
    conditions["prompt"] = np.array(["sdss, merger"] * 16 + ["sdss, dust lane"] * 4)
    with pytest.raises(PluginError) as here:
        draw(tmp_path / "one", conditions)
    (site.folder / "told.txt").unlink()
    with pytest.raises(
        PluginError, match="galaxysd-slow.* failed at stage 'generate': ValueError: no dust here"
    ) as far:
        draw(tmp_path / "many", conditions, client=client)
    assert str(far.value) == str(here.value)
    assert len(site.pids("begun")) == 5
    manifest = read_manifest(tmp_path / "many")
    assert f"{manifest.rows} of 20 rows are in" in far.value.__notes__[-1]
    assert manifest.rows >= 8  # of four shards, one may have ended after the fault was heard of
    assert client.futures == {}


def test_a_shard_that_kills_workers(mortal, site, tmp_path):
    """Each death is one too many here, and it is begun again once."""
    conditions = rows(4, "sdss, ring")
    (site.folder / "deadly").touch()
    mortal.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))
    with pytest.raises(PluginError, match="shard-00000.parquet was begun again and again, .* fewer shard_rows"):
        draw(tmp_path / "deadly", conditions, client=mortal)
    assert len(site.pids("begun")) == 2
    assert mortal.futures == {}
    (site.folder / "deadly").unlink()
    assert draw(tmp_path / "deadly", conditions).rows == 4
    check_complete(tmp_path / "deadly", conditions)


def tasks_of(folder, number):
    """Shards of one row, and how many of them were asked for."""
    asked = []
    record = {"parameters": {}}

    def ask():
        for count in range(number):
            asked.append(count)
            one = Table({"prompt": ["sdss"], "seed": [count]})
            yield Task(count, one, folder / f"shard-{count:05d}.parquet", "parquet", record)

    return asked, ask()


def test_images_are_named_by_the_ids_of_the_seeds(site, tmp_path):
    from astropy.io import fits

    one = Table({"name": ["a"], "galaxy_id": ["G7"], "prompt": ["sdss"], "seed": [1]})
    drawing = Drawing(one, "slow", progress=False)
    task = Task(0, one, tmp_path / "shard-00000.fits", "fits", {"parameters": {}}, "galaxy_id")
    assert workers.draw_shard(drawing, task).size == task.path.stat().st_size
    with fits.open(task.path) as hdus:
        assert hdus[-1].header["ROWID"] == "G7"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is one of glibc's")
def test_a_worker_keeps_memory_that_is_freed():
    """By Dask's setting every large array is new memory of the system, page by page; what a user chose stays."""
    count = """
import resource
import numpy as np
from astro_galaxysd import workers

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(500):
        np.ones(2**15)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = faults()
workers._receive("a", "b", b"c")
faults()
print(first, faults())
"""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    for threshold, kept in (("65536", True), ("65537", False)):
        environment = own | {"MALLOC_TRIM_THRESHOLD_": threshold}
        done = subprocess.run(
            [sys.executable, "-c", count], env=environment, check=True, capture_output=True, text=True
        )
        before, after = map(int, done.stdout.split())
        assert before > 10_000
        assert (after < before / 10) == kept


def test_rows_are_told_of_as_they_are_drawn(site, tmp_path):
    rows = Table({"prompt": ["sdss"] * 20, "seed": np.arange(20)})
    told = []
    workers.draw_shard(
        Drawing(rows, "slow", progress=False), Task(0, rows, tmp_path / "a.parquet", "parquet", {"parameters": {}}),
        told.append,
    )  # fmt: skip
    assert told == [4] * 5


def test_few_tasks_are_on_their_way(client, site, tmp_path):
    drawing = Drawing(Table({"prompt": ["sdss"], "seed": [1]}), "slow", progress=False)
    asked, tasks = tasks_of(tmp_path, 40)
    ahead, futures = [], []
    for number, _ in enumerate(draw_on(client, drawing, tasks)):
        ahead.append(len(asked) - number)
        futures.append(len(client.futures))
    assert len(asked) == len(ahead) == 40
    assert max(ahead) <= 4
    assert max(futures) <= 4
    assert client.futures == {}


def test_what_tasks_share_is_sent_once(client, site, tmp_path):
    """References of 20 MB, whose bytes no task holds."""
    references = np.zeros((417, 128, 128, 3), np.uint8)
    sent = []
    submit = client.submit

    def watch(function, *arguments, **options):
        sent.append(len(workers.pickle.dumps(arguments)))
        return submit(function, *arguments, **options)

    client.submit = watch
    try:
        draw(tmp_path / "many", rows(24), client=client, references=references)
    finally:
        del client.submit
    assert len(sent) == 6
    assert max(sent) < 20_000
    shapes = client.run(
        lambda: [
            one.generator.references.shape for one in importlib.import_module("astro_galaxysd.workers")._kept.values()
        ]
    )
    assert list(shapes.values()) == [[references.shape]] * 2
    left = client.run(lambda: list(importlib.import_module("astro_galaxysd.workers")._received))
    assert list(left.values()) == [[], []]
    assert not client.run_on_scheduler(
        lambda dask_scheduler: [name for name in dask_scheduler.worker_plugins if name.startswith("galaxysd")]
    )


def test_an_interrupt(client, site, tmp_path, monkeypatch):
    """What is finished stays, and nothing goes on behind the caller's back."""
    from astro_galaxysd import bulk
    from astro_galaxysd.drawing import InterruptedWarning

    conditions, real = rows(60), bulk.Manifest.finish

    def interrupted(self, number, shard):
        now = real(self, number, shard)
        if now.rows == 12:
            raise KeyboardInterrupt
        return now

    monkeypatch.setattr(bulk.Manifest, "finish", interrupted)
    with pytest.warns(InterruptedWarning, match="interrupted: .* of 60 rows"):
        written = draw(tmp_path / "many", conditions, client=client)
    assert written.rows == 12  # with the shard whose line had just been written
    assert client.futures == {}
    begun = len(site.pids("begun"))
    time.sleep(1)
    assert len(site.pids("begun")) <= begun + 2
    monkeypatch.undo()
    assert draw(tmp_path / "many", conditions, client=client).drawn == 48
    check_complete(tmp_path / "many", conditions)


def test_workers_that_write_elsewhere(client, site, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_SEEN_AFTER", 0.0)
    monkeypatch.setattr(workers, "_is_seen", lambda path, size: False)
    with pytest.raises(OutputError, match="a worker wrote shard-0000.*, but it is not in .* share"):
        draw(tmp_path / "many", rows(8), client=client)


def test_a_file_that_is_seen_late(tmp_path, monkeypatch):
    """As network file systems show it."""
    path = tmp_path / "shard-00000.parquet"
    monkeypatch.setattr(workers.time, "sleep", lambda _: path.write_bytes(b"abc"))
    workers._refuse_elsewhere(Task(0, rows(1), path, "parquet", {}), workers.Done(0, "", 3))
    monkeypatch.setattr(workers, "_SEEN_AFTER", 0.0)
    monkeypatch.setattr(workers.time, "sleep", lambda _: None)
    with pytest.raises(OutputError, match="a worker wrote shard-00000.parquet, but"):
        workers._refuse_elsewhere(Task(0, rows(1), path, "parquet", {}), workers.Done(0, "", 4))
    with pytest.raises(OutputError, match="a worker wrote shard-00000.parquet, but"):
        workers._refuse_elsewhere(Task(0, rows(1), tmp_path / "no" / path.name, "parquet", {}), workers.Done(0, "", 4))


def test_folders_are_listed_for_files_that_are_not_seen_only(tmp_path, monkeypatch):
    """There may be thousands of shards."""
    listed = []
    real = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: listed.append(folder) or real(folder))
    path = tmp_path / "shard-00000.parquet"
    assert not workers._is_seen(path, 3)
    assert listed == [tmp_path]
    path.write_bytes(b"abc")
    assert workers._is_seen(path, 3)
    assert listed == [tmp_path]


def test_weights_in_a_relative_folder(site, tmp_path, tiny_weights, monkeypatch):
    """Workers may have been started in another one."""
    import shutil

    shutil.copytree(tiny_weights, tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    one = Table({"prompt": ["sdss"], "seed": [1]})
    drawing = Drawing(one, None, weights="mine", steps=2, progress=False)
    monkeypatch.chdir("/")
    again = Drawing(one, progress=False, **workers.pickle.loads(workers.pickle.dumps(drawing.settings)))
    assert again.told["weights"] == "mine"


def test_a_worker_without_the_plug_in(client, flow, tmp_path):
    """What is registered in this process is not known to others."""
    with pytest.raises(UnknownNameError, match="unknown generator 'flow': did you mean 'slow'"):
        draw(tmp_path / "many", rows(4), client=client, generator="flow")


def test_a_generator_that_can_not_travel(client, tmp_path):
    from astro_galaxysd.testing import NoiseGenerator

    with pytest.raises(ConditionError, match="a loaded generator, which can't travel to the workers"):
        draw(tmp_path / "many", rows(4), client=client, generator=NoiseGenerator())


def test_clients_that_can_not_draw(client, site, tmp_path):
    with pytest.raises(ConditionError, match="client='tcp://there' is no client of Dask; give dask.distributed.Client"):
        draw(tmp_path / "many", rows(4), client="tcp://there")
    with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as empty:
        idle = distributed.Client(empty, set_as_default=False)
        with pytest.raises(ConditionError, match="the client has no workers; start some, and client.wait_for"):
            draw(tmp_path / "many", rows(4), client=idle)
        idle.close()
        with pytest.raises(ConditionError, match="client= is closed; give one that is connected"):
            draw(tmp_path / "many", rows(4), client=idle)
    assert not (tmp_path / "many").exists()


def test_an_asynchronous_client(tmp_path):
    import asyncio

    async def ask():
        async with (
            distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0", asynchronous=True) as empty,
            distributed.Client(empty, asynchronous=True, set_as_default=False) as client,
        ):
            with pytest.raises(ConditionError, match="client= is asynchronous; give one that was made without"):
                draw(tmp_path / "many", rows(4), client=client)

    asyncio.run(ask())


def test_without_dask(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] in ("dask", "distributed")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(MissingDependencyError, match=r'client= needs dask: pip install "astro-galaxysd\[dask\]"'):
        draw(tmp_path / "many", rows(4), client=object(), generator=None)


def once_begun(folder, act):
    """Call `act` in a thread when the first shard is there."""

    def wait():
        while not list(folder.glob("shard-*")):
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("what", ["client", "cluster"])
def test_closed_while_it_draws(site, tmp_path, what):
    """The caller is told; nothing waits for ever. Workers are threads here, and this client is not the default one."""
    conditions = rows(400)
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as one:
        idle = distributed.Client(one, set_as_default=False)
        closing = once_begun(tmp_path / "many", {"client": idle, "cluster": one}[what].close)
        with pytest.raises(PluginError, match="the Dask client or its cluster was closed while galaxies .*; the same"):
            draw(tmp_path / "many", conditions, client=idle)
        closing.join()
        idle.close()
    assert read_manifest(tmp_path / "many").rows < 400


def test_when_dask_gives_up(site, tmp_path):
    """With its setting for workers that don't come back."""
    import dask

    with (
        dask.config.set({"distributed.scheduler.no-workers-timeout": "1s"}),
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster, set_as_default=False) as idle,
    ):
        leaving = once_begun(tmp_path / "many", lambda: cluster.scale(0))
        with pytest.raises(PluginError, match="Dask gave shard-.* up: No.*WorkerError: "):
            draw(tmp_path / "many", rows(400), client=idle)
        leaving.join()


def test_no_error_is_lost_between_processes():
    error = UnknownNameError("generator", "flo", ["flow"], "Look again.")
    error.add_note("raised by flow")
    back = workers.pickle.loads(workers.pickle.dumps(error))
    assert (type(back), str(back), back.__notes__) == (UnknownNameError, str(error), ["raised by flow"])


def test_another_drawing_takes_the_place_of_the_one_that_is_kept(monkeypatch):
    monkeypatch.setattr(workers, "_kept", {})
    loads = []
    for token in ("a", "a", "b", "a"):
        with workers.kept_drawing(token, lambda: loads.append(1) or len(loads)) as drawing:
            assert drawing == len(loads)
    assert len(loads) == 3


def test_equal_settings_have_one_token():
    """However their texts and arrays came to be."""
    images = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)

    def token(references, word="mini", **more):
        return workers.token_of({"weights": "".join(word), "generator": "mini", "references": references, **more})

    known = token(images)
    table = Table({"image": images})
    assert {token(images), token(images.copy(), ["mi", "ni"]), token(table), token(list(images))} == {known}
    assert len({known, token(None), token(images[:1]), token(images, "maxi"), token(images, steps=2)}) == 5
    assert len({token(images.copy() + count) for count in range(5)}) == 5  # of objects that may have had one place
    del table
    assert len(workers._hashed) <= 1


def test_leftovers_of_the_killed_are_cleared(client, site, tmp_path):
    drawing = Drawing(Table({"prompt": ["sdss"], "seed": [1]}), "slow", progress=False)
    _, tasks = tasks_of(tmp_path, 2)
    left = Path(tmp_path / ".partial-0123-shard-00000.parquet")
    left.touch()
    list(draw_on(client, drawing, tasks))
    assert not left.exists()
