"""How far the applications agree on which parts matter."""

from __future__ import annotations

import streamlit as st

from dashboard.charts.agreement import agreement_matrix, rank_agreement
from dashboard.charts.grid import grid
from dashboard.charts.heatmap import Panel
from dashboard.widgets.page import CHART_CONFIG
from dashboard.widgets.theme import colours

KINDS = {"heads": "heads", "ffn": "FFNs", "layers": "layers"}


def panel(panels: list[Panel]) -> None:
    if len(panels) < 2:
        return
    scores = [panel.scores for panel in panels]
    kinds = [
        kind
        for kind in KINDS
        if not (
            grid(scores[0].values, scores[0].shape).column(kind) != grid(scores[0].values, scores[0].shape).column(kind)
        ).all()
    ]
    with st.container(border=True, key="map-agreement"):
        title, choice = st.columns([3, 2], vertical_alignment="center")
        title.html("<p class='asc-kicker'>Rank agreement (Spearman)</p>")
        kind = choice.selectbox(
            "of", kinds, format_func=KINDS.__getitem__, key="map-kind", label_visibility="collapsed"
        )
        figure = agreement_matrix([panel.title for panel in panels], rank_agreement(scores, kind), colours())
        st.plotly_chart(figure, theme=None, config=CHART_CONFIG, key="map-agreement-chart")
