"""Measuring ahead of the user: a switch, what it costs, and how far it is."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from functools import partial

import streamlit as st

from asc_core.errors import UserError
from asc_core.plan import CostModel
from asc_core.progress import Progress
from asc_core.scores.methods import offered
from asc_core.values import Scores
from dashboard.background.jobs import Job
from dashboard.measuring.latency import with_known_times
from dashboard.measuring.measurements import Measurements
from dashboard.measuring.work_ahead import LANE, Ahead, ahead_job, prepare_job
from dashboard.state import stored_scores
from dashboard.state.application import Application
from dashboard.state.applications import applications_of
from dashboard.state.cut_settings import CutSettings
from dashboard.state.session import Session
from dashboard.text.markup import bare
from dashboard.widgets.page import all_jobs, models

SECONDS_BETWEEN_LOOKS = 2.0
HELP = (
    "While nothing else runs, measures ten budgets of this application, then those beside the slider, then the other "
    "applications, so that most stops of the slider have their number at once. It uses both cores and stops at every "
    "move; what it measured is in the study."
)


def prepare(session: Session, application: Application, progress: Progress) -> None:
    """What all cuts of an application need is computed as soon as it was scored: now what a first number needs, so
    that Tune has one at once, and the rest in the background."""
    with suppress(UserError):  # Tune will say it
        Measurements(models(), session.study, application, models().cost_model(application)).begin(progress)
    if session.work_ahead:
        work = prepare_job(models(), session.study, application, all_jobs())
        all_jobs().start(session.id, LANE, f"prepare|{application.name}", "Preparing cuts", work)


def work_ahead(session: Session, measurements: Measurements, scores: Scores) -> None:
    """Begun anew whenever the settings are others."""
    jobs, settings = all_jobs(), session.settings
    assert settings is not None

    def chosen() -> None:
        session.work_ahead = st.session_state["tune-ahead"]

    row = st.container(horizontal=True, vertical_alignment="center", key="tune-ahead-row")  # Tune is one screen high
    row.toggle("Work ahead", session.work_ahead, key="tune-ahead", on_change=chosen, help=HELP)
    if not session.work_ahead or any(step.trains for step in settings.then):
        jobs.cancel(session.id, LANE)
        return
    key = f"{session.study.path.absolute()}|{json.dumps(settings.to_json(), sort_keys=True)}"
    job = jobs.last(session.id, LANE, key)
    if job is None or job.state == "cancelled":
        asked = [Ahead(measurements.application, scores, settings, beside=settings.rule == "budget")]
        asked += others(session, settings)
        timed = partial(known_times, session)
        work = ahead_job(models(), session.study, asked, jobs, timed)
        job = jobs.start(session.id, LANE, key, "Working ahead", work, alone=True)
    with row:
        st.fragment(partial(how_far, job), run_every=SECONDS_BETWEEN_LOOKS if job.active else None)()


def how_far(job: Job) -> None:
    if job.active:
        done = job.reported[0]
        st.html(f"<span class='asc-small asc-quiet'>{done:,} cut{'s' * (done != 1)} measured</span>")
    elif job.state == "failed":
        st.caption(bare(f"Working ahead has stopped: {job.error}"))


def others(session: Session, settings: CutSettings) -> list[Ahead]:
    """The other scored applications, each by the method in view or the first that it was scored with."""
    found = []
    for application in applications_of(session.study):
        if application.name == settings.application:
            continue
        scored = stored_scores.of_application(models(), session.study, application)
        if scored:
            preferred = next(iter(offered(scored)), next(iter(scored)))
            method = settings.method if settings.method in scored else preferred
            own = replace(settings.released(), application=application.name, method=method, rule="budget")
            found.append(Ahead(application, scored[method], own))
    return found


def known_times(session: Session, application: Application, costs: CostModel) -> CostModel:
    runtime = session.settings.runtime if session.settings is not None else "torch"
    return with_known_times(models(), session.study, application, costs, runtime) or costs
