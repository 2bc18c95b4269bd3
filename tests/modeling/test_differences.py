"""Layers on shared weights that differ by turns: the laws of structures, and that no turn is mistaken for another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from asc_core import modeling
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate.fast_forward import FastForward
from asc_core.export import export
from asc_core.gates import gated
from asc_core.loading import load_encoder
from asc_core.scores.sweep import sweep
from asc_core.train.finetune import finetune
from asc_core.values import Plan
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.modeling.structures import assert_cut_as_gated_and_counted, batch_within, differing
from tests.test_surgery import VARIANTS, plans
from tests.tiny import logits, tiny

LENGTHS = np.array([3, 9, 17, 40])
ABLE = [name for name, (architecture, _) in VARIANTS.items() if architecture != "albert"]
few = settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def shared(variant: str = "bert", layers: tuple[int, ...] = (0, 1, 1), seed: int = 0) -> Encoder:
    name, overrides = VARIANTS[variant]
    encoder = tiny(name, seed=seed, **overrides | {"num_hidden_layers": len(layers)})
    return encoder.with_structure({"kind": "share", "layers": list(layers)})


@pytest.mark.parametrize("variant", ABLE)
@few
@given(data=st.data(), rank=st.integers(0, 3))
def test_gated_equals_cut_and_forecast_cost_equals_counted_cost(variant: str, data: st.DataObject, rank: int) -> None:
    encoder = differing(shared(variant), rank)
    assert_cut_as_gated_and_counted(encoder, data.draw(plans(encoder.shape)), batch_within(64), LENGTHS)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("variant", ABLE)
def test_reloaded_equals_built_each_tensor_is_stored_once_and_the_original_class_answers_alike(
    variant: str, tmp_path: Path
) -> None:
    encoder = differing(shared(variant), 2)
    plan = Plan.full(encoder.shape).drop(1, head=1).drop(1, neuron=3).drop(0, neuron=0)
    encoder = encoder.cut(plan)
    inputs = batch_within(64)
    export(encoder, tmp_path / "compact")
    again = load_encoder(tmp_path / "compact", device="cpu")
    torch.testing.assert_close(logits(again, inputs), logits(encoder, inputs), atol=1e-5, rtol=0)
    assert (again.shape, again.blueprint, again.weights) == (encoder.shape, encoder.blueprint, encoder.weights)
    stored = load_file(tmp_path / "compact" / "model.safetensors").values()
    written = sum(tensor.numel() * tensor.element_size() for tensor in stored)
    assert written == encoder.cost(LENGTHS).bytes == again.cost(LENGTHS).bytes
    export(encoder, tmp_path / "dense", "dense")
    dense = load_encoder(tmp_path / "dense", device="cpu")
    torch.testing.assert_close(logits(dense, inputs), logits(encoder, inputs), atol=1e-4, rtol=0)


def test_each_layer_computes_with_its_own_sum_of_matrices_biases_and_norms() -> None:
    encoder, inputs = differing(shared(layers=(0, 1, 1)), 2), batch_within(64)
    plain = tiny()
    row = modeling.rows_of(encoder.model)[1]
    for number, layer in enumerate(modeling.layers_of(plain.model)[1:]):
        for path, module in layer.named_modules():
            own = row.get_submodule(path)
            if isinstance(own, modeling.SharedLinear):
                assert own.biases is not None
                module.weight.data, module.bias.data = own.matrix_on(number).data, own.biases[number].data
            elif path in {"attention.output.LayerNorm", "output.LayerNorm"}:
                module.load_state_dict(own.turns[number].state_dict())
    torch.testing.assert_close(logits(plain, inputs), logits(encoder, inputs), atol=1e-5, rtol=0)
    swapped = encoder.copy()
    for module in modeling.matrices(
        modeling.architecture_of(swapped.model), modeling.rows_of(swapped.model)[1]
    ).values():
        module.second.data = module.second.data.flip(0)
    assert (logits(swapped, inputs) - logits(encoder, inputs)).abs().max() > 1e-3


def test_a_cut_layer_leaves_the_other_its_own_turn(tmp_path: Path) -> None:
    encoder, inputs = differing(shared(layers=(0, 1, 1, 3)), 2), batch_within(64)
    for kept in ((0, 1, 3), (0, 2, 3)):
        plan = replace(Plan.full(encoder.shape), layers=kept)
        with gated(encoder, plan):
            expected = logits(encoder, inputs)
        torch.testing.assert_close(logits(encoder.cut(plan), inputs), expected, atol=1e-5, rtol=0)


def test_two_threads_at_different_layers_do_not_mix_their_turns() -> None:
    encoder = differing(shared(layers=(0, 0, 0, 0)), 2)
    batches = [batch_within(64, seed) for seed in range(24)]
    wanted = [logits(encoder, batch) for batch in batches]
    with ThreadPoolExecutor(4) as threads:
        for found, expected in zip(threads.map(lambda batch: logits(encoder, batch), batches), wanted, strict=True):
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("architecture", ["bert", "modernbert", "deberta-v2"])
def test_passes_that_begin_anywhere_and_scores_know_the_turns(architecture: str) -> None:
    task = toy_task(train=24, validation=8)
    start = encoder_for(task, architecture).with_structure({"kind": "share", "layers": [0, 1, 1]})
    encoder = differing(start, 2)
    inputs = batch_within(64)
    with torch.inference_mode():
        wanted = encoder.model(**inputs).logits
        fast = FastForward(encoder)
        for _ in range(2):  # from the second batch on for the first token alone
            torch.testing.assert_close(fast(inputs).logits, wanted, atol=1e-5, rtol=0)
        _, hidden = fast.record(inputs)
        for layer in range(3):
            begun, _ = fast.record(inputs, layer, hidden[layer])
            torch.testing.assert_close(begun.logits, wanted, atol=1e-5, rtol=0)
    found = sweep(encoder, task, ["obs", "fisher", "magnitude", "wanda"], samples=16)
    assert all(np.isfinite(np.concatenate(scores.values.heads)).all() for scores in found.values())


@pytest.mark.slow
def test_training_moves_what_is_shared_and_what_is_each_layers_own(tmp_path: Path) -> None:
    task = toy_task(train=32, validation=16)
    start = encoder_for(task).with_structure({"kind": "share", "layers": [0, 1, 1]})
    encoder = differing(start, 2)
    trained = finetune(encoder, task, tmp_path / "out", epochs=1, lr=1e-2, batch_size=16).encoder
    before, after = (dict(e.model.named_parameters()) for e in (encoder, trained))
    rows = [name for name in before if name.startswith("bert.encoder.layer.1.")]
    assert rows
    assert all(not torch.equal(before[name], after[name]) for name in rows if "key.biases" not in name)
    again = load_encoder(tmp_path / "out", device="cpu")
    assert again.weights == trained.weights


@pytest.mark.parametrize(
    ("ranks", "says"),
    [
        ([{}, {}], "not of the matrices that several layers share"),
        ([{}], "of 1 rows"),
        (3, "no list"),
        ([{}, {"output.dense": -1}], "rank -1"),
        ([{}, {"__class__": 1}], "none of a bert model"),
        ([{}, dict.fromkeys(modeling.matrices(modeling.ARCHITECTURES["bert"], tiny().model.bert.encoder.layer[0]), 99)],
         "no rank of 99"),
    ],
)  # fmt: skip
def test_what_fits_no_model_is_refused(ranks: object, says: str) -> None:
    with pytest.raises(UserError, match=says):
        shared().with_structure({"kind": "differences", "ranks": ranks})


def test_differences_come_behind_all_sharing() -> None:
    encoder = differing(shared(layers=(0, 1, 1, 3)), 1)
    with pytest.raises(UserError, match="cannot come after"):
        encoder.with_structure({"kind": "share", "layers": [0, 1, 1, 1]})
    albert = tiny("albert")
    with pytest.raises(UserError, match="shares weights between layers already"):
        albert.with_structure({"kind": "differences", "ranks": [{}] * len(albert.shape.heads)})
