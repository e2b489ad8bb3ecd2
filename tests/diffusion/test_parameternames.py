from __future__ import annotations

import pytest

from astro_galaxysd.diffusion.parameternames import named_as, part_of, renamed
from astro_galaxysd.diffusion.pickled import PickledTensor
from astro_galaxysd.errors import WeightsError


@pytest.fixture
def tensors(tmp_path):
    return lambda *names: {name: PickledTensor(tmp_path, (), None) for name in names}


@pytest.mark.parametrize("old", [True, False])
def test_parts_are_known_by_their_names(sources, styled, old):
    for part, state in sources[0].items():
        assert part_of(styled(part, state, old)) == part
        assert part_of(["stranger", *state]) == part
    assert part_of([*sources[0]["unet"], *sources[0]["vae"]]) is None
    assert part_of(["stranger"]) is None
    assert part_of([]) is None


@pytest.mark.parametrize("wanted", ["final_layer_norm.bias", "text_model.final_layer_norm.bias"])
def test_text_encoders_have_the_level_that_the_model_has(tensors, wanted):
    for stored in ("", "text_model."):
        found = named_as([wanted], tensors(f"{stored}final_layer_norm.bias", f"{stored}embeddings.position_ids"),
                         "text_encoder", "w")  # fmt: skip
        assert list(found) == [wanted]


def test_only_positions_are_left_out(tensors):
    names = ("other.embeddings.position_ids", "position_ids", "a.position_ids")
    assert set(named_as([], tensors(*names), "text_encoder", "w")) == set(names)
    assert set(named_as([], tensors("embeddings.position_ids"), "unet", "w")) == {"embeddings.position_ids"}


def test_attention_of_old_autoencoders(tensors):
    above = "encoder.mid_block.attentions.0"
    found = named_as(
        [], tensors(f"{above}.query.bias", f"{above}.proj_attn.weight", "query.bias", f"{above}.a"), "vae", "w"
    )
    assert list(found) == [f"{above}.to_q.bias", f"{above}.to_out.0.weight", "query.bias", f"{above}.a"]


def test_two_under_one_name(tensors):
    with pytest.raises(WeightsError, match="w: b is there under two names; get the weights from their source"):
        renamed(tensors("a", "b"), {"a": "b"}, "w")
