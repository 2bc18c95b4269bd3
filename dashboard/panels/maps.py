"""The maps: side by side with clicks on their cells, the difference of two, or what is redundant for all."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from asc_core.plan import Part
from dashboard.charts.heatmap import Maps, Panel, difference, redundant_for, side_by_side
from dashboard.state.application import Application
from dashboard.state.session import Session
from dashboard.tables.undecided import PartStates, cut_in_view
from dashboard.text.markup import escape
from dashboard.widgets.page import CHART_CONFIG, scale_legend
from dashboard.widgets.theme import colours


def panel(session: Session, applications: list[Application], panels: list[Panel], view: str, share: float) -> None:
    """view: "all", "difference" or "shared". share: of the parts of each kind, the lowest that would be removed."""
    same_shape = [one for one in panels if one.scores.shape == panels[0].scores.shape]
    if view == "all":
        beside_each_other(session, applications, panels, share)
    elif len(same_shape) < 2:
        st.info("This view compares applications on encoders of one shape; score a second one with this method.")
    elif view == "difference":
        of_two(same_shape)
    else:
        show(redundant_for(same_shape, share, colours()), "map-shared")


def beside_each_other(session: Session, applications: list[Application], panels: list[Panel], share: float) -> None:
    key = session.chart_key("map-chart")
    take_click(session, applications, st.session_state.get(key))
    names = [application.name for application in applications]
    selected = None
    if session.selected is not None and session.selected[0] in names:
        selected = (names.index(session.selected[0]), session.selected[1])
    cuts = [cut_in_view(session, name, one.scores, share) for name, one in zip(names, panels, strict=True)]
    drawn = side_by_side(
        panels,
        colours(),
        st.session_state.get("map-colour", "rank") == "rank",
        selected=selected,
        undecided=[cut.cells(one.scores.shape) for cut, one in zip(cuts, panels, strict=True)],
    )
    st.plotly_chart(drawn.figure, key=key, on_select="rerun", selection_mode="points", theme=None, config=CHART_CONFIG)
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        scale_legend(drawn.scale, drawn.ends)
        st.html(f"<div class='asc-legend'>{undecided_legend(cuts, panels, share)}</div>", width="content")


def of_two(panels: list[Panel]) -> None:
    titles = [one.title for one in panels]
    first, second, _ = st.columns([1, 1, 3])
    one = first.selectbox("Application", titles, key="map-first")
    other = second.selectbox("minus", [title for title in titles if title != one], key="map-second")
    chosen = {panel.title: panel for panel in panels}
    show(difference(chosen[one], chosen[other], colours()), "map-difference")
    st.caption(
        "Places in each application's own order: a part that is first for one and last for the other is deepest."
    )


def undecided_legend(cuts: Sequence[PartStates], panels: Sequence[Panel], share: float) -> str:
    """What the dots mean; at whose cut."""
    if all(panel.scores.low is None for panel in panels):
        return ""
    by_tune = [panel.title for cut, panel in zip(cuts, panels, strict=True) if cut.plan is not None]
    lowest = f"the lowest {100 * share:.0f} %"
    if not by_tune:
        where = lowest
    elif len(by_tune) == len(panels):
        where = "Tune's cut"
    else:
        where = f"Tune's cut of {escape(', '.join(by_tune))}, {lowest} elsewhere"
    return f"<span>○ undecided at {where}</span>"


def show(drawn: Maps, key: str) -> None:
    st.plotly_chart(drawn.figure, theme=None, config=CHART_CONFIG, key=key, width=620)
    scale_legend(drawn.scale, drawn.ends)


def take_click(session: Session, applications: list[Application], event: object) -> None:
    """A click on a cell selects it."""
    points = event["selection"]["points"] if event is not None else []  # type: ignore[index]
    data = next((point["customdata"] for point in points if point.get("customdata")), None)
    if data is None:
        return
    index, kind, row, number = data
    if 0 <= int(index) < len(applications):
        part = Part(str(kind), int(row), None if number is None else int(number))
        session.selected = (applications[int(index)].name, part)
        st.session_state["map-application"] = applications[int(index)].name
