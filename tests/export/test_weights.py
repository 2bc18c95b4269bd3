"""A tensor that several names share is stored once and is one again when it is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asc_core.encoder import Encoder
from asc_core.export import export
from asc_core.export.weights import ties_of
from asc_core.loading import load_encoder
from asc_core.values import Plan
from tests.tiny import logits, padded_batch, tiny

pytestmark = pytest.mark.usefixtures("in_process")
INTERMEDIATE = "bert.encoder.layer.{}.intermediate.dense.weight"


def shared() -> Encoder:
    return tiny().with_structure({"kind": "share", "layers": [0, 1, 0]})


def test_ties_are_of_tensors_that_lie_in_one_place_and_look_alike() -> None:
    one, big = torch.zeros(2, 3), torch.zeros(4, 4)
    state = {"a": one, "view": big[:2], "b": one, "transposed": one.T, "big": big, "c": one, "none": torch.zeros(0)}
    assert ties_of(state) == {"b": "a", "c": "a"}


@pytest.mark.parametrize("cut", [False, True])
def test_a_shared_layer_is_stored_once_and_shared_again(cut: bool, tmp_path: Path) -> None:
    encoder = shared()
    if cut:
        encoder = encoder.cut(Plan.full(encoder.shape).drop(layer=0, neuron=3))
    export(encoder, tmp_path / "out", packing="float32")
    stored = load_file(tmp_path / "out/model.safetensors")
    assert INTERMEDIATE.format(0) in stored
    assert not [name for name in stored if ".layer.2." in name]
    assert sum(t.numel() for t in stored.values()) == encoder.parameters
    again = load_encoder(tmp_path / "out", device="cpu")
    assert (again.parameters, again.shape) == (encoder.parameters, encoder.shape)
    torch.testing.assert_close(logits(again, padded_batch()), logits(encoder, padded_batch()), atol=1e-5, rtol=0)
    export(again, tmp_path / "second")
    assert load_file(tmp_path / "second/model.safetensors").keys() == stored.keys()


def test_a_tensor_that_was_shared_by_hand_is_stored_for_each_name(tmp_path: Path) -> None:
    """No class would share it again when it loads."""
    encoder = tiny()
    layers = encoder.model.bert.encoder.layer
    layers[2].intermediate.dense.weight = layers[0].intermediate.dense.weight
    export(encoder, tmp_path / "out")
    assert {INTERMEDIATE.format(i) for i in (0, 2)} <= load_file(tmp_path / "out/model.safetensors").keys()
    again = load_encoder(tmp_path / "out", device="cpu")
    torch.testing.assert_close(logits(again, padded_batch()), logits(encoder, padded_batch()), atol=1e-5, rtol=0)


def test_the_dense_format_stores_it_twice_for_a_class_that_does_not_share_it(tmp_path: Path) -> None:
    encoder = shared()
    export(encoder, tmp_path / "out", "dense")
    again = load_encoder(tmp_path / "out", device="cpu")
    torch.testing.assert_close(logits(again, padded_batch()), logits(encoder, padded_batch()), atol=1e-5, rtol=0)
