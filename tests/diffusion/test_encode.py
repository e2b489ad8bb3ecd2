from __future__ import annotations

import pytest
import torch

from astro_galaxysd.diffusion.components import load_components
from astro_galaxysd.diffusion.encode import apply_weights, check_prompts, encode_prompts, tokenise
from astro_galaxysd.errors import PromptError


@pytest.fixture(scope="module")
def model(tiny_weights):
    return load_components(tiny_weights)


def test_hand_computed_weights():
    # tokens (begin, feature, end), two channels; weight 2 on the feature
    hidden = torch.tensor([[[1.0, 3.0], [2.0, 4.0], [1.0, 1.0]]])
    weights = torch.tensor([[1.0, 2.0, 1.0]])
    # weighted: 1 3 | 4 8 | 1 1, sum 18; before: sum 12; ratio 12 / 18 = 2 / 3
    expected = torch.tensor([[[2 / 3, 2.0], [8 / 3, 16 / 3], [2 / 3, 2 / 3]]])
    torch.testing.assert_close(apply_weights(hidden, weights), expected)


def test_a_row_of_ones_is_returned_bit_by_bit():
    hidden = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1))
    weights = torch.ones(2, 5)
    weights[1, 2] = 1.3
    out = apply_weights(hidden, weights)
    assert torch.equal(out[0], hidden[0])
    assert not torch.allclose(out[1], hidden[1])


def test_mean_is_kept():
    hidden = torch.rand(3, 7, 4, generator=torch.Generator().manual_seed(2)) + 0.5
    weights = torch.rand(3, 7, generator=torch.Generator().manual_seed(3)) + 0.5
    torch.testing.assert_close(apply_weights(hidden, weights).mean(dim=(1, 2)), hidden.mean(dim=(1, 2)))


def test_a_plain_row_whose_mean_is_zero_has_gradients():
    """Empty prompts are trained too, with encoders whose states may have a mean of zero."""
    hidden = torch.tensor([[[1.0, -1.0], [2.0, -2.0]], [[1.0, 3.0], [2.0, 4.0]]], requires_grad=True)
    weights = torch.tensor([[1.0, 1.0], [1.0, 2.0]])
    out = apply_weights(hidden, weights)
    assert torch.equal(out[0], hidden[0])
    out.square().sum().backward()
    torch.testing.assert_close(hidden.grad[0], 2 * hidden.detach()[0])
    assert hidden.grad[1].isfinite().all()
    assert (hidden.grad[1] != 0).any()


def test_only_the_feature_carries_the_weight(model):
    ids, weights = tokenise(model.tokenizer, ["sdss, {dust lane:1.3}"])
    tokens = model.tokenizer.convert_ids_to_tokens(ids[0])
    weighted = [token for token, weight in zip(tokens, weights[0], strict=True) if weight != 1]
    assert weighted == ["dust</w>", "lane</w>"]
    assert weights[0].unique().tolist() == pytest.approx([1.0, 1.3])


def test_braces_do_not_change_the_tokens(model):
    plain, _ = tokenise(model.tokenizer, ["sdss, dust lane, {merger:1}"])
    braced, _ = tokenise(model.tokenizer, ["sdss, {dust {lane:1.2}:1.3}, merger"])
    assert torch.equal(plain, braced)


def test_same_ids_as_the_tokenizer_itself(model):
    ids, _ = tokenise(model.tokenizer, ["sdss, spiral galaxy, 2 spiral arms"])
    stock = model.tokenizer("sdss, spiral galaxy, 2 spiral arms", padding="max_length").input_ids
    assert ids[0].tolist() == stock


def test_unweighted_equals_the_text_encoder(model):
    ids, _ = tokenise(model.tokenizer, ["sdss, merger"])
    with torch.no_grad():
        assert torch.equal(
            encode_prompts(model.text_encoder, model.tokenizer, ["sdss, merger"]),
            model.text_encoder(ids).last_hidden_state,
        )


def test_weights_stay_gentle_with_our_own_text_encoder(model):
    """A mean near zero would let the rescaling blow up; the bias of the last norm prevents it."""
    with torch.no_grad():
        plain = encode_prompts(model.text_encoder, model.tokenizer, ["sdss, merger"])
        weighted = encode_prompts(model.text_encoder, model.tokenizer, ["sdss, {merger:1.3}"])
    assert (weighted / plain).median() == pytest.approx(1.0, abs=0.05)


def test_too_long_names_what_would_be_lost(model):
    prompt = "sdss, " + "ring, " * 40 + "dust lane"
    with pytest.raises(PromptError, match=r"prompt too long: 8\d tokens where 75 fit; .*dust lane.* would be lost"):
        check_prompts(model.tokenizer, ["sdss", prompt])


def test_malformed_prompt_is_refused(model):
    with pytest.raises(PromptError, match="never closed"):
        check_prompts(model.tokenizer, ["sdss, {merger"])
