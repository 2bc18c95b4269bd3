"""Tune: move a slider, see the cut on the map and its measured effect at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Literal

import streamlit as st

from asc_core.errors import UserError
from asc_core.plan import CostModel, Part
from asc_core.scores import METHODS
from asc_core.values import Plan, Scores
from dashboard import work
from dashboard.applications import Application, applications_of
from dashboard.bench import Bench, shares
from dashboard.charts.cut import ByHand, cut_map, score_histogram
from dashboard.charts.frontier import metric_against_budget
from dashboard.controls import controls
from dashboard.frame import (
    CHART_CONFIG,
    SECONDS_BETWEEN_LOOKS,
    all_jobs,
    errors_in_page,
    library,
    load,
    read_scores,
    running_work,
    show_failure,
    this_session,
    write_address,
)
from dashboard.jobs import Job
from dashboard.look import colours
from dashboard.moves import Move, fitted, plan_of, toggled
from dashboard.session import Session, application_in_view, keep_move, move_of_plan
from dashboard.verdict import costs, headline

MAP_HEIGHT = 318
PREFERRED = "fisher"
SHOWN_MOVES = 8


def page() -> None:
    session = this_session()
    running_work(session)
    application = application_in_view(session, applications_of(session.study))
    scored = scores_of(session, application)
    if not scored:
        no_scores(session, application)
        return
    cost_model = opened(session, application)
    if cost_model is None:
        write_address(session)
        return
    move = current_move(session, application, scored)
    scores = scored[move.method]
    take_clicks(session, scores, cost_model)
    move = session.move or move
    controls_column, rest = st.columns([30, 76], gap="medium")
    with rest:
        map_column, result_column = st.columns([47, 28], gap="medium")
        chart_column, history_column = st.columns([47, 28], gap="medium")
    with controls_column:
        controls(session, scored, cost_model)
    try:
        plan = current_plan(session, scores, cost_model)
    except UserError as error:
        with map_column:
            st.error(str(error), icon=":material/error:")
            history(session, None)
        return
    session.plan_key = plan.key
    with controls_column:
        histogram = score_histogram(scores, plan, colours())
        if histogram is not None:
            st.plotly_chart(histogram, theme=None, config=CHART_CONFIG, key="tune-histogram")
    bench = Bench(library(), session.study, application, cost_model)
    with map_column:
        the_map(session, scores, plan)
    with result_column, st.container(border=True, key="tune-result"):
        result(session, bench, plan)
    with chart_column:
        frontier(session, bench, plan)
    with history_column:
        history(session, plan)
    write_address(session)


def scores_of(session: Session, application: Application) -> dict[str, Scores]:
    """method -> newest scores of this application's own weights, in the order of the registry."""
    study = session.study
    weights = study.get(work.weights_setting(application))
    entries = {
        method: entry
        for (task, method), entry in work.newest_scores(study.score_index(), weights).items()
        if task == application.name
    }
    order = [m for m in METHODS if m in entries] + sorted(m for m in entries if m not in METHODS)
    return {method: read_scores(study, entries[method]) for method in order}


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
    job_work = work.opening(library(), session.study, application)
    load(session, application.name, f"Opening {application.title}", job_work)
    return None


def current_move(session: Session, application: Application, scored: dict[str, Scores]) -> Move:
    move = session.move
    if move is None or move.application != application.name or move.method not in scored:
        method = (
            session.method if session.method in scored else (PREFERRED if PREFERRED in scored else next(iter(scored)))
        )
        move = replace(move or Move(application.name, method), application=application.name, method=method)
        if move.rule == "fixed" and (session.move is None or session.move.application != application.name):
            move = replace(move, rule="budget", plan_key=None)
        move = move.released() if session.move is not None and session.move.application != application.name else move
    move = fitted(move, scored[move.method])
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


# The map


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
        "<span>○ undecided</span>"
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


# The result


