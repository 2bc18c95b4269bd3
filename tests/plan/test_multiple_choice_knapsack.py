from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asc_core.plan.multiple_choice_knapsack import Group, solve


@st.composite
def problems(draw: st.DrawFn, most_groups: int = 4, most_choices: int = 5) -> tuple[list[Group], np.ndarray]:
    """Groups whose values and costs rise by any steps, none included, and one to three limits."""
    budgets = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    groups = []
    for _ in range(draw(st.integers(1, most_groups))):
        steps = draw(st.integers(0, most_choices - 1))
        values = np.concatenate(([0.0], np.cumsum(np.round(rng.exponential(2.0, steps), 1))))
        costs = np.concatenate((np.zeros((1, budgets)), np.cumsum(rng.integers(0, 9, (steps, budgets)), 0)))
        groups.append(Group(values, costs.astype(np.int64)))
    whole = sum(group.costs[-1] for group in groups)
    share = np.array([draw(st.integers(0, 100)) for _ in range(budgets)]) / 100
    return groups, np.floor(whole * share).astype(np.int64)


def value(groups: list[Group], picks: list[int]) -> float:
    return float(sum(group.values[pick] for group, pick in zip(groups, picks, strict=True)))


def cost(groups: list[Group], picks: list[int]) -> np.ndarray:
    return np.sum([group.costs[pick] for group, pick in zip(groups, picks, strict=True)], axis=0)


@settings(deadline=None)
@given(problems())
def test_the_best_of_all_solutions_is_found(problem: tuple[list[Group], np.ndarray]) -> None:
    groups, limits = problem
    every = product(*(range(len(group.values)) for group in groups))
    best = max(value(groups, picks) for picks in every if (cost(groups, picks) <= limits).all())  # type: ignore[arg-type]
    found = solve(groups, limits)
    assert (cost(groups, found) <= limits).all()
    assert value(groups, found) == pytest.approx(best)


@settings(deadline=None)
@given(problems(most_groups=8, most_choices=12), st.booleans())
def test_no_exchange_between_two_groups_and_no_room_is_left(
    problem: tuple[list[Group], np.ndarray], exact: bool
) -> None:
    groups, limits = problem
    with pytest.MonkeyPatch.context() as patch:
        if not exact:  # prices and exchanges alone, as where there are too many solutions to try
            patch.setattr("asc_core.plan.multiple_choice_knapsack.SOLUTIONS_TO_TRY", 0)
        found = solve(groups, limits)
    assert (cost(groups, found) <= limits).all()
    worth = value(groups, found)
    for up in range(len(groups)):
        for pick in range(found[up] + 1, len(groups[up].values)):
            higher = [*found[:up], pick, *found[up + 1 :]]
            assert (cost(groups, higher) > limits).any()
            for down in set(range(len(groups))) - {up}:
                for lower in range(found[down]):
                    other = [*higher[:down], lower, *higher[down + 1 :]]
                    assert (cost(groups, other) > limits).any() or value(groups, other) <= worth + 1e-9


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 12), st.integers(0, 2**16), st.integers(0, 100))
def test_groups_with_equal_steps_are_solved_by_value_alone(rows: int, steps: int, seed: int, share: int) -> None:
    rng = np.random.default_rng(seed)
    gains = [np.sort(rng.exponential(1.0, steps))[::-1] for _ in range(rows)]
    costs = np.arange(steps + 1)[:, None] * np.array([3, 5])
    groups = [Group(np.concatenate(([0.0], np.cumsum(each))), costs) for each in gains]
    limits = np.array([3, 5]) * rows * steps * share // 100
    found = solve(groups, limits)
    count = int(min(limits // np.array([3, 5])))
    assert sum(found) == count
    assert value(groups, found) == pytest.approx(np.sort(np.concatenate(gains))[::-1][:count].sum())


def test_prices_and_exchanges_alone_come_close_to_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    groups = []
    for _ in range(6):
        values = np.concatenate(([0.0], np.cumsum(np.sort(rng.exponential(1.0, 6))[::-1])))
        costs = np.concatenate((np.zeros((1, 2)), np.cumsum(rng.integers(5, 30, (6, 2)), 0))).astype(np.int64)
        groups.append(Group(values, costs))
    whole = sum(group.costs[-1] for group in groups)
    for share in (0.3, 0.5, 0.7):
        limits = np.floor(whole * share).astype(np.int64)
        best = value(groups, solve(groups, limits))
        with monkeypatch.context() as patch:
            patch.setattr("asc_core.plan.multiple_choice_knapsack.SOLUTIONS_TO_TRY", 0)
            assert value(groups, solve(groups, limits)) >= 0.97 * best


def test_no_groups_are_no_choices() -> None:
    assert solve([], np.array([5])) == []
