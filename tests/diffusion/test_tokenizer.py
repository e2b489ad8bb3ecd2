from __future__ import annotations

import pytest

from astro_galaxysd.diffusion.tokenizer import build_tokenizer, tree_words


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.mark.parametrize("text", tree_words())
def test_every_word_of_the_tree_is_one_token(tokenizer, text):
    words = text.replace("-", " - ").split()
    assert [t.removesuffix("</w>") for t in tokenizer.tokenize(text)] == words


def test_other_words_are_spelt_and_come_back(tokenizer):
    ids = tokenizer("a quasar at z=0.3 ~ naïve", add_special_tokens=False).input_ids
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids).replace(" ", "") == "aquasaratz=0.3~naïve"


def test_begin_and_end_tokens(tokenizer):
    ids = tokenizer("sdss").input_ids
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id == tokenizer.pad_token_id
    assert len(ids) == 3


def test_the_same_merges_every_time(tokenizer):
    # one in ten was another, by a tie that the trainer breaks by chance
    for _ in range(20):
        assert build_tokenizer().get_vocab() == tokenizer.get_vocab()


def test_the_shipped_weights_have_this_tokenizer(tokenizer):
    from transformers import CLIPTokenizer

    from astro_galaxysd.diffusion.generator import weights_folder

    folder = weights_folder("package:astro_galaxysd/weights/mini") / "tokenizer"
    assert CLIPTokenizer.from_pretrained(folder, local_files_only=True).get_vocab() == tokenizer.get_vocab()


def test_saves_and_reloads(tokenizer, tmp_path):
    from transformers import CLIPTokenizer

    tokenizer.save_pretrained(tmp_path)
    again = CLIPTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert again("sdss, {dust lane}").input_ids == tokenizer("sdss, {dust lane}").input_ids
    assert again.model_max_length == 77
