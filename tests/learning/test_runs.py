"""The run itself, with a network so small that a step takes a millisecond."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from astro_galaxysd.diffusion.recipes import AutoencoderRecipe
from astro_galaxysd.errors import OutputError, TrainingError
from astro_galaxysd.learning import runs
from astro_galaxysd.learning.engine import Engine
from astro_galaxysd.learning.recipes import make_recipe
from astro_galaxysd.learning.runs import TrainingRun
from astro_galaxysd.learning.trainingset import TrainingSet


class Line(TrainingRun):
    """Learns the mean of an image from some of its pixels; its layer that drops values needs a seed of its own."""

    def __init__(self, folder, recipe, data=None, width=8):
        torch.manual_seed(recipe.seed)
        first, last = torch.nn.Linear(12, width), torch.nn.Linear(width, 1)
        line = torch.nn.Sequential(first, torch.nn.Tanh(), torch.nn.Dropout(0.1), last)
        super().__init__(folder, recipe, {"line": line}, data or rows_of_noise(), Engine(recipe.precision))

    def rows(self, step):
        return self.rng(step).integers(0, len(self.data.images), self.recipe.batch_size)

    def loss(self, step, part):
        images = torch.from_numpy(self.data.images[self.rows(step)[part]]).float().div(255)
        predicted = self.modules["line"](images[:, :2, :2].flatten(1))
        return (predicted - images.mean((1, 2, 3))[:, None]).square().mean()


class Slow(Line):
    """A line with time to be killed in."""

    def loss(self, step, part):
        time.sleep(0.01)
        return super().loss(step, part)


def rows_of_noise(first="g"):
    images = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 3), dtype=np.uint8)
    return TrainingSet(images, np.full((12, 37), np.nan), [f"{first}{row}" for row in range(12)])


def recipe(**changes):
    sizes = {"batch_size": 4, "steps": 6, "warmup": 2, "cooldown": 0.3, "seed": 3}
    return make_recipe(AutoencoderRecipe, Path("no run"), {**sizes, **changes}, "mini")


@pytest.fixture
def start(tmp_path):
    return lambda name="run", data=None, width=8, **changes: Line(tmp_path / name, recipe(**changes), data, width)


def same(one, two):
    """Whether two runs stand at the same step with the same bits."""
    pairs = [*zip(one.parameters, two.parameters, strict=True), *zip(one.average, two.average, strict=True)]
    return one.step == two.step and all(torch.equal(mine, other) for mine, other in pairs)


def clock_of(run, monkeypatch):
    """Time that passes by one second a step."""
    monkeypatch.setattr(runs, "time", SimpleNamespace(time=lambda: float(run.step)))


class TestGoingOn:
    def test_a_killed_run_ends_in_the_same_weights(self, start):
        whole = start("whole")
        assert whole.run(progress=False)
        broken = start("broken")
        for _ in range(4):
            broken.advance()
        broken.save()
        broken.advance()  # lost: the process dies before the next checkpoint
        again = start("broken")
        assert again.resume()
        assert again.step == 4
        assert again.run(progress=False)
        assert same(whole, again)

    def test_a_process_that_was_killed(self, tmp_path):
        steps = 300
        program = (
            f"import runpy\nm = runpy.run_path({__file__!r})\n"
            f"m['Slow'](m['Path']({str(tmp_path / 'killed')!r}), m['recipe'](steps={steps}))"
            ".run(every_seconds=0.1, progress=False)\n"
        )
        process = subprocess.Popen([sys.executable, "-c", program])
        try:
            killed = Line(tmp_path / "killed", recipe(steps=steps))
            deadline = time.time() + 120
            while not killed.checkpoint.exists():
                assert process.poll() is None
                assert time.time() < deadline
                time.sleep(0.02)
            time.sleep(0.15)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == -signal.SIGKILL
        assert killed.resume()
        assert 0 < killed.step < steps
        killed.run(progress=False)
        whole = Line(tmp_path / "whole", recipe(steps=steps))
        whole.run(progress=False)
        assert same(whole, killed)

    def test_nothing_to_go_on_from(self, start):
        assert not start("new").resume()

    def test_more_steps_can_be_added(self, start):
        start(cooldown=0.0).run(progress=False)
        longer = start(cooldown=0.0, steps=9)
        longer.resume()
        assert longer.run(progress=False)
        whole = start("whole", cooldown=0.0, steps=9)
        whole.run(progress=False)
        assert same(whole, longer)

    def test_a_finished_run_stays_as_it_is(self, start):
        first = start()
        first.run(progress=False)
        again = start()
        again.resume()
        assert again.run(progress=False, watch=lambda run: pytest.fail("nothing new to see"))
        assert same(first, again)

    def test_damaged_checkpoint(self, start):
        run = start()
        run.save()
        run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:1000])
        with pytest.raises(TrainingError, match="can't go on from this checkpoint"):
            start().resume()

    @pytest.mark.parametrize("changes", [{"width": 9}, {"ema": 0.0}])
    def test_checkpoint_of_another_shape(self, start, changes):
        start().save()
        with pytest.raises(TrainingError, match="Use the recipe it was made with, or start in another folder"):
            start(**changes).resume()

    def test_other_data(self, start):
        start().save()
        with pytest.raises(
            TrainingError,
            match="other training rows than the 12 of 4 px given, .* or begin in another folder",
        ):
            start(data=rows_of_noise("h")).resume()


class TestStopping:
    def test_an_interrupt_saves_where_it_was(self, start, monkeypatch):
        run = start()
        advance = run.advance

        def interrupted():
            if run.step == 3:
                raise KeyboardInterrupt
            return advance()

        monkeypatch.setattr(run, "advance", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.run(progress=False)
        again = start()
        assert again.resume()
        assert again.step == 3

    @pytest.fixture
    def _interrupts(self):
        """Ctrl-C interrupts, also where the tests were started in the background of a shell, which ignores it."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
        signal.signal(signal.SIGINT, before)

    @pytest.mark.usefixtures("_interrupts")
    def test_an_interrupt_does_not_tear_a_step(self, start, monkeypatch):
        """Ctrl-C between the optimizer's step and the average: the checkpoint must still be that of a whole step."""
        run = start()
        update = run.engine.update

        def interrupted(*arguments):
            norm = update(*arguments)
            if run.step == 3:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)
            return norm

        monkeypatch.setattr(run.engine, "update", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.run(progress=False)
        again, whole = start(), start("whole")
        assert again.resume()
        again.run(progress=False)
        whole.run(progress=False)
        assert same(whole, again)

    def test_until_stops_and_the_rest_goes_on(self, start, monkeypatch):
        whole = start("whole")
        whole.run(progress=False)
        run = start()
        clock_of(run, monkeypatch)
        assert run.run(progress=False, until=2.5) is False
        assert run.step == 3
        again = start()
        again.resume()
        assert again.run(progress=False) is True
        assert same(whole, again)

    def test_checkpoints_come_by_the_clock(self, start, monkeypatch):
        run, saved = start(), []
        clock_of(run, monkeypatch)
        monkeypatch.setattr(run, "save", lambda: saved.append(run.step))
        run.run(progress=False, every_seconds=1.5)
        assert saved == [2, 4, 6, 6]

    def test_full_disk_keeps_the_last_checkpoint(self, start, monkeypatch):
        run = start()
        run.save()
        before = run.checkpoint.read_bytes()

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(torch, "save", full)
        with pytest.raises(OutputError, match="No space left on device.*the last one is kept"):
            run.save()
        assert run.checkpoint.read_bytes() == before
        assert [path.name for path in run.folder.glob("*.partial")] == []


class TestTrouble:
    def test_loss_that_is_not_finite_keeps_the_checkpoint_and_names_the_rows(self, start, monkeypatch):
        run = start(batch_size=10)
        run.advance()
        run.save()
        before = run.checkpoint.read_bytes()
        ids = [f"g{row}" for row in run.rows(1)]
        monkeypatch.setattr(run, "loss", lambda step, part: torch.tensor(float("nan"), requires_grad=True))
        message = (
            f"the loss became nan at step 1 with the rows {', '.join(ids[:8])} and 2 more, all in not_finite.json; "
        )
        with pytest.raises(
            TrainingError, match=f"{message}the last checkpoint .* is kept. Look at these rows, or lower"
        ):
            run.run(progress=False)
        assert run.checkpoint.read_bytes() == before
        assert json.loads((run.folder / "not_finite.json").read_text()) == {"step": 1, "loss": "nan", "ids": ids}

    def test_gradient_that_is_not_finite(self, start, monkeypatch):
        run = start()
        run.save()
        loss = run.loss

        def rooted(step, part):
            value = loss(step, part)
            return value + (value - value.detach()).sqrt()  # zero, with an infinite slope

        monkeypatch.setattr(run, "loss", rooted)
        with pytest.raises(TrainingError, match="gradient became (nan|inf) at step 0 with the rows g"):
            run.run(progress=False)
        assert all(torch.isfinite(p).all() for p in run.parameters)

    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
            MemoryError(),
            RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
            None,  # what this processor really says
        ],
    )
    def test_lack_of_memory(self, start, monkeypatch, error):
        run = start(accumulate=2)
        run.advance()
        run.save()
        before = run.checkpoint.read_bytes()

        def loss(step, part):
            if error is not None:
                raise error
            return torch.empty(2**50)

        monkeypatch.setattr(run, "loss", loss)
        message = r"out of memory at step 1 with batch_size = 4 in accumulate = 2 piece\(s\)\. Raise accumulate"
        with pytest.raises(TrainingError, match=message):
            run.run(progress=False)
        assert run.checkpoint.read_bytes() == before

    def test_more_processes_than_images_in_a_batch(self, start, monkeypatch):
        monkeypatch.setattr(Engine, "processes", 8)
        with pytest.raises(TrainingError, match="batch_size = 4 leaves some of 8 processes without an image; raise it"):
            start()

    def test_other_errors_pass_through(self, start, monkeypatch):
        run = start()

        def loss(step, part):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

        monkeypatch.setattr(run, "loss", loss)
        with pytest.raises(RuntimeError, match="mat1 and mat2") as caught:
            run.run(progress=False)
        assert not isinstance(caught.value, TrainingError)


