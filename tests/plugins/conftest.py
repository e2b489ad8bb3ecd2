"""Plug-ins as they look when installed, without installing: a module and a *.dist-info folder on the path."""

from __future__ import annotations

import importlib
import sys
import textwrap
from importlib import metadata

import pytest

from astro_galaxysd.plugins.hookspecs import PROJECT


class FakeInstall:
    """Write distributions into a folder that is on sys.path."""

    def __init__(self, folder):
        self.folder = folder

    def add(self, module, code, *, distribution=None, version="1.0", entry_point=None, metadata_file=True):
        distribution = distribution or module.replace("_", "-")
        (self.folder / f"{module}.py").write_text(textwrap.dedent(code), encoding="utf-8")
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        if metadata_file:
            header = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
            (info / "METADATA").write_text(header, encoding="utf-8")
        points = f"[{PROJECT}]\n{entry_point or module} = {module}\n"
        (info / "entry_points.txt").write_text(points, encoding="utf-8")
        importlib.invalidate_caches()

    def entry_points(self):
        """Only those of this folder, so that the tests do not depend on what else is installed."""
        found = [point for dist in metadata.distributions(path=[str(self.folder)]) for point in dist.entry_points]
        return sorted((point for point in found if point.group == PROJECT), key=lambda point: point.value)


@pytest.fixture
def install(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield FakeInstall(folder)
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
