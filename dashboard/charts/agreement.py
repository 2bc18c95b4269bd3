"""How far applications (or methods) agree on which parts matter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from scipy.stats import spearmanr

from asc_core.values import Scores
from dashboard.charts.grid import grid
from dashboard.charts.layout import styled
from dashboard.charts.palette import Palette, colour_at


def rank_agreement(scores: Sequence[Scores], kind: str) -> np.ndarray:
    """(n, n) Spearman correlations of the parts of one kind (heads, ffn or layers); NaN where shapes differ or a
    ranking has no order."""
    flat = [grid(one.values, one.shape).column(kind).ravel() for one in scores]
    agreement = np.full((len(flat), len(flat)), np.nan)
    for i, first in enumerate(flat):
        for j, second in enumerate(flat):
            if scores[i].shape != scores[j].shape:
                continue
            both = ~np.isnan(first) & ~np.isnan(second)
            if both.sum() > 2 and np.ptp(first[both]) > 0 and np.ptp(second[both]) > 0:
                agreement[i, j] = spearmanr(first[both], second[both]).statistic
    return agreement


def agreement_matrix(names: Sequence[str], agreement: np.ndarray, colours: Palette) -> go.Figure:
    """agreement: (n, n), -1 to 1."""
    figure = go.Figure(
        go.Heatmap(
            z=agreement,
            x=list(names),
            y=list(names),
            zmin=-1,
            zmax=1,
            colorscale=colours.diverging,
            showscale=False,
            xgap=2,
            ygap=2,
            hovertemplate="%{y} and %{x}: Spearman %{z:.3f}<extra></extra>",
        )
    )
    figure.update_layout(
        annotations=[
            {
                "x": j,
                "y": i,
                "text": f"{value:.2f}" if i != j else "1",
                "showarrow": False,
                "font": {"size": 11, "color": readable_on(colour_at(colours.diverging, (value + 1) / 2))},
            }
            for i, row in enumerate(agreement)
            for j, value in enumerate(row)
            if not np.isnan(value)
        ]
    )
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(side="top", tickangle=-35, tickfont={"size": 11})
    return styled(figure, colours, 62 + 28 * len(names), (74, 56, 18, 4))


def readable_on(colour: str) -> str:
    """Dark or light text, whichever stands out more from a colour (WCAG relative luminance)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#10181f" if (luminance + 0.05) / 0.058 > 1.05 / (luminance + 0.05) else "#ffffff"
