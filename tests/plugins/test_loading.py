"""Fake installed plug-ins: each fault is told by name and reason, and costs nobody else."""

from __future__ import annotations

import pytest

from astro_galaxysd.errors import PluginWarning, UnknownNameError
from astro_galaxysd.plugins.loading import installed_entry_points
from astro_galaxysd.plugins.manager import PluginRegistry

GOOD = """
    from astro_galaxysd import hookimpl
    from astro_galaxysd.records import GeneratorSpec

    @hookimpl
    def galaxysd_register_generators():
        yield GeneratorSpec("{name}", "{module}:Thing", summary="A good one.")

    class Thing:
        def __init__(self, weights=None):
            self.weights = weights
"""


def good(name, module="fake_ok"):
    return GOOD.format(name=name, module=module)


@pytest.fixture
def install_with_good(install):
    install.add("fake_ok", good("fine"))
    return install


def load(install, match):
    with pytest.warns(PluginWarning, match=match):
        return PluginRegistry(entry_points=install.entry_points())


def only_failure(registry):
    assert registry.get("generator", "fine").summary == "A good one."
    (failure,) = registry.failures
    return failure


def test_good_plugin_is_found_with_its_distribution(install_with_good):
    registry = PluginRegistry(entry_points=install_with_good.entry_points())
    found = registry.find("generator", "fine")
    assert (found.plugin, found.distribution, found.version) == ("fake-ok:fake_ok", "fake-ok", "1.0")
    assert registry.create("generator", "fine", "mini").weights == "mini"
    assert registry.failures == ()


def test_default_discovery_sees_a_folder_on_the_path(install_with_good):
    assert "fake_ok" in [point.name for point in installed_entry_points()]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import there_is_no_such_module", r"can't be imported from 'fake_bad': ModuleNotFoundError.*no_such_module"),
        ("raise RuntimeError('half asleep')", "RuntimeError: half asleep"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def galaxysd_register_generators(:", "SyntaxError"),
    ],
)
def test_import_error_leaves_the_others(install_with_good, code, reason):
    install_with_good.add("fake_bad", code, version="2.5")
    failure = only_failure(load(install_with_good, reason))
    assert (failure.name, failure.distribution, failure.version) == ("fake-bad:fake_bad", "fake-bad", "2.5")


def test_misspelt_hook_is_refused_with_the_nearest(install_with_good):
    install_with_good.add(
        "fake_bad",
        """
        from astro_galaxysd import hookimpl

        @hookimpl
        def galaxysd_register_generator():
            return []
        """,
    )
    failure = only_failure(load(install_with_good, "unknown hook"))
    assert "galaxysd_register_generator(); did you mean galaxysd_register_generators" in failure.error


def test_optional_hook_of_another_program_is_let_through(install_with_good):
    install_with_good.add(
        "fake_other",
        """
        from astro_galaxysd import hookimpl

        @hookimpl(optionalhook=True)
        def galaxysd_of_a_later_version():
            return []
        """,
    )
    assert PluginRegistry(entry_points=install_with_good.entry_points()).failures == ()


def test_bad_signature_is_refused_with_both_argument_lists(install_with_good):
    install_with_good.add(
        "fake_bad",
        """
        from astro_galaxysd import hookimpl
        from astro_galaxysd.records import WeightCard

        @hookimpl
        def galaxysd_register_weights():
            return [WeightCard("lost", "/nowhere")]

        @hookimpl
        def galaxysd_select_generator(conditions, choices):
            return None
        """,
    )
    registry = load(install_with_good, "choices")
    failure = only_failure(registry)
    assert "(conditions, choices) asks for choices; the hook has conditions, available" in failure.error
    # Nothing of a refused plug-in stays, not even the part before the fault.
    with pytest.raises(UnknownNameError, match="Broken plug-ins: fake-bad:fake_bad"):
        registry.get("weights", "lost")


def test_forgotten_hookimpl_is_refused(install_with_good):
    install_with_good.add("fake_bad", "def galaxysd_register_generators():\n    return []\n")
    assert "write @hookimpl" in only_failure(load(install_with_good, "not marked")).error


def test_unhashable_plugin_is_refused():
    with pytest.warns(PluginWarning, match="not hashable"):
        registry = PluginRegistry(entry_points=[], plugins={"list": [1]})
    assert registry.plugins == {}


def test_one_entry_point_name_in_two_distributions(install):
    install.add("fake_one", good("one", "fake_one"), entry_point="generator")
    install.add("fake_two", good("two", "fake_two"), entry_point="generator")
    registry = PluginRegistry(entry_points=install.entry_points())
    assert list(registry.records_of("generators")) == ["one", "two"]


def test_distribution_without_metadata_file(install):
    install.add("fake_ok", good("fine"), metadata_file=False)
    found = PluginRegistry(entry_points=install.entry_points()).find("generator", "fine")
    assert (found.distribution, found.version) == ("unknown", "unknown")


def test_one_plugin_name_twice_keeps_the_first():
    class First:
        pass

    registry = PluginRegistry(entry_points=[], plugins={"same": First()})
    with pytest.warns(PluginWarning, match="plug-in 'same' .*was left out: ValueError: .*already registered"):
        registered = registry.register(First(), name="same")
    assert not registered
    assert list(registry.plugins) == ["same"]
    assert isinstance(registry.plugins["same"], First)
