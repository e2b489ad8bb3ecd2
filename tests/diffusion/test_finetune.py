from __future__ import annotations

import json
import os
import shutil
import sys
import tomllib
from dataclasses import asdict, fields
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from astropy.table import Table
from safetensors.torch import load_file, save_file

from astro_galaxysd.conditions.tree import INDEX
from astro_galaxysd.diffusion.captions import fit_tags
from astro_galaxysd.diffusion.components import load_components
from astro_galaxysd.diffusion.encode import check_prompts
from astro_galaxysd.diffusion.finetune import FinetuneRun, finetune_schedule
from astro_galaxysd.diffusion.recipes import FinetuneRecipe
from astro_galaxysd.diffusion.sample import sample_rows
from astro_galaxysd.diffusion.tokenizer import build_tokenizer
from astro_galaxysd.errors import MissingDependencyError, TrainingError, UnknownNameError, WeightsError
from astro_galaxysd.learning.recipes import make_recipe
from astro_galaxysd.learning.trainingset import TrainingSet

PRESETS = ("galaxysd-paper", "galaxysd-zsnr", "galaxysd-lora")
QUICK = {"batch_size": 2, "steps": 2, "warmup": 1, "image_size": 64, "precision": "fp32", "accumulate": 1,
         "cache_latents": False, "checkpointing": False}  # fmt: skip


SMALL = {"width": (8, 8, 8, 8), "depth": 1, "heads": 2, "groups": 4, "vae_width": 4,
         "text_width": 16, "text_layers": 2, "text_heads": 2}  # fmt: skip
#: The published sizes of Stable Diffusion 1.5.
FULL = {"width": (320, 640, 1280, 1280), "depth": 2, "heads": 8, "groups": 32, "vae_width": 128,
        "text_width": 768, "text_layers": 12, "text_heads": 12, "words": 49408}  # fmt: skip


