"""Starting to score: by which methods, on how many examples; and continuing what has stopped early."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from asc_core.scores import METHODS
from asc_core.scores.method import OwnPass
from asc_core.scores.methods import offered
from dashboard.background import scoring_jobs
from dashboard.panels.work_ahead import prepare
from dashboard.state import kept
from dashboard.state.application import Application
from dashboard.state.session import Session
from dashboard.tables.ranking_stability import ENOUGH
from dashboard.text import numbers
from dashboard.widgets.page import all_jobs, models

SAMPLES = (128, 256, 512, 1024, 2048)


def panel(
    session: Session, applications: list[Application], index: list[dict[str, Any]], map_begun: bool = False
) -> None:
    """map_begun: whether a map can be looked at though its scores are not settled."""
    methods_column, samples_column = st.columns([3, 1])
    methods_column.multiselect(
        "Methods",
        list(METHODS),
        default=offered(),
        format_func=lambda m: METHODS[m].title,
        key="score-methods",
        help="The chosen methods share one pass over the texts, so several cost hardly more than one; only these need "
        f"a pass of their own: {', '.join(m.title for m in METHODS.values() if isinstance(m, OwnPass))}.",
    )
    samples_column.selectbox(
        "Examples", SAMPLES, index=SAMPLES.index(512), key="score-samples", format_func=numbers.thousands
    )
    st.toggle(
        "Stop when the ranking has settled",
        key="score-settled",
        help=f"Looks after 64, 128, 256, ... examples and ends as soon as every method's ranking can be expected to "
        f"correlate by {ENOUGH:g} with that of as many others. You can continue later.",
    )
    ready = [application for application in applications if application.trained]
    scored = {entry["task"] for entry in index}
    button, onward = st.columns([1, 2], vertical_alignment="center")
    button.button(
        "Score all",
        key="score-all",
        type="secondary" if scored else "primary",
        icon=":material/play_arrow:",
        on_click=start_scoring,
        args=(session, ready),
        disabled=not ready,
    )
    with onward, st.container(horizontal=True, key="next-step"):
        if scored or map_begun:
            st.page_link("views/map.py", label="Look at the map", icon=":material/grid_on:")
        if scored:
            st.page_link("views/tune.py", label="Tune a cut", icon=":material/tune:")
        elif not map_begun:
            st.caption("Next step: score an application. Its map begins to show after a few seconds.")


def start_scoring(session: Session, applications: list[Application]) -> None:
    methods, samples = st.session_state["score-methods"], st.session_state["score-samples"]
    if not methods:
        session.messages.append("Choose at least one method to score with.")
        return
    begin(session, applications, methods, samples, ENOUGH if st.session_state.get("score-settled") else None)


def begin(
    session: Session, applications: list[Application], methods: list[str], samples: int, stop_at: float | None
) -> None:
    """stop_at: the stability at which to stop early; 1 = go on to the end where an earlier scoring did so."""
    jobs = all_jobs()
    for application in applications:
        key = scoring_jobs.scoring_key(session.study, application, methods, samples)
        if jobs.running("score", key) is None:
            then = partial(prepare, session, application)
            work = scoring_jobs.score_job(models(), session.study, application, methods, samples, jobs, stop_at, then)
            jobs.start(session.id, "score", key, f"Scoring {application.title}", work)
        elif jobs.last(session.id, "score", key) is None:
            session.messages.append(f"{application.title} is being scored like this in another window already.")


def further_button(
    session: Session, application: Application, own: dict[str, tuple[int, int]], being_scored: bool
) -> None:
    """Goes on to the end with what has stopped early."""
    methods, samples = list(own), max(total for _, total in own.values())
    run = kept.scoring_run(session.study, application).get()
    if run is not None and sorted(run.methods) == sorted(methods):
        methods, samples = run.methods, run.samples  # exactly what was asked for then: only the same sweep can go on
    st.button(
        "Continue scoring",
        key=f"further-{application.title}",
        icon=":material/more_time:",
        on_click=begin,
        args=(session, [application], methods, samples, 1.0),
        disabled=being_scored,
        help="The rankings had settled, so scoring stopped early. This goes on to the last example.",
    )
