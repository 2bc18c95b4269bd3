"""One budget over all families: how it is read, and what is chosen by prices."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asc_core.errors import UserError
from asc_core.recipes.allocation import (
    Allocation,
    Bound,
    Footprint,
    Loss,
    Setting,
    allocations,
    idle,
    points_of_change,
    told_apart,
    within,
)

DENSE = Footprint(40e6, 48e6, 2e6, 1e9, 20.0)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("bytes=9M", 9e6),
        ("bytes=9MB", 9e6),
        ("bytes=900k", 9e5),
        ("bytes=10%", 9e6),
        ("bytes=0.1", 9e6),
        ("bytes = 5000000", 5e6),
        ("flops=50%", 5e8),
        ("flops=0.5", 5e8),
        ("ms=5", 5.0),
        ("ms=25%", 5.0),
        ("bytes", 90e6),
    ],
)
def test_a_budget_is_an_amount_or_a_share(text: str, limit: float) -> None:
    bound = Bound.parse(text)
    assert bound.on(DENSE) == pytest.approx(limit)
    assert bound.axis == text.partition("=")[0].strip()


@pytest.mark.parametrize(
    "text",
    ["", "9M", "bytes=", "bytes=-3", "bytes=0", "flops=2", "flops=150%", "ms=5k", "kb=3", "bytes=nan", "bytes=9T"],
)
def test_what_is_no_budget_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UserError, match=r"budget|Milliseconds"):
        Bound.parse(text)


def setting(family: str, key: str, embedding: float, layers: float, points: float, error: float = 0.0) -> Setting:
    return Setting(family, key, key, Footprint(embedding, layers, 1, layers, layers), Loss(points, error, points / 100))


FAMILIES = {
    "vocabulary": [setting("vocabulary", "rows", 0.3, 1, 0.5)],
    "cut": [setting("cut", "half", 1, 0.5, 0.6), setting("cut", "fifth", 1, 0.2, 4.0)],
    "bits": [setting("bits", "int8", 0.25, 0.25, 0.2)],
}


@pytest.mark.parametrize(
    ("budget", "chosen"),
    [("bytes=100%", ""), ("bytes=50%", "int8"), ("bytes=20M", "rows int8"), ("bytes=12M", "rows half int8")],
)
def test_the_least_lost_that_is_small_enough_comes_first(budget: str, chosen: str) -> None:
    found = within(allocations(FAMILIES), DENSE, Bound.parse(budget), {}, 1.0)
    assert found[0].key == chosen


def test_what_came_out_larger_than_forecast_is_not_chosen_again() -> None:
    bound = Bound.parse("bytes=20M")
    first = within(allocations(FAMILIES), DENSE, bound, {}, 1.0)[0]
    then = within(allocations(FAMILIES), DENSE, bound, {first.key: 1.5}, 1.0)
    assert first.key not in [one.key for one in then]
    assert all(1.5 * one.footprint(DENSE).bytes <= 20e6 or "cut" not in one.key for one in then)


shares = st.floats(0.05, 1)


@given(
    st.lists(st.lists(st.tuples(shares, shares, st.floats(0, 5)), max_size=3), min_size=1, max_size=3),
    st.floats(0.05, 1),
)
@settings(max_examples=50)
def test_the_choice_is_the_best_of_all_combinations(
    families: list[list[tuple[float, float, float]]], most: float
) -> None:
    """Against slow obvious code."""
    known = {
        str(f): [setting(str(f), f"{f}.{s}", *values) for s, values in enumerate(every)]
        for f, every in enumerate(families)
    }
    bound = Bound("bytes", most, True)
    best = math.inf
    for chosen in itertools.product(*([None, *every] for every in families)):
        embedding, layers = 40e6, 48e6
        lost = 0.0
        for values in filter(None, chosen):
            embedding, layers, lost = embedding * values[0], layers * values[1], lost + values[2]
        if embedding + layers + 2e6 <= most * 90e6:
            best = min(best, lost)
    found = within(allocations(known), DENSE, bound, {}, 100.0)
    assert (found[0].lost(100.0) if found else math.inf) == pytest.approx(best, abs=1e-8)


def test_a_loss_that_is_hardly_known_is_drawn_to_what_such_a_change_costs() -> None:
    vague, sure = Loss(-1.0, error=2.0, change=0.02), Loss(1.0, error=0.001, change=0.02)
    assert vague.expected(50.0) == pytest.approx(0.6)  # half of -1 is weighted by 1 / (1 + 4)
    assert sure.expected(50.0) == pytest.approx(1.0)
    assert Loss(0.0, 0.0, 0.0).expected(50.0) == 0.0
    assert points_of_change([Loss(1.0, 0.1, 0.02), Loss(0.0, 0.1, 0.02)]) == pytest.approx(25.0)
    assert points_of_change([]) > 0


def test_a_neighbour_of_what_was_tried_is_passed_over() -> None:
    rungs = {"cut": ["half", "third", "fifth"], "bits": ["int8"]}
    cuts = [idle("cut"), *(setting("cut", key, 1, 0.5, 1) for key in rungs["cut"])]
    whole = idle("bits")
    tried = [Allocation((cuts[1], whole))]
    assert told_apart([tried[0], Allocation((cuts[2], whole))], tried, rungs) is None
    far = Allocation((cuts[3], whole))
    assert told_apart([Allocation((cuts[2], whole)), far], tried, rungs) is far
