"""What to deploy: limits of size, time and points lost, and what is within them, measured or forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from asc_core.evaluate.speeds import Conditions
from asc_core.export import FORMATS
from asc_core.recipes.deployment import ROUNDING, Axis, Figure, Limits, Option
from asc_core.runtimes import RUNTIMES, installed
from asc_core.scores.methods import offered
from dashboard.background.jobs import Job
from dashboard.charts.deployment import UNITS, deployment_chart, drawable
from dashboard.measuring.deployment import LANE, Asked, Ranking, choosing_job
from dashboard.state import stored_scores
from dashboard.state.application import Application
from dashboard.state.session import Session
from dashboard.text.markup import bare, escape
from dashboard.text.method_names import in_order, title_of
from dashboard.text.numbers import plain
from dashboard.widgets.form_and_result import application_choice, form_and_result, while_it_runs
from dashboard.widgets.page import CHART_CONFIG, all_jobs, models
from dashboard.widgets.take_recipe import take_recipe
from dashboard.widgets.theme import colours

ABOUT = "deployment"
SHOWN = 14
LEGEND = (
    "<div class='asc-legend'><span>● measured</span><span>○ forecast, in part or whole</span>"
    "<span class='asc-quiet'>dashed: your limits; the large one is the best within them</span></div>"
)
SECONDS_BETWEEN_RANKINGS = 1.0
BEFORE = (
    "<p class='asc-kicker'>What happens</p><div class='asc-small'><b>Measure the best</b> exports the original, int8 "
    "and a shorter vocabulary alone, and one cut, answers the validation texts with each in the runtime and times it "
    "there; from these it forecasts all combinations, and measures up to three that look best within your limits. That "
    "takes minutes and can be stopped: what was measured is kept. <b>Rank</b> goes by what is known already, at once. "
    "What you choose is then pinned, and exported on the page Export.</div>"
)
BATCHES, TOKENS, THREADS = (1, 8, 32), (24, 64, 128, 256), (1, 2, 4)


def panel(session: Session, applications: Sequence[Application]) -> None:
    form_and_result(session, applications, LANE, ABOUT, _form, BEFORE, _result)


def _result(session: Session, job: Job) -> None:
    axes: list[Axis] = ["mb", "ms"]
    axis: Axis | None = st.segmented_control(
        "Against", axes, format_func=UNITS.__getitem__, default="mb", required=True, key="deploy-axis"
    )
    while_it_runs(job, lambda: _ranking(job, axis or "mb"), SECONDS_BETWEEN_RANKINGS)
    if not job.active:
        _take(session, job)


def _form(session: Session, applications: Sequence[Application], job: Job | None) -> None:
    st.html(
        "<p class='asc-kicker'>What do I deploy?</p><div class='asc-small'>Cut, int8 and vocabulary together: what is "
        "within the limits, measured in the runtime, on this machine.</div>"
    )
    titles = application_choice(session, applications, "deploy-application")
    chosen = titles[st.session_state["deploy-application"]]
    index = session.study.score_index()
    methods = in_order(stored_scores.newest(stored_scores.entries_of(session.study, index, chosen)))
    best = next(iter(offered(methods)), next(iter(methods), ""))  # as on Tune
    choices = ["", *methods]
    st.selectbox("Cuts by", choices, index=choices.index(best), key="deploy-method", format_func=_method)
    if not methods:
        st.caption("It has not been scored, so nothing is cut: int8 and vocabulary alone. Score it on Overview.")
    for column, (key, label) in zip(
        st.columns(3, vertical_alignment="bottom"),
        {"mb": "MB, at most", "ms": "ms, at most", "points": "Points lost, at most"}.items(),
        strict=True,
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
    if any(drawable(option, axis) for option in ranking.options):
        figure = deployment_chart(ranking.options, limits, axis, colours())
        st.plotly_chart(figure, theme=None, config=CHART_CONFIG, key=f"deploy-chart-{id(ranking)}-{axis}")
        st.html(LEGEND)
    if all(option.ms.value != option.ms.value for option in ranking.options):
        where = RUNTIMES[ranking.asked.runtime].title
        st.info(
            bare(
                f"Nothing was measured in {where} under these conditions yet, so that times, and what rests on them, "
                "are not known (?)." + ("" if job.active else " Measure the best finds them.")
            ),
            icon=":material/timer:",
        )
    st.html(options_table(ranking))


def _take(session: Session, job: Job) -> None:
    ranking = job.latest
    if not isinstance(ranking, Ranking):
        return
    titles = {option.recipe_key: option.title for option in ranking.options if option.recipe_key in ranking.recipes}
    form = RUNTIMES[ranking.asked.runtime].form
    take_recipe(session, "deploy", titles, ranking.recipes, form if form in FORMATS else None)


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
    threads = f"{here.threads} thread{'s' * (here.threads != 1)}"
    about = (
        f"{here.batch_size} x {here.tokens} tokens, {threads}, {RUNTIMES[ranking.asked.runtime].title}, this machine; "
        "~ is a forecast, not a measurement (point at it for what it rests on); 95 % paired intervals"
    )
    return (
        f"<table class='asc-costs asc-number asc-deploy'>{head}{''.join(rows)}</table>"
        f"<div class='asc-small asc-quiet'>{escape(about)}</div>"
    )


def _figure(figure: Figure, digits: int) -> str:
    if figure.value != figure.value:
        return f"<span title='{escape(figure.rests_on)}'>?</span>"
    if not figure.measured:
        return f"<span title='{escape(figure.rests_on)}'>~{plain(figure.value, digits)}</span>"
    ends = ""
    if figure.low is not None and figure.high is not None:
        ends = f" <span class='asc-quiet'>[{plain(figure.low, digits)}, {plain(figure.high, digits)}]</span>"
    return f"<b>{plain(figure.value, digits)}</b>{ends}"


def _state(option: Option, limits: Limits) -> str:
    beyond = option.excess(limits)
    if beyond > 0:
        return "beyond" if beyond > ROUNDING else "not known yet"  # see `Option.excess`
    return "measured" if option.measured else "forecast"
