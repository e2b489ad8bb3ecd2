"""`search` on invented galaxies: what is found, what is said of it, what the next round knows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd import read_table, search, write_table
from astro_galaxysd.errors import (
    ConditionError,
    ImageError,
    NoRealRowsError,
    OutputError,
    OutputExistsError,
    UnknownNameError,
)
from astro_galaxysd.images.shardfiles import write_shard
from astro_galaxysd.searching import SEARCH

FILES = ["candidates.parquet", "candidates.png", "search.json", "vetting.html"]


def galaxies(n, mergers, seed, side=32):
    """Blobs; mergers have two middles and are red."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    has = rng.permutation(np.arange(n) < mergers)
    images = []
    for merger in has:
        centres = rng.uniform(-5, 5, (2, 2)) if merger else rng.uniform(-1, 1, (1, 2))
        light = sum(120 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 2 / 2.5**2) for a, b in centres)
        colour = np.array([1.4, 1.0, 0.6]) if merger else np.array([0.8, 1.0, 1.1])
        images.append((20 + light[..., None] * colour + rng.normal(0, 6, (side, side, 3))).clip(0, 255))
    table = Table({"id": [f"s{seed}-{row}" for row in range(n)], "image": np.array(images).astype(np.uint8)})
    return table, has


def with_votes(table, has):
    table = table.copy()
    table["t01_smooth"] = np.full(len(table), 0.7)
    table["t06_odd_yes"] = np.full(len(table), 0.9)
    table["t08_merger"] = np.where(has, 0.8, 0.1)
    return table


@pytest.fixture(scope="module")
def labelled():
    return with_votes(*galaxies(80, 16, 1))


@pytest.fixture(scope="module")
def catalogue():
    return galaxies(400, 24, 2)


def look(catalogue, labelled, **options):
    return search(catalogue, **{"target": "merger", "labelled": labelled, "n_synthetic": 0, "rng": 1,
                                "budget": 30, "progress": False, **options})  # fmt: skip


