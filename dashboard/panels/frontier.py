"""Metric against budget: what was measured, what is predicted, and work that measures many budgets."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import streamlit as st

from asc_core.errors import UserError
from asc_core.recipes import Recipe
from asc_core.recipes.frontier import DropRule, rule_in_words
from asc_core.values import Plan, Scores
from dashboard.background.jobs import Job
from dashboard.charts.frontier import metric_against_budget
from dashboard.measuring import budget_sweep, predicted_loss
from dashboard.measuring.build import cut_decides
from dashboard.measuring.measured_cut import kept_of, shares
from dashboard.measuring.measurements import Measurements
from dashboard.state.application import Application
from dashboard.state.cut_settings import CutSettings, plan_of, smallest_keep
from dashboard.state.session import Session
from dashboard.text import numbers
from dashboard.text.markup import bare
from dashboard.widgets.page import (
    CHART_CONFIG,
    SECONDS_BETWEEN_POLLS,
    all_jobs,
    progress_text,
    show_failure,
)
from dashboard.widgets.prediction import sentence, strip, unpredicted
from dashboard.widgets.theme import colours

SECONDS_BETWEEN_POINTS = 1.0


def predicted(settings: CutSettings, measurements: Measurements, plan: Plan, scores: Scores) -> None:
    """What this position is expected to cost, before it is measured; under a budget's slider, of all positions."""
    budget = predicted_loss.budget_of(settings)
    curve = predicted_loss.curve_of(measurements, predicted_loss.series_of(settings), budget)
    drawn = ""
    if curve is not None and settings.rule == "budget":
        drawn = strip(curve, smallest_keep(settings, scores, measurements.cost_model))
    if not cut_decides(settings.then):
        st.html(unpredicted("further steps change what the budget counts"))
        return
    kept = shares(measurements.cost_model.cost(plan), measurements.cost_model.dense)[budget]
    st.html(drawn + sentence(curve, kept, predicted_loss.past_predictions(measurements)))


def exploring_job(session: Session, application: Application) -> Job | None:
    """The last of this window's that was about this application."""
    job = all_jobs().last(session.id, "explore")
    return job if job is not None and job.key.partition("|")[2] == application.name else None


def frontier(session: Session, measurements: Measurements, recipe: Recipe) -> None:
    """Drawn again and again while points are coming."""
    settings = session.settings
    assert settings is not None

    def draw() -> None:
        measured = measurements.all_measured()
        cost = measurements.cost(recipe)
        kept = (kept_of(cost, measurements.cost_model.dense) if cost is not None else None) or {}
        here = next((replace(one, kept=kept) for one in measured if one.key == recipe.key), None)
        budget = predicted_loss.budget_of(settings)
        curve = predicted_loss.curve_of(measurements, predicted_loss.series_of(settings), budget, measured=measured)
        figure = metric_against_budget(
            measured, measurements.original(), here, kept.get(budget), budget, colours(), predicted=curve
        )
        st.plotly_chart(figure, theme=None, config=CHART_CONFIG, key="tune-frontier")

    job = exploring_job(session, measurements.application)
    if job is not None and job.active:
        st.fragment(draw, run_every=SECONDS_BETWEEN_POINTS)()
    else:
        draw()


