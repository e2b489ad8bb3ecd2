"""What pyproject.toml promises about the wheel."""

from __future__ import annotations

import importlib
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import astro_galaxysd

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_is_listed():
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "astro_galaxysd").rglob("__init__.py")}
    found = {".".join(folder.parts) for folder in folders}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == found | {"astro_galaxysd.entry_points"}


def test_every_entry_point_module_is_announced_and_installed():
    announced = PYPROJECT["project"]["entry-points"]["astro_galaxysd"]
    doors = {path.stem for path in (ROOT / "entry_points").glob("*.py")} - {"__init__"}
    assert announced == {door: f"astro_galaxysd.entry_points.{door}" for door in doors}
    installed = {point.name for point in metadata.distribution("astro-galaxysd").entry_points}
    assert doors <= installed


@pytest.mark.parametrize("door", sorted(PYPROJECT["project"]["entry-points"]["astro_galaxysd"]))
def test_door_holds_hookimpls_only(door):
    module = importlib.import_module(f"astro_galaxysd.entry_points.{door}")
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    assert own
    assert all(name.startswith("galaxysd_") for name in own)


def test_console_script():
    (script,) = [point for point in metadata.distribution("astro-galaxysd").entry_points if point.name == "galaxysd"]
    assert script.value == "astro_galaxysd.cli:main"


def test_typed_marker_is_installed():
    assert (Path(astro_galaxysd.__file__).parent / "py.typed").is_file()


def test_no_test_folder_is_a_package():
    """One would hide the installed package from pytest."""
    found = [path for path in (ROOT / "tests").rglob("__init__.py") if "third_party" not in path.parts]
    assert found == []


@pytest.mark.parametrize(
    "file",
    [
        "default_config.toml",
        "weights/mini/domain.safetensors",
        "weights/mini/model_index.json",
        "weights/judges/reader-reporting.safetensors",
        "weights/judges/reader-choosing.safetensors",
        "weights/judges/embedder.safetensors",
        "weights/judges/training_ids.txt",
        "reporting/assets/report.html",
        "reporting/assets/blind.js",
        "presets/choosing.toml",
    ],
)
def test_what_is_read_at_run_time_is_installed(file):
    assert (Path(astro_galaxysd.__file__).parent / file).stat().st_size > 100


def test_weights_stay_small():
    files = list((Path(astro_galaxysd.__file__).parent / "weights").rglob("*.safetensors"))
    assert sum(file.stat().st_size for file in files) < 40e6
    assert 1e6 < sum(file.stat().st_size for file in files if file.parent.name == "judges") < 8e6
