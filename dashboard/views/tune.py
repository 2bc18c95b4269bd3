"""Tune: move a slider, see the cut on the map and the measured effect of it and its repair at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from asc_core.errors import UserError
from asc_core.plan import CostModel, Part
from asc_core.runtimes import RUNTIMES, installed
from asc_core.scores.data_fingerprint import is_current
from asc_core.scores.methods import offered
from asc_core.values import Plan, Scores
from dashboard.background.application_jobs import open_job
from dashboard.background.unsettled_scores import Scoring, scoring_now
from dashboard.charts.cut import ByHand, cut_map, score_histogram
from dashboard.measuring.latency import layer_times_job, with_known_times
from dashboard.measuring.measurements import Measurements
from dashboard.panels import scoring
from dashboard.panels.frontier import explore, frontier, predicted, take_found
from dashboard.panels.history import history
from dashboard.panels.other_tasks import other_applications
from dashboard.panels.result import result
from dashboard.panels.work_ahead import work_ahead
from dashboard.state import stored_scores
from dashboard.state.application import Application
from dashboard.state.applications import applications_of
from dashboard.state.cut_settings import CutSettings, fitted, plan_of, toggled, within_reach
from dashboard.state.session import Session, application_in_view
from dashboard.text.markup import bare
from dashboard.text.method_names import title_of
from dashboard.widgets.cut_controls import controls
from dashboard.widgets.page import (
    CHART_CONFIG,
    all_jobs,
    errors_in_page,
    load,
    models,
    running_work,
    this_session,
    write_address,
)
from dashboard.widgets.theme import colours

MAP_HEIGHT = 304


def page() -> None:
    session = this_session()
    running_work(session, ("score", "export"))
    application = application_in_view(session, applications_of(session.study))
    under_way = scoring_now(all_jobs(), session.study, [application])
    scored = stored_scores.of_application(models(), session.study, application)
    if not scored:
        no_scores(session, application, under_way)
        return
    cost_model = opened(session, application)
    if cost_model is not None:
        cost_model = timed(session, application, cost_model)
    if cost_model is None:
        write_address(session)
        return
    take_found(session, application)
    measurements = Measurements(models(), session.study, application, cost_model)
    if measurements.data_changed:
        st.warning(
            bare(
                f"The examples of {application.title}'s {measurements.split} split have changed since they were "
                "measured. Earlier results stay in the study, set aside, and are no longer shown."
            ),
            icon=":material/difference:",
        )
    outdated = [
        method for method, scores in scored.items() if not is_current(scores, measurements.models.task(application))
    ]
    if outdated:
        st.warning(
            bare(
                f"The training texts of {application.title} have changed since it was scored "
                f"({', '.join(map(title_of, outdated))}). Score it again on Overview; until then cuts go by the "
                "old ones."
            ),
            icon=":material/difference:",
        )
    settings = current_settings(session, measurements, scored)
    scores = scored[settings.method]
    take_clicks(session, scores, cost_model)
    session.go(within_reach(session.settings or settings, scores, cost_model))
    controls_column, rest = st.columns([30, 76], gap="medium")
    with rest:
        map_column, result_column = st.columns([47, 28], gap="medium")
        chart_column, history_column = st.columns([47, 28], gap="medium")
    try:
        plan = current_plan(session, scores, cost_model)
    except UserError as error:
        with controls_column:
            controls(session, scored, cost_model, measurements.repairable)
        with map_column:
            st.error(bare(str(error)), icon=":material/error:")
            history(session, None)
        return
    session.plan_key = plan.key
    assert session.settings is not None
    recipe = session.settings.recipe(plan)
    with result_column, st.container(border=True, key="tune-result"):
        result(session, measurements, recipe, plan)  # first: the number is what one waits for
    with controls_column:
        below = partial(predicted, session.settings, measurements, plan, scores)
        controls(session, scored, cost_model, measurements.repairable, below)
        histogram = score_histogram(scores, plan, colours())
        if histogram is not None:
            st.plotly_chart(histogram, theme=None, config=CHART_CONFIG, key="tune-histogram")
    with map_column:
        the_map(session, scores, plan)
    with chart_column:
        frontier(session, measurements, recipe)
        explore(session, measurements, scores)
    with history_column:
        history(session, plan)
        other_applications(session, measurements, recipe, plan)
        work_ahead(session, measurements, scores)
    write_address(session)


def no_scores(session: Session, application: Application, under_way: Sequence[Scoring]) -> None:
    if under_way:
        st.info(bare(f"{application.title} is being scored. Cuts go by settled scores only."), icon=":material/tune:")
        scoring.follow(session, [application], under_way, scoring.furthest(under_way))
        return
    st.info(
        bare(f"{application.title} has not been scored yet, so there is nothing to cut by."), icon=":material/tune:"
    )
    others = [a for a in applications_of(session.study) if a.name != application.name]
    scored = stored_scores.scored(session.study, others)
    with st.container(horizontal=True):
        st.page_link("views/overview.py", label="Score it", icon=":material/play_arrow:")
        for other in others:
            if other.name in scored and st.button(bare(f"Tune {other.title}"), key=f"tune-instead-{other.title}"):
                session.application = other.name
                st.rerun()


def opened(session: Session, application: Application) -> CostModel | None:
    """What the application's parts cost; None while its encoder and texts are still being loaded."""
    known = models().cached_cost_model(application)
    if known is not None:
        return known
    work = open_job(models(), session.study, application)
    load(session, application.name, f"Opening {application.title}", work)
    return None


