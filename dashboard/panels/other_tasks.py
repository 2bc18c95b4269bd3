"""What the cut in view does to the other applications."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from asc_core.recipes import Recipe
from asc_core.values import Plan
from dashboard.measuring.measurements import Measurements
from dashboard.measuring.other_tasks import LANE, Effect, other_tasks_job
from dashboard.state import stored_scores
from dashboard.state.applications import applications_of
from dashboard.state.session import Session
from dashboard.text import numbers
from dashboard.text.markup import escape
from dashboard.widgets.page import (
    all_jobs,
    show_failure,
)

SECONDS_BETWEEN_EFFECTS = 1.0


def other_applications(session: Session, measurements: Measurements, recipe: Recipe, plan: Plan) -> None:
    """What the same cut does to those that were scored here, too; begun when nothing else is left to do."""
    everyone = applications_of(session.study)
    scored = stored_scores.scored(session.study, everyone) - {measurements.application.name}
    others = [one for one in everyone if one.name in scored]
    if not others or recipe.key == measurements.full_plan.key:
        return
    jobs, settings = all_jobs(), session.settings
    assert settings is not None

    def chosen() -> None:
        session.other_tasks = st.session_state["tune-elsewhere"]

    st.toggle(
        "Also evaluate on other tasks",
        session.other_tasks,
        key="tune-elsewhere",
        on_change=chosen,
        help="The same parts are cut from their own models and measured on their own examples, in the background.",
    )
    if not session.other_tasks:
        jobs.cancel(session.id, LANE)
        return
    if any(step.trains for step in recipe.steps):
        jobs.cancel(session.id, LANE)
        st.caption("Not measured: this recipe trains, and would train each of their models.")
        return
    key = measurements.key(recipe)
    job = jobs.last(session.id, LANE, key)
    if job is None or job.state == "cancelled":
        work = other_tasks_job(measurements.models, session.study, others, plan, settings, jobs)
        job = jobs.start(session.id, LANE, key, "On other applications", work, alone=True)

    def draw() -> None:
        jobs.heartbeat(session.id)
        st.html(effects_table(job.latest or [Effect(one) for one in others], job.active))

    if job.active:
        st.fragment(draw, run_every=SECONDS_BETWEEN_EFFECTS)()
    else:
        draw()
    if job.state == "failed":
        show_failure(job)


def effects_table(effects: Sequence[Effect], running: bool) -> str:
    """As HTML, a row an application."""
    rows = []
    for effect in effects:
        said = "<span class='asc-quiet'>waiting</span>" if running else "<span class='asc-quiet'>not measured</span>"
        if effect.problem:
            said = f"<span class='asc-quiet'>{escape(effect.problem)}</span>"
        elif effect.estimate is not None:
            e = effect.estimate
            said = numbers.percent(e.value)
            if e.difference is not None and e.difference_interval is not None:
                ends = numbers.interval_of_points(e.difference_interval)
                said = f"{numbers.points(e.difference)} <span class='asc-quiet'>{ends}</span>"
        rows.append(f"<tr><td>{escape(effect.application.title)}</td><td>{said}</td></tr>")
    return f"<table class='asc-costs asc-number'>{''.join(rows)}</table>"