@pytest.fixture(scope="module")
def first(catalogue, labelled, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "round1"
    path = write_table(catalogue[0], folder.parent / "catalogue.parquet")
    return look(path, labelled, out=folder), folder


def test_the_rare_ones_come_first(first, catalogue):
    found, _ = first
    table, has = catalogue
    of_class = dict(zip(table["id"], has, strict=True))
    hits = np.array([of_class[name] for name in found.candidates["id"]])
    assert len(hits) == 30
    assert hits[:10].all()
    assert hits.sum() >= 20
    assert found.candidates["search_rank"].tolist() == list(range(1, 31))
    assert (np.diff(found.candidates["search_score"]) <= 0).all()
    assert (np.diff(found.candidates["search_probability"]) <= 0).all()
    told = found.expected
    assert told.purity.low <= hits.mean() <= told.purity.high
    assert told.completeness.low <= hits.sum() / 24 <= told.completeness.high
    assert told.prevalence.low <= 24 / 400 <= told.prevalence.high
    assert told.found.value == pytest.approx(30 * told.purity.value)


@pytest.mark.parametrize("suffix", [".parquet", ".fits"])
def test_a_catalogue_in_several_files(first, catalogue, labelled, tmp_path, suffix):
    """Synthetic rows among them are left out, as in one file."""
    rows = catalogue[0].copy()
    rows["synthetic"] = False
    made = rows[:3].copy()
    made["id"], made["synthetic"] = ["made1", "made2", "made3"], True
    for number, part in enumerate((rows[:150], made, rows[150:160], rows[160:])):
        write_shard(part, [np.asarray(part["image"])], tmp_path / f"part-{number}{suffix}", suffix[1:])
    found = look(tmp_path, labelled)
    assert found.candidates["id"].tolist() == first[0].candidates["id"].tolist()
    np.testing.assert_allclose(found.candidates["search_score"], first[0].candidates["search_score"])
    record = found.candidates.meta[SEARCH]
    assert record["scored"] == len(rows)
    assert record["left out"]["synthetic"] == {"rows": 3, "named": ["made1", "made2", "made3"]}


def test_the_nearest_labelled_ones(first, labelled):
    best = first[0].candidates[:10]
    assert best["search_nearest"].shape == (10, 3)
    assert best["search_nearest_of_class"].mean() > 0.8
    of_class = dict(zip(labelled["id"], labelled["t08_merger"] > 0.5, strict=True))
    assert [of_class[name] for name in best["search_nearest"][0]] == best["search_nearest_of_class"][0].tolist()


def test_what_is_written(first):
    found, folder = first
    assert sorted(path.name for path in folder.iterdir()) == FILES
    again = read_table(folder / "candidates.parquet")
    assert again["search_name"].tolist() == found.candidates["id"].tolist()
    record = json.loads((folder / "search.json").read_text())
    assert record == again.meta[SEARCH]
    assert record["labelled"] == {"of the class": 16, "others": 64}
    assert (record["scored"], record["synthetic"]) == (400, 0)
    assert "Yes, merger" in (folder / "vetting.html").read_text()


def test_the_next_round_knows_what_was_seen(first, catalogue, labelled, tmp_path):
    found, folder = first
    table, has = catalogue
    of_class = dict(zip(table["id"], has, strict=True))
    answers = [(name, "yes" if of_class[name] else "no") for name in found.candidates["id"][:12]]
    answers.append((found.candidates["id"][29], "unsure"))
    lines = "".join(f"{name},{answer},1\n" for name, answer in answers)
    (folder / "vetting.csv").write_text("id,answer,seconds\n" + lines)
    second = look(table, labelled, after=[folder], out=tmp_path / "round2")
    assert not set(second.candidates["id"]) & {name for name, _ in answers}
    record = second.candidates.meta[SEARCH]
    yes = sum(answer == "yes" for _, answer in answers)
    assert record["labelled"] == {"of the class": 16 + yes, "others": 64 + 12 - yes}
    assert record["looked at before"] == 13
    assert record["left out"]["labelled or looked at before"]["rows"] == 13
    assert record["scored"] == 387
    told = second.expected  # of those that are left
    left = int(has.sum()) - yes
    hits = sum(of_class[name] for name in second.candidates["id"])
    assert told.found.low <= hits <= told.found.high
    assert told.completeness.low <= hits / left <= told.completeness.high


def test_rounds_and_labels_without_ids(catalogue, labelled, tmp_path):
    table, has = catalogue
    unnamed, known = table["image",], labelled.copy()
    known.remove_column("id")
    first = look(unnamed, known, out=tmp_path / "1", budget=10)
    rows = first.candidates["search_row"]
    assert first.candidates["search_name"].tolist() == [f"row {row}" for row in rows]
    answers = "".join(f"row {row},{'yes' if has[row] else 'no'},1\n" for row in rows)
    (tmp_path / "1" / "vetting.csv").write_text("id,answer,seconds\n" + answers)
    record = look(unnamed, known, after=[tmp_path / "1"]).candidates.meta[SEARCH]
    assert record["labelled"] == {"of the class": 16 + int(has[rows].sum()), "others": 64 + int((~has[rows]).sum())}
    assert (record["scored"], record["ids"]) == (390, False)


def test_an_id_that_stands_twice(catalogue, labelled, tmp_path):
    table = catalogue[0][:40].copy()
    table["id"] = "same"
    found = look(table, labelled, out=tmp_path / "out")
    assert found.candidates["search_name"][0] == f"same (row {found.candidates['search_row'][0]})"


def test_an_earlier_round_is_not_written_over(catalogue, labelled, first):
    with pytest.raises(
        ConditionError, match="is both an earlier round and the output of this one; name another output"
    ):
        look(catalogue[0], labelled, after=[first[1]], out=first[1], overwrite=True)


def test_an_output_that_is_a_file(catalogue, labelled, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't make the folder"):
        look(catalogue[0], labelled, out=tmp_path / "file")


def test_synthetic_galaxies_are_added_where_asked(catalogue, labelled, tiny_weights):
    found = look(catalogue[0][:60], labelled, n_synthetic=40, weights=tiny_weights, steps=2, guidance=1.0)
    record = found.candidates.meta[SEARCH]
    assert record["synthetic"] == 40
    assert list(record["average precision by ratio"]) == ["0.5"]


def test_noise_is_not_taken(catalogue, labelled, tiny_weights):
    found = look(catalogue[0][:60], labelled, n_synthetic=None, weights=tiny_weights, steps=2, guidance=1.0)
    record = found.candidates.meta[SEARCH]
    assert list(record["average precision by ratio"]) == ["0", "0.25", "1"]
    assert record["synthetic"] == 0


def test_other_classifiers(catalogue, labelled):
    from sklearn.ensemble import RandomForestClassifier

    for classifier, told in (
        ("network", "network"),
        (RandomForestClassifier(20, random_state=0), "RandomForestClassifier"),
    ):
        found = look(catalogue[0][:60], labelled, classifier=classifier, training_steps=3)
        assert found.candidates.meta[SEARCH]["parameters"]["classifier"].startswith(told)
        assert len(found.candidates) == 30


def test_labelled_galaxies_are_no_candidates(labelled):
    more, has = galaxies(40, 10, 3)
    both = with_votes(more, has)
    both["id"][:5] = labelled["id"][:5]
    both["image"][5:8] = labelled["image"][5:8]
    found = look(both, labelled)
    assert found.candidates.meta[SEARCH]["left out"]["labelled or looked at before"]["rows"] == 8
    assert len(found.candidates) == 30


def test_a_share_that_is_known(catalogue, labelled):
    found = look(catalogue[0], labelled, prevalence=0.02)
    assert found.expected.prevalence == pytest.approx((0.02, 0.02, 0.02))


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"budget": 0}, ConditionError, "budget=0: give at least 1 candidate to return"),
        ({"n_synthetic": -1}, ConditionError, "n_synthetic=-1: give 0 for none, or a number above it"),
        ({"prevalence": 1.5}, ConditionError, "prevalence=1.5 is no share of a catalogue; give one between 0 and 1"),
        ({"classifier": "forest"}, UnknownNameError, "classifier 'forest'"),
        ({"classifier": object}, ConditionError, "is no scikit-learn classifier with predict_proba; give one, made"),
        ({"target": "ring"}, NoRealRowsError, "target 'ring'"),
        ({"target": "round galaxy, merger"}, ConditionError, "is a free prompt, by which no real galaxy can be told"),
        ({"images": "cutout"}, UnknownNameError, "image column 'cutout'"),
    ],
)
def test_what_can_not_be_asked(catalogue, labelled, options, error, told):
    with pytest.raises(error, match=told):
        look(catalogue[0], labelled, **options)


def test_too_few_labelled(catalogue):
    with pytest.raises(NoRealRowsError, match="4 real galaxies with images are of the class and 5 are needed"):
        look(catalogue[0], with_votes(*galaxies(30, 4, 5)))


def test_nothing_is_overwritten(catalogue, labelled, first):
    with pytest.raises(OutputExistsError, match="candidates.parquet"):
        look(catalogue[0], labelled, out=first[1])


def test_a_catalogue_of_what_is_known_alone(labelled):
    with pytest.raises(NoRealRowsError, match="the catalogue has no galaxy to rank"):
        look(labelled, labelled)


def test_pictures_of_the_labelled_ones_have_one_size(catalogue, labelled):
    images = np.empty(len(labelled), dtype=object)
    for row in range(len(labelled)):
        images[row] = np.zeros((16 if row else 8, 16, 3), np.uint8)
    other = labelled.copy()
    other.replace_column("image", images)
    with pytest.raises(ImageError, match="images of 2 sizes"):
        look(catalogue[0], other)
