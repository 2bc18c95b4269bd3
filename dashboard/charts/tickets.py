"""Tickets: the metric against the share of weights that is gone, beside the controls and the whole model."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from asc_core.train.ticket_kinds import TICKET
from dashboard.charts.layout import styled
from dashboard.charts.palette import Palette, rgba
from dashboard.text import numbers

DASHES = ("dot", "dash", "dashdot", "longdash")


def tickets_chart(report: dict[str, Any], colours: Palette, height: int = 300) -> go.Figure:
    """report: as `ticket_report.report` gives it. A band is one standard deviation of the whole model, over seeds."""
    figure = styled(go.Figure(), colours, height, (48, 8, 8, 40))
    dense, rounds = report["dense"], report["rounds"]
    gone = [100 * entry["sparsity"] for entry in rounds]
    spread = dense["deviation"] or 0.0
    figure.add_hrect(
        y0=100 * (dense["mean"] - spread), y1=100 * (dense["mean"] + spread), fillcolor=colours.quiet, opacity=0.13
    )
    figure.add_hline(y=100 * dense["mean"], line={"width": 1, "dash": "dot", "color": colours.quiet})
    names = dict.fromkeys(name for entry in rounds for name in entry if name not in ("round", "sparsity"))
    controls = [name for name in names if name != TICKET]
    for name in (*controls, *([TICKET] if TICKET in names else [])):
        line = (
            {"width": 2.5, "color": colours.cut}
            if name == TICKET
            else {"width": 1.2, "dash": DASHES[controls.index(name) % len(DASHES)], "color": rgba(colours.ink, 0.6)}
        )
        known = [(x, entry[name]["mean"]) for x, entry in zip(gone, rounds, strict=True) if name in entry]
        figure.add_trace(
            go.Scatter(
                x=[x for x, _ in known],
                y=[100 * mean for _, mean in known],
                mode="lines+markers",
                name=name,
                line=line,
                hovertext=[f"<b>{name}</b><br>{x:.0f} % gone, {numbers.percent(mean)}" for x, mean in known],
                hoverinfo="text",
            )
        )
    figure.update_xaxes(
        ticksuffix=" %",
        title={"text": f"{report['kind']} gone", "font": {"size": 11, "color": colours.quiet}, "standoff": 2},
    )
    figure.update_yaxes(ticksuffix=" %", nticks=6, showgrid=True, gridcolor=colours.line, gridwidth=1)
    return figure.update_layout(hovermode="closest", showlegend=True, legend={"orientation": "h", "y": 1.12})
