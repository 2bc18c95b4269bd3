"""What could be deployed: points lost against MB or milliseconds, what is measured filled, what is forecast hollow."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from asc_core.recipes.deployment import Axis, Figure, Limits, Option
from dashboard.charts.layout import styled
from dashboard.charts.palette import Palette

UNITS: dict[Axis, str] = {"mb": "MB on disk", "ms": "ms a batch", "points": "points lost"}


def deployment_chart(
    options: Sequence[Option], limits: Limits, axis: Axis, colours: Palette, height: int = 300
) -> go.Figure:
    """axis: mb or ms. Dashed lines are the limits; the first option is the one that was found best."""
    figure = styled(go.Figure(), colours, height, (48, 8, 8, 40))
    shown = [one for one in options if drawable(one, axis)]
    for fits, colour in ((False, colours.quiet), (True, colours.accent)):
        alike = [one for one in shown if (one.excess(limits) == 0) == fits]
        if alike:
            figure.add_trace(_points(alike, axis, colour, colours, 9))
    best = options[0] if options and options[0] in shown and options[0].excess(limits) == 0 else None
    if best is not None:
        figure.add_trace(_points([best], axis, colours.cut, colours, 13))
    most, lost = limits.of[axis], limits.points
    line = {"color": colours.quiet, "width": 1, "dash": "dash"}
    if most is not None:
        figure.add_vline(x=most, line=line)
    if lost is not None:
        figure.add_hline(y=lost, line=line)
    title = {"font": {"size": 11, "color": colours.quiet}, "standoff": 2}
    figure.update_xaxes(rangemode="tozero", nticks=8, title={"text": UNITS[axis], **title})
    figure.update_yaxes(
        autorange="reversed", showgrid=True, gridcolor=colours.line, title={"text": UNITS["points"], **title}
    )
    return figure


def drawable(option: Option, axis: Axis) -> bool:
    """Whether both of its figures on the chart are known, measured or forecast."""
    return _known(option.figures[axis]) and _known(option.points)


def _points(which: Sequence[Option], axis: Axis, colour: str, colours: Palette, size: int) -> go.Scatter:
    return go.Scatter(
        x=[one.figures[axis].value for one in which],
        y=[one.points.value for one in which],
        mode="markers",
        marker={
            "size": size,
            "color": [colour if one.figures[axis].measured and one.points.measured else colours.page for one in which],
            "line": {"width": 1.5, "color": colour},
        },
        hovertext=[_hover(one) for one in which],
        hoverinfo="text",
    )


def _hover(one: Option) -> str:
    lines = [f"<b>{one.title}</b>"]
    for axis, figure in one.figures.items():
        value = f"{figure.value:.3g}" if _known(figure) else "not known"
        lines.append(f"{value} {UNITS[axis]}" + ("" if figure.measured else " (forecast)"))
    return "<br>".join(lines)


def _known(figure: Figure) -> bool:
    return figure.value == figure.value
