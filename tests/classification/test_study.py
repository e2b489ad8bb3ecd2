from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd.classification.arms import Rows, choose_arms
from astro_galaxysd.classification.store import Store
from astro_galaxysd.classification.study import Key, Setting, Study
from astro_galaxysd.errors import ConditionError


@pytest.fixture
def setting():
    return Setting((5, 10), 20, (0.5, 2.0), 2, tuple(choose_arms(["synthetic", "wrong_prompts"])), 7)


def galaxies(n=100):
    images = np.random.default_rng(0).integers(0, 255, (n, 8, 8, 3), np.uint8)
    return Rows(images, features(images), np.arange(n) % 4 == 0)


def features(images):
    return images.mean(axis=(1, 2)).astype(np.float32)


class Calls:
    """Draws and learns nothing, and notes what it was asked."""

    def __init__(self):
        self.drawn, self.learnt, self.read = [], [], []

    def draw(self, kind):
        def draw(sources, number, seed):
            self.drawn.append((kind, sorted(sources.tolist()), number, seed))
            # the first ones are the darkest
            levels = np.linspace(200, 250, number) if kind == "class" else np.linspace(50, 100, number)
            return Table({"image": [np.full((8, 8, 3), level, np.uint8) for level in levels]})

        return draw

    def agree(self, labelled, rows):
        self.read.append(len(rows.positive))
        return rows.features[:, 0]

    def learn(self, arm, training, seed):
        self.learnt.append((arm.name, training, seed))
        return lambda rows: rows.features[:, 0].astype(float)


def study(setting, store, calls, rows=None, **options):
    parts = {"train": np.arange(60), "validation": np.arange(60, 80), "test": np.arange(80, 100)}
    return Study(
        rows or galaxies(),
        parts,
        setting,
        store,
        draw_class=calls.draw("class"),
        draw_others=calls.draw("others"),
        features=features,
        agreement=calls.agree,
        learn=calls.learn,
        **options,
    )


def test_every_combination_once(setting):
    ways = {(key.arm, key.ratio) for key in setting.keys()}  # noqa: SIM118 (no mapping)
    assert ways == {("real", 0), ("synthetic", 0.5), ("synthetic", 2), ("wrong_prompts", 0.5)}
    assert len(list(setting.keys())) == 2 * 2 * 4


def test_labelled_galaxies_are_training_ones_and_nested(setting):
    made = study(setting, Store(None, {}), Calls())
    few, many, other = made.told(5, 0), made.told(10, 0), made.told(10, 1)
    has = made.rows.positive
    assert has[few].tolist() == [True] * 5 + [False] * 20
    assert set(few.tolist()) <= set(many.tolist()) <= set(range(60))
    assert set(many[:10].tolist()) != set(other[:10].tolist())
    assert many[10:].tolist() == other[10:].tolist()


def test_who_learns_from_what(setting):
    calls = Calls()
    made = study(setting, Store(None, {}), calls)
    for key in setting.keys():  # noqa: SIM118 (no mapping)
        scores = made.scores(key)
        np.testing.assert_array_equal(scores.test, made.rows.features[80:, 0])
        assert len(scores.validation) == 20
    # once for each run and number, and once for the others
    assert sorted(kind for kind, *_ in calls.drawn) == ["class"] * 4 + ["others"]
    for kind, sources, number, _ in calls.drawn:
        told = [sorted(made.told(some, run)[:some].tolist()) for some in (5, 10) for run in (0, 1)]
        assert sources in told if kind == "class" else sources == sorted(made.told(5, 1)[5:].tolist())
        assert number == (25 if len(sources) == 5 else 30)  # half of twice 5 + 20 and 10 + 20
    assert len({seed for *_, seed in calls.drawn}) == 5
    # runs differ, arms of a run do not
    assert len({seed for _, _, seed in calls.learnt}) == 4
    added = {name: len(training.positive) for name, training, _ in calls.learnt[:4]}
    assert added == {"real": 25, "synthetic": 75, "wrong_prompts": 37}


def added_by(arm):
    calls = Calls()
    made = study(Setting((5,), 20, (0.5,), 2, tuple(choose_arms(arm)), 7), Store(None, {}), calls)
    made.scores(Key(5, arm, 0.5, 0))
    name, training, _ = calls.learnt[-1]
    assert (name, len(training.positive)) == (arm, 37)
    added = training.images[25:, 0, 0, 0]
    return calls, added[training.positive[25:]], added[~training.positive[25:]]


def test_the_surest_half_is_kept():
    calls, of_class, others = added_by("filtered")
    assert [number for _, _, number, _ in calls.drawn] == calls.read == [12, 12]
    assert (of_class.min(), others.max()) == (227, 72)  # the brightest of the class, the darkest of the others


def test_the_half_that_is_hard_to_tell_is_kept():
    calls, of_class, others = added_by("uncertain")
    assert [number for _, _, number, _ in calls.drawn] == [12, 12]
    # those nearest to the threshold of a classifier that takes what is bright for the class
    assert calls.learnt[0][0] == "real"
    assert (of_class.max(), others.min()) == (222, 77)


def test_classifiers_learn_side_by_side(setting, tmp_path):
    calls, plain = Calls(), Calls()
    made = study(setting, Store(tmp_path, {"seed": 7}), calls)
    one_by_one = study(setting, Store(None, {}), plain, parallel=False)
    for (key, scores), (same, expected) in zip(made.each(), one_by_one.each(), strict=True):
        assert key == same
        np.testing.assert_array_equal(scores.test, expected.test)
    assert [name for name, _, _ in plain.learnt] == ["real", "synthetic", "synthetic", "wrong_prompts"] * 4
    assert sorted(kind for kind, *_ in calls.drawn) == ["class"] * 4 + ["others"]
    # nothing is drawn or learnt again
    again = Calls()
    assert len(list(study(setting, Store(tmp_path, {"seed": 7}), again).each())) == 16
    assert (again.drawn, again.learnt) == ([], [])


@pytest.mark.parametrize(("arm", "kind"), [("wrong_prompts", "others"), ("positives_only", "class")])
def test_nothing_is_drawn_that_no_arm_needs(arm, kind):
    calls = Calls()
    made = study(Setting((5,), 20, (0.5,), 1, tuple(choose_arms(arm)), 7), Store(None, {}), calls)
    list(made.each())
    assert [drawn[0] for drawn in calls.drawn] == [kind]


def test_real_galaxies_are_learnt_from_once_a_run():
    calls = Calls()
    setting = Setting((5,), 20, (0.5,), 2, tuple(choose_arms("uncertain")), 7)
    list(study(setting, Store(None, {}), calls).each())
    assert sorted(name for name, _, _ in calls.learnt) == ["real", "real", "uncertain", "uncertain"]


def test_it_goes_on_where_it_stopped(setting, tmp_path):
    first, second, keys = Calls(), Calls(), list(setting.keys())
    made = study(setting, Store(tmp_path / "v", {"seed": 7}), first)
    before = [made.scores(key).test for key in keys[:10]]
    again = study(setting, Store(tmp_path / "v", {"seed": 7}), second)
    after = [again.scores(key).test for key in keys]
    np.testing.assert_array_equal(before, after[:10])
    assert len(first.learnt) + len(second.learnt) == len(keys)
    assert len(first.drawn) + len(second.drawn) == 5


def test_another_verdict_in_the_folder(tmp_path):
    Store(tmp_path, {"seed": 7, "target": "ring"})
    with pytest.raises(ConditionError, match="belongs to another verdict, which differs in seed, target; name another"):
        Store(tmp_path, {"seed": 8, "target": "bar"})
