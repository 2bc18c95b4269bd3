"""What all figures have in common."""

from __future__ import annotations

import plotly.graph_objects as go

from dashboard.charts.palette import Palette

FONT = '"Source Sans", "Source Sans Pro", "Segoe UI", system-ui, sans-serif'


def styled(figure: go.Figure, colours: Palette, height: int, margins: tuple[int, int, int, int]) -> go.Figure:
    """The common look. margins: left, top, right, bottom in pixels."""
    left, top, right, bottom = margins
    figure.update_layout(
        height=height,
        margin={"l": left, "t": top, "r": right, "b": bottom, "pad": 0},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "size": 12, "color": colours.ink},
        hoverlabel={
            "bgcolor": colours.panel,
            "bordercolor": colours.line,
            "font": {"family": FONT, "size": 12, "color": colours.ink},
            "align": "left",
        },
        showlegend=False,
        dragmode=False,
        hovermode="closest",
    )
    figure.update_xaxes(showgrid=False, zeroline=False, fixedrange=True, ticks="", tickfont={"color": colours.quiet})
    figure.update_yaxes(showgrid=False, zeroline=False, fixedrange=True, ticks="", tickfont={"color": colours.quiet})
    return figure
