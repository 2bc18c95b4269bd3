"""The transfer matrix as an annotated heatmap: rows are cuts, columns applications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from asc_core.values import Estimate
from dashboard.charts.agreement import readable_on
from dashboard.charts.layout import styled
from dashboard.charts.palette import Palette, colour_at
from dashboard.text import numbers

ROW_HEIGHT = 46


def matrix_heatmap(
    rows: Sequence[str],
    columns: Sequence[str],
    agnostic: Sequence[str],
    cells: Mapping[tuple[str, str], Estimate],
    colours: Palette,
) -> go.Figure:
    """What each application loses under each cut, in percentage points, with intervals; cells to come are empty.

    agnostic: the rows that know no application in particular; a line stands above them. The cut that was made for a
    column's own application is framed.
    """
    lost = np.full((len(rows), len(columns)), np.nan)
    texts = [["" for _ in columns] for _ in rows]
    notes = []
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            found = cells.get((row, column))
            if found is None or found.difference is None or found.difference_interval is None:
                continue
            lost[i, j] = 100 * found.difference
            texts[i][j] = (
                f"cut for <b>{row}</b>, measured on <b>{column}</b><br>{found.metric} {numbers.percent(found.value)} "
                f"{numbers.interval_of_percent(found.interval)}<br>{numbers.points(found.difference)} "
                f"{numbers.interval_of_points(found.difference_interval)} pp vs. original<br>"
                f"{found.split}, {numbers.thousands(found.examples)} examples"
            )
    worst = max(float(np.nanmax(np.abs(lost), initial=0.0)), 1.0)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            found = cells.get((row, column))
            if np.isnan(lost[i, j]) or found is None or found.difference_interval is None:
                notes.append({"x": j, "y": i, "text": "…", "showarrow": False, "font": {"color": colours.quiet}})
                continue
            ink = readable_on(colour_at(colours.diverging, (lost[i, j] / worst + 1) / 2))
            written = f"<b>{numbers.points(lost[i, j] / 100)}</b>"
            ends = numbers.interval_of_points(found.difference_interval)
            notes.append({"x": j, "y": i, "text": written, "yshift": 7, "showarrow": False, "font": {"color": ink}})
            small = {"size": 10, "color": ink}
            notes.append({"x": j, "y": i, "text": ends, "yshift": -9, "showarrow": False, "font": small})
    frames = [
        {
            "type": "rect",
            "x0": columns.index(row) - 0.48,
            "x1": columns.index(row) + 0.48,
            "y0": i - 0.46,
            "y1": i + 0.46,
            "line": {"width": 2, "color": colours.ink},
        }
        for i, row in enumerate(rows)
        if row in columns
    ]
    first = next((i for i, row in enumerate(rows) if row in agnostic), None)
    if first:
        edge = {"width": 1, "color": colours.quiet, "dash": "dot"}
        across = {"x0": -0.5, "x1": len(columns) - 0.5, "y0": first - 0.5, "y1": first - 0.5}
        frames.append({"type": "line", "line": edge, **across})
    figure = go.Figure(
        go.Heatmap(
            z=lost,
            x=list(columns),
            y=list(rows),
            zmin=-worst,
            zmax=worst,
            colorscale=colours.diverging,
            showscale=False,
            xgap=3,
            ygap=3,
            text=texts,
            hovertemplate="%{text}<extra></extra>",
            hoverongaps=False,
        ),
        layout={"annotations": notes, "shapes": frames},
    )
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(side="top")
    return styled(figure, colours, 34 + ROW_HEIGHT * len(rows), (96, 28, 6, 4))
