from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from scipy.stats import spearmanr

import dashboard.charts
from asc_core.evaluate.loss_prediction import LossCurve
from asc_core.plan import Part, by_share, threshold_of
from asc_core.values import PartValues, Plan, Scores, Shape
from dashboard.charts.agreement import agreement_matrix, rank_agreement, readable_on
from dashboard.charts.cut import ByHand, cut_map, score_histogram
from dashboard.charts.frontier import metric_against_budget
from dashboard.charts.grid import Grid, grid, ranks, shades
from dashboard.charts.heatmap import Panel, centre, difference, needs_map, redundant_for, side_by_side
from dashboard.charts.matrix import matrix_heatmap
from dashboard.charts.palette import DARK, LIGHT, Palette, colour_at
from dashboard.charts.pareto import pareto, unbeaten
from dashboard.measuring.measured_cut import MeasuredCut
from dashboard.widgets.prediction import strip
from tests.dashboard.synthetic import SHAPE, SHARED, UNEVEN, estimate, scores

PALETTES = pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])


def targets(figure: go.Figure) -> list[tuple[list, str]]:
    """(customdata, hover text) of every transparent marker."""
    found: list[tuple[list, str]] = []
    for trace in figure.data:
        if isinstance(trace, go.Scatter) and trace.customdata is not None and trace.marker.opacity == 0:
            found += zip([list(c) for c in trace.customdata], trace.hovertext, strict=True)
    return found


