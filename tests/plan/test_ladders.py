from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asc_core.plan.ladders import Ladder, climb


@st.composite
def problems(draw: st.DrawFn, most_ladders: int = 4, most_rungs: int = 5) -> tuple[list[Ladder], np.ndarray]:
    """Ladders whose values and costs rise by any steps, none included, and one to three limits."""
    budgets = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    ladders = []
    for _ in range(draw(st.integers(1, most_ladders))):
        steps = draw(st.integers(0, most_rungs - 1))
        values = np.concatenate(([0.0], np.cumsum(np.round(rng.exponential(2.0, steps), 1))))
        costs = np.concatenate((np.zeros((1, budgets)), np.cumsum(rng.integers(0, 9, (steps, budgets)), 0)))
        ladders.append(Ladder(values, costs.astype(np.int64)))
    whole = sum(ladder.costs[-1] for ladder in ladders)
    share = np.array([draw(st.integers(0, 100)) for _ in range(budgets)]) / 100
    return ladders, np.floor(whole * share).astype(np.int64)


def value(ladders: list[Ladder], rungs: list[int]) -> float:
    return float(sum(ladder.values[rung] for ladder, rung in zip(ladders, rungs, strict=True)))


def cost(ladders: list[Ladder], rungs: list[int]) -> np.ndarray:
    return np.sum([ladder.costs[rung] for ladder, rung in zip(ladders, rungs, strict=True)], axis=0)


@settings(deadline=None)
@given(problems())
def test_the_best_of_all_choices_is_found(problem: tuple[list[Ladder], np.ndarray]) -> None:
    ladders, limits = problem
    every = product(*(range(len(ladder.values)) for ladder in ladders))
    best = max(value(ladders, rungs) for rungs in every if (cost(ladders, rungs) <= limits).all())  # type: ignore[arg-type]
    found = climb(ladders, limits)
    assert (cost(ladders, found) <= limits).all()
    assert value(ladders, found) == pytest.approx(best)


@settings(deadline=None)
@given(problems(most_ladders=8, most_rungs=12), st.booleans())
def test_no_exchange_between_two_ladders_and_no_room_is_left(
    problem: tuple[list[Ladder], np.ndarray], exact: bool
) -> None:
    ladders, limits = problem
    with pytest.MonkeyPatch.context() as patch:
        if not exact:  # prices and exchanges alone, as where there are too many choices to try
            patch.setattr("asc_core.plan.ladders.CHOICES_TO_TRY", 0)
        found = climb(ladders, limits)
    assert (cost(ladders, found) <= limits).all()
    worth = value(ladders, found)
    for up in range(len(ladders)):
        for rung in range(found[up] + 1, len(ladders[up].values)):
            higher = [*found[:up], rung, *found[up + 1 :]]
            assert (cost(ladders, higher) > limits).any()
            for down in set(range(len(ladders))) - {up}:
                for lower in range(found[down]):
                    other = [*higher[:down], lower, *higher[down + 1 :]]
                    assert (cost(ladders, other) > limits).any() or value(ladders, other) <= worth + 1e-9


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 12), st.integers(0, 2**16), st.integers(0, 100))
def test_ladders_with_equal_steps_are_climbed_by_value_alone(rows: int, steps: int, seed: int, share: int) -> None:
    rng = np.random.default_rng(seed)
    gains = [np.sort(rng.exponential(1.0, steps))[::-1] for _ in range(rows)]
    costs = np.arange(steps + 1)[:, None] * np.array([3, 5])
    ladders = [Ladder(np.concatenate(([0.0], np.cumsum(each))), costs) for each in gains]
    limits = np.array([3, 5]) * rows * steps * share // 100
    found = climb(ladders, limits)
    count = int(min(limits // np.array([3, 5])))
    assert sum(found) == count
    assert value(ladders, found) == pytest.approx(np.sort(np.concatenate(gains))[::-1][:count].sum())


def test_prices_and_exchanges_alone_come_close_to_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    ladders = []
    for _ in range(6):
        values = np.concatenate(([0.0], np.cumsum(np.sort(rng.exponential(1.0, 6))[::-1])))
        costs = np.concatenate((np.zeros((1, 2)), np.cumsum(rng.integers(5, 30, (6, 2)), 0))).astype(np.int64)
        ladders.append(Ladder(values, costs))
    whole = sum(ladder.costs[-1] for ladder in ladders)
    for share in (0.3, 0.5, 0.7):
        limits = np.floor(whole * share).astype(np.int64)
        best = value(ladders, climb(ladders, limits))
        with monkeypatch.context() as patch:
            patch.setattr("asc_core.plan.ladders.CHOICES_TO_TRY", 0)
            assert value(ladders, climb(ladders, limits)) >= 0.97 * best


def test_no_ladders_are_no_rungs() -> None:
    assert climb([], np.array([5])) == []
