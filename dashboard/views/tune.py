"""Tune: move a slider, see the cut on the map and the measured effect of it and its repair at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Literal

import streamlit as st

from asc_core.errors import UserError
from asc_core.plan import CostModel, Part
from asc_core.recipes import Recipe
from asc_core.scores import METHODS
from asc_core.values import Plan, Scores
from dashboard import elsewhere, exploring, foreseeing, numbers, work
from dashboard.applications import Application, applications_of
from dashboard.bench import Bench, shares, tight_enough, timing, with_known_times
from dashboard.charts.cut import ByHand, cut_map, score_histogram
from dashboard.charts.frontier import metric_against_budget
from dashboard.charts.strip import strip
from dashboard.controls import controls
from dashboard.frame import (
    CHART_CONFIG,
    SECONDS_BETWEEN_LOOKS,
    all_jobs,
    errors_in_page,
    library,
    load,
    progress_text,
    read_scores,
    running_work,
    show_failure,
    this_session,
    write_address,
)
from dashboard.jobs import Job
from dashboard.look import colours
from dashboard.moves import Move, fitted, plan_of, recipe_of, smallest_keep, toggled, within_reach
from dashboard.repairing import calibrating, mode_of, needs_calibration
from dashboard.session import Session, application_in_view, keep_move, move_of_pin, pin
from dashboard.verdict import costs, headline

MAP_HEIGHT = 318
PREFERRED = ("obs", "michel", "fisher")  # by benchmarks/results/quality.json and trust.md
SHOWN_MOVES = 8
SECONDS_BETWEEN_POINTS = 1.0
SECONDS_BETWEEN_ESTIMATES = 0.1
REACHES = {
    "after all examples": None,
    "at ±3 points": 0.03,
    "at ±2 points": 0.02,
    "at ±1 point": 0.01,
}


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
        preferred = next((m for m in PREFERRED if m in scored), next(iter(scored)))
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


# The result


def result(session: Session, bench: Bench, recipe: Recipe, plan: Plan) -> None:
    """The measured effect of the cut: from the study if it was measured before, else by a job that starts now."""
    jobs = all_jobs()
    assert session.move is not None
    job = jobs.last(session.id, "evaluate", bench.key(recipe))
    running = job is not None and job.active  # asked before the study is read: what ends in between is in it
    stored = bench.stored(recipe)
    preparing = None
    measured = stored is not None and tight_enough(stored, session.reach)
    if not measured and not running and (job is None or job.state != "failed"):
        keep_move(session.study, plan, session.move)
        if needs_calibration(bench.library, bench.application, recipe):
            jobs.cancel(session.id, "evaluate")
            preparing = calibration(session, bench, recipe)
        else:
            job, running = start_measuring(session, bench, recipe), True
    elif not running:
        jobs.cancel(session.id, "evaluate")  # the way back to a measured plan makes the measuring of another pointless
    if preparing is not None and not preparing.active:
        not_calibrated(preparing)
        preparing = None
    speed_job, measuring_speed = None, False
    if not running and stored is not None and bench.speed(plan) is None:
        key = bench.speed_key(plan)
        speed_job = jobs.last(session.id, "latency", key)
        measuring_speed = speed_job is None or speed_job.active or speed_job.state == "cancelled"
        if speed_job is None or speed_job.state == "cancelled":
            title = "Measuring latency"
            speed_job = jobs.start(session.id, "latency", key, title, bench.measure_speed(plan), alone=True)

    def look() -> None:
        jobs.touch(session.id)
        watched = preparing or (job if running else speed_job if measuring_speed else None)
        if watched is not None and not watched.active:
            st.rerun()
        estimate = bench.stored(recipe) if job is None or not running else job.latest or stored
        doing = doing_now(preparing or job)
        st.html(headline(estimate, bench.original(), running or preparing is not None, doing))
        st.html(costs(bench.cost_model.cost(plan), bench.cost_model.dense, bench.speed(plan), measuring_speed))
        if preparing is not None:
            st.button("Stop calibrating", key="tune-calibrating-stop", on_click=preparing.cancel, type="tertiary")

    if running or measuring_speed or preparing is not None:
        st.fragment(look, run_every=SECONDS_BETWEEN_ESTIMATES if running else SECONDS_BETWEEN_LOOKS)()
        how_long(session)
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
    how_long(session)


def how_long(session: Session) -> None:
    """When an evaluation has seen enough."""

    def chosen() -> None:
        session.reach = REACHES[st.session_state["tune-reach"]]

    with st.popover("Stop when", type="tertiary", icon=":material/hourglass_bottom:", key="tune-until"):
        st.radio(
            "An evaluation ends",
            list(REACHES),
            index=list(REACHES.values()).index(session.reach),
            key="tune-reach",
            on_change=chosen,
        )
        st.caption(
            "95 % intervals that hold at every look: stop whenever you like. One that was stopped goes on from where "
            "it was when you ask for more."
        )


def doing_now(job: Job | None) -> str:
    """What precedes the first estimate, in words."""
    if job is None:
        return ""
    done, total, what = job.progress
    share = f", {100 * done / total:.0f} %" if total > 1 else ""
    if what.startswith("calibrating") or job.lane == "calibrate":
        return f"calibrating the repair, once for all cuts{share}"
    return f"repairing{share}" if what == "refitting" else ""


def calibration(session: Session, bench: Bench, recipe: Recipe) -> Job:
    """The job that prepares all repairs of this application: begun by whatever move needs it first, and kept."""
    jobs, mode = all_jobs(), mode_of(recipe)
    assert mode is not None
    key = f"{bench.application.encoder}|{bench.application.task}|{mode == 'one-shot'}"
    job = jobs.running("calibrate", key) or jobs.last(session.id, "calibrate", key)
    if job is None or job.state == "done":  # no longer in memory
        preparing = calibrating(bench.library, bench.application, mode)
        job = jobs.start(session.id, "calibrate", key, "Calibrating", preparing)
    return job


def not_calibrated(job: Job) -> None:
    if job.state == "failed":
        show_failure(job)
    else:
        st.caption("Calibration was stopped, so this repair cannot be measured.")
    st.button("Calibrate", key="tune-calibrate", icon=":material/refresh:", on_click=all_jobs().forget, args=(job,))


def start_measuring(session: Session, bench: Bench, recipe: Recipe) -> Job:
    """A newer move makes older measurements of this window pointless."""
    assert session.move is not None
    jobs = all_jobs()
    jobs.cancel(session.id, "latency")
    measure = bench.measure(recipe, session.move, session.reach)
    return jobs.start(session.id, "evaluate", bench.key(recipe), "Evaluating", measure, alone=True)


# The frontier


def foretold(move: Move, bench: Bench, plan: Plan, scores: Scores) -> None:
    """What this position is expected to cost, before it is measured; under a budget's slider, of all positions."""
    budget = foreseeing.budget_of(move)
    curve = foreseeing.curve_of(bench, foreseeing.series_of(move), budget)
    drawn = ""
    if curve is not None and move.rule == "budget":
        drawn = strip(curve, smallest_keep(move, scores, bench.cost_model))
    st.html(drawn + foreseeing.told(bench, curve, shares(bench.cost_model.cost(plan), bench.cost_model.dense)[budget]))


