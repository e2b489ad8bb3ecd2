"""Weights by the name of a repository on the Hub, from the front door to the provenance."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import torch
from astropy.table import Table
from safetensors.torch import load_file, save_file

from astro_galaxysd import augment_table, generate, hookimpl, load_generator, plan_augmentation, read_table
from astro_galaxysd.cli import main
from astro_galaxysd.errors import DomainError, HubError, HubUnreachableError, HubWarning, UnknownNameError, WeightsError
from astro_galaxysd.hub.names import is_commit
from astro_galaxysd.images.provenance import RUN_RECORD
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.records import WeightCard
from astro_galaxysd.seen import count_rows, count_seen, weight_folders, weights_of
from astro_galaxysd.weightcards import known_card, weight_card

ROWS = Table({"prompt": ["sdss, merger", "sdss, {ring galaxy:1.2}"], "seed": [7, 8]})
TABLE = Table({"t06_odd_yes": [0.9, 0.1], "t08_merger": [0.8, 0.0], "t01_smooth": [0.7, 0.8]})
QUICK = {"steps": 2, "guidance": 1.0}
UNET = "unet/diffusion_pytorch_model.safetensors"


def files_of(folder):
    """Content of all files of a folder, by their paths in it."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def told(**recommended):
    return {"sampling.json": json.dumps(recommended).encode()}


@pytest.fixture
def offline(monkeypatch):
    """Call it, and the client asks nothing any more."""
    from huggingface_hub import constants

    return lambda: monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def tiny(hub, tiny_weights):
    """The commit of team/tiny, with the tag v1: the tiny weights and what repositories have beside them."""
    beside = {"README.md": b"# tiny\n", "train.py": b"raise SystemExit", "old.ckpt": b"no weights at all"}
    return hub.add("team/tiny", files_of(tiny_weights) | beside, tag="v1")


@pytest.fixture
def other(tiny_weights):
    """Files of the UNet with other values."""
    from safetensors.torch import save

    state = load_file(tiny_weights / UNET)
    return {UNET: save({name: value * 0.9 for name, value in state.items()})}


@pytest.fixture(scope="module")
def expected(tiny_weights):
    """What the folder draws."""
    return generate(ROWS, weights=tiny_weights, progress=False, **QUICK)["image"]


def drawn(weights, **options):
    return generate(ROWS, weights=weights, progress=False, **QUICK | options)


def test_a_repository_draws_what_the_folder_draws(hub, tiny, expected):
    found = drawn("team/tiny")
    np.testing.assert_array_equal(found["image"], expected)
    assert not hub.asked("train.py|old.ckpt")
    assert len(hub.asked("/revision/main")) == 1  # once, so that all is of one commit
    batch = load_generator("team/tiny", **QUICK).generate(ROWS)
    np.testing.assert_array_equal(batch.images, expected)


@pytest.mark.parametrize("revision", ["", "@v1", "@main", "@{}"], ids=["none", "tag", "branch", "commit"])
def test_rows_tell_the_repository_and_the_commit(tiny, revision):
    found = drawn("team/tiny" + revision.format(tiny))
    assert set(found["weights"]) == {"team/tiny"}
    assert set(found["weights_revision"]) == {tiny}
    assert is_commit(tiny)
    parameters = found.meta[RUN_RECORD]["parameters"]
    assert (parameters["weights"], parameters["weights_revision"]) == ("team/tiny", tiny)


def test_a_later_push_changes_the_branch_alone(hub, tiny, other, expected):
    drawn("team/tiny")
    newer = hub.add("team/tiny", other)
    for name in (f"team/tiny@{tiny}", "team/tiny@v1"):
        found = drawn(name)
        np.testing.assert_array_equal(found["image"], expected)
        assert set(found["weights_revision"]) == {tiny}
    found = drawn("team/tiny")
    assert set(found["weights_revision"]) == {newer}
    assert (found["image"] != expected).any()


