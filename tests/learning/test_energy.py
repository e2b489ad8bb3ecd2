from __future__ import annotations

import pytest
import torch

from astro_galaxysd.learning.energy import energy_score

MEAN, SPREAD = 2.0, 0.5


def normal(n, *, mean=MEAN, spread=SPREAD, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return mean + spread * torch.randn(n, 1, generator=generator)


def mean_score(**of_draws):
    n = 8000
    return energy_score(normal(n, seed=1, **of_draws), normal(n, seed=2, **of_draws), normal(n, seed=3)).mean()


@pytest.mark.parametrize(
    "wrong", [{"mean": 2.3}, {"mean": 1.7}, {"spread": 0.25}, {"spread": 1.0}, {"spread": 0.01}, {"mean": 5.0}]
)
def test_the_right_distribution_scores_best(wrong):
    assert mean_score() < mean_score(**wrong) - 0.01


def test_the_least_score_is_half_the_distance_of_two_real_samples():
    expected = SPREAD / torch.pi**0.5  # of two normal numbers the mean distance is 2 spread / sqrt(pi)
    assert mean_score().item() == pytest.approx(expected, rel=0.05)


def test_by_hand():
    first, second, real = torch.tensor([[0.0, 0.0]]), torch.tensor([[6.0, 8.0]]), torch.tensor([[3.0, 4.0]])
    assert energy_score(first, second, real).tolist() == pytest.approx([0.0], abs=1e-3)  # (5 + 5) / 2 - 10 / 2
    assert energy_score(first, first, real).tolist() == pytest.approx([5.0], abs=1e-3)


def test_the_two_draws_can_be_exchanged():
    first, second, real = (torch.randn(7, 3, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    torch.testing.assert_close(energy_score(first, second, real), energy_score(second, first, real))
    assert energy_score(first, second, real).shape == (7,)


def test_gradients_lead_to_mean_and_spread():
    generator = torch.Generator().manual_seed(0)
    mean, log_spread = torch.zeros((), requires_grad=True), torch.tensor(0.7, requires_grad=True)
    optimizer = torch.optim.Adam([mean, log_spread], lr=0.05)
    for _ in range(200):
        first, second, real = (torch.randn(128, 1, generator=generator) for _ in range(3))
        score = energy_score(
            mean + log_spread.exp() * first, mean + log_spread.exp() * second, MEAN + SPREAD * real
        ).mean()
        optimizer.zero_grad()
        score.backward()
        optimizer.step()
    assert mean.item() == pytest.approx(MEAN, abs=0.1)
    assert log_spread.exp().item() == pytest.approx(SPREAD, abs=0.1)


def test_equal_draws_have_finite_gradients():
    draws = torch.ones(2, 3, requires_grad=True)
    energy_score(draws, draws.clone(), torch.ones(2, 3)).sum().backward()
    assert torch.isfinite(draws.grad).all()


def test_equal_draws_still_learn_from_what_is_real():
    draws = torch.zeros(1, 2, requires_grad=True)
    energy_score(draws, draws.clone(), torch.tensor([[3.0, 4.0]])).sum().backward()
    torch.testing.assert_close(draws.grad, torch.tensor([[-0.6, -0.8]]))


def test_without_numbers_there_is_nothing_to_tell():
    nothing = torch.zeros(3, 0)
    assert energy_score(nothing, nothing, nothing).abs().max() < 1e-2
