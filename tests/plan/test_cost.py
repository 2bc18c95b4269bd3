from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asc_core.errors import UserError
from asc_core.plan import CostModel, by_share
from asc_core.values import Plan
from tests.plan.builders import HEAD_WIDTH, HIDDEN, cost_model_of, counts_of, encoders, scores_of, shape_of


def slow_flops(model: CostModel, plan: Plan) -> float:
    """Product by product, for each text, layer, head and neuron."""
    total = 0
    for tokens in model.lengths.tolist():
        for layer in plan.layers:
            row = plan.shape.rows[layer]
            window = model.counts.span[layer]
            total += tokens * model.counts.layer_macs[row]
            seen = tokens if window is None else min(tokens, window)
            for _ in plan.heads[row]:
                for _ in ("query", "key", "value"):
                    total += tokens * HIDDEN * HEAD_WIDTH
                total += tokens * seen * HEAD_WIDTH  # scores
                total += tokens * seen * HEAD_WIDTH  # weighted sum
                total += tokens * HEAD_WIDTH * HIDDEN  # readout
                for _ in ("content to position", "position to content"):
                    total += tokens * 2 * model.counts.relative_span * HEAD_WIDTH
            for _ in plan.neurons[row]:
                total += tokens * model.counts.neuron_macs[row]
    return 2 * total / len(model.lengths)


def slow_parameters(model: CostModel, plan: Plan) -> int:
    total = model.counts.outside_layers
    for row in {plan.shape.rows[layer] for layer in plan.layers}:
        total += model.counts.layer[row]
        total += sum(model.counts.head[row] for _ in plan.heads[row])
        total += sum(model.counts.neuron[row] for _ in plan.neurons[row])
    return total


@given(encoders(), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_cost_equals_counting_every_product_and_parameter(
    encoder: tuple, heads: float, neurons: float, layers: float
) -> None:
    scores, model = encoder
    plan = by_share(scores, heads, neurons, layers)
    cost = model.cost(plan)
    assert cost.flops == pytest.approx(slow_flops(model, plan), rel=1e-12)
    assert cost.parameters == slow_parameters(model, plan)
    assert cost.encoder_parameters == cost.parameters - model.counts.outside_layers
    assert cost.bytes == 4 * cost.parameters


def test_bert_base_costs_what_the_literature_says() -> None:
    """85.1 M encoder parameters; 96.6 G multiply-adds x 2 at 512 tokens, 11.2 G at 128 (2 x 86 M x 128 and scores)."""
    shape = replace(shape_of([12] * 12, [3072] * 12), hidden=768, head_width=64)
    counts = counts_of(
        shape,
        outside_layers=23_837_184 + 590_592,
        head=(4 * 768 * 64 + 3 * 64,) * 12,
        neuron=(2 * 768 + 1,) * 12,
        layer=(2 * 768 + 2 * 2 * 768,) * 12,
        head_macs=(4 * 768 * 64,) * 12,
        neuron_macs=(2 * 768,) * 12,
        attention_macs=2 * 64,
    )
    model = CostModel(shape, counts, np.array([128]))
    assert model.dense.parameters == 109_482_240
    assert model.dense.encoder_parameters == 85_054_464
    assert model.dense.flops == 12 * 2 * (4 * 128 * 768 * 768 + 2 * 128 * 128 * 768 + 2 * 128 * 768 * 3072)


def test_padding_costs_nothing_and_long_texts_cost_more_than_their_mean_length() -> None:
    shape = shape_of([2], [4])
    spread, same = cost_model_of(shape, (2, 98)), cost_model_of(shape, (50, 50))
    full = Plan.full(shape)
    neuron, head = (
        (lambda m: m.cost(full).flops - m.cost(full.drop(0, neuron=0)).flops),
        (lambda m: m.cost(full).flops - m.cost(full.drop(0, head=0)).flops),
    )
    assert neuron(spread) == neuron(same)
    assert head(spread) > head(same)


def test_shared_weights_count_once_as_parameters_and_once_a_layer_as_flops() -> None:
    shared, separate = shape_of([2], [4], rows=[0, 0, 0]), shape_of([2] * 3, [4] * 3)
    assert cost_model_of(shared).dense.flops == cost_model_of(separate).dense.flops
    one_row = cost_model_of(shape_of([2], [4])).dense
    assert cost_model_of(shared).dense.parameters == one_row.parameters
    two_iterations = Plan(shared, ((0, 1),), ((0, 1, 2, 3),), (0, 1))
    assert cost_model_of(shared).cost(two_iterations).flops == 2 * one_row.flops
    assert cost_model_of(shared).cost(two_iterations).parameters == one_row.parameters


def test_an_empty_sublayer_costs_no_flops_but_keeps_its_bias_and_norm() -> None:
    shape = shape_of([2, 2], [4, 4])
    model = cost_model_of(shape)
    plan = Plan.full(shape).drop(0, head=0).drop(0, head=1)
    assert model.cost(plan).flops == pytest.approx(slow_flops(model, plan))
    without_layer = model.cost(plan.drop(0))
    assert model.cost(plan).parameters - without_layer.parameters == 6 * HIDDEN + 4 * (2 * HIDDEN + 1)


@pytest.mark.parametrize("lengths", [(), (0, 3)], ids=["no texts", "an empty text"])
def test_lengths_without_tokens_are_refused(lengths: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="at least one text"):
        cost_model_of(shape_of([2], [4]), lengths)


def test_a_plan_for_another_shape_is_refused() -> None:
    with pytest.raises(UserError, match="3 heads"):
        cost_model_of(shape_of([2], [4])).cost(Plan.full(shape_of([3], [4])))


def test_numbers_for_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="head needs 2"):
        cost_model_of(shape_of([2, 2], [4, 4]), head=(1,))
    with pytest.raises(ValueError, match="span needs 2"):
        cost_model_of(shape_of([2, 2], [4, 4]), window=(None,))


def test_scores_seed_gives_the_same_scores() -> None:
    shape = shape_of([3], [4])
    assert np.array_equal(scores_of(shape, 5).values.neurons[0], scores_of(shape, 5).values.neurons[0])  # type: ignore[index]