def timed(session: Session, application: Application, costs: CostModel) -> CostModel | None:
    """With this machine's layer times where they are known; None while a budget of latency waits for them."""
    settings = session.settings
    runtime = settings.runtime if settings is not None else "torch"
    found = with_known_times(models(), session.study, application, costs, runtime)
    wanted = settings is not None and settings.application == application.name and settings.budget == "latency"
    if found is None and wanted and settings is not None and settings.rule == "budget":
        work = layer_times_job(models(), session.study, application, runtime)
        title = f"Measuring how long layers take on this machine in {RUNTIMES[runtime].title}"
        key = f"times|{application.name}|{runtime}"
        load(session, key, title, work)
        instead_of_times(session, settings, key)
        return None
    return found or costs


def instead_of_times(session: Session, settings: CutSettings, key: str) -> None:
    """Ways out of a wait of minutes. key: of the job."""

    def choose(**changed: Any) -> None:
        job = all_jobs().last(session.id, "load", key)
        if job is not None:
            job.cancel()
        session.go(replace(settings, **changed))

    st.caption("Measured once and kept in the study; the sliders come back by themselves.")
    with st.container(horizontal=True):
        st.button("Budget of FLOPs instead", key="tune-times-flops", on_click=choose, kwargs={"budget": "flops"})
        for name in installed():
            if name != settings.runtime:
                label = f"In {RUNTIMES[name].title} instead"
                st.button(label, key=f"tune-times-{name}", on_click=choose, kwargs={"runtime": name})


def current_settings(session: Session, measurements: Measurements, scored: dict[str, Scores]) -> CutSettings:
    settings, application = session.settings, measurements.application
    if settings is None or settings.application != application.name or settings.method not in scored:
        preferred = next(iter(offered(scored)), next(iter(scored)))
        method = session.method if session.method in scored else preferred
        settings = replace(
            settings or CutSettings(application.name, method), application=application.name, method=method
        )
        if settings.rule == "fixed" and (session.settings is None or session.settings.application != application.name):
            settings = replace(settings, rule="budget", plan_key=None)
        settings = (
            settings.released()
            if session.settings is not None and session.settings.application != application.name
            else settings
        )
    settings = fitted(settings, scored[settings.method], measurements.repairable)
    session.go(settings)
    return settings


