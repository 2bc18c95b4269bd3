"""The map: heads x layers for every application side by side on one colour scale, with FFN and layer columns.

A heatmap trace tells streamlit nothing about clicks, so transparent square markers lie over every cell; they also carry
the hover text. `customdata` of a marker is [panel, kind, row, number], which is what a view gets back on a click.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from asc_core.plan import Part
from asc_core.scores.compare import lowest
from asc_core.values import Scores, Shape
from dashboard.charts.grid import COLUMNS, Grid, grid, interval_at, interval_grids, parts, ranks, shades, value_at
from dashboard.charts.layout import styled
from dashboard.charts.palette import Palette, Scale
from dashboard.text import numbers
from dashboard.text.names import part_name

FFN_GAP = 0.55
COLUMN_WIDTH = {"ffn": 1.35, "layers": 1.35}
CELL_HEIGHT = 25
ABOVE, BELOW = 26, 20


@dataclass(frozen=True)
class Panel:
    """One application's scores, with the name to write above them. note: what else to write there."""

    title: str
    scores: Scores
    note: str = ""

    @property
    def heading(self) -> str:
        return f"{self.title} · {self.note}" if self.note else self.title


@dataclass(frozen=True)
class Maps:
    """A figure and the colour scale that all of its maps share; ends: what its two ends mean."""

    figure: go.Figure
    scale: Scale
    ends: tuple[str, str]


def side_by_side(
    panels: Sequence[Panel],
    colours: Palette,
    by_rank: bool,
    columns: int = 3,
    selected: tuple[int, Part] | None = None,
    undecided: Sequence[Collection[Part]] = (),
) -> Maps:
    """One map a panel, all on one colour scale: by place within its kind and application, or by the score itself.

    undecided: for each panel the cells that get a dot, since their interval crosses the cut.
    """
    grids = [grid(panel.scores.values, panel.scores.shape) for panel in panels]
    ends_of = [interval_grids(panel.scores) for panel in panels]
    placed = [ranks(one) for one in grids]
    shown, logarithmic = (placed, False) if by_rank else shades(grids)

    def hover(panel: int, part: Part) -> str:
        text = _hover(panels[panel], grids[panel], placed[panel], interval_at(ends_of[panel], part), part)
        doubt = bool(undecided) and part in undecided[panel]
        return text + ("<br>undecided: its interval crosses the cut" if doubt else "")

    if by_rank:
        ends = ("lowest of its kind", "highest")
    else:
        ends = ("lowest score of its kind" + (", log scale" if logarithmic else ""), "highest")
    shapes = [panel.scores.shape for panel in panels]
    titles = [panel.heading for panel in panels]
    figure = _maps(shapes, titles, shown, hover, colours, colours.sequential, (0, 1), columns, selected, undecided)
    return Maps(figure, colours.sequential, ends)


def difference(first: Panel, second: Panel, colours: Palette) -> Maps:
    """Where one application ranks a part higher than another does. Both need the same shape."""
    grids = [grid(panel.scores.values, panel.scores.shape) for panel in (first, second)]
    placed = [ranks(one) for one in grids]
    change = placed[0].map(placed[1], np.subtract)

    def hover(_: int, part: Part) -> str:
        gap = value_at(change, part)
        lines = [f"<b>{part_name(part)}</b>"]
        for panel, own, place in zip((first, second), grids, placed, strict=True):
            lines.append(f"{panel.title}: {numbers.score(value_at(own, part))}, place {_place(place, part)}")
        lines.append(f"{numbers.points(gap, 0)} places in a hundred")
        return "<br>".join(lines)

    ends = (f"more to {second.title}", f"more to {first.title}")
    shape = first.scores.shape
    title = f"{first.heading} minus {second.heading}"
    return Maps(_maps([shape], [title], [change], hover, colours, colours.diverging, (-1, 1)), colours.diverging, ends)


def redundant_for(panels: Sequence[Panel], share: float, colours: Palette) -> Maps:
    """For how many applications a part is among the lowest `share` of its kind. All need the same shape."""
    low = [_low(grid(panel.scores.values, panel.scores.shape), share) for panel in panels]
    counts = Grid(*(np.sum([one.column(kind) for one in low], axis=0) for kind in COLUMNS))
    shown = Grid(*(1 - counts.column(kind) / len(panels) for kind in COLUMNS))

    def hover(_: int, part: Part) -> str:
        whom = [panel.title for panel, own in zip(panels, low, strict=True) if value_at(own, part) == 1]
        return f"<b>{part_name(part)}</b><br>redundant for {len(whom)} of {len(panels)}: {', '.join(whom) or 'none'}"

    ends = (f"redundant for all {len(panels)}", "for none")
    title = f"Among the lowest {numbers.percent(share, 0)} for how many applications"
    unsettled = [panel.heading for panel in panels if panel.note]
    title += f" ({', '.join(unsettled)})" if unsettled else ""
    shape = panels[0].scores.shape
    return Maps(_maps([shape], [title], [shown], hover, colours, colours.sequential, (0, 1)), colours.sequential, ends)


