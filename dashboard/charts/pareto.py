"""Candidates: metric against what is left, and which of them no other one beats in both."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from asc_core.values import Estimate
from dashboard.charts.frontier import ORIGINAL, points_of
from dashboard.charts.layout import styled
from dashboard.charts.palette import Palette
from dashboard.measuring.measured_cut import MeasuredCut
from dashboard.text.names import BUDGET_NAMES


def unbeaten(measured: Sequence[MeasuredCut], budget: str) -> list[MeasuredCut]:
    """Those that no other one beats: at most as costly and at least as good, and better in one. Cheapest first."""
    kept: list[MeasuredCut] = []
    for one in sorted(measured, key=lambda m: (m.kept[budget], -m.estimate.value)):
        if not kept or one.estimate.value > kept[-1].estimate.value:
            kept.append(one)
    return kept


def pareto(
    measured: Sequence[MeasuredCut],
    named: Sequence[MeasuredCut],
    original: Estimate | None,
    budget: str,
    colours: Palette,
    height: int = 340,
) -> go.Figure:
    """measured: everything; named: those that are written beside their point (pinned cuts, presets).

    A stepped line joins what is unbeaten. Whiskers are 95 % intervals.
    """
    figure = styled(go.Figure(), colours, height, (48, 8, 8, 36))
    if original is not None:
        figure.add_hline(y=100 * original.value, line={"color": colours.quiet, "width": 1, "dash": "dot"})
        whole = MeasuredCut("", "original", dict.fromkeys(BUDGET_NAMES, 1.0), original)
        figure.add_trace(points_of([whole], budget, colours.ink, colours, ORIGINAL, 9))
    measured, named = ([one for one in which if budget in one.kept] for which in (measured, named))
    keys = {one.key for one in named}
    best = unbeaten([*[one for one in measured if one.key not in keys], *named], budget)
    if len(best) > 1:
        figure.add_trace(
            go.Scatter(
                x=[100 * one.kept[budget] for one in best],
                y=[100 * one.estimate.value for one in best],
                mode="lines",
                line={"shape": "hv", "width": 1.5, "color": colours.accent},
                hoverinfo="skip",
            )
        )
    others = [one for one in measured if one.key not in keys]
    if others:
        figure.add_trace(points_of(others, budget, colours.quiet, colours, "circle", 6))
    if named:
        figure.add_trace(points_of(named, budget, colours.cut, colours, "circle", 10))
    for one in named:
        left = one.kept[budget] > 0.6
        figure.add_annotation(
            x=100 * one.kept[budget],
            y=100 * one.estimate.value,
            text=one.name,
            showarrow=False,
            xanchor="right" if left else "left",
            xshift=-9 if left else 9,
            font={"size": 11, "color": colours.cut},
        )
    figure.update_yaxes(ticksuffix=" %", nticks=6, showgrid=True, gridcolor=colours.line)
    figure.update_xaxes(
        range=[-1, 103],
        ticksuffix=" %",
        nticks=11,
        title={"text": f"{BUDGET_NAMES[budget]} kept", "font": {"size": 11, "color": colours.quiet}, "standoff": 2},
    )
    return figure
