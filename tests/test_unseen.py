"""`benchmarks/unseen.py`: which rows are left out, what is drawn once, and which figures lead to which verdict."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd import read_table, write_table
from astro_galaxysd.conditions.tree import ANSWERS, INDEX
from astro_galaxysd.errors import ConditionError, NoRealRowsError, UnknownNameError, WeightsError
from astro_galaxysd.learning.trainingids import write_training_ids

SHARES = {"pair": (0.7, 0.4), "first": (0.9, 0.0), "second": (0.1, 0.5)}
BEFORE = "a more of both than b", "a more of both than c", "a nearer than b", "a nearer than c"
ALONE = "b more of the first than c", "c more of the second than b"


@pytest.fixture
def unseen(monkeypatch):
    """The script, which finds its figures beside it; fewer resamples."""
    folder = Path(__file__).resolve().parents[1] / "benchmarks"
    monkeypatch.syspath_prepend(folder)
    script = importlib.import_module("unseen")
    monkeypatch.setattr(sys.modules["unseen_figures"], "TIMES", 400)
    yield script
    for name in ("unseen", "unseen_figures"):
        sys.modules.pop(name, None)


@pytest.fixture
def figures(unseen):
    return sys.modules["unseen_figures"]


def galaxies(kinds, start=0, side=32):
    """A table of the challenge's votes, one row of a kind each, with images of noise."""
    columns = {answer.kaggle: np.zeros(len(kinds)) for answer in ANSWERS}
    for row, kind in enumerate(kinds):
        smooth, merger = SHARES[kind]
        columns["Class1.1"][row], columns["Class1.2"][row] = smooth, 1 - smooth
        columns["Class6.1"][row], columns["Class6.2"][row] = 0.8, 0.2
        columns["Class8.6"][row], columns["Class8.1"][row] = merger, 0.8 - merger
    images = np.random.default_rng(start).integers(40, 200, (len(kinds), side, side, 3)).astype(np.uint8)
    return Table({"id": [f"g{start + row}" for row in range(len(kinds))], **columns, "image": images})


def run(unseen, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["unseen.py", *map(str, arguments)])
    unseen.main()


def test_rows_of_the_pair_are_left_out(unseen, tmp_path, monkeypatch, capsys):
    table = galaxies(["pair", "first", "second", "pair", "first"])
    table["Class1.1"][4], table["Class8.6"][4], table["Class8.1"][4] = 0.9, 0.09, 0.71  # below the least share
    write_table(table, tmp_path / "train.parquet")
    run(unseen, monkeypatch, "leave-out", tmp_path / "train.parquet", "-o", tmp_path / "rest.parquet")
    rest = read_table(tmp_path / "rest.parquet")
    assert list(rest["id"]) == ["g1", "g2", "g4"]
    assert (np.stack(rest["image"]) == table["image"][[1, 2, 4]]).all()
    said = capsys.readouterr().out
    assert "2 of 5 rows left out: share of smooth at least 0.3, of merger at least 0.1" in said
    assert "left: 2 rows with such a share of smooth alone, 1 of merger alone" in said
    assert "2 smooth and 1 merger" in said
    assert said.endswith("0 of the rows that are left have less than these shares and yet both words in their weighted "
                         "prompts\n")  # fmt: skip


def test_rows_that_name_the_pair_are_told_and_left_out_if_asked(unseen, tmp_path, monkeypatch, capsys):
    table = galaxies(["pair", "first", "second", "first"])
    for name, share in (("1.1", 0.25), ("1.2", 0.75), ("6.1", 0.8), ("8.6", 0.4), ("8.1", 0.4)):
        table[f"Class{name}"][3] = share  # too little of the first, but both words
    path = write_table(table, tmp_path / "train.parquet")
    run(unseen, monkeypatch, "leave-out", path, "-o", tmp_path / "rest.parquet")
    said = " ".join(capsys.readouterr().out.split())
    fractions = unseen.choose_dialect(table).read(table)[1:]
    share = 100 * unseen.sampling_weights(fractions)[2]
    assert "1 of the rows that are left have less than these shares and yet both words in their weighted" in said
    assert (
        f"sees the pair hardly ever, but not never: they are {share:.1f} % of what `galaxysd train diffusion`" in said
    )
    assert "product of both shares is 0.100, that of the rows left out 0.280. Leave them out with --strict" in said
    run(unseen, monkeypatch, "leave-out", path, "-o", tmp_path / "strict.parquet", "--strict")
    said = capsys.readouterr().out
    assert list(read_table(tmp_path / "strict.parquet")["id"]) == ["g1", "g2"]
    assert "2 of 4 rows left out: share of smooth at least 0.3, of merger at least 0.1, or both words in the" in said
    assert "0 of the rows that are left" in said


