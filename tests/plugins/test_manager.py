"""Records by name, duplicates, versions, creation and the calls of hooks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from astro_galaxysd import hookimpl
from astro_galaxysd.errors import (
    DuplicatePluginError,
    PluginError,
    PluginWarning,
    UnknownNameError,
    WeightsError,
)
from astro_galaxysd.plugins.kinds import KINDS
from astro_galaxysd.plugins.manager import PluginRegistry, get_registry
from astro_galaxysd.records import GenerationRequest, GeneratorSpec, WeightCard


def plugin(**hooks):
    """Make a plug-in object whose hooks are the functions given."""
    return SimpleHooks({name: hookimpl(function) for name, function in hooks.items()})


class SimpleHooks(SimpleNamespace):
    __hash__ = object.__hash__

    def __init__(self, hooks):
        super().__init__(**hooks)


def registry_of(**plugins):
    return PluginRegistry(entry_points=[], plugins=plugins)


def offering(*specs):
    return plugin(galaxysd_register_generators=lambda: list(specs))


def spec(name, factory="builtins:dict", **more):
    return GeneratorSpec(name, factory, **more)


def test_our_own_records_come_through_the_entry_points():
    registry = get_registry()
    assert registry is get_registry()
    names = {kind.name: set(registry.records_of(kind.plural)) for kind in KINDS}
    assert names["schema"] >= {"kaggle", "hart16", "zoobot", "conditional"}
    assert "diffusion" in names["generator"]
    assert "photometry" in names["evaluator"]
    assert "votes" in names["augmenter"]
    assert "mini" in names["weights"]
    assert registry.find("weights", "mini").distribution == "astro-galaxysd"


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown generator 'difusion': did you mean 'diffusion'"):
        registry_of(a=offering(spec("diffusion"))).get("generator", "difusion")


def test_unknown_kind():
    with pytest.raises(UnknownNameError, match="unknown kind of plug-in record 'generatr'"):
        registry_of().get("generatr", "x")


def test_duplicate_name_is_an_error_only_when_asked_for():
    registry = PluginRegistry(entry_points=[])
    registry.register(offering(spec("flow"), spec("own")), name="a", distribution="dist-a", version="1")
    registry.register(offering(spec("flow")), name="b", distribution="dist-b", version="2")
    assert registry.get("generator", "own").name == "own"
    assert list(registry.records_of("generator")) == ["own"]
    with pytest.raises(DuplicatePluginError, match="'flow' is offered by .*dist-a 1.* and .*dist-b 2"):
        registry.get("generator", "flow")
    clashing = [line for line in registry.describe() if line.name == "flow"]
    assert len(clashing) == 2
    assert "dist-b 2" in clashing[0].problem
    assert not clashing[0].usable


@pytest.mark.parametrize(("version", "who"), [(2, "package astro-galaxysd"), (0, "plug-in")])
def test_wrong_api_version_is_refused_with_both_numbers(version, who):
    registry = registry_of(a=offering(spec("new", api_version=version), spec("good")))
    with pytest.warns(PluginWarning, match=f"version {version} of the plug-in interface.*version 1; update the {who}"):
        assert list(registry.records_of("generators")) == ["good"]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("diffusion", "not a GeneratorSpec"),
        (WeightCard("w", "/x"), "not a GeneratorSpec"),
        (spec(""), "name is ''"),
        (spec("x", factory="no.colon"), "factory 'no.colon'; write 'package.module:Class'"),
    ],
)
def test_wrong_record_is_refused_alone(record, reason):
    registry = registry_of(a=offering(record, spec("good")))
    with pytest.warns(PluginWarning, match=reason):
        assert list(registry.records_of("generators")) == ["good"]


def test_raising_register_hook_loses_only_its_own_records():
    def half_way():
        yield spec("never")
        raise ValueError("no more")

    bad = plugin(galaxysd_register_generators=half_way, galaxysd_register_weights=lambda: [WeightCard("kept", "/kept")])
    registry = registry_of(before=offering(spec("before")), bad=bad, after=offering(spec("after")))
    with pytest.warns(PluginWarning, match="galaxysd_register_generators: ValueError: no more"):
        assert list(registry.records_of("generators")) == ["before", "after"]
    assert registry.get("weights", "kept").location == "/kept"
    assert [failure.name for failure in registry.failures] == ["bad"]
    registry.records_of("generators")  # asked once, reported once
    assert len(registry.failures) == 1
    assert [line.name for line in registry.describe() if line.plugin == "bad"] == ["kept", "bad"]


def test_create_calls_the_factory():
    registry = registry_of(a=offering(spec("made", "types:SimpleNamespace")))
    assert registry.create("generator", "made", steps=3).steps == 3


def test_missing_factory_names_plugin_and_requirement():
    registry = registry_of(a=offering(spec("gone", "there_is_no:Thing", requires=("there-is-no",))))
    with pytest.raises(PluginError, match="requires there-is-no: pip install") as caught:
        registry.create("generator", "gone")
    assert "plug-in 'a'" in caught.value.__notes__[0]
    (line,) = registry.describe()
    assert line.problem == "requires there-is-no, not installed: pip install there-is-no"


def test_guard_names_the_plugin_of_an_unforeseen_error():
    seen = []
    watcher = plugin(galaxysd_on_error=lambda stage, plugin, error: seen.append((stage, plugin, str(error))))
    registry = registry_of(a=offering(spec("x")), watcher=watcher)
    found = registry.find("generator", "x")
    reason = "plug-in 'a' .* failed at stage 'generate': KeyError: 'hue'"
    with pytest.raises(PluginError, match=reason), registry.guard("generate", found):
        raise KeyError("hue")
    with pytest.raises(WeightsError, match="damaged") as caught, registry.guard("create", found):
        raise WeightsError("damaged")
    assert "plug-in 'a'" in caught.value.__notes__[0]
    assert seen == [("generate", "a", "'hue'"), ("create", "a", "damaged")]


def test_galaxysd_configure_reaches_early_and_late_plugins():
    got = []
    early = plugin(galaxysd_configure=lambda config: got.append(("early", config["x"])))
    silent = plugin(galaxysd_configure=lambda: got.append(("silent", None)))
    late = plugin(galaxysd_configure=lambda config: got.append(("late", config["x"])))
    registry = registry_of(early=early, silent=silent)
    registry.configure({"x": 1})
    assert sorted(got, key=str) == [("early", 1), ("silent", None)]
    registry.register(late, name="late")
    assert got[2:] == [("late", 1)]


def test_register_hook_that_exits_loses_only_its_own_records():
    def leave():
        raise SystemExit(4)

    bad = plugin(galaxysd_register_generators=leave)
    registry = registry_of(bad=bad, after=offering(spec("after")))
    with pytest.warns(PluginWarning, match="galaxysd_register_generators: SystemExit: 4"):
        assert list(registry.records_of("generators")) == ["after"]


def test_configure_that_raises_keeps_nobody_from_it():
    got = []

    def fail(config):
        raise OSError("no cache")

    registry = registry_of(
        a=plugin(galaxysd_configure=lambda config: got.append("a")),
        b=plugin(galaxysd_configure=fail),
        c=plugin(galaxysd_configure=lambda config: got.append("c")),
    )
    with pytest.warns(PluginWarning, match="plug-in 'b' .* failed at 'configure'.*OSError: no cache"):
        registry.configure({})
    assert sorted(got) == ["a", "c"]


def test_late_plugin_whose_configure_raises_is_left_out():
    def fail(config):
        raise OSError("no cache")

    registry = registry_of()
    registry.configure({})
    bad = plugin(galaxysd_configure=fail, galaxysd_register_generators=lambda: [spec("x")])
    with pytest.warns(PluginWarning, match="was left out: OSError"):
        assert not registry.register(bad, name="bad")
    assert registry.records_of("generators") == {}


def request_for(n=2):
    return GenerationRequest(conditions=[None] * n, generator="x", weights="mini")


def test_before_and_after_generate_see_the_request():
    seen = []
    watcher = plugin(
        galaxysd_before_generate=lambda request: seen.append(len(request.conditions)),
        galaxysd_after_generate=lambda request, batch: seen.append(batch),
    )
    registry = registry_of(watcher=watcher)
    registry.before_generate(request_for())
    registry.after_generate(request_for(), "batch")
    assert seen == [2, "batch"]


def test_watcher_that_raises_is_passed_over_and_told():
    told, seen = [], []

    def fail(request):
        raise ValueError("cannot watch")

    registry = registry_of(
        good=plugin(galaxysd_before_generate=lambda request: seen.append(1)),
        bad=plugin(galaxysd_before_generate=fail),
        teller=plugin(galaxysd_on_error=lambda stage, plugin: told.append((stage, plugin))),
    )
    with pytest.warns(PluginWarning, match="'bad'.*passed over: ValueError: cannot watch"):
        registry.before_generate(request_for())
    assert seen == [1]
    assert told == [("before_generate", "bad")]


def test_on_error_that_raises_does_not_call_itself():
    def fail(error):
        raise ValueError("worse")

    registry = registry_of(bad=plugin(galaxysd_on_error=fail))
    with pytest.warns(PluginWarning, match="failed at 'on_error'") as caught:
        registry.on_error("load", "x", KeyError("y"))
    assert len(caught) == 1


def choosing(answer):
    return plugin(galaxysd_select_generator=lambda conditions, available: answer)


def test_galaxysd_select_generator_first_answer_holds():
    registry = registry_of(a=offering(spec("x"), spec("y")), first=choosing("x"), later=choosing("y"))
    # pluggy asks the plug-in that was registered last first.
    assert registry.select_generator([]) == "y"
    assert registry.select_generator([], ["x", "y"]) == "y"
    registry = registry_of(a=offering(spec("x"), spec("y")), first=choosing("x"), later=choosing(None))
    assert registry.select_generator([]) == "x"


def test_our_choice_comes_last():
    registry = PluginRegistry(plugins={"a": offering(spec("mine")), "chooser": choosing("mine")})
    assert registry.select_generator([]) == "mine"
    assert PluginRegistry().select_generator([]) == "diffusion"


def test_choice_of_what_is_not_there_names_the_plugin():
    registry = registry_of(a=offering(spec("x")), chooser=choosing("z"))
    with pytest.raises(PluginError, match="'chooser' .* chose the generator 'z'; available are x"):
        registry.select_generator([])


def test_no_choice_at_all():
    with pytest.raises(PluginError, match=r"no plug-in chose a generator; pass generator= .*\(x\)"):
        registry_of(a=offering(spec("x"))).select_generator([])
    with pytest.raises(PluginError, match="none: pip install"):
        registry_of().select_generator([])


def test_describe_lists_watchers_and_failures():
    with pytest.warns(PluginWarning):
        registry = registry_of(
            watcher=plugin(galaxysd_before_generate=lambda request: None), bad=plugin(galaxysd_before_generat=lambda: 1)
        )
    watcher, bad = registry.describe()
    assert (watcher.kind, watcher.name, watcher.summary) == ("hooks", "watcher", "Implements galaxysd_before_generate.")
    assert (bad.kind, bad.name) == ("plug-in", "bad")
    assert "unknown hook" in bad.problem
