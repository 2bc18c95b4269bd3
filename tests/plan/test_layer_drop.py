from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from asc_core.errors import UserError
from asc_core.plan import STRATEGIES, by_layer_drop
from asc_core.plan.encoder_cost import cost_model
from asc_core.plan.layer_drop import Strategy, dropped
from tests.tiny import tiny


@pytest.mark.parametrize(
    ("strategy", "gone"),
    [("top", (8, 9, 10, 11)), ("bottom", (0, 1, 2, 3)), ("alternate", (4, 6, 8, 10)), ("symmetric", (4, 5, 6, 7))],
)
def test_the_papers_example_of_four_in_twelve(strategy: Strategy, gone: tuple[int, ...]) -> None:
    assert dropped(12, 4, strategy) == gone


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_more_layer_goes_without_another_coming_back(strategy: Strategy) -> None:
    for layers in range(1, 9):
        sets = [set(dropped(layers, count, strategy)) for count in range(layers)]
        assert [len(gone) for gone in sets] == list(range(layers))
        assert all(a < b for a, b in pairwise(sets))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_largest_model_within_the_budget_is_taken(strategy: Strategy) -> None:
    encoder = tiny()
    costs = cost_model(encoder, np.array([5, 9]))
    for keep, layers in ((1.0, 3), (0.7, 2), (0.34, 1)):
        plan = by_layer_drop(encoder.shape, costs, keep, strategy)
        assert len(plan.layers) == layers
        assert costs.cost(plan).flops <= keep * costs.dense.flops
    with pytest.raises(UserError, match="One layer alone"):
        by_layer_drop(encoder.shape, costs, 0.1, strategy)


def test_seven_tenths_of_ten_layers_are_seven() -> None:
    encoder = tiny(num_hidden_layers=10)
    for length in range(3, 40):
        costs = cost_model(encoder, np.array([length]))
        for kept in range(1, 10):
            assert len(by_layer_drop(encoder.shape, costs, kept / 10, "top").layers) == kept


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="strategy"):
        dropped(6, 1, "middle")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="not 6"):
        dropped(6, 6, "top")