def test_what_the_repository_recommends_is_followed(hub, tiny, tiny_weights, tmp_path):
    wishes = {"steps": 3, "guidance": 1.5, "sampler": "euler-ancestral", "turned": True, "masked_padding": True}
    wishes |= {"image_size": 48, "licence": "cc-by-4.0"}
    commit = hub.add("team/tiny", told(**wishes))
    card = weight_card("team/tiny")
    assert card == WeightCard("team/tiny", "hub:team/tiny", revision=commit, **wishes)
    found = load_generator("team/tiny").generate(ROWS)
    assert found.images.shape == (2, 48, 48, 3)
    said = {key: found.meta[key] for key in ("steps", "guidance", "sampler", "turned", "masked_padding")}
    assert said == {key: wishes[key] for key in said}
    folder = shutil.copytree(tiny_weights, tmp_path / "same")
    (folder / "sampling.json").write_text(json.dumps(wishes))
    np.testing.assert_array_equal(found.images, load_generator(folder).generate(ROWS).images)
    assert weight_card("team/tiny@v1") == WeightCard("team/tiny", "hub:team/tiny", revision=tiny)
    assert load_generator("team/tiny", steps=4).provenance["steps"] == 4  # who asks for something gets it


@pytest.mark.parametrize("content", [b"{", b'{"step": 3}', b'{"steps": "3"}'])
def test_a_recommendation_that_can_not_be_read(hub, tiny, content):
    hub.add("team/tiny", {"sampling.json": content})
    with pytest.raises(WeightsError, match=r"sampling\.json (can't be read|holds) "):
        weight_card("team/tiny")


@pytest.mark.parametrize("base", ["/etc", "../base", "team/base", "package:astro_galaxysd/weights/mini", "file:///x"])
def test_a_base_that_is_not_on_the_hub(hub, tiny, base):
    hub.add("team/tiny", told(base=base))
    with pytest.raises(WeightsError, match="team/tiny: sampling.json names the base .*, which is not on the Hub"):
        drawn("team/tiny")
    assert hub.asked("^GET /storage/") == []


def test_cards_and_plans_need_no_weights(hub, tiny):
    assert weight_card("team/tiny").revision == tiny
    plan = plan_augmentation(TABLE, target="merger", n=2, weights="team/tiny", candidates=1, rng=1)
    assert len(plan) == 2
    assert hub.bodies() == []


def test_a_table_is_augmented(tiny, tiny_weights):
    options = {"target": "merger", "n": 2, "candidates": 1, "rng": 1, "progress": False} | QUICK
    found = augment_table(TABLE, weights="team/tiny@v1", **options)
    expected = augment_table(TABLE, weights=tiny_weights, **options)
    new = found[found["synthetic"]]
    np.testing.assert_array_equal(np.stack(list(new["image"])), np.stack(list(expected[2:]["image"])))
    assert set(new["weights"]) == {"team/tiny"}
    assert set(new["weights_revision"]) == {tiny}


def test_the_command_line(tiny, tmp_path, expected, capsys):
    out = tmp_path / "out.parquet"
    request = ["generate", "--prompt", "sdss, merger", "--steps", "2", "--guidance", "1", "--no-progress"]
    assert main([*request, "--weights", "team/tiny@v1", "-o", str(out)]) == 0
    found = read_table(out)
    assert (found["weights"][0], found["weights_revision"][0]) == ("team/tiny", tiny)
    assert main([*request, "--weights", "team/none", "-o", str(tmp_path / "no.parquet")]) == 1
    said = capsys.readouterr().err
    assert "galaxysd: error: " in said
    assert "'team/none' is neither a folder here nor a name of `galaxysd plugins`" in said
    assert not (tmp_path / "no.parquet").exists()


# ---- names


@pytest.mark.parametrize("name", ["team/none", "runs/weights", "team/tiny@v9"])
def test_a_name_that_is_not_on_the_hub(tiny, name):
    with pytest.raises(HubError) as raised:
        load_generator(name)
    (note,) = raised.value.__notes__
    assert note.startswith(f"{name!r} is neither a folder here nor a name of `galaxysd plugins`, so the Hub was asked")


@pytest.mark.parametrize(
    "name", ["minni", "team/", "/no/such/folder", "a/b/c", "team/tiny@", "team/ti ny", "../none/x"]
)
def test_text_that_is_no_name(hub, name):
    with pytest.raises(UnknownNameError, match="unknown weights .*organisation/name of a repository on the Hugging"):
        load_generator(name)
    assert hub.requests == []


