from __future__ import annotations

import pytest

from dashboard.charts.palette import DARK, LIGHT, Palette
from dashboard.charts.removal import loss_curves
from tests.dashboard.trust_reports import REMOVED


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_the_best_method_and_the_truth_stand_out_among_the_curves(colours: Palette) -> None:
    curves = {"Fisher": [1.0, 1.1, 3.0], "Magnitude": [1.0, 9.0, 3.0], "Exact ablation": [1.0, 1.2, 3.0]}
    band = [1.0, 1.5, 3.0], [1.0, 2.5, 3.0]
    figure = loss_curves(REMOVED, [1.0, 2.0, 3.0], band, curves, "Fisher", "Exact ablation", colours)
    drawn = {
        trace.hovertext[0].partition("</b>")[0].removeprefix("<b>"): trace for trace in figure.data if trace.hoverinfo
    }
    assert drawn["Fisher"].line.color == colours.cut
    assert drawn["Exact ablation"].line.color == colours.ink
    assert drawn["Magnitude"].line.width == 1
    assert list(drawn["Fisher"].x) == [0, 50, 100]
    shaded = next(trace for trace in figure.data if trace.fill == "tonexty")
    assert list(shaded.y) == band[1]
    assert list(figure.data[0].y) == band[0], "the band lies between the lowest and the highest random order"
    assert figure.layout.yaxis.range[1] < 4, "an order that is much worse than chance does not flatten the others"
