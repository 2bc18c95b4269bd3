"""Schedules: within the budget, never rising, and of the least price that there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from asc_core.compress.token_schedule import SHARES, cheapest, flops_table, geometric
from tests.modeling.test_tokens import eliminating
from tests.tiny import tiny

LENGTHS = np.array([7, 12, 31])


def random_prices(seed: int, layers: int = 4, shares: int = 6) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    prices = -np.sort(-(generator.random((layers - 1, shares)) ** 2), axis=1)
    prices[:, -1] = 0
    flops = np.tile(np.arange(1, shares + 1) * 10.0, (layers, 1))
    return prices, flops


def price_of(columns: tuple[int, ...], prices: np.ndarray) -> float:
    return sum(prices[i, now] - prices[i, below] for i, (below, now) in enumerate(itertools.pairwise(columns)))


@pytest.mark.parametrize("seed", range(5))
def test_it_is_nearly_the_best_of_all(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    prices, flops = random_prices(seed)
    budget = 150.0
    found = cheapest(prices, flops, budget)
    assert found is not None
    columns = tuple(SHARES.index(share) for share in found)
    able = [
        each
        for each in itertools.product(range(6), repeat=4)
        if each[0] == 5 and list(each) == sorted(each, reverse=True) and 10 * (sum(each) + 4) <= budget
    ]
    assert columns in able
    ranked = sorted(price_of(each, prices) for each in able)
    assert price_of(columns, prices) <= ranked[len(ranked) // 5]  # what lies between two multipliers it may miss


def test_the_table_is_what_the_model_counts() -> None:
    encoder = tiny()
    table = flops_table(encoder, LENGTHS)
    made = eliminating(encoder, [1, 0.6, 0.25])
    columns = [SHARES.index(share) for share in (1000, 600, 250)]
    assert table[[0, 1, 2], columns].sum() == made.cost(LENGTHS).flops * len(LENGTHS)


def test_geometric_schedules_fall_from_each_layer_on_within_the_budget() -> None:
    _, flops = random_prices(0, layers=4, shares=len(SHARES))
    budget = 0.8 * flops[:, -1].sum()
    found = list(geometric(flops, budget))
    assert [sum(share == 1000 for share in each) for each in found] == [1, 2, 3]
    for each in found:
        assert list(each) == sorted(each, reverse=True)
        assert sum(flops[i, SHARES.index(share)] for i, share in enumerate(each)) <= budget


def test_no_schedule_is_below_the_first_layer() -> None:
    prices, flops = random_prices(0)
    assert cheapest(prices, flops, 80) is None
    assert cheapest(prices, flops, 90) == (SHARES[5], *SHARES[:1] * 3)
