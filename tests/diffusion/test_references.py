"""What published weights ask for: masked padding, sizes of images, real galaxies to begin with, a known schedule."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from astropy.table import Column, Table, vstack

from astro_galaxysd import augment_table, augmentation_verdict, generate, hookimpl, load_generator, search, sweep
from astro_galaxysd.diffusion.components import load_components, new_text_encoder
from astro_galaxysd.diffusion.encode import apply_weights, encode_prompts, tokenise
from astro_galaxysd.diffusion.generator import DiffusionGenerator
from astro_galaxysd.diffusion.latents import latent_moments
from astro_galaxysd.diffusion.sample import sample_latents, sample_rows
from astro_galaxysd.errors import ConditionError, GalaxySDError, ImageError, WeightsError
from astro_galaxysd.images.provenance import RUN_RECORD
from astro_galaxysd.learning.views import pixels_of
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.records import WeightCard
from astro_galaxysd.references import reference_images

PROMPTS = ["sdss, merger", "sdss, {merger:1.3}, {ring galaxy:0.8}", "", "sdss, " + "ring, " * 30]
QUICK = {"steps": 2, "guidance": 1.0}
QUIET = {"progress": False, "candidates": 1, "rng": 1}


@pytest.fixture(scope="module")
def model(tiny_weights):
    return load_components(tiny_weights)


@pytest.fixture(scope="module")
def galaxies():
    """Nine cutouts of 32 px that differ in brightness too."""
    rng = np.random.default_rng(1)
    coarse = rng.random((9, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)
    return (20 * np.arange(9)[:, None, None, None] + 60 * coarse).astype(np.uint8)


@pytest.fixture(scope="module")
def noisy(tiny_weights, tmp_path_factory):
    """The weights with the schedule of published ones: it does not end in pure noise, and they predict the noise."""
    folder = shutil.copytree(tiny_weights, tmp_path_factory.mktemp("published") / "noisy")
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"rescale_betas_zero_snr": False, "prediction_type": "epsilon"})
    )
    (folder / "sampling.json").write_text(json.dumps({"references": True, "masked_padding": True} | QUICK))
    return folder


# ---- masked padding


@pytest.fixture(scope="module")
def encoder(model):
    """Of two layers, so that what padding says could come back to the words."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return new_text_encoder(model.tokenizer, width=32, layers=2).eval()


def lengths(model, prompts):
    """Tokens up to the end, the end among them."""
    ids, _ = tokenise(model.tokenizer, prompts)
    return (ids != model.tokenizer.eos_token_id).sum(dim=1) + 1


def encoded(model, encoder, prompts, masked=True):
    with torch.no_grad():
        return encode_prompts(encoder, model.tokenizer, prompts, masked_padding=masked)


def test_words_keep_their_states_and_padding_does_not(model, encoder):
    """Words look back only, so that it is the padding alone, which the UNet reads too, that is another."""
    prompts = [PROMPTS[0], *PROMPTS[2:]]
    plain, masked = (encoded(model, encoder, prompts, how) for how in (False, True))
    assert plain.shape == masked.shape == (3, 77, 32)
    for row, length in enumerate(lengths(model, prompts)):
        torch.testing.assert_close(masked[row, :length], plain[row, :length])
        # the first padding sees itself or not; the farther, the more padding there is to see
        assert (masked[row, length:] - plain[row, length:]).abs().amax(dim=1).min() > 1e-3


def test_padding_is_not_looked_at(model, encoder):
    """What stands in its place changes its own state alone."""
    ids, _ = tokenise(model.tokenizer, ["sdss, merger"])
    end = int(lengths(model, ["sdss, merger"])[0])
    mask = torch.ones_like(ids)
    mask[:, end:] = 0
    changed = ids.clone()
    changed[:, end + 3] = int(ids[0, 1])
    with torch.no_grad():
        first, second = (encoder(some, attention_mask=mask).last_hidden_state for some in (ids, changed))
        open_first, open_second = (encoder(some).last_hidden_state for some in (ids, changed))
    torch.testing.assert_close(encoded(model, encoder, ["sdss, merger"]), first)
    differ = ((first - second).abs().amax(dim=2)[0] > 1e-4).nonzero().flatten().tolist()
    assert differ == [end + 3]
    assert (open_first - open_second).abs().amax(dim=2)[0, end + 3 :].min() > 1e-4


