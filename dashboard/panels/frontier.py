"""Metric against budget: what was measured, what is foretold, and work that measures many budgets."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import streamlit as st

from asc_core.errors import UserError
from asc_core.recipes import Recipe
from asc_core.values import Plan, Scores
from dashboard.background.jobs import Job
from dashboard.charts.frontier import metric_against_budget
from dashboard.charts.prediction_strip import strip
from dashboard.measuring import budget_sweep, predicted_loss
from dashboard.measuring.measurements import Bench, shares
from dashboard.state.applications import Application
from dashboard.state.cut_settings import Move, plan_of, smallest_keep
from dashboard.state.session import Session
from dashboard.text import numbers
from dashboard.widgets.page import (
    CHART_CONFIG,
    SECONDS_BETWEEN_LOOKS,
    all_jobs,
    progress_text,
    show_failure,
)
from dashboard.widgets.theme import colours

SECONDS_BETWEEN_POINTS = 1.0


def foretold(move: Move, bench: Bench, plan: Plan, scores: Scores) -> None:
    """What this position is expected to cost, before it is measured; under a budget's slider, of all positions."""
    budget = predicted_loss.budget_of(move)
    curve = predicted_loss.curve_of(bench, predicted_loss.series_of(move), budget)
    drawn = ""
    if curve is not None and move.rule == "budget":
        drawn = strip(curve, smallest_keep(move, scores, bench.cost_model))
    st.html(
        drawn + predicted_loss.told(bench, curve, shares(bench.cost_model.cost(plan), bench.cost_model.dense)[budget])
    )


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
        budget = predicted_loss.budget_of(move)
        curve = predicted_loss.curve_of(bench, predicted_loss.series_of(move), budget, measured=measured)
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
        least = smallest_keep(budget_sweep.at_budget(move, 1.0), scores, bench.cost_model)
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
    elif isinstance(job.result, budget_sweep.Found):
        st.caption(sentence(job.result))


def sentence(found: budget_sweep.Found) -> str:
    limit = f"{100 * found.most_lost:g} point{'s' * (found.most_lost != 0.01)}"
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
    job_work = budget_sweep.whole_frontier(
        bench,
        session.move,
        partial(plan_of, scores=scores, cost_model=bench.cost_model),
        budget_sweep.budgets_over(least),
    )
    key = f"frontier|{bench.application.name}"
    all_jobs().start(session.id, "explore", key, "Whole frontier", job_work, alone=True)


def start_auto(session: Session, bench: Bench, scores: Scores, least: float, most_lost: float) -> None:
    assert session.move is not None
    planned = partial(plan_of, scores=scores, cost_model=bench.cost_model)
    job_work = budget_sweep.smallest(bench, session.move, planned, least, most_lost)
    all_jobs().start(session.id, "explore", f"auto|{bench.application.name}", "Auto", job_work, alone=True)


def take_found(session: Session, application: Application) -> None:
    """What Auto has found becomes the current move, once."""
    job = exploring_job(session, application)
    if job is not None and isinstance(job.result, budget_sweep.Found) and job.number not in session.taken:
        session.taken.add(job.number)
        if job.result.move is not None:
            session.go(job.result.move)