def test_the_rule_of_the_page_on_real_votes(unseen, gz2):
    parquet = pytest.importorskip("pyarrow.parquet")
    names = [answer.kaggle for answer in ANSWERS]
    votes = parquet.read_table(gz2 / "train.parquet", columns=names)
    table = Table({name: votes[name].to_numpy() for name in names})
    fractions = unseen.choose_dialect(table).read(table)
    by_hand = (table["Class1.1"] >= 0.3) & (np.nan_to_num(table["Class8.6"]) >= 0.1)
    kinds = unseen.Pair("smooth", "merger").kinds(fractions)
    assert (kinds["pair"] == by_hand).all()
    assert [int(kinds[kind].sum()) for kind in unseen.KINDS] == [1045, 9641, 556]
    named = unseen.Pair("smooth", "merger").words(fractions)["pair"] & ~kinds["pair"]
    said = unseen.still_named(table["Class1.1"] * np.nan_to_num(table["Class8.6"]), fractions, named, ~kinds["pair"])
    assert named.sum() == 85
    assert "they are 1.0 % of what" in said
    assert "is 0.074, that of the rows left out 0.152" in said


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("smooth", "mergers"), UnknownNameError, "unknown answer 'mergers': did you mean 'merger'"),
        (("smooth", "smooth"), ConditionError, "the pair is 'smooth' twice; give two answers"),
        (("smooth", "merger", 0.3, 10), ConditionError, "merger: 10 is no share of volunteers"),
        (("merger", "odd"), ConditionError, "merger is only asked of those who said odd, so it is never without it"),
        (("features", "bar"), ConditionError, "bar is only asked of those who said features"),
    ],
)
def test_pairs_that_make_no_sense(unseen, arguments, error, message):
    with pytest.raises(error, match=message):
        unseen.Pair(*arguments)


def test_an_answer_without_words_can_not_be_asked_for(unseen):
    with pytest.raises(ConditionError, match="no_bar: prompts have no words for it; ask for another answer"):
        unseen.Pair("smooth", "no_bar").named(np.zeros((1, len(ANSWERS))))


def test_rows_of_the_first_table_come_first(unseen, tmp_path, monkeypatch):
    monkeypatch.setattr(unseen, "FEWEST", 2)
    pair, rng = unseen.Pair("smooth", "merger"), np.random.default_rng(0)
    write_table(galaxies(["pair", "first", "second"] * 3), tmp_path / "one.parquet")
    write_table(galaxies(["pair", "first", "second"] * 4, start=100), tmp_path / "two.parquet")
    paths = tmp_path / "one.parquet", tmp_path / "two.parquet"
    chosen, n, available = unseen.choose_rows(paths, pair, 50, rng)
    assert (n, available) == (3, {"pair": 7, "first": 7, "second": 7})
    assert {kind: len(rows) for kind, rows in chosen.items()} == {"pair": 7, "first": 3, "second": 3}
    assert set(chosen["pair"]["id"][:3]) == {"g0", "g3", "g6"}
    assert len(set(chosen["pair"]["id"])) == 7
    asked = chosen["pair"]
    assert set(asked["pair"]) == {"sdss, {smooth:0.95}, {features or disk-shaped:0.55}, {something odd:1.05}, "
                                  "{ring galaxy:0.75}, {merger:0.75}"}  # fmt: skip
    assert set(asked["first"]) == {"sdss, {smooth:0.95}, {features or disk-shaped:0.55}, {ring galaxy:0.75}"}
    assert set(asked["second"]) == {"sdss, {features or disk-shaped:0.55}, {something odd:1.05}, {ring galaxy:0.75}, "
                                    "{merger:0.75}"}  # fmt: skip
    assert np.allclose(chosen["pair"]["shares"], (0.7, 0.4))


