"""What watching plug-ins are told, and what becomes of a generator plug-in that fails."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd import augment_table, generate, hookimpl
from astro_galaxysd.errors import ConditionError, PluginError, PluginWarning
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.records import ImageBatch


class Watcher:
    def __init__(self):
        self.told = []

    @hookimpl
    def galaxysd_before_generate(self, request):
        self.told.append(("before", request))

    @hookimpl
    def galaxysd_after_generate(self, request, batch):
        self.told.append(("after", request, batch))

    @hookimpl
    def galaxysd_on_error(self, stage, plugin, error):
        self.told.append(("error", stage, plugin, error))


@pytest.fixture
def watcher():
    plugin = Watcher()
    assert get_registry().register(plugin, name="watcher")
    return plugin


def failing(monkeypatch, flow, error):
    def fail(self, conditions, *, batch_size=None):
        raise error

    monkeypatch.setattr(flow, "generate", fail)


def answering(monkeypatch, flow, images):
    def answer(self, conditions, *, batch_size=None):
        return ImageBatch(images(len(conditions)), conditions, np.arange(len(conditions)).astype(str))

    monkeypatch.setattr(flow, "generate", answer)


def test_before_and_after_augment_table(catalogue, flow, watcher):
    result = augment_table(
        catalogue, target="merger", n=10, rng=1, generator="flow", steps=4, guidance=2.0, batch_size=5, progress=False
    )
    before, *after = watcher.told
    assert before[0] == "before"
    request = before[1]
    assert (request.generator, request.weights, request.steps, request.guidance) == ("flow", "mini", 4, 2.0)
    assert request.batch_size == 5
    np.testing.assert_array_equal(request.conditions["seed"], result["seed"][5:])
    assert [told[0] for told in after] == ["after", "after"]
    assert all(told[1] is request for told in after)
    np.testing.assert_array_equal(np.concatenate([told[2].images for told in after]), result["image"][5:])
    assert flow.made_with == [("mini", 4, 2.0)]


def test_before_and_after_generate(noise, watcher):
    result = generate(Table({"prompt": ["ring galaxy"] * 3}), generator=noise, rng=1, progress=False)
    (_, request), (_, _, batch) = watcher.told
    assert (request.generator, request.weights) == ("NoiseGenerator", "")
    np.testing.assert_array_equal(batch.images, result["image"])


def test_a_watcher_that_fails_costs_nothing(noise):
    class Clumsy:
        @hookimpl
        def galaxysd_after_generate(self, request, batch):
            raise RuntimeError("dropped it")

    get_registry().register(Clumsy(), name="clumsy")
    with pytest.warns(PluginWarning, match="clumsy.*passed over: RuntimeError: dropped it"):
        result = generate(Table({"prompt": ["ring galaxy"]}), generator=noise, rng=1, progress=False)
    assert len(result) == 1


def test_generator_plugin_that_raises(catalogue, flow, watcher, monkeypatch):
    fault = ZeroDivisionError("no photons")
    failing(monkeypatch, flow, fault)
    message = r"'galaxy-flow:flow' \(galaxy-flow 1.2\) failed at stage 'generate': ZeroDivisionError: no photons"
    with pytest.raises(PluginError, match=message):
        augment_table(catalogue, target="merger", n=1, generator="flow", progress=False)
    assert watcher.told[-1] == ("error", "generate", "galaxy-flow:flow", fault)


def test_generator_plugin_that_refuses(catalogue, flow, watcher, monkeypatch):
    """One of our own errors keeps its class, and says who raised it."""
    failing(monkeypatch, flow, ConditionError("only spirals"))
    with pytest.raises(ConditionError, match="only spirals") as caught:
        augment_table(catalogue, target="merger", n=1, generator="flow", progress=False)
    assert "galaxy-flow 1.2" in caught.value.__notes__[0]
    assert watcher.told[-1][:3] == ("error", "generate", "galaxy-flow:flow")


def test_factory_that_raises(catalogue, flow, watcher, monkeypatch):
    monkeypatch.setattr(flow, "__init__", lambda self, card, **_: 1 / 0)
    with pytest.raises(PluginError, match=r"galaxy-flow 1.2\) failed at stage 'create': ZeroDivisionError"):
        augment_table(catalogue, target="merger", n=1, generator="flow", progress=False)
    assert watcher.told[-1][1] == "create"


def test_check_of_a_generator(catalogue, flow, monkeypatch):
    """A generator that has a check gets all prompts before it draws."""
    checked = []

    def check(self, prompts):
        checked.extend(prompts)
        raise ConditionError("can't draw that")

    monkeypatch.setattr(flow, "check", check, raising=False)
    with pytest.raises(ConditionError, match="can't draw that"):
        augment_table(catalogue, target="merger", n=20, generator="flow", progress=False)
    assert len(checked) == 20
    assert flow.calls == []


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (lambda n: np.zeros((n + 1, 8, 8, 3), np.uint8), "returned 3 images for 2 rows; it must return one image a"),
        (lambda n: np.zeros((n, 8, 8, 3)), r"returned images of float64 \(8, 8, 3\); they must be uint8 \(H, W, 3\)"),
        (lambda n: np.zeros((n, 8, 8), np.uint8), r"returned images of uint8 \(8, 8\)"),
        (lambda n: [1, 2], "returned ImageBatch; it must return an ImageBatch"),
    ],
)
def test_images_that_are_none(catalogue, flow, watcher, monkeypatch, images, message):
    answering(monkeypatch, flow, images)
    with pytest.raises(PluginError, match=message) as caught:
        augment_table(catalogue, target="merger", n=2, generator="flow", progress=False)
    assert "galaxy-flow 1.2" in caught.value.__notes__[0]
    assert watcher.told[-1][:2] == ("error", "generate")


def test_sizes_that_change_between_calls(flow, monkeypatch):
    answering(monkeypatch, flow, lambda n: np.zeros((n, 8 + n, 8, 3), np.uint8))
    with pytest.raises(PluginError, match=r"uint8 \(9, 8, 3\); they must be uint8 \(16, 8, 3\)"):
        generate(Table({"prompt": ["ring galaxy"] * 9}), generator="flow", rng=1, progress=False)


def test_a_caller_s_own_generator_fails_as_it_is(catalogue, noise, monkeypatch):
    failing(monkeypatch, type(noise), ZeroDivisionError("mine"))
    with pytest.raises(ZeroDivisionError, match="mine"):
        augment_table(catalogue, target="merger", n=1, generator=noise, progress=False)


def test_a_plugin_may_choose_the_generator(catalogue, flow):
    class Chooser:
        @hookimpl
        def galaxysd_select_generator(self, conditions, available):
            return "flow" if "merger" in conditions["prompt"][0] else None

    get_registry().register(Chooser(), name="chooser")
    result = augment_table(catalogue, target="merger", n=1, rng=1, progress=False)
    assert result["generator"][-1] == "flow"
