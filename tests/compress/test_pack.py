from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from asc_core.compress.pack import Pack
from asc_core.compress.step import StepContext
from asc_core.errors import UserError
from tests.tiny import logits, padded_batch, tiny


def test_weights_are_rounded_as_they_are_stored_and_computed_in_float32() -> None:
    encoder = tiny()
    packed = Pack(packing="float16").apply(encoder, StepContext())
    assert packed.packing == "float16"
    for name, tensor in packed.model.state_dict().items():
        assert tensor.dtype == encoder.model.state_dict()[name].dtype
        assert torch.equal(tensor, encoder.model.state_dict()[name].half().float())
    moved = (logits(packed, padded_batch()) - logits(encoder, padded_batch())).abs().max()
    assert 0 < moved < 0.05


def test_it_survives_a_cut_and_a_copy() -> None:
    packed = Pack().apply(tiny(), StepContext())
    assert packed.copy().packing == packed.packing == "float16"


def test_what_it_cannot_hold_is_named() -> None:
    encoder = tiny()
    with torch.no_grad():
        encoder.model.classifier.weight[0, 0] = 1e6
    with pytest.raises(UserError, match=r"classifier\.weight holds numbers that are not finite in float16"):
        Pack().apply(encoder, StepContext())


def test_an_unknown_packing_is_refused_when_the_recipe_is_read() -> None:
    with pytest.raises((ValidationError, UserError), match="int3"):
        Pack(packing="int3")
