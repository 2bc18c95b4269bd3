"""What tests of several charts need: both palettes, and the markers that take clicks."""

from __future__ import annotations

import plotly.graph_objects as go
import pytest

from dashboard.charts.palette import DARK, LIGHT

PALETTES = pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])


def targets(figure: go.Figure) -> list[tuple[list, str]]:
    """(customdata, hover text) of every transparent marker."""
    found: list[tuple[list, str]] = []
    for trace in figure.data:
        if isinstance(trace, go.Scatter) and trace.customdata is not None and trace.marker.opacity == 0:
            found += zip([list(c) for c in trace.customdata], trace.hovertext, strict=True)
    return found
