"""What to deploy: limits of size, time and points lost, and what is within them, measured or forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from asc_core.evaluate.speeds import Conditions
from asc_core.recipes.deployment import Axis, Figure, Limits, Option
from asc_core.runtimes import RUNTIMES, installed
from dashboard.background.jobs import Job
from dashboard.charts.deployment import UNITS, deployment_chart
from dashboard.measuring.deployment import LANE, Asked, Ranking, choosing_job
from dashboard.state import stored_scores
from dashboard.state.application import Application
from dashboard.state.session import Session, application_in_view
from dashboard.text.markup import escape
from dashboard.text.method_names import in_order, title_of
from dashboard.widgets.page import CHART_CONFIG, all_jobs, last_about, models, show_failure
from dashboard.widgets.theme import colours

ABOUT = "deployment"
SHOWN = 14
SECONDS_BETWEEN_RANKINGS = 1.0
BATCHES, TOKENS, THREADS = (1, 8, 32), (24, 64, 128, 256), (1, 2, 4)


def panel(session: Session, applications: Sequence[Application]) -> None:
    if not applications:
        st.info("Add an application on the Overview page first.", icon=":material/dashboard:")
        return
    left, right = st.columns([4, 7], gap="large")
    job = last_about(session, LANE, ABOUT)
    with left:
        _form(session, applications, job)
    with right:
        if job is None:
            st.info("Nothing has been ranked in this window yet.", icon=":material/rocket_launch:")
            return
        if job.state == "failed":
            show_failure(job)
        axes: list[Axis] = ["mb", "ms"]
        axis: Axis | None = st.segmented_control(
            "Against", axes, format_func=UNITS.__getitem__, default="mb", required=True, key="deploy-axis"
        )
        if job.active:
            st.fragment(lambda: _ranking(job, axis or "mb"), run_every=SECONDS_BETWEEN_RANKINGS)()
        else:
            _ranking(job, axis or "mb")


def _form(session: Session, applications: Sequence[Application], job: Job | None) -> None:
    st.html(
        "<p class='asc-kicker'>What do I deploy?</p><div class='asc-small'>Cut, int8 and vocabulary together: what is "
        "within the limits, measured in the runtime, on this machine.</div>"
    )
    titles = {application.title: application for application in applications}
    usual = list(titles).index(application_in_view(session, list(applications)).title)
    chosen = titles[st.selectbox("Application", list(titles), index=usual, key="deploy-application")]
    index = session.study.score_index()
    methods = in_order(stored_scores.newest(stored_scores.entries_of(session.study, index, chosen)))
    st.selectbox("Cuts by", ["", *methods], index=min(1, len(methods)), key="deploy-method", format_func=_method)
    for column, (key, label) in zip(
        st.columns(3), {"mb": "MB, at most", "ms": "ms, at most", "points": "Points lost, at most"}.items(), strict=True
    ):
        with column:
            st.number_input(label, min_value=0.0, value=1.0 if key == "points" else None, key=f"deploy-{key}")
    st.selectbox(
        "Runtime",
        installed(),
        key="deploy-runtime",
        format_func=lambda name: RUNTIMES[name].title,
        index=min(1, len(installed()) - 1),
    )
    batch, tokens, threads = st.columns(3)
    batch.selectbox("Batch", BATCHES, key="deploy-batch")
    tokens.selectbox("Tokens", TOKENS, index=TOKENS.index(128), key="deploy-tokens")
    threads.selectbox("Threads", THREADS, key="deploy-threads")
    busy = job is not None and job.active
    rank, measure = st.columns(2)
    for column, key, label, most in ((rank, "rank", "Rank", 0), (measure, "measure", "Measure the best", 3)):
        column.button(
            label,
            key=f"deploy-{key}",
            type="primary" if most else "secondary",
            disabled=busy,
            on_click=start,
            args=(session, titles, most),
            help="Up to three of the best are made, measured and ranked again." if most else "By what is known.",
        )


def start(session: Session, titles: Mapping[str, Application], measure: int) -> None:
    state = st.session_state
    application = titles[state["deploy-application"]]
    limits = Limits(state["deploy-mb"], state["deploy-ms"], state["deploy-points"])
    conditions = Conditions(state["deploy-batch"], state["deploy-tokens"], state["deploy-threads"])
    asked = Asked(limits, state["deploy-runtime"], conditions, state["deploy-method"], measure)
    work = choosing_job(models(), session.study, application, asked)
    all_jobs().start(session.id, LANE, f"{ABOUT}|{application.name}", f"Choosing for {application.title}", work)


def _method(name: str) -> str:
    return title_of(name) if name else "nothing is cut"


def _ranking(job: Job, axis: Axis) -> None:
    ranking = job.latest
    if not isinstance(ranking, Ranking):
        st.html("<div class='asc-quiet asc-small'>Loading.</div>")
        return
    limits = ranking.asked.limits
    figure = deployment_chart(ranking.options, limits, axis, colours())
    st.plotly_chart(figure, theme=None, config=CHART_CONFIG, key=f"deploy-chart-{id(ranking)}-{axis}")
    st.html(options_table(ranking))
    for note in ranking.notes:
        st.caption(note)


def options_table(ranking: Ranking) -> str:
    """What is within the limits first. A forecast has a ~ and says on hover what it rests on."""
    limits, here = ranking.asked.limits, ranking.asked.conditions
    rows = []
    for option in ranking.options[:SHOWN]:
        quiet = "" if option.excess(limits) == 0 else " class='asc-quiet'"
        cells = "".join(
            f"<td>{_figure(figure, digits)}</td>"
            for figure, digits in zip((option.mb, option.ms, option.points), (1, 2, 2), strict=True)
        )
        rows.append(f"<tr{quiet}><td>{escape(option.title)}</td>{cells}<td>{_state(option, limits)}</td></tr>")
    head = "<tr><th></th><th>MB</th><th>ms</th><th>points lost</th><th></th></tr>"
    about = (
        f"{here.batch_size} x {here.tokens} tokens, {here.threads} threads, {RUNTIMES[ranking.asked.runtime].title}, "
        "this machine; ~ is a forecast, not a measurement; 95 % paired intervals"
    )
    return (
        f"<table class='asc-costs asc-number'>{head}{''.join(rows)}</table>"
        f"<div class='asc-small asc-quiet'>{escape(about)}</div>"
    )


def _figure(figure: Figure, digits: int) -> str:
    if figure.value != figure.value:
        return f"<span title='{escape(figure.rests_on)}'>?</span>"
    if not figure.measured:
        return f"<span title='{escape(figure.rests_on)}'>~{figure.value:.{digits}f}</span>"
    ends = ""
    if figure.low is not None and figure.high is not None:
        ends = f" <span class='asc-quiet'>[{figure.low:.{digits}f}, {figure.high:.{digits}f}]</span>"
    return f"<b>{figure.value:.{digits}f}</b>{ends}"


def _state(option: Option, limits: Limits) -> str:
    if option.excess(limits) > 0:
        return "beyond"
    return "measured" if option.measured else "forecast"
