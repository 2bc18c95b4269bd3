from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from dashboard.charts.matrix import matrix_heatmap
from dashboard.charts.palette import Palette
from tests.dashboard.charts.figures import PALETTES
from tests.dashboard.synthetic import estimate


@PALETTES
def test_every_cell_of_the_matrix_says_what_is_lost_and_missing_ones_that_they_are_to_come(colours: Palette) -> None:
    made = {
        ("a", "a"): replace(estimate(), difference=0.004, difference_interval=(-0.01, 0.02)),
        ("mixed", "a"): replace(estimate(), difference=-0.08, difference_interval=(-0.1, -0.06)),
    }
    figure = matrix_heatmap(["a", "b", "mixed"], ["a", "b"], ["mixed"], made, colours)
    heat = figure.data[0]
    assert heat.z.shape == (3, 2)
    assert heat.z[0, 0] == pytest.approx(0.4)
    assert heat.z[2, 0] == pytest.approx(-8)
    assert np.isnan(heat.z).sum() == 4
    written = Counter(note.text for note in figure.layout.annotations)
    assert written["…"] == 4
    assert written["<b>−8.0</b>"] == written["[−10.0, −6.0]"] == 1
    frames = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert [(f.x0 + f.x1) / 2 for f in frames] == [(f.y0 + f.y1) / 2 for f in frames] == [0, 1]
    (line,) = [shape for shape in figure.layout.shapes if shape.type == "line"]
    assert line.y0 == 1.5  # above the rows that know no application
    assert heat.zmin == -heat.zmax  # no change has the colour of no change
