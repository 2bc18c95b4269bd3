"""What a cut that was made for one application does to the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from asc_core.recipes.transfer_matrix_store import reports
from dashboard.background.jobs import Job
from dashboard.charts.matrix import matrix_heatmap
from dashboard.measuring.comparisons import LANE, cells_of, matrix_job, settings_for, title_of
from dashboard.state import stored_scores
from dashboard.state.application import Application
from dashboard.state.session import Session
from dashboard.text import numbers
from dashboard.text.markup import escape
from dashboard.widgets.page import CHART_CONFIG, all_jobs, last_about, models, show_failure
from dashboard.widgets.theme import colours

SECONDS_BETWEEN_CELLS = 1.0
NO_TEXT = "none"
ABOUT = "matrix"


def panel(session: Session, applications: Sequence[Application]) -> None:
    left, right = st.columns([4, 7], gap="large")
    job = last_about(session, LANE, ABOUT)
    with left:
        st.html(
            "<p class='asc-kicker'>What is knowing the application worth?</p><div class='asc-small'>Each model is cut "
            "with the plan of each application (a row) and measured on its own task (a column). Below the line stand "
            "cuts that know no application in particular.</div>"
        )
        matrix_form(session, applications, job)
    with right:
        kept = reports(session.study)[::-1]
        if job is not None and job.state == "failed":
            show_failure(job)
        if job is not None and job.active:
            st.fragment(lambda: show_report(job.latest), run_every=SECONDS_BETWEEN_CELLS)()
        elif kept:
            chosen = st.selectbox(
                "Measured", range(len(kept)), format_func=lambda i: title_of(kept[i]), key="compare-report"
            )
            show_report(kept[chosen])
        else:
            st.info(
                "No matrix has been measured yet. Choose two applications or more and press Measure: about half a "
                "minute a cell.",
                icon=":material/grid_on:",
            )


def matrix_form(session: Session, applications: Sequence[Application], job: Job | None) -> None:
    named = {application.title: application for application in applications}
    scored = stored_scores.scored(session.study, applications)
    usual = [title for title, one in named.items() if one.name in scored][:3]
    chosen = st.multiselect("Applications", list(named), default=usual, key="compare-applications")
    others = [title for title in named if title not in chosen]
    st.selectbox(
        "General text",
        [NO_TEXT, *others],
        key="compare-general",
        help="Texts of something else, for a cut that has seen text but none of these applications.",
    )
    st.slider("Layer parameters kept", 0.1, 0.9, 0.5, 0.05, key="compare-keep", format="percent")
    st.toggle("Repair the rest", value=True, key="compare-repair")
    st.button(
        "Measure",
        key="compare-measure",
        type="primary",
        icon=":material/play_arrow:",
        disabled=len(chosen) < 2 or (job is not None and job.active),
        on_click=start_matrix,
        args=(session, named),
    )
    if len(chosen) < 2:
        st.caption("Choose two applications or more whose models come from one pre-trained encoder.")


def start_matrix(session: Session, named: Mapping[str, Application]) -> None:
    state = st.session_state
    chosen = [named[title] for title in state["compare-applications"]]
    settings = settings_for(state["compare-keep"], "obs", state["compare-repair"])
    work = matrix_job(models(), session.study, chosen, named.get(state["compare-general"]), settings)
    key = f"{ABOUT}|{'|'.join(one.name for one in chosen)}"
    all_jobs().start(session.id, LANE, key, "Transfer matrix", work)


def show_report(report: Mapping[str, Any] | None) -> None:
    """A matrix, complete or not, and what it says."""
    if report is None:
        st.caption("The first cell takes longest: models are loaded and scored.")
        return
    cells = cells_of(report)
    figure = matrix_heatmap(report["rows"], report["columns"], report["agnostic"], cells, colours())
    st.plotly_chart(figure, theme=None, config=CHART_CONFIG, key="compare-matrix")
    st.html(price_text(report))


def price_text(report: Mapping[str, Any]) -> str:
    columns = report["columns"]
    note = (
        "<div class='asc-small asc-quiet'>Change vs. each model's original (pp), 95 % paired intervals; framed: the "
        "cut made for the application itself.</div>"
    )
    complete = len(report["cells"]) == len(report["rows"]) * len(columns)
    if not (report["prices"] and complete):
        return note
    best, *others = report["prices"]
    low, high = best["interval"]
    sure = ""
    if high < 0:
        sure = ": on these texts a cut that knows no application does better"
    elif low <= 0:
        sure = ": the interval contains zero, so on these texts knowing the application is not shown to help"
    lines = "".join(
        f"<tr><td>{escape(price['row'])}</td><td>{numbers.points(price['value'])}</td>"
        f"<td class='asc-quiet'>{numbers.interval_of_points(tuple(price['interval']))}</td></tr>"
        for price in [best, *others]
    )
    return (
        "<p class='asc-verdict'>The price of agnosticism (drop of the task-agnostic cut minus the task-specific "
        f"one): <b class='asc-number'>{numbers.points(best['value'])}</b> pp "
        f"{numbers.interval_of_points((low, high))} on average over {len(columns)} applications, against the "
        f"best cut that knows none ({escape(best['row'])}){sure}.</p>"
        f"<table class='asc-costs asc-number'>{lines}</table>{note}"
    )
