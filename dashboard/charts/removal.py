"""The loss while parts are removed in the order of each method: the smaller the area under the line, the better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from dashboard.charts.layout import styled
from dashboard.charts.palette import Palette, rgba
from dashboard.text import numbers


def loss_curves(
    removed: Sequence[float],
    chance: Sequence[float],
    chance_range: tuple[Sequence[float], Sequence[float]],
    curves: Mapping[str, Sequence[float]],
    best: str | None,
    truth: str | None,
    colours: Palette,
    height: int = 268,
) -> go.Figure:
    """removed: share removed at each point. chance: mean loss of random orders there; chance_range: the lowest and
    the highest of them, drawn as a band.

    curves: name -> mean loss at each point; the best and exact ablation (truth) stand out from the others.
    """
    figure = styled(go.Figure(), colours, height, (40, 8, 8, 34))
    percent = [100 * share for share in removed]
    shaded = rgba(colours.quiet, 0.13)
    lowest, highest = chance_range
    figure.add_trace(_line(percent, lowest, "", {"width": 0}, hover=False))
    figure.add_trace(_line(percent, highest, "", {"width": 0}, shaded, hover=False))
    figure.add_trace(_line(percent, chance, "random order", {"width": 1, "dash": "dot", "color": colours.quiet}))
    for name, losses in curves.items():
        if name not in (best, truth):
            figure.add_trace(_line(percent, losses, name, {"width": 1, "color": rgba(colours.quiet, 0.55)}))
    standing_out = ((truth, colours.ink, 1.5), (best, colours.cut, 2.5))
    for chosen, colour, width in standing_out:
        if chosen is not None and chosen in curves:
            figure.add_trace(_line(percent, curves[chosen], chosen, {"width": width, "color": colour}))
    figure.update_yaxes(
        range=_room(highest, curves.values()), nticks=5, showgrid=True, gridcolor=colours.line, gridwidth=1
    )
    figure.update_xaxes(
        range=[0, 100],
        ticksuffix=" %",
        nticks=6,
        title={"text": "removed, lowest scores first", "font": {"size": 11, "color": colours.quiet}, "standoff": 2},
    )
    return figure.update_layout(hovermode="closest")


def _line(
    x: Sequence[float], y: Sequence[float], name: str, line: dict, fill: str | None = None, hover: bool = True
) -> go.Scatter:
    return go.Scatter(
        x=list(x),
        y=list(y),
        mode="lines",
        line=line,
        fill="tonexty" if fill else None,
        fillcolor=fill,
        hovertext=[
            f"<b>{name}</b><br>{numbers.percent(a / 100, 0)} removed, loss {b:.3f}" for a, b in zip(x, y, strict=True)
        ],
        hoverinfo="text" if hover else "skip",
    )


def _room(chance: Sequence[float], curves: object) -> list[float]:
    """Orders much worse than a random one would flatten all others: they may leave at the top."""
    low = min(min(chance), *(min(c) for c in curves), chance[0])  # type: ignore[attr-defined]
    high = max(chance)
    gap = max(high - low, 1e-6)
    return [low - 0.05 * gap, high + 0.12 * gap]