class TestSteps:
    @pytest.mark.parametrize("accumulate", [2, 4])
    def test_pieces_have_the_gradients_of_the_whole(self, start, accumulate):
        found = []
        for pieces in (1, accumulate):
            run = start(str(pieces), accumulate=pieces)
            run.modules["line"].eval()  # dropped values differ from piece to piece
            run.engine.update = lambda _, parameters, __: found.append([p.grad.clone() for p in parameters]) or 0.0
            found.append(run.advance())
        (whole, loss), (parts, mean) = (found[:2], found[2:])
        assert mean == pytest.approx(loss, rel=1e-6)
        for mine, other in zip(whole, parts, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-8)

    def test_rates_are_the_recipes(self, start):
        run = start()
        used = []
        for _ in range(6):
            run.advance()
            used.append(run.optimizer.param_groups[0]["lr"])
        assert used == [run.recipe.rate(step) for step in range(6)]

    def test_clip_and_optimizer_are_the_recipes(self, start, monkeypatch):
        run = start(clip=0.25, betas=[0.5, 0.7], weight_decay=0.3)
        clips = []
        monkeypatch.setattr(run.engine, "update", lambda _, __, clip: clips.append(clip) or 0.0)
        run.advance()
        assert clips == [0.25]
        assert run.optimizer.defaults["betas"] == (0.5, 0.7)
        assert run.optimizer.defaults["weight_decay"] == 0.3

    def test_average_follows_the_weights(self, start):
        run = start(ema=0.5)
        expected = [p.detach().clone() for p in run.parameters]
        for step in range(6):
            run.advance()
            decay = min(0.5, (1 + step) / (10 + step))
            expected = [decay * a + (1 - decay) * p.detach() for a, p in zip(expected, run.parameters, strict=True)]
        for mine, other in zip(run.average, expected, strict=True):
            torch.testing.assert_close(mine, other)

    def test_no_average_keeps_the_last_weights(self, start):
        run = start(ema=0.0)
        run.run(progress=False)
        assert run.average == []
        last = [p.detach().clone() for p in run.parameters]
        run.use_average()
        assert all(torch.equal(mine, other) for mine, other in zip(run.parameters, last, strict=True))
        again = start(ema=0.0)
        assert again.resume()
        assert same(run, again)
        with again.averaged():
            assert not again.modules["line"].training
        assert again.modules["line"].training

    def test_start_from(self, start):
        trained = start("trained", learning_rate=0.1)
        trained.run(progress=False)
        run = start("new")
        run.start_from(trained.modules)
        for found in (run.parameters, run.average):
            assert all(torch.equal(mine, other) for mine, other in zip(found, trained.parameters, strict=True))
        with pytest.raises(
            TrainingError, match="(?s)can't start from weights of another shape.*use the recipe they have"
        ):
            start("other", width=9).start_from(trained.modules)