def explore(session: Session, measurements: Measurements, scores: Scores) -> None:
    """Buttons for what measures many budgets, and how far that is."""
    settings = session.settings
    assert settings is not None
    job = exploring_job(session, measurements.application)
    chosen = colours()
    running = job is not None and job.active
    row = st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key="tune-explore")
    further = f"<span><b style='color:{chosen.accent}'>■</b> further steps</span>" if settings.then else ""
    row.html(
        f"<div class='asc-legend'><span><b style='color:{chosen.accent}'>●</b> repaired</span>"
        f"<span class='asc-quiet'>▲ as cut</span>{further}<span>◆ original</span></div>",
        width="content",
    )
    try:
        least = smallest_keep(budget_sweep.at_budget(settings, 1.0), scores, measurements.cost_model)
    except UserError as error:
        st.caption(bare(str(error)))
        return
    about = f"{settings.method}, {'no' if settings.repair == 'none' else settings.repair} repair"
    about += "".join(f", then {step.kind}" for step in settings.then)
    row.button(
        "Measure frontier",
        key="tune-whole",
        icon=":material/timeline:",
        disabled=running,
        on_click=start_frontier,
        args=(session, measurements, scores, least),
        help=f"Measures ten budgets with what is chosen now ({about}); what was measured before is kept.",
    )
    with row.popover("Find smallest model", icon=":material/target:", key="tune-auto", disabled=running):
        most_lost = st.number_input(
            "Max. drop (pp)",
            min_value=0.0,
            max_value=100.0,
            value=1.0,
            step=0.5,
            format="%.1f",
            key="tune-auto-lost",
        )
        rule = st.segmented_control(
            "Within it",
            ["interval", "value"],
            default="interval",
            required=True,
            format_func={"interval": "whole interval", "value": "measured value"}.__getitem__,
            key="tune-auto-rule",
            help="Whole interval: of the 95 % interval of the difference both ends are within the limit: sure, and "
            "strict, since an interval that holds whenever measuring stops is wider than a single measurement's. "
            "Measured value: the difference itself is, whatever its interval.",
        )
        st.button(
            "Find smallest model",
            key="tune-auto-find",
            type="primary",
            on_click=start_auto,
            args=(session, measurements, scores, least, most_lost / 100, rule),
            help=f"Halves the range of budgets about six times ({about}). A model counts when "
            f"{'its measured drop' if rule == 'value' else 'its whole 95 % interval'} on the {measurements.split} "
            "split is within the limit.",
        )
    if job is not None and running:
        watch(job)
    elif job is not None:
        outcome(job)


def watch(job: Job) -> None:
    def draw() -> None:
        all_jobs().heartbeat(job.session)
        if not job.active:
            st.rerun()
        bar, stop = st.columns([6, 1], vertical_alignment="center")
        bar.progress(job.share, text=bare(progress_text(job)))
        stop.button("Stop", key=f"cancel-{job.number}", on_click=job.cancel, disabled=job.cancelling, type="tertiary")

    st.fragment(draw, run_every=SECONDS_BETWEEN_POLLS)()


def outcome(job: Job) -> None:
    """What came of it, in a sentence."""
    if job.state == "failed":
        show_failure(job)
    elif job.state == "cancelled":
        st.caption(bare(f"{job.title} was stopped; what was measured is kept, and it can go on."))
    elif isinstance(job.result, budget_sweep.Found):
        st.caption(bare(found_sentence(job.result)))


def found_sentence(found: budget_sweep.Found) -> str:
    limit = f"{100 * found.most_lost:g} pp ({rule_in_words(found.rule)})"
    on = f"{found.examples:,} {found.split} examples, {found.measured} cuts measured"
    if found.settings is None or found.estimate is None or found.estimate.difference_interval is None:
        return f"No cut with this method and repair was measured ({on}): choose another method."
    kept = f"{100 * found.settings.keep:.0f} % kept{' before the further steps' if found.settings.then else ''}"
    lost = (
        f"{100 * (found.estimate.difference or 0):+.1f} "
        f"{numbers.interval_of_points(found.estimate.difference_interval)} pp"
    )
    if not found.within:
        return (
            f"No cut with this method and repair drops by at most {limit}. The nearest, shown now: {kept}, {lost} "
            f"({on}). Allow more, choose another method or repair, or use more validation examples: the interval gets "
            "narrower."
        )
    return f"Smallest that drops by at most {limit}: {kept}, {lost} ({on})."


def start_frontier(session: Session, measurements: Measurements, scores: Scores, least: float) -> None:
    assert session.settings is not None
    work = budget_sweep.frontier_job(
        measurements,
        session.settings,
        partial(plan_of, scores=scores, cost_model=measurements.cost_model),
        budget_sweep.budgets_over(least),
    )
    key = f"frontier|{measurements.application.name}"
    all_jobs().start(session.id, "explore", key, "Measuring the frontier", work, alone=True)


def start_auto(
    session: Session, measurements: Measurements, scores: Scores, least: float, most_lost: float, rule: DropRule
) -> None:
    assert session.settings is not None
    planned = partial(plan_of, scores=scores, cost_model=measurements.cost_model)
    work = budget_sweep.smallest_model_job(measurements, session.settings, planned, least, most_lost, rule)
    all_jobs().start(
        session.id, "explore", f"auto|{measurements.application.name}", "Finding the smallest model", work, alone=True
    )


def take_found(session: Session, application: Application) -> None:
    """What was found becomes the current settings, once."""
    job = exploring_job(session, application)
    if job is not None and isinstance(job.result, budget_sweep.Found) and job.number not in session.consumed_jobs:
        session.consumed_jobs.add(job.number)
        if job.result.settings is not None:
            session.go(job.result.settings)
