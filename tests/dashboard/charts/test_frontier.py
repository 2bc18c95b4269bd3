from __future__ import annotations

import pytest

from dashboard.charts.frontier import metric_against_budget
from dashboard.charts.palette import LIGHT
from dashboard.measuring.measured_cut import MeasuredCut
from tests.dashboard.synthetic import estimate


def test_measured_points_are_in_percent_with_their_intervals() -> None:
    half = MeasuredCut(
        "k", "0.50 fisher", {"flops": 0.5, "parameters": 0.8, "bytes": 0.8}, estimate(0.8, difference=-0.1)
    )
    figure = metric_against_budget([half], estimate(0.9), None, 0.6, "flops", LIGHT)
    original, points = (t for t in figure.data if t.x is not None)
    assert (original.x[0], original.y[0]) == (100, 90)
    assert (points.x[0], points.y[0]) == (50, 80)
    assert points.error_y.array[0] == pytest.approx(2)
    for said in ("80.0 %", "−10.0 [−11.0, −9.0]", "50 % of the FLOPs", "validation, 100 of 100 examples"):
        assert said in points.hovertext[0]
    low, high = figure.layout.yaxis.range
    assert low < 78
    assert high > 92


def test_a_partial_measurement_is_hollow_and_here_is_not_drawn_twice() -> None:
    kept = {"flops": 0.5, "parameters": 0.8, "bytes": 0.8}
    here = MeasuredCut("k", "cut", kept, estimate(0.8, examples=64))
    figure = metric_against_budget([here], None, here, 0.5, "flops", LIGHT)
    (points,) = figure.data
    assert points.marker.color == (LIGHT.page,)
    assert [a.text for a in figure.layout.annotations] == ["you are here"]


def test_repaired_cuts_have_another_shape_and_here_keeps_it() -> None:
    kept = {"flops": 0.5, "parameters": 0.8, "bytes": 0.8}
    plain, repaired = (MeasuredCut(key, key, kept, estimate(0.8), key == "repaired") for key in ("plain", "repaired"))
    figure = metric_against_budget([plain, repaired], None, None, 0.5, "flops", LIGHT)
    assert {t.customdata[0][0]: t.marker.symbol for t in figure.data} == {"plain": "triangle-up", "repaired": "circle"}
    for here in (plain, repaired):
        figure = metric_against_budget([plain, repaired], None, here, 0.5, "flops", LIGHT)
        (drawn,) = (t for t in figure.data if t.customdata[0][0] == here.key)
        assert drawn.marker.symbol == ("circle" if here.repaired else "triangle-up")
        assert drawn.marker.color == (LIGHT.cut,)
