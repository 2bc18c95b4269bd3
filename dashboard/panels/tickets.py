"""Lottery tickets: does a small part of the pre-trained encoder, trained alone, do as well for this application?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from asc_core.train.ticket_kinds import TICKET
from dashboard.background.jobs import Job
from dashboard.charts.tickets import tickets_chart
from dashboard.measuring.tickets import LANE, Asked, tickets_job
from dashboard.state.application import Application
from dashboard.state.session import Session, application_in_view, home_folder
from dashboard.state.user import check_place
from dashboard.text import numbers
from dashboard.text.markup import escape
from dashboard.widgets.form_and_result import application_choice, form_and_result, while_it_runs
from dashboard.widgets.page import CHART_CONFIG, all_jobs, models
from dashboard.widgets.theme import colours

ABOUT = "tickets"
SECONDS_BETWEEN_OUTCOMES = 2.0
BEFORE = (
    "<p class='asc-kicker'>What happens</p><div class='asc-small'>The encoder is trained, the smallest of its weights "
    "go, the rest is put back to what it was before, and again (Chen et al. 2020). Each round's ticket is trained "
    "beside its controls: as many weights at random, the same ones drawn anew or shuffled, and the largest before any "
    "training. Only a ticket that beats these is one. Every point of the chart is a whole training: minutes "
    "each, hours for all of it on two cores. It can be stopped and goes on where it was.</div>"
)


def panel(session: Session, applications: Sequence[Application]) -> None:
    form_and_result(session, applications, LANE, ABOUT, _form, BEFORE, _result)


def _result(session: Session, job: Job) -> None:
    while_it_runs(job, lambda: _found(job), SECONDS_BETWEEN_OUTCOMES)


def _form(session: Session, applications: Sequence[Application], job: Job | None) -> None:
    st.html(
        "<p class='asc-kicker'>Is there a winning ticket?</p><div class='asc-small'>Whether a small part of the "
        "pre-trained encoder, trained alone on this application, matches all of it.</div>"
    )
    titles = application_choice(session, applications, "tickets-application")
    encoder = st.text_input(
        "Pre-trained encoder",
        value="demo:encoder" if application_in_view(session, list(applications)).embedded else "",
        key="tickets-encoder",
        placeholder="a folder or hub id",
        help="What the application's model was fine-tuned from: tickets are rewound to its weights.",
    )
    st.segmented_control("Tickets of", ["weights", "parts"], default="weights", required=True, key="tickets-kind")
    rate, rounds, seeds = st.columns(3)
    rate.number_input("Gone a round", 0.05, 0.9, 0.3, 0.05, key="tickets-rate")
    rounds.number_input("Rounds", 1, 20, 3, key="tickets-rounds")
    seeds.number_input("Seeds", 1, 10, 1, key="tickets-seeds")
    limit, steps = st.columns(2)
    limit.number_input("Training examples", min_value=32, value=1000, key="tickets-limit", placeholder="all")
    steps.number_input("Steps a training", min_value=1, value=100, key="tickets-steps", placeholder="3 epochs")
    st.button(
        "Search",
        key="tickets-start",
        type="primary",
        disabled=(job is not None and job.active) or not encoder,
        on_click=start,
        args=(session, titles),
        help=None if encoder else "Name the pre-trained encoder.",
    )


def start(session: Session, titles: Mapping[str, Application]) -> None:
    state = st.session_state
    application = titles[state["tickets-application"]]
    asked = Asked(
        state["tickets-encoder"],
        state["tickets-kind"] == "parts",
        state["tickets-rate"],
        state["tickets-rounds"],
        state["tickets-seeds"],
        state["tickets-limit"],
        state["tickets-steps"],
    )
    check_place(asked.encoder, home_folder(), session.user)
    work = tickets_job(models(), session.study, application, asked)
    all_jobs().start(session.id, LANE, f"{ABOUT}|{application.name}", f"Tickets for {application.title}", work)


def _found(job: Job) -> None:
    report = job.latest
    if not isinstance(report, dict):
        st.html("<div class='asc-quiet asc-small'>The whole model is trained first.</div>")
        return
    if report["rounds"]:
        st.plotly_chart(tickets_chart(report, colours()), theme=None, config=CHART_CONFIG, key="tickets-chart")
    st.html(f"<div class='asc-small'>{verdict(report, job.active)}</div>")


def verdict(report: dict[str, Any], running: bool) -> str:
    """HTML: what the whole model has, and up to which share gone a ticket matches it."""
    dense = report["dense"]
    spread = f" ± {numbers.points(dense['deviation'])[1:]}" if dense["deviation"] is not None else ""
    said = (
        f"The whole model: <b>{numbers.percent(dense['mean'])}</b>{spread} {escape(report['metric'])} on "
        f"{report['examples']:,} {escape(report['split'])} examples, {_seeds(dense)}."
    )
    if running:
        return said + " More trainings follow."
    if dense["deviation"] is None:
        return said + " Which tickets match cannot be said of one seed."
    if report["matching"] is None:
        return said + " No ticket is within one standard deviation of it."
    return (
        f"{said} Tickets match it up to <b>{numbers.percent(report['matching'], 0)} gone</b>: within one standard "
        f"deviation over seeds ({_seeds(report['rounds'][0][TICKET])} of tickets)."
    )


def _seeds(of_seeds: dict[str, Any]) -> str:
    count = len(of_seeds["values"])
    return f"{count} seed{'s' * (count != 1)}"
