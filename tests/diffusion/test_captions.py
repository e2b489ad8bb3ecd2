from __future__ import annotations

import numpy as np
import pytest

from astro_galaxysd.conditions.prompts import prompt_weights
from astro_galaxysd.conditions.tree import INDEX
from astro_galaxysd.diffusion.captions import CaptionStyle, caption_batch, sampling_weights

TAGS = [[("smooth", 0.3), ("ring galaxy", 0.9), ("merger", 0.6)]]


def _captions(style, n=400):
    return [caption_batch(TAGS, np.random.default_rng(seed), style)[0] for seed in range(n)]


def test_weights_are_vote_fractions():
    style = CaptionStyle(empty=0, weighted=1, tag_dropout=0, single_tags=0)
    caption = caption_batch(TAGS, np.random.default_rng(0), style)[0]
    assert prompt_weights(caption) == {"smooth": 0.55, "ring galaxy": 1.15, "merger": 0.85}


def test_plain_captions_hold_answers_above_one_half():
    style = CaptionStyle(empty=0, weighted=0, tag_dropout=0, single_tags=0)
    assert set(_captions(style)) == {"sdss, ring galaxy, merger", "sdss, merger, ring galaxy"}


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_share_of_empty_captions(share):
    captions = _captions(CaptionStyle(empty=share))
    assert np.mean([caption == "" for caption in captions]) == pytest.approx(share, abs=0.07)


def test_dropped_tags():
    captions = _captions(CaptionStyle(empty=0, weighted=1, tag_dropout=0.5, single_tags=0))
    assert np.mean(["merger" in caption for caption in captions]) == pytest.approx(0.5, abs=0.08)


def test_short_captions():
    captions = _captions(CaptionStyle(empty=0, weighted=1, tag_dropout=0, single_tags=1))
    assert {caption.count(",") for caption in captions} == {2}


def test_the_same_generator_state_gives_the_same_caption():
    assert _captions(CaptionStyle()) == _captions(CaptionStyle())


def test_rare_answers_are_drawn_more_often():
    fractions = np.full((101, 37), np.nan)
    fractions[:, INDEX["smooth"]] = 0.9
    fractions[100, INDEX["odd"]] = 0.9
    fractions[100, INDEX["ring"]] = 0.9
    weights = sampling_weights(fractions)
    assert weights.sum() == pytest.approx(1)
    assert weights[100] / weights[0] == pytest.approx(8.0)  # sqrt(101 / 1) is above the largest factor
    assert sampling_weights(fractions, power=0)[100] == pytest.approx(1 / 101)
