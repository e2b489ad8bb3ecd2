"""`augmentation_verdict` on invented galaxies: what helps, what harms, and what can't be asked."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd.errors import ConditionError, ImageError, NoRealRowsError, OutputError, UnknownNameError
from astro_galaxysd.verdict import VERDICT, augmentation_verdict


def galaxies(n=240, mergers=40, side=64, seed=0):
    """Blobs; mergers have two middles."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    has = np.arange(n) < mergers
    images = []
    for merger in has:
        centres = rng.uniform(-9, 9, (2, 2)) if merger else rng.uniform(-3, 3, (1, 2))
        light = sum(150 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 2 / 4**2) for a, b in centres)
        images.append((20 + light[..., None] + rng.normal(0, 6, (side, side, 3))).clip(0, 255).astype(np.uint8))
    order = rng.permutation(n)
    return Table(
        {
            "id": [f"g{row}" for row in range(n)],
            "t01_smooth": np.full(n, 0.7),
            "t06_odd_yes": np.full(n, 0.9),
            "t08_merger": np.where(has, 0.8, 0.1)[order],
            "image": [images[row] for row in order],
        }
    )


@pytest.fixture(scope="module")
def table():
    return galaxies()


def small(tiny_weights, **options):
    return {
        "target": "merger", "weights": tiny_weights, "steps": 2, "guidance": 1.0, "positives": 6, "others": 20,
        "ratios": [1.0], "runs": 3, "training_steps": 4, "rng": 1, "progress": False, **options,
    }  # fmt: skip


@pytest.fixture(scope="module")
def verdict(table, tiny_weights, tmp_path_factory):
    return augmentation_verdict(table, **small(tiny_weights, out=tmp_path_factory.mktemp("verdict")))


def test_every_arm_has_every_figure(verdict):
    found = verdict.table
    assert set(found["arm"]) == {
        "real", "class_weights", "focal", "oversampled", "transfer", "synthetic", "transfer_synthetic", "wrong_prompts",
        "positives_only", "filtered", "uncertain",
    }  # fmt: skip
    assert len(found) == 11 * 6
    assert ((found["low"] <= found["high"]) & (found["gain_low"] <= found["gain_high"])).all()
    assert (found["gain"][found["arm"] == "real"] == 0).all()
    assert found["ratio"][found["arm"] == "synthetic"].tolist() == [1.0] * 6


def test_the_conclusion_is_one_of_three_and_has_its_interval(verdict):
    assert verdict.outcomes[6] in ("helps", "no measurable effect", "harms")
    assert verdict.conclusion.startswith(f"merger, 6 labelled: {verdict.outcomes[6]}: average precision 0.")
    assert "wrong prompts at ratio 1 over real galaxies only" in verdict.conclusion
    assert verdict.conclusion.endswith("The weights were trained on a number of galaxies of the class not known.")


def test_what_was_compared_with_what(verdict):
    record = verdict.table.meta[VERDICT]
    assert json.loads(json.dumps(record)) == record
    assert record["split"]["train"] == {"of the class": 16, "others": 80}
    assert record["split"]["test"] == {"of the class": 16, "others": 80}
    assert record["compared by"] == ["id", "image"]
    parts = ("train", "validation", "test")
    assert {who: set(seen) for who, seen in record["seen"].items()}.pop("the reader") == set(parts)
    assert record["galaxies of the class that the weights were trained on"] is None


def test_the_same_again_from_its_folder(table, tiny_weights, tmp_path):
    options = small(tiny_weights, arms=["transfer", "synthetic"], out=tmp_path / "v")
    first = augmentation_verdict(table, **options)
    again = augmentation_verdict(table, **options)
    assert first.conclusion == again.conclusion
    np.testing.assert_array_equal(first.table["value"], again.table["value"])
    with pytest.raises(ConditionError, match="belongs to another verdict, which differs in seed"):
        augmentation_verdict(table, **{**options, "rng": 2})


