from __future__ import annotations

from dataclasses import replace

from asc_core.values import Plan
from dashboard.measuring.measured_cut import costs_json
from dashboard.state.speed import Speed
from dashboard.text import numbers
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
    text = costs(costs_json(model.cost(half)), model.dense, Speed(0.009, 1.84, 32), False)
    for said in ("50 %", "4.89 ms", "9.00 ms", "1.84×", "batch size 32, both in turns on this machine"):
        assert said in text
    assert "measuring" in costs(costs_json(model.cost(half)), model.dense, None, True)


def test_what_has_not_been_made_has_no_cost_yet_and_the_originals_stand_there() -> None:
    model = cost_model()
    text = costs(None, model.dense, None, False)
    assert text.count("<td>…</td>") == 3
    assert numbers.amount(model.dense.flops) in text
    assert "%" not in text


def test_what_is_done_before_the_first_number_is_said_also_where_nothing_runs() -> None:
    assert "not trained yet" in headline(None, estimate(0.9), running=False, doing="not trained yet")
    assert "not measured" in headline(None, estimate(0.9), running=False)


def test_what_a_number_rests_on_stands_with_it() -> None:
    noted = replace(estimate(0.8), notes=("classes were matched by position", "<b>read as cp1252</b>"))
    text = headline(noted, estimate(0.9), running=False)
    assert "2 notes</summary>" in text
    assert "classes were matched by position" in text
    assert "<b>read" not in text
    assert "note" not in headline(estimate(0.8), estimate(0.9), running=False)