def exploring_job(session: Session, application: Application) -> Job | None:
    """The last of this window's that was about this application."""
    job = all_jobs().last(session.id, "explore")
    return job if job is not None and job.key.partition("|")[2] == application.name else None


def frontier(session: Session, bench: Bench, recipe: Recipe, plan: Plan) -> None:
    """Drawn again and again while points are coming."""
    move = session.move
    assert move is not None
    kept = shares(bench.cost_model.cost(plan), bench.cost_model.dense)

    def draw() -> None:
        measured = bench.all_measured()
        here = next((replace(one, kept=kept) for one in measured if one.key == recipe.key), None)
        budget = foreseeing.budget_of(move)
        curve = foreseeing.curve_of(bench, foreseeing.series_of(move), budget, measured=measured)
        figure = metric_against_budget(
            measured, bench.original(), here, kept[budget], budget, colours(), foreseen=curve
        )
        st.plotly_chart(figure, theme=None, config=CHART_CONFIG, key="tune-frontier")

    job = exploring_job(session, bench.application)
    if job is not None and job.active:
        st.fragment(draw, run_every=SECONDS_BETWEEN_POINTS)()
    else:
        draw()


def explore(session: Session, bench: Bench, scores: Scores) -> None:
    """Buttons for what measures many budgets, and how far that is."""
    move = session.move
    assert move is not None
    job = exploring_job(session, bench.application)
    chosen = colours()
    running = job is not None and job.active
    row = st.container(horizontal=True, vertical_alignment="center", gap="small", key="tune-explore")
    row.html(
        f"<div class='asc-legend'><span><b style='color:{chosen.accent}'>●</b> repaired</span>"
        f"<span class='asc-quiet'>▲ as cut</span><span>◆ original</span></div>",
        width="content",
    )
    try:
        least = smallest_keep(exploring.at_budget(move, 1.0), scores, bench.cost_model)
    except UserError as error:
        st.caption(str(error))
        return
    about = f"{move.method}, {'no' if move.repair == 'none' else move.repair} repair"
    row.button(
        "Whole frontier",
        key="tune-whole",
        icon=":material/timeline:",
        disabled=running,
        on_click=start_frontier,
        args=(session, bench, scores, least),
        help=f"Measures ten budgets with what is chosen now ({about}); what was measured before is kept.",
    )
    with row.popover("Auto", icon=":material/target:", key="tune-auto", disabled=running):
        most_lost = st.number_input(
            "Smallest model that loses at most ... points",
            min_value=0.0,
            max_value=100.0,
            value=1.0,
            step=0.5,
            format="%.1f",
            key="tune-auto-lost",
        )
        st.button(
            "Find it",
            key="tune-auto-find",
            type="primary",
            on_click=start_auto,
            args=(session, bench, scores, least, most_lost / 100),
            help=f"Halves the range of budgets about six times ({about}). A model counts when its whole 95 % interval "
            f"on the {bench.split} split is within the limit.",
        )
    if job is not None and running:
        watch(job)
    elif job is not None:
        outcome(job)