def test_an_estimator_of_ones_own(table, tiny_weights):
    from sklearn.ensemble import RandomForestClassifier

    found = augmentation_verdict(
        table, estimator=RandomForestClassifier(20, random_state=0), **small(tiny_weights, arms="synthetic")
    )
    assert set(found.table["arm"]) == {"real", "synthetic"}


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        (
            {"positives": 17},
            ConditionError,
            r"positives=17: of 40 .* 16 for train, 8 for validation, 16 for test; give",
        ),
        ({"positives": [2, 6]}, ConditionError, r"positives=\[2, 6\]: of 40 galaxies"),
        (
            {"others": 500},
            ConditionError,
            "others=500: 80 training galaxies are not of the class; give a number from 5 to 80",
        ),
        ({"ratios": [0.0]}, ConditionError, r"ratios=\[0.0\]: give numbers above 0"),
        ({"runs": 1}, ConditionError, "runs=1: so few say nothing of how runs differ; give 3 or more"),
        ({"arms": "magic"}, UnknownNameError, "arm 'magic'"),
        ({"target": "dust lane"}, NoRealRowsError, "dust_lane"),
    ],
)
def test_what_can_not_be_asked(table, tiny_weights, options, error, told):
    with pytest.raises(error, match=told):
        augmentation_verdict(table, **small(tiny_weights, **options))


def test_too_few_for_three_parts(tiny_weights):
    with pytest.raises(
        NoRealRowsError, match="12 real galaxies are of the class, which makes 5 for train, 2 for valid"
    ):
        augmentation_verdict(galaxies(60, 12), **small(tiny_weights))
    with pytest.raises(NoRealRowsError, match="10 real galaxies are not of the class, which makes 4 for train, 2 for"):
        augmentation_verdict(galaxies(60, 50), **small(tiny_weights))


@pytest.fixture(scope="module")
def other():
    found = galaxies(120, 30, seed=5)
    found["id"] = [f"t{row}" for row in range(120)]
    return found


class TestOtherTable:
    """Galaxies of another table to test on."""

    def test_it_is_tested_on_alone(self, table, other, tiny_weights):
        found = augmentation_verdict(table, test=other, **small(tiny_weights, arms="transfer", positives=20))
        record = found.table.meta[VERDICT]
        assert record["split"]["test"] == {"of the class": 30, "others": 90}
        assert record["split"]["train"] == {"of the class": 27, "others": 133}
        assert found.outcomes == {20: "not tested"}
        assert "no arm that could answer was asked for" in found.conclusion

    def test_galaxies_of_both_are_refused(self, table, other, tiny_weights):
        both = other.copy()
        both["id"][3] = table["id"][7]
        both["image"][9] = table["image"][11]
        with pytest.raises(
            ConditionError, match="2 galaxies of test= are also in the table, as far as id, image tell:"
        ):
            augmentation_verdict(table, test=both, **small(tiny_weights))

    def test_images_of_another_size(self, table, tiny_weights):
        with pytest.raises(ImageError, match="images of test= are 32x32, those of the table 64x64; bring them to one"):
            augmentation_verdict(table, test=galaxies(60, 30, 32), **small(tiny_weights))


def test_it_goes_on_without_a_seed(table, tiny_weights, tmp_path):
    options = small(tiny_weights, arms="transfer", out=tmp_path / "v", rng=None)
    first = augmentation_verdict(table, **options)
    assert augmentation_verdict(table, **options).conclusion == first.conclusion


def test_an_output_that_can_not_be_used(table, tiny_weights, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't make the folder"):
        augmentation_verdict(table, **small(tiny_weights, out=tmp_path / "file"))
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "verdict.json").write_text("{")
    with pytest.raises(ConditionError, match=r"verdict.json is damaged \(.*\); name another folder"):
        augmentation_verdict(table, **small(tiny_weights, out=tmp_path / "v"))


def test_scores_that_are_damaged(table, tiny_weights, tmp_path):
    options = small(tiny_weights, arms="transfer", out=tmp_path / "v")
    augmentation_verdict(table, **options)
    (tmp_path / "v" / "real-6-0-1.npy").write_bytes(b"")
    with pytest.raises(ConditionError, match=r"real-6-0-1.npy is damaged \(.*\); delete it, and it is made again"):
        augmentation_verdict(table, **options)
