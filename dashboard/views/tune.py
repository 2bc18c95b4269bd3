"""Tune: move a slider, see the cut on the map and its measured effect at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import streamlit as st

from asc_core.errors import UserError
from asc_core.plan import CostModel, Part
from asc_core.scores import METHODS
from asc_core.values import Plan, Scores
from dashboard import numbers, work
from dashboard.applications import Application, applications_of
from dashboard.bench import Bench, shares
from dashboard.charts.cut import ByHand, cut_map, score_histogram
from dashboard.charts.frontier import BUDGET_NAMES, metric_against_budget
from dashboard.frame import (
    CHART_CONFIG,
    SECONDS_BETWEEN_LOOKS,
    all_jobs,
    errors_in_page,
    escape,
    library,
    load,
    running_work,
    show_failure,
    this_session,
    write_address,
)
from dashboard.jobs import Job
from dashboard.look import colours
from dashboard.moves import LEVELS, RULES, Move, fitted, levels_of, plan_of, smallest_keep, thresholds, toggled
from dashboard.session import Session, application_in_view, keep_move, move_of_plan
from dashboard.verdict import costs, headline

MAP_HEIGHT = 318
PREFERRED = "fisher"


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
    controls_column, map_column, result_column = st.columns([30, 46, 28], gap="medium")
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
    chart_column, history_column = st.columns([74, 30], gap="medium")
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
    return {method: newest(str(study.path), entries[method]["created"], study, entries[method]) for method in order}


@st.cache_data(max_entries=64, show_spinner=False)
def newest(folder: str, created: str, _study: Any, _entry: dict[str, Any]) -> Scores:
    found = _study.scores(task=_entry["task"], method=_entry["method"], weights=_entry["weights"])
    return found[0]


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


# Controls


def changed(session: Session, key: str, name: str, read: Callable[[Any], Any] = lambda value: value) -> None:
    """A control was used: its value becomes part of a new move."""
    if session.move is not None:
        session.go(replace(session.move, **{name: read(st.session_state[key])}))


def bound(
    session: Session, key: str, name: str, shown: Any, read: Callable[[Any], Any] = lambda value: value
) -> dict[str, Any]:
    """Arguments for a widget that always shows the current move, also after undo, and changes it."""
    st.session_state[key] = shown
    return {"key": key, "on_change": changed, "args": (session, key, name, read)}


def controls(session: Session, scored: dict[str, Scores], cost_model: CostModel) -> None:
    move = session.move
    assert move is not None
    scores = scored[move.method]
    applications = [a.name for a in applications_of(session.study) if a.trained]
    left, right = st.columns(2)
    st.session_state["tune-application"] = move.application
    left.selectbox(
        "Application",
        applications,
        key="tune-application",
        on_change=switch_application,
        args=(session,),
        format_func=lambda name: name.removeprefix("demo:"),
    )
    right.selectbox(
        "Method",
        list(scored),
        format_func=lambda m: METHODS[m].title if m in METHODS else m,
        **bound(session, "tune-method", "method", move.method),
    )
    rules = {**RULES, **({"fixed": "Linked plan"} if move.rule == "fixed" else {})}
    if "blocks" not in levels_of(scores):
        rules.pop("share")
    st.segmented_control(
        "Rule",
        list(rules),
        format_func=rules.__getitem__,
        required=True,
        label_visibility="collapsed",
        width="stretch",
        **bound(session, "tune-rule", "rule", move.rule),
    )
    {"budget": budget_controls, "threshold": threshold_controls, "share": share_controls, "fixed": fixed_controls}[
        move.rule
    ](session, move, scores, cost_model)
    seen = f"{scores.split}, {scores.examples:,} examples" if scores.examples else "no data"
    text = f"scores: {scores.method}, {seen}, labels: {scores.labels}"
    st.html(f"<div class='asc-small asc-quiet'>{escape(text)}</div>")


def switch_application(session: Session) -> None:
    session.application = st.session_state["tune-application"]


def budget_controls(session: Session, move: Move, scores: Scores, cost_model: CostModel) -> None:
    kind, level = st.columns(2)
    kind.selectbox(
        "Budget",
        list(BUDGET_NAMES),
        format_func=BUDGET_NAMES.__getitem__,
        **bound(session, "tune-budget", "budget", move.budget),
    )
    with level:
        level_choice(session, move, scores)
    try:
        least = round(100 * smallest_keep(move, scores, cost_model))
    except UserError as error:
        st.error(str(error), icon=":material/error:")
        return
    if least >= 100:
        st.caption("Nothing can be cut: everything is kept by hand.")
        return
    if 100 * move.keep < least:
        st.session_state.pop("tune-keep", None)
        move = replace(move, keep=least / 100)
        session.go(move)
    st.slider(
        f"{BUDGET_NAMES[move.budget]} kept",
        least,
        100,
        format="%d %%",
        **bound(session, "tune-keep", "keep", round(100 * move.keep), lambda percent: percent / 100),
    )
    minimum_choice(session, move, scores)


def level_choice(session: Session, move: Move, scores: Scores) -> None:
    st.selectbox(
        "Cut", levels_of(scores), format_func=LEVELS.__getitem__, **bound(session, "tune-level", "level", move.level)
    )


def minimum_choice(session: Session, move: Move, scores: Scores) -> None:
    most = max(scores.shape.heads, default=0)
    if move.level == "blocks" and scores.values.heads is not None and most:
        st.slider(
            "Heads that every layer keeps", 0, most, **bound(session, "tune-min-heads", "min_heads", move.min_heads)
        )


def threshold_controls(session: Session, move: Move, scores: Scores, cost_model: CostModel) -> None:
    level_choice(session, move, scores)
    if scores.similarity is not None and move.level == "layers":
        st.slider(
            "A layer goes at similarity",
            0.5,
            1.01,
            step=0.005,
            format="%.3f",
            **bound(session, "tune-similarity", "similarity", max(move.similarity, 0.5)),
        )
        return
    names = {"heads": "below_heads", "neurons": "below_neurons", "layers": "below_layers"}
    for kind, limit in thresholds(move, scores).items():
        st.slider(
            f"{kind.capitalize()} go below {numbers.score(limit)}, the lowest",
            0,
            100,
            format="%d %%",
            **bound(
                session,
                f"tune-below-{kind}",
                names[kind],
                round(100 * getattr(move, names[kind])),
                lambda percent: percent / 100,
            ),
        )
    minimum_choice(session, move, scores)


def share_controls(session: Session, move: Move, scores: Scores, cost_model: CostModel) -> None:
    for kind in ("heads", "neurons"):
        if getattr(scores.values, kind) is not None:
            name = f"keep_{kind}"
            st.slider(
                f"{kind.capitalize()} kept",
                0,
                100,
                format="%d %%",
                **bound(
                    session, f"tune-keep-{kind}", name, round(100 * getattr(move, name)), lambda percent: percent / 100
                ),
            )
    st.toggle(
        "the best anywhere, not of each layer", **bound(session, "tune-everywhere", "everywhere", move.everywhere)
    )
    minimum_choice(session, move, scores)


def fixed_controls(session: Session, move: Move, scores: Scores, cost_model: CostModel) -> None:
    plan = session.study.plan(move.plan_key or "")
    rule = plan.provenance.rule if plan is not None else None
    st.caption(f"A plan from a link or a pin{': ' + rule if rule else ''}. Click cells to change it, or choose a rule.")
    if plan is not None and plan.provenance.weights not in (None, scores.weights):
        st.toggle("use it on these weights", **bound(session, "tune-transfer", "transfer", move.transfer))


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
    figure = cut_map(
        scores,
        plan,
        ByHand(move.kept, move.cut),
        colours(),
        MAP_HEIGHT,
        each_layer=move.rule == "share" and not move.everywhere,
    )
    st.plotly_chart(
        figure,
        key=map_key(session),
        on_select="rerun",
        selection_mode=("points", "box"),
        theme=None,
        config=CHART_CONFIG,
    )
    chosen = colours()
    legend, release = st.columns([5, 2], vertical_alignment="center")
    legend.html(
        "<div class='asc-legend'>"
        f"<span><i style='background:{chosen.sequential[4][1]}'></i>kept</span>"
        f"<span><i style='border:1px solid {chosen.line}'></i>cut</span>"
        f"<span><b style='color:{chosen.cut}'>□</b> kept, <b style='color:{chosen.cut}'>✕</b> cut by hand</span>"
        "<span>○ undecided</span><span class='asc-quiet'>click a cell or draw a box over several</span>"
        "</div>"
    )
    if move.forced:
        release.button(
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
    recent = list(range(max(0, len(session.history) - 7), len(session.history)))[::-1]
    st.session_state["tune-history"] = session.position if session.position in recent else None

    def jumped() -> None:
        position = st.session_state["tune-history"]
        if position is not None:
            session.jump(position)

    st.pills(
        "History",
        recent,
        format_func=lambda n: session.history[n].label,
        key="tune-history",
        on_change=jumped,
        help="Newest first; * = cells set by hand.",
        wrap=True,
    )
    pins(session)


def pins(session: Session) -> None:
    pinned = session.study.pins
    if not pinned or session.move is None:
        return

    def chosen() -> None:
        name = st.session_state["tune-pins"]
        if name is None:
            return
        plan = pinned[name]
        move = move_of_plan(session.study, plan.key, session.application, session.method)
        if move is not None:
            session.go(move)

    st.session_state["tune-pins"] = None
    st.pills("Pinned", list(pinned), key="tune-pins", on_change=chosen, wrap=True)


with errors_in_page():
    page()