def watch(job: Job) -> None:
    def look() -> None:
        all_jobs().touch(job.session)
        if not job.active:
            st.rerun()
        bar, stop = st.columns([6, 1], vertical_alignment="center")
        bar.progress(job.share, text=progress_text(job))
        stop.button("Stop", key=f"cancel-{job.number}", on_click=job.cancel, disabled=job.cancelling, type="tertiary")

    st.fragment(look, run_every=SECONDS_BETWEEN_LOOKS)()


def outcome(job: Job) -> None:
    """What came of it, in a sentence."""
    if job.state == "failed":
        show_failure(job)
    elif job.state == "cancelled":
        st.caption(f"{job.title} was stopped; what was measured is kept, and it can go on.")
    elif isinstance(job.result, exploring.Found):
        st.caption(sentence(job.result))


def sentence(found: exploring.Found) -> str:
    limit = f"{100 * found.most_lost:g} points"
    on = f"{found.examples:,} {found.split} examples, {found.measured} cuts measured"
    if found.move is None or found.estimate is None or found.estimate.difference_interval is None:
        return (
            f"No cut with this method and repair is sure to lose at most {limit} ({on}). Allow more, choose another "
            "method or repair, or use more validation examples: the interval gets narrower."
        )
    return (
        f"Smallest that is sure to lose at most {limit}: {100 * found.move.keep:.0f} % kept, "
        f"{numbers.interval_of_points(found.estimate.difference_interval)} ({on})."
    )


def start_frontier(session: Session, bench: Bench, scores: Scores, least: float) -> None:
    assert session.move is not None
    job_work = exploring.whole_frontier(
        bench, session.move, partial(plan_of, scores=scores, cost_model=bench.cost_model), exploring.budgets_over(least)
    )
    key = f"frontier|{bench.application.name}"
    all_jobs().start(session.id, "explore", key, "Whole frontier", job_work, alone=True)


