from __future__ import annotations

from asc_core.recipes.deployment import Figure, Limits, Option
from dashboard.charts.deployment import deployment_chart
from dashboard.charts.palette import Palette
from tests.dashboard.charts.figures import PALETTES


@PALETTES
def test_forecasts_are_hollow_and_what_nobody_knows_is_not_drawn(colours: Palette) -> None:
    guess = Figure(3.0, rests_on="a test")
    options = [
        Option("best", Figure(10.0), Figure(2.0), Figure(0.5)),
        Option("forecast", guess, guess, guess),
        Option("unknown", guess, guess, Figure(float("nan"), rests_on="a test")),
    ]
    figure = deployment_chart(options, Limits(points=1), "mb", colours)
    drawn = {
        text.split("</b>")[0][3:]: fill
        for t in figure.data
        for text, fill in zip(t.hovertext, t.marker.color, strict=True)
    }
    assert set(drawn) == {"best", "forecast"}
    assert drawn["forecast"] == colours.page
    assert drawn["best"] == colours.cut
    assert "(forecast)" not in figure.data[-1].hovertext[0]