def lightness(colour: str) -> float:
    linear = [((int(colour[i : i + 2], 16) / 255 + 0.055) / 1.055) ** 2.4 for i in (1, 3, 5)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# The grid


def test_the_ffn_column_is_the_sublayers_score_or_else_the_mean_of_its_neurons() -> None:
    made = scores()
    assert made.values.ffn is not None
    assert made.values.neurons is not None
    np.testing.assert_allclose(grid(made.values, SHAPE).ffn[:, 0], made.values.ffn)
    without = PartValues(**(made.values.by_kind | {"ffn": None}))
    np.testing.assert_allclose(grid(without, SHAPE).ffn[:, 0], [row.mean() for row in made.values.neurons])


def test_rows_with_fewer_heads_are_padded_with_nothing() -> None:
    assert np.isnan(grid(scores(UNEVEN).values, UNEVEN).heads).sum(1).tolist() == [0, 2, 4]


def test_layers_that_share_a_row_are_shown_by_their_mean() -> None:
    made = scores(SHARED)
    assert made.values.layers is not None
    np.testing.assert_allclose(grid(made.values, SHARED).layers, [[made.values.layers.mean()]])


def test_ranks_go_from_lowest_0_to_highest_1_and_ties_share_their_place() -> None:
    values = Grid(np.array([[3.0, 1.0], [1.0, 9.0]]), np.array([[np.nan]]), np.array([[5.0]]))
    placed = ranks(values)
    np.testing.assert_allclose(placed.heads, [[2 / 3, 1 / 6], [1 / 6, 1.0]])
    assert np.isnan(placed.ffn).all()


def test_equal_scores_have_equal_colours_in_all_applications() -> None:
    a = Grid(np.array([[0.0, 2.0]]), np.array([[1.0]]), np.array([[1.0]]))
    b = Grid(np.array([[2.0, 4.0]]), np.array([[3.0]]), np.array([[1.0]]))
    (first, second), logarithmic = shades([a, b])
    assert not logarithmic
    np.testing.assert_allclose(first.heads, [[0.0, 0.5]])
    np.testing.assert_allclose(second.heads, [[0.5, 1.0]])


def test_scores_with_a_heavy_tail_are_coloured_by_their_logarithm() -> None:
    values = Grid(np.array([[1e-4, 1e-3, 1e-3, 1e-3, 1e-2, 1.0]]), np.array([[1.0]]), np.array([[1.0]]))
    (shaded,), logarithmic = shades([values])
    assert logarithmic
    np.testing.assert_allclose(shaded.heads[0, [0, 1, 4, 5]], [0, 0.25, 0.5, 1])


# The map


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


def with_heads(made: Scores, heads: np.ndarray) -> Scores:
    return replace(made, values=PartValues(**(made.values.by_kind | {"heads": tuple(heads)})), low=None, high=None)


# The cut


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


# Metric against budget


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


# Agreement


def test_rank_agreement_is_spearmans() -> None:
    first, second, other = scores(seed=1), scores(seed=2), scores(UNEVEN)
    agreement = rank_agreement([first, second, other], "heads")
    assert first.values.heads is not None
    assert second.values.heads is not None
    expected = spearmanr(np.concatenate(first.values.heads), np.concatenate(second.values.heads)).statistic
    np.testing.assert_allclose(agreement[:2, :2], [[1, expected], [expected, 1]])
    assert np.isnan(agreement[2, :2]).all()


def test_a_ranking_without_order_agrees_with_nothing() -> None:
    flat = with_heads(scores(), np.ones((3, 4)))
    assert np.isnan(rank_agreement([flat, scores()], "heads")[0]).all()
    assert len(agreement_matrix(["a", "b"], rank_agreement([flat, scores()], "heads"), LIGHT).layout.annotations) == 1


# Colours


@PALETTES
def test_the_sequential_scale_gets_steadily_lighter_or_darker(colours: Palette) -> None:
    steps = np.diff([lightness(colour_at(colours.sequential, s)) for s in np.linspace(0, 1, 60)])
    assert (steps < 1e-9).all() or (steps > -1e-9).all()


@PALETTES
def test_what_contributes_most_stands_out_from_the_page(colours: Palette) -> None:
    page = lightness(colours.page)
    assert abs(lightness(colours.sequential[-1][1]) - page) > 2 * abs(lightness(colours.sequential[0][1]) - page)


@pytest.mark.parametrize(("colour", "text"), [("#ffffff", "#10181f"), ("#000000", "#ffffff"), ("#0c4a6a", "#ffffff")])
def test_text_on_a_colour_is_readable(colour: str, text: str) -> None:
    assert readable_on(colour) == text


def test_charts_do_not_import_streamlit() -> None:
    for file in Path(dashboard.charts.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "streamlit" for name in names), file


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


# The application matrix, and candidates


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


def candidate(key: str, kept: float, value: float) -> MeasuredCut:
    return MeasuredCut(key, key, {"flops": kept, "parameters": kept, "bytes": kept}, replace(estimate(), value=value))


def test_what_is_unbeaten_is_found_by_looking_at_all_pairs() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        some = [candidate(str(i), *generator.integers(0, 8, 2) / 8) for i in range(12)]
        better = {
            one.key
            for one in some
            if not any(
                other.kept["flops"] <= one.kept["flops"]
                and other.estimate.value >= one.estimate.value
                and (other.kept["flops"], other.estimate.value) != (one.kept["flops"], one.estimate.value)
                for other in some
            )
        }
        found = unbeaten(some, "flops")
        assert {one.key for one in found} <= better
        places = {(one.kept["flops"], one.estimate.value) for one in some if one.key in better}
        assert {(one.kept["flops"], one.estimate.value) for one in found} == places


@PALETTES
def test_named_candidates_are_written_beside_their_points(colours: Palette) -> None:
    others, named = [candidate("x", 0.5, 0.8), candidate("half", 0.5, 0.8)], [candidate("half", 0.5, 0.8)]
    figure = pareto(others, named, estimate(), "flops", colours)
    assert [note.text for note in figure.layout.annotations if note.text] == ["half"]
    drawn = [cell[0] for trace in figure.data if trace.customdata is not None for cell in trace.customdata]
    assert Counter(drawn) == {"": 1, "x": 1, "half": 1}  # the first is the original


# The strip under the slider


def points_of_polygon(html: str, tag: str) -> list[tuple[float, float]]:
    (written,) = re.findall(rf"<{tag} style='clip-path:polygon\(([^)]*)\)'", html)
    return [tuple(float(v) for v in re.findall(r"-?[\d.]+", point)) for point in written.split(",")]  # type: ignore[misc]


def test_the_strip_is_the_curve_in_the_sliders_range() -> None:
    keep = np.linspace(0, 1, 101)
    difference = np.where(keep < 0.4, np.nan, keep - 1)
    curve = LossCurve(keep, difference, np.where(keep < 0.4, -0.9, keep - 1.1), np.minimum(keep - 0.9, 0))
    html = strip(curve, least=0.2)
    band, line = points_of_polygon(html, "i"), points_of_polygon(html, "b")
    assert min(x for x, _ in line) == min(x for x, _ in band) == pytest.approx(25)  # 0.4, of 0.2 to 1
    assert max(x for x, _ in line) == pytest.approx(100)
    assert min(y for _, y in band) == 0  # nothing lost
    assert max(y for _, y in band) == 100  # the worst of the band, 0.7 lost
    at_half = [y for x, y in line if x == pytest.approx(37.5)]
    assert np.mean(at_half) == pytest.approx(100 * 0.5 / 0.7, abs=0.1)
    assert strip(curve, least=1.0) == ""
    assert strip(LossCurve(keep, np.full(101, np.nan), keep - 1, keep - 1), least=0.2) == ""
