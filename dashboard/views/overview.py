"""Overview: what this is, the applications, what has been scored, and starting more of it."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import streamlit as st

from asc_core.scores.ranking_stability import stopped_early
from asc_core.study import Study
from dashboard.background.application_jobs import facts_job, facts_of
from dashboard.background.unsettled_scores import scoring_now
from dashboard.panels import add_application, application_card, memory, score_form, scoring
from dashboard.state import stored_scores
from dashboard.state.application import Application
from dashboard.state.applications import applications_of
from dashboard.state.session import Session
from dashboard.text.markup import bare
from dashboard.widgets.page import (
    CHART_CONFIG,
    all_jobs,
    errors_in_page,
    load,
    models,
    running_work,
    show_failure,
    this_session,
    write_address,
)

CARDS_A_LINE = 3


def page() -> None:
    session = this_session()
    write_address(session)
    top = st.container()
    running_work(session)  # before the study is read: what ends in between is in it
    applications = applications_of(session.study)
    under_way = scoring_now(all_jobs(), session.study, applications)
    index = session.study.score_index()
    early = stopped(session.study, index, applications)
    with top:
        hero(session, applications, index, any(one.shown is not None for one in under_way))
    scoring.follow(session, applications, under_way, "")
    last_failures(session)
    facts_in_background(session, applications)
    for start in range(0, len(applications) + 1, CARDS_A_LINE):
        line = st.columns(CARDS_A_LINE)
        for column, application in zip(line, applications[start : start + CARDS_A_LINE], strict=False):
            with column, st.container(border=True, height="stretch", key=f"card-{application.title}"):
                application_card.panel(session, application, index, early, under_way)
        if len(applications) - start < CARDS_A_LINE:
            with line[len(applications) - start], st.container(border=True, height="stretch", key="card-add"):
                add_application.panel(session)
    memory.panel()
    load_charts_early()


def load_charts_early() -> None:
    """The browser fetches and reads its library of charts (megabytes) with the first one, for which a second goes by:
    here while nobody waits for one, not when a map or the first number of a cut is waited for."""
    with st.container(key="charts-early"):
        st.plotly_chart(go.Figure(), theme=None, config=CHART_CONFIG, key="charts-early-chart")


def hero(session: Session, applications: list[Application], index: list[dict[str, Any]], map_begun: bool) -> None:
    left, right = st.columns([5, 4], gap="large")
    with left:
        st.html(
            "<div class='asc-hero'><h1>Find and cut what your application does not need</h1>"
            "<p>Score every attention head, FFN neuron and layer of a Transformer encoder on your own texts, cut what "
            "contributes least, watch the measured effect, and take the smaller model away.</p>"
            "<div class='asc-steps'><span><b>1</b>Score</span><span><b>2</b>Look at the map</span>"
            "<span><b>3</b>Tune the cut</span><span><b>4</b>Export</span></div></div>"
        )
    with right, st.container(border=True, key="score-panel"):
        score_form.panel(session, applications, index, map_begun)


def last_failures(session: Session) -> None:
    shown = set()
    for job in all_jobs().of(session.id, "score"):
        about = job.key.split("|")[1]
        if about not in shown and job.state == "failed":
            st.markdown(f"**{bare(job.title)}** did not finish.")
            show_failure(job)
        shown.add(about)


def facts_in_background(session: Session, applications: list[Application]) -> None:
    """Counting the examples of each application reads all its data: not while the page waits."""
    missing = [a for a in applications if facts_of(models(), session.study, a) is None]
    if missing:
        key = "|".join(a.name for a in missing)
        load(session, key, "Looking at the data", facts_job(models(), session.study, missing))


def stopped(
    study: Study, index: list[dict[str, Any]], applications: list[Application]
) -> dict[tuple[str, str], tuple[int, int]]:
    """(application, method) -> (examples done, examples there are) of newest scores whose sweep ended early."""
    found = {}
    for application in applications:
        for method, entry in stored_scores.newest(stored_scores.entries_of(study, index, application)).items():
            early = stopped_early(stored_scores.read(models(), study, entry)) if entry["examples"] else None
            if early is not None:
                found[application.name, method] = early
    return found


with errors_in_page():
    page()