def test_a_folder_comes_before_the_hub(hub, tiny_weights, tmp_path, monkeypatch, expected):
    shutil.copytree(tiny_weights, tmp_path / "team" / "tiny")
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(drawn("team/tiny")["image"], expected)
    assert hub.requests == []


def test_a_repository_without_weights(hub):
    hub.add("team/notes", {"README.md": b"# notes\n"})
    with pytest.raises(HubError, match="team/notes holds no weights that can be read, but README.md"):
        drawn("team/notes")


# ---- without a network


def test_offline_after_weights_were_used(hub, tiny, expected, offline):
    drawn("team/tiny")
    drawn("team/tiny@v1")
    offline()
    del hub.requests[:]
    for name in ("team/tiny", "team/tiny@v1", f"team/tiny@{tiny}"):
        found = drawn(name)
        np.testing.assert_array_equal(found["image"], expected)
        assert set(found["weights_revision"]) == {tiny}
    assert hub.requests == []


def test_a_hub_that_is_away(hub, tiny, expected):
    drawn("team/tiny")
    hub.answer(503)
    with pytest.warns(HubWarning, match=f"Now used: commit {tiny}"):
        np.testing.assert_array_equal(drawn("team/tiny")["image"], expected)
    with pytest.raises(HubUnreachableError):
        drawn("team/tiny@v1")


def test_what_was_whole_is_used_where_a_newer_commit_does_not_come(hub, tiny, other, expected, offline):
    """A push that was seen and could not be fetched takes nothing away."""
    drawn("team/tiny")
    hub.add("team/tiny", other)
    hub.answer(503, "GET .*/storage/")
    with pytest.raises(HubUnreachableError):
        drawn("team/tiny")
    offline()
    np.testing.assert_array_equal(drawn("team/tiny")["image"], expected)


# ---- other layouts


def test_parts_with_a_base(hub, tiny_weights, expected, tmp_path):
    base = files_of(tiny_weights)
    rng = torch.Generator().manual_seed(3)
    parts = {"unet": tiny_weights / UNET, "text_encoder": tiny_weights / "text_encoder" / "model.safetensors"}
    files = {}
    for part, path in parts.items():
        state = load_file(path)
        for step, values in ((10, {k: torch.randn(v.shape, generator=rng) for k, v in state.items()}), (20, state)):
            save_file({f"base:{name}": value for name, value in values.items()}, tmp_path / "part.safetensors")
            files[f"ckpts/{part}-{step}.safetensors"] = (tmp_path / "part.safetensors").read_bytes()
        # what the base has in their place is not looked at
        save_file({name: value * 0 for name, value in state.items()}, tmp_path / "zero.safetensors")
        base[path.relative_to(tiny_weights).as_posix()] = (tmp_path / "zero.safetensors").read_bytes()
    pinned_base = hub.add("org/base", base)
    commit = hub.add("org/galaxies", files | told(base="hub:org/base", steps=2, guidance=1))
    batch = load_generator("org/galaxies").generate(ROWS)
    np.testing.assert_array_equal(batch.images, expected)
    assert (batch.meta["weights"], batch.meta["weights_revision"]) == ("org/galaxies", commit)
    assert batch.meta["base"] == f"org/base@{pinned_base}"
    assert batch.meta["layout"].startswith(
        "parts: ckpts/text_encoder-20.safetensors, ckpts/unet-20.safetensors (step 20)"
    )
    # neither another step nor what the base has in their place is fetched
    assert hub.asked("-10.safetensors") == hub.asked("resolve/.*/unet/.*safetensors") == []
    without = hub.add("org/galaxies", told(steps=2))
    with pytest.raises(
        WeightsError, match="holds UNet and text encoder only; .* name it in the weights' card or in sa"
    ):
        load_generator(f"org/galaxies@{without}")