def layout(tokenizer, *, width, depth, heads, groups, vae_width, text_width, text_layers, text_heads, words=0):
    """UNet, autoencoder and text encoder of the layout of Stable Diffusion 1.5, random, of any size."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    unet = UNet2DConditionModel(
        sample_size=64,
        block_out_channels=width,
        layers_per_block=depth,
        cross_attention_dim=text_width,
        attention_head_dim=heads,
        norm_num_groups=groups,
    )
    vae = AutoencoderKL(
        block_out_channels=(vae_width, 2 * vae_width, 4 * vae_width, 4 * vae_width),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        layers_per_block=depth,
        norm_num_groups=groups,
        sample_size=512,
    )
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=words or len(tokenizer),
            hidden_size=text_width,
            intermediate_size=4 * text_width,
            num_hidden_layers=text_layers,
            num_attention_heads=text_heads,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    with torch.no_grad():  # that of a trained encoder is not zero, and weighted prompts divide by the mean
        text_encoder.get_submodule("final_layer_norm").bias.fill_(0.3)
    return unet, vae, text_encoder


def write_base(folder, unet, vae, text_encoder, tokenizer):
    """A folder as Stable Diffusion 1.5 was published: PNDM, old configurations, old names of layers."""
    from diffusers import PNDMScheduler, StableDiffusionPipeline

    scheduler = PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True,
                              steps_offset=1)  # fmt: skip
    StableDiffusionPipeline(
        vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False
    ).save_pretrained(folder)  # fmt: skip
    for part in ("unet", "vae"):
        path = folder / part / "config.json"
        config = json.loads(path.read_text()) | {"_diffusers_version": "0.6.0"}
        for name in ("scaling_factor", "shift_factor", "use_quant_conv", "use_post_quant_conv"):
            config.pop(name, None)
        path.write_text(json.dumps(config))
    path = folder / "text_encoder" / "model.safetensors"
    values = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in load_file(path).items()}
    values["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(values, path, metadata={"format": "pt"})
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    values = load_file(path)
    for name in [name for name in values if ".attentions." in name]:
        new = name
        for now, before in old.items():
            new = new.replace(f".{now}.", f".{before}.")
        values[new] = values.pop(name)
    save_file(values, path, metadata={"format": "pt"})


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A base of 60,000 random parameters."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("base") / "sd15"
    tokenizer = build_tokenizer()
    unet, vae, text_encoder = layout(tokenizer, **SMALL)
    with torch.no_grad():
        for network in (unet, vae):  # else images are all but constant
            for parameter in network.parameters():
                parameter.mul_(1.6)
    write_base(folder, unet, vae, text_encoder, tokenizer)
    return folder


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    images = (rng.random((6, 8, 8, 3)).repeat(9, axis=1).repeat(9, axis=2) * 255).astype(np.uint8)
    fractions = np.full((6, 37), np.nan)
    fractions[:, INDEX["smooth"]] = rng.random(6)
    return TrainingSet(images, fractions, [f"galaxy {row}" for row in range(6)])


@pytest.fixture
def start(base, data, tmp_path):
    """Starts a run in a folder of its own, or goes on with it."""

    def run(name="run", preset="galaxysd-paper", rows=data, **changes):
        recipe = make_recipe(FinetuneRecipe, tmp_path / name, QUICK | changes, preset)
        return FinetuneRun(tmp_path / name, rows, base, recipe)

    return run


def parameters(module):
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class TestPresets:
    @pytest.mark.parametrize("preset", PRESETS)
    def test_every_field_is_given(self, preset, tmp_path):
        content = tomllib.loads(files("astro_galaxysd").joinpath("presets", f"{preset}.toml").read_text())
        assert content["summary"]
        assert set(content["finetune"]) == {field.name for field in fields(FinetuneRecipe)}
        make_recipe(FinetuneRecipe, tmp_path, {}, preset)

    def test_paper_is_what_was_published(self, tmp_path):
        recipe = asdict(make_recipe(FinetuneRecipe, tmp_path, {}, "galaxysd-paper"))
        published = {"batch_size": 16, "steps": 10000, "weight_decay": 1e-3, "learning_rate": 1.6e-6, "warmup": 400,
                     "schedule": "one-cycle", "clip": 1.0, "precision": "fp16", "gamma": 0.0, "image_size": 424,
                     "prediction": "epsilon", "train_text_encoder": True, "lora_rank": 0}  # fmt: skip
        assert published.items() <= recipe.items()
        assert recipe["captions"]["weighted"] == 0

    def test_the_one_cycle_is_torchs(self, tmp_path):
        recipe = make_recipe(FinetuneRecipe, tmp_path, {}, "galaxysd-paper")
        optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.6e-6, total_steps=10000, pct_start=0.04)
        for step in range(10000):
            assert recipe.rate(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
            if step == 0:
                optimizer.step()  # torch warns of a schedule that is ahead of its optimizer
            if step < 9999:
                cycle.step()


class TestSchedule:
    BASE: ClassVar = {"_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "skip_prk_steps": True,
            "timestep_spacing": "leading", "trained_betas": None}  # fmt: skip

    def test_noise_prediction_keeps_the_betas(self):
        assert finetune_schedule(self.BASE, "epsilon", zero_snr=False) == {
            "beta_start": 0.00085, "beta_end": 0.012, "timestep_spacing": "leading", "prediction_type": "epsilon",
            "rescale_betas_zero_snr": False}  # fmt: skip

    def test_pure_noise_at_the_end(self):
        schedule = finetune_schedule(self.BASE, "v_prediction", zero_snr=True)
        assert schedule["rescale_betas_zero_snr"]
        assert schedule["timestep_spacing"] == "trailing"

    def test_noise_can_not_be_predicted_from_noise(self):
        with pytest.raises(TrainingError, match="zero_snr = true with prediction = epsilon.*set prediction = v_predic"):
            finetune_schedule(self.BASE, "epsilon", zero_snr=True)

    def test_unknown_prediction(self):
        with pytest.raises(UnknownNameError, match="unknown prediction 'v-prediction': did you mean 'v_prediction'"):
            finetune_schedule(self.BASE, "v-prediction", zero_snr=False)


class TestRefusals:
    @pytest.fixture
    def damaged(self, base, tmp_path, data):
        """Starts with a copy of the base that a function has changed."""

        def run(change):
            folder = Path(shutil.copytree(base, tmp_path / "copy"))
            change(folder)
            recipe = make_recipe(FinetuneRecipe, tmp_path / "run", QUICK, "galaxysd-paper")
            return FinetuneRun(tmp_path / "run", data, folder, recipe)

        return run

    def test_no_base(self, damaged):
        with pytest.raises(WeightsError, match="no folder .*copy' to start from; .*hf download stable-diffusion-v1-5"):
            damaged(shutil.rmtree)

    def test_not_a_diffusers_folder(self, damaged):
        with pytest.raises(WeightsError, match="model_index.json is missing: not a diffusers weights folder"):
            damaged(lambda folder: (folder / "model_index.json").unlink())

    def test_unknown_autoencoder(self, damaged):
        def change(folder):
            path = folder / "model_index.json"
            path.write_text(path.read_text().replace("AutoencoderKL", "AutoencoderDC"))

        with pytest.raises(WeightsError, match="AutoencoderDC.* is not AutoencoderTiny or AutoencoderKL"):
            damaged(change)

    def test_text_encoder_of_another_width(self, damaged):
        def change(folder):
            tokenizer = build_tokenizer()
            layout(tokenizer, **(SMALL | {"text_width": 32}))[2].save_pretrained(folder / "text_encoder")

        with pytest.raises(WeightsError, match="UNet reads prompts of 16 numbers a token, the text encoder gives 32"):
            damaged(change)

    def test_inpainting_model(self, damaged):
        def change(folder):
            from diffusers import UNet2DConditionModel

            config = dict(load_components(folder).unet.config) | {"in_channels": 9}
            UNet2DConditionModel.from_config(config).save_pretrained(folder / "unet")

        with pytest.raises(WeightsError, match="takes 9 channels, the autoencoder gives 4; give a text-to-image model"):
            damaged(change)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
    def test_half_precision_without_cuda(self, start):
        with pytest.raises(TrainingError, match="precision = fp16 needs a CUDA device; choose bf16, fp32 or auto"):
            start(precision="fp16")

    def test_small_images(self, start):
        with pytest.raises(TrainingError, match="images of 56x56 px are too small .* needs 64 px or more; set image_"):
            start(image_size=56)

    def test_images_off_the_grid(self, start):
        with pytest.raises(TrainingError, match="images of 70x70 px: the side must be a multiple of 8; set image_size"):
            start(image_size=70)

    def test_negative_size(self, start):
        with pytest.raises(TrainingError, match="image_size = -1; must be at least 0"):
            start(image_size=-1)

    def test_no_votes(self, start, data):
        without = TrainingSet(data.images, np.full((6, 37), np.nan), data.ids)
        with pytest.raises(TrainingError, match="none of the 6 galaxies has votes.*give tables with vote columns"):
            start(rows=without)

    def test_unknown_prediction(self, start):
        with pytest.raises(UnknownNameError, match="unknown prediction 'noise'"):
            start(prediction="noise")

    def test_negative_rank(self, start):
        with pytest.raises(TrainingError, match="lora_rank = -2; must be at least 0"):
            start(lora_rank=-2)

    def test_adapters_keep_what_the_base_predicts(self, start):
        with pytest.raises(TrainingError, match="predicts epsilon to prediction = v_prediction; set .*, or lora_rank"):
            start(preset="galaxysd-lora", prediction="v_prediction")

    def test_adapters_need_peft(self, start, monkeypatch):
        monkeypatch.setitem(sys.modules, "peft", None)
        with pytest.raises(MissingDependencyError, match=r'need peft: pip install "astro-galaxysd\[train\]"'):
            start(preset="galaxysd-lora")

    def test_another_base(self, start, base, tmp_path, data):
        run = start()
        run.save()
        other = Path(shutil.copytree(base, tmp_path / "other"))
        path = other / "unet" / "diffusion_pytorch_model.safetensors"
        save_file({name: value + 1 for name, value in load_file(path).items()}, path, metadata={"format": "pt"})
        with pytest.raises(TrainingError, match="was begun with .* as --base, this one is .*; give the same"):
            FinetuneRun(run.folder, data, other, run.recipe).resume()


class TestRecord:
    def test_stage_and_rows_of_the_base(self, start, base, tmp_path, data):
        run = start()
        run.save()
        assert json.loads((run.folder / "base.json").read_text()) == {
            "stage": "finetune",
            "revision": run.base_revision,
            "licence": "",
            "base_model": "",
        }
        assert not (run.folder / "base_ids.txt").exists()
        known = Path(shutil.copytree(base, tmp_path / "known"))
        (known / "training_ids.txt").write_text("0123456789abcdef\n")
        (known / "README.md").write_text("---\nlicense: 'mit'\nbase_model: team/dwarfs\n---\nlicense: gpl\n")
        other = FinetuneRun(tmp_path / "other", data, known, run.recipe)
        other.save()
        other.export(tmp_path / "weights")
        begun = json.loads((tmp_path / "other" / "base.json").read_text())
        assert (begun["licence"], begun["base_model"]) == ("mit", "team/dwarfs")
        assert (tmp_path / "other" / "base_ids.txt").read_text() == "0123456789abcdef\n"
        learnt = (tmp_path / "weights" / "training_ids.txt").read_text().split()
        assert "0123456789abcdef" in learnt
        assert len(learnt) == 1 + len(data.ids)


class TestTraining:
    def test_everything_but_the_autoencoder_learns(self, start):
        run = start()
        before = {name: parameters(getattr(run, name)) for name in ("unet", "vae", "text_encoder")}
        run.run(progress=False)
        for name, values in before.items():
            assert equal(parameters(getattr(run, name)), values) == (name == "vae")

    def test_the_text_encoder_may_stay(self, start):
        run = start(train_text_encoder=False)
        before = parameters(run.text_encoder)
        run.run(progress=False)
        assert equal(parameters(run.text_encoder), before)

    @pytest.mark.parametrize("preset", ["galaxysd-paper", "galaxysd-lora"])
    def test_a_killed_run_ends_in_the_same_weights(self, start, preset):
        whole = start("whole", preset, steps=3)
        whole.run(progress=False)
        broken = start("broken", preset, steps=3)
        broken.advance()
        broken.save()
        broken.advance()  # lost: the process dies before the next checkpoint
        again = start("broken", preset, steps=3)
        assert again.resume()
        assert again.step == 1
        again.run(progress=False)
        for name in ("unet", "text_encoder"):
            assert equal(parameters(getattr(whole, name)), parameters(getattr(again, name)))
        assert all(torch.equal(mine, other) for mine, other in zip(whole.average, again.average, strict=True))

    def test_the_same_step_in_pieces_and_with_checkpointing(self, start):
        plain, frugal = start("plain"), start("frugal", accumulate=2, checkpointing=True)
        assert plain.unet.is_gradient_checkpointing is False
        assert frugal.unet.is_gradient_checkpointing
        assert frugal.text_encoder.is_activation_checkpointing
        assert plain.advance() == pytest.approx(frugal.advance(), rel=1e-5)
        for mine, other in zip(plain.parameters, frugal.parameters, strict=True):
            torch.testing.assert_close(mine, other, rtol=0, atol=1e-6)

    def test_latents_are_drawn_from_the_posterior(self, start, data):
        run = start()
        rows, forms = np.zeros(160, np.int64), np.zeros(160, np.int64)
        drawn = run.source.draw(rows, forms, np.random.default_rng(0))
        pixels = torch.from_numpy(run.data.images[:1]).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad():
            posterior = run.vae.encode(pixels).latent_dist
        deviation = posterior.std[0] * run.vae.config.scaling_factor
        assert run.vae.config.scaling_factor == 0.18215
        torch.testing.assert_close(drawn.std(0), deviation, rtol=0.35, atol=1e-4)
        assert bool(((drawn.mean(0) - posterior.mean[0] * 0.18215).abs() < 5 * deviation / 160**0.5 + 1e-6).all())

    def test_prompts_of_all_answers_fit(self):
        tokenizer = build_tokenizer(["sdss galaxy"])  # other words are spelt letter by letter, some dozens of tokens
        many = [("a galaxy with an obvious ring", 0.3 + 0.05 * k) for k in range(10)]
        kept = fit_tags([many, many[:1]], tokenizer)
        assert 0 < len(kept[0]) < 10
        assert kept[0] == many[-len(kept[0]) :]
        assert kept[1] == many[:1]
        check_prompts(tokenizer, [", ".join(["sdss", *(f"{{{words}:1.30}}" for words, _ in kept[0])])])


@pytest.mark.filterwarnings("ignore:.*Siglip|.*CLIPImage")
class TestExport:
    def scheduler(self, folder):
        return json.loads((folder / "scheduler" / "scheduler_config.json").read_text())

    @pytest.mark.parametrize("preset", ["galaxysd-paper", "galaxysd-lora"])
    def test_the_folder_is_complete_and_draws(self, start, preset, tmp_path):
        from diffusers import StableDiffusionPipeline

        from astro_galaxysd import load_generator

        run = start(preset=preset, image_size=72)
        run.run(progress=False)
        run.export(tmp_path / "weights")
        sampler = "dpm++" if preset == "galaxysd-zsnr" else "euler-ancestral"
        told = json.loads((tmp_path / "weights" / "sampling.json").read_text())
        assert told == {"steps": 40, "guidance": 6.5, "sampler": sampler}
        generator = load_generator(tmp_path / "weights", steps=2)
        assert generator.sampler == sampler
        assert generator.image_size == 72  # below 512 px, which pipelines take for a fault of old configurations
        drawn = generator.generate(Table({"prompt": ["sdss, ring galaxy"] * 2, "seed": [1, 2]})).images
        assert drawn.shape == (2, 72, 72, 3)
        assert drawn.std() > 1
        pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "weights", local_files_only=True)
        pipeline.set_progress_bar_config(disable=True)
        assert pipeline("sdss, ring galaxy", num_inference_steps=2).images[0].size == (72, 72)

    def test_the_paper_keeps_the_schedule(self, start, base, tmp_path):
        start().export(tmp_path / "weights")
        before, after = self.scheduler(base), self.scheduler(tmp_path / "weights")
        for name in ("beta_start", "beta_end", "beta_schedule", "prediction_type", "timestep_spacing", "steps_offset"):
            assert after[name] == before[name]
        assert not after["rescale_betas_zero_snr"]

    def test_zsnr_changes_the_schedule(self, start, tmp_path):
        run = start(preset="galaxysd-zsnr")
        assert float(run.signal[-1]) < 1e-6
        run.export(tmp_path / "weights")
        after = self.scheduler(tmp_path / "weights")
        assert after["prediction_type"] == "v_prediction"
        assert after["rescale_betas_zero_snr"]
        assert after["timestep_spacing"] == "trailing"

    def test_own_weights_are_a_base_too(self, tiny_weights, data, tmp_path):
        changes = QUICK | {"prediction": "v_prediction", "zero_snr": True, "image_size": 32}
        recipe = make_recipe(FinetuneRecipe, tmp_path / "run", changes, "galaxysd-paper")
        run = FinetuneRun(tmp_path / "run", data, tiny_weights, recipe)
        run.run(progress=False)
        run.export(tmp_path / "weights")
        assert load_components(tmp_path / "weights").image_size == 32


@pytest.mark.filterwarnings("ignore:.*Siglip|.*CLIPImage")
class TestAdapters:
    @pytest.fixture
    def trained(self, start):
        """A run whose adapters on both networks differ much from nothing."""
        run = start(preset="galaxysd-lora", train_text_encoder=True, learning_rate=0.05, steps=6, lora_rank=4)
        run.run(progress=False)
        return run

    def test_only_adapters_learn_and_are_kept(self, start, base):
        run = start(preset="galaxysd-lora", checkpointing=True, train_text_encoder=True, learning_rate=0.01)
        run.run(progress=False)
        state = torch.load(run.checkpoint, weights_only=True)
        assert all("lora_" in name for part in ("unet", "text_encoder") for name in state[part])
        assert all(float(value.abs().max()) > 0 for name, value in state["text_encoder"].items() if "lora_B" in name)
        before = parameters(load_components(base).unet)
        after = {name.replace(".base_layer", ""): value for name, value in parameters(run.unet).items()}
        assert all(torch.equal(after[name], value) for name, value in before.items())

    def test_untrained_adapters_leave_the_base_as_it_is(self, start, base):
        components = start(preset="galaxysd-lora", train_text_encoder=True).components()
        loaded = load_components(base)
        for name in ("unet", "text_encoder"):
            assert equal(parameters(getattr(components, name)), parameters(getattr(loaded, name)))

    def test_merged_is_base_plus_adapters(self, trained, base):
        hidden, noisy = torch.randn(2, 77, 16), torch.randn(2, 4, 8, 8)
        ids = torch.zeros(1, 77, dtype=torch.int64)
        with torch.no_grad(), trained.averaged():
            beside = trained.unet(noisy, 400, hidden).sample, trained.text_encoder(ids).last_hidden_state
        merged = trained.components()
        plain = load_components(base)
        with torch.no_grad():
            into = merged.unet(noisy, 400, hidden).sample, merged.text_encoder(ids).last_hidden_state
            without = plain.unet(noisy, 400, hidden).sample, plain.text_encoder(ids).last_hidden_state
        for one, other, old in zip(beside, into, without, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
            assert float((other - old).abs().max()) > 0.01
        assert parameters(merged.unet).keys() == parameters(plain.unet).keys()

    def test_looking_on_the_way_changes_nothing(self, start):
        seen = []

        def look(run):
            seen.append(sample_rows(run.current(), ["sdss"], [1], steps=2, guidance=1.0, sampler="euler-ancestral"))

        options = {"preset": "galaxysd-lora", "learning_rate": 0.01}
        watched, alone = start("watched", **options), start("alone", **options)
        watched.run(progress=False, watch=look, watch_every=1)
        alone.run(progress=False)
        assert equal(parameters(watched.unet), parameters(alone.unet))
        merged = sample_rows(alone.components(), ["sdss"], [1], steps=2, guidance=1.0, sampler="euler-ancestral")
        assert np.abs(merged.astype(int) - seen[-1]).max() <= 1

    def test_stock_pipeline_takes_the_adapters(self, trained, base, tmp_path):
        from diffusers import DDIMScheduler, StableDiffusionPipeline

        trained.export(tmp_path / "weights")
        assert (trained.folder / "lora" / "pytorch_lora_weights.safetensors").is_file()

        def draw(folder, adapters=None):
            pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, local_files_only=True)
            pipeline.scheduler = DDIMScheduler(clip_sample=False)  # the folders name different samplers
            pipeline.set_progress_bar_config(disable=True)
            if adapters:
                pipeline.load_lora_weights(adapters)
            return pipeline(
                "sdss", num_inference_steps=2, height=64, width=64, generator=torch.Generator().manual_seed(0),
                output_type="np",
            ).images  # fmt: skip

        with_adapters, merged, plain = draw(base, trained.folder / "lora"), draw(tmp_path / "weights"), draw(base)
        np.testing.assert_allclose(with_adapters, merged, rtol=0, atol=0.03)
        assert np.abs(plain - merged).max() > 0.1

    def test_a_run_of_all_weights_writes_none(self, start, tmp_path):
        run = start()
        run.export(tmp_path / "weights")
        assert not (run.folder / "lora").exists()


def free_memory():
    """Bytes that can be taken without swapping, as far as the system tells."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


