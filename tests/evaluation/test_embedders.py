"""Embedders by name, from functions and from transformers models; small models with random values, nothing fetched."""

from __future__ import annotations

import json
import shutil
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from astro_galaxysd import hookimpl
from astro_galaxysd.errors import ConditionError, ImageError, PluginError, PluginWarning, UnknownNameError, WeightsError
from astro_galaxysd.evaluation import embedders
from astro_galaxysd.evaluation.embedders import FunctionEmbedder, TransformersEmbedder, make_embedder
from astro_galaxysd.evaluation.memory import Memory
from astro_galaxysd.evaluation.preprocessing import read_preprocessing
from astro_galaxysd.plugins.manager import PluginRegistry, get_registry
from astro_galaxysd.records import EmbedderSpec
from astro_galaxysd.testing import check_embedder, example_batch

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
BIT = {
    "crop_size": {"height": 32, "width": 32},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "BitImageProcessor",
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "rescale_factor": 1 / 255,
    "size": {"shortest_edge": 36},
}
VIT = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "ViTImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "rescale_factor": 1 / 255,
    "size": {"height": 32, "width": 32},
}
NEXT = {**VIT, "image_processor_type": "ConvNextImageProcessor", "crop_pct": 0.875, "size": {"shortest_edge": 32}}
OLD = {
    "crop_size": 32,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "image_mean": [0.48, 0.46, 0.41],
    "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.27, 0.26, 0.28],
    "resample": 3,
    "size": 40,
}
OWN_CODE = '{"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}'


def dinov2():
    from transformers import Dinov2Config, Dinov2Model

    return Dinov2Model(Dinov2Config(**SMALL, mlp_ratio=2)), BIT


def clip_vision():
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection(CLIPVisionConfig(**SMALL, intermediate_size=64, projection_dim=16)), OLD


def clip():
    from transformers import CLIPConfig, CLIPModel

    text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**SMALL, "intermediate_size": 64}
    return CLIPModel(CLIPConfig(text_config={**text, "vocab_size": 99}, vision_config=vision, projection_dim=16)), OLD


def siglip():
    from transformers import SiglipVisionConfig, SiglipVisionModel

    return SiglipVisionModel(SiglipVisionConfig(**SMALL, intermediate_size=64)), VIT


def vit(pooling=True):
    from transformers import ViTConfig, ViTModel

    return ViTModel(ViTConfig(**SMALL, intermediate_size=64), add_pooling_layer=pooling), VIT


def convnext():
    from transformers import ConvNextConfig, ConvNextModel

    return ConvNextModel(ConvNextConfig(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1], image_size=32)), NEXT


MODELS = {build.__name__: build for build in (dinov2, clip_vision, clip, siglip, vit, convnext)}


