"""What the cut in view does to the other applications."""

from __future__ import annotations

import streamlit as st

from asc_core.recipes import Recipe
from asc_core.values import Plan
from dashboard.measuring import other_tasks
from dashboard.measuring.measurements import Bench
from dashboard.state.applications import applications_of
from dashboard.state.session import Session
from dashboard.widgets.page import (
    all_jobs,
    show_failure,
)

SECONDS_BETWEEN_EFFECTS = 1.0


def other_applications(session: Session, bench: Bench, recipe: Recipe, plan: Plan) -> None:
    """What the same cut does to those that were scored here, too; begun when nothing else is left to do."""
    scored = {entry["task"] for entry in session.study.score_index()} - {bench.application.name}
    others = [one for one in applications_of(session.study) if one.name in scored]
    if not others or plan == bench.whole:
        return
    jobs, move = all_jobs(), session.move
    assert move is not None

    def chosen() -> None:
        session.elsewhere = st.session_state["tune-elsewhere"]

    st.toggle(
        "on the other applications",
        session.elsewhere,
        key="tune-elsewhere",
        on_change=chosen,
        help="The same parts are cut from their own models and measured on their own examples, in the background.",
    )
    if not session.elsewhere:
        jobs.cancel(session.id, other_tasks.LANE)
        return
    key = bench.key(recipe)
    job = jobs.last(session.id, other_tasks.LANE, key)
    if job is None or job.state == "cancelled":
        work = other_tasks.following(bench.library, session.study, others, plan, move, jobs)
        job = jobs.start(session.id, other_tasks.LANE, key, "On other applications", work, alone=True)

    def look() -> None:
        jobs.touch(session.id)
        st.html(other_tasks.table(job.latest or [other_tasks.Effect(one) for one in others], job.active))

    if job.active:
        st.fragment(look, run_every=SECONDS_BETWEEN_EFFECTS)()
    else:
        look()
    if job.state == "failed":
        show_failure(job)
