"""The measured effect of the cut in view: from the study, or by a job that starts at once."""

from __future__ import annotations

import streamlit as st

from asc_core.progress import CALIBRATING, REPAIRING
from asc_core.recipes import Recipe
from asc_core.values import Plan
from dashboard.background.jobs import Job
from dashboard.measuring.build import calibrating, moments_of, needs_calibration
from dashboard.measuring.measurements import Bench, tight_enough
from dashboard.state.session import Session, keep_move
from dashboard.widgets.page import SECONDS_BETWEEN_LOOKS, all_jobs, show_failure
from dashboard.widgets.result_card import costs, headline

SECONDS_BETWEEN_ESTIMATES = 0.1
REACHES = {
    "after all examples": None,
    "at ±3 points": 0.03,
    "at ±2 points": 0.02,
    "at ±1 point": 0.01,
}


def result(session: Session, bench: Bench, recipe: Recipe, plan: Plan) -> None:
    """The measured effect of the cut: from the study if it was measured before, else by a job that starts now."""
    jobs = all_jobs()
    assert session.move is not None
    job = jobs.last(session.id, "evaluate", bench.key(recipe))
    running = job is not None and job.active  # asked before the study is read: what ends in between is in it
    stored = bench.stored(recipe)
    preparing = None
    measured = stored is not None and tight_enough(stored, session.reach)
    if not measured and not running and (job is None or job.state != "failed"):
        keep_move(session.study, plan, session.move)
        if needs_calibration(bench.library, bench.application, recipe):
            jobs.cancel(session.id, "evaluate")
            preparing = calibration(session, bench, recipe)
        else:
            job, running = start_measuring(session, bench, recipe), True
    elif not running:
        jobs.cancel(session.id, "evaluate")  # the way back to a measured plan makes the measuring of another pointless
    if preparing is not None and not preparing.active:
        not_calibrated(preparing)
        preparing = None
    speed_job, measuring_speed = None, False
    if not running and stored is not None and plan != bench.whole and bench.speed(plan) is None:
        key = bench.speed_key(plan)
        speed_job = jobs.last(session.id, "latency", key)
        measuring_speed = speed_job is None or speed_job.active or speed_job.state == "cancelled"
        if speed_job is None or speed_job.state == "cancelled":
            title = "Measuring latency"
            speed_job = jobs.start(session.id, "latency", key, title, bench.measure_speed(plan), alone=True)

    def look() -> None:
        jobs.touch(session.id)
        watched = preparing or (job if running else speed_job if measuring_speed else None)
        if watched is not None and not watched.active:
            st.rerun()
        estimate = bench.stored(recipe) if job is None or not running else job.latest or stored
        doing = doing_now(preparing or job)
        st.html(headline(estimate, bench.original(), running or preparing is not None, doing))
        st.html(costs(bench.cost_model.cost(plan), bench.cost_model.dense, bench.speed(plan), measuring_speed))
        if preparing is not None:
            st.button("Stop calibrating", key="tune-calibrating-stop", on_click=preparing.cancel, type="tertiary")

    if running or measuring_speed or preparing is not None:
        st.fragment(look, run_every=SECONDS_BETWEEN_ESTIMATES if running else SECONDS_BETWEEN_LOOKS)()
        how_long(session)
        return
    for ended in (job, speed_job):
        if ended is not None and ended.state == "failed":
            show_failure(ended)
    if job is not None and job.state == "failed":
        st.button(
            "Measure again",
            key="tune-measure-again",
            icon=":material/refresh:",
            on_click=jobs.forget,
            args=(job,),
        )
    look()
    how_long(session)


def how_long(session: Session) -> None:
    """When an evaluation has seen enough."""

    def chosen() -> None:
        session.reach = REACHES[st.session_state["tune-reach"]]

    with st.popover("Stop when", type="tertiary", icon=":material/hourglass_bottom:", key="tune-until"):
        st.radio(
            "An evaluation ends",
            list(REACHES),
            index=list(REACHES.values()).index(session.reach),
            key="tune-reach",
            on_change=chosen,
        )
        st.caption(
            "95 % intervals that hold at every look: stop whenever you like. One that was stopped goes on from where "
            "it was when you ask for more."
        )


def doing_now(job: Job | None) -> str:
    """What precedes the first estimate, in words."""
    if job is None:
        return ""
    done, total, _ = job.progress
    share = f", {100 * done / total:.0f} %" if total > 1 else ""
    if job.handle.phase == CALIBRATING or job.lane == "calibrate":
        return f"calibrating the repair, once for all cuts{share}"
    return f"repairing{share}" if job.handle.phase == REPAIRING else ""


def calibration(session: Session, bench: Bench, recipe: Recipe) -> Job:
    """The job that prepares all repairs of this application: begun by whatever move needs it first, and kept."""
    jobs, moments = all_jobs(), bool(moments_of(recipe))
    key = f"{bench.application.encoder}|{bench.application.task}|{moments}"
    job = jobs.running("calibrate", key) or jobs.last(session.id, "calibrate", key)
    if job is None or job.state == "done":  # no longer in memory
        preparing = calibrating(bench.library, bench.application, moments)
        job = jobs.start(session.id, "calibrate", key, "Calibrating", preparing)
    return job


def not_calibrated(job: Job) -> None:
    if job.state == "failed":
        show_failure(job)
    else:
        st.caption("Calibration was stopped, so this repair cannot be measured.")
    st.button("Calibrate", key="tune-calibrate", icon=":material/refresh:", on_click=all_jobs().forget, args=(job,))


def start_measuring(session: Session, bench: Bench, recipe: Recipe) -> Job:
    """A newer move makes older measurements of this window pointless."""
    assert session.move is not None
    jobs = all_jobs()
    jobs.cancel(session.id, "latency")
    measure = bench.measure(recipe, session.move, session.reach)
    return jobs.start(session.id, "evaluate", bench.key(recipe), "Evaluating", measure, alone=True)
