"""Orders of removal in rounds: budgets hold, nothing comes back, and scores are the papers'."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asc_core import modeling, scores
from asc_core.plan import by_budget
from asc_core.plan.encoder_cost import cost_model, task_cost_model
from asc_core.scores import rounds
from asc_core.scores.gate_gradients import gate_gradients
from asc_core.scores.rounds import batchwise, even_widths, michel_rounds, of_the_original, textpruner_rounds
from asc_core.values import Plan
from tests.scores.toy import ToyTask
from tests.test_surgery import plans
from tests.tiny import tiny

TASK = ToyTask(40)
SHARES = [0.8, 0.6, 0.4]


@pytest.mark.parametrize("method", [michel_rounds, textpruner_rounds])
@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_every_round_stays_within_its_share_and_nothing_comes_back(method: object, architecture: str) -> None:
    encoder = tiny(architecture)
    costs = task_cost_model(encoder, TASK)
    found = list(method(encoder, TASK, costs, SHARES))  # type: ignore[operator]
    assert len(found) == len(SHARES)
    for share, plan in zip(SHARES, found, strict=True):
        assert costs.total(plan, "flops") <= share * costs.dense_total("flops")
        assert costs.total(plan, "flops") >= (share - 0.12) * costs.dense_total("flops")
    for larger, smaller in pairwise(found):
        assert larger | smaller == larger
        assert larger != smaller


def test_michels_second_round_scores_what_the_first_left() -> None:
    encoder = tiny()
    costs = task_cost_model(encoder, TASK)
    first, second = michel_rounds(encoder, TASK, costs, [0.7, 0.5])
    name = "michel-normalised"
    by_hand = by_budget(scores.sweep(encoder, TASK, [name])[name], costs, 0.7, min_heads=1)
    assert first == by_hand
    smaller = encoder.cut(first)
    left = cost_model(smaller, costs.lengths)
    share = 0.5 * costs.dense_total("flops") / left.dense_total("flops")
    again = by_budget(scores.sweep(smaller, TASK, [name])[name], left, round(share - 1e-7, 9), min_heads=1)
    assert second == of_the_original(first, again)


@given(data=st.data())
@settings(deadline=None, max_examples=8)
def test_a_plan_of_what_is_left_cuts_the_same_from_the_original(data: st.DataObject) -> None:
    encoder = tiny()
    layers = tuple(range(encoder.shape.layers))
    drawn = data.draw(plans(encoder.shape))
    first = Plan(encoder.shape, drawn.heads, drawn.neurons, layers)
    smaller = encoder.cut(first)
    drawn = data.draw(plans(smaller.shape))
    second = Plan(smaller.shape, drawn.heads, drawn.neurons, layers)
    at_once, in_two = encoder.cut(of_the_original(first, second)), smaller.cut(second)
    for name, weight in at_once.model.state_dict().items():
        assert torch.equal(weight, in_two.model.state_dict()[name])


def test_textpruners_scores_are_weights_times_their_gradients_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "BATCH", 7)
    encoder = tiny()
    table = gate_gradients(encoder, TASK, feeders=True)
    assert table.feeders is not None
    features = TASK.features(TASK.examples("train"), encoder)
    heads = [np.zeros(n) for n in encoder.shape.heads]
    neurons = [np.zeros(n) for n in encoder.shape.neurons]
    description = modeling.architecture_of(encoder.model)
    for start in range(0, len(features), 7):
        encoder.model.zero_grad()
        batch = TASK.batch(features, range(start, min(start + 7, len(features))), encoder)
        TASK.loss(encoder.model(**batch.inputs), batch).mean().backward()
        for readout in encoder.readouts:
            weight = readout.weight
            assert weight.grad is not None
            columns = (weight * weight.grad).sum(0).detach()
            if readout.kind == "attention":
                heads[readout.row] += columns.view(readout.blocks, -1).sum(1).abs().numpy()
                continue
            feeder = modeling.feeding(description, modeling.rows_of(encoder.model)[readout.row], "ffn")[0]
            assert isinstance(feeder, torch.nn.Linear)
            assert feeder.weight.grad is not None
            assert feeder.bias.grad is not None
            into = (feeder.weight * feeder.weight.grad).sum(1) + feeder.bias * feeder.bias.grad
            neurons[readout.row] += (columns.abs() + into.detach().abs()).numpy()
    for row in range(3):
        np.testing.assert_allclose(batchwise(table.heads[row]), heads[row], atol=1e-4)
        both = batchwise(table.neurons[row]) + batchwise(table.feeders[row])
        np.testing.assert_allclose(both, neurons[row], atol=1e-4)


@given(share=st.integers(15, 100))
@settings(deadline=None, max_examples=12)
def test_even_widths_fill_the_budget_alike_in_every_layer(share: int) -> None:
    encoder = tiny(num_attention_heads=6, intermediate_size=40)
    costs = cost_model(encoder, np.array([5, 9, 30]))
    heads, neurons = even_widths(encoder.shape, encoder.shape, costs, share / 100)
    assert len(set(heads)) == len(set(neurons)) == 1
    unit, layers = costs.unit_costs("flops"), encoder.shape.layers

    def total(width: int) -> int:
        return layers * (heads[0] * unit.heads[0] + width * unit.neurons[0])

    limit = share / 100 * costs.dense_total("flops")
    assert total(neurons[0]) <= limit
    assert neurons[0] == 40 or total(neurons[0] + 1) > limit
    assert heads[0] == max(1, round(share / 100 * 6))
