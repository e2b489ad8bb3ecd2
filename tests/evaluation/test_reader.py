"""The reader learns what can be learnt, leaves out what nobody voted on, and comes back from its file."""

from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.conditions.tree import ANSWERS, INDEX, QUESTIONS
from astro_galaxysd.errors import ConditionError, WeightsError
from astro_galaxysd.evaluation.reader import VoteReader, reached, rmse_by_task


def ellipses(n, *, rng):
    """Smooth galaxies, round to cigar-shaped, with the votes that go with it; (n, 32, 32, 3) and (n, 37)."""
    rng = np.random.default_rng(rng)
    ratio, angle = rng.uniform(0.2, 1, n), rng.uniform(0, np.pi, n)
    offset = np.arange(32) - 15.5
    x, y = np.meshgrid(offset, offset)
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    spread = (x * cos + y * sin) ** 2 + ((y * cos - x * sin) / ratio[:, None, None]) ** 2
    images = 150 * np.exp(-spread / 40)[..., None] + rng.normal(12, 3, (n, 32, 32, 3))
    fractions = np.full((n, len(ANSWERS)), np.nan)
    fractions[:, [INDEX[key] for key in ("smooth", "features", "artifact")]] = 0.9, 0.05, 0.05
    fractions[:, INDEX["round"]] = np.clip(ratio - 0.1, 0, 1)
    fractions[:, INDEX["in_between"]] = 0.1
    fractions[:, INDEX["cigar"]] = 0.9 - fractions[:, INDEX["round"]]
    return np.clip(images, 0, 255).astype(np.uint8), fractions


@pytest.fixture(scope="module")
def reader():
    return VoteReader(hidden=32, epochs=40, rng=1).fit(*ellipses(500, rng=0))


def test_it_reads_unseen_galaxies_better_than_the_mean_does(reader):
    images, fractions = ellipses(200, rng=1)
    read = rmse_by_task(reader.predict(images), fractions)
    mean = rmse_by_task(np.tile(fractions.mean(axis=0), (200, 1)), fractions)
    assert read[7] < 0.4 * mean[7]
    assert np.isnan(read[2])  # nobody was asked


def test_the_answers_of_each_question_sum_to_one(reader):
    read = reader.predict(ellipses(20, rng=2)[0])
    assert read.shape == (20, 37)
    assert read.min() >= 0
    for question in QUESTIONS:
        columns = [INDEX[answer.key] for answer in question.answers]
        np.testing.assert_allclose(read[:, columns].sum(axis=1), 1, atol=1e-5)


def test_wild_images_are_read_without_a_warning(reader):
    wild = np.concatenate([np.zeros((1, 32, 32, 3), np.uint8), np.full((1, 32, 32, 3), 255, np.uint8)])
    assert np.isfinite(reader.predict(wild)).all()


def test_a_fit_can_be_repeated_and_leaves_the_random_numbers_alone(reader):
    import torch

    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    again = VoteReader(hidden=32, epochs=40, rng=1).fit(*ellipses(500, rng=0))
    assert torch.equal(torch.random.get_rng_state(), before)
    other = VoteReader(hidden=32, epochs=40, rng=2).fit(*ellipses(500, rng=0))
    for name, value in reader.parameters_.items():
        np.testing.assert_array_equal(again.parameters_[name], value)
    assert not np.array_equal(other.parameters_["weight_0"], reader.parameters_["weight_0"])


def test_votes_that_are_missing_teach_nothing():
    images, fractions = ellipses(300, rng=0)
    fewer = fractions.copy()
    fewer[200:] = np.nan
    part = VoteReader(hidden=16, epochs=3).fit(images[:200], fractions[:200])
    all_rows = VoteReader(hidden=16, epochs=3).fit(images, fewer)
    for name, value in part.parameters_.items():
        np.testing.assert_allclose(all_rows.parameters_[name], value, rtol=1e-4, atol=1e-6)  # sums of other lengths


def test_reached_is_the_product_of_the_fractions_on_the_way():
    fractions = np.full((1, 37), 0.5)
    fractions[0, INDEX["bar"]] = np.nan
    shares = reached(fractions)[0]
    assert shares[INDEX["smooth"]] == shares[INDEX["odd"]] == 1
    assert shares[INDEX["round"]] == 0.5
    assert shares[INDEX["spiral"]] == 0.25
    assert shares[INDEX["arms_2"]] == 0.125
    assert shares[INDEX["bar"]] == 0


def test_it_comes_back_from_its_file(reader, tmp_path):
    reader.save(tmp_path / "reader.safetensors")
    images = ellipses(5, rng=3)[0]
    np.testing.assert_array_equal(
        VoteReader.load(tmp_path / "reader.safetensors").predict(images), reader.predict(images)
    )


def test_files_that_are_no_reader(tmp_path):
    from safetensors.numpy import save_file

    with pytest.raises(WeightsError, match="missing.*no reader can be read.*fit one"):
        VoteReader.load(tmp_path / "missing")
    (tmp_path / "damaged").write_bytes(b"not a reader")
    with pytest.raises(WeightsError, match="damaged.*no reader can be read"):
        VoteReader.load(tmp_path / "damaged")
    save_file({"other": np.zeros(2, np.float32)}, str(tmp_path / "other"))
    with pytest.raises(WeightsError, match="holds other: not a reader"):
        VoteReader.load(tmp_path / "other")


def test_a_reader_that_has_not_learnt(tmp_path):
    for use in (lambda r: r.predict(ellipses(2, rng=0)[0]), lambda r: r.save(tmp_path / "r")):
        with pytest.raises(WeightsError, match="has not learnt yet; call fit"):
            use(VoteReader())


def test_votes_that_are_refused():
    images, fractions = ellipses(4, rng=0)
    with pytest.raises(ConditionError, match=r"votes of shape \(3, 37\) for 4 images"):
        VoteReader().fit(images, fractions[:3])
    with pytest.raises(ConditionError, match="no row has a vote"):
        VoteReader().fit(images, np.full((4, 37), np.nan))