def save(build, folder, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, preprocessing = build(**options)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    return model.eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folder and model of each kind, made once; folders are not to be changed."""
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("models") / name
            made[name] = folder, save(MODELS[name], folder)
        return made[name]

    return get


@pytest.fixture
def copy(saved, tmp_path):
    """A ViT folder that a test may spoil."""
    folder = tmp_path / "vit"
    shutil.copytree(saved("vit")[0], folder)
    return folder


@pytest.fixture
def images():
    return example_batch(5, size=48).images


@pytest.fixture
def plugin(monkeypatch):
    """Register a plug-in with embedders of the given classes, by name."""

    def register(name="galaxy-eyes", **classes):
        module = ModuleType(name.replace("-", "_"))
        specs = []
        for offered, made in classes.items():
            setattr(module, offered, made)
            specs.append(EmbedderSpec(offered, f"{module.__name__}:{offered}"))
        module.galaxysd_register_embedders = hookimpl(lambda: specs, specname="galaxysd_register_embedders")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        assert get_registry().register(module, name=name, distribution=name, version="1.0")

    return register


@pytest.mark.parametrize("name", MODELS)
def test_features_are_what_the_model_pools(saved, images, name):
    folder, model = saved(name)
    embedder = TransformersEmbedder(folder, batch_size=2)
    features = embedder.embed(images)
    tower = getattr(model, "vision_model", model)
    with torch.inference_mode():
        expected = tower(pixel_values=read_preprocessing(folder)(images)).pooler_output.flatten(1).numpy()
    np.testing.assert_allclose(features, expected, atol=1e-5)
    assert features.dtype == np.float32
    check_embedder(embedder)


def test_class_token_where_no_pooling_was_learnt(tmp_path, images):
    model = save(vit, tmp_path / "vit", pooling=False)
    with torch.inference_mode():
        states = model(pixel_values=read_preprocessing(tmp_path / "vit")(images)).last_hidden_state
    features = TransformersEmbedder(tmp_path / "vit").embed(images)
    np.testing.assert_allclose(features, states[:, 0].numpy(), atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 16, 8), (5, 8, 4, 4)])
def test_mean_where_there_is_no_class_token(shape):
    from types import SimpleNamespace

    from astro_galaxysd.evaluation.visionmodels import VisionModel

    states = torch.arange(float(np.prod(shape))).view(shape)

    class Network(torch.nn.Linear):
        device = torch.device("cpu")

        def forward(self, pixel_values):
            return SimpleNamespace(last_hidden_state=states)

    features = VisionModel(Network(1, 1), pooled=True).features(torch.zeros(5, 3, 8, 8))
    assert torch.equal(features, states.mean(dim=1) if len(shape) == 3 else states.flatten(2).mean(dim=2))


@pytest.mark.parametrize("shape", [(48, 48), (40, 64), (64, 40), (20, 20), (32, 32)])
@pytest.mark.parametrize(
    "config",
    [BIT, VIT, NEXT, OLD, {**VIT, "resample": 0}, {**VIT, "resample": 1}],
    ids=["bit", "vit", "convnext", "old clip", "nearest", "lanczos"],
)
def test_preprocessing_is_that_of_transformers(tmp_path, config, shape):
    """To one grey level (two for lanczos), that of its processors that use Pillow."""
    import transformers

    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    lanczos = config["resample"] == 1  # torch rounds it otherwise
    images = np.random.default_rng(0).integers(80 * lanczos, 256 - 80 * lanczos, (2, *shape, 3), dtype=np.uint8)
    ours = read_preprocessing(tmp_path)(images).numpy()
    processor = getattr(transformers, config["image_processor_type"] + "Pil")
    theirs = np.stack(processor.from_pretrained(tmp_path)(list(images))["pixel_values"])
    assert ours.shape == theirs.shape
    grey_level = 1 / 255 / min(config["image_std"])
    assert np.abs(ours - theirs).max() < (1.01 + lanczos) * grey_level


def test_preprocessing_without_steps(tmp_path, images):
    nothing = {"do_resize": False, "do_rescale": False, "do_normalize": False}
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": nothing}))
    np.testing.assert_array_equal(read_preprocessing(tmp_path)(images).numpy(), images.transpose(0, 3, 1, 2))


def test_small_images_get_a_black_frame(tmp_path, images):
    config = {"do_resize": False, "do_rescale": False, "do_normalize": False, "do_center_crop": True, "crop_size": 51}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    pixels = read_preprocessing(tmp_path)(images).numpy()
    assert pixels.shape == (5, 3, 51, 51)
    np.testing.assert_array_equal(pixels[:, :, 2:50, 2:50], images.transpose(0, 3, 1, 2))
    assert pixels.sum() == images.sum()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"size": {"longest_edge": 30}}, "height and width or shortest_edge are known"),
        ({"size": None}, "no preprocessing can be read"),
        ({"image_mean": [0.5, 0.5]}, "image_mean and image_std have 2 and 3 numbers, not 3"),
        ({"image_std": None}, "no preprocessing can be read"),
        ({"resample": 9}, "no preprocessing can be read"),
        ({"do_pad": True}, "asks for do_pad, which is not done here; choose another model"),
    ],
)
def test_preprocessing_that_cannot_be_done_is_refused(tmp_path, change, fault):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**VIT, **change}))
    with pytest.raises(WeightsError, match=fault):
        read_preprocessing(tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", '{"size": '])
def test_damaged_preprocessing_is_refused(tmp_path, text):
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(WeightsError, match=r"preprocessor_config.json: no preprocessing can be read .*copy the file"):
        read_preprocessing(tmp_path)


def test_revision_changes_with_the_files_alone(copy, tmp_path):
    revision = TransformersEmbedder(copy).revision
    assert revision == TransformersEmbedder(str(copy), batch_size=7).revision
    assert revision.startswith("vit@")
    assert revision.endswith("#1")
    config = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(json.dumps({**config, "resample": 3}))
    changed = TransformersEmbedder(copy).revision
    assert changed != revision
    (copy / "README.md").write_text("no matter")
    assert TransformersEmbedder(copy).revision == changed


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda folder: (folder / "config.json").unlink(), "has no config.json; give the folder of a transformers"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "has no preprocessor_config.json"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "has no safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x"), "no model can be loaded"),
        (lambda folder: (folder / "config.json").write_text("{}"), "no model can be loaded"),
        (lambda folder: (folder / "config.json").write_text(OWN_CODE), "no model can be loaded"),
    ],
)
def test_spoilt_folders_are_refused(copy, spoil, fault):
    spoil(copy)
    with pytest.raises(WeightsError, match=fault):
        TransformersEmbedder(copy)


def test_missing_parameters_are_not_made_up(copy):
    from safetensors.torch import load_file, save_file

    values = load_file(copy / "model.safetensors")
    gone = next(name for name in values if "mlp" in name or "intermediate" in name)
    del values[gone]
    save_file(values, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="the safetensors lack .*; copy the weights again"):
        TransformersEmbedder(copy)


def test_models_that_read_no_images_are_refused(tmp_path):
    from transformers import BertConfig, BertModel

    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(**small, vocab_size=9)).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(VIT))
    with pytest.raises(WeightsError, match="holds a BertModel, which reads no images; choose a vision model"):
        TransformersEmbedder(tmp_path)


def test_wrong_calls_are_refused(saved):
    folder, _ = saved("vit")
    with pytest.raises(ConditionError, match="batch_size is 0; give 1 image or more"):
        TransformersEmbedder(folder, batch_size=0)
    with pytest.raises(WeightsError, match="is a folder, which has no revision 'main'; leave the revision out"):
        TransformersEmbedder(folder, revision="main")
    with pytest.raises(ImageError, match="images are float64"):
        TransformersEmbedder(folder).embed(np.zeros((1, 32, 32, 3)))
    for name in ("/nowhere/model", "dinov2", "facebook/dinov2-small@main"):
        with pytest.raises(WeightsError, match="no such folder, and no name of the Hub, organisation/model"):
            TransformersEmbedder(name)


def test_names_of_the_hub_are_fetched(copy, tmp_path, monkeypatch, images):
    import huggingface_hub

    commit = "0123456789abcdef0123456789abcdef01234567"
    copy.rename(tmp_path / commit)
    asked = []

    def snapshot_download(model, *, revision, allow_patterns):
        asked.append((model, revision))
        assert not any(pattern.endswith((".bin", ".py", "*")) for pattern in allow_patterns)
        return str(tmp_path / commit)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    embedder = make_embedder("astro/vit-small@v1.0")
    assert embedder.revision == f"astro/vit-small@{commit}#1"
    assert embedder.embed(images).shape == (5, 32)
    make_embedder("astro/vit-small")
    assert asked == [("astro/vit-small", "v1.0"), ("astro/vit-small", None)]


def test_the_hub_may_fail(monkeypatch):
    import huggingface_hub

    def refuse(*arguments, **options):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(WeightsError, match=r"astro/vit at v2: no such folder, .*ConnectionError: no route.*check name"):
        make_embedder("astro/vit@v2")


def test_ours_by_default(monkeypatch, images):
    monkeypatch.setattr("astro_galaxysd.evaluation.embedding.GalaxyEmbedder", Colours)
    for embedder in (make_embedder(), make_embedder("galaxysd"), Memory()):
        assert embedder.revision == "colours-3"
        np.testing.assert_allclose(embedder.embed(images), images.mean(axis=(1, 2)), rtol=1e-6)


def test_ours_without_entry_points(monkeypatch, tmp_path):
    ours = Colours()
    monkeypatch.setattr("astro_galaxysd.evaluation.embedding.GalaxyEmbedder", lambda: ours)
    monkeypatch.setattr(embedders, "get_registry", lambda: PluginRegistry(entry_points=[]))
    (tmp_path / "galaxysd").mkdir()
    monkeypatch.chdir(tmp_path)  # a folder of that name is none of its
    assert make_embedder() is ours
    assert Memory().embedder is ours


def test_folders_functions_and_objects(saved, images):
    folder, _ = saved("vit")
    assert make_embedder(folder).embed(images).shape == (5, 32)
    assert make_embedder(str(folder)).revision == make_embedder(folder).revision
    embedder = make_embedder(lambda images: images.mean(axis=(1, 2)))
    check_embedder(embedder)
    assert make_embedder(embedder) is embedder
    memory = Memory(embedder)
    assert make_embedder(memory) is memory


def test_a_function_may_have_a_revision(images):
    def colours(images):
        return images.mean(axis=(1, 2)).tolist()

    assert FunctionEmbedder(colours).revision == ""
    colours.revision = "colours-1"
    assert FunctionEmbedder(colours).revision == "colours-1"
    assert FunctionEmbedder(colours).embed(images).dtype == np.float32


def test_faulty_functions_are_named(images):
    with pytest.raises(PluginError, match=r"function gives features of shape \(5,\) for 5 images"):
        make_embedder(lambda images: images.mean(axis=(1, 2, 3))).embed(images)
    with pytest.raises(PluginError, match="not finite for 5 of 5 images"):
        make_embedder(lambda images: np.full((len(images), 2), np.nan)).embed(images)
    with pytest.raises(ImageError, match="images are list"):
        make_embedder(lambda images: images).embed([])


def test_what_is_no_embedder_is_refused():
    with pytest.raises(PluginError, match="3 is no embedder; give a name, a folder, a function"):
        make_embedder(3)
    with pytest.raises(PluginError, match="FunctionEmbedder is a class; give an object"):
        make_embedder(FunctionEmbedder)


class Colours:
    revision = "colours-3"

    def embed(self, images):
        return images.mean(axis=(1, 2), dtype=np.float32)


class Broken(Colours):
    def embed(self, images):
        raise KeyError("nebula")


class Flat(Colours):
    def embed(self, images):
        return images.mean(axis=(1, 2, 3))


def test_embedders_of_plugins(plugin, images):
    plugin(colours=Colours, broken=Broken, flat=Flat, shapeless=dict)
    embedder = make_embedder("colours")
    assert embedder.revision == "colours-3"
    check_embedder(embedder)
    with pytest.raises(PluginError, match=r"galaxy-eyes.* failed at stage 'embed': KeyError: 'nebula'"):
        make_embedder("broken").embed(images)
    with pytest.raises(PluginError, match="Flat gives features of shape") as raised:
        make_embedder("flat").embed(images)
    assert "galaxy-eyes" in "".join(raised.value.__notes__)
    with pytest.raises(PluginError, match="galaxy-eyes.* makes dict, which has no method embed"):
        make_embedder("shapeless")


def test_unknown_names_are_refused(plugin):
    plugin(colours=Colours)
    with pytest.raises(UnknownNameError, match="unknown embedder 'colors': did you mean 'colours'.*on the Hub"):
        make_embedder("colors")
    with pytest.raises(UnknownNameError, match="did you mean 'galaxysd'"):
        make_embedder("galaxyds")


def test_a_name_that_two_plugins_offer_is_refused(plugin):
    plugin("one-eye", colours=Colours)
    plugin("two-eyes", colours=Colours)
    with pytest.raises(PluginError, match="one-eye.* and .*two-eyes"):
        make_embedder("colours")


def test_broken_plugins_are_mentioned():
    module = ModuleType("dim_eyes")
    module.galaxysd_register_embedders = hookimpl(lambda: 1 / 0, specname="galaxysd_register_embedders")
    get_registry().register(module, name="dim-eyes")
    with pytest.warns(PluginWarning, match="dim-eyes"), pytest.raises(UnknownNameError, match="dim-eyes is broken"):
        make_embedder("colors")
