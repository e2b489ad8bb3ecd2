"""A process of its own that writes shards, and is disturbed at it.

    python tests/bulk_writer.py hold FOLDER           draws, says so, and goes on when it is told
    python tests/bulk_writer.py limited FOLDER BYTES  no file may be longer
    python tests/bulk_writer.py killed FOLDER KILLS SEED [ROWS]
                                                      killed at random points, looked at after each, until it is done

Says what came of it as JSON. `Cheap` and `table` are for tests.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from astro_galaxysd import generate_to
from astro_galaxysd.errors import OutputError
from astro_galaxysd.records import ImageBatch

SHARD_ROWS = 5


class Cheap:
    """Pixels follow from a row's prompt and seed: noise, or one grey level where the prompt is "flat".

    `before(n)` is called before each piece, with the number of rows that were drawn so far.
    """

    def __init__(self, size: int = 8, before: Any = None, **meta: Any) -> None:
        self.size, self.before, self.meta, self.drawn = size, before, meta, 0

    def generate(self, conditions: Table, *, batch_size: int | None = None) -> ImageBatch:
        if self.before is not None:
            self.before(self.drawn)
        self.drawn += len(conditions)
        images = np.stack([self.image(*row) for row in zip(conditions["prompt"], conditions["seed"], strict=True)])
        return ImageBatch(images, conditions, np.arange(len(conditions)).astype(str), self.meta)

    def image(self, prompt: str, seed: int) -> np.ndarray:
        words = hashlib.sha256(f"{prompt} {seed}".encode()).digest()
        shape = (self.size, self.size, 3)
        if prompt == "flat":
            return np.full(shape, words[0], dtype=np.uint8)
        return np.random.default_rng(list(words)).integers(0, 256, shape, dtype=np.uint8)


def table(rows: int, flat: int = 0) -> Table:
    """Conditions, the first `flat` of which give files that are small."""
    prompts = ["flat" if row < flat else f"sdss, {{merger:1.{row % 9 + 1}}}" for row in range(rows)]
    return Table({"id": [f"g{row}" for row in range(rows)], "prompt": prompts, "flux": np.arange(rows) / 7})


def write(folder: Path, rows: Table, generator: Any, **options: Any) -> Any:
    return generate_to(
        folder, rows, **{"rng": 1, "generator": generator, "progress": False, "shard_rows": SHARD_ROWS} | options
    )


def shards(folder: Path) -> dict[str, bytes]:
    """Contents of the files that anybody sees; that of the manifest is another matter."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name[0] not in "._"}


def hold(folder: Path) -> None:
    def wait(drawn: int) -> None:
        if drawn == SHARD_ROWS:
            (folder / ".partial-left-by-a-kill").write_text("half")
            sys.stdout.write("drawing\n")
            sys.stdout.flush()
            sys.stdin.readline()

    write(folder, table(15), Cheap(before=wait))


def limited(folder: Path, size: int) -> dict[str, str]:
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing fails, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        write(folder, table(15, flat=10), Cheap(64))
    except OutputError as error:
        return {"error": str(error), "note": error.__notes__[-1]}
    return {}


def killed(folder: Path, kills: int, seed: int, rows: int = 300) -> dict[str, Any]:
    """Kill a writer at random points; after each, every file that is seen must be one of an undisturbed run."""
    asked = table(rows)
    start = time.monotonic()
    _wait(_forked(folder / "undisturbed", asked))
    seconds = time.monotonic() - start
    want = shards(folder / "undisturbed")
    rng = np.random.default_rng(seed)
    there, partial, runs = [], 0, 0
    while len(there) < kills:
        target = folder / f"run-{runs}"
        runs += 1
        status = None
        while status != 0:
            process = _forked(target, asked)
            if len(there) < kills:
                time.sleep(rng.uniform(0, seconds))
                os.kill(process, signal.SIGKILL)
            status = _wait(process)
            if status == -signal.SIGKILL:
                seen = shards(target) if target.exists() else {}
                assert seen.items() <= want.items(), "a file is seen that an undisturbed run doesn't have"
                there.append(len(seen))
                partial += bool(target.exists() and list(target.glob(".partial-*")))
            else:
                assert status == 0, status
        assert shards(target) == want, "after the last run, files are others than those of an undisturbed one"
        assert not list(target.glob(".partial-*"))
    found = {"kills": len(there), "shards": len(want), "there_after_each_kill": there, "runs": runs}
    return found | {"kills_that_left_a_hidden_file": partial, "seconds_undisturbed": round(seconds, 2)}


def _forked(folder: Path, rows: Table) -> int:
    """Begin to write in a process that needn't import anything; nothing here has begun a thread."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            written = write(folder, rows, Cheap())
            status = 0 if written.rows == len(rows) else 2
        finally:
            os._exit(status)
    return process


def _wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def main() -> None:
    what, folder, *numbers = sys.argv[1:]
    sys.stdout.write(json.dumps(globals()[what](Path(folder), *map(int, numbers))))


if __name__ == "__main__":
    main()
