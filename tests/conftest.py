"""What every test may ask for."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from astro_galaxysd.plugins.manager import get_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from astropy.table import Table

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def load_script() -> Callable[[str], ModuleType]:
    """Loads a script that stands outside the package, by its path in the repository; a module of its own each time."""

    def load(path: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def hub_server(load_script: Callable[[str], ModuleType]) -> Iterator[object]:
    """One server for all tests, and one HTTP client, as to make one takes longer than most tests."""
    import huggingface_hub

    huggingface_hub.close_session()
    with pytest.MonkeyPatch.context() as patch, load_script("tests/hub_server.py").HubServer() as server:
        for variable in ("NO_PROXY", "no_proxy"):
            patch.setenv(variable, "*")
        yield server
        huggingface_hub.close_session()


@pytest.fixture
def hub(hub_server: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """A Hub of the test's own, which huggingface_hub uses, with an empty cache; `tests/hub_server.py`.

    Nobody is logged in. No pause is made; `pauses` are the seconds it would have been.
    """
    import time

    from huggingface_hub import constants

    hub_server.reset()
    home = tmp_path / "hf-home"
    changed = {
        "ENDPOINT": hub_server.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub_server.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_PROGRESS_BARS": True,
        "HF_HUB_DISABLE_TELEMETRY": True,  # or the client asks, once a day, whom it should tell of
    }
    for name, value in changed.items():
        monkeypatch.setattr(constants, name, value)
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(time, "sleep", hub_server.pauses.append)
    return hub_server


@pytest.fixture(scope="session")
def gz2() -> Path:
    """Folder of the real galaxies; skips where it is absent."""
    folder = ROOT.parent / "shared" / "data" / "gz2"
    if not folder.is_dir():
        pytest.skip("real galaxies (../shared/data/gz2) are not here")
    return folder


@pytest.fixture(autouse=True)
def _fresh_registry():
    """Plug-ins that a test registers are gone after it."""
    yield
    get_registry.cache_clear()


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete weights folder with random values, 32 px, small enough to sample in milliseconds."""
    import numpy as np
    import torch

    from astro_galaxysd.diffusion.autoencoder import LappedAutoencoder, fit_linear_code
    from astro_galaxysd.diffusion.components import SCHEDULER, Components, new_text_encoder, new_unet, save_components
    from astro_galaxysd.diffusion.tokenizer import build_tokenizer

    # grey blobs of every brightness, so that images differ with their latents and seldom meet black or white
    rng = np.random.default_rng(0)
    coarse = rng.random((24, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)
    images = (60 + 120 * coarse + 20 * rng.random((24, 32, 32, 3))).astype(np.uint8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        autoencoder = LappedAutoencoder(4, width=8, depth=1)
        fit_linear_code(autoencoder, images, steps=50)
        torch.nn.init.normal_(autoencoder.decoder.sharpen.last.weight, std=0.01)  # a network that has learnt something
        tokenizer = build_tokenizer()
        components = Components(
            unet=new_unet(4, width=(16, 32), text_width=32, sample_size=4).eval(),
            vae=autoencoder.eval(),
            text_encoder=new_text_encoder(tokenizer, width=32, layers=1).eval(),
            tokenizer=tokenizer,
            scheduler=dict(SCHEDULER),
        )
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    save_components(components, folder)
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Table]]:
    """Folder and table of an invented survey of 12 galaxies. Write elsewhere, and change a copy of the table."""
    from astro_galaxysd.testing import example_survey

    folder = tmp_path_factory.mktemp("made")
    table = example_survey(folder, 12)
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    before = table.copy()
    yield folder, table
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == files
    assert table.colnames == before.colnames
    assert list(table["file_i"]) == list(before["file_i"])


@pytest.fixture
def flow(monkeypatch: pytest.MonkeyPatch) -> type:
    """The generator ``flow`` of an installed plug-in: noise from each row's seed, at once. `calls` counts rows."""
    from types import ModuleType

    from astro_galaxysd import hookimpl
    from astro_galaxysd.records import GeneratorSpec, ImageBatch
    from astro_galaxysd.testing import NoiseGenerator

    class Flow(NoiseGenerator):
        calls: ClassVar[list[int]] = []
        made_with: ClassVar[list[object]] = []

        def __init__(self, card, *, steps=None, guidance=None):
            super().__init__(16)
            self.made_with.append((card.name, steps, guidance))

        def generate(self, conditions, *, batch_size=None):
            self.calls.append(len(conditions))
            batch = super().generate(conditions, batch_size=batch_size)
            meta = {"generator": "flow", "weights": "streams", "weights_revision": "r1", "steps": 3}
            return ImageBatch(batch.images, batch.conditions, batch.ids, meta)

    plugin = ModuleType("galaxy_flow")
    plugin.Flow = Flow
    plugin.galaxysd_register_generators = hookimpl(
        lambda: [GeneratorSpec("flow", "galaxy_flow:Flow")], specname="galaxysd_register_generators"
    )
    monkeypatch.setitem(sys.modules, "galaxy_flow", plugin)
    assert get_registry().register(plugin, name="galaxy-flow:flow", distribution="galaxy-flow", version="1.2")
    return Flow
