from __future__ import annotations

from asc_core.values import Plan
from dashboard.state.speed import Speed
from dashboard.widgets.result_card import costs, headline
from tests.dashboard.synthetic import SHAPE, cost_model, estimate


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
    model = cost_model()
    half = Plan(SHAPE, ((0, 1), (0, 1), (0, 1)), tuple(tuple(range(10)) for _ in range(3)), (0, 1, 2))
    text = costs(model.cost(half), model.dense, Speed(0.009, 1.84, 32), False)
    for said in ("50 %", "4.89 ms", "9.00 ms", "1.84×", "batch size 32, both in turns on this machine"):
        assert said in text
    assert "measuring" in costs(model.cost(half), model.dense, None, True)
