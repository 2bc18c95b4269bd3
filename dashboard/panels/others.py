"""What the cut in view does to the other applications."""

from __future__ import annotations

import streamlit as st

from asc_core.recipes import Recipe
from asc_core.values import Plan
from dashboard import elsewhere
from dashboard.applications import applications_of
from dashboard.bench import Bench
from dashboard.frame import (
    all_jobs,
    show_failure,
)
from dashboard.session import Session

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
        jobs.cancel(session.id, elsewhere.LANE)
        return
    key = bench.key(recipe)
    job = jobs.last(session.id, elsewhere.LANE, key)
    if job is None or job.state == "cancelled":
        work = elsewhere.following(bench.library, session.study, others, plan, move, jobs)
        job = jobs.start(session.id, elsewhere.LANE, key, "On other applications", work, alone=True)

    def look() -> None:
        jobs.touch(session.id)
        st.html(elsewhere.table(job.latest or [elsewhere.Effect(one) for one in others], job.active))

    if job.active:
        st.fragment(look, run_every=SECONDS_BETWEEN_EFFECTS)()
    else:
        look()
    if job.state == "failed":
        show_failure(job)
