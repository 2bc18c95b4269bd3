from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asc_core.errors import UserError
from asc_core.plan import LatencyTable, by_share
from asc_core.values import Plan
from tests.plan.builders import cost_model_of, encoders, layer_times_of, scores_of, shape_of, shapes


@given(shapes(most_heads=16, most_neurons=300), st.integers(0, 99))
def test_times_are_exact_where_they_were_measured_and_never_fall_between(shape: object, seed: int) -> None:
    table = layer_times_of(shape, seed)  # type: ignore[arg-type]
    for of, widths, times in (
        (table.of_heads, table.heads, table.attention),
        (table.of_neurons, table.neurons, table.ffn),
    ):
        assert of(np.array(widths)).tolist() == list(times)
        every = of(np.arange(widths[-1] + 1))
        assert (np.diff(every) >= 0).all()
        for low, high, first, last in zip(widths, widths[1:], times, times[1:], strict=False):
            middle = int(of(np.array([(low + high) // 2]))[0])
            assert middle == pytest.approx(first + (last - first) * ((low + high) // 2 - low) / (high - low), abs=0.5)


@given(encoders(), st.integers(0, 99), st.floats(0, 1), st.floats(0, 1), st.floats(0.3, 1))
def test_a_plan_takes_the_time_of_its_layers_one_by_one(
    encoder: tuple, seed: int, heads: float, neurons: float, layers: float
) -> None:
    scores, model = encoder
    table = layer_times_of(scores.shape, seed)
    plan = by_share(scores, heads, neurons, layers)
    slow = table.outside
    for layer in plan.layers:
        row = scores.shape.rows[layer]
        slow += table.layer
        slow += int(table.of_heads(np.array([len(plan.heads[row])]))[0])
        slow += int(table.of_neurons(np.array([len(plan.neurons[row])]))[0])
    assert model.with_latency(table).total(plan, "latency") == slow
    assert model.with_latency(table).cost(plan).latency == slow / 1e9
    assert model.cost(plan).latency is None


@given(shapes(), st.integers(0, 99))
def test_tables_survive_json(shape: object, seed: int) -> None:
    table = layer_times_of(shape, seed)  # type: ignore[arg-type]
    assert LatencyTable.from_json(table.to_json()) == table


@pytest.mark.parametrize(
    "wrong",
    [
        {"attention": [0, 5, 4]},
        {"attention": [0, 5]},
        {"attention": [1, 5, 6]},
        {"heads": [0, 2, 2]},
        {"heads": [1, 2, 3]},
        {"layer": -1},
        {"tokens": float("nan")},
        {"more": 1},
        {"neurons": "many"},
    ],
    ids=str,
)
def test_what_is_no_table_is_refused(wrong: dict) -> None:
    good = {
        "heads": [0, 1, 2], "attention": [0, 5, 6], "neurons": [0, 8], "ffn": [0, 9], "layer": 1, "outside": 2,
        "batch_size": 1, "tokens": 8.0, "device": "cpu", "threads": 2,
    }  # fmt: skip
    assert LatencyTable.from_json(good).layer == 1
    with pytest.raises(UserError, match="measure it again"):
        LatencyTable.from_json(good | wrong)
    with pytest.raises(UserError, match="measure it again"):
        LatencyTable.from_json([good])


def test_a_table_of_a_narrower_encoder_is_refused() -> None:
    shape = shape_of([2, 4], [4, 8])
    table = layer_times_of(shape)
    with pytest.raises(ValueError, match="ends at 2 heads"):
        cost_model_of(shape, latency=layer_times_of(shape_of([2], [8])))
    with pytest.raises(ValueError, match="ends at a width of 4"):
        table.of_heads(np.array([5]))
    with pytest.raises(ValueError, match="never fall"):
        replace(table, ffn=(0, *(9 - i for i in range(len(table.ffn) - 1))))


def test_latency_is_no_budget_without_a_table() -> None:
    shape = shape_of([2, 2], [4, 4])
    model = cost_model_of(shape)
    assert "latency" not in model.budgets
    with pytest.raises(UserError, match="asc latency"):
        model.total(Plan.full(shape), "latency")
    assert "latency" in model.with_latency(layer_times_of(scores_of(shape).shape)).budgets
