"""What a reader says of images, and which answers that amounts to."""

from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.conditions.tree import ANSWERS, INDEX
from astro_galaxysd.errors import WeightsError
from astro_galaxysd.evaluation.memory import Memory
from astro_galaxysd.evaluation.votes import answers_found, read_votes


def test_a_found_answer_is_first_choice_all_the_way():
    read = np.full((1, len(ANSWERS)), 0.01)
    read[0, [INDEX["features"], INDEX["not_edge_on"], INDEX["spiral"], INDEX["arms_2"]]] = 0.9
    found = answers_found(read)[0]
    assert {"features", "spiral", "arms_2"} <= {a.key for a, yes in zip(ANSWERS, found, strict=True) if yes}
    read[0, INDEX["smooth"]] = 0.95
    assert not answers_found(read)[0, INDEX["arms_2"]]
    assert answers_found(read)[0, INDEX["smooth"]]


class Wrong:
    revision = "w"

    def __init__(self, votes):
        self.votes = votes

    def predict(self, images):
        return self.votes


@pytest.mark.parametrize("votes", [np.zeros((2, 5)), np.full((2, 37), np.nan)])
def test_a_reader_that_gives_no_fractions_is_refused(votes):
    with pytest.raises(WeightsError, match="the reader Wrong gave votes of shape"):
        read_votes(Wrong(votes), np.zeros((2, 8, 8, 3), np.uint8))


def test_votes_are_remembered_by_the_revision_of_the_reader():
    images, memory = np.zeros((2, 8, 8, 3), np.uint8), Memory()
    first = read_votes(Wrong(np.full((1, 37), 0.5)), images, memory)  # both images are the same: one is read
    assert first.dtype == np.float64
    np.testing.assert_array_equal(read_votes(Wrong(None), images, memory), first)
    nameless = Wrong(np.full((2, 37), 0.25))
    nameless.revision = ""
    assert (read_votes(nameless, images, memory) == 0.25).all()