def test_what_goes_with_an_answer_that_is_taken_out(unseen):
    votes = np.zeros((1, len(ANSWERS)))
    for key in ("features", "not_edge_on", "bar", "spiral", "tight_arms", "arms_2", "odd"):
        votes[:, INDEX[key]] = 0.75
    prompts = unseen.Pair("bar", "spiral").prompts(votes)
    bar, spiral = (
        "bar-shaped structure in the center of galaxy",
        "spiral galaxy, tightly wound spiral arms, 2 spiral arms",
    )
    whole = f"sdss, features or disk-shaped, {bar}, {spiral}, something odd"
    assert sorted(prompts["pair"][0].split(", ")) == sorted(whole.split(", "))
    assert prompts["first"] == [f"sdss, features or disk-shaped, {bar}, something odd"]
    assert bar not in prompts["second"][0]
    assert all(words in prompts["second"][0] for words in spiral.split(", "))
    votes[:, INDEX["smooth"]], votes[:, INDEX["round"]], votes[:, INDEX["merger"]] = 0.75, 0.75, 0.75
    without = unseen.Pair("smooth", "merger").prompts(votes)
    assert not any(words in without["second"][0] for words in ("smooth", "round galaxy"))
    assert not any(words in without["first"][0] for words in ("odd", "merger"))


def test_too_few_rows(unseen, tmp_path):
    write_table(galaxies(["pair", "pair", "first", "second"]), tmp_path / "few.parquet")
    with pytest.raises(
        NoRealRowsError, match="1 images of each set, from rows {'pair': 2, 'first': 1, 'second': 1}: an"
    ):
        unseen.choose_rows([tmp_path / "few.parquet"], unseen.Pair("smooth", "merger"), 5, np.random.default_rng(0))
    write_table(Table({"prompt": ["sdss"], "image": np.zeros((1, 8, 8, 3), np.uint8)}), tmp_path / "no_votes.parquet")
    with pytest.raises(ConditionError, match="no_votes.parquet: no votes"):
        unseen.choose_rows(
            [tmp_path / "no_votes.parquet"], unseen.Pair("smooth", "merger"), 5, np.random.default_rng(0)
        )


PROMPTS = "sdss, smooth", "sdss, merger", "sdss"


