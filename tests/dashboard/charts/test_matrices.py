from __future__ import annotations

import numpy as np
import pytest

from asc_core.compress.matrix_scan import Effect, MatrixScan
from dashboard.charts.matrices import matrices_heatmap
from dashboard.charts.palette import Palette
from tests.dashboard.charts.figures import PALETTES

NAMES = ("word_embedding", "0.query", "0.output.dense", "2.query")


def scan(*divergences: float) -> MatrixScan:
    alone = tuple(Effect(value, value / 2) for value in divergences)
    return MatrixScan(NAMES, alone, Effect(0.1, 0.05), (9, 4, 4, 4), "none", 10, 50)


@PALETTES
def test_cells_are_matrices_by_their_layer_and_those_that_stay_have_a_dot(colours: Palette) -> None:
    figure = matrices_heatmap(scan(9.0, 0.01, 0.1, 0.001), ["0.output.dense", "word_embedding"], colours)
    heat, dots = figure.data
    assert heat.z.shape == (3, 2)
    assert heat.z[0, 0] == pytest.approx(-2)
    assert heat.z[2, 0] == pytest.approx(-3)
    assert np.isnan(heat.z).sum() == 3  # matrices that are not there
    assert [(x, y) for x, y in zip(dots.x, dots.y, strict=True)] == [(1, 0)]
    assert "Layer 1, output.dense" in heat.text[0][1]
    assert "5.00 % of the answers changed" in heat.text[0][1]
    assert "stays in float32" in heat.text[0][1]
    assert heat.text[2][0].endswith("4 numbers, int8")
    assert heat.text[1] == ("", "") or list(heat.text[1]) == ["", ""]


@PALETTES
def test_what_moves_nothing_is_as_faint_as_the_least(colours: Palette) -> None:
    heat = matrices_heatmap(scan(9.0, 0.0, 0.1, 0.001), [], colours).data[0]
    assert heat.z[0, 0] == pytest.approx(-3)
    assert np.isfinite(matrices_heatmap(scan(0.0, 0.0, 0.0, 0.0), [], colours).data[0].z[0]).all()
