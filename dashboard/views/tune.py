"""Tune: move a slider, see the cut on the map and the measured effect of it and its repair at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import streamlit as st

from asc_core.errors import UserError
from asc_core.plan import CostModel, Part
from asc_core.scores.data_fingerprint import is_current
from asc_core.scores.methods import offered
from asc_core.values import Plan, Scores
from dashboard.background import scoring_jobs
from dashboard.charts.cut import ByHand, cut_map, score_histogram
from dashboard.measuring.measurements import Bench, timing, with_known_times
from dashboard.panels.frontier import explore, foretold, frontier, take_found
from dashboard.panels.history import history
from dashboard.panels.other_tasks import other_applications
from dashboard.panels.result import result
from dashboard.state.applications import Application, applications_of
from dashboard.state.cut_settings import Move, fitted, plan_of, recipe_of, toggled, within_reach
from dashboard.state.session import Session, application_in_view
from dashboard.text.method_names import in_order, title_of
from dashboard.widgets.cut_controls import controls
from dashboard.widgets.page import (
    CHART_CONFIG,
    errors_in_page,
    library,
    load,
    read_scores,
    running_work,
    this_session,
    write_address,
)
from dashboard.widgets.theme import colours

MAP_HEIGHT = 318


def page() -> None:
    session = this_session()
    running_work(session, ("score", "export"))
    application = application_in_view(session, applications_of(session.study))
    scored = scores_of(session, application)
    if not scored:
        no_scores(session, application)
        return
    cost_model = opened(session, application)
    if cost_model is not None:
        cost_model = timed(session, application, cost_model)
    if cost_model is None:
        write_address(session)
        return
    take_found(session, application)
    bench = Bench(library(), session.study, application, cost_model)
    if bench.other_data:
        st.warning(
            f"The examples of {application.title}'s {bench.split} split are other ones than those that were measured "
            "before. Earlier results stay in the study, as of another application, and are no longer shown.",
            icon=":material/difference:",
        )
    outdated = [method for method, scores in scored.items() if not is_current(scores, bench.library.task(application))]
    if outdated:
        st.warning(
            f"The training texts of {application.title} have changed since it was scored "
            f"({', '.join(map(title_of, outdated))}). Score it again on Overview; until then cuts go by the old ones.",
            icon=":material/difference:",
        )
    move = current_move(session, bench, scored)
    scores = scored[move.method]
    take_clicks(session, scores, cost_model)
    session.go(within_reach(session.move or move, scores, cost_model))
    controls_column, rest = st.columns([30, 76], gap="medium")
    with rest:
        map_column, result_column = st.columns([47, 28], gap="medium")
        chart_column, history_column = st.columns([47, 28], gap="medium")
    try:
        plan = current_plan(session, scores, cost_model)
    except UserError as error:
        with controls_column:
            controls(session, scored, cost_model, bench.repairable)
        with map_column:
            st.error(str(error), icon=":material/error:")
            history(session, None)
        return
    session.plan_key = plan.key
    assert session.move is not None
    recipe = recipe_of(plan, session.move.repair, session.move.transfer)
    with result_column, st.container(border=True, key="tune-result"):
        result(session, bench, recipe, plan)  # first: the number is what one waits for
    with controls_column:
        below = partial(foretold, session.move, bench, plan, scores)
        controls(session, scored, cost_model, bench.repairable, below)
        histogram = score_histogram(scores, plan, colours())
        if histogram is not None:
            st.plotly_chart(histogram, theme=None, config=CHART_CONFIG, key="tune-histogram")
    with map_column:
        the_map(session, scores, plan)
    with chart_column:
        frontier(session, bench, recipe, plan)
        explore(session, bench, scores)
    with history_column:
        history(session, plan)
        other_applications(session, bench, recipe, plan)
    write_address(session)


def scores_of(session: Session, application: Application) -> dict[str, Scores]:
    """method -> newest scores of this application's own weights, in the order of the registry."""
    study = session.study
    weights = study.get(scoring_jobs.weights_setting(application))
    entries = {
        method: entry
        for (task, method), entry in scoring_jobs.newest_scores(study.score_index(), weights).items()
        if task == application.name
    }
    return {method: read_scores(study, entries[method]) for method in in_order(entries)}


def no_scores(session: Session, application: Application) -> None:
    st.info(f"{application.title} has not been scored yet, so there is nothing to cut by.", icon=":material/tune:")
    others = [a for a in applications_of(session.study) if a.name != application.name]
    scored = {entry["task"] for entry in session.study.score_index()}
    with st.container(horizontal=True):
        st.page_link("views/overview.py", label="Score it", icon=":material/play_arrow:")
        for other in others:
            if other.name in scored and st.button(f"Tune {other.title}", key=f"tune-instead-{other.title}"):
                session.application = other.name
                st.rerun()


