"""The map with the cut drawn in, and the histogram of scores with the threshold in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from asc_core.plan import Part, threshold_of, undecided
from asc_core.values import Plan, Scores, Shape
from dashboard.charts.grid import grid, interval_at, interval_grids, parts, ranks, value_at
from dashboard.charts.heatmap import centre, column_place
from dashboard.charts.layout import styled
from dashboard.charts.palette import Palette, colour_at
from dashboard.state.plan_masks import ffn_share, heads_kept, layer_share, running_rows
from dashboard.text import numbers
from dashboard.text.names import part_name

BINS = 32
EMPTY = "rgba(0,0,0,0)"


@dataclass(frozen=True)
class ByHand:
    """Parts that the user keeps or cuts whatever the rule says; ffn and layers as whole parts."""

    kept: frozenset[Part] = field(default_factory=frozenset)
    cut: frozenset[Part] = field(default_factory=frozenset)


def cut_map(
    scores: Scores,
    plan: Plan,
    by_hand: ByHand,
    colours: Palette,
    height: int = 300,
    each_layer: bool = False,
    boxes: bool = False,
) -> go.Figure:
    """What the plan keeps (coloured by score), what it cuts (hollow), and what was decided by hand.

    each_layer: whether the rule compares heads with those of their own layer only. boxes: whether dragging draws one
    over cells; streamlit then takes no clicks.
    Marker `customdata` is [0, kind, row, number] as in the map.
    """
    shape = scores.shape
    values, open_questions = grid(scores.values, shape), _undecided(scores, plan, by_hand, each_layer)
    placed = ranks(values)
    drawn = _Drawn(plan, colours)
    head_state = heads_kept(plan)
    for row_parts in parts(shape, "heads"):
        for part in row_parts:
            if part is not None:
                drawn.cell(part, float(head_state[part.row, part.number or 0]), value_at(placed, part))
    for row in range(len(shape.heads)):
        drawn.ffn(row)
        drawn.layer(row, value_at(placed, Part("layers", row)))
    figure = go.Figure(layout={"shapes": drawn.shapes, "annotations": drawn.texts})
    _marks(figure, plan, by_hand, open_questions, colours)
    _targets(figure, scores, plan, by_hand, open_questions)
    rows, heads = len(shape.heads), max(shape.heads, default=0)
    ffn, layer = (sum(column_place(kind, shape)) - column_place(kind, shape)[1] / 2 for kind in ("ffn", "layers"))
    every = 1 if heads <= 12 else 2
    figure.update_xaxes(
        range=[-0.1, sum(column_place("layers", shape)) + 0.1],
        tickvals=[n + 0.5 for n in range(0, heads, every)] + [ffn, layer],
        ticktext=[str(n + 1) for n in range(0, heads, every)] + ["FFN", "layer"],
        side="top",
        tickangle=0,
    )
    figure.update_yaxes(
        range=[rows - 0.5, -0.5], tickvals=list(range(rows)), ticktext=[f"L{row + 1}" for row in range(rows)]
    )
    styled(figure, colours, height, (26, 22, 2, 2))
    if boxes:
        figure.update_layout(dragmode="select", newselection={"line": {"color": colours.cut, "width": 1.5}})
    return figure


def score_histogram(scores: Scores, plan: Plan, colours: Palette, height: int = 112) -> go.Figure | None:
    """How the scores of heads and of neurons are spread, what is cut, and where the threshold falls.

    None where the method scores neither; then layers are shown if it has those.
    """
    kinds = [kind for kind in ("heads", "neurons") if getattr(scores.values, kind) is not None] or (
        ["layers"] if scores.values.layers is not None else []
    )
    if not kinds:
        return None
    figure = make_subplots(rows=1, cols=len(kinds), horizontal_spacing=0.09)
    for column, kind in enumerate(kinds, start=1):
        flat, kept = _flat_with_state(scores, plan, kind)
        logarithmic = flat.size > 4 and flat.min() >= 0 and flat.max() > 20 * max(float(np.median(flat)), 1e-300)
        x, unit = (np.log10(np.maximum(flat, flat.max() * 1e-6)), "log₁₀ ") if logarithmic else (flat, "")
        edges = np.histogram_bin_edges(x, bins=min(BINS, max(6, x.size // 2)))
        middles, width = (edges[:-1] + edges[1:]) / 2, float(edges[1] - edges[0])
        for chosen, colour, name in ((kept, colours.accent, "kept"), (~kept, colours.cut, "cut")):
            figure.add_trace(
                go.Bar(
                    x=middles,
                    y=np.histogram(x[chosen], bins=edges)[0],
                    width=width,
                    marker={"color": colour, "opacity": 0.85 if name == "kept" else 0.55, "line": {"width": 0}},
                    hovertemplate=f"%{{y}} {kind} {name}<br>{unit}score about %{{x:.3g}}<extra></extra>",
                ),
                row=1,
                col=column,
            )
        threshold = threshold_of(scores, plan, kind)
        if threshold is not None and (~kept).any():
            place = float(np.log10(max(threshold, flat.max() * 1e-6))) if logarithmic else threshold
            figure.add_vline(x=place, line={"color": colours.ink, "width": 1.5}, row=1, col=column)
        figure.update_xaxes(
            title={"text": f"{kind} ({unit}score)", "font": {"size": 10, "color": colours.quiet}, "standoff": 2},
            tickfont={"size": 9},
            nticks=4,
            row=1,
            col=column,
        )
        figure.update_yaxes(showticklabels=False, row=1, col=column)
    figure.update_layout(barmode="stack", bargap=0)
    return styled(figure, colours, height, (2, 4, 2, 32))


class _Drawn:
    """Shapes and texts, put into the figure all at once: plotly checks the whole list anew for every addition."""

    def __init__(self, plan: Plan, colours: Palette):
        self.plan, self.colours = plan, colours
        self.shapes: list[dict[str, Any]] = []
        self.texts: list[dict[str, Any]] = []

    def cell(self, part: Part, share: float, shade: float) -> None:
        """A frame, filled from the left as far as `share` of the part stays. shade: its place on the colour scale."""
        x, y = centre(part, self.plan.shape)
        half = column_place(part.kind, self.plan.shape)[1] / 2 - 0.05
        box: dict[str, Any] = {
            "type": "rect",
            "x0": x - half,
            "x1": x + half,
            "y0": y - 0.43,
            "y1": y + 0.43,
            "layer": "below",
        }
        if share < 1:
            self.shapes.append({**box, "fillcolor": EMPTY, "line": {"width": 1, "color": self.colours.line}})
        if share > 0:
            fill = colour_at(self.colours.sequential, 0.5 if np.isnan(shade) else 0.12 + 0.88 * shade)
            box["x1"] = box["x0"] + 2 * half * share
            self.shapes.append({**box, "fillcolor": fill, "line": {"width": 0}})

    def ffn(self, row: int) -> None:
        share = ffn_share(self.plan, row)
        self.cell(Part("ffn", row), share, 0.25)
        self._write(Part("ffn", row), f"{100 * share:.0f}%")

    def layer(self, row: int, shade: float) -> None:
        share = layer_share(self.plan, row)
        self.cell(Part("layers", row), share, shade)
        if self.plan.shape.shares_weights:
            iterations = self.plan.shape.rows.count(row)
            self._write(Part("layers", row), f"{round(share * iterations)}/{iterations}")

    def _write(self, part: Part, text: str) -> None:
        x, y = centre(part, self.plan.shape)
        font = {"size": 11, "color": self.colours.ink}
        self.texts.append({"x": x, "y": y, "text": text, "showarrow": False, "font": font})


def _marks(figure: go.Figure, plan: Plan, by_hand: ByHand, open_questions: set[Part], colours: Palette) -> None:
    """By hand: a ring for kept, a cross for cut. A dot where the interval crosses the cut."""
    marks: tuple[tuple[list[Part], dict[str, Any], float], ...] = (
        (sorted(open_questions, key=str), {"symbol": "circle", "size": 5, "color": colours.page}, 1.0),
        (sorted(open_questions, key=str), {"symbol": "circle-open", "size": 5, "color": colours.quiet}, 1.0),
        (
            _cells_of(by_hand.cut, plan.shape),
            {"symbol": "x-thin", "size": 9, "line": {"width": 2.5, "color": colours.cut}},
            1,
        ),
        (
            _cells_of(by_hand.kept, plan.shape),
            {"symbol": "square-open", "size": 17, "line": {"width": 2.5, "color": colours.cut}, "color": colours.cut},
            1,
        ),
    )
    for which, marker, opacity in marks:
        places = [_beside_text(part, plan.shape) for part in which]
        if places:
            marker = marker | {"size": [min(9, marker["size"]) if p.kind == "ffn" else marker["size"] for p in which]}
            figure.add_trace(
                go.Scatter(
                    x=[x for x, _ in places],
                    y=[y for _, y in places],
                    mode="markers",
                    marker=marker,
                    opacity=opacity,
                    hoverinfo="skip",
                    selected={"marker": {"opacity": 1}},
                    unselected={"marker": {"opacity": 1}},
                )
            )


def _beside_text(part: Part, shape: Shape) -> tuple[float, float]:
    """Where a mark goes: into the middle, but an FFN's says how much stays."""
    x, y = centre(part, shape)
    return (x, y - 0.3) if part.kind == "ffn" else (x, y)