def current_plan(session: Session, scores: Scores, cost_model: CostModel) -> Plan:
    assert session.settings is not None
    return planner(session, scores, cost_model)(session.settings)


def planner(session: Session, scores: Scores, cost_model: CostModel) -> Callable[[CutSettings], Plan]:
    def plan(settings: CutSettings) -> Plan:
        fixed = session.study.plan(settings.plan_key) if settings.rule == "fixed" and settings.plan_key else None
        if fixed is not None:
            check_fits(fixed, settings, scores)
        return plan_of(settings, scores, cost_model, fixed)

    return plan


def check_fits(fixed: Plan, settings: CutSettings, scores: Scores) -> None:
    """A plan that came from elsewhere. Raises: UserError where it does not fit, or comes from other weights unasked."""
    if fixed.shape != scores.shape:
        raise UserError(f"The linked plan is for {fixed.shape}; this encoder is {scores.shape}. Choose a rule.")
    if fixed.provenance.weights not in (None, scores.weights) and not settings.transfer:
        raise UserError(
            f"The linked plan was made from other weights ({fixed.provenance.task or 'unknown task'}). "
            "Switch on its use here, or choose a rule."
        )


def map_key(session: Session) -> str:
    return session.chart_key("tune-map")


def take_clicks(session: Session, scores: Scores, cost_model: CostModel) -> None:
    """Cells that were clicked or drawn over change sides; then the chart gets a new key, which clears the selection."""
    event = st.session_state.get(map_key(session))
    points = event["selection"]["points"] if event else []
    cells = [tuple(point["customdata"]) for point in points if point.get("customdata")]
    if not cells or session.settings is None:
        return
    session.chart_version += 1
    replan = planner(session, scores, cost_model)
    settings = session.settings
    try:
        plan = replan(settings)
        for _, kind, row, number in dict.fromkeys(cells):
            settings = toggled(
                settings, Part(str(kind), int(row), None if number is None else int(number)), plan, replan
            )
    except UserError as error:
        st.toast(bare(str(error)))
        return
    session.go(settings)


def the_map(session: Session, scores: Scores, plan: Plan) -> None:
    settings = session.settings
    assert settings is not None
    boxes = bool(st.session_state.get("tune-boxes"))
    figure = cut_map(
        scores,
        plan,
        ByHand(settings.kept, settings.cut),
        colours(),
        MAP_HEIGHT,
        each_layer=settings.rule == "share" and not settings.everywhere,
        boxes=boxes,
    )
    st.plotly_chart(
        figure,
        key=map_key(session),
        on_select="rerun",
        selection_mode="box" if boxes else "points",
        theme=None,
        config=CHART_CONFIG,
    )
    chosen = colours()
    below = st.container(horizontal=True, vertical_alignment="center", gap="small")
    below.html(
        "<div class='asc-legend'>"
        f"<span><i style='background:{chosen.sequential[4][1]}'></i>kept</span>"
        f"<span><i style='border:1px solid {chosen.line}'></i>cut</span>"
        f"<span><b style='color:{chosen.cut}'>□</b> kept, <b style='color:{chosen.cut}'>✕</b> cut manually</span>"
        f"{'<span>○ undecided</span>' if scores.low is not None else ''}"
        f"<span class='asc-quiet'>{'drag over cells' if boxes else 'click a cell'}</span></div>",
        width="content",
    )

    def forget_selection() -> None:
        session.chart_version += 1  # a chart keeps what dragging does for as long as it has its key

    below.toggle(
        "Box select",
        key="tune-boxes",
        on_change=forget_selection,
        help="Drag over cells to change several at once. While this is on, clicks are not taken.",
    )
    if settings.forced:
        below.button(
            bare(f"Clear {settings.forced} manual edit{'' if settings.forced == 1 else 's'}"),
            key="tune-release",
            type="tertiary",
            icon=":material/lock_open:",
            on_click=lambda: session.go(settings.released()),
            help="Give the parts that were set by hand back to the rule.",
        )


with errors_in_page():
    page()