def opened(session: Session, application: Application) -> CostModel | None:
    """What the application's parts cost; None while its encoder and texts are still being loaded."""
    known = library().known_cost_model(application)
    if known is not None:
        return known
    job_work = scoring_jobs.opening(library(), session.study, application)
    load(session, application.name, f"Opening {application.title}", job_work)
    return None


def timed(session: Session, application: Application, costs: CostModel) -> CostModel | None:
    """With this machine's layer times where they are known; None while a budget of latency waits for them."""
    found = with_known_times(library(), session.study, application, costs)
    move = session.move
    wanted = move is not None and move.application == application.name and move.budget == "latency"
    if found is None and wanted and move is not None and move.rule == "budget":
        job_work = timing(library(), session.study, application)
        load(session, f"times|{application.name}", "Measuring how long layers take on this machine", job_work)
        return None
    return found or costs


def current_move(session: Session, bench: Bench, scored: dict[str, Scores]) -> Move:
    move, application = session.move, bench.application
    if move is None or move.application != application.name or move.method not in scored:
        preferred = next(iter(offered(scored)), next(iter(scored)))
        method = session.method if session.method in scored else preferred
        move = replace(move or Move(application.name, method), application=application.name, method=method)
        if move.rule == "fixed" and (session.move is None or session.move.application != application.name):
            move = replace(move, rule="budget", plan_key=None)
        move = move.released() if session.move is not None and session.move.application != application.name else move
    move = fitted(move, scored[move.method], bench.repairable)
    session.go(move)
    return move


def current_plan(session: Session, scores: Scores, cost_model: CostModel) -> Plan:
    assert session.move is not None
    return planner(session, scores, cost_model)(session.move)


def planner(session: Session, scores: Scores, cost_model: CostModel) -> Callable[[Move], Plan]:
    def plan(move: Move) -> Plan:
        fixed = session.study.plan(move.plan_key) if move.rule == "fixed" and move.plan_key else None
        if fixed is not None:
            check_fits(fixed, move, scores)
        return plan_of(move, scores, cost_model, fixed)

    return plan


def check_fits(fixed: Plan, move: Move, scores: Scores) -> None:
    """A plan that came from elsewhere. Raises: UserError where it does not fit, or comes from other weights unasked."""
    if fixed.shape != scores.shape:
        raise UserError(f"The linked plan is for {fixed.shape}; this encoder is {scores.shape}. Choose a rule.")
    if fixed.provenance.weights not in (None, scores.weights) and not move.transfer:
        raise UserError(
            f"The linked plan was made from other weights ({fixed.provenance.task or 'unknown task'}). "
            "Switch on its use here, or choose a rule."
        )


def map_key(session: Session) -> str:
    return session.fresh_key("tune-map")


def take_clicks(session: Session, scores: Scores, cost_model: CostModel) -> None:
    """Cells that were clicked or drawn over change sides; then the chart gets a new key, which clears the selection."""
    event = st.session_state.get(map_key(session))
    points = event["selection"]["points"] if event else []
    cells = [tuple(point["customdata"]) for point in points if point.get("customdata")]
    if not cells or session.move is None:
        return
    session.nonce += 1
    replan = planner(session, scores, cost_model)
    move = session.move
    try:
        plan = replan(move)
        for _, kind, row, number in dict.fromkeys(cells):
            move = toggled(move, Part(str(kind), int(row), None if number is None else int(number)), plan, replan)
    except UserError as error:
        st.toast(str(error))
        return
    session.go(move)


def the_map(session: Session, scores: Scores, plan: Plan) -> None:
    move = session.move
    assert move is not None
    boxes = bool(st.session_state.get("tune-boxes"))
    figure = cut_map(
        scores,
        plan,
        ByHand(move.kept, move.cut),
        colours(),
        MAP_HEIGHT,
        each_layer=move.rule == "share" and not move.everywhere,
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
        f"<span><b style='color:{chosen.cut}'>□</b> kept, <b style='color:{chosen.cut}'>✕</b> cut by hand</span>"
        f"{'<span>○ undecided</span>' if scores.low is not None else ''}"
        f"<span class='asc-quiet'>{'drag over cells' if boxes else 'click a cell'}</span></div>",
        width="content",
    )

    def forget_selection() -> None:
        session.nonce += 1  # a chart keeps what dragging does for as long as it has its key

    below.toggle(
        "boxes",
        key="tune-boxes",
        on_change=forget_selection,
        help="Drag over cells to change several at once. While this is on, clicks are not taken.",
    )
    if move.forced:
        below.button(
            f"Release {move.forced}",
            key="tune-release",
            type="tertiary",
            icon=":material/lock_open:",
            on_click=lambda: session.go(move.released()),
            help="Give the parts that were set by hand back to the rule.",
        )


with errors_in_page():
    page()
