from __future__ import annotations

from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest

from asc_core.plan import Part, by_share, threshold_of
from asc_core.values import PartValues, Plan, Shape
from dashboard.charts.cut import ByHand, cut_map, score_histogram
from dashboard.charts.heatmap import centre
from dashboard.charts.palette import LIGHT, Palette
from tests.dashboard.charts.figures import PALETTES, targets
from tests.dashboard.synthetic import SHAPE, SHARED, scores, with_heads


def filled(figure: go.Figure, kind: str, shape: Shape) -> set[tuple[int, int | None]]:
    """The cells of one kind that are drawn as kept."""
    colours = [s for s in figure.layout.shapes if s.fillcolor != "rgba(0,0,0,0)"]
    found = set()
    for row, count in enumerate(shape.heads):
        for number in range(count) if kind == "heads" else (None,):
            x, y = centre(Part(kind, row, number), shape)
            if any(s.x0 < x < s.x1 and s.y0 < y < s.y1 for s in colours):
                found.add((row, number))
    return found


@PALETTES
def test_the_cut_map_fills_what_the_plan_keeps_and_nothing_else(colours: Palette) -> None:
    plan = Plan.full(SHAPE).drop(0, head=1).drop(2, head=3).drop(1)
    figure = cut_map(scores(), plan, ByHand(), colours)
    assert filled(figure, "heads", SHAPE) == {(0, 0), (0, 2), (0, 3), (2, 0), (2, 1), (2, 2)}
    assert filled(figure, "layers", SHAPE) == {(0, None), (2, None)}


def test_the_ffn_column_says_the_share_of_neurons_that_stays() -> None:
    made = scores()
    plan = by_share(made, keep_neurons=0.25)
    texts = [a.text for a in cut_map(made, plan, ByHand(), LIGHT).layout.annotations]
    assert texts == ["25%", "25%", "25%"]


def test_what_was_set_by_hand_is_marked_and_says_so() -> None:
    hand = ByHand(frozenset({Part("heads", 0, 0)}), frozenset({Part("heads", 2, 3)}))
    plan = Plan.full(SHAPE).drop(2, head=3)
    figure = cut_map(scores(), plan, hand, LIGHT)
    symbols = {t.marker.symbol: (t.x[0], t.y[0]) for t in figure.data if t.hoverinfo == "skip" and len(t.x) == 1}
    assert symbols["square-open"] == centre(Part("heads", 0, 0), SHAPE)
    assert symbols["x-thin"] == centre(Part("heads", 2, 3), SHAPE)
    texts = {tuple(data[1:]): text for data, text in targets(figure)}
    assert "kept by hand" in texts["heads", 0, 0]
    assert "cut by hand" in texts["heads", 2, 3]


def test_layers_that_share_weights_show_their_iterations_and_cannot_be_clicked() -> None:
    plan = Plan(SHARED, ((0, 1, 2, 3),), (tuple(range(20)),), (0, 1))
    figure = cut_map(scores(SHARED), plan, ByHand(), LIGHT)
    assert "2/3" in [a.text for a in figure.layout.annotations]
    assert {data[1] for data, _ in targets(figure)} == {"heads", "ffn"}


def test_the_histogram_counts_every_part_once_and_draws_the_threshold() -> None:
    made = scores()
    plan = by_share(made, keep_heads=0.5, keep_neurons=0.5, scope="global")
    figure = score_histogram(made, plan, LIGHT)
    assert figure is not None
    counts = [int(np.sum(bars.y)) for bars in figure.data]
    assert counts == [6, 6, 30, 30]
    lines = [shape.x0 for shape in figure.layout.shapes]
    assert lines == pytest.approx([threshold_of(made, plan, "heads"), threshold_of(made, plan, "neurons")])


def test_a_method_that_scores_sublayers_only_has_no_histogram() -> None:
    made = scores(parts=("attention", "ffn"))
    assert score_histogram(made, Plan.full(SHAPE), LIGHT) is None


def test_values_without_any_score_still_draw() -> None:
    empty = replace(scores(), values=PartValues(), low=None, high=None)
    assert cut_map(empty, Plan.full(SHAPE), ByHand(), LIGHT).data


def undecided_marks(figure: go.Figure) -> set[tuple[float, float]]:
    traces = [t for t in figure.data if t.marker.symbol == "circle-open"]
    return {place for t in traces for place in zip(t.x, t.y, strict=True)}


def test_heads_whose_interval_holds_the_cut_are_marked_unless_set_by_hand() -> None:
    heads = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.52, 0.58, 0.6], [0.7, 0.8, 0.9, 1.0]])
    made = with_heads(scores(), heads)
    ends = [PartValues(heads=tuple(heads + by)) for by in (-0.05, 0.05)]
    made = replace(made, low=ends[0], high=ends[1])
    plan = by_share(made, keep_heads=0.5, scope="global")  # from 0.58 up
    near = {centre(Part("heads", 1, n), SHAPE) for n in (2, 3)}  # 0.52 reaches 0.57 only
    assert undecided_marks(cut_map(made, plan, ByHand(), LIGHT)) == near
    by_hand = ByHand(kept=frozenset({Part("heads", 1, 3)}))
    assert undecided_marks(cut_map(made, plan, by_hand, LIGHT)) == {centre(Part("heads", 1, 2), SHAPE)}


def test_the_cut_map_takes_clicks_unless_boxes_are_asked_for() -> None:
    """Streamlit listens to clicks only where dragging does not select."""
    plan = by_share(scores(), 0.5, 0.5)
    drawn = {boxes: cut_map(scores(), plan, ByHand(), LIGHT, boxes=boxes) for boxes in (False, True)}
    assert not drawn[False].layout.dragmode
    assert drawn[True].layout.dragmode == "select"
