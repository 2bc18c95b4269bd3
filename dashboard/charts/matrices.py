"""Layers down, matrices across: how far outputs move when each one alone is in int8."""

from __future__ import annotations

from collections.abc import Collection
from html import escape

import numpy as np
import plotly.graph_objects as go

from asc_core.compress.matrix_scan import MatrixScan
from dashboard.charts.layout import styled
from dashboard.charts.palette import Palette
from dashboard.text import numbers

ROW_HEIGHT, ABOVE = 25, 60


def matrices_heatmap(scan: MatrixScan, stay: Collection[str], colours: Palette) -> go.Figure:
    """On a log scale, as divergences of matrices are orders of magnitude apart.

    stay: names of the matrices that stay in float32, which get a dot.
    """
    paths, divergence = scan.grid()
    with np.errstate(divide="ignore"):
        shade = np.log10(divergence)
    shade[np.isneginf(shade)] = np.nanmin(shade[np.isfinite(shade)], initial=0.0)
    effects = dict(zip(scan.names, zip(scan.alone, scan.numbers, strict=True), strict=True))
    texts = [["" for _ in paths] for _ in divergence]
    dots = []
    for row, column in np.argwhere(~np.isnan(divergence)):
        name = f"{row}.{paths[column]}"
        effect, count = effects[name]
        changed = f"<br>{numbers.percent(effect.changed, 2)} of the answers changed" if effect.decides else ""
        texts[row][column] = (
            f"<b>Layer {row + 1}, {escape(paths[column])}</b> alone in int8<br>divergence {effect.divergence:.1e}"
            f"{changed}<br>{numbers.thousands(count)} numbers, {'stays in float32' if name in stay else 'int8'}"
        )
        if name in stay:
            dots.append((column, row))
    heat = go.Heatmap(
        z=shade,
        x=list(range(len(paths))),
        y=list(range(len(divergence))),
        colorscale=colours.sequential,
        showscale=False,
        xgap=1.5,
        ygap=1.5,
        text=texts,
        hovertemplate="%{text}<extra></extra>",
        hoverongaps=False,
    )
    rings = go.Scatter(
        x=[x for x, _ in dots],
        y=[y for _, y in dots],
        mode="markers",
        marker={"symbol": "circle", "size": 8, "color": colours.page, "line": {"width": 1, "color": colours.quiet}},
        hoverinfo="skip",
    )
    figure = go.Figure([heat, rings])
    ticks = [escape(path).replace(".", "<br>") for path in paths]
    figure.update_xaxes(side="top", tickvals=list(range(len(paths))), ticktext=ticks, tickangle=0)
    rows = list(range(len(divergence)))
    figure.update_yaxes(autorange="reversed", tickvals=rows, ticktext=[f"L{row + 1}" for row in rows])
    return styled(figure, colours, ABOVE + 8 + ROW_HEIGHT * len(rows), (30, ABOVE, 4, 4))
