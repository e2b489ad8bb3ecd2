"""Calls side by side."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from astro_galaxysd.classification.network import NetworkClassifier
from astro_galaxysd.learning.threads import side_by_side


@pytest.fixture
def two_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("workers", [None, 1, 3])
def test_in_the_order_of_the_arguments(two_threads, workers):
    def slower_first(number):
        time.sleep(0.05 / (1 + number))
        return number, torch.get_num_threads()

    found = list(side_by_side(slower_first, range(5), workers))
    assert [number for number, _ in found] == list(range(5))
    assert {threads for _, threads in found} == {2 if workers == 1 else 1}
    assert torch.get_num_threads() == 2


def test_at_the_same_time(two_threads):
    meeting = threading.Barrier(2, timeout=20)
    assert sorted(side_by_side(lambda number: meeting.wait(), range(2))) == [0, 1]


def test_what_was_not_begun_when_one_fails_never_is(two_threads):
    begun, gate = [], threading.Event()

    def call(number):
        begun.append(number)
        if number == 0:
            raise ValueError("no")
        gate.wait(0.2)

    with pytest.raises(ValueError, match="no"):
        list(side_by_side(call, range(50)))
    assert len(begun) < 10
    assert torch.get_num_threads() == 2


def test_a_network_learns_the_same_beside_another(two_threads):
    images = np.random.default_rng(0).integers(0, 255, (16, 64, 64, 3), np.uint8)

    def fit(seed):
        return NetworkClassifier(steps=4, seed=seed).fit(images, np.arange(16) < 8).score(images)

    beside = list(side_by_side(fit, [0, 1, 0, 1]))
    np.testing.assert_array_equal(beside[:2], beside[2:])
    torch.set_num_threads(1)  # with several, sums of gradients are added up in another order on some processors
    np.testing.assert_array_equal(beside[0], fit(0))
    assert (beside[0] != beside[1]).any()


def test_several_threads_may_call_it_at_the_same_time(two_threads):
    """Each call has one thread of torch, whoever else begins or ends meanwhile."""
    numbers, barrier = [], threading.Barrier(2, timeout=20)

    def call(number):
        torch.ones(64, 64) @ torch.ones(64, 64)
        numbers.append(torch.get_num_threads())
        time.sleep(0.01)

    def caller(how_many):
        barrier.wait()
        list(side_by_side(call, range(how_many)))

    callers = [threading.Thread(target=caller, args=(how_many,)) for how_many in (2, 12)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    assert numbers == [1] * 14
    assert torch.get_num_threads() == 2
    assert list(side_by_side(abs, [-1, 2])) == [1, 2]
