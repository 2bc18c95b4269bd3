from __future__ import annotations

import numpy as np

from dashboard.charts.palette import Palette, colour_at
from tests.dashboard.charts.figures import PALETTES


def lightness(colour: str) -> float:
    linear = [((int(colour[i : i + 2], 16) / 255 + 0.055) / 1.055) ** 2.4 for i in (1, 3, 5)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@PALETTES
def test_the_sequential_scale_gets_steadily_lighter_or_darker(colours: Palette) -> None:
    steps = np.diff([lightness(colour_at(colours.sequential, s)) for s in np.linspace(0, 1, 60)])
    assert (steps < 1e-9).all() or (steps > -1e-9).all()


@PALETTES
def test_what_contributes_most_stands_out_from_the_page(colours: Palette) -> None:
    page = lightness(colours.page)
    assert abs(lightness(colours.sequential[-1][1]) - page) > 2 * abs(lightness(colours.sequential[0][1]) - page)
