"""The law of surgery: what gates do to the logits, the cut model does, and so does its reloaded checkpoint."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asc_core.encoder import HEADS
from asc_core.errors import UserError
from asc_core.gates import gated, plan_gates
from asc_core.probes import probing
from asc_core.values import Plan, Shape
from tests.tiny import ARCHITECTURES, logits, padded_batch, tiny

VARIANTS = {
    **{name: (name, {}) for name in ARCHITECTURES},
    "deberta-v2 with shared attention key": ("deberta-v2", {"share_att_key": True}),
    "deberta-v2 without convolution": ("deberta-v2", {"conv_kernel_size": 0}),
    "eurobert with a key for each query": ("eurobert", {"num_attention_heads": 4, "head_dim": 6}),
    "albert with two groups": ("albert", {"num_hidden_layers": 4, "num_hidden_groups": 2}),
    "albert with inner groups": ("albert", {"num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2}),
}


@st.composite
def plans(draw: st.DrawFn, shape: Shape) -> Plan:
    def kept(count: int) -> tuple[int, ...]:
        return tuple(sorted(draw(st.sets(st.integers(0, count - 1))))) if count else ()

    heads = tuple(kept(n) for n in shape.heads)
    neurons = tuple(kept(n) for n in shape.neurons)
    if shape.shares_weights:
        rows = sorted(set(shape.rows))
        each = draw(st.integers(1, shape.layers // len(rows)))
        layers = sorted(i for row in rows for i in [j for j, r in enumerate(shape.rows) if r == row][:each])
    else:
        layers = sorted(draw(st.sets(st.integers(0, shape.layers - 1), min_size=1)))
    return Plan(shape, heads, neurons, tuple(layers))


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=15, deadline=None)
@given(data=st.data(), seed=st.integers(0, 3))
def test_pruned_logits_equal_gated_logits(variant: str, data: st.DataObject, seed: int) -> None:
    name, overrides = VARIANTS[variant]
    encoder = tiny(name, seed=seed, **overrides)
    plan = data.draw(plans(encoder.shape))
    inputs = padded_batch(seed)
    with gated(encoder, plan):
        expected = logits(encoder, inputs)
    smaller = encoder.cut(plan)
    torch.testing.assert_close(logits(smaller, inputs), expected, atol=1e-4, rtol=0)
    again = data.draw(plans(smaller.shape))
    with gated(smaller, again):
        expected = logits(smaller, inputs)
    torch.testing.assert_close(logits(smaller.cut(again), inputs), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_cut_shows_and_the_original_stays_whole(variant: str, head: str) -> None:
    name, overrides = VARIANTS[variant]
    encoder = tiny(name, head=head, **overrides)
    inputs = padded_batch()
    before = logits(encoder, inputs)
    rows = len(encoder.shape.heads)
    plan = Plan(encoder.shape, ((0, 2),) * rows, (tuple(range(1, 11)),) * rows, tuple(range(encoder.shape.layers)))
    smaller = encoder.cut(plan)
    with gated(encoder, plan):
        expected = logits(encoder, inputs)
    torch.testing.assert_close(logits(smaller, inputs), expected, atol=1e-4, rtol=0)
    assert (expected - before).abs().max() > 1e-2
    torch.testing.assert_close(logits(encoder, inputs), before, atol=0, rtol=0)
    assert smaller.parameters < encoder.parameters


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", ["heads", "neurons"])
def test_a_planted_wrong_part_is_noticed(variant: str, kind: str) -> None:
    name, overrides = VARIANTS[variant]
    encoder = tiny(name, **overrides)
    full = Plan.full(encoder.shape)
    part = {"heads": "head", "neurons": "neuron"}[kind]
    right, wrong = full.drop(layer=0, **{part: 1}), full.drop(layer=0, **{part: 2})
    inputs = padded_batch()
    with gated(encoder, right):
        expected = logits(encoder, inputs)
    assert (logits(encoder.cut(wrong), inputs) - expected).abs().max() > 1e-3


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_left_in_the_layers_still_runs(variant: str) -> None:
    name, overrides = VARIANTS[variant]
    encoder = tiny(name, **overrides)
    rows = len(encoder.shape.heads)
    plan = Plan(encoder.shape, ((),) * rows, ((),) * rows, tuple(range(encoder.shape.layers)))
    inputs = padded_batch()
    with gated(encoder, plan):
        expected = logits(encoder, inputs)
    torch.testing.assert_close(logits(encoder.cut(plan), inputs), expected, atol=1e-4, rtol=0)


def test_gates_for_single_examples_equal_gates_one_at_a_time() -> None:
    encoder = tiny()
    full = Plan.full(encoder.shape)
    a, b = full.drop(layer=1, head=0), full.drop(layer=2, neuron=3)
    inputs = padded_batch(size=2)
    merged = plan_gates(encoder, full)
    gates = {}
    for readout in encoder.readouts:
        key = (readout.kind, readout.row)
        both = [plan_gates(encoder, p).gates.get(key, torch.ones(readout.blocks)) for p in (a, b)]
        gates[key] = torch.stack(both)
    merged.gates = gates
    with probing(merged):
        together = encoder.model(**inputs).logits
    for i, plan in enumerate((a, b)):
        with gated(encoder, plan):
            alone = encoder.model(**inputs).logits
        torch.testing.assert_close(together[i], alone[i], atol=1e-5, rtol=0)


def test_shared_layers_refuse_a_cut_of_single_layers() -> None:
    encoder = tiny("albert", num_hidden_layers=4, num_hidden_groups=2)
    full = Plan.full(encoder.shape)
    with pytest.raises(UserError, match="share weights"):
        full.drop(layer=0)


def test_a_plan_for_another_shape_is_refused() -> None:
    with pytest.raises(UserError, match="The plan is for"):
        tiny().cut(Plan.full(tiny(num_hidden_layers=2).shape))