def start_auto(session: Session, bench: Bench, scores: Scores, least: float, most_lost: float) -> None:
    assert session.move is not None
    planned = partial(plan_of, scores=scores, cost_model=bench.cost_model)
    job_work = exploring.smallest(bench, session.move, planned, least, most_lost)
    all_jobs().start(session.id, "explore", f"auto|{bench.application.name}", "Auto", job_work, alone=True)


def take_found(session: Session, application: Application) -> None:
    """What Auto has found becomes the current move, once."""
    job = exploring_job(session, application)
    if job is not None and isinstance(job.result, exploring.Found) and job.number not in session.taken:
        session.taken.add(job.number)
        if job.result.move is not None:
            session.go(job.result.move)


# History


def history(session: Session, plan: Plan | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button("Undo", key="tune-undo", icon=":material/undo:", on_click=session.undo, disabled=not session.can_undo)
        st.button("Redo", key="tune-redo", icon=":material/redo:", on_click=session.redo, disabled=not session.can_redo)
        if plan is not None:
            with st.popover("Pin", icon=":material/push_pin:", key="tune-pin"):
                name = st.text_input("Name", key="tune-pin-name", placeholder="half, small, ...")
                if st.button("Pin this cut", key="tune-pin-save", disabled=not name.strip()):
                    if session.move is not None:
                        pin(session.study, name.strip(), plan, session.move)
                    st.toast(f"Pinned as {name.strip()}.")
            st.page_link("views/export.py", label="Export", icon=":material/ios_share:")
    recent = list(range(max(0, len(session.history) - SHOWN_MOVES), len(session.history)))[::-1]
    buttons = {f"tune-move-{n}": (session.history[n].label, partial(session.jump, n)) for n in recent}
    chips("History", buttons, f"tune-move-{session.position}", "Newest first; * = cells set by hand.")
    pinned = {
        f"tune-pinned-{number}": (name, partial(bring_back, session, name, plan))
        for number, (name, plan) in enumerate(session.study.pins.items())
    }
    chips("Pinned", pinned, None, "Cuts with a name, of this study.")


def other_applications(session: Session, bench: Bench, recipe: Recipe, plan: Plan) -> None:
    """What the same cut does to those that were scored here, too; begun when nothing else is left to do."""
    scored = {entry["task"] for entry in session.study.score_index()} - {bench.application.name}
    others = [one for one in applications_of(session.study) if one.name in scored]
    if not others or plan == bench.whole:
        return
    jobs, move = all_jobs(), session.move
    assert move is not None
    st.session_state.setdefault("tune-elsewhere", True)
    st.toggle(
        "on the other applications",
        key="tune-elsewhere",
        help="The same parts are cut from their own models and measured on their own examples, in the background.",
    )
    if not st.session_state["tune-elsewhere"]:
        jobs.cancel(session.id, elsewhere.LANE)
        return
    key = bench.key(recipe)
    job = jobs.last(session.id, elsewhere.LANE, key)
    if job is None or job.state == "cancelled":
        work = elsewhere.following(bench.library, session.study, others, plan, move, jobs)
        job = jobs.start(session.id, elsewhere.LANE, key, "On other applications", work, alone=True)

    def look() -> None:
        jobs.touch(session.id)
        st.html(elsewhere.table(job.latest or [elsewhere.Effect(one) for one in others], job.active))

    if job.active:
        st.fragment(look, run_every=SECONDS_BETWEEN_POINTS)()
    else:
        look()
    if job.state == "failed":
        show_failure(job)


def chips(title: str, buttons: Mapping[str, tuple[str, Callable[[], None]]], current: str | None, about: str) -> None:
    """Small buttons in a row. buttons: key -> (label, what it does). Plain buttons: they have no value to go stale."""
    if not buttons:
        return
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center", key=f"chips-{title}"):
        st.html(f"<span class='asc-small asc-quiet' title='{about}'>{title}</span>", width="content")
        for key, (label, action) in buttons.items():
            kind: Literal["primary", "secondary"] = "primary" if key == current else "secondary"
            st.button(label, key=key, on_click=action, type=kind)


def bring_back(session: Session, name: str, plan: Plan) -> None:
    move = move_of_pin(session.study, name, plan, session.application, session.method)
    if move is not None:
        session.go(move)


with errors_in_page():
    page()