@pytest.mark.slow
def test_a_step_at_the_size_of_stable_diffusion(tmp_path):
    """16 bytes for each of 983 million weights: value, gradient, two moments."""
    needed = 17.5e9
    if free_memory() < needed:
        pytest.skip(f"{free_memory() / 1e9:.1f} GB of memory are free, {needed / 1e9} are needed")
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    networks = layout(tokenizer, **FULL)
    counts = [sum(value.numel() for value in network.parameters()) for network in networks]
    assert counts == [859_520_964, 83_653_863, 123_060_480]
    write_base(tmp_path / "base", *(network.half() for network in networks), tokenizer)
    del networks
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    fractions = np.full((1, 37), np.nan)
    fractions[:, INDEX["smooth"]] = 0.9
    changes = {"batch_size": 1, "image_size": 64, "precision": "fp32"}
    recipe = make_recipe(FinetuneRecipe, tmp_path / "run", changes, "galaxysd-paper")
    run = FinetuneRun(tmp_path / "run", TrainingSet(images, fractions, ["galaxy"]), tmp_path / "base", recipe)
    assert recipe.checkpointing
    assert sum(value.numel() for value in run.parameters) == 859_520_964 + 123_060_480
    assert 0.1 < run.advance() < 10
    moved = sum(int(state["step"]) for state in run.optimizer.state.values())
    assert moved == len(run.parameters)