def test_the_mean_over_all_tokens_is_restored_after_masking(model, encoder):
    prompts = PROMPTS[1:2]
    ids, weights = tokenise(model.tokenizer, prompts)
    end = lengths(model, prompts)
    mask = (torch.arange(77) < end[:, None]).long()
    with torch.no_grad():
        hidden = encoder(ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(encoded(model, encoder, prompts), apply_weights(hidden, weights))
    assert (encoded(model, encoder, prompts) - hidden).abs().max() > 0.01


def test_masked_prompts_do_not_depend_on_their_neighbours(model, encoder):
    together = encoded(model, encoder, PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        torch.testing.assert_close(encoded(model, encoder, [prompt])[0], together[row])


def test_images_follow_masked_padding(tiny_weights):
    rows = Table({"prompt": ["sdss, merger"] * 3, "seed": [1, 2, 3]})
    card = WeightCard("tiny", str(tiny_weights), **QUICK)
    plain, masked = (
        DiffusionGenerator(WeightCard("tiny", str(tiny_weights), masked_padding=how, **QUICK)) for how in (False, True)
    )
    assert (plain.generate(rows).images != masked.generate(rows).images).any()
    assert masked.provenance["masked_padding"] is True
    assert "masked_padding" not in plain.provenance
    assert "references" not in plain.provenance
    np.testing.assert_array_equal(plain.generate(rows).images, DiffusionGenerator(card).generate(rows).images)


# ---- sizes


@pytest.mark.parametrize("size", [16, 24, 48])
def test_images_of_another_side(tiny_weights, model, size):
    generator = DiffusionGenerator(WeightCard("tiny", str(tiny_weights), image_size=size, **QUICK))
    found = generator.generate(Table({"prompt": ["sdss, merger"] * 2, "seed": [1, 2]})).images
    assert generator.image_size == size
    assert found.shape == (2, size, size, 3)
    again = sample_rows(model, ["sdss, merger"], [2], sampler="dpm++", image_size=size, **QUICK)
    np.testing.assert_array_equal(found[1:], again)


def test_the_usual_side_named_is_the_usual_side(model):
    plain, named = (sample_rows(model, ["sdss"], [5], sampler="dpm++", image_size=size, **QUICK) for size in (None, 32))
    np.testing.assert_array_equal(plain, named)


@pytest.mark.parametrize("size", [44, 4, -8, 33])
def test_a_side_that_the_autoencoder_can_not_have(tiny_weights, size):
    card = WeightCard("tiny", str(tiny_weights), image_size=size)
    with pytest.raises(WeightsError, match=f"'tiny' can't draw images of {size} pixels, only multiples of 8; mend ima"):
        DiffusionGenerator(card)


def test_references_are_brought_to_the_side(tiny_weights, galaxies):
    card = WeightCard("tiny", str(tiny_weights), image_size=48, references=True, **QUICK)
    generator = DiffusionGenerator(card, references=galaxies[:, :24])
    assert generator.generate(Table({"prompt": ["sdss"], "seed": [1]})).images.shape == (1, 48, 48, 3)


# ---- references


@pytest.fixture(scope="module")
def generator(noisy, galaxies):
    return load_generator(noisy, references=galaxies)


@pytest.fixture(scope="module")
def rows():
    return Table({"prompt": ["sdss, merger", "sdss, {ring galaxy:1.2}", "sdss"] * 4, "seed": np.arange(12) + 3})


def test_a_row_depends_on_its_prompt_seed_and_reference_alone(generator, rows):
    images = generator.generate(rows).images
    assert len(np.unique(images.reshape(12, -1), axis=0)) == 12
    np.testing.assert_array_equal(generator.generate(rows[::-1]).images[::-1], images)
    np.testing.assert_array_equal(generator.generate(rows[9:10]).images, images[9:10])
    np.testing.assert_array_equal(generator.generate(rows[2:9], batch_size=2).images, images[2:9])
    drawn = generate(rows, generator=generator, batch_size=3, progress=False)
    np.testing.assert_array_equal(drawn["image"], images)


def test_the_seed_chooses_the_reference(generator, noisy, galaxies, rows):
    """A row whose reference alone is another has another image, and other rows keep theirs."""
    images, changed = generator.generate(rows).images, galaxies.copy()
    chosen = {}
    for number in range(len(galaxies)):
        changed[number] = 255 - galaxies[number]
        other = load_generator(noisy, references=changed).generate(rows).images
        chosen[number] = (other != images).any(axis=(1, 2, 3)).nonzero()[0].tolist()
        changed[number] = galaxies[number]
    assert sorted(row for found in chosen.values() for row in found) == list(range(12))
    assert sum(map(bool, chosen.values())) > 3


@pytest.mark.parametrize("sampler", ["dpm++", "euler-ancestral"])
def test_brightness_is_that_of_the_reference(noisy, tiny_weights, sampler):
    """Unless the schedule ends in pure noise, where nothing of a reference is left."""
    levels = [np.full((2, 32, 32, 3), level, np.uint8) for level in (60, 180)]

    def share(folder):
        model = load_components(folder)
        with torch.inference_mode():
            dark, bright = (
                sample_latents(
                    model, ["sdss"] * 2, [1, 2], steps=6, guidance=1.0, sampler=sampler, references=references
                )
                for references in levels
            )
            given = torch.sub(*(latent_moments(model.vae, pixels_of(level))[0] for level in levels[::-1]))
        return float(((bright - dark) * given).sum() / given.square().sum())

    assert share(noisy) == pytest.approx(1, abs=0.1)
    assert share(tiny_weights) == pytest.approx(0, abs=0.01)


def test_references_that_nobody_asked_for_change_nothing(tiny_weights, galaxies, rows):
    """Weights that need none are given none."""
    plain, given = (load_generator(tiny_weights, references=some, **QUICK) for some in (None, galaxies))
    np.testing.assert_array_equal(plain.generate(rows).images, given.generate(rows).images)
    assert "references" not in given.provenance


def test_what_is_told(generator, rows):
    batch = generator.generate(rows)
    assert (batch.meta["masked_padding"], len(batch.meta["references"])) == (True, 40)
    table = generate(rows, generator=generator, progress=False)
    parameters = table.meta[RUN_RECORD]["parameters"]
    assert (parameters["masked_padding"], parameters["references"]) == (True, batch.meta["references"])
    json.dumps(parameters)


def test_no_references(noisy, rows):
    ways = "'noisy' begin with real galaxies, .*; give references=, a table of real ones"
    with pytest.raises(ConditionError, match=ways):
        load_generator(noisy)
    with pytest.raises(ConditionError, match=ways):
        generate(rows, weights=noisy, progress=False)


def test_what_references_may_be(galaxies):
    np.testing.assert_array_equal(reference_images(galaxies), galaxies)
    np.testing.assert_array_equal(reference_images(galaxies / np.float32(255)), galaxies)
    table = Table({"image": galaxies, "split": ["train", "test", "val", ""] * 2 + ["test"]})
    np.testing.assert_array_equal(reference_images(table), galaxies[[0, 2, 3, 4, 6, 7]])
    table["synthetic"] = [True, *[False] * 8]
    np.testing.assert_array_equal(reference_images(table), galaxies[[2, 3, 4, 6, 7]])
    table["split"] = Column([b"test", b"train"] * 4 + [b"test"], dtype=object)  # as some readers leave texts
    np.testing.assert_array_equal(reference_images(table), galaxies[[1, 3, 5, 7]])


def test_references_of_several_sizes(galaxies):
    cells = Column([galaxies[0], galaxies[1, :24], galaxies[2]], dtype=object)
    with pytest.raises(ImageError, match=r"references have 2 sizes, \(24, 32, 3\), \(32, 32, 3\); give one size"):
        reference_images(Table({"image": cells}))
    table = Table({"image": cells, "split": ["train", "test", "train"]})
    np.testing.assert_array_equal(reference_images(table), galaxies[[0, 2]])


@pytest.mark.parametrize("columns", [{"split": ["test"] * 9}, {"synthetic": [True] * 9}])
def test_no_real_galaxy_that_may_be_used(noisy, galaxies, columns):
    table = Table({"image": galaxies, **columns})
    with pytest.raises(ConditionError, match="of 9 references none is a real galaxy outside a test split; give others"):
        load_generator(noisy, references=table)


@pytest.mark.parametrize(
    "empty", [Table({"image": np.zeros((0, 8, 8, 3), np.uint8)}), np.zeros((0, 8, 8, 3), np.uint8)]
)
def test_references_without_a_row(noisy, empty):
    with pytest.raises(GalaxySDError, match="of 0 references|there are no images"):
        load_generator(noisy, references=empty)


# ---- a whole table


@pytest.fixture
def table(galaxies):
    """Nine galaxies, four of them for the test of a classifier."""
    return Table({
        "image": galaxies, "t06_odd_yes": [0.9] * 9, "t08_merger": [0.8] * 4 + [0.1] * 5, "t01_smooth": [0.7] * 9,
        "split": ["train", "train", "test", "val", "test", "train", "test", "test", "train"],
    })  # fmt: skip


def new_images(table):
    return np.stack(list(table[table["synthetic"]]["image"]))


def test_a_table_gives_its_own_real_rows(noisy, table, galaxies):
    found = augment_table(table, target="merger", n=3, weights=noisy, **QUIET)
    new = found[found["synthetic"]]
    parameters = found.meta[RUN_RECORD]["parameters"]
    own = load_generator(noisy, references=galaxies[[0, 1, 3, 5, 8]]).generate(new["prompt", "seed"])
    np.testing.assert_array_equal(new_images(found), own.images)
    assert (parameters["masked_padding"], parameters["references"]) == (True, own.meta["references"])


def test_rows_of_the_test_split_are_never_drawn_from(noisy, table):
    before = augment_table(table, target="merger", n=6, weights=noisy, **QUIET)
    table["image"][table["split"] == "test"] = 255 - table["image"][table["split"] == "test"]
    after = augment_table(table, target="merger", n=6, weights=noisy, **QUIET)
    np.testing.assert_array_equal(new_images(before), new_images(after))
    table["image"][table["split"] != "test"] = 255 - table["image"][table["split"] != "test"]
    other = augment_table(table, target="merger", n=6, weights=noisy, **QUIET)
    assert (new_images(before) != new_images(other)).any(axis=(1, 2, 3)).all()


def test_synthetic_rows_are_never_drawn_from(noisy, table):
    more = augment_table(table, target="merger", n=4, weights=noisy, **QUIET)
    again = augment_table(more, target="merger", n=4, weights=noisy, **QUIET | {"rng": 2})
    alone = augment_table(table, target="merger", n=4, weights=noisy, **QUIET | {"rng": 2})
    told = [found.meta[RUN_RECORD]["parameters"]["references"] for found in (again, alone)]
    assert told[0] == told[1]
    np.testing.assert_array_equal(new_images(again)[4:], new_images(alone))


def test_images_beside_the_table(noisy, table, galaxies):
    found = augment_table(table, target="merger", n=2, weights=noisy, **QUIET)
    del table["image"]
    beside = augment_table(table, images=galaxies, target="merger", n=2, weights=noisy, **QUIET)
    np.testing.assert_array_equal(new_images(found), new_images(beside))


def test_a_table_that_has_no_reference(noisy, table):
    only = table[table["split"] == "test"]
    with pytest.raises(ConditionError, match="of 4 references none is a real galaxy outside a test split"):
        augment_table(only, target="merger", n=1, weights=noisy, **QUIET)
    del table["image"]
    with pytest.raises(GalaxySDError, match="image"):
        augment_table(table, target="merger", n=1, weights=noisy, **QUIET)


def test_a_loaded_generator_has_its_own(noisy, table, galaxies):
    loaded = load_generator(noisy, references=galaxies[:2])
    found = augment_table(table, target="merger", n=2, generator=loaded, **QUIET)
    assert found.meta[RUN_RECORD]["parameters"]["references"] == loaded.provenance["references"]
    with pytest.raises(ConditionError, match="references= was given with a loaded generator, which has its own"):
        generate(Table({"prompt": ["sdss, merger"]}), generator=loaded, references=galaxies, progress=False)


@pytest.mark.parametrize("call", ["verdict", "search", "sweep"])
def test_who_has_no_galaxies_to_begin_with_says_so(noisy, table, call):
    calls = {
        "verdict": lambda: augmentation_verdict(more, target="merger", weights=noisy),
        "search": lambda: search(more, target="merger", labelled=more, weights=noisy),
        "sweep": lambda: sweep(more, {"steps": [2]}, weights=noisy, n=16),
    }
    more = vstack([table] * 8)
    more["id"] = [f"g{row}" for row in range(len(more))]
    with pytest.raises(ConditionError, match="begin with real galaxies, and a .* has none to give them"):
        calls[call]()


# ---- the schedule


@pytest.mark.parametrize(("said", "found"), [("epsilon", "v_prediction"), ("v_prediction", "epsilon")])
def test_a_card_that_contradicts_the_schedule(tiny_weights, noisy, galaxies, said, found):
    folder = noisy if found == "epsilon" else tiny_weights

    class Cards:
        @hookimpl
        def galaxysd_register_weights(self):
            yield WeightCard("wrong", str(folder), prediction_type=said)
            yield WeightCard("right", str(folder), prediction_type=found, **QUICK)

    get_registry().register(Cards(), name="cards")
    with pytest.raises(
        WeightsError, match=f"'wrong' predict '{said}' by their card and '{found}' by their schedule; m"
    ):
        load_generator("wrong")
    assert load_generator("right").provenance["weights"] == "right"


def test_a_schedule_that_says_nothing_predicts_noise(tiny_weights, tmp_path):
    """As diffusers takes it."""
    folder = shutil.copytree(tiny_weights, tmp_path / "old")
    path = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text())
    del config["prediction_type"]
    path.write_text(json.dumps(config))
    assert DiffusionGenerator(WeightCard("old", str(folder), prediction_type="epsilon")).image_size == 32
    with pytest.raises(WeightsError, match="by their card and 'epsilon' by their schedule"):
        DiffusionGenerator(WeightCard("old", str(folder), prediction_type="v_prediction"))
