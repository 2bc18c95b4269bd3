"""Presets side by side: one model, one size, the same texts and training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from asc_core.recipes.comparison import COMPARABLE, ComparedPreset
from asc_core.recipes.presets import PRESETS, PresetOptions
from dashboard.background import application_jobs
from dashboard.background.jobs import Job
from dashboard.measuring.comparisons import LANE, contest_job
from dashboard.measuring.measurements import Measurements
from dashboard.state.application import Application
from dashboard.state.session import Session
from dashboard.text import numbers
from dashboard.text.markup import escape
from dashboard.widgets.form_and_result import application_choice
from dashboard.widgets.page import all_jobs, last_about, models, show_failure

STEPS = (0, 50, 200)
SECONDS_BETWEEN_ENTRIES = 1.0
ABOUT = "contest"


def panel(session: Session, applications: Sequence[Application]) -> None:
    if not applications:
        st.info("Add an application on the Overview page first.", icon=":material/dashboard:")
        return
    left, right = st.columns([4, 7], gap="large")
    job = last_about(session, LANE, ABOUT)
    with left:
        st.html(
            "<p class='asc-kicker'>Which way of getting there is best?</p><div class='asc-small'>ASC as published, "
            "what it is compared with, and ours: the same model, size, texts, and training after the cut.</div>"
        )
        titles = application_choice(session, applications, "contest-application")
        names = st.multiselect(
            "Presets",
            list(COMPARABLE),
            default=list(COMPARABLE),
            key="contest-recipes",
            help="  \n".join(f"**{name}**: {PRESETS[name].description}" for name in COMPARABLE),
        )
        st.slider("Layer parameters kept", 0.1, 0.9, 0.5, 0.05, key="contest-keep", format="percent")
        st.segmented_control(
            "Training steps after the cut",
            STEPS,
            default=0,
            required=True,
            key="contest-steps",
            help="Batches of 32. On two cores 200 of them take some minutes for each preset.",
        )
        st.button(
            "Measure",
            key="contest-measure",
            type="primary",
            icon=":material/play_arrow:",
            disabled=not names or (job is not None and job.active),
            on_click=start_contest,
            args=(session, titles),
        )
    with right:
        if job is None:
            st.info("Nothing has been measured in this window yet.", icon=":material/leaderboard:")
        elif job.state == "failed":
            show_failure(job)
            st.html(entries_table(job.latest or []))
        elif job.active:
            st.fragment(lambda: st.html(entries_table(job.latest or [])), run_every=SECONDS_BETWEEN_ENTRIES)()
        else:
            st.html(entries_table(job.latest or []))
            st.caption("All of them are on the chart of Tune and of Candidates, too.")


def start_contest(session: Session, titles: Mapping[str, Application]) -> None:
    state = st.session_state
    application, names = titles[state["contest-application"]], list(state["contest-recipes"])
    options = PresetOptions(keep=state["contest-keep"], steps=int(state["contest-steps"] or 0))

    def work(job: Job) -> list[ComparedPreset]:
        opened = application_jobs.opened(models(), study, application, job)
        measurements = Measurements(models(), study, application, opened.cost_model)
        return contest_job(measurements, options, names)(job)

    study = session.study
    all_jobs().start(session.id, LANE, f"{ABOUT}|{application.name}", f"Presets for {application.title}", work)


def entries_table(entries: Sequence[ComparedPreset]) -> str:
    if not entries:
        return "<div class='asc-quiet asc-small'>Scoring and cutting.</div>"
    rows = []
    for entry in sorted(entries, key=lambda one: -one.estimate.value):
        e = entry.estimate
        change = ""
        if e.difference is not None and e.difference_interval is not None:
            change = (
                f"<b>{numbers.points(e.difference)}</b> "
                f"<span class='asc-quiet'>{numbers.interval_of_points(e.difference_interval)}</span>"
            )
        rows.append(
            f"<tr><td title='{escape(PRESETS[entry.name].description)}'>{escape(entry.name)}</td>"
            f"<td>{numbers.percent(e.value)}</td><td>{change}</td><td>{numbers.percent(entry.kept)}</td>"
            f"<td>{numbers.amount(entry.cost.flops)}</td></tr>"
        )
    e = entries[0].estimate
    head = (
        f"<tr><th>preset</th><th>{escape(e.metric)}</th><th>change vs. original (pp)</th><th>layer parameters</th>"
        "<th>FLOPs per text</th></tr>"
    )
    return (
        f"<table class='asc-costs asc-number'>{head}{''.join(rows)}</table><div class='asc-small asc-quiet'>"
        f"{escape(e.split)} split, {e.examples:,} examples, paired 95 % intervals; one seed.</div>"
    )