def _cells_of(which: frozenset[Part], shape: Shape) -> list[Part]:
    return [part for part in sorted(which, key=str) if part.kind in ("heads", "ffn", "layers")]


def _targets(figure: go.Figure, scores: Scores, plan: Plan, by_hand: ByHand, open_questions: set[Part]) -> None:
    """The transparent squares that take clicks and carry what is known of each cell."""
    shape = scores.shape
    values, ends = grid(scores.values, shape), interval_grids(scores)
    kept = heads_kept(plan)
    cells: list[tuple[Part, str]] = []
    for row_parts in parts(shape, "heads"):
        for part in row_parts:
            if part is not None:
                cells.append((part, "kept" if kept[part.row, part.number] else "cut"))
    for row in range(len(shape.heads)):
        neurons = len(plan.neurons[row]) if row in running_rows(plan) else 0
        cells.append(
            (Part("ffn", row), f"{numbers.thousands(neurons)} of {numbers.thousands(shape.neurons[row])} neurons kept")
        )
        if not shape.shares_weights:
            cells.append((Part("layers", row), "kept" if row in running_rows(plan) else "cut"))
    texts = []
    for part, state in cells:
        lines = [f"<b>{part_name(part)}</b>: {state}{_why(part, by_hand)}"]
        value = value_at(values, part)
        if not np.isnan(value):
            interval = interval_at(ends, part)
            written = f" [{numbers.score(interval[0])}, {numbers.score(interval[1])}]" if interval else ""
            lines.append(f"{scores.method} {numbers.score(value)}{written}")
        if part in open_questions:
            lines.append("its interval crosses the cut: more examples could put it on the other side")
        texts.append("<br>".join(lines))
    places = [centre(part, shape) for part, _ in cells]
    figure.add_trace(
        go.Scatter(
            x=[x for x, _ in places],
            y=[y for _, y in places],
            mode="markers",
            marker={"symbol": "square", "size": 24, "opacity": 0},
            selected={"marker": {"opacity": 0}},
            unselected={"marker": {"opacity": 0}},
            customdata=[[0, part.kind, part.row, part.number] for part, _ in cells],
            hovertext=texts,
            hoverinfo="text",
        )
    )