def needs_map(
    shape: Shape,
    difference: np.ndarray,
    p: np.ndarray,
    significant: np.ndarray,
    titles: tuple[str, str],
    colours: Palette,
) -> Maps:
    """Which of two applications needs each head more. All arrays (heads,), flat: difference of shares, p value, bool.

    Significant heads get a dot.
    """
    most = max(float(np.abs(difference).max(initial=0)), 1e-12)
    ends = np.cumsum(shape.heads)[:-1]
    empty = Grid(*(np.full((len(shape.heads), n), np.nan) for n in (max(shape.heads, default=0), 1, 1)))
    for row, values in enumerate(np.split(difference, ends)):
        empty.heads[row, : len(values)] = values / most
    rows = np.repeat(np.arange(len(shape.heads)), shape.heads)
    numbers_in_row = np.arange(len(rows)) - np.searchsorted(rows, rows)
    flat = {
        (int(row), int(number)): place for place, (row, number) in enumerate(zip(rows, numbers_in_row, strict=True))
    }

    def hover(_: int, part: Part) -> str:
        place = flat[part.row, part.number or 0]
        who = titles[0] if difference[place] > 0 else titles[1]
        return (
            f"<b>{part_name(part)}</b><br>{numbers.points(abs(difference[place]), 2)} points of share more on {who}"
            f"<br>p {p[place]:.2g}, all heads together"
        )

    marked = [Part("heads", row, number) for (row, number), place in flat.items() if significant[place]]
    figure = _maps([shape], [""], [empty], hover, colours, colours.diverging, (-1, 1), marked=[marked])
    return Maps(figure, colours.diverging, (f"more to {titles[1]}", f"more to {titles[0]}"))


