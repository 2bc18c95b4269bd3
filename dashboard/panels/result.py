"""The measured effect of the recipe in view: from the study, or by a job: at once, or when told to where it trains."""

from __future__ import annotations

import time

import streamlit as st

from asc_core.progress import CALIBRATING, REPAIRING
from asc_core.recipes import Recipe
from asc_core.values import Estimate, Plan
from dashboard.background.jobs import Job
from dashboard.measuring.latency import speed_job, speed_key, speed_of
from dashboard.measuring.measure_job import measure_job, measured_enough
from dashboard.measuring.measurements import Measurements
from dashboard.state.pins import keep_settings
from dashboard.state.session import KEY, Session
from dashboard.text import numbers
from dashboard.text.markup import bare
from dashboard.widgets.page import SECONDS_BETWEEN_POLLS, all_jobs, show_failure
from dashboard.widgets.result_card import costs, headline

SECONDS_BETWEEN_ESTIMATES = 0.1
SECONDS_WITHOUT_NEWS = 0.3  # until how far the work is is drawn anew, while there is no number yet
SECONDS_BEHIND_A_NUMBER = 1.5  # the same, once there is one
SECONDS_BETWEEN_LOOKS = 0.02
WORTH_SAYING = 15.0  # seconds that something takes before it is said how many
STOP_AT = {
    "after all examples": None,
    "at ±3 pp": 0.03,
    "at ±2 pp": 0.02,
    "at ±1 pp": 0.01,
}


def result(session: Session, measurements: Measurements, recipe: Recipe, plan: Plan) -> None:
    """From the study if it was measured before, else by a job that starts now, or with a button where steps train."""
    jobs = all_jobs()
    assert session.settings is not None
    job = jobs.last(session.id, "evaluate", measurements.key(recipe))
    running = job is not None and job.active  # asked before the study is read: what ends in between is in it
    stored = measurements.stored(recipe)
    measured = stored is not None and measured_enough(stored, session.stop_at_half_width)
    begins = not measured and not running and (job is None or job.state != "failed")
    waits = begins and trains(recipe)
    if begins:
        keep_settings(session.study, plan, session.settings)
    if waits:
        jobs.cancel(session.id, "evaluate")
    elif begins:
        job, running = start_measuring(session, measurements, recipe), True
    elif not running:
        jobs.cancel(session.id, "evaluate")  # the way back to a measured plan makes the measuring of another pointless
    of_speed, measuring_speed = None, False
    untimed = recipe.key != measurements.full_plan.key and speed_of(measurements, recipe) is None
    if not running and stored is not None and untimed:
        key = speed_key(measurements, recipe)
        of_speed = jobs.last(session.id, "latency", key)
        measuring_speed = of_speed is None or of_speed.active or of_speed.state == "cancelled"
        if of_speed is None or of_speed.state == "cancelled":
            title = "Measuring latency"
            of_speed = jobs.start(session.id, "latency", key, title, speed_job(measurements, recipe), alone=True)

    ahead = measurements.seconds_ahead(recipe) if running and stored is None else None

    drawn: list[Estimate | None] = []  # as this run of the page shows it, the last one counts

    def draw() -> None:
        jobs.heartbeat(session.id)
        watched = job if running else of_speed if measuring_speed else None
        if watched is not None:
            if drawn:
                wait_for_news(watched, drawn[-1])
            drawn[:] = [watched.latest]
        if watched is not None and not watched.active:
            st.rerun()
        estimate = measurements.stored(recipe) if job is None or not running else job.latest or stored
        doing = doing_now(job, steps=len(recipe.steps)) if running else "not trained yet" if waits else ""
        if ahead is not None and ahead.total > WORTH_SAYING and not (estimate is not None and estimate.complete):
            doing = f"{doing or 'measuring'} (about {numbers.duration(ahead.total)} in all on this machine)"
        st.html(headline(estimate, measurements.original(), running, doing))
        if measurements.remark:
            st.caption(bare(measurements.remark))
        st.html(
            costs(
                measurements.cost(recipe),
                measurements.cost_model.dense,
                speed_of(measurements, recipe),
                measuring_speed,
            )
        )
        if running and job is not None and trains(recipe):
            st.button("Stop training", key="tune-train-stop", on_click=job.cancel, type="tertiary")

    if running or measuring_speed:
        st.fragment(draw, run_every=SECONDS_BETWEEN_ESTIMATES if running else SECONDS_BETWEEN_POLLS)()
        how_long(session)
        return
    for ended in (job, of_speed):
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
    draw()
    with st.container(horizontal=True, vertical_alignment="center"):
        if waits:
            train_button(session, measurements, recipe, job)
        how_long(session)


def wait_for_news(job: Job, drawn: Estimate | None) -> None:
    """Until there is another estimate than the one that was drawn, or for a moment.

    A drawing takes server and browser longer than many looks, and on a few cores that is taken from the work itself:
    of two threads that multiply together each waits for the other.
    """
    end = time.monotonic() + (SECONDS_WITHOUT_NEWS if drawn is None else SECONDS_BEHIND_A_NUMBER)
    while job.active and job.latest is drawn and time.monotonic() < end:
        _ = KEY in st.session_state  # here Streamlit ends this drawing where the user has done anything meanwhile
        time.sleep(SECONDS_BETWEEN_LOOKS)


def trains(recipe: Recipe) -> bool:
    """Whether making the model takes so long that it is begun by a click and not by every move of a slider."""
    return any(step.trains for step in recipe.steps)


def train_button(session: Session, measurements: Measurements, recipe: Recipe, job: Job | None) -> None:
    def begin() -> None:
        start_measuring(session, measurements, recipe)

    st.button(
        "Train and measure" if job is None else "Continue training",
        key="tune-train",
        type="primary",
        icon=":material/model_training:",
        on_click=begin,
        help="Takes minutes. Changing anything stops it; what was trained is kept and continued.",
    )


def how_long(session: Session) -> None:
    """When an evaluation has seen enough."""

    def chosen() -> None:
        session.stop_at_half_width = STOP_AT[st.session_state["tune-reach"]]

    with st.popover("Stop when", type="tertiary", icon=":material/hourglass_bottom:", key="tune-until"):
        st.radio(
            "An evaluation ends",
            list(STOP_AT),
            index=list(STOP_AT.values()).index(session.stop_at_half_width),
            key="tune-reach",
            on_change=chosen,
        )
        st.caption(
            "95 % intervals that hold at every interim analysis: stop whenever you like. One that was stopped goes on "
            "from where it was when you ask for more."
        )


def doing_now(job: Job | None, steps: int = 1) -> str:
    """What precedes the first estimate, in words. steps: of the recipe."""
    if job is None:
        return ""
    done, total, what = job.reported
    share = f", {100 * done / total:.0f} %" if total > 1 else ""
    if job.progress.phase == CALIBRATING:
        return f"calibrating the repair, once for all cuts{share}"
    if job.progress.phase == REPAIRING:
        return f"repairing{share}"
    return f"{what}{share}" if steps > 1 else ""


def start_measuring(session: Session, measurements: Measurements, recipe: Recipe) -> Job:
    """Newer settings make older measurements of this window pointless."""
    assert session.settings is not None
    jobs = all_jobs()
    jobs.cancel(session.id, "latency")
    measure = measure_job(measurements, recipe, session.settings, session.stop_at_half_width)
    return jobs.start(session.id, "evaluate", measurements.key(recipe), "Evaluating", measure, alone=True)