@pytest.mark.slow
def test_galaxysd_as_it_was_published(hub, tiny_weights, tmp_path):
    """The card as it is, on a small model with the schedule of Stable Diffusion 1."""
    base = files_of(tiny_weights)
    place = "scheduler/scheduler_config.json"
    schedule = json.loads(base[place]) | {"prediction_type": "epsilon", "rescale_betas_zero_snr": False}
    hub.add("stable-diffusion-v1-5/stable-diffusion-v1-5", base | {place: json.dumps(schedule).encode()})
    files = {}
    for part, path in (("unet", UNET), ("text_encoder", "text_encoder/model.safetensors")):
        state = load_file(tiny_weights / path)
        save_file({f"base:{name}": value for name, value in state.items()}, tmp_path / "part.safetensors")
        files[f"{part}-10000.safetensors"] = (tmp_path / "part.safetensors").read_bytes()
    commit = hub.add("CosmosDream/GalaxySD", files)
    table = Table({"t06_odd_yes": [0.9, 0.9], "t08_merger": [0.8, 0.8]})
    table["image"] = np.random.default_rng(0).integers(20, 90, (2, 424, 424, 3), np.uint8)
    found = augment_table(table, target="merger", n=1, candidates=1, rng=1, weights="galaxysd", progress=False)
    assert np.asarray(found["image"][2]).shape == (424, 424, 3)
    record = found.meta[RUN_RECORD]["parameters"]
    told = [record[name] for name in ("sampler", "steps", "guidance", "masked_padding", "weights", "weights_revision")]
    assert told == ["euler-ancestral", 40, 6.5, True, "galaxysd", commit]
    assert record["layout"].startswith("parts: ")
    assert len(record["references"]) == 40


