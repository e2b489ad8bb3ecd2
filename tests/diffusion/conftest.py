"""A small training set and runs on it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from astro_galaxysd.conditions.tree import INDEX
from astro_galaxysd.diffusion.diffuse import DiffusionRun
from astro_galaxysd.diffusion.recipes import AutoencoderRecipe, DiffusionRecipe
from astro_galaxysd.learning.recipes import make_recipe
from astro_galaxysd.learning.trainingset import TrainingSet

TINY = {
    AutoencoderRecipe: {"batch_size": 4, "steps": 6, "warmup": 2, "latent_channels": 4, "linear_steps": 20, "width": 8,
                        "depth": 1},
    DiffusionRecipe: {"batch_size": 4, "steps": 6, "warmup": 2, "width": (16, 32), "text_width": 32, "text_layers": 1,
                      "precision": "fp32"},
}  # fmt: skip


@pytest.fixture(scope="session")
def galaxies():
    """Twelve images of 32 px with one vote fraction each."""
    rng = np.random.default_rng(0)
    coarse = rng.random((12, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)
    images = (60 + 120 * coarse + 20 * rng.random((12, 32, 32, 3))).astype(np.uint8)
    fractions = np.full((12, 37), np.nan)
    fractions[:, INDEX["smooth"]] = rng.random(12)
    return TrainingSet(images, fractions, [f"g{row}" for row in range(12)])


@pytest.fixture
def tiny_recipe(tmp_path):
    """A recipe of a kind, small enough for milliseconds a step."""
    return lambda kind, **changes: make_recipe(kind, tmp_path / "no run", {**TINY[kind], **changes}, "mini")


@pytest.fixture
def start(galaxies, tiny_weights, tmp_path, tiny_recipe):
    """Starts a diffusion run in a folder of its own, or goes on with it."""

    def run(name="run", data=galaxies, **changes):
        return DiffusionRun(tmp_path / name, data, tiny_weights / "vae", tiny_recipe(DiffusionRecipe, **changes))

    return run


@pytest.fixture(scope="session")
def sd_base(tmp_path_factory):
    """A folder as that of Stable Diffusion 1.5, its parts of stock classes and small; float32."""
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler

    from astro_galaxysd.diffusion.components import new_text_encoder, new_unet
    from astro_galaxysd.diffusion.tokenizer import build_tokenizer

    folder = tmp_path_factory.mktemp("base") / "sd"
    tokenizer = build_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        new_unet(4, width=(16, 32), text_width=32, sample_size=4).save_pretrained(folder / "unet")
        new_text_encoder(tokenizer, width=32, layers=1).save_pretrained(folder / "text_encoder")
        AutoencoderKL(
            block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=4,
        ).save_pretrained(folder / "vae")  # fmt: skip
    tokenizer.save_pretrained(folder / "tokenizer")
    PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    ).save_pretrained(folder / "scheduler")
    classes = {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(classes))
    return folder


@pytest.fixture(scope="session")
def sources(sd_base):
    """Parameters of each part of a model like the base, with other values, by the names of today; and averages."""
    import torch

    from astro_galaxysd.diffusion.components import load_components

    model, generator = load_components(sd_base), torch.Generator().manual_seed(7)

    def other(part):
        state = getattr(model, part).state_dict()
        return {name: torch.randn(value.shape, generator=generator) for name, value in state.items()}

    return [{part: other(part) for part in ("unet", "text_encoder", "vae")} for _ in range(2)]


@pytest.fixture
def styled():
    """Gives names of a text encoder the level they once had, or not, with the positions stored then."""
    import torch

    def change(part, tensors, old):
        if part != "text_encoder" or not old:
            return dict(tensors)
        return {
            **{f"text_model.{name}": value for name, value in tensors.items()},
            "text_model.embeddings.position_ids": torch.arange(77)[None],
        }

    return change


@pytest.fixture
def write_parts(sources, styled):
    """Writes a UNet and a text encoder as training leaves them: ``unet-N`` and ``text_encoder-N``."""
    import torch
    from safetensors.torch import save_file

    def write(folder, step=1000, *, pickled=False, suffix=None, old=True, dtype=torch.float32, ema=False, base=True):
        folder.mkdir(parents=True, exist_ok=True)
        for part in ("unet", "text_encoder"):
            groups = {"base": sources[0][part]} if base else {}
            groups |= {"base_ema": sources[1][part]} if ema else {}
            groups = {
                prefix: {
                    name: value.to(dtype) if value.is_floating_point() else value
                    for name, value in styled(part, group, old).items()
                }
                for prefix, group in groups.items()
            }
            path = folder / f"{part}-{step}{suffix or ('.ckpt' if pickled else '.safetensors')}"
            if pickled:
                torch.save(groups, path)
            else:
                save_file({f"{prefix}:{k}": v for prefix, group in groups.items() for k, v in group.items()}, path)
        return folder

    return write


@pytest.fixture
def single_file(sd_base, sources, styled):
    """Gives the tensors of a complete single file, by the names of its first program."""
    import torch

    from astro_galaxysd.diffusion.components import load_empty
    from astro_galaxysd.diffusion.singlefile import PREFIXES, average_name, stored_unet_names, stored_vae_names

    def tensors(old=True, dtype=torch.float32, ema=False):
        unet = stored_unet_names(load_empty(sd_base, "unet"))
        vae = stored_vae_names(sources[0]["vae"], 2)
        found = {PREFIXES["unet"] + unet[name]: value for name, value in sources[0]["unet"].items()}
        for name, value in sources[0]["vae"].items():
            pixel = ".attentions." in name and value.ndim == 2
            found[PREFIXES["vae"] + vae[name]] = value[:, :, None, None] if pixel else value
        for name, value in styled("text_encoder", sources[0]["text_encoder"], old).items():
            found[PREFIXES["text_encoder"] + name] = value
        if ema:
            averages = sources[1]["unet"].items()
            found |= {average_name(PREFIXES["unet"] + unet[name]): value for name, value in averages}
            found |= {"model_ema.decay": torch.tensor(0.9), "model_ema.num_updates": torch.tensor(3)}
        found["alphas_cumprod"] = torch.linspace(1, 0.01, 1000)
        return {name: v.to(dtype) if v.is_floating_point() else v for name, v in found.items()}

    return tensors
