from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd.diffusion.generator import DiffusionGenerator, weights_folder
from astro_galaxysd.diffusion.sample import turned
from astro_galaxysd.errors import ConditionError, PromptError, UnknownNameError, WeightsError
from astro_galaxysd.plugins.protocols import Generator
from astro_galaxysd.records import WeightCard
from astro_galaxysd.testing import check_generator


@pytest.fixture(scope="module")
def card(tiny_weights):
    return WeightCard("tiny", str(tiny_weights), steps=3, guidance=2.0)


@pytest.fixture(scope="module")
def generator(card):
    return DiffusionGenerator(card)


def test_it_is_a_generator(generator):
    assert isinstance(generator, Generator)
    check_generator(generator)


def test_images_and_what_is_said_of_them(generator):
    batch = generator.generate(Table({"prompt": ["sdss, ring galaxy"] * 2, "seed": [1, 2], "row_id": ["a", "b"]}))
    assert batch.images.shape == (2, 32, 32, 3)
    assert batch.images.dtype == np.uint8
    assert batch.ids.tolist() == ["a", "b"]
    assert {key: batch.meta[key] for key in ("generator", "weights", "sampler", "steps", "guidance")} == {
        "generator": "diffusion",
        "weights": "tiny",
        "sampler": "dpm++",
        "steps": 3,
        "guidance": 2.0,
    }
    assert len(batch.meta["weights_revision"]) == 40
    assert set(batch.meta["versions"]) >= {"torch", "diffusers", "transformers"}


def test_own_steps_and_guidance_come_before_the_cards(card):
    changed = DiffusionGenerator(card, steps=2, guidance=1.0, sampler="euler-ancestral")
    assert (changed.steps, changed.guidance, changed.sampler) == (2, 1.0, "euler-ancestral")


@pytest.mark.parametrize("steps", [1, 0, -3, 2.5, 5000])
def test_bad_steps(card, steps):
    with pytest.raises(ConditionError, match=r"steps = .*: give a whole number from 2 to 500"):
        DiffusionGenerator(card, steps=steps)


@pytest.mark.parametrize("guidance", [0.5, -1, 100, float("nan")])
def test_bad_guidance(card, guidance):
    with pytest.raises(ConditionError, match=r"guidance = .*: give 1 \(none\) to 99"):
        DiffusionGenerator(card, guidance=guidance)


def test_bad_sampler(card):
    with pytest.raises(UnknownNameError, match="unknown sampler 'euler': did you mean 'euler-ancestral'"):
        DiffusionGenerator(card, sampler="euler")


def test_conditions_without_what_is_needed(generator):
    with pytest.raises(ConditionError, match="conditions have no column 'seed', only prompt"):
        generator.generate(Table({"prompt": ["sdss"]}))
    with pytest.raises(ConditionError, match="conditions have no row"):
        generator.generate(Table({"prompt": [], "seed": []}))


def test_long_prompt_is_refused_before_drawing(generator):
    with pytest.raises(PromptError, match="prompt too long"):
        generator.check(["sdss, " + "ring, " * 60])


def test_a_folder_inside_a_package():
    assert (weights_folder("package:astro_galaxysd/conditions") / "tree.py").exists()


def test_no_such_folder():
    with pytest.raises(WeightsError, match="no weights folder '/nowhere/at/all'"):
        weights_folder("/nowhere/at/all")


def test_weights_that_ask_for_it_are_turned_by_seed(tiny_weights):
    rows = Table({"prompt": ["sdss, merger"] * 6, "seed": np.arange(6)})
    plain, other = (
        DiffusionGenerator(WeightCard("tiny", str(tiny_weights), steps=3, guidance=2.0, turned=how))
        for how in (False, True)
    )
    images, found = plain.generate(rows).images, other.generate(rows).images
    np.testing.assert_array_equal(found, turned(images, list(range(6))))
    assert (found != images).any()
    assert (plain.provenance["turned"], other.provenance["turned"]) == (False, True)