def _maps(
    shapes: Sequence[Shape],
    titles: Sequence[str],
    shown: Sequence[Grid],
    hover: Callable[[int, Part], str],
    colours: Palette,
    scale: Scale,
    limits: tuple[float, float],
    columns: int = 1,
    selected: tuple[int, Part] | None = None,
    marked: Sequence[Collection[Part]] = (),
) -> go.Figure:
    columns = min(columns, len(shapes))
    lines = -(-len(shapes) // columns)
    most_rows = max(len(shape.heads) for shape in shapes)
    cell = CELL_HEIGHT if most_rows <= 8 else max(13, CELL_HEIGHT * 8 // most_rows)
    height = lines * (most_rows * cell + ABOVE + BELOW) + (lines - 1) * 6
    figure = make_subplots(
        rows=lines,
        cols=columns,
        subplot_titles=[f"<b>{title}</b>" for title in titles],
        horizontal_spacing=0.028,
        vertical_spacing=(ABOVE + BELOW + 6) / (height - ABOVE - BELOW) if lines > 1 else 0.0,
    )
    for title in figure.layout.annotations:
        title.update(font={"size": 13, "color": colours.ink}, yshift=3, xanchor="left", x=_left_of(figure, title))
    for index, (shape, values) in enumerate(zip(shapes, shown, strict=True)):
        line, column = index // columns + 1, index % columns + 1
        if marked and marked[index]:
            figure.add_trace(_dots(marked[index], shape, colours), row=line, col=column)
        for kind in COLUMNS:
            for trace in _cells(index, kind, shape, values, hover, scale, limits, colours.missing):
                figure.add_trace(trace, row=line, col=column)
        _axes(figure, line, column, shape, colours)
        if selected is not None and selected[0] == index:
            figure.add_shape(_outline(selected[1], shape, colours.cut), row=line, col=column)
    return styled(figure, colours, height, (26, ABOVE, 4, BELOW))


def column_place(kind: str, shape: Shape) -> tuple[float, float]:
    """(left edge, width) of a column, where a head is 1 wide and the first begins at 0."""
    heads = max(shape.heads, default=0)
    if kind == "heads":
        return 0.0, 1.0
    ffn = heads + FFN_GAP
    return (ffn, COLUMN_WIDTH["ffn"]) if kind == "ffn" else (ffn + COLUMN_WIDTH["ffn"] + 0.15, COLUMN_WIDTH["layers"])


def centre(part: Part, shape: Shape) -> tuple[float, float]:
    left, width = column_place(part.kind, shape)
    return left + width * ((part.number or 0) + 0.5), float(part.row)


def _left_of(figure: go.Figure, title: go.layout.Annotation) -> float:
    """The left edge of the subplot whose title is centred above it."""
    domains = [figure.layout[name].domain for name in figure.layout if str(name).startswith("xaxis")]
    return min((d[0] for d in domains if d[0] <= title.x <= d[1]), default=0.0)


def _cells(
    index: int,
    kind: str,
    shape: Shape,
    values: Grid,
    hover: Callable[[int, Part], str],
    scale: Scale,
    limits: tuple[float, float],
    missing: str,
) -> list[go.Heatmap | go.Scatter]:
    """The coloured cells, those of which the method says nothing, and the transparent markers."""
    cells = values.column(kind)
    if not cells.size:
        return []
    left, width = column_place(kind, shape)
    common = {
        "x": left + width * np.arange(cells.shape[1] + 1),
        "y": np.arange(len(cells) + 1) - 0.5,
        "showscale": False,
        "xgap": 1.5,
        "ygap": 1.5,
        "hoverinfo": "skip",
    }
    there = np.array([[part is not None for part in row] for row in parts(shape, kind)])
    silent = np.where(np.isnan(cells) & there, 0.0, np.nan)
    blank = go.Heatmap(z=silent, colorscale=((0, missing), (1, missing)), **common)
    heat = go.Heatmap(z=cells, zmin=limits[0], zmax=limits[1], colorscale=scale, **common)
    if np.isnan(cells).all():
        return [blank]
    present = [part for row in parts(shape, kind) for part in row if part is not None]
    present = [part for part in present if not np.isnan(value_at(values, part))]
    places = [centre(part, shape) for part in present]
    markers = go.Scatter(
        x=[x for x, _ in places],
        y=[y for _, y in places],
        mode="markers",
        marker={"symbol": "square", "size": 21, "opacity": 0},
        selected={"marker": {"opacity": 0}},
        unselected={"marker": {"opacity": 0}},
        customdata=[[index, part.kind, part.row, part.number] for part in present],
        hovertext=[hover(index, part) for part in present],
        hoverinfo="text",
    )
    return [blank, heat, markers] if (~np.isnan(silent)).any() else [heat, markers]


def _dots(which: Collection[Part], shape: Shape, colours: Palette) -> go.Scatter:
    """Rings that show on light and dark cells alike. They lie below the squares that take the clicks."""
    places = [centre(part, shape) for part in sorted(which, key=str)]
    return go.Scatter(
        x=[x for x, _ in places],
        y=[y for _, y in places],
        mode="markers",
        marker={"symbol": "circle", "size": 5, "color": colours.page, "line": {"width": 1, "color": colours.quiet}},
        hoverinfo="skip",
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
    )


def _axes(figure: go.Figure, line: int, column: int, shape: Shape, colours: Palette) -> None:
    rows, heads = len(shape.heads), max(shape.heads, default=0)
    ffn, layer = (sum(column_place(kind, shape)) - COLUMN_WIDTH[kind] / 2 for kind in ("ffn", "layers"))
    every = 1 if heads <= 12 else 2
    ticks = [n + 0.5 for n in range(0, heads, every)] + [ffn, layer]
    names = [str(n + 1) for n in range(0, heads, every)] + ["FFN", "layer"]
    right = sum(column_place("layers", shape)) + 0.1
    style = {"size": 10, "color": colours.quiet}
    figure.update_xaxes(
        range=[-0.1, right], tickvals=ticks, ticktext=names, tickfont=style, tickangle=0, row=line, col=column
    )
    figure.update_yaxes(
        range=[rows - 0.5, -0.5],
        tickvals=list(range(rows)),
        ticktext=[f"L{row + 1}" for row in range(rows)],
        tickfont=style,
        row=line,
        col=column,
    )


def _outline(part: Part, shape: Shape, colour: str) -> dict:
    x, y = centre(part, shape)
    half = column_place(part.kind, shape)[1] / 2
    return {
        "type": "rect",
        "x0": x - half,
        "x1": x + half,
        "y0": y - 0.5,
        "y1": y + 0.5,
        "line": {"color": colour, "width": 2},
    }


def _hover(panel: Panel, values: Grid, placed: Grid, interval: tuple[float, float] | None, part: Part) -> str:
    written = f" [{numbers.score(interval[0])}, {numbers.score(interval[1])}]" if interval else ""
    lines = [
        f"<b>{part_name(part)}</b> · {panel.title}",
        f"{panel.scores.method} {numbers.score(value_at(values, part))}{written}",
        f"place {_place(placed, part)} among {_kind_name(part.kind)}",
        f"{panel.scores.split}, {numbers.thousands(panel.scores.examples)} examples",
    ]
    return "<br>".join(lines)


def _place(placed: Grid, part: Part) -> str:
    """1 = contributes most."""
    column = placed.column(part.kind)
    count = int((~np.isnan(column)).sum())
    return f"{round(count - value_at(placed, part) * max(count - 1, 1))} of {count}"


def _kind_name(kind: str) -> str:
    return {"heads": "heads", "ffn": "FFN sublayers", "layers": "layers"}[kind]


def _low(of: Grid, share: float) -> Grid:
    """1 for the lowest share of each kind, 0 for all others, NaN where there is no such part."""

    def column(values: np.ndarray) -> np.ndarray:
        found = np.full(values.shape, np.nan)
        present = ~np.isnan(values)
        found[present] = lowest(values[present], share)
        return found

    return Grid(*(column(of.column(kind)) for kind in COLUMNS))