def result(session: Session, bench: Bench, plan: Plan) -> None:
    """The measured effect of the plan: from the study if it was measured before, else by a job that starts now."""
    jobs = all_jobs()
    assert session.move is not None
    job = jobs.last(session.id, "evaluate", bench.key(plan))
    running = job is not None and job.active  # asked before the study is read: what ends in between is in it
    stored = bench.stored(plan)
    if not (stored is not None and stored.complete) and (job is None or job.state == "cancelled"):
        job, running = start_measuring(session, bench, plan), True
    elif not running:
        jobs.cancel(session.id, "evaluate")  # the way back to a measured plan makes the measuring of another pointless
    speed_job, measuring_speed = None, False
    if not running and stored is not None and bench.speed(plan) is None:
        speed_job = jobs.last(session.id, "latency", bench.key(plan))
        measuring_speed = speed_job is None or speed_job.active or speed_job.state == "cancelled"
        if speed_job is None or speed_job.state == "cancelled":
            title = "Measuring latency"
            speed_job = jobs.start(session.id, "latency", bench.key(plan), title, bench.measure_speed(plan), alone=True)

    def look() -> None:
        jobs.touch(session.id)
        watched = job if running else speed_job if measuring_speed else None
        if watched is not None and not watched.active:
            st.rerun()
        estimate = job.latest if running and job is not None else bench.stored(plan)
        st.html(headline(estimate, bench.original(), running))
        st.html(costs(bench.cost_model.cost(plan), bench.cost_model.dense, bench.speed(plan), measuring_speed))

    if running or measuring_speed:
        st.fragment(look, run_every=SECONDS_BETWEEN_LOOKS)()
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


def start_measuring(session: Session, bench: Bench, plan: Plan) -> Job:
    """A newer move makes older measurements of this window pointless."""
    assert session.move is not None
    jobs = all_jobs()
    jobs.cancel(session.id, "latency")
    keep_move(session.study, plan, session.move)
    measure = bench.measure(plan, session.move.label)
    return jobs.start(session.id, "evaluate", bench.key(plan), "Evaluating", measure, alone=True)


def frontier(session: Session, bench: Bench, plan: Plan) -> None:
    assert session.move is not None
    measured = bench.all_measured()
    cost, dense = bench.cost_model.cost(plan), bench.cost_model.dense
    kept = shares(cost, dense)
    here = next((one for one in measured if one.key == plan.key), None)
    figure = metric_against_budget(
        measured, bench.original(), here, kept[session.move.budget], session.move.budget, colours()
    )
    st.plotly_chart(figure, theme=None, config=CHART_CONFIG, key="tune-frontier")


# History


def history(session: Session, plan: Plan | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button("Undo", key="tune-undo", icon=":material/undo:", on_click=session.undo, disabled=not session.can_undo)
        st.button("Redo", key="tune-redo", icon=":material/redo:", on_click=session.redo, disabled=not session.can_redo)
        if plan is not None:
            with st.popover("Pin", icon=":material/push_pin:", key="tune-pin"):
                name = st.text_input("Name", key="tune-pin-name", placeholder="half, small, ...")
                if st.button("Pin this cut", key="tune-pin-save", disabled=not name.strip()):
                    session.study.save_plan(plan, name.strip())
                    if session.move is not None:
                        keep_move(session.study, plan, session.move)
                    st.toast(f"Pinned as {name.strip()}.")
            st.page_link("views/export.py", label="Export", icon=":material/ios_share:")
    recent = list(range(max(0, len(session.history) - SHOWN_MOVES), len(session.history)))[::-1]
    buttons = {f"tune-move-{n}": (session.history[n].label, partial(session.jump, n)) for n in recent}
    chips("History", buttons, f"tune-move-{session.position}", "Newest first; * = cells set by hand.")
    pinned = {
        f"tune-pinned-{number}": (name, partial(bring_back, session, plan))
        for number, (name, plan) in enumerate(session.study.pins.items())
    }
    chips("Pinned", pinned, None, "Cuts with a name, of this study.")


def chips(title: str, buttons: Mapping[str, tuple[str, Callable[[], None]]], current: str | None, about: str) -> None:
    """Small buttons in a row. buttons: key -> (label, what it does). Plain buttons: they have no value to go stale."""
    if not buttons:
        return
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center", key=f"chips-{title}"):
        st.html(f"<span class='asc-small asc-quiet' title='{about}'>{title}</span>", width="content")
        for key, (label, action) in buttons.items():
            kind: Literal["primary", "secondary"] = "primary" if key == current else "secondary"
            st.button(label, key=key, on_click=action, type=kind)


def bring_back(session: Session, plan: Plan) -> None:
    move = move_of_plan(session.study, plan.key, session.application, session.method)
    if move is not None:
        session.go(move)


with errors_in_page():
    page()
