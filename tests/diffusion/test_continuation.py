from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from astro_galaxysd.diffusion.components import load_autoencoder, load_components
from astro_galaxysd.diffusion.continuation import continue_training, main
from astro_galaxysd.diffusion.diffuse import DiffusionRun
from astro_galaxysd.diffusion.pack import write_pack
from astro_galaxysd.diffusion.pieces import join_pieces, split_weights, write_pieces
from astro_galaxysd.errors import OutputError, OutputExistsError, TrainingError
from astro_galaxysd.learning.trainingids import trained_on, write_training_ids
from astro_galaxysd.learning.trainingset import TrainingSet

TINY = {
    "diffusion": {"width": [16, 32], "text_width": 32, "text_layers": 1, "batch_size": 4, "steps": 4, "warmup": 2},
    "autoencoder": {"latent_channels": 4, "width": 8, "depth": 1, "batch_size": 4, "steps": 3, "linear_steps": 5},
}


def galaxies(n, name):
    rng = np.random.default_rng(n)
    coarse = rng.random((n, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)
    images = (coarse * 200 + rng.random((n, 32, 32, 3)) * 55).astype(np.uint8)
    return TrainingSet(images, rng.random((n, 37)), [f"{name}{i}" for i in range(n)])


@pytest.fixture(scope="module")
def pack(tmp_path_factory, tiny_weights):
    folder = tmp_path_factory.mktemp("packs") / "pack"
    return write_pack(galaxies(12, "t"), folder, weights=tiny_weights, recipe=TINY, holdout=galaxies(3, "h"))


@pytest.fixture
def go_on(pack, tmp_path):
    def run(name="run", **options):
        options = {"minutes": 9, "progress": False, **options}
        return continue_training(pack, tmp_path / name, tmp_path / "out", **options)

    return run


def states(folder):
    return {name: value.clone() for name, value in load_components(folder).unet.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_weights_log_and_report(go_on, tmp_path, tiny_weights):
    report = go_on()
    assert (report["step"], report["steps"], report["finished"], report["interrupted"]) == (4, 4, True, False)
    assert (report["images"], report["rows"], report["unreadable"]) == (16, 12, {})
    assert report["images_per_second"] > 0
    assert report["torch"] == torch.__version__
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    assert (tmp_path / "out" / "log.csv").read_text() == (tmp_path / "run" / "log.csv").read_text()
    assert report["loss"] == pytest.approx(
        float((tmp_path / "run" / "log.csv").read_text().split("\n")[1].split(",")[2])
    )
    assert not same(states(tmp_path / "out" / "weights"), states(tiny_weights))


def test_time_spent_is_no_work_lost(go_on, tmp_path, monkeypatch):
    advance, now, ahead = DiffusionRun.advance, time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: now() + ahead[0])

    def slow(run):
        ahead[0] += 400 if run.step == 1 else 0
        return advance(run)

    monkeypatch.setattr(DiffusionRun, "advance", slow)
    report = go_on(minutes=5)
    assert (report["step"], report["finished"]) == (2, False)
    part_way = states(tmp_path / "out" / "weights")
    report = go_on(minutes=5)
    assert (report["step"], report["steps_done"], report["finished"]) == (4, 2, True)
    monkeypatch.setattr(DiffusionRun, "advance", advance)
    whole = states(tmp_path / "out" / "weights")
    assert not same(part_way, whole)
    go_on("in one piece")
    assert same(states(tmp_path / "out" / "weights"), whole)


def test_a_new_run_begins_with_the_weights_of_the_pack(go_on, tmp_path, tiny_weights):
    go_on(minutes=0)
    assert same(states(tmp_path / "out" / "weights"), states(tiny_weights))


def test_the_weights_say_which_rows_they_and_those_before_learnt_from(go_on, tiny_weights, tmp_path):
    base = shutil.copytree(tiny_weights, tmp_path / "base")
    write_training_ids(base, ["before"])
    own = write_pack(galaxies(12, "t"), tmp_path / "own", weights=base, recipe=TINY)
    for _ in range(2):  # and a run that goes on still knows
        continue_training(own, tmp_path / "own run", tmp_path / "out", minutes=0, progress=False)
        learnt = trained_on(tmp_path / "out" / "weights", ["t0", "t11", "h0", "before"])
        assert learnt.tolist() == [True, True, False, True]


def test_a_fresh_run_does_not(go_on, tmp_path, tiny_weights):
    go_on(minutes=0, fresh=True)
    assert not same(states(tmp_path / "out" / "weights"), states(tiny_weights))


def test_weights_of_limited_size(go_on, tmp_path):
    go_on(minutes=0, shard_mb=0.1)
    weights = tmp_path / "out" / "weights"
    files = list(weights.rglob("*.safetensors"))
    assert max(path.stat().st_size for path in files) <= 100_000
    assert len(list((weights / "unet").glob("*.safetensors"))) > 1
    parts = states(weights)
    go_on(minutes=0)
    assert same(parts, states(weights))
    assert len(list((weights / "unet").glob("*.safetensors"))) == 1


def test_a_parameter_that_is_too_large(tmp_path):
    from safetensors.torch import save_file

    save_file({"small": torch.zeros(10), "large": torch.zeros(5000)}, tmp_path / "model.safetensors")
    with pytest.raises(
        OutputError, match="model.safetensors: large alone has 0.0 MB and can't be divided; allow files"
    ):
        split_weights(tmp_path, 9000)


def test_state_and_weights_travel_in_pieces(go_on, tmp_path):
    go_on(keep_state=True, zipped=True, shard_mb=0.3)
    out = tmp_path / "out"
    assert {path.name.rpartition(".")[0] or path.name for path in out.iterdir()} >= {"weights.zip", "state.zip"}
    assert not (out / "weights").exists()
    assert max(path.stat().st_size for path in out.iterdir()) <= 300_000
    join_pieces(out / "state.zip", tmp_path / "again")
    assert (tmp_path / "again" / "checkpoint.pt").read_bytes() == (tmp_path / "run" / "checkpoint.pt").read_bytes()
    join_pieces(out / "weights.zip", tmp_path / "weights")
    assert load_components(tmp_path / "weights").unet.config.block_out_channels == [16, 32]


def test_pieces_of_an_earlier_archive_are_gone(tmp_path):
    (tmp_path / "a").write_bytes(bytes(1000))
    assert len(write_pieces({"a": tmp_path / "a"}, tmp_path / "x.zip", 200)) > 5
    assert len(write_pieces({"a": tmp_path / "a"}, tmp_path / "x.zip", 900)) == 2
    assert len(list(tmp_path.glob("x.zip.*"))) == 2


def test_a_missing_piece(tmp_path):
    (tmp_path / "a").write_bytes(os.urandom(1000))
    pieces = write_pieces({"a": tmp_path / "a"}, tmp_path / "x.zip", 200)
    pieces[2].unlink()
    with pytest.raises(TrainingError, match=r"5 pieces are not the whole archive \(.*copy all of them again"):
        join_pieces(tmp_path / "x.zip", tmp_path / "b")
    with pytest.raises(TrainingError, match="y.zip.000 is missing"):
        join_pieces(tmp_path / "y.zip", tmp_path / "b")


def test_unpacking_where_nothing_can_be_written(tmp_path):
    (tmp_path / "a").write_bytes(bytes(1000))
    write_pieces({"a": tmp_path / "a"}, tmp_path / "x.zip", 900)
    with pytest.raises(OutputError, match="can't unpack .*x.zip into .*; free space or choose another folder"):
        join_pieces(tmp_path / "x.zip", tmp_path / "a")


def test_full_disk_while_writing_pieces(tmp_path):
    with pytest.raises(OutputError, match=r"can't write .*x.zip.\*: No such file or directory; free space or"):
        write_pieces({}, tmp_path / "nowhere" / "x.zip", 200)


def test_autoencoder(go_on, tmp_path):
    report = go_on(part="autoencoder")
    assert report["finished"]
    assert 5 < report["holdout_psnr"] < 60
    assert load_autoencoder(tmp_path / "out" / "autoencoder").config.width == 8
    # a diffusion run in its latents, from nothing
    report = go_on("diffusion", minutes=0, start_from=tmp_path / "out" / "autoencoder")
    assert report["part"] == "diffusion"


def test_autoencoder_goes_on_from_the_weights(go_on, tmp_path, tiny_weights):
    go_on(part="autoencoder", minutes=0)
    mine, theirs = (load_autoencoder(folder) for folder in (tmp_path / "out" / "autoencoder", tiny_weights / "vae"))
    assert same(mine.state_dict(), theirs.state_dict())


def test_nothing_to_encode_with(tmp_path):
    bare = write_pack(galaxies(4, "t"), tmp_path / "bare")
    with pytest.raises(TrainingError, match="the data pack has none: give --start-from with weights or an autoencoder"):
        continue_training(bare, tmp_path / "run", tmp_path / "out", minutes=1)


def test_other_files_in_the_way_are_met_before_the_training(go_on, tmp_path):
    (tmp_path / "out" / "weights").mkdir(parents=True)
    (tmp_path / "out" / "weights" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="not overwritten"):
        go_on()
    assert not (tmp_path / "run").exists()


def test_terminated_is_saved_and_handed_back(pack, tmp_path, monkeypatch):
    advance = DiffusionRun.advance

    def terminated(run):
        if run.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        return advance(run)

    monkeypatch.setattr(DiffusionRun, "advance", terminated)
    before = signal.getsignal(signal.SIGTERM)
    assert main([str(pack), "--run", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--minutes", "9"]) == 130
    assert signal.getsignal(signal.SIGTERM) == before
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["step"], report["interrupted"]) == (3, True)
    assert (tmp_path / "run" / "checkpoint.pt").exists()
    load_components(tmp_path / "out" / "weights")


def test_settings_of_the_command(pack, tmp_path, caplog):
    run = tmp_path / "run"
    line = [str(pack), "--run", str(run), "--out", str(tmp_path / "out"), "--minutes", "0", "--steps", "9"]
    assert main([*line, "--set", "batch_size=2", "--set", "precision=fp32"]) == 0
    stored = json.loads((run / "recipe.json").read_text())
    assert (stored["steps"], stored["batch_size"], stored["precision"], stored["width"]) == (9, 2, "fp32", [16, 32])
    assert main([*line[:-2]]) == 0
    assert json.loads((run / "recipe.json").read_text())["steps"] == 9
    assert main([*line, "--set", "batch_size"]) == 1
    assert "--set batch_size: write name=value" in caplog.text


def test_errors_of_the_command(tmp_path, caplog):
    assert main([str(tmp_path), "--run", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--minutes", "1"]) == 1
    assert "error: " in caplog.text
    assert "no data pack" in caplog.text


ELSEWHERE = """
import runpy, sys
absent = {"astropy", "pandas", "pyarrow", "pluggy", "accelerate", "peft", "photutils", "sklearn", "scipy"}
class Without:
    "A finder that does not find what is not installed elsewhere."
    def __init__(self, finder): self.finder = finder
    def __getattr__(self, name): return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else self.finder.find_spec(name, path, target)
    def find_distributions(self, *given, **named):
        find = getattr(self.finder, "find_distributions", None)
        found = find(*given, **named) if find else ()
        return [d for d in found if (d.metadata["Name"] or "").replace("-", "_") not in absent | {"astro_galaxysd"}]
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path if "__editable__" not in repr(finder)]
for steps in ("2", "4"):
    sys.argv[1:] = [*ARGUMENTS, "--steps", steps]
    try:
        runpy.run_module("astro_galaxysd.diffusion.continuation", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        assert end.code == 0, end.code
import astro_galaxysd
assert astro_galaxysd.__file__.startswith(CODE), astro_galaxysd.__file__
assert not absent & {name.partition(".")[0] for name in sys.modules}, absent & set(sys.modules)
"""


@pytest.mark.slow
def test_it_needs_no_more_than_torch_and_diffusers(pack, tmp_path):
    arguments = [str(pack), "--run", "run", "--out", "out", "--minutes", "5", "--shard-mb", "0.1"]
    program = ELSEWHERE.replace("ARGUMENTS", repr(arguments)).replace("CODE", repr(str(pack / "code.zip")))
    known = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "OMP_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, env={**known, "PYTHONPATH": str(pack / "code.zip")}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["step"], report["steps_done"], report["finished"]) == (4, 2, True)
    assert max(path.stat().st_size for path in (tmp_path / "out").rglob("*.safetensors")) <= 100_000
    load_components(tmp_path / "out" / "weights")


@pytest.mark.slow
def test_the_one_command(pack, tmp_path):
    command = ["sh", str(pack / "run.sh"), "run", "out", "--minutes", "0", "--steps", "3"]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHON": sys.executable}, check=True, timeout=300)
    assert json.loads((tmp_path / "out" / "report.json").read_text())["steps"] == 3
