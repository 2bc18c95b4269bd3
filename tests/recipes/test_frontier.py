"""Which budget a bisection ends at, and when an evaluation has decided."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from asc_core.recipes.frontier import Point, Workbench, decided, frontier, smallest_percent, smallest_within
from asc_core.scores import sweep
from asc_core.values import Estimate
from tests.evaluate.toy_tasks import encoder_for, toy_task

SURE = Estimate("accuracy", 0.9, (0.8, 1.0), "validation", 100, 100, 0.0, (0.0, 0.01))


def test_an_evaluation_has_decided_when_its_interval_has() -> None:
    assert decided(SURE, 0.0) is True
    assert decided(replace(SURE, examples=64), 0.0) is True, "the interval holds at every look"
    assert decided(replace(SURE, difference_interval=(-0.1, 0.1), examples=64), 0.01) is None
    assert decided(replace(SURE, difference_interval=(-0.1, 0.1)), 0.01) is False, "no examples are left to be sure"
    assert decided(replace(SURE, difference_interval=(-0.1, -0.02), examples=64), 0.01) is False
    assert decided(replace(SURE, difference_interval=None), 0.0) is False


def test_by_value_the_measured_difference_decides_and_an_interval_only_early() -> None:
    some = replace(SURE, difference=-0.01, difference_interval=(-0.1, 0.1))
    assert decided(some, 0.02, "value") is True
    assert decided(some, 0.02, "interval") is False
    assert decided(some, 0.005, "value") is False
    assert decided(replace(some, examples=64), 0.02, "value") is None, "more examples may say otherwise"
    assert decided(replace(some, examples=64, difference_interval=(-0.02, 0.0)), 0.02, "value") is True
    assert decided(replace(some, examples=64, difference_interval=(-0.1, -0.03)), 0.02, "value") is False
    assert decided(replace(some, difference=None, difference_interval=None), 0.02, "value") is False


def test_where_nothing_is_within_the_drop_the_nearest_is_given_and_said_not_to_be() -> None:
    task = toy_task("text-classification", validation=300)
    encoder = encoder_for(task)
    scores = sweep(encoder, task, ["magnitude"])["magnitude"]
    bench = Workbench(encoder, task, scores, repair=None)
    for rule, nearer in (("value", lambda e: e.difference), ("interval", lambda e: e.difference_interval[0])):
        looked: list[Point] = []
        bench.point = lambda *asked, looked=looked: looked.append(Workbench.point(bench, *asked)) or looked[-1]  # type: ignore
        found = smallest_within(bench, -1.0, rule)  # type: ignore[arg-type]  # no model can be so much better
        assert not found.within
        assert len(looked) > 3
        assert nearer(found.point.estimate) == max(nearer(point.estimate) for point in looked)


@given(least=st.floats(0, 1), limit=st.integers(0, 120))
def test_bisecting_finds_the_smallest_percent(least: float, limit: int) -> None:
    asked: list[int] = []

    def tried(percent: int) -> int | None:
        asked.append(percent)
        return percent if percent >= limit else None

    found = smallest_percent(least, tried)
    within_reach = [p for p in range(100) if p >= 100 * least - 1e-9 and p >= limit]
    assert found == (min(within_reach) if within_reach else None)
    assert len(asked) <= 7
    assert all(100 * least - 1e-9 <= percent < 100 for percent in asked)


def test_a_frontier_looks_once_and_a_search_at_every_slice() -> None:
    task = toy_task("text-classification", validation=300)
    encoder = encoder_for(task)
    scores = sweep(encoder, task, ["magnitude"])["magnitude"]
    bench = Workbench(encoder, task, scores, repair=None)
    points = list(frontier(bench, [0.6, 0.9]))
    assert [point.keep for point in points] == [0.6, 0.9]
    assert {point.estimate.valid for point in points} == {"single"}
    assert all(point.estimate.complete for point in points)
    smallest = smallest_within(bench, 0.5)
    assert smallest.within
    found = smallest.point
    interval = found.estimate.difference_interval
    assert interval is not None
    assert interval[0] >= -0.5
    assert not found.estimate.complete, "with so much to lose the first slice decides"
    assert found.keep <= 0.9