def test_what_was_drawn_is_not_drawn_again(unseen, tiny_weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(unseen, "PIECE", 2)
    names, path = ["x", "y", "z"], tmp_path / "drawn.npz"
    first = unseen.Drawn(path, 1, 2, 1.0).of(tiny_weights, names, PROMPTS)
    assert "3 of 3 drawn" in capsys.readouterr().out
    again = unseen.Drawn(path, 1, 2, 1.0)
    assert (again.of(tiny_weights, names[::-1], PROMPTS[::-1]) == first[::-1]).all()
    assert not capsys.readouterr().out
    for other in (unseen.Drawn(path, 2, 2, 1.0), unseen.Drawn(path, 1, 3, 1.0), unseen.Drawn(path, 1, 2, 3.0)):
        assert (other.of(tiny_weights, names[:1], PROMPTS[:1]) != first[:1]).any()
        assert "1 of 1 drawn" in capsys.readouterr().out


def test_a_row_has_one_seed_whatever_is_asked(unseen, tiny_weights, monkeypatch):
    from astro_galaxysd.conditions.seeds import row_seeds

    told = []
    draw = unseen.generate
    monkeypatch.setattr(unseen, "generate", lambda rows, **options: told.append(draw(rows, **options)) or told[-1])
    for words in PROMPTS[:2]:
        unseen.Drawn(None, 1, 2, 1.0).of(tiny_weights, ["x", "y"], [words, words])
    assert [list(table["seed"]) for table in told] == [list(row_seeds(1, ["x", "y"]))] * 2
    assert (told[0]["image"] != told[1]["image"]).any()


def test_weights_are_sampled_as_they_recommend(unseen, tiny_weights, tmp_path, monkeypatch):
    own, told = shutil.copytree(tiny_weights, tmp_path / "own"), []
    (own / "sampling.json").write_text('{"steps": 3, "guidance": 1.5}')
    monkeypatch.setattr(
        unseen, "generate", lambda rows, **asked: told.append(asked) or {"image": [np.zeros((4, 4, 3))]}
    )
    for weights in (own, tiny_weights):
        unseen.Drawn(None, 1).of(weights, ["x"], ["sdss"])
    unseen.Drawn(None, 1, 7, 0.5).of(own, ["x"], ["sdss"])
    usual = unseen.weight_card(tiny_weights)
    assert [(asked["steps"], asked["guidance"]) for asked in told] == [
        (3, 1.5), (usual.steps, usual.guidance), (7, 0.5)
    ]  # fmt: skip


def test_a_cut_off_drawing_keeps_what_it_has(unseen, tiny_weights, tmp_path, monkeypatch):
    monkeypatch.setattr(unseen, "generate", lambda conditions, **_: {"image": np.ones((1, 4, 4, 3), np.uint8)})
    with pytest.raises(KeyboardInterrupt):
        unseen.Drawn(tmp_path / "drawn.npz", 1, 2, 1.0).of(tiny_weights, ["x", "y"], PROMPTS[:2])
    assert len(unseen.Drawn(tmp_path / "drawn.npz", 1, 2, 1.0).images) == 1


def test_shares_of_none_and_all_have_an_interval(figures):
    counts = figures.resamples(50, np.random.default_rng(0))
    for value in (0.0, 1.0):
        found, low, high = figures.share_interval(np.full(50, value), counts)
        assert low <= found <= high
        assert 0.05 < high - low < 0.15
    half = figures.share_interval(np.repeat([0.0, 1.0], 25), counts)
    assert half[0] == 0.5
    assert np.allclose(half[1:], (0.36, 0.64), atol=0.03)


def test_differences_of_kernel_distances_are_the_evaluators(figures):
    rng = np.random.default_rng(3)
    sets = [rng.normal(size=(n, 5)) + shift for n, shift in ((30, 0.0), (30, 0.4), (40, 0.1))]
    near, far, reference = (points / np.linalg.norm(points, axis=1, keepdims=True) for points in sets)
    ones, theirs = np.ones((1, 30)), np.ones((1, 40))
    pulls = [figures.pull(points, reference, ones, theirs)[0] for points in (near, far)]
    kept = figures.RealismEvaluator()._scores
    scores = [
        next(score.value for score in kept(reference, points, rng) if score.metric == "kernel_distance")
        for points in (near, far)
    ]
    assert pulls[1] - pulls[0] == pytest.approx(scores[1] - scores[0])


def test_a_correlation_of_resamples(figures):
    rng = np.random.default_rng(1)
    asked, read = rng.random(20), rng.random(20)
    rows = rng.integers(0, 20, 20)
    counts = np.vstack([np.ones(20), np.bincount(rows, minlength=20)])
    told = figures.follow(asked, read, counts)
    assert np.allclose(told, [np.corrcoef(asked, read)[0, 1], np.corrcoef(asked[rows], read[rows])[0, 1]])
    assert np.isnan(figures.follow(np.ones(20), read, counts)).all()


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        ((), "composes"),
        (BEFORE[:1], "composes partly"),
        (BEFORE[2:3], "composes partly"),
        (BEFORE[1:3], "does not compose"),
        (ALONE[:1], "can't be told"),
        (ALONE[1:], "can't be told"),
    ],
)
def test_the_verdict_follows_its_rule(figures, fails, said):
    assert figures.verdict({name: {"holds": name not in fails} for name in BEFORE + ALONE}) == said


def test_a_difference_that_nobody_would_see_does_not_count(figures):
    rng = np.random.default_rng(0)
    small, real = 0.01 + 0.001 * rng.normal(size=400), 0.3 + 0.01 * rng.normal(size=400)
    assert figures.difference(small)["holds"]
    assert not figures.difference(small, real)["holds"]
    assert figures.difference(0.5 * real, real)["holds"]
    assert not figures.difference(-small, -real)["holds"]


