"""A tensor that several names share is stored once and is one again when it is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.export import export
from asc_core.export.weights import ties_of
from asc_core.loading import load_encoder
from asc_core.values import Plan
from tests.tiny import logits, padded_batch, tiny

pytestmark = pytest.mark.usefixtures("in_process")
INTERMEDIATE = "bert.encoder.layer.{}.intermediate.dense.weight"


def shared() -> Encoder:
    encoder = tiny()
    layers = encoder.model.bert.encoder.layer
    layers[2].intermediate.dense.weight = layers[0].intermediate.dense.weight
    return encoder


def test_ties_are_of_tensors_that_lie_in_one_place_and_look_alike() -> None:
    one, big = torch.zeros(2, 3), torch.zeros(4, 4)
    state = {"a": one, "view": big[:2], "b": one, "transposed": one.T, "big": big, "c": one, "none": torch.zeros(0)}
    assert ties_of(state) == {"b": "a", "c": "a"}


@pytest.mark.parametrize("cut", [False, True])
def test_a_shared_weight_is_stored_once_and_shared_again(cut: bool, tmp_path: Path) -> None:
    encoder = shared()
    if cut:
        encoder = encoder.cut(Plan.full(encoder.shape).drop(layer=1))
    export(encoder, tmp_path / "out", packing="float32")
    last = 1 if cut else 2
    stored = load_file(tmp_path / "out/model.safetensors")
    assert INTERMEDIATE.format(0) in stored
    assert INTERMEDIATE.format(last) not in stored
    assert sum(t.numel() for t in stored.values()) == encoder.parameters
    again = load_encoder(tmp_path / "out", device="cpu")
    assert again.parameters == encoder.parameters
    torch.testing.assert_close(logits(again, padded_batch()), logits(encoder, padded_batch()), atol=1e-5, rtol=0)
    export(again, tmp_path / "second")
    assert load_file(tmp_path / "second/model.safetensors").keys() == stored.keys()


def test_a_whole_layer_that_is_shared_is_stored_once(tmp_path: Path) -> None:
    encoder = tiny()
    layers = encoder.model.bert.encoder.layer
    for name, parameter in layers[0].named_parameters():
        module, _, last = name.rpartition(".")
        setattr(layers[2].get_submodule(module), last, parameter)
    export(encoder, tmp_path / "out")
    assert not [name for name in load_file(tmp_path / "out/model.safetensors") if ".layer.2." in name]
    again = load_encoder(tmp_path / "out", device="cpu")
    torch.testing.assert_close(logits(again, padded_batch()), logits(encoder, padded_batch()), atol=1e-5, rtol=0)


def test_a_cut_that_changes_one_of_two_shared_weights_parts_them(tmp_path: Path) -> None:
    encoder = shared()
    smaller = encoder.cut(Plan.full(encoder.shape).drop(layer=0, neuron=3))
    export(smaller, tmp_path / "out")
    stored = load_file(tmp_path / "out/model.safetensors")
    assert {len(stored[INTERMEDIATE.format(i)]) for i in (0, 2)} == {19, 20}


def test_the_dense_format_stores_it_twice_for_a_class_that_does_not_share_it(tmp_path: Path) -> None:
    encoder = shared()
    export(encoder, tmp_path / "out", "dense")
    again = load_encoder(tmp_path / "out", device="cpu")
    torch.testing.assert_close(logits(again, padded_batch()), logits(encoder, padded_batch()), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "ties",
    [
        {INTERMEDIATE.format(2): "bert.pooler.dense.weight"},
        {"other": INTERMEDIATE.format(0)},
        {INTERMEDIATE.format(2): INTERMEDIATE.format(1), INTERMEDIATE.format(1): INTERMEDIATE.format(0)},
        [1],
    ],
)
def test_ties_that_were_tampered_with_are_refused(ties: object, tmp_path: Path) -> None:
    export(shared(), tmp_path / "out")
    path = tmp_path / "out/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"asc_ties": ties}))
    with pytest.raises(UserError, match="asc_ties does not fit"):
        load_encoder(tmp_path / "out", device="cpu")