class Payload:
    """Makes a folder when it is unpickled by the ordinary module."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("archived", [True, False], ids=["torch", "plain"])
def test_a_pickle_with_a_payload(hub, tiny, tmp_path, archived):
    import pickle

    place, path = tmp_path / "ran", tmp_path / "unet-10.ckpt"
    content = {"base": {"conv_in.weight": torch.ones(2)}, "payload": Payload(place)}
    if archived:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    hub.add("eve/galaxies", {"unet-10.ckpt": path.read_bytes()} | told(base="hub:team/tiny"))
    with pytest.raises(WeightsError, match=r"unet-10\.ckpt"):
        drawn("eve/galaxies")
    assert hub.asked("unet-10.ckpt")
    assert not place.exists()


# ---- cards with a name of their own


@pytest.fixture
def registered():
    """Offers cards as a plug-in does."""

    def register(*cards):
        class Cards:
            @hookimpl
            def galaxysd_register_weights(self):
                yield from cards

        get_registry().register(Cards(), name="cards")

    return register


def test_a_card_without_a_revision_is_pinned(hub, tiny, other, registered, expected):
    registered(
        WeightCard("small", "hub:team/tiny", **QUICK), WeightCard("old", "hub:team/tiny", revision=tiny, **QUICK)
    )
    assert weight_card("small").revision == tiny
    found = generate(ROWS, weights="small", progress=False)
    np.testing.assert_array_equal(found["image"], expected)
    assert (set(found["weights"]), set(found["weights_revision"])) == ({"small"}, {tiny})
    newer = hub.add("team/tiny", other)
    assert set(generate(ROWS, weights="small", progress=False)["weights_revision"]) == {newer}
    found = generate(ROWS, weights="old", progress=False)
    np.testing.assert_array_equal(found["image"], expected)
    assert set(found["weights_revision"]) == {tiny}
    by_name = weight_card("team/tiny@v1")  # the card says more than the repository, which commit the caller
    assert (by_name.name, by_name.steps, by_name.revision) == ("small", 2, tiny)


def test_a_card_pinned_and_offline(hub, tiny, registered, expected, offline):
    registered(WeightCard("small", "hub:team/tiny", **QUICK))
    generate(ROWS, weights="small", progress=False)
    offline()
    found = generate(ROWS, weights="small", progress=False)
    np.testing.assert_array_equal(found["image"], expected)
    assert set(found["weights_revision"]) == {tiny}


def test_the_published_weights_by_the_name_of_their_repository(hub):
    commit = hub.add("CosmosDream/GalaxySD", {"unet-10000.safetensors": b"", "text_encoder-10000.safetensors": b""})
    card = weight_card("CosmosDream/GalaxySD")
    assert (card.name, card.location, card.revision) == ("galaxysd", "hub:CosmosDream/GalaxySD", commit)
    assert card == weight_card(f"CosmosDream/GalaxySD@{commit}") == weight_card("galaxysd")
    assert (card.steps, card.guidance, card.sampler) == (40, 6.5, "euler-ancestral")
    assert (card.image_size, card.prediction_type) == (424, "epsilon")
    assert card.masked_padding
    assert card.references
    assert card.base.startswith("hub:stable-diffusion-v1-5/")
    assert hub.bodies() == []


def test_known_cards_are_found_without_a_question(hub, tiny_weights, monkeypatch):
    assert known_card("galaxysd").revision == ""
    assert known_card("mini").location.startswith("package:")
    assert known_card(tiny_weights).name == "tiny"
    monkeypatch.chdir(tiny_weights)
    assert (known_card(".").name, known_card(".").location) == ("tiny", str(tiny_weights))
    assert known_card("team/tiny") is None
    assert hub.requests == []


# ---- what was drawn is judged


def test_who_has_seen_what_is_not_asked_of_the_hub(hub, tiny, registered):
    registered(WeightCard("small", "hub:team/tiny", **QUICK))
    tables = [drawn("team/tiny"), drawn("team/tiny@v1"), generate(ROWS, weights="small", progress=False)]
    del hub.requests[:]
    for table in tables:
        weights = weights_of(table, np.arange(len(table)))
        assert weights == [(table["weights"][0], tiny)]
        folders = weight_folders(weights)
        assert list(folders.values()) == [None]
        assert count_seen(["a", "b"], folders) == dict.fromkeys(folders)
    assert count_rows(None, ["a"]) is None
    assert weight_folders([("galaxysd", ""), ("no/body", "")]) == {
        "weights 'galaxysd'": None,
        "weights 'no/body'": None,
    }
    assert hub.requests == []


def test_what_weights_learnt_from_comes_with_them(hub):
    """So that cutouts unlike it are refused as they are for weights in a folder."""
    from astro_galaxysd.diffusion.generator import weights_folder
    from astro_galaxysd.surveying import domain_of

    shipped = weights_folder("package:astro_galaxysd/weights/mini")
    hub.add("team/mini", files_of(shipped))
    found, expected = domain_of(weight_card("team/mini")), domain_of(weight_card("mini"))
    assert found is not None
    assert found.bands == expected.bands
    noise = Table({"t06_odd_yes": [0.9] * 40, "t08_merger": [0.8] * 40})
    noise["image"] = np.random.default_rng(0).integers(0, 255, (40, 128, 128, 3), np.uint8)
    with pytest.raises(DomainError):
        augment_table(noise, target="merger", n=1, weights="team/mini", progress=False)


def test_a_run_is_of_one_commit(hub, tiny, tiny_weights):
    """The branch is asked for once, so that a push meanwhile changes nothing."""
    votes = Table({"t06_odd_yes": [0.9], "t08_merger": [0.8]})
    augment_table(votes, target="merger", n=1, weights="team/tiny", steps=2, progress=False)
    assert len(hub.asked("GET /api/models/team/tiny/revision/main")) == 1


def test_what_means_the_same_at_any_time(hub, tiny, tiny_weights):
    from astro_galaxysd.weightcards import pinned

    assert pinned("team/tiny") == f"team/tiny@{weight_card('team/tiny').revision}"
    assert pinned(tiny_weights) == str(tiny_weights)
    assert pinned("mini") == "mini"


def test_weights_on_the_hub_are_not_replaced(hub, tiny):
    from astro_galaxysd.errors import TrainingError
    from astro_galaxysd.run_promotion import check_promotion

    class Cards:
        @hookimpl
        def galaxysd_register_weights(self):
            yield WeightCard("far", "hub:team/tiny")

    get_registry().register(Cards(), name="far")
    with pytest.raises(TrainingError, match="far are weights on the Hub, which are not replaced here; name a folder"):
        check_promotion("far", ["validation.parquet"])