def _why(part: Part, by_hand: ByHand) -> str:
    if part in by_hand.kept:
        return " by hand"
    return " by hand" if part in by_hand.cut else ""


def _undecided(scores: Scores, plan: Plan, by_hand: ByHand, each_layer: bool) -> set[Part]:
    """Heads that the rule has decided, whose interval contains the score at which the cut falls."""
    if scores.values.heads is None:
        return set()
    cut = threshold_of(scores, plan, "heads")
    if cut is None or heads_kept(plan).sum() == sum(plan.shape.heads):
        return set()
    found = undecided(scores, plan if each_layer else {"heads": cut})
    marked = {
        Part("heads", row, int(number))
        for row, flags in enumerate(found.heads or ())
        for number in np.flatnonzero(flags)
        if row in running_rows(plan)
    }
    return marked - by_hand.kept - by_hand.cut


def _flat_with_state(scores: Scores, plan: Plan, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """(scores, kept) of all parts of a kind, (n,) both."""
    running = running_rows(plan)
    if kind == "layers":
        assert scores.values.layers is not None
        return np.asarray(scores.values.layers, dtype=float), np.isin(np.arange(plan.shape.layers), plan.layers)
    flat, kept = [], []
    for row, values in enumerate(getattr(scores.values, kind)):
        flat.append(np.asarray(values, dtype=float))
        stay = np.zeros(len(values), dtype=bool)
        if row in running:
            stay[list(getattr(plan, kind)[row])] = True
        kept.append(stay)
    return np.concatenate(flat), np.concatenate(kept)
