from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from astro_galaxysd.errors import MissingDependencyError, TrainingError
from astro_galaxysd.learning import engine
from astro_galaxysd.learning.engine import Engine, processor_has_bf16


@pytest.fixture
def _processor(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("_processor")
class TestPrecision:
    def test_fp16_on_a_processor(self):
        with pytest.raises(TrainingError, match="precision = fp16 needs a CUDA device; choose bf16, fp32 or auto"):
            Engine("fp16")

    @pytest.mark.parametrize(("has", "precision"), [(True, "bf16"), (False, "fp32")])
    def test_auto_is_what_the_processor_has(self, monkeypatch, has, precision):
        monkeypatch.setattr(engine, "processor_has_bf16", lambda: has)
        assert Engine("auto").precision == precision
        assert Engine("auto").device == torch.device("cpu")

    @pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
    def test_networks_compute_in_it(self, precision, dtype):
        with Engine(precision).autocast():
            assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


@pytest.mark.parametrize(("has", "precision"), [(True, "bf16"), (False, "fp32")])
def test_auto_on_cuda_asks_cuda(monkeypatch, has, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has)
    monkeypatch.setattr(engine, "processor_has_bf16", lambda: not has)
    assert Engine("auto").precision == precision
    assert Engine("auto").device == torch.device("cuda")


@pytest.mark.parametrize(
    ("known", "answer"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True, "avx512_bf16": False}, True), ({"avx2": True}, False)],
)
def test_bf16_is_one_of_the_processors_capabilities(monkeypatch, known, answer):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert processor_has_bf16() is answer


def test_older_torch_does_not_know_the_processor(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert processor_has_bf16() is False


@pytest.mark.parametrize(("clip", "moved"), [(1.0, 1.0), (0.0, 5.0), (10.0, 5.0)])
def test_update_clips_and_says_the_norm_before(clip, moved):
    one = Engine("fp32")
    weight = torch.nn.Parameter(torch.zeros(2))
    one.backward((weight * torch.tensor([3.0, 4.0])).sum())
    assert one.update(torch.optim.SGD([weight], lr=1.0), [weight], clip) == pytest.approx(5)
    assert weight.detach().norm() == pytest.approx(moved, rel=1e-5)
    assert weight.grad is None


def test_one_process_is_the_first_and_only():
    one = Engine("fp32")
    assert (one.rank, one.processes, one.total(3.0)) == (0, 1, 3.0)
    one.wait()
    one.restore(one.state())


def test_several_processes_without_accelerate(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "astro-galaxysd\[train\]", or start one process'):
        Engine("fp32")


_PROGRAM = """
import sys
from pathlib import Path
import numpy as np
import torch
from astro_galaxysd.diffusion.diffuse import DiffusionRun
from astro_galaxysd.diffusion.recipes import DiffusionRecipe
from astro_galaxysd.learning.recipes import make_recipe
from astro_galaxysd.learning.trainingset import TrainingSet

torch.set_num_threads(1)
folder, vae = Path(sys.argv[1]), Path(sys.argv[2])
images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
data = TrainingSet(images, np.full((12, 37), 0.6), [str(i) for i in range(12)])
sizes = {"batch_size": 4, "steps": 4, "warmup": 2, "width": (16, 32), "text_width": 32, "text_layers": 1}
settings = {**sizes, "precision": "fp32", "cache_latents": True, "learning_rate": 1e-5}
recipe = make_recipe(DiffusionRecipe, folder, settings, "mini")
run = DiffusionRun(folder, data, vae, recipe)
if run.engine.rank == 0:
    (folder.with_suffix(".processes")).write_text(str(run.engine.processes))
assert run.run(progress=False)
"""


@pytest.mark.slow
def test_two_processes_train_the_weights_of_one(tmp_path, tiny_weights):
    """Gradients are compared through Adam's mean of them: weights without a slope follow the rounding, whatever it is.

    That is also why the rate is small: each step moves a weight by the rate at most.
    """
    pytest.importorskip("accelerate")
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HOME": str(tmp_path)}
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    for name, command in (("one", []), ("two", torchrun)):
        arguments = [sys.executable, *command, program, tmp_path / name, tiny_weights / "vae"]
        subprocess.run(arguments, check=True, timeout=300, env=environment, cwd=tmp_path)
    assert [(tmp_path / f"{name}.processes").read_text() for name in ("one", "two")] == ["1", "2"]
    one, two = (_stored(tmp_path / name) for name in ("one", "two"))
    assert one["step"] == two["step"] == 4
    for mine, other in zip(one["average"], two["average"], strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-5)
    for mine, other in zip(*(stored["optimizer"]["state"].values() for stored in (one, two)), strict=True):
        torch.testing.assert_close(mine["exp_avg"], other["exp_avg"], rtol=1e-3, atol=1e-6)


def _stored(folder: Path):
    return torch.load(folder / "checkpoint.pt", weights_only=True)
