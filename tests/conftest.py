"""What every test may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from astro_galaxysd.plugins.manager import get_registry


@pytest.fixture(scope="session")
def gz2() -> Path:
    """Folder of the real galaxies; skips where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data" / "gz2"
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

    from astro_galaxysd.diffusion.autoencoder import BlockComponents, new_autoencoder
    from astro_galaxysd.diffusion.components import SCHEDULER, Components, new_text_encoder, new_unet, save_components
    from astro_galaxysd.diffusion.tokenizer import build_tokenizer

    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((192, 4)))[0].T
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    components = Components(
        unet=new_unet(4, width=(16, 32), text_width=32, sample_size=4).eval(),
        vae=new_autoencoder(
            BlockComponents(np.full(192, 0.2), axes, np.ones(4)), channels=8, blocks=(1, 0, 0, 0)
        ).eval(),
        text_encoder=new_text_encoder(tokenizer, width=32, layers=1).eval(),
        tokenizer=tokenizer,
        scheduler=dict(SCHEDULER),
    )
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    save_components(components, folder)
    return folder
