from __future__ import annotations

import pytest

from dashboard.text import numbers
from dashboard.widgets.result_card import Speed, costs, headline
from tests.dashboard.synthetic import SHAPE, cost_model, estimate


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (numbers.percent(0.9125), "91.2 %"),
        (numbers.points(-0.008), "−0.8"),
        (numbers.points(0.0104), "+1.0"),
        (numbers.points(-0.0001), "±0.0"),
        (numbers.interval_of_points((-0.026, 0.01)), "[−2.6, +1.0]"),
        (numbers.amount(17_400_000), "17.4 M"),
        (numbers.amount(999_900), "1.00 M"),
        (numbers.amount(12), "12.0"),
        (numbers.amount(0), "0"),
        (numbers.size(70_049_000), "70.0 MB"),
        (numbers.size(12), "12 bytes"),
        (numbers.milliseconds(0.00591), "5.91 ms"),
        (numbers.score(-0.00012347), "−0.0001235"),
        (numbers.score(float("nan")), "-"),
    ],
)
def test_numbers_are_written_for_people(written: str, expected: str) -> None:
    assert written == expected


def test_the_headline_names_split_examples_interval_and_difference() -> None:
    text = headline(estimate(0.8, 64, 200, difference=-0.1), estimate(0.9), running=True)
    for said in (
        "accuracy · validation split",
        "80.0 %",
        "[78.0, 82.0]",
        "−10.0",
        "[−11.0, −9.0]",
        "n = 64 of 200",
        "tightening",
    ):
        assert said in text
    assert "same examples" in text


def test_a_complete_headline_names_the_originals_metric() -> None:
    text = headline(estimate(0.8, difference=-0.1), estimate(0.9), running=False)
    assert "to the original's 90.0 %" in text
    assert "complete" in text


def test_costs_stand_beside_the_originals_with_their_ratios() -> None:
    from asc_core.values import Plan

    model = cost_model()
    half = Plan(SHAPE, ((0, 1), (0, 1), (0, 1)), tuple(tuple(range(10)) for _ in range(3)), (0, 1, 2))
    text = costs(model.cost(half), model.dense, Speed(0.009, 1.84, 32), False)
    for said in ("50 %", "4.89 ms", "9.00 ms", "1.84×", "batch of 32, both in turns on this machine"):
        assert said in text
    assert "measuring" in costs(model.cost(half), model.dense, None, True)
