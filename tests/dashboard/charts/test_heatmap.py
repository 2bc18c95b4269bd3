from __future__ import annotations

from collections import Counter

import numpy as np
import plotly.graph_objects as go
import pytest

from asc_core.plan import Part
from asc_core.values import Shape
from dashboard.charts.grid import grid
from dashboard.charts.heatmap import Panel, centre, difference, needs_map, redundant_for, side_by_side
from dashboard.charts.palette import LIGHT, Palette
from tests.dashboard.charts.figures import PALETTES, targets
from tests.dashboard.synthetic import SHAPE, SHARED, UNEVEN, scores, with_heads


@PALETTES
@pytest.mark.parametrize("by_rank", [True, False])
@pytest.mark.parametrize("shape", [SHAPE, UNEVEN, SHARED], ids=["bert", "uneven", "albert"])
def test_every_part_has_one_cell_that_can_be_clicked(colours: Palette, by_rank: bool, shape: Shape) -> None:
    drawn = side_by_side([Panel("a", scores(shape)), Panel("b", scores(shape, 1))], colours, by_rank)
    rows = len(shape.heads)
    expected = [["heads", row, n] for row in range(rows) for n in range(shape.heads[row])]
    values = grid(scores(shape).values, shape)
    expected += [["ffn", row, None] for row in range(rows) if not np.isnan(values.ffn[row, 0])]
    expected += [["layers", row, None] for row in range(rows)]
    for panel in (0, 1):
        found = [data[1:] for data, _ in targets(drawn.figure) if data[0] == panel]
        assert Counter(map(tuple, found)) == Counter(map(tuple, expected))


def test_markers_lie_in_the_middle_of_their_cells() -> None:
    figure = side_by_side([Panel("a", scores())], LIGHT, True).figure
    heat = next(t for t in figure.data if isinstance(t, go.Heatmap) and np.asarray(t.z).shape == (3, 4))
    markers = next(t for t in figure.data if isinstance(t, go.Scatter) and t.customdata[0][1] == "heads")
    for x, y, (_, _, row, number) in zip(markers.x, markers.y, markers.customdata, strict=True):
        assert heat.x[number] < x < heat.x[number + 1]
        assert heat.y[row] < y < heat.y[row + 1]


def test_hovering_says_the_score_its_interval_and_how_many_examples() -> None:
    made = scores()
    assert made.values.heads is not None
    text = next(
        text
        for data, text in targets(side_by_side([Panel("nli", made)], LIGHT, True).figure)
        if data[1:] == ["heads", 1, 2]
    )
    value = made.values.heads[1][2]
    for said in ("Layer 2, head 3", f"{value:.4g}", f"[{value - 0.05:.4g}, {value + 0.05:.4g}]", "train, 64 examples"):
        assert said in text


def test_undecided_cells_have_a_dot_and_say_so() -> None:
    doubt = {Part("heads", 1, 2), Part("ffn", 0), Part("layers", 2)}
    figure = side_by_side([Panel("a", scores()), Panel("b", scores())], LIGHT, True, undecided=[doubt, set()]).figure
    said = {tuple(data) for data, text in targets(figure) if "undecided" in text}
    assert said == {(0, *part) for part in doubt}
    dots = [trace for trace in figure.data if isinstance(trace, go.Scatter) and trace.marker.symbol == "circle"]
    assert [list(zip(dot.x, dot.y, strict=True)) for dot in dots] == [
        [centre(part, SHAPE) for part in sorted(doubt, key=str)]
    ]


@PALETTES
def test_the_map_of_needs_marks_significant_heads_and_says_whose_they_are(colours: Palette) -> None:
    difference = np.linspace(-0.3, 0.6, 6)
    p = np.array([0.01, 0.5, 0.5, 0.5, 0.5, 0.001])
    drawn = needs_map(UNEVEN, difference, p, p < 0.05, ("nli", "qa"), colours)
    text = {tuple(data[1:]): said for data, said in targets(drawn.figure)}
    assert "more on qa" in text["heads", 0, 0]
    assert "more on nli" in text["heads", 1, 1]
    heat = next(t for t in drawn.figure.data if isinstance(t, go.Heatmap) and t.zmin == -1)
    assert heat.z[1][1] == 1
    assert heat.z[0][0] == pytest.approx(-0.5)
    (dots,) = [
        trace for trace in drawn.figure.data if isinstance(trace, go.Scatter) and trace.marker.symbol == "circle"
    ]
    assert len(dots.x) == 2


def test_the_scale_is_the_same_for_all_maps() -> None:
    panels = [Panel(str(n), scores(seed=n)) for n in range(4)]
    figure = side_by_side(panels, LIGHT, False).figure
    coloured = [t for t in figure.data if isinstance(t, go.Heatmap) and t.zmin is not None]
    assert len(coloured) == 12
    assert {(t.zmin, t.zmax) for t in coloured} == {(0, 1)}


def test_a_method_that_says_nothing_of_heads_leaves_them_blank() -> None:
    figure = side_by_side([Panel("a", scores(parts=("layers",), similarity=True))], LIGHT, True).figure
    assert {data[1] for data, _ in targets(figure)} == {"layers"}


def test_a_difference_is_the_negative_of_the_other_way_round() -> None:
    first, second = Panel("a", scores(seed=1)), Panel("b", scores(seed=2))

    def cells(figure: go.Figure) -> np.ndarray:
        found = next(t.z for t in figure.data if isinstance(t, go.Heatmap) and np.asarray(t.z).shape == (3, 4))
        return np.asarray(found)

    there, back = cells(difference(first, second, LIGHT).figure), cells(difference(second, first, LIGHT).figure)
    np.testing.assert_allclose(there, -back)
    assert np.abs(there).max() > 0


def test_redundant_for_all_is_where_every_application_ranks_it_low() -> None:
    low = np.arange(12.0).reshape(3, 4)
    panels = [Panel(name, with_heads(scores(seed=n), low if n < 2 else low[::-1])) for n, name in enumerate("abc")]
    texts = {tuple(data[1:]): text for data, text in targets(redundant_for(panels, 0.2, LIGHT).figure)}
    assert "redundant for 2 of 3: a, b" in texts["heads", 0, 0]
    assert "redundant for 1 of 3: c" in texts["heads", 2, 0]
    assert "redundant for 0 of 3: none" in texts["heads", 1, 1]
