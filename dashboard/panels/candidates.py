"""Everything of an application that was measured, and the recipes among it that have a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from asc_core.recipes.comparison import COMPARABLE
from asc_core.recipes.stored import pinned_recipes
from dashboard.background.application_jobs import open_job
from dashboard.charts.pareto import pareto
from dashboard.measuring.measured_cut import MeasuredCut
from dashboard.measuring.measurements import Measurements
from dashboard.panels import encoders
from dashboard.state.application import Application
from dashboard.state.pins import settings_of_pin
from dashboard.state.session import Session
from dashboard.text import numbers
from dashboard.text.markup import bare, escape
from dashboard.text.names import BUDGET_NAMES
from dashboard.widgets.form_and_result import application_choice
from dashboard.widgets.page import CHART_CONFIG, load, models
from dashboard.widgets.theme import colours

LEGEND = "● repaired, ▲ as cut, ■ with further steps."


def panel(session: Session, applications: Sequence[Application]) -> None:
    if not applications:
        st.info("Add an application on the Overview page first.", icon=":material/dashboard:")
        return
    chooser, against = st.columns([1, 3])
    with chooser:
        application = candidates_application(session, applications)
    known = models().cached_cost_model(application)
    if known is None or models().cached_encoder(application) is None:
        load(session, application.name, f"Opening {application.title}", open_job(models(), session.study, application))
        return
    measurements = Measurements(models(), session.study, application, known)
    measured = measurements.all_measured()
    pinned, unmeasured = pinned_of(session, measurements, measured)
    presets = [one for one in measured if any(one.name.startswith(f"{name} ") for name in COMPARABLE)]
    with against:
        budget = st.segmented_control(
            "Against",
            [name for name in BUDGET_NAMES if name == "flops" or any(name in one.kept for one in measured)],
            format_func=BUDGET_NAMES.__getitem__,
            default="flops",
            required=True,
            key="compare-budget",
        )
    encoders.panel(session.study, measurements, applications)
    left, right = st.columns([7, 5], gap="large")
    with left:
        if not measured:
            st.info(bare(f"Nothing of {application.title} has been measured yet."), icon=":material/tune:")
            st.page_link("views/tune.py", label="Tune a cut", icon=":material/tune:")
            return
        figure = pareto(measured, [*pinned, *presets], measurements.original(), budget or "flops", colours())
        st.plotly_chart(figure, theme=None, config=CHART_CONFIG, key="compare-pareto")
        st.caption(
            bare(
                f"Everything of {application.title} that was measured in this study. The line joins what nothing else "
                "beats in both metric and size; labelled: pinned recipes and presets. "
                f"{LEGEND}"
            )
        )
    with right:
        named = [*pinned, *presets]
        if named:
            st.html(candidates_table(named, measurements))
        if unmeasured:
            st.caption(bare(f"Pinned and not measured yet: {', '.join(unmeasured)}. Open them on Tune."))
        elif not named:
            st.html("<p class='asc-quiet'>Pin a recipe on Tune to name it.</p>")


def candidates_application(session: Session, applications: Sequence[Application]) -> Application:
    titles = application_choice(session, applications, "compare-candidates-of")
    chosen = titles[st.session_state["compare-candidates-of"]]
    session.application = chosen.name
    return chosen


def pinned_of(
    session: Session, measurements: Measurements, measured: Sequence[MeasuredCut]
) -> tuple[list[MeasuredCut], list[str]]:
    """(pinned recipes of the application in view that were measured, under their names; names of the others)."""
    by_key = {one.key: one for one in measured}
    application = measurements.application
    found, unmeasured = [], []
    for name, recipe in pinned_recipes(session.study).items():
        settings = settings_of_pin(session.study, name, recipe, "", "")
        of = settings.application if settings is not None else recipe.task
        if of not in (application.name, application.task):
            continue
        one = by_key.get(recipe.key)
        if one is None:
            unmeasured.append(name)
        else:
            found.append(replace(one, name=name))
    return found, unmeasured


def candidates_table(named: Sequence[MeasuredCut], measurements: Measurements) -> str:
    rows = []
    original = measurements.original()
    if original is not None:
        rows.append(
            f"<tr><td>original</td><td>{numbers.percent(original.value)}</td><td></td>{3 * '<td>100 %</td>'}</tr>"
        )
    for one in sorted(named, key=lambda m: -m.estimate.value):
        e = one.estimate
        change = "" if e.difference is None else numbers.points(e.difference)
        if e.difference_interval is not None:
            ends = numbers.interval_of_points(e.difference_interval)
            provisional = f", {escape(e.provisional)}, not refined yet" if e.provisional else ""
            change += f"<br><span class='asc-quiet asc-small'>{ends}, n = {e.examples:,}{provisional}</span>"
        rows.append(
            f"<tr><td>{escape(one.name)}</td><td>{numbers.percent(e.value)}</td><td>{change}</td>"
            f"<td>{numbers.percent(one.kept['flops'], 0)}</td>"
            f"<td>{numbers.percent(one.kept['parameters'], 0)}</td>"
            f"<td>{numbers.percent(one.kept['bytes'], 0)}</td></tr>"
        )
    head = "<tr><th></th><th>metric</th><th>change (pp)</th><th>FLOPs</th><th>parameters</th><th>file</th></tr>"
    about = f"{measurements.split} split; change vs. original, 95 % paired intervals"
    note = f"<div class='asc-small asc-quiet'>{about}</div>"
    return f"<table class='asc-costs asc-number'>{head}{''.join(rows)}</table>{note}"
