"""Metric against budget: everything that was measured, the original, and where the slider is now."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from asc_core.evaluate.loss_prediction import LossCurve
from asc_core.values import Estimate
from dashboard.charts.layout import styled
from dashboard.charts.palette import Palette, rgba
from dashboard.measuring.measured_cut import MeasuredCut, Way
from dashboard.text import numbers
from dashboard.text.names import BUDGET_NAMES

SYMBOLS: dict[Way, str] = {"cut": "triangle-up", "repaired": "circle", "further": "square"}
ORIGINAL = "diamond"


def metric_against_budget(
    measured: Sequence[MeasuredCut],
    original: Estimate | None,
    here: MeasuredCut | None,
    here_kept: float | None,
    budget: str,
    colours: Palette,
    height: int = 212,
    predicted: LossCurve | None = None,
) -> go.Figure:
    """Complete measurements are filled, partial ones hollow; whiskers are 95 % intervals of the metric.

    Circles are repaired cuts, triangles cuts without repair, squares what further steps were done to.

    here: the current recipe's measurement, None while there is none; here_kept: its share of the budget, None where it
    is not known. predicted: the
    differences to the original that are predicted for what is chosen now, drawn as a line in a band.
    """
    figure = styled(go.Figure(), colours, height, (44, 4, 6, 34))
    if predicted is not None and original is not None:
        figure.add_traces(_prediction(predicted, original, colours))
    if original is not None:
        figure.add_hline(y=100 * original.value, line={"color": colours.quiet, "width": 1, "dash": "dot"})
        figure.add_trace(points_of([_original(original)], budget, colours.ink, colours, ORIGINAL, 9))
    measured = [one for one in measured if budget in one.kept]
    others = [one for one in measured if here is None or one.key != here.key]
    for way, symbol in SYMBOLS.items():
        alike = [one for one in others if one.way == way]
        if alike:
            colour = colours.quiet if way == "cut" else colours.accent
            figure.add_trace(points_of(alike, budget, colour, colours, symbol, 7))
    if here_kept is not None:
        figure.add_vline(x=100 * here_kept, line={"color": colours.cut, "width": 1})
    if here is not None and here_kept is not None:
        figure.add_trace(points_of([here], budget, colours.cut, colours, SYMBOLS[here.way], 11))
        figure.add_annotation(
            x=100 * here_kept,
            y=0,  # at the foot of the line: beside the point the neighbours' intervals run through the words
            yref="paper",
            yanchor="bottom",
            text="you are here",
            showarrow=False,
            xshift=8 if here_kept < 0.9 else -8,
            xanchor="left" if here_kept < 0.9 else "right",
            font={"size": 11, "color": colours.cut},
        )
    every = [*(one.estimate for one in [*measured, *([here] if here else [])]), *([original] if original else [])]
    low = min((e.interval[0] for e in every), default=0.0)
    high = max((e.interval[1] for e in every), default=1.0)
    room = max(high - low, 0.02) * 0.12
    figure.update_yaxes(
        range=[100 * (low - room), 100 * (high + room)],
        ticksuffix=" %",
        nticks=5,
        showgrid=True,
        gridcolor=colours.line,
        gridwidth=1,
    )
    figure.update_xaxes(
        range=[-1, 103],
        ticksuffix=" %",
        nticks=11,
        title={"text": f"{BUDGET_NAMES[budget]} kept", "font": {"size": 11, "color": colours.quiet}, "standoff": 2},
    )
    return figure


def _prediction(curve: LossCurve, original: Estimate, colours: Palette) -> list[go.Scatter]:
    """The band, and the line in it."""
    x = (100 * curve.keep).tolist()
    differences = (curve.low, curve.difference, curve.high)
    low, line, high = (100 * np.maximum(original.value + y, 0) for y in differences)
    measured = ~np.isnan(line)  # below the smallest budget that was measured there is no line
    said = [
        f"predicted {numbers.percent(y / 100)} [{numbers.percent(a / 100)}, {numbers.percent(b / 100)}]"
        for y, a, b in zip(line[measured], low[measured], high[measured], strict=True)
    ]
    edge = {"mode": "lines", "line": {"width": 0, "shape": "hv"}, "hoverinfo": "skip"}
    return [
        go.Scatter(x=x, y=low.tolist(), **edge),
        go.Scatter(x=x, y=high.tolist(), fill="tonexty", fillcolor=rgba(colours.accent, 0.12), **edge),
        go.Scatter(
            x=[place for place, there in zip(x, measured, strict=True) if there],
            y=line[measured].tolist(),
            mode="lines",
            line={"width": 1.5, "dash": "dot", "color": colours.accent},
            hovertext=said,
            hoverinfo="text",
        ),
    ]


def _original(estimate: Estimate) -> MeasuredCut:
    return MeasuredCut("", "original", dict.fromkeys(BUDGET_NAMES, 1.0), estimate)


def points_of(
    which: Sequence[MeasuredCut], budget: str, colour: str, colours: Palette, symbol: str, size: int
) -> go.Scatter:
    estimates = [one.estimate for one in which]
    return go.Scatter(
        x=[100 * one.kept[budget] for one in which],
        y=[100 * e.value for e in estimates],
        mode="markers",
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [100 * (e.interval[1] - e.value) for e in estimates],
            "arrayminus": [100 * (e.value - e.interval[0]) for e in estimates],
            "color": colour,
            "thickness": 1,
            "width": 0,
        },
        marker={
            "symbol": symbol,
            "size": size,
            "color": [colour if e.complete else colours.page for e in estimates],
            "line": {"width": 1.5, "color": colour},
        },
        customdata=[[one.key] for one in which],
        hovertext=[_hover(one, budget) for one in which],
        hoverinfo="text",
    )


def _hover(one: MeasuredCut, budget: str) -> str:
    e = one.estimate
    lines = [
        f"<b>{one.name}</b>",
        f"{e.metric} {numbers.percent(e.value)} {numbers.interval_of_percent(e.interval)}",
    ]
    if e.difference is not None and e.difference_interval is not None:
        lines.append(
            f"{numbers.points(e.difference)} {numbers.interval_of_points(e.difference_interval)} pp vs. original"
        )
    lines.append(f"{numbers.percent(one.kept[budget], 0)} of the {BUDGET_NAMES[budget]}")
    lines.append(f"{e.split}, {numbers.thousands(e.examples)} of {numbers.thousands(e.total)} examples")
    lines += [f"{e.provisional}, not refined yet"] * bool(e.provisional)
    return "<br>".join(lines)
