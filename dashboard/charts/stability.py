"""Rank stability against the number of examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from dashboard.charts.layout import styled
from dashboard.charts.palette import Palette
from dashboard.tables.ranking_stability import ENOUGH, Stability
from dashboard.text.method_names import title_of


def stability_chart(
    found: Sequence[Stability], in_view: str, colours: Palette, height: int = 268, reach: float = 8.0
) -> go.Figure:
    """Points: measured. Dotted: predicted, up to `reach` times the examples. in_view: the method that stands out."""
    figure = styled(go.Figure(), colours, height, (40, 8, 8, 34))
    most = max(float(one.examples[-1]) for one in found)
    least = min(float(one.examples[0]) for one in found)
    for one in sorted(found, key=lambda each: each.method == in_view):
        chosen = one.method == in_view
        colour, width = (colours.cut, 2.5) if chosen else (colours.quiet, 1)
        ahead = np.geomspace(one.examples[-1], most * reach, 24)
        figure.add_trace(
            go.Scatter(
                x=ahead,
                y=one.at(ahead),
                mode="lines",
                line={"color": colour, "width": width, "dash": "dot"},
                opacity=1 if chosen else 0.5,
                hovertemplate=f"<b>{title_of(one.method)}</b><br>%{{x:,.0f}} examples: about %{{y:.3f}}<extra></extra>",
            )
        )
        figure.add_trace(
            go.Scatter(
                x=one.examples,
                y=one.values,
                mode="lines+markers",
                line={"color": colour, "width": width},
                marker={"size": 8 if chosen else 5, "color": colour if one.watched else colours.page}
                | {"line": {"width": 1.5, "color": colour}},
                opacity=1 if chosen else 0.6,
                hovertemplate=f"<b>{title_of(one.method)}</b><br>%{{x:,}} examples: %{{y:.3f}}<extra></extra>",
            )
        )
    figure.add_hline(y=ENOUGH, line={"color": colours.accent, "width": 1, "dash": "dot"})
    figure.add_annotation(
        x=0,
        xref="paper",
        y=ENOUGH,
        text=f"{ENOUGH:g}: settled",
        showarrow=False,
        xanchor="left",
        yanchor="top",
        xshift=4,
        font={"size": 11, "color": colours.accent},
    )
    ends = [2.0**power for power in range(4, 17) if least / 1.5 <= 2.0**power <= most * reach]
    figure.update_xaxes(
        type="log",
        range=[float(np.log10(least / 1.15)), float(np.log10(most * reach))],
        tickvals=ends,
        ticktext=[f"{end:,.0f}" for end in ends],
        title={"text": "examples", "font": {"size": 11, "color": colours.quiet}, "standoff": 2},
    )
    lowest = min(float(one.values.min()) for one in found)
    figure.update_yaxes(
        range=[max(0.0, min(lowest, 0.8) - 0.04), 1.01], nticks=7, showgrid=True, gridcolor=colours.line, gridwidth=1
    )
    return figure
