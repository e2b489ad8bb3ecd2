"""Weights and synthetic galaxies on the Hub: what goes, what is refused, what comes back."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd import generate, hookimpl, load_generator, publish, publish_table, write_table
from astro_galaxysd.cli.__main__ import main
from astro_galaxysd.errors import ConditionError, GalaxySDError, HubError, HubNameError, ImageError, WeightsError
from astro_galaxysd.hub.download import fetch_folder
from astro_galaxysd.hubcards import front_matter
from astro_galaxysd.images.features import read_features
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.records import WeightCard

TOKEN = "hf_of-team"
CARD = """---
license: mit
tags: [dwarfs]
---
# Dwarfs

## Data

Ten galaxies.

## Training

Two steps.

## Measured

Nothing good.

## Limits

Many.

## Licence and citation

An older one.
"""


@pytest.fixture
def logged_in(hub, monkeypatch):
    hub.accounts[TOKEN] = "team"
    hub.writers.add(TOKEN)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return hub


@pytest.fixture
def folder(tiny_weights, tmp_path):
    """A complete folder: weights, recommended sampling, card."""
    copy = shutil.copytree(tiny_weights, tmp_path / "dwarfs")
    (copy / "README.md").write_text(CARD)
    (copy / "sampling.json").write_text('{"steps": 3, "guidance": 1.0}')
    return copy


def test_weights_go_in_one_commit_and_come_back(logged_in, folder):
    before = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = publish(folder, "team/dwarfs", verify=True)
    assert len(done.revision) == 40
    there = logged_in.files("team/dwarfs")
    assert sorted(there) == sorted(file.path for file in done.files)
    assert {"README.md", "samples.png", "sampling.json", "model_index.json"} <= set(there)
    assert there["README.md"].decode() == done.card
    assert len(logged_in.asked("POST /api/models/team/dwarfs/commit/main")) == 1
    conditions = Table({"prompt": ["sdss, merger"], "seed": [7]})
    drawn = generate(conditions, weights=f"team/dwarfs@{done.revision}", progress=False)
    np.testing.assert_array_equal(drawn["image"], generate(conditions, weights=folder, progress=False)["image"])
    assert (drawn["weights"][0], drawn["weights_revision"][0]) == ("team/dwarfs", done.revision)
    # what was published stays as it was
    assert {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in folder.parent.iterdir() if "publish" in path.name] == []


def test_the_card(logged_in, folder):
    metadata, text = front_matter(publish(folder, "team/dwarfs", dry_run=True).card)
    assert metadata["license"] == "mit"
    assert metadata["library_name"] == "diffusers"
    assert {"dwarfs", "astronomy", "astro_galaxysd"} <= set(metadata["tags"])
    for told in ("Ten galaxies.", "Nothing good.", 'weights="team/dwarfs"', "![drawn galaxies](samples.png)", "steps 3",
                 "sdss, ring galaxy", 'licence "mit"', "Willett et al. 2013", "sdss.org"):  # fmt: skip
        assert told in text
    assert "An older one." not in text
    assert publish(folder, "team/dwarfs", dry_run=True).revision == ""
    assert logged_in.requests == []


def test_the_card_of_the_weights_that_ship(logged_in, tmp_path):
    from astro_galaxysd.diffusion.generator import weights_folder

    done = publish(weights_folder("package:astro_galaxysd/weights/mini"), "team/mini", dry_run=True)
    assert front_matter(done.card)[0]["license"] == "bsd-3-clause"
    assert "domain.safetensors" in {file.path for file in done.files}


def test_the_licence_of_the_base_holds(logged_in, folder):
    base = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    metadata, text = front_matter(publish(folder, "team/dwarfs", base_model=base, dry_run=True).card)
    assert (metadata["license"], metadata["base_model"]) == ("creativeml-openrail-m", base)
    assert "Attachment A" in text
    assert f"that of {base}" in text
    with pytest.raises(WeightsError, match="licence 'mit', but the weights come from .*; leave licence out"):
        publish(folder, "team/dwarfs", base_model=base, licence="mit", dry_run=True)
    assert (
        front_matter(publish(folder, "team/dwarfs", base_model="team/base", dry_run=True).card)[0]["license"] == "mit"
    )
    told = publish(folder, "team/dwarfs", base_model="team/base", licence="MIT", restrictions="Be good.", dry_run=True)
    assert "Be good." in told.card


def test_one_licence_forbids_the_same_wherever_it_holds(logged_in, folder):
    (folder / "README.md").write_text(CARD.replace("license: mit", "license: [creativeml-openrail-m]"))
    assert "Attachment A" in publish(folder, "team/dwarfs", dry_run=True).card
    with pytest.raises(WeightsError, match="licence 'mit', but README.md says 'creativeml-openrail-m'; leave licence"):
        publish(folder, "team/dwarfs", licence="mit", dry_run=True)


def test_a_base_whose_licence_nobody_says(logged_in, folder):
    no_licence(folder)
    with pytest.raises(WeightsError, match="nothing here says what licence team/base has, .* give licence="):
        publish(folder, "team/dwarfs", base_model="team/base", dry_run=True)


def test_what_a_repository_had_before_is_replaced(logged_in, folder):
    old = {
        "unet/diffusion_pytorch_model-00001-of-00002.safetensors": b"old",
        "unet/diffusion_pytorch_model.safetensors.index.json": b"{}",
        "domain.safetensors": b"old",
        "notes.txt": b"kept",
    }
    logged_in.add("team/dwarfs", old)
    (folder / "sampling.json").unlink()
    logged_in.add("team/dwarfs", {"sampling.json": b'{"steps": 9}'})
    publish(folder, "team/dwarfs", verify=True)
    there = logged_in.files("team/dwarfs")
    assert set(old) & set(there) == {"notes.txt"}
    assert "sampling.json" not in there


def test_weights_in_another_layout(logged_in, tmp_path, capsys):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "unet-1.safetensors").write_bytes(b"x")
    assert main(["publish", str(tmp_path / "parts"), "team/dwarfs"]) == 1
    assert "is no diffusers folder with model_index.json" in capsys.readouterr().err


def no_card(folder):
    (folder / "README.md").unlink()


def no_limits(folder):
    (folder / "README.md").write_text(CARD.replace("Many.", ""))


def no_licence(folder):
    (folder / "README.md").write_text(CARD.replace("license: mit", "language: en"))


def two_licences(folder):
    (folder / "README.md").write_text(CARD.replace("license: mit", "license: [a, b]"))


def bad_front(folder):
    (folder / "README.md").write_text("---\n{\n---\n" + CARD)


def list_front(folder):
    (folder / "README.md").write_text("---\n- a\n---\n" + CARD)


def blank(folder):
    from safetensors.numpy import load_file, save_file

    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({name: value * 0 for name, value in load_file(path).items()}, path)


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (no_card, WeightsError, "has nothing under ## Data, ## Training, ## Measured, ## Limits; .* --promote FOLDER"),
        (no_limits, WeightsError, "has nothing under ## Limits;"),
        (no_licence, WeightsError, "no licence: give licence=, or write it to the front matter"),
        (bad_front, WeightsError, "front matter of README.md is no YAML"),
        (two_licences, WeightsError, r"license is \['a', 'b'\] in the front matter; name one"),
        (list_front, WeightsError, "front matter of README.md is list, not a mapping"),
        (blank, WeightsError, "draws blank images"),
        (lambda folder: (folder / "model_index.json").unlink(), WeightsError, "no diffusers folder with model_index"),
        (
            lambda folder: (folder / "unet" / "old.bin").write_bytes(b"x"),
            HubError,
            "kinds that are not pushed: unet/old",
        ),
        (lambda folder: (folder / "train.py").write_text("x"), HubError, "kinds that are not pushed: train.py"),
        (lambda folder: shutil.rmtree(folder / "vae"), WeightsError, "vae is missing"),
    ],
)
def test_what_is_not_published(logged_in, folder, damage, error, message):
    damage(folder)
    with pytest.raises(error, match=message):
        publish(folder, "team/dwarfs")
    assert logged_in.requests == []


@pytest.mark.parametrize("repo", ["dwarfs", "team/dwarfs/x", "team--b/c"])
def test_names(folder, repo):
    with pytest.raises(HubNameError, match="is no name on the Hub"):
        publish(folder, repo)


def test_a_revision_can_not_be_chosen(folder):
    with pytest.raises(HubError, match="'team/dwarfs@main' names a revision, but what is published becomes a new one"):
        publish(folder, "team/dwarfs@main")


def test_verify_finds_other_images(logged_in, folder, monkeypatch):
    from astro_galaxysd import publishing

    drawn = iter([np.random.default_rng(n).integers(0, 255, (8, 32, 32, 3), np.uint8) for n in range(2)])
    monkeypatch.setattr(publishing, "_drawn", lambda generator: next(drawn))
    with pytest.raises(HubError, match=r"team/dwarfs@\w{40} draws other images than .*; don't announce it"):
        publish(folder, "team/dwarfs", verify=True)


def test_who_is_not_logged_in(hub, folder):
    with pytest.raises(HubError, match="HF_TOKEN|log in|login"):
        publish(folder, "team/dwarfs")


def test_no_token_in_cards_or_messages(logged_in, folder, capsys):
    logged_in.answer(403, "^POST /api/models/team/dwarfs/commit")
    with pytest.raises(GalaxySDError) as caught:
        publish(folder, "team/dwarfs")
    assert TOKEN not in str(caught.value) + "".join(getattr(caught.value, "__notes__", ()))
    del logged_in
    assert main(["publish", str(folder), "team/dwarfs", "--dry-run"]) == 0
    told = capsys.readouterr()
    assert TOKEN not in told.out + told.err


# -- tables -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def drawn(tiny_weights):
    rows = Table({"prompt": ["sdss, merger", "sdss, ring galaxy", "sdss, merger"], "z": [0.1, 0.2, np.nan]})
    return generate(rows, weights=tiny_weights, steps=2, rng=1, progress=False)


def test_synthetic_galaxies_go_and_come_back(logged_in, drawn):
    done = publish_table(drawn, "team/rings", licence="cc-by-4.0", verify=True)
    assert sorted(file.path for file in done.files) == ["README.md", "data/synthetic.parquet", "run.json"]
    metadata, text = front_matter(done.card)
    assert metadata["license"] == "cc-by-4.0"
    assert metadata["configs"] == [{"config_name": "default", "data_files": "data/synthetic.parquet"}]
    assert "3 synthetic galaxies, drawn by astro_galaxysd; different prompts: 2." in text
    assert f"| tiny@{drawn['weights_revision'][0]} | 3 |" in text
    fetched = fetch_folder("team/rings", done.revision, kind="dataset", suffixes={".json", ".parquet", ".md"})
    np.testing.assert_array_equal(read_features(fetched.path / "data/synthetic.parquet"), drawn["image"])
    record = json.loads((fetched.path / "run.json").read_text())
    assert record["parameters"]["steps"] == 2


def test_the_parquet_file_as_others_read_it(logged_in, drawn):
    import io

    import pandas as pd
    import pyarrow.parquet as pq
    from PIL import Image

    publish_table(drawn, "team/rings", licence="cc-by-4.0")
    content = logged_in.files("team/rings", "dataset")["data/synthetic.parquet"]
    frame = pd.read_parquet(io.BytesIO(content))
    assert frame["prompt"].tolist() == drawn["prompt"].tolist()
    assert frame["synthetic"].tolist() == [True] * 3
    assert frame["seed"].tolist() == drawn["seed"].tolist()
    pixels = np.asarray(Image.open(io.BytesIO(frame["image"][1]["bytes"])))
    np.testing.assert_array_equal(pixels, drawn["image"][1])
    features = json.loads(pq.read_schema(io.BytesIO(content)).metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["seed"] == {"dtype": "int64", "_type": "Value"}
    assert features["z"] == {"dtype": "float64", "_type": "Value"}


def test_real_rows_stay_here(logged_in, drawn):
    drawn["synthetic"][0] = False
    assert "2 synthetic galaxies" in publish_table(drawn, "team/rings", licence="mit", dry_run=True).card
    drawn["synthetic"] = False
    with pytest.raises(
        ConditionError, match="none of 3 rows is synthetic; real galaxies are their survey's to publish"
    ):
        publish_table(drawn, "team/rings", licence="mit")
    assert logged_in.requests == []


def test_the_licence_is_that_of_the_weights(logged_in, drawn):
    with pytest.raises(ConditionError, match="what licence holds for galaxies of tiny is not known here; .* licence="):
        publish_table(drawn, "team/rings", dry_run=True)

    class Cards:
        @hookimpl
        def galaxysd_register_weights(self):
            yield WeightCard("tiny", "/nowhere", licence="MIT", restrictions="Never in a hurry.")

    get_registry().register(Cards(), name="cards")
    card = publish_table(drawn, "team/rings", dry_run=True).card
    assert front_matter(card)[0]["license"] == "mit"
    assert "Never in a hurry." in card


def test_rows_without_provenance(drawn):
    del drawn["weights"]
    with pytest.raises(ConditionError, match="synthetic rows have no column 'weights': nobody could say what drew"):
        publish_table(drawn, "team/rings", licence="mit")


def test_columns_of_every_kind(logged_in, drawn, tmp_path):
    from astropy.coordinates import SkyCoord

    drawn["place"] = SkyCoord([1, 2, 3], [4, 5, 6], unit="deg")
    drawn["big"] = np.array([1.5, 2.5, 3.5], ">f8")
    drawn["votes"] = np.zeros((3, 37))
    done = publish_table(drawn, "team/rings", licence="mit", verify=True)
    assert "big" in done.card
    assert "place" not in done.card


def test_images_of_several_sizes(drawn):
    drawn["image"] = np.array([np.zeros((size, size, 3), np.uint8) for size in (8, 8, 9)], dtype=object)
    with pytest.raises(ImageError, match=r"images have 2 sizes, \(8, 8, 3\), \(9, 9, 3\); give one size"):
        publish_table(drawn, "team/rings", licence="mit")


def test_no_place_of_this_machine_is_published(logged_in, drawn):
    drawn.meta["galaxysd_run"]["parameters"]["weights"] = "/home/someone/runs/own"
    publish_table(drawn, "team/rings", licence="mit")
    assert b"someone" not in logged_in.files("team/rings", "dataset")["run.json"]


def test_verify_finds_another_table(logged_in, drawn, monkeypatch):
    from astro_galaxysd import publishing

    monkeypatch.setattr(publishing, "read_features", lambda path: np.zeros((3, 32, 32, 3), np.uint8))
    with pytest.raises(HubError, match=r"team/rings@\w{40} holds other images than the table"):
        publish_table(drawn, "team/rings", licence="mit", verify=True)


def test_a_file_without_images(tmp_path):
    import pandas as pd

    pd.DataFrame({"image": [1, 2]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ConditionError, match="has no image feature 'image'"):
        read_features(tmp_path / "a.parquet")


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command(logged_in, folder, drawn, tmp_path, capsys):
    assert main(["publish", str(folder), "team/dwarfs", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "would go to team/dwarfs; nothing was pushed" in told
    assert "unet/diffusion_pytorch_model.safetensors" in told
    assert main(["publish", str(folder), "team/dwarfs", "--verify", "--message", "First"]) == 0
    assert ", verified" in capsys.readouterr().out
    table = write_table(drawn, tmp_path / "drawn.parquet")
    assert main(["publish", str(table), "team/rings", "--licence", "mit"]) == 0
    assert "published team/rings@" in capsys.readouterr().out
    assert main(["publish", str(table), "team/rings", "--base-model", "a/b"]) == 1
    assert "is no folder of weights, so --base-model and --references don't go" in capsys.readouterr().err
    assert load_generator("team/dwarfs").provenance["weights"] == "team/dwarfs"
