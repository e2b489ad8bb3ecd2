"""Our hooks in the plug-in manager of another program."""

from __future__ import annotations

import pluggy
import pytest

from astro_galaxysd import hookimpl, install_into
from astro_galaxysd.plugins import hookspecs
from astro_galaxysd.plugins.manager import PluginRegistry
from astro_galaxysd.records import GeneratorSpec

HOST = "observatory"


class ThirdParty:
    """A plug-in that is an instance: its hooks are bound methods."""

    def __init__(self, configured):
        self.configured = configured

    @hookimpl
    def galaxysd_register_generators(self):
        return [GeneratorSpec("third", "third:Generator")]

    @hookimpl(tryfirst=True)
    def galaxysd_select_generator(self, available):
        return "third" if "third" in available else None

    @hookimpl
    def galaxysd_configure(self, config):
        self.configured.append(config)


@pytest.fixture
def host():
    return pluggy.PluginManager(HOST)


def names(pm):
    return {spec.name for specs in pm.hook.galaxysd_register_generators() for spec in specs}


def test_a_foreign_manager_alone_sees_nothing_of_ours(host):
    """The fact that makes install_into necessary."""
    host.register(PluginRegistry(plugins={"third": ThirdParty([])}).plugins["third"])
    assert not hasattr(host.hook, "galaxysd_register_generators")


def test_install_into_a_foreign_manager(host):
    registry = PluginRegistry(plugins={"third": ThirdParty([])})
    install_into(host, registry=registry)
    assert names(host) >= {"diffusion", "third"}
    assert host.hook.galaxysd_select_generator(conditions=None, available={"diffusion": 1, "third": 1}) == "third"
    assert host.hook.galaxysd_select_generator(conditions=None, available={"diffusion": 1}) == "diffusion"


def test_options_of_hooks_come_along(host):
    configured = []
    install_into(host, registry=PluginRegistry(entry_points=[]))
    host.hook.galaxysd_configure.call_historic(kwargs={"config": {"x": 1}})
    host.register(hookspecs_of_host(ThirdParty(configured)))
    assert configured == [{"x": 1}]
    assert host.hook.galaxysd_select_generator.spec.opts["firstresult"]


def hookspecs_of_host(plugin):
    """Mark a plug-in as the host's own authors would."""
    pluggy.HookimplMarker(HOST)(type(plugin).galaxysd_configure)
    return plugin


def test_twice_is_harmless(host):
    install_into(host)
    before = host.list_name_plugin()
    install_into(host)
    assert host.list_name_plugin() == before
    assert len(host.hook.galaxysd_register_weights.get_hookimpls()) == 1


def test_a_name_that_the_host_blocked_stays_out(host):
    host.set_blocked("astro-galaxysd:generator")
    install_into(host)
    assert "diffusion" not in names(host)
    assert list(host.hook.galaxysd_register_weights())


def test_host_hooks_and_ours_live_together(host):
    class HostSpecs:
        @pluggy.HookspecMarker(HOST)
        def observatory_open(self, dome):
            """A hook of the host."""

    class HostPlugin:
        @pluggy.HookimplMarker(HOST)
        def observatory_open(self, dome):
            return f"{dome} open"

        @pluggy.HookimplMarker(HOST)
        def galaxysd_register_generators(self):
            return [GeneratorSpec("hosted", "hosted:Generator")]

    host.add_hookspecs(HostSpecs)
    host.register(HostPlugin())
    install_into(host)
    assert host.hook.observatory_open(dome="north") == ["north open"]
    assert names(host) >= {"diffusion", "hosted"}
    host.check_pending()


def test_our_own_project_name_needs_no_new_marks():
    pm = pluggy.PluginManager(hookspecs.PROJECT)
    install_into(pm)
    assert "diffusion" in names(pm)