class TestWatching:
    @pytest.mark.parametrize(("steps", "every", "seen"), [(7, 3, [3, 6, 7]), (6, 3, [3, 6]), (6, 0, [6]), (2, 3, [2])])
    def test_watched_with_averaged_weights_at_a_checkpoint(self, start, steps, every, seen):
        found = []

        def watch(run):
            assert all(torch.equal(p, a) for p, a in zip(run.parameters, run.average, strict=True))
            assert not run.modules["line"].training
            assert torch.load(run.checkpoint, weights_only=True)["step"] == run.step
            torch.manual_seed(0)  # what drawing does to torch's own source must not matter
            found.append(run.step)

        run, plain = start(steps=steps), start("plain", steps=steps)
        run.run(progress=False, watch=watch, watch_every=every)
        plain.run(progress=False)
        assert found == seen
        assert same(run, plain)

    def test_averaged_puts_the_weights_back(self, start):
        run = start(ema=0.5)
        run.advance()
        before = [p.detach().clone() for p in run.parameters]

        def fail_inside():
            with run.averaged():
                assert not torch.equal(run.parameters[0], before[0])
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail_inside()
        assert all(torch.equal(mine, other) for mine, other in zip(run.parameters, before, strict=True))
        assert run.modules["line"].training


class TestLog:
    COLUMNS = ("step", "images", "loss", "gradient", "rate", "images_per_second", "unix_time")

    @staticmethod
    def rows(run):
        with (run.folder / "log.csv").open(newline="") as stream:
            return list(csv.DictReader(stream))

    def test_log_and_recipe_are_written(self, start):
        run = start(steps=250)
        run.run(progress=False)
        rows = self.rows(run)
        assert tuple(rows[0]) == self.COLUMNS
        assert [(row["step"], row["images"]) for row in rows] == [("100", "400"), ("200", "800"), ("250", "1000")]
        assert float(rows[1]["rate"]) == pytest.approx(run.recipe.rate(199), rel=0.01)
        assert all(float(row[name]) > 0 for row in rows for name in ("loss", "gradient", "images_per_second"))
        assert json.loads((run.folder / "recipe.json").read_text())["steps"] == 250

    def test_log_of_a_lost_stretch_is_dropped(self, start, monkeypatch):
        run = start(steps=300)
        with monkeypatch.context() as patch:
            clock_of(run, patch)
            run.run(progress=False, until=149.5)
        older = run.checkpoint.read_bytes()
        run.run(progress=False)
        run.checkpoint.write_bytes(older)  # as if it had been killed before the next checkpoint
        again = start(steps=300)
        again.resume()
        assert again.step == 150
        again.run(progress=False)
        assert [row["step"] for row in self.rows(again)] == ["100", "150", "200", "300"]

    def test_log_of_another_run_is_dropped(self, start):
        run = start(steps=100)
        run.folder.mkdir()
        (run.folder / "log.csv").write_text("step,images,loss,rate,unix_time\n100,400,9,1,1\n")
        run.run(progress=False)
        assert [row["step"] for row in self.rows(run)] == ["100"]
        assert tuple(self.rows(run)[0]) == self.COLUMNS