def planted(figures, of_pair):
    """Figures and embeddings of images that show what they were asked for; those of (a) show `of_pair`."""
    rng, towards = np.random.default_rng(0), np.eye(4)
    shown = {"pair": (0.7, 0.4), "first": (0.8, 0.01), "second": (0.1, 0.4)}
    numbers, points = {}, {}
    for name, (kind, asked, _) in figures.SETS.items():
        kind = of_pair if name == "a" else asked or kind
        shares = np.clip(shown[kind] + 0.03 * rng.normal(size=(40, 2)), 0, 1)
        numbers[name] = np.column_stack([np.ones((40, 4)), shares, shares.prod(axis=1)])
        points[name] = towards[figures.KINDS.index(kind)] + 0.2 * rng.normal(size=(40, 4))
    reference = towards[0] + 0.2 * rng.normal(size=(60, 4))
    points, reference = ({k: unit(v) for k, v in points.items()}, unit(reference))
    return figures.compare(numbers, points, reference, rng.random((40, 2)), 0)


def unit(points):
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize(("shows", "said"), [("pair", "composes"), ("second", "does not compose")])
def test_planted_galaxies_are_judged_right(figures, shows, said):
    result = planted(figures, shows)
    assert figures.verdict(result["differences"]) == said
    assert result["way"]["a"] == pytest.approx(float(shows == "pair"), abs=0.1)
    assert result["way"]["d"] == pytest.approx(1, abs=0.1)


def test_judging_from_tables_to_verdict(unseen, tiny_weights, tmp_path, monkeypatch, capsys):
    write_table(galaxies(["pair", "pair", "first", "second"] * 8), tmp_path / "test.parquet")
    run(
        unseen, monkeypatch, "judge", tmp_path / "test.parquet", "--unseen", tiny_weights, "--seen", tiny_weights,
        "--steps", 2, "--drawn", tmp_path / "drawn.npz", "-o", tmp_path / "unseen.json", "--sheet", tmp_path / "u.png",
    )  # fmt: skip
    said, result = capsys.readouterr().out, json.loads((tmp_path / "unseen.json").read_text())
    assert (result["n"], result["reference"]) == (8, 8)
    assert f"verdict: {result['verdict']}" in said
    assert "| 8 images each | smooth found | merger found |" in said
    assert "| (a) asked for smooth and merger, left out of training |" in said
    assert list(result["distances"]["a"]) == ["nearest_real", "frechet", "kernel_distance"]
    assert result["figures"]["a"] == result["figures"]["d"]  # the same weights were asked the same
    assert result["sampling"]["unseen"] == result["sampling"]["seen"]
    assert result["sampling"]["seen"]["steps"] == 2
    assert "no training_ids.txt says which rows they learnt from" in said
    assert result["differences"]["a nearer than b"]["real"]
    assert (tmp_path / "u.png").exists()


def test_weights_that_saw_the_pair_are_no_unseen_ones(unseen, tiny_weights, tmp_path, capsys):
    weights = shutil.copytree(tiny_weights, tmp_path / "weights")
    chosen = {kind: Table({"id": [f"{kind}{row}" for row in range(3)]}) for kind in unseen.KINDS}
    assert unseen.check_unseen(weights, chosen) == dict.fromkeys(unseen.KINDS)
    assert "which rows they learnt from; that none is of the pair was not checked" in capsys.readouterr().out
    write_training_ids(weights, ["first0", "first1", "second2", "other"])
    assert unseen.check_unseen(weights, chosen) == {"pair": 0, "first": 2, "second": 1}
    assert "they learnt from none of the pair's rows, but from 2 and 1 of the others" in capsys.readouterr().out
    write_training_ids(weights, ["pair1"])
    with pytest.raises(WeightsError, match="learnt from 1 of the 3 rows of the pair, so they saw it; give weights"):
        unseen.check_unseen(weights, chosen)


def test_what_a_reader_sees_by_the_rule(unseen):
    votes = np.zeros((2, len(ANSWERS)))
    votes[:, INDEX["smooth"]], votes[:, INDEX["features"]] = (0.8, 0.2), (0.2, 0.8)
    votes[:, INDEX["odd"]], votes[:, INDEX["not_odd"]] = 0.6, 0.4
    votes[:, INDEX["merger"]], votes[:, INDEX["ring"]] = (0.9, 0.1), (0.1, 0.9)

    class Reader:
        def predict(self, images):
            return votes

    found = unseen.read_figures(np.zeros((2, 8, 8, 3), np.uint8), unseen.Pair("smooth", "merger"), Reader())
    assert np.allclose(found, [[1, 1, 1, 1, 0.8, 0.54, 0.432], [0, 0, 0, 0, 0.2, 0.06, 0.012]])
